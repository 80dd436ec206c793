//! The tail of a server's stderr: always read, never more than a bounded piece kept.
//!
//! A line is masked when it is taken, with the secrets of the run that said it: later definitions know others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::text::{clip, plain_line};
use crate::config::Masker;

/// Lines and characters of each that are kept.
const LINES: usize = 200;
const CHARS: usize = 400;
/// Bytes of one line that are looked at, and as many as a secret may reach; the rest of it is passed over. More than is
/// shown, since colours and secrets take room.
const LINE_BYTES: usize = 8 * CHARS;
/// A flood is read at most this fast, so that it does not cost a core: this much, then a pause.
const BURST_BYTES: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(50);

/// Lines that a reason looks at, and lines that it has.
const LOOKED_AT: usize = 40;
const TOLD: usize = 3;

/// The newest lines. Grows with what is said; a server that says nothing costs nothing.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// A std lock: held for a line, never over an await.
    tail: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// A server that is replaced may have two runs for a while.
    runs: Vec<Run>,
    next: u64,
    /// How many of the lines the newest process said.
    fresh: usize,
}

/// One process's stderr.
#[derive(Debug)]
struct Run {
    id: u64,
    masker: Arc<Masker>,
    partial: Vec<u8>,
    /// More of the line came than is looked at.
    cut: bool,
}

/// Tells when everything that a process said is in the logs.
#[derive(Debug)]
pub(super) struct Drained(watch::Receiver<bool>);

impl Drained {
    /// Waits for the end of the stream, at most `limit`: a grandchild may keep it open.
    pub(super) async fn wait(&mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.wait_for(|done| *done)).await;
    }
}

impl Logs {
    /// Reads a process's stderr to its end; ends with the pipe, or when `Drained` is dropped.
    pub(super) fn drain(self: &Arc<Self>, stderr: pipe::Receiver, masker: Arc<Masker>) -> Drained {
        let run = self.begin(masker);
        let (sender, receiver) = watch::channel(false);
        let logs = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = logs.read(run, &stderr) => {}
                () = sender.closed() => {
                    // What is there is still taken: a last word is often the reason.
                    let _ = logs.take(run, &stderr);
                }
            }
            logs.end(run);
            let _ = sender.send(true);
        });
        Drained(receiver)
    }

    /// Adds a line of ours, with nothing secret in it.
    pub(super) fn note(&self, line: String) {
        let mut tail = self.tail();
        if tail.lines.len() == LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back(line);
    }

    /// The lines, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let tail = self.tail();
        let mut lines: Vec<_> = tail.lines.iter().cloned().collect();
        let partial = tail.runs.iter().filter(|run| !run.partial.is_empty());
        lines.extend(partial.map(Run::line));
        lines
    }

    /// The newest lines of the newest process.
    pub(super) fn fresh(&self) -> Vec<String> {
        let fresh = {
            let tail = self.tail();
            let begun = |run: &&Run| run.id == tail.next && !run.partial.is_empty();
            tail.fresh + tail.runs.iter().filter(begun).count()
        };
        let mut lines = self.lines();
        lines.split_off(lines.len().saturating_sub(fresh.min(LOOKED_AT)))
    }

    /// The few lines of the newest process that tell best what troubles it: each once, errors before hints.
    pub(super) fn telling(&self) -> Vec<String> {
        let mut telling: Vec<String> = Vec::new();
        for line in &self.fresh() {
            let line = line.trim();
            if !line.is_empty() && !is_hint(line) && !telling.iter().any(|told| told == line) {
                telling.push(line.to_owned());
            }
        }
        if telling.iter().any(|line| is_error(line)) {
            telling.retain(|line| is_error(line));
        }
        telling.split_off(telling.len().saturating_sub(TOLD))
    }

    /// The newest `most` lines that say something.
    pub(super) fn last(&self, most: usize) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| !line.trim().is_empty());
        lines.split_off(lines.len().saturating_sub(most))
    }

    async fn read(&self, run: u64, stderr: &pipe::Receiver) {
        let mut since_pause = 0;
        loop {
            if stderr.readable().await.is_err() {
                return;
            }
            match self.take(run, stderr) {
                Ok(0) => return,
                Ok(bytes) => since_pause += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => since_pause = 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            if since_pause > BURST_BYTES {
                since_pause = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Takes what is there. The buffer is on this function's stack, so a quiet server's task holds none.
    fn take(&self, run: u64, stderr: &pipe::Receiver) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let bytes = stderr.try_read(&mut buffer)?;
        self.push(run, &buffer[..bytes]);
        Ok(bytes)
    }

    fn begin(&self, masker: Arc<Masker>) -> u64 {
        let mut tail = self.tail();
        tail.next += 1;
        let id = tail.next;
        tail.fresh = 0;
        tail.runs.push(Run {
            id,
            masker,
            partial: Vec::new(),
            cut: false,
        });
        id
    }

    fn push(&self, run: u64, bytes: &[u8]) {
        let mut tail = self.tail();
        let Tail {
            lines,
            runs,
            fresh,
            next,
        } = &mut *tail;
        let Some(run) = runs.iter_mut().find(|own| own.id == run) else {
            return;
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let most = LINE_BYTES + run.masker.reach();
            let room = most.saturating_sub(run.partial.len());
            run.cut |= text.len() > room;
            let text = &text[..text.len().min(room)];
            run.partial.extend_from_slice(text);
            if ends {
                run.end_line(lines);
                if run.id == *next {
                    *fresh = (*fresh + 1).min(LINES);
                }
            }
        }
    }

    /// Its last line may have no end.
    fn end(&self, run: u64) {
        let mut tail = self.tail();
        let Tail {
            lines,
            runs,
            fresh,
            next,
        } = &mut *tail;
        if let Some(at) = runs.iter().position(|own| own.id == run) {
            let mut run = runs.remove(at);
            if !run.partial.is_empty() {
                run.end_line(lines);
                if run.id == *next {
                    *fresh = (*fresh + 1).min(LINES);
                }
            }
        }
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn line(&self) -> String {
        let plain = plain_line(&self.partial);
        let masked = if self.cut {
            self.masker.mask_beginning(&plain) + "…"
        } else {
            self.masker.mask(&plain)
        };
        clip(&masked, CHARS)
    }

    fn end_line(&mut self, lines: &mut VecDeque<String>) {
        let mut line = self.line();
        line.shrink_to_fit();
        self.partial = Vec::new();
        self.cut = false;
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// What package runners add to every failure, and where in its own code a program was.
fn is_hint(line: &str) -> bool {
    let plain = ["npm error", "npm ERR!", "npm warn", "npm notice"]
        .iter()
        .find_map(|start| line.strip_prefix(start))
        .unwrap_or(line)
        .trim_start();
    let starts = [
        "at ",
        "A complete log of this run",
        "Note that you can also install from",
        "tarball, folder, http url",
        "This is related to npm not being able to find a file",
        "Node.js v",
        "For a full report see",
        "note: run with `RUST_BACKTRACE",
    ];
    let plain = plain.strip_prefix("404").unwrap_or(plain).trim_start();
    plain.is_empty()
        || line.starts_with("npm notice")
        || starts.iter().any(|start| plain.starts_with(start))
}

fn is_error(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    [
        "error",
        "fatal",
        "panic",
        "exception",
        "cannot",
        "can't",
        "could not",
        "failed",
        "not found",
        "no such",
        "denied",
        "refused",
        "invalid",
        "missing",
        "required",
        "must ",
    ]
    .iter()
    .any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_lines_are_kept_and_each_is_bounded() {
        let logs = Logs::default();
        let run = logs.begin(Arc::default());
        for line in 0..1000 {
            logs.push(run, format!("line {line}\n").as_bytes());
        }
        assert_eq!(logs.lines().len(), LINES);
        assert_eq!(logs.last(1), ["line 999"]);
        for _ in 0..10_000 {
            logs.push(run, &[b'x'; 1000]);
        }
        assert!(logs.tail().runs[0].partial.len() <= LINE_BYTES);
        assert_eq!(logs.last(1)[0].chars().count(), CHARS);
        logs.push(run, b"\nnext");
        assert_eq!(logs.last(1), ["next"]);
    }

    #[test]
    fn a_reason_has_the_lines_that_tell() {
        for (text, expected) in [
            ("boom\nboom\nboom\n", vec!["boom"]),
            ("one\ntwo\n\nthree\nfour", vec!["two", "three", "four"]),
            (
                "npm error code E404\nnpm error 404 'x@*' is not in this registry.\nnpm error 404 Note that you can also \
                 install from a\nnpm error A complete log of this run can be found in: /root/x\n",
                vec![
                    "npm error code E404",
                    "npm error 404 'x@*' is not in this registry.",
                ],
            ),
            (
                "starting\nError: API_KEY is not set\n    at main (x.js:1)\nNode.js v20\n",
                vec!["Error: API_KEY is not set"],
            ),
        ] {
            let logs = Logs::default();
            let run = logs.begin(Arc::default());
            logs.push(run, text.as_bytes());
            assert_eq!(logs.telling(), expected, "{text}");
        }
    }

    #[test]
    fn each_line_is_masked_with_the_secrets_of_the_run_that_said_it() {
        let masker =
            |secret: &str| Arc::new(Masker::of_env(&[("A_TOKEN".to_owned(), secret.to_owned())]));
        let logs = Logs::default();
        let old = logs.begin(masker("first-word"));
        logs.push(old, b"have first-word\nand first-word");
        let new = logs.begin(masker("second-word"));
        logs.push(new, b"have second-");
        logs.push(old, b" still\n");
        logs.push(new, b"word");
        logs.end(old);
        logs.end(new);
        assert_eq!(logs.lines(), ["have ••••", "and •••• still", "have ••••"]);
    }

    #[test]
    fn a_secret_at_either_limit_of_a_line_does_not_pass() {
        let env = [("A_TOKEN".to_owned(), "hunter22-and-more".to_owned())];
        let masker = Arc::new(Masker::of_env(&env));
        for before in [
            CHARS - 10,
            LINE_BYTES - 10,
            LINE_BYTES + masker.reach() - 10,
        ] {
            let logs = Logs::default();
            let run = logs.begin(Arc::clone(&masker));
            // Colours take bytes and no characters, so the end of what is looked at is shown.
            let mut line = b"\x1b[31m".repeat(before / 5 - before % 5);
            line.resize(before, b'x');
            line.extend_from_slice(b"hunter22-and-more\n");
            logs.push(run, &line);
            assert!(!logs.last(1)[0].contains("hunter"), "{:?}", logs.last(1));
        }
    }
}
