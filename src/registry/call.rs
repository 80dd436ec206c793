//! Calling a tool: deadline, progress, cancel, and results as what they are.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest,
    ProgressToken, RequestId, ServerResult,
};
use rmcp::service::{PeerRequestOptions, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::declined::{ROUNDS, declined};
use super::handle::{Handle, Order};
use super::remote::{self, WireError};
use super::text::masked_clip;
use super::thread::Thread;
use super::transport::{Limits, UNREADABLE, Verdict};
use super::trouble::Mend;
use super::{Ruling, ServerKind, ServerState, Stage, result};
use crate::config::Masker;
use crate::policy::Tier;
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
    /// How long the call waited for its turn; its deadline counts from then.
    pub waited: Duration,
}

/// What is known of a server before it is called.
#[derive(Debug, Clone)]
pub struct Footing {
    /// A call has this long without progress.
    pub timeout: Duration,
    /// Knows its secrets.
    pub masker: Masker,
    /// How it is confined, where it runs here.
    pub tier: Option<Tier>,
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
    /// Characters that cannot be seen, which were taken out of the parts.
    pub hidden: usize,
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
    /// The tool is switched off in the thread.
    #[error("`{tool}` of `{server}` is off here")]
    Off {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Why.
        ruling: Ruling,
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
    /// The server lets nobody in without a login, or not any more.
    #[error("`{server}` wants a login: {reason}")]
    NeedsLogin {
        /// The server.
        server: String,
        /// Why, a sentence.
        reason: String,
        /// The server's `WWW-Authenticate` header, where it sent one; for the login's begin.
        challenge: Option<String>,
    },
    /// The login that there is does not reach for this tool (RFC 6750: `insufficient_scope`).
    #[error("`{server}` wants more rights for this than the login gave")]
    MoreRights {
        /// The server.
        server: String,
        /// What it wants, as far as it says; untrusted, bounded.
        scope: Option<String>,
        /// Its `WWW-Authenticate` header; for the login's begin.
        challenge: String,
    },
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
        waited,
        ..
    } = request;
    let Some(handle) = thread.handle(&server) else {
        return Err(CallError::NoServer(server));
    };
    handle.touch(Instant::now());
    let mut known = own_name(thread, &server, &tool)?;
    let ready = usable(&handle).filter(|_| known.is_some());
    let mut connection = if let Some(connection) = ready {
        connection
    } else {
        let unknown = known.is_none().then_some(&tool);
        let connection = connected(thread, &handle, unknown).await?;
        // It may have come up with another definition of the tool.
        known = own_name(thread, &server, &tool)?;
        connection
    };
    let Some(name) = known else {
        return Err(CallError::NoTool { server, tool });
    };
    let params = CallToolRequestParams::new(name).with_arguments(arguments);
    // A remote server that forgot its session did nothing: there it is asked once more. One that asks is asked again, too.
    let spare = (!connection.is_local).then(|| (params.clone(), progress.clone()));
    let mut asked = Instant::now();
    let limits = limits(thread, &connection);
    let from = |asked: Instant| asked.checked_sub(waited).unwrap_or(asked);
    let mut next = (params, progress);
    let (mut has_come_back, mut rounds) = (false, 0);
    // One place that asks: the future of each would be a part of this one, which is moved to its task as a whole.
    let result = loop {
        let result = ask(&handle, &connection, next, from(asked), limits).await;
        let Some((params, progress)) = &spare else {
            break result;
        };
        match &result {
            Err(Unanswered::SessionLost) if !has_come_back && rounds == 0 => {
                has_come_back = true;
                drop(connection);
                connection = connected(thread, &handle, None).await?;
                own_name(thread, &server, &tool)?;
                asked = Instant::now();
                next = (params.clone(), progress.clone());
            }
            Ok(answer @ ServerResult::InputRequiredResult(_)) if rounds < ROUNDS => {
                let Some(again) = declined(answer, params.clone()) else {
                    break result;
                };
                rounds += 1;
                next = (again, progress.clone());
            }
            _ => break result,
        }
    };
    let answered = Instant::now();
    let took = answered.duration_since(asked);
    handle.touch(answered);
    let result = match result {
        Ok(result) => result::parts(result, &connection.masker.load()),
        Err(Unanswered::SessionLost) => {
            Err(CallError::Ended("it forgot its session again".to_owned()))
        }
        Err(Unanswered::Because(error)) => Err(error),
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
            hidden: parts.hidden,
        }),
        Err(CallError::Ended(_)) if handle.is_let_go() => Err(CallError::Stopped { server }),
        Err(error) => Err(error),
    }
}

/// What is known of the server now.
pub(super) fn footing(thread: &Thread, server: &str) -> Option<Footing> {
    let handle = thread.handle(server)?;
    let connection = handle.connection.load_full();
    let is_local = thread
        .glance()
        .server(server)
        .is_some_and(|view| matches!(view.kind, ServerKind::Local));
    let timeout = connection
        .as_ref()
        .and_then(|connection| connection.timeout);
    let masker = match &connection {
        Some(connection) => connection.masker.load_full(),
        None => handle.masker.load_full(),
    };
    Some(Footing {
        timeout: timeout.unwrap_or(thread.context.options.call_timeout),
        masker: Masker::clone(&masker),
        tier: thread.context.outside.sandbox.tier.filter(|_| is_local),
    })
}

/// The tool's name at its server, from either of its names; refused where it is off.
fn own_name(thread: &Thread, server: &str, tool: &str) -> Result<Option<String>, CallError> {
    let snapshot = thread.glance();
    let found = snapshot.server(server).and_then(|server| server.tool(tool));
    match found {
        Some(found) if found.ruling != Ruling::On => Err(CallError::Off {
            server: server.to_owned(),
            tool: found.name.clone(),
            ruling: found.ruling,
        }),
        found => Ok(found.map(|found| found.name.clone())),
    }
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
    let _awaiting = handle.awaiting();
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
            Some(ServerState::WaitingForApproval) => {
                return Err(not_running(
                    "nobody has agreed to it yet; `/mcp connect` asks",
                ));
            }
            Some(ServerState::NeedsLogin { reason, challenge }) => {
                return Err(CallError::NeedsLogin {
                    server: handle.name.as_str().to_owned(),
                    reason,
                    challenge,
                });
            }
            Some(ServerState::Failed { reason } | ServerState::Parked { reason }) => {
                return Err(not_running(&reason));
            }
            Some(ServerState::BackingOff { reason, until, .. }) => {
                let wait = until.saturating_duration_since(Instant::now()).as_secs() + 1;
                return Err(not_running(&format!(
                    "{reason} It is tried again within {wait} s."
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

/// Why a call has no answer.
enum Unanswered {
    /// The server does not know the session: surely nothing was done.
    SessionLost,
    Because(CallError),
}

impl From<CallError> for Unanswered {
    fn from(error: CallError) -> Self {
        Self::Because(error)
    }
}

fn limits(thread: &Thread, connection: &Connection) -> Limits {
    let options = &thread.context.options;
    let timeout = connection.timeout.unwrap_or(options.call_timeout);
    Limits {
        timeout,
        // Whoever gives a server more time means it.
        cap: options.call_cap.max(timeout),
    }
}

async fn ask(
    handle: &Handle,
    connection: &Arc<Connection>,
    (params, progress): (CallToolRequestParams, Option<mpsc::Sender<Progress>>),
    began: Instant,
    limits: Limits,
) -> Result<ServerResult, Unanswered> {
    let began = tokio::time::Instant::from(began);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let deadline = began + limits.timeout.min(limits.cap);
    let ended = || ended(handle, connection);
    // In a block, so that a call that waits for its answer holds no room for its sending.
    let sent = {
        let mut sending = std::pin::pin!(
            connection
                .peer
                .send_cancellable_request(request, PeerRequestOptions::no_options())
        );
        // It waits only where too much is waiting already, and needs a timer only then.
        match futures::poll!(&mut sending) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => tokio::time::timeout_at(deadline, sending).await,
        }
    };
    let mut request = match sent {
        Ok(Ok(request)) => request,
        Ok(Err(_)) => return Err(ended()),
        Err(_) => return Err(CallError::TimedOut(began.elapsed()).into()),
    };
    let progress = progress.map(|sender| (sender, connection.masker.load_full()));
    let events = &connection.events;
    let slot = events.follow(&request.progress_token, progress, began, limits);
    // From here on, being dropped tells the server.
    let mut following = Following {
        connection,
        token: request.progress_token.clone(),
        id: Some(request.id.clone()),
    };
    let answer = match slot.answer(&mut request.rx).await {
        Ok(answer) => answer,
        Err(Verdict::Late) => return Err(CallError::TimedOut(began.elapsed()).into()),
        // An answer that came with the end is an answer.
        Err(Verdict::Ended) => {
            let Ok(answer) = request.rx.try_recv() else {
                following.id = None;
                return Err(ended());
            };
            Ok(answer)
        }
    };
    following.id = None;
    match answer {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(ServiceError::McpError(error))) if error.code.0 == UNREADABLE => {
            let words = masked_clip(&connection.masker.load(), &error.message, MESSAGE_CHARS);
            Err(CallError::Malformed(words).into())
        }
        Ok(Err(ServiceError::McpError(error))) => Err(CallError::Refused {
            code: error.code.0,
            message: masked_clip(&connection.masker.load(), &error.message, MESSAGE_CHARS),
        }
        .into()),
        Ok(Err(error)) => Err(match remote::of_service(&error) {
            Some(error) => on_the_wire(handle, connection, &error),
            None => {
                if let ServiceError::TransportSend(error) = error {
                    let (masker, words) = (connection.masker.load(), error.error.to_string());
                    CallError::Ended(masked_clip(&masker, &words, MESSAGE_CHARS)).into()
                } else {
                    // The stream of this one answer broke; whether the server is there is asked.
                    connection.events.suspected.notify_one();
                    ended()
                }
            }
        }),
        Err(_) => Err(ended()),
    }
}

/// The connection ended before the answer, and nobody knows whether something was done.
fn ended(handle: &Handle, connection: &Connection) -> Unanswered {
    let trouble = connection.events.trouble();
    let error = match trouble.mend {
        Mend::Login(challenge) => CallError::NeedsLogin {
            server: handle.name.as_str().to_owned(),
            reason: trouble.what,
            challenge,
        },
        _ => CallError::Ended(trouble.what),
    };
    error.into()
}

/// What happened to the request of a call on its way to a remote server. What is true of the server as a whole ends the
/// connection, so that its task sees to it; what makes it suspect is looked into.
fn on_the_wire(handle: &Handle, connection: &Connection, error: &WireError) -> Unanswered {
    let server = handle.name.as_str().to_owned();
    let words = masked_clip(&connection.masker.load(), &error.to_string(), MESSAGE_CHARS);
    match error {
        WireError::SessionLost => {
            connection.events.fail(error.trouble(Stage::Http));
            Unanswered::SessionLost
        }
        WireError::NeedsLogin { challenge, .. } => {
            connection.events.fail(error.trouble(Stage::Auth));
            CallError::NeedsLogin {
                server,
                reason: words,
                challenge: challenge.clone(),
            }
            .into()
        }
        WireError::MoreRights { scope, challenge } => CallError::MoreRights {
            server,
            scope: scope.clone(),
            challenge: challenge.clone(),
        }
        .into(),
        WireError::TooLarge { .. } | WireError::Malformed(_) | WireError::WrongKind(_) => {
            CallError::Malformed(words).into()
        }
        WireError::Closed => ended(handle, connection),
        WireError::Net(_)
        | WireError::Redirect { .. }
        | WireError::Later(_)
        | WireError::Status { .. } => {
            connection.events.suspected.notify_one();
            CallError::Ended(words).into()
        }
    }
}

/// A call under way. Whatever ends it before its answer (the deadline, a dropped future) is told to the server.
struct Following<'a> {
    connection: &'a Arc<Connection>,
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
            let told = tokio::time::timeout(CANCEL_LIMIT, told).await;
            // A remote one has other ways to show that it is gone.
            if told.is_err() && connection.is_local {
                connection.events.stuck();
            }
        });
    }
}
