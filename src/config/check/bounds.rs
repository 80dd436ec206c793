//! The limits of an entry that a schema cannot say: bytes, NUL, the whole launch, the form of hosts, depth.

use serde_json::{Map, Value};

use super::super::schema_words::joined;
use super::super::{FileKind, HostPattern, Problem, limits, parse};

/// What an entry has beyond these limits.
pub(super) fn limits_of(kind: FileKind, path: &str, entry: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let total = std::cell::Cell::new(0);
    let mut text = |place: String, value: &Value| {
        let Some(text) = value.as_str() else {
            return;
        };
        total.set(total.get() + text.len() + 1);
        if text.len() > limits::VALUE_BYTES {
            problems.push(Problem::new(
                place,
                format!(
                    "has {} bytes; at most {} are allowed",
                    text.len(),
                    limits::VALUE_BYTES
                ),
            ));
        } else if text.contains('\0') {
            problems.push(Problem::new(place, "has a NUL character in it"));
        }
    };
    for field in ["command", "url"] {
        if let Some(value) = entry.get(field) {
            text(joined(path, field), value);
        }
    }
    for (index, value) in entry
        .get("args")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        text(format!("{path}.args[{index}]"), value);
    }
    for field in ["env", "headers"] {
        let place = joined(path, field);
        for (name, value) in entry
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            text(joined(&place, name), &Value::from(name.as_str()));
            text(joined(&place, name), value);
        }
    }
    let launch = total.get();
    if let Some(value) = entry.get("cwd") {
        text(joined(path, "cwd"), value);
    }
    if kind == FileKind::Local && launch > limits::LAUNCH_BYTES {
        problems.push(Problem::new(
            path,
            format!(
                "command, args and env have {launch} bytes together; at most {} are allowed",
                limits::LAUNCH_BYTES
            ),
        ));
    }
    if kind == FileKind::Local {
        let hosts = entry.get("network").and_then(Value::as_array);
        for (index, host) in hosts.into_iter().flatten().enumerate() {
            if let Some(Err(bad)) = host.as_str().map(HostPattern::parse) {
                problems.push(Problem::new(
                    format!("{path}.network[{index}]"),
                    bad.to_string(),
                ));
            }
        }
    }
    if too_deep(entry) {
        problems.push(Problem::new(path, "is nested too deep"));
    }
    problems
}

/// Whether an entry nests deeper than a file could be read back with; two levels are above it.
pub(super) fn too_deep(entry: &Map<String, Value>) -> bool {
    fn deeper(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left == 0 || items.iter().any(|item| deeper(item, left - 1)),
            Value::Object(map) => left == 0 || map.values().any(|item| deeper(item, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    entry.values().any(|value| deeper(value, parse::DEPTH - 3))
}
