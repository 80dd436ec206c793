//! The audit of each thread: `state/<thread>/audit.jsonl`, lines that are only appended and each bound to the one before.
//!
//! What it notices: a line that was edited, removed, inserted or moved, and lines cut off the end (by the head record,
//! which runs a second behind). What it cannot notice: somebody with the bot's own rights on the host can write a whole new
//! chain. That takes a key that they do not have, or a copy elsewhere.

mod book;
#[cfg(test)]
mod crash;
mod head;
mod line;
mod newest;
mod read;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Root, Store, StoreError, folder::Folder};
use crate::audit::{Audit, Closed, Entry};
use crate::thread::ThreadId;
use book::Book;

pub use line::Noted;
pub(super) use read::{files, newest, threads};
pub(super) use verify::verify;
pub use verify::{Flaw, Verdict};

/// The newest file.
pub(super) const NAME: &str = "audit.jsonl";
/// What was noted is brought to the disk this long after, and what comes meanwhile with it.
const BATCH: Duration = Duration::from_millis(400);
/// So many threads' files stay open.
const OPEN_BOOKS: usize = 128;

/// Milliseconds since the epoch; handed in, so that tests own the time.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The store as the other rooms see it when they note something. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    clock: Clock,
}

/// The threads' audits that are open in this process.
#[derive(Debug, Default)]
pub(super) struct Books {
    // A plain mutex: held for a look-up. Each book has its own, held for an append.
    open: Mutex<HashMap<ThreadId, Arc<Mutex<Book>>>>,
    /// Wakes the thread that brings lines to the disk; it ends with this.
    wake: Mutex<Option<Sender<()>>>,
}

impl Ledger {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    fn book(&self, thread: ThreadId) -> Arc<Mutex<Book>> {
        // What still happens under the former id of a group belongs to the one it has now.
        let thread = self.store.alias(thread).ok().flatten().unwrap_or(thread);
        let mut open = locked(&self.store.root.books.open);
        let book = open
            .entry(thread)
            .or_insert_with(|| Arc::new(Mutex::new(Book::new(thread))));
        Arc::clone(book)
    }

    fn now(&self) -> i64 {
        (self.clock)()
    }
}

impl Audit for Ledger {
    fn note(&self, thread: ThreadId, entry: Entry) {
        let book = self.book(thread);
        let mut book = locked(&book);
        let was_dirty = book.is_dirty;
        // A refusal closes the audit, which the next to ask is told.
        let _ = book.note(&self.store, self.now(), entry);
        if book.is_dirty && !was_dirty {
            self.store.root.books.wake(&self.store.root);
        }
    }

    fn note_durably(&self, thread: ThreadId, entry: Entry) -> Result<(), Closed> {
        let book = self.book(thread);
        let noted = locked(&book).note(&self.store, self.now(), entry);
        let Some(written) = noted.map_err(Closed)? else {
            return Ok(());
        };
        let synced = written.sync(&self.store.root.disk);
        locked(&book).synced(&written, synced).map_err(Closed)
    }

    fn is_open(&self, thread: ThreadId) -> Result<(), Closed> {
        let book = self.book(thread);
        let open = locked(&book).is_open(&self.store, self.now());
        open.map_err(Closed)
    }
}

impl Books {
    /// Has what was written brought to the disk soon.
    fn wake(&self, root: &Arc<Root>) {
        let mut wake = locked(&self.wake);
        if let Some(sender) = wake.as_ref()
            && sender.send(()).is_ok()
        {
            return;
        }
        let (sender, woken) = channel();
        let root = Arc::downgrade(root);
        let keeper = std::thread::Builder::new().name("audit".to_owned());
        match keeper.spawn(move || keep(&root, &woken)) {
            Ok(_) => {
                let _ = sender.send(());
                *wake = Some(sender);
            }
            Err(error) => {
                tracing::warn!(%error, "the audit is not brought to the disk as it is written.");
            }
        }
    }

    /// Wakes the thread again where something is left to do.
    fn rouse(&self) {
        let books: Vec<_> = locked(&self.open).values().map(Arc::clone).collect();
        if books.iter().any(|book| locked(book).is_dirty)
            && let Some(sender) = locked(&self.wake).as_ref()
        {
            let _ = sender.send(());
        }
    }

    /// Brings everything that was written to the disk.
    pub(super) fn sync(&self, disk: &super::atomic::Disk) {
        let books: Vec<_> = locked(&self.open).values().map(Arc::clone).collect();
        for book in books {
            let written = locked(&book).written();
            if let Some(written) = written {
                let synced = written.sync(disk);
                // A failure closes the audit, which the next to ask is told.
                let _ = locked(&book).synced(&written, synced);
            }
        }
    }

    /// Ends what is open of a thread, whose folder is about to move.
    pub(super) fn let_go(&self, thread: ThreadId) {
        locked(&self.open).remove(&thread);
    }

    /// Closes the files that were used longest ago, where too many are open.
    fn forget_idle(&self) {
        let mut open = locked(&self.open);
        if open.len() <= OPEN_BOOKS {
            return;
        }
        let mut idle: Vec<_> = open
            .iter()
            .filter(|(_, book)| Arc::strong_count(book) == 1)
            .filter_map(|(thread, book)| {
                let book = book.try_lock().ok()?;
                book.is_idle().then_some((book.used, *thread))
            })
            .collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        let too_many = open.len() - OPEN_BOOKS;
        for (_, thread) in idle.into_iter().take(too_many) {
            open.remove(&thread);
        }
    }
}

/// Keeps what a thread's new id noted before its own audit came there: beside that, under names of their own.
pub(super) fn keep_former(state: &Folder, comes: &Folder) -> Result<(), StoreError> {
    for name in state.names()? {
        let Some(rest) = name.strip_prefix("audit.").filter(|rest| *rest != "lock") else {
            continue;
        };
        let mut kept = format!("audit-before.{rest}");
        while comes.stat(&kept)?.is_some() {
            kept.push('+');
        }
        state.rename_into(&name, comes, &kept)?;
    }
    comes.sync()
}

/// The name of an older file.
fn rotated(number: u32) -> String {
    format!("audit.{number}.jsonl")
}

/// Brings lines to the disk, many at once, until the store is gone.
fn keep(root: &Weak<Root>, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let until = Instant::now() + BATCH;
        while woken
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        let Some(root) = root.upgrade() else { return };
        root.books.sync(&root.disk);
        root.books.forget_idle();
        // What became dirty while it was brought there did not wake anybody, or did just now.
        root.books.rouse();
    }
}

/// A panic while it was held left nothing half done that the next reading of the file does not find.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
