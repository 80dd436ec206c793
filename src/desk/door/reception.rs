//! What is done at the door: events go to their threads, and whoever is not let in is answered here, in short tasks of which
//! few run at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Hall, Work, blocking, handle, screens};
use super::Way;
use super::callers::Caller;
use super::pairing::{Pairing, Tried};
use crate::actor::Actor;
use crate::audit::{Entry, What};
use crate::chat::{Answer, Busy, Event, EventKind, View};
use crate::command::{self, Request};
use crate::policy::{Admission, HostPolicy};
use crate::reload::PolicyNews;
use crate::thread::ThreadId;

/// So much is done at once for people who are not let in; more goes unanswered.
const MOST_AT_ONCE: usize = 64;
/// So many operators are told something.
const MOST_TOLD: usize = 16;

/// What is done about somebody who is not let in.
enum Reply {
    /// The pairing code was right.
    Pair,
    /// A link that a group may have given them.
    Handoff(String),
    /// A word, and perhaps one to the operators.
    Say(Box<View>, Option<Caller>),
    /// A press that leads nowhere.
    Nothing,
}

impl Hall {
    /// An event comes to the door: it goes to its thread, or is answered here.
    pub(in crate::desk) fn receive(self: &Arc<Self>, event: Event) -> Result<(), Busy> {
        let (policy, now_ms) = (self.parts.policy.now(), (self.parts.clock)());
        // Before the way in: where everybody is let in, somebody must come to operate it all the same.
        if let Some(reply) = self.paired(&policy, &event) {
            self.aside(async move |hall| hall.answer_outside(event, reply).await);
            return Ok(());
        }
        let admission = match self.door.way(&policy, &event, now_ms) {
            Way::In | Way::Guest => return self.post(event.thread, Work::Event(event)),
            Way::Out(admission) => admission,
        };
        if let EventKind::Left | EventKind::Migrated { .. } = event.kind {
            // Nobody's wish: what there is of the place is seen to, and nothing is made for it.
            self.aside(async move |hall| hall.place_changed(event).await);
            return Ok(());
        }
        if let Some(reply) = self.reply(&policy, admission, &event, now_ms) {
            self.aside(async move |hall| hall.answer_outside(event, reply).await);
        }
        Ok(())
    }

    /// Tells the operators what became of the policy's file.
    pub(in crate::desk) async fn tell_policy(&self, news: &PolicyNews) {
        let view = match news {
            PolicyNews::Changed(fields) => {
                // Whoever did it in a chat stands in that chat's audit; what is done by hand, here alone.
                let deed = format!("the operator's policy changed: {}", fields.join(", "));
                let what = What::Admin { deed };
                if let Err(error) = self.note(ThreadId::Local, None, what).await {
                    tracing::warn!(%error, "a change of the policy is not in the audit yet.");
                }
                return;
            }
            PolicyNews::Broken(why) => View::error(format!(
                "policy.json in data/admin is broken, so what it said before still holds. {why}."
            )),
            PolicyNews::Sound => {
                View::text("policy.json in data/admin is good again and in force.")
            }
        };
        self.tell_operators(&view).await;
    }

    /// Runs a short thing for somebody outside, unless too much of that is under way.
    fn aside<F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.door.at_once.fetch_add(1, Ordering::AcqRel) >= MOST_AT_ONCE {
            self.door.at_once.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let place = Place(Arc::clone(self));
        let work = work(Arc::clone(self));
        self.spawn(async move {
            let _place = place;
            work.await;
        });
    }

    /// What is to be done; `None` for nothing at all.
    fn reply(
        &self,
        policy: &HostPolicy,
        admission: Admission,
        event: &Event,
        now_ms: i64,
    ) -> Option<Reply> {
        let nothing = match event.kind {
            EventKind::Press { .. } => Some(Reply::Nothing),
            EventKind::Text(_)
            | EventKind::Edited(_)
            | EventKind::File { .. }
            | EventKind::Migrated { .. }
            | EventKind::Left => None,
        };
        if admission == Admission::Blocked {
            return nothing;
        }
        if event.private
            && let Some(payload) = start_payload(event, self.parts.our_name.as_deref())
            && is_nonce(&payload)
        {
            return Some(Reply::Handoff(payload));
        }
        self.turned_away(policy, event, now_ms).or(nothing)
    }

    /// Something that has the form of a pairing code, while one is awaited.
    fn paired(&self, policy: &HostPolicy, event: &Event) -> Option<Reply> {
        let pairing = self.door.pairing.as_ref()?;
        let is_blocked = || policy.admission(event.thread, &event.actor.id) == Admission::Blocked;
        if !policy.operators.is_empty() || is_blocked() {
            return None;
        }
        let payload = start_payload(event, self.parts.our_name.as_deref())?;
        let tried = pairing.try_code(&event.actor.id, &payload, event.private)?;
        let error = |words: &str| Reply::Say(Box::new(View::error(words)), None);
        Some(match tried {
            Tried::Right => Reply::Pair,
            Tried::Wrong => error(
                "That is not the code. It stands on the console where I was started; a new start prints a new one.",
            ),
            Tried::TooOften => {
                error("That was tried too often. Start me anew, and use the new code.")
            }
            Tried::Overheard => error(
                "Others read along here, so that code is void now. I printed a new one: send it to me in a private chat.",
            ),
        })
    }

    fn turned_away(&self, policy: &HostPolicy, event: &Event, now_ms: i64) -> Option<Reply> {
        let mut callers = self.door.callers();
        if !callers.is_due(&event.actor.id, event.thread, now_ms) {
            return None;
        }
        let awaits = self.door.pairing.is_some() && policy.operators.is_empty();
        let caller = if policy.operators.is_empty() {
            None
        } else {
            callers.ask(event, now_ms)
        };
        let view = Box::new(screens::stranger(event, awaits));
        Some(Reply::Say(view, caller))
    }

    async fn answer_outside(self: &Arc<Self>, event: Event, reply: Reply) {
        match reply {
            Reply::Nothing => {
                if let EventKind::Press { press, .. } = &event.kind {
                    let front = &self.parts.front;
                    let _ = self.small(front.answer(press, Answer::Silent)).await;
                }
            }
            Reply::Pair => self.pair(event.thread, event.actor).await,
            Reply::Handoff(nonce) => self.maybe_guest(event, nonce).await,
            Reply::Say(view, caller) => {
                self.say_outside(&event, *view).await;
                if let Some(caller) = caller {
                    self.tell_operators(&screens::somebody_asked(&caller)).await;
                }
            }
        }
    }

    async fn say_outside(&self, event: &Event, view: View) {
        if let EventKind::Press { press, .. } = &event.kind {
            let answer = Answer::Alert(screens::sentence_of(&view));
            let _ = self.small(self.parts.front.answer(press, answer)).await;
        } else if let Err(error) = self.send(event.thread, view).await {
            tracing::debug!(thread = %event.thread, %error, "a word to a stranger could not be delivered.");
        }
    }

    /// A link from a group leads somebody here who is a stranger in private: they may answer what they were asked.
    async fn maybe_guest(self: &Arc<Self>, event: Event, nonce: String) {
        let now_ms = (self.parts.clock)();
        if handle::is_handoff_for(self, &nonce, &event.actor.id, now_ms).await {
            self.door.welcome_guest(&event.actor.id, now_ms);
            let _ = self.post(event.thread, Work::Event(event));
            return;
        }
        let policy = self.parts.policy.now();
        if let Some(reply) = self.turned_away(&policy, &event, now_ms) {
            // Not a handoff any more, so this goes one deep.
            Box::pin(self.answer_outside(event, reply)).await;
        }
    }

    /// Makes somebody the operator, who had the code.
    async fn pair(&self, thread: ThreadId, actor: Actor) {
        let (store, id) = (self.parts.store.clone(), actor.id.clone());
        let written = blocking(move || {
            store.change_policy(|policy| {
                // Somebody may have written one by hand in this moment.
                if policy.operators.is_empty() {
                    policy.operators.push(id.clone());
                }
            })
        })
        .await;
        let pairing = self.door.pairing.as_ref();
        if let Err(error) = written {
            pairing.map(Pairing::not_used);
            tracing::error!(%error, "the operator could not be written into the policy.");
            let view = View::error(format!(
                "The code is right, but I could not write it down: {error}. Mend that and send it again."
            ));
            let _ = self.send(thread, view).await;
            return;
        }
        self.parts.reload.heed_policy().await;
        let view = if self.parts.policy.now().is_operator(&actor.id) {
            pairing.map(Pairing::used);
            tracing::warn!(operator = %actor.id.0, "somebody became the operator by the pairing code.");
            self.note_admin(thread, actor, "became the operator by the pairing code");
            screens::paired()
        } else {
            View::error("Somebody else operates this bot already.")
        };
        let _ = self.send(thread, view).await;
    }

    /// Writes something of the operators' into the audit of the thread where it was done.
    pub(in crate::desk) fn note_admin(&self, thread: ThreadId, by: Actor, deed: impl Into<String>) {
        let what = What::Admin { deed: deed.into() };
        self.parts.audit.note(thread, Entry { by: Some(by), what });
    }

    /// The chat has another id, or the bot is out of it.
    async fn place_changed(self: &Arc<Self>, event: Event) {
        let of = match event.kind {
            EventKind::Migrated { from } => from,
            _ => event.thread,
        };
        let ThreadId::Telegram { chat, .. } = of else {
            return;
        };
        let store = self.parts.store.clone();
        let threads = blocking(move || store.threads_of_chat(chat)).await;
        let is_known = threads.map_or(true, |threads| !threads.is_empty())
            || self.parts.policy.now().names_chat(of);
        if is_known {
            let _ = self.post(event.thread, Work::Event(event));
        }
    }

    async fn tell_operators(&self, view: &View) {
        if self.parts.front.private_link("operators").is_none() {
            // No private chats: whoever is at this front is the operator.
            let _ = self.send(ThreadId::Local, view.clone()).await;
            return;
        }
        let policy = self.parts.policy.now();
        for operator in policy.operators.iter().take(MOST_TOLD) {
            let Some(chat) = operator.user().and_then(|user| i64::try_from(user).ok()) else {
                continue;
            };
            if let Err(error) = self
                .send(ThreadId::telegram(chat, None), view.clone())
                .await
            {
                tracing::warn!(operator = %operator.0, %error, "an operator could not be told something; have they ever written to the bot?");
            }
        }
    }
}

/// One of the things that are done at once for people outside.
struct Place(Arc<Hall>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.door.at_once.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What follows `/start`.
fn start_payload(event: &Event, our_name: Option<&str>) -> Option<String> {
    let EventKind::Text(text) = &event.kind else {
        return None;
    };
    let text = text.trim_start();
    if !command::looks_like_a_command(text) {
        return None;
    }
    match command::read(text, our_name) {
        Ok(Request::Start(payload)) => payload,
        _ => None,
    }
}

/// Whether it has the form of a link's random word.
fn is_nonce(payload: &str) -> bool {
    payload.len() == 24 && payload.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
