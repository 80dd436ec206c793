//! What is shared of one server: between its task, the thread's table, and the calls that go straight to its connection.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::connection::Connection;
use super::logs::Logs;
use super::stats::Meter;
use super::{LastEnd, ServerView};
use crate::config::{Definition, Masker, RemoteServer, ServerName, StdioServer};
use crate::policy::{HostPolicy, Rules};

/// Which definition a task speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edition(u64);

/// By what right a task speaks of its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenure {
    task: u64,
    /// The newest definition that it was told.
    pub(super) edition: Edition,
}

/// Lives as long as the server's entry in the table; its task may come and go.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) name: ServerName,
    /// The operator offers it.
    pub(super) is_admin: bool,
    pub(super) meter: Meter,
    pub(super) logs: Arc<Logs>,
    /// Where calls go; set and taken only under the table's lock.
    pub(super) connection: ArcSwapOption<Connection>,
    pub(super) masker: ArcSwap<Masker>,
    /// Which task owns the server now; what an older one says is passed over.
    task: AtomicU64,
    /// Counts definitions; changed only under the table's lock.
    edition: AtomicU64,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    /// A std lock: held to look or to write.
    launches: Mutex<Launches>,
    last_end: ArcSwapOption<LastEnd>,
    /// Another server needs its place.
    sleepy: AtomicBool,
    born: Instant,
    /// Milliseconds from `born` to the last use.
    used: AtomicU64,
    /// Calls that wait for a connection.
    awaited: AtomicUsize,
}

/// What was started, and what it was judged by.
#[derive(Debug, Clone)]
pub(super) struct Launched {
    pub(super) definition: Arc<Definition>,
    pub(super) policy: Arc<HostPolicy>,
}

/// The launches of a server that a policy can have something to say about.
#[derive(Debug, Clone, Default)]
pub(super) struct Launches {
    /// Its newest start, whatever became of it; `None` where it was never started.
    pub(super) newest: Option<Launched>,
    /// What runs: the same, or what goes on while another definition opens.
    pub(super) running: Option<Launched>,
}

/// Somebody waits for the server's connection until this is dropped.
pub(super) struct Awaiting<'a>(&'a Handle);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a server's task is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Somebody wants to call it.
    Wake,
    /// It has another definition from now on.
    Redefine(Arc<Definition>, Edition),
    /// Start it anew; answered when it has settled.
    Restart(oneshot::Sender<Option<ServerView>>),
    /// The operator's policy has it launched in another way than it was, or not at all: at once, but one that sleeps
    /// goes on sleeping.
    Relaunch,
    /// End.
    Stop(Why),
}

/// Why what runs of a server ends, as the audit tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody had it started again.
    Asked,
    /// Its entry was changed.
    Changed,
    /// Its entry was switched off.
    SwitchedOff,
    /// Its entry is gone.
    Removed,
    /// Its entry has this name now.
    Renamed(ServerName),
    /// Its thread was let go: nobody used it, or it may not use the bot any more.
    LetGo,
    /// Nobody used it.
    Unused,
    /// As many run as may, and another one needs its place or fewer may.
    Place,
    /// The operator's policy has it launched in another way, or not at all.
    Policy,
    /// It ended, for this reason.
    Ended(String),
    /// The bot ends.
    Closing,
}

impl Why {
    /// In words, for the audit.
    pub(super) fn words(self) -> String {
        let words = match self {
            Self::Asked => "somebody had it started again",
            Self::Changed => "its entry was changed",
            Self::SwitchedOff => "it was switched off",
            Self::Removed => "it was removed",
            Self::Renamed(to) => return format!("it was renamed to {to}"),
            Self::LetGo => "the chat was let go",
            Self::Unused => "nobody used it",
            Self::Place => "no more servers may run at once, and it was unused the longest",
            Self::Policy => "the operator's policy changed",
            Self::Ended(reason) => return reason,
            Self::Closing => "the bot ended",
        };
        words.to_owned()
    }
}

impl Handle {
    pub(super) fn new(name: ServerName, definition: &Definition, is_admin: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            is_admin,
            meter: Meter::default(),
            logs: Arc::default(),
            connection: ArcSwapOption::empty(),
            masker: ArcSwap::from_pointee(masker(definition)),
            task: AtomicU64::new(0),
            edition: AtomicU64::new(0),
            orders: Mutex::default(),
            launches: Mutex::default(),
            last_end: ArcSwapOption::empty(),
            sleepy: AtomicBool::new(false),
            born: Instant::now(),
            used: AtomicU64::new(0),
            awaited: AtomicUsize::new(0),
        })
    }

    /// The secrets that it was given, as far as they are known: those of its connection, or of the last one it had.
    pub(super) fn known(&self) -> Arc<Masker> {
        match &*self.connection.load() {
            Some(connection) => connection.masker.load_full(),
            None => self.masker.load_full(),
        }
    }

    /// Whether that is what it knows now.
    pub(super) fn knows(&self, known: &Arc<Masker>) -> bool {
        match &*self.connection.load() {
            Some(connection) => Arc::ptr_eq(&connection.masker.load(), known),
            None => Arc::ptr_eq(&self.masker.load(), known),
        }
    }

    /// A fresh task takes over; the right by which it speaks, and its orders.
    pub(super) fn take_over(
        &self,
        definition: &Definition,
    ) -> (Tenure, mpsc::UnboundedReceiver<Order>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.orders() = Some(sender);
        self.ended(None);
        self.masker.store(Arc::new(masker(definition)));
        let tenure = Tenure {
            task: self.task.fetch_add(1, Ordering::AcqRel) + 1,
            edition: Edition(self.edition.load(Ordering::Acquire)),
        };
        (tenure, receiver)
    }

    /// Whether the server is this task's now.
    pub(super) fn is_of(&self, tenure: Tenure) -> bool {
        self.task.load(Ordering::Acquire) == tenure.task
    }

    /// Whether a task speaks of the newest definition; else it was told of another one and has not heard it yet.
    pub(super) fn is_of_edition(&self, tenure: Tenure) -> bool {
        Edition(self.edition.load(Ordering::Acquire)) == tenure.edition
    }

    /// The server has another definition from now on. Whether there was a task to tell.
    pub(super) fn redefine(&self, definition: &Definition) -> bool {
        self.masker.store(Arc::new(masker(definition)));
        let edition = Edition(self.edition.fetch_add(1, Ordering::AcqRel) + 1);
        self.order(Order::Redefine(Arc::new(definition.clone()), edition))
    }

    /// Ends the task and hides the connection from new calls.
    pub(super) fn let_go(&self, why: Why) {
        if let Some(orders) = self.orders().take() {
            let _ = orders.send(Order::Stop(why));
        }
        self.task.fetch_add(1, Ordering::AcqRel);
        self.connection.store(None);
        self.launches_now().running = None;
    }

    /// Whether nobody runs the server any more: it was disabled, removed, or its thread unloaded.
    pub(super) fn is_let_go(&self) -> bool {
        self.orders().is_none()
    }

    /// Whether there was a task to tell.
    pub(super) fn order(&self, order: Order) -> bool {
        self.orders()
            .as_ref()
            .is_some_and(|orders| orders.send(order).is_ok())
    }

    /// The policy that a start goes by from here to its end. Read and written down in one, so that whoever puts a newer one
    /// in force and looks here afterwards finds either that one or the one to compare it with.
    pub(super) fn judged_by(&self, definition: &Arc<Definition>, rules: &Rules) -> Arc<HostPolicy> {
        let mut launches = self.launches_now();
        let policy = rules.now();
        launches.newest = Some(Launched {
            definition: definition.clone(),
            policy: policy.clone(),
        });
        policy
    }

    /// The newest start came up, if it is that task's: it is what runs from here on.
    pub(super) fn came_up(&self, tenure: Tenure) {
        let mut launches = self.launches_now();
        if self.is_of(tenure) {
            let newest = launches.newest.clone();
            launches.running = newest;
        }
    }

    /// Nothing runs any more, as that task says.
    pub(super) fn went_down(&self, tenure: Tenure) {
        let mut launches = self.launches_now();
        if self.is_of(tenure) {
            launches.running = None;
        }
    }

    pub(super) fn launches(&self) -> Launches {
        self.launches_now().clone()
    }

    fn launches_now(&self) -> std::sync::MutexGuard<'_, Launches> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It ended although nobody asked for that; `None` where what happened before does not count any more.
    pub(super) fn ended(&self, end: Option<LastEnd>) {
        self.last_end.store(end.map(Arc::new));
    }

    pub(super) fn last_end(&self) -> Option<Arc<LastEnd>> {
        self.last_end.load_full()
    }

    /// Has it go to sleep, where nobody uses it.
    pub(super) fn ask_to_sleep(&self) {
        self.sleepy.store(true, Ordering::Release);
        // It looks up at any order, and this one asks for nothing.
        self.order(Order::Wake);
    }

    /// Whether it was asked to; once.
    pub(super) fn is_sleepy(&self) -> bool {
        self.sleepy.swap(false, Ordering::AcqRel)
    }

    pub(super) fn touch(&self, now: Instant) {
        let now = now.saturating_duration_since(self.born).as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
    }

    /// Keeps the server from falling asleep before whoever woke it had a look at it.
    pub(super) fn awaiting(&self) -> Awaiting<'_> {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Awaiting(self)
    }

    /// Whether a call waits for a connection.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire) > 0
    }

    /// How long nobody has used it.
    pub(super) fn unused_for(&self) -> Duration {
        self.born
            .elapsed()
            .saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    pub(super) fn mask(&self, text: &str) -> String {
        self.masker.load().mask(text)
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A masker for a definition's own secrets.
pub(super) fn masker(definition: &Definition) -> Masker {
    match definition {
        Definition::Local(server) => local_masker(server),
        Definition::Remote(server) => remote_masker(server),
    }
}

/// For a server that runs here.
pub(super) fn local_masker(server: &StdioServer) -> Masker {
    let env = pairs(&server.env);
    Masker::of([&json!({"command": server.command, "args": server.args, "env": env})])
}

/// For a remote one: what stands in the file itself. What its placeholders stand for is known to its connection.
fn remote_masker(server: &RemoteServer) -> Masker {
    // As an environment and not as headers: the value of an ordinary header is an ordinary word in an answer.
    Masker::of([&json!({"url": server.url, "env": pairs(&server.headers)})])
}

fn pairs(pairs: &[(String, String)]) -> serde_json::Map<String, serde_json::Value> {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect()
}
