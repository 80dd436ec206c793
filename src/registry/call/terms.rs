//! What a call is asked with, and what it comes to.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::super::Ruling;
use crate::config::Masker;
use crate::policy::Tier;
use crate::thread::ThreadId;

/// A call to make.
#[derive(Debug)]
pub struct CallRequest {
    /// In which thread.
    pub thread: ThreadId,
    /// Of which server.
    pub server: String,
    /// The tool, as the server calls it or by its unique name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Where progress goes; what does not fit is dropped, the newest report counts.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// How long the call waited for its turn; its deadline counts from then.
    pub waited: Duration,
}

/// What is known of a server before it is called.
#[derive(Debug, Clone)]
pub struct Footing {
    /// A call has this long without progress.
    pub timeout: Duration,
    /// Knows its secrets, and those of the thread's other servers.
    pub masker: Arc<Masker>,
    /// How it is confined, where it runs here.
    pub tier: Option<Tier>,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Done so far, in the server's unit.
    pub done: f64,
    /// Of how many, where it is known.
    pub total: Option<f64>,
    /// In words, or empty; untrusted, bounded.
    pub message: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct CallOutcome {
    /// The parts, in order; bounded.
    pub content: Vec<Content>,
    /// `structuredContent`, where there was one.
    pub structured: Option<Value>,
    /// The tool said that it failed (`isError`).
    pub is_error: bool,
    /// From sending to the answer.
    pub took: Duration,
    /// Characters that cannot be seen, which were taken out of the parts.
    pub hidden: usize,
}

/// One part of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture, decoded.
    Image {
        /// Its media type.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A sound, decoded.
    Audio {
        /// Its media type.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// An embedded resource with text.
    TextResource {
        /// Its address.
        uri: String,
        /// Its media type, or empty.
        mime: String,
        /// Its text.
        text: String,
    },
    /// An embedded resource with bytes, decoded.
    BlobResource {
        /// Its address.
        uri: String,
        /// Its media type, or empty.
        mime: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A link to a resource.
    Link {
        /// Its address.
        uri: String,
        /// Its name.
        name: String,
        /// What it is, or empty.
        description: String,
    },
    /// A kind that this version does not know, or a part that was malformed, as JSON.
    Unknown(Value),
}

/// Why there is no result. Texts have secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No such server in the thread.
    #[error("there is no server `{0}`")]
    NoServer(String),
    /// No such tool at the server.
    #[error("`{server}` has no tool `{tool}`")]
    NoTool {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
    /// The tool is switched off in the thread.
    #[error("`{tool}` of `{server}` is off here")]
    Off {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Why.
        ruling: Ruling,
    },
    /// The server is not running and cannot be started for the call.
    #[error("`{server}` is not running: {reason}")]
    NotRunning {
        /// The server.
        server: String,
        /// Why: disabled, failed and how, parked.
        reason: String,
    },
    /// No answer in time; the server was told to stop.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection ended before the answer.
    #[error("the server ended before it answered: {why}")]
    Ended {
        /// Why, as far as it is known; no full stop.
        why: String,
        /// What to do about that, in sentences; may be empty.
        advice: String,
    },
    /// The server was disabled or removed before the answer; it does not come back by itself.
    #[error("`{server}` was switched off or removed while the call ran")]
    Stopped {
        /// The server.
        server: String,
    },
    /// The server refused the request (a JSON-RPC error).
    #[error("the server refused: {message} (code {code})")]
    Refused {
        /// The JSON-RPC code.
        code: i32,
        /// The server's words, bounded.
        message: String,
    },
    /// The answer is no tool result, or is over the limits.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(String),
    /// The server lets nobody in without a login, or not any more.
    #[error("`{server}` wants a login: {reason}")]
    NeedsLogin {
        /// The server.
        server: String,
        /// Why, a sentence.
        reason: String,
        /// The server's `WWW-Authenticate` header, where it sent one; for the login's begin.
        challenge: Option<String>,
    },
    /// The login that there is does not reach for this tool (RFC 6750: `insufficient_scope`).
    #[error("`{server}` wants more rights for this than the login gave")]
    MoreRights {
        /// The server.
        server: String,
        /// What it wants, as far as it says; untrusted, bounded.
        scope: Option<String>,
        /// Its `WWW-Authenticate` header; for the login's begin.
        challenge: String,
    },
    /// The server wants something that the bot does not offer (input, a task).
    #[error("the tool asks for something that this bot does not offer yet: {0}")]
    Unsupported(String),
}

impl CallError {
    /// The connection ended, and no more is known than this.
    pub(super) fn ended(why: impl Into<String>) -> Self {
        Self::Ended {
            why: why.into(),
            advice: String::new(),
        }
    }
}
