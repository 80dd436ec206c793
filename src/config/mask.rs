//! What looks like a secret, and how it is shown instead.

use std::ops::Range;

use serde_json::{Map, Value};

use super::secrets::{
    self, MASK, is_password, is_reference, is_secret_flag, merged, spans, spans_in_prose, without,
};

/// Known secrets shorter than this are not searched for in free text: they would mask half of it.
const SHORTEST: usize = 6;

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
    let name = if is_headers(name) && !value.is_object() {
        Some(HEADER)
    } else {
        name
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

/// Takes the secrets of a configuration out of free text (logs, errors, tool output shown to others).
#[derive(Clone, Default)]
pub struct Masker {
    // Longest first, so that a secret within a longer one does not leave the rest of the longer one readable.
    secrets: Vec<String>,
}

impl Masker {
    /// A masker that knows the secret values of these raw entries (env, headers, args that look secret).
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut secrets = Vec::new();
        for entry in entries {
            collect(None, entry, &mut secrets);
        }
        Self::knowing(secrets)
    }

    /// A masker for these environment values.
    pub fn of_env(env: &[(String, String)]) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in env {
            keep(value, &secret_parts(Some(name), value), &mut secrets);
        }
        Self::knowing(secrets)
    }

    /// Whether there is no secret to look for.
    pub fn knows_none(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The text with known secrets masked, and nothing else.
    pub fn mask_known(&self, text: &str) -> String {
        without(text, &merged(self.known(text)))
    }

    /// The same for a text that is not needed any more: without a secret in it it is not copied.
    pub fn without_known(&self, text: String) -> String {
        if self.knows_none() {
            return text;
        }
        let found = self.known(&text);
        if found.is_empty() {
            text
        } else {
            without(&text, &merged(found))
        }
    }

    /// Like [`Masker::mask`] for the beginning of a longer text, which may be cut within a secret: that piece is masked too.
    pub fn mask_beginning(&self, text: &str) -> String {
        let mut found = spans(text);
        found.extend(self.known(text));
        let begun = self.secrets.iter().filter_map(|secret| {
            // A shorter piece tells nothing, and ends many a word.
            let mut lengths = (SHORTEST / 2..secret.len().min(text.len() + 1)).rev();
            lengths.find(|len| text.as_bytes().ends_with(&secret.as_bytes()[..*len]))
        });
        if let Some(length) = begun.max() {
            let start = secrets::char_start(text, text.len() - length);
            found.push(start..text.len());
        }
        without(text, &merged(found))
    }

    /// The text with known secrets, and pieces that look like one, masked.
    pub fn mask(&self, text: &str) -> String {
        let mut found = spans_in_prose(text);
        found.extend(self.known(text));
        without(text, &merged(found))
    }

    fn known(&self, text: &str) -> Vec<Range<usize>> {
        let hits = self
            .secrets
            .iter()
            .flat_map(|secret| text.match_indices(secret.as_str()));
        hits.map(|(at, hit)| at..at + hit.len()).collect()
    }

    fn knowing(secrets: Vec<String>) -> Self {
        let mut all = Vec::new();
        for secret in secrets {
            // A log has a key of many lines one line at a time.
            all.extend(
                secret
                    .lines()
                    .skip(1)
                    .chain(secret.lines().take(1))
                    .map(|l| l.trim().to_owned()),
            );
            all.push(percent_encoded(&secret));
            let json = Value::from(secret.as_str()).to_string();
            all.push(json[1..json.len() - 1].to_owned());
            all.push(secret);
        }
        all.retain(|secret| secret.len() >= SHORTEST);
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self { secrets: all }
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker([redacted])")
    }
}

/// A name that is secret; each header's value is, whatever it is called.
const HEADER: &str = "authorization";

fn is_headers(name: Option<&str>) -> bool {
    name.is_some_and(|name| {
        ["headers", "http_headers", "httpHeaders", "requestHeaders"]
            .iter()
            .any(|headers| name.eq_ignore_ascii_case(headers))
    })
}

/// Within `env: {…}` the key names the value; in `{"id": "api-key", "value": …}` and in `{"password": true, "value": …}`
/// (inputs, lists of variables) what stands beside does. Below a secret name everything is secret.
fn name_below<'a>(name: Option<&'a str>, key: &'a str, beside: &Map<String, Value>) -> &'a str {
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
        // `auth` holds a description (`type: oauth`) more often than the secret itself; its fields have names.
        Some(outer) if is_secret_name(outer) && !outer.eq_ignore_ascii_case("auth") => outer,
        _ => key,
    }
}

fn secret_parts(name: Option<&str>, text: &str) -> Vec<Range<usize>> {
    if name.is_some_and(is_secret_name) && !text.is_empty() && !is_reference(text) {
        // One span for all: what is left of it would tell its form.
        let whole: Range<usize> = 0..text.len();
        return vec![whole];
    }
    spans(text)
}

fn secret_parts_of_arg(before: Option<&str>, arg: &str) -> Vec<Range<usize>> {
    let is_value = before.is_some_and(|before| {
        (is_secret_flag(before) && !arg.starts_with("--")) || is_password(before, arg)
    });
    if is_value && !arg.is_empty() && !is_reference(arg) {
        let whole: Range<usize> = 0..arg.len();
        return vec![whole];
    }
    spans(arg)
}

fn masked(text: &str, parts: &[Range<usize>]) -> String {
    without(text, parts)
}

fn collect(name: Option<&str>, value: &Value, secrets: &mut Vec<String>) {
    let name = if is_headers(name) && !value.is_object() {
        Some(HEADER)
    } else {
        name
    };
    match value {
        Value::String(text) => keep(text, &secret_parts(name, text), secrets),
        Value::Array(items) => {
            let mut before = None;
            for item in items {
                if let Value::String(text) = item {
                    keep(text, &secret_parts(name, text), secrets);
                    keep(text, &secret_parts_of_arg(before, text), secrets);
                    before = Some(text.as_str());
                } else {
                    before = None;
                    collect(name, item, secrets);
                }
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                collect(Some(name_below(name, key, map)), value, secrets);
            }
        }
        Value::Number(number) if name.is_some_and(is_secret_name) => {
            secrets.push(number.to_string());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn keep(text: &str, parts: &[Range<usize>], secrets: &mut Vec<String>) {
    for part in parts {
        let secret = text[part.clone()].trim();
        secrets.push(secret.to_owned());
        // `Bearer x` is written with and without its scheme.
        if let Some((_, token)) = secret.split_once(' ') {
            secrets.push(token.trim().to_owned());
        }
    }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            encoded.push(char::from(b));
        } else {
            let _ = write!(encoded, "%{b:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
