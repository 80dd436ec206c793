//! Secrets in sentences: `password: hunter2`, `token hunter2`, `the password is hunter2`.
//!
//! Only for what programs print. A word behind a secret name is masked where it does not look like a word of the
//! language; so `password: required` and `Unexpected token end` stay readable.

use std::ops::Range;

use super::names::is_secret_name;

/// Adds what is found.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    for line in text.split_inclusive('\n') {
        let start = line.as_ptr().addr() - text.as_ptr().addr();
        let mut before = ["", ""];
        let mut words = line.split_ascii_whitespace().peekable();
        while let Some(word) = words.next() {
            if let Some(link) = link(before[0], before[1]) {
                let at = start + (word.as_ptr().addr() - line.as_ptr().addr());
                found.extend(
                    secret(word, &link, words.peek().is_none())
                        .map(|part| at + part.start..at + part.end),
                );
            }
            // `password:hunter2` in one word.
            if let Some((name, value)) = word.split_once(':')
                && !value.is_empty()
                && let Some(link) = link("", &word[..=name.len()])
            {
                let at = start + (value.as_ptr().addr() - line.as_ptr().addr());
                found.extend(
                    secret(value, &link, words.peek().is_none())
                        .map(|part| at + part.start..at + part.end),
                );
            }
            before = [before[1], word];
        }
    }
}

/// How a name and what follows it belong together.
struct Link {
    /// The name can be nothing but a secret's: `password`, not `key`.
    strong: bool,
    /// A mark stands between them.
    marked: bool,
}

fn link(one_before: &str, before: &str) -> Option<Link> {
    let named = |word: &str, marked: bool| {
        let name = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        (!name.is_empty() && name.len() <= 64 && is_secret_name(name)).then(|| Link {
            strong: is_strong(name),
            marked,
        })
    };
    match before {
        ":" | "=" => named(one_before, true),
        "is" | "was" => named(one_before, false).filter(|link| link.strong),
        _ if before.ends_with([':', '=']) => named(before, true),
        // A sentence ended, or the name was quoted.
        _ if before.ends_with(|c: char| !c.is_ascii_alphanumeric()) => None,
        _ => named(before, false).filter(|link| link.strong),
    }
}

fn is_strong(name: &str) -> bool {
    let plain = name.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "apikey",
        "api_key",
        "api-key",
    ]
    .iter()
    .any(|word| plain.contains(word))
}

/// The part of a word that is a secret, if it looks like one.
fn secret(word: &str, link: &Link, is_last: bool) -> Option<Range<usize>> {
    let from = word.len()
        - word
            .trim_start_matches(['"', '\'', '`', '(', '<', '['])
            .len();
    let part = word[from..]
        .trim_end_matches(['"', '\'', '`', ')', '>', ']', '.', ',', ';', ':', '!', '?']);
    let count = |test: fn(char) -> bool| part.chars().filter(|c| test(*c)).count();
    let (letters, digits) = (count(char::is_alphabetic), count(|c| c.is_ascii_digit()));
    let is_place = part.starts_with(['/', '.', '~', '$', '{', '-', '•']) || part.contains("://");
    // Quoted values behind a mark are found with their quotes elsewhere.
    let is_quoted = link.marked && word.starts_with(['"', '\'', '`', '\\', '{', '[', '(']);
    if part.len() < 4 || is_place || is_quoted {
        return None;
    }
    let mixed = letters > 0 && digits > 0;
    // What neither a word nor a number has: `p@ss!word`, not `one-time` or `12:30`.
    let odd = part.contains(['@', '#', '$', '%', '^', '&', '*', '!', '+', '~']);
    let telling = mixed || odd;
    // A word alone behind `password:` is the password, unless it says something about it.
    let alone = link.strong && link.marked && is_last && letters > 0 && !is_remark(part);
    (telling || alone).then(|| from..from + part.len())
}

fn is_remark(word: &str) -> bool {
    let plain = word.to_ascii_lowercase();
    let remarks = [
        "required",
        "missing",
        "invalid",
        "expired",
        "unset",
        "undefined",
        "null",
        "none",
        "empty",
        "wrong",
        "failed",
        "incorrect",
        "unknown",
        "needed",
        "rejected",
        "denied",
        "revoked",
        "string",
        "number",
        "true",
        "false",
        "here",
        "redacted",
        "hidden",
        "found",
        "refused",
        "error",
        "value",
        "present",
        "valid",
        "unauthorized",
    ];
    remarks.contains(&plain.as_str())
}
