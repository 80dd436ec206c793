//! The registry against real processes: servers that behave, and servers that do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests, and their helpers beside them"
)]

mod calls;
mod changes;
mod processes;
mod starts;

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

/// Time enough to look at a server that backs off.
fn slowly(options: &mut RegistryOptions) {
    options.backoff = vec![Duration::from_hours(1)];
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
        let last = staged.results.last().unwrap();
        assert_eq!(last.outcome.is_ok(), broken.is_none());
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
