//! What the probe saw, in words for somebody who knows nothing of HTTP.

use std::net::IpAddr;

use http::StatusCode;

use super::super::super::trouble::{Mend, Trouble};
use super::super::super::{AuthWanted, Stage};
use super::super::{Wire, WireError};
use super::question::Answer;
use crate::net::NetError;
use crate::policy::AddressProblem;

const WHERE: &str = "Often the address ends in /mcp or /sse: look at the server's documentation";
const LATER: &str = "Try again later; if it stays so, ask whoever runs the server";
const MESSAGE_CHARS: usize = 200;

/// The address cannot be one.
pub(super) fn bad_address(problem: &AddressProblem) -> Trouble {
    let advice = match problem {
        AddressProblem::NotAUrl | AddressProblem::NoHost => {
            "Copy it whole from the server's documentation"
        }
        AddressProblem::Scheme(_) => "Try the same address with https:// before it",
        AddressProblem::Credentials => "",
        AddressProblem::NotPublic(_) | AddressProblem::Ourselves(_) => PRIVATE,
    };
    let what = format!("the address {problem}");
    Trouble::new(Stage::Address, what, advice, Mend::Change)
}

const PRIVATE: &str =
    "Addresses inside a network are open only where whoever runs the bot allows them";

/// The name leads nowhere, or to where nobody may go.
pub(super) fn no_name(error: &NetError) -> Trouble {
    let (advice, mend) = match error {
        NetError::Address(_) => (PRIVATE, Mend::Change),
        _ => ("Is the address spelt right?", Mend::Again),
    };
    Trouble::new(Stage::Dns, error.to_string(), advice, mend)
}

/// The first address, and how many more there are.
pub(super) fn some_of(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "no address".to_owned(),
        [one] => one.to_string(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

/// Whether there was not even a connection; `early` where the wait was cut short by the connect's own.
pub(super) fn is_connection(answer: &Answer, early: bool) -> bool {
    match &answer.message {
        Err(WireError::Net(NetError::TimedOut { .. })) => early,
        Err(WireError::Net(error)) => matches!(
            error,
            NetError::Address(_)
                | NetError::Dns { .. }
                | NetError::Connect { .. }
                | NetError::Tls { .. }
        ),
        _ => false,
    }
}

/// There was no connection.
pub(super) fn no_connection(answer: &Answer) -> Trouble {
    let Err(error) = &answer.message else {
        return Trouble::new(Stage::Tls, "no connection", LATER, Mend::Again);
    };
    let (stage, advice) = match error {
        WireError::Net(NetError::Address(_)) => (Stage::Dns, PRIVATE),
        WireError::Net(NetError::Dns { .. }) => (Stage::Dns, "Is the address spelt right?"),
        WireError::Net(NetError::Tls { .. }) => (
            Stage::Tls,
            "The server must show a valid certificate for this name: ask whoever runs it, or check the address",
        ),
        _ => (
            Stage::Tls,
            "Nobody listens there now: is the server running, and is the address right?",
        ),
    };
    Trouble::new(stage, error.to_string(), advice, Mend::Again)
}

/// How the answer looks to HTTP; broken where no other question could change it.
pub(super) fn of_http(answer: &Answer) -> Result<String, Trouble> {
    let broken =
        |what: String, advice: &str| Err(Trouble::new(Stage::Http, what, advice, Mend::Again));
    if let Some(status) = answer.status {
        return match status {
            429 => broken(
                "the server says that it was asked too often (HTTP 429)".to_owned(),
                "Wait a few minutes and try again",
            ),
            502..=504 => broken(
                format!(
                    "the server is there, but out of order now ({})",
                    named(status)
                ),
                LATER,
            ),
            _ => Ok(named(status)),
        };
    }
    match &answer.message {
        Err(WireError::Redirect { to }) => broken(
            format!("this address sends on to another place: {to}"),
            "If you trust that place, connect its address instead",
        ),
        Err(WireError::Net(NetError::TimedOut { .. })) => broken(
            "the server takes the connection, but does not answer".to_owned(),
            LATER,
        ),
        Err(WireError::Later(reason)) => broken(reason.clone(), "Try again in a moment"),
        Err(error) => broken(
            format!("what answers there is no web server, or a broken one: {error}"),
            "Check the address and its port against the server's documentation",
        ),
        Ok(_) => Ok("answered".to_owned()),
    }
}

/// Nobody there speaks MCP. The first words are shown, and where they say too little the stream's.
pub(super) fn no_language(wire: &Wire, first: &Answer, stream: Option<&Answer>) -> Trouble {
    let broken =
        |what: String, advice: &str| Trouble::new(Stage::Transport, what, advice, Mend::Change);
    let said = first.status.map_or_else(String::new, named);
    if [Some(first), stream].into_iter().flatten().any(is_page) {
        let more = match first.status {
            Some(200) | None => String::new(),
            Some(_) => format!(" (to the question of MCP it said {said})"),
        };
        return broken(
            format!("this address answers with a web page, not with an MCP server{more}"),
            WHERE,
        );
    }
    if let Some(error) = first.error() {
        let error = wire.masked(error, MESSAGE_CHARS);
        return broken(
            format!("it speaks JSON-RPC, but refuses the handshake of MCP: {error}"),
            "Look at the server's documentation: it may want another address, or a newer program",
        );
    }
    match (&first.message, first.status) {
        (_, Some(404 | 410)) => broken(format!("there is nothing at this address ({said})"), WHERE),
        (_, Some(code @ 500..)) => broken(
            format!("the server made a mistake of its own ({})", named(code)),
            LATER,
        ),
        (_, Some(400..)) => broken(
            format!("something answers there, but it takes no messages of MCP ({said})"),
            WHERE,
        ),
        (Ok(_), _) => broken("it answers, but not in the form of MCP".to_owned(), WHERE),
        (Err(error), _) => broken(
            format!("there is a web server, but its answer is not MCP: {error}"),
            WHERE,
        ),
    }
}

/// What is wanted before it answers; a key that it refuses is broken.
pub(super) fn of_login(wanted: &AuthWanted) -> Result<String, Trouble> {
    match wanted {
        AuthWanted::None => Ok("no login wanted".to_owned()),
        AuthWanted::OAuth { .. } => Ok("it wants a login (OAuth)".to_owned()),
        AuthWanted::Unknown => Ok("it wants a key or a token, and does not say which".to_owned()),
        AuthWanted::Refused => Err(Trouble::new(
            Stage::Auth,
            "the server does not take the key or token that it was sent",
            "Was it copied whole, is it still valid, and does it go into this header?",
            Mend::Login(None),
        )),
    }
}

fn is_page(answer: &Answer) -> bool {
    matches!(&answer.message, Err(WireError::WrongKind(kind)) if kind == "a web page")
}

fn named(status: u16) -> String {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match reason {
        Some(reason) => format!("HTTP {status}, {reason}"),
        None => format!("HTTP {status}"),
    }
}
