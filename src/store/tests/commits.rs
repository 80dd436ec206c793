//! A commit writes both files or neither, whatever fails.

use super::*;

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
