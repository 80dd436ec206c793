//! The program as an operator meets it: `switchboard do`, settings, signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::hostile::{Far, Manners};
use crate::support::world::PROGRAM;

#[allow(
    clippy::disallowed_methods,
    reason = "the test starts the bot as an operator does"
)]
fn switchboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_remove("TELOXIDE_TOKEN")
        .stdin(Stdio::null());
    command
}

fn once(data: &Path, arguments: &[&str]) -> Output {
    let data = data.to_str().unwrap();
    switchboard(&["do", "--thread", "tg42", "--data", data])
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn one_command_is_answered_and_its_outcome_is_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("users/tg42/mcp.json");
    let proposed = once(
        folder.path(),
        &[
            "--",
            "/mcp",
            "add",
            "demo",
            "--",
            "switchboard",
            "demo-server",
        ],
    );
    assert!(
        proposed.status.success() && said(&proposed).contains("Add demo?"),
        "{proposed:?}"
    );
    assert!(!config.exists(), "written without --yes");
    let applied = once(
        folder.path(),
        &["--yes", "--", "/mcp add demo -- switchboard demo-server"],
    );
    assert!(
        applied.status.success() && said(&applied).contains("demo · 6 tools"),
        "{applied:?}"
    );
    assert!(config.exists());
    let called = once(
        folder.path(),
        &["--", "/mcp", "call", "demo", "echo", "text=two words"],
    );
    assert!(
        called.status.success() && said(&called).contains("two words"),
        "{called:?}"
    );
    let asks = once(folder.path(), &["--", "/mcp tools demo echo mode=ask"]);
    assert!(asks.status.success(), "{asks:?}");
    let call = "/mcp call demo echo text=asked";
    for (arguments, is_called) in [(&["--", call][..], false), (&["--yes", "--", call], true)] {
        let called = once(folder.path(), arguments);
        assert!(called.status.success(), "{called:?}");
        assert_eq!(
            said(&called).contains("✅ `echo` of demo ·"),
            is_called,
            "{called:?}"
        );
    }
    for wrong in [
        &["--", "/mcp show nope"][..],
        &["--", "/mcp call demo fail"],
        &["--", "/nonsense"],
    ] {
        let refused = once(folder.path(), wrong);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a test plays somebody who edits the audit"
)]
fn d36_an_operator_sees_which_audit_was_edited() {
    let folder = tempfile::tempdir().unwrap();
    let verified = || {
        switchboard(&["audit", "verify", "--data", folder.path().to_str().unwrap()])
            .output()
            .unwrap()
    };
    let add = ["--yes", "--", "/mcp add demo -- switchboard demo-server"];
    assert!(once(folder.path(), &add).status.success());
    let whole = verified();
    assert!(whole.status.success(), "{whole:?}");
    let file = folder.path().join("state/tg42/audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("demo"), "{text}");
    std::fs::write(&file, text.replacen("demo", "dome", 1)).unwrap();
    let edited = verified();
    assert_eq!(edited.status.code(), Some(1), "{edited:?}");
    assert!(said(&edited).contains("tg42"), "{edited:?}");
}

#[test]
fn settings_that_make_no_sense_stop_the_start_and_are_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (arguments, variable, named) in [
        (
            &["run", "--front", "telegram"][..],
            ("X", ""),
            "TELOXIDE_TOKEN",
        ),
        (
            &["run", "--data", file.path().to_str().unwrap()],
            ("X", ""),
            "--data",
        ),
        (
            &["run"],
            ("SWITCHBOARD_SERVER_IDLE", "soon"),
            "SWITCHBOARD_SERVER_IDLE",
        ),
        (
            &["run"],
            ("TELOXIDE_TOKEN", "not-a-token"),
            "TELOXIDE_TOKEN",
        ),
    ] {
        let output = switchboard(arguments)
            .env(variable.0, variable.1)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains(named),
            "{arguments:?}: {told}"
        );
        assert!(!told.contains("not-a-token"), "{told}");
    }
}

#[test]
fn a_signal_ends_the_bot_and_its_servers_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    assert!(
        once(
            folder.path(),
            &["--yes", "--", "/mcp add demo -- switchboard demo-server"]
        )
        .status
        .success()
    );
    let mut bot = switchboard(&["run", "--front", "terminal", "--data", data])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bot.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("terminal"), "{first}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(bot.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Its standard input stays open: only the signal can end it.
    assert!(bot.wait().unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    crate::faults::nothing_runs_for(folder.path());
}

#[test]
fn one_entry_whose_launcher_is_missing_does_not_keep_the_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcp.json");
    crate::support::world::write(
        &file,
        r#"{"mcpServers": {
            "demo": {"command": "switchboard", "args": ["demo-server"]},
            "fetch": {"command": "uvx", "args": ["mcp-server-fetch"]}
        }}"#,
    );
    let data = folder.path().join("data");
    let mut bot = switchboard(&[
        "run",
        "--front",
        "terminal",
        "--data",
        data.to_str().unwrap(),
    ])
    // Where nothing is.
    .env("PATH", folder.path())
    .env("SWITCHBOARD_SANDBOX", "off")
    .env("SWITCHBOARD_LISTEN", "127.0.0.1:0")
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = bot.stdin.take().unwrap();
    writeln!(lines, ":upload {}\nApply", file.display()).unwrap();
    drop(lines);
    let output = bot.wait_with_output().unwrap();
    let said = said(&output);
    for words in [
        "fetch stays as it is written, without a fixed version",
        "uv was not found on this machine",
        "demo · 6 tools",
    ] {
        assert!(said.replace('`', "").contains(words), "{words}: {said}");
    }
    let written = std::fs::read_to_string(data.join("users/local/mcp.json")).unwrap();
    assert!(written.contains("mcp-server-fetch"), "{written}");
}

/// The bot in a terminal chat, heard from the moment it speaks.
fn started(data: &Path, listen: &str) -> std::process::Child {
    let mut bot = switchboard(&[
        "run",
        "--front",
        "terminal",
        "--data",
        data.to_str().unwrap(),
    ])
    .env("SWITCHBOARD_LISTEN", listen)
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut first = [0];
    let stdout = bot.stdout.as_mut().unwrap();
    stdout.read_exact(&mut first).unwrap();
    bot
}

#[test]
fn the_pages_of_logins_are_served_as_long_as_the_bot_runs() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_address();
    let mut bot = started(folder.path(), &listen);
    let mut page = std::net::TcpStream::connect(&listen).unwrap();
    page.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Another bot that was told to listen there does not start without its pages.
    let other = tempfile::tempdir().unwrap();
    let refused = switchboard(&["run", "--data", other.path().to_str().unwrap()])
        .env("SWITCHBOARD_LISTEN", &listen)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains(&listen) && told.contains("SWITCHBOARD_LISTEN"),
        "{told}"
    );
    // The end of its input ends the chat, and the pages with it.
    drop(bot.stdin.take());
    assert!(bot.wait().unwrap().success());
    assert!(std::net::TcpListener::bind(&listen).is_ok());
}

#[test]
fn what_is_opened_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let output = switchboard(&["run", "--data", data])
        .env("SWITCHBOARD_ALLOW_CIDRS", "127.0.0.1")
        .env("SWITCHBOARD_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("SWITCHBOARD_ALLOW_CIDRS opens 127.0.0.1/32"),
        "{told}"
    );
}

#[test]
fn damaged_clients_of_the_operator_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin");
    std::fs::create_dir_all(&admin).unwrap();
    let mut file = std::fs::File::create(admin.join("oauth_clients.json")).unwrap();
    file.write_all(b"{\"https://login.example\": \"canary\"}")
        .unwrap();
    let refused = once(folder.path(), &["--", "/mcp list"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("oauth_clients.json"),
        "{told}"
    );
    assert!(!told.contains("canary"), "{told}");
}

/// An address of loopback that is this process's alone, so that a port that is free there stays free.
fn free_address() -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Never the usual 127.0.0.1, nor the address of the broadcast.
    let host = std::net::Ipv4Addr::new(127, 100 + high % 100, middle, low.clamp(1, 254));
    let listener = std::net::TcpListener::bind((host, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn secrets_are_sealed_anew_from_the_shell_and_none_is_told() {
    const CANARY: &str = "canary-Zx81-hush-hush";
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let rotate = || {
        switchboard(&["secrets", "rotate", "--data", data])
            .output()
            .unwrap()
    };
    let told = |output: &Output| {
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains(CANARY), "{text}");
        text
    };
    let nothing = rotate();
    assert!(nothing.status.success() && told(&nothing).contains("nothing to seal"));
    let set = format!("/mcp secrets set TOKEN {CANARY}");
    assert!(once(folder.path(), &["--", &set]).status.success());
    let key = || std::fs::read_to_string(folder.path().join("keys/vault.key")).unwrap();
    let before = key();
    let rotated = rotate();
    let text = told(&rotated);
    assert!(
        rotated.status.success() && text.contains("Sealed anew: 2"),
        "{text}"
    );
    let after = key();
    assert_ne!(before, after);
    let secret = after.split(':').nth(1).unwrap().trim();
    assert!(!text.contains(secret), "{text}");
    let listed = said(&once(folder.path(), &["--", "/mcp secrets"]));
    assert!(listed.contains("hush"), "its last characters: {listed}");
    // Without its key nothing starts, and it says what to do; bad keys are told by their setting.
    std::fs::remove_file(folder.path().join("keys/vault.key")).unwrap();
    let refused = once(folder.path(), &["--", "/mcp secrets"]);
    let text = told(&refused);
    assert!(
        !refused.status.success() && text.contains("give-up"),
        "{text}"
    );
    let id = after.split(':').next().unwrap();
    let given_up = switchboard(&["secrets", "give-up", id, "--data", data])
        .output()
        .unwrap();
    assert!(given_up.status.success(), "{given_up:?}");
    assert!(
        once(folder.path(), &["--", "/mcp secrets"])
            .status
            .success()
    );
    let bad = switchboard(&["do", "--thread", "tg42", "--data", data, "--", "/mcp"])
        .env("SWITCHBOARD_VAULT_KEYS", format!("k1:{CANARY}"))
        .output()
        .unwrap();
    let text = told(&bad);
    assert!(
        !bad.status.success() && text.contains("SWITCHBOARD_VAULT_KEYS"),
        "{text}"
    );
}

/// With the token of the bot really there to be taken.
#[tokio::test(flavor = "multi_thread")]
async fn d29_no_remote_server_is_sent_what_is_the_bots_own_or_another_threads() {
    const OWN: &str = "123456789:AAH-canary-own-token";
    const OTHERS: &str = "canary-of-another-thread";
    let far = Far::start(Manners::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let says = |thread: &str, line: &str| {
        let data = folder.path().to_str().unwrap();
        let output = switchboard(&["do", "--thread", thread, "--data", data, "--yes"])
            .args(["--", line])
            .env("TELOXIDE_TOKEN", OWN)
            .env("SWITCHBOARD_ALLOW_HTTP", "true")
            .env("SWITCHBOARD_ALLOW_CIDRS", "127.0.0.1/32")
            .output()
            .unwrap();
        let told = said(&output);
        assert!(!told.contains(OWN) && !told.contains(OTHERS), "{told}");
        told
    };
    let url = far.url();
    // It is sent where it belongs, by its own thread: the others have no other way to it.
    let applied = says("tg43", &format!("/mcp connect far {url} --bearer {OTHERS}"));
    assert!(applied.contains("far · 8 tools"), "{applied}");
    let is_sent = |what: &str| far.count(|seen| format!("{seen:?}").contains(what));
    assert!(is_sent(OTHERS) > 0, "{:?}", far.seen());
    let theirs = far.seen().len();

    for (number, text) in [
        "${env:TELOXIDE_TOKEN}",
        "${TELOXIDE_TOKEN}",
        "$TELOXIDE_TOKEN",
    ]
    .into_iter()
    .enumerate()
    {
        for (kind, line) in [
            ("header", format!("{url} --header 'X-Own: {text}'")),
            ("address", format!("{url}?own={text}")),
            ("path", format!("{url}/{text}")),
        ] {
            let name = format!("{kind}{number}");
            says("tg42", &format!("/mcp connect {name} {line}"));
            says("tg42", &format!("/mcp call {name} echo text={text}"));
        }
    }
    // It went there as the text that it is.
    assert!(is_sent("${env:TELOXIDE_TOKEN}") > 0, "nothing was tried");

    let taken = "${secret:FAR_TOKEN}";
    let applied = says(
        "tg42",
        &format!("/mcp connect by-hand {url} --header 'X-Own: x'"),
    );
    assert!(applied.contains("by-hand · 8 tools"), "{applied}");
    for line in [
        format!("{url} --header 'X-Own: {taken}'"),
        format!("{url} --header 'Authorization: Bearer {taken}'"),
        format!("{url}?own={taken}"),
    ] {
        says("tg42", &format!("/mcp connect taken {line}"));
        says("tg42", "/mcp call taken echo text=x");
    }
    // By hand on the host, where the header was agreed to with another value.
    let file = folder.path().join("users/tg42/mcp_remote.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = text.replace("\"X-Own\": \"x\"", &format!("\"X-Own\": \"{taken}\""));
    assert_ne!(edited, text);
    crate::support::world::write(&file, &edited);
    says("tg42", "/mcp call by-hand echo text=x");
    says("tg42", "/mcp connect by-hand");
    says("tg42", "/mcp call by-hand echo text=x");

    assert!(far.seen().len() > theirs);
    for seen in &far.seen()[theirs..] {
        let text = format!("{seen:?}");
        assert!(!text.contains(OTHERS), "{text}");
    }
    assert_eq!(is_sent(OWN), 0, "{:?}", far.seen());
}
