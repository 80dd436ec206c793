//! Folders held open by descriptor, so that no path is walked twice and no symlink is ever followed.
//!
//! Everything under the data folder is reached from its one descriptor, a component at a time with `O_NOFOLLOW`. What is
//! found is looked at after it was opened (`fstat`), so nobody can swap it between the look and the use; a FIFO is opened
//! without waiting for its other end and then refused.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::StoreError;

/// A folder under `data/`, open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// Relative to the data folder, for errors.
    path: String,
}

/// Folders are the owner's alone.
const FOLDER_MODE: Mode = Mode::RWXU;
/// Files too.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

impl Folder {
    /// The data folder itself. Its own path is the operator's choice, so symlinks in it are followed.
    pub(super) fn root(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self {
                fd,
                path: String::new(),
            }),
            Err(Errno::NOTDIR) => Err(StoreError::NotOrdinary(shown)),
            Err(errno) => Err(StoreError::io(shown, errno)),
        }
    }

    /// The folder of that name in it; `None` where there is nothing.
    pub(super) fn child(&self, name: &str) -> Result<Option<Self>, StoreError> {
        let path = self.path_of(name);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(StoreError::NotOrdinary(path)),
            Err(errno) => Err(StoreError::io(path, errno)),
        }
    }

    /// The folder of that name, made durably where it is missing.
    pub(super) fn child_made(&self, name: &str) -> Result<Self, StoreError> {
        if let Some(child) = self.child(name)? {
            return Ok(child);
        }
        match fs::mkdirat(&self.fd, name, FOLDER_MODE) {
            Ok(()) => self.sync()?,
            // Another thread of ours was faster.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(StoreError::io(self.path_of(name), errno)),
        }
        self.child(name)?
            .ok_or_else(|| StoreError::io(self.path_of(name), Errno::NOENT))
    }

    /// Takes everybody else's rights to the folder, which somebody may have made by hand. Where that is not allowed it is
    /// another's, and whose it is decides.
    pub(super) fn keep_private(&self) {
        if let Err(error) = fs::fchmod(&self.fd, FOLDER_MODE) {
            tracing::warn!(path = %self.path, %error, "A folder could not be made private.");
        }
    }

    /// What is under that name, itself and not what it points to.
    pub(super) fn stat(&self, name: &str) -> Result<Option<Stat>, StoreError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(StoreError::io(self.path_of(name), errno)),
        }
    }

    /// Reads an ordinary file of at most `limit` bytes; `None` where there is none. A file that grows meanwhile is read
    /// to the limit and then refused.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.open_file(name, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let path = self.path_of(name);
        let told = file.metadata().map_err(|cause| StoreError::Io {
            path: path.clone(),
            cause,
        })?;
        if told.len() > limit {
            return Err(StoreError::TooLarge {
                path,
                bytes: told.len(),
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(told.len()).unwrap_or_default() + 1);
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        match read {
            Ok(count) if count as u64 > limit => Err(StoreError::TooLarge {
                path,
                bytes: count as u64,
            }),
            Ok(_) => Ok(Some(bytes)),
            Err(cause) => Err(StoreError::Io { path, cause }),
        }
    }

    /// Opens an ordinary file; with `OFlags::CREATE` it is made 0600.
    pub(super) fn open_file(&self, name: &str, how: OFlags) -> Result<Option<File>, StoreError> {
        let path = self.path_of(name);
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&self.fd, name, flags, FILE_MODE) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            // ENXIO: a socket, or a FIFO that nobody reads.
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(StoreError::NotOrdinary(path));
            }
            Err(errno) => return Err(StoreError::io(path, errno)),
        };
        match file.metadata() {
            Ok(told) if told.is_file() => Ok(Some(file)),
            Ok(_) => Err(StoreError::NotOrdinary(path)),
            Err(cause) => Err(StoreError::Io { path, cause }),
        }
    }

    /// Removes a file; one that is not there is removed already.
    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(StoreError::io(self.path_of(name), errno)),
        }
    }

    /// Removes an empty folder; whether it is gone now.
    pub(super) fn remove_empty(&self, name: &str) -> Result<bool, StoreError> {
        match fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(StoreError::io(self.path_of(name), errno)),
        }
    }

    /// Renames a file or folder within this folder, over a file of that name.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|errno| StoreError::io(self.path_of(to), errno))
    }

    /// Moves a file into another folder.
    pub(super) fn rename_into(&self, from: &str, into: &Self, to: &str) -> Result<(), StoreError> {
        fs::renameat(&self.fd, from, &into.fd, to)
            .map_err(|errno| StoreError::io(into.path_of(to), errno))
    }

    /// The names in it that are text, in no order.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let dir = fs::Dir::read_from(&self.fd)
            .map_err(|errno| StoreError::io(self.path.clone(), errno))?;
        let mut names = Vec::new();
        for entry in dir {
            let entry = entry.map_err(|errno| StoreError::io(self.path.clone(), errno))?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes what was renamed or removed in it survive a loss of power.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        fs::fsync(&self.fd).map_err(|errno| StoreError::io(self.path.clone(), errno))
    }

    /// A name in it, relative to the data folder.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl StoreError {
    /// The system said no.
    pub(super) fn io(path: String, cause: impl Into<io::Error>) -> Self {
        Self::Io {
            path,
            cause: cause.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::FileType;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn d38_a_symlink_is_neither_a_folder_nor_a_file() {
        let (dir, folder) = folder();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("sub")).unwrap();
        symlink("/etc/hostname", dir.path().join("file")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        for name in ["sub", "dangling"] {
            assert!(matches!(
                folder.child(name),
                Err(StoreError::NotOrdinary(_))
            ));
            assert!(matches!(
                folder.child_made(name),
                Err(StoreError::NotOrdinary(_))
            ));
        }
        for name in ["file", "dangling"] {
            assert!(matches!(
                folder.read(name, 100),
                Err(StoreError::NotOrdinary(_))
            ));
            let made = folder.open_file(name, OFlags::CREATE | OFlags::WRONLY);
            assert!(matches!(made, Err(StoreError::NotOrdinary(_))));
        }
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_fifo_a_folder_and_a_device_are_no_files_and_do_not_hang() {
        let (dir, folder) = folder();
        fs::mknodat(&folder, "fifo", FileType::Fifo, FILE_MODE, 0).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for name in ["fifo", "sub", "socket"] {
            assert!(
                matches!(folder.read(name, 100), Err(StoreError::NotOrdinary(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let (dir, folder) = folder();
        for (size, fits) in [(0, true), (9, true), (10, true), (11, false)] {
            std::io::Write::write_all(
                &mut File::create(dir.path().join("file")).unwrap(),
                &vec![b'x'; size],
            )
            .unwrap();
            match folder.read("file", 10) {
                Ok(Some(bytes)) => assert!(fits && bytes.len() == size),
                Err(StoreError::TooLarge { bytes, .. }) => assert!(!fits && bytes == 11),
                other => panic!("{other:?}"),
            }
        }
        assert!(folder.read("missing", 10).unwrap().is_none());
    }

    #[test]
    fn a_folder_is_made_for_the_owner_alone() {
        let (dir, folder) = folder();
        folder.child_made("sub").unwrap();
        let mode = dir
            .path()
            .join("sub")
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
