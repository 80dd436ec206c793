//! Connecting a remote server: the steps, and what is known so far. Names of secrets, never one itself.

use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::config::SecretName;
use crate::thread::ThreadId;

/// The steps of connecting a remote server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::desk) enum ConnectStep {
    /// Where it is.
    #[default]
    Address,
    /// It is being tried.
    Probing,
    /// The try failed: once more, or another address.
    Broken,
    /// What it is called.
    Name,
    /// What proves to it who is there.
    Auth,
    /// Which header its key goes into.
    Header,
    /// The key or token itself.
    Secret,
}

/// The ways to prove who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::desk) enum AuthKind {
    /// None.
    None,
    /// A token.
    Bearer,
    /// A key in a header.
    ApiKey,
    /// A login in the browser.
    OAuth,
}

/// What a server wants to know, as a probe found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::desk) enum Wants {
    /// Nothing.
    Nothing,
    /// A login by OAuth.
    OAuth,
    /// Something that it does not name.
    Unknown,
    /// Something other than what it was sent.
    Refused,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::desk) struct Found {
    /// `http` or `sse`; `None` where the server wants a login before it tells.
    pub(in crate::desk) transport: Option<String>,
    /// What it wants.
    pub(in crate::desk) wants: Wants,
    /// It was sent the key or token.
    pub(in crate::desk) with_secret: bool,
    /// Its own name, untrusted.
    pub(in crate::desk) info: String,
    /// How many tools it has, where it told.
    pub(in crate::desk) tools: Option<usize>,
}

/// State of connecting a remote server. Holds names of secrets, never one itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
pub(in crate::desk) struct ConnectFlow {
    /// The question that is open.
    pub(in crate::desk) step: ConnectStep,
    /// The person goes step by step, so a name is asked for.
    pub(in crate::desk) guided: bool,
    /// Whether only this person reads the thread.
    pub(in crate::desk) private: bool,
    /// The name, once known.
    pub(in crate::desk) name: Option<String>,
    /// The address.
    pub(in crate::desk) url: String,
    /// Headers of each request; a secret value is a reference.
    pub(in crate::desk) headers: Vec<(String, String)>,
    /// The headers are those of the entry that has this name.
    #[serde(default)]
    pub(in crate::desk) keeps_headers: bool,
    /// The entry was written by hand and nobody agreed to it: stored secrets that it names are not sent before.
    #[serde(default)]
    pub(in crate::desk) unproved: bool,
    /// The person wants to choose how to prove who is there.
    #[serde(default)]
    pub(in crate::desk) asks_auth: bool,
    /// The way to prove who is there, once known.
    pub(in crate::desk) auth: Option<AuthKind>,
    /// The header for a key.
    pub(in crate::desk) header: Option<String>,
    /// A client id for the login.
    pub(in crate::desk) client_id: Option<String>,
    /// Under which name the key or token is stored.
    pub(in crate::desk) secret: Option<SecretName>,
    /// Everything that was stored for this flow.
    pub(in crate::desk) secrets: Vec<SecretName>,
    /// What the last probe found.
    pub(in crate::desk) found: Option<Found>,
    /// Why the last probe failed, in sentences: it is told again where the question is asked again.
    #[serde(default)]
    pub(in crate::desk) broken: Option<String>,
    /// Something to know, said with the next question or proposal.
    #[serde(default)]
    pub(in crate::desk) notes: Vec<String>,
    /// A call's time limit to set, in milliseconds.
    #[serde(default)]
    pub(in crate::desk) timeout_ms: Option<u64>,
    /// The button in the group that leads to the private chat.
    #[serde(default)]
    pub(in crate::desk) nonce: Option<String>,
}

/// A secret that is asked for in private, for a flow elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Handoff {
    /// Where the flow is.
    pub(in crate::desk) thread: ThreadId,
    /// The flow.
    pub(in crate::desk) flow: String,
    /// Who began it, as they are known there.
    pub(in crate::desk) by: ActorId,
    /// What is asked for: `the token for linear`.
    pub(in crate::desk) what: String,
    /// It is a token; else a key.
    pub(in crate::desk) bearer: bool,
    /// It is anything at all, and kept as it is.
    #[serde(default)]
    pub(in crate::desk) plain: bool,
}

/// A remote server that somebody pasted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Offer {
    /// Random; in the button.
    pub(in crate::desk) id: String,
    /// The line that connects it.
    pub(in crate::desk) line: String,
    /// When.
    pub(in crate::desk) at_ms: i64,
}
