//! A server that is not up: why, what is done about it, and when it is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::connection::{Backing, Connection};
use super::super::handle::{Order, Why};
use super::super::remote::{self, RemoteOptions};
use super::super::text::sentence;
use super::super::thread::Change;
use super::super::trouble::{Mend, Trouble};
use super::super::{LastEnd, Notice, ServerState, ServerView, Stage};
use super::{Server, Step, next_order, sleep_until};
use crate::config::Definition;

/// A remote server that was up this long starts its waits anew.
const REMOTE_GOOD: Duration = Duration::from_secs(30);

impl Server {
    pub(super) async fn ended_unexpectedly(&mut self, connection: &Arc<Connection>) -> Step {
        self.update(|change| {
            change.connect(None);
        });
        let mut trouble = Trouble::new(Stage::Process, "it ended", "", Mend::Again);
        let mut was_good = false;
        if let Some(running) = self.running.as_mut() {
            let up = running.ready.elapsed();
            match &mut running.backing {
                Backing::Process(process) => {
                    was_good = up >= self.context.options.good_after;
                    let flooding = connection.events.why();
                    let (ended, said) = if flooding.is_some() {
                        (None, self.handle.logs.telling())
                    } else {
                        process.last_words(&self.handle.logs).await
                    };
                    trouble.what = match (flooding, ended) {
                        (Some(why), _) => why.to_owned(),
                        (None, Some(ended)) => ended,
                        (None, None) => "it closed its output".to_owned(),
                    };
                    trouble.said = said;
                    trouble.mend = process.mend();
                    trouble.advice = process.advice(&self.handle.logs).await.unwrap_or_default();
                }
                Backing::Link(link) => {
                    was_good = up >= REMOTE_GOOD;
                    trouble = connection.events.trouble();
                    // What went on when it was noticed says more than the end itself.
                    if let Some(failure) =
                        link.failure().filter(|_| trouble.stage == Stage::Process)
                    {
                        trouble = failure.trouble(Stage::Http);
                    }
                }
            }
        }
        if was_good {
            self.crashes = 0;
        }
        let cause = self.cause(&trouble);
        if connection.is_local {
            self.handle.logs.note(sentence(&cause));
        }
        if self.handle.is_of(self.tenure) {
            self.handle.ended(Some(LastEnd {
                at: Instant::now(),
                reason: trouble.in_words(|text| self.handle.mask(text)),
            }));
        }
        // Before the end itself, so that a call which learns of it finds its cause.
        connection.events.explain(Some(trouble.clone()));
        connection.events.close();
        let why = Why::Ended(cause);
        self.retire(false, why);
        self.went_down(&trouble).await
    }

    /// What happened in words, for the audit: no line of its own, and nothing of what to do.
    pub(super) fn cause(&self, trouble: &Trouble) -> String {
        self.handle.mask(&trouble.what)
    }

    pub(super) async fn went_down(&mut self, trouble: &Trouble) -> Step {
        let cause = self.cause(trouble);
        tracing::info!(
            thread = %self.thread.id, server = %self.handle.name, cause,
            "a server went down"
        );
        let reason = trouble.in_words(|text| self.handle.mask(text));
        let at_rest = match &trouble.mend {
            Mend::Change => ServerState::Failed { reason },
            Mend::Login(challenge) => ServerState::NeedsLogin {
                reason: sentence(&self.handle.mask(&trouble.what)),
                challenge: challenge.clone(),
            },
            Mend::Approval => ServerState::WaitingForApproval,
            Mend::Restart => return self.park(reason, true),
            Mend::Again | Mend::Now | Mend::After(_) => {
                return self.try_again_later(reason, &trouble.mend).await;
            }
        };
        self.update(|change| {
            *change.state = at_rest;
            hide(change);
        });
        Step::Rest { asleep: false }
    }

    async fn try_again_later(&mut self, reason: String, mend: &Mend) -> Step {
        let wait = match &*self.definition {
            Definition::Local(_) => self
                .context
                .options
                .backoff
                .get(self.crashes as usize)
                .copied(),
            Definition::Remote(_) => Some(remote_wait(
                &self.context.options.remote,
                self.crashes,
                mend,
            )),
        };
        let Some(wait) = wait else {
            return self.park(reason, false);
        };
        self.crashes = self.crashes.saturating_add(1);
        if wait.is_zero() {
            self.restarting = true;
            return Step::Start;
        }
        let (until, attempt) = (Instant::now() + wait, self.crashes);
        let thread = self.thread.clone();
        let _turn = thread.ruling.lock().await;
        let tools = self.ruled(&self.listed_for, &self.listing).await;
        let refused = self.listing.refused.clone();
        self.update(|change| {
            *change.state = ServerState::BackingOff {
                reason,
                attempt,
                until,
            };
            *change.tools = tools;
            *change.refused = refused;
        });
        Step::BackOff { until }
    }

    fn park(&mut self, reason: String, over: bool) -> Step {
        let is_parked = self.update(|change| {
            *change.state = ServerState::Parked { over, reason };
            hide(change);
        });
        if is_parked && let Some(server) = self.view() {
            self.context.tell(Notice::Parked {
                thread: self.thread.id,
                server,
            });
        }
        Step::Rest { asleep: false }
    }

    pub(super) async fn back_off(&mut self, until: Instant) -> Step {
        loop {
            tokio::select! {
                order = next_order(&self.context, &mut self.orders) => {
                    if let Some(step) = self.obey(order) {
                        return step;
                    }
                }
                () = sleep_until(until) => {
                    self.restarting = true;
                    return Step::Start;
                }
            }
        }
    }

    pub(super) async fn rest(&mut self, asleep: bool) -> Step {
        loop {
            let order = next_order(&self.context, &mut self.orders).await;
            match order {
                Order::Wake if asleep => return Step::Start,
                // It is started on other terms when it is needed.
                Order::Relaunch if asleep => continue,
                _ => {}
            }
            if let Some(step) = self.obey(order) {
                return step;
            }
        }
    }

    pub(super) fn view(&self) -> Option<ServerView> {
        self.thread
            .glance()
            .server(self.handle.name.as_str())
            .cloned()
    }
}

/// The tools of a server that is down and stays so cannot be called.
fn hide(change: &mut Change<'_>) {
    *change.tools = Arc::default();
    *change.refused = Arc::default();
}

/// How long a remote server is left alone after it went down for the `crashes`th time in a row, from 0.
fn remote_wait(options: &RemoteOptions, crashes: u32, mend: &Mend) -> Duration {
    if *mend == Mend::Now && crashes == 0 {
        return Duration::ZERO;
    }
    let doubled = 2_u32.saturating_pow(crashes.min(16));
    let wait = options.backoff.saturating_mul(doubled);
    let wait = remote::jittered(wait.min(options.backoff_cap));
    match mend {
        Mend::After(asked) => wait.max(*asked),
        _ => wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_server_is_left_alone_ever_longer_and_never_for_good() {
        let asked = Duration::from_secs(40);
        for (crashes, mend, least, most) in [
            (0, Mend::Now, 0, 0),
            (1, Mend::Now, 1_600, 2_400),
            (0, Mend::Again, 800, 1_200),
            (3, Mend::Again, 6_400, 9_600),
            (8, Mend::Again, 204_800, 307_200),
            (9, Mend::Again, 240_000, 360_000),
            (u32::MAX, Mend::Again, 240_000, 360_000),
            (0, Mend::After(asked), 40_000, 40_000),
        ] {
            for _ in 0..50 {
                let wait = remote_wait(&RemoteOptions::default(), crashes, &mend).as_millis();
                assert!((least..=most).contains(&wait), "{crashes} {mend:?}: {wait}");
            }
        }
    }
}
