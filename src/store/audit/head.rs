//! The head record beside the audit: how far the chain had come, so that lines cut off its end are missed.
//!
//! Two slots of a fixed size are written in turns, so that one is always whole. It runs behind the audit and never ahead of
//! it: what it names is on the disk before. It also names the first line that is kept, for the oldest file is dropped when
//! there are too many.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use super::line::{Mark, hash};
use crate::store::atomic::{Disk, Step};
use crate::store::{StoreError, folder::Folder};

/// Its name.
pub(super) const NAME: &str = "audit.head";
const SLOT: usize = 512;

/// What the record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Counts writes; the higher slot holds.
    turn: u64,
    /// A line that is surely there.
    pub(super) last: Mark,
    /// The number of the first line that is kept, and the hash before it.
    pub(super) first: Mark,
}

/// A slot: the record and its own hash, which tells a torn slot from a whole one.
#[derive(Serialize, Deserialize)]
struct Slot {
    head: Head,
    sum: String,
}

impl Head {
    /// Of an empty audit.
    pub(super) fn new() -> Self {
        Self {
            turn: 0,
            last: Mark::origin(),
            first: Mark {
                n: 1,
                ..Mark::origin()
            },
        }
    }

    /// Reads it; `None` where there is no record, or none of its slots is whole.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, StoreError> {
        match folder.read(NAME, 4 * SLOT as u64) {
            Ok(Some(bytes)) => Ok(Self::newest(&bytes)),
            Ok(None) | Err(StoreError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Brings it up to a last and a first line; never back. The lines that it names are on the disk before.
    pub(super) fn bring(
        disk: &Disk,
        folder: &Folder,
        last: Option<&Mark>,
        first: Option<&Mark>,
    ) -> Result<(), StoreError> {
        let fails = |cause: io::Error| StoreError::io(folder.path_of(NAME), cause);
        let is_new = folder.stat(NAME)?.is_none();
        let flags = OFlags::CREATE | OFlags::RDWR;
        let Some(file) = folder.open_file(NAME, flags)? else {
            return Err(fails(io::ErrorKind::NotFound.into()));
        };
        // Whoever holds it writes 512 bytes; the lock ends with the descriptor.
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| fails(errno.into()))?;
        let mut bytes = vec![0; 2 * SLOT];
        let read = file.read_at(&mut bytes, 0).map_err(fails)?;
        let before = Self::newest(&bytes[..read]);
        let mut head = before.clone().unwrap_or_else(Self::new);
        if let Some(last) = last.filter(|last| last.n > head.last.n) {
            head.last = last.clone();
        }
        if let Some(first) = first.filter(|first| first.n > head.first.n) {
            head.first = first.clone();
        }
        if before.as_ref() == Some(&head) {
            return Ok(());
        }
        head.turn += 1;
        let text = serde_json::to_vec(&head).map_err(|error| fails(error.into()))?;
        let (sum, turn) = (hash(&text), head.turn);
        let slot = serde_json::to_vec(&Slot { head, sum });
        let mut slot = slot.map_err(|error| fails(error.into()))?;
        slot.resize(SLOT - 1, b' ');
        slot.push(b'\n');
        put(disk, &file, &slot, (turn % 2) * SLOT as u64).map_err(fails)?;
        if is_new {
            folder.sync()?;
        }
        Ok(())
    }

    fn newest(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.chunks(SLOT).filter_map(|slot| {
            let end = slot.iter().position(|byte| *byte == b'\n')?;
            let slot: Slot = serde_json::from_slice(&slot[..end]).ok()?;
            let text = serde_json::to_vec(&slot.head).ok()?;
            (hash(&text) == slot.sum).then_some(slot.head)
        });
        whole.max_by_key(|head| head.turn)
    }
}

fn put(disk: &Disk, file: &File, slot: &[u8], at: u64) -> io::Result<()> {
    if let Err(refused) = disk.allows(Step::Write) {
        // A disk that fills up takes a part.
        file.write_all_at(&slot[..SLOT / 2], at)?;
        return Err(refused);
    }
    file.write_all_at(slot, at)?;
    disk.allows(Step::Sync)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64) -> Mark {
        let hash = hash(&n.to_be_bytes());
        Mark { n, hash }
    }

    #[test]
    fn a_torn_record_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, disk) = (Folder::root(dir.path()).unwrap(), Disk::default());
        assert_eq!(Head::read(&folder).unwrap(), None);
        for n in 1..=5 {
            Head::bring(&disk, &folder, Some(&line(n)), None).unwrap();
            assert_eq!(Head::read(&folder).unwrap().unwrap().last, line(n));
            disk.refuse(Step::Write, 0);
            Head::bring(&disk, &folder, Some(&line(99)), None).unwrap_err();
            disk.mend();
            assert_eq!(Head::read(&folder).unwrap().unwrap().last, line(n));
        }
    }

    #[test]
    fn it_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, disk) = (Folder::root(dir.path()).unwrap(), Disk::default());
        for (last, first) in [(7, 3), (5, 2), (6, 3)] {
            let (last, first) = (line(last), line(first));
            Head::bring(&disk, &folder, Some(&last), Some(&first)).unwrap();
            let head = Head::read(&folder).unwrap().unwrap();
            assert_eq!((head.last, head.first), (line(7), line(3)));
        }
    }
}
