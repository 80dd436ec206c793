//! What is written down of everything that happens in a thread: who did what, when, and what came of it.
//!
//! The entries are here, so that every room can tell; the file, its chain and its rotation are the store's.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actor::Actor;
use crate::policy::Tier;
use crate::thread::ThreadId;

/// One line of the audit: who, and what. Its time, its number and its place in the chain are added when it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who did it; nobody for what the bot does by itself (a start after a crash).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. No secret stands in any of it: arguments are masked and hashed before they come here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The configuration was changed, by a proposal that was applied or by hand.
    Changed {
        /// In words.
        title: String,
        /// The servers that it is about.
        servers: Vec<String>,
        /// The change's id in the history, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<String>,
    },
    /// Something was allowed, denied or agreed to: a remote server, a tool, a changed definition, a grant of the network.
    Decided {
        /// The server.
        server: String,
        /// In words: `tool delete_file allowed`.
        decision: String,
    },
    /// A login at a remote server, or its end.
    Login {
        /// The server.
        server: String,
        /// In words: `logged in`, `logged out`, `refused`.
        outcome: String,
    },
    /// A secret was set or removed; by name.
    Secret {
        /// Its name.
        name: String,
        /// In words: `set`, `removed`.
        outcome: String,
    },
    /// A server's process or connection came up.
    Started {
        /// The server.
        server: String,
        /// How a local one is confined; `None` for a remote one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<Tier>,
    },
    /// It was to come up and did not. The same reason again and again is told once.
    NotStarted {
        /// The server.
        server: String,
        /// Why, in words.
        reason: String,
        /// How a local one would be confined; `None` for a remote one, and where local ones are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<Tier>,
    },
    /// It ended.
    Stopped {
        /// The server.
        server: String,
        /// Why, in words.
        reason: String,
    },
    /// The package that a server runs was installed, or was to be.
    Installed {
        /// The server.
        server: String,
        /// The package with its version: `@scope/name@1.2.3`.
        package: String,
        /// `installed`, or why it is not.
        outcome: String,
    },
    /// A server of this host reached a place on the network for the first time, or wanted to.
    Reached {
        /// The server.
        server: String,
        /// The host, as DNS writes it, or an address.
        host: String,
        /// The port.
        port: u16,
        /// Whether it was let through.
        allowed: bool,
    },
    /// A call of a tool is about to be made. [`What::Called`] follows; where it does not, the bot died before the end.
    Calling {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// SHA-256 of the arguments as canonical JSON, hex.
        arguments_sha256: String,
        /// Which call, among all of the thread.
        call: String,
    },
    /// A tool was called, or a call was refused before it was made.
    Called {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Its arguments, masked and cut.
        arguments: Value,
        /// SHA-256 of the arguments as canonical JSON, hex.
        arguments_sha256: String,
        /// Bytes of the arguments and of the result, as JSON.
        bytes: (u64, u64),
        /// Milliseconds.
        took_ms: u64,
        /// `ok`, `tool error`, or why there is no answer.
        outcome: String,
        /// How a local server is confined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<Tier>,
        /// The one that was begun under this; nothing where it was refused before that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<String>,
    },
    /// Something of the operator's: an admission, a pairing, a policy.
    Admin {
        /// In words.
        deed: String,
    },
    /// The audit itself: a line that a crash tore, a time in which nothing could be written.
    Mended {
        /// In words.
        told: String,
    },
}

/// Where entries go; the store, seen from the other rooms.
pub trait Audit: Send + Sync + std::fmt::Debug {
    /// Appends an entry. Cheap: a write without waiting for the disk, which is asked to keep it within a second; safe to
    /// call on a task's thread. A failure closes the thread's audit, which [`Audit::is_open`] tells.
    fn note(&self, thread: ThreadId, entry: Entry);

    /// Appends an entry and waits until it survives a loss of power: for changes of the configuration, approvals and
    /// logins, before they are acknowledged. Blocks.
    fn note_durably(&self, thread: ThreadId, entry: Entry) -> Result<(), Closed> {
        self.note(thread, entry);
        self.is_open(thread)
    }

    /// Whether what happens now can be written down; where it cannot (a full disk), nothing is enabled and nothing is
    /// called. Tries again when it is asked.
    fn is_open(&self, thread: ThreadId) -> Result<(), Closed>;
}

/// The audit cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit cannot be written: {0}")]
pub struct Closed(pub String);

impl Entry {
    /// What somebody did.
    pub fn by(actor: &Actor, what: What) -> Self {
        let by = Some(actor.clone());
        Self { by, what }
    }

    /// What the bot did by itself.
    pub fn of_the_bot(what: What) -> Self {
        Self { by: None, what }
    }
}

impl What {
    /// Whether it is about this server.
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Changed { servers, .. } => servers.iter().any(|server| server == name),
            Self::Decided { server, .. }
            | Self::Login { server, .. }
            | Self::Started { server, .. }
            | Self::NotStarted { server, .. }
            | Self::Stopped { server, .. }
            | Self::Installed { server, .. }
            | Self::Reached { server, .. }
            | Self::Calling { server, .. }
            | Self::Called { server, .. } => server == name,
            Self::Secret { .. } | Self::Admin { .. } | Self::Mended { .. } => false,
        }
    }
}

/// For rooms that are used without a store (tests of one room, benches): nothing is written down.
#[derive(Debug, Clone, Copy)]
pub struct NoAudit;

impl Audit for NoAudit {
    fn note(&self, _: ThreadId, _: Entry) {}

    fn is_open(&self, _: ThreadId) -> Result<(), Closed> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_before_are_read_and_new_kinds_come_back_as_they_were() {
        for old in [
            r#"{"what":"started","server":"a"}"#,
            r#"{"what":"started","server":"a","tier":"strong"}"#,
            r#"{"what":"stopped","server":"a","reason":"it was started again"}"#,
            r#"{"what":"changed","title":"add a","servers":["a"]}"#,
            r#"{"by":{"id":"tg:1","name":"Ann"},"what":"login","server":"a","outcome":"logged in"}"#,
            r#"{"what":"called","server":"a","tool":"t","arguments":{},"arguments_sha256":"","bytes":[2,0],"took_ms":1,"outcome":"ok"}"#,
        ] {
            let entry: Entry = serde_json::from_str(old).unwrap();
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
        let server = || "a".to_owned();
        for what in [
            What::NotStarted {
                server: server(),
                reason: "it ended with exit code 3".to_owned(),
                tier: Some(Tier::Strong),
            },
            What::Calling {
                server: server(),
                tool: "t".to_owned(),
                arguments_sha256: "00".to_owned(),
                call: "1-1".to_owned(),
            },
            What::Installed {
                server: server(),
                package: "p@1.0.0".to_owned(),
                outcome: "installed".to_owned(),
            },
            What::Reached {
                server: server(),
                host: "a.example".to_owned(),
                port: 443,
                allowed: true,
            },
        ] {
            assert!(what.is_about("a") && !what.is_about("b"), "{what:?}");
            let entry = Entry::of_the_bot(what);
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
    }
}
