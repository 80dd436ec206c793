//! Processes that die: a child that commits without end is killed at random moments.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lock::Lock;
use super::tests::{THREAD, entry, files};
use super::{Given, Shelf, Store, StoreError, lock};
use crate::config::{CredentialId, Document, Files, GivenFor, SecretName};
use crate::secret::Secret;

/// Names the data folder and makes this test binary the child.
const FOLDER: &str = "SWITCHBOARD_TEST_CRASH_FOLDER";
/// Kills of the writer; with those of the audit and of what is sealed, a thousand.
const ROUNDS: u32 = 330;
/// Kills of the keeper.
const KEEPER_ROUNDS: u32 = 40;

fn state(nth: u64) -> Files {
    // Some commits write one file and some write both.
    files(nth, Some(nth / 3))
}

/// The child of the test below: nothing unless it was started by it.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let newest = store.history(THREAD, 1).unwrap();
    let mut nth: u64 = newest.first().map_or(0, |entry| entry.id.parse().unwrap());
    let mut base = store.load(THREAD).unwrap().0.revision();
    loop {
        nth += 1;
        base = store
            .commit(THREAD, base, &state(nth), entry(&nth.to_string()))
            .unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {nth}").unwrap();
        out.flush().unwrap();
    }
}

/// The child of the third test below: keeps a secret, an agreement, a rotated token and a login of each number.
#[test]
fn keeper() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let mut nth = kept_token(&store).unwrap_or_default();
    loop {
        nth += 1;
        let value = serde_json::json!({ "refresh_token": nth.to_string().repeat(200), "nth": nth });
        let id = CredentialId::new("rotated").unwrap();
        store.keep_credential(THREAD, &id, Some(&value)).unwrap();
        let name = |text: &str| SecretName::new(text).unwrap();
        let secret = || {
            Some(Given {
                secret: Secret::from(nth.to_string()),
                given_for: GivenFor::Local,
                at_ms: 0,
            })
        };
        let both = [(name("one"), secret()), (name("two"), secret())];
        store.keep_secrets(THREAD, &both).unwrap();
        store.shelve(Shelf::Logins, "login", Some(&value)).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {nth}").unwrap();
        out.flush().unwrap();
    }
}

fn kept_token(store: &Store) -> Option<u64> {
    let id = CredentialId::new("rotated").unwrap();
    let value = store.credential(THREAD, &id).unwrap()?;
    let nth = value["nth"].as_u64().unwrap();
    assert_eq!(value["refresh_token"], nth.to_string().repeat(200));
    Some(nth)
}

/// The child of the second test below.
#[test]
fn holder() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let _held = Lock::take(
        &store.part("state").unwrap(),
        &THREAD.to_string(),
        lock::WAIT,
    )
    .unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "acknowledged 0").unwrap();
    out.flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test that needs a process to kill"
)]
fn child(name: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("store::crash::{name}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<u64> {
    line.split_once("acknowledged ")?.1.trim().parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_written_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    let mut cut_short = 0;
    for round in 0..ROUNDS {
        let mut writer = child("writer", dir.path());
        let mut lines = BufReader::new(writer.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let random = getrandom::u64().unwrap();
        // At least one, so that the child is at work and not still on its way.
        let acks = 1 + random % 4;
        let mut last = lines
            .by_ref()
            .filter_map(|line| acknowledged(&line))
            .nth(usize::try_from(acks - 1).unwrap());
        std::thread::sleep(Duration::from_micros(random / 7 % 4000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        last = lines.filter_map(|line| acknowledged(&line)).last().or(last);
        let last = last.unwrap_or_else(|| panic!("round {round}: the writer did not write"));

        let store = Store::open(dir.path()).unwrap();
        // Before anything is mended each file is whole.
        let now = store.load(THREAD).unwrap().0;
        for file in [&now.local, &now.remote] {
            Document::parse(file.as_deref().unwrap()).unwrap();
        }
        store.recover(THREAD).unwrap();
        let history = store.history(THREAD, 2).unwrap();
        let nth: u64 = history[0].id.parse().unwrap();
        assert!(
            nth == last || nth == last + 1,
            "round {round}: {last} acknowledged, {nth} there"
        );
        let now = store.load(THREAD).unwrap().0;
        let expected = state(nth);
        assert_eq!(
            now.local.unwrap(),
            expected.local.to_text().into_bytes(),
            "round {round}"
        );
        assert_eq!(
            now.remote.unwrap(),
            expected.remote.to_text().into_bytes(),
            "round {round}"
        );
        assert!(store.is_recorded(THREAD).unwrap(), "round {round}");
        assert!(last > newest, "round {round}: the writer did not go on");
        newest = nth;
        cut_short += u32::from(nth != last);
    }
    // How many commits the kills hit is chance; it is shown where the test fails elsewhere.
    tracing::debug!(cut_short, "The kills were survived.");
}

#[test]
fn no_rotated_token_is_lost_or_half_written_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..KEEPER_ROUNDS {
        let mut keeper = child("keeper", dir.path());
        let mut lines = BufReader::new(keeper.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let first = lines.by_ref().find_map(|line| acknowledged(&line));
        let random = getrandom::u64().unwrap();
        std::thread::sleep(Duration::from_micros(random % 4000));
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        let last = lines
            .filter_map(|line| acknowledged(&line))
            .last()
            .or(first);
        let last = last.unwrap_or_else(|| panic!("round {round}: the keeper kept nothing"));

        let store = Store::open(dir.path()).unwrap();
        let fits = |nth: u64| assert!(nth == last || nth == last + 1, "round {round}: {nth}");
        fits(kept_token(&store).unwrap());
        let secret = |name: &str| {
            let name = SecretName::new(name).unwrap();
            store.secret(THREAD, &name, &GivenFor::Local)
        };
        let (one, two) = (secret("one").unwrap(), secret("two").unwrap());
        assert_eq!(one, two, "round {round}");
        fits(one.unwrap().expose().parse().unwrap());
        let login = store.shelved(Shelf::Logins, "login").unwrap().unwrap();
        fits(login["nth"].as_u64().unwrap());
    }
    // What the last kill left beside the files goes with the next write.
    let store = Store::open(dir.path()).unwrap();
    let id = CredentialId::new("rotated").unwrap();
    store.keep_credential(THREAD, &id, None).unwrap();
    let left = std::fs::read_dir(dir.path().join("state/tg5/credentials"));
    assert_eq!(left.unwrap().count(), 0);
}

#[test]
fn a_lock_ends_with_the_process_that_held_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = child("holder", dir.path());
    let held = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| acknowledged(&line));
    assert_eq!(held, Some(0));
    let state = Store::open(dir.path()).unwrap().part("state").unwrap();
    let name = THREAD.to_string();
    let refused = Lock::take(&state, &name, Duration::from_millis(20));
    assert!(matches!(refused, Err(StoreError::Busy(_))));
    holder.kill().unwrap();
    holder.wait().unwrap();
    Lock::take(&state, &name, lock::WAIT).unwrap();
}

/// The child of the tests below: does one thing to the vault again and again.
#[test]
fn vault() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let told = |line: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    told("acknowledged 0");
    // The first start seals what is not.
    let store = Store::open(Path::new(&folder)).unwrap();
    for nth in 1_u64.. {
        store.rotate_keys().unwrap();
        let given = Given {
            secret: Secret::from(nth.to_string()),
            given_for: GivenFor::Local,
            at_ms: 0,
        };
        let name = SecretName::new("COUNT").unwrap();
        store.keep_secrets(THREAD, &[(name, Some(given))]).unwrap();
        told(&format!("acknowledged {nth}"));
    }
}

/// How many secrets and logins the folder of the tests below has.
const THINGS: usize = 6;

fn thing(nth: usize) -> (SecretName, CredentialId) {
    let text = format!("thing-{nth}");
    (
        SecretName::new(&text).unwrap(),
        CredentialId::new(&text).unwrap(),
    )
}

/// As an earlier version kept them: unsealed.
fn unsealed(folder: &Path) {
    let state = folder.join("state/tg5");
    std::fs::create_dir_all(state.join("credentials")).unwrap();
    let put = |path: std::path::PathBuf, value: &serde_json::Value| {
        let mut file = std::fs::File::create(path).unwrap();
        file.write_all(value.to_string().as_bytes()).unwrap();
    };
    let mut secrets = serde_json::Map::new();
    for nth in 0..THINGS {
        let (name, id) = thing(nth);
        secrets.insert(name.to_string(), format!("hush-{nth}").into());
        let value = serde_json::json!({ "refresh_token": format!("hush-{nth}") });
        put(state.join(format!("credentials/{id}.json")), &value);
    }
    put(state.join("secrets.json"), &secrets.into());
}

/// Kills a child at work, after it acknowledged `acks` and a moment; the number that it acknowledged last.
fn killed(folder: &Path, acks: usize, moment: Duration) -> u64 {
    let mut vault = child("vault", folder);
    let mut lines = BufReader::new(vault.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let first = lines
        .by_ref()
        .filter_map(|line| acknowledged(&line))
        .nth(acks);
    std::thread::sleep(moment);
    vault.kill().unwrap();
    vault.wait().unwrap();
    let last = lines.filter_map(|line| acknowledged(&line)).last();
    last.or(first).expect("the child did not work")
}

fn every_thing_is_there(store: &Store, round: u32) {
    let shown = store.secrets(THREAD).unwrap();
    for nth in 0..THINGS {
        let (name, id) = thing(nth);
        let kept = shown.iter().find(|kept| kept.name == name);
        assert!(
            kept.is_some_and(|kept| kept.is_readable),
            "round {round}: {name}"
        );
        let login = store.credential(THREAD, &id).unwrap().unwrap();
        assert_eq!(
            login["refresh_token"],
            format!("hush-{nth}"),
            "round {round}"
        );
    }
}

#[test]
fn nothing_is_lost_by_kills_while_it_is_sealed() {
    for round in 0..150 {
        let dir = tempfile::tempdir().unwrap();
        unsealed(dir.path());
        let random = getrandom::u64().unwrap();
        killed(dir.path(), 0, Duration::from_micros(random % 8000));
        every_thing_is_there(&Store::open(dir.path()).unwrap(), round);
        let state = dir.path().join("state/tg5");
        let secrets = std::fs::read_to_string(state.join("secrets.json")).unwrap();
        assert!(!secrets.contains("hush"), "round {round}");
    }
}

#[test]
fn nothing_is_lost_by_kills_while_keys_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    unsealed(dir.path());
    for round in 0..150 {
        let random = getrandom::u64().unwrap();
        let moment = Duration::from_micros(random / 3 % 8000);
        let last = killed(dir.path(), usize::from(random.is_multiple_of(3)), moment);
        let store = Store::open(dir.path()).unwrap();
        every_thing_is_there(&store, round);
        let count = store.secret(THREAD, &SecretName::new("COUNT").unwrap(), &GivenFor::Local);
        if last > 0 {
            let count: u64 = count.unwrap().unwrap().expose().parse().unwrap();
            assert!(
                count == last || count == last + 1,
                "round {round}: {last}, {count}"
            );
        }
    }
    // However often one was cut short: in the end there is one key.
    let store = Store::open(dir.path()).unwrap();
    store.rotate_keys().unwrap();
    let keys = std::fs::read_to_string(dir.path().join("keys/vault.key")).unwrap();
    assert_eq!(keys.lines().count(), 1);
}
