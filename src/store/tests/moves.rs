//! A thread moves with all it has.

use super::*;

#[test]
fn a_thread_moves_with_all_it_has_and_twice_is_once() {
    let scene = Scene::new();
    let store = &scene.store;
    assert_eq!(
        store.rename_thread(THREAD, NEW).unwrap(),
        RenameOutcome::Nothing
    );
    scene.commit("a", &files(1, None)).unwrap();
    fs::create_dir(scene.path("homes/tg5")).unwrap();
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
        fs::create_dir(scene.path("homes/tg5")).unwrap();
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
