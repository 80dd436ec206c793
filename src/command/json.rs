//! JSON among the words of a command: fences and quotes around it taken off, smart quotes repaired, and where it
//! stopped making sense.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::lex::{self, is_smart_double, is_smart_single, trim_start};
use crate::config::{SyntaxError, is_secret_name, is_secret_value, syntax_words};

/// Characters of a line that are shown around the column.
const SHOWN: usize = 80;

/// Whether an argument is meant as JSON.
pub(super) fn begins(text: &str) -> bool {
    let text = trim_start(text);
    let inside = trim_start(text.strip_prefix(is_quote).unwrap_or(text));
    inside.starts_with(['{', '[']) || text.starts_with("```")
}

/// The JSON without a code fence or the quotes of a shell around it; otherwise as it was written.
pub(super) fn bare(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if let Some(inside) = text.strip_prefix("```") {
        let inside = inside.trim_end().strip_suffix("```").unwrap_or(inside);
        // The word after the fence names the language.
        let language = inside
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(inside.len());
        return inside[language..].trim().into();
    }
    if !text.starts_with(is_quote) {
        return text.into();
    }
    // Quoted for a shell, perhaps with backslashes inside and options of a client behind it.
    if let Ok(Some(word)) = lex::word(text, 0)
        && serde_json::from_str::<IgnoredAny>(&word.text).is_ok()
    {
        return word.text.into();
    }
    unquoted(text).unwrap_or(text).into()
}

/// Reads one JSON object, forgiving what phones do to its quotes.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, SyntaxError> {
    let text = &*bare(text);
    let error = match serde_json::from_str(text) {
        Ok(object) => return Ok(object),
        Err(error) => error,
    };
    let repaired = repaired(text);
    if repaired == text {
        return Err(located(text, &error));
    }
    serde_json::from_str(&repaired).map_err(|error| located(&repaired, &error))
}

/// The array or object that the text begins with, where white space or nothing follows it: its text, repaired if
/// necessary, and its length in bytes in the text as given.
pub(super) fn leading(text: &str) -> Option<(String, usize)> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let length = |text: &str| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let end = values.byte_offset();
        let alone = text[end..].chars().next().is_none_or(char::is_whitespace);
        alone.then_some(end)
    };
    if let Some(end) = length(text) {
        return Some((text[..end].to_owned(), end));
    }
    let mut repaired = repaired(text);
    let end = length(&repaired)?;
    repaired.truncate(end);
    // A repair puts one character in the place of one, so that places are found again by counting characters.
    let end = text
        .chars()
        .take(repaired.chars().count())
        .map(char::len_utf8)
        .sum();
    Some((repaired, end))
}

/// What is between a pair of quotes that stands around JSON, as in `'{"command": "npx"}'`.
fn unquoted(text: &str) -> Option<&str> {
    let inside = text.strip_prefix(is_quote)?.strip_suffix(is_quote)?.trim();
    inside.starts_with(['{', '[']).then_some(inside)
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`') || is_smart_double(c) || is_smart_single(c)
}

fn repaired(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            _ if is_smart_double(c) => '"',
            '\u{a0}' | '\u{200b}' | '\u{feff}' | '\u{2060}' => ' ',
            _ => c,
        })
        .collect()
}

fn located(text: &str, error: &serde_json::Error) -> SyntaxError {
    let line = error.line().max(1);
    let written = text.split('\n').nth(line - 1).unwrap_or_default();
    let written = written.strip_suffix('\r').unwrap_or(written);
    // The parser counts bytes, people count characters; at the end it is the place behind the last one that is meant.
    let column = error.column().saturating_sub(usize::from(!error.is_eof()));
    let before = (0..=column.min(written.len()))
        .rev()
        .find(|at| written.is_char_boundary(*at))
        .unwrap_or(0);
    let column = written[..before].chars().count();
    let (shown, caret) = shortened(&masked(written, column));
    SyntaxError {
        line,
        column: column + 1,
        text: shown,
        caret,
        message: syntax_words(error),
    }
}

/// The line with its secrets masked, and where the column went.
fn masked(line: &str, column: usize) -> (Vec<char>, usize) {
    let chars: Vec<char> = line.chars().collect();
    let (mut shown, mut caret) = (Vec::with_capacity(chars.len()), column);
    let (mut at, mut key) = (0, String::new());
    while at < chars.len() {
        if chars[at] != '"' {
            shown.push(chars[at]);
            at += 1;
            continue;
        }
        let end = string_end(&chars, at + 1);
        let inside: String = chars[at + 1..end].iter().collect();
        let follows = chars[(end + 1).min(chars.len())..]
            .iter()
            .find(|c| !c.is_whitespace());
        let is_key = follows == Some(&':');
        shown.push('"');
        if !is_key && (is_secret_name(&key) || is_secret_value(&inside)) {
            let mask = 4;
            if column > end {
                caret = (caret + mask).saturating_sub(end - at - 1);
            } else if column > at {
                caret = shown.len();
            }
            shown.extend(['•'; 4]);
        } else {
            shown.extend(&chars[at + 1..end]);
        }
        if end < chars.len() {
            shown.push('"');
        }
        key = if is_key { inside } else { String::new() };
        at = end + 1;
    }
    let caret = caret.min(shown.len());
    (shown, caret)
}

/// Where the string that begins at `from` is closed, or the line's end.
fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at.min(chars.len())
}

fn shortened((line, caret): &(Vec<char>, usize)) -> (String, usize) {
    if line.len() <= SHOWN {
        return (line.iter().collect(), *caret);
    }
    let from = caret.saturating_sub(SHOWN / 2).min(line.len() - SHOWN);
    let to = from + SHOWN;
    let mut shown: String = line[from..to].iter().collect();
    let mut at = caret - from;
    if from > 0 {
        shown.insert(0, '…');
        at += 1;
    }
    if to < line.len() {
        shown.push('…');
    }
    (shown, at)
}
