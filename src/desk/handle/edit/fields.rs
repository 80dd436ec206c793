//! The fields of a raw entry that can be set, and how.

use serde_json::{Map, Value, json};

use super::super::super::refusal::Refusal;
use super::super::add::variables;
use crate::command;
use crate::config::{FileKind, NetworkGrant};

/// Sets one field of a raw entry; an empty text takes it away.
pub(in crate::desk::handle) fn set_field(
    value: &mut Value,
    file: FileKind,
    field: &str,
    text: &str,
) -> Result<(), Refusal> {
    let clear = text.is_empty();
    match (file, field) {
        (FileKind::Local, "command") if clear => {
            return Err(Refusal::Plain(
                "A server needs a command. To take the server away use `/mcp remove`.".to_owned(),
            ));
        }
        (FileKind::Local, "command") => put(value, "command", json!(text)),
        (FileKind::Local, "args") => {
            let args = if text.trim_start().starts_with('[') {
                serde_json::from_str(text).map_err(|_| Refusal::Plain("`args` looks like a JSON list but does not parse. Write `args=\"one two\"` or `args=[\"one\", \"two\"]`.".to_owned()))?
            } else {
                json!(command::words(text)?)
            };
            put(value, "args", args);
        }
        (FileKind::Local, "cwd") if clear => take(value, "cwd"),
        (FileKind::Local, "cwd") => put(value, "cwd", json!(text)),
        (FileKind::Local, "network") if clear => take(value, "network"),
        (FileKind::Local, "network") => put(value, "network", network_field(text)),
        (FileKind::Local, "env") if clear => take(value, "env"),
        (FileKind::Local, "env") => {
            for (name, text) in variables(text)? {
                set_field(value, file, &format!("env.{name}"), &text)?;
            }
        }
        (FileKind::Local, field) if field.starts_with("env.") && field.len() > 4 => {
            set_in(value, "env", &field[4..], text);
        }
        (FileKind::Remote, "timeout_ms") if clear => take(value, "timeout_ms"),
        (FileKind::Remote, "timeout_ms") => {
            let millis: u64 = text.trim().parse().map_err(|_| {
                Refusal::Plain(
                    "`timeout_ms` is a number of milliseconds, for example 120000.".to_owned(),
                )
            })?;
            put(value, "timeout_ms", json!(millis));
        }
        (FileKind::Remote, field) if field.starts_with("headers.") && field.len() > 8 => {
            set_in(value, "headers", &field[8..], text);
        }
        (FileKind::Local, other) => {
            return Err(Refusal::Plain(format!(
                "There is no field {other:?} to edit. Use command, args, cwd, network, env.KEY or env."
            )));
        }
        (FileKind::Remote, other) => {
            return Err(Refusal::Plain(format!(
                "A remote server has no field {other:?} to edit. Use url, headers.NAME or timeout_ms; its login is set with /mcp connect and its name."
            )));
        }
    }
    Ok(())
}

/// What a grant that was typed is in an entry: a word, or hosts with commas or blanks between them. Whether they are hosts
/// is judged with the whole entry.
fn network_field(text: &str) -> Value {
    let text = text.trim();
    if let Ok(list @ Value::Array(_)) = serde_json::from_str(text) {
        return list;
    }
    let word = text.to_ascii_lowercase();
    if NetworkGrant::of_word(&word).is_some() {
        return json!(word);
    }
    let hosts = text.split(|c: char| c == ',' || c.is_whitespace());
    hosts
        .filter(|host| !host.is_empty())
        .map(Value::from)
        .collect()
}

/// Sets a text in an object of the entry; an empty one takes it away, and the object with the last.
fn set_in(value: &mut Value, object: &str, name: &str, text: &str) {
    let Some(entry) = value.as_object_mut() else {
        return;
    };
    let texts = entry
        .entry(object)
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(texts) = texts.as_object_mut() else {
        return;
    };
    // Headers are known whatever their capitals; variables are not.
    let known = texts
        .keys()
        .find(|key| object == "headers" && key.eq_ignore_ascii_case(name));
    let name = known.cloned().unwrap_or_else(|| name.to_owned());
    if text.is_empty() {
        texts.shift_remove(&name);
    } else {
        texts.insert(name, json!(text));
    }
    if texts.is_empty() {
        take(value, object);
    }
}

fn put(value: &mut Value, key: &str, field: Value) {
    if let Some(entry) = value.as_object_mut() {
        entry.insert(key.to_owned(), field);
    }
}

fn take(value: &mut Value, key: &str) {
    if let Some(entry) = value.as_object_mut() {
        entry.shift_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(field: &str, text: &str) -> Value {
        let mut value = json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true});
        set_field(&mut value, FileKind::Local, field, text).unwrap();
        value
    }

    #[test]
    fn a_field_changes_and_nothing_else() {
        let cases = [
            (
                "command",
                "deno",
                json!({"type": "stdio", "command": "deno", "args": ["a"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "b 'c d'",
                json!({"type": "stdio", "command": "node", "args": ["b", "c d"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "[\"b\"]",
                json!({"type": "stdio", "command": "node", "args": ["b"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "",
                json!({"type": "stdio", "command": "node", "args": [], "env": {"A": "1"}, "x": true}),
            ),
            (
                "env.B",
                "2",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1", "B": "2"}, "x": true}),
            ),
            (
                "env.A",
                "",
                json!({"type": "stdio", "command": "node", "args": ["a"], "x": true}),
            ),
            (
                "env",
                "",
                json!({"type": "stdio", "command": "node", "args": ["a"], "x": true}),
            ),
            (
                "network",
                "Public",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true, "network": "public"}),
            ),
            (
                "network",
                "a.example, *.b.example",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true,
                    "network": ["a.example", "*.b.example"]}),
            ),
            (
                "cwd",
                "/srv",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true, "cwd": "/srv"}),
            ),
        ];
        for (field, text, expected) in cases {
            assert_eq!(edited(field, text), expected, "{field}={text}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for (field, text) in [
            ("command", ""),
            ("colour", "red"),
            ("env.", "x"),
            ("args", "[1,"),
        ] {
            let mut value = json!({"command": "node"});
            assert!(
                set_field(&mut value, FileKind::Local, field, text).is_err(),
                "{field}={text}"
            );
            assert_eq!(value, json!({"command": "node"}));
        }
    }
}
