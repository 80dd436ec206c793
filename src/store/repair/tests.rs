use std::fs;
use std::path::{Path, PathBuf};

use super::super::tests::{THREAD, entry, files};
use super::*;

/// Each way in which a file may be broken.
fn break_it(how: &str, path: &Path) {
    let _ = fs::remove_file(path);
    match how {
        "text" => write(path, b"{"),
        "invalid" => write(path, br#"{"mcpServers": {"x": {"command": 3}}}"#),
        "large" => write(path, &vec![b' '; limits::FILE_BYTES + 1]),
        "symlink" => std::os::unix::fs::symlink("/etc/hostname", path).unwrap(),
        "fifo" => {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let folder = fs::File::open(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap();
            rustix::fs::mknodat(folder, name, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        "folder" => {
            fs::create_dir(path).unwrap();
            write(&path.join("inside"), b"x");
        }
        other => panic!("{other}"),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), bytes).unwrap();
}

const WAYS: [&str; 6] = ["text", "invalid", "large", "symlink", "fifo", "folder"];

fn scene() -> (tempfile::TempDir, Store, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let folder = store.thread_folder(THREAD).unwrap();
    (dir, store, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn whatever_is_there_is_replaced_and_kept() {
    for how in WAYS {
        let (dir, store, folder) = scene();
        break_it(how, &folder.join("mcp.json"));
        let new = files(1, Some(2));
        // Sound, and not what the last good one says: it is left alone.
        let own = br#"{"mcpServers": {"own": {"type": "http", "url": "https://h.example/"}}}"#;
        write(&folder.join("mcp_remote.json"), own);
        let revision = store.replace_broken(THREAD, &new, entry("a")).unwrap();
        let (raw, _) = store.load(THREAD).unwrap();
        assert_eq!(raw.local, Some(new.local.to_text().into_bytes()), "{how}");
        assert_eq!(raw.remote.as_deref(), Some(own.as_slice()), "{how}");
        assert_eq!(raw.revision(), revision, "{how}");
        assert!(store.is_recorded(THREAD).unwrap(), "{how}");
        assert_eq!(store.history(THREAD, 9).unwrap().len(), 1, "{how}");
        assert_eq!(names(&folder), ["mcp.json", "mcp_remote.json"], "{how}");
        let kept = dir.path().join("state/tg5/broken-mcp.json.1");
        assert!(kept.symlink_metadata().is_ok(), "{how}");
        // A second one finds nothing to do.
        assert_eq!(
            store.replace_broken(THREAD, &new, entry("b")).unwrap(),
            revision
        );
        assert_eq!(store.history(THREAD, 9).unwrap().len(), 1, "{how}");
        // The place of commits is as it was.
        store
            .commit(THREAD, revision, &files(7, None), entry("c"))
            .unwrap();
    }
}

#[test]
fn both_files_and_more_than_five_times() {
    let (dir, store, folder) = scene();
    for how in WAYS.iter().chain(&WAYS) {
        for name in ["mcp.json", "mcp_remote.json"] {
            break_it(how, &folder.join(name));
        }
        store
            .replace_broken(THREAD, &files(1, Some(1)), entry(how))
            .unwrap();
        assert!(store.is_recorded(THREAD).unwrap(), "{how}");
    }
    let kept = names(&dir.path().join("state/tg5"));
    let kept = kept.iter().filter(|name| name.starts_with("broken-"));
    assert_eq!(kept.count(), 10);
}

#[test]
fn a_crash_at_any_step_leaves_a_file_and_a_true_history() {
    for how in WAYS {
        // How far it came: the intent alone, the exchange, the first of two, one taken away by a file system without exchange.
        for (stop, placed) in [
            ("intent", false),
            ("exchange", true),
            ("first", true),
            ("gap", true),
        ] {
            let (_dir, store, folder) = scene();
            for name in ["mcp.json", "mcp_remote.json"] {
                break_it(how, &folder.join(name));
            }
            let new = files(1, Some(1));
            {
                let (state, _lock) = store.lock(THREAD).unwrap();
                let users = store.users(THREAD).unwrap().unwrap();
                let folders = (&users, &state);
                let mut after = RawFiles::default();
                let (staged, writes) = stage(
                    &store,
                    folders,
                    (BOTH.to_vec(), &new),
                    &mut after,
                    entry("a"),
                )
                .unwrap();
                staged.into_iter().for_each(Staged::leave);
                let (temporary, name) = (writes[0].temporary.as_str(), "mcp.json");
                match stop {
                    "exchange" => {
                        let flags = RenameFlags::EXCHANGE;
                        rustix::fs::renameat_with(&users, temporary, &users, name, flags).unwrap();
                    }
                    "first" => {
                        swap(&store, &users, &state, temporary, FileKind::Local).unwrap();
                    }
                    "gap" => aside::put(&store, &users, &state, name, FileKind::Local).unwrap(),
                    _ => {}
                }
            }
            store.recover(THREAD).unwrap();
            let case = format!("{how}, {stop}");
            assert!(folder.join("mcp.json").symlink_metadata().is_ok(), "{case}");
            assert_eq!(
                store.history(THREAD, 9).unwrap().len(),
                usize::from(placed),
                "{case}"
            );
            if placed {
                assert!(store.is_recorded(THREAD).unwrap(), "{case}");
            }
            let again = store.replace_broken(THREAD, &new, entry("b")).unwrap();
            assert_eq!(store.load(THREAD).unwrap().0.revision(), again, "{case}");
            assert_eq!(names(&folder), ["mcp.json", "mcp_remote.json"], "{case}");
        }
    }
}
