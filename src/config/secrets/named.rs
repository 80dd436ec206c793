//! Secrets told by what stands before them: a name, a flag, a scheme, the place in an address.

use std::ops::Range;

use super::names::is_secret_name;
use super::{char_start, strip_scheme};

/// Adds what is found.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    named(text, found);
    flagged(text, found);
    in_addresses(text, found);
    bearers(text, found);
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

/// Values after a secret name: `TOKEN=x`, `"apiKey": "x"`, `Authorization: Bearer x`.
fn named(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    // What is within a value is masked with it; looking again would make `key=key=key=…` cost its length squared.
    let mut behind = 0;
    for (at, &mark) in bytes.iter().enumerate() {
        if !matches!(mark, b'=' | b':') || at == 0 || at < behind {
            continue;
        }
        let Some(name) = name_before(text, at) else {
            continue;
        };
        if !is_secret_name(name) {
            continue;
        }
        let Some((span, is_quoted)) = value_after(text, at + 1) else {
            continue;
        };
        behind = span.end;
        let value = &text[span.clone()];
        // In prose a colon follows many a name; what comes then must look like a value.
        let certain = is_quoted || mark == b'=';
        if certain || (value.len() >= 8 && value.bytes().any(|b| b.is_ascii_digit())) {
            found.push(span);
        }
    }
}

fn name_before(text: &str, mark: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = mark;
    while end > 0 && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    if end > 0 && matches!(bytes[end - 1], b'"' | b'\'' | b'`') {
        end -= 1;
        if end > 0 && bytes[end - 1] == b'\\' {
            end -= 1;
        }
    }
    let mut start = end;
    while start > 0 && is_name_byte(bytes[start - 1]) && end - start < 128 {
        start -= 1;
    }
    (start < end).then(|| &text[start..end])
}

/// The value that begins at or soon after `from`, and whether it is quoted.
fn value_after(text: &str, from: usize) -> Option<(Range<usize>, bool)> {
    let bytes = text.as_bytes();
    let mut start = from;
    while start < bytes.len() && matches!(bytes[start], b' ' | b'\t') {
        start += 1;
    }
    if bytes.get(start) == Some(&b'\\') && matches!(bytes.get(start + 1), Some(b'"' | b'\'')) {
        start += 1;
    }
    if let quote @ (b'"' | b'\'' | b'`') = *bytes.get(start)? {
        // JSON within a text: its quotes have a backslash, the closing one too.
        let is_escaped = start > 0 && bytes[start - 1] == b'\\';
        let start = start + 1;
        let mut end = start;
        while end < bytes.len() && bytes[end] != quote && bytes[end] != b'\n' {
            let closes = is_escaped && bytes.get(end + 1) == Some(&quote);
            if bytes[end] == b'\\' && closes {
                break;
            }
            end += 1 + usize::from(bytes[end] == b'\\');
        }
        let end = char_start(text, end).max(start);
        return Some((after_scheme(text, start..end), true));
    }
    let stop = |b: u8| b.is_ascii_whitespace() || b"\"'`,;&)<>]}[{(|".contains(&b);
    let word = |from: usize| {
        let len = bytes[from..].iter().position(|b| stop(*b));
        from..len.map_or(bytes.len(), |len| from + len)
    };
    let rest = after_scheme(text, start..bytes.len());
    if text[rest.clone()].starts_with("${") {
        return None;
    }
    let span = word(rest.start);
    (!span.is_empty()).then_some((span, false))
}

fn after_scheme(text: &str, span: Range<usize>) -> Range<usize> {
    match strip_scheme(&text[span.clone()]) {
        Some(rest) => span.end - rest.len()..span.end,
        None => span,
    }
}

/// Values after a flag in a command line: `--token XYZ`.
fn flagged(text: &str, found: &mut Vec<Range<usize>>) {
    let mut words = words_with_places(text).peekable();
    while let Some((_, word)) = words.next() {
        let Some(&(at, value)) = words.peek() else {
            return;
        };
        let telling = value.len() >= 16 || value.bytes().any(|b| !b.is_ascii_lowercase());
        let is_secret = is_secret_flag(word) || is_password(word, value);
        if is_secret && value.len() >= 3 && telling && !value.starts_with('-') {
            found.push(at..at + value.len());
        }
    }
}

/// Whether the next argument of a command line is this one's secret value.
pub(in super::super) fn is_secret_flag(arg: &str) -> bool {
    arg.len() > 2
        && arg.starts_with('-')
        && !arg.contains('=')
        && arg.bytes().all(is_name_byte)
        && is_secret_name(arg)
}

/// Whether this is the value of `-p`, which is short for a password; a port, a mapping of ports and a path are none.
pub(in super::super) fn is_password(before: &str, value: &str) -> bool {
    let is_port = value
        .split([':', '.', '-'])
        .all(|part| part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit()));
    before == "-p"
        && !is_port
        && !value.starts_with(['/', '.', '~', '-'])
        && !value.ends_with(['/', ';'])
}

fn words_with_places(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_ascii_whitespace()
        .map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

/// Logins in addresses: `https://user:password@host`, `https://token@host`.
fn in_addresses(text: &str, found: &mut Vec<Range<usize>>) {
    let mut behind = 0;
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        if at >= behind {
            behind = start + in_query(text, start, found);
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || "/?#\"'<>`\\".contains(c))
            .unwrap_or(rest.len());
        let Some(login_end) = rest[..end].rfind('@') else {
            continue;
        };
        let login = &rest[..login_end];
        match login.split_once(':') {
            Some((_, "")) => found.push(start..start + login_end - 1),
            Some((user, _)) => found.push(start + user.len() + 1..start + login_end),
            None if text[..at].ends_with("http") || text[..at].ends_with("https") => {
                found.push(start..start + login_end);
            }
            None => {}
        }
    }
}

/// Values in the address that begins at `start` whose names are secret, written `%74oken` too; its length.
fn in_query(text: &str, start: usize, found: &mut Vec<Range<usize>>) -> usize {
    let rest = &text[start..];
    let len = rest
        .find(|c: char| c.is_whitespace() || "\"'<>`\\".contains(c))
        .unwrap_or(rest.len());
    let mut at = start;
    // What comes before the first mark is the host and the path.
    for (nth, part) in rest[..len].split(['?', '&', ';', '#']).enumerate() {
        if nth > 0
            && let Some((name, value)) = part.split_once('=')
            && is_secret_name(&percent_decoded(name))
        {
            found.push(at + part.len() - value.len()..at + part.len());
        }
        at += part.len() + 1;
    }
    len
}

pub(super) fn percent_decoded(name: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = name.bytes().take(256);
    while let Some(byte) = bytes.next() {
        let mut code = bytes.clone().take(2);
        let mut digit = || char::from(code.next()?).to_digit(16);
        match (byte, digit(), digit()) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                bytes.nth(1);
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn bearers(text: &str, found: &mut Vec<Range<usize>>) {
    let mut words = words_with_places(text).peekable();
    while let Some((_, word)) = words.next() {
        let Some(&(at, value)) = words.peek() else {
            return;
        };
        let scheme = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let scheme = scheme
            .rsplit([':', '=', '"', '\''])
            .next()
            .unwrap_or(scheme);
        if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic") {
            let value = value.trim_end_matches(|c: char| "\"'`,;)]}.".contains(c));
            // `Bearer authentication` and `Basic Auth` are words of a sentence.
            let unlike_a_word = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'=';
            let telling = value.len() >= 20 || value.bytes().skip(1).any(unlike_a_word);
            if value.len() >= 6 && telling && !value.starts_with("${") {
                found.push(at..at + value.len());
            }
        }
    }
}
