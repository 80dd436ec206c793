//! Changes: what waits for Apply, and the messages that tell what came of what was applied.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{LIFETIME_MS, LoginWish, is_within};
use crate::actor::Actor;
use crate::chat::MessageId;
use crate::config::{Edit, FileKind, Revision, SecretName};

/// A change that waits for Apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Proposal {
    /// Random, unguessable; in the buttons.
    pub(in crate::desk) id: String,
    /// Who began, and alone may apply.
    pub(in crate::desk) by: Actor,
    /// The message with the buttons.
    pub(in crate::desk) message: Option<MessageId>,
    /// The revision that the shown diff is against.
    pub(in crate::desk) base: Revision,
    /// What it does in a few words: `add github`.
    pub(in crate::desk) title: String,
    /// The edit.
    pub(in crate::desk) edit: Edit,
    /// It came as a whole file, so it can also replace everything.
    #[serde(default)]
    pub(in crate::desk) can_replace: bool,
    /// It replaces everything: what it does not name goes.
    #[serde(default)]
    pub(in crate::desk) replaces: bool,
    /// What was changed while reading, and remote entries with their connect lines.
    #[serde(default)]
    pub(in crate::desk) notes: Vec<String>,
    /// The history entry that it turns round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) undoes: Option<String>,
    /// It replaces a broken file by the last good configuration.
    #[serde(default)]
    pub(in crate::desk) repairs: bool,
    /// Facts about what it brings, name and value; values are untrusted.
    #[serde(default)]
    pub(in crate::desk) about: Vec<(String, String)>,
    /// Secrets that were stored for it.
    #[serde(default)]
    pub(in crate::desk) secrets: Vec<SecretName>,
    /// Secrets of other servers that it names, too: kept for it, and used by those as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::desk) shares: Vec<SecretName>,
    /// It connects a remote server that the person has seen whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) connects: Option<Connects>,
    /// When it was shown, in milliseconds since the epoch.
    pub(in crate::desk) at_ms: i64,
}

impl Proposal {
    /// What it does, as it would be applied now.
    pub(in crate::desk) fn title(&self) -> String {
        if self.replaces {
            "replace all servers".to_owned()
        } else {
            self.title.clone()
        }
    }
}

/// What a proposal connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Connects {
    /// The server, as it will be named.
    pub(in crate::desk) server: String,
    /// A login follows.
    pub(in crate::desk) oauth: bool,
    /// The client id for it, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) client_id: Option<String>,
}

/// A message that will be edited when a revision's servers have settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Wait {
    /// The revision that was written.
    pub(in crate::desk) revision: Revision,
    /// The message.
    pub(in crate::desk) message: MessageId,
    /// What was done: `add github`.
    pub(in crate::desk) title: String,
    /// The servers that it touched, whose states are told.
    #[serde(default)]
    pub(in crate::desk) names: Vec<String>,
    /// The history entry, for Undo.
    pub(in crate::desk) entry: Option<String>,
    /// What was shown of a change that was made on the host; it stays in the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) host: Option<HostChange>,
    /// A login that is begun in this message if the server wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) login: Option<LoginWish>,
    /// When it was written.
    pub(in crate::desk) at_ms: i64,
    /// When this process made it; `None` from before a restart, which is reported at the first chance.
    #[serde(skip)]
    pub(in crate::desk) since: Option<Instant>,
}

/// A change that was made on the bot's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct HostChange {
    /// The files.
    pub(in crate::desk) files: Vec<FileKind>,
    /// The masked difference.
    pub(in crate::desk) diff: String,
    /// Who did it from a shell; `None` where somebody edited the file.
    #[serde(default)]
    pub(in crate::desk) by: Option<String>,
}

impl Proposal {
    /// Whether it can still be applied.
    pub(in crate::desk) fn is_open(&self, now_ms: i64) -> bool {
        is_within(now_ms, self.at_ms, LIFETIME_MS)
    }
}
