//! What all threads' workers share: one inbox a thread and, while there is work, one worker that empties it in order.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::Live;
use super::records::Records;
use super::{DeskParts, handle, notices};
use crate::chat::{Busy, Event, EventKind, FrontError, MessageId, View};
use crate::config::Revision;
use crate::registry::Notice;
use crate::reload::ReloadNotice;
use crate::thread::ThreadId;

/// At most this many events of a thread wait; more are answered "busy".
const INBOX: usize = 32;

/// How often open waits are looked at: a change whose servers take long tells how far they are.
const LOOK: Duration = Duration::from_millis(1500);

/// The front has this long for one message, which may wait for its turn in a busy chat; what takes longer has failed.
const FRONT: Duration = Duration::from_mins(2);

/// The front has this long for a small thing: an answer to a press, a question about somebody, a deletion.
const SMALL: Duration = Duration::from_secs(20);

/// Reload tells of a write long before this, or never.
const UNTOLD: Duration = Duration::from_secs(10);

/// So many changes of this process are told apart from those of others.
const COMMITTED: usize = 256;

/// A worker without work ends after this long; its records are on disk.
const WORKER_IDLE: Duration = Duration::from_secs(30);

/// What all workers share.
pub(super) struct Hall {
    pub(super) parts: DeskParts,
    pub(super) live: Live,
    // A plain mutex: held for a look-up or an insert, never over an await.
    pub(super) inboxes: Mutex<HashMap<ThreadId, Inbox>>,
    pub(super) pending: watch::Sender<Pending>,
    /// What this process wrote and reload has not told of yet. A plain mutex: held for a look-up.
    pub(super) committed: Mutex<VecDeque<(ThreadId, Revision, Instant)>>,
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
    /// Changes wait for their servers: their messages tell how far they are, and none waits for ever.
    Look,
}

impl Hall {
    pub(super) fn new(parts: DeskParts) -> Self {
        Self {
            parts,
            live: Live::default(),
            inboxes: Mutex::default(),
            pending: watch::Sender::new(Pending::default()),
            committed: Mutex::default(),
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

    /// Remembers that a revision is this process's own work, until reload tells of it.
    pub(super) fn committed(&self, thread: ThreadId, revision: Revision) {
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if committed.len() == COMMITTED {
            committed.pop_front();
        }
        committed.push_back((thread, revision, Instant::now()));
    }

    /// Whether what reload tells of is this process's own work; asked once for each notice. Own work before it was
    /// overtaken and is forgotten; so is what was never told of, since the same text can come back by another hand.
    pub(super) fn is_own(&self, thread: ThreadId, revision: Revision) -> bool {
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let own = committed
            .iter()
            .rposition(|(of, own, _)| *of == thread && *own == revision);
        let mut place = 0;
        committed.retain(|(of, _, since)| {
            let overtaken = own.is_some_and(|own| place <= own) || since.elapsed() > UNTOLD;
            place += 1;
            *of != thread || !overtaken
        });
        own.is_some()
    }

    /// Sends a message; a front that does not answer in time has failed.
    pub(super) async fn send(&self, thread: ThreadId, view: View) -> Result<MessageId, FrontError> {
        let sent = tokio::time::timeout(FRONT, self.parts.front.send(thread, view)).await;
        sent.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
    }

    /// Asks something small of the front, likewise.
    pub(super) async fn small<T>(
        &self,
        asked: impl Future<Output = Result<T, FrontError>>,
    ) -> Result<T, FrontError> {
        let answered = tokio::time::timeout(SMALL, asked).await;
        answered.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
    }

    /// Changes a message, likewise.
    pub(super) async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError> {
        let edited =
            tokio::time::timeout(FRONT, self.parts.front.edit(thread, message, view)).await;
        edited.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
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

    async fn work(
        self: Arc<Self>,
        thread: ThreadId,
        mut queue: mpsc::UnboundedReceiver<(Work, Counted)>,
        events: Arc<AtomicUsize>,
    ) {
        let mut records = self.read_records(thread).await;
        if !records.waits.is_empty() {
            // From before a restart: what came of them is told as far as it is known.
            self.handle_one(thread, Work::Look, &mut records).await;
        }
        loop {
            let patience = if records.open_waits() > 0 {
                LOOK
            } else {
                WORKER_IDLE
            };
            let (work, _counted) = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                work = queue.recv() => match work {
                    Some(work) => work,
                    None => return,
                },
                () = tokio::time::sleep(patience) => {
                    let mut inboxes = self.lock_inboxes();
                    if !queue.is_empty() {
                        continue;
                    }
                    if records.open_waits() == 0 {
                        inboxes.remove(&thread);
                        return;
                    }
                    (Work::Look, self.counted())
                }
            };
            let is_event = matches!(work, Work::Event(_));
            self.handle_one(thread, work, &mut records).await;
            if is_event {
                events.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Ends a live message: edits it, or sends a new one where it is gone; files follow in a message of their own.
    pub(super) async fn finish(
        &self,
        thread: ThreadId,
        message: Option<MessageId>,
        mut view: View,
    ) {
        let Some(message) = message else {
            if let Err(error) = self.send(thread, view).await {
                tracing::warn!(%thread, %error, "a result could not be delivered.");
            }
            return;
        };
        let attachments = std::mem::take(&mut view.attachments);
        let edited = self.edit(thread, message, view.clone()).await;
        let rest = match edited {
            Ok(()) => View {
                attachments,
                ..View::default()
            },
            Err(_) => View {
                attachments,
                ..view
            },
        };
        if (!rest.attachments.is_empty() || !rest.blocks.is_empty())
            && let Err(error) = self.send(thread, rest).await
        {
            tracing::warn!(%thread, %error, "a result could not be delivered.");
        }
    }

    async fn handle_one(self: &Arc<Self>, thread: ThreadId, work: Work, records: &mut Records) {
        let waits = records.open_waits();
        let before = records.clone();
        records.tidy((self.parts.clock)());
        let handled = AssertUnwindSafe(async {
            match work {
                Work::Event(event) => handle::event(self, event, records).await,
                Work::Reload(notice) => notices::reloaded(self, notice, records).await,
                Work::Registry(notice) => notices::reported(self, notice, records).await,
                Work::Look => notices::look(self, thread, records).await,
            }
        })
        .catch_unwind()
        .await;
        if handled.is_err() {
            let id = new_id();
            tracing::error!(%thread, error_id = %id, "handling an event panicked; the event is dropped.");
            let view = View::error(format!(
                "Something broke on my side (error {id}). Nothing was changed by it; please try again."
            ));
            let _ = self.send(thread, view).await;
        }
        if *records != before {
            self.write_records(thread, records).await;
        }
        self.count_waits(waits, records.open_waits());
    }

    /// An applied change that has not been reported yet keeps the desk from being quiet.
    fn count_waits(&self, before: usize, after: usize) {
        self.pending
            .send_modify(|pending| pending.waits = (pending.waits + after).saturating_sub(before));
    }

    pub(super) async fn read_records(&self, thread: ThreadId) -> Records {
        if self.parts.one_shot {
            return Records::default();
        }
        let store = self.parts.store.clone();
        let read = blocking(move || store.pending(thread)).await;
        let value = match read {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(%thread, %error, "pending proposals cannot be read and are forgotten.");
                None
            }
        };
        let mut records: Records = value
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default();
        records.tidy((self.parts.clock)());
        records
    }

    pub(super) async fn write_records(&self, thread: ThreadId, records: &Records) {
        if self.parts.one_shot {
            return;
        }
        let value = if records.is_empty() {
            None
        } else {
            serde_json::to_value(records).ok()
        };
        let store = self.parts.store.clone();
        if let Err(error) = blocking(move || store.save_pending(thread, value.as_ref())).await {
            tracing::error!(%thread, %error, "pending proposals cannot be kept; they will not survive a restart.");
        }
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
