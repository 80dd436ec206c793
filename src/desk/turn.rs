//! One event being handled: who asks, where, and how to answer them.

use std::sync::Arc;

use super::records::Records;
use super::refusal::Refusal;
use super::screens;
use super::{Hall, blocking};
use crate::actor::{Actor, Standing};
use crate::chat::{Answer, Event, FrontError, MessageId, PressId, View};
use crate::command::CommandError;
use crate::config::{Masker, ServerName};
use crate::policy::{self, Action, ChatSettings};
use crate::reload::Loaded;
use crate::store::{Store, StoreError};
use crate::thread::ThreadId;

/// What a handler works with. It lives for one event.
pub(super) struct Turn<'a> {
    pub(super) hall: &'a Arc<Hall>,
    pub(super) records: &'a mut Records,
    pub(super) thread: ThreadId,
    pub(super) actor: Actor,
    pub(super) private: bool,
    /// The person's own message, if the event is one.
    pub(super) said: Option<MessageId>,
    /// The message whose button was pressed, if the event is a press.
    pub(super) pressed: Option<MessageId>,
    /// The event itself, to be handled again later; only what was typed.
    pub(super) again: Option<Event>,
    /// The person's own message was deleted, because it held a secret.
    pub(super) hidden: bool,
    /// The press that is not answered yet.
    pub(super) press: Option<PressId>,
    /// They are here only to answer what a group asked them.
    pub(super) guest: bool,
    /// Knows the secrets in what they typed: no answer repeats them, whatever it quotes.
    pub(super) typed: Masker,
}

impl<'a> Turn<'a> {
    /// A turn for what came of something that a person began and that ran in a task.
    pub(super) fn of_task(
        hall: &'a Arc<Hall>,
        records: &'a mut Records,
        thread: ThreadId,
        actor: Actor,
        private: bool,
    ) -> Self {
        Self {
            hall,
            records,
            thread,
            actor,
            private,
            said: None,
            pressed: None,
            again: None,
            hidden: false,
            press: None,
            guest: false,
            typed: Masker::default(),
        }
    }
}

impl Turn<'_> {
    /// Shows a view: in the message whose button was pressed, else as a new one. Returns the message that carries it, or
    /// `None` where the thread cannot be written to.
    pub(super) async fn show(&mut self, view: View) -> Option<MessageId> {
        let view = self.without_typed_secrets(view);
        self.answer(Answer::Silent).await;
        if let Some(message) = self.pressed {
            match self.hall.edit(self.thread, message, view.clone()).await {
                Ok(()) => return Some(message),
                Err(FrontError::NotEditable(_)) => {}
                Err(error) => {
                    self.could_not_send(&error);
                    return None;
                }
            }
        }
        self.send(view).await
    }

    /// Shows a view in a given message of ours, or as a new one where that is gone.
    pub(super) async fn show_in(
        &mut self,
        message: Option<MessageId>,
        view: View,
    ) -> Option<MessageId> {
        self.pressed = self.pressed.or(message);
        self.show(view).await
    }

    /// Sends a new message.
    pub(super) async fn send(&self, view: View) -> Option<MessageId> {
        let view = self.without_typed_secrets(view);
        match self.hall.send(self.thread, view).await {
            Ok(message) => Some(message),
            Err(error) => {
                self.could_not_send(&error);
                None
            }
        }
    }

    fn could_not_send(&self, error: &FrontError) {
        tracing::warn!(thread = %self.thread, %error, "an answer could not be delivered.");
    }

    /// Answers the press, if there is one that has no answer yet.
    pub(super) async fn answer(&mut self, answer: Answer) {
        let Some(press) = self.press.take() else {
            return;
        };
        let answered = self
            .hall
            .small(self.hall.parts.front.answer(&press, answer))
            .await;
        if let Err(error) = answered {
            tracing::debug!(thread = %self.thread, %error, "a press could not be answered.");
        }
    }

    /// Refuses what was asked: an alert for a press, whose message stays as it is; else a message.
    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        if self.press.is_some() && refusal.fits_alert() {
            self.answer(Answer::Alert(refusal.sentence())).await;
            return;
        }
        self.answer(Answer::Silent).await;
        let mut view = refusal.view();
        if self.typed.knows_any() {
            // What it quotes may be a part of what was typed: cut short, say. The usage below it is our own.
            let is_usage = matches!(&refusal, Refusal::Command(CommandError::Usage { .. }));
            let usage = is_usage.then(|| view.blocks.pop()).flatten();
            view = screens::masked(view, &|text, is_quoted| {
                self.typed.mask_typed(&self.typed.mask(text), is_quoted)
            });
            view.blocks.extend(usage);
        }
        self.send(view).await;
    }

    /// The view without the secrets that stood in what the person typed: their message is deleted for these.
    fn without_typed_secrets(&self, view: View) -> View {
        if !self.typed.knows_any() {
            return view;
        }
        screens::masked(view, &|text, is_quoted| {
            self.typed.mask_typed(text, is_quoted)
        })
    }

    /// A secret that they just gave, and that is told as one by nothing beside it: no answer of this turn repeats it,
    /// however short it is. Answers to others are masked by what is looked for everywhere.
    pub(super) fn hush(&mut self, secret: &str) {
        let typed = std::mem::take(&mut self.typed);
        self.typed = typed.and([secret.trim().to_owned()]);
    }

    /// Whether the person may do this here. `fresh` asks the front anew, as an Apply must.
    pub(super) async fn may(&self, action: Action, fresh: bool) -> Result<(), Refusal> {
        if self.is_operator() {
            return Ok(());
        }
        let standing = self.standing(fresh).await?;
        let settings = self.chat_settings().await?;
        if policy::may(standing, settings, action) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed(action, settings))
        }
    }

    /// What the person is in this chat; `fresh` asks the front anew.
    pub(super) async fn standing(&self, fresh: bool) -> Result<Standing, Refusal> {
        if self.private {
            return Ok(Standing::Own);
        }
        let front = &self.hall.parts.front;
        let asked = front.standing(self.thread, &self.actor.id, fresh);
        let standing = self.hall.small(asked).await;
        standing.map_err(|error| Refusal::StandingUnknown(error.to_string()))
    }

    /// Whether the person operates the bot.
    pub(super) fn is_operator(&self) -> bool {
        self.hall.parts.policy.now().is_operator(&self.actor.id)
    }

    /// Whether the person may add, change or enable servers that run on the bot's host, here.
    pub(super) fn may_add_local(&self) -> Result<(), Refusal> {
        let policy = self.hall.parts.policy.now();
        if policy.may_add_local(self.thread, &self.actor.id) {
            Ok(())
        } else {
            Err(Refusal::LocalServers)
        }
    }

    /// What the creator of this chat decided.
    pub(super) async fn chat_settings(&self) -> Result<ChatSettings, Refusal> {
        if self.private {
            return Ok(ChatSettings::default());
        }
        self.settings_of(self.thread).await
    }

    /// What the creator of a chat decided.
    pub(super) async fn settings_of(&self, thread: ThreadId) -> Result<ChatSettings, Refusal> {
        let chat = thread.chat();
        self.stored(move |store| store.chat_settings(chat)).await
    }

    /// The thread's configuration, loaded if it was not.
    pub(super) async fn loaded(&self) -> Result<Loaded, Refusal> {
        self.hall
            .parts
            .reload
            .touch(self.thread)
            .await
            .map_err(|error| Refusal::Store(error.to_string()))
    }

    /// The configuration, where a change may be built on it: not while the file on disk is broken.
    pub(super) async fn sound(&self) -> Result<Loaded, Refusal> {
        let loaded = self.loaded().await?;
        match loaded.broken {
            Some(broken) => Err(Refusal::Broken(broken)),
            None => Ok(loaded),
        }
    }

    /// The name of a configured server, as typed or in other capitals; else the nearest one is offered.
    pub(super) fn server_named(loaded: &Loaded, typed: &str) -> Result<ServerName, Refusal> {
        let names = || loaded.config.names();
        if let Some(name) = names().find(|name| name.as_str() == typed) {
            return Ok(name.clone());
        }
        let mut alike = names().filter(|name| name.as_str().eq_ignore_ascii_case(typed));
        if let (Some(name), None) = (alike.next(), alike.next()) {
            return Ok(name.clone());
        }
        let nearest =
            crate::command::nearest(typed, names().map(ServerName::as_str)).map(str::to_owned);
        Err(Refusal::NoServer {
            typed: typed.to_owned(),
            nearest,
            any: names().next().is_some(),
        })
    }

    /// Whether the thread may change this server: not one of the operator's.
    pub(super) fn is_the_threads(loaded: &Loaded, name: &ServerName) -> Result<(), Refusal> {
        let mut admin = loaded.config.admin.iter();
        if admin.any(|(other, _)| other == name) {
            Err(Refusal::FromOperator(name.to_string()))
        } else {
            Ok(())
        }
    }

    /// Something of the store, off the async threads.
    pub(super) async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.hall.parts.store.clone();
        blocking(move || work(&store))
            .await
            .map_err(|error| Refusal::Store(error.to_string()))
    }

    /// Writes the records now, before a message goes out whose buttons need them.
    pub(super) async fn keep_records(&self) {
        self.hall.write_records(self.thread, self.records).await;
    }

    /// Milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        (self.hall.parts.clock)()
    }
}
