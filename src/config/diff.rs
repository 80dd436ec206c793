//! Differences of texts, for people.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::secrets::MASK;
use super::{Document, FileKind, Files, visible};

/// The unified diff of both files with `context` lines, secrets masked on both sides; empty where nothing changed. Headers
/// name the files (`--- mcp.json`, `+++ mcp.json (proposed)`). A changed secret shows as changed although both are masked.
pub fn unified(old: &Files, new: &Files, context: usize) -> String {
    let mut text = String::new();
    for kind in [FileKind::Local, FileKind::Remote] {
        let (was, is) = (old.get(kind), new.get(kind));
        let (hidden_was, _) = was.masked();
        let (mut hidden_is, _) = is.masked();
        let whole = |document: &Document| Value::Object(document.0.clone());
        let mut shown = Value::Object(std::mem::take(&mut hidden_is.0));
        mark_changed(
            (&whole(was), &Value::Object(hidden_was.0.clone())),
            (&whole(is), &mut shown),
        );
        if let Value::Object(fields) = shown {
            hidden_is.0 = fields;
        }
        let (before, after) = (seen(&hidden_was.to_text()), seen(&hidden_is.to_text()));
        if before != after {
            let name = kind.file_name();
            let diff = similar::TextDiff::configure()
                .algorithm(similar::Algorithm::Patience)
                .diff_lines(before.as_str(), after.as_str());
            let hunks = diff
                .unified_diff()
                .context_radius(context)
                .header(name, &format!("{name} (proposed)"))
                .to_string();
            text.push_str(&hunks);
        }
    }
    text
}

/// The unified diff of two texts of the same name; empty where they are the same.
pub fn text_diff(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new) = (seen(old), seen(new));
    similar::TextDiff::configure()
        .algorithm(similar::Algorithm::Patience)
        .timeout(std::time::Duration::from_secs(1))
        .diff_lines(&*old, &*new)
        .unified_diff()
        .context_radius(2)
        .missing_newline_hint(false)
        .header(name, &format!("{name} (now)"))
        .to_string()
}

/// The text with what cannot be seen written out, but for its line ends and tabs: a difference that looks like none would be
/// agreed to.
fn seen(text: &str) -> String {
    let parts = text.split_inclusive(['\n', '\t']);
    parts
        .map(|part| match part.char_indices().next_back() {
            Some((end, c @ ('\n' | '\t'))) => format!("{}{c}", visible(&part[..end])),
            _ => visible(part),
        })
        .collect()
}

/// Marks each masked text whose secret changed: it and the one before look alike, but what they hide differs. The pairs
/// are (true value, masked value).
fn mark_changed(old: (&Value, &Value), new: (&Value, &mut Value)) {
    match (old.0, old.1, new.0, new.1) {
        (Value::Object(was), Value::Object(hidden), Value::Object(is), Value::Object(shown)) => {
            for (key, shown) in shown.iter_mut() {
                if let (Some(was), Some(hidden), Some(is)) =
                    (was.get(key), hidden.get(key), is.get(key))
                {
                    mark_changed((was, hidden), (is, shown));
                }
            }
        }
        (Value::Array(was), Value::Array(hidden), Value::Array(is), Value::Array(shown)) => {
            // An inserted argument moves the others, so equal looks are paired in their order, not by place.
            let mut alike: HashMap<String, VecDeque<(&Value, &Value)>> = HashMap::new();
            for pair in was.iter().zip(hidden) {
                alike.entry(pair.1.to_string()).or_default().push_back(pair);
            }
            for (is, shown) in is.iter().zip(shown) {
                if let Some(pair) = alike
                    .get_mut(&shown.to_string())
                    .and_then(VecDeque::pop_front)
                {
                    mark_changed(pair, (is, shown));
                }
            }
        }
        (was, hidden, is, shown) => {
            if was != is
                && *hidden == *shown
                && let Value::String(text) = shown
                && text.contains(MASK)
            {
                text.push_str(" (changed)");
            }
        }
    }
}

#[cfg(test)]
mod tests;
