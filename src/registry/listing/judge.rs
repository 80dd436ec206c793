//! Each tool judged for itself: what is not taken, and what of the rest is shown.

use std::collections::HashSet;

use rmcp::model::ServerResult;
use rmcp::service::ServiceError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::hidden::{hides_in_names, strip, strip_strings, without_hidden, written_out};
use super::super::names::unique_name;
use super::super::result::mask_strings;
use super::super::text::{clip_bytes, one_line};
use super::super::tool::{definition, tail};
use super::super::{Refused, Ruling, Schema, Tool};
use super::Listing;
use super::pinned::{given, known_annotations, pin};
use crate::config::Masker;
use crate::policy::Pin;

/// Tools of one server that are taken.
pub(super) const TOOLS: usize = 128;
/// Reasons that are kept.
const REFUSALS: usize = 64;
const NAME_CHARS: usize = 128;
const TITLE_CHARS: usize = 200;
pub(super) const DESCRIPTION_BYTES: usize = 2 * 1024;
/// Bytes of one tool's schema, and of all schemas of a server.
pub(super) const SCHEMA_BYTES: usize = 32 * 1024;
const SCHEMAS_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of what is kept of a definition for people alone, beside what is kept anyway.
const TAIL_BYTES: usize = 8 * 1024;
const WRITTEN_OUT_BYTES: usize = 16 * 1024;

/// What the cache holds of a tool that cannot be told from the rest any more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pin: Pin,
    hidden: usize,
    tail: Box<str>,
    written_out: Option<Box<str>>,
}

impl Kept {
    pub(super) fn read(tool: &Value) -> Option<Self> {
        Self::deserialize(tool).ok()
    }
}

/// Takes what a server lists, tool by tool.
pub(super) struct Judge<'a> {
    server: &'a str,
    /// What a server says of its tools may hold the secrets that it was given.
    masker: &'a Masker,
    tools: Vec<Tool>,
    names: HashSet<String>,
    refused: Vec<Refused>,
    schema_bytes: usize,
    /// No more are taken.
    pub(super) full: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(server: &'a str, masker: &'a Masker) -> Self {
        Self {
            server,
            masker,
            tools: Vec::new(),
            names: HashSet::new(),
            refused: Vec::new(),
            schema_bytes: 0,
            full: false,
        }
    }

    /// Takes a page's tools; the cursor of the next one. rmcp takes a page whole or not at all: what it does not take
    /// comes as raw JSON and is gone through tool by tool.
    pub(super) fn page(&mut self, result: ServerResult) -> Result<Option<String>, ServiceError> {
        if let ServerResult::ListToolsResult(page) = result {
            for tool in page.tools {
                if !self.has_room() {
                    break;
                }
                let raw = serde_json::to_value(tool);
                self.tool(&raw.map_err(|_| ServiceError::UnexpectedResponse)?, None);
            }
            return Ok(page.next_cursor.filter(|cursor| !cursor.is_empty()));
        }
        let raw = match result {
            ServerResult::CustomResult(raw) => raw.0,
            other => serde_json::to_value(other).map_err(|_| ServiceError::UnexpectedResponse)?,
        };
        let Some(tools) = raw.get("tools").and_then(Value::as_array) else {
            return Err(ServiceError::UnexpectedResponse);
        };
        for tool in tools {
            if !self.has_room() {
                break;
            }
            self.tool(tool, None);
        }
        Ok(match raw.get("nextCursor") {
            Some(Value::String(cursor)) if !cursor.is_empty() => Some(cursor.clone()),
            Some(Value::Number(cursor)) => Some(cursor.to_string()),
            _ => None,
        })
    }

    pub(super) fn tool(&mut self, raw: &Value, kept: Option<Kept>) {
        let Some(tool) = raw.as_object() else {
            return self.refuse("", "it is not an object");
        };
        let name = match tool.get("name") {
            Some(Value::String(name)) => name.as_str(),
            Some(_) => return self.refuse("", "its name is not a string"),
            None => return self.refuse("", "it has no name"),
        };
        let schema = match tool.get("inputSchema") {
            Some(schema @ Value::Object(_)) => schema,
            Some(Value::Null) | None => return self.refuse(name, "inputSchema is missing"),
            Some(_) => return self.refuse(name, "inputSchema is not an object"),
        };
        match self.problem(name, schema) {
            Some(reason) => self.refuse(name, reason),
            None => self.add(name, tool, schema, kept),
        }
    }

    /// Why a tool of this name and schema is not taken. What is taken is counted.
    fn problem(&mut self, name: &str, schema: &Value) -> Option<&'static str> {
        let bytes = serde_json::to_vec(schema).map_or(usize::MAX, |text| text.len());
        let kind = schema.get("type").and_then(Value::as_str);
        let problem = if name.is_empty() {
            "its name is empty"
        } else if name.chars().nth(NAME_CHARS).is_some() {
            "its name is longer than 128 characters"
        } else if name.chars().any(char::is_control) {
            "its name has control characters"
        } else if without_hidden(name).1 > 0 {
            "its name has characters that cannot be seen"
        } else if self.masker.mask_known(name) != name {
            // It would have to be shown as it is, for it is called by it.
            "its name holds a secret of the server"
        } else if bytes > SCHEMA_BYTES {
            "inputSchema is larger than 32 KiB"
        } else if self.schema_bytes + bytes > SCHEMAS_BYTES {
            "the schemas of this server are larger than 2 MiB together"
        } else if kind.is_some_and(|kind| kind != "object") {
            "inputSchema does not describe an object"
        } else if hides_in_names(schema) {
            // An argument is sent by its name: it cannot be cleaned.
            "an argument's name has characters that cannot be seen"
        } else if !self.names.insert(name.to_owned()) {
            "there is another tool of this name"
        } else {
            self.schema_bytes += bytes;
            return None;
        };
        Some(problem)
    }

    fn add(&mut self, name: &str, tool: &Map<String, Value>, schema: &Value, kept: Option<Kept>) {
        // What is only for show or a hint is left out where it makes no sense; the tool still works.
        let text = |object: Option<&Map<String, Value>>, key: &str| {
            object
                .and_then(|object| object.get(key)?.as_str())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let annotations = tool.get("annotations").and_then(Value::as_object);
        let hint = |key: &str| annotations.and_then(|hints| hints.get(key)?.as_bool());
        let title = text(Some(tool), "title").or_else(|| text(annotations, "title"));
        let description = text(Some(tool), "description");
        let (mut title, mut description) =
            (title.unwrap_or_default(), description.unwrap_or_default());
        let mut clean = schema.clone();
        let mut hidden = strip_strings(&mut clean);
        let written = kept.is_none().then(|| (title.clone(), description.clone()));
        hidden += strip(&mut title) + strip(&mut description);
        let kept = kept.unwrap_or_else(|| Kept {
            pin: pin(name, tool),
            hidden,
            tail: self.tail(tool, annotations).into(),
            written_out: written
                .filter(|_| hidden > 0)
                .map(|(title, description)| self.written_out(&title, &description, schema).into()),
        });
        self.tools.push(Tool {
            name: name.to_owned(),
            unique_name: unique_name(self.server, name),
            title: one_line(&self.masker.mask_known(&title), TITLE_CHARS),
            description: clip_bytes(&self.masker.mask_known(&description), DESCRIPTION_BYTES),
            input_schema: self.schema(clean),
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            open_world: hint("openWorldHint"),
            pin: kept.pin,
            hidden: kept.hidden,
            ruling: Ruling::On,
            tail: kept.tail,
            written_out: kept.written_out,
        });
    }

    fn schema(&self, mut schema: Value) -> Schema {
        if !self.masker.knows_none() {
            mask_strings(self.masker, &mut schema);
        }
        Schema::new(schema.as_object().unwrap_or(&Map::new()))
    }

    /// What a definition has beside texts and arguments, for people. What is too long is named by its hash, so that a
    /// change of it is seen.
    fn tail(&self, tool: &Map<String, Value>, annotations: Option<&Map<String, Value>>) -> String {
        let output = given(tool, "outputSchema");
        let annotations = annotations.map(known_annotations);
        let annotations =
            annotations.filter(|known| known.as_object().is_some_and(|known| !known.is_empty()));
        let whole = tail(output, annotations.as_ref());
        let text = if whole.len() <= TAIL_BYTES {
            whole
        } else {
            let output =
                output.map(|output| format!("something long (SHA-256 {})", Pin::of(output)));
            tail(output.map(Value::from).as_ref(), None)
        };
        written_out(&self.masker.mask_known(&text))
    }

    fn written_out(&self, title: &str, description: &str, schema: &Value) -> String {
        let text = definition(title, description, schema, "");
        clip_bytes(
            &self.masker.mask_known(&written_out(&text)),
            WRITTEN_OUT_BYTES,
        )
    }

    fn has_room(&mut self) -> bool {
        if self.tools.len() >= TOOLS && !self.full {
            self.full = true;
            self.refused.truncate(REFUSALS - 1);
            self.refuse("", "only the first 128 tools are taken");
        }
        !self.full
    }

    pub(super) fn refuse(&mut self, tool: &str, reason: &str) {
        if self.refused.len() < REFUSALS {
            self.refused.push(Refused {
                tool: one_line(&self.masker.mask_known(tool), NAME_CHARS),
                reason: one_line(reason, TITLE_CHARS),
            });
        }
    }

    pub(super) fn done(self) -> Listing {
        Listing {
            tools: self.tools.into(),
            refused: self.refused.into(),
        }
    }
}
