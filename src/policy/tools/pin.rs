//! Pins: SHA-256 over canonical JSON, so that what was looked at can be told from what came later.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The hash of something as canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a value: equal for values that mean the same, whatever the order of their fields.
    pub fn of(value: &Value) -> Self {
        Self(Sha256::digest(canonical(value)).into())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.to_string()
    }
}

impl TryFrom<String> for Pin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("a pin is 64 hexadecimal digits");
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16)
                .map_err(|_| "a pin is 64 hexadecimal digits")?;
        }
        Ok(Self(bytes))
    }
}

/// Canonical JSON after RFC 8785: fields sorted by UTF-16 units, no blanks, one form for each text and whole number.
/// Fractions keep serde's shortest form, which is one form as well.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (place, (name, field)) in fields.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(field, text);
            }
            text.push('}');
        }
        Value::Number(number) => text.push_str(&number_text(number)),
        // serde_json escapes what RFC 8785 wants escaped, and in its form.
        Value::String(_) | Value::Bool(_) | Value::Null => text.push_str(&value.to_string()),
    }
}

/// `1.0` is `1`, as JavaScript writes it.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
            #[allow(clippy::cast_possible_truncation, reason = "whole and below 10^15")]
            let whole = float as i64;
            whole.to_string()
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_meaning_has_one_form() {
        for (text, expected) in [
            (
                r#"{ "b": 1, "a": [ true, null ] }"#,
                r#"{"a":[true,null],"b":1}"#,
            ),
            (r#"{"a":1.0,"b":-0.0,"c":1e2}"#, r#"{"a":1,"b":0,"c":100}"#),
            (
                r#"{"a":0.5,"b":18446744073709551615}"#,
                r#"{"a":0.5,"b":18446744073709551615}"#,
            ),
            (r#""\u00e4\u001f\/\n""#, "\"ä\\u001f/\\n\""),
            // By UTF-16 units: a surrogate pair comes before U+FB33.
            (
                r#"{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3}"#,
                "{\"€\":3,\"😀\":2,\"\u{fb33}\":1}",
            ),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(canonical(&value), expected);
        }
    }

    #[test]
    fn a_pin_is_kept_as_text_and_nothing_else_is_one() {
        let pin = Pin::of(&json!({"name": "a"}));
        let kept = serde_json::to_string(&pin).unwrap();
        assert_eq!(serde_json::from_str::<Pin>(&kept).unwrap(), pin);
        assert_ne!(Pin::of(&json!({"name": "b"})), pin);
        for text in ["\"\"", "\"zz\"", "3", "\"é\""] {
            assert!(serde_json::from_str::<Pin>(text).is_err(), "{text}");
        }
        assert!(Pin::try_from("é".repeat(32)).is_err());
    }
}
