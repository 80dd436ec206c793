//! What a thread's task shares with those who ask it: enough to answer most of them without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::Loaded;
use crate::store::StoreError;

/// What a thread's task is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// For the newest state.
    Touch(oneshot::Sender<Result<Loaded, StoreError>>),
    /// To let the thread go.
    Release(oneshot::Sender<()>),
}

/// A thread that is loaded, or being loaded or let go.
#[derive(Debug)]
pub(super) struct Slot {
    /// Unbounded: each ask is somebody who waits, so there are no more than those.
    pub(super) asks: mpsc::UnboundedSender<Ask>,
    /// Wakes the task after a write; any number of writes before it looks are one.
    pub(super) wake: Notify,
    /// The writes that were reported, and of these the ones before the newest look. Counts and not a flag, so that a
    /// write reported during a look is not lost when it ends.
    told: AtomicU64,
    seen: AtomicU64,
    is_watched: AtomicBool,
    /// Milliseconds since the room's epoch.
    used: AtomicU64,
    current: ArcSwapOption<Loaded>,
}

impl Slot {
    pub(super) fn new(asks: mpsc::UnboundedSender<Ask>) -> Self {
        Self {
            asks,
            wake: Notify::new(),
            told: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            used: AtomicU64::new(0),
            current: ArcSwapOption::empty(),
        }
    }

    /// The state, if it is surely the newest.
    pub(super) fn fresh(&self) -> Option<Loaded> {
        if !self.is_watched() || self.is_behind() {
            return None;
        }
        self.current.load().as_deref().cloned()
    }

    /// A write was reported.
    pub(super) fn tell_written(&self) {
        self.told.fetch_add(1, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// A write will be reported: what is known is not the newest any more. The task is left to the report, and to who asks.
    pub(super) fn expect_write(&self) {
        self.told.fetch_add(1, Ordering::AcqRel);
    }

    /// The writes reported until now; taken before a look.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Whether a write was reported that no look has seen.
    pub(super) fn is_behind(&self) -> bool {
        self.told() != self.seen.load(Ordering::Acquire)
    }

    /// Publishes a state that has all writes up to `told`.
    pub(super) fn publish(&self, loaded: Option<Loaded>, told: u64) {
        self.current.store(loaded.map(Arc::new));
        self.seen.store(told, Ordering::Release);
    }

    /// Publishes a state of the same files.
    pub(super) fn replace(&self, loaded: Loaded) {
        self.current.store(Some(Arc::new(loaded)));
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    pub(super) fn set_watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::Release);
    }

    pub(super) fn use_now(&self, epoch: Instant) {
        let now = u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.fetch_max(now, Ordering::AcqRel);
    }

    pub(super) fn last_used(&self, epoch: Instant) -> Instant {
        epoch + Duration::from_millis(self.used.load(Ordering::Acquire))
    }
}
