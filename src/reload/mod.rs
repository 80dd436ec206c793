//! Disk → checked configuration → registry: the one way by which a change takes effect.
//!
//! Also owns which threads are loaded: a thread is loaded and watched when somebody speaks in it or calls a tool in it,
//! and let go when nobody has for an hour. Nothing else tells the registry what to run.
//!
//! One task a loaded thread owns that thread's state, so that a slow disk or a slow registry holds up nobody else; one
//! more task hands them what the watcher reports. A thread that is not loaded costs nothing at all. What the operator
//! offers is read by a task of its own, and each loaded thread puts it beside its own servers.

mod operator;
mod outbox;
mod pace;
mod policy;
mod reading;
mod saver;
mod slot;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AdminServers, ConfigError, FileKind, Files, Revision, ThreadConfig};
use crate::policy::HostPolicy;
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::thread::ThreadId;
use crate::watch::{Watch, WatchError, Watched, Written};
use operator::Operator;
use outbox::Outbox;
use slot::{Ask, Slot};

pub use policy::{Policing, PolicyNews};

/// The handle of the room. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reload {
    shared: Arc<Shared>,
}

/// A thread's configuration as it is on disk and as it runs. `Debug` leaves out the files, which may hold secrets.
#[derive(Clone)]
pub struct Loaded {
    /// The revision on disk.
    pub revision: Revision,
    /// The documents on disk if they are good, else the last good ones.
    pub files: Arc<Files>,
    /// What they mean, with what the operator offers; that changes without a new revision.
    pub config: Arc<ThreadConfig>,
    /// Set when the disk is broken and the last good configuration runs instead.
    pub broken: Option<Broken>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("revision", &self.revision)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// What is wrong on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which file, where one of the two is to blame alone.
    pub file: Option<FileKind>,
    /// Why it is no configuration; a file that cannot be read at all is told in words.
    pub why: BrokenWhy,
}

/// Why the disk's configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokenWhy {
    /// The text is no configuration.
    Config(ConfigError),
    /// The file cannot be read (rights, a symlink, an error of the disk), in words.
    Unreadable(String),
}

/// What reload tells the desk. `Debug` leaves out the files.
#[derive(Clone)]
pub enum ReloadNotice {
    /// The files were read, are good and were handed to the registry; its report follows. `before` is what ran before,
    /// so that a change from outside can be shown and recorded. On the first load of a thread it is `None`, unless the
    /// files are not what the newest entry of the history left ([`Store::is_recorded`]): then somebody wrote them while
    /// the thread was not loaded, and it is the last good configuration, where one was kept.
    Changed {
        /// Which thread.
        thread: ThreadId,
        /// The new state.
        now: Loaded,
        /// The documents before.
        before: Option<Arc<Files>>,
    },
    /// The files are broken; what ran still runs.
    Broken {
        /// Which thread.
        thread: ThreadId,
        /// The state, with [`Loaded::broken`] set.
        now: Loaded,
    },
}

impl std::fmt::Debug for ReloadNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, now) = match self {
            Self::Changed { now, .. } => ("Changed", now),
            Self::Broken { now, .. } => ("Broken", now),
        };
        f.debug_struct(name)
            .field("thread", &self.thread())
            .field("now", now)
            .finish_non_exhaustive()
    }
}

/// The settings of the reload room.
#[derive(Debug, Clone)]
pub struct ReloadOptions {
    /// A thread unused for this long is let go.
    pub thread_idle: Duration,
    /// At most this many folders are watched at once.
    pub watch_cap: usize,
    /// A file that does not parse is read again this long after, before it is called broken.
    pub second_look: Duration,
    /// Which of the operator's servers threads are offered.
    pub admin: AdminServers,
    /// The operator's policy, to be kept as its file says; `None` where it is no file's.
    pub policy: Option<Policing>,
}

impl Default for ReloadOptions {
    fn default() -> Self {
        Self {
            thread_idle: Duration::from_hours(1),
            watch_cap: 8192,
            second_look: Duration::from_millis(50),
            admin: AdminServers::None,
            policy: None,
        }
    }
}

impl Reload {
    /// Starts the room; call it within the runtime. Notices come through the receiver, in order for each thread; they
    /// never hold up a reload. Where nobody takes them for long, those of one thread are told as one.
    pub fn start(
        store: Store,
        registry: Registry,
        options: ReloadOptions,
    ) -> Result<(Self, mpsc::Receiver<ReloadNotice>), WatchError> {
        Self::start_with(store, Arc::new(registry), options)
    }

    fn start_with(
        store: Store,
        runs: Arc<dyn Runs>,
        options: ReloadOptions,
    ) -> Result<(Self, mpsc::Receiver<ReloadNotice>), WatchError> {
        let (watch, written) = Watch::start(options.watch_cap)?;
        let (notices, taken) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            store,
            runs,
            watch,
            operator: Operator::new(options.admin.clone()),
            policy_trouble: Mutex::default(),
            policy_look: tokio::sync::Mutex::default(),
            options,
            outbox: Outbox::default(),
            threads: Mutex::default(),
            epoch: Instant::now(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        // Before any thread is loaded, so that each has its servers at once.
        shared.operator.open(&shared.store, &shared.watch);
        let tasks = &shared.tasks;
        tasks.spawn(Arc::clone(&shared).deliver(written));
        tasks.spawn(Arc::clone(&shared).tell(notices));
        tasks.spawn(Arc::clone(&shared).oversee());
        Ok((Self { shared }, taken))
    }

    /// Marks the thread as used now: loads and watches it if it is not loaded, looks at its stamp where it is not
    /// watched, and returns its state once the registry has the newest files (not once servers are ready). A loaded,
    /// watched thread of which no write is reported costs no call of the system.
    pub async fn touch(&self, thread: ThreadId) -> Result<Loaded, StoreError> {
        let answer = {
            let mut threads = self.shared.threads();
            let slot = self.shared.slot(&mut threads, thread)?;
            slot.use_now(self.shared.epoch);
            if let Some(loaded) = slot.fresh() {
                return Ok(loaded);
            }
            let (answer, answered) = oneshot::channel();
            // The task ends only under the lock held here, so it takes the ask.
            let _ = slot.asks.send(Ask::Touch(answer));
            answered
        };
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Lets a thread go: its servers stop, its watch ends.
    pub async fn release(&self, thread: ThreadId) {
        self.shared.release(thread).await;
    }

    /// A loaded thread's files were written by this process: whoever asks next is answered by what they say now, also
    /// where the watcher has not reported it yet.
    pub fn expect(&self, thread: ThreadId) {
        if let Some(slot) = self.shared.threads().slots.get(&thread) {
            slot.expect_write();
        }
    }

    /// The policy's file was written by this process: it takes effect before this returns.
    pub async fn heed_policy(&self) {
        self.shared.look_at_policy().await;
    }

    /// Stops watching and drains what is under way. The registry keeps what it runs; it is shut down on its own.
    pub async fn shutdown(&self) {
        self.shared.threads().is_closed = true;
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.watch.stop();
    }
}

/// What this room needs of the registry.
#[async_trait]
trait Runs: Send + Sync + std::fmt::Debug {
    async fn apply(&self, thread: ThreadId, config: Arc<ThreadConfig>, revision: Revision);
    async fn unload(&self, thread: ThreadId);
    /// The operator's policy was `before` and is another one now.
    async fn judge_again(&self, before: Arc<HostPolicy>);
}

#[async_trait]
impl Runs for Registry {
    async fn apply(&self, thread: ThreadId, config: Arc<ThreadConfig>, revision: Revision) {
        Self::apply(self, thread, config, revision).await;
    }

    async fn unload(&self, thread: ThreadId) {
        Self::unload(self, thread).await;
    }

    async fn judge_again(&self, before: Arc<HostPolicy>) {
        Self::judge_again(self, before).await;
    }
}

#[derive(Debug)]
struct Shared {
    store: Store,
    runs: Arc<dyn Runs>,
    watch: Watch,
    operator: Operator,
    /// What is wrong with the policy's file, as it was told. A plain lock: held for a look at it.
    policy_trouble: Mutex<Option<String>>,
    /// Held while the policy is read and takes effect.
    policy_look: tokio::sync::Mutex<()>,
    options: ReloadOptions,
    outbox: Outbox,
    /// A plain lock: held for a look-up, and by a thread's task for its last look whether anybody asked meanwhile.
    threads: Mutex<Threads>,
    /// Times of use are counted from here, so that they fit an atomic number.
    epoch: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Threads {
    slots: HashMap<ThreadId, Arc<Slot>>,
    /// Nothing is loaded any more.
    is_closed: bool,
}

impl Shared {
    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's slot, with its task started where there is none.
    fn slot<'a>(
        self: &Arc<Self>,
        threads: &'a mut Threads,
        thread: ThreadId,
    ) -> Result<&'a Slot, StoreError> {
        if threads.is_closed {
            return Err(stopped());
        }
        let slot = threads
            .slots
            .entry(thread)
            .or_insert_with(|| self.begin(thread));
        // Only a task that panicked leaves a slot behind.
        if slot.asks.is_closed() {
            *slot = self.begin(thread);
        }
        Ok(slot)
    }

    fn begin(self: &Arc<Self>, thread: ThreadId) -> Arc<Slot> {
        let (asks, asked) = mpsc::unbounded_channel();
        let slot = Arc::new(Slot::new(asks));
        let task = thread::Thread::new(thread, Arc::clone(self), Arc::clone(&slot), asked);
        self.tasks.spawn(task.run());
        slot
    }

    async fn release(&self, thread: ThreadId) {
        let done = {
            let threads = self.threads();
            let Some(slot) = threads.slots.get(&thread) else {
                return;
            };
            let (done, is_done) = oneshot::channel();
            let _ = slot.asks.send(Ask::Release(done));
            is_done
        };
        // An error means that the task ended, and with it the thread.
        let _ = done.await;
    }

    /// Hands what the watcher reports to the thread's task. That task is woken on this worker, so this hop costs next to
    /// nothing.
    async fn deliver(self: Arc<Self>, mut written: Written) {
        loop {
            let whose = tokio::select! {
                whose = written.recv() => whose,
                () = self.stop.cancelled() => return,
            };
            match whose {
                Watched::Thread(thread) => {
                    if let Some(slot) = self.threads().slots.get(&thread) {
                        slot.tell_written();
                    }
                }
                Watched::Admin => self.operator.tell_written(),
            }
        }
    }

    async fn tell(self: Arc<Self>, notices: mpsc::Sender<ReloadNotice>) {
        loop {
            let notice = tokio::select! {
                notice = self.outbox.next() => notice,
                () = self.stop.cancelled() => break,
            };
            tokio::select! {
                sent = notices.send(notice) => if sent.is_err() { return },
                () = self.stop.cancelled() => break,
            }
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Io {
        path: "users".to_owned(),
        cause: std::io::Error::other("the bot is stopping"),
    }
}
