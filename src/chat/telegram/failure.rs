//! What can go wrong between the bot and Telegram, in words that hold no token and no raw answer.

use std::time::Duration;

use teloxide::{ApiError, RequestError};

use super::limiter::NoTurn;
use crate::chat::FrontError;

/// Why a request did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer in time.
    Timeout,
    /// Telegram or the network refused it.
    Request(RequestError),
    /// The chat's lane has no turn.
    NoTurn(NoTurn),
    /// The thread is not one of Telegram's.
    Elsewhere,
}

impl Failure {
    /// The description that Telegram gave, where the failure is one of its own.
    pub(super) fn description(&self) -> Option<String> {
        match self {
            Self::Request(RequestError::Api(ApiError::Unknown(text))) => Some(text.clone()),
            Self::Request(RequestError::Api(known)) => Some(known.to_string()),
            Self::Request(_) | Self::Timeout | Self::NoTurn(_) | Self::Elsewhere => None,
        }
    }

    /// Whether Telegram could not read the marks of a text.
    pub(super) fn is_bad_entities(&self) -> bool {
        self.says("can't parse entities")
    }

    /// Whether Telegram refused the address of a button.
    pub(super) fn is_bad_link(&self) -> bool {
        self.says("button_url_invalid")
            || self.says("button_type_invalid")
            || self.says("inline keyboard button url")
    }

    /// Whether an edit changed nothing.
    pub(super) fn is_not_modified(&self) -> bool {
        self.says("message is not modified")
    }

    /// Whether the message to delete was gone already.
    pub(super) fn is_deleted(&self) -> bool {
        self.says("message to delete not found")
    }

    /// Whether Telegram refused the request itself, so that another form of it may pass.
    pub(super) fn is_refusal(&self) -> bool {
        self.says("bad request") || self.says("request entity too large")
    }

    /// Whether the person or the group is not known to Telegram (any more).
    pub(super) fn is_unknown_member(&self) -> bool {
        [
            "user not found",
            "member not found",
            "participant_id_invalid",
            "user_not_participant",
            "invalid user_id",
        ]
        .iter()
        .any(|text| self.says(text))
    }

    /// Whether another process polls with the same token, or a webhook is set.
    pub(super) fn is_conflict(&self) -> bool {
        self.says("conflict") || self.says("while webhook is active")
    }

    /// Whether Telegram does not know the token.
    pub(super) fn is_bad_token(&self) -> bool {
        matches!(
            self,
            Self::Request(RequestError::Api(ApiError::InvalidToken))
        )
    }

    /// How long Telegram asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(RequestError::RetryAfter(seconds)) => Some(seconds.duration()),
            Self::Request(_) | Self::Timeout | Self::NoTurn(_) | Self::Elsewhere => None,
        }
    }

    /// The new id of a group that became a supergroup.
    pub(super) fn migrated_to(&self) -> Option<i64> {
        match self {
            Self::Request(RequestError::MigrateToChatId(chat)) => Some(chat.0),
            Self::Request(_) | Self::Timeout | Self::NoTurn(_) | Self::Elsewhere => None,
        }
    }

    fn says(&self, text: &str) -> bool {
        self.description()
            .is_some_and(|description| description.to_ascii_lowercase().contains(text))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("Telegram did not answer in time"),
            Self::Elsewhere => f.write_str("the terminal is not a chat of Telegram"),
            Self::NoTurn(NoTurn::Full) => f.write_str("too many messages wait for this chat"),
            Self::NoTurn(NoTurn::TooLong(wait)) => write!(
                f,
                "Telegram asked to wait {} seconds before the next message here",
                wait.as_secs()
            ),
            Self::Request(RequestError::Network(error)) if error.is_connect() => {
                f.write_str("Telegram cannot be reached")
            }
            Self::Request(RequestError::Network(_)) => {
                f.write_str("the connection to Telegram broke")
            }
            // The raw answer may hold what people wrote.
            Self::Request(RequestError::InvalidJson { .. }) => {
                f.write_str("Telegram answered in a form that could not be read")
            }
            Self::Request(RequestError::RetryAfter(wait)) => write!(
                f,
                "Telegram asked to wait {} seconds before the next message here",
                wait.seconds()
            ),
            Self::Request(RequestError::MigrateToChatId(_)) => {
                f.write_str("the group became a supergroup")
            }
            Self::Request(RequestError::Io(_)) => f.write_str("the file could not be read"),
            Self::Request(RequestError::Api(_)) => write!(
                f,
                "Telegram refused: {}",
                self.description().unwrap_or_default()
            ),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<NoTurn> for Failure {
    fn from(error: NoTurn) -> Self {
        Self::NoTurn(error)
    }
}

impl From<Failure> for FrontError {
    fn from(failure: Failure) -> Self {
        const GONE: [&str; 12] = [
            "chat not found",
            "message thread not found",
            "topic_deleted",
            "bot was blocked",
            "bot was kicked",
            "bot is not a member",
            "user is deactivated",
            "group chat was deleted",
            "group is deactivated",
            "group chat was deactivated",
            "can't initiate conversation",
            "peer_id_invalid",
        ];
        const NOT_EDITABLE: [&str; 4] = [
            "message to edit not found",
            "message can't be edited",
            "message_id_invalid",
            "message to delete not found",
        ];
        if GONE.iter().any(|text| failure.says(text)) {
            Self::Gone(failure.to_string())
        } else if NOT_EDITABLE.iter().any(|text| failure.says(text)) {
            Self::NotEditable(failure.to_string())
        } else {
            Self::Other(failure.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_error(description: &str) -> FrontError {
        let error: ApiError =
            serde_json::from_value(description.into()).expect("any text is an error");
        Failure::Request(RequestError::Api(error)).into()
    }

    #[test]
    fn descriptions_of_telegram_become_what_handlers_act_on() {
        for gone in [
            "Bad Request: chat not found",
            "Bad Request: message thread not found",
            "Forbidden: bot was blocked by the user",
            "Forbidden: bot was kicked from the group chat",
            "Forbidden: bot is not a member of the supergroup chat",
            "Forbidden: user is deactivated",
        ] {
            assert!(matches!(front_error(gone), FrontError::Gone(_)), "{gone}");
        }
        for fixed in [
            "Bad Request: message to edit not found",
            "Bad Request: message can't be edited",
            "Bad Request: MESSAGE_ID_INVALID",
        ] {
            assert!(
                matches!(front_error(fixed), FrontError::NotEditable(_)),
                "{fixed}"
            );
        }
        assert!(matches!(
            front_error("Bad Request: not enough rights to send text messages to the chat"),
            FrontError::Other(_)
        ));
    }

    #[test]
    fn an_unreadable_answer_is_not_repeated() {
        let source = serde_json::from_str::<()>("!").expect_err("no JSON");
        let failure = Failure::Request(RequestError::InvalidJson {
            source: std::sync::Arc::new(source),
            raw: "the secret".into(),
        });
        assert!(!failure.to_string().contains("secret"));
    }
}
