//! What belongs to no thread: any key, one thing at a time, and a full shelf.

use super::*;

#[test]
fn a_shelf_takes_any_key_and_keeps_shelves_apart() {
    let scene = Scene::new();
    let store = &scene.store;
    let long = "k".repeat(5000);
    let keys = [
        "",
        "../../etc/passwd",
        "a\nb\0",
        "https://issuer.example/",
        &long,
    ];
    for shelf in SHELVES {
        assert!(store.shelf(shelf).unwrap().is_empty());
        assert_eq!(store.shelved(shelf, "a").unwrap(), None);
        store.shelve(shelf, "a", None).unwrap();
        assert!(!scene.path("state/_shelf/logins").exists() || shelf != Shelf::Logins);
        for (nth, key) in keys.iter().enumerate() {
            store
                .shelve(shelf, key, Some(&json!([shelf_no(shelf), nth])))
                .unwrap();
        }
    }
    for shelf in SHELVES {
        let mut sorted = keys.map(str::to_owned);
        sorted.sort();
        assert_eq!(store.shelf(shelf).unwrap(), sorted);
        for (nth, key) in keys.iter().enumerate() {
            let kept = store.shelved(shelf, key).unwrap();
            assert_eq!(kept, Some(json!([shelf_no(shelf), nth])));
            store.shelve(shelf, key, None).unwrap();
            assert_eq!(store.shelved(shelf, key).unwrap(), None);
        }
        assert!(store.shelf(shelf).unwrap().is_empty());
    }
    // A thread can never have its folder there.
    assert!("_shelf".parse::<ThreadId>().is_err());
}

fn shelf_no(shelf: Shelf) -> usize {
    SHELVES.iter().position(|other| *other == shelf).unwrap()
}

#[test]
fn a_damaged_thing_does_not_hide_the_others_of_its_shelf() {
    let scene = Scene::new();
    let store = &scene.store;
    store
        .shelve(Shelf::Logins, "good", Some(&json!(1)))
        .unwrap();
    store.shelve(Shelf::Logins, "bad", Some(&json!(2))).unwrap();
    let folder = scene.path("state/_shelf/logins");
    let all = below(&folder);
    let bad = all
        .iter()
        .find(|path| fs::read_to_string(path).unwrap().contains("bad"))
        .unwrap();
    put(bad, b"{");
    symlink(
        "/etc/passwd",
        folder.join(format!("{}.json", "0".repeat(64))),
    )
    .unwrap();
    assert_eq!(store.shelf(Shelf::Logins).unwrap(), ["good"]);
    assert_eq!(store.shelved(Shelf::Logins, "bad").unwrap(), None);
    store.shelve(Shelf::Logins, "bad", Some(&json!(3))).unwrap();
    assert_eq!(store.shelf(Shelf::Logins).unwrap(), ["bad", "good"]);
    store.shelve(Shelf::Logins, "bad", None).unwrap();
    assert!(
        !below(&folder)
            .iter()
            .any(|path| path.to_str().unwrap().ends_with(".damaged"))
    );
}

#[test]
fn a_shelf_that_strangers_filled_takes_what_others_need() {
    for (shelf, folder) in [
        (Shelf::Clients, "clients"),
        (Shelf::Handoffs, "handoffs"),
        (Shelf::Logins, "logins"),
    ] {
        let scene = Scene::new();
        let store = &scene.store;
        store.shelve(shelf, "first", Some(&json!(1))).unwrap();
        let folder = scene.dir.path().join("state/_shelf").join(folder);
        // The ages are set: all of this may happen within one tick of the file system's clock.
        let ago = |hours| std::time::SystemTime::now() - Duration::from_hours(hours);
        for file in fs::read_dir(&folder).unwrap() {
            let file = fs::File::options().write(true).open(file.unwrap().path());
            file.unwrap().set_modified(ago(2)).unwrap();
        }
        for number in 0..4094 {
            let theirs = fs::File::create(folder.join(format!("{number:064x}.json")));
            theirs.unwrap().set_modified(ago(1)).unwrap();
        }
        store.shelve(shelf, "last", Some(&json!(2))).unwrap();
        let kept = store.shelve(shelf, "one more", Some(&json!(3)));
        assert_eq!(kept.is_ok(), shelf != Shelf::Logins, "{shelf:?}");
        let has = |key: &str| store.shelved(shelf, key).unwrap().is_some();
        assert_eq!(has("one more"), kept.is_ok(), "{shelf:?}");
        assert!(has("last"), "{shelf:?}: the newest went");
        assert_eq!(has("first"), kept.is_err(), "{shelf:?}: the oldest stays");
    }
}
