//! Calling a tool: deadline, progress, cancel, and results as what they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest,
    ProgressToken, RequestId, ServerResult,
};
use rmcp::service::{PeerRequestOptions, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::handle::{Handle, Order};
use super::text::masked_clip;
use super::thread::Thread;
use super::transport::{ProgressSlot, UNREADABLE};
use super::{ServerState, result};
use crate::thread::ThreadId;

/// A call to make.
#[derive(Debug)]
pub struct CallRequest {
    /// In which thread.
    pub thread: ThreadId,
    /// Of which server.
    pub server: String,
    /// The tool, as the server calls it or by its unique name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Where progress goes; what does not fit is dropped, the newest report counts.
    pub progress: Option<mpsc::Sender<Progress>>,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Done so far, in the server's unit.
    pub done: f64,
    /// Of how many, where it is known.
    pub total: Option<f64>,
    /// In words, or empty; untrusted, bounded.
    pub message: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct CallOutcome {
    /// The parts, in order; bounded.
    pub content: Vec<Content>,
    /// `structuredContent`, where there was one.
    pub structured: Option<Value>,
    /// The tool said that it failed (`isError`).
    pub is_error: bool,
    /// From sending to the answer.
    pub took: Duration,
}

/// One part of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture, decoded.
    Image {
        /// Its media type.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A sound, decoded.
    Audio {
        /// Its media type.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// An embedded resource with text.
    TextResource {
        /// Its address.
        uri: String,
        /// Its media type, or empty.
        mime: String,
        /// Its text.
        text: String,
    },
    /// An embedded resource with bytes, decoded.
    BlobResource {
        /// Its address.
        uri: String,
        /// Its media type, or empty.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A link to a resource.
    Link {
        /// Its address.
        uri: String,
        /// Its name.
        name: String,
        /// What it is, or empty.
        description: String,
    },
    /// A kind that this version does not know, or a part that was malformed, as JSON.
    Unknown(Value),
}

/// Why there is no result. Texts have secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No such server in the thread.
    #[error("there is no server `{0}`")]
    NoServer(String),
    /// No such tool at the server.
    #[error("`{server}` has no tool `{tool}`")]
    NoTool {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
    /// The server is not running and cannot be started for the call.
    #[error("`{server}` is not running: {reason}")]
    NotRunning {
        /// The server.
        server: String,
        /// Why: disabled, failed and how, parked.
        reason: String,
    },
    /// No answer in time; the server was told to stop.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection ended before the answer.
    #[error("the server ended before it answered: {0}")]
    Ended(String),
    /// The server was disabled or removed before the answer; it does not come back by itself.
    #[error("`{server}` was switched off or removed while the call ran")]
    Stopped {
        /// The server.
        server: String,
    },
    /// The server refused the request (a JSON-RPC error).
    #[error("the server refused: {message} (code {code})")]
    Refused {
        /// The JSON-RPC code.
        code: i32,
        /// The server's words, bounded.
        message: String,
    },
    /// The answer is no tool result, or is over the limits.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(String),
    /// The server wants something that the bot does not offer (input, a task).
    #[error("the tool asks for something that this bot does not offer yet: {0}")]
    Unsupported(String),
}

/// How long the server may take to hear that a call was given up, before it counts as stuck.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// Characters of a refusal that are kept.
const MESSAGE_CHARS: usize = 2000;

/// Makes the call: straight to the connection, no task in between.
pub(super) async fn call(thread: &Thread, request: CallRequest) -> Result<CallOutcome, CallError> {
    let CallRequest {
        server,
        tool,
        arguments,
        progress,
        ..
    } = request;
    let Some(handle) = thread.handle(&server) else {
        return Err(match thread.glance().server(&server) {
            None => CallError::NoServer(server),
            Some(_) => CallError::NotRunning {
                server,
                reason: "remote servers are not served yet".to_owned(),
            },
        });
    };
    handle.touch();
    let mut known = own_name(thread, &server, &tool);
    let connection = connected(thread, &handle, known.is_none().then_some(&tool)).await?;
    if known.is_none() {
        known = own_name(thread, &server, &tool);
    }
    let Some(name) = known else {
        return Err(CallError::NoTool { server, tool });
    };
    let options = &thread.context.options;
    let asked = Instant::now();
    let result = ask(
        &connection,
        name,
        arguments,
        progress,
        (options.call_timeout, options.call_cap),
    )
    .await;
    let took = asked.elapsed();
    handle.touch();
    let result = match result {
        Ok(result) => result::parts(result, &connection.masker),
        Err(unanswered) => Err(unanswered),
    };
    match &result {
        Ok(_) | Err(CallError::Refused { .. }) => handle.meter.answered(took),
        Err(_) => handle.meter.unanswered(),
    }
    thread.counted();
    match result {
        Ok(parts) => Ok(CallOutcome {
            content: parts.content,
            structured: parts.structured,
            is_error: parts.is_error,
            took,
        }),
        Err(CallError::Ended(_)) if handle.is_let_go() => Err(CallError::Stopped { server }),
        Err(error) => Err(error),
    }
}

/// The tool's name at its server, from either of its names.
fn own_name(thread: &Thread, server: &str, tool: &str) -> Option<String> {
    let snapshot = thread.glance();
    snapshot
        .server(server)?
        .tool(tool)
        .map(|tool| tool.name.clone())
}

/// The server's connection; wakes it where it sleeps. Callers at the same time share one start.
async fn connected(
    thread: &Thread,
    handle: &Arc<Handle>,
    unknown_tool: Option<&String>,
) -> Result<Arc<Connection>, CallError> {
    if let Some(connection) = usable(handle) {
        return Ok(connection);
    }
    let not_running = |reason: &str| CallError::NotRunning {
        server: handle.name.as_str().to_owned(),
        reason: reason.to_owned(),
    };
    let mut changed = thread.watch();
    // The start has a deadline of its own; this one only says that nobody waits for ever.
    let until =
        tokio::time::Instant::now() + thread.context.options.start_timeout.saturating_mul(2);
    let mut woken = false;
    loop {
        changed.borrow_and_update();
        if let Some(connection) = usable(handle) {
            return Ok(connection);
        }
        let state = thread
            .glance()
            .server(handle.name.as_str())
            .map(|view| view.state.clone());
        match state {
            None => return Err(CallError::NoServer(handle.name.as_str().to_owned())),
            Some(ServerState::Asleep) if unknown_tool.is_some() => {
                // Its tools are all known: no process is started for one that is not among them.
                return Err(CallError::NoTool {
                    server: handle.name.as_str().to_owned(),
                    tool: unknown_tool.cloned().unwrap_or_default(),
                });
            }
            Some(ServerState::Asleep) if !woken => {
                woken = true;
                handle.order(Order::Wake);
            }
            Some(ServerState::Disabled) => {
                return Err(not_running(&format!(
                    "it is switched off; switch it on with `/mcp enable {}`",
                    handle.name
                )));
            }
            Some(ServerState::NotServed) => {
                return Err(not_running("remote servers are not served yet"));
            }
            Some(ServerState::Failed { reason } | ServerState::Parked { reason }) => {
                return Err(not_running(&reason));
            }
            Some(ServerState::BackingOff { reason, until, .. }) => {
                let wait = until.saturating_duration_since(Instant::now()).as_secs() + 1;
                return Err(not_running(&format!(
                    "{reason} It starts again within {wait} s."
                )));
            }
            Some(
                ServerState::Asleep | ServerState::Starting { .. } | ServerState::Ready { .. },
            ) => {}
        }
        if tokio::time::timeout_at(until, changed.changed())
            .await
            .is_err()
        {
            return Err(not_running("it did not start in time"));
        }
    }
}

/// A connection that ended is not used although its task has not noticed yet.
fn usable(handle: &Handle) -> Option<Arc<Connection>> {
    handle
        .connection
        .load_full()
        .filter(|connection| !connection.events.ended.is_cancelled())
}

async fn ask(
    connection: &Arc<Connection>,
    tool: String,
    arguments: Map<String, Value>,
    progress: Option<mpsc::Sender<Progress>>,
    (timeout, cap): (Duration, Duration),
) -> Result<ServerResult, CallError> {
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let began = tokio::time::Instant::now();
    let mut deadline = began + timeout.min(cap);
    let ended = || {
        CallError::Ended(
            connection
                .events
                .why()
                .unwrap_or("its connection closed")
                .to_owned(),
        )
    };
    let sent = tokio::time::timeout_at(
        deadline,
        connection
            .peer
            .send_cancellable_request(request, PeerRequestOptions::no_options()),
    );
    let mut request = match sent.await {
        Ok(Ok(request)) => request,
        Ok(Err(_)) => return Err(ended()),
        Err(_) => return Err(CallError::TimedOut(began.elapsed())),
    };
    // From here on, being dropped tells the server.
    let mut following = Following {
        connection,
        slot: connection.events.follow(
            &request.progress_token,
            progress,
            connection.masker.clone(),
        ),
        token: request.progress_token.clone(),
        id: Some(request.id.clone()),
    };
    let mut reports = 0;
    let timer = tokio::time::sleep_until(deadline);
    tokio::pin!(timer);
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut request.rx => break answer,
            () = connection.events.ended.cancelled() => {
                // An answer that came with the end is an answer.
                if let Ok(answer) = request.rx.try_recv() {
                    break Ok(answer);
                }
                following.id = None;
                return Err(ended());
            }
            () = &mut timer => {
                let now = following.slot.reports();
                let longest = began + cap;
                if now == reports || deadline >= longest {
                    return Err(CallError::TimedOut(began.elapsed()));
                }
                reports = now;
                deadline = (tokio::time::Instant::now() + timeout).min(longest);
                timer.as_mut().reset(deadline);
            }
        }
    };
    following.id = None;
    match answer {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(ServiceError::McpError(error))) if error.code.0 == UNREADABLE => {
            Err(CallError::Malformed(masked_clip(
                &connection.masker,
                &error.message,
                MESSAGE_CHARS,
            )))
        }
        Ok(Err(ServiceError::McpError(error))) => Err(CallError::Refused {
            code: error.code.0,
            message: masked_clip(&connection.masker, &error.message, MESSAGE_CHARS),
        }),
        Ok(Err(ServiceError::TransportSend(error))) => Err(CallError::Ended(masked_clip(
            &connection.masker,
            &error.error.to_string(),
            MESSAGE_CHARS,
        ))),
        Ok(Err(_)) | Err(_) => Err(ended()),
    }
}

/// A call under way. Whatever ends it before its answer (the deadline, a dropped future) is told to the server.
struct Following<'a> {
    connection: &'a Arc<Connection>,
    slot: Arc<ProgressSlot>,
    token: ProgressToken,
    /// `None` once it is answered.
    id: Option<RequestId>,
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.connection.events.unfollow(&self.token);
        let Some(id) = self.id.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let connection = self.connection.clone();
        // Bounded, and nobody waits for it: a server that does not read its stdin holds it up, and then it is ended.
        runtime.spawn(async move {
            let told = connection
                .peer
                .notify_cancelled(CancelledNotificationParam::new(
                    Some(id),
                    Some("nobody waits for the answer any more".to_owned()),
                ));
            if tokio::time::timeout(CANCEL_LIMIT, told).await.is_err() {
                connection.events.stuck();
            }
        });
    }
}
