//! `tools/<server>.json`: the tools of servers that sleep, so that they can be listed without starting them.
//!
//! A cache: atomic so that nobody reads a half, and not synced, because a lost one is made at the next start. One file a
//! server, so that many servers that start together do not write each other's tools again and need no lock.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::atomic::{self, Durability};
use super::by_server::file_of;
use super::folder::Folder;
use super::{Store, StoreError};
use crate::config::ServerName;
use crate::thread::ThreadId;

pub(super) const FOLDER: &str = "tools";
/// Of one server; more are listed while it runs and not kept.
const MOST_BYTES: usize = 1024 * 1024;

#[derive(Serialize)]
struct Keep<'a> {
    key: &'a str,
    tools: &'a Value,
}

#[derive(Deserialize)]
struct Kept {
    key: String,
    tools: Value,
}

pub(super) fn save(
    store: &Store,
    thread: ThreadId,
    server: &str,
    tools: Option<(&str, &Value)>,
) -> Result<(), StoreError> {
    let Ok(server) = ServerName::new(server) else {
        return Ok(());
    };
    let name = file_of(&server);
    let text = match tools {
        Some((key, tools)) => serde_json::to_vec(&Keep { key, tools })
            .map_err(|error| StoreError::io(name.clone(), error))?,
        None => Vec::new(),
    };
    if text.is_empty() || text.len() > MOST_BYTES {
        return match folder(store, thread)? {
            Some(folder) => folder.remove(&name),
            None => Ok(()),
        };
    }
    let state = store.part(super::STATE)?.child_made(&thread.to_string())?;
    let folder = state.child_made(FOLDER)?;
    if folder
        .read(&name, MOST_BYTES as u64)
        .ok()
        .flatten()
        .is_some_and(|old| old == text)
    {
        return Ok(());
    }
    atomic::write(&store.root.disk, &folder, &name, &text, Durability::Process)
}

pub(super) fn read(store: &Store, thread: ThreadId, server: &str, key: &str) -> Option<Value> {
    let server = ServerName::new(server).ok()?;
    let folder = folder(store, thread).ok().flatten()?;
    let text = folder
        .read(&file_of(&server), MOST_BYTES as u64)
        .ok()
        .flatten()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    (kept.key == key).then_some(kept.tools)
}

fn folder(store: &Store, thread: ThreadId) -> Result<Option<Folder>, StoreError> {
    match store.state(thread)? {
        Some(state) => state.child(FOLDER),
        None => Ok(None),
    }
}
