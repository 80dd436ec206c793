//! What has been shown, and the text that shows what comes next.
//!
//! Decides without IO. A message that becomes another one is shown whole and has the newest buttons; of mere progress
//! only what is new is said. Changes of one message are coalesced, the newest wins and the last one is always shown,
//! over the message where that is still the last thing on the screen. While held, nothing is shown before the flush:
//! then each message once, in its last state and at its place.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::choices::{Choice, Choices};
use super::line::Line;
use super::progress::progress;
use super::render::{Form, Numbers, lines};
use crate::chat::{Button, MessageId, View};

/// So many messages can still be changed or pressed by label; a terminal has no scrolled-away buttons.
const KEPT: usize = 64;
/// Between two changes of a message that are written over each other.
const IN_PLACE_EVERY: Duration = Duration::from_millis(100);
/// Between two changes of a message that are shown below each other.
const BELOW_EVERY: Duration = Duration::from_secs(1);

/// The memory of one terminal. Each method that shows something returns the text to write, in this order.
#[derive(Debug)]
pub(super) struct Transcript {
    look: Look,
    next: i64,
    messages: VecDeque<Kept>,
    choices: Choices,
    bottom: Option<Bottom>,
    /// Something was shown already.
    begun: bool,
    saw_error: bool,
    /// Everything waits for the next flush.
    held: bool,
}

/// How text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Styles may be written.
    pub color: bool,
    /// Where an empty line keeps messages apart.
    pub gap: Gap,
    /// Buttons can be pressed.
    pub buttons: bool,
}

/// Where an empty line keeps messages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// After each, so before the prompt.
    After,
    /// Before each but the first, so that lines of progress stand together.
    Before,
    /// Nowhere.
    None,
}

/// The screen's size in columns and rows; no rows where nothing can be written over, `None` where there is no screen.
pub(super) type Size = Option<(usize, usize)>;

#[derive(Debug)]
struct Kept {
    id: MessageId,
    /// As it was shown last, without attachments; `None` where it was not shown yet.
    shown: Option<View>,
    /// What waits for its time.
    waiting: Option<View>,
    /// Say where its attachments are.
    files: Vec<Line>,
    /// One of its buttons was pressed, or it brings files: what comes next is no mere progress.
    whole: bool,
    /// When a change was shown last.
    changed: Option<Instant>,
}

impl Kept {
    fn last(&self) -> Option<&View> {
        self.waiting.as_ref().or(self.shown.as_ref())
    }
}

/// The message that is the last thing that was shown.
#[derive(Debug)]
struct Bottom {
    id: MessageId,
    rows: usize,
    size: Size,
    /// What its short form was relative to; `None` where it was shown whole.
    base: Option<View>,
}

impl Transcript {
    /// `first` is the first message's id: ids of an earlier run of the program must not come again, because proposals
    /// that survive a restart remember theirs.
    pub(super) fn new(look: Look, first: i64) -> Self {
        Self {
            look,
            next: first,
            messages: VecDeque::new(),
            choices: Choices::default(),
            bottom: None,
            begun: false,
            saw_error: false,
            held: false,
        }
    }

    /// Shows a new message; `files` say where its attachments are. Changes that still wait come before it.
    pub(super) fn send(&mut self, view: View, files: &[Line], size: Size) -> (MessageId, String) {
        let mut out = String::new();
        if !self.held {
            out = self.show_waiting(size, Instant::now(), true);
        }
        let id = MessageId(self.next);
        self.next += 1;
        self.saw_error |= view.is_error;
        self.choices.sent(id, &view);
        if self.messages.len() == KEPT {
            out.push_str(&self.show_next(0, size, None));
            self.messages.pop_front();
        }
        self.messages.push_back(Kept {
            id,
            shown: None,
            waiting: Some(without_bytes(view)),
            files: files.to_vec(),
            whole: true,
            changed: None,
        });
        if !self.held {
            out.push_str(&self.show_next(self.messages.len() - 1, size, None));
        }
        (id, out)
    }

    /// Changes a message, now or when its time has come; `None` where it is not known any more. `files` say where those
    /// of its attachments are that it did not have before.
    pub(super) fn edit(
        &mut self,
        id: MessageId,
        view: View,
        files: &[Line],
        size: Size,
        now: Instant,
    ) -> Option<String> {
        self.saw_error |= view.is_error;
        let kept = self.messages.iter_mut().find(|kept| kept.id == id)?;
        if view.attachments.is_empty() && !kept.files.is_empty() && kept.waiting.is_none() {
            kept.files.clear();
            // Where the files are stays on the screen.
            self.bottom.take_if(|bottom| bottom.id == id);
        }
        kept.files.extend_from_slice(files);
        kept.whole |= !files.is_empty();
        let view = without_bytes(view);
        let is_progress = !kept.whole
            && kept
                .last()
                .is_some_and(|last| *last == view || progress(last, &view, false).is_some());
        self.choices.edited(id, &view, is_progress);
        kept.waiting = (kept.whole || kept.shown.as_ref() != Some(&view)).then_some(view);
        let at = self.messages.iter().position(|kept| kept.id == id)?;
        let ready = !self.held && (!files.is_empty() || self.is_ready(&self.messages[at], now));
        Some(if ready {
            self.show_next(at, size, Some(now))
        } else {
            String::new()
        })
    }

    /// A button of a message was pressed: what the message becomes is the answer and is shown whole.
    pub(super) fn pressed(&mut self, id: MessageId) {
        if let Some(kept) = self.messages.iter_mut().find(|kept| kept.id == id) {
            kept.whole = true;
        }
    }

    /// Shows nothing from now on until [`Transcript::flush`].
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Forgets a message; its buttons cannot be pressed any more.
    pub(super) fn delete(&mut self, id: MessageId) -> bool {
        let before = self.messages.len();
        self.messages.retain(|kept| kept.id != id);
        self.choices.gone(id);
        before > self.messages.len()
    }

    /// When the next waiting change is to be shown.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.held {
            return None;
        }
        self.messages
            .iter()
            .filter(|kept| kept.waiting.is_some())
            .filter_map(|kept| Some(kept.changed? + self.pause(kept)))
            .min()
    }

    /// Shows the waiting changes whose time has come.
    pub(super) fn flush_due(&mut self, size: Size, now: Instant) -> String {
        if self.held {
            return String::new();
        }
        self.show_waiting(size, now, false)
    }

    /// Shows everything that waits, and goes on showing.
    pub(super) fn flush(&mut self, size: Size) -> String {
        self.held = false;
        self.show_waiting(size, Instant::now(), true)
    }

    /// Shows lines that are no message. Held, they wait at their place like a message that nobody changes.
    pub(super) fn note(&mut self, note: &[Line], size: Size) -> String {
        let columns = size.map(|(columns, _)| columns);
        let note: Vec<Line> = note
            .iter()
            .flat_map(|line| line.clone().wrap(columns))
            .collect();
        if self.held {
            return self.send(View::default(), &note, size).1;
        }
        let mut out = self.show_waiting(size, Instant::now(), true);
        self.write(&note, true, &mut out);
        self.bottom = None;
        out
    }

    /// The person finished a line: it stands below what was shown.
    pub(super) fn typed(&mut self) {
        self.bottom = None;
    }

    /// What a line means, see [`Choices::read`].
    pub(super) fn read(&self, line: &str, begun: Option<u64>) -> Choice {
        let older = self.messages.iter().rev().flat_map(|kept| {
            kept.last()
                .into_iter()
                .flat_map(|view| view.buttons.iter().flatten())
                .map(move |button| (kept.id, button))
        });
        self.choices.read(line, begun, older)
    }

    /// A text was handed over, see [`Choices::said`].
    pub(super) fn said(&mut self, text: &str) {
        self.choices.said(text);
    }

    /// Whether what is typed now is a secret.
    pub(super) fn asks_for_secret(&self) -> bool {
        self.choices.asks_for_secret()
    }

    /// Changes whenever the numbers mean something else.
    pub(super) fn epoch(&self) -> u64 {
        self.choices.epoch()
    }

    /// The newest message with buttons and these.
    pub(super) fn newest_buttons(&self) -> Option<(MessageId, Vec<Button>)> {
        self.choices.newest()
    }

    /// Notes that something was refused or failed.
    pub(super) fn failed(&mut self) {
        self.saw_error = true;
    }

    /// Whether anything was refused or failed.
    pub(super) fn saw_error(&self) -> bool {
        self.saw_error
    }

    /// The first change is shown at once, so what waits has a change before it.
    fn is_ready(&self, kept: &Kept, now: Instant) -> bool {
        kept.waiting.is_some()
            && kept
                .changed
                .is_none_or(|changed| changed + self.pause(kept) <= now)
    }

    fn pause(&self, kept: &Kept) -> Duration {
        let at_bottom = self.bottom.as_ref().is_some_and(|bottom| {
            bottom.id == kept.id && bottom.size.is_some_and(|(_, rows)| rows > 0)
        });
        if at_bottom {
            IN_PLACE_EVERY
        } else {
            BELOW_EVERY
        }
    }

    fn show_waiting(&mut self, size: Size, now: Instant, all: bool) -> String {
        let mut out = String::new();
        for at in 0..self.messages.len() {
            if all || self.is_ready(&self.messages[at], now) {
                out.push_str(&self.show_next(at, size, Some(now)));
            }
        }
        out
    }

    /// Shows what waits of a message. `now` where it is a change, which counts for the time of the next one.
    fn show_next(&mut self, at: usize, size: Size, now: Option<Instant>) -> String {
        let mut out = String::new();
        let kept = &mut self.messages[at];
        let Some(view) = kept.waiting.take() else {
            return out;
        };
        let (id, old) = (kept.id, kept.shown.replace(view.clone()));
        let whole = std::mem::take(&mut kept.whole);
        kept.changed = now.filter(|_| old.is_some()).or(kept.changed);
        let form = Form {
            numbers: self.numbers(id),
            color: self.look.color,
            columns: size.map(|(columns, _)| columns),
        };
        let bottom = self.bottom.take_if(|bottom| bottom.id == id);
        let over = bottom.as_ref().filter(|bottom| {
            size.is_some_and(|(_, rows)| bottom.size == size && bottom.rows < rows)
        });
        // What stays on the screen above what is written now, where this message stands there.
        let base = match over {
            Some(bottom) => bottom.base.clone(),
            None => old,
        };
        if let Some(bottom) = over {
            // Up to the first row of the old text, and away with it. Writing to a `String` does not fail.
            let _ = write!(out, "\u{1b}[{}A\r\u{1b}[J", bottom.rows);
        }
        let continues = bottom.is_some() && over.is_none();
        let news = base
            .as_ref()
            .filter(|_| !whole)
            .and_then(|base| progress(base, &view, continues));
        let shown = match &news {
            Some(news) if continues => {
                let numbers = Numbers::Hidden;
                lines(news, &[], Form { numbers, ..form })
            }
            Some(news) => lines(news, &[], form),
            None => lines(&view, &self.messages[at].files, form),
        };
        if !shown.is_empty() {
            let apart = bottom.is_none() || continues && news.is_none();
            self.write(&shown, apart, &mut out);
            self.at_bottom(id, &shown, size, base.filter(|_| news.is_some()));
        }
        out
    }

    fn numbers(&self, id: MessageId) -> Numbers {
        if self.look.buttons {
            self.choices.numbers(id)
        } else {
            Numbers::Hidden
        }
    }

    fn at_bottom(&mut self, id: MessageId, shown: &[Line], size: Size, base: Option<View>) {
        let rows = size.map_or(0, |size| shown.iter().map(|line| line.rows(size.0)).sum());
        self.bottom = Some(Bottom {
            id,
            rows: rows + usize::from(self.look.gap == Gap::After),
            size,
            base,
        });
    }

    /// `apart` from what stands above.
    fn write(&mut self, shown: &[Line], apart: bool, out: &mut String) {
        if self.look.gap == Gap::Before && apart && self.begun {
            out.push('\n');
        }
        self.begun = true;
        for line in shown {
            line.write(self.look.color, out);
        }
        if self.look.gap == Gap::After {
            out.push('\n');
        }
    }
}

/// Attachments are written to files and not kept in memory.
fn without_bytes(view: View) -> View {
    View {
        attachments: Vec::new(),
        ..view
    }
}

#[cfg(test)]
mod tests;
