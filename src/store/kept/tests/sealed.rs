//! A secret is read where it was given for, and what was changed or moved is refused.

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "as a change has it")]
fn given(text: &str, given_for: GivenFor) -> Option<Given> {
    Some(Given {
        secret: Secret::from(text.to_owned()),
        given_for,
        at_ms: 7,
    })
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
