//! A server's life: one task that starts it, watches it, starts it again, puts it to sleep and ends it.

mod ending;
mod health;
mod tools;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::service::ServiceError;
use tokio::sync::{mpsc, oneshot};

use super::connection::{Backing, Connection, Opened};
use super::context::Context;
use super::handle::{Edition, Handle, Order, Tenure};
use super::listing::{Listing, list_tools};
use super::remote::{self, RemoteOptions};
use super::text::sentence;
use super::thread::{Change, Thread};
use super::trouble::{Mend, Trouble};
use super::{Notice, ServerState, Stage, local};
use crate::config::Definition;

use ending::end;
use health::Health;
use tools::{keep, tools_changed};

/// `tools/list_changed` is followed this long after it came, and at most this often.
const CHANGED_SETTLES: Duration = Duration::from_millis(100);
const CHANGED_AGAIN: Duration = Duration::from_secs(1);
/// The deadline of listing the tools anew.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Who holds a connection that no call uses: its task twice, and the handle that calls are sent to.
const IDLE_HOLDERS: usize = 3;
/// A remote server that was up this long starts its waits anew.
const REMOTE_GOOD: Duration = Duration::from_secs(30);

/// Gives a server a task of its own. With tools that are known it sleeps until it is called, else it starts.
pub(super) fn spawn(
    thread: &Arc<Thread>,
    handle: &Arc<Handle>,
    definition: &Definition,
    known: Option<Listing>,
) {
    let (tenure, orders) = handle.take_over(definition);
    let context = thread.context.clone();
    let step = if known.is_some() {
        Step::Rest { asleep: true }
    } else {
        Step::Start
    };
    let server = Server {
        context: context.clone(),
        thread: thread.clone(),
        handle: handle.clone(),
        tenure,
        definition: definition.clone(),
        orders,
        running: None,
        kept: known.clone(),
        listing: known.unwrap_or_default(),
        listed_for: definition.clone(),
        crashes: 0,
        restarting: false,
        replies: Vec::new(),
    };
    context.tasks.spawn(server.live(step));
}

struct Server {
    context: Arc<Context>,
    thread: Arc<Thread>,
    handle: Arc<Handle>,
    tenure: Tenure,
    definition: Definition,
    orders: mpsc::UnboundedReceiver<Order>,
    running: Option<Running>,
    /// What the cache holds for `listed_for`.
    kept: Option<Listing>,
    listing: Listing,
    /// The definition that `listing` came from.
    listed_for: Definition,
    /// Unexpected ends in a row.
    crashes: u32,
    /// The next start is one after an unexpected end.
    restarting: bool,
    /// Who waits for it to settle.
    replies: Vec<oneshot::Sender<()>>,
}

struct Running {
    connection: Arc<Connection>,
    backing: Backing,
    ready: Instant,
}

/// What a server does next.
enum Step {
    Start,
    Serve,
    BackOff { until: Instant },
    Rest { asleep: bool },
    End,
}

type Listed = Result<Result<Listing, ServiceError>, tokio::time::error::Elapsed>;

impl Server {
    async fn live(mut self, mut step: Step) {
        loop {
            if !matches!(step, Step::Start) {
                for reply in self.replies.drain(..) {
                    let _ = reply.send(());
                }
            }
            step = match step {
                Step::Start => self.start().await,
                Step::Serve => self.serve().await,
                Step::BackOff { until } => self.back_off(until).await,
                Step::Rest { asleep } => self.rest(asleep).await,
                Step::End => break,
            };
        }
        self.update(|change| change.connect(None));
        self.retire(false);
    }

    async fn start(&mut self) -> Step {
        self.update(|change| {
            change.start();
        });
        if std::mem::take(&mut self.restarting) {
            self.handle.meter.restarted();
        }
        let began = Instant::now();
        let definition = self.definition.clone();
        let opened = {
            // In a box, so that a running server does not keep the room that its start needed.
            let mut opening = Box::pin(try_open(
                &self.context,
                &self.thread,
                &self.handle,
                &definition,
            ));
            loop {
                tokio::select! {
                    biased;
                    order = next_order(&self.context, &mut self.orders) => match order {
                        Order::Wake => {}
                        Order::Redefine(..) | Order::Restart(_) | Order::Stop => break Err(order),
                    },
                    opened = &mut opening => break Ok(opened),
                }
            }
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(order) => return self.obey(order).unwrap_or(Step::Start),
        };
        match opened {
            Ok(opened) => self.came_up(opened, began),
            Err(trouble) => {
                // An edit that does not work ends what ran before: that was another definition.
                self.update(|change| change.connect(None));
                self.retire(false);
                if self.listed_for != self.definition {
                    self.listing = Listing::default();
                }
                self.went_down(&trouble)
            }
        }
    }

    fn came_up(&mut self, opened: Opened, began: Instant) -> Step {
        let Opened {
            connection,
            backing,
            listing,
            protocol,
            server_info,
        } = opened;
        let ready = Instant::now();
        self.handle.meter.started(ready.duration_since(began));
        self.handle.touch(ready);
        self.listing = listing.clone();
        if self.listed_for != self.definition {
            self.listed_for = self.definition.clone();
            self.kept = None;
        }
        let server_info = self.handle.mask(&server_info);
        self.update(|change| {
            change.connect(Some(connection.clone()));
            *change.state = ServerState::Ready {
                since: ready,
                protocol,
                server_info,
            };
            *change.tools = listing.tools;
            *change.refused = listing.refused;
        });
        // The old one, if there is one, finishes what it is at.
        self.retire(true);
        self.running = Some(Running {
            connection,
            backing,
            ready,
        });
        self.keep();
        Step::Serve
    }

    /// Until something happens to it.
    async fn serve(&mut self) -> Step {
        let Some(running) = self.running.as_mut() else {
            return Step::Start;
        };
        let connection = running.connection.clone();
        let mut listing: Option<Pin<Box<dyn Future<Output = Listed> + Send>>> = None;
        let mut list_at: Option<Instant> = None;
        let mut listed = running.ready.checked_sub(CHANGED_AGAIN);
        let idle = self.context.options.server_idle;
        let mut look_at = Instant::now() + idle;
        let mut health = Health::new(&connection, &self.context.options);
        loop {
            let backing = &running.backing;
            tokio::select! {
                biased;
                order = next_order(&self.context, &mut self.orders) => match order {
                    Order::Wake => {}
                    Order::Redefine(definition, edition) => {
                        self.redefine(*definition, edition);
                        return Step::Start;
                    }
                    Order::Restart(reply) => {
                        self.replies.push(reply);
                        self.crashes = 0;
                        drop((connection, listing));
                        self.update(|change| {
                            change.connect(None);
                            change.start();
                        });
                        self.retire(false);
                        return Step::Start;
                    }
                    Order::Stop => return Step::End,
                },
                () = backing.ended() => break,
                () = connection.events.ended.cancelled() => break,
                () = connection.events.tools_changed.notified(), if list_at.is_none() => {
                    let soon = Instant::now() + CHANGED_SETTLES;
                    list_at = Some(listed.map_or(soon, |last| soon.max(last + CHANGED_AGAIN)));
                }
                () = sleep_until(list_at.unwrap_or(look_at)), if list_at.is_some() && listing.is_none() => {
                    list_at = None;
                    listed = Some(Instant::now());
                    let (connection, name) = (connection.clone(), self.handle.name.clone());
                    listing = Some(Box::pin(async move {
                        tokio::time::timeout(LIST_LIMIT, list_tools(&connection.peer, name.as_str(), &connection.masker.load())).await
                    }));
                }
                result = async { match listing.as_mut() {
                    Some(listing) => listing.await,
                    None => std::future::pending().await,
                }} => {
                    listing = None;
                    match result {
                        Ok(Ok(fresh)) if fresh != self.listing => {
                            self.listing = fresh;
                            tools_changed(&self.thread, &self.handle, self.tenure, &self.listing);
                            self.kept = keep(&self.context, &self.thread, &self.handle, &self.listed_for, &self.listing, self.kept.take());
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) | Err(_) => tracing::debug!(
                            thread = %self.thread.id, server = %self.handle.name,
                            "the changed tools could not be listed; the old ones stay"
                        ),
                    }
                }
                checked = health.next(&connection) => {
                    self.handle.meter.checked(checked.took, checked.outcome.is_ok());
                    self.thread.counted();
                    let is_busy = Arc::strong_count(&connection) > IDLE_HOLDERS;
                    if let Some(trouble) = health.judge(checked.outcome, is_busy) {
                        connection.events.fail(trouble);
                        break;
                    }
                }
                () = sleep_until(look_at) => {
                    let unused = self.handle.unused_for();
                    if unused >= idle && listing.is_none() && Arc::strong_count(&connection) <= IDLE_HOLDERS {
                        drop((connection, listing));
                        return self.fall_asleep();
                    }
                    look_at = Instant::now() + idle.saturating_sub(unused).max(Duration::from_millis(50));
                }
            }
        }
        drop(listing);
        self.ended_unexpectedly(&connection).await
    }

    fn fall_asleep(&mut self) -> Step {
        self.update(|change| {
            change.connect(None);
            *change.state = ServerState::Asleep;
        });
        // A call that got hold of the connection just now is given time to finish.
        self.retire(true);
        Step::Rest { asleep: true }
    }

    async fn ended_unexpectedly(&mut self, connection: &Arc<Connection>) -> Step {
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
        connection.events.close();
        self.retire(false);
        self.went_down(&trouble)
    }

    fn went_down(&mut self, trouble: &Trouble) -> Step {
        tracing::info!(thread = %self.thread.id, server = %self.handle.name, "a server went down");
        let reason = trouble.in_words(|text| self.handle.mask(text));
        let at_rest = match &trouble.mend {
            Mend::Change => ServerState::Failed { reason },
            Mend::Login(challenge) => ServerState::NeedsLogin {
                reason: sentence(&self.handle.mask(&trouble.what)),
                challenge: challenge.clone(),
            },
            Mend::Approval => ServerState::WaitingForApproval,
            Mend::Again | Mend::Now | Mend::After(_) => {
                return self.try_again_later(reason, &trouble.mend);
            }
        };
        self.update(|change| {
            *change.state = at_rest;
            hide(change);
        });
        Step::Rest { asleep: false }
    }

    fn try_again_later(&mut self, reason: String, mend: &Mend) -> Step {
        let wait = match &self.definition {
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
            let is_parked = self.update(|change| {
                *change.state = ServerState::Parked { reason };
                hide(change);
            });
            if is_parked && let Some(server) = self.view() {
                self.context.tell(Notice::Parked {
                    thread: self.thread.id,
                    server,
                });
            }
            return Step::Rest { asleep: false };
        };
        self.crashes = self.crashes.saturating_add(1);
        if wait.is_zero() {
            self.restarting = true;
            return Step::Start;
        }
        let (until, attempt) = (Instant::now() + wait, self.crashes);
        let Listing { tools, refused } = self.listing.clone();
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

    async fn back_off(&mut self, until: Instant) -> Step {
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

    async fn rest(&mut self, asleep: bool) -> Step {
        loop {
            let order = next_order(&self.context, &mut self.orders).await;
            if asleep && matches!(order, Order::Wake) {
                return Step::Start;
            }
            if let Some(step) = self.obey(order) {
                return step;
            }
        }
    }

    fn obey(&mut self, order: Order) -> Option<Step> {
        match order {
            Order::Wake => return None,
            Order::Redefine(definition, edition) => self.redefine(*definition, edition),
            Order::Restart(reply) => self.replies.push(reply),
            Order::Stop => return Some(Step::End),
        }
        self.crashes = 0;
        Some(Step::Start)
    }

    /// Ends what runs, in the background; nobody waits for it.
    fn retire(&mut self, drain: bool) {
        if let Some(running) = self.running.take() {
            self.context.tasks.spawn(end(
                self.context.clone(),
                self.thread.clone(),
                self.handle.clone(),
                running,
                drain,
            ));
        }
    }

    fn keep(&mut self) {
        self.kept = keep(
            &self.context,
            &self.thread,
            &self.handle,
            &self.listed_for,
            &self.listing,
            self.kept.take(),
        );
    }

    fn redefine(&mut self, definition: Definition, edition: Edition) {
        self.definition = definition;
        self.tenure.edition = edition;
        self.crashes = 0;
    }

    /// Whether what it says of the server's state counted.
    fn update(&self, change: impl FnOnce(&mut Change<'_>)) -> bool {
        self.thread.update(&self.handle, self.tenure, change)
    }

    fn view(&self) -> Option<super::ServerView> {
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

async fn try_open(
    context: &Arc<Context>,
    thread: &Thread,
    handle: &Handle,
    definition: &Definition,
) -> Result<Opened, Trouble> {
    let (name, logs, quiet) = (handle.name.as_str(), &handle.logs, &mut |_, _| {});
    match definition {
        Definition::Local(server) => {
            local::open(context, thread.id, name, server, logs, quiet).await
        }
        Definition::Remote(server) => {
            // What the operator wrote is agreed to by that.
            if !handle.is_admin
                && !context
                    .keys
                    .is_approved(thread.id, &handle.name, server)
                    .await
            {
                let what = "nobody has agreed to it yet";
                return Err(Trouble::new(Stage::Auth, what, "", Mend::Approval));
            }
            remote::open(context, thread.id, name, server, logs, quiet).await
        }
    }
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

/// The next order; the end of the room, or of whoever could order, is one to stop.
async fn next_order(context: &Context, orders: &mut mpsc::UnboundedReceiver<Order>) -> Order {
    tokio::select! {
        biased;
        () = context.closing.cancelled() => Order::Stop,
        order = orders.recv() => order.unwrap_or(Order::Stop),
    }
}

async fn sleep_until(until: Instant) {
    tokio::time::sleep_until(until.into()).await;
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
