//! What a server's tools are told to: the snapshot, the desk, the cache.

use std::sync::Arc;

use super::super::Notice;
use super::super::context::Context;
use super::super::handle::{Handle, Tenure};
use super::super::listing::Listing;
use super::super::rules::ruled_aside;
use super::super::thread::Thread;
use crate::config::{Definition, definition_key};

/// A running server has other tools from now on.
pub(super) async fn tools_changed(
    thread: &Thread,
    handle: &Handle,
    tenure: Tenure,
    definition: &Definition,
    listing: &Listing,
) {
    let turn = thread.ruling.lock().await;
    let context = &thread.context;
    let tools = ruled_aside(context, thread.id, &handle.name, definition, &listing.tools).await;
    thread.update(handle, tenure, |change| {
        *change.tools = tools;
        *change.refused = listing.refused.clone();
    });
    drop(turn);
    tell_of_tools(thread, handle);
}

/// Tells the desk that a server's tools are not what they were.
pub(super) fn tell_of_tools(thread: &Thread, handle: &Handle) {
    if let Some(server) = thread.glance().server(handle.name.as_str()).cloned() {
        thread.context.tell(Notice::ToolsChanged {
            thread: thread.id,
            server,
        });
    }
}

/// Puts the tools into the cache unless they are there; what the cache holds then.
pub(super) fn keep(
    context: &Arc<Context>,
    thread: &Thread,
    handle: &Handle,
    definition: &Definition,
    listing: &Listing,
    kept: Option<Listing>,
) -> Option<Listing> {
    if kept.as_ref() == Some(listing) {
        return kept;
    }
    let (cache, thread, name) = (
        context.outside.cache.clone(),
        thread.id,
        handle.name.clone(),
    );
    let (key, value) = (definition_key(definition), listing.to_json());
    // It writes to disk and may wait for it.
    context
        .tasks
        .spawn_blocking(move || cache.put(thread, &name, Some((&key, &value))));
    Some(listing.clone())
}
