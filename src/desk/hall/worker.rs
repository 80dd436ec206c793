//! A thread's worker: empties the thread's inbox in order, keeps its records on disk, and ends when there is no work.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;

use super::super::records::Records;
use super::super::{handle, keeping, notices};
use super::{Counted, Hall, Work, blocking, new_id};
use crate::chat::View;
use crate::thread::ThreadId;

/// How often open waits are looked at: a change whose servers take long tells how far they are.
const LOOK: Duration = Duration::from_millis(1500);

/// A worker without work ends after this long; its records are on disk.
const WORKER_IDLE: Duration = Duration::from_secs(30);

impl Hall {
    pub(super) async fn work(
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
                () = self.stop.cancelled() => {
                    if self.parts.one_shot && records.holds_any() {
                        // No record of it outlives this process, so nobody else would forget it.
                        let gone = std::mem::take(&mut records);
                        records.let_go_since(&gone);
                        keeping::sweep(&self, thread, &mut records).await;
                    }
                    return;
                }
                work = queue.recv() => match work {
                    Some(work) => work,
                    None => return,
                },
                () = tokio::time::sleep(patience) => {
                    let mut inboxes = self.lock_inboxes();
                    if !queue.is_empty() {
                        continue;
                    }
                    // While a secret waits for a decision somebody must see the time run out.
                    let timed = records.holds_any() || !records.later.is_empty();
                    if records.open_waits() == 0 && !timed {
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

    async fn handle_one(self: &Arc<Self>, thread: ThreadId, work: Work, records: &mut Records) {
        let waits = records.open_waits();
        let before = records.clone();
        records.tidy((self.parts.clock)());
        let handled = AssertUnwindSafe(async {
            match work {
                Work::Event(event) => handle::event(self, event, records).await,
                Work::Reload(notice) => notices::reloaded(self, notice, records).await,
                Work::Registry(notice) => notices::reported(self, notice, records).await,
                Work::Login(notice) => handle::login_news(self, notice, records).await,
                Work::News(news) => handle::news(self, thread, news, records).await,
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
        records.let_go_since(&before);
        // A removed server's session ends with its token still good: so not before its change was reported.
        if !records.forget.is_empty() && records.open_waits() == 0 {
            keeping::sweep(self, thread, records).await;
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

    pub(in crate::desk) async fn read_records(&self, thread: ThreadId) -> Records {
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
        let before = records.clone();
        records.tidy((self.parts.clock)());
        records.let_go_since(&before);
        records
    }

    pub(in crate::desk) async fn write_records(&self, thread: ThreadId, records: &Records) {
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
