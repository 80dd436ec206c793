//! A tool as a server offers it, bounded and checked, and its unique name in the thread.

use serde_json::{Map, Value};

use crate::policy::{Hints, Pin, Ruling};

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
    /// Hints of MCP's tool annotations: it speaks with the world outside. Untrusted.
    pub open_world: Option<bool>,
    /// The pin of its definition as it came: name, title, description, both schemas, annotations.
    pub pin: Pin,
    /// How many characters that cannot be seen were taken out of its texts.
    pub hidden: usize,
    /// Whether it can be used.
    pub ruling: Ruling,
    /// The rest of its definition, for people: what it answers with, and its annotations.
    pub(super) tail: Box<str>,
    /// The part before that, for people, where something in it cannot be seen.
    pub(super) written_out: Option<Box<str>>,
}

impl Tool {
    /// Its definition for people who compare it with another one: a part a paragraph, what cannot be seen written out.
    pub fn definition(&self) -> String {
        match &self.written_out {
            Some(text) => format!("{text}{}", self.tail),
            None => definition(
                &self.title,
                &self.description,
                &Value::Object(self.input_schema.to_map()),
                &self.tail,
            ),
        }
    }

    /// What it says of itself, to be judged.
    pub fn hints(&self) -> Hints<'_> {
        let schema = self.input_schema.to_map();
        let properties = schema.get("properties").and_then(Value::as_object);
        Hints {
            name: &self.name,
            description: &self.description,
            arguments: properties
                .map(|properties| properties.keys().cloned().collect())
                .unwrap_or_default(),
            read_only: self.read_only,
            destructive: self.destructive,
            open_world: self.open_world,
        }
    }
}

/// A definition for people.
pub(super) fn definition(title: &str, description: &str, schema: &Value, tail: &str) -> String {
    let part = |name: &str, text: &str| match text {
        "" => String::new(),
        text => format!("{name}{text}\n\n"),
    };
    let (title, description) = (part("title: ", title), part("description:\n", description));
    format!("{title}{description}takes:\n{}\n{tail}", pretty(schema))
}

/// The rest of a definition for people.
pub(super) fn tail(output_schema: Option<&Value>, annotations: Option<&Value>) -> String {
    let part = |name: &str, value: Option<&Value>| {
        value.map_or_else(String::new, |value| {
            format!("\n{name}:\n{}\n", pretty(value))
        })
    };
    part("answers with", output_schema) + &part("annotations", annotations)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
