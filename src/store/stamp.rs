//! What can be told of a thread's files without reading them.

use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

use super::{StoreError, folder::Folder};
use crate::config::FileKind;

/// What can be told of a thread's files without reading them: kind, times, size and inode of each. Equal stamps mean
/// unchanged files, except for files written a moment before ([`Stamp::proves_unchanged`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    local: Option<FileStamp>,
    remote: Option<FileStamp>,
}

/// Times are nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    mode: u32,
    inode: u64,
    size: i128,
    modified: i128,
    /// Also moves with a rename or a change of rights.
    changed: i128,
}

/// Two writes within one tick of the file system's clock leave the same times. A tick is a few milliseconds on most, a
/// second where inodes are small or a network is between, and two on FAT; no tick is longer than this.
const TICK: Duration = Duration::from_secs(3);

impl Stamp {
    /// Whether files that have this stamp now are surely those that had `earlier` when they were read at `read`. A file
    /// that had been written within a tick before it was read can have been written once more without showing it.
    pub fn proves_unchanged(&self, earlier: &Self, read: SystemTime) -> bool {
        let settled = |file: &Option<FileStamp>| {
            let tick_before = read - TICK;
            file.is_none_or(|file| file.changed < nanoseconds(tick_before))
        };
        self == earlier && settled(&earlier.local) && settled(&earlier.remote)
    }

    /// The stamp of the files in a thread's folder.
    pub(super) fn of(folder: &Folder) -> Result<Self, StoreError> {
        let stamp = |kind: FileKind| -> Result<Option<FileStamp>, StoreError> {
            Ok(folder
                .stat(kind.file_name())?
                .map(|stat| FileStamp::of(&stat)))
        };
        Ok(Self {
            local: stamp(FileKind::Local)?,
            remote: stamp(FileKind::Remote)?,
        })
    }
}

impl FileStamp {
    fn of(stat: &Stat) -> Self {
        let time = |seconds: i128, nanos: i128| seconds * 1_000_000_000 + nanos;
        Self {
            mode: stat.st_mode,
            inode: stat.st_ino,
            size: stat.st_size.into(),
            modified: time(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: time(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}

fn nanoseconds(time: SystemTime) -> i128 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i128::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stamps_prove_nothing_of_a_file_written_a_moment_before_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        let none = Stamp::of(&folder).unwrap();
        assert!(none.proves_unchanged(&Stamp::default(), SystemTime::now()));
        std::fs::File::create(dir.path().join("mcp.json")).unwrap();
        let one = Stamp::of(&folder).unwrap();
        assert_ne!(one, none);
        // Its own time, whatever clock the file system has.
        let written = u64::try_from(one.local.unwrap().changed).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_nanos(written);
        for (after, proves) in [(0, false), (1000, false), (2000, false), (4000, true)] {
            let read = written + Duration::from_millis(after);
            assert_eq!(one.proves_unchanged(&one, read), proves, "{after}");
        }
    }

    #[test]
    fn a_rename_of_the_same_text_over_the_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        for name in ["mcp.json", "other"] {
            std::fs::File::create(dir.path().join(name)).unwrap();
        }
        let before = Stamp::of(&folder).unwrap();
        folder.rename("other", "mcp.json").unwrap();
        assert_ne!(Stamp::of(&folder).unwrap(), before);
    }
}
