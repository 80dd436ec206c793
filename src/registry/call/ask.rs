//! One request for a call: sent, followed until its answer or its deadline, and given up where nobody waits any more.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest,
    ProgressToken, RequestId, ServerResult,
};
use rmcp::service::{PeerRequestOptions, ServiceError};
use tokio::sync::mpsc;

use super::super::Stage;
use super::super::connection::Connection;
use super::super::handle::Handle;
use super::super::remote::{self, WireError};
use super::super::text::masked_clip;
use super::super::thread::Thread;
use super::super::transport::{Limits, UNREADABLE, Verdict};
use super::super::trouble::Mend;
use super::{CallError, Progress};

/// How long the server may take to hear that a call was given up, before it counts as stuck.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// Characters of a refusal that are kept.
const MESSAGE_CHARS: usize = 2000;

/// Why a call has no answer.
pub(super) enum Unanswered {
    /// The server does not know the session: surely nothing was done.
    SessionLost,
    Because(CallError),
}

impl From<CallError> for Unanswered {
    fn from(error: CallError) -> Self {
        Self::Because(error)
    }
}

/// How long a call may take.
pub(super) fn limits(thread: &Thread, connection: &Connection) -> Limits {
    let options = &thread.context.options;
    let timeout = connection.timeout.unwrap_or(options.call_timeout);
    Limits {
        timeout,
        // Whoever gives a server more time means it.
        cap: options.call_cap.max(timeout),
    }
}

/// Sends one request and waits for its answer.
pub(super) async fn ask(
    thread: &Thread,
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
    let progress = progress.map(|sender| (sender, thread.masker()));
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
            let words = masked_clip(&thread.masker(), &error.message, MESSAGE_CHARS);
            Err(CallError::Malformed(words).into())
        }
        Ok(Err(ServiceError::McpError(error))) => Err(CallError::Refused {
            code: error.code.0,
            message: masked_clip(&thread.masker(), &error.message, MESSAGE_CHARS),
        }
        .into()),
        Ok(Err(error)) => Err(match remote::of_service(&error) {
            Some(error) => on_the_wire(handle, connection, &error),
            None => {
                if let ServiceError::TransportSend(error) = error {
                    let (masker, words) = (connection.masker.load(), error.error.to_string());
                    CallError::ended(masked_clip(&masker, &words, MESSAGE_CHARS)).into()
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
        _ => CallError::ended(trouble.what),
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
            CallError::ended(words).into()
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
