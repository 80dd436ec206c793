//! What is kept is whole, private and bounded, and what is forgotten leaves nothing.

mod earlier;
mod keys;
mod sealed;
mod shelves;

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

/// The sealed file of a thread's secrets, changed.
fn edit_secrets(scene: &Scene, thread: &str, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = scene.path(&format!("state/{thread}/secrets.json"));
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    put(&path, value.to_string().as_bytes());
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
