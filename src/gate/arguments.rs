//! A call's arguments as the audit keeps them: masked and short, and a hash of what they truly were.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::Masker;
use crate::policy::canonical;

/// Bytes of masked arguments that are kept.
const KEPT_BYTES: usize = 1024;

/// The arguments without secrets; of what is longer than a kibibyte as JSON, the beginning as text.
pub(super) fn shown(masker: &Masker, arguments: &Map<String, Value>) -> Value {
    let safe = masker.mask_json(&Value::Object(arguments.clone()));
    let text = safe.to_string();
    if text.len() <= KEPT_BYTES {
        return safe;
    }
    let mut end = KEPT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::String(format!("{}…", &text[..end]))
}

/// SHA-256 of the arguments as canonical JSON (RFC 8785, as of a tool's pin), hex, and its length.
pub(super) fn sum(arguments: &Map<String, Value>) -> (String, u64) {
    let text = canonical(&Value::Object(arguments.clone()));
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a `String` does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    (hex, text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!() };
        map
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_members() {
        let one = sum(&map(json!({"b": [1, {"y": null, "x": "é"}], "a": true})));
        let two = sum(&map(json!({"a": true, "b": [1, {"x": "é", "y": null}]})));
        assert_eq!(one, two);
        // `printf '%s' '{"a":true,"b":[1,{"x":"é","y":null}]}' | sha256sum`
        assert_eq!(one.1, 38);
        assert_ne!(
            one.0,
            sum(&map(json!({"a": true, "b": [{"x": "é", "y": null}, 1]}))).0
        );
    }

    #[test]
    fn secrets_are_masked_by_what_is_known_by_name_and_by_look() {
        let masker = Masker::of_env(&[("API_KEY".to_owned(), "hunter2-hunter2".to_owned())]);
        let arguments = map(json!({
            "text": "say hunter2-hunter2 twice",
            "password": "short",
            "deep": [{"token": "abc"}, "ghp_0123456789abcdefghijklmnopqrstuvwxyz12"],
            "count": 3,
        }));
        let shown = shown(&masker, &arguments).to_string();
        for secret in ["hunter2", "short", "abc", "ghp_"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(
            shown.contains("say ") && shown.contains("\"count\":3"),
            "{shown}"
        );
    }

    #[test]
    fn long_arguments_are_cut_after_they_were_masked() {
        let secret = "hunter2-hunter2";
        let masker = Masker::of_env(&[("API_KEY".to_owned(), secret.to_owned())]);
        for pad in 990..1030 {
            let arguments = map(json!({"text": format!("{}{secret}", "é".repeat(pad / 2))}));
            let shown = shown(&masker, &arguments);
            assert!(!shown.to_string().contains("hunter"), "{pad}");
            assert!(shown.to_string().len() < KEPT_BYTES + 32);
        }
    }
}
