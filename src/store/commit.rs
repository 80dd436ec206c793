//! Both files and the history move together, or not at all.
//!
//! The steps, under the thread's lock: the new texts are written to temporary files and synced; the *intent*, which names
//! them, is appended to the history and synced; the temporary files are renamed into place, the folder is synced; the
//! intent is marked done. A temporary file disappears at the very moment at which it becomes the real one, so wherever the
//! process died, the next one can tell from an intent without a mark:
//!
//! - all temporary files are there, or the files are as before: it never happened, and is dropped;
//! - none is there: it happened;
//! - the first was placed and the second was not: it happened, and is finished.
//!
//! What was acknowledged is on the disk; what was not may be either, and the history says which.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::atomic::{self, Durability, Staged};
use super::history::{self, HistoryEntry, Intent, Line, Log, Noted, Sum, Sums, Write, sum};
use super::{CommitError, RawFiles, Store, StoreError, folder::Folder, repair};
use crate::config::{Document, FileKind, Files, Revision, SecretName, limits};
use crate::secret::Secret;
use crate::thread::ThreadId;

pub(super) const BOTH: [FileKind; 2] = [FileKind::Local, FileKind::Remote];

pub(super) fn commit(
    store: &Store,
    thread: ThreadId,
    base: Revision,
    new: &Files,
    entry: HistoryEntry,
) -> Result<Revision, CommitError> {
    let (state, _lock) = store.lock(thread)?;
    let users = store.part(super::USERS)?.child_made(&thread.to_string())?;
    let disk = &store.root.disk;
    let log = settle(store, Some(&users), &state)?.marked()?;
    sweep(&users, &state)?;
    let old = RawFiles::read(&users)?;
    if old.revision() != base {
        return Err(CommitError::Stale { now: old });
    }
    let texts = changed_texts(&users, &old, new)?;
    if texts.is_empty() {
        return Ok(base);
    }
    log.compact(disk, &state)?;

    let mut after = old.clone();
    let texts = texts
        .into_iter()
        .map(|(file, text)| (file, sum(old.get(file)), text));
    let id = entry.id.clone();
    let (staged, _) = stage(store, (&users, &state), texts, &mut after, entry, false)?;

    if let Err(error) = place(store, &users, staged) {
        let restored = restore(store, &users, &old);
        if restored.is_ok() {
            mark(store, &state, &Line::Dropped(id));
        }
        return Err(error.into());
    }
    mark(store, &state, &Line::Done(id));
    Ok(after.revision())
}

pub(super) fn recover(store: &Store, thread: ThreadId) -> Result<(), StoreError> {
    let Some(state) = store.state(thread)? else {
        return Ok(());
    };
    if history::ends_settled(&state)? {
        return Ok(());
    }
    let (state, _lock) = store.lock(thread)?;
    settle(store, store.users(thread)?.as_ref(), &state)?
        .marked()
        .map(drop)
}

pub(super) fn history(
    store: &Store,
    thread: ThreadId,
    most: usize,
) -> Result<Vec<HistoryEntry>, StoreError> {
    if store.state(thread)?.is_none() {
        return Ok(Vec::new());
    }
    let (state, _lock) = store.lock(thread)?;
    let log = settle(store, store.users(thread)?.as_ref(), &state)?.log;
    Ok(log
        .newest_first()
        .map(|noted| noted.entry)
        .take(most)
        .collect())
}

pub(super) fn is_recorded(store: &Store, thread: ThreadId) -> Result<bool, StoreError> {
    let newest = if store.state(thread)?.is_some() {
        let (state, _lock) = store.lock(thread)?;
        let log = settle(store, store.users(thread)?.as_ref(), &state)?.log;
        log.newest_first().next().map(|noted| noted.after)
    } else {
        None
    };
    let (files, _) = store.load(thread)?;
    Ok(newest.unwrap_or_default() == Sums::of(&files))
}

pub(super) fn note_external(
    store: &Store,
    thread: ThreadId,
    entry: HistoryEntry,
) -> Result<(), StoreError> {
    let (state, _lock) = store.lock(thread)?;
    let users = store.users(thread)?;
    let log = settle(store, users.as_ref(), &state)?.marked()?;
    log.compact(&store.root.disk, &state)?;
    let files = match &users {
        Some(users) => RawFiles::read(users)?,
        None => RawFiles::default(),
    };
    let after = Sums::of(&files);
    let noted = Line::Noted(Box::new(Noted { entry, after }));
    history::append(&store.root.disk, &state, &noted)
}

/// Puts names in place of secrets in the history.
pub(super) fn seal_history(
    store: &Store,
    thread: ThreadId,
    secrets: &[(SecretName, Secret)],
) -> Result<(), StoreError> {
    let (state, _lock) = store.lock(thread)?;
    let users = store.users(thread)?;
    let log = settle(store, users.as_ref(), &state)?.marked()?;
    log.seal(&store.root.disk, &state, &|value| {
        let mut secrets = secrets.iter();
        let found = secrets.find(|(_, secret)| secret.expose() == value);
        found.map(|(name, _)| name.clone())
    })
}

/// The history, with the end of its last intent known.
pub(super) struct Settled {
    log: Log,
    /// Whether that end could be written down too. Who reads does not need it; who writes does, because an intent is only
    /// judged by the files while it is the newest line.
    mark: Result<(), StoreError>,
}

impl Settled {
    pub(super) fn marked(self) -> Result<Log, StoreError> {
        self.mark.map(|()| self.log)
    }
}

/// Ends an intent that has no mark, by what became of its files.
pub(super) fn settle(
    store: &Store,
    users: Option<&Folder>,
    state: &Folder,
) -> Result<Settled, StoreError> {
    let mut log = Log::read(state)?;
    let Some(Line::Intent(intent)) = log.last() else {
        return Ok(Settled { log, mark: Ok(()) });
    };
    let mut waiting = Vec::new();
    for write in &intent.writes {
        if !was_placed(users, write)? {
            waiting.push(write);
        }
    }
    let happened = waiting.len() < intent.writes.len() || repair::is_begun(users, &intent.writes)?;
    if happened && let Some(users) = users {
        for write in waiting {
            finish(store, users, state, write)?;
        }
        repair::clear(store, users, state, &intent.writes)?;
        atomic::sync(&store.root.disk, users)?;
    }
    let id = intent.entry.id;
    let line = if happened {
        Line::Done(id)
    } else {
        Line::Dropped(id)
    };
    let mark = history::append(&store.root.disk, state, &line);
    log.push(&line);
    Ok(Settled { log, mark })
}

fn was_placed(users: Option<&Folder>, write: &Write) -> Result<bool, StoreError> {
    let Some(users) = users else {
        return Ok(false);
    };
    if write.repairs {
        return repair::was_placed(users, write);
    }
    // Checked first: it decides whatever somebody wrote into the file since.
    if users.stat(&write.temporary)?.is_some() {
        return Ok(false);
    }
    let now = sum_of(users, write.file.file_name());
    Ok(write.after == write.before || now != Some(write.before.clone()))
}

/// Places a text that a crash left waiting, if its file is still the one it was meant to replace.
fn finish(store: &Store, users: &Folder, state: &Folder, write: &Write) -> Result<(), StoreError> {
    let name = write.file.file_name();
    let is_whole = sum_of(users, &write.temporary) == Some(write.after.clone());
    if write.repairs {
        return if is_whole && (users.stat(name)?.is_none() || !repair::is_sound(users, write.file))
        {
            repair::swap(store, users, state, &write.temporary, write.file)
        } else {
            Ok(())
        };
    }
    if is_whole && sum_of(users, name) == Some(write.before.clone()) {
        users.rename(&write.temporary, name)?;
    }
    Ok(())
}

/// `None` where the file cannot be read.
pub(super) fn sum_of(users: &Folder, name: &str) -> Option<history::Sum> {
    let bytes = users.read(name, limits::FILE_BYTES as u64).ok()?;
    Some(sum(bytes.as_deref()))
}

/// What a process that died left behind. Only under the lock, and after [`settle`], which still needs it.
pub(super) fn sweep(users: &Folder, state: &Folder) -> Result<(), StoreError> {
    atomic::sweep(users, Duration::ZERO)?;
    atomic::sweep(state, Duration::ZERO)?;
    super::kept::sweep(state)?;
    super::by_server::sweep(state)
}

/// Puts new texts beside their files, and appends the intent that names them. Each comes with the sum of what it replaces;
/// `after` becomes what the files are then.
pub(super) fn stage<'a>(
    store: &'a Store,
    (users, state): (&'a Folder, &Folder),
    texts: impl IntoIterator<Item = (FileKind, Sum, Vec<u8>)>,
    after: &mut RawFiles,
    entry: HistoryEntry,
    repairs: bool,
) -> Result<(Vec<Staged<'a>>, Vec<Write>), StoreError> {
    let disk = &store.root.disk;
    let (mut staged, mut writes) = (Vec::new(), Vec::new());
    for (file, before, text) in texts {
        let written = Staged::write(disk, users, file.file_name(), &text, Durability::Power)?;
        writes.push(Write {
            file,
            temporary: written.temporary().to_owned(),
            before,
            after: sum(Some(&text)),
            repairs,
        });
        staged.push(written);
        after.set(file, text);
    }
    let intent = Intent {
        entry,
        writes: writes.clone(),
        after: Sums::of(after),
    };
    history::append(disk, state, &Line::Intent(Box::new(intent)))?;
    Ok((staged, writes))
}

/// A file's new text, if it is within the limit.
pub(super) fn text_of(users: &Folder, new: &Files, file: FileKind) -> Result<Vec<u8>, StoreError> {
    let text = new.get(file).to_text().into_bytes();
    if text.len() > limits::FILE_BYTES {
        return Err(StoreError::TooLarge {
            path: users.path_of(file.file_name()),
            bytes: text.len() as u64,
        });
    }
    Ok(text)
}

/// The texts that differ from what is on disk. A file whose meaning does not change keeps its author's layout, and one
/// that is missing stays missing.
fn changed_texts(
    users: &Folder,
    old: &RawFiles,
    new: &Files,
) -> Result<Vec<(FileKind, Vec<u8>)>, StoreError> {
    let mut texts = Vec::new();
    for file in BOTH {
        let before = Document::parse(old.get(file).unwrap_or_default());
        if before.is_ok_and(|before| before.to_text() == new.get(file).to_text()) {
            continue;
        }
        texts.push((file, text_of(users, new, file)?));
    }
    Ok(texts)
}

fn place(store: &Store, users: &Folder, staged: Vec<Staged<'_>>) -> Result<(), StoreError> {
    let placing = (staged.len() > 1).then(|| store.root.placing.begin());
    for text in staged {
        text.place()?;
    }
    drop(placing);
    atomic::sync(&store.root.disk, users)
}

/// Keeps a reader of this process from seeing the new one of two files beside the old other one, and taking them for
/// somebody's edit. Two counts and no lock: it is rare and takes microseconds, and readers never hold up a writer.
#[derive(Debug, Default)]
pub(super) struct Placing {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Both files are being placed until this is dropped.
struct PlacingBoth<'a>(&'a Placing);

impl Placing {
    /// Longer nobody waits: then a disk hangs, and what is read is as good as it gets.
    const WAIT: Duration = Duration::from_secs(5);
    const LOOK_AGAIN: Duration = Duration::from_micros(20);

    /// Reads while no two files are being placed.
    pub(super) fn undisturbed<T>(&self, mut read: impl FnMut() -> T) -> T {
        let patience = Instant::now() + Self::WAIT;
        loop {
            let ended = self.ended.load(Ordering::SeqCst);
            let begun = self.begun.load(Ordering::SeqCst);
            if begun == ended {
                let found = read();
                if self.begun.load(Ordering::SeqCst) == begun {
                    return found;
                }
            }
            if Instant::now() >= patience {
                return read();
            }
            std::thread::sleep(Self::LOOK_AGAIN);
        }
    }

    fn begin(&self) -> PlacingBoth<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        PlacingBoth(self)
    }
}

impl Drop for PlacingBoth<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Puts the old texts back after a failure, where they were replaced already.
fn restore(store: &Store, users: &Folder, old: &RawFiles) -> Result<(), StoreError> {
    let now = RawFiles::read(users)?;
    for file in BOTH {
        if now.get(file) == old.get(file) {
            continue;
        }
        let name = file.file_name();
        match old.get(file) {
            Some(text) => atomic::write(&store.root.disk, users, name, text, Durability::Process)?,
            None => users.remove(name)?,
        }
    }
    Ok(())
}

/// Ends an intent. Where that cannot be written, the next reader comes to the same by the files.
pub(super) fn mark(store: &Store, state: &Folder, line: &Line) {
    if let Err(error) = history::append(&store.root.disk, state, line) {
        tracing::warn!(%error, "The history could not be marked; it is settled at its next use.");
    }
}

impl RawFiles {
    pub(super) fn get(&self, file: FileKind) -> Option<&[u8]> {
        match file {
            FileKind::Local => self.local.as_deref(),
            FileKind::Remote => self.remote.as_deref(),
        }
    }

    pub(super) fn set(&mut self, file: FileKind, text: Vec<u8>) {
        match file {
            FileKind::Local => self.local = Some(text),
            FileKind::Remote => self.remote = Some(text),
        }
    }
}
