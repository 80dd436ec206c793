//! The end of a connection: calls under way finish, then the process or the session behind it ends.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::super::ServerState;
use super::super::connection::Backing;
use super::super::context::Context;
use super::super::handle::Handle;
use super::super::thread::Thread;
use super::Running;
use crate::audit::{Entry, What};

/// A replaced server finishes the calls under way within this time.
const DRAIN: Duration = Duration::from_secs(5);
/// How often a drain looks.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Ends what runs, with everything that it started.
pub(super) async fn end(
    context: Arc<Context>,
    thread: Arc<Thread>,
    handle: Arc<Handle>,
    running: Running,
    drain: bool,
) {
    let Running {
        connection,
        backing,
        ..
    } = running;
    let hurry = context.hurry.clone();
    let by_itself = connection.events.ended.is_cancelled();
    if drain {
        let until = Instant::now() + DRAIN;
        // Calls under way hold the connection.
        while Arc::strong_count(&connection) > 1
            && Instant::now() < until
            && !connection.events.ended.is_cancelled()
            && !context.closing.is_cancelled()
        {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
    match backing {
        Backing::Process(mut process) => {
            let killed = tokio::select! {
                killed = process.end_in_peace() => killed,
                () = hurry.cancelled() => true,
            };
            if killed && context.closing.is_cancelled() {
                context
                    .killed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((thread.id, handle.name.clone()));
            }
            let left = process.sweep().await;
            if left > 0 {
                tracing::error!(
                    thread = %thread.id, server = %handle.name, left,
                    "processes of a server cannot be ended by the system"
                );
            }
        }
        Backing::Link(link) => {
            // Whoever still waits for an answer is told before the session goes.
            connection.events.close();
            tokio::select! {
                () = Box::pin(link.end()) => {}
                () = hurry.cancelled() => {}
            }
        }
    }
    // Whoever still waits for an answer is told.
    connection.events.close();
    note_end(&context, &thread, &handle, by_itself);
}

/// Writes down that a server came up.
pub(super) fn note_start(context: &Context, thread: &Thread, handle: &Handle, is_local: bool) {
    let tier = context.outside.sandbox.tier.filter(|_| is_local);
    let server = handle.name.to_string();
    let what = What::Started { server, tier };
    context
        .outside
        .audit
        .note(thread.id, Entry::of_the_bot(what));
}

/// Writes down that it ended, and why: what became of it tells.
fn note_end(context: &Context, thread: &Thread, handle: &Handle, by_itself: bool) {
    let snapshot = thread.glance();
    let state = snapshot
        .server(handle.name.as_str())
        .map(|view| &view.state);
    let reason = match state {
        _ if context.closing.is_cancelled() => "the bot ended".to_owned(),
        Some(
            ServerState::BackingOff { reason, .. }
            | ServerState::Parked { reason }
            | ServerState::Failed { reason }
            | ServerState::NeedsLogin { reason, .. },
        ) => reason.clone(),
        _ if by_itself => "it ended by itself".to_owned(),
        Some(ServerState::Asleep) => "nobody used it".to_owned(),
        None | Some(ServerState::Disabled) => "it was switched off, removed or let go".to_owned(),
        Some(_) => "it was started again".to_owned(),
    };
    let server = handle.name.to_string();
    let what = What::Stopped { server, reason };
    context
        .outside
        .audit
        .note(thread.id, Entry::of_the_bot(what));
}
