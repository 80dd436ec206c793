//! `tools/list`: page by page with bounds, each tool judged for itself, so that one bad tool never hides the others.

mod judge;
mod pinned;

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams};
use rmcp::service::{Peer, ServiceError};
use serde_json::{Map, Value, json};

use super::{Refused, Tool};
use crate::config::Masker;

use judge::{Judge, Kept};

/// Pages that are asked for.
const PAGES: usize = 64;

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

#[cfg(test)]
mod tests;
