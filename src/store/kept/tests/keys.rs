//! Keys that are made, given, changed and given up.

use super::*;

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
