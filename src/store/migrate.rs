//! A thread that got another id: its folders move, and the old id stays known.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use super::atomic::{self, Durability};
use super::lock::{self, Lock};
use super::{HOMES, RenameOutcome, STATE, Store, StoreError, USERS, folder::Folder};
use crate::config::FileKind;
use crate::thread::ThreadId;

const ALIASES: &str = "aliases.json";
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// The aliases, once read. Behind a lock of their own: every message may ask, hardly one changes them.
#[derive(Debug, Default)]
pub(super) struct Aliases(RwLock<Option<BTreeMap<ThreadId, ThreadId>>>);

/// The configuration moves last: while it is under the old id the move is not finished, and can be repeated.
pub(super) fn rename(
    store: &Store,
    from: ThreadId,
    to: ThreadId,
) -> Result<RenameOutcome, StoreError> {
    let (old, new) = (from.to_string(), to.to_string());
    if old == new {
        return Ok(RenameOutcome::Nothing);
    }
    // Nobody writes under the old id meanwhile. The lock moves with the folder.
    let _lock = match store.state(from)? {
        Some(_) => Some(store.lock(from)?),
        None => None,
    };
    let users = store.part(USERS)?;
    if users.child(&old)?.is_some() && has_files(&users, &new)? {
        return Ok(RenameOutcome::BothExist);
    }
    // What is open of either is read anew from where it is then.
    store.root.books.let_go(from);
    store.root.books.let_go(to);
    if let Some(state) = store.state(from)?
        && !clear_state(store, &new, &state)?
    {
        return Ok(RenameOutcome::BothExist);
    }
    // What is sealed for the old id is to be read under the new one too, before anything moves.
    if let Some(state) = store.state(from)? {
        super::kept::open_to(store, &state, from, to)?;
    }
    let mut outcome = RenameOutcome::Nothing;
    for name in [STATE, HOMES, USERS] {
        let part = store.part(name)?;
        if part.child(&old)?.is_none() {
            continue;
        }
        if !part.remove_empty(&new)? {
            // Servers ran under both ids; what they left is theirs.
            if name == HOMES {
                continue;
            }
            return Ok(RenameOutcome::BothExist);
        }
        match renameat_with(&part, &*old, &part, &*new, RenameFlags::NOREPLACE) {
            Ok(()) => outcome = RenameOutcome::Moved,
            Err(Errno::EXIST) => return Ok(RenameOutcome::BothExist),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(StoreError::io(part.path_of(&old), errno)),
        }
        atomic::sync(&store.root.disk, &part)?;
    }
    Ok(outcome)
}

pub(super) fn threads_of_chat(store: &Store, chat: i64) -> Result<Vec<ThreadId>, StoreError> {
    let mut threads: Vec<ThreadId> = store
        .part(USERS)?
        .names()?
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter(|thread| matches!(thread, ThreadId::Telegram { chat: of, .. } if *of == chat))
        .collect();
    threads.sort_unstable();
    Ok(threads)
}

pub(super) fn remember_alias(
    store: &Store,
    from: ThreadId,
    to: ThreadId,
) -> Result<(), StoreError> {
    let state = store.part(STATE)?;
    let _lock = Lock::take_in(&state, lock::WAIT)?;
    let mut aliases = read(&state)?;
    // An id that comes back is no alias any more; nothing can lead in a circle then.
    aliases.remove(&to);
    if from != to {
        aliases.insert(from, to);
    }
    let text = serde_json::to_vec_pretty(&aliases)
        .map_err(|error| StoreError::io(state.path_of(ALIASES), error))?;
    atomic::write(&store.root.disk, &state, ALIASES, &text, Durability::Power)?;
    *store
        .root
        .aliases
        .0
        .write()
        .unwrap_or_else(PoisonError::into_inner) = Some(aliases);
    Ok(())
}

pub(super) fn alias(store: &Store, from: ThreadId) -> Result<Option<ThreadId>, StoreError> {
    let known = &store.root.aliases.0;
    if let Some(aliases) = known
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
    {
        return Ok(follow(aliases, from));
    }
    let aliases = read(&store.part(STATE)?)?;
    let found = follow(&aliases, from);
    // Somebody may have remembered one since; theirs is newer.
    known
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(aliases);
    Ok(found)
}

fn follow(aliases: &BTreeMap<ThreadId, ThreadId>, from: ThreadId) -> Option<ThreadId> {
    let mut now = None;
    // Bounded, should somebody have written a circle by hand.
    for _ in 0..=aliases.len() {
        match aliases.get(&now.unwrap_or(from)) {
            Some(next) => now = Some(*next),
            None => break,
        }
    }
    now
}

fn read(state: &Folder) -> Result<BTreeMap<ThreadId, ThreadId>, StoreError> {
    let Some(text) = state.read(ALIASES, MOST_BYTES)? else {
        return Ok(BTreeMap::new());
    };
    match serde_json::from_slice(&text) {
        Ok(aliases) => Ok(aliases),
        Err(error) => {
            super::set_aside(state, ALIASES, &error)?;
            Ok(BTreeMap::new())
        }
    }
}

fn has_files(users: &Folder, thread: &str) -> Result<bool, StoreError> {
    let Some(folder) = users.child(thread)? else {
        return Ok(false);
    };
    for kind in [FileKind::Local, FileKind::Remote] {
        if folder.stat(kind.file_name())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what the new id gathered before its files came (a proposal, a cache, a login). A history is never removed: then both
/// ids have one, and it answers `false`. An audit is not removed either; it is kept beside the one that comes.
fn clear_state(store: &Store, thread: &str, comes: &Folder) -> Result<bool, StoreError> {
    let Some(state) = store.part(STATE)?.child(thread)? else {
        return Ok(true);
    };
    let names = state.names()?;
    if names.iter().any(|name| name.starts_with("history")) {
        return Ok(false);
    }
    super::audit::keep_former(&state, comes)?;
    super::by_server::remove_all(&state)?;
    super::kept::remove_all(&state)?;
    for name in state.names()? {
        state.remove(&name)?;
    }
    Ok(true)
}
