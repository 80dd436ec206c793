//! Who did something, as far as a front can tell.

use serde::{Deserialize, Serialize};

/// A person, as the front knows them: `tg:<user id>` or `local`. Stable over restarts; never shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(pub String);

impl ActorId {
    /// The administrators of a chat who write anonymously: one name for all of them (Bot API: `GroupAnonymousBot`).
    pub fn anonymous(chat: i64) -> Self {
        Self(format!("tg:anon:{chat}"))
    }

    /// Whether it stands for several people. What such a one began, any of them may go on with: their presses come under
    /// their own names.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with("tg:anon:")
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who they are.
    pub id: ActorId,
    /// What people call them; untrusted text.
    pub name: String,
}

/// What the front says of a person in a chat; `policy` turns it into what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is their own private chat or terminal.
    Own,
    /// They created the group.
    Creator,
    /// They administer the group.
    Administrator,
    /// They are an ordinary member.
    Member,
    /// They are not in the chat (any more).
    Outsider,
}
