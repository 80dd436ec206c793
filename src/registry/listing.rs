//! `tools/list`: page by page with bounds, each tool judged for itself, so that one bad tool never hides the others.

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult};
use rmcp::service::{Peer, ServiceError};
use serde_json::{Map, Value, json};

use super::names::unique_name;
use super::result::mask_strings;
use super::text::{clip, one_line};
use super::{Refused, Schema, Tool};
use crate::config::Masker;

/// Tools of one server that are taken, and pages that are asked for.
const TOOLS: usize = 512;
const PAGES: usize = 64;
/// Reasons that are kept.
const REFUSALS: usize = 64;
const NAME_CHARS: usize = 128;
const TITLE_CHARS: usize = 200;
const DESCRIPTION_CHARS: usize = 4096;
/// Bytes of one tool's schema, and of all schemas of a server.
const SCHEMA_BYTES: usize = 128 * 1024;
const SCHEMAS_BYTES: usize = 2 * 1024 * 1024;

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
                if let Some(hint) = tool.read_only {
                    annotations.insert("readOnlyHint".to_owned(), hint.into());
                }
                if let Some(hint) = tool.destructive {
                    annotations.insert("destructiveHint".to_owned(), hint.into());
                }
                json!({
                    "name": tool.name,
                    "title": tool.title,
                    "description": tool.description,
                    "inputSchema": tool.input_schema.to_map(),
                    "annotations": annotations,
                })
            }).collect::<Vec<_>>(),
            "refused": self.refused.iter().map(|refused| {
                json!({"tool": refused.tool, "reason": refused.reason})
            }).collect::<Vec<_>>(),
        })
    }

    /// From the cache; judged again, since bounds may have changed and files can be edited.
    pub(super) fn from_json(server: &str, masker: &Masker, value: &Value) -> Option<Self> {
        let mut judge = Judge::new(server, masker);
        for tool in value.get("tools")?.as_array()? {
            judge.tool(tool);
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
                let annotations = tool.annotations.unwrap_or_default();
                let title = tool.title.or(annotations.title).unwrap_or_default();
                self.add(
                    &tool.name,
                    &title,
                    tool.description.as_deref().unwrap_or_default(),
                    &tool.input_schema,
                    (annotations.read_only_hint, annotations.destructive_hint),
                );
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
            self.tool(tool);
        }
        Ok(match raw.get("nextCursor") {
            Some(Value::String(cursor)) if !cursor.is_empty() => Some(cursor.clone()),
            Some(Value::Number(cursor)) => Some(cursor.to_string()),
            _ => None,
        })
    }

    fn tool(&mut self, raw: &Value) {
        let Some(tool) = raw.as_object() else {
            return self.refuse("", "it is not an object");
        };
        let name = match tool.get("name") {
            Some(Value::String(name)) => name.as_str(),
            Some(_) => return self.refuse("", "its name is not a string"),
            None => return self.refuse("", "it has no name"),
        };
        let schema = match tool.get("inputSchema") {
            Some(Value::Object(schema)) => schema.clone(),
            Some(Value::Null) | None => return self.refuse(name, "inputSchema is missing"),
            Some(_) => return self.refuse(name, "inputSchema is not an object"),
        };
        // What is only for show or a hint is left out where it makes no sense; the tool still works.
        let text = |object: Option<&Map<String, Value>>, key: &str| {
            object
                .and_then(|object| object.get(key)?.as_str())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let annotations = tool.get("annotations").and_then(Value::as_object);
        let hint = |key: &str| annotations.and_then(|hints| hints.get(key)?.as_bool());
        let title = text(Some(tool), "title")
            .or_else(|| text(annotations, "title"))
            .unwrap_or_default();
        self.add(
            name,
            &title,
            &text(Some(tool), "description").unwrap_or_default(),
            &schema,
            (hint("readOnlyHint"), hint("destructiveHint")),
        );
    }

    fn add(
        &mut self,
        name: &str,
        title: &str,
        description: &str,
        input_schema: &Map<String, Value>,
        (read_only, destructive): (Option<bool>, Option<bool>),
    ) {
        let bytes = serde_json::to_vec(input_schema).map_or(usize::MAX, |text| text.len());
        let reason = if name.is_empty() {
            "its name is empty"
        } else if name.chars().nth(NAME_CHARS).is_some() {
            "its name is longer than 128 characters"
        } else if name.chars().any(char::is_control) {
            "its name has control characters"
        } else if self.masker.mask_known(name) != name {
            // It would have to be shown as it is, for it is called by it.
            "its name holds a secret of the server"
        } else if bytes > SCHEMA_BYTES {
            "inputSchema is larger than 128 KiB"
        } else if self.schema_bytes + bytes > SCHEMAS_BYTES {
            "the schemas of this server are larger than 2 MiB together"
        } else if input_schema
            .get("type")
            .is_some_and(|kind| kind.as_str().is_some_and(|kind| kind != "object"))
        {
            "inputSchema does not describe an object"
        } else if !self.names.insert(name.to_owned()) {
            "there is another tool of this name"
        } else {
            self.schema_bytes += bytes;
            self.tools.push(Tool {
                name: name.to_owned(),
                unique_name: unique_name(self.server, name),
                title: one_line(&self.masker.mask_known(title), TITLE_CHARS),
                description: clip(&self.masker.mask_known(description), DESCRIPTION_CHARS),
                input_schema: self.schema(input_schema),
                read_only,
                destructive,
            });
            return;
        };
        self.refuse(name, reason);
    }

    fn schema(&self, schema: &Map<String, Value>) -> Schema {
        if self.masker.knows_none() {
            return Schema::new(schema);
        }
        let mut masked = Value::Object(schema.clone());
        mask_strings(self.masker, &mut masked);
        Schema::new(masked.as_object().unwrap_or(schema))
    }

    fn has_room(&mut self) -> bool {
        if self.tools.len() >= TOOLS && !self.full {
            self.full = true;
            self.refused.truncate(REFUSALS - 1);
            self.refuse("", "only the first 512 tools are taken");
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

    #[test]
    fn too_many_and_too_large_are_refused_with_a_reason() {
        let many: Vec<_> = (0..TOOLS + 9)
            .map(|n| json!({"name": format!("t{n}"), "inputSchema": {}}))
            .collect();
        let (tools, refused, _) = judged(json!({"tools": many}));
        assert_eq!(tools.len(), TOOLS);
        assert_eq!(refused[0].1, "only the first 512 tools are taken");

        let large = json!({"name": "l", "inputSchema": {"description": "x".repeat(SCHEMA_BYTES)}});
        assert_eq!(
            judged(json!({"tools": [large]})).1[0].1,
            "inputSchema is larger than 128 KiB"
        );
    }

    #[test]
    fn the_cache_gives_back_what_it_was_given() {
        let masker = Masker::default();
        let mut judge = Judge::new("s", &masker);
        judge.tool(&json!({"name": "a b", "title": "T", "description": "D", "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": true, "destructiveHint": false}}));
        judge.tool(&json!({"name": "bad"}));
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
            judge.tool(&tool);
        }
        let listing = judge.done();
        let shown = format!("{listing:?} {}", listing.to_json());
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!((listing.tools.len(), listing.refused.len()), (1, 2));
        assert_eq!(listing.tools[0].input_schema.to_map()["type"], "object");
    }
}
