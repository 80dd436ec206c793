//! What of a tool's definition is pinned.

use serde_json::{Map, Value, json};

use crate::policy::Pin;

/// The annotations that are pinned: those that the protocol knows. Others come and go with the library that reads them.
const ANNOTATIONS: [&str; 5] = [
    "title",
    "readOnlyHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// The pin of a tool as it came: the same whichever way it was read, so of what both ways know alone.
pub(super) fn pin(name: &str, tool: &Map<String, Value>) -> Pin {
    let mut pinned = Map::new();
    pinned.insert("name".to_owned(), name.into());
    for key in ["title", "description", "inputSchema", "outputSchema"] {
        if let Some(value) = given(tool, key) {
            pinned.insert(key.to_owned(), value.clone());
        }
    }
    match tool.get("annotations") {
        Some(Value::Object(annotations)) => {
            pinned.insert("annotations".to_owned(), known_annotations(annotations));
        }
        None | Some(Value::Null) => {
            pinned.insert("annotations".to_owned(), json!({}));
        }
        Some(other) => {
            pinned.insert("annotations".to_owned(), other.clone());
        }
    }
    Pin::of(&Value::Object(pinned))
}

pub(super) fn given<'a>(tool: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    tool.get(key).filter(|value| !value.is_null())
}

pub(super) fn known_annotations(annotations: &Map<String, Value>) -> Value {
    let known = ANNOTATIONS.iter().filter_map(|key| {
        let value = given(annotations, key)?;
        Some(((*key).to_owned(), value.clone()))
    });
    Value::Object(known.collect())
}
