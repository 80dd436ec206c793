//! Tools: calls that wait for somebody's permission, decisions that can be taken back, and what was told of changes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LIFETIME_MS, is_within};
use crate::actor::Actor;
use crate::chat::MessageId;
use crate::policy::{Pin, Said};

/// A call that somebody who configures is asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct AskedCall {
    /// Random; in the buttons.
    pub(in crate::desk) id: String,
    /// Who wants to call, and in whose name the call is made.
    pub(in crate::desk) by: Actor,
    /// The message with the buttons.
    pub(in crate::desk) message: Option<MessageId>,
    /// The server.
    pub(in crate::desk) server: String,
    /// The tool, as the server calls it.
    pub(in crate::desk) tool: String,
    /// The definition that it had when the question was asked.
    pub(in crate::desk) pin: Pin,
    /// What it is called with.
    pub(in crate::desk) arguments: Map<String, Value>,
    /// The hash of what was shown.
    pub(in crate::desk) shown: Pin,
    /// When.
    pub(in crate::desk) at_ms: i64,
}

impl AskedCall {
    /// The hash of a call's arguments.
    pub(in crate::desk) fn hash(arguments: &Map<String, Value>) -> Pin {
        Pin::of(&Value::Object(arguments.clone()))
    }

    /// Whether it can still be allowed: in time, and what it was shown as.
    pub(in crate::desk) fn is_open(&self, now_ms: i64) -> bool {
        is_within(now_ms, self.at_ms, LIFETIME_MS) && Self::hash(&self.arguments) == self.shown
    }
}

/// A decision about tools that can be taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Unsaying {
    /// Random; in the button.
    pub(in crate::desk) id: String,
    /// The server.
    pub(in crate::desk) server: String,
    /// In words: `allow read_*`.
    pub(in crate::desk) title: String,
    /// What was said before.
    pub(in crate::desk) before: Said,
    /// What was said after.
    pub(in crate::desk) after: Said,
    /// When.
    pub(in crate::desk) at_ms: i64,
}

/// Tools of a server whose change the thread was told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct ToldChanged {
    /// The server.
    pub(in crate::desk) server: String,
    /// The tools.
    pub(in crate::desk) tools: Vec<String>,
}
