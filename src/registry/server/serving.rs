//! A server that is up: until it is told something, ends, is not there any more, or is not needed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::service::ServiceError;

use super::super::ServerState;
use super::super::handle::{Order, Why};
use super::super::listing::{Listing, list_tools};
use super::health::Health;
use super::tools::{keep, tools_changed};
use super::{Server, Step, next_order, sleep_until};

/// `tools/list_changed` is followed this long after it came, and at most this often.
const CHANGED_SETTLES: Duration = Duration::from_millis(100);
const CHANGED_AGAIN: Duration = Duration::from_secs(1);
/// The deadline of listing the tools anew.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Who holds a connection that no call uses: its task twice, and the handle that calls are sent to.
const IDLE_HOLDERS: usize = 3;

type Listed = Result<Result<Listing, ServiceError>, tokio::time::error::Elapsed>;

impl Server {
    /// Until something happens to it.
    #[expect(clippy::too_many_lines, reason = "one select")]
    pub(super) async fn serve(&mut self) -> Step {
        let Some(running) = self.running.as_mut() else {
            return Step::Start;
        };
        let connection = running.connection.clone();
        let mut listing: Option<Pin<Box<dyn Future<Output = Listed> + Send>>> = None;
        let mut list_at: Option<Instant> = None;
        let mut listed = running.ready.checked_sub(CHANGED_AGAIN);
        let idle = self.context.options.server_idle;
        let mut look_at = Instant::now() + idle;
        let mut health = Health::new(&self.context.options);
        loop {
            let backing = &running.backing;
            // One for both: each costs every running server room in its task.
            let timer = list_at
                .filter(|_| listing.is_none())
                .map_or(look_at, |at| at.min(look_at));
            tokio::select! {
                biased;
                order = next_order(&self.context, &mut self.orders) => match order {
                    Order::Wake => {
                        let is_free = Arc::strong_count(&connection) <= IDLE_HOLDERS && !self.handle.is_awaited();
                        if self.handle.is_sleepy() && listing.is_none() && is_free {
                            drop((connection, listing));
                            return self.fall_asleep(Why::Place);
                        }
                    }
                    Order::Redefine(definition, edition) => {
                        self.redefine(definition, edition);
                        return Step::Start;
                    }
                    order @ (Order::Restart(_) | Order::Relaunch) => {
                        let mut why = Why::Policy;
                        if let Order::Restart(reply) = order {
                            self.handle.ended(None);
                            self.replies.push(reply);
                            why = Why::Asked;
                        }
                        self.crashes = 0;
                        drop((connection, listing));
                        self.update(|change| {
                            change.connect(None);
                            change.start();
                        });
                        self.retire(false, why);
                        return Step::Start;
                    }
                    Order::Stop(why) => return Step::End(why),
                },
                () = backing.ended() => break,
                () = connection.events.ended.cancelled() => break,
                () = connection.events.tools_changed.notified(), if list_at.is_none() => {
                    let soon = Instant::now() + CHANGED_SETTLES;
                    list_at = Some(listed.map_or(soon, |last| soon.max(last + CHANGED_AGAIN)));
                }
                result = async { match listing.as_mut() {
                    Some(listing) => listing.await,
                    None => std::future::pending().await,
                }} => {
                    listing = None;
                    match result {
                        Ok(Ok(fresh)) if fresh != self.listing => {
                            self.listing = fresh;
                            // In a box: it happens seldom, and its room would be kept in every task.
                            Box::pin(tools_changed(&self.thread, &self.handle, self.tenure, &self.listed_for, &self.listing)).await;
                            self.kept = keep(&self.context, &self.thread, &self.handle, &self.listed_for, &self.listing, self.kept.take());
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) | Err(_) => tracing::debug!(
                            thread = %self.thread.id, server = %self.handle.name,
                            "the changed tools could not be listed; the old ones stay"
                        ),
                    }
                }
                checked = health.next(&connection, &self.context.options.remote) => {
                    self.handle.meter.checked(checked.took, checked.outcome.is_ok());
                    self.thread.counted();
                    let is_busy = Arc::strong_count(&connection) > IDLE_HOLDERS;
                    if let Some(trouble) = health.judge(checked.outcome, is_busy) {
                        connection.events.fail(trouble);
                        break;
                    }
                }
                () = sleep_until(timer) => {
                    let now = Instant::now();
                    if listing.is_none() && list_at.is_some_and(|at| at <= now) {
                        list_at = None;
                        listed = Some(now);
                        let (connection, name) = (connection.clone(), self.handle.name.clone());
                        listing = Some(Box::pin(async move {
                            tokio::time::timeout(LIST_LIMIT, list_tools(&connection.peer, name.as_str(), &connection.masker.load())).await
                        }));
                    }
                    if look_at > now {
                        continue;
                    }
                    let unused = self.handle.unused_for();
                    let is_held = Arc::strong_count(&connection) > IDLE_HOLDERS || self.handle.is_awaited();
                    if unused >= idle && listing.is_none() && !is_held {
                        drop((connection, listing));
                        return self.fall_asleep(Why::Unused);
                    }
                    look_at = now + idle.saturating_sub(unused).max(Duration::from_millis(50));
                }
            }
        }
        drop(listing);
        self.ended_unexpectedly(&connection).await
    }

    fn fall_asleep(&mut self, why: Why) -> Step {
        self.update(|change| {
            change.connect(None);
            *change.state = ServerState::Asleep;
        });
        // A call that got hold of the connection just now is given time to finish.
        self.retire(true, why);
        Step::Rest { asleep: true }
    }
}
