//! The use cases: what happens when somebody types, presses or sends a file.
//!
//! The desk owns one inbox and, while there is work, one worker a thread; a worker handles its thread's events and the
//! notices of reload and registry in their order, so nothing here needs a lock over an await. Pending proposals and flows
//! are records on disk, not suspended tasks. A panic ends one event and not the bot. What takes long (calls, tests) runs
//! in tasks of its own with a live message.

mod action;
mod door;
mod hall;
mod handle;
mod keeping;
mod live;
mod notices;
mod noting;
mod propose;
mod records;
mod refusal;
mod screens;
mod turn;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::actor::ActorId;
use crate::audit::Audit;
use crate::chat::{Busy, Event, EventSink, Front};
use crate::gate::Gate;
use crate::oauth::{LoginNotice, OAuth};
use crate::policy::{Admission, Rules};
use crate::registry::{Notice, Registry};
use crate::reload::{PolicyNews, Reload, ReloadNotice};
use crate::secret::Secret;
use crate::store::Store;
use crate::thread::ThreadId;

use hall::{Hall, Pending, Work, blocking, new_id};

/// Milliseconds since the epoch; handed in, so that tests own the time.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Shows a line to whoever started the bot.
pub type Announce = Arc<dyn Fn(&str) + Send + Sync>;

/// What the desk works with.
pub struct DeskParts {
    /// Where people are.
    pub front: Arc<dyn Front>,
    /// Where files are.
    pub store: Store,
    /// Where tools are.
    pub registry: Registry,
    /// What loads threads.
    pub reload: Reload,
    /// Logins at remote servers.
    pub oauth: OAuth,
    /// The time.
    pub clock: Clock,
    /// The bot's user name, for `/mcp@Name`.
    pub our_name: Option<String>,
    /// One command and the end (`switchboard do`): nothing is kept that waits for a person.
    pub one_shot: bool,
    /// Where people reach our pages, where they do.
    pub public_url: Option<url::Url>,
    /// The way to a call.
    pub gate: Gate,
    /// What happens is written down here.
    pub audit: Arc<dyn Audit>,
    /// What the operator decided.
    pub policy: Rules,
    /// Shows a line on the console; where it is given, a bot without an operator comes to one by a code that is shown so.
    pub announce: Option<Announce>,
}

/// The handle of the room. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    hall: Arc<Hall>,
}

/// What a button agrees to, whatever its label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agrees {
    /// It applies a proposal.
    ToChange,
    /// It allows a call, once.
    ToCall,
}

impl Agrees {
    /// `None` where it agrees to nothing.
    pub fn of(button: &crate::chat::Button) -> Option<Self> {
        use action::{Action, AskVerb, ProposalVerb};
        match Action::decode(&button.data)? {
            Action::Proposal(ProposalVerb::Apply, _) => Some(Self::ToChange),
            Action::Asked(AskVerb::Once, _) => Some(Self::ToCall),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Opens the desk.
    pub fn new(parts: DeskParts) -> Self {
        let hall = Arc::new(Hall::new(parts));
        Self { hall }
    }

    /// Takes the notices of reload, registry and oauth until all end.
    pub async fn follow(
        &self,
        mut reload: mpsc::Receiver<ReloadNotice>,
        mut registry: mpsc::Receiver<Notice>,
        mut logins: mpsc::Receiver<LoginNotice>,
    ) {
        loop {
            let (thread, work) = tokio::select! {
                // In this order: "changed" is handled before the "settled" that it leads to.
                biased;
                Some(notice) = reload.recv() => (notice.thread(), Work::Reload(notice)),
                Some(notice) = registry.recv() => (notice.thread(), Work::Registry(notice)),
                Some(notice) = logins.recv() => (notice.thread, Work::Login(notice)),
                else => return,
            };
            // Refused only at the end, when nobody is told anything any more.
            let _ = self.hall.post(thread, work);
        }
    }

    /// Tells the operators what becomes of the policy's file, until nobody reports it any more.
    pub async fn follow_policy(&self, mut news: mpsc::UnboundedReceiver<PolicyNews>) {
        while let Some(news) = news.recv().await {
            self.hall.tell_policy(&news).await;
        }
    }

    /// What is asked for on a one-time page, where its address is good.
    pub async fn secret_asked(&self, nonce: &str) -> Option<String> {
        handle::asked_on_page(&self.hall, nonce).await
    }

    /// Takes a secret that was entered there, once: whether the address was good, or why the value is none.
    pub async fn secret_given(&self, nonce: &str, value: Secret) -> Result<bool, String> {
        handle::given_on_page(&self.hall, nonce, value).await
    }

    /// Resolves when everything that was handed over has been handled, every call has ended and every applied change has
    /// been reported.
    pub async fn quiet(&self) {
        let mut pending = self.hall.pending.subscribe();
        // The sender lives in the hall, which this handle holds.
        let _ = pending
            .wait_for(|pending| *pending == Pending::default())
            .await;
    }

    /// Takes no more events, cancels calls, and resolves when what was taken has been answered.
    pub async fn drain(&self) {
        self.hall.closing.store(true, Ordering::Release);
        self.hall.live.cancel_all();
        let mut pending = self.hall.pending.subscribe();
        let _ = pending.wait_for(|pending| pending.work == 0).await;
    }

    /// Ends everything; what is still queued is dropped.
    pub async fn shutdown(&self) {
        self.hall.closing.store(true, Ordering::Release);
        self.hall.stop.cancel();
        self.hall.live.cancel_all();
        self.hall.lock_inboxes().clear();
        self.hall.tasks.close();
        self.hall.tasks.wait().await;
    }
}

impl EventSink for Desk {
    fn deliver(&self, mut event: Event) -> Result<(), Busy> {
        // What still comes from the former id of a group belongs to the one it has now.
        if let Ok(Some(now)) = self.hall.parts.store.alias(event.thread) {
            event.thread = now;
        }
        if self.hall.closing.load(Ordering::Acquire) {
            return Err(Busy);
        }
        self.hall.receive(event)
    }

    fn lets_in(&self, thread: ThreadId, actor: &ActorId) -> bool {
        let thread = match self.hall.parts.store.alias(thread) {
            Ok(Some(now)) => now,
            Ok(None) | Err(_) => thread,
        };
        let admission = self.hall.parts.policy.now().admission(thread, actor);
        matches!(admission, Admission::Operator | Admission::Admitted)
    }
}
