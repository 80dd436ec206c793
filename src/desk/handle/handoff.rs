//! A secret that a group must not read: the question moves into the person's private chat and the answer comes back.
//!
//! The link carries a random word that is kept for 15 minutes, works once, and only for the person who was asked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::records::{AuthKind, ConnectStep, Flow, FlowKind, Handoff, LIFETIME_MS};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::super::{Hall, Work, blocking, new_id};
use super::connect::secret_in;
use super::secrets::plain_secret;
use super::{Done, News};
use crate::actor::{Actor, ActorId, Standing};
use crate::chat::{Question, Text, View};
use crate::policy::{self, Action};
use crate::secret::Secret;
use crate::store::Shelf;
use crate::thread::ThreadId;

/// What a link leads to.
#[derive(Serialize, Deserialize)]
struct Shelved {
    thread: ThreadId,
    flow: String,
    by: ActorId,
    /// What they are called, for the page.
    #[serde(default)]
    name: String,
    what: String,
    bearer: bool,
    #[serde(default)]
    plain: bool,
    until_ms: i64,
}

/// Whether a link's random word leads to a question that is open for this person. Where an anonymous administrator began,
/// nobody can tell yet who comes: that is asked when they do.
pub(in crate::desk) async fn is_handoff_for(
    hall: &Hall,
    nonce: &str,
    person: &ActorId,
    now_ms: i64,
) -> bool {
    let (store, key) = (hall.parts.store.clone(), nonce.to_owned());
    let value = blocking(move || store.shelved(Shelf::Handoffs, &key)).await;
    let shelved: Option<Shelved> = value
        .ok()
        .flatten()
        .and_then(|value| serde_json::from_value(value).ok());
    shelved.is_some_and(|shelved| {
        (shelved.by == *person || shelved.by.is_shared()) && now_ms <= shelved.until_ms
    })
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A token.
    Bearer,
    /// An API key.
    Key,
    /// Anything, kept as it is.
    Plain,
}

impl Kind {
    fn of(bearer: bool, plain: bool) -> Self {
        match (bearer, plain) {
            (_, true) => Self::Plain,
            (true, false) => Self::Bearer,
            (false, false) => Self::Key,
        }
    }

    fn secret_in(self, text: &str) -> Result<Secret, Refusal> {
        match self {
            Self::Bearer => secret_in(text, Some(AuthKind::Bearer)),
            Self::Key => secret_in(text, Some(AuthKind::ApiKey)),
            Self::Plain => plain_secret(text),
        }
    }
}

/// What a page asks for, where its address is good.
pub(in crate::desk) async fn asked_on_page(hall: &Arc<Hall>, nonce: &str) -> Option<String> {
    let shelved = shelved_page(hall, nonce).await?;
    Some(format!("{}, for {}", shelved.what, shelved.name))
}

/// A secret was entered on a page: it goes to the flow that asked for it, once. Whether the address was good; or why the
/// value is none.
pub(in crate::desk) async fn given_on_page(
    hall: &Arc<Hall>,
    nonce: &str,
    value: Secret,
) -> Result<bool, String> {
    let Some(shelved) = shelved_page(hall, nonce).await else {
        return Ok(false);
    };
    let kind = Kind::of(shelved.bearer, shelved.plain);
    let value = kind
        .secret_in(value.expose())
        .map_err(|refusal| refusal.sentence())?;
    let (store, key) = (hall.parts.store.clone(), page_key(nonce));
    let taken = blocking(move || store.take_shelved(Shelf::Handoffs, &key)).await;
    if !matches!(taken, Ok(Some(_))) {
        // Somebody was faster.
        return Ok(false);
    }
    let thread = match hall.parts.store.alias(shelved.thread) {
        Ok(Some(now)) => now,
        Ok(None) | Err(_) => shelved.thread,
    };
    let news = News::Secret {
        flow: shelved.flow,
        by: Actor {
            id: shelved.by,
            name: shelved.name,
        },
        value,
    };
    hall.post(thread, Work::News(news))
        .map(|()| true)
        .map_err(|_| "Too much waits there. Begin again in the chat in a moment.".to_owned())
}

async fn shelved_page(hall: &Arc<Hall>, nonce: &str) -> Option<Shelved> {
    let (store, key) = (hall.parts.store.clone(), page_key(nonce));
    let value = blocking(move || store.shelved(Shelf::Handoffs, &key)).await;
    let shelved: Shelved = serde_json::from_value(value.ok()??).ok()?;
    ((hall.parts.clock)() <= shelved.until_ms).then_some(shelved)
}

/// What is kept of a page's address: not the address.
fn page_key(nonce: &str) -> String {
    let digest = Sha256::digest(nonce.as_bytes());
    let hex = digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("page:{hex}")
}

impl Turn<'_> {
    /// A link into the person's private chat, where a secret is asked for that the flow needs; and the word in it, for
    /// [`Turn::drop_handoff`].
    pub(super) async fn handoff_link(
        &mut self,
        flow: &Flow,
        what: String,
        kind: Kind,
    ) -> Result<(String, String), Refusal> {
        let nonce = new_id() + &new_id();
        let Some(link) = self.hall.parts.front.private_link(&nonce) else {
            return Err(Refusal::Plain(format!(
                "I need {what} and do not ask for it where others read along, and there is no private chat with me here. \
                 Whoever runs this bot can do it from a shell: `switchboard do --thread {} '/mcp …'`.",
                self.thread
            )));
        };
        self.shelve_question(&nonce, flow, what, kind).await?;
        Ok((nonce, link))
    }

    /// The address of a page where the secret that a flow needs can be entered instead; `None` where there are no pages.
    /// For a private chat alone: whoever has the address may enter something.
    pub(super) async fn entry_page(
        &self,
        flow: &Flow,
        what: &str,
        kind: Kind,
    ) -> Result<Option<String>, Refusal> {
        if self.hall.parts.one_shot {
            return Ok(None);
        }
        let Some(public) = &self.hall.parts.public_url else {
            return Ok(None);
        };
        let nonce = new_id() + &new_id() + &new_id();
        self.shelve_question(&page_key(&nonce), flow, what.to_owned(), kind)
            .await?;
        let base = public.as_str().trim_end_matches('/');
        Ok(Some(format!("{base}/secret/{nonce}")))
    }

    async fn shelve_question(
        &self,
        key: &str,
        flow: &Flow,
        what: String,
        kind: Kind,
    ) -> Result<(), Refusal> {
        let shelved = Shelved {
            thread: self.thread,
            flow: flow.id.clone(),
            by: flow.by.id.clone(),
            name: flow.by.name.clone(),
            what,
            bearer: kind == Kind::Bearer,
            plain: kind == Kind::Plain,
            until_ms: self.now_ms() + LIFETIME_MS,
        };
        let value = serde_json::to_value(shelved).map_err(|e| Refusal::Store(e.to_string()))?;
        let key = key.to_owned();
        self.stored(move |store| store.shelve(Shelf::Handoffs, &key, Some(&value)))
            .await
    }

    /// The link of a flow leads nowhere any more.
    pub(super) async fn drop_handoff(&self, nonce: &mut Option<String>) {
        let Some(nonce) = nonce.take() else {
            return;
        };
        // One that stays is over by its time all the same.
        let _ = self
            .stored(move |store| store.shelve(Shelf::Handoffs, &nonce, None))
            .await;
    }

    /// `/start NONCE` in a private chat.
    pub(super) async fn take_handoff(&mut self, nonce: &str) -> Done {
        let over = || {
            Refusal::Plain(
                "This link is over. Press the button in the group again, or begin there once more."
                    .to_owned(),
            )
        };
        if !self.private {
            return Err(over());
        }
        // It looks like a secret and is spent by now.
        self.hidden = true;
        let key = nonce.to_owned();
        let value = self
            .stored(move |store| store.shelved(Shelf::Handoffs, &key))
            .await?;
        let shelved: Option<Shelved> = value.and_then(|value| serde_json::from_value(value).ok());
        let Some(shelved) = shelved else {
            return Err(over());
        };
        if !self.is_asked_by(&shelved).await? {
            // It stays for the one it is for.
            return Err(Refusal::Plain(
                "This link is for somebody else: who began in the group must open it.".to_owned(),
            ));
        }
        let key = nonce.to_owned();
        self.stored(move |store| store.shelve(Shelf::Handoffs, &key, None))
            .await?;
        if self.now_ms() > shelved.until_ms {
            return Err(over());
        }
        let handoff = Handoff {
            thread: shelved.thread,
            flow: shelved.flow,
            by: shelved.by,
            what: shelved.what,
            bearer: shelved.bearer,
            plain: shelved.plain,
        };
        let asking = Flow {
            id: handoff.flow.clone(),
            by: Actor {
                id: handoff.by.clone(),
                name: self.actor.name.clone(),
            },
            message: None,
            kind: FlowKind::Handoff(handoff.clone()),
            at_ms: self.now_ms(),
        };
        let kind = Kind::of(handoff.bearer, handoff.plain);
        // The flow is the other thread's, and so is the page's answer.
        let here = std::mem::replace(&mut self.thread, handoff.thread);
        let page = self.entry_page(&asking, &handoff.what, kind).await;
        self.thread = here;
        let view = question(&handoff, page?.as_deref());
        self.begin_flow(FlowKind::Handoff(handoff), view).await
    }

    /// Whether the link was made for this person. Where an anonymous administrator began, it is for those who configure
    /// there.
    async fn is_asked_by(&self, shelved: &Shelved) -> Result<bool, Refusal> {
        if !shelved.by.is_shared() {
            return Ok(shelved.by == self.actor.id);
        }
        let front = &self.hall.parts.front;
        let asked = front.standing(shelved.thread, &self.actor.id, true);
        let standing: Standing = self
            .hall
            .small(asked)
            .await
            .map_err(|error| Refusal::StandingUnknown(error.to_string()))?;
        let settings = self.settings_of(shelved.thread).await?;
        Ok(policy::may(standing, settings, Action::Configure))
    }

    /// The secret came: it goes to the flow that asked for it.
    pub(super) async fn handoff_answered(&mut self, handoff: &Handoff, text: &str) -> Done {
        self.hush(text);
        let note = self.hide_what_was_said().await;
        let value = Kind::of(handoff.bearer, handoff.plain).secret_in(text)?;
        let thread = match self.hall.parts.store.alias(handoff.thread) {
            Ok(Some(now)) => now,
            Ok(None) | Err(_) => handoff.thread,
        };
        let news = News::Secret {
            flow: handoff.flow.clone(),
            by: self.actor.clone(),
            value,
        };
        if self.hall.post(thread, Work::News(news)).is_err() {
            return Err(Refusal::Plain(
                "Too much waits there. Send it again in a moment.".to_owned(),
            ));
        }
        let view = View::text("Thank you. It goes on in the group.");
        let view = match note {
            Some(note) => view.line(note),
            None => view,
        };
        self.say(view).await
    }

    /// The secret that a flow here asked for came from the person's private chat.
    pub(super) async fn handed(&mut self, id: &str, value: Secret) -> Done {
        let flow = self
            .records
            .flows
            .iter()
            .find(|flow| flow.id == id)
            .cloned();
        let Some(flow) = flow else {
            // Cancelled or too old: the value is dropped here, unstored.
            return self
                .say(View::error(
                    "A key came for something that is over, so I forgot it. Begin again, please.",
                ))
                .await;
        };
        if let FlowKind::Secret(secret) = &flow.kind {
            let secret = secret.clone();
            self.records.flows.retain(|other| other.id != id);
            self.actor = flow.by.clone();
            self.pressed = flow.message;
            return self.keep_given(&secret, value).await;
        }
        let FlowKind::Connect(connect) = &flow.kind else {
            return Ok(());
        };
        if connect.step != ConnectStep::Secret {
            return self
                .say(View::error(
                    "A key came that nobody waits for any more, so I forgot it.",
                ))
                .await;
        }
        let mut connect = (**connect).clone();
        connect.nonce = None;
        // The person is the flow's, whoever of the administrators typed.
        let by: Actor = flow.by.clone();
        self.actor = by;
        self.pressed = flow.message;
        self.connect_with_secret(flow, connect, value).await
    }
}

/// The question in the private chat.
pub(super) fn question(handoff: &Handoff, page: Option<&str>) -> View {
    let view = View::titled(format!("Send {}", handoff.what)).line(Text::from(
        "Only you read this chat. I delete your message, keep what is in it where nobody sees it, and go on in the group. `/cancel` ends it.",
    ));
    let view = match page {
        Some(page) => screens::with_page(view, Some(page)),
        None => view,
    };
    view.asking(Question {
        placeholder: "the key or token itself".to_owned(),
        of: None,
        secret: true,
    })
}
