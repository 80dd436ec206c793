//! Entries that are reached over the network: named with the command that adds them, never taken over.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::{Problem, is_secret_name, is_secret_value, limits, schema_words::joined};
use super::{RemoteOffer, shown};

const ADDRESSES: [&str; 3] = ["url", "httpUrl", "serverUrl"];

/// Of the command line: quotes, what escapes them, and blanks that do not show.
const NOT_IN_A_WORD: &str = "\"'\\“”„‟«»‘’‚‛‹›\u{200b}\u{2060}\u{feff}";

/// Whether an entry is remote: it says so by its type, or has an address and no command.
pub(super) fn is_remote(entry: &Map<String, Value>) -> bool {
    let has_address = ADDRESSES.iter().any(|key| entry.contains_key(*key));
    let has_command = ["command", "cmd"]
        .iter()
        .any(|key| entry.contains_key(*key));
    let kind = ["type", "transport", "transportType"]
        .iter()
        .find_map(|key| entry.get(*key)?.as_str());
    match kind.and_then(is_remote_kind) {
        Some(true) => has_address || !has_command,
        Some(false) => has_address && !has_command && kind != Some("stdio"),
        None => has_address && !has_command,
    }
}

/// Whether a transport's name, in any client's spelling, is a remote one.
pub(super) fn is_remote_kind(kind: &str) -> Option<bool> {
    let plain: String = kind
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match plain.as_str() {
        "http" | "sse" | "streamablehttp" | "httpstream" | "websocket" | "ws" | "remote" => {
            Some(true)
        }
        "stdio" | "local" => Some(false),
        _ => None,
    }
}

/// The offer for an entry.
pub(super) fn offer(
    name: &str,
    entry: &Map<String, Value>,
    path: &str,
    notes: &mut Vec<String>,
) -> Result<RemoteOffer, Problem> {
    let Some((key, address)) = ADDRESSES
        .iter()
        .find_map(|key| Some((*key, entry.get(*key)?)))
    else {
        return Err(Problem::new(joined(path, "url"), "missing"));
    };
    let place = joined(path, key);
    let Some(address) = address.as_str() else {
        return Err(Problem::new(place, "expected a string"));
    };
    let address = address.trim();
    if address.is_empty() {
        return Err(Problem::new(place, "must not be empty"));
    }
    if address.len() > limits::VALUE_BYTES {
        return Err(Problem::new(
            place,
            format!(
                "has {} bytes; at most {} are allowed",
                address.len(),
                limits::VALUE_BYTES
            ),
        ));
    }
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    let known = ["http", "https", "ws", "wss"];
    // `${input:url}` of VS Code may become one.
    if !address.starts_with("${") && !known.iter().any(|ours| scheme.eq_ignore_ascii_case(ours)) {
        return Err(Problem::new(
            place,
            "expected an address that begins with http:// or https://",
        ));
    }
    let public = without_secrets(address);
    if public != one_word(address) {
        notes.push(format!(
            "`{name}`: the login in its address is not taken over."
        ));
    }
    let headers: Vec<String> = ["headers", "http_headers", "requestInit"]
        .iter()
        .filter_map(|key| entry.get(*key)?.as_object())
        .flat_map(|headers| headers.keys())
        .take(8)
        .map(|header| format!("`{}`", shown(header)))
        .collect();
    if !headers.is_empty() {
        notes.push(format!(
            "`{name}` needs its headers again when it is connected: {}.",
            headers.join(", ")
        ));
    }
    if public.starts_with("ws:") || public.starts_with("wss:") {
        notes.push(format!(
            "`{name}` speaks WebSocket, which is not supported."
        ));
    }
    Ok(RemoteOffer {
        name: name.to_owned(),
        connect: format!("/mcp connect {name} {public}{}", way(entry)),
    })
}

/// The way of login of our own form, as the command says it.
fn way(entry: &Map<String, Value>) -> String {
    let auth = |way: &str| entry.get("auth").and_then(|auth| auth.get(way));
    if auth("oauth").is_some() {
        return " --oauth".to_owned();
    }
    if auth("bearer").is_some() {
        return " --bearer".to_owned();
    }
    let header = auth("api_key").and_then(|key| key.get("header")?.as_str());
    let is_word = |header: &&str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=100).contains(&header.len())
            && header.bytes().all(allowed)
            && !header.starts_with('-')
            && !is_secret_value(header)
    };
    header
        .filter(is_word)
        .map_or_else(String::new, |header| format!(" --api-key {header}"))
}

/// The address without a login and without query values that look secret.
fn without_secrets(address: &str) -> String {
    let address = one_word(address);
    let (scheme, rest) = address.split_once("://").unwrap_or(("", &address));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let tail = tail.split('#').next().unwrap_or_default();
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    let segments: Vec<&str> = path
        .split('/')
        .map(|part| if is_secret_value(part) { "…" } else { part })
        .collect();
    let path = segments.join("/");
    let kept: Vec<&str> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            !is_secret_name(name) && !is_secret_value(value) && !is_secret_value(name)
        })
        .collect();
    let mut public = String::new();
    if !scheme.is_empty() {
        public.push_str(scheme);
        public.push_str("://");
    }
    public.push_str(host);
    public.push_str(&path);
    if !kept.is_empty() {
        public.push('?');
        public.push_str(&kept.join("&"));
    }
    public
}

/// Blanks, controls and what the reader of commands takes for a quote or a blank encoded, so that an address stays one
/// word of one line.
fn one_word(address: &str) -> String {
    let mut word = String::with_capacity(address.len());
    for c in address.chars() {
        if c.is_whitespace() || c.is_control() || NOT_IN_A_WORD.contains(c) {
            let mut bytes = [0; 4];
            for b in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(word, "%{b:02X}");
            }
        } else {
            word.push(c);
        }
    }
    word
}
