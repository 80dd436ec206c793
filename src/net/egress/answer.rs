//! What the proxy says itself: short plain texts, for the server's log and so for people.

use super::Reach;
use super::places::Full;
use crate::config::NetworkGrant;
use crate::net::NetError;
use crate::policy::AddressProblem;

/// An answer of the proxy's own.
pub(super) struct Answer {
    status: &'static str,
    words: String,
}

impl Answer {
    /// Not in the grant.
    pub(super) fn not_granted(server: &str, reach: &Reach, wanted: &str) -> Self {
        let granted = match reach {
            Reach::Hosts(hosts) => NetworkGrant::listed(hosts),
            Reach::Public => "any public address".to_owned(),
        };
        Self::forbidden(format!(
            "{wanted} is not among the hosts that the MCP server {server} was granted ({granted}). To grant it, add it in \
             the chat: /mcp edit {server} network=..."
        ))
    }

    /// In the grant, and not a place that the bot leads anybody to.
    pub(super) fn not_public(wanted: &str, problem: &AddressProblem) -> Self {
        Self::forbidden(format!(
            "The address {wanted} {problem}, and servers in this sandbox reach public addresses alone. Whoever runs the bot \
             can open others."
        ))
    }

    /// Plain HTTP, where that is not allowed.
    pub(super) fn not_plain(wanted: &str) -> Self {
        Self::forbidden(format!(
            "{wanted} was asked for without encryption (http:), which is not allowed here; use https:."
        ))
    }

    /// Neither CONNECT nor plain HTTP.
    pub(super) fn nonsense() -> Self {
        Self {
            status: "400 Bad Request",
            words: "This is a proxy for CONNECT requests, and that was none.".to_owned(),
        }
    }

    /// A head without an end.
    pub(super) fn too_long() -> Self {
        Self {
            status: "431 Request Header Fields Too Large",
            words: "The head of the request is too long.".to_owned(),
        }
    }

    /// A head that did not come.
    pub(super) fn too_slow() -> Self {
        Self {
            status: "408 Request Timeout",
            words: "The request did not come in time.".to_owned(),
        }
    }

    /// As many connections are open as may be.
    pub(super) fn no_place(full: Full) -> Self {
        let whose = match full {
            Full::Own => "this chat's servers may have open at once are in use",
            Full::All => "all servers here may have open at once are in use",
        };
        Self {
            status: "503 Service Unavailable",
            words: format!(
                "All connections that {whose}; close those that are not needed, or try again later."
            ),
        }
    }

    /// Nobody there.
    pub(super) fn unreachable(error: &NetError) -> Self {
        Self {
            status: match error {
                NetError::TimedOut { .. } => "504 Gateway Timeout",
                _ => "502 Bad Gateway",
            },
            words: format!("{error}."),
        }
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { status, words } = self;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n\
             {words}\n",
            words.len() + 1
        )
        .into_bytes()
    }

    fn forbidden(words: String) -> Self {
        Self {
            status: "403 Forbidden",
            words,
        }
    }
}
