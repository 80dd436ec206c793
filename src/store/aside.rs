//! `broken-<file>.<number>`: texts that a repair replaces, kept for whoever wrote them.

use super::{Store, StoreError, folder::Folder};
use crate::config::FileKind;

/// How many are kept of each file; the next one replaces the oldest.
const MOST: usize = 5;

/// Moves what stands under `name` there, whatever it is: a file of any size, a symlink, a pipe, a folder.
pub(super) fn put(
    store: &Store,
    users: &Folder,
    state: &Folder,
    name: &str,
    kind: FileKind,
) -> Result<(), StoreError> {
    let place = free_place(store, state, kind)?;
    rustix::fs::renameat(users, name, state, place.as_str())
        .map_err(|errno| StoreError::io(state.path_of(&place), errno))
}

/// A place that is free; the oldest thing makes room where none is.
fn free_place(store: &Store, state: &Folder, kind: FileKind) -> Result<String, StoreError> {
    let mut places = Vec::new();
    for number in 1..=MOST {
        let name = format!("broken-{}.{number}", kind.file_name());
        // When it was put there: a move keeps the time of the last write.
        let put = state
            .stat(&name)?
            .map(|stat| (stat.st_ctime, stat.st_ctime_nsec));
        places.push((put, name));
    }
    // A free place sorts first, then the oldest.
    places.sort();
    let (put, name) = places.swap_remove(0);
    if put.is_some() && state.remove(&name).is_err() {
        // A folder. It is ours now, below our own state; a symlink in it is not followed.
        let path = store.root.path.join(state.path_of(&name));
        std::fs::remove_dir_all(path)
            .map_err(|source| StoreError::io(state.path_of(&name), source))?;
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::ThreadId;

    #[test]
    fn the_newest_texts_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let thread = ThreadId::Local;
        let file = store.thread_folder(thread).unwrap().join("mcp.json");
        for number in 0..MOST + 2 {
            let mut file = std::fs::File::create(&file).unwrap();
            std::io::Write::write_all(&mut file, format!("broken {number}").as_bytes()).unwrap();
            let users = store.users(thread).unwrap().unwrap();
            let (state, _lock) = store.lock(thread).unwrap();
            put(&store, &users, &state, "mcp.json", FileKind::Local).unwrap();
        }
        let state = dir.path().join("state/local");
        let mut kept: Vec<String> = (1..=MOST)
            .map(|number| {
                std::fs::read_to_string(state.join(format!("broken-mcp.json.{number}"))).unwrap()
            })
            .collect();
        kept.sort();
        assert_eq!(
            kept,
            ["broken 2", "broken 3", "broken 4", "broken 5", "broken 6"]
        );
    }
}
