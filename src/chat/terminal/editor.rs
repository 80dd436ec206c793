//! Where lines come from: the line editor of an interactive terminal, or plain lines of a pipe.
//!
//! Each is a thread that blocks on its input and ends with it. The history stays in memory: lines may hold secrets. The
//! answer to a question for one is shown as dots, and not kept at all.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, Context, Editor, Helper};
use tokio::sync::mpsc;

use super::input::{self, Typed};
use super::line::width;
use super::output::Gate;
use super::transcript::Transcript;
use crate::command::TABLE;

/// The longest text that is read at once; far above the 256 KiB of a configuration file.
const LONGEST: usize = 1024 * 1024;
const PROMPT: &str = "> ";

/// What came from the person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    /// A text, of several lines where JSON was open.
    Text {
        /// Verbatim, without the last line end.
        text: String,
        /// What the numbers meant when its first key was pressed, where that is known.
        begun: Option<u64>,
    },
    /// A text that is longer than what is read.
    TooLong,
    /// Ctrl-C: the line was thrown away.
    Interrupted,
    /// There will be no more.
    End,
}

/// Reads with the line editor until Ctrl-D, two Ctrl-C, or `texts` has no reader any more.
pub(super) fn read_interactive(
    transcript: &Arc<Mutex<Transcript>>,
    gate: &Arc<Gate>,
    texts: &mpsc::Sender<Keyed>,
) {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .bracketed_paste(true)
        // Dots in the place of a secret are colours to the editor, and they must not depend on NO_COLOR.
        .color_mode(ColorMode::Forced)
        .build();
    let history = MemHistory::with_config(&config);
    let Ok(mut editor) = Editor::<Assistant, MemHistory>::with_history(config, history) else {
        drop(texts.blocking_send(Keyed::End));
        return;
    };
    if let Ok(printer) = editor.create_external_printer() {
        gate.through(Box::new(printer));
    }
    editor.set_helper(Some(Assistant {
        transcript: Arc::clone(transcript),
        gate: Arc::clone(gate),
        begun: Cell::new(None),
        secret: Cell::new(false),
        files: FilenameCompleter::new(),
    }));
    let mut interrupted = false;
    loop {
        let read = editor.readline(PROMPT);
        gate.set(false);
        lock(transcript).typed();
        let begun = editor.helper().and_then(|helper| helper.begun.take());
        let secret = editor.helper().is_some_and(|helper| helper.secret.take())
            || lock(transcript).asks_for_secret();
        let keyed = match read {
            Ok(text) if text.len() > LONGEST => Keyed::TooLong,
            Ok(text) if input::read(&text) == Typed::Quit => Keyed::End,
            Ok(text) => {
                if !secret {
                    // Only fails where the history is full or the line is a repetition.
                    let _kept = editor.add_history_entry(text.as_str());
                }
                Keyed::Text { text, begun }
            }
            Err(ReadlineError::Interrupted) if !interrupted => Keyed::Interrupted,
            Err(_) => Keyed::End,
        };
        interrupted = keyed == Keyed::Interrupted;
        let last = keyed == Keyed::End;
        if texts.blocking_send(keyed).is_err() || last {
            return;
        }
    }
}

/// Reads plain lines until the end of the input.
pub(super) fn read_plain(input: impl Read, texts: &mpsc::Sender<Keyed>) {
    let mut input = BufReader::new(input);
    loop {
        let keyed = match plain_text(&mut input) {
            Ok(Some(keyed)) => keyed,
            Ok(None) | Err(_) => Keyed::End,
        };
        let last = keyed == Keyed::End;
        if texts.blocking_send(keyed).is_err() || last {
            return;
        }
    }
}

/// The next line, with those that belong to it; `None` at the end of the input.
fn plain_text(input: &mut impl BufRead) -> std::io::Result<Option<Keyed>> {
    let mut bytes = Vec::new();
    loop {
        let room = LONGEST + 1 - bytes.len();
        let read = input
            .by_ref()
            .take(u64::try_from(room).unwrap_or(u64::MAX))
            .read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() > LONGEST {
            if bytes.last() != Some(&b'\n') {
                input.skip_until(b'\n')?;
            }
            return Ok(Some(Keyed::TooLong));
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if read == 0 || !input::incomplete(text) {
            return Ok(Some(Keyed::Text {
                text: text.to_owned(),
                begun: None,
            }));
        }
    }
}

/// What the line editor asks while a line is typed.
struct Assistant {
    transcript: Arc<Mutex<Transcript>>,
    gate: Arc<Gate>,
    /// What the numbers meant at the first key of the line.
    begun: Cell<Option<u64>>,
    /// A secret was asked for at one of its keys.
    secret: Cell<bool>,
    files: FilenameCompleter,
}

impl Helper for Assistant {}

impl Highlighter for Assistant {
    /// Dots as wide as the secret, so that the cursor stands where it belongs.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.is_secret(line) {
            Cow::Owned("•".repeat(width(line)))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_char(&self, line: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor && self.is_secret(line)
    }
}

impl Assistant {
    /// Once a line is one, it stays one: the question may have gone meanwhile. An empty line is none yet: the answer
    /// before it may be on its way still.
    fn is_secret(&self, line: &str) -> bool {
        let secret =
            !line.is_empty() && (self.secret.get() || lock(&self.transcript).asks_for_secret());
        self.secret.set(secret);
        secret
    }
}

impl Hinter for Assistant {
    type Hint = String;

    /// Never hints; it is the one place that is told of every key, and of the prompt before the first.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.gate.set(true);
        if line.is_empty() {
            self.begun.set(None);
        } else if self.begun.get().is_none() {
            self.begun.set(Some(lock(&self.transcript).epoch()));
        }
        None
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if input::incomplete(context.input()) {
            ValidationResult::Incomplete
        } else {
            // The line ends now; a message belongs below it.
            self.gate.set(false);
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        // The list of candidates is printed below, so the newest message is not the last thing on the screen any more.
        lock(&self.transcript).typed();
        if self.is_secret(line) {
            return Ok((pos, Vec::new()));
        }
        let typed = &line[..pos];
        if typed.starts_with(":upload ") {
            return self.files.complete(line, pos, context);
        }
        Ok(complete_command(typed))
    }
}

/// Completes the terminal's commands, `/mcp` and its subcommands, also after `/mcp help`.
fn complete_command(typed: &str) -> (usize, Vec<Pair>) {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = typed.split_at(start);
    let before: Vec<&str> = before.split_whitespace().collect();
    let names: Vec<&str> = match before.as_slice() {
        [] => input::COMMANDS
            .into_iter()
            .chain(["/mcp", "/help", "/start", "/cancel"])
            .collect(),
        ["/mcp"] => TABLE
            .iter()
            .map(|entry| entry.name)
            .chain(["help"])
            .collect(),
        ["/mcp", "help"] => TABLE.iter().map(|entry| entry.name).collect(),
        _ => Vec::new(),
    };
    let mut found: Vec<Pair> = Vec::new();
    for name in names {
        let known = found.iter().any(|pair| pair.display == name);
        if !word.is_empty() | (before.len() == 1) && name.starts_with(word) && !known {
            found.push(Pair {
                display: name.to_owned(),
                replacement: format!("{name} "),
            });
        }
    }
    (start, found)
}

fn lock(transcript: &Mutex<Transcript>) -> std::sync::MutexGuard<'_, Transcript> {
    transcript.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &[u8]) -> Vec<Keyed> {
        let mut input = BufReader::with_capacity(7, input);
        std::iter::from_fn(|| plain_text(&mut input).unwrap()).collect()
    }

    fn text(text: &str) -> Keyed {
        Keyed::Text {
            text: text.to_owned(),
            begun: None,
        }
    }

    #[test]
    fn plain_lines_are_read_one_after_another() {
        for (input, expected) in [
            ("", vec![]),
            ("one\r\ntwo", vec![text("one"), text("two")]),
            ("\n", vec![text("")]),
            (
                "/mcp add-json {\n \"a\": {}\n}\n1\n",
                vec![text("/mcp add-json {\n \"a\": {}\n}"), text("1")],
            ),
            (
                "/mcp add-json {\n\nnext\n",
                vec![text("/mcp add-json {\n"), text("next")],
            ),
            ("/mcp add-json {", vec![text("/mcp add-json {")]),
        ] {
            assert_eq!(texts(input.as_bytes()), expected, "{input:?}");
        }
        assert_eq!(texts(b"\xff\n"), [text("\u{fffd}")]);
    }

    #[test]
    fn a_line_without_end_is_not_kept_in_memory() {
        let mut long = vec![b'x'; LONGEST * 3];
        long.extend_from_slice(b"\nafter\n");
        assert_eq!(texts(&long), [Keyed::TooLong, text("after")]);
    }

    #[test]
    fn commands_are_completed() {
        for (typed, start, expected) in [
            (":u", 0, vec![":upload "]),
            ("/m", 0, vec!["/mcp "]),
            ("/mcp hel", 5, vec!["help "]),
            ("hello wor", 6, vec![]),
            ("", 0, vec![]),
        ] {
            let (at, found) = complete_command(typed);
            let found: Vec<&str> = found.iter().map(|pair| pair.replacement.as_str()).collect();
            assert_eq!((at, found), (start, expected), "{typed:?}");
        }
        let (_, all) = complete_command("/mcp ");
        assert!(
            TABLE
                .iter()
                .all(|entry| all.iter().any(|pair| pair.display == entry.name))
        );
    }
}
