//! Finds what looks like a secret: by the name before it, by its form, by its randomness.
//!
//! One finder serves values, arguments and free text, so that what a person sees masked in one place is masked in all.
//! Ordinary paths, addresses, package names, versions and UUIDs are left readable; a `${…}` reference is no secret.

use std::ops::Range;

use super::SecretName;

mod address;
mod forms;
mod named;
mod names;
mod prose;

pub use address::{address_with, secrets_in_address};
pub(super) use named::{is_password, is_secret_flag};
pub(super) use names::is_secret_name;

/// What stands in place of a secret.
pub(super) const MASK: &str = "••••";

/// Whether the text is nothing but a reference to a value kept elsewhere, maybe after `Bearer`.
pub(super) fn is_reference(text: &str) -> bool {
    let text = text.trim();
    let text = strip_scheme(text).unwrap_or(text);
    let inner = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|name| {
        !name.is_empty()
            // `${NAME:-default}` may carry the secret itself.
            && !name.contains(":-")
            && name.chars().all(|c| c.is_alphanumeric() || "_.:- ".contains(c))
    })
}

/// The pieces of a text that look secret, in order, none touching another.
pub(super) fn spans(text: &str) -> Vec<Range<usize>> {
    let mut found = look(text);
    if address::is_one(text) {
        found = address::masked(text, found);
    }
    // What is left may look secret without its neighbours: it is judged as it will be shown.
    for _ in 0..LOOKS {
        if found.is_empty() {
            break;
        }
        let more = look(&hidden(text, &found));
        let all = merged([found.as_slice(), &more].concat());
        if all == found {
            break;
        }
        found = all;
    }
    around_placeholders(text, found)
}

/// How often what is left is judged again; more than twice has not been seen.
const LOOKS: usize = 8;

fn look(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    named::find(text, &mut found);
    forms::find(text, &mut found);
    found.retain(|span| !span.is_empty() && !is_reference(&text[span.clone()]));
    merged(found)
}

/// The text with these pieces made as many bytes that mean nothing.
fn hidden(text: &str, spans: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    for span in spans {
        left.push_str(&text[left.len()..span.start]);
        left.extend(std::iter::repeat_n('\u{1}', span.len()));
    }
    left.push_str(&text[left.len()..]);
    left
}

/// The same for what a program prints, where a secret also stands behind its name in a sentence (`password: hunter2`).
pub(super) fn spans_in_prose(text: &str) -> Vec<Range<usize>> {
    let mut found = spans(text);
    prose::find(text, &mut found);
    around_placeholders(text, merged(found))
}

/// What of these pieces is left without the placeholders in the text: the names of secrets stay readable, also where they
/// stand within what is secret or look like it (`secret:` before a name with a digit).
pub(super) fn around_placeholders(text: &str, spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let placeholders = SecretName::all_in(text);
    if placeholders.is_empty() {
        return spans;
    }
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let mut from = span.start;
        for (place, _) in &placeholders {
            if place.start < span.end && place.end > from {
                parts.push(from..place.start);
                from = place.end;
            }
        }
        parts.push(from..span.end);
    }
    // What joins placeholders (`=`, `:`) is no secret of itself.
    parts.retain(|part| !part.is_empty() && text[part.clone()].contains(char::is_alphanumeric));
    parts
}

/// The text with these pieces masked.
pub(super) fn without(text: &str, spans: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        masked.push_str(&text[from..span.start]);
        masked.push_str(MASK);
        from = span.end;
    }
    masked.push_str(&text[from..]);
    masked
}

/// The text masked, and where in it the byte `at` of the text is now; inside a secret it is the secret's start.
pub(super) fn mask_around(text: &str, at: usize) -> (String, usize) {
    let spans = spans(text);
    let mut moved = at;
    for span in spans.iter().filter(|span| span.start < at) {
        if at < span.end {
            moved -= at - span.start;
        } else {
            moved = moved + MASK.len() - span.len();
        }
    }
    (without(text, &spans), moved)
}

/// The last place at or before `at` where a character starts.
pub(super) fn char_start(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Sorted, overlapping and touching ones made one.
pub(super) fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut all: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match all.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => all.push(span),
        }
    }
    all
}

fn strip_scheme(text: &str) -> Option<&str> {
    ["bearer ", "basic ", "token "].iter().find_map(|scheme| {
        let head = text.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| text[scheme.len()..].trim_start())
    })
}
