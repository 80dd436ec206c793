//! Reading the audit: the newest lines, the files as they are, and which threads have one.

use std::collections::HashSet;

use super::line::Noted;
use super::newest::KEPT_FILES;
use super::{NAME, rotated};
use crate::audit::What;
use crate::store::{STATE, Store, StoreError};
use crate::thread::ThreadId;

/// A file is written to 4 MiB; one by another hand may be somewhat larger.
const READ_BYTES: u64 = 16 * 1024 * 1024;

/// The newest `most` lines that are wanted, oldest first. What is no line is passed over: the verification tells of it. Of a
/// call that has ended, only the line of its end is one.
pub(in crate::store) fn newest(
    store: &Store,
    thread: ThreadId,
    most: usize,
    wanted: impl Fn(&Noted) -> bool,
) -> Result<Vec<Noted>, StoreError> {
    let mut found = Vec::new();
    let mut ended = HashSet::new();
    let Some(folder) = store.state(thread)? else {
        return Ok(found);
    };
    // One file at a time, newest first; a rotation meanwhile shows lines twice, which their numbers tell.
    for name in names() {
        if found.len() >= most {
            break;
        }
        let Some(text) = folder.read(&name, READ_BYTES)? else {
            continue;
        };
        let lines = text.split(|byte| *byte == b'\n').rev();
        let lines = lines.filter_map(|line| serde_json::from_slice::<Noted>(line).ok());
        let oldest = found.last().map(|noted: &Noted| noted.n);
        let lines = lines.filter(|noted| oldest.is_none_or(|oldest| noted.n < oldest));
        let lines = lines.filter(|noted| match &noted.entry.what {
            What::Called { call, .. } => {
                ended.extend(call.clone());
                true
            }
            What::Calling { call, .. } => !ended.contains(call),
            _ => true,
        });
        found.extend(lines.filter(|noted| wanted(noted)).take(most - found.len()));
    }
    found.reverse();
    Ok(found)
}

/// The files, oldest first, with their names.
pub(in crate::store) fn files(
    store: &Store,
    thread: ThreadId,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut files = Vec::new();
    if let Some(folder) = store.state(thread)? {
        for name in names() {
            if let Some(text) = folder.read(&name, READ_BYTES)? {
                files.push((name, text));
            }
        }
    }
    files.reverse();
    Ok(files)
}

/// The threads that have an audit, or had one.
pub(in crate::store) fn threads(store: &Store) -> Result<Vec<ThreadId>, StoreError> {
    let state = store.part(STATE)?;
    let mut threads = Vec::new();
    for name in state.names()? {
        let Ok(thread) = name.parse::<ThreadId>() else {
            continue;
        };
        if let Ok(Some(folder)) = state.child(&name)
            && (folder.stat(NAME)?.is_some() || folder.stat(super::head::NAME)?.is_some())
        {
            threads.push(thread);
        }
    }
    threads.sort_unstable();
    Ok(threads)
}

/// The files' names, newest first.
pub(super) fn names() -> impl DoubleEndedIterator<Item = String> {
    std::iter::once(NAME.to_owned()).chain((1..=KEPT_FILES).map(rotated))
}
