//! A thread's home folder: made, given to the thread's own user, measured, and never left by a working folder.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};

use super::{Granted, Owner};

/// Where temporary files go in the restricted tier, in the home itself.
pub(super) const TMP: &str = ".tmp";
/// How long a home is measured.
const MEASURE_LIMIT: Duration = Duration::from_secs(3);
/// Folders below folders that are followed, each with two files open; a home that is deeper counts as too full.
const DEEPEST: usize = 64;
/// What each file and folder takes beside its blocks, about.
const ENTRY: u64 = 512;
/// Of a block of `st_blocks` (stat(2)).
const BLOCK: u64 = 512;

/// Why a folder cannot be worked in; a part of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A relative folder that leads out.
    #[error("the working folder `{0}` leads out of this chat's own folder")]
    Leaves(String),
    /// A full path that nobody granted.
    #[error(
        "the working folder `{0}` is outside this chat's own folder, and the operator did not grant it"
    )]
    NotGranted(String),
    /// It does not exist in the home.
    #[error("the working folder `{0}` does not exist inside this chat's own folder")]
    Missing(String),
    /// It does not exist on the host.
    #[error("the working folder `{0}` does not exist on this machine")]
    MissingOnHost(String),
}

/// How much a home holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk; at least, where not all was looked at.
    pub bytes: u64,
    /// Whether all of it was looked at in time.
    pub is_whole: bool,
}

/// Makes the home where it is missing, and returns its full path, without symlinks. With an owner it is theirs.
pub fn make_home(home: &Path, owner: Option<Owner>) -> io::Result<PathBuf> {
    if !home.is_dir() {
        if let Some(homes) = home.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(homes)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(home) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    if home.symlink_metadata()?.is_symlink() {
        return Err(io::Error::other("it is a symlink"));
    }
    let home = home.canonicalize()?;
    if let Some(owner) = owner
        && home.metadata()?.uid() != owner.uid
    {
        give(&home, owner)?;
    }
    Ok(home)
}

/// The folder on the host that a definition's `cwd` means. Where servers are not confined (`confined` is `false`), a full
/// path may be any.
pub fn working_folder(
    home: &Path,
    cwd: Option<&str>,
    granted: &[Granted],
    confined: bool,
) -> Result<PathBuf, HomeError> {
    let Some(cwd) = cwd else {
        return Ok(home.to_owned());
    };
    let path = Path::new(cwd);
    // By its words first, so that nothing outside is even looked at.
    if path.is_relative() && leaves(path) {
        return Err(HomeError::Leaves(cwd.to_owned()));
    }
    let Ok(real) = home.join(path).canonicalize() else {
        return Err(if path.is_relative() {
            HomeError::Missing(cwd.to_owned())
        } else {
            HomeError::MissingOnHost(cwd.to_owned())
        });
    };
    let is_allowed = real.starts_with(home)
        || (path.is_absolute()
            && (!confined || granted.iter().any(|folder| real.starts_with(&folder.path))));
    match (is_allowed, real.is_dir()) {
        (true, true) => Ok(real),
        (true, false) if path.is_relative() => Err(HomeError::Missing(cwd.to_owned())),
        (true, false) => Err(HomeError::MissingOnHost(cwd.to_owned())),
        (false, _) if path.is_relative() => Err(HomeError::Leaves(cwd.to_owned())),
        (false, _) => Err(HomeError::NotGranted(cwd.to_owned())),
    }
}

/// How many bytes a home holds. Stops where it is over `most`, or takes too long. Follows no symlinks, and gives what is
/// somebody else's to the owner.
///
/// What is in it changes meanwhile, as a server likes; so each folder is held open, and nothing is named by a path.
pub fn measure(home: &Path, most: u64, owner: Option<Owner>) -> Usage {
    let until = Instant::now() + MEASURE_LIMIT;
    let mut usage = Usage {
        bytes: 0,
        is_whole: true,
    };
    let Ok(folder) = open_folder(CWD, home.as_os_str().as_bytes()) else {
        return usage;
    };
    let mut way = vec![folder];
    while let Some((folder, entries)) = way.last_mut() {
        let Some(entry) = entries.read() else {
            way.pop();
            continue;
        };
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(found) = rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let blocks = u64::try_from(found.st_blocks).unwrap_or(0);
        usage.bytes = usage.bytes.saturating_add(blocks * BLOCK + ENTRY);
        if let Some(owner) = owner
            && found.st_uid != owner.uid
        {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let _ = rustix::fs::chownat(&*folder, name, Some(uid), Some(gid), flags);
        }
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory
            && let Ok(deeper) = open_folder(&*folder, name.to_bytes())
        {
            way.push(deeper);
        }
        if way.len() > DEEPEST {
            usage.bytes = u64::MAX;
        }
        if usage.bytes > most {
            return usage;
        }
        if Instant::now() > until {
            usage.is_whole = false;
            return usage;
        }
    }
    usage
}

fn open_folder(at: impl AsFd, name: &[u8]) -> rustix::io::Result<(OwnedFd, Dir)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let entries = Dir::read_from(&folder)?;
    Ok((folder, entries))
}

/// Whether a relative path climbs above where it begins at any point.
fn leaves(path: &Path) -> bool {
    let mut depth = 0_usize;
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// Once, where the home was another's: the bot ran as somebody else, or without a sandbox.
fn give(home: &Path, owner: Owner) -> io::Result<()> {
    std::os::unix::fs::chown(home, Some(owner.uid), Some(owner.gid))?;
    measure(home, u64::MAX, Some(owner));
    Ok(())
}

/// Lets others pass through a folder of ours, without seeing what is in it. Folders and files in it are closed to them by
/// themselves.
pub(super) fn open_way(folder: &Path) -> io::Result<()> {
    const PASS: u32 = 0o011;
    let mut rights = folder.metadata()?.permissions();
    if rights.mode() & PASS != PASS {
        rights.set_mode(rights.mode() | PASS);
        std::fs::set_permissions(folder, rights)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d05_a_working_folder_never_leaves_the_home() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let home = make_home(&place.join("homes/tg1"), None).unwrap();
        let folders = ["homes/tg1/work/deep", "homes/tg222", "granted/in", "other"];
        for folder in folders {
            std::fs::create_dir_all(place.join(folder)).unwrap();
        }
        for (link, to) in [
            ("root", "/"),
            ("up", ".."),
            ("in", "work"),
            ("lost", "nowhere"),
        ] {
            std::os::unix::fs::symlink(to, home.join(link)).unwrap();
        }
        let at = |folder: &str| place.join(folder).to_str().unwrap().to_owned();
        let granted = [Granted {
            path: place.join("granted"),
            write: false,
        }];
        for (cwd, expected) in [
            ("", Ok("homes/tg1".to_owned())),
            ("work", Ok("homes/tg1/work".to_owned())),
            ("./work/../work/deep", Ok("homes/tg1/work/deep".to_owned())),
            ("in/deep", Ok("homes/tg1/work/deep".to_owned())),
            ("../tg222", Err("leads out")),
            ("../tg1", Err("leads out")),
            ("work/../../tg222", Err("leads out")),
            ("root", Err("leads out")),
            ("root/usr", Err("leads out")),
            ("up/tg222", Err("leads out")),
            ("lost", Err("does not exist inside")),
            ("nothing", Err("does not exist inside")),
            (&at("homes/tg1/work"), Ok("homes/tg1/work".to_owned())),
            (&at("granted/in"), Ok("granted/in".to_owned())),
            (&at("granted/../other"), Err("did not grant")),
            (&at("homes/tg222"), Err("did not grant")),
            ("/", Err("did not grant")),
            (&at("gone"), Err("does not exist on this machine")),
        ] {
            let found = working_folder(&home, Some(cwd), &granted, true);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, place.join(expected), "{cwd}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{cwd}: {error}");
                }
                (found, _) => panic!("{cwd}: {found:?}"),
            }
        }
        let anywhere = working_folder(&home, Some(&at("other")), &[], false);
        assert_eq!(anywhere.unwrap(), place.join("other"));
        assert!(working_folder(&home, Some("../tg222"), &[], false).is_err());
    }

    #[test]
    fn a_home_is_measured_without_what_it_points_to() {
        let place = tempfile::tempdir().unwrap();
        let home = make_home(&place.path().join("homes/tg1"), None).unwrap();
        let big = place.path().join("big");
        fill(&big, 3_000_000);
        fill(&home.join("small"), 100_000);
        std::os::unix::fs::symlink(place.path(), home.join("out")).unwrap();
        let usage = measure(&home, u64::MAX, None);
        assert!(
            usage.is_whole && (100_000..200_000).contains(&usage.bytes),
            "{usage:?}"
        );
        fill(&home.join("a/b/deep"), 500_000);
        assert!(measure(&home, 300_000, None).bytes > 300_000);
        let mut deep = home.join("deep");
        for _ in 0..100 {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(measure(&home, u64::MAX - 1, None).bytes, u64::MAX);
    }

    #[test]
    fn a_home_that_is_a_symlink_is_refused() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("homes")).unwrap();
        std::os::unix::fs::symlink("/tmp", place.path().join("homes/tg1")).unwrap();
        assert!(make_home(&place.path().join("homes/tg1"), None).is_err());
    }

    #[allow(clippy::disallowed_methods, reason = "a test's own file")]
    fn fill(path: &Path, bytes: usize) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![1; bytes]).unwrap();
    }
}
