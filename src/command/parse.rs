//! A line of text → a [`Request`], or what is wrong with it and how it is written.

use super::line::Line;
use super::table::{self, Entry};
use super::{Request, add, admin, json, lex};
use crate::config::{Masker, SyntaxError};

/// Why a line is no request. The desk turns it into a message with one thing to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// No such command; the nearest one, where there is one (`/mcp lsit` → `/mcp list`).
    #[error("there is no command `{typed}`")]
    Unknown {
        /// What was typed, at most 64 characters.
        typed: String,
        /// The nearest command as it is typed whole.
        nearest: Option<&'static str>,
    },
    /// The command is known, its arguments are not right.
    #[error("{what}")]
    Usage {
        /// What is missing or too much, a sentence without full stop: `the server's name is missing`.
        what: String,
        /// The command's usage line.
        usage: &'static str,
    },
    /// A quote was opened and not closed; the word it began at.
    #[error("a quote is opened at `{0}` and not closed")]
    OpenQuote(String),
    /// JSON arguments of `/mcp call` that do not parse.
    #[error("line {}, column {}: {}", .0.line, .0.column, .0.message)]
    Json(SyntaxError),
}

impl From<lex::Open> for CommandError {
    fn from(open: lex::Open) -> Self {
        Self::OpenQuote(open.0)
    }
}

/// The commands that are not subcommands.
const ROOTS: [&str; 6] = ["/mcp", "/help", "/start", "/cancel", "/settings", "/admin"];
/// Characters of a mistyped command that are compared and repeated.
const MAX_TYPED: usize = 64;

/// Whether a text is meant as a command of ours: it begins with `/`, or is a line for another client that [`read`] takes
/// (`claude mcp add …`). A small-talk `mcp list` is not; see [`meant`].
pub fn looks_like_a_command(text: &str) -> bool {
    lex::trim_start(text).starts_with('/') || add::is_foreign(text)
}

/// The command that a plain text begins like, for a hint: `mcp list` → `/mcp list`, `MCP ls` → `/mcp list`.
pub fn meant(text: &str) -> Option<&'static str> {
    let (first, rest) = lex::split_word(text);
    if first.starts_with('/') || !first.eq_ignore_ascii_case("mcp") {
        return None;
    }
    let typed = lex::split_word(rest).0;
    if typed.is_empty() {
        return Some("/mcp");
    }
    table::canonical(typed)
        .and_then(table::help_for)
        .map(Entry::typed)
}

/// Reads a line that begins with `/`, or one for another client as READMEs show it. `our_name` is the bot's user name where it has one, for `/mcp@Name`.
pub fn read(text: &str, our_name: Option<&str>) -> Result<Request, CommandError> {
    if add::is_foreign(text) {
        return subcommand(lex::trim_start(text));
    }
    let (first, rest) = lex::split_word(text);
    let (word, addressed) = match first.split_once('@') {
        Some((word, name)) => (word, Some(name)),
        None => (first, None),
    };
    if let (Some(ours), Some(name)) = (our_name, addressed)
        && !name.is_empty()
        && !name.eq_ignore_ascii_case(ours)
    {
        return Ok(Request::NotForUs);
    }
    match word.to_ascii_lowercase().as_str() {
        "/start" => Ok(Request::Start(
            (!rest.is_empty()).then(|| rest.trim_end().to_owned()),
        )),
        "/help" if rest.is_empty() => Ok(Request::Help),
        "/help" => Ok(help(rest)),
        "/cancel" => Ok(Request::Cancel),
        "/admin" => admin::line(rest).map(Request::Admin),
        "/settings" => Ok(Request::Settings),
        "/mcp" => subcommand(rest),
        // `/mcp_list`: Telegram makes a command of letters, digits and `_` one that can be tapped.
        tapped if tapped.starts_with("/mcp_") => {
            subcommand(&format!("{} {rest}", &word["/mcp_".len()..]))
        }
        _ => Err(unknown(word, &lex::plain_dashes(word).to_lowercase())),
    }
}

fn subcommand(text: &str) -> Result<Request, CommandError> {
    if text.is_empty() {
        return Ok(Request::Panel);
    }
    // Pasted without a subcommand: JSON, or the line of another client.
    if json::begins(text) {
        return add::json(text);
    }
    if let Some(request) = add::foreign(text) {
        return request;
    }
    let end = text
        .find(|c: char| lex::is_space(c) || matches!(c, '{' | '`'))
        .unwrap_or(text.len());
    let (typed, rest) = (&text[..end], lex::trim_start(&text[end..]));
    let word = table::canonical(typed);
    let Some(entry) = word.and_then(table::help_for) else {
        if typed.eq_ignore_ascii_case("cancel") {
            return Ok(Request::Cancel);
        }
        return Err(unknown(&format!("/mcp {typed}"), typed));
    };
    if matches!(
        lex::plain_dashes(lex::split_word(rest).0).as_str(),
        "--help" | "-h"
    ) {
        return Ok(Request::HelpFor(Some(entry.name.to_owned())));
    }
    Line { entry, rest }.read()
}

/// `/help add`, `/mcp help add`, `/mcp help /mcp add`: an other spelling becomes the table's.
pub(super) fn help(rest: &str) -> Request {
    let asked = lex::split_word(rest).0.trim_start_matches('/');
    let asked = match asked.to_ascii_lowercase().as_str() {
        "mcp" => lex::split_word(lex::split_word(rest).1).0,
        _ => asked,
    };
    if asked.is_empty() {
        return Request::HelpFor(None);
    }
    let name = match table::canonical(asked) {
        Some(name) => name.to_owned(),
        None => repeated(asked),
    };
    Request::HelpFor(Some(name))
}

/// No such command; `looked_for` is the part that is compared with the names of the table.
pub(super) fn unknown(typed: &str, looked_for: &str) -> CommandError {
    let looked_for: String = looked_for.chars().take(MAX_TYPED).collect();
    let looked_for = looked_for.to_lowercase();
    let nearest = match looked_for.strip_prefix('/') {
        None => nearest_subcommand(&looked_for),
        Some(word) => {
            // `/list` and `/mcplist` were meant as `/mcp list`.
            let word = word.strip_prefix("mcp").unwrap_or(word);
            let exact = table::canonical(word).and_then(table::help_for);
            let root = || table::nearest(&looked_for, ROOTS);
            exact
                .map(Entry::typed)
                .or_else(root)
                .or_else(|| nearest_subcommand(word))
        }
    };
    CommandError::Unknown {
        typed: repeated(typed),
        nearest,
    }
}

/// What is repeated of a text that was typed: its beginning, without a secret in it. Masked before it is cut, since half a
/// key does not look like one.
fn repeated(typed: &str) -> String {
    let masked = Masker::default().mask(typed);
    masked.chars().take(MAX_TYPED).collect()
}

fn nearest_subcommand(typed: &str) -> Option<&'static str> {
    let name = table::canonical(typed)
        .or_else(|| table::nearest(typed, table::TABLE.iter().map(|entry| entry.name)))?;
    table::help_for(name).map(Entry::typed)
}
