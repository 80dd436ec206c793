//! A file is replaced as a whole or not at all.
//!
//! The new text is written beside the old one under a name of its own (`.mcp.json.<random>.tmp`, 0600), brought to the
//! disk, and renamed over it. Whoever reads sees the old or the new text; whoever watches sees one finished write.

use std::io::{self, Write as _};
#[cfg(test)]
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::{StoreError, folder::Folder};

/// How sure a write is after it returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It survives a loss of power.
    Power,
    /// It survives the death of the process; after a loss of power the old text, or a damaged one, may be there. For what
    /// can be made again.
    Process,
}

/// The new text of a file, written and not yet in its place. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    folder: &'a Folder,
    disk: &'a Disk,
    name: String,
    temporary: Option<String>,
}

/// Replaces a file.
pub(super) fn write(
    disk: &Disk,
    folder: &Folder,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    Staged::write(disk, folder, name, bytes, durability)?.place()?;
    match durability {
        Durability::Power => sync(disk, folder),
        Durability::Process => Ok(()),
    }
}

/// Makes renames in the folder durable.
pub(super) fn sync(disk: &Disk, folder: &Folder) -> Result<(), StoreError> {
    disk.allows(Step::SyncFolder)
        .map_err(|source| StoreError::io(folder.path_of("."), source))?;
    folder.sync()
}

/// Removes temporary files that a process left behind when it died. Those younger than `age` may be somebody's work under
/// way; under the thread's lock nobody's are.
pub(super) fn sweep(folder: &Folder, age: Duration) -> Result<(), StoreError> {
    for name in folder.names()? {
        if is_temporary(&name) && is_older(folder, &name, age)? {
            folder.remove(&name)?;
        }
    }
    Ok(())
}

impl<'a> Staged<'a> {
    /// Writes the new text beside the old one.
    pub(super) fn write(
        disk: &'a Disk,
        folder: &'a Folder,
        name: &str,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let fails = |source: io::Error| StoreError::io(folder.path_of(name), source);
        let mut staged = Self {
            folder,
            disk,
            name: name.to_owned(),
            temporary: None,
        };
        let temporary = format!(".{name}.{:016x}.tmp", random().map_err(fails)?);
        disk.allows(Step::Create).map_err(fails)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let Some(mut file) = folder.open_file(&temporary, flags)? else {
            return Err(fails(io::ErrorKind::NotFound.into()));
        };
        // From here on a failure removes it.
        staged.temporary = Some(temporary);
        if let Err(source) = disk.allows(Step::Write) {
            // A full disk takes a part of the text first.
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
            return Err(fails(source));
        }
        file.write_all(bytes).map_err(fails)?;
        if durability == Durability::Power {
            disk.allows(Step::Sync).map_err(fails)?;
            file.sync_all().map_err(fails)?;
        }
        Ok(staged)
    }

    /// Leaves it to somebody else, who has placed it or will.
    pub(super) fn leave(mut self) {
        self.temporary = None;
    }

    /// The name it has until it is placed.
    pub(super) fn temporary(&self) -> &str {
        self.temporary.as_deref().unwrap_or_default()
    }

    /// Puts it in its place. The caller makes that durable with [`sync`].
    pub(super) fn place(mut self) -> Result<(), StoreError> {
        let temporary = self.temporary().to_owned();
        self.disk
            .allows(Step::Rename)
            .map_err(|source| StoreError::io(self.folder.path_of(&self.name), source))?;
        self.folder.rename(&temporary, &self.name)?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // What cannot be removed now is swept by the next commit.
            let _ = self.folder.remove(&temporary);
        }
    }
}

/// Whether it is a name of the form `.<file>.<random>.tmp`.
fn is_temporary(name: &str) -> bool {
    let random = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"));
    let random = random
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, random)| random);
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A random number for names.
fn random() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

fn is_older(folder: &Folder, name: &str, age: Duration) -> Result<bool, StoreError> {
    if age.is_zero() {
        return Ok(true);
    }
    let Some(stat) = folder.stat(name)? else {
        return Ok(false);
    };
    let written = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
    Ok(std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .is_ok_and(|now| now.saturating_sub(written) >= age))
}

/// The steps of a write, each of which a disk may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Making the temporary file.
    Create,
    /// Writing the text.
    Write,
    /// Bringing the text to the disk.
    Sync,
    /// Putting it in its place.
    Rename,
    /// Bringing the folder to the disk.
    SyncFolder,
    /// Appending to the history or the audit.
    Append,
    /// Keeping room for the audit's next lines.
    Reserve,
}

/// The disk as this room sees it: the real one, or in tests one that refuses a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) fault: std::sync::Arc<std::sync::Mutex<Option<Fault>>>,
}

/// What a test's disk does at a step.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(super) struct Fault {
    step: Step,
    /// How many times the step just works before.
    after: usize,
    deed: Deed,
}

#[cfg(test)]
#[derive(Debug, Clone)]
enum Deed {
    /// Refuses, from now on.
    Refuse,
    /// Copies the data folder once, as a crash here would leave it.
    Copy {
        from: std::path::PathBuf,
        to: std::path::PathBuf,
    },
}

impl Disk {
    /// Whether the step may be tried.
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the seam for tests"
    )]
    pub(super) fn allows(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn allows(&self, step: Step) -> io::Result<()> {
        let mut held = self.fault.lock().unwrap();
        let Some(fault) = held.as_mut().filter(|fault| fault.step == step) else {
            return Ok(());
        };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        match &fault.deed {
            Deed::Refuse => Err(rustix::io::Errno::NOSPC.into()),
            Deed::Copy { from, to } => {
                super::tests::copy(from, to);
                *held = None;
                Ok(())
            }
        }
    }

    /// Refuses a step from now on, after it worked some times.
    #[cfg(test)]
    pub(super) fn refuse(&self, step: Step, after: usize) {
        let deed = Deed::Refuse;
        *self.fault.lock().unwrap() = Some(Fault { step, after, deed });
    }

    /// Copies the data folder before a step, after it worked some times.
    #[cfg(test)]
    pub(super) fn watch(&self, step: Step, after: usize, from: &Path, to: &Path) {
        let deed = Deed::Copy {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        *self.fault.lock().unwrap() = Some(Fault { step, after, deed });
    }

    /// Works again.
    #[cfg(test)]
    pub(super) fn mend(&self) {
        *self.fault.lock().unwrap() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn whichever_step_fails_the_old_text_stays_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        let disk = Disk::default();
        write(&disk, &folder, "file", b"old", Durability::Power).unwrap();
        for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
            disk.refuse(step, 0);
            let failed = write(&disk, &folder, "file", b"new text", Durability::Power);
            let Err(StoreError::Io { path, cause }) = failed else {
                panic!("{step:?}: {failed:?}");
            };
            assert_eq!(
                (path.as_str(), cause.kind()),
                ("file", io::ErrorKind::StorageFull)
            );
            assert_eq!(
                folder.read("file", 99).unwrap().unwrap(),
                b"old",
                "{step:?}"
            );
            assert_eq!(folder.names().unwrap(), ["file"], "{step:?}");
        }
        disk.mend();
        write(&disk, &folder, "file", b"new", Durability::Process).unwrap();
        assert_eq!(folder.read("file", 99).unwrap().unwrap(), b"new");
    }

    #[test]
    fn a_file_is_the_owners_alone_whatever_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        let path = dir.path().join("file");
        std::fs::File::create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&Disk::default(), &folder, "file", b"x", Durability::Power).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn leftovers_are_swept_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        for name in [
            ".mcp.json.0123456789abcdef.tmp",
            "mcp.json",
            ".notes.tmp",
            ".hidden",
        ] {
            std::fs::File::create(dir.path().join(name)).unwrap();
        }
        sweep(&folder, Duration::from_hours(1)).unwrap();
        assert_eq!(folder.names().unwrap().len(), 4);
        sweep(&folder, Duration::ZERO).unwrap();
        let mut left = folder.names().unwrap();
        left.sort();
        assert_eq!(left, [".hidden", ".notes.tmp", "mcp.json"]);
    }
}
