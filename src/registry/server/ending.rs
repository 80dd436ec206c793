//! The end of a connection: calls under way finish, then the process or the session behind it ends.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::super::connection::Backing;
use super::super::context::Context;
use super::super::handle::{Handle, Why};
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
    (drain, why): (bool, Why),
) {
    let Running {
        connection,
        backing,
        ..
    } = running;
    let hurry = context.hurry.clone();
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
    // Whoever still waits for an answer is told, and where it ended as it was meant to, there is no more to tell.
    connection.events.explain(None);
    connection.events.close();
    note_end(&context, &thread, &handle, why);
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

/// Writes down that a server did not come up.
pub(super) fn note_failure(
    context: &Context,
    thread: &Thread,
    handle: &Handle,
    is_local: bool,
    reason: String,
) {
    let tier = context.outside.sandbox.tier.filter(|_| is_local);
    let server = handle.name.to_string();
    let what = What::NotStarted {
        server,
        reason,
        tier,
    };
    context
        .outside
        .audit
        .note(thread.id, Entry::of_the_bot(what));
}

/// Writes down that it ended, and why.
fn note_end(context: &Context, thread: &Thread, handle: &Handle, why: Why) {
    let (server, reason) = (handle.name.to_string(), why.words());
    let what = What::Stopped { server, reason };
    context
        .outside
        .audit
        .note(thread.id, Entry::of_the_bot(what));
}
