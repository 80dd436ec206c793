//! `last_good.json`: the configuration that loaded well last, for a start with broken files.

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::{Store, StoreError};
use crate::config::{Document, Files, limits};
use crate::thread::ThreadId;

const NAME: &str = "last_good.json";
/// Two files, each of them escaped as a JSON string.
const READ_BYTES: u64 = 8 * limits::FILE_BYTES as u64;

/// `None` for an empty document, so that it comes back as one.
#[derive(Serialize, Deserialize)]
struct Kept {
    local: Option<String>,
    remote: Option<String>,
}

pub(super) fn save(store: &Store, thread: ThreadId, files: &Files) -> Result<(), StoreError> {
    // A thread that never had a server leaves nothing on the disk.
    if *files == Files::default() && store.state(thread)?.is_none() {
        return Ok(());
    }
    let text = |file: &Document| (*file != Document::default()).then(|| file.to_text());
    let kept = Kept {
        local: text(&files.local),
        remote: text(&files.remote),
    };
    let (state, _lock) = store.lock(thread)?;
    let text =
        serde_json::to_vec(&kept).map_err(|error| StoreError::io(state.path_of(NAME), error))?;
    if state
        .read(NAME, READ_BYTES)
        .ok()
        .flatten()
        .is_some_and(|old| old == text)
    {
        return Ok(());
    }
    atomic::write(&store.root.disk, &state, NAME, &text, Durability::Process)
}

pub(super) fn read(store: &Store, thread: ThreadId) -> Result<Option<Files>, StoreError> {
    let Some(state) = store.state(thread)? else {
        return Ok(None);
    };
    let Some(text) = state.read(NAME, READ_BYTES)? else {
        return Ok(None);
    };
    let Some(files) = parse(&text) else {
        super::set_aside(&state, NAME, &"it is not what was written")?;
        return Ok(None);
    };
    Ok(Some(files))
}

fn parse(text: &[u8]) -> Option<Files> {
    let kept: Kept = serde_json::from_slice(text).ok()?;
    let parse = |text: Option<String>| Document::parse(text.unwrap_or_default().as_bytes()).ok();
    Some(Files {
        local: parse(kept.local)?,
        remote: parse(kept.remote)?,
    })
}
