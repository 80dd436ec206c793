//! The registry against remote servers: good ones of every kind, and a hostile one in all its ways.
//!
//! Nothing here measures time. That nothing spins is shown by counting what the server saw between two events of the test's
//! own making; that memory stays bounded, by how much of an endless answer the server could get rid of.

mod good;
mod login;
mod probe;
mod rough;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use switchboard::config::{
    CredentialId, RemoteAuth, RemoteServer, RemoteTransport, Revision, SecretName, ServerName,
    ThreadConfig,
};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::AddressRules;
use switchboard::registry::{
    CallError, CallOutcome, CallRequest, Content, Keys, NoCache, NoToken, Notice, Outside,
    Registry, RegistryOptions, ServerState, ServerView, Snapshot,
};
use switchboard::secret::Secret;
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;

use crate::support::hostile::{Far, Manners};

const THREAD: ThreadId = ThreadId::Local;
/// For what takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_mins(5);
/// The deadline of a start, for servers that never come to its end.
const START: Duration = Duration::from_secs(10);

/// A registry that may speak to 127.0.0.1 and no other private address.
struct Room {
    registry: Registry,
    notices: mpsc::Receiver<Notice>,
    keys: Arc<FakeKeys>,
    revision: u8,
}

/// What the store and the oauth room would say. Everything is agreed to, but for what is in `strange`.
#[derive(Debug, Default)]
struct FakeKeys(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    strange: HashSet<String>,
    secrets: HashMap<String, String>,
    token: Option<String>,
    /// What refused tokens are renewed to, in order.
    renewals: VecDeque<String>,
    refused: Vec<String>,
}

impl FakeKeys {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Keys for FakeKeys {
    async fn is_approved(&self, _: ThreadId, name: &ServerName, _: &RemoteServer) -> bool {
        !self.held().strange.contains(name.as_str())
    }

    async fn secret(&self, _: ThreadId, name: &SecretName, _: &url::Url) -> Option<Secret> {
        let secret = self.held().secrets.get(name.as_str()).cloned();
        secret.map(Secret::from)
    }

    async fn local_secret(&self, _: ThreadId, name: &SecretName) -> Option<Secret> {
        let secret = self.held().secrets.get(name.as_str()).cloned();
        secret.map(Secret::from)
    }

    async fn token(&self, _: ThreadId, _: &CredentialId, _: &url::Url) -> Result<Secret, NoToken> {
        let token = self.held().token.clone();
        token
            .map(Secret::from)
            .ok_or_else(|| NoToken::NeedsLogin("nobody logged in".to_owned()))
    }

    async fn refused(
        &self,
        _: ThreadId,
        _: &CredentialId,
        _: &url::Url,
        token: &Secret,
    ) -> Result<Secret, NoToken> {
        let mut held = self.held();
        // Somebody else was quicker.
        if let Some(newer) = held.token.clone().filter(|held| held != token.expose()) {
            return Ok(newer.into());
        }
        held.refused.push(token.expose().to_owned());
        held.token = held.renewals.pop_front();
        let renewed = held.token.clone().map(Secret::from);
        renewed.ok_or_else(|| NoToken::NeedsLogin("the login is over".to_owned()))
    }
}

impl Room {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut RegistryOptions)) -> Self {
        let mut options = RegistryOptions::new(
            env!("CARGO_BIN_EXE_switchboard").into(),
            std::env::temp_dir(),
        );
        // What is waited for again and again until it is so.
        options.remote.backoff = Duration::from_millis(100);
        options.remote.backoff_cap = Duration::from_secs(1);
        options.remote.suspect_after = Duration::from_millis(100);
        change(&mut options);
        let keys: Arc<FakeKeys> = Arc::default();
        let net = Net::new(NetOptions {
            rules: AddressRules {
                allow_http: true,
                allow: vec!["127.0.0.1/32".parse().unwrap()],
            },
            ..NetOptions::default()
        });
        let (registry, notices) = Registry::start(
            options,
            Outside::bare(Arc::new(NoCache), net, Arc::clone(&keys) as _),
        );
        Self {
            registry,
            notices,
            keys,
            revision: 0,
        }
    }

    async fn apply(&mut self, servers: &[(&str, RemoteServer)]) -> Revision {
        self.revision += 1;
        let revision = Revision::of(Some(&[self.revision]), None);
        let config = ThreadConfig {
            remote: servers
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

    /// Applies servers and waits until the revision is reported.
    async fn settled(&mut self, servers: &[(&str, RemoteServer)]) -> Vec<ServerView> {
        let wanted = self.apply(servers).await;
        loop {
            if let Notice::Settled { revision, .. } = self.notice().await
                && revision == wanted
            {
                return self.registry.snapshot(THREAD).unwrap().servers.clone();
            }
        }
    }

    /// Connects one server, which must be ready then.
    async fn ready(&mut self, far: &Far) {
        let touched = self.settled(&[("far", server(far))]).await;
        assert!(
            matches!(touched[0].state, ServerState::Ready { .. }),
            "{:?}",
            touched[0].state
        );
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

    async fn call(&self, server: &str, tool: &str, arguments: Value) -> Outcome {
        let call = self.registry.call(request(server, tool, arguments));
        tokio::time::timeout(SOON, call)
            .await
            .expect("an end in time")
    }

    async fn text(&self, server: &str, tool: &str, arguments: Value) -> String {
        text_of(self.call(server, tool, arguments).await)
    }

    async fn echoes(&self, server: &str) {
        assert_eq!(
            self.text(server, "echo", json!({"text": "hi"})).await,
            "hi",
            "{server}"
        );
    }

    fn view(&self, server: &str) -> ServerView {
        let snapshot = self.registry.snapshot(THREAD).unwrap();
        snapshot.server(server).unwrap().clone()
    }
}

type Outcome = Result<CallOutcome, CallError>;

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

fn text_of(outcome: Outcome) -> String {
    match &outcome.unwrap().content[..] {
        [Content::Text(text)] => text.clone(),
        other => panic!("not one text: {other:?}"),
    }
}

fn name_of(name: &str) -> ServerName {
    ServerName::new(name).unwrap()
}

/// The entry of a server, of the kind that it speaks now.
fn server(far: &Far) -> RemoteServer {
    RemoteServer {
        transport: if far.url().ends_with("/sse") {
            RemoteTransport::Sse
        } else {
            RemoteTransport::Http
        },
        url: far.url(),
        headers: Vec::new(),
        auth: RemoteAuth::None,
        timeout_ms: None,
        disabled: false,
    }
}

fn is_ready(snapshot: &Snapshot, server: &str) -> bool {
    snapshot
        .server(server)
        .is_some_and(|server| matches!(server.state, ServerState::Ready { .. }))
}

/// The rows of a table, all at once: none waits for the deadlines of another.
async fn side_by_side<T>(rows: impl IntoIterator<Item = T>, one: impl AsyncFn(T)) {
    futures::future::join_all(rows.into_iter().map(|row| one(row))).await;
}

async fn far(manners: Manners) -> Far {
    Far::start(manners).await
}
