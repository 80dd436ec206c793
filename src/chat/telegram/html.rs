//! Text as Telegram's HTML mode takes it: escaping, cleaning and lengths.
//!
//! Lengths are UTF-16 units after entities are parsed, as the Bot API counts them.

use std::borrow::Cow;

/// The length of a text as the Bot API counts it.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Appends a text so that it means itself in HTML mode, in text and inside a quoted attribute.
pub(super) fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

/// A text without what could hide or reorder parts of it on a screen: control characters go, and marks that change the
/// direction of writing become visible, so that a diff shows the command that will run.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns_text(c);
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .filter_map(|c| match c {
            c if turns_text(c) => Some('\u{FFFD}'),
            c if odd(c) => None,
            c => Some(c),
        })
        .collect::<String>()
        .into()
}

/// The longest head of a text within a number of units, and what follows it. Breaks after white space where the head
/// keeps at least half its room. Never splits a character; a room of less than 2 units still takes one.
pub(super) fn cut(text: &str, room: usize) -> (&str, &str) {
    let mut used = 0;
    let mut end = text.len();
    let mut space = None;
    for (at, c) in text.char_indices() {
        used += c.len_utf16();
        if used > room && at > 0 {
            end = at;
            break;
        }
        if c == ' ' && used * 2 > room {
            space = Some(at + 1);
        }
    }
    let end = if end < text.len() {
        space.unwrap_or(end)
    } else {
        end
    };
    text.split_at(end)
}

/// A text cut to a number of units, with an ellipsis where something is missing.
pub(super) fn shorten(text: &str, room: usize) -> Cow<'_, str> {
    if units(text) <= room {
        return Cow::Borrowed(text);
    }
    let (head, _) = cut(text, room.saturating_sub(1));
    format!("{}…", head.trim_end()).into()
}

/// Marks of Unicode that change the direction of what follows.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_of_html_is_escaped() {
        let mut out = String::new();
        escape_into(&mut out, "<b a=\"1\"> & it's");
        assert_eq!(out, "&lt;b a=&quot;1&quot;&gt; &amp; it's");
    }

    #[test]
    fn controls_go_and_direction_marks_show() {
        assert_eq!(clean("a\u{1b}[31m\u{0}b\r\nc\td"), "a[31mb\nc\td");
        assert_eq!(clean("rm \u{202E}txt.exe"), "rm \u{FFFD}txt.exe");
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn cuts_count_utf16_and_keep_characters() {
        assert_eq!(cut("abcdef", 3), ("abc", "def"));
        assert_eq!(cut("ab cdef", 5), ("ab ", "cdef"));
        assert_eq!(cut("😀😀😀", 4), ("😀😀", "😀"));
        assert_eq!(cut("😀😀", 3), ("😀", "😀"));
        assert_eq!(cut("😀😀", 1), ("😀", "😀"));
        assert_eq!(cut("abc", 3), ("abc", ""));
    }

    #[test]
    fn shortened_text_says_so() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
    }
}
