//! What a connection tells besides answers, and the calls under way on it: their reports, their deadlines, their end.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use rmcp::model::{NumberOrString, ProgressNotificationParam, ProgressToken, ServerNotification};
use tokio::sync::{Notify, SetOnce, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::text::{clip, plain_line};
use super::super::trouble::{Mend, Trouble};
use super::super::{Progress, Stage};
use crate::config::Masker;

/// What the transport sees besides answers.
#[derive(Debug, Default)]
pub(in crate::registry) struct Events {
    /// The server says that its tools changed.
    pub(in crate::registry) tools_changed: Notify,
    /// Cancelled when nothing more will come.
    pub(in crate::registry) ended: CancellationToken,
    /// A remote server may be gone.
    pub(in crate::registry) suspected: Notify,
    why: OnceLock<&'static str>,
    trouble: OnceLock<Trouble>,
    /// What was found out about its end; `None` where there is nothing to tell.
    found: SetOnce<Option<Trouble>>,
    /// The first line that was not JSON.
    stray: SetOnce<String>,
    calls: Mutex<Calls>,
}

/// One call under way: where its reports go, and how it learns that no answer is to be waited for.
#[derive(Debug)]
pub(in crate::registry) struct Slot {
    progress: Option<(mpsc::Sender<Progress>, Arc<Masker>)>,
    reports: AtomicU64,
    /// A [`Verdict`], or 0 while the answer may still come.
    verdict: AtomicU8,
    waiter: AtomicWaker,
}

/// Why a call is not waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::registry) enum Verdict {
    /// Its time is up.
    Late = 1,
    /// The connection ended.
    Ended = 2,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct Limits {
    /// Without a report; the same for every call of a connection.
    pub(in crate::registry) timeout: Duration,
    /// With reports, from the beginning.
    pub(in crate::registry) cap: Duration,
}

#[derive(Debug, Default)]
struct Calls {
    under_way: HashMap<NumberOrString, UnderWay>,
    /// Reports that overtook the registration of their call; the newest few.
    early: VecDeque<ProgressNotificationParam>,
    /// A task looks at the deadlines.
    watched: bool,
    ended: bool,
}

#[derive(Debug)]
struct UnderWay {
    slot: Arc<Slot>,
    timeout: Duration,
    deadline: Instant,
    longest: Instant,
    /// The reports that the deadline takes into account.
    reports: u64,
}

const EARLY_REPORTS: usize = 32;
const PROGRESS_CHARS: usize = 500;

impl Events {
    /// Why the connection ended, where it was for a reason of ours.
    pub(in crate::registry) fn why(&self) -> Option<&'static str> {
        self.why.get().copied()
    }

    /// Why the connection ended, where that is known; the first reason stays.
    pub(in crate::registry) fn trouble(&self) -> Trouble {
        self.trouble.get().cloned().unwrap_or_else(|| {
            let why = self.why().unwrap_or("its connection closed");
            Trouble::new(Stage::Process, why, "", Mend::Again)
        })
    }

    /// The connection is of no use any more.
    pub(in crate::registry) fn fail(&self, trouble: Trouble) {
        let _ = self.trouble.set(trouble);
        self.end(None);
    }

    /// Tells the calls that the end cut off what was found out about it; the first word stays.
    pub(in crate::registry) fn explain(&self, found: Option<Trouble>) {
        let _ = self.found.set(found);
    }

    /// What was found out about the end, waited for at most this long.
    pub(in crate::registry) async fn explained(&self, limit: Duration) -> Option<Trouble> {
        tokio::time::timeout(limit, self.found.wait())
            .await
            .ok()?
            .clone()
    }

    /// The first line on its output that was no message at all; not masked.
    pub(in crate::registry) fn stray(&self) -> Option<&str> {
        self.stray.get().map(String::as_str)
    }

    /// The same, once there is such a line.
    pub(in crate::registry) async fn strayed(&self) -> &str {
        self.stray.wait().await
    }

    /// Follows a call that began at `began`: takes the reports for its token from now on, and the ones that came before, and
    /// gives it up when its time is over or the connection is.
    ///
    /// A call costs no timer: one task for all of them sleeps until the first deadline and is there until it finds no call.
    /// Since all have the same timeout, a later call is never due before the task looks.
    pub(in crate::registry) fn follow(
        self: &Arc<Self>,
        token: &ProgressToken,
        progress: Option<(mpsc::Sender<Progress>, Arc<Masker>)>,
        began: Instant,
        limits: Limits,
    ) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            progress,
            reports: AtomicU64::new(0),
            verdict: AtomicU8::new(0),
            waiter: AtomicWaker::new(),
        });
        let longest = began + limits.cap;
        let call = UnderWay {
            slot: slot.clone(),
            timeout: limits.timeout,
            deadline: (began + limits.timeout).min(longest),
            longest,
            reports: 0,
        };
        let mut calls = self.calls();
        if !calls.early.is_empty() {
            for report in &calls.early {
                if report.progress_token == *token {
                    slot.report(report);
                }
            }
            calls.early.retain(|report| report.progress_token != *token);
        }
        if calls.ended {
            slot.settle(Verdict::Ended);
        }
        if !std::mem::replace(&mut calls.watched, true) {
            tokio::spawn(self.clone().watch(call.deadline));
        }
        calls.under_way.insert(token.0.clone(), call);
        slot
    }

    /// Forgets a call.
    pub(in crate::registry) fn unfollow(&self, token: &ProgressToken) {
        self.calls().under_way.remove(&token.0);
    }

    /// Nothing more will come: whoever waits for an answer is told.
    pub(in crate::registry) fn close(&self) {
        self.end(None);
    }

    /// The server does not read what it is sent.
    pub(in crate::registry) fn stuck(&self) {
        self.end(Some("it stopped reading its input"));
    }

    /// Remembers the first line that was no message.
    pub(super) fn astray(&self, line: &[u8]) {
        if !self.stray.initialized() {
            let _ = self.stray.set(plain_line(line));
        }
    }

    pub(super) fn notice(&self, notification: ServerNotification) {
        match notification {
            ServerNotification::ToolListChangedNotification(_) => self.tools_changed.notify_one(),
            ServerNotification::ProgressNotification(notification) => {
                let report = notification.params;
                let mut calls = self.calls();
                if let Some(call) = calls.under_way.get(&report.progress_token.0) {
                    call.slot.report(&report);
                } else {
                    if calls.early.len() == EARLY_REPORTS {
                        calls.early.pop_front();
                    }
                    calls.early.push_back(report);
                }
            }
            // Log messages and resource changes concern nobody here.
            _ => {}
        }
    }

    pub(super) fn end(&self, why: Option<&'static str>) {
        if let Some(why) = why {
            let _ = self.why.set(why);
        }
        self.ended.cancel();
        let mut calls = self.calls();
        calls.ended = true;
        for call in calls.under_way.values() {
            call.slot.settle(Verdict::Ended);
        }
    }

    async fn watch(self: Arc<Self>, mut look_at: Instant) {
        loop {
            tokio::time::sleep_until(look_at).await;
            match self.look(Instant::now()) {
                Some(next) => look_at = next,
                None => return,
            }
        }
    }

    /// Gives up the calls whose time is over; when to look again, or `None` where there are no others.
    fn look(&self, now: Instant) -> Option<Instant> {
        let mut calls = self.calls();
        let mut next: Option<Instant> = None;
        for call in calls.under_way.values_mut() {
            if call.deadline <= now {
                let reports = call.slot.reports.load(Ordering::Relaxed);
                if reports == call.reports || call.deadline >= call.longest {
                    call.slot.settle(Verdict::Late);
                    continue;
                }
                call.reports = reports;
                call.deadline = (now + call.timeout).min(call.longest);
            }
            next = Some(next.map_or(call.deadline, |next| next.min(call.deadline)));
        }
        calls.watched = next.is_some();
        next
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Waits for the answer, or for the verdict that none is to be waited for.
    pub(in crate::registry) async fn answer<T>(
        &self,
        answer: &mut (impl Future<Output = T> + Unpin),
    ) -> Result<T, Verdict> {
        std::future::poll_fn(|context| self.poll_answer(answer, context)).await
    }

    fn poll_answer<T>(
        &self,
        answer: &mut (impl Future<Output = T> + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<T, Verdict>> {
        if let Poll::Ready(answer) = Pin::new(answer).poll(context) {
            return Poll::Ready(Ok(answer));
        }
        // Looked at after the waker is there, so that no verdict is missed.
        self.waiter.register(context.waker());
        match self.verdict.load(Ordering::Acquire) {
            0 => Poll::Pending,
            late if late == Verdict::Late as u8 => Poll::Ready(Err(Verdict::Late)),
            _ => Poll::Ready(Err(Verdict::Ended)),
        }
    }

    /// The first verdict stays.
    fn settle(&self, verdict: Verdict) {
        let _ =
            self.verdict
                .compare_exchange(0, verdict as u8, Ordering::AcqRel, Ordering::Relaxed);
        self.waiter.wake();
    }

    fn report(&self, report: &ProgressNotificationParam) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        if let Some((sender, masker)) = &self.progress {
            // What does not fit is dropped: the next report says more.
            let _ = sender.try_send(Progress {
                done: report.progress,
                total: report.total,
                message: clip(
                    &masker.mask_known(report.message.as_deref().unwrap_or("")),
                    PROGRESS_CHARS,
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests;
