//! `history.jsonl`: every applied change with who, when and what; enough of it to turn each round.
//!
//! Lines are only appended. A change is first written down as an intent, then made, then marked done; a change whose end
//! was not written down is judged by the files (see `commit`). A line that was torn by a crash is cut off, for what it
//! would have said has not happened. All functions are called under the thread's lock.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::atomic::{self, Disk, Durability, Step};
use super::{RawFiles, StoreError, folder::Folder};
use crate::actor::Actor;
use crate::config::{Change, Edit, FileKind, SecretName, lift};

/// One applied change. `Debug` leaves out the edits, which may hold secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// A short random id, unique in the thread.
    pub id: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Who or what made it.
    pub origin: Origin,
    /// What was done, a few words: `add github`.
    pub title: String,
    /// The edit that was applied.
    pub edit: Edit,
    /// The edit that turns it round.
    pub inverse: Edit,
    /// The masked unified diff, as it was shown.
    pub diff: String,
    /// The id of the entry that this one undid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
}

/// Who or what made a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A person, in chat.
    Person(Actor),
    /// Somebody with access to the host edited the file.
    Host,
}

impl HistoryEntry {
    /// Whether any secret was there.
    fn seal(&mut self, name_of: &dyn Fn(&str) -> Option<SecretName>) -> bool {
        let mut is_changed = false;
        for change in self.edit.0.iter_mut().chain(&mut self.inverse.0) {
            if let Change::Put {
                file: FileKind::Local,
                value,
                ..
            } = change
            {
                is_changed |= !lift(value, |secret, _| name_of(secret)).is_empty();
            }
        }
        is_changed
    }
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// This is about to happen.
    Intent(Box<Intent>),
    /// The intent before it happened.
    Done(String),
    /// The intent before it did not happen.
    Dropped(String),
    /// This has happened.
    Noted(Box<Noted>),
}

/// A change that is about to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// What the history will say.
    pub(super) entry: HistoryEntry,
    /// The files that are about to be replaced, in this order.
    pub(super) writes: Vec<Write>,
    /// Both files afterwards.
    pub(super) after: Sums,
}

/// One file about to be replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Write {
    pub(super) file: FileKind,
    /// The new text, under its temporary name in the same folder.
    pub(super) temporary: String,
    pub(super) before: Sum,
    pub(super) after: Sum,
    /// What it replaces is no file that could be read, and is put aside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) repairs: bool,
}

/// A change that has been made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) entry: HistoryEntry,
    /// Both files afterwards.
    pub(super) after: Sums,
}

/// What both files are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) local: Sum,
    pub(super) remote: Sum,
}

/// A file's content hash in hex, `None` where there is no file.
pub(super) type Sum = Option<String>;

/// Entries that are kept when the file is made smaller, and the bytes that it may have then.
const KEPT_ENTRIES: usize = 200;
const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// It is made smaller when it has more bytes or lines than this; the space between saves doing it at each commit.
const MOST_BYTES: usize = 4 * 1024 * 1024;
const MOST_LINES: usize = 3 * KEPT_ENTRIES;
/// More than this is not ours and is not read.
const READ_BYTES: u64 = 32 * 1024 * 1024;

/// A mark is shorter than this.
const MARK_BYTES: u64 = 256;

const NAME: &str = "history.jsonl";

/// The file, read.
#[derive(Default)]
pub(super) struct Log {
    text: Vec<u8>,
}

impl Log {
    /// Reads the file and cuts off a torn line at its end.
    pub(super) fn read(state: &Folder) -> Result<Self, StoreError> {
        let mut text = match state.read(NAME, READ_BYTES) {
            Ok(text) => text.unwrap_or_default(),
            Err(error @ StoreError::TooLarge { .. }) => {
                super::set_aside(state, NAME, &error)?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        if whole < text.len()
            && let Some(file) = state.open_file(NAME, OFlags::WRONLY)?
        {
            cut(&file, whole as u64)
                .map_err(|source| StoreError::io(state.path_of(NAME), source))?;
        }
        text.truncate(whole);
        Ok(Self { text })
    }

    /// The newest line.
    pub(super) fn last(&self) -> Option<Line> {
        self.lines().next_back().and_then(parse)
    }

    /// Adds a line to what was read.
    pub(super) fn push(&mut self, line: &Line) {
        if let Ok(line) = encode(line) {
            self.text.extend(line);
        }
    }

    /// What happened, newest first. Every intent that was not dropped counts; one without an end is settled first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Noted> {
        let mut dropped = Vec::new();
        self.lines()
            .rev()
            .filter_map(parse)
            .filter_map(move |line| match line {
                Line::Noted(noted) => Some(*noted),
                Line::Intent(intent) if !dropped.contains(&intent.entry.id) => Some(Noted {
                    entry: intent.entry,
                    after: intent.after,
                }),
                Line::Dropped(id) => {
                    dropped.push(id);
                    None
                }
                Line::Intent(_) | Line::Done(_) => None,
            })
    }

    /// Puts names in place of secrets that stood written out in local entries and are kept sealed now; only where nothing
    /// is under way. What is undone to then names them, too.
    pub(super) fn seal(
        &self,
        disk: &Disk,
        state: &Folder,
        name_of: &dyn Fn(&str) -> Option<SecretName>,
    ) -> Result<(), StoreError> {
        let mut is_changed = false;
        let mut text = Vec::with_capacity(self.text.len());
        for raw in self.lines() {
            let mut line = parse(raw);
            let lifted = match &mut line {
                Some(Line::Intent(intent)) => intent.entry.seal(name_of),
                Some(Line::Noted(noted)) => noted.entry.seal(name_of),
                Some(Line::Done(_) | Line::Dropped(_)) | None => false,
            };
            if let Some(line) = line.filter(|_| lifted) {
                is_changed = true;
                let line =
                    encode(&line).map_err(|source| StoreError::io(state.path_of(NAME), source))?;
                text.extend(line);
            } else {
                text.extend_from_slice(raw);
                text.push(b'\n');
            }
        }
        if is_changed {
            atomic::write(disk, state, NAME, &text, Durability::Power)?;
        }
        Ok(())
    }

    /// Makes the file smaller where it has grown large; only where nothing is under way.
    pub(super) fn compact(&self, disk: &Disk, state: &Folder) -> Result<(), StoreError> {
        if self.text.len() <= MOST_BYTES && self.lines().count() <= MOST_LINES {
            return Ok(());
        }
        let mut lines = Vec::new();
        let mut bytes = 0;
        for noted in self.newest_first().take(KEPT_ENTRIES) {
            let line = encode(&Line::Noted(Box::new(noted)))
                .map_err(|source| StoreError::io(state.path_of(NAME), source))?;
            bytes += line.len();
            // The newest stays whatever its size, so that it can be undone.
            if bytes > KEPT_BYTES && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        atomic::write(disk, state, NAME, &lines.concat(), Durability::Power)
    }

    fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
    }
}

/// Appends a line; it is on the disk when this returns, or the file is as it was.
pub(super) fn append(disk: &Disk, state: &Folder, line: &Line) -> Result<(), StoreError> {
    let fails = |source| StoreError::io(state.path_of(NAME), source);
    let is_new = state.stat(NAME)?.is_none();
    let text = encode(line).map_err(fails)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND;
    let Some(mut file) = state.open_file(NAME, flags)? else {
        return Err(fails(std::io::ErrorKind::NotFound.into()));
    };
    let before = file.metadata().map_err(fails)?.len();
    let written = match disk.allows(Step::Append) {
        Ok(()) => file.write_all(&text),
        Err(refused) => file.write_all(&text[..text.len() / 2]).and(Err(refused)),
    };
    // A mark that ends an intent may be lost: the files tell the same. The intent itself may not.
    let is_mark = matches!(line, Line::Done(_) | Line::Dropped(_));
    let kept = written.and_then(|()| if is_mark { Ok(()) } else { file.sync_data() });
    if let Err(source) = kept {
        // What cannot be cut off now is cut off as a torn line, or settled by the files, at the next read.
        let _ = cut(&file, before);
        return Err(fails(source));
    }
    if is_new {
        state.sync()?;
    }
    Ok(())
}

/// Whether the file surely ends with a mark, so that nothing is under way: a look at its last bytes, without the lock.
pub(super) fn ends_settled(state: &Folder) -> Result<bool, StoreError> {
    let Some(mut file) = state.open_file(NAME, OFlags::RDONLY)? else {
        return Ok(true);
    };
    let mut end = Vec::new();
    let read = file
        .metadata()
        .and_then(|told| file.seek(SeekFrom::Start(told.len().saturating_sub(MARK_BYTES))))
        .and_then(|from| file.take(MARK_BYTES).read_to_end(&mut end).map(|_| from));
    let from = read.map_err(|source| StoreError::io(state.path_of(NAME), source))?;
    let Some(end) = end.strip_suffix(b"\n") else {
        return Ok(end.is_empty());
    };
    let mark = last_line(end, from == 0).and_then(parse);
    Ok(matches!(mark, Some(Line::Done(_) | Line::Dropped(_))))
}

/// The last line of a part of the file, `None` where it began before that part and so is longer than a mark.
fn last_line(end: &[u8], from_start: bool) -> Option<&[u8]> {
    match end.iter().rposition(|byte| *byte == b'\n') {
        Some(before) => Some(&end[before + 1..]),
        None => from_start.then_some(end),
    }
}

impl std::fmt::Debug for HistoryEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryEntry")
            .field("id", &self.id)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

impl Sums {
    /// Of both files.
    pub(super) fn of(files: &RawFiles) -> Self {
        Self {
            local: sum(files.local.as_deref()),
            remote: sum(files.remote.as_deref()),
        }
    }
}

/// A file's content hash. The history has its own and not [`crate::config::Revision`]: it must tell the two files apart,
/// and what is on disk must not change with a type of another room.
pub(super) fn sum(bytes: Option<&[u8]>) -> Sum {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    bytes.map(|bytes| {
        let mut hex = String::with_capacity(32);
        for byte in &sha2::Sha256::digest(bytes)[..16] {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    })
}

fn parse(line: &[u8]) -> Option<Line> {
    match serde_json::from_slice(line) {
        Ok(line) => Some(line),
        Err(error) => {
            // Its text may hold secrets and stays out of the log.
            let place = error.column();
            tracing::warn!(
                column = place,
                "A line of a history is damaged; it is passed over."
            );
            None
        }
    }
}

fn encode(line: &Line) -> std::io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

fn cut(file: &File, length: u64) -> std::io::Result<()> {
    file.set_len(length)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_the_look_cut_is_not_read() {
        for (end, from_start, expected) in [
            (&b"a\nb"[..], false, Some(&b"b"[..])),
            (b"b", true, Some(b"b")),
            (b"the end of a long line", false, None),
            (b"\n", false, Some(b"")),
        ] {
            assert_eq!(last_line(end, from_start), expected);
        }
    }
}
