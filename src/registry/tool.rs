//! A tool as a server offers it, bounded and checked, and its unique name in the thread.

use serde_json::{Map, Value};

/// The JSON Schema of a tool's arguments, an object, kept as its text: as a tree it takes several times the memory, and it
/// is read only when somebody looks at the tool or calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema(Box<str>);

impl Schema {
    /// Keeps a schema.
    pub fn new(schema: &Map<String, Value>) -> Self {
        // Writing a map with text keys to memory cannot fail.
        Self(serde_json::to_string(schema).unwrap_or_default().into())
    }

    /// The schema as a tree.
    pub fn to_map(&self) -> Map<String, Value> {
        // It was written by `new`.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// One tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The server's name for it; what `tools/call` is sent.
    pub name: String,
    /// Its name in the thread: `server__tool`, at most 64 characters of `[A-Za-z0-9_-]`.
    pub unique_name: String,
    /// A title for people, or empty; untrusted.
    pub title: String,
    /// What it does; untrusted, bounded.
    pub description: String,
    /// JSON Schema of its arguments; an object.
    pub input_schema: Schema,
    /// Hints of MCP's tool annotations: it only reads. Untrusted.
    pub read_only: Option<bool>,
    /// Hints of MCP's tool annotations: it may destroy. Untrusted.
    pub destructive: Option<bool>,
}
