//! What all threads' workers share: one inbox a thread and, while there is work, one worker that empties it in order.

mod delivery;
mod own;
mod worker;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Door;
use super::live::Live;
use super::{DeskParts, handle};
use crate::chat::{Busy, Event, EventKind};
use crate::config::{CredentialId, Revision};
use crate::oauth::LoginNotice;
use crate::registry::Notice;
use crate::reload::ReloadNotice;
use crate::thread::ThreadId;

/// At most this many events of a thread wait; more are answered "busy".
const INBOX: usize = 32;

/// What all workers share.
pub(super) struct Hall {
    pub(super) parts: DeskParts,
    pub(super) live: Live,
    /// Who is let in.
    pub(super) door: Door,
    // A plain mutex: held for a look-up or an insert, never over an await.
    pub(super) inboxes: Mutex<HashMap<ThreadId, Inbox>>,
    pub(super) pending: watch::Sender<Pending>,
    /// What this process wrote and reload has not told of yet. A plain mutex: held for a look-up.
    pub(super) committed: Mutex<VecDeque<(ThreadId, Revision, Instant)>>,
    /// Logins that are being forgotten. A plain mutex: held for an insert.
    forgetting: Mutex<HashSet<(ThreadId, CredentialId)>>,
    /// No event is taken any more.
    pub(super) closing: AtomicBool,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// How much there is still to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pending {
    /// Queued, being handled, or running.
    pub(super) work: usize,
    /// Applied changes that have not been reported.
    pub(super) waits: usize,
}

pub(super) struct Inbox {
    // Unbounded for the notices, which are few and must not be lost; events are counted.
    work: mpsc::UnboundedSender<(Work, Counted)>,
    events: Arc<AtomicUsize>,
}

pub(super) enum Work {
    Event(Event),
    Reload(ReloadNotice),
    Registry(Notice),
    Login(LoginNotice),
    /// What came of something that ran in a task of its own.
    News(handle::News),
    /// Changes wait for their servers: their messages tell how far they are, and none waits for ever.
    Look,
}

impl Hall {
    pub(super) fn new(parts: DeskParts) -> Self {
        Self {
            door: Door::new(parts.announce.clone(), &parts.policy.now()),
            parts,
            live: Live::default(),
            inboxes: Mutex::default(),
            pending: watch::Sender::new(Pending::default()),
            committed: Mutex::default(),
            forgetting: Mutex::default(),
            closing: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn lock_inboxes(&self) -> MutexGuard<'_, HashMap<ThreadId, Inbox>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_inbox(self: &Arc<Self>, thread: ThreadId) -> Inbox {
        let (work, queue) = mpsc::unbounded_channel();
        let events = Arc::new(AtomicUsize::new(0));
        self.tasks
            .spawn(Arc::clone(self).work(thread, queue, Arc::clone(&events)));
        Inbox { work, events }
    }

    /// Puts work into a thread's inbox, with a worker behind it. Refused where too many events wait, or at the end.
    pub(super) fn post(self: &Arc<Self>, thread: ThreadId, work: Work) -> Result<(), Busy> {
        // Under one lock with the worker's farewell, so that nothing is put into an inbox that nobody reads, and an event
        // is counted where it is queued.
        let mut inboxes = self.lock_inboxes();
        if self.stop.is_cancelled() {
            return Err(Busy);
        }
        let inbox = inboxes
            .entry(thread)
            .or_insert_with(|| self.open_inbox(thread));
        if inbox.work.is_closed() {
            // Only a worker that panicked leaves a closed inbox behind.
            *inbox = self.open_inbox(thread);
        }
        if let Work::Event(event) = &work {
            let must_not_be_lost =
                matches!(event.kind, EventKind::Left | EventKind::Migrated { .. });
            if inbox.events.load(Ordering::Relaxed) >= INBOX && !must_not_be_lost {
                return Err(Busy);
            }
            inbox.events.fetch_add(1, Ordering::Relaxed);
        }
        inbox.work.send((work, self.counted())).map_err(|_| Busy)
    }

    /// Counts one more thing that `quiet` waits for, until it is dropped.
    pub(super) fn counted(self: &Arc<Self>) -> Counted {
        self.pending.send_modify(|pending| pending.work += 1);
        Counted(Arc::clone(self))
    }

    /// Whether nobody forgets this login yet; from now on somebody does.
    pub(super) fn begin_forgetting(&self, thread: ThreadId, id: &CredentialId) -> bool {
        let mut forgetting = self
            .forgetting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        forgetting.insert((thread, id.clone()))
    }

    /// It is forgotten.
    pub(super) fn end_forgetting(&self, thread: ThreadId, id: &CredentialId) {
        let mut forgetting = self
            .forgetting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        forgetting.remove(&(thread, id.clone()));
    }

    /// Runs something that takes long in a task of its own, which `quiet` waits for and `shutdown` ends.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let counted = self.counted();
        self.tasks.spawn(async move {
            // Dropped at the end of the work, also by a panic in it.
            let _counted = counted;
            work.await;
        });
    }
}

/// One thing that `quiet` waits for.
pub(super) struct Counted(Arc<Hall>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0
            .pending
            .send_modify(|pending| pending.work = pending.work.saturating_sub(1));
    }
}

/// Runs something that blocks off the async threads; a panic in it is passed on.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A random id for records, buttons and errors: 12 letters and digits, about 60 bits.
pub(super) fn new_id() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 12];
    let filled = getrandom::fill(&mut bytes);
    // Without randomness ids could be guessed; the panic ends this event only.
    assert!(filled.is_ok(), "the system gives no random bytes");
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}
