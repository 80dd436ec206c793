//! The ring in this process: store, watch, reload and registry wired as the bot wires them, on a data folder of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use switchboard::config::{ServerName, StdioServer};
use switchboard::net::egress::{Contact, Egress, Patience};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{HostPolicy, Rules};
use switchboard::registry::{
    NetworkBook, NoCache, NoKeys, Outside, Registry, RegistryOptions, ServerState, Snapshot,
    WaysOut,
};
use switchboard::reload::{Reload, ReloadNotice, ReloadOptions};
use switchboard::sandbox::{self, Sandbox};
use switchboard::store::Store;
use switchboard::thread::ThreadId;

/// No single step takes this long; past it the row is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// Time for what the last step left behind (a server's end, an old connection) to stop using a core. It is not measured
/// and nothing is concluded from it.
const PAUSE: Duration = Duration::from_millis(5);

/// A server of a file: its name and the line that starts it.
pub(crate) type Entry = (String, Vec<String>);

/// A running ring.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) reload: Reload,
    store: Store,
    reloads: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
}

impl World {
    /// Starts it with the bot's own defaults; the launcher is the bot's real binary.
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        Self::start_in(binary, Sandbox::off(), HostPolicy::open())
    }

    /// The same, with local servers confined so.
    pub(crate) fn start_in(binary: &Path, sandbox: Sandbox, policy: HostPolicy) -> Result<Self> {
        Self::start_over(
            binary,
            sandbox,
            policy,
            Net::new(NetOptions::default()),
            false,
        )
    }

    /// The same over this client, with the bot's proxy before it where local servers may have a way out.
    pub(crate) fn start_over(
        binary: &Path,
        sandbox: Sandbox,
        policy: HostPolicy,
        net: Net,
        with_proxy: bool,
    ) -> Result<Self> {
        let folder = crate::server::temporary_folder()?;
        for name in ["data", "homes", "staged"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let store = Store::open(&folder.path().join("data"))?;
        let options = RegistryOptions::new(binary.to_owned(), folder.path().join("homes"));
        let ways_out = if with_proxy && sandbox.takes_proxy() {
            store.put_in_run(sandbox::NODE_PROXY, sandbox::NODE_PROXY_TEXT)?;
            let run = store.run_folder()?;
            Some(WaysOut {
                egress: Egress::new(net.clone(), &run, Patience::default()),
                book: Arc::new(NoBook),
            })
        } else {
            None
        };
        let (registry, mut notices) = Registry::start(
            options,
            Outside {
                sandbox,
                policy: Rules::new(policy),
                ways_out,
                ..Outside::bare(Arc::new(NoCache), net, Arc::new(NoKeys))
            },
        );
        let (reload, mut changes) =
            Reload::start(store.clone(), registry.clone(), ReloadOptions::default())?;
        let reloads = Arc::new(AtomicUsize::new(0));
        let count = reloads.clone();
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                if let ReloadNotice::Changed { .. } = change {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            registry,
            reload,
            store,
            reloads,
            folder,
        })
    }

    /// Writes a file beside the data folder, ready to be renamed into place.
    pub(crate) fn stage(&self, thread: ThreadId, servers: &[Entry]) -> Result<Staged> {
        let to = self.store.thread_folder(thread)?.join("mcp.json");
        Staged::write(&self.folder.path().join("staged"), to, servers)
    }

    /// Puts the file there, loads the thread and waits until each server is ready.
    pub(crate) async fn load(&self, thread: ThreadId, servers: &[Entry]) -> Result<()> {
        self.stage(thread, servers)?.land()?;
        self.reload.touch(thread).await?;
        self.until_ready(thread, servers.len()).await?;
        Ok(())
    }

    pub(crate) async fn until_ready(
        &self,
        thread: ThreadId,
        count: usize,
    ) -> Result<Arc<Snapshot>> {
        self.until(thread, |snapshot| {
            let ready = |state: &ServerState| matches!(state, ServerState::Ready { .. });
            snapshot.servers.len() == count && snapshot.servers.iter().all(|s| ready(&s.state))
        })
        .await
    }

    /// Waits for a snapshot; past the deadline the error says where the servers stand.
    pub(crate) async fn until(
        &self,
        thread: ThreadId,
        wanted: impl FnMut(&Snapshot) -> bool + Send,
    ) -> Result<Arc<Snapshot>> {
        match tokio::time::timeout(DEADLINE, self.registry.wait(thread, wanted)).await {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err(anyhow!("the thread was let go")),
            Err(_) => {
                let snapshot = self.registry.snapshot(thread).context("not loaded")?;
                let unready = snapshot
                    .servers
                    .iter()
                    .find(|server| !matches!(server.state, ServerState::Ready { .. }));
                let state = unready.map(|server| (&server.name, &server.state));
                Err(anyhow!(
                    "not there within {DEADLINE:?}; first unready: {state:?}"
                ))
            }
        }
    }

    /// Where the packages of a thread are installed.
    pub(crate) fn packages(&self, thread: ThreadId) -> PathBuf {
        crate::packages::of(self.folder.path(), thread)
    }

    /// Where what happens is written down.
    pub(crate) fn ledger(&self) -> switchboard::store::Ledger {
        self.store.ledger(Arc::new(|| 0))
    }

    /// How many changed configurations the reload has announced.
    pub(crate) fn reloads(&self) -> usize {
        self.reloads.load(Ordering::Relaxed)
    }

    /// Stops everything; the data folder goes with it.
    pub(crate) async fn stop(self) {
        self.reload.shutdown().await;
        self.registry.shutdown(Duration::from_secs(10)).await;
    }
}

/// A file in waiting.
#[derive(Debug)]
pub(crate) struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// Writes it in `folder`, which is on the same disk as `to` and is not watched.
    pub(crate) fn write(folder: &Path, to: PathBuf, servers: &[Entry]) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let from = folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::write(&from, serde_json::to_vec_pretty(&document(servers))?)?;
        Ok(Self { from, to })
    }

    /// The atomic rename that begins every measurement.
    pub(crate) fn land(self) -> Result<()> {
        Ok(std::fs::rename(self.from, self.to)?)
    }
}

/// Lets the machine come to rest between two measurements.
pub(crate) async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// The `n`th thread.
pub(crate) fn thread(n: usize) -> ThreadId {
    ThreadId::telegram(i64::try_from(n).unwrap_or(i64::MAX), None)
}

fn document(servers: &[Entry]) -> Value {
    let entry = |command: &[String]| json!({ "type": "stdio", "command": command[0], "args": command[1..] });
    let servers: Map<String, Value> = servers
        .iter()
        .map(|(name, command)| (name.clone(), entry(command)))
        .collect();
    json!({ "mcpServers": servers })
}

/// Nobody gave their word, and what is reached is not kept.
#[derive(Debug)]
struct NoBook;

impl NetworkBook for NoBook {
    fn has_word(&self, _: ThreadId, _: &ServerName, _: &StdioServer) -> bool {
        false
    }

    fn contacted(&self, _: ThreadId, _: &ServerName, _: &StdioServer, _: Vec<(Contact, u64)>) {}
}
