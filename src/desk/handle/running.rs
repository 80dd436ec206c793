//! A call under way: one live message with Stop, that becomes the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::super::live::LiveMessage;
use super::super::records::Grant;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::{Hall, Work, new_id};
use super::News;
use crate::actor::Actor;
use crate::chat::View;
use crate::config::{Masker, ServerName};
use crate::gate::{Caller, GateError};
use crate::registry::{CallError, CallRequest, Tool};
use crate::thread::ThreadId;

/// A call that takes longer than this gets a live message.
const QUICK: Duration = Duration::from_millis(700);

/// How often the live message tells the time.
const TICK: Duration = Duration::from_secs(5);

/// The answer where a thread has as much running as it may.
pub(super) fn too_many() -> View {
    View::error(
        "Too much is running in this chat already. Wait until something ends, or press its Stop.",
    )
}

/// Makes the call and shows what comes of it.
pub(super) async fn run(
    hall: Arc<Hall>,
    thread: ThreadId,
    by: Actor,
    server: ServerName,
    tool: Tool,
    arguments: Map<String, Value>,
) {
    let Some(place) = hall.live.enter(thread, &by.id) else {
        hall.finish(thread, None, too_many()).await;
        return;
    };
    let masker = masker_of(&hall, thread, &server).await;
    let (report, mut reports) = mpsc::channel(16);
    let request = CallRequest {
        thread,
        server: server.to_string(),
        tool: tool.name.clone(),
        arguments,
        progress: Some(report),
        waited: Duration::ZERO,
    };
    let call = hall.parts.gate.call(
        Caller {
            by: Some(by.clone()),
        },
        request,
    );
    tokio::pin!(call);
    let began = Instant::now();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + QUICK, TICK);
    let mut live = LiveMessage::new(&hall, thread);
    let mut progress = None;
    let view = loop {
        tokio::select! {
            biased;
            outcome = &mut call => break match outcome {
                Ok(outcome) => screens::call_done(server.as_str(), &tool.name, &outcome, &masker),
                Err(error) => refused(&hall, thread, server.as_str(), error),
            },
            // Leaving the loop drops the call, which tells the server.
            () = place.stop.cancelled() => break screens::call_stopped(server.as_str(), &tool.name, began.elapsed()),
            Some(newest) = reports.recv() => progress = Some(newest),
            _ = tick.tick() => {}
            never = live.go_on() => match never {},
        }
        while let Ok(newest) = reports.try_recv() {
            progress = Some(newest);
        }
        live.show(screens::call_running(
            server.as_str(),
            &tool.name,
            progress.as_ref(),
            began.elapsed(),
            &place.id,
        ));
    };
    live.finish(view).await;
}

/// Why there is no result; with a button, where a login helps. What the server said goes along with it, by a record.
fn refused(hall: &Arc<Hall>, thread: ThreadId, server: &str, error: GateError) -> View {
    let grant = |challenge: Option<String>| {
        let id = new_id();
        let wanted = Grant {
            id: id.clone(),
            server: server.to_owned(),
            challenge,
            at_ms: (hall.parts.clock)(),
        };
        // Before the button is seen: a worker handles both in their order.
        let _ = hall.post(thread, Work::News(News::Wanted(wanted)));
        id
    };
    match error {
        GateError::Call(CallError::NeedsLogin {
            reason, challenge, ..
        }) => screens::wants_login(server, &reason, &grant(challenge)),
        GateError::Call(CallError::MoreRights {
            scope, challenge, ..
        }) => screens::wants_rights(server, scope.as_deref(), &grant(Some(challenge))),
        other => Refusal::from(other).view(),
    }
}

async fn masker_of(hall: &Hall, thread: ThreadId, server: &ServerName) -> Masker {
    let loaded = hall.parts.reload.touch(thread).await.ok();
    let local = loaded.and_then(|loaded| {
        loaded
            .config
            .local
            .iter()
            .find(|(name, _)| name == server)
            .map(|(_, local)| Masker::of_env(&local.env))
    });
    local.unwrap_or_default()
}
