//! Typed texts and a tool's schema: what an argument may be, and what a text means for it.

use serde_json::{Map, Value};

/// The schema of one argument.
pub(super) fn property<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.as_object()?.get(name)
}

/// What an argument may be, where the schema lists it.
pub(super) fn choices(schema: &Map<String, Value>, name: &str) -> Vec<Value> {
    let Some(property) = property(schema, name) else {
        return Vec::new();
    };
    if let Some(choices) = property.get("enum").and_then(Value::as_array) {
        return choices.clone();
    }
    if property.get("type").and_then(Value::as_str) == Some("boolean") {
        vec![true.into(), false.into()]
    } else {
        Vec::new()
    }
}

/// The schema, without its demand for completeness while arguments are still being asked for.
pub(super) fn without_required(
    schema: &Map<String, Value>,
    incomplete: bool,
) -> Map<String, Value> {
    let mut schema = schema.clone();
    if incomplete {
        schema.shift_remove("required");
    }
    schema
}

/// A typed text as the schema wants it; where it does not fit, it stays text and the check says so.
pub(super) fn typed(schema: &Map<String, Value>, name: &str, text: &str) -> Value {
    let kind = property(schema, name)
        .and_then(|property| property.get("type"))
        .and_then(Value::as_str);
    let parsed = || serde_json::from_str::<Value>(text).ok();
    let value = match kind {
        Some("string") => None,
        Some("integer" | "number") => parsed().filter(Value::is_number),
        Some("boolean") => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true.into()),
            "false" | "no" | "off" | "0" => Some(false.into()),
            _ => None,
        },
        Some("array") => parsed().filter(Value::is_array).or_else(|| {
            (!text.trim_start().starts_with('[')).then(|| {
                text.split(',')
                    .map(|item| Value::from(item.trim()))
                    .collect()
            })
        }),
        Some("object") => parsed().filter(Value::is_object),
        Some(_) | None => parsed(),
    };
    value.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_become_what_the_schema_wants() {
        let schema = json!({"properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "b": {"type": "boolean"}, "a": {"type": "array"},
            "o": {"type": "object"}, "x": {},
        }});
        let schema = schema.as_object().unwrap();
        let cases = [
            ("s", "12", json!("12")),
            ("i", "12", json!(12)),
            ("i", "twelve", json!("twelve")),
            ("b", "Yes", json!(true)),
            ("b", "0", json!(false)),
            ("a", "[1, 2]", json!([1, 2])),
            ("a", "one, two", json!(["one", "two"])),
            ("o", "{\"k\": 1}", json!({"k": 1})),
            ("o", "k", json!("k")),
            ("x", "12", json!(12)),
            ("x", "word", json!("word")),
            ("unknown", "true", json!(true)),
        ];
        for (name, text, expected) in cases {
            assert_eq!(typed(schema, name, text), expected, "{name}={text}");
        }
    }
}
