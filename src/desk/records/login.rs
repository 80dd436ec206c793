//! Logins at remote servers: wished for, asked for, under way.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::chat::MessageId;
use crate::oauth::LoginId;

/// A login at a remote server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::struct_field_names,
    reason = "the other room's id of the same thing"
)]
pub(in crate::desk) struct Login {
    /// Random; in the buttons.
    pub(in crate::desk) id: String,
    /// The oauth room's id; `None` while the link is being made.
    pub(in crate::desk) login: Option<LoginId>,
    /// Who began, and alone may finish.
    pub(in crate::desk) by: Actor,
    /// Whether only this person reads the thread.
    pub(in crate::desk) private: bool,
    /// The server.
    pub(in crate::desk) server: String,
    /// The message with the link.
    pub(in crate::desk) message: Option<MessageId>,
    /// When it began.
    pub(in crate::desk) at_ms: i64,
}

/// What a server said when it wanted a login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Grant {
    /// Random; in the button.
    pub(in crate::desk) id: String,
    /// The server.
    pub(in crate::desk) server: String,
    /// Its `WWW-Authenticate` header.
    pub(in crate::desk) challenge: Option<String>,
    /// When.
    pub(in crate::desk) at_ms: i64,
}

/// A login to be begun when a server is found to want it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct LoginWish {
    /// Who connected it.
    pub(in crate::desk) by: Actor,
    /// Whether only this person reads the thread.
    pub(in crate::desk) private: bool,
    /// The server.
    pub(in crate::desk) server: String,
}
