//! `tools/list`: page by page with bounds, each tool judged for itself, so that one bad tool never hides the others.

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult};
use rmcp::service::{Peer, ServiceError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::hidden::{hides_in_names, strip, strip_strings, without_hidden, written_out};
use super::names::unique_name;
use super::result::mask_strings;
use super::text::{clip_bytes, one_line};
use super::tool::{definition, tail};
use super::{Refused, Ruling, Schema, Tool};
use crate::config::Masker;
use crate::policy::Pin;

/// Tools of one server that are taken, and pages that are asked for.
const TOOLS: usize = 128;
const PAGES: usize = 64;
/// Reasons that are kept.
const REFUSALS: usize = 64;
const NAME_CHARS: usize = 128;
const TITLE_CHARS: usize = 200;
const DESCRIPTION_BYTES: usize = 2 * 1024;
/// Bytes of one tool's schema, and of all schemas of a server.
const SCHEMA_BYTES: usize = 32 * 1024;
const SCHEMAS_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of what is kept of a definition for people alone, beside what is kept anyway.
const TAIL_BYTES: usize = 8 * 1024;
const WRITTEN_OUT_BYTES: usize = 16 * 1024;
/// The annotations that are pinned: those that the protocol knows. Others come and go with the library that reads them.
const ANNOTATIONS: [&str; 5] = [
    "title",
    "readOnlyHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// A server's tools, good and refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Listing {
    pub(super) tools: Arc<[Tool]>,
    pub(super) refused: Arc<[Refused]>,
}

/// Asks a server for all its tools.
pub(super) async fn list_tools(
    peer: &Peer<RoleClient>,
    server: &str,
    masker: &Masker,
) -> Result<Listing, ServiceError> {
    let mut judge = Judge::new(server, masker);
    let mut cursor = None;
    let mut seen = HashSet::new();
    for page in 1.. {
        let request = ListToolsRequest {
            params: cursor
                .map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor))),
            ..ListToolsRequest::default()
        };
        let result = match peer
            .send_request(ClientRequest::ListToolsRequest(request))
            .await
        {
            Ok(result) => result,
            // A server that offers no tools may not know the question.
            Err(ServiceError::McpError(error)) if error.code.0 == -32601 && page == 1 => break,
            Err(error) => return Err(error),
        };
        let next = judge.page(result)?;
        match next {
            None => break,
            Some(next) if !seen.insert(next.clone()) => {
                judge.refuse(
                    "",
                    "the list's pages go round in a circle; the rest is left out",
                );
                break;
            }
            Some(_) if page == PAGES => {
                judge.refuse("", "the list has more than 64 pages; the rest is left out");
                break;
            }
            Some(next) => cursor = Some(next),
        }
        if judge.full {
            break;
        }
    }
    Ok(judge.done())
}

impl Listing {
    /// As it is kept in the cache.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "tools": self.tools.iter().map(|tool| {
                let mut annotations = Map::new();
                let hints = [
                    ("readOnlyHint", tool.read_only),
                    ("destructiveHint", tool.destructive),
                    ("openWorldHint", tool.open_world),
                ];
                for (name, hint) in hints {
                    if let Some(hint) = hint {
                        annotations.insert(name.to_owned(), hint.into());
                    }
                }
                json!({
                    "name": tool.name,
                    "title": tool.title,
                    "description": tool.description,
                    "inputSchema": tool.input_schema.to_map(),
                    "annotations": annotations,
                    "pin": tool.pin,
                    "hidden": tool.hidden,
                    "tail": tool.tail,
                    "writtenOut": tool.written_out,
                })
            }).collect::<Vec<_>>(),
            "refused": self.refused.iter().map(|refused| {
                json!({"tool": refused.tool, "reason": refused.reason})
            }).collect::<Vec<_>>(),
        })
    }

    /// From the cache; judged again, since bounds may have changed and files can be edited. The pins are those of what the
    /// server sent, which the cache does not hold.
    pub(super) fn from_json(server: &str, masker: &Masker, value: &Value) -> Option<Self> {
        let mut judge = Judge::new(server, masker);
        for tool in value.get("tools")?.as_array()? {
            judge.tool(tool, Some(Kept::read(tool)?));
        }
        for refused in value.get("refused").and_then(Value::as_array)? {
            judge.refuse(
                refused.get("tool")?.as_str()?,
                refused.get("reason")?.as_str()?,
            );
        }
        Some(judge.done())
    }
}

/// What the cache holds of a tool that cannot be told from the rest any more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    pin: Pin,
    hidden: usize,
    tail: Box<str>,
    written_out: Option<Box<str>>,
}

impl Kept {
    fn read(tool: &Value) -> Option<Self> {
        Self::deserialize(tool).ok()
    }
}

struct Judge<'a> {
    server: &'a str,
    /// What a server says of its tools may hold the secrets that it was given.
    masker: &'a Masker,
    tools: Vec<Tool>,
    names: HashSet<String>,
    refused: Vec<Refused>,
    schema_bytes: usize,
    full: bool,
}

impl<'a> Judge<'a> {
    fn new(server: &'a str, masker: &'a Masker) -> Self {
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
    fn page(&mut self, result: ServerResult) -> Result<Option<String>, ServiceError> {
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

    fn tool(&mut self, raw: &Value, kept: Option<Kept>) {
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

    fn refuse(&mut self, tool: &str, reason: &str) {
        if self.refused.len() < REFUSALS {
            self.refused.push(Refused {
                tool: one_line(&self.masker.mask_known(tool), NAME_CHARS),
                reason: one_line(reason, TITLE_CHARS),
            });
        }
    }

    fn done(self) -> Listing {
        Listing {
            tools: self.tools.into(),
            refused: self.refused.into(),
        }
    }
}

/// The pin of a tool as it came: the same whichever way it was read, so of what both ways know alone.
fn pin(name: &str, tool: &Map<String, Value>) -> Pin {
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

fn given<'a>(tool: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    tool.get(key).filter(|value| !value.is_null())
}

fn known_annotations(annotations: &Map<String, Value>) -> Value {
    let known = ANNOTATIONS.iter().filter_map(|key| {
        let value = given(annotations, key)?;
        Some(((*key).to_owned(), value.clone()))
    });
    Value::Object(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(page: Value) -> (Vec<String>, Vec<(String, String)>, Option<String>) {
        let result: ServerResult = serde_json::from_value(page).unwrap();
        let masker = Masker::default();
        let mut judge = Judge::new("s", &masker);
        let next = judge.page(result).unwrap();
        let listing = judge.done();
        (
            listing.tools.iter().map(|tool| tool.name.clone()).collect(),
            listing
                .refused
                .iter()
                .map(|refused| (refused.tool.clone(), refused.reason.clone()))
                .collect(),
            next,
        )
    }

    #[test]
    fn one_bad_tool_never_hides_the_others() {
        let good = json!({"name": "good", "inputSchema": {"type": "object"}});
        for (bad, tool, reason) in [
            (json!({"name": "bad"}), "bad", "inputSchema is missing"),
            (
                json!({"name": "bad", "inputSchema": null}),
                "bad",
                "inputSchema is missing",
            ),
            (
                json!({"name": "bad", "inputSchema": true}),
                "bad",
                "inputSchema is not an object",
            ),
            (
                json!({"name": "bad", "inputSchema": {"type": "string"}}),
                "bad",
                "inputSchema does not describe an object",
            ),
            (json!({"inputSchema": {}}), "", "it has no name"),
            (
                json!({"name": 7, "inputSchema": {}}),
                "",
                "its name is not a string",
            ),
            (json!("tool"), "", "it is not an object"),
            (
                json!({"name": "", "inputSchema": {}}),
                "",
                "its name is empty",
            ),
            (good.clone(), "good", "there is another tool of this name"),
        ] {
            let (tools, refused, _) = judged(json!({"tools": [good, bad]}));
            assert_eq!(tools, ["good"]);
            assert_eq!(refused, [(tool.to_owned(), reason.to_owned())]);
        }
    }

    #[test]
    fn wrong_hints_do_not_cost_the_tool() {
        let (tools, refused, next) = judged(json!({
            "tools": [{"name": "a", "title": 3, "inputSchema": {}, "annotations": {"readOnlyHint": "yes"}}],
            "nextCursor": 2,
        }));
        assert_eq!((tools, refused.len()), (vec!["a".to_owned()], 0));
        assert_eq!(next.as_deref(), Some("2"));
    }

    #[test]
    fn an_empty_cursor_ends_the_list() {
        let (_, _, next) = judged(json!({"tools": [], "nextCursor": ""}));
        assert_eq!(next, None);
    }

    fn listed(tool: &Value) -> Tool {
        let masker = Masker::default();
        let mut judge = Judge::new("s", &masker);
        judge
            .page(serde_json::from_value(json!({"tools": [tool]})).unwrap())
            .unwrap();
        let listing = judge.done();
        assert_eq!(listing.tools.len(), 1, "{:?}", listing.refused);
        listing.tools[0].clone()
    }

    #[test]
    fn d12_a_pin_is_of_everything_that_a_tool_says_and_of_nothing_else() {
        let tool = json!({"name": "a", "title": "T", "description": "D",
            "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}, "y": {}}},
            "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
        let pin = listed(&tool).pin;
        let same = [
            r#"{"annotations": {"readOnlyHint": true}, "outputSchema": {"type": "object"}, "description": "D", "title": "T",
                "inputSchema": {"properties": {"y": {}, "x": {"type": "string"}}, "type": "object"}, "name": "a"}"#,
        ];
        for text in same {
            assert_eq!(listed(&serde_json::from_str(text).unwrap()).pin, pin);
        }
        // A page that is gone through tool by tool pins the same.
        let masker = Masker::default();
        let mut judge = Judge::new("s", &masker);
        let page = json!({"tools": [{"name": "bad"}, tool]});
        judge.page(serde_json::from_value(page).unwrap()).unwrap();
        assert_eq!(judge.done().tools[0].pin, pin);
        for (field, value) in [
            ("name", json!("b")),
            ("title", json!("t")),
            ("title", Value::Null),
            ("description", json!("D\u{200b}")),
            (
                "inputSchema",
                json!({"type": "object", "properties": {"x": {"type": "number"}, "y": {}}}),
            ),
            ("outputSchema", json!({"type": "object", "title": ""})),
            ("outputSchema", Value::Null),
            ("annotations", json!({"readOnlyHint": false})),
            (
                "annotations",
                json!({"readOnlyHint": true, "openWorldHint": true}),
            ),
        ] {
            let mut other = tool.clone();
            other[field] = value;
            assert_ne!(listed(&other).pin, pin, "{field} is not pinned");
        }
    }

    #[test]
    fn d12_what_people_compare_shows_all_of_a_definition() {
        let definition = listed(
            &json!({"name": "a", "title": "T", "description": "D\u{202e}\nE",
            "inputSchema": {"type": "object", "title": "I"}, "outputSchema": {"title": "O"},
            "annotations": {"destructiveHint": true}}),
        )
        .definition();
        for part in [
            "title: T",
            "D\\u{202e}\nE",
            "\"I\"",
            "\"O\"",
            "destructiveHint",
        ] {
            assert!(
                definition.contains(part),
                "{part} is missing in {definition}"
            );
        }
    }

    #[test]
    fn d13_hidden_text_is_taken_out_of_what_a_tool_says_and_told() {
        let evil = "a\u{200b}b\u{202e}\u{e0041}\u{1b}[31m";
        let tool = listed(&json!({"name": "a", "title": evil, "description": evil,
            "inputSchema": {"type": "object", "properties": {"x": {"description": evil, "enum": [evil]}}}}));
        assert_eq!(tool.hidden, 4 * 4);
        assert_eq!(
            (tool.title.as_str(), tool.description.as_str()),
            ("ab", "ab")
        );
        let property = &tool.input_schema.to_map()["properties"]["x"];
        assert_eq!(*property, json!({"description": "ab", "enum": ["ab"]}));
        // Also after it slept in the cache.
        let listing = Listing {
            tools: vec![tool].into(),
            refused: Arc::default(),
        };
        let kept = Listing::from_json("s", &Masker::default(), &listing.to_json());
        assert_eq!(kept, Some(listing));
    }

    #[test]
    fn d14_names_that_cannot_be_told_apart_are_refused() {
        let named = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let argument = json!({"name": "x", "inputSchema": {"type": "object", "properties": {"a\u{200b}": {}}}});
        for (bad, reason) in [
            (named("good"), "there is another tool of this name"),
            (
                named("good\u{200b}"),
                "its name has characters that cannot be seen",
            ),
            (
                named("go\u{202e}od"),
                "its name has characters that cannot be seen",
            ),
            (named("good\n"), "its name has control characters"),
            (
                argument,
                "an argument's name has characters that cannot be seen",
            ),
        ] {
            let (tools, refused, _) = judged(json!({"tools": [named("good"), bad]}));
            assert_eq!(tools, ["good"]);
            assert_eq!(refused[0].1, reason);
        }
    }

    #[test]
    fn d13_d18_too_many_and_too_large_are_refused_with_a_reason() {
        let long = "é".repeat(DESCRIPTION_BYTES);
        let tool = listed(&json!({"name": "l", "description": long, "inputSchema": {}}));
        assert!(tool.description.len() <= 2048 && tool.description.ends_with('…'));

        let many: Vec<_> = (0..TOOLS + 9)
            .map(|n| json!({"name": format!("t{n}"), "inputSchema": {}}))
            .collect();
        let (tools, refused, _) = judged(json!({"tools": many}));
        assert_eq!(tools.len(), TOOLS);
        assert_eq!(refused[0].1, "only the first 128 tools are taken");

        let large = json!({"name": "l", "inputSchema": {"description": "x".repeat(SCHEMA_BYTES)}});
        assert_eq!(
            judged(json!({"tools": [large]})).1[0].1,
            "inputSchema is larger than 32 KiB"
        );
    }

    #[test]
    fn the_cache_gives_back_what_it_was_given() {
        let masker = Masker::default();
        let mut judge = Judge::new("s", &masker);
        judge.tool(&json!({"name": "a b", "title": "T", "description": "D", "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": true, "destructiveHint": false}}), None);
        judge.tool(&json!({"name": "bad"}), None);
        let listing = judge.done();
        assert_eq!(
            Listing::from_json("s", &masker, &listing.to_json()),
            Some(listing.clone())
        );
        assert_eq!(listing.tools[0].unique_name, "s__a_b");
        assert_eq!(Listing::from_json("s", &masker, &json!({"tools": 3})), None);
    }

    #[test]
    fn what_a_tool_says_of_itself_holds_no_secret_of_its_server() {
        let env = [("A_TOKEN".to_owned(), "hunter22-\"word".to_owned())];
        let masker = Masker::of_env(&env);
        let secret = &env[0].1;
        let mut judge = Judge::new("s", &masker);
        for tool in [
            json!({"name": "good", "title": format!("T {secret}"), "description": format!("{}{secret}", "D".repeat(4090)),
                "inputSchema": {"type": "object", "properties": {secret: {"default": [secret]}}}}),
            json!({"name": secret, "inputSchema": {}}),
            json!({"name": format!("bad {secret}")}),
        ] {
            judge.tool(&tool, None);
        }
        let listing = judge.done();
        let shown = format!("{listing:?} {}", listing.to_json());
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!((listing.tools.len(), listing.refused.len()), (1, 2));
        assert_eq!(listing.tools[0].input_schema.to_map()["type"], "object");
    }
}
