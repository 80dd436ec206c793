//! Views on their way to a chat: messages, edits, deletions, answers.
//!
//! Every message and edit passes the chat's lane of the limiter; answers to presses do not, because a person waits for
//! them with a spinning button.

use std::future::{Future, IntoFuture};
use std::time::Duration;

use teloxide::RequestError;
use teloxide::payloads::{AnswerCallbackQuerySetters, EditMessageTextSetters, SendMessageSetters};
use teloxide::prelude::Requester;
use teloxide::types::{
    CallbackQueryId, ChatId, ForceReply, InlineKeyboardButton, InlineKeyboardMarkup,
    LinkPreviewOptions, MessageId as TgMessageId, ParseMode, ReplyMarkup, ReplyParameters,
    ThreadId as TgThreadId,
};

use super::Telegram;
use super::failure::Failure;
use super::html::{clean, shorten};
use super::links;
use super::render::{MAX_PAGES, Page, render};
use crate::chat::{Answer, Event, EventKind, FrontError, MessageId, View};
use crate::thread::ThreadId;

/// How often a refused message is tried again when Telegram says when.
const TRIES: usize = 3;

/// What stands below a message.
#[derive(Debug, Clone, Default)]
struct Below {
    markup: Option<ReplyMarkup>,
    reply_to: Option<TgMessageId>,
}

impl Telegram {
    /// Sends a view; returns the message with the buttons.
    pub(super) async fn send_view(
        &self,
        thread: ThreadId,
        mut view: View,
    ) -> Result<MessageId, FrontError> {
        links::write_unfit(&mut view);
        hint_at_reply(thread, &mut view);
        let mut rendered = render(&view, MAX_PAGES);
        let no_text = rendered.pages.is_empty();
        let no_files = rendered.files.is_empty() && view.attachments.is_empty();
        if no_text && (no_files || keyboard(&view).is_some()) {
            view = view.line("…");
            rendered = render(&view, MAX_PAGES);
        }
        let mut sent = None;
        let mut index = 0;
        while let Some(page) = rendered.pages.get(index) {
            let below = if index + 1 == rendered.pages.len() {
                self.below(thread, &view)
            } else {
                Below::default()
            };
            match self.send_page(thread, page, &below).await {
                Ok(message) => sent = Some(message),
                Err(failure) if failure.is_bad_link() && !view.links.is_empty() => {
                    tracing::warn!(%thread, %failure, "a link could not be a button and is written out");
                    // They come last, so the pages before this one stay as they were sent.
                    links::write_all(&mut view);
                    rendered = render(&view, MAX_PAGES);
                    continue;
                }
                Err(failure) => return Err(self.refused(thread, failure)),
            }
            index += 1;
        }
        for file in rendered.files.iter().chain(&view.attachments) {
            let message = self.send_attachment(thread, file).await?;
            sent = sent.or(Some(message));
        }
        sent.ok_or_else(|| FrontError::Other("there was nothing to send".to_owned()))
    }

    /// Changes a message to a view that fits one message; what does not fit follows as files.
    pub(super) async fn edit_view(
        &self,
        thread: ThreadId,
        message: MessageId,
        mut view: View,
    ) -> Result<(), FrontError> {
        links::write_unfit(&mut view);
        hint_at_reply(thread, &mut view);
        let Ok(id) = i32::try_from(message.0) else {
            return Err(FrontError::NotEditable("no such message".to_owned()));
        };
        let current = self.edit_page(thread, id, &mut view).await?;
        if current {
            for file in render(&view, 1).files.iter().chain(&view.attachments) {
                self.send_attachment(thread, file).await?;
            }
        }
        Ok(())
    }

    /// Deletes a message. One that is gone already is deleted.
    pub(super) async fn delete_message(
        &self,
        thread: ThreadId,
        message: MessageId,
    ) -> Result<(), FrontError> {
        let (chat, _) = self.address(thread)?;
        let Ok(id) = i32::try_from(message.0) else {
            return Err(FrontError::NotEditable("no such message".to_owned()));
        };
        let deleted = self
            .ask(self.bot.delete_message(ChatId(chat), TgMessageId(id)))
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_deleted() => Ok(()),
            Err(failure) => Err(self.refused(thread, failure)),
        }
    }

    /// Answers a press of a button.
    pub(super) async fn answer_press(
        &self,
        press: CallbackQueryId,
        answer: Answer,
    ) -> Result<(), FrontError> {
        const MOST: usize = 200; // Bot API: `answerCallbackQuery.text`
        let request = self.bot.answer_callback_query(press);
        let request = match answer {
            Answer::Silent => request,
            Answer::Toast(text) => request.text(shorten(&clean(&text), MOST)),
            Answer::Alert(text) => request.text(shorten(&clean(&text), MOST)).show_alert(true),
        };
        match self.ask(request).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A plain line of the front itself, in answer to a message. Nobody waits for it.
    pub(super) async fn say(&self, thread: ThreadId, reply_to: Option<MessageId>, text: &str) {
        let page = Page {
            html: text.to_owned(),
            plain: text.to_owned(),
        };
        let below = Below {
            markup: None,
            reply_to: reply_to
                .and_then(|id| i32::try_from(id.0).ok())
                .map(TgMessageId),
        };
        if let Err(failure) = self.send_page(thread, &page, &below).await {
            let error = self.refused(thread, failure);
            tracing::debug!(%thread, %error, "a notice could not be sent");
        }
    }

    /// Makes a request without a turn, within the time that a request may take.
    pub(super) async fn ask<R, T>(&self, request: R) -> Result<T, Failure>
    where
        R: IntoFuture<Output = Result<T, RequestError>>,
    {
        within(self.patience, request.into_future()).await
    }

    /// Makes a request that shows something in a chat: in the chat's turn, again after the time that Telegram asks for,
    /// and in the group's new place where it has moved.
    pub(super) async fn show<T, F, R>(
        &self,
        thread: ThreadId,
        patience: Duration,
        request: F,
    ) -> Result<T, Failure>
    where
        F: Fn(ChatId, Option<TgThreadId>) -> R,
        R: IntoFuture<Output = Result<T, RequestError>>,
    {
        let (mut chat, topic) = self.address(thread)?;
        let mut turn = self.limiter.turn(chat).await?;
        let mut tries = 1;
        loop {
            let failure = match within(patience, request(ChatId(chat), topic).into_future()).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let again = tries < TRIES;
            tries += 1;
            if let Some(wait) = failure.retry_after() {
                turn.hold_off(wait);
                if again {
                    turn.take().await?;
                    continue;
                }
            } else if let Some(new) = failure.migrated_to().filter(|new| *new != chat) {
                self.migrated(chat, new, None);
                if again {
                    chat = new;
                    turn = self.limiter.turn(chat).await?;
                    continue;
                }
            }
            return Err(failure);
        }
    }

    /// Where a thread is today.
    pub(super) fn address(&self, thread: ThreadId) -> Result<(i64, Option<TgThreadId>), Failure> {
        match thread {
            ThreadId::Telegram { chat, topic } => Ok((
                self.migrations.current(chat),
                // General must not be named (Bot API: "message thread not found").
                topic
                    .filter(|topic| *topic > 1)
                    .map(|topic| TgThreadId(TgMessageId(topic))),
            )),
            ThreadId::Local => Err(Failure::Elsewhere),
        }
    }

    /// Passes a failure on; a thread that is gone is reported to the house, because nobody else will hear of it.
    pub(super) fn refused(&self, thread: ThreadId, failure: Failure) -> FrontError {
        let error = FrontError::from(failure);
        if matches!(error, FrontError::Gone(_)) {
            self.hand_in(Event {
                thread,
                actor: self.own_actor(),
                private: matches!(thread, ThreadId::Telegram { chat, .. } if chat > 0),
                message: None,
                kind: EventKind::Left,
            });
        }
        error
    }

    async fn send_page(
        &self,
        thread: ThreadId,
        page: &Page,
        below: &Below,
    ) -> Result<MessageId, Failure> {
        let request = |text: String, mode: Option<ParseMode>| {
            self.show(thread, self.patience, move |chat, topic| {
                let mut request = self
                    .bot
                    .send_message(chat, text.clone())
                    .link_preview_options(no_preview());
                request.parse_mode = mode;
                request.message_thread_id = topic;
                request.reply_markup.clone_from(&below.markup);
                request.reply_parameters = below
                    .reply_to
                    .map(|id| ReplyParameters::new(id).allow_sending_without_reply());
                request
            })
        };
        let mut sent = request(page.html.clone(), Some(ParseMode::Html)).await;
        if sent.as_ref().is_err_and(Failure::is_bad_entities) {
            tracing::error!(%thread, "Telegram could not read our marks, so they were left out");
            sent = request(page.plain.clone(), None).await;
        }
        sent.map(|message| MessageId(message.id.0.into()))
    }

    /// Edits one message; `false` where a newer edit of it came meanwhile.
    async fn edit_page(
        &self,
        thread: ThreadId,
        message: i32,
        view: &mut View,
    ) -> Result<bool, FrontError> {
        let (chat, _) = self.address(thread)?;
        let Some(mut turn) = self
            .limiter
            .edit_turn(chat, message)
            .await
            .map_err(Failure::from)?
        else {
            return Ok(false);
        };
        let (mut page, mut below) = (only_page(view), keyboard(view));
        let mut mode = Some(ParseMode::Html);
        for tries in 1.. {
            let text = if mode.is_some() {
                &page.html
            } else {
                &page.plain
            };
            let mut request = self
                .bot
                .edit_message_text(ChatId(chat), TgMessageId(message), text.clone())
                .link_preview_options(no_preview());
            request.parse_mode = mode;
            request.reply_markup.clone_from(&below);
            let failure = match self.ask(request).await {
                Ok(_) => return Ok(true),
                Err(failure) if failure.is_not_modified() => return Ok(true),
                Err(failure) => failure,
            };
            if let Some(new) = failure.migrated_to() {
                // Messages of the old group cannot be reached by their ids in the new one.
                self.migrated(chat, new, None);
                return Err(FrontError::NotEditable(failure.to_string()));
            }
            if failure.is_bad_entities() && mode.take().is_some() {
                tracing::error!(%thread, "Telegram could not read our marks, so they were left out");
                continue;
            }
            if failure.is_bad_link() && !view.links.is_empty() {
                tracing::warn!(%thread, %failure, "a link could not be a button and is written out");
                links::write_all(view);
                (page, below) = (only_page(view), keyboard(view));
                continue;
            }
            if let Some(wait) = failure.retry_after() {
                turn.hold_off(wait);
                if tries < TRIES {
                    turn.take().await.map_err(Failure::from)?;
                    continue;
                }
            }
            return Err(self.refused(thread, failure));
        }
        Ok(false)
    }

    /// Buttons win over a forced reply: Telegram takes one of them.
    fn below(&self, thread: ThreadId, view: &View) -> Below {
        if let Some(keyboard) = keyboard(view) {
            return Below {
                markup: Some(ReplyMarkup::InlineKeyboard(keyboard)),
                reply_to: None,
            };
        }
        let Some(question) = &view.question else {
            return Below::default();
        };
        let placeholder = clean(&question.placeholder).replace('\n', " ");
        let placeholder = shorten(placeholder.trim(), 64).into_owned();
        let reply_to = question
            .of
            .as_ref()
            .filter(|_| is_group(thread))
            .and_then(|of| self.last_messages.of(thread, of))
            .and_then(|id| i32::try_from(id.0).ok())
            .map(TgMessageId);
        let mut force = ForceReply::new()
            .input_field_placeholder((!placeholder.is_empty()).then_some(placeholder));
        // Selective without anybody to select would ask nobody.
        force.selective = reply_to.is_some();
        Below {
            markup: Some(ReplyMarkup::ForceReply(force)),
            reply_to,
        }
    }
}

/// Bounds a request: teloxide itself sleeps ten seconds inside when Telegram answers with 5xx.
pub(super) async fn within<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(patience, request).await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::Timeout),
    }
}

/// In a group the answer must be a reply; where buttons stand in the place of the forced one, a line says so.
fn hint_at_reply(thread: ThreadId, view: &mut View) {
    if is_group(thread) && view.question.is_some() && keyboard(view).is_some() {
        let hint = "Reply to this message with your answer.";
        *view = std::mem::take(view).line(hint);
    }
}

fn is_group(thread: ThreadId) -> bool {
    matches!(thread, ThreadId::Telegram { chat, .. } if chat < 0)
}

fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

/// A view as the one message that an edit can make it.
fn only_page(view: &View) -> Page {
    let mut pages = render(view, 1).pages;
    if pages.is_empty() {
        pages = render(&View::text("…"), 1).pages;
    }
    pages.swap_remove(0)
}

/// The links and buttons of a view, as Telegram takes them: at most 8 in a row and 100 in all.
fn keyboard(view: &View) -> Option<InlineKeyboardMarkup> {
    let mut rows: Vec<Vec<InlineKeyboardButton>> = view
        .links
        .iter()
        .filter_map(links::button)
        .take(100)
        .map(|button| vec![button])
        .collect();
    let mut room = 100 - rows.len();
    for row in &view.buttons {
        let fits: Vec<InlineKeyboardButton> = row
            .iter()
            .filter_map(|button| {
                let label = clean(&button.label).replace('\n', " ");
                let good = !label.trim().is_empty() && (1..=64).contains(&button.data.len());
                if !good {
                    tracing::error!(
                        label,
                        bytes = button.data.len(),
                        "a button without a label or with too much data is left out"
                    );
                }
                good.then(|| InlineKeyboardButton::callback(shorten(&label, 64), &button.data))
            })
            .take(room)
            .collect();
        room -= fits.len();
        rows.extend(fits.chunks(8).map(<[_]>::to_vec));
    }
    (!rows.is_empty()).then(|| InlineKeyboardMarkup::new(rows))
}
