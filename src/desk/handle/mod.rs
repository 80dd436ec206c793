//! From an event to what is done about it.

mod about;
mod add;
mod admin;
mod arguments;
mod asked;
mod asks;
mod audit;
mod call;
mod connect;
mod edit;
mod edit_remote;
mod edited;
mod flow;
mod handoff;
mod import;
mod login;
mod look;
mod network;
mod news;
mod packages;
mod permit;
mod place;
mod rules;
mod running;
mod secrets;
mod settings;
mod switch;
mod test;
mod undo;

use std::sync::Arc;

use serde_json::Value;

use super::Hall;
use super::action::Action as Press;
use super::door::Way;
use super::records::Records;
use super::refusal::Refusal;
use super::turn::Turn;
use crate::chat::{Answer, Event, EventKind, MessageId, View};
use crate::config::Masker;

pub(super) use connect::secret_words;
pub(super) use handoff::is_handoff_for;
pub(super) use handoff::{asked_on_page, given_on_page};
pub(super) use login::{Spoken, keep_client_id, login_news};
pub(super) use news::{News, news};
pub(super) use rules::{StillDenied, changed_tools, changed_view};

type Done = Result<(), Refusal>;

/// Handles one event of a thread.
pub(super) async fn event(hall: &Arc<Hall>, event: Event, records: &mut Records) {
    let policy = hall.parts.policy.now();
    let guest = match hall.door.way(&policy, &event, (hall.parts.clock)()) {
        Way::In => false,
        Way::Guest => true,
        // What happens to the place is nobody's wish.
        Way::Out(_) if matches!(event.kind, EventKind::Left | EventKind::Migrated { .. }) => false,
        // They were let in when it came, and are not any more.
        Way::Out(_) => return,
    };
    let typed = match &event.kind {
        EventKind::Text(text) | EventKind::Edited(text) | EventKind::File { caption: text, .. } => {
            Masker::of([&Value::from(text.as_str())])
        }
        EventKind::Press { .. } | EventKind::Migrated { .. } | EventKind::Left => Masker::default(),
    };
    let again = matches!(event.kind, EventKind::Text(_)).then(|| event.clone());
    let Event {
        thread,
        actor,
        private,
        message,
        kind,
    } = event;
    let mut turn = Turn {
        hall,
        records,
        thread,
        actor,
        private,
        said: message,
        pressed: None,
        again,
        hidden: false,
        press: None,
        guest,
        typed,
    };
    let done = match kind {
        EventKind::Text(text) => {
            let done = turn.text(&text).await;
            turn.hide_leftover_secret(&text).await;
            done
        }
        EventKind::Edited(text) => turn.edited(&text).await,
        EventKind::File { file, caption } => turn.file(&file, &caption).await,
        EventKind::Press { data, on, press } => {
            turn.press = Some(press);
            match Press::decode(&data) {
                Some(press) => {
                    turn.pressed = turn.in_place(&press, on);
                    turn.pressed(press).await
                }
                None => Err(Refusal::Over(
                    "This button is from an older version. Ask again with /mcp.",
                )),
            }
        }
        EventKind::Migrated { from } => turn.migrated(from).await,
        EventKind::Left => turn.left().await,
    };
    if let Err(refusal) = done {
        turn.refuse(refusal).await;
    }
    // Whatever a handler forgot: a press without an answer spins on the person's screen.
    turn.answer(Answer::Silent).await;
}

impl Turn<'_> {
    /// The message that a press may change: not one that carries somebody's open proposal, question or report, unless the
    /// press is about just that. Its number came with the press, and anybody can forge one.
    fn in_place(&self, press: &Press, on: MessageId) -> Option<MessageId> {
        let is_own = match press {
            Press::Proposal(_, id) => self
                .records
                .proposal(id)
                .is_none_or(|proposal| proposal.message == Some(on)),
            Press::Flow(_, id) => self
                .records
                .flows
                .iter()
                .any(|flow| flow.id == *id && flow.message == Some(on)),
            Press::Login(_, id) => self
                .records
                .login(id)
                .is_none_or(|login| login.message == Some(on)),
            Press::Asked(_, id) => self
                .records
                .calls
                .iter()
                .find(|call| call.id == *id)
                .is_none_or(|call| call.message == Some(on)),
            Press::Panel(_)
            | Press::Open(_)
            | Press::Server(..)
            | Press::Tools(..)
            | Press::Tool(..)
            | Press::Call(..)
            | Press::Undo(_)
            | Press::Stop(_)
            | Press::Grant(_)
            | Press::Offer(_)
            | Press::Rule(..)
            | Press::Approve(_)
            | Press::Unsay(_)
            | Press::Admit(..)
            | Press::Set(_) => {
                let logins = self.records.logins.iter().map(|login| login.message);
                let proposals = self
                    .records
                    .proposals
                    .iter()
                    .map(|proposal| proposal.message);
                let flows = self.records.flows.iter().map(|flow| flow.message);
                let waits = self.records.waits.iter().map(|wait| Some(wait.message));
                let calls = self.records.calls.iter().map(|call| call.message);
                !proposals
                    .chain(calls)
                    .chain(flows)
                    .chain(waits)
                    .chain(logins)
                    .any(|message| message == Some(on))
            }
        };
        is_own.then_some(on)
    }

    /// Deletes the person's message where a secret in it has not been dealt with: in a line that was refused, say.
    async fn hide_leftover_secret(&mut self, text: &str) {
        let has_secret = Masker::default().mask(text) != text;
        if has_secret
            && !self.hidden
            && let Some(note) = self.hide_what_was_said().await
        {
            self.send(View::text(note)).await;
        }
    }

    pub(super) async fn say(&mut self, view: View) -> Done {
        self.show(view).await;
        Ok(())
    }
}
