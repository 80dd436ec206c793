//! The round trip of a download: secrets leave masked, and come back as what they were.

use serde_json::{Map, Value};

use super::Document;
use super::document::SERVERS;
use super::mask::masked_json;
use super::secrets::MASK;

impl Document {
    /// The document with its secret values masked, wherever they are, and how many were.
    pub fn masked(&self) -> (Self, usize) {
        let hide = |(key, value): (&String, &Value)| {
            let hidden = match value {
                // A server called `token` is no secret: its name must not hide its command.
                Value::Object(servers) if key == SERVERS => servers
                    .iter()
                    .map(|(name, entry)| (name.clone(), masked_json(None, entry)))
                    .collect::<Map<_, _>>()
                    .into(),
                _ => masked_json(Some(key), value),
            };
            (key.clone(), hidden)
        };
        let document = Self(self.0.iter().map(hide).collect());
        let pairs = self.0.values().zip(document.0.values());
        let count = pairs
            .map(|(whole, masked)| differences(whole, masked))
            .sum();
        (document, count)
    }
}

impl Document {
    /// The fields beside `mcpServers`, to be changed.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        let fields = self.0.iter_mut().filter(|(key, _)| *key != "mcpServers");
        fields.map(|(key, value)| (key.as_str(), value))
    }
}

/// Whether anything in a field of this name would be masked where it is shown.
pub fn has_secret(name: &str, value: &Value) -> bool {
    masked_json(Some(name), value) != *value
}

/// Puts the stored values back where an entry, or a field beside the servers, has masks. Returns the paths of masks that nothing is stored for.
pub fn restore_masked(entry: &mut Value, stored: Option<&Value>) -> Vec<String> {
    let mut unknown = Vec::new();
    let masked = stored.map(|stored| masked_json(None, stored));
    restore(
        entry,
        stored.zip(masked.as_ref()),
        String::new(),
        &mut unknown,
    );
    unknown
}

/// How many values differ; the two have the same shape.
fn differences(whole: &Value, masked: &Value) -> usize {
    match (whole, masked) {
        (Value::Array(whole), Value::Array(masked)) => whole
            .iter()
            .zip(masked)
            .map(|(whole, masked)| differences(whole, masked))
            .sum(),
        (Value::Object(whole), Value::Object(masked)) => whole
            .values()
            .zip(masked.values())
            .map(|(whole, masked)| differences(whole, masked))
            .sum(),
        (whole, masked) => usize::from(whole != masked),
    }
}

/// `stored` is the stored value and what its download showed.
fn restore(
    value: &mut Value,
    stored: Option<(&Value, &Value)>,
    path: String,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::String(text) if text.contains(MASK) => match stored {
            Some((stored, shown)) if text == MASK || shown == value => *value = stored.clone(),
            _ => unknown.push(path),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let below =
                    stored.and_then(|(stored, shown)| stored.get(index).zip(shown.get(index)));
                restore(item, below, format!("{path}[{index}]"), unknown);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let below =
                    stored.and_then(|(stored, shown)| stored.get(name).zip(shown.get(name)));
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                restore(field, below, path, unknown);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(entry: &Value) -> Document {
        Document::parse(
            json!({ "mcpServers": { "x": entry } })
                .to_string()
                .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_downloaded_file_holds_no_secret_and_comes_back_whole() {
        let entry = json!({
            "command": "npx", "args": ["-y", "x", "ghp_0123456789abcdefghijABCDEFGHIJ012345"],
            "env": {"GITHUB_TOKEN": "hush-hush", "MODE": "fast", "REF_TOKEN": "${secret:T}"},
        });
        let (masked, count) = document(&entry).masked();
        let text = masked.to_text();
        assert_eq!(count, 2);
        assert!(
            !text.contains("hush-hush")
                && !text.contains("ghp_")
                && text.contains("fast")
                && text.contains("${secret:T}")
        );
        let mut back = masked.server("x").cloned().unwrap();
        assert_eq!(
            restore_masked(&mut back, Some(&entry)),
            Vec::<String>::new()
        );
        assert_eq!(back, entry);
    }

    #[test]
    fn fields_beside_the_servers_are_masked_and_come_back() {
        let whole = json!({
            "globalToken": "hush-1", "env": {"API_KEY": "hush-2", "MODE": "fast"},
            "inputs": [
                {"type": "promptString", "id": "x", "password": true, "value": "hush-3"},
                {"id": "api-key", "default": "hush-4"}, {"id": "place", "value": "Berlin"},
            ],
            "pin": 12_345_678,
            "mcpServers": {"token": {"command": "run"}},
        });
        let stored = Document::parse(whole.to_string().as_bytes()).unwrap();
        let (masked, count) = stored.masked();
        let text = masked.to_text();
        assert_eq!(count, 5, "{text}");
        assert!(
            !text.contains("hush") && !text.contains("12345678"),
            "{text}"
        );
        for readable in ["fast", "Berlin", "\"run\""] {
            assert!(text.contains(readable), "{text}");
        }
        for (name, field) in masked.fields() {
            let (mut back, kept) = (field.clone(), &whole[name]);
            assert_eq!(restore_masked(&mut back, Some(kept)), [""; 0], "{name}");
            assert_eq!(back, *kept);
        }
        assert_eq!(restore_masked(&mut json!("••••"), None), [""]);
    }

    #[test]
    fn every_header_of_a_remote_server_is_masked() {
        let entry = json!({"type": "http", "url": "https://me:pw@h.example/mcp?token=a,b&units=metric",
            "headers": {"X-Tenant": "acme-7", "Authorization": "Bearer ${T}", "X-Auth": "plain"}});
        let text = document(&entry).masked().0.to_text();
        for secret in ["acme-7", "pw@", "a,b", "plain"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(
            text.contains("units=metric") && text.contains("Bearer ${T}"),
            "{text}"
        );
        let mut back = document(&entry).masked().0.server("x").cloned().unwrap();
        assert_eq!(restore_masked(&mut back, Some(&entry)), [""; 0]);
        assert_eq!(back, entry);
    }

    #[test]
    fn references_of_a_remote_server_stay_readable_and_literal_tokens_do_not() {
        let entry = json!({"type": "http", "url": "https://h.example/mcp",
            "headers": {"X-Two": "v1 ${secret:ONE}:hush ${secret:TWO}", "Authorization": "Token ${secret:T}"},
            "auth": {"api_key": {"header": "X-Key", "value": "${secret:K}"}}});
        let (masked, count) = document(&entry).masked();
        let mut expected = entry.clone();
        expected["headers"]["X-Two"] = "••••${secret:ONE}••••${secret:TWO}".into();
        assert_eq!((masked.server("x"), count), (Some(&expected), 1));
        let mut back = masked.server("x").cloned().unwrap();
        assert_eq!(restore_masked(&mut back, Some(&entry)), [""; 0]);
        assert_eq!(back, entry);

        for auth in [
            json!({"bearer": "hush"}),
            json!({"bearer": {"token": "hush"}}),
            json!({"api_key": "hush"}),
            json!({"api_key": {"header": "X-Key", "value": "hush"}}),
            json!({"token": "hush", "oauth": "weather"}),
        ] {
            let entry = json!({"type": "http", "url": "https://h.example", "auth": auth});
            let text = document(&entry).masked().0.to_text();
            assert!(!text.contains("hush") && text.contains("••••"), "{text}");
        }
    }

    #[test]
    fn a_mask_that_nothing_is_stored_for_is_named() {
        let mut entry = json!({"command": "x", "args": ["••••"], "env": {"T": "••••"}});
        assert_eq!(restore_masked(&mut entry, None), ["args[0]", "env.T"]);
        assert_eq!(
            restore_masked(&mut entry, Some(&json!({"env": {"T": "v"}}))),
            ["args[0]"]
        );
        assert_eq!(entry["env"]["T"], "v");
    }
}
