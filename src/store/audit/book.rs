//! One thread's audit, open for writing: who writes when, and what is to be done when the disk refuses.
//!
//! Each append holds a lock of the system, so several processes take turns (`switchboard do` beside a bot); who
//! finds the file longer than they left it, or another one in its place, reads its end anew.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::NAME;
use super::head::Head;
use super::line::Mark;
use super::newest::{Newest, missing};
use crate::audit::{Entry, What};
use crate::store::atomic::{Disk, Step};
use crate::store::{STATE, Store, StoreError, folder::Folder, lock};
use crate::thread::ThreadId;

/// The lock's file.
const LOCK: &str = "audit.lock";
/// Who waits this long for the lock has met a process that hangs.
const WAIT: Duration = Duration::from_secs(2);
/// Entries that wait for a disk that refuses; of more only the number is kept.
const WAITING: usize = 64;
/// One thread's audit.
#[derive(Debug)]
pub(super) struct Book {
    thread: ThreadId,
    open: Option<Newest>,
    /// Why it is closed, since when, and what could not be written meanwhile.
    closed: Option<Trouble>,
    /// Something was written that may not be on the disk yet.
    pub(super) is_dirty: bool,
    pub(super) used: Instant,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    waiting: VecDeque<(i64, Entry)>,
    left_out: u64,
}

/// What was written and is to be brought to the disk, apart from the book: whoever notes something meanwhile need not wait.
#[derive(Debug)]
pub(super) struct Written {
    folder: Arc<Folder>,
    file: Arc<File>,
    last: Mark,
}

/// The lock on a thread's audit, until dropped.
struct Held(Arc<File>);

impl Drop for Held {
    fn drop(&mut self) {
        // Explicit: a child that is just being forked shares the descriptor for a moment.
        let _ = flock(&*self.0, FlockOperation::Unlock);
    }
}

impl Book {
    pub(super) fn new(thread: ThreadId) -> Self {
        Self {
            thread,
            open: None,
            closed: None,
            is_dirty: false,
            used: Instant::now(),
        }
    }

    /// Appends a line, and says what is to be brought to the disk.
    pub(super) fn note(
        &mut self,
        store: &Store,
        now: i64,
        entry: Entry,
    ) -> Result<Option<Written>, String> {
        self.used = Instant::now();
        if let Some(trouble) = &mut self.closed {
            trouble.wait(now, entry);
            return self.try_again(store, now).map(|()| None);
        }
        let lines = [(now, entry)];
        match self.append(store, &lines) {
            Ok(()) => {
                self.is_dirty = true;
                Ok(self.written())
            }
            Err(error) => {
                let [unwritten] = lines;
                self.close(&error, Some(unwritten));
                Err(self.why())
            }
        }
    }

    /// Whether the next lines can be written.
    pub(super) fn is_open(&mut self, store: &Store, now: i64) -> Result<(), String> {
        self.used = Instant::now();
        if self.closed.is_some() {
            return self.try_again(store, now);
        }
        self.made_room(store, now).map_err(|error| {
            self.close(&error, None);
            self.why()
        })
    }

    /// What was written last and may not be on the disk yet.
    pub(super) fn written(&self) -> Option<Written> {
        let open = self.open.as_ref().filter(|_| self.is_dirty)?;
        Some(Written {
            folder: Arc::clone(&open.folder),
            file: Arc::clone(&open.file),
            last: open.last.clone(),
        })
    }

    /// It was brought to the disk, or could not be.
    pub(super) fn synced(
        &mut self,
        written: &Written,
        outcome: Result<(), StoreError>,
    ) -> Result<(), String> {
        match outcome {
            Ok(()) => {
                let open = self.open.as_ref();
                if open.is_none_or(|open| open.last == written.last) {
                    self.is_dirty = false;
                }
                Ok(())
            }
            Err(error) => {
                self.close(&error, None);
                Err(self.why())
            }
        }
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_dirty && self.closed.is_none()
    }

    fn why(&self) -> String {
        let trouble = self.closed.as_ref();
        trouble.map_or_else(String::new, |trouble| trouble.why.clone())
    }

    fn close(&mut self, error: &StoreError, unwritten: Option<(i64, Entry)>) {
        tracing::error!(thread = %self.thread, %error, "the audit cannot be written; nothing is enabled or called there.");
        // What is there is read anew when it works again.
        self.open = None;
        self.is_dirty = false;
        if let Some(trouble) = &mut self.closed {
            trouble.why = error.to_string();
            return;
        }
        let mut trouble = Trouble {
            why: error.to_string(),
            waiting: VecDeque::new(),
            left_out: 0,
        };
        if let Some((at_ms, entry)) = unwritten {
            trouble.wait(at_ms, entry);
        }
        self.closed = Some(trouble);
    }

    /// Writes what waits, and a line that says that it could not be written; then the audit is open again.
    fn try_again(&mut self, store: &Store, now: i64) -> Result<(), String> {
        let Some(trouble) = &self.closed else {
            return Ok(());
        };
        let left_out = match trouble.left_out {
            0 => String::new(),
            count => format!("; {count} more are lost"),
        };
        let told = format!(
            "the audit could not be written ({}); what happened meanwhile follows{left_out}",
            trouble.why
        );
        let mut lines = vec![(now, Entry::of_the_bot(What::Mended { told }))];
        lines.extend(trouble.waiting.iter().cloned());
        let written = self.made_room(store, now).and_then(|()| {
            let before = self.open.as_ref().map_or((0, 0), Newest::ends);
            self.append(store, &lines)?;
            self.is_dirty = true;
            let written = self.written();
            let synced = written.map_or(Ok(()), |written| written.sync(&store.root.disk));
            if synced.is_err() {
                // They wait, and are written again.
                self.take_back(before);
            }
            synced
        });
        self.is_dirty = false;
        match written {
            Ok(()) => {
                tracing::info!(thread = %self.thread, "the audit can be written again.");
                self.closed = None;
                Ok(())
            }
            Err(error) => {
                self.open = None;
                if let Some(trouble) = &mut self.closed {
                    trouble.why = error.to_string();
                }
                Err(self.why())
            }
        }
    }

    /// Cuts off again what was written since the file ended there; nobody was told of it.
    fn take_back(&self, end: (u64, u64)) {
        let Some(open) = &self.open else { return };
        let Ok(_held) = Held::take(&open.lock, &open.folder) else {
            return;
        };
        open.cut(end);
    }

    fn made_room(&mut self, store: &Store, now: i64) -> Result<(), StoreError> {
        if self.open.is_none() {
            drop(self.held(store, now)?);
        }
        let open = self.open.as_mut().ok_or_else(missing)?;
        open.make_room(&store.root.disk)
    }

    fn append(&mut self, store: &Store, lines: &[(i64, Entry)]) -> Result<(), StoreError> {
        let now = lines.first().map_or(0, |(at_ms, _)| *at_ms);
        let _held = self.held(store, now)?;
        let open = self.open.as_mut().ok_or_else(missing)?;
        for (at_ms, entry) in lines {
            open.append(&store.root.disk, *at_ms, entry)?;
        }
        Ok(())
    }

    /// The lock, with the end of the newest file known.
    fn held(&mut self, store: &Store, now: i64) -> Result<Held, StoreError> {
        if let Some(open) = self.open.take() {
            let held = Held::take(&open.lock, &open.folder)?;
            if open.is_as_left()? {
                self.open = Some(open);
                return Ok(held);
            }
        }
        let folder = store.part(STATE)?.child_made(&self.thread.to_string())?;
        let lock = folder.open_file(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        let lock = Arc::new(lock.ok_or_else(missing)?);
        let held = Held::take(&lock, &folder)?;
        self.open = Some(Newest::read(&store.root.disk, folder, lock, now)?);
        Ok(held)
    }
}

impl Written {
    /// Brings it to the disk, and then the head record up to it.
    pub(super) fn sync(&self, disk: &Disk) -> Result<(), StoreError> {
        let fails = |cause| StoreError::io(self.folder.path_of(NAME), cause);
        disk.allows(Step::Sync).map_err(fails)?;
        self.file.sync_data().map_err(fails)?;
        Head::bring(disk, &self.folder, Some(&self.last), None)
    }
}

impl Trouble {
    fn wait(&mut self, at_ms: i64, entry: Entry) {
        if self.waiting.len() == WAITING {
            self.left_out += 1;
        } else {
            self.waiting.push_back((at_ms, entry));
        }
    }
}

impl Held {
    fn take(file: &Arc<File>, folder: &Folder) -> Result<Self, StoreError> {
        lock::acquire(file, WAIT, || folder.path_of(NAME))?;
        Ok(Self(Arc::clone(file)))
    }
}
