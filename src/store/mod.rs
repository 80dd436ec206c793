//! The only room that writes under `data/`.
//!
//! `data/users/<thread_id>/` holds the two configuration files and nothing else of ours; `data/state/<thread_id>/` holds
//! what the bot keeps for itself (history, pending proposals and flows, the tool cache, the last good configuration, and
//! sealed what is secret);
//! `data/homes/<thread_id>/` is where servers without a folder of their own run; `data/run/<process>/` has the
//! sockets of a running bot.
//! Everything is written atomically and durably (temporary file, fsync, rename, fsync of the folder), 0600 in 0700
//! folders, opened component by component without following a symlink. Calls block; callers off the hot path use
//! `spawn_blocking`.

mod aside;
mod atomic;
mod audit;
mod by_server;
mod commit;
mod contacts;
#[cfg(test)]
mod crash;
mod folder;
mod good;
mod history;
mod kept;
mod lock;
mod migrate;
mod pending;
mod policy;
mod repair;
mod rules;
mod run;
mod seals;
mod stamp;
#[cfg(test)]
mod tests;
mod tools;
mod words;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Files, Revision, SecretName, limits};
use crate::secret::Secret;
use crate::thread::ThreadId;
use crate::vault::{KeyId, OpenError, Ring};
use atomic::Disk;
use folder::Folder;

pub use audit::{Flaw, Ledger, Noted, Verdict};
pub use contacts::Contacted;
pub use history::{HistoryEntry, Origin};
pub use kept::{Given, KeptSecret, Rotated, Shelf};
pub use policy::PolicyError;
pub use stamp::Stamp;

/// Where the bot keeps everything. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    folder: Folder,
    disk: Disk,
    aliases: migrate::Aliases,
    placing: commit::Placing,
    seals: seals::Seals,
    books: audit::Books,
}

const USERS: &str = "users";
const STATE: &str = "state";
const HOMES: &str = "homes";
/// In the state folder; threads have folders there, so no thread's name is met.
const BOT_LOCK: &str = "bot.lock";

/// The bytes of a thread's two files, `None` where there is none. `Debug` tells their sizes alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawFiles {
    /// `mcp.json`.
    pub local: Option<Vec<u8>>,
    /// `mcp_remote.json`.
    pub remote: Option<Vec<u8>>,
}

impl RawFiles {
    /// Their revision.
    pub fn revision(&self) -> Revision {
        Revision::of(self.local.as_deref(), self.remote.as_deref())
    }
}

/// A bot's hold on its data folder; ends with it, or with its process.
#[derive(Debug)]
#[must_use = "the folder is free again when this is dropped"]
pub struct Claim(#[expect(dead_code, reason = "held for its lock")] lock::Lock);

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("{path}: {cause}")]
    Io {
        /// What was touched, relative to the data folder.
        path: String,
        /// Why. Part of the text and so no source, which a chain of errors would say again.
        cause: std::io::Error,
    },
    /// The place is a symlink or no ordinary file or folder; it is never followed.
    #[error("{0} is not an ordinary file or folder")]
    NotOrdinary(String),
    /// The file is larger than the limit; its size.
    #[error("{path} has {bytes} bytes")]
    TooLarge {
        /// Which.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Another process has been writing this thread's files for seconds.
    #[error("{0} is held by another process; try again")]
    Busy(String),
    /// A file of our own does not parse; it was set aside under another name.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Something sealed does not open.
    #[error("{path}: {cause}")]
    Sealed {
        /// Which.
        path: String,
        /// Why. Part of the text and so no source.
        cause: OpenError,
    },
    /// The keys that things are sealed with cannot be used; a sentence that never shows one.
    #[error("{0}")]
    Keys(String),
}

/// Why a commit did not happen; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The files changed since the proposal was made.
    #[error("the files changed meanwhile")]
    Stale {
        /// What they are now.
        now: RawFiles,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a rename of a thread's folder came to (a Telegram group that got a new id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameOutcome {
    /// The folders are under the new id now.
    Moved,
    /// There was nothing under the old id (or it was renamed before).
    Nothing,
    /// Both ids have files; both were kept as they are.
    BothExist,
}

impl Store {
    /// Opens a data folder, making it where it is missing, with a key of its own.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_with(root, Ring::default())
    }

    /// The same with keys that the operator gives; without any, one is made when it is needed. Lists nothing, save once
    /// where an earlier version kept secrets unsealed: these are sealed. Refuses where a key is missing that something is
    /// sealed with.
    pub fn open_with(root: &Path, keys: Ring) -> Result<Self, StoreError> {
        let store = Self::open_unchecked(root, keys)?;
        seals::check(&store)?;
        kept::seal_all(&store)?;
        Ok(store)
    }

    /// Goes on without a key that is lost: a start is not refused for it any more, and what it sealed is out of reach.
    /// Whether it was in use.
    pub fn give_up_key(root: &Path, key: &KeyId) -> Result<bool, StoreError> {
        let store = Self::open_unchecked(root, Ring::default())?;
        let mut was_in_use = false;
        seals::record(&store, |keys| was_in_use = keys.remove(key))?;
        Ok(was_in_use)
    }

    fn open_unchecked(root: &Path, keys: Ring) -> Result<Self, StoreError> {
        let shown = || root.display().to_string();
        // The root belongs to the operator: it is followed, and where it is there its rights are left alone.
        let path = std::path::absolute(root).map_err(|source| StoreError::io(shown(), source))?;
        make_root(&path).map_err(|source| StoreError::io(shown(), source))?;
        let folder = Folder::root(&path)?;
        for name in [USERS, STATE, HOMES] {
            folder.child_made(name)?.keep_private();
        }
        Ok(Self {
            root: Arc::new(Root {
                path,
                folder,
                disk: Disk::default(),
                aliases: migrate::Aliases::default(),
                placing: commit::Placing::default(),
                seals: seals::Seals::of(keys),
                books: audit::Books::default(),
            }),
        })
    }

    /// Keeps other bots away from the data folder, where two would answer and start every server twice; a single command
    /// beside a bot needs no claim. [`StoreError::Busy`] names the folder.
    pub fn claim_for_bot(&self) -> Result<Claim, StoreError> {
        let state = self.part(STATE)?;
        // A moment of patience: a child that was being forked when the former bot ended holds the lock until it runs.
        match lock::Lock::take_named(&state, BOT_LOCK, std::time::Duration::from_secs(1)) {
            Ok(lock) => Ok(Claim(lock)),
            Err(StoreError::Busy(_)) => Err(StoreError::Busy(self.root.path.display().to_string())),
            Err(error) => Err(error),
        }
    }

    /// The folder to watch for a thread, made where it is missing.
    pub fn thread_folder(&self, thread: ThreadId) -> Result<PathBuf, StoreError> {
        self.part(USERS)?.child_made(&thread.to_string())?;
        Ok(self.root.path.join(USERS).join(thread.to_string()))
    }

    /// Whether the thread has a folder.
    pub fn exists(&self, thread: ThreadId) -> bool {
        matches!(self.users(thread), Ok(Some(_)))
    }

    /// The stamp of a thread's files now; two `stat` calls.
    pub fn stamp(&self, thread: ThreadId) -> Result<Stamp, StoreError> {
        match self.users(thread)? {
            Some(folder) => Stamp::of(&folder),
            None => Ok(Stamp::default()),
        }
    }

    /// Reads both files and their stamp (taken before the read, so a write meanwhile shows as a changed stamp). A file
    /// over the limit is [`StoreError::TooLarge`].
    pub fn load(&self, thread: ThreadId) -> Result<(RawFiles, Stamp), StoreError> {
        let Some(folder) = self.users(thread)? else {
            return Ok((RawFiles::default(), Stamp::default()));
        };
        self.root.placing.undisturbed(|| {
            let stamp = Stamp::of(&folder)?;
            Ok((RawFiles::read(&folder)?, stamp))
        })
    }

    /// Writes what differs between the files on disk and `new`, if the disk is still at `base`, and appends to the
    /// history. One writer a thread over all processes (a lock file in the state folder). After a crash at any point the
    /// history tells the truth: an entry is written first, and one that never reached the files is dropped on the next
    /// read. A change that changes no text writes nothing and is no entry.
    pub fn commit(
        &self,
        thread: ThreadId,
        base: Revision,
        new: &Files,
        entry: HistoryEntry,
    ) -> Result<Revision, CommitError> {
        commit::commit(self, thread, base, new, entry)
    }

    /// Finishes or drops a commit that a crash cut short; called before a thread's files are read for the first time.
    pub fn recover(&self, thread: ThreadId) -> Result<(), StoreError> {
        commit::recover(self, thread)
    }

    /// The newest `most` applied changes, newest first.
    pub fn history(&self, thread: ThreadId, most: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        commit::history(self, thread, most)
    }

    /// Whether the newest entry of the history left the files as they are on disk now; if not, somebody else wrote them.
    /// Holds also for a thread without history and without files.
    pub fn is_recorded(&self, thread: ThreadId) -> Result<bool, StoreError> {
        commit::is_recorded(self, thread)
    }

    /// Records a change that was made on the host, found by the reload.
    pub fn note_external(&self, thread: ThreadId, entry: HistoryEntry) -> Result<(), StoreError> {
        commit::note_external(self, thread, entry)
    }

    /// Puts names in place of secrets that stand written out in the history's local entries and are kept sealed now.
    pub fn seal_history(
        &self,
        thread: ThreadId,
        secrets: &[(SecretName, Secret)],
    ) -> Result<(), StoreError> {
        commit::seal_history(self, thread, secrets)
    }

    /// Keeps the configuration that loaded well last. Not fsynced: lost with the power it is only missed when the files
    /// are broken as well, and it is written again at the next good load.
    pub fn save_last_good(&self, thread: ThreadId, files: &Files) -> Result<(), StoreError> {
        good::save(self, thread, files)
    }

    /// The configuration that loaded well last, if one was kept; a damaged file is set aside and counts as none.
    pub fn last_good(&self, thread: ThreadId) -> Result<Option<Files>, StoreError> {
        good::read(self, thread)
    }

    /// Keeps a thread's pending proposals and flows (opaque to this room); `None` forgets them.
    pub fn save_pending(
        &self,
        thread: ThreadId,
        records: Option<&serde_json::Value>,
    ) -> Result<(), StoreError> {
        pending::save(self, thread, records)
    }

    /// The pending records; a damaged file is set aside and counts as none.
    pub fn pending(&self, thread: ThreadId) -> Result<Option<serde_json::Value>, StoreError> {
        pending::read(self, thread)
    }

    /// Keeps a server's tools as JSON under a key that stands for its definition; `None` forgets them. Tools of more than
    /// a mebibyte are not kept.
    pub fn save_tools(
        &self,
        thread: ThreadId,
        server: &str,
        tools: Option<(&str, &serde_json::Value)>,
    ) -> Result<(), StoreError> {
        tools::save(self, thread, server, tools)
    }

    /// The tools kept for a server with that key; a damaged file counts as none.
    pub fn tools(&self, thread: ThreadId, server: &str, key: &str) -> Option<serde_json::Value> {
        tools::read(self, thread, server, key)
    }

    /// Puts `new` in the place of each file that cannot be read, does not parse or is not valid, whatever stands there; that
    /// is kept beside the state (the newest five of each). A file that is sound is left alone, and where both are nothing
    /// is written. At no moment, a crash included, is a file missing that was there.
    pub fn replace_broken(
        &self,
        thread: ThreadId,
        new: &Files,
        entry: HistoryEntry,
    ) -> Result<Revision, CommitError> {
        repair::replace(self, thread, new, entry)
    }

    /// Moves everything of a thread to another id; safe to repeat. The thread should not be loaded.
    pub fn rename_thread(&self, from: ThreadId, to: ThreadId) -> Result<RenameOutcome, StoreError> {
        migrate::rename(self, from, to)
    }

    /// The topics that have folders under this chat: itself first, then `tg<chat>.<topic>`. Lists `users/`; used only
    /// when a chat migrates or leaves.
    pub fn threads_of_chat(&self, chat: i64) -> Result<Vec<ThreadId>, StoreError> {
        migrate::threads_of_chat(self, chat)
    }

    /// Remembers for good that a thread has another id now.
    pub fn remember_alias(&self, from: ThreadId, to: ThreadId) -> Result<(), StoreError> {
        migrate::remember_alias(self, from, to)
    }

    /// The id that a thread has now, where it was given another one. Read from disk once, so it is cheap to ask.
    pub fn alias(&self, from: ThreadId) -> Result<Option<ThreadId>, StoreError> {
        migrate::alias(self, from)
    }

    /// Where what happens is written down, with this clock (milliseconds since the epoch).
    pub fn ledger(&self, clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Ledger {
        Ledger::new(self.clone(), clock)
    }

    /// The newest `most` lines of a thread's audit that are about this server, or about anything; oldest first.
    pub fn audit(
        &self,
        thread: ThreadId,
        most: usize,
        server: Option<&str>,
    ) -> Result<Vec<Noted>, StoreError> {
        audit::newest(self, thread, most, |noted| {
            server.is_none_or(|server| noted.entry.what.is_about(server))
        })
    }

    /// The files of a thread's audit with their names, oldest first; each is at most some MiB.
    pub fn audit_files(&self, thread: ThreadId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        audit::files(self, thread)
    }

    /// Whether a thread's audit is whole.
    pub fn verify_audit(&self, thread: ThreadId) -> Result<Verdict, StoreError> {
        audit::verify(self, thread)
    }

    /// The threads that have an audit.
    pub fn audited_threads(&self) -> Result<Vec<ThreadId>, StoreError> {
        audit::threads(self)
    }

    fn part(&self, name: &str) -> Result<Folder, StoreError> {
        self.root.folder.child_made(name)
    }

    fn users(&self, thread: ThreadId) -> Result<Option<Folder>, StoreError> {
        match self.root.folder.child(USERS)? {
            Some(users) => users.child(&thread.to_string()),
            None => Ok(None),
        }
    }

    fn state(&self, thread: ThreadId) -> Result<Option<Folder>, StoreError> {
        match self.root.folder.child(STATE)? {
            Some(state) => state.child(&thread.to_string()),
            None => Ok(None),
        }
    }

    fn lock(&self, thread: ThreadId) -> Result<(Folder, lock::Lock), StoreError> {
        lock::Lock::take(&self.part(STATE)?, &thread.to_string(), lock::WAIT)
    }
}

/// Makes the data folder where it is missing, for us alone; what is missing above it is made as folders are here. Servers
/// that walk through it as users of their own are let through when they start.
fn make_root(path: &Path) -> std::io::Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.books.sync(&self.disk);
    }
}

impl RawFiles {
    /// Reads both from a thread's folder.
    fn read(folder: &Folder) -> Result<Self, StoreError> {
        let limit = limits::FILE_BYTES as u64;
        Ok(Self {
            local: folder.read(crate::config::FileKind::Local.file_name(), limit)?,
            remote: folder.read(crate::config::FileKind::Remote.file_name(), limit)?,
        })
    }
}

impl std::fmt::Debug for RawFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawFiles")
            .field("local", &self.local.as_ref().map(Vec::len))
            .field("remote", &self.remote.as_ref().map(Vec::len))
            .finish()
    }
}

/// Gives a damaged file of our own another name, so that it is kept for a person and not in the way.
fn set_aside(
    folder: &Folder,
    name: &str,
    reason: &dyn std::fmt::Display,
) -> Result<(), StoreError> {
    let path = folder.path_of(name);
    tracing::warn!(%path, %reason, "A file of the bot is damaged; it was set aside and is made anew.");
    folder.rename(name, &format!("{name}.damaged"))
}
