//! What looks like a secret, and how it is shown instead.

use std::ops::Range;

use serde_json::{Map, Value};

use super::secrets::{
    self, MASK, around_placeholders, is_password, is_reference, is_secret_flag, merged, spans,
    without,
};

/// Whether a variable, field or header of this name usually holds a secret (`GITHUB_TOKEN`, `apiKey`, `Authorization`).
pub fn is_secret_name(name: &str) -> bool {
    secrets::is_secret_name(name)
}

/// Whether a text looks like a secret by itself, or has one in it: a known prefix (`ghp_`, `sk-`, `xoxb-`, `AKIA`, a
/// Bearer, a JWT, a private key, credentials in a URL, a Telegram bot token) or long with high entropy. `${…}` references
/// are none.
pub fn is_secret_value(value: &str) -> bool {
    !spans(value).is_empty()
}

/// How a secret is shown: `••••` and nothing of the value; a `${…}` reference stays readable.
pub fn mask_value(value: &str) -> String {
    if value.is_empty() || is_reference(value) {
        value.to_owned()
    } else {
        MASK.to_owned()
    }
}

/// A server's environment for showing: values masked where name or value looks secret.
pub fn masked_env(env: &[(String, String)]) -> Vec<(String, String)> {
    env.iter()
        .map(|(name, value)| {
            (
                name.clone(),
                masked(value, &secret_parts(Some(name), value)),
            )
        })
        .collect()
}

/// A command's arguments for showing, each masked where it or the flag before it says that it is secret.
pub fn masked_args(args: &[String]) -> Vec<String> {
    let mut before = None;
    args.iter()
        .map(|arg| {
            let shown = masked(arg, &secret_parts_of_arg(before, arg));
            before = Some(arg.as_str());
            shown
        })
        .collect()
}

/// An address for showing: its login and the secret-looking values of its query masked.
pub fn masked_url(url: &str) -> String {
    masked(url, &spans(url))
}

/// A raw entry or document with its secrets masked, for showing.
pub(super) fn masked_json(name: Option<&str>, value: &Value) -> Value {
    let name = if value.is_object() {
        name
    } else {
        name_of_plain(name)
    };
    match value {
        Value::String(text) => Value::String(masked(text, &secret_parts(name, text))),
        Value::Array(items) => {
            let mut before = None;
            let each = items.iter().map(|item| match item {
                Value::String(text) => {
                    let parts = merged(
                        [secret_parts(name, text), secret_parts_of_arg(before, text)].concat(),
                    );
                    before = Some(text.as_str());
                    Value::String(masked(text, &parts))
                }
                other => {
                    before = None;
                    masked_json(name, other)
                }
            });
            Value::Array(each.collect())
        }
        Value::Object(map) => {
            let inner = |(key, value): (&String, &Value)| {
                let name = name_below(name, key, map);
                (key.clone(), masked_json(Some(name), value))
            };
            Value::Object(map.iter().map(inner).collect::<Map<_, _>>())
        }
        // A password of digits only.
        Value::Number(_) if name.is_some_and(is_secret_name) => MASK.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A name that is secret; each header's value is, whatever it is called.
pub(super) const HEADER: &str = "authorization";

pub(super) fn is_headers(name: Option<&str>) -> bool {
    name.is_some_and(|name| {
        ["headers", "http_headers", "httpHeaders", "requestHeaders"]
            .iter()
            .any(|headers| name.eq_ignore_ascii_case(headers))
    })
}

/// Within `env: {…}` the key names the value; in `{"id": "api-key", "value": …}` and in `{"password": true, "value": …}`
/// (inputs, lists of variables) what stands beside does. Below a secret name everything is secret.
pub(super) fn name_below<'a>(
    name: Option<&'a str>,
    key: &'a str,
    beside: &Map<String, Value>,
) -> &'a str {
    let is_pair = ["value", "default"].contains(&key)
        && (["password", "secret", "isSecret", "sensitive"]
            .iter()
            .any(|flag| beside.get(*flag) == Some(&Value::Bool(true)))
            || ["id", "name", "key"].iter().any(|field| {
                let told = beside.get(*field).and_then(Value::as_str);
                told.is_some_and(is_secret_name)
            }));
    if is_pair || (is_headers(name) && !is_secret_name(key)) {
        return HEADER;
    }
    match name {
        // `auth` holds a description (`oauth: weather`) more often than the secret itself; its fields have names. In
        // `api_key` the header is named and the value is the key.
        Some("api_key") if key == "header" => key,
        Some(outer) if is_secret_name(outer) && !outer.eq_ignore_ascii_case("auth") => outer,
        _ => key,
    }
}

/// What names a value that is no object.
fn name_of_plain(name: Option<&str>) -> Option<&str> {
    if is_headers(name) { Some(HEADER) } else { name }
}

/// Of the text that is `key` in the object `name`, among those beside it.
pub(super) fn secret_parts_below(
    name: &str,
    key: &str,
    beside: &Map<String, Value>,
    text: &str,
) -> Vec<Range<usize>> {
    let name = name_below(Some(name), key, beside);
    secret_parts(name_of_plain(Some(name)), text)
}

pub(super) fn secret_parts(name: Option<&str>, text: &str) -> Vec<Range<usize>> {
    if name.is_some_and(is_secret_name) && !text.is_empty() && !is_reference(text) {
        return all_of(text);
    }
    spans(text)
}

/// One span for all, since what is left of it would tell its form; but names of secrets stay readable.
fn all_of(text: &str) -> Vec<Range<usize>> {
    let whole: Range<usize> = 0..text.len();
    around_placeholders(text, vec![whole])
}

pub(super) fn secret_parts_of_arg(before: Option<&str>, arg: &str) -> Vec<Range<usize>> {
    let is_value = before.is_some_and(|before| {
        (is_secret_flag(before) && !arg.starts_with("--")) || is_password(before, arg)
    });
    if is_value && !arg.is_empty() && !is_reference(arg) {
        return all_of(arg);
    }
    spans(arg)
}

fn masked(text: &str, parts: &[Range<usize>]) -> String {
    without(text, parts)
}

#[cfg(test)]
mod tests;
