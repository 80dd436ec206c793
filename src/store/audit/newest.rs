//! The newest file of one thread's audit: its end, its place in the chain, and the room behind it.
//!
//! Whoever writes holds the lock. A line that a crash tore was never acknowledged; it is set aside and a line says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::head::Head;
use super::line::{LINE_BYTES, Mark, Place, is_unchanged};
use super::{NAME, rotated};
use crate::audit::{Entry, What};
use crate::store::atomic::{Disk, Step};
use crate::store::{StoreError, folder::Folder};

/// A file is not made larger than this; smaller in tests, where a rotation shall cost little.
pub(super) const FILE_BYTES: u64 = if cfg!(test) {
    64 * 1024
} else {
    4 * 1024 * 1024
};
/// So many files are kept beside the newest.
pub(super) const KEPT_FILES: u32 = 8;
/// Room that is kept behind the end, so that what is under way when the disk fills up is still written down.
const ROOM: u64 = 32 * 1024;
const ROOM_MADE: u64 = 96 * 1024;
/// What crashes tore is kept in one file of at most so many bytes.
const TORN: &str = "audit.torn";
const TORN_BYTES: u64 = 64 * 1024;

/// It, open for writing.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) folder: Arc<Folder>,
    pub(super) lock: Arc<File>,
    pub(super) file: Arc<File>,
    inode: u64,
    end: u64,
    /// Up to here the file system has promised room.
    room: u64,
    /// Its last line.
    pub(super) last: Mark,
}

impl Newest {
    /// Opens the newest file, finds the end of the chain and mends a torn line. Under the lock.
    pub(super) fn read(
        disk: &Disk,
        folder: Folder,
        lock: Arc<File>,
        now: i64,
    ) -> Result<Self, StoreError> {
        let fails = |cause: io::Error| StoreError::io(folder.path_of(NAME), cause);
        if folder.stat(NAME)?.is_none() {
            // The record first: an audit without one was tampered with.
            if folder.stat(super::head::NAME)?.is_none() && folder.stat(&rotated(1))?.is_none() {
                Head::bring(disk, &folder, None, None)?;
            }
            disk.allows(Step::Create).map_err(fails)?;
        }
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = folder.open_file(NAME, flags)?.ok_or_else(missing)?;
        folder.sync()?;
        let told = file.metadata().map_err(fails)?;
        let (whole, torn, mut last) = tail(&file, told.len()).map_err(fails)?;
        if last.is_none()
            && whole == 0
            && let Some(former) = folder.open_file(&rotated(1), OFlags::RDONLY)?
        {
            let length = former.metadata().map_err(fails)?.len();
            last = tail(&former, length).map_err(fails)?.2;
        }
        // What the head names was there. If it is gone, the gap stays to be seen.
        let head = Head::read(&folder)?.unwrap_or_else(Head::new);
        let last = last
            .filter(|last| last.n >= head.last.n)
            .unwrap_or(head.last);
        let mut open = Self {
            inode: told.ino(),
            end: whole,
            room: 0,
            folder: Arc::new(folder),
            lock,
            file: Arc::new(file),
            last,
        };
        if !torn.is_empty() {
            open.mend(disk, &torn, now)?;
        }
        Ok(open)
    }

    /// Sets the fragment at the end aside and writes the line that says so over it.
    fn mend(&mut self, disk: &Disk, torn: &[u8], now: i64) -> Result<(), StoreError> {
        let path = self.folder.path_of(TORN);
        let fails = |cause: io::Error| StoreError::io(path.clone(), cause);
        let flags = OFlags::CREATE | OFlags::RDWR;
        let aside = self.folder.open_file(TORN, flags)?.ok_or_else(missing)?;
        let at = aside.metadata().map_err(fails)?.len();
        let at = if at + torn.len() as u64 > TORN_BYTES {
            aside.set_len(0).map_err(fails)?;
            0
        } else {
            at
        };
        aside.write_all_at(torn, at).map_err(fails)?;
        aside
            .write_all_at(b"\n", at + torn.len() as u64)
            .map_err(fails)?;
        let told = format!(
            "{} bytes of a line that was not finished are set aside in {TORN}",
            torn.len()
        );
        self.append(disk, now, &Entry::of_the_bot(What::Mended { told }))?;
        self.file
            .set_len(self.end)
            .map_err(|cause| StoreError::io(self.folder.path_of(NAME), cause))?;
        self.room = 0;
        Ok(())
    }

    /// Under the lock.
    pub(super) fn append(
        &mut self,
        disk: &Disk,
        at_ms: i64,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let fails = |cause| StoreError::io(self.folder.path_of(NAME), cause);
        let (mut mark, mut text) = (self.last.clone(), Vec::new());
        mark.write(at_ms, entry, &mut text).map_err(fails)?;
        if self.end > 0 && self.end + text.len() as u64 > FILE_BYTES {
            self.rotate(disk)?;
        }
        let fails = |cause| StoreError::io(self.folder.path_of(NAME), cause);
        let written = match disk.allows(Step::Append) {
            Ok(()) => self.file.write_all_at(&text, self.end),
            Err(refused) => self
                .file
                .write_all_at(&text[..text.len() / 2], self.end)
                .and(Err(refused)),
        };
        if let Err(cause) = written {
            // What cannot be cut off now is set aside as a torn line.
            let _ = self.file.set_len(self.end);
            return Err(fails(cause));
        }
        self.end += text.len() as u64;
        self.last = mark;
        Ok(())
    }

    /// Makes the newest file the first of the older ones. The chain goes on in a new one.
    fn rotate(&mut self, disk: &Disk) -> Result<(), StoreError> {
        let folder = &self.folder;
        let refused = |cause| StoreError::io(folder.path_of(NAME), cause);
        // What it reserved is given back.
        self.file.set_len(self.end).map_err(refused)?;
        disk.allows(Step::Sync).map_err(refused)?;
        self.file.sync_data().map_err(refused)?;
        let first = match folder.stat(&rotated(KEPT_FILES))? {
            Some(_) => first_of(folder, KEPT_FILES - 1)?,
            None => None,
        };
        // It says what is kept before anything goes: from a crash in between there is more, and never less.
        Head::bring(disk, folder, Some(&self.last), first.as_ref())?;
        for number in (1..KEPT_FILES).rev() {
            if folder.stat(&rotated(number))?.is_some() {
                disk.allows(Step::Rename).map_err(refused)?;
                folder.rename(&rotated(number), &rotated(number + 1))?;
            }
        }
        disk.allows(Step::Rename).map_err(refused)?;
        folder.rename(NAME, &rotated(1))?;
        disk.allows(Step::Create).map_err(refused)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = folder.open_file(NAME, flags)?.ok_or_else(missing)?;
        disk.allows(Step::SyncFolder).map_err(refused)?;
        folder.sync()?;
        self.inode = file.metadata().map_err(refused)?.ino();
        (self.end, self.room) = (0, 0);
        self.file = Arc::new(file);
        Ok(())
    }

    /// Whether nobody else wrote since. Under the lock.
    pub(super) fn is_as_left(&self) -> Result<bool, StoreError> {
        let there = self.folder.stat(NAME)?;
        Ok(there.is_some_and(|there| {
            there.st_ino == self.inode && u64::try_from(there.st_size) == Ok(self.end)
        }))
    }

    /// Where it ends, and which file it is.
    pub(super) fn ends(&self) -> (u64, u64) {
        (self.inode, self.end)
    }

    /// Cuts off again what was written since it ended there, where nobody else wrote. Under the lock.
    pub(super) fn cut(&self, (inode, end): (u64, u64)) {
        if self.inode == inode && self.is_as_left().unwrap_or(false) {
            let _ = self.file.set_len(end);
        }
    }

    /// Makes sure of room for the lines of what is about to happen.
    pub(super) fn make_room(&mut self, disk: &Disk) -> Result<(), StoreError> {
        let fails = |cause: io::Error| StoreError::io(self.folder.path_of(NAME), cause);
        disk.allows(Step::Reserve).map_err(fails)?;
        let free = rustix::fs::fstatvfs(&*self.file).map_err(|errno| fails(errno.into()))?;
        if free.f_blocks > 0 && free.f_bavail.saturating_mul(free.f_frsize) < ROOM {
            return Err(fails(Errno::NOSPC.into()));
        }
        if self.end + ROOM > self.room {
            reserve(&self.file, self.end, ROOM_MADE).map_err(fails)?;
            self.room = self.end + ROOM_MADE;
        }
        Ok(())
    }
}

impl Drop for Newest {
    fn drop(&mut self) {
        // The room behind the end is given back, unless another process writes there now.
        if self.room > self.end
            && flock(&*self.lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            if self.is_as_left().unwrap_or(false) {
                let _ = self.file.set_len(self.end);
            }
            let _ = flock(&*self.lock, FlockOperation::Unlock);
        }
    }
}

/// Room behind the end of the file, which stays as long as it is. A file system that has no such promise makes none.
#[cfg(target_os = "linux")]
fn reserve(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}

/// Up to where the file has whole lines, the fragment behind them, and the mark of the last line where it is a good one.
fn tail(file: &File, length: u64) -> io::Result<(u64, Vec<u8>, Option<Mark>)> {
    let from = length.saturating_sub(4 * LINE_BYTES as u64);
    let mut end = vec![0; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut end, from)?;
    let whole = end
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let torn = end.split_off(whole);
    let line = end.strip_suffix(b"\n").unwrap_or_default();
    let line = line.rsplit(|byte| *byte == b'\n').next();
    let place = line.and_then(|line| {
        let place = Place::of(line)?;
        is_unchanged(line, &place.hash).then_some(place)
    });
    Ok((from + whole as u64, torn, place.map(Place::mark)))
}

/// What stands before the first line of the oldest file but one, and its number.
fn first_of(folder: &Folder, number: u32) -> Result<Option<Mark>, StoreError> {
    let name = rotated(number);
    let Some(file) = folder.open_file(&name, OFlags::RDONLY)? else {
        return Ok(None);
    };
    let mut start = vec![0; 2 * LINE_BYTES];
    let read = file
        .read_at(&mut start, 0)
        .map_err(|cause| StoreError::io(folder.path_of(&name), cause))?;
    let line = start[..read].split(|byte| *byte == b'\n').next();
    let place = line.and_then(Place::of);
    Ok(place.map(|place| Mark {
        n: place.n,
        hash: place.prev,
    }))
}

pub(super) fn missing() -> StoreError {
    StoreError::io(NAME.to_owned(), io::Error::from(io::ErrorKind::NotFound))
}
