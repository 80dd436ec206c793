//! A server's life: one task that starts it, watches it, starts it again, puts it to sleep and ends it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::service::ServiceError;
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, Opened, Process, Trouble, locate, open};
use super::context::Context;
use super::handle::{Handle, Order};
use super::listing::{Listing, list_tools};
use super::thread::{Change, Thread};
use super::{Notice, ServerState};
use crate::config::{StdioServer, definition_key};

/// `tools/list_changed` is followed this long after it came, and at most this often.
const CHANGED_SETTLES: Duration = Duration::from_millis(100);
const CHANGED_AGAIN: Duration = Duration::from_secs(1);
/// The deadline of listing the tools anew.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// A replaced server finishes the calls under way within this time.
const DRAIN: Duration = Duration::from_secs(5);
/// After its stdin closed a server has this long to end, and this long again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
const TERM_GRACE: Duration = Duration::from_secs(1);
/// How often a drain looks.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Gives a server a task of its own. With tools that are known it sleeps until it is called, else it starts.
pub(super) fn spawn(
    thread: &Arc<Thread>,
    handle: &Arc<Handle>,
    definition: &StdioServer,
    known: Option<Listing>,
) {
    let (task, orders) = handle.take_over(definition);
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
        task,
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
    task: u64,
    definition: StdioServer,
    orders: mpsc::UnboundedReceiver<Order>,
    running: Option<Running>,
    /// What the cache holds for `listed_for`.
    kept: Option<Listing>,
    listing: Listing,
    /// The definition that `listing` came from.
    listed_for: StdioServer,
    /// Unexpected ends in a row.
    crashes: u32,
    /// The next start is one after an unexpected end.
    restarting: bool,
    /// Who waits for it to settle.
    replies: Vec<oneshot::Sender<()>>,
}

struct Running {
    connection: Arc<Connection>,
    process: Process,
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
            if !matches!(change.state, ServerState::Starting { .. }) {
                *change.state = ServerState::Starting {
                    since: Instant::now(),
                };
            }
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
                        Order::Redefine(definition) => {
                            self.definition = definition;
                            self.crashes = 0;
                            return Step::Start;
                        }
                        Order::Restart(reply) => {
                            self.replies.push(reply);
                            self.crashes = 0;
                            return Step::Start;
                        }
                        Order::Stop => return Step::End,
                    },
                    opened = &mut opening => break opened,
                }
            }
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
                let reason = trouble.in_words(|text| self.handle.mask(text));
                self.went_down(reason, trouble.lasting)
            }
        }
    }

    fn came_up(&mut self, opened: Opened, began: Instant) -> Step {
        let Opened {
            connection,
            process,
            listing,
            protocol,
            server_info,
        } = opened;
        self.handle.meter.started(began.elapsed());
        self.handle.touch();
        self.listing = listing.clone();
        if self.listed_for != self.definition {
            self.listed_for = self.definition.clone();
            self.kept = None;
        }
        let ready = Instant::now();
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
            process,
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
        loop {
            let process = &running.process;
            tokio::select! {
                biased;
                order = next_order(&self.context, &mut self.orders) => match order {
                    Order::Wake => {}
                    Order::Redefine(definition) => {
                        self.definition = definition;
                        self.crashes = 0;
                        return Step::Start;
                    }
                    Order::Restart(reply) => {
                        self.replies.push(reply);
                        self.crashes = 0;
                        drop((connection, listing));
                        self.update(|change| {
                            change.connect(None);
                            *change.state = ServerState::Starting { since: Instant::now() };
                        });
                        self.retire(false);
                        return Step::Start;
                    }
                    Order::Stop => return Step::End,
                },
                _ = process.child.ended() => break,
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
                        tokio::time::timeout(LIST_LIMIT, list_tools(&connection.peer, name.as_str(), &connection.masker)).await
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
                            tools_changed(&self.thread, &self.handle, self.task, &self.listing);
                            self.kept = keep(&self.context, &self.thread, &self.handle, &self.listed_for, &self.listing, self.kept.take());
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) | Err(_) => tracing::debug!(
                            thread = %self.thread.id, server = %self.handle.name,
                            "the changed tools could not be listed; the old ones stay"
                        ),
                    }
                }
                () = sleep_until(look_at) => {
                    let unused = self.handle.unused_for();
                    // Ours, the one in `Running`, and the one that calls are sent to.
                    if unused >= idle && listing.is_none() && Arc::strong_count(&connection) <= 3 {
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
        let mut why = "it ended".to_owned();
        let mut said = Vec::new();
        let mut was_good = false;
        if let Some(running) = self.running.as_mut() {
            was_good = running.ready.elapsed() >= self.context.options.good_after;
            let flooding = connection.events.why();
            let (ended, lines) = if flooding.is_some() {
                (None, self.handle.logs.telling())
            } else {
                running.process.last_words(&self.handle.logs).await
            };
            why = match (flooding, ended) {
                (Some(why), _) => why.to_owned(),
                (None, Some(ended)) => ended,
                (None, None) => "it closed its output".to_owned(),
            };
            said = lines;
        }
        if was_good {
            self.crashes = 0;
        }
        connection.events.ended.cancel();
        self.retire(false);
        let trouble = Trouble {
            stage: super::Stage::Process,
            what: why,
            advice: String::new(),
            lasting: false,
            said,
        };
        let reason = trouble.in_words(|text| self.handle.mask(text));
        self.went_down(reason, false)
    }

    /// `reason` is masked.
    fn went_down(&mut self, reason: String, lasting: bool) -> Step {
        tracing::info!(thread = %self.thread.id, server = %self.handle.name, "a server went down");
        if lasting {
            self.update(|change| {
                *change.state = ServerState::Failed { reason };
                hide(change);
            });
            return Step::Rest { asleep: false };
        }
        let wait = self
            .context
            .options
            .backoff
            .get(self.crashes as usize)
            .copied();
        let Some(wait) = wait else {
            self.update(|change| {
                *change.state = ServerState::Parked { reason };
                hide(change);
            });
            if let Some(server) = self.view() {
                self.context.tell(Notice::Parked {
                    thread: self.thread.id,
                    server,
                });
            }
            return Step::Rest { asleep: false };
        };
        self.crashes += 1;
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
                    if let Some(step) = self.obey_at_rest(order) {
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
            if let Some(step) = self.obey_at_rest(order) {
                return step;
            }
        }
    }

    fn obey_at_rest(&mut self, order: Order) -> Option<Step> {
        match order {
            Order::Wake => return None,
            Order::Redefine(definition) => self.definition = definition,
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

    fn update(&self, change: impl FnOnce(&mut Change<'_>)) {
        self.thread.update(&self.handle, self.task, change);
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
    definition: &StdioServer,
) -> Result<Opened, Trouble> {
    let located = locate(context, thread.id, definition).await?;
    open(
        context,
        handle.name.as_str(),
        definition,
        located,
        &handle.logs,
        &mut |_, _| {},
    )
    .await
}

/// The next order; the end of the room, or of whoever could order, is one to stop.
async fn next_order(context: &Context, orders: &mut mpsc::UnboundedReceiver<Order>) -> Order {
    tokio::select! {
        biased;
        () = context.closing.cancelled() => Order::Stop,
        order = orders.recv() => order.unwrap_or(Order::Stop),
    }
}

fn tools_changed(thread: &Thread, handle: &Handle, task: u64, listing: &Listing) {
    thread.update(handle, task, |change| {
        *change.tools = listing.tools.clone();
        *change.refused = listing.refused.clone();
    });
    if let Some(server) = thread.glance().server(handle.name.as_str()).cloned() {
        thread.context.tell(Notice::ToolsChanged {
            thread: thread.id,
            server,
        });
    }
}

/// Puts the tools into the cache unless they are there; what the cache holds then.
fn keep(
    context: &Arc<Context>,
    thread: &Thread,
    handle: &Handle,
    definition: &StdioServer,
    listing: &Listing,
    kept: Option<Listing>,
) -> Option<Listing> {
    if kept.as_ref() == Some(listing) {
        return kept;
    }
    let (cache, thread, name) = (context.cache.clone(), thread.id, handle.name.clone());
    let (key, value) = (definition_key(definition), listing.to_json());
    // It writes to disk and may wait for it.
    context
        .tasks
        .spawn_blocking(move || cache.put(thread, &name, Some((&key, &value))));
    Some(listing.clone())
}

/// Ends a process: closes its stdin, asks, and then insists, for everything that it started.
async fn end(
    context: Arc<Context>,
    thread: Arc<Thread>,
    handle: Arc<Handle>,
    running: Running,
    drain: bool,
) {
    let Running {
        connection,
        mut process,
        ..
    } = running;
    let hurry = context.hurry.clone();
    if drain {
        let until = Instant::now() + DRAIN;
        // Calls under way hold the connection.
        while Arc::strong_count(&connection) > 1
            && Instant::now() < until
            && !connection.events.ended.is_cancelled()
            && !context.closing.is_cancelled()
        {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
    let killed = tokio::select! {
        killed = end_in_peace(&connection, &process) => killed,
        () = hurry.cancelled() => true,
    };
    if killed && context.closing.is_cancelled() {
        context
            .killed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((thread.id, handle.name.clone()));
    }
    let left = process.child.sweep().await;
    if left > 0 {
        tracing::error!(
            thread = %thread.id, server = %handle.name, left,
            "processes of a server cannot be ended by the system"
        );
    }
    // Whoever still waits for an answer is told.
    connection.events.ended.cancel();
}

/// Whether it has to be killed.
async fn end_in_peace(connection: &Connection, process: &Process) -> bool {
    connection.outgoing.close().await;
    let ended = || process.child.ended();
    if tokio::time::timeout(GRACE, ended()).await.is_ok() {
        return false;
    }
    process.child.terminate().await;
    tokio::time::timeout(TERM_GRACE, ended()).await.is_err()
}

async fn sleep_until(until: Instant) {
    tokio::time::sleep_until(until.into()).await;
}
