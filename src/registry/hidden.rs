//! Text that nobody sees: taken out of what servers send before it is shown or kept, and counted.
//!
//! Bidirectional controls turn a line round, zero-width and tag characters carry whole sentences for a machine, terminal
//! sequences paint over what stood there. What emoji and scripts need (a joiner between two visible characters, one
//! variation selector behind one) stays.

use std::borrow::Cow;

use serde_json::Value;

/// The text without what cannot be seen, and how many characters that were. A terminal sequence counts once.
pub(super) fn without_hidden(text: &str) -> (Cow<'_, str>, usize) {
    if is_plain(text) {
        return (Cow::Borrowed(text), 0);
    }
    let mut plain = String::with_capacity(text.len());
    let mut hidden = 0;
    let mut chars = text.chars().peekable();
    let mut before = '\n';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        if c == '\u{1b}' || c == '\u{9b}' {
            hidden += 1;
            if c == '\u{9b}' || chars.next_if_eq(&'[').is_some() {
                // Up to the final byte; what is none ends it too, and stays.
                while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
                chars.next_if(|c| ('@'..='~').contains(c));
            } else if chars.next_if_eq(&']').is_some() {
                // A command of the terminal: up to BEL or the string terminator, on this line.
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            } else {
                chars.next_if(|c| (' '..='~').contains(c));
            }
        } else if c == '\r' && next == Some('\n') {
            // A line end of another system.
        } else if is_hidden(c, before, next) {
            hidden += 1;
        } else {
            plain.push(c);
            before = c;
        }
    }
    (Cow::Owned(plain), hidden)
}

/// Takes what cannot be seen out of every text of a JSON value; how many characters that were. The names of fields stay
/// as they are.
pub(super) fn strip_strings(value: &mut Value) -> usize {
    match value {
        Value::String(text) => strip(text),
        Value::Array(items) => items.iter_mut().map(strip_strings).sum(),
        Value::Object(fields) => fields.values_mut().map(strip_strings).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Takes what cannot be seen out of a text; how many characters that were.
pub(super) fn strip(text: &mut String) -> usize {
    let (plain, hidden) = without_hidden(text);
    if let Cow::Owned(plain) = plain {
        *text = plain;
    }
    hidden
}

/// The text with what cannot be seen written out, for people who judge it.
pub(super) fn written_out(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_format(c) || (c.is_control() && c != '\n') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a name of a field somewhere in a JSON value has something in it that cannot be seen.
pub(super) fn hides_in_names(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(hides_in_names),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, field)| without_hidden(name).1 > 0 || hides_in_names(field)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Most texts are: one pass over their bytes tells.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t'))
}

fn is_hidden(c: char, before: char, next: Option<char>) -> bool {
    match c {
        '\n' | '\t' => false,
        c if c.is_control() => true,
        // Joiners: between two characters of a script or of an emoji.
        '\u{200c}' | '\u{200d}' => {
            before.is_ascii()
                || next.is_none_or(|next| next.is_ascii() || next.is_control() || is_format(next))
        }
        // One selector behind something that it selects a form of.
        '\u{fe0e}' | '\u{fe0f}' => {
            is_format(before) || (before.is_ascii() && !matches!(before, '0'..='9' | '#' | '*'))
        }
        c => is_format(c),
    }
}

/// Characters without a form of their own.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn d13_hidden_text_is_taken_out_and_counted() {
        for (text, plain, hidden) in [
            ("plain\n\ttext ä 漢", "plain\n\ttext ä 漢", 0),
            ("a\r\nb\rc", "a\nbc", 1),
            ("a\u{202e}b\u{2066}c\u{200f}", "abc", 3),
            ("a\u{200b}b\u{feff}\u{2060}", "ab", 3),
            ("tag\u{e0069}\u{e0067}\u{e006e}", "tag", 3),
            ("\u{1b}[31mred\u{1b}[0m", "red", 2),
            ("\u{1b}]0;title\u{7}after", "after", 1),
            ("\u{9b}2Jx\u{8}\u{0}", "x", 3),
            ("\u{1b}", "", 1),
            // What is needed to write stays.
            (
                "👩\u{200d}💻 ❤\u{fe0f} 1\u{fe0f}",
                "👩\u{200d}💻 ❤\u{fe0f} 1\u{fe0f}",
                0,
            ),
            ("می\u{200c}خواهم", "می\u{200c}خواهم", 0),
            // And what looks like it does not.
            ("a\u{200d}b", "ab", 1),
            ("😀\u{fe0f}\u{fe0f}\u{fe01}", "😀\u{fe0f}", 2),
            ("😀\u{e0120}\u{e0121}", "😀", 2),
        ] {
            let (stripped, count) = without_hidden(text);
            assert_eq!((stripped.as_ref(), count), (plain, hidden), "{text:?}");
        }
    }

    #[test]
    fn every_text_of_a_value_is_cleaned_and_its_names_are_looked_at() {
        let mut value = json!({"a": ["x\u{200b}", {"b": "\u{202e}y"}], "c": 1});
        assert_eq!(strip_strings(&mut value), 2);
        assert_eq!(value, json!({"a": ["x", {"b": "y"}], "c": 1}));
        assert!(!hides_in_names(&value));
        assert!(hides_in_names(&json!([{"a": {"b\u{200b}": 1}}])));
    }

    proptest! {
        #[test]
        fn once_is_enough(text in "(\\PC|[\u{1b}\u{9b}\u{200d}\u{fe0f}\u{e0041}\\[\\]m0-9a-z]){0,40}") {
            let (once, _) = without_hidden(&text);
            let (twice, hidden) = without_hidden(&once);
            prop_assert_eq!(hidden, 0, "{:?} {:?}", once, twice);
        }
    }
}
