//! Calling a tool: the server is woken where it sleeps, asked, asked again where it did nothing, and its answer read.

mod ask;
mod terms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{CallToolRequestParams, ServerResult};

use super::connection::Connection;
use super::declined::{ROUNDS, declined};
use super::handle::{Handle, Order};
use super::text::sentence;
use super::thread::Thread;
use super::{Ruling, ServerKind, ServerState, result};
use ask::{Unanswered, ask, limits};

pub use terms::{CallError, CallOutcome, CallRequest, Content, Footing, Progress};

/// How long a call that was cut off waits for the cause: longer than the last words of a process are waited for.
const CAUSE_LIMIT: Duration = Duration::from_millis(1500);

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
        let result = ask(thread, &handle, &connection, next, from(asked), limits).await;
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
        Ok(result) => result::parts(result, &thread.masker()),
        Err(Unanswered::SessionLost) => Err(CallError::ended("it forgot its session again")),
        Err(Unanswered::Because(CallError::Ended { .. })) if handle.is_let_go() => {
            Err(CallError::Stopped {
                server: server.clone(),
            })
        }
        // In a box: it happens seldom, and its room would be kept by every call.
        Err(Unanswered::Because(error @ CallError::Ended { .. })) if connection.is_local => {
            Err(Box::pin(with_cause(&connection, &handle, error)).await)
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
        Err(CallError::Ended { .. }) if handle.is_let_go() => Err(CallError::Stopped { server }),
        Err(error) => Err(error),
    }
}

/// The same with what the server's task found out about the end, which takes it a moment.
async fn with_cause(connection: &Connection, handle: &Handle, error: CallError) -> CallError {
    let Some(found) = connection.events.explained(CAUSE_LIMIT).await else {
        return error;
    };
    let mut why = handle.mask(&found.what);
    if !found.said.is_empty() {
        let said: Vec<_> = found.said.iter().map(|line| handle.mask(line)).collect();
        why = format!("{why}. It said: {}", said.join(" / "));
    }
    CallError::Ended {
        why,
        advice: sentence(&handle.mask(&found.advice)),
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
    Some(Footing {
        timeout: timeout.unwrap_or(thread.context.options.call_timeout),
        masker: thread.masker(),
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
            Some(ServerState::Failed { reason } | ServerState::Parked { reason, .. }) => {
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
