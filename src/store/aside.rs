//! `broken-<file>.<number>`: texts that a repair replaces, kept for whoever wrote them. The newest is 1.
//!
//! Age is the place and no time: a file system's clock may stand still for longer than two repairs take, and the machine's
//! may be set. Wherever a process dies between two moves, a place is left free and the order holds; the next one fills it.

use super::{Store, StoreError, folder::Folder};
use crate::config::FileKind;

/// How many are kept of each file; the oldest makes room for one more.
const MOST: usize = 5;

/// Moves what stands under `name` there, whatever it is: a file of any size, a symlink, a pipe, a folder.
pub(super) fn put(
    store: &Store,
    users: &Folder,
    state: &Folder,
    name: &str,
    kind: FileKind,
) -> Result<(), StoreError> {
    let place = |number: usize| format!("broken-{}.{number}", kind.file_name());
    let free = free_place(store, state, place)?;
    // The newer ones move up by one, the last of them first.
    for number in (1..free).rev() {
        state.rename(&place(number), &place(number + 1))?;
    }
    let newest = place(1);
    rustix::fs::renameat(users, name, state, newest.as_str())
        .map_err(|errno| StoreError::io(state.path_of(&newest), errno))
}

/// The first place that is free; the last one is emptied where none is.
fn free_place(
    store: &Store,
    state: &Folder,
    place: impl Fn(usize) -> String,
) -> Result<usize, StoreError> {
    for number in 1..=MOST {
        if state.stat(&place(number))?.is_none() {
            return Ok(number);
        }
    }
    let oldest = place(MOST);
    if state.remove(&oldest).is_err() {
        // A folder. It is ours now, below our own state; a symlink in it is not followed.
        let path = store.root.path.join(state.path_of(&oldest));
        std::fs::remove_dir_all(path)
            .map_err(|source| StoreError::io(state.path_of(&oldest), source))?;
    }
    Ok(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::ThreadId;
    use std::fs;
    use std::path::{Path, PathBuf};

    const THREAD: ThreadId = ThreadId::Local;

    fn scene() -> (tempfile::TempDir, Store, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let file = store.thread_folder(THREAD).unwrap().join("mcp.json");
        let state = dir.path().join("state/local");
        (dir, store, file, state)
    }

    fn put_aside(store: &Store) {
        let users = store.users(THREAD).unwrap().unwrap();
        let (state, _lock) = store.lock(THREAD).unwrap();
        put(store, &users, &state, "mcp.json", FileKind::Local).unwrap();
    }

    fn write(file: &Path, text: &str) {
        std::io::Write::write_all(&mut fs::File::create(file).unwrap(), text.as_bytes()).unwrap();
    }

    fn place(state: &Path, number: usize) -> PathBuf {
        state.join(format!("broken-mcp.json.{number}"))
    }

    /// The texts in the places, the newest first; nothing stands for what is no text.
    fn kept(state: &Path) -> Vec<String> {
        let text = |number| {
            let place = place(state, number);
            let is_file = place.symlink_metadata().is_ok_and(|told| told.is_file());
            is_file.then(|| fs::read_to_string(place).unwrap())
        };
        (1..=MOST)
            .map(|number| text(number).unwrap_or_default())
            .collect()
    }

    #[test]
    fn the_newest_texts_are_kept() {
        let (_dir, store, file, state) = scene();
        for number in 0..MOST + 2 {
            write(&file, &number.to_string());
            put_aside(&store);
        }
        assert_eq!(kept(&state), ["6", "5", "4", "3", "2"]);
    }

    #[test]
    fn a_place_that_a_crash_left_free_is_filled_and_nothing_is_lost() {
        for (before, after) in [
            (["", "d", "c", "b", "a"], ["new", "d", "c", "b", "a"]),
            (["d", "c", "", "b", "a"], ["new", "d", "c", "b", "a"]),
            (["d", "c", "b", "a", ""], ["new", "d", "c", "b", "a"]),
            (["", "b", "", "a", ""], ["new", "b", "", "a", ""]),
            (["b", "", "a", "", ""], ["new", "b", "a", "", ""]),
        ] {
            let (_dir, store, file, state) = scene();
            drop(store.lock(THREAD).unwrap());
            for (number, text) in (1..).zip(before).filter(|(_, text)| !text.is_empty()) {
                write(&place(&state, number), text);
            }
            write(&file, "new");
            put_aside(&store);
            assert_eq!(kept(&state), after, "{before:?}");
        }
    }

    #[test]
    fn folders_symlinks_and_pipes_move_up_and_out_like_files() {
        let (_dir, store, file, state) = scene();
        let outside = tempfile::tempdir().unwrap();
        write(&outside.path().join("file"), "theirs");
        let ways: [&dyn Fn(); 4] = [
            &|| {
                fs::create_dir(&file).unwrap();
                write(&file.join("file"), "inside");
                std::os::unix::fs::symlink(outside.path(), file.join("link")).unwrap();
            },
            &|| std::os::unix::fs::symlink(outside.path(), &file).unwrap(),
            &|| {
                let (fifo, mode) = (rustix::fs::FileType::Fifo, super::super::folder::FILE_MODE);
                rustix::fs::mknodat(rustix::fs::CWD, &file, fifo, mode, 0).unwrap();
            },
            &|| write(&file, "text"),
        ];
        for make in ways.iter().cycle().take(3 * ways.len()) {
            make();
            let made = file.symlink_metadata().unwrap();
            put_aside(&store);
            assert!(file.symlink_metadata().is_err());
            let newest = place(&state, 1).symlink_metadata().unwrap();
            assert_eq!(newest.file_type(), made.file_type());
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(kept(&state), ["text", "", "", "", "text"]);
    }
}
