//! A repair: good texts in the place of files that may be anything.
//!
//! What stands there may be too large to read, a symlink, a pipe or a folder, so it is neither opened nor copied: the new
//! text is written beside it and the two change names in one step of the file system (`RENAME_EXCHANGE`), so that no moment
//! is without a file; then the old thing is moved into the state folder. The intent in the history goes before, as for
//! every commit, and a crash is judged by which of the two names has the new text.

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::atomic::{self, Staged};
use super::commit::{self, BOTH};
use super::history::{HistoryEntry, Line, Write};
use super::{CommitError, RawFiles, Store, StoreError, aside, folder::Folder};
use crate::config::{Document, FileKind, Files, Revision, limits};
use crate::thread::ThreadId;

pub(super) fn replace(
    store: &Store,
    thread: ThreadId,
    new: &Files,
    entry: HistoryEntry,
) -> Result<Revision, CommitError> {
    let (state, _lock) = store.lock(thread)?;
    let users = store.part(super::USERS)?.child_made(&thread.to_string())?;
    let disk = &store.root.disk;
    let log = commit::settle(store, Some(&users), &state)?.marked()?;
    commit::sweep(&users, &state)?;

    let mut after = RawFiles::default();
    let broken = broken(&users, new);
    for file in BOTH {
        if !broken.contains(&file)
            && let Some(text) = users.read(file.file_name(), limits::FILE_BYTES as u64)?
        {
            after.set(file, text);
        }
    }
    if broken.is_empty() {
        return Ok(after.revision());
    }
    log.compact(disk, &state)?;

    let id = entry.id.clone();
    let (staged, writes) = stage(store, (&users, &state), (broken, new), &mut after, entry)?;

    for (nth, write) in writes.iter().enumerate() {
        if let Err(error) = swap(store, &users, &state, &write.temporary, write.file) {
            if nth == 0 && !is_begun(Some(&users), &writes)? && !was_placed(&users, write)? {
                commit::mark(store, &state, &Line::Dropped(id));
            } else {
                // Kept for whoever reads next: it is finished then, or told as far as it came.
                staged.into_iter().for_each(Staged::leave);
            }
            return Err(error.into());
        }
    }
    staged.into_iter().for_each(Staged::leave);
    atomic::sync(disk, &users)?;
    atomic::sync(disk, &state)?;
    commit::mark(store, &state, &Line::Done(id));
    Ok(after.revision())
}

/// Puts the new texts of these files beside them, and the intent to exchange them into the history.
fn stage<'a>(
    store: &'a Store,
    folders: (&'a Folder, &Folder),
    (broken, new): (Vec<FileKind>, &Files),
    after: &mut RawFiles,
    entry: HistoryEntry,
) -> Result<(Vec<Staged<'a>>, Vec<Write>), StoreError> {
    let mut texts = Vec::new();
    for file in broken {
        let before = commit::sum_of(folders.0, file.file_name()).flatten();
        texts.push((file, before, commit::text_of(folders.0, new, file)?));
    }
    commit::stage(store, folders, texts, after, entry, true)
}

/// The files that no thread could run with.
fn broken(users: &Folder, new: &Files) -> Vec<FileKind> {
    let mut broken: Vec<_> = BOTH
        .into_iter()
        .filter(|file| !is_sound(users, *file))
        .collect();
    if broken.is_empty() {
        let read = |file| document(users, file).unwrap_or_default();
        let (local, remote) = (read(FileKind::Local), read(FileKind::Remote));
        let files = Files { local, remote };
        if files.check().is_err() {
            // Each is valid and both together are not: they share a name, or are too many.
            broken.extend(
                BOTH.into_iter()
                    .filter(|file| files.get(*file) != new.get(*file)),
            );
        }
    }
    broken
}

/// Whether the file can be read, parses and is valid by itself; a missing one is.
pub(super) fn is_sound(users: &Folder, file: FileKind) -> bool {
    let Some(document) = document(users, file) else {
        return false;
    };
    let alone = match file {
        FileKind::Local => Files {
            local: document,
            remote: Document::default(),
        },
        FileKind::Remote => Files {
            local: Document::default(),
            remote: document,
        },
    };
    alone.check().is_ok()
}

fn document(users: &Folder, file: FileKind) -> Option<Document> {
    let bytes = users.read(file.file_name(), limits::FILE_BYTES as u64);
    Document::parse(&bytes.ok()?.unwrap_or_default()).ok()
}

/// Puts the new text in its place, and what was there aside.
pub(super) fn swap(
    store: &Store,
    users: &Folder,
    state: &Folder,
    temporary: &str,
    file: FileKind,
) -> Result<(), StoreError> {
    let name = file.file_name();
    store
        .root
        .disk
        .allows(atomic::Step::Rename)
        .map_err(|source| StoreError::io(users.path_of(name), source))?;
    match rustix::fs::renameat_with(users, temporary, users, name, RenameFlags::EXCHANGE) {
        Ok(()) => aside::put(store, users, state, temporary, file),
        // Nothing is there (any more).
        Err(Errno::NOENT) => users.rename(temporary, name),
        // A file system that cannot: a crash between the two is finished at the next use.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            aside::put(store, users, state, name, file)?;
            users.rename(temporary, name)
        }
        Err(errno) => Err(StoreError::io(users.path_of(name), errno)),
    }
}

/// Whether the new text is in its place, or somebody's own since.
pub(super) fn was_placed(users: &Folder, write: &Write) -> Result<bool, StoreError> {
    let name = write.file.file_name();
    let waits = commit::sum_of(users, &write.temporary) == Some(write.after.clone());
    Ok(!waits && users.stat(name)?.is_some() && is_sound(users, write.file))
}

/// Whether a repair took something away and put nothing there yet.
pub(super) fn is_begun(users: Option<&Folder>, writes: &[Write]) -> Result<bool, StoreError> {
    for write in writes.iter().filter(|write| write.repairs) {
        if let Some(users) = users
            && users.stat(write.file.file_name())?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves aside what a crash left under a temporary name after the exchange.
pub(super) fn clear(
    store: &Store,
    users: &Folder,
    state: &Folder,
    writes: &[Write],
) -> Result<(), StoreError> {
    for write in writes.iter().filter(|write| write.repairs) {
        let is_new = commit::sum_of(users, &write.temporary) == Some(write.after.clone());
        if users.stat(&write.temporary)?.is_some() && !is_new {
            aside::put(store, users, state, &write.temporary, write.file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
