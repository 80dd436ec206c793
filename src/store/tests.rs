//! The promises of the room as a whole, on a real folder and with a disk that refuses.

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

#[test]
fn a_commit_writes_what_differs_for_the_owner_alone() {
    let scene = Scene::new();
    assert!(!scene.store.exists(THREAD));
    let revision = scene.commit("a", &files(1, None)).unwrap();
    assert_eq!(revision, scene.revision());
    assert_eq!(
        scene.text("users/tg5/mcp.json"),
        files(1, None).local.to_text()
    );
    assert!(!scene.path("users/tg5/mcp_remote.json").exists());
    for (path, mode) in [
        ("users", 0o700),
        ("users/tg5", 0o700),
        ("users/tg5/mcp.json", 0o600),
        ("state/tg5", 0o700),
        ("state/tg5/history.jsonl", 0o600),
        ("state/tg5/lock", 0o600),
    ] {
        let found = scene.path(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
    let local = scene.path("users/tg5/mcp.json");
    let before = local.metadata().unwrap().modified().unwrap();
    scene.commit("b", &files(1, Some(2))).unwrap();
    assert_eq!(local.metadata().unwrap().modified().unwrap(), before);
    assert_eq!(
        scene.text("users/tg5/mcp_remote.json"),
        files(1, Some(2)).remote.to_text()
    );
    assert_eq!(scene.ids(), ["b", "a"]);
    let kept = scene.store.history(THREAD, 1).unwrap();
    assert_eq!(kept, [entry("b")]);
}

#[test]
fn a_layout_made_by_hand_stays_where_the_meaning_does() {
    let scene = Scene::new();
    scene.store.thread_folder(THREAD).unwrap();
    let by_hand = files(1, None).local.to_text().replace('\n', " \n\n");
    put(&scene.path("users/tg5/mcp.json"), &by_hand);
    let same = scene.revision();
    assert_eq!(scene.commit("a", &files(1, None)).unwrap(), same);
    assert!(scene.ids().is_empty());
    scene.commit("b", &files(1, Some(1))).unwrap();
    assert_eq!(scene.text("users/tg5/mcp.json"), by_hand);
}

#[test]
fn a_stale_base_writes_nothing_and_gets_the_newest() {
    let scene = Scene::new();
    let base = scene.revision();
    scene.commit("a", &files(1, None)).unwrap();
    let listing = scene.listing();
    match scene
        .store
        .commit(THREAD, base, &files(2, None), entry("b"))
    {
        Err(CommitError::Stale { now }) => assert_eq!(now.revision(), scene.revision()),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.ids(), ["a"]);
    assert_eq!(scene.listing(), listing);
}

#[test]
fn whichever_step_fails_nothing_changed_and_the_next_commit_works() {
    let scene = Scene::new();
    let mut base = scene.commit("0", &files(0, Some(0))).unwrap();
    let mut ids = vec!["0".to_owned()];
    let faults = [
        (Step::Create, 0),
        (Step::Create, 1),
        (Step::Write, 0),
        (Step::Write, 1),
        (Step::Sync, 0),
        (Step::Sync, 1),
        (Step::Append, 0),
        (Step::Rename, 0),
        (Step::SyncFolder, 0),
    ];
    for (nth, (step, after)) in (1..).zip(faults) {
        let (before, listing) = (scene.store.load(THREAD).unwrap().0, scene.listing());
        scene.store.root.disk.refuse(step, after);
        let failed = scene
            .store
            .commit(THREAD, base, &files(nth, Some(nth)), entry("lost"));
        scene.store.root.disk.mend();
        let Err(CommitError::Store(StoreError::Io { cause, .. })) = failed else {
            panic!("{step:?}: {failed:?}");
        };
        assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull, "{step:?}");
        assert_eq!(
            scene.store.load(THREAD).unwrap().0,
            before,
            "{step:?} {after}"
        );
        assert_eq!(scene.listing(), listing, "{step:?} {after}");
        assert_eq!(scene.ids(), ids, "{step:?} {after}");
        assert!(scene.store.is_recorded(THREAD).unwrap());

        base = scene
            .commit(&nth.to_string(), &files(nth, Some(nth)))
            .unwrap();
        ids.insert(0, nth.to_string());
        assert_eq!(scene.ids(), ids);
    }
}

#[test]
fn a_second_file_that_cannot_be_placed_takes_the_first_back() {
    let scene = Scene::new();
    let base = scene.commit("a", &files(1, Some(1))).unwrap();
    // Somebody made a folder where the second file goes, so that its rename fails and nothing else does.
    let disk = &scene.store.root.disk;
    disk.refuse(Step::Rename, 1);
    assert!(
        scene
            .store
            .commit(THREAD, base, &files(2, Some(2)), entry("b"))
            .is_err()
    );
    disk.mend();
    // The disk refused the way back too: the first file is new, and the history says so.
    assert_eq!(
        scene.text("users/tg5/mcp.json"),
        files(2, None).local.to_text()
    );
    assert_eq!(scene.ids(), ["b", "a"]);
    let now = scene.store.load(THREAD).unwrap().0;
    assert_eq!(
        now.remote.unwrap(),
        files(1, Some(1)).remote.to_text().into_bytes()
    );
}

/// Takes a picture of the folder at each step of a commit, as a crash there would leave it.
fn pictures(scene: &Scene, base: Revision) -> Vec<(String, tempfile::TempDir)> {
    let mut pictures = Vec::new();
    let steps = [
        Step::Create,
        Step::Sync,
        Step::Append,
        Step::Rename,
        Step::SyncFolder,
    ];
    for step in steps {
        for after in 0..2 {
            let copied = tempfile::tempdir().unwrap();
            copy(scene.dir.path(), copied.path());
            let store = Store::open(copied.path()).unwrap();
            let taken = tempfile::tempdir().unwrap();
            store
                .root
                .disk
                .watch(step, after, copied.path(), taken.path());
            store
                .commit(THREAD, base, &files(2, Some(2)), entry("b"))
                .unwrap();
            if fs::read_dir(taken.path()).unwrap().next().is_some() {
                pictures.push((format!("{step:?} {after}"), taken));
            }
        }
    }
    pictures
}

#[test]
fn after_a_crash_at_any_step_the_history_tells_what_the_files_are() {
    let scene = Scene::new();
    let base = scene.commit("a", &files(1, Some(1))).unwrap();
    let mut ends = HashMap::new();
    for (step, dir) in pictures(&scene, base) {
        let store = Store::open(dir.path()).unwrap();
        store.recover(THREAD).unwrap();
        let ids: Vec<String> = store
            .history(THREAD, 9)
            .unwrap()
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        let happened = ids == ["b", "a"];
        assert!(happened || ids == ["a"], "{step}: {ids:?}");
        let nth = if happened { 2 } else { 1 };
        let now = store.load(THREAD).unwrap().0;
        let expected = files(nth, Some(nth));
        assert_eq!(
            now.local.clone().unwrap(),
            expected.local.to_text().into_bytes(),
            "{step}"
        );
        assert_eq!(
            now.remote.clone().unwrap(),
            expected.remote.to_text().into_bytes(),
            "{step}"
        );
        assert!(store.is_recorded(THREAD).unwrap(), "{step}");
        // The next one works, and leaves nothing of the one that died.
        store
            .commit(THREAD, now.revision(), &files(3, None), entry("c"))
            .unwrap();
        let folder = fs::read_dir(dir.path().join("users/tg5")).unwrap();
        assert!(
            folder
                .into_iter()
                .all(|file| { !file.unwrap().file_name().to_str().unwrap().starts_with('.') })
        );
        ends.insert(step, happened);
    }
    // Before the first file is in its place it has not happened, from then on it has.
    for (step, happened) in [
        ("Create 0", false),
        ("Create 1", false),
        ("Sync 0", false),
        ("Sync 1", false),
        ("Append 0", false),
        ("Rename 0", false),
        ("Rename 1", true),
        ("SyncFolder 0", true),
        ("Append 1", true),
    ] {
        assert_eq!(ends.remove(step), Some(happened), "{step}");
    }
    assert!(ends.is_empty());
}

#[test]
fn a_torn_line_is_cut_and_a_damaged_one_is_passed_over() {
    let scene = Scene::new();
    scene.commit("a", &files(1, None)).unwrap();
    let path = scene.path("state/tg5/history.jsonl");
    let whole = fs::read(&path).unwrap();
    let torn = || fs::OpenOptions::new().append(true).open(&path).unwrap();
    torn().write_all(b"{\"intent\":{\"entry").unwrap();
    assert_eq!(scene.ids(), ["a"]);
    assert_eq!(fs::read(&path).unwrap(), whole);
    torn().write_all(b"not a line\n").unwrap();
    scene.commit("b", &files(2, None)).unwrap();
    assert_eq!(scene.ids(), ["b", "a"]);
}

#[test]
fn the_history_is_bounded_and_keeps_the_newest() {
    let scene = Scene::new();
    for nth in 0..350 {
        scene
            .store
            .note_external(THREAD, entry(&nth.to_string()))
            .unwrap();
    }
    let mut large = entry("large");
    large.diff = "x".repeat(3 * 1024 * 1024);
    for _ in 0..2 {
        scene.store.note_external(THREAD, large.clone()).unwrap();
    }
    scene.commit("newest", &files(1, None)).unwrap();
    let ids = scene.ids();
    assert_eq!(ids[..2], ["newest", "large"]);
    assert!(ids.len() <= 201);
    assert!(
        scene
            .path("state/tg5/history.jsonl")
            .metadata()
            .unwrap()
            .len()
            < 5 * 1024 * 1024
    );

    let scene = Scene::new();
    for nth in 0..700 {
        scene
            .store
            .note_external(THREAD, entry(&nth.to_string()))
            .unwrap();
    }
    let ids = scene.ids();
    assert!(ids.len() >= 200 && ids.len() <= 601, "{}", ids.len());
    let newest: Vec<String> = (500..700).rev().map(|nth| nth.to_string()).collect();
    assert_eq!(ids[..200], newest);
}

#[test]
fn what_somebody_else_wrote_is_not_recorded_until_it_is_noted() {
    let scene = Scene::new();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    scene.commit("a", &files(1, None)).unwrap();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    put(&scene.path("users/tg5/mcp.json"), "{}");
    assert!(!scene.store.is_recorded(THREAD).unwrap());
    scene.store.note_external(THREAD, entry("host")).unwrap();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    assert_eq!(scene.ids(), ["host", "a"]);
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
fn a_home_is_made_for_the_owner_alone() {
    let scene = Scene::new();
    let home = scene.store.home(THREAD).unwrap();
    assert_eq!(home, scene.store.homes_dir().join("tg5"));
    assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

const NEW: ThreadId = ThreadId::Telegram {
    chat: -1005,
    topic: None,
};

#[test]
fn a_thread_moves_with_all_it_has_and_twice_is_once() {
    let scene = Scene::new();
    let store = &scene.store;
    assert_eq!(
        store.rename_thread(THREAD, NEW).unwrap(),
        RenameOutcome::Nothing
    );
    scene.commit("a", &files(1, None)).unwrap();
    store.home(THREAD).unwrap();
    // Somebody spoke under the new id before the move was told.
    store.thread_folder(NEW).unwrap();
    store.save_pending(NEW, Some(&json!(1))).unwrap();
    store.save_tools(NEW, "a", Some(("k", &json!(1)))).unwrap();
    assert_eq!(
        store.rename_thread(THREAD, NEW).unwrap(),
        RenameOutcome::Moved
    );
    assert!(!store.exists(THREAD) && store.exists(NEW));
    assert!(scene.path("homes/tg-1005").exists());
    assert_eq!(store.history(NEW, 9).unwrap().len(), 1);
    assert!(store.is_recorded(NEW).unwrap());
    assert_eq!(
        store.rename_thread(THREAD, NEW).unwrap(),
        RenameOutcome::Nothing
    );
}

#[test]
fn a_move_that_a_crash_cut_short_is_finished_by_the_next() {
    for done in ["state", "homes"] {
        let scene = Scene::new();
        scene.commit("a", &files(1, None)).unwrap();
        scene.store.home(THREAD).unwrap();
        for part in ["state", "homes"] {
            let parts = scene.path(part);
            fs::rename(parts.join("tg5"), parts.join("tg-1005")).unwrap();
            if part == done {
                break;
            }
        }
        let outcome = scene.store.rename_thread(THREAD, NEW).unwrap();
        assert_eq!(outcome, RenameOutcome::Moved, "{done}");
        assert!(scene.store.is_recorded(NEW).unwrap());
        assert!(scene.path("homes/tg-1005").exists());
    }
}

#[test]
fn two_ids_with_files_both_keep_theirs() {
    let scene = Scene::new();
    let revision = scene.commit("a", &files(1, None)).unwrap();
    scene
        .store
        .commit(
            NEW,
            RawFiles::default().revision(),
            &files(2, None),
            entry("b"),
        )
        .unwrap();
    assert_eq!(
        scene.store.rename_thread(THREAD, NEW).unwrap(),
        RenameOutcome::BothExist
    );
    assert_eq!(scene.revision(), revision);
    assert_eq!(scene.store.history(NEW, 9).unwrap()[0].id, "b");
    assert_eq!(scene.ids(), ["a"]);
}

#[test]
fn the_threads_of_a_chat_are_itself_and_its_topics() {
    let scene = Scene::new();
    for name in [
        "tg5", "tg5.12", "tg5.3", "tg55", "tg-5", "local", "tg5.x", "junk",
    ] {
        fs::create_dir(scene.path("users").join(name)).unwrap();
    }
    let found: Vec<String> = scene
        .store
        .threads_of_chat(5)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, ["tg5", "tg5.3", "tg5.12"]);
}

#[test]
fn an_alias_is_remembered_for_good_and_followed_to_its_end() {
    let scene = Scene::new();
    let id = |chat| ThreadId::telegram(chat, Some(7));
    let alias = |from| scene.store.alias(id(from)).unwrap();
    assert_eq!(alias(1), None);
    scene.store.remember_alias(id(1), id(2)).unwrap();
    scene.store.remember_alias(id(2), id(3)).unwrap();
    assert_eq!(
        (alias(1), alias(2), alias(3)),
        (Some(id(3)), Some(id(3)), None)
    );
    let again = Store::open(scene.dir.path()).unwrap();
    assert_eq!(again.alias(id(1)).unwrap(), Some(id(3)));
    // An id that comes back leads in no circle.
    scene.store.remember_alias(id(3), id(1)).unwrap();
    assert_eq!((alias(1), alias(3)), (None, Some(id(1))));
    put(
        &scene.path("state/aliases.json"),
        "{\"tg1\": \"tg2\", \"tg2\": \"tg1\"}",
    );
    assert!(
        Store::open(scene.dir.path())
            .unwrap()
            .alias(ThreadId::telegram(1, None))
            .is_ok()
    );
}

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
fn a_reader_never_sees_one_new_file_beside_one_old_one() {
    let scene = Scene::new();
    let mut base = scene.commit("0", &files(0, Some(0))).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let (raw, _) = scene.store.load(THREAD).unwrap();
                let nth = (0..200).find(|nth| {
                    let both = files(*nth, Some(*nth));
                    raw.local.as_deref() == Some(both.local.to_text().as_bytes())
                        && raw.remote.as_deref() == Some(both.remote.to_text().as_bytes())
                });
                assert!(nth.is_some(), "the files are of two commits");
            }
        });
        for nth in 1..200 {
            let new = files(nth, Some(nth));
            base = scene
                .store
                .commit(THREAD, base, &new, entry(&nth.to_string()))
                .unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
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
