//! A server's life: one task that starts it, watches it, starts it again, puts it to sleep and ends it.

mod down;
mod ending;
mod health;
mod serving;
mod tools;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::connection::{Backing, Connection, Opened};
use super::context::Context;
use super::handle::{Edition, Handle, Order, Tenure, Why};
use super::listing::Listing;
use super::rules::{Ruling, ruled_aside};
use super::thread::{Change, Thread};
use super::trouble::{Mend, Trouble};
use super::{ServerState, ServerView, Stage, Tool, local, remote};
use crate::config::Definition;

use ending::end;
use tools::{keep, tell_of_tools};

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
    let definition = Arc::new(definition.clone());
    // In a box: a task keeps room twice for what its future is given.
    let server = Box::new(Server {
        context: context.clone(),
        thread: thread.clone(),
        handle: handle.clone(),
        tenure,
        definition: definition.clone(),
        orders,
        running: None,
        kept: known.clone(),
        listing: known.unwrap_or_default(),
        listed_for: definition,
        crashes: 0,
        restarting: false,
        noted: None,
        replies: Vec::new(),
    });
    context.tasks.spawn(server.live(step));
}

struct Server {
    context: Arc<Context>,
    thread: Arc<Thread>,
    handle: Arc<Handle>,
    tenure: Tenure,
    definition: Arc<Definition>,
    orders: mpsc::UnboundedReceiver<Order>,
    running: Option<Running>,
    /// What the cache holds for `listed_for`.
    kept: Option<Listing>,
    listing: Listing,
    /// The definition that `listing` came from.
    listed_for: Arc<Definition>,
    /// Unexpected ends in a row.
    crashes: u32,
    /// The next start is one after an unexpected end.
    restarting: bool,
    /// Why it did not start, as it was written down last; `None` since it did.
    noted: Option<String>,
    /// Who waits for it to settle.
    replies: Vec<oneshot::Sender<Option<ServerView>>>,
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
    End(Why),
}

impl Server {
    async fn live(mut self: Box<Self>, mut step: Step) {
        loop {
            if !matches!(step, Step::Start) {
                let settled = (!self.replies.is_empty()).then(|| self.view()).flatten();
                for reply in self.replies.drain(..) {
                    let _ = reply.send(settled.clone());
                }
            }
            if !matches!(step, Step::Start | Step::Serve) {
                self.context.places.leave(&self.handle);
            }
            step = match step {
                Step::Start => self.start().await,
                Step::Serve => self.serve().await,
                Step::BackOff { until } => self.back_off(until).await,
                Step::Rest { asleep } => self.rest(asleep).await,
                Step::End(why) => {
                    self.update(|change| change.connect(None));
                    self.retire(false, why);
                    break;
                }
            };
        }
        self.context.places.leave(&self.handle);
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
            let (thread, handle, tenure) = (&self.thread, &self.handle, self.tenure);
            let mut doing = |what| {
                thread.update(handle, tenure, |change| change.tell(what));
            };
            let mut opening = Box::pin(try_open(
                &self.context,
                &self.thread,
                &self.handle,
                &definition,
                &mut doing,
            ));
            loop {
                tokio::select! {
                    biased;
                    order = next_order(&self.context, &mut self.orders) => match order {
                        Order::Wake => {}
                        Order::Redefine(..)
                        | Order::Restart(_)
                        | Order::Relaunch
                        | Order::Stop(_) => break Err(order),
                    },
                    opened = &mut opening => break Ok(opened),
                }
            }
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(order) => {
                if matches!(order, Order::Relaunch) {
                    // What ran before the edit was launched under an older policy as well.
                    self.update(|change| change.connect(None));
                    self.retire(false, Why::Policy);
                }
                return self.obey(order).unwrap_or(Step::Start);
            }
        };
        match opened {
            // In a box, as above.
            Ok(opened) => Box::pin(self.came_up(opened, began)).await,
            Err(trouble) => {
                // An edit that does not work ends what ran before: that was another definition.
                self.update(|change| change.connect(None));
                self.retire(false, Why::Changed);
                self.note_failure(&trouble);
                if self.listed_for != self.definition {
                    self.listing = Listing::default();
                }
                self.went_down(&trouble).await
            }
        }
    }

    async fn came_up(&mut self, opened: Opened, began: Instant) -> Step {
        let Opened {
            connection,
            backing,
            listing,
            protocol,
            server_info,
        } = opened;
        let thread = self.thread.clone();
        let turn = thread.ruling.lock().await;
        let tools = self.ruled(&self.definition, &listing).await;
        let is_changed = tools.iter().any(|tool| tool.ruling == Ruling::Changed);
        let ready = Instant::now();
        self.handle.meter.started(ready.duration_since(began));
        self.handle.touch(ready);
        self.listing = listing.clone();
        if self.listed_for != self.definition {
            self.listed_for = self.definition.clone();
            self.kept = None;
        }
        let server_info = self.handle.mask(&server_info);
        ending::note_start(
            &self.context,
            &self.thread,
            &self.handle,
            connection.is_local,
        );
        self.update(|change| {
            change.connect(Some(connection.clone()));
            *change.state = ServerState::Ready {
                since: ready,
                protocol,
                server_info,
            };
            *change.tools = tools;
            *change.refused = listing.refused;
        });
        drop(turn);
        if is_changed {
            tell_of_tools(&self.thread, &self.handle);
        }
        // The old one, if there is one, finishes what it is at.
        self.retire(true, Why::Changed);
        self.handle.came_up(self.tenure);
        self.noted = None;
        self.running = Some(Running {
            connection,
            backing,
            ready,
        });
        self.keep();
        Step::Serve
    }

    fn obey(&mut self, order: Order) -> Option<Step> {
        match order {
            Order::Wake => return None,
            Order::Redefine(definition, edition) => self.redefine(definition, edition),
            Order::Restart(reply) => {
                self.handle.ended(None);
                self.replies.push(reply);
            }
            Order::Relaunch => {}
            Order::Stop(why) => return Some(Step::End(why)),
        }
        self.crashes = 0;
        Some(Step::Start)
    }

    /// Ends what runs, in the background; nobody waits for it.
    fn retire(&mut self, drain: bool, why: Why) {
        if let Some(running) = self.running.take() {
            self.handle.went_down(self.tenure);
            self.context.tasks.spawn(end(
                self.context.clone(),
                self.thread.clone(),
                self.handle.clone(),
                running,
                (drain, why),
            ));
        }
    }

    /// Writes down that it did not start, and why; what fails again and again for the same reason, once.
    fn note_failure(&mut self, trouble: &Trouble) {
        let reason = self.cause(trouble);
        if self.noted.as_ref() == Some(&reason) {
            return;
        }
        let is_local = matches!(*self.definition, Definition::Local(_));
        ending::note_failure(
            &self.context,
            &self.thread,
            &self.handle,
            is_local,
            reason.clone(),
        );
        self.noted = Some(reason);
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

    fn redefine(&mut self, definition: Arc<Definition>, edition: Edition) {
        self.definition = definition;
        self.tenure.edition = edition;
        self.crashes = 0;
        self.handle.ended(None);
    }

    /// The tools of a listing with what holds for them; asked and published under the thread's `ruling`.
    async fn ruled(&self, definition: &Definition, listing: &Listing) -> Arc<[Tool]> {
        let name = &self.handle.name;
        ruled_aside(
            &self.context,
            self.thread.id,
            name,
            definition,
            &listing.tools,
        )
        .await
    }

    /// Whether what it says of the server's state counted.
    fn update(&self, change: impl FnOnce(&mut Change<'_>)) -> bool {
        self.thread.update(&self.handle, self.tenure, change)
    }
}

async fn try_open(
    context: &Arc<Context>,
    thread: &Thread,
    handle: &Arc<Handle>,
    definition: &Arc<Definition>,
    doing: &mut (dyn FnMut(String) + Send),
) -> Result<Opened, Trouble> {
    let (name, logs, quiet) = (handle.name.as_str(), &handle.logs, &mut |_, _| {});
    if let Err(closed) = context.outside.audit.is_open(thread.id) {
        // What runs must be written down.
        return Err(Trouble::new(
            Stage::Process,
            closed.to_string(),
            "",
            Mend::Again,
        ));
    }
    match &**definition {
        Definition::Local(server) => {
            let most = context.outside.policy.now().quotas.running;
            context.places.enter(thread.id, handle, most).await?;
            let whose = local::Whose {
                name: &handle.name,
                by_operator: handle.is_admin,
                policy: handle.judged_by(definition, &context.outside.policy),
            };
            local::open(context, thread.id, whose, server, logs, quiet, doing).await
        }
        Definition::Remote(server) => {
            handle.judged_by(definition, &context.outside.policy);
            // What the operator wrote is agreed to by that.
            if !handle.is_admin
                && !context
                    .outside
                    .keys
                    .is_approved(thread.id, &handle.name, server)
                    .await
            {
                let what = "nobody has agreed to it yet";
                return Err(Trouble::new(Stage::Auth, what, "", Mend::Approval));
            }
            // In a box, so that the start of a server that runs here is not as large.
            let opening = Box::pin(remote::open(context, thread.id, name, server, logs, quiet));
            opening.await
        }
    }
}

/// The next order; the end of the room, or of whoever could order, is one to stop.
async fn next_order(context: &Context, orders: &mut mpsc::UnboundedReceiver<Order>) -> Order {
    tokio::select! {
        biased;
        () = context.closing.cancelled() => Order::Stop(Why::Closing),
        order = orders.recv() => order.unwrap_or(Order::Stop(Why::LetGo)),
    }
}

async fn sleep_until(until: Instant) {
    tokio::time::sleep_until(until.into()).await;
}
