//! The program as an operator meets it: `switchboard do`, settings, signals.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
