//! What it knows of MCP: the handshake, a list of tools, and the tools:
//!
//! - `echo {text}` gives the text back, `session {}` its session, `life {}` in which of its lives it is, `fail {}` an error;
//! - `count {to}` reports progress so often and says so;
//! - `wait {}` reports once and answers when the gate is opened, or is cancelled;
//! - `big {bytes}` gives a text of this size, `grow {}` adds a tool and says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Pages, State};

/// The revision without a handshake.
pub(super) const MODERN: &str = "2026-07-28";
const TOOLS: [&str; 8] = [
    "echo", "session", "life", "fail", "count", "wait", "big", "grow",
];

/// A request or a notification.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// `null` where it is a notification or an answer.
    pub(super) id: Value,
    params: Value,
    session: String,
}

impl Asked {
    pub(super) fn of(body: &Value, session: Option<&str>) -> Self {
        let method = body["method"].as_str().unwrap_or_default().to_owned();
        let id = if method.is_empty() {
            Value::Null
        } else {
            body["id"].clone()
        };
        Self {
            method,
            id,
            params: body["params"].clone(),
            session: session.unwrap_or_default().to_owned(),
        }
    }

    fn key(&self, id: &Value) -> String {
        format!("{} {id}", self.session)
    }
}

/// A notification.
pub(super) fn noted(state: &State, asked: &Asked) {
    if asked.method == "notifications/cancelled" {
        let key = asked.key(&asked.params["requestId"]);
        let call = state.waiting().get(&key).cloned();
        if let Some(call) = call {
            call.cancel();
        }
    }
}

/// The answer to a request; `None` where it was cancelled.
pub(super) async fn answer(
    state: &Arc<State>,
    asked: Asked,
    progress: &(dyn Fn(&Value) + Send + Sync),
) -> Option<Value> {
    let capabilities = json!({"tools": {"listChanged": true}});
    let info = json!({"name": "far", "version": "1"});
    let result = match asked.method.as_str() {
        "initialize" => {
            let wanted = asked.params["protocolVersion"].as_str().unwrap_or_default();
            let protocol = state.manners().protocol.unwrap_or(wanted).to_owned();
            json!({
                "protocolVersion": protocol,
                "capabilities": capabilities,
                "serverInfo": info,
            })
        }
        "server/discover" => json!({
            "resultType": "complete",
            "supportedVersions": [MODERN],
            "capabilities": capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": info},
        }),
        "ping" => json!({}),
        "tools/list" => list(state, &asked.params),
        "tools/call" => call(state, &asked, progress).await?,
        _ => {
            let error = json!({"code": -32601, "message": "Method not found"});
            return Some(json!({"jsonrpc": "2.0", "id": asked.id, "error": error}));
        }
    };
    Some(json!({"jsonrpc": "2.0", "id": asked.id, "result": result}))
}

fn list(state: &State, params: &Value) -> Value {
    let manners = state.manners().clone();
    let extra = (0..manners.tools).map(|number| format!("tool{number}"));
    let grown = (0..state.grown.load(Ordering::SeqCst)).map(|number| format!("grown{number}"));
    let names: Vec<String> = TOOLS
        .iter()
        .map(ToString::to_string)
        .chain(extra)
        .chain(grown)
        .collect();
    let cursor = params["cursor"].as_str().and_then(|text| text.parse().ok());
    let page: usize = cursor.unwrap_or(0);
    let (names, next) = match manners.pages {
        Pages::One => (&names[..], None),
        Pages::Of(size) => {
            let begin = (page * size).min(names.len());
            let end = (begin + size).min(names.len());
            (&names[begin..end], (end < names.len()).then_some(page + 1))
        }
        Pages::Loop | Pages::Endless if page == 0 => (&names[..], Some(1)),
        Pages::Loop => (&names[..0], Some(1)),
        Pages::Endless => (&names[..0], Some(page + 1)),
    };
    let tools: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))
        .collect();
    let mut result = json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"});
    if let Some(next) = next {
        result["nextCursor"] = next.to_string().into();
    }
    result
}

async fn call(
    state: &Arc<State>,
    asked: &Asked,
    progress: &(dyn Fn(&Value) + Send + Sync),
) -> Option<Value> {
    let arguments = &asked.params["arguments"];
    let token = &asked.params["_meta"]["progressToken"];
    let report = |done: u64, total: u64| {
        if !token.is_null() {
            progress(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": done, "total": total, "message": format!("step {done}")},
            }));
        }
    };
    let name = asked.params["name"].as_str().unwrap_or_default();
    let text = match name {
        "echo" => arguments["text"].as_str().unwrap_or_default().to_owned(),
        "session" => asked.session.clone(),
        "life" => state.lives.load(Ordering::SeqCst).to_string(),
        "fail" => {
            let content = json!([{"type": "text", "text": "it failed on purpose"}]);
            return Some(json!({"content": content, "isError": true}));
        }
        "count" => {
            let to = arguments["to"].as_u64().unwrap_or(3);
            (1..=to).for_each(|step| report(step, to));
            format!("counted to {to}")
        }
        "wait" => {
            report(1, 2);
            wait(state, asked).await?;
            "waited".to_owned()
        }
        "big" => "b".repeat(
            arguments["bytes"]
                .as_u64()
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or(0),
        ),
        "grow" => {
            state.grow();
            "grown".to_owned()
        }
        other => other.to_owned(),
    };
    Some(json!({"content": [{"type": "text", "text": text}], "isError": false}))
}

/// Until the gate is open; `None` where the call was cancelled.
async fn wait(state: &Arc<State>, asked: &Asked) -> Option<()> {
    /// Also where the client hangs up, which drops the handler.
    struct Waiting(Arc<State>, String);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.waiting().remove(&self.1);
            self.0.tell();
        }
    }
    let cancelled = CancellationToken::new();
    let key = asked.key(&asked.id);
    state.waiting().insert(key.clone(), cancelled.clone());
    let _waiting = Waiting(state.clone(), key);
    state.tell();
    let mut gate = state.gate.subscribe();
    tokio::select! {
        _ = gate.wait_for(|open| *open) => Some(()),
        () = cancelled.cancelled() => None,
    }
}
