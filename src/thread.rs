//! Which conversation a thing belongs to.
//!
//! Owns the one mapping between a chat thread and the name of its folder under `data/users/`. The mapping is injective:
//! two threads never share a folder, and a folder name that is not exactly what [`ThreadId`] writes is not a thread.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A chat thread: a Telegram chat, one topic of a Telegram forum, or the terminal.
///
/// Its text form is the folder name: `local`, `tg<chat id>` or `tg<chat id>.<topic>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ThreadId {
    /// The chat in this terminal.
    Local,
    /// A Telegram chat, and the forum topic where there is one. The General topic is `None` (Bot API: topic ids 0 and 1
    /// both mean General).
    Telegram {
        /// The chat id of the Bot API; negative for groups.
        chat: i64,
        /// The `message_thread_id` of a topic, at least 2.
        topic: Option<i32>,
    },
}

impl ThreadId {
    /// The thread of a Telegram chat; topics 0 and 1 are General, so the chat itself.
    pub fn telegram(chat: i64, topic: Option<i32>) -> Self {
        Self::Telegram {
            chat,
            topic: topic.filter(|id| *id > 1),
        }
    }

    /// The chat that it belongs to: itself, or for a topic the forum's General.
    #[must_use]
    pub fn chat(self) -> Self {
        match self {
            Self::Local => Self::Local,
            Self::Telegram { chat, .. } => Self::telegram(chat, None),
        }
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Telegram { chat, topic: None } => write!(f, "tg{chat}"),
            Self::Telegram {
                chat,
                topic: Some(topic),
            } => write!(f, "tg{chat}.{topic}"),
        }
    }
}

/// The text is not the name of a thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a thread id (expected `local`, `tg<chat>` or `tg<chat>.<topic>`)")]
pub struct NotAThreadId(pub String);

impl FromStr for ThreadId {
    type Err = NotAThreadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_prefix("tg") {
            None if text == "local" => Some(Self::Local),
            None => None,
            Some(rest) => match rest.split_once('.') {
                None => rest.parse().ok().map(|chat| Self::telegram(chat, None)),
                Some((chat, topic)) => chat
                    .parse()
                    .ok()
                    .zip(topic.parse().ok())
                    .map(|(chat, topic)| Self::telegram(chat, Some(topic))),
            },
        };
        // The round trip refuses every second spelling (`tg+1`, `tg01`, `tg5.1`), which keeps folders and threads one to one.
        parsed
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| NotAThreadId(text.to_owned()))
    }
}

impl TryFrom<String> for ThreadId {
    type Error = NotAThreadId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ThreadId> for String {
    fn from(id: ThreadId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folder_names_are_the_documented_ones() {
        assert_eq!(ThreadId::Local.to_string(), "local");
        assert_eq!(ThreadId::telegram(123, None).to_string(), "tg123");
        assert_eq!(
            ThreadId::telegram(-1_001_234_567_890, Some(45)).to_string(),
            "tg-1001234567890.45"
        );
    }

    #[test]
    fn d38_second_spellings_and_paths_are_refused() {
        for text in [
            "", "tg", "tg+1", "tg01", "tg-0", "tg5.1", "tg5.0", "tg5.-3", "tg5.", "Local",
            "../local", "tg5/..", "tg5.2.3",
        ] {
            assert!(
                text.parse::<ThreadId>().is_err(),
                "{text} was taken for a thread"
            );
        }
    }

    #[test]
    fn general_topic_is_the_chat_itself() {
        assert_eq!(ThreadId::telegram(7, Some(1)), ThreadId::telegram(7, None));
        assert_eq!(ThreadId::telegram(7, Some(0)), ThreadId::telegram(7, None));
    }

    proptest! {
        #[test]
        fn d38_folder_names_are_injective_and_safe(a: (i64, Option<i32>), b: (i64, Option<i32>)) {
            let (one, two) = (ThreadId::telegram(a.0, a.1), ThreadId::telegram(b.0, b.1));
            prop_assert_eq!(one == two, one.to_string() == two.to_string());
            prop_assert_eq!(one.to_string().parse::<ThreadId>(), Ok(one));
            prop_assert!(one.to_string().chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.'));
        }

        #[test]
        fn what_parses_is_what_is_written(text in "\\PC*") {
            if let Ok(id) = text.parse::<ThreadId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
