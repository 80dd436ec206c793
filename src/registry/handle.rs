//! What is shared of one server: between its task, the thread's table, and the calls that go straight to its connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::connection::Connection;
use super::logs::Logs;
use super::stats::Meter;
use crate::config::{Masker, ServerName, StdioServer};

/// Lives as long as the server's entry in the table; its task may come and go.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) name: ServerName,
    pub(super) meter: Meter,
    pub(super) logs: Arc<Logs>,
    /// Where calls go; set and taken only under the table's lock.
    pub(super) connection: ArcSwapOption<Connection>,
    pub(super) masker: ArcSwap<Masker>,
    /// Which task owns the server now; what an older one says is passed over.
    pub(super) task: AtomicU64,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    born: Instant,
    /// Milliseconds from `born` to the last use.
    used: AtomicU64,
}

/// What a server's task is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Somebody wants to call it.
    Wake,
    /// It has another definition from now on.
    Redefine(StdioServer),
    /// Start it anew; answered when it has settled.
    Restart(oneshot::Sender<()>),
    /// End.
    Stop,
}

impl Handle {
    pub(super) fn new(name: ServerName, definition: &StdioServer) -> Arc<Self> {
        Arc::new(Self {
            name,
            meter: Meter::default(),
            logs: Arc::default(),
            connection: ArcSwapOption::empty(),
            masker: ArcSwap::from_pointee(masker(definition)),
            task: AtomicU64::new(0),
            orders: Mutex::default(),
            born: Instant::now(),
            used: AtomicU64::new(0),
        })
    }

    /// A fresh task takes over; the number that it says things under, and its orders.
    pub(super) fn take_over(
        &self,
        definition: &StdioServer,
    ) -> (u64, mpsc::UnboundedReceiver<Order>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.orders() = Some(sender);
        self.masker.store(Arc::new(masker(definition)));
        (self.task.fetch_add(1, Ordering::AcqRel) + 1, receiver)
    }

    /// Ends the task and hides the connection from new calls.
    pub(super) fn let_go(&self) {
        if let Some(orders) = self.orders().take() {
            let _ = orders.send(Order::Stop);
        }
        self.task.fetch_add(1, Ordering::AcqRel);
        self.connection.store(None);
    }

    /// Whether nobody runs the server any more: it was disabled, removed, or its thread unloaded.
    pub(super) fn is_let_go(&self) -> bool {
        self.orders().is_none()
    }

    /// Whether there was a task to tell.
    pub(super) fn order(&self, order: Order) -> bool {
        if let Order::Redefine(definition) = &order {
            self.masker.store(Arc::new(masker(definition)));
        }
        self.orders()
            .as_ref()
            .is_some_and(|orders| orders.send(order).is_ok())
    }

    pub(super) fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
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
pub(super) fn masker(server: &StdioServer) -> Masker {
    let env: serde_json::Map<_, _> = server
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    Masker::of([&json!({"command": server.command, "args": server.args, "env": env})])
}
