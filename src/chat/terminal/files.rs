//! Files that go from this machine to the bot and back.
//!
//! Uploads are ordinary files that the person names. Downloads carry names from servers: each is made a plain file name,
//! written as a new file that only this user can read, straight into one folder, never through a symlink and never over
//! anything that is there.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::clean::clean_line;
use crate::chat::FrontError;

/// The longest file name that is written, in bytes; far below what file systems take.
const LONGEST_NAME: usize = 100;
/// So many files of one name are told apart by a number.
const MOST_OF_ONE_NAME: usize = 999;

/// `~` and `~/…` → the home folder.
pub(super) fn expand_home(path: &str, home: Option<&Path>) -> PathBuf {
    let rest = match path.strip_prefix('~') {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('/'),
        None => None,
    };
    match (rest, home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// Looks at a file that is to be uploaded; the size in bytes, or a sentence about what is wrong.
pub(super) fn look_at(path: &Path) -> Result<u64, String> {
    let shown = clean_line(&path.display().to_string());
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(format!("{shown} is a folder; name a file in it.")),
        Ok(found) if !found.is_file() => Err(format!("{shown} is not an ordinary file.")),
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("There is no file {shown}; look at the path again."))
        }
        Err(error) => Err(format!("{shown} cannot be read: {error}.")),
    }
}

/// Reads an ordinary file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FrontError> {
    let shown = clean_line(&path.display().to_string());
    let failed = |error: io::Error| FrontError::Other(format!("{shown} cannot be read: {error}"));
    // Not blocking: opening a pipe that nobody writes to would wait for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let file = File::from(file);
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(FrontError::Other(format!(
            "{shown} is not an ordinary file"
        )));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    if found.len() <= most {
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    if found.len() > most || bytes.len() > limit {
        return Err(FrontError::TooLarge { limit });
    }
    Ok(bytes)
}

/// Writes a download into the folder, which is made where it is missing; returns the file's path.
pub(super) fn save(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = openat(CWD, &folder, flags, Mode::empty())?;
    let name = plain_name(name);
    let (stem, extension) = match name.rfind('.') {
        Some(at) => name.split_at(at),
        None => (name.as_str(), ""),
    };
    for number in 1..=MOST_OF_ONE_NAME {
        let name = match number {
            1 => name.clone(),
            _ => format!("{stem} ({number}){extension}"),
        };
        // EXCL makes a new file or fails, also where the name is a symlink to nowhere.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&held, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                let written = File::from(file).write_all(bytes);
                if let Err(error) = written {
                    // Half a file would pass for the whole one.
                    let _ = unlinkat(&held, name.as_str(), AtFlags::empty());
                    return Err(error);
                }
                return Ok(folder.join(name));
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("there are {MOST_OF_ONE_NAME} files of this name already"),
    ))
}

/// A name from anywhere → a plain, visible file name without folders.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = clean_line(last)
        .chars()
        .map(|char| match char {
            ':' | '*' | '?' | '"' | '<' | '>' | '|' | '$' | '`' | '\'' | ';' | '&' => '_',
            _ => char,
        })
        .collect();
    let mut plain = visible
        .trim_matches(|char: char| char.is_whitespace() || char == '.')
        .trim_start_matches('-')
        .to_owned();
    if plain.len() > LONGEST_NAME {
        // The extension says what the file is, so it is kept where it is short.
        let extension = plain
            .rfind('.')
            .map(|at| plain[at..].to_owned())
            .filter(|extension| extension.len() <= 12)
            .unwrap_or_default();
        let mut end = LONGEST_NAME - extension.len();
        while !plain.is_char_boundary(end) {
            end -= 1;
        }
        plain.truncate(end);
        plain.push_str(&extension);
    }
    if plain.is_empty() {
        "file".to_owned()
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn names_from_servers_become_plain_file_names() {
        for (name, expected) in [
            ("mcp.json", "mcp.json"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("/etc/passwd", "passwd"),
            ("C:\\Users\\x.txt", "x.txt"),
            ("..", "file"),
            ("", "file"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\u{1b}[2Jb\u{202e}gpj.exe", "abgpj.exe"),
            ("two\nlines.txt", "two lines.txt"),
            ("what?.png", "what_.png"),
        ] {
            assert_eq!(plain_name(name), expected, "{name:?}");
        }
        let long = plain_name(&format!("{}.json", "é".repeat(200)));
        assert!(
            long.len() <= LONGEST_NAME && long.ends_with("é.json"),
            "{long}"
        );
    }

    #[test]
    fn downloads_never_replace_or_follow_anything() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/downloads");
        let first = save(&folder, "mcp.json", b"one").unwrap();
        let second = save(&folder, "../mcp.json", b"two").unwrap();
        symlink(dir.path().join("outside"), folder.join("evil.txt")).unwrap();
        let third = save(&folder, "evil.txt", b"three").unwrap();
        assert_eq!(first, folder.join("mcp.json"));
        assert_eq!(second, folder.join("mcp (2).json"));
        assert_eq!(third, folder.join("evil (2).txt"));
        assert_eq!(std::fs::read(&first).unwrap(), b"one");
        assert_eq!(
            first.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            folder.metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(!dir.path().join("outside").exists());

        let linked = dir.path().join("linked");
        symlink(&folder, &linked).unwrap();
        save(&linked, "mcp.json", b"x").expect_err("a folder that is a symlink was written to");
    }

    #[test]
    fn only_ordinary_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = save(dir.path(), "x.json", b"12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert!(matches!(
            read(&file, 4),
            Err(FrontError::TooLarge { limit: 4 })
        ));
        for wrong in [dir.path(), Path::new("/dev/zero"), &dir.path().join("none")] {
            assert!(
                matches!(read(wrong, 5), Err(FrontError::Other(_))),
                "{}",
                wrong.display()
            );
        }
        assert!(
            look_at(dir.path())
                .unwrap_err()
                .ends_with("is a folder; name a file in it.")
        );
        assert!(
            look_at(&dir.path().join("none"))
                .unwrap_err()
                .starts_with("There is no file")
        );
        assert!(
            look_at(Path::new("/dev/zero"))
                .unwrap_err()
                .ends_with("not an ordinary file.")
        );
        assert_eq!(look_at(&file), Ok(5));
    }

    #[test]
    fn the_home_folder_is_written_as_a_tilde() {
        let home = Some(Path::new("/home/me"));
        for (path, expected) in [
            ("~/x.json", "/home/me/x.json"),
            ("~", "/home/me/"),
            ("~other/x", "~other/x"),
            ("x~", "x~"),
        ] {
            assert_eq!(expand_home(path, home), PathBuf::from(expected), "{path}");
        }
        assert_eq!(expand_home("~/x", None), PathBuf::from("~/x"));
    }
}
