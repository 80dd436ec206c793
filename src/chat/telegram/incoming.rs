//! What an update means: which of them are for us, from whom, in which thread.
//!
//! A pure reading of one update; nothing here speaks with Telegram. The rules of who may command by a message are here:
//! forwards, other bots, channels, edits and commands that are older than five minutes never run.

use std::borrow::Cow;

use teloxide::types::{
    CallbackQuery, CallbackQueryId, Chat, ChatMemberKind, ChatMemberUpdated,
    MaybeInaccessibleMessage, Message, MessageEntityKind, Update, UpdateKind, User,
};

use super::html::{clean, shorten};
use crate::actor::{Actor, ActorId};
use crate::chat::{Event, EventKind, FileRef, MessageId, PressId};
use crate::thread::ThreadId;

/// Commands that a group's members may write without naming the bot.
pub(super) const COMMANDS: [&str; 6] = ["mcp", "help", "cancel", "start", "settings", "admin"];

/// How old a command may be, in seconds: what was asked before an outage is not done after it.
const OLD_AFTER: i64 = 5 * 60;

/// `GroupAnonymousBot`, in whose name an anonymous administrator writes.
const ANONYMOUS_ADMINISTRATOR: u64 = 1_087_968_824;

/// What an update asks for.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Something for the house.
    Event(Event),
    /// Nothing for the house, but a word to the person, if they are let in.
    Say {
        /// Where.
        thread: ThreadId,
        /// Who.
        actor: ActorId,
        /// The message that it answers.
        reply_to: MessageId,
        /// What.
        text: String,
    },
    /// A press that leads nowhere; with a word to the person, if they are let in.
    Nowhere {
        /// Where, as far as Telegram still tells.
        thread: Option<ThreadId>,
        /// Who.
        actor: ActorId,
        /// The press.
        press: CallbackQueryId,
        /// The word.
        text: Option<&'static str>,
    },
    /// The group `old` has the id `new` now.
    Migrated {
        /// The former id.
        old: i64,
        /// The new id.
        new: i64,
        /// Who wrote the message that says so.
        actor: Actor,
    },
}

/// What a reader must know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The bot's user id.
    pub(super) me: u64,
    /// The bot's user name, without `@`.
    pub(super) name: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The actor id of a person.
pub(super) fn actor_id(user: u64) -> ActorId {
    ActorId(format!("tg:{user}"))
}

/// The actor id of a group's anonymous administrators, who are one to everybody else.
pub(super) fn anonymous_id(chat: i64) -> ActorId {
    ActorId::anonymous(chat)
}

impl Reader<'_> {
    /// Reads one update.
    pub(super) fn read(&self, update: Update) -> Option<Incoming> {
        match update.kind {
            UpdateKind::Message(message) => self.message(&message),
            UpdateKind::EditedMessage(message) => self.edited(&message),
            UpdateKind::CallbackQuery(query) => Some(press(query)),
            UpdateKind::MyChatMember(change) => membership(&change),
            // Channel posts are nobody's commands; nothing else is asked for in `allowed_updates`.
            _ => None,
        }
    }

    fn message(&self, message: &Message) -> Option<Incoming> {
        if let Some(migrated) = migration(message) {
            return Some(migrated);
        }
        let actor = sender(message)?;
        let thread = thread_of(message);
        let private = message.chat.is_private();
        let text = &*with_ids(message);
        let command = self.command(text, private);
        let secondhand = message.forward_origin().is_some() || message.via_bot.is_some();

        if matches!(command, Command::Other) && text.starts_with('/') && names_bot(text) {
            return None;
        }
        let document = message.document();
        let for_us = private
            || matches!(command, Command::Ours) && (document.is_none() || is_mcp(text))
            || self.is_reply_to_us(message);
        if !for_us {
            return None;
        }
        let ours = text.trim_start().starts_with('/');
        if ours && secondhand && document.is_none() {
            return Some(say(
                message,
                actor.id,
                "A forwarded command does not run; write it yourself, please.",
            ));
        }
        let age = self.now - message.date.timestamp();
        if ours && age > OLD_AFTER {
            let minutes = age / 60;
            return Some(say(
                message,
                actor.id,
                &format!(
                    "You asked this {minutes} minutes ago, while I was away; send it again if you still want it."
                ),
            ));
        }
        let kind = match document {
            Some(document) => EventKind::File {
                file: FileRef {
                    handle: document.file.id.0.clone(),
                    name: document
                        .file_name
                        .clone()
                        .unwrap_or_else(|| "file".to_owned()),
                    // teloxide fills in `u32::MAX` where Telegram did not say.
                    size: (document.file.size != u32::MAX).then(|| document.file.size.into()),
                },
                // A forwarded file is welcome, a forwarded command is not.
                caption: if ours && secondhand { "" } else { text }.to_owned(),
            },
            None if message.text().is_some() => EventKind::Text(text.to_owned()),
            None => return None,
        };
        Some(Incoming::Event(Event {
            thread,
            actor,
            private,
            message: Some(message_id(message)),
            kind,
        }))
    }

    /// An edited command never runs; what is said of it is the house's, like all that answers people.
    fn edited(&self, message: &Message) -> Option<Incoming> {
        let private = message.chat.is_private();
        let text = message.text().or(message.caption())?;
        let ours = matches!(self.command(text, private), Command::Ours) && is_mcp(text);
        let own = message.forward_origin().is_none() && message.via_bot.is_none();
        if !(ours && own) {
            return None;
        }
        Some(Incoming::Event(Event {
            thread: thread_of(message),
            actor: sender(message)?,
            private,
            message: Some(message_id(message)),
            kind: EventKind::Edited(text.to_owned()),
        }))
    }

    fn command(&self, text: &str, private: bool) -> Command {
        let Some((name, bot)) = split_command(text) else {
            return Command::None;
        };
        let ours = match bot {
            Some(bot) => bot.eq_ignore_ascii_case(self.name),
            None => private || COMMANDS.iter().any(|ours| name.eq_ignore_ascii_case(ours)),
        };
        if ours { Command::Ours } else { Command::Other }
    }

    fn is_reply_to_us(&self, message: &Message) -> bool {
        message.reply_to_message().is_some_and(|to| {
            // In a topic every message "replies" to the one that made the topic, unless it replies to something.
            to.forum_topic_created().is_none()
                && to.from.as_ref().is_some_and(|from| from.id.0 == self.me)
        })
    }
}

/// The text, with ids of people in the place of what only Telegram can look up, where operators name somebody: a mention
/// of a person without a user name, and the author of the message that `/admin …` replies to.
fn with_ids(message: &Message) -> Cow<'_, str> {
    let text = message.text().or(message.caption()).unwrap_or_default();
    let is_admin = split_command(text).is_some_and(|(name, _)| name.eq_ignore_ascii_case("admin"));
    if !is_admin {
        return Cow::Borrowed(text);
    }
    let mentioned = message.parse_entities().unwrap_or_default();
    let mentioned = mentioned.iter().find_map(|entity| match entity.kind() {
        MessageEntityKind::TextMention { user } => Some((entity.range(), user)),
        _ => None,
    });
    if let Some((range, user)) = mentioned {
        let id = actor_id(user.id.0).0;
        return Cow::Owned(format!(
            "{}{id}{}",
            &text[..range.start],
            &text[range.end..]
        ));
    }
    let replied = message
        .reply_to_message()
        .filter(|to| to.forum_topic_created().is_none() && to.sender_chat.is_none())
        .and_then(|to| to.from.as_ref())
        .filter(|author| !author.is_bot);
    // `/admin allow` and `/admin operator add`: what names nobody yet.
    let names_nobody = matches!(text.split_whitespace().count(), 2 | 3)
        && !text.contains(|c: char| c.is_ascii_digit())
        && !text.trim_end().ends_with("here");
    match replied {
        Some(author) if names_nobody => {
            Cow::Owned(format!("{} {}", text.trim_end(), actor_id(author.id.0).0))
        }
        _ => Cow::Borrowed(text),
    }
}

/// Whose command a text is.
enum Command {
    /// It is none.
    None,
    /// For this bot.
    Ours,
    /// For another bot, or nobody we know.
    Other,
}

/// The command's name and the bot that it names.
fn split_command(text: &str) -> Option<(&str, Option<&str>)> {
    let first = text
        .trim_start()
        .strip_prefix('/')?
        .split_whitespace()
        .next()?;
    Some(match first.split_once('@') {
        Some((name, bot)) => (name, Some(bot)),
        None => (first, None),
    })
}

fn is_mcp(text: &str) -> bool {
    split_command(text).is_some_and(|(name, _)| name.eq_ignore_ascii_case("mcp"))
}

fn names_bot(text: &str) -> bool {
    split_command(text).is_some_and(|(_, bot)| bot.is_some())
}

/// Who wrote a message, where it is somebody who may speak to us: a person, or a group's anonymous administrator.
fn sender(message: &Message) -> Option<Actor> {
    if message.is_automatic_forward() || message.chat.is_channel() {
        return None;
    }
    let from = message.from.as_ref()?;
    match &message.sender_chat {
        Some(chat) if chat.id == message.chat.id && from.id.0 == ANONYMOUS_ADMINISTRATOR => {
            Some(Actor {
                id: anonymous_id(chat.id.0),
                name: message
                    .author_signature()
                    .map_or_else(|| "an anonymous administrator".to_owned(), name_of),
            })
        }
        Some(_) => None,
        None if from.is_bot => None,
        None => Some(person(from)),
    }
}

fn person(user: &User) -> Actor {
    Actor {
        id: actor_id(user.id.0),
        name: name_of(&user.full_name()),
    }
}

/// A name as it may stand in a line of text.
fn name_of(name: &str) -> String {
    shorten(&clean(name).replace('\n', " "), 64).into_owned()
}

fn thread_of(message: &Message) -> ThreadId {
    // A plain reply in a supergroup carries a thread id too; only `is_topic_message` makes it a topic.
    let topic = message.thread_id.filter(|_| message.is_topic_message);
    ThreadId::telegram(message.chat.id.0, topic.map(|topic| topic.0.0))
}

fn message_id(message: &Message) -> MessageId {
    MessageId(message.id.0.into())
}

fn say(message: &Message, actor: ActorId, text: &str) -> Incoming {
    Incoming::Say {
        thread: thread_of(message),
        actor,
        reply_to: message_id(message),
        text: text.to_owned(),
    }
}

fn press(query: CallbackQuery) -> Incoming {
    // Only a message that Telegram still shows tells its topic.
    let Some(MaybeInaccessibleMessage::Regular(message)) = &query.message else {
        let chat = query.message.as_ref().map(|message| message.chat().id.0);
        return Incoming::Nowhere {
            thread: chat.map(|chat| ThreadId::telegram(chat, None)),
            actor: person(&query.from).id,
            press: query.id,
            text: Some("This message is too old; send /mcp for a new one."),
        };
    };
    let Some(data) = query.data else {
        return Incoming::Nowhere {
            thread: Some(thread_of(message)),
            actor: person(&query.from).id,
            press: query.id,
            text: None,
        };
    };
    Incoming::Event(Event {
        thread: thread_of(message),
        actor: person(&query.from),
        private: message.chat.is_private(),
        message: None,
        kind: EventKind::Press {
            data,
            on: message_id(message),
            press: PressId(query.id.0),
        },
    })
}

fn migration(message: &Message) -> Option<Incoming> {
    let here = message.chat.id.0;
    let (old, new) = match (message.migrate_to_chat_id(), message.migrate_from_chat_id()) {
        (Some(new), _) => (here, new.0),
        (None, Some(old)) => (old.0, here),
        (None, None) => return None,
    };
    let actor = message.from.as_ref().map_or_else(
        || Actor {
            id: anonymous_id(here),
            name: "Telegram".to_owned(),
        },
        person,
    );
    Some(Incoming::Migrated { old, new, actor })
}

fn membership(change: &ChatMemberUpdated) -> Option<Incoming> {
    if change.chat.is_channel() {
        return None;
    }
    let event = |kind| {
        Incoming::Event(Event {
            thread: ThreadId::telegram(change.chat.id.0, None),
            actor: person(&change.from),
            private: change.chat.is_private(),
            message: None,
            kind,
        })
    };
    match (
        is_in(&change.old_chat_member.kind),
        is_in(&change.new_chat_member.kind),
    ) {
        (_, false) => Some(event(EventKind::Left)),
        (false, true) if is_group(&change.chat) => {
            Some(event(EventKind::Text("/start".to_owned())))
        }
        // Unblocked in private, where the person's own `/start` follows; or other rights than before.
        (false | true, true) => None,
    }
}

fn is_group(chat: &Chat) -> bool {
    chat.is_group() || chat.is_supergroup()
}

fn is_in(kind: &ChatMemberKind) -> bool {
    match kind {
        ChatMemberKind::Owner(_) | ChatMemberKind::Administrator(_) | ChatMemberKind::Member(_) => {
            true
        }
        ChatMemberKind::Restricted(restricted) => restricted.is_member,
        ChatMemberKind::Left | ChatMemberKind::Banned(_) => false,
    }
}
