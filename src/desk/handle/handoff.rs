//! A secret that a group must not read: the question moves into the person's private chat and the answer comes back.
//!
//! The link carries a random word that is kept for 15 minutes, works once, and only for the person who was asked.

use serde::{Deserialize, Serialize};

use super::super::Work;
use super::super::new_id;
use super::super::records::{ConnectFlow, Flow, FlowKind, Handoff, LIFETIME_MS};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::connect::{secret_in, secret_words};
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
    what: String,
    bearer: bool,
    until_ms: i64,
}

impl Turn<'_> {
    /// A link into the person's private chat, where the open secret is asked for.
    pub(super) async fn handoff_link(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
    ) -> Result<String, Refusal> {
        self.drop_handoff(connect).await;
        let nonce = new_id() + &new_id();
        let Some(link) = self.hall.parts.front.private_link(&nonce) else {
            return Err(Refusal::Plain(format!(
                "I need {} and do not ask for it where others read along, and there is no private chat with me here. \
                 Whoever runs this bot can connect it from a shell: `switchboard do --thread {} '/mcp connect …'`.",
                secret_words(connect),
                self.thread
            )));
        };
        let shelved = Shelved {
            thread: self.thread,
            flow: flow.id.clone(),
            by: flow.by.id.clone(),
            what: secret_words(connect),
            bearer: connect.auth == Some(super::super::records::AuthKind::Bearer),
            until_ms: self.now_ms() + LIFETIME_MS,
        };
        let value = serde_json::to_value(shelved).map_err(|e| Refusal::Store(e.to_string()))?;
        let key = nonce.clone();
        self.stored(move |store| store.shelve(Shelf::Handoffs, &key, Some(&value)))
            .await?;
        connect.nonce = Some(nonce);
        Ok(link)
    }

    /// The link of a flow leads nowhere any more.
    pub(super) async fn drop_handoff(&self, connect: &mut ConnectFlow) {
        let Some(nonce) = connect.nonce.take() else {
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
                "This link is over. Press the button in the group again, or send `/mcp connect` there once more."
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
        };
        let view = question(&handoff);
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
        Ok(policy::may(standing, Action::Configure))
    }

    /// The secret came: it goes to the flow that asked for it.
    pub(super) async fn handoff_answered(&mut self, handoff: &Handoff, text: &str) -> Done {
        let note = self.hide_what_was_said().await;
        let kind = if handoff.bearer {
            super::super::records::AuthKind::Bearer
        } else {
            super::super::records::AuthKind::ApiKey
        };
        let value = secret_in(text, Some(kind))?;
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
                    "A key came for something that is over, so I forgot it. Send `/mcp connect` again.",
                ))
                .await;
        };
        let FlowKind::Connect(connect) = &flow.kind else {
            return Ok(());
        };
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
pub(super) fn question(handoff: &Handoff) -> View {
    View::titled(format!("Send {}", handoff.what))
        .line(Text::from(
            "Only you read this chat. I delete your message, keep what is in it where nobody sees it, and go on in the group. `/cancel` ends it.",
        ))
        .asking(Question {
            placeholder: "the key or token itself".to_owned(),
            of: None,
            secret: true,
        })
}
