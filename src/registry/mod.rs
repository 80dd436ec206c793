//! A thread's servers and their tools.
//!
//! One table a thread says what should run and what each server is doing; one task a server owns that server's life;
//! readers take an immutable [`Snapshot`] and let go. Calls go from the caller straight to the server's connection. Only
//! this room names rmcp, and only its `launch` starts processes.

mod allowed;
mod call;
mod check;
mod connection;
mod context;
mod declined;
mod handle;
mod hidden;
mod interpreter;
mod keys;
pub mod launch;
mod listing;
mod local;
mod logs;
mod names;
mod network;
mod notice;
mod options;
mod outside;
mod places;
mod remote;
mod result;
mod rules;
mod server;
mod snapshot;
mod stats;
mod text;
mod thread;
mod told;
mod tool;
mod transport;
mod trouble;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::config::{Definition, Revision, ServerName, StdioServer, ThreadConfig, definition_key};
use crate::policy::{Denied, HostPolicy, Ways};
use crate::sandbox::Sandbox;
use crate::thread::ThreadId;

use context::Context;
use handle::Order;
use listing::Listing;
use thread::{Cached, Thread};

pub use call::{CallError, CallOutcome, CallRequest, Content, Footing, Progress};
pub use check::{Broken, Stage, StageResult, Staged};
pub use keys::{Keys, NoKeys, NoToken};
pub use local::{NotPinned, Pinned};
pub use network::{NetworkBook, WaysOut};
pub use notice::Notice;
pub use options::RegistryOptions;
pub use outside::{NoCache, Outside, ToolCache};
pub use remote::{AuthWanted, ProbeAsk, Probed, RemoteOptions};
pub use rules::{NoRules, Ruling, ToolRules};
pub use snapshot::{
    Health, LastEnd, Refused, ServerKind, ServerState, ServerView, Snapshot, Stats,
};
pub use tool::{Schema, Tool};

#[cfg(fuzzing)]
pub use remote::{Told, events_of};

/// Notices that wait for the desk; more wait in the room.
const NOTICES: usize = 64;

/// The handle of the room. Cheap to clone. When the last one is dropped, everything that runs is ended.
#[derive(Debug, Clone)]
pub struct Registry {
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    context: Arc<Context>,
    /// A std lock: held for a map operation, never over an await.
    threads: RwLock<HashMap<ThreadId, Arc<Thread>>>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.context.closing.cancel();
        self.context.hurry.cancel();
    }
}

/// There is no such server in the thread, or the thread is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no server `{0}`")]
pub struct NoServer(pub String);

impl Registry {
    /// Starts the room; no process yet. Notices come through the receiver.
    pub fn start(options: RegistryOptions, outside: Outside) -> (Self, mpsc::Receiver<Notice>) {
        let (notices, mut told) = mpsc::unbounded_channel();
        let (sender, receiver) = mpsc::channel(NOTICES);
        let context = Arc::new(Context::new(options, outside, notices));
        // Ends with the room: the tasks' end of the channel goes with the context.
        tokio::spawn(async move {
            while let Some(notice) = told.recv().await {
                if sender.send(notice).await.is_err() {
                    return;
                }
            }
        });
        let room = Arc::new(Room {
            context,
            threads: RwLock::default(),
        });
        (Self { room }, receiver)
    }

    /// Makes a thread run this configuration: starts, stops and restarts only what differs. Returns when the removed
    /// servers' tools are gone from the snapshot; the rest follows and ends in [`Notice::Settled`]. Called by `reload` alone.
    ///
    /// When a thread is loaded, servers whose tools are in the cache sleep until they are called; a server that is added
    /// or changed in a loaded thread starts at once, so that the person who changed it sees whether it works.
    pub async fn apply(&self, thread: ThreadId, config: Arc<ThreadConfig>, revision: Revision) {
        let context = &self.room.context;
        if context.closing.is_cancelled() {
            return;
        }
        let loaded = self
            .threads_mut()
            .entry(thread)
            .or_insert_with(|| Thread::new(thread, context.clone()))
            .clone();
        let cached = if loaded.is_applied() {
            HashMap::new()
        } else {
            self.cached(thread, config.clone()).await
        };
        let cached = self.able(thread, &config, cached).await;
        loaded.apply(&config, revision, cached);
    }

    /// Without those that lack a secret: they are started at once and say which, before anybody needs them.
    async fn able(
        &self,
        thread: ThreadId,
        config: &ThreadConfig,
        mut cached: HashMap<ServerName, Cached>,
    ) -> HashMap<ServerName, Cached> {
        let keys = &self.room.context.outside.keys;
        for (name, definition) in config.own() {
            if !cached.contains_key(name) {
                continue;
            }
            for secret in definition.secret_names() {
                let value = match &definition {
                    Definition::Local(_) => keys.local_secret(thread, &secret).await,
                    Definition::Remote(server) => match url::Url::parse(&server.url) {
                        Ok(url) => keys.secret(thread, &secret, &url).await,
                        Err(_) => None,
                    },
                };
                if value.is_none() {
                    cached.remove(name);
                    break;
                }
            }
        }
        cached
    }

    /// Something was decided of a server's tools: says in a new snapshot what holds now.
    pub async fn rule_again(&self, thread: ThreadId, server: &ServerName) {
        if let Some(thread) = self.thread(thread) {
            thread.rule_again(server).await;
        }
    }

    /// The same for everything that is loaded: the operator changed which tools look risky.
    async fn rule_all_again(&self) {
        let threads: Vec<Arc<Thread>> = {
            let threads = self.room.threads.read();
            let threads = threads.unwrap_or_else(PoisonError::into_inner);
            threads.values().cloned().collect()
        };
        for thread in threads {
            for server in &thread.snapshot().servers {
                thread.rule_again(&server.name).await;
            }
        }
    }

    /// What the thread has now; `None` where it is not loaded.
    pub fn snapshot(&self, thread: ThreadId) -> Option<Arc<Snapshot>> {
        self.thread(thread).map(|thread| thread.snapshot())
    }

    /// Waits until the thread's snapshot satisfies `ready` and returns it; `None` where it is not loaded or is let go
    /// meanwhile. For tests, benches and `do`.
    pub async fn wait(
        &self,
        thread: ThreadId,
        mut ready: impl FnMut(&Snapshot) -> bool + Send,
    ) -> Option<Arc<Snapshot>> {
        let thread = self.thread(thread)?;
        let mut changed = thread.watch();
        loop {
            changed.borrow_and_update();
            let snapshot = thread.snapshot();
            if ready(&snapshot) {
                return Some(snapshot);
            }
            if thread.is_gone() || changed.changed().await.is_err() {
                return None;
            }
        }
    }

    /// What is known of a server before it is called; `None` where there is no such server.
    pub fn footing(&self, thread: ThreadId, server: &str) -> Option<Footing> {
        call::footing(&*self.thread(thread)?, server)
    }

    /// Calls a tool; `gate` alone does. Starts the server if it sleeps. Dropping the future cancels the call at the server.
    pub async fn call(&self, request: CallRequest) -> Result<CallOutcome, CallError> {
        match self.thread(request.thread) {
            Some(thread) => call::call(&thread, request).await,
            None => Err(CallError::NoServer(request.server)),
        }
    }

    /// Stops and starts a server, whatever its state (not a disabled one); returns once it has settled.
    pub async fn restart(
        &self,
        thread: ThreadId,
        server: &ServerName,
    ) -> Result<ServerView, NoServer> {
        let missing = || NoServer(server.as_str().to_owned());
        let thread = self.thread(thread).ok_or_else(missing)?;
        if let Some(handle) = thread.handle(server.as_str()) {
            let (reply, settled) = oneshot::channel();
            if handle.order(Order::Restart(reply)) {
                // The start's deadline bounds it; a server that is removed meanwhile drops the reply. What it settled as is
                // told, and not what it is by now: one that ended may be starting again already.
                if let Ok(Some(view)) = settled.await {
                    return Ok(view);
                }
            }
        }
        thread
            .snapshot()
            .server(server.as_str())
            .cloned()
            .ok_or_else(missing)
    }

    /// The newest lines of a server's stderr, or the requests to a remote one, oldest first, secrets masked; bounded to 200 lines of 400 characters.
    pub fn logs(&self, thread: ThreadId, server: &ServerName) -> Result<Vec<String>, NoServer> {
        let missing = || NoServer(server.as_str().to_owned());
        let thread = self.thread(thread).ok_or_else(missing)?;
        match thread.handle(server.as_str()) {
            Some(handle) => Ok(handle.logs.lines()),
            None => Err(missing()),
        }
    }

    /// Tries a definition in stages in a process of its own; each finished stage is sent as it ends. Stops at the first
    /// broken one.
    pub async fn check(
        &self,
        thread: ThreadId,
        name: &ServerName,
        server: &Definition,
        stages: mpsc::Sender<StageResult>,
    ) -> Staged {
        check::check(&self.room.context, thread, name, server, stages).await
    }

    /// Tries an address that nobody has connected yet, stage by stage; each finished stage is sent as it ends.
    pub async fn probe(
        &self,
        thread: ThreadId,
        ask: ProbeAsk,
        stages: mpsc::Sender<StageResult>,
    ) -> Probed {
        remote::probe(&self.room.context, thread, ask, stages).await
    }

    /// Works out the version of the package that a server runs, where it runs one; asks its registry where the line leaves
    /// it open, or names one that is not installed.
    pub async fn pin(
        &self,
        thread: ThreadId,
        server: &StdioServer,
    ) -> Result<Option<Pinned>, NotPinned> {
        local::pin(&self.room.context, thread, server).await
    }

    /// Whether a server may work in the folder that its entry names, as far as that is known before it starts. The error
    /// is what is wrong, a sentence.
    pub async fn may_work_in(&self, thread: ThreadId, server: &StdioServer) -> Result<(), String> {
        local::may_work_in(&self.room.context, thread, server).await
    }

    /// What to know of the paths that a server is given and its sandbox hides, a sentence that goes on from "is given";
    /// `None` where it hides none of them. Whether they are there is not told.
    pub async fn out_of_sight(&self, thread: ThreadId, server: &StdioServer) -> Option<String> {
        local::out_of_sight(&self.room.context, thread, server).await
    }

    /// What of the network local servers can be granted here and now.
    pub fn network_ways(&self, thread: ThreadId) -> Ways {
        self.room.context.network_ways(thread)
    }

    /// How local servers are confined.
    pub fn sandbox(&self) -> &Sandbox {
        &self.room.context.outside.sandbox
    }

    /// Whether the operator allows what a definition would run or reach, with a look at what its command is on this
    /// machine. It is judged again when it starts.
    pub async fn allows(&self, thread: ThreadId, definition: &Definition) -> Result<(), Denied> {
        allowed::wanted(&self.room.context, thread, definition).await
    }

    /// The operator's policy was `before` and is another one now: what it forbids stops, what it has launched in another
    /// way is launched anew, what it refused and allows now starts, and what is more than may run at once goes to sleep.
    /// Returns when each server was told.
    pub async fn judge_again(&self, before: Arc<HostPolicy>) {
        let threads: Vec<_> = self.threads_mut().values().cloned().collect();
        places::make_room(&self.room.context);
        for thread in threads {
            allowed::again(thread).await;
        }
        if before.risky_tools != self.room.context.outside.policy.now().risky_tools {
            self.rule_all_again().await;
        }
    }

    /// Stops all of a thread's servers and forgets it. Returns at once; the processes end in the background.
    #[expect(clippy::unused_async, reason = "part of the room's contract")]
    pub async fn unload(&self, thread: ThreadId) {
        let thread = self.threads_mut().remove(&thread);
        if let Some(thread) = thread {
            thread.unload();
        }
    }

    /// Stops everything within the deadline; returns the servers whose processes had to be killed.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<(ThreadId, ServerName)> {
        let context = &self.room.context;
        let until = tokio::time::Instant::now() + deadline;
        context.closing.cancel();
        let threads: Vec<_> = self
            .threads_mut()
            .drain()
            .map(|(_, thread)| thread)
            .collect();
        for thread in threads {
            thread.unload();
        }
        context.tasks.close();
        // The last part of the time is for those that do not listen.
        if tokio::time::timeout(deadline.mul_f32(0.7), context.tasks.wait())
            .await
            .is_err()
        {
            context.hurry.cancel();
            let _ = tokio::time::timeout(deadline.mul_f32(0.2), context.tasks.wait()).await;
        }
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if !context
            .end_launcher(left.max(Duration::from_millis(100)))
            .await
        {
            tracing::error!("the launcher is still ending its children");
        }
        let mut killed = std::mem::take(
            &mut *context
                .killed
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        killed.sort_unstable();
        killed.dedup();
        killed
    }

    fn thread(&self, thread: ThreadId) -> Option<Arc<Thread>> {
        self.room
            .threads
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&thread)
            .cloned()
    }

    fn threads_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ThreadId, Arc<Thread>>> {
        self.room
            .threads
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The tools that are kept for these definitions. Reads files, so not on a task's thread.
    async fn cached(
        &self,
        thread: ThreadId,
        config: Arc<ThreadConfig>,
    ) -> HashMap<ServerName, Cached> {
        let cache = self.room.context.outside.cache.clone();
        let rules = self.room.context.outside.rules.clone();
        let look = move || {
            config
                .all()
                .filter(|(_, definition)| !definition.is_disabled())
                .filter_map(|(name, definition)| {
                    let kept = cache.get(thread, name, &definition_key(&definition))?;
                    let masker = handle::masker(&definition);
                    let listing = Listing::from_json(name.as_str(), &masker, &kept)?;
                    let tools =
                        rules::ruled(rules.as_ref(), thread, name, &definition, &listing.tools);
                    Some((name.clone(), Cached { listing, tools }))
                })
                .collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}
