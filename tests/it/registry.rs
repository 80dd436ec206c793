//! The registry against real processes: servers that behave, and servers that do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests, and their helpers beside them"
)]

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use switchboard::config::{
    Definition, NetworkGrant, RemoteAuth, RemoteServer, RemoteTransport, Revision, ServerName,
    StdioServer, ThreadConfig, limits,
};
use switchboard::net::{Net, NetOptions};
use switchboard::registry::{
    CallError, CallOutcome, CallRequest, Content, NoKeys, Notice, Outside, Registry,
    RegistryOptions, ServerKind, ServerState, ServerView, Snapshot, Stage, ToolCache,
};
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;

use crate::support::world::misbehave;

const THREAD: ThreadId = ThreadId::Local;
/// For what takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_mins(5);

/// A registry of its own, with a folder that goes away, and a word in every process that it starts.
struct Room {
    registry: Registry,
    notices: mpsc::Receiver<Notice>,
    cache: Arc<Cache>,
    tag: String,
    folder: tempfile::TempDir,
    revision: u8,
}

#[derive(Debug, Default)]
struct Cache(Mutex<HashMap<(String, String), Value>>);

impl ToolCache for Cache {
    fn get(&self, _: ThreadId, server: &ServerName, definition: &str) -> Option<Value> {
        let key = (server.to_string(), definition.to_owned());
        self.0.lock().unwrap().get(&key).cloned()
    }

    fn put(&self, _: ThreadId, server: &ServerName, tools: Option<(&str, &Value)>) {
        if let Some((definition, tools)) = tools {
            let key = (server.to_string(), definition.to_owned());
            self.0.lock().unwrap().insert(key, tools.clone());
        }
    }
}

impl Room {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut RegistryOptions)) -> Self {
        Self::with_cache(Arc::default(), change)
    }

    fn with_cache(cache: Arc<Cache>, change: impl FnOnce(&mut RegistryOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = RegistryOptions::new(binary(), folder.path().join("homes"));
        options.backoff = vec![Duration::from_millis(20); 2];
        change(&mut options);
        let (registry, notices) = Registry::start(
            options,
            Outside::bare(
                cache.clone(),
                Net::new(NetOptions::default()),
                Arc::new(NoKeys),
            ),
        );
        let tag = format!("tag={}", folder.path().display());
        Self {
            registry,
            notices,
            cache,
            tag,
            folder,
            revision: 0,
        }
    }

    fn server(&self, words: &str) -> StdioServer {
        let mut args: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        args.push(self.tag.clone());
        StdioServer {
            command: misbehave().display().to_string(),
            args,
            env: Vec::new(),
            cwd: None,
            network: NetworkGrant::Unsaid,
            disabled: false,
        }
    }

    async fn apply(&mut self, servers: &[(&str, StdioServer)]) -> Revision {
        self.revision += 1;
        let revision = Revision::of(Some(&[self.revision]), None);
        let config = ThreadConfig {
            local: servers
                .iter()
                .map(|(name, server)| (name_of(name), server.clone()))
                .collect(),
            ..ThreadConfig::default()
        };
        self.registry
            .apply(THREAD, Arc::new(config), revision)
            .await;
        revision
    }

    /// Applies servers by their words and waits for the report.
    async fn settled(&mut self, servers: &[(&str, &str)]) -> Vec<ServerView> {
        let servers: Vec<_> = servers
            .iter()
            .map(|(name, words)| (*name, self.server(words)))
            .collect();
        let revision = self.apply(&servers).await;
        self.report(revision).await
    }

    /// The servers once a revision is reported.
    async fn report(&mut self, wanted: Revision) -> Vec<ServerView> {
        loop {
            if let Notice::Settled { revision, .. } = self.notice().await
                && revision == wanted
            {
                return self.registry.snapshot(THREAD).unwrap().servers.clone();
            }
        }
    }

    async fn notice(&mut self) -> Notice {
        tokio::time::timeout(SOON, self.notices.recv())
            .await
            .expect("a notice in time")
            .expect("the room is open")
    }

    async fn when(&self, what: &str, ready: impl FnMut(&Snapshot) -> bool + Send) -> Arc<Snapshot> {
        tokio::time::timeout(SOON, self.registry.wait(THREAD, ready))
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "not in time: {what}; now {:?}",
                    self.registry.snapshot(THREAD)
                )
            })
            .expect("the thread is loaded")
    }

    fn request(server: &str, tool: &str, arguments: Value) -> CallRequest {
        CallRequest {
            thread: THREAD,
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: match arguments {
                Value::Object(map) => map,
                _ => Map::new(),
            },
            progress: None,
            waited: Duration::ZERO,
        }
    }

    async fn call(
        &self,
        server: &str,
        tool: &str,
        arguments: Value,
    ) -> Result<CallOutcome, CallError> {
        let call = self.registry.call(Self::request(server, tool, arguments));
        tokio::time::timeout(SOON, call)
            .await
            .expect("an end in time")
    }

    async fn text(&self, server: &str, tool: &str, arguments: Value) -> String {
        let outcome = self.call(server, tool, arguments).await.unwrap();
        match &outcome.content[..] {
            [Content::Text(text)] => text.clone(),
            other => panic!("not one text: {other:?}"),
        }
    }

    fn state(&self, server: &str) -> ServerState {
        let snapshot = self.registry.snapshot(THREAD).unwrap();
        snapshot.server(server).unwrap().state.clone()
    }

    /// The processes that were started from here and still run.
    fn processes(&self) -> Vec<i32> {
        processes_with(&self.tag)
    }

    async fn gone(&self) {
        all_gone(&self.tag).await;
    }
}

fn name_of(name: &str) -> ServerName {
    ServerName::new(name).unwrap()
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_switchboard"))
}

fn processes_with(tag: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if command
            .split(|byte| *byte == 0)
            .any(|word| word == tag.as_bytes())
        {
            found.push(pid);
        }
    }
    found
}

async fn all_gone(tag: &str) {
    let until = Instant::now() + SOON;
    while !processes_with(tag).is_empty() {
        assert!(
            Instant::now() < until,
            "still running: {:?}",
            processes_with(tag)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_ready(snapshot: &Snapshot, server: &str) -> bool {
    snapshot
        .server(server)
        .is_some_and(|server| matches!(server.state, ServerState::Ready { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_start_answer_and_are_gone_after_shutdown() {
    let mut room = Room::new();
    let touched = room
        .settled(&[("one", "tools=3 banner"), ("two", "")])
        .await;
    assert_eq!(touched.len(), 2);
    assert!(
        matches!(&touched[0].state, ServerState::Ready { protocol, server_info, .. }
            if protocol == "2025-06-18" && server_info == "misbehave 1"),
        "{:?}",
        touched[0].state
    );
    assert_eq!(
        room.text("one", "echo", json!({"text": "hi"})).await,
        "\"hi\""
    );
    assert_eq!(room.text("two", "two__tool0", json!({})).await, "tool0");
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert_eq!(snapshot.names.len(), 13 + 3 + 13 + 1);
    let (server, tool) = snapshot.names["one__tool2"];
    assert_eq!(snapshot.servers[server].tools[tool].name, "tool2");
    assert_eq!(snapshot.server("one").unwrap().stats.answered, 1);
    assert_eq!(room.processes().len(), 2);

    assert_eq!(room.registry.shutdown(Duration::from_secs(10)).await, []);
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_servers_tools_are_gone_when_apply_returns_and_its_process_soon_after() {
    let mut room = Room::new();
    room.settled(&[
        ("one", "child=plain child=setsid child=daemon stubborn"),
        ("two", ""),
    ])
    .await;
    let pid = room.text("two", "pid", json!({})).await;
    let servers = [("two", room.server(""))];
    let revision = room.apply(&servers).await;
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert!(snapshot.server("one").is_none());
    assert!(snapshot.names.keys().all(|name| name.starts_with("two__")));
    room.report(revision).await;
    // The other one was not touched.
    assert_eq!(room.text("two", "pid", json!({})).await, pid);
    let until = Instant::now() + SOON;
    while room.processes().len() > 1 {
        assert!(
            Instant::now() < until,
            "still there: {:?}",
            room.processes()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_grandchild_is_gone_after_shutdown() {
    for kind in ["plain", "setsid", "daemon"] {
        let mut room = Room::new();
        room.settled(&[("one", &format!("child={kind}"))]).await;
        // The grandchild may be a moment behind the server's first answer.
        let until = Instant::now() + SOON;
        while room.processes().len() < 2 {
            assert!(Instant::now() < until, "{kind}: {:?}", room.processes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        room.registry.shutdown(Duration::from_secs(10)).await;
        assert!(room.processes().is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_that_hides_all_its_traces_goes_with_its_server() {
    let mut room = Room::new();
    let other = Room::server(&room, "");
    // Told by its pipes, although another server runs.
    let hiding = room.server("child=wiped");
    room.apply(&[("one", hiding), ("two", other.clone())]).await;
    room.when("both run", |now| {
        is_ready(now, "one") && is_ready(now, "two")
    })
    .await;
    until_number(&room, 3).await;
    room.apply(&[("two", other)]).await;
    until_number(&room, 1).await;
    // Told by nothing but that nobody else could have started it.
    let hiding = room.server("child=closed");
    room.apply(&[]).await;
    until_number(&room, 0).await;
    room.apply(&[("one", hiding)]).await;
    room.when("it runs", |now| is_ready(now, "one")).await;
    until_number(&room, 2).await;
    room.apply(&[]).await;
    room.gone().await;
}

/// Until so many processes run.
async fn until_number(room: &Room, number: usize) {
    let until = Instant::now() + SOON;
    while room.processes().len() != number {
        assert!(Instant::now() < until, "{:?}", room.processes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_is_killed_at_shutdown_and_named() {
    let mut room = Room::new();
    room.settled(&[("good", ""), ("bad", "stubborn"), ("polite", "no-eof")])
        .await;
    let killed = room.registry.shutdown(Duration::from_secs(9)).await;
    assert_eq!(killed, [(THREAD, name_of("bad"))]);
    assert!(room.processes().is_empty());
    // The room is closed for good.
    assert!(matches!(
        room.call("good", "echo", json!({})).await,
        Err(CallError::NoServer(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_deadline_is_kept() {
    let mut room = Room::new();
    room.settled(&[("bad", "stubborn child=daemon")]).await;
    let killed = room.registry.shutdown(Duration::from_millis(600)).await;
    assert_eq!(killed, [(THREAD, name_of("bad"))]);
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_bot_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let tag = format!("tag={}", folder.path().display());
    #[expect(clippy::disallowed_methods, reason = "the bot under test")]
    let mut bot = std::process::Command::new(misbehave())
        .arg("host")
        .arg(binary())
        .arg(folder.path())
        .args(["--", "stubborn", "child=plain", "child=setsid", &tag])
        .args(["--", "child=daemon", &tag])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(bot.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "ready\n");
    // Two servers, two naps, a daemon, and the bot itself, which has the word too.
    let until = Instant::now() + SOON;
    while processes_with(&tag).len() < 6 {
        assert!(Instant::now() < until, "{:?}", processes_with(&tag));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bot.kill().unwrap();
    bot.wait().unwrap();
    all_gone(&tag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_is_killed_takes_its_servers_along_and_is_replaced() {
    let mut room = Room::new();
    room.settled(&[("one", "child=daemon child=setsid"), ("two", "")])
        .await;
    let first = room.processes();
    let server: i32 = room.text("one", "pid", json!({})).await.parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let launcher: i32 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let launcher = rustix::process::Pid::from_raw(launcher).unwrap();
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    room.when("both run again", |snapshot| {
        snapshot
            .servers
            .iter()
            .all(|server| server.stats.restarts == 1)
            && is_ready(snapshot, "one")
            && is_ready(snapshot, "two")
    })
    .await;
    let until = Instant::now() + SOON;
    while first.iter().any(|pid| room.processes().contains(pid)) {
        assert!(Instant::now() < until, "the first ones still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    room.text("one", "echo", json!({})).await;
    room.registry.shutdown(Duration::from_secs(10)).await;
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_to_the_launcher_does_not_end_it() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let server: i32 = room.text("one", "pid", json!({})).await.parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let launcher = stat.rsplit(')').next().unwrap().split_whitespace().nth(1);
    let launcher = rustix::process::Pid::from_raw(launcher.unwrap().parse().unwrap()).unwrap();
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ] {
        rustix::process::kill_process(launcher, signal).unwrap();
    }
    let servers = [("one", room.server("")), ("two", room.server(""))];
    let revision = room.apply(&servers).await;
    room.report(revision).await;
    room.text("two", "echo", json!({})).await;
    assert_eq!(room.text("one", "pid", json!({})).await, server.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_takes_garbage_and_ends_with_its_socket() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the launcher under test")]
    let mut launcher = std::process::Command::new(binary())
        .arg("launcher")
        .stdin(theirs)
        .spawn()
        .unwrap();
    for packet in [
        b"garbage".as_slice(),
        b"{}",
        br#"{"order":"sweep","id":7}"#,
        br#"{"order":"terminate","id":7}"#,
        br#"{"order":"spawn","id":8,"program":"/bin/sh","arg0":"sh","args":[],"env":{},"cwd":"/"}"#,
        &vec![0; 100_000],
    ] {
        send(&ours, packet, SendFlags::NOSIGNAL).unwrap();
    }
    // It still answers: nothing was ever there to sweep, and a start without pipes is refused.
    let mut answers = String::new();
    while !answers.contains("refused") || !answers.contains("swept") {
        let mut packet = [0; 4096];
        let (bytes, _) =
            rustix::net::recv(&ours, &mut packet, rustix::net::RecvFlags::empty()).unwrap();
        assert!(bytes > 0, "it ended: {answers}");
        answers.push_str(std::str::from_utf8(&packet[..bytes]).unwrap());
    }
    drop(ours);
    assert!(launcher.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_get_their_own_environment_and_nothing_of_the_bots() {
    let mut room = Room::new();
    let mut server = room.server("");
    server.env = [("GREETING", "hello"), ("API_KEY", "sesame")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let servers = [("one", server)];
    let revision = room.apply(&servers).await;
    room.report(revision).await;
    let text = room.text("one", "env", json!({})).await;
    let seen: Value = serde_json::from_str(&text).unwrap();
    let home = room.folder.path().join("homes/local");
    assert_eq!(seen["cwd"], json!(home));
    assert_eq!(seen["env"]["HOME"], json!(home));
    assert_eq!(seen["env"]["GREETING"], "hello");
    // It got it, and what it says of it is masked.
    assert_eq!(seen["env"]["API_KEY"], "••••");
    for name in seen["env"].as_object().unwrap().keys() {
        assert!(
            matches!(
                name.as_str(),
                "API_KEY"
                    | "GREETING"
                    | "HOME"
                    | "PATH"
                    | "LANG"
                    | "LANGUAGE"
                    | "TZ"
                    | "TMPDIR"
                    | "USER"
                    | "LOGNAME"
                    | "SWITCHBOARD_LAUNCH"
            ) || name.starts_with("LC_"),
            "{name} leaked"
        );
    }
    let mode = std::fs::metadata(&home).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_fails_with_a_reason_and_does_not_hold_up_others() {
    let mut room = Room::new();
    let odd = |command: &str, cwd: Option<&str>| StdioServer {
        command: command.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: cwd.map(str::to_owned),
        network: NetworkGrant::Unsaid,
        disabled: false,
    };
    let mut off = room.server("");
    off.disabled = true;
    let servers = [
        ("npx", odd("npx-that-is-not-there", None)),
        ("dir", odd("/tmp", None)),
        ("cwd", odd("/bin/sh", Some("nowhere"))),
        ("nul", odd("a\0b", None)),
        ("off", off),
        ("old", room.server("protocol=2019-01-01")),
        ("new", room.server("protocol=2026-07-28")),
        ("good", room.server("")),
    ];
    let revision = room.apply(&servers).await;
    let touched = room.report(revision).await;
    let reason = |name: &str| {
        let view = touched.iter().find(|view| view.name.as_str() == name);
        match &view.unwrap().state {
            ServerState::Failed { reason } => reason.clone(),
            other => format!("{other:?}"),
        }
    };
    for (name, part) in [
        ("npx", "`npx-that-is-not-there` was not found"),
        ("dir", "`/tmp` is a folder"),
        ("cwd", "The working folder `nowhere` does not exist inside"),
        ("nul", "no program can be given"),
        ("off", "Disabled"),
        ("old", "2019-01-01"),
        ("new", "2026-07-28"),
        ("good", "Ready"),
    ] {
        let reason = reason(name);
        assert!(reason.contains(part), "{name}: {reason}");
        if !matches!(name, "off" | "good") {
            let begins = reason.starts_with(|c: char| c.is_uppercase() || c == '`');
            assert!(begins && reason.ends_with('.'), "{name}: {reason}");
            assert!(!reason.contains(".."), "{name}: {reason}");
        }
    }
    for name in ["npx", "off", "old"] {
        assert!(
            matches!(
                room.call(name, "x", json!({})).await,
                Err(CallError::NotRunning { .. })
            ),
            "{name}"
        );
    }
    let off = room.call("off", "x", json!({})).await.unwrap_err();
    assert_eq!(
        off.to_string(),
        "`off` is not running: it is switched off; switch it on with `/mcp enable off`"
    );
    assert!(matches!(
        room.call("nobody", "x", json!({})).await,
        Err(CallError::NoServer(_))
    ));
    assert_eq!(
        room.call("good", "nothing", json!({})).await,
        Err(CallError::NoTool {
            server: "good".to_owned(),
            tool: "nothing".to_owned()
        })
    );
}

/// Time enough to look at a server that backs off.
fn slowly(options: &mut RegistryOptions) {
    options.backoff = vec![Duration::from_hours(1)];
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_at_once_backs_off_with_its_last_words() {
    let mut room = Room::with(slowly);
    let mut server = room.server("exit=4 say=bad_key_sesame-1234567");
    server.env = vec![("API_KEY".to_owned(), "sesame-1234567".to_owned())];
    let revision = room.apply(&[("one", server)]).await;
    let servers = room.report(revision).await;
    assert!(
        matches!(&servers[0].state, ServerState::BackingOff { attempt: 1, reason, .. }
            if reason.contains("exit code 4") && reason.contains("bad_key_") && !reason.contains("sesame")),
        "{:?}",
        servers[0].state
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_ending_is_parked_with_its_last_words() {
    let mut room = Room::new();
    let mut server = room.server("exit=4 say=bad_key_sesame-1234567");
    server.env = vec![("API_KEY".to_owned(), "sesame-1234567".to_owned())];
    let servers = [("one", server)];
    room.apply(&servers).await;
    let parked = loop {
        if let Notice::Parked { server, .. } = room.notice().await {
            break server;
        }
    };
    let ServerState::Parked { reason } = &parked.state else {
        panic!("{:?}", parked.state)
    };
    assert!(
        reason.contains("exit code 4") && !reason.contains("sesame"),
        "{reason}"
    );
    assert_eq!(parked.stats.restarts, 2);
    let logs = room.registry.logs(THREAD, &name_of("one")).unwrap();
    assert_eq!(logs.len(), 3);
    assert!(!logs[0].contains("sesame"), "{logs:?}");
    room.gone().await;
    // Asked, it tries again.
    let view = room
        .registry
        .restart(THREAD, &name_of("one"))
        .await
        .unwrap();
    assert!(matches!(
        view.state,
        ServerState::BackingOff { attempt: 1, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_comes_back_by_itself() {
    let mut room = Room::new();
    room.settled(&[("one", "child=setsid"), ("two", "")]).await;
    let other = room.text("two", "pid", json!({})).await;
    // The grandchild holds the pipes: the end is noticed all the same.
    let ended = room.call("one", "exit", json!({"code": 5})).await;
    assert!(matches!(ended, Err(CallError::Ended(_))), "{ended:?}");
    room.when("it runs again", |snapshot| {
        is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == 1
    })
    .await;
    room.text("one", "echo", json!({})).await;
    assert_eq!(room.text("two", "pid", json!({})).await, other);
    let stats = room
        .registry
        .snapshot(THREAD)
        .unwrap()
        .server("one")
        .unwrap()
        .stats;
    assert_eq!((stats.answered, stats.unanswered), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn good_time_makes_crashes_forgotten() {
    let mut room = Room::with(|options| options.good_after = Duration::ZERO);
    room.settled(&[("one", "")]).await;
    for round in 1..=4 {
        let _ = room.call("one", "exit", json!({})).await;
        room.when("it runs again", |snapshot| {
            is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == round
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_given_up_in_time() {
    let mut room = Room::with(|options| {
        options.start_timeout = Duration::from_millis(300);
        slowly(options);
    });
    let touched = room
        .settled(&[
            ("mute", "mute"),
            ("slow", "slow=60000"),
            ("flood", "flood-stdout=blob"),
        ])
        .await;
    for view in touched {
        assert!(
            matches!(&view.state, ServerState::BackingOff { reason, .. } if reason.contains("in time")),
            "{:?}",
            view.state
        );
    }
    room.settled(&[]).await;
    room.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_and_storms_hold_nobody_up() {
    let mut room = Room::new();
    room.settled(&[
        ("stderr", "flood-stderr"),
        ("storm", "storm bad-tool"),
        ("good", ""),
    ])
    .await;
    for name in ["stderr", "storm", "good"] {
        room.text(name, "echo", json!({"text": 1})).await;
    }
    let storm = room.registry.snapshot(THREAD).unwrap();
    let refused = &storm.server("storm").unwrap().refused;
    assert_eq!(
        (&*refused[0].tool, &*refused[0].reason),
        ("bad", "inputSchema is missing")
    );
    let logs = room.registry.logs(THREAD, &name_of("stderr")).unwrap();
    assert!(logs.iter().all(|line| line.chars().count() <= 400));
    room.registry.shutdown(Duration::from_secs(10)).await;
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_go_in_a_circle_end() {
    let mut room = Room::new();
    let touched = room.settled(&[("one", "circle")]).await;
    assert_eq!(touched[0].tools.len(), 2);
    assert!(touched[0].refused[0].reason.contains("circle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_results_over_the_limit_are_told_and_the_connection_lives() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let over = room.call("one", "huge", json!({"bytes": 5_000_000})).await;
    assert!(
        matches!(&over, Err(CallError::Malformed(why)) if why.contains("4 MiB")),
        "{over:?}"
    );
    assert_eq!(
        room.text("one", "huge", json!({"bytes": 3_000_000}))
            .await
            .len(),
        3_000_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers_are_told_as_what_they_are() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let weird = room.call("one", "weird", json!({})).await.unwrap();
    assert_eq!(
        weird.content,
        [
            Content::Text("a".to_owned()),
            Content::Unknown(json!({"type": "smell", "of": "roses"}))
        ]
    );
    assert_eq!(
        room.call("one", "error", json!({})).await,
        Err(CallError::Refused {
            code: -32602,
            message: "no such thing".to_owned()
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_a_call_without_an_answer_ends_at_its_deadline_and_the_server_is_told() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(1));
    room.settled(&[("one", "")]).await;
    let timed_out = room.call("one", "hang", json!({})).await;
    assert!(
        matches!(timed_out, Err(CallError::TimedOut(_))),
        "{timed_out:?}"
    );
    until_cancelled(&room, 1).await;
    // The server is as good as before.
    assert!(matches!(room.state("one"), ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_an_answer_that_comes_late_is_dropped() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(1));
    room.settled(&[("one", "")]).await;
    // It answers after the deadline, and nobody takes that for the answer to something else.
    let late = room.call("one", "sleep", json!({"ms": 1500})).await;
    assert!(matches!(late, Err(CallError::TimedOut(_))), "{late:?}");
    let until = Instant::now() + SOON;
    let mut word = 0;
    loop {
        word += 1;
        match room.call("one", "echo", json!({"text": word})).await {
            Ok(outcome) => {
                assert_eq!(outcome.content, [Content::Text(word.to_string())]);
                break;
            }
            // It still sleeps.
            Err(CallError::TimedOut(_)) => assert!(Instant::now() < until, "it sleeps for ever"),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(matches!(room.state("one"), ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_the_time_that_a_call_waited_for_its_turn_is_part_of_its_deadline() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_hours(1));
    room.settled(&[("one", "")]).await;
    let mut request = Room::request("one", "hang", json!({}));
    request.waited = Duration::from_hours(1);
    let timed_out = tokio::time::timeout(SOON, room.registry.call(request)).await;
    assert!(
        matches!(timed_out, Ok(Err(CallError::TimedOut(_)))),
        "{timed_out:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_cancelled_at_the_server() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let (progress, mut reports) = mpsc::channel(4);
    let mut request = Room::request("one", "hang", json!({"half-way": "yes"}));
    request.progress = Some(progress);
    let call = tokio::spawn({
        let registry = room.registry.clone();
        async move { registry.call(request).await }
    });
    let under_way = tokio::time::timeout(SOON, reports.recv()).await;
    assert!(under_way.is_ok_and(|report| report.is_some()));
    call.abort();
    until_cancelled(&room, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_server_is_switched_off_is_told_so() {
    for remove in [true, false] {
        let mut room = Room::new();
        room.settled(&[("one", "")]).await;
        let registry = room.registry.clone();
        let (progress, mut reports) = mpsc::channel(4);
        let mut request = Room::request("one", "deaf", json!({}));
        request.progress = Some(progress);
        let call = tokio::spawn(async move { registry.call(request).await });
        let under_way = tokio::time::timeout(SOON, reports.recv()).await;
        assert!(under_way.is_ok_and(|report| report.is_some()));
        if remove {
            room.apply(&[]).await;
        } else {
            let mut off = room.server("");
            off.disabled = true;
            room.apply(&[("one", off)]).await;
        }
        let ended = tokio::time::timeout(SOON, call).await.unwrap().unwrap();
        let expected = CallError::Stopped {
            server: "one".to_owned(),
        };
        assert_eq!(ended, Err(expected), "removed: {remove}");
    }
}

async fn until_cancelled(room: &Room, number: usize) {
    let until = Instant::now() + SOON;
    let told = [Content::Text(number.to_string())];
    // With a short deadline for calls this one may be late as well.
    while !matches!(room.call("one", "cancelled", json!({})).await, Ok(outcome) if outcome.content == told)
    {
        assert!(Instant::now() < until, "the server was not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_passed_on_and_extends_the_deadline_up_to_the_cap() {
    let mut room = Room::with(|options| {
        options.call_timeout = Duration::from_secs(10);
        options.call_cap = Duration::from_secs(15);
    });
    room.settled(&[("one", "")]).await;
    let (sender, mut reports) = mpsc::channel(16);
    let mut request = Room::request("one", "steps", json!({"number": 6, "ms": 2000}));
    request.progress = Some(sender);
    let outcome = room.registry.call(request).await.unwrap();
    assert_eq!(outcome.content, [Content::Text("done".to_owned())]);
    let mut done = Vec::new();
    while let Ok(report) = reports.try_recv() {
        assert_eq!((report.total, &*report.message), (Some(6.0), "on it"));
        done.push(report.done);
    }
    assert_eq!(done, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Progress for ever does not make a call last for ever.
    let endless = room
        .call("one", "steps", json!({"number": 100, "ms": 1000}))
        .await;
    assert!(
        matches!(endless, Err(CallError::TimedOut(_))),
        "{endless:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_reading_is_ended_and_comes_back() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(10));
    room.settled(&[("one", "stubborn"), ("two", "")]).await;
    let big = json!({"text": "x".repeat(300_000)});
    let (sender, mut reports) = mpsc::channel(1);
    let mut request = Room::request("one", "deaf", json!({}));
    request.progress = Some(sender);
    let deaf = room.registry.call(request);
    let others = async {
        reports.recv().await.expect("a report that it is deaf now");
        futures::future::join_all((0..20).map(|_| room.call("one", "echo", big.clone()))).await
    };
    let (deaf, calls) = futures::future::join(deaf, others).await;
    assert!(deaf.is_err());
    assert!(calls.iter().all(Result::is_err));
    room.text("two", "echo", json!({})).await;
    room.when("it runs again", |snapshot| {
        is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == 1
    })
    .await;
    room.text("one", "echo", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tools_are_followed() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    room.text("one", "more", json!({})).await;
    let server = loop {
        if let Notice::ToolsChanged { server, .. } = room.notice().await {
            break server;
        }
    };
    assert!(server.tool("one__tool1").is_some());
    room.text("one", "tool1", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_swaps_without_a_gap_and_drains_the_old_one() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    let before = room.text("one", "pid", json!({})).await;
    let under_way = tokio::spawn({
        let registry = room.registry.clone();
        async move {
            registry
                .call(Room::request("one", "sleep", json!({"ms": 500})))
                .await
        }
    });
    tokio::task::yield_now().await;
    let servers = [("one", room.server("tools=2 slow=200"))];
    let revision = room.apply(&servers).await;
    // While the new one starts, the old tools are there.
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert!(snapshot.server("one").unwrap().tool("tool0").is_some());
    let touched = room.report(revision).await;
    assert!(touched[0].tool("tool1").is_some());
    assert_ne!(room.text("one", "pid", json!({})).await, before);
    let outcome = under_way.await.unwrap().unwrap();
    assert_eq!(outcome.content, [Content::Text("slept".to_owned())]);
    let until = Instant::now() + SOON;
    while room.processes().len() > 1 {
        assert!(Instant::now() < until, "the old one still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_while_a_start_is_under_way_are_reported_with_their_own_tools() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    for number in 2..12 {
        // The first edit is just coming up, or not yet, or since a moment, when the second one lands.
        let first = room.server(&format!("tools={} slow={}", number + 20, number * 4));
        room.apply(&[("one", first)]).await;
        tokio::time::sleep(Duration::from_millis(number * 5)).await;
        let touched = room.settled(&[("one", &format!("tools={number}"))]).await;
        let shown = touched[0].tools.iter();
        let numbered = shown.filter(|tool| tool.name.starts_with("tool")).count();
        assert_eq!(numbered as u64, number, "the tools of another edit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_fails_ends_the_old_one_and_says_why() {
    let mut room = Room::with(slowly);
    room.settled(&[("one", "")]).await;
    let touched = room.settled(&[("one", "exit=2")]).await;
    assert!(matches!(touched[0].state, ServerState::BackingOff { .. }));
    assert!(touched[0].tools.is_empty());
    room.gone().await;
    let touched = room.settled(&[("one", "tools=2")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_and_enabling_keeps_counts() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    room.text("one", "echo", json!({})).await;
    let mut off = room.server("");
    off.disabled = true;
    let servers = [("one", off)];
    room.apply(&servers).await;
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    let view = snapshot.server("one").unwrap();
    assert_eq!(view.state, ServerState::Disabled);
    assert_eq!((view.tools.len(), snapshot.names.len()), (0, 0));
    assert_eq!(view.stats.answered, 1);
    // At once back on: the old process does not hold it up, nor take the new one along.
    let touched = room.settled(&[("one", "")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
    room.text("one", "echo", json!({})).await;
    assert_eq!(
        room.registry.snapshot(THREAD).unwrap().servers[0]
            .stats
            .answered,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_server_sleeps_and_one_start_wakes_it_for_all() {
    let mut room = Room::with(|options| options.server_idle = Duration::from_millis(100));
    room.settled(&[("one", "tools=2")]).await;
    let snapshot = room
        .when("it sleeps", |snapshot| {
            snapshot.server("one").unwrap().state == ServerState::Asleep
        })
        .await;
    assert!(snapshot.names.contains_key("one__tool1"));
    room.gone().await;
    let texts =
        futures::future::join_all((0..8).map(|_| room.text("one", "one__pid", json!({})))).await;
    assert!(texts.iter().all(|pid| *pid == texts[0]), "{texts:?}");
    assert_eq!(
        room.registry.snapshot(THREAD).unwrap().servers[0]
            .stats
            .restarts,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_loaded_from_the_cache_without_a_process() {
    let cache: Arc<Cache> = Arc::default();
    let mut first = Room::with_cache(cache.clone(), |_| {});
    first.settled(&[("one", "tools=2 bad-tool")]).await;
    let tag = first.tag.clone();
    first.registry.shutdown(Duration::from_secs(10)).await;
    assert_eq!(cache.0.lock().unwrap().len(), 1);

    let mut second = Room::with_cache(cache, |_| {});
    second.tag = tag;
    let touched = second
        .settled(&[("one", "tools=2 bad-tool"), ("new", "")])
        .await;
    assert_eq!(touched[0].state, ServerState::Asleep);
    assert_eq!(touched[0].refused.len(), 1);
    assert!(matches!(touched[1].state, ServerState::Ready { .. }));
    assert_eq!(second.processes().len(), 1);
    // No process is started to find out that there is no such tool.
    assert!(matches!(
        second.call("one", "nothing", json!({})).await,
        Err(CallError::NoTool { .. })
    ));
    assert_eq!(second.text("one", "tool1", json!({})).await, "tool1");
    // An edit in the loaded thread starts at once.
    let touched = second.settled(&[("one", "tools=3"), ("new", "")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
    second.registry.shutdown(Duration::from_secs(10)).await;
    assert_eq!(second.cache.0.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_a_new_process() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let before = room.text("one", "pid", json!({})).await;
    let view = room
        .registry
        .restart(THREAD, &name_of("one"))
        .await
        .unwrap();
    assert!(matches!(view.state, ServerState::Ready { .. }));
    assert_ne!(room.text("one", "pid", json!({})).await, before);
    assert!(
        room.registry
            .restart(THREAD, &name_of("none"))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_thread_leaves_nothing() {
    let mut room = Room::new();
    room.settled(&[("one", "child=daemon"), ("two", "mute")][..1])
        .await;
    room.registry.unload(THREAD).await;
    assert!(room.registry.snapshot(THREAD).is_none());
    room.gone().await;
    let touched = room.settled(&[("one", "")]).await;
    assert_eq!(touched.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_is_reported_once_also_when_nothing_changed() {
    let mut room = Room::new();
    let servers = [("one", room.server("slow=200"))];
    let first = room.apply(&servers).await;
    let second = room.apply(&servers).await;
    let third = room.apply(&[]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        if let Notice::Settled { revision, .. } = room.notice().await {
            seen.push(revision);
        }
    }
    assert_eq!(seen.len(), 3);
    for revision in [first, second, third] {
        assert_eq!(seen.iter().filter(|other| **other == revision).count(), 1);
    }
    assert!(room.notices.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_registry_ends_everything() {
    let mut room = Room::new();
    room.settled(&[("one", "stubborn child=daemon")]).await;
    let Room { registry, tag, .. } = room;
    drop(registry);
    all_gone(&tag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_servers_start_side_by_side() {
    let mut room = Room::new();
    let names: Vec<_> = (0..50).map(|n| format!("s{n}")).collect();
    let servers: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "tools=10"))
        .collect();
    let touched = room.settled(&servers).await;
    assert!(
        touched
            .iter()
            .all(|view| matches!(view.state, ServerState::Ready { .. }))
    );
    assert_eq!(room.registry.snapshot(THREAD).unwrap().names.len(), 50 * 23);
    room.registry.shutdown(Duration::from_secs(10)).await;
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_stops_at_the_first_broken_stage() {
    let room = Room::with(|options| options.start_timeout = Duration::from_secs(10));
    let missing = StdioServer {
        command: "npx-that-is-not-there".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        network: NetworkGrant::Unsaid,
        disabled: false,
    };
    for (server, passed, broken) in [
        (missing, 0, Some("was not found")),
        (room.server("exit=3 say=hm"), 1, Some("exit code 3")),
        (room.server("mute"), 2, Some("in time")),
        (room.server("protocol=1999"), 3, Some("1999")),
        (
            room.server("bad-tool"),
            5,
            Some("`bad`: inputSchema is missing"),
        ),
        (room.server(""), 6, None),
    ] {
        let (sender, mut receiver) = mpsc::channel(16);
        let staged = room
            .registry
            .check(THREAD, &name_of("x"), &Definition::Local(server), sender)
            .await;
        let told = std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(told, staged.results);
        assert_eq!(staged.passed(), broken.is_none());
        let order = [
            Stage::Command,
            Stage::Process,
            Stage::Handshake,
            Stage::Protocol,
            Stage::ToolsList,
            Stage::Schemas,
        ];
        for (result, stage) in staged.results.iter().zip(order) {
            assert_eq!(result.stage, stage, "{:?}", staged.results);
        }
        assert_eq!(
            staged
                .results
                .iter()
                .filter(|result| result.outcome.is_ok())
                .count(),
            passed,
            "{:?}",
            staged.results
        );
        if let Some(part) = broken {
            let last = staged.results.last().unwrap().outcome.as_ref().unwrap_err();
            assert!(
                last.what.contains(part) && !last.advice.is_empty(),
                "{last:?}"
            );
        }
    }
    room.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_entries_are_shown_and_not_served() {
    let mut room = Room::new();
    let remote = RemoteServer {
        transport: RemoteTransport::Http,
        url: "https://example.com/mcp".to_owned(),
        headers: Vec::new(),
        auth: RemoteAuth::None,
        timeout_ms: None,
        disabled: false,
    };
    let config = ThreadConfig {
        local: vec![(name_of("one"), room.server(""))],
        remote: vec![(name_of("far"), remote)],
        ..ThreadConfig::default()
    };
    let revision = Revision::of(Some(b"with a remote one"), None);
    room.registry
        .apply(THREAD, Arc::new(config), revision)
        .await;
    let touched = room.report(revision).await;
    assert_eq!(touched.len(), 2);
    assert_eq!(
        (touched[1].kind, &touched[1].state),
        (ServerKind::Remote, &ServerState::WaitingForApproval)
    );
    assert!(matches!(
        room.call("far", "x", json!({})).await,
        Err(CallError::NotRunning { .. })
    ));
    assert_eq!(
        room.registry.logs(THREAD, &name_of("far")),
        Ok(Vec::<String>::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_at_its_limit_fits_into_a_packet() {
    let mut room = Room::new();
    let mut server = room.server("");
    // The worst text for the packet: each byte takes six.
    server
        .args
        .extend((0..7).map(|_| "\u{1}".repeat(limits::VALUE_BYTES)));
    let servers = [("one", server)];
    let revision = room.apply(&servers).await;
    let touched = room.report(revision).await;
    assert!(
        matches!(touched[0].state, ServerState::Ready { .. }),
        "{:?}",
        touched[0].state
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_come_and_go_quickly_leave_nothing() {
    let mut room = Room::new();
    for round in 0..30 {
        let words = format!("tools={round} child=plain");
        let servers = [("one", room.server(&words)), ("two", room.server("exit=1"))];
        room.apply(&servers[..=round % 2]).await;
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    room.when("the last one runs", |snapshot| {
        snapshot
            .server("one")
            .is_some_and(|one| one.tool("tool28").is_some() && is_ready(snapshot, "one"))
    })
    .await;
    let until = Instant::now() + SOON;
    while room.processes().len() > 2 {
        assert!(Instant::now() < until, "too many: {:?}", room.processes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    room.registry.unload(THREAD).await;
    room.gone().await;
}
