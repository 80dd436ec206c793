//! What readers see: an immutable picture of a thread's servers and tools, published whole by a pointer swap.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Ruling, Tool};
use crate::config::{Revision, ServerName};

/// A thread's servers and tools at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The newest revision that was applied.
    pub revision: Revision,
    /// The servers in the files' order: local, remote, the operator's.
    pub servers: Vec<ServerView>,
    /// Unique tool name (`server__tool`) → place in `servers` and in its `tools`.
    pub names: Arc<HashMap<String, (usize, usize)>>,
    /// The operator's servers that the thread's own ones of the same name hide.
    pub hidden: Vec<ServerName>,
}

/// One server as people see it.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its name.
    pub name: ServerName,
    /// Local or remote.
    pub kind: ServerKind,
    /// The operator offers it; the thread cannot change it.
    pub is_admin: bool,
    /// Where it is in its life.
    pub state: ServerState,
    /// Its tools; kept from the cache while it sleeps, empty while it has none.
    pub tools: Arc<[Tool]>,
    /// Tools that were left out, and why.
    pub refused: Arc<[Refused]>,
    /// Counts and times.
    pub stats: Stats,
    /// Its last end that nobody asked for; `None` once somebody started it anew or changed its entry.
    pub ended: Option<Arc<LastEnd>>,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEnd {
    /// When.
    pub at: Instant,
    /// Why, and what to do, in sentences; secrets masked.
    pub reason: String,
}

/// Where a server's definition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// `mcp.json`.
    Local,
    /// `mcp_remote.json`.
    Remote,
}

/// A server's life.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerState {
    /// Being started.
    Starting {
        /// Since when.
        since: Instant,
        /// What takes a while: `installing name@1.2.3`.
        doing: Option<String>,
    },
    /// Running. Some of its tools may be refused ([`ServerView::refused`]).
    Ready {
        /// Since when.
        since: Instant,
        /// The protocol revision agreed on.
        protocol: String,
        /// The server's own name and version, untrusted.
        server_info: String,
    },
    /// Not running because nobody used it; starts at the next call. Tools are known from the cache.
    Asleep,
    /// The start failed in a way that trying again will not mend (command not found); waits to be asked.
    Failed {
        /// Why, in a sentence, with the last lines of stderr where they help; secrets masked.
        reason: String,
    },
    /// It ended unexpectedly; it starts again by itself.
    BackingOff {
        /// Why it ended.
        reason: String,
        /// Which try comes next, from 1.
        attempt: u32,
        /// When.
        until: Instant,
    },
    /// It ended too often, or for what it used; waits to be asked.
    Parked {
        /// Whether it was for what it used: that is no matter of how often.
        over: bool,
        /// Why it ended last.
        reason: String,
    },
    /// Switched off in the file.
    Disabled,
    /// A remote entry that nobody agreed to: it was written by hand, or changed. Not connected before `/mcp connect`.
    WaitingForApproval,
    /// A remote server that lets nobody in without a login.
    NeedsLogin {
        /// Why, a sentence.
        reason: String,
        /// The server's `WWW-Authenticate` header, where it sent one; for the login's begin.
        challenge: Option<String>,
    },
}

/// A tool that was left out of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name as far as it has one; untrusted.
    pub tool: String,
    /// Why, a few words: `inputSchema is missing`.
    pub reason: String,
}

/// Counts and times of a server since the thread was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that were answered, tool errors included.
    pub answered: u64,
    /// Calls that got no answer: timed out, cut off, malformed.
    pub unanswered: u64,
    /// Times it was started again after it ended unexpectedly.
    pub restarts: u32,
    /// From launch to tools, of the last start.
    pub start_time: Option<Duration>,
    /// The middle one of the last answers' times (up to 64).
    pub median_call: Option<Duration>,
    /// The last calls that are remembered (up to 64).
    pub recent: u32,
    /// How many of them got no answer: the error rate is one by the other.
    pub recent_failed: u32,
    /// The newest check of a remote server; `None` before the first, and for a local one.
    pub health: Option<Health>,
}

/// Whether a remote server was there when it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// When.
    pub at: Instant,
    /// How long its answer took, or was waited for.
    pub took: Duration,
    /// It answered.
    pub is_well: bool,
}

impl Snapshot {
    /// The server of that name.
    pub fn server(&self, name: &str) -> Option<&ServerView> {
        self.servers
            .iter()
            .find(|server| server.name.as_str() == name)
    }

    /// Whether no server is on its way to another state by itself.
    pub fn is_settled(&self) -> bool {
        self.servers
            .iter()
            .all(|server| !matches!(server.state, ServerState::Starting { .. }))
    }
}

impl ServerView {
    /// How many of its tools that holds for.
    pub fn tools_that_are(&self, ruling: Ruling) -> usize {
        let tools = self.tools.iter();
        tools.filter(|tool| tool.ruling == ruling).count()
    }

    /// The tool of that name, as the server calls it or as it is called in the thread.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools
            .iter()
            .find(|tool| tool.name == name || tool.unique_name == name)
    }
}
