//! The promises of the room as a whole, on a real folder and with a disk that refuses.

mod commits;
mod histories;
mod moves;

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use super::atomic::Step;
use super::{CommitError, HistoryEntry, Origin, RawFiles, RenameOutcome, Store, StoreError, lock};
use crate::config::{Change, Document, Edit, FileKind, Files, Revision};
use crate::thread::ThreadId;

pub(super) const THREAD: ThreadId = ThreadId::Telegram {
    chat: 5,
    topic: None,
};

pub(super) struct Scene {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
}

impl Scene {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self { dir, store }
    }

    pub(super) fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn revision(&self) -> Revision {
        self.store.load(THREAD).unwrap().0.revision()
    }

    pub(super) fn commit(&self, id: &str, files: &Files) -> Result<Revision, CommitError> {
        self.store.commit(THREAD, self.revision(), files, entry(id))
    }

    fn ids(&self) -> Vec<String> {
        let history = self.store.history(THREAD, 1000).unwrap();
        history.into_iter().map(|entry| entry.id).collect()
    }

    /// Names of all files below the thread's two folders.
    fn listing(&self) -> Vec<String> {
        let mut names = Vec::new();
        for part in ["users/tg5", "state/tg5"] {
            for entry in fs::read_dir(self.path(part)).unwrap() {
                names.push(format!(
                    "{part}/{}",
                    entry.unwrap().file_name().to_str().unwrap()
                ));
            }
        }
        names.sort();
        names
    }
}

pub(super) fn files(local: u64, remote: Option<u64>) -> Files {
    let parse = |value: serde_json::Value| Document::parse(value.to_string().as_bytes()).unwrap();
    let command = format!("c{local}");
    Files {
        local: parse(json!({"mcpServers": {"s": {"type": "stdio", "command": command}}})),
        remote: remote.map_or_else(Document::default, |nth| {
            let url = format!("https://example.org/{nth}");
            parse(json!({"mcpServers": {"r": {"type": "http", "url": url}}}))
        }),
    }
}

pub(super) fn entry(id: &str) -> HistoryEntry {
    HistoryEntry {
        id: id.to_owned(),
        at_ms: 1,
        origin: Origin::Host,
        title: format!("change {id}"),
        edit: Edit::between(&Files::default(), &files(1, Some(1))),
        inverse: Edit::between(&files(1, Some(1)), &Files::default()),
        diff: "+ a\n- b\n".to_owned(),
        undoes: None,
    }
}

/// Writes as somebody on the host does.
fn put(path: &Path, text: &str) {
    fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

pub(super) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

type Attack = fn(&Scene, &Path);

#[test]
fn a_symlink_or_a_fifo_in_the_way_is_refused_and_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    put(&outside.path().join("mcp.json"), "{\"secret\": 1}");
    let attacks: [(&str, Attack); 5] = [
        ("folder", |scene, outside| {
            symlink(outside, scene.path("users/tg5")).unwrap();
        }),
        ("file", |scene, outside| {
            scene.store.thread_folder(THREAD).unwrap();
            symlink(outside.join("mcp.json"), scene.path("users/tg5/mcp.json")).unwrap();
        }),
        ("fifo", |scene, _| {
            scene.store.thread_folder(THREAD).unwrap();
            let folder = fs::File::open(scene.path("users/tg5")).unwrap();
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(folder, "mcp.json", fifo, super::folder::FILE_MODE, 0).unwrap();
        }),
        ("state", |scene, outside| {
            symlink(outside, scene.path("state/tg5")).unwrap();
        }),
        ("all users", |scene, outside| {
            fs::remove_dir(scene.path("users")).unwrap();
            symlink(outside, scene.path("users")).unwrap();
        }),
    ];
    for (name, attack) in attacks {
        let scene = Scene::new();
        attack(&scene, outside.path());
        let loaded = scene.store.load(THREAD);
        let base = loaded
            .as_ref()
            .map_or_else(|_| Revision::default(), |(raw, _)| raw.revision());
        if name != "state" {
            assert!(
                matches!(loaded, Err(StoreError::NotOrdinary(_))),
                "{name}: {loaded:?}"
            );
        }
        let written = scene
            .store
            .commit(THREAD, base, &files(1, None), entry("a"));
        let refused = matches!(written, Err(CommitError::Store(StoreError::NotOrdinary(_))));
        assert!(refused, "{name}: {written:?}");
    }
    let mut left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        fs::read(left.remove(0).unwrap().path()).unwrap(),
        b"{\"secret\": 1}"
    );
}

#[test]
fn a_file_over_the_limit_is_named_with_its_size() {
    let scene = Scene::new();
    scene.store.thread_folder(THREAD).unwrap();
    put(
        &scene.path("users/tg5/mcp_remote.json"),
        &" ".repeat(256 * 1024 + 1),
    );
    match scene.store.load(THREAD) {
        Err(StoreError::TooLarge { path, bytes }) => {
            assert_eq!(
                (path.as_str(), bytes),
                ("users/tg5/mcp_remote.json", 256 * 1024 + 1)
            );
        }
        other => panic!("{other:?}"),
    }
    let scene = Scene::new();
    let note = Change::Field {
        file: FileKind::Local,
        key: "note".to_owned(),
        value: Some(json!("x".repeat(300_000))),
    };
    let large = Edit(vec![note]).apply(&files(1, None)).unwrap();
    let refused = scene.commit("a", &large);
    assert!(matches!(
        refused,
        Err(CommitError::Store(StoreError::TooLarge { .. }))
    ));
    assert!(scene.ids().is_empty());
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let store = &scene.store;
            scope.spawn(move || {
                for nth in 0..10 {
                    let number = writer * 100 + nth;
                    loop {
                        let base = store.load(THREAD).unwrap().0.revision();
                        let new = files(number + 1, None);
                        match store.commit(THREAD, base, &new, entry(&number.to_string())) {
                            Ok(_) => break,
                            Err(CommitError::Stale { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    let mut ids = scene.ids();
    assert_eq!(ids.len(), 40);
    let newest: u64 = ids[0].parse().unwrap();
    assert_eq!(
        scene.text("users/tg5/mcp.json"),
        files(newest + 1, None).local.to_text()
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

#[test]
fn records_survive_and_a_damaged_file_is_set_aside() {
    let scene = Scene::new();
    let records = json!({"proposals": [1, {"b": 2, "a": null}]});
    assert_eq!(scene.store.pending(THREAD).unwrap(), None);
    scene.store.save_pending(THREAD, None).unwrap();
    assert!(!scene.path("state/tg5").exists());
    scene.store.save_pending(THREAD, Some(&records)).unwrap();
    assert_eq!(
        Store::open(scene.dir.path())
            .unwrap()
            .pending(THREAD)
            .unwrap(),
        Some(records)
    );
    put(&scene.path("state/tg5/pending.json"), "{\"proposals");
    assert_eq!(scene.store.pending(THREAD).unwrap(), None);
    assert_eq!(scene.text("state/tg5/pending.json.damaged"), "{\"proposals");
    scene.store.save_pending(THREAD, Some(&json!(1))).unwrap();
    scene.store.save_pending(THREAD, None).unwrap();
    assert_eq!(scene.store.pending(THREAD).unwrap(), None);
}

#[test]
fn the_last_good_configuration_is_kept_word_for_word() {
    let scene = Scene::new();
    scene
        .store
        .save_last_good(THREAD, &Files::default())
        .unwrap();
    assert!(!scene.path("state/tg5").exists());
    assert_eq!(scene.store.last_good(THREAD).unwrap(), None);
    for good in [files(7, Some(8)), files(7, None), Files::default()] {
        scene.store.save_last_good(THREAD, &good).unwrap();
        assert_eq!(scene.store.last_good(THREAD).unwrap(), Some(good));
    }
    put(&scene.path("state/tg5/last_good.json"), "");
    assert_eq!(scene.store.last_good(THREAD).unwrap(), None);
}

#[test]
fn tools_are_kept_for_one_definition_and_within_bounds() {
    let scene = Scene::new();
    let (store, tools) = (&scene.store, json!([{"name": "echo"}]));
    assert_eq!(store.tools(THREAD, "a", "k"), None);
    store.save_tools(THREAD, "a", Some(("k", &tools))).unwrap();
    store
        .save_tools(THREAD, "..", Some(("k", &json!(2))))
        .unwrap();
    for (server, key, found) in [
        ("a", "k", Some(tools.clone())),
        ("a", "other", None),
        ("b", "k", None),
        ("..", "k", Some(json!(2))),
        ("../a", "k", None),
    ] {
        assert_eq!(store.tools(THREAD, server, key), found, "{server} {key}");
    }
    let large = json!("x".repeat(1024 * 1024));
    store.save_tools(THREAD, "a", Some(("k", &large))).unwrap();
    assert_eq!(store.tools(THREAD, "a", "k"), None);
    store.save_tools(THREAD, "a", Some(("k", &tools))).unwrap();
    put(&scene.path("state/tg5/tools/a.json"), "{");
    assert_eq!(store.tools(THREAD, "a", "k"), None);
    store.save_tools(THREAD, "a", None).unwrap();
    assert!(!scene.path("state/tg5/tools/a.json").exists());
    store
        .save_tools(THREAD, "no/name", Some(("k", &tools)))
        .unwrap();
}

#[test]
fn a_data_folder_is_made_for_us_alone_and_one_that_is_there_keeps_its_rights() {
    let dir = tempfile::tempdir().unwrap();
    let rights = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let new = dir.path().join("above/data");
    Store::open(&new).unwrap();
    assert_eq!(rights(&new), 0o700);
    for name in ["users", "state", "homes"] {
        assert_eq!(rights(&new.join(name)), 0o700, "{name}");
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o711)).unwrap();
    Store::open(&new).unwrap();
    assert_eq!(rights(&new), 0o711);
}

const NEW: ThreadId = ThreadId::Telegram {
    chat: -1005,
    topic: None,
};

#[test]
fn who_holds_the_lock_holds_up_this_thread_alone() {
    let scene = Scene::new();
    let state = scene.store.part("state").unwrap();
    let held = lock::Lock::take(&state, "tg5", lock::WAIT).unwrap();
    let other = scene.store.commit(
        NEW,
        RawFiles::default().revision(),
        &files(1, None),
        entry("a"),
    );
    other.unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| scene.commit("b", &files(1, None)));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn nothing_of_a_file_is_in_its_debug_form() {
    let scene = Scene::new();
    scene.commit("a", &files(1, None)).unwrap();
    let raw = scene.store.load(THREAD).unwrap().0;
    let stale = CommitError::Stale { now: raw };
    let shown = format!("{stale:?} {:?}", scene.store.history(THREAD, 1).unwrap());
    assert!(!shown.contains("c1") && !shown.contains("99"), "{shown}");
}
