//! Who did something, as far as a front can tell.

use serde::{Deserialize, Serialize};

/// A person, as the front knows them: `tg:<user id>` or `local`. Stable over restarts; never shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(pub String);

impl ActorId {
    /// The person at the bot's own terminal, who is also whoever runs `switchboard do`.
    pub const LOCAL: &'static str = "local";

    /// A user of Telegram.
    pub fn telegram(user: u64) -> Self {
        Self(format!("tg:{user}"))
    }

    /// The user id, where it is one person on Telegram.
    pub fn user(&self) -> Option<u64> {
        let digits = self.0.strip_prefix("tg:")?;
        // A second spelling (`tg:+1`, `tg:01`) is nobody.
        let user = digits.parse::<u64>().ok().filter(|user| *user > 0)?;
        (user.to_string() == digits).then_some(user)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_of_telegram_has_one_spelling() {
        for (text, user) in [
            ("tg:1", Some(1)),
            ("tg:7000000000", Some(7_000_000_000)),
            ("tg:0", None),
            ("tg:01", None),
            ("tg:+1", None),
            ("tg:-1", None),
            ("tg:anon:-5", None),
            ("local", None),
            ("1", None),
        ] {
            assert_eq!(ActorId(text.to_owned()).user(), user, "{text}");
        }
        assert_eq!(ActorId::telegram(5).user(), Some(5));
    }
}
