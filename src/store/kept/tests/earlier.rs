//! What an earlier version kept unsealed is sealed.

use super::*;

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
