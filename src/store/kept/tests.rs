use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::atomic::Step;
use super::super::tests::{Scene, THREAD, files};
use super::super::{RenameOutcome, StoreError};
use super::*;
use crate::vault::Ring;

const OTHER: ThreadId = ThreadId::Telegram {
    chat: 9,
    topic: None,
};
const SHELVES: [Shelf; 3] = [Shelf::Logins, Shelf::Clients, Shelf::Handoffs];

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn id(text: &str) -> CredentialId {
    CredentialId::new(text).unwrap()
}

fn server(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as a change has it")]
fn secret(text: &str) -> Option<Given> {
    Some(Given {
        secret: Secret::from(text.to_owned()),
        given_for: GivenFor::Local,
        at_ms: 7,
    })
}

/// A secret's value, where it opens.
fn kept(store: &Store, thread: ThreadId, text: &str) -> Option<String> {
    let secret = store.secret(thread, &name(text), &GivenFor::Local).unwrap();
    secret.map(|secret| secret.expose().to_owned())
}

fn approval(url: &str) -> Approval {
    Approval {
        url: url.to_owned(),
        transport: "http".to_owned(),
        headers: vec!["x-team".to_owned()],
        secrets: Vec::new(),
        auth: "none".to_owned(),
    }
}

/// One of each.
fn fill(store: &Store, thread: ThreadId) {
    let approved = (server("a"), Some(approval("https://a.example")));
    store.approve(thread, &[approved]).unwrap();
    store
        .keep_secrets(thread, &[(name("K.1"), secret("hush-key"))])
        .unwrap();
    let value = json!({"refresh_token": "hush-token"});
    store
        .keep_credential(thread, &id("cred-1"), Some(&value))
        .unwrap();
}

fn assert_full(store: &Store, thread: ThreadId) {
    let approved = store.approvals(thread).unwrap();
    assert_eq!(approved[&server("a")], approval("https://a.example"));
    assert_eq!(store.secret_names(thread).unwrap(), [name("K.1")]);
    assert_eq!(kept(store, thread, "K.1").as_deref(), Some("hush-key"));
    assert_eq!(store.credentials(thread).unwrap(), [id("cred-1")]);
    let kept = store.credential(thread, &id("cred-1")).unwrap();
    assert_eq!(kept, Some(json!({"refresh_token": "hush-token"})));
}

fn assert_empty(store: &Store, thread: ThreadId) {
    assert!(store.approvals(thread).unwrap().is_empty());
    assert!(store.secret_names(thread).unwrap().is_empty());
    assert_eq!(kept(store, thread, "K.1"), None);
    assert!(store.credentials(thread).unwrap().is_empty());
    assert_eq!(store.credential(thread, &id("cred-1")).unwrap(), None);
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

/// Everything below a folder, itself left out.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(below(&path));
        }
        all.push(path);
    }
    all
}

/// The files below the state folder that have the text in them.
fn with_text(scene: &Scene, text: &str) -> Vec<PathBuf> {
    let mut all = below(&scene.path("state"));
    all.retain(|path| {
        path.is_file() && String::from_utf8_lossy(&fs::read(path).unwrap()).contains(text)
    });
    all
}

#[test]
fn what_is_kept_comes_back_and_each_thread_has_its_own() {
    let scene = Scene::new();
    assert_empty(&scene.store, THREAD);
    assert!(!scene.path("state/tg5").exists(), "a look made a folder");
    fill(&scene.store, THREAD);
    assert_full(&scene.store, THREAD);
    assert_empty(&scene.store, OTHER);
    assert_full(&Store::open(scene.dir.path()).unwrap(), THREAD);
}

#[test]
fn everything_is_the_owners_alone() {
    let scene = Scene::new();
    fill(&scene.store, THREAD);
    for shelf in SHELVES {
        scene.store.shelve(shelf, "k", Some(&json!(1))).unwrap();
    }
    scene.store.admin_files().unwrap();
    for path in below(scene.dir.path()) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
    }
    fs::set_permissions(scene.path("admin"), fs::Permissions::from_mode(0o755)).unwrap();
    scene.store.admin_folder().unwrap();
    let mode = scene.path("admin").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn changes_are_all_or_none_and_what_is_forgotten_leaves_nothing() {
    let scene = Scene::new();
    let store = &scene.store;
    let changes = [
        (name("a"), secret("hush-1")),
        (name("b"), secret("hush-2")),
        (name("a"), secret("hush-3")),
    ];
    store.keep_secrets(THREAD, &changes).unwrap();
    assert_eq!(kept(store, THREAD, "a").as_deref(), Some("hush-3"));
    assert_eq!(with_text(&scene, "hush"), [""; 0].map(PathBuf::from));
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
        store.root.disk.refuse(step, 0);
        let changes = [(name("a"), None), (name("c"), secret("hush-4"))];
        assert!(store.keep_secrets(THREAD, &changes).is_err(), "{step:?}");
        let value = json!("hush-4");
        let kept = store.keep_credential(THREAD, &id("x"), Some(&value));
        assert!(kept.is_err(), "{step:?}");
        store.root.disk.mend();
        assert_eq!(store.secret_names(THREAD).unwrap(), [name("a"), name("b")]);
        assert!(store.credentials(THREAD).unwrap().is_empty());
        assert!(with_text(&scene, "hush-4").is_empty(), "{step:?}");
    }
    store
        .keep_secrets(THREAD, &[(name("a"), None), (name("b"), None)])
        .unwrap();
    assert!(with_text(&scene, "hush").is_empty());
    assert!(!scene.path("state/tg5/secrets.json").exists());

    fill(store, THREAD);
    store.approve(THREAD, &[(server("a"), None)]).unwrap();
    store.keep_secrets(THREAD, &[(name("K.1"), None)]).unwrap();
    store.keep_credential(THREAD, &id("cred-1"), None).unwrap();
    assert_empty(store, THREAD);
    let left: Vec<_> = below(&scene.path("state/tg5"));
    let mut left: Vec<_> = left.iter().map(|path| path.file_name().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["credentials", "lock", "vault_id.json"]);
    // Forgetting what never was makes nothing.
    store.approve(OTHER, &[(server("a"), None)]).unwrap();
    store.keep_credential(OTHER, &id("a"), None).unwrap();
    assert!(!scene.path("state/tg9").exists());
}

#[test]
fn what_a_process_that_died_left_goes_with_what_is_forgotten() {
    let scene = Scene::new();
    fill(&scene.store, THREAD);
    for left in [
        "state/tg5/.secrets.json.0123456789abcdef.tmp",
        "state/tg5/secrets.json.damaged",
        "state/tg5/credentials/.cred-1.json.0123456789abcdef.tmp",
        "state/tg5/credentials/cred-1.json.damaged",
    ] {
        put(&scene.path(left), b"hush-left");
    }
    let more = [(name("other"), secret("stays"))];
    scene.store.keep_secrets(THREAD, &more).unwrap();
    scene
        .store
        .keep_secrets(THREAD, &[(name("K.1"), None)])
        .unwrap();
    scene
        .store
        .keep_credential(THREAD, &id("cred-1"), None)
        .unwrap();
    assert!(with_text(&scene, "hush").is_empty());
    let left = "state/tg5/credentials/.cred-1.json.0123456789abcdef.tmp";
    put(&scene.path(left), b"hush-left");
    scene.commit("1", &files(1, None)).unwrap();
    assert!(with_text(&scene, "hush").is_empty(), "a commit sweeps too");
}

#[test]
fn a_damaged_file_is_set_aside_and_counts_as_none() {
    for damage in [
        &b"{\"a\": \"hush"[..],
        b"[1]",
        b"\xff",
        b"",
        &vec![b' '; 9 * 1024 * 1024],
    ] {
        let scene = Scene::new();
        fill(&scene.store, THREAD);
        let damaged = ["approvals.json", "secrets.json", "credentials/cred-1.json"];
        for file in damaged {
            put(&scene.path("state/tg5").join(file), damage);
        }
        assert!(scene.store.approvals(THREAD).unwrap().is_empty());
        assert!(scene.store.secret_names(THREAD).unwrap().is_empty());
        let kept = scene.store.credential(THREAD, &id("cred-1")).unwrap();
        assert_eq!(kept, None);
        for file in &damaged {
            let path = format!("state/tg5/{file}.damaged");
            assert_eq!(fs::read(scene.path(&path)).unwrap(), damage);
        }
        fill(&scene.store, THREAD);
        assert_full(&scene.store, THREAD);
    }
}

#[test]
fn sizes_and_counts_are_bounded() {
    let scene = Scene::new();
    let store = &scene.store;
    let many: Vec<_> = (0..256)
        .map(|n| (name(&format!("s{n}")), secret("x")))
        .collect();
    store.keep_secrets(THREAD, &many).unwrap();
    let refused = store.keep_secrets(THREAD, &[(name("one-more"), secret("x"))]);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "state/tg5/secrets.json: there are 256 already"
    );
    let replaced = [(name("s0"), None), (name("one-more"), secret("x"))];
    store.keep_secrets(THREAD, &replaced).unwrap();
    let long = [(name("s1"), secret(&"x".repeat(16 * 1024 + 1)))];
    assert!(matches!(
        store.keep_secrets(THREAD, &long),
        Err(StoreError::TooLarge { .. })
    ));

    for n in 0..128 {
        let id = id(&format!("c{n}"));
        store.keep_credential(THREAD, &id, Some(&json!(n))).unwrap();
    }
    assert!(
        store
            .keep_credential(THREAD, &id("more"), Some(&json!(1)))
            .is_err()
    );
    store
        .keep_credential(THREAD, &id("c0"), Some(&json!(2)))
        .unwrap();
    assert_eq!(store.credential(THREAD, &id("c0")).unwrap(), Some(json!(2)));
    let huge = json!("x".repeat(256 * 1024));
    let refused = store.keep_credential(THREAD, &id("c0"), Some(&huge));
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    let refused = store.shelve(Shelf::Logins, "k", Some(&json!("x".repeat(400 * 1024))));
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
}

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
fn nothing_is_read_or_written_through_a_symlink() {
    let outside = tempfile::tempdir().unwrap();
    put(&outside.path().join("file"), b"{}");
    let scene = Scene::new();
    let store = &scene.store;
    let file = outside.path().join("file");
    fs::create_dir_all(scene.path("state/tg5/credentials")).unwrap();
    for path in [
        "state/tg5/approvals.json",
        "state/tg5/secrets.json",
        "state/tg5/credentials/cred-1.json",
    ] {
        symlink(&file, scene.path(path)).unwrap();
    }
    let refused = |result: Result<(), StoreError>| {
        assert!(
            matches!(result, Err(StoreError::NotOrdinary(_))),
            "{result:?}"
        );
    };
    refused(store.approvals(THREAD).map(drop));
    refused(store.secret_names(THREAD).map(drop));
    refused(store.credential(THREAD, &id("cred-1")).map(drop));
    refused(store.keep_secrets(THREAD, &[(name("a"), secret("b"))]));
    store
        .keep_credential(THREAD, &id("cred-1"), Some(&json!(1)))
        .unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"{}");
    assert_eq!(
        store.credential(THREAD, &id("cred-1")).unwrap(),
        Some(json!(1))
    );

    symlink(outside.path(), scene.path("admin")).unwrap();
    refused(store.admin_files().map(drop));
    refused(store.admin_folder().map(drop));
    fs::remove_file(scene.path("admin")).unwrap();
    store.admin_folder().unwrap();
    for name in ["mcp.json", "oauth_clients.json"] {
        symlink(&file, scene.path("admin").join(name)).unwrap();
    }
    refused(store.admin_files().map(drop));
    refused(store.operator_clients().map(drop));
    symlink(outside.path(), scene.path("state/_shelf")).unwrap();
    refused(store.shelve(Shelf::Clients, "a", Some(&json!(1))));
    assert_eq!(below(outside.path()).len(), 1);
}

#[test]
fn the_operators_files_are_read_as_they_are() {
    let scene = Scene::new();
    let store = &scene.store;
    assert_eq!(store.admin_folder().unwrap(), scene.path("admin"));
    assert_eq!(store.admin_files().unwrap(), RawFiles::default());
    assert_eq!(store.operator_clients().unwrap(), None);
    put(&scene.path("admin/mcp_remote.json"), b"{} ");
    put(&scene.path("admin/oauth_clients.json"), b"{\"i\": 1}");
    let files = store.admin_files().unwrap();
    assert_eq!((files.local, files.remote), (None, Some(b"{} ".to_vec())));
    let clients = store.operator_clients().unwrap();
    assert_eq!(clients, Some(b"{\"i\": 1}".to_vec()));
    put(
        &scene.path("admin/oauth_clients.json"),
        &vec![b' '; 300_000],
    );
    assert!(matches!(
        store.operator_clients(),
        Err(StoreError::TooLarge { .. })
    ));
}

#[test]
fn a_thread_that_moves_takes_them_along() {
    let scene = Scene::new();
    let store = &scene.store;
    scene.commit("1", &files(1, None)).unwrap();
    fill(store, THREAD);
    // What the new id gathered before its files came makes room.
    let stray = json!("hush-stray");
    store
        .keep_credential(OTHER, &id("stray"), Some(&stray))
        .unwrap();
    store
        .keep_secrets(OTHER, &[(name("stray"), secret("hush-stray"))])
        .unwrap();
    assert_eq!(
        store.rename_thread(THREAD, OTHER).unwrap(),
        RenameOutcome::Moved
    );
    assert_full(store, OTHER);
    assert_empty(store, THREAD);
    assert!(with_text(&scene, "hush-stray").is_empty());
}

#[test]
fn nothing_kept_is_in_a_debug_form_or_an_error() {
    let scene = Scene::new();
    fill(&scene.store, THREAD);
    let to = GivenFor::Local;
    let kept = scene.store.secret(THREAD, &name("K.1"), &to).unwrap();
    assert_eq!(format!("{kept:?}"), "Some([redacted])");
    assert!(!format!("{:?}", secret("hush")).contains("hush"));
    let leaky = approval("https://me:hush@a.example/?token=hush");
    assert!(!format!("{leaky:?}").contains("hush"));
    let found: Found<BTreeMap<SecretName, u8>> = {
        let state = scene.store.state(THREAD).unwrap().unwrap();
        look(&state, "secrets.json", 1000).unwrap()
    };
    assert!(
        matches!(found, Found::Damaged(why) if why.starts_with("line 1") && !why.contains("hush"))
    );
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let scene = Scene::new();
    let threads: Vec<_> = (0..4)
        .map(|writer| {
            let store = Store::open(scene.dir.path()).unwrap();
            std::thread::spawn(move || {
                for nth in 0..8 {
                    let key = format!("w{writer}.{nth}");
                    let changes = [(name(&key), secret("x"))];
                    store.keep_secrets(THREAD, &changes).unwrap();
                    let changes = [(server(&key), Some(approval("https://a.example")))];
                    store.approve(THREAD, &changes).unwrap();
                    store
                        .shelve(Shelf::Handoffs, &key, Some(&json!(1)))
                        .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(scene.store.secret_names(THREAD).unwrap().len(), 32);
    assert_eq!(scene.store.approvals(THREAD).unwrap().len(), 32);
    assert_eq!(scene.store.shelf(Shelf::Handoffs).unwrap().len(), 32);
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

#[expect(clippy::unnecessary_wraps, reason = "as a change has it")]
fn given(text: &str, given_for: GivenFor) -> Option<Given> {
    Some(Given {
        secret: Secret::from(text.to_owned()),
        given_for,
        at_ms: 7,
    })
}

/// The sealed file of a thread's secrets, changed.
fn edit_secrets(scene: &Scene, thread: &str, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = scene.path(&format!("state/{thread}/secrets.json"));
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    put(&path, value.to_string().as_bytes());
}

#[test]
fn d28_a_secret_goes_where_it_was_given_for_and_nowhere_else() {
    let scene = Scene::new();
    let store = &scene.store;
    let here = GivenFor::place_of("https://a.example/mcp");
    let changes = [
        (name("KEY"), given("hush-key", here.clone())),
        (name("LOCAL"), given("hush-local", GivenFor::Local)),
        (name("OLD"), given("hush-old", GivenFor::Unknown)),
    ];
    store.keep_secrets(THREAD, &changes).unwrap();
    let evil = GivenFor::place_of("https://evil.example/mcp");
    for (secret, to, goes) in [
        ("KEY", &here, true),
        ("KEY", &evil, false),
        ("KEY", &GivenFor::Local, false),
        ("LOCAL", &GivenFor::Local, true),
        ("LOCAL", &here, false),
        ("OLD", &GivenFor::Unknown, false),
        ("OLD", &here, false),
    ] {
        let found = store.secret(THREAD, &name(secret), to).unwrap();
        assert_eq!(found.is_some(), goes, "{secret} {to:?}");
    }
    // Nor where somebody says otherwise in the file: that is sealed as well.
    edit_secrets(&scene, "tg5", |all| {
        all["KEY"]["given_for"] = json!("https://evil.example");
    });
    let refused = store.secret(THREAD, &name("KEY"), &evil);
    assert!(
        matches!(refused, Err(StoreError::Sealed { .. })),
        "{refused:?}"
    );
    let shown = store.secrets(THREAD).unwrap();
    let readable: Vec<_> = shown.iter().map(|kept| kept.is_readable).collect();
    assert_eq!(readable, [false, true, true]);
}

#[test]
fn what_may_be_shown_of_a_secret_is_four_characters_of_a_long_one() {
    let scene = Scene::new();
    let changes = [
        (name("LONG"), secret("0123456789üö")),
        (name("SHORT"), secret("0123456789a")),
    ];
    scene.store.keep_secrets(THREAD, &changes).unwrap();
    let shown = scene.store.secrets(THREAD).unwrap();
    let endings: Vec<_> = shown.iter().map(|kept| kept.ending.as_deref()).collect();
    assert_eq!(endings, [Some("89üö"), None]);
    assert_eq!(shown[0].set_at_ms, 7);
}

#[test]
fn what_was_moved_to_another_thread_or_name_or_changed_is_refused_and_told() {
    let scene = Scene::new();
    let store = &scene.store;
    fill(store, THREAD);
    fill(store, OTHER);
    let value = json!({"state": "hush-state"});
    for key in ["one", "two"] {
        store.shelve(Shelf::Logins, key, Some(&value)).unwrap();
    }
    let refused = |store: &Store, thread| {
        let read = store.secret(thread, &name("K.1"), &GivenFor::Local);
        let error = read.unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "{error}");
        assert!(!error.to_string().contains("hush") && !error.to_string().contains("v1."));
    };
    // Into another thread.
    for file in ["secrets.json", "credentials/cred-1.json"] {
        let (from, to) = (format!("state/tg5/{file}"), format!("state/tg9/{file}"));
        fs::copy(scene.path(&from), scene.path(&to)).unwrap();
    }
    refused(store, OTHER);
    assert_eq!(store.credential(OTHER, &id("cred-1")).unwrap(), None);
    // With the id that it is bound to.
    let (from, to) = ("state/tg5/vault_id.json", "state/tg9/vault_id.json");
    fs::copy(scene.path(from), scene.path(to)).unwrap();
    refused(store, OTHER);
    // Under another name, and of another kind.
    edit_secrets(&scene, "tg5", |all| {
        all["K.2"] = all["K.1"].clone();
    });
    let moved = store.secret(THREAD, &name("K.2"), &GivenFor::Local);
    assert!(moved.is_err());
    let credentials = scene.path("state/tg5/credentials");
    fs::copy(
        credentials.join("cred-1.json"),
        credentials.join("cred-2.json"),
    )
    .unwrap();
    assert_eq!(store.credential(THREAD, &id("cred-2")).unwrap(), None);
    // From one place of a shelf to another.
    let shelf = scene.path("state/_shelf/logins");
    let files: Vec<PathBuf> = below(&shelf)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    let read = |path: &PathBuf| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let (mut one, two) = (read(&files[0]), read(&files[1]));
    one["sealed"] = two["sealed"].clone();
    put(&files[0], one.to_string().as_bytes());
    let key = one["key"].as_str().unwrap();
    assert_eq!(store.shelved(Shelf::Logins, key).unwrap(), None);
    // One character.
    edit_secrets(&scene, "tg5", |all| {
        let sealed = all["K.1"]["sealed"].as_str().unwrap();
        let (head, last) = sealed.split_at(sealed.len() - 3);
        let other = if last.starts_with('A') { "B" } else { "A" };
        all["K.1"]["sealed"] = json!(format!("{head}{other}{}", &last[1..]));
    });
    refused(store, THREAD);
    // It is given anew, and the rest was never in the way.
    store
        .keep_secrets(THREAD, &[(name("K.1"), secret("hush-anew"))])
        .unwrap();
    assert_eq!(kept(store, THREAD, "K.1").as_deref(), Some("hush-anew"));
}

/// What an earlier version left.
fn plain(scene: &Scene) {
    for (path, text) in [
        (
            "state/tg5/approvals.json",
            json!({
                "hub": {"url": "https://a.example/mcp", "transport": "http", "headers": [], "auth": "bearer:KEY"},
                "odd": {"url": "https://b.example/mcp", "transport": "http", "headers": ["x-a"], "secrets": ["TWO"], "auth": "none"},
                "odder": {"url": "https://c.example/mcp", "transport": "http", "headers": ["x-a"], "secrets": ["TWO"], "auth": "none"},
                "log": {"url": "https://l.example/mcp", "transport": "http", "headers": [], "auth": "oauth:cred-1"},
            }),
        ),
        (
            "state/tg5/secrets.json",
            json!({"KEY": "hush-key", "TWO": "hush-two", "NOBODYS": "hush-3", "oauth.cred-1.client": "hush-client"}),
        ),
        (
            "state/tg5/credentials/cred-1.json",
            json!({"refresh_token": "hush-token"}),
        ),
        ("state/local/secrets.json", json!({"K": "hush-local"})),
        ("state/tg7/history.jsonl", json!({})),
    ] {
        put(&scene.path(path), text.to_string().as_bytes());
    }
    let key = "https://issuer.example";
    let file = super::shelf::file_of(key);
    let kept = json!({"key": key, "value": {"client_secret": "hush-client"}});
    put(
        &scene.path(&format!("state/_shelf/clients/{file}")),
        kept.to_string().as_bytes(),
    );
}

fn assert_sealed(store: &Store) {
    let here = GivenFor::place_of("https://a.example");
    let read = |thread, text: &str, to: &GivenFor| {
        let secret = store.secret(thread, &name(text), to).unwrap();
        secret.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(read(THREAD, "KEY", &here).as_deref(), Some("hush-key"));
    let login = GivenFor::place_of("https://l.example");
    let client = read(THREAD, "oauth.cred-1.client", &login);
    assert_eq!(client.as_deref(), Some("hush-client"));
    // Nobody knows any more what these were for, so that they go nowhere; but none is lost.
    for (thread, text) in [(THREAD, "TWO"), (THREAD, "NOBODYS"), (ThreadId::Local, "K")] {
        let given = store.secret_given_for(thread, &name(text)).unwrap();
        assert_eq!(given, Some(GivenFor::Unknown), "{text}");
        let shown = store.secrets(thread).unwrap();
        let shown = shown.iter().find(|kept| kept.name == name(text)).unwrap();
        assert!(shown.is_readable, "{text}");
    }
    let login = store.credential(THREAD, &id("cred-1")).unwrap();
    assert_eq!(login, Some(json!({"refresh_token": "hush-token"})));
    let client = store.shelved(Shelf::Clients, "https://issuer.example");
    assert_eq!(
        client.unwrap(),
        Some(json!({"client_secret": "hush-client"}))
    );
}

#[test]
fn what_an_earlier_version_kept_unsealed_is_sealed_once() {
    let scene = Scene::new();
    plain(&scene);
    assert!(!with_text(&scene, "hush").is_empty());
    let store = Store::open(scene.dir.path()).unwrap();
    assert_eq!(with_text(&scene, "hush"), [""; 0].map(PathBuf::from));
    assert_sealed(&store);
    assert!(!scene.path("state/tg7/vault_id.json").exists());
    // What is put there in the old form afterwards was not the bot's.
    put(
        &scene.path("state/local/secrets.json"),
        br#"{"K": "hush-planted"}"#,
    );
    let store = Store::open(scene.dir.path()).unwrap();
    assert_eq!(store.secret_names(ThreadId::Local).unwrap(), []);
}

#[test]
fn a_disk_that_refuses_while_it_is_sealed_loses_nothing() {
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
        for after in 0..8 {
            let scene = Scene::new();
            plain(&scene);
            let store = Store::open_unchecked(scene.dir.path(), Ring::default()).unwrap();
            store.root.disk.refuse(step, after);
            let sealed = super::seal_all(&store);
            store.root.disk.mend();
            assert!(sealed.is_err(), "{step:?} {after}");
            assert_sealed(&Store::open(scene.dir.path()).unwrap());
            assert!(with_text(&scene, "hush").is_empty(), "{step:?} {after}");
        }
    }
}

#[test]
fn a_thread_with_another_id_reads_its_secrets_wherever_the_move_is_cut_short() {
    for step in [
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::Rename,
        Step::SyncFolder,
    ] {
        for after in 0..3 {
            let scene = Scene::new();
            scene.commit("1", &files(1, None)).unwrap();
            fill(&scene.store, THREAD);
            scene.store.root.disk.refuse(step, after);
            let moved = scene.store.rename_thread(THREAD, OTHER);
            scene.store.root.disk.mend();
            let state = scene.path("state/tg5").exists();
            assert_full(&scene.store, if state { THREAD } else { OTHER });
            if moved.is_err() {
                scene.store.rename_thread(THREAD, OTHER).unwrap();
            }
            assert_full(&scene.store, OTHER);
        }
    }
}

fn ring(text: &str) -> Ring {
    // One letter, 32 times, in base64.
    let keys: Vec<String> = text
        .chars()
        .map(|c| {
            use base64::Engine as _;
            let key = [u8::try_from(c).unwrap(); 32];
            format!(
                "k{c}:{}",
                base64::engine::general_purpose::STANDARD.encode(key)
            )
        })
        .collect();
    Ring::read(&keys.join(",")).unwrap()
}

#[test]
fn everything_is_sealed_anew_and_a_key_in_use_cannot_be_dropped() {
    let scene = Scene::new();
    let open = |keys: &str| Store::open_with(scene.dir.path(), ring(keys));
    let store = open("1").unwrap();
    fill(&store, THREAD);
    fill(&store, OTHER);
    store
        .shelve(Shelf::Logins, "k", Some(&json!("hush")))
        .unwrap();
    let refused = open("2").unwrap_err().to_string();
    assert!(refused.contains("`k1` is missing"), "{refused}");
    assert!(Store::open(scene.dir.path()).is_err());
    assert!(
        !scene.path("keys").exists(),
        "no key is made beside given ones"
    );

    let both = open("21").unwrap();
    assert_full(&both, THREAD);
    assert!(open("2").is_err());
    let done = both.rotate_keys().unwrap();
    assert_eq!(done.active.as_deref(), Some("k2"));
    // Reading sealed one thread anew already; of the other what it is bound to, a secret and a login, and the shelf's.
    assert_eq!((done.resealed, done.fresh), (4, 2));
    assert_eq!(
        (done.unused, done.needed),
        (vec!["k1".to_owned()], Vec::new())
    );
    let new = open("2").unwrap();
    assert_full(&new, THREAD);
    assert_full(&new, OTHER);
    assert_eq!(
        new.shelved(Shelf::Logins, "k").unwrap(),
        Some(json!("hush"))
    );
    let again = new.rotate_keys().unwrap();
    assert_eq!((again.resealed, again.refused.len()), (0, 0));

    // What does not open stays as it is, and so does the need of its key.
    edit_secrets(&scene, "tg5", |all| {
        let sealed = all["K.1"]["sealed"].as_str().unwrap().to_owned();
        all["K.1"]["sealed"] = json!(sealed[..sealed.len() - 4].to_owned() + "AAAA");
    });
    let third = open("32").unwrap();
    let done = third.rotate_keys().unwrap();
    assert_eq!(done.refused.len(), 1, "{done:?}");
    assert_eq!(
        (done.needed, done.unused),
        (vec!["k2".to_owned()], Vec::new())
    );
    assert!(open("3").is_err());
    assert!(
        Store::give_up_key(scene.dir.path(), &crate::vault::KeyId::new("k2").unwrap()).unwrap()
    );
    assert_full(&open("3").unwrap(), OTHER);
}

#[test]
fn without_a_key_that_was_given_up_everything_can_be_given_anew() {
    let scene = Scene::new();
    let store = Store::open_with(scene.dir.path(), ring("1")).unwrap();
    fill(&store, THREAD);
    store.shelve(Shelf::Logins, "k", Some(&json!(1))).unwrap();
    let lost = crate::vault::KeyId::new("k1").unwrap();
    assert!(Store::give_up_key(scene.dir.path(), &lost).unwrap());
    let store = Store::open_with(scene.dir.path(), ring("2")).unwrap();
    assert!(
        store
            .secret(THREAD, &name("K.1"), &GivenFor::Local)
            .is_err()
    );
    assert_eq!(store.credential(THREAD, &id("cred-1")).unwrap(), None);
    assert_eq!(store.shelved(Shelf::Logins, "k").unwrap(), None);
    fill(&store, THREAD);
    assert_full(&store, THREAD);
}

#[test]
fn a_running_bot_does_not_go_on_with_other_given_keys() {
    let scene = Scene::new();
    let store = Store::open_with(scene.dir.path(), ring("1")).unwrap();
    fill(&store, THREAD);
    let _claim = store.claim_for_bot().unwrap();
    let other = Store::open_with(scene.dir.path(), ring("21")).unwrap();
    assert!(matches!(other.rotate_keys(), Err(StoreError::Busy(_))));
}

#[test]
fn a_key_that_was_made_here_is_replaced_beside_a_running_bot() {
    let scene = Scene::new();
    let bot = &scene.store;
    let _claim = bot.claim_for_bot().unwrap();
    assert_eq!(
        bot.rotate_keys().unwrap(),
        Rotated::default(),
        "nothing is sealed yet"
    );
    fill(bot, THREAD);
    let file = scene.path("keys/vault.key");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&scene.path("keys"))), (0o600, 0o700));
    let before = fs::read(&file).unwrap();
    let other = Store::open(scene.dir.path()).unwrap();
    let done = other.rotate_keys().unwrap();
    assert_eq!((done.resealed, done.fresh), (3, 0));
    let after = fs::read(&file).unwrap();
    assert_ne!(before, after);
    assert_eq!(String::from_utf8(after).unwrap().lines().count(), 1);
    // The bot, which knew the old key, reads and seals with the new one.
    assert_full(bot, THREAD);
    bot.keep_secrets(THREAD, &[(name("more"), secret("hush"))])
        .unwrap();
    assert_eq!(
        kept(&Store::open(scene.dir.path()).unwrap(), THREAD, "more").as_deref(),
        Some("hush")
    );
    // Given keys go before it, and it stays readable.
    let given = Store::open_with(scene.dir.path(), ring("1")).unwrap();
    assert_eq!(kept(&given, THREAD, "more").as_deref(), Some("hush"));
}

#[test]
fn two_processes_that_make_the_first_key_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|nth| {
            let store = Store::open(dir.path()).unwrap();
            std::thread::spawn(move || {
                let thread = ThreadId::telegram(nth, None);
                store
                    .keep_secrets(thread, &[(name("K"), secret("hush-k"))])
                    .unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    for nth in 0..4 {
        let thread = ThreadId::telegram(nth, None);
        assert_eq!(kept(&store, thread, "K").as_deref(), Some("hush-k"));
    }
}
