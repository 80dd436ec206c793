//! The port between conversations and the rooms behind them.
//!
//! A front turns what comes in into an [`Event`] and renders a [`View`]. Nothing here or behind it knows teloxide or
//! rustyline; nothing in a front knows what a server is. Escaping, splitting and rate limits are the renderer's.

pub mod telegram;
pub mod terminal;
mod view;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use view::{
    Answer, Attachment, AttachmentKind, Block, Button, Link, Question, Span, Text, View,
};

use crate::actor::{Actor, ActorId, Standing};
use crate::thread::ThreadId;

/// A message within its thread, as the front numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MessageId(pub i64);

/// Something that happened in a thread.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where.
    pub thread: ThreadId,
    /// By whom.
    pub actor: Actor,
    /// Whether only this person reads the thread (a private chat or the terminal).
    pub private: bool,
    /// The person's own message, where there is one; it can be deleted when it carries a secret.
    pub message: Option<MessageId>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// Text was written: a command when it begins with `/`, else an answer to a question or small talk. Verbatim.
    Text(String),
    /// A command was edited: it never runs, but may hold a secret. Verbatim.
    Edited(String),
    /// A file was sent, perhaps with a caption.
    File {
        /// The file, still at the front; [`Front::fetch`] brings it.
        file: FileRef,
        /// The caption, verbatim; a command when it begins with `/`.
        caption: String,
    },
    /// A button was pressed.
    Press {
        /// The [`Button::data`] of the button; untrusted, anybody can forge it.
        data: String,
        /// The message that carries the button.
        on: MessageId,
        /// What [`Front::answer`] wants back.
        press: PressId,
    },
    /// The chat has a new id: what `from` had belongs to the event's thread now. Topics of the old chat move along.
    Migrated {
        /// The thread's former id.
        from: ThreadId,
    },
    /// The bot was put out of the chat, or the topic was deleted: the thread's servers must stop.
    Left,
}

/// A file that a person sent and that is still at the front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// The front's handle (Bot API: `file_id`; terminal: a path).
    pub handle: String,
    /// The file's name as the sender gave it; untrusted.
    pub name: String,
    /// Bytes, where the front was told.
    pub size: Option<u64>,
}

/// The front's handle of one press of a button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressId(pub String);

/// What a front can do; handlers degrade by these, never by a front's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four independent facts, read by name"
)]
pub struct Capabilities {
    /// A sent message can be changed.
    pub edit: bool,
    /// A person's own message can be deleted.
    pub delete_theirs: bool,
    /// Files can be sent and received.
    pub files: bool,
    /// Buttons can be tapped; where not, they are numbered choices.
    pub buttons: bool,
}

/// Why a front could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The thread cannot be written to any more (kicked, topic deleted, chat gone).
    #[error("the thread is gone: {0}")]
    Gone(String),
    /// The message cannot be changed or found any more; send a new one.
    #[error("the message cannot be changed: {0}")]
    NotEditable(String),
    /// The file is larger than was allowed.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The most that was allowed, in bytes.
        limit: usize,
    },
    /// Anything else; the text holds no secret and no token.
    #[error("{0}")]
    Other(String),
}

/// Where a front hands in what happened. One implementation: the desk.
pub trait EventSink: Send + Sync {
    /// Takes an event and returns at once; what follows from it happens elsewhere. A front never waits here.
    fn deliver(&self, event: Event) -> Result<(), Busy>;

    /// Whether this person is let in here. What a front says by itself, it says to nobody else: strangers hear one sentence
    /// an hour, and that is the desk's. Returns at once.
    fn lets_in(&self, thread: ThreadId, actor: &ActorId) -> bool;
}

/// The thread has more unfinished events than it may; this one was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is waiting in this thread")]
pub struct Busy;

/// A way for people to talk with the bot. One implementation a front; handlers hold it as `Arc<dyn Front>`.
#[async_trait]
pub trait Front: Send + Sync + fmt::Debug {
    /// What this front can do.
    fn capabilities(&self) -> Capabilities;

    /// Sends a view as a new message (or several where it is long) and returns the message that carries the buttons.
    async fn send(&self, thread: ThreadId, view: View) -> Result<MessageId, FrontError>;

    /// Changes a message in place. Newer edits of one message replace older ones that still wait.
    async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError>;

    /// Deletes a message, the person's own where [`Capabilities::delete_theirs`].
    async fn delete(&self, thread: ThreadId, message: MessageId) -> Result<(), FrontError>;

    /// Brings a sent file, at most `limit` bytes.
    async fn fetch(&self, file: &FileRef, limit: usize) -> Result<Vec<u8>, FrontError>;

    /// A link that leads a person from a group into their private chat with the bot, which then hears `/start NONCE` from
    /// them (Bot API: deep linking, 1 to 64 characters of `[A-Za-z0-9_-]`); `None` where there is no such thing.
    fn private_link(&self, _nonce: &str) -> Option<String> {
        None
    }

    /// Answers a press; every press is answered once, at once.
    async fn answer(&self, press: &PressId, answer: Answer) -> Result<(), FrontError>;

    /// What the person is in the chat, asked of the front now (cached for 60 s at most; `fresh` asks again).
    async fn standing(
        &self,
        thread: ThreadId,
        actor: &ActorId,
        fresh: bool,
    ) -> Result<Standing, FrontError>;
}
