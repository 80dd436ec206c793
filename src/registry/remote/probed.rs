//! What is asked of a probe, and what it tells.

use super::super::Staged;
use crate::config::{RemoteAuth, RemoteTransport};

/// A remote server that nobody has connected yet, to be tried.
#[derive(Debug, Clone)]
pub struct ProbeAsk {
    /// The address as it was written.
    pub url: String,
    /// Headers of each request; a value may have `${secret:NAME}` in it.
    pub headers: Vec<(String, String)>,
    /// How the bot proves who it is.
    pub auth: RemoteAuth,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The stages in their order; the last may be broken. A server that wants a login is no broken stage.
    pub staged: Staged,
    /// How the server is spoken to, as far as that is known. A server that wants a login first may not tell: then it is
    /// streamable HTTP, and the first connection after the login decides.
    pub transport: Option<RemoteTransport>,
    /// What it wants to know of the bot.
    pub auth: AuthWanted,
    /// The server's own name and version, untrusted; empty where it wants a login first.
    pub server_info: String,
    /// How many tools it lists; `None` where it wants a login first.
    pub tools: Option<usize>,
}

/// What a server wants to know before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthWanted {
    /// Nothing.
    None,
    /// A login by OAuth: it sent a challenge that says so, or has metadata that does.
    OAuth {
        /// Its `WWW-Authenticate` header, if it sent one.
        challenge: Option<String>,
    },
    /// Something, and it does not say what: a key or a token.
    Unknown,
    /// The key or token that it was sent is not the right one.
    Refused,
}
