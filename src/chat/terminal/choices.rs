//! Which button a typed line presses.
//!
//! Numbers mean the newest message that was shown with buttons, and nothing else: a number on the screen further up may
//! be taken over by a newer message, and is never pressed by mistake because a line that was begun before the change is
//! not taken for a choice.

use super::clean::clean_line;
use super::render::Numbers;
use crate::chat::{Button, MessageId, View};
use crate::command::nearest;

/// The message whose buttons are numbered now.
#[derive(Debug, Default)]
pub(super) struct Choices {
    current: Option<Current>,
    /// Counts changes of what the numbers mean.
    epoch: u64,
    /// The most choices that were ever shown at once: a number up to this was once a choice.
    most: usize,
    /// The message whose question waits for text. Another one with buttons may stand below it.
    question: Option<MessageId>,
    /// That question asks for a secret.
    secret: bool,
}

#[derive(Debug)]
struct Current {
    message: MessageId,
    buttons: Vec<Button>,
    asks: bool,
}

/// What a typed line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// It presses a button.
    Press {
        /// The button's data.
        data: String,
        /// The message that carries it.
        on: MessageId,
    },
    /// It was the number of a choice that is there no more.
    Gone,
    /// The numbers changed after the line was begun.
    Changed,
    /// It is a number beyond the choices.
    Beyond(usize),
    /// It is nearly a label.
    Near(String),
    /// It is no choice.
    Text,
}

impl Choices {
    /// A message was sent: its buttons or its question are the newest.
    pub(super) fn sent(&mut self, message: MessageId, view: &View) {
        if view.question.is_some() || has_buttons(view) {
            self.take(message, view);
        }
    }

    /// A message was changed: with buttons or a question it is the newest, unless that is mere progress of something
    /// under way, which does not take the numbers from a panel.
    pub(super) fn edited(&mut self, message: MessageId, new: &View, is_progress: bool) {
        if new.question.is_none() && !has_buttons(new) {
            self.gone(message);
        } else if !is_progress {
            self.take(message, new);
        }
    }

    /// A message lost its buttons.
    pub(super) fn gone(&mut self, message: MessageId) {
        if self.question.take_if(|asking| *asking == message).is_some() {
            self.secret = false;
        }
        if self
            .current
            .as_ref()
            .is_some_and(|now| now.message == message)
        {
            self.current = None;
            self.epoch += 1;
        }
    }

    /// How the buttons of a message are shown.
    pub(super) fn numbers(&self, message: MessageId) -> Numbers {
        match &self.current {
            Some(now) if now.message == message && now.asks => Numbers::Colon,
            Some(now) if now.message == message => Numbers::Bare,
            Some(_) | None => Numbers::None,
        }
    }

    /// Changes whenever the numbers mean something else.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The newest message with buttons and these.
    pub(super) fn newest(&self) -> Option<(MessageId, Vec<Button>)> {
        let now = self
            .current
            .as_ref()
            .filter(|now| !now.buttons.is_empty())?;
        Some((now.message, now.buttons.clone()))
    }

    /// Reads a line. `begun` is the epoch at its first key, where that is known; `older` are the other messages that
    /// still carry buttons, newest first: their labels can be typed too, unless a question waits for text.
    pub(super) fn read<'a>(
        &self,
        line: &str,
        begun: Option<u64>,
        older: impl Iterator<Item = (MessageId, &'a Button)>,
    ) -> Choice {
        let line = line.trim();
        let asks = self.current.as_ref().is_some_and(|now| now.asks);
        let (digits, explicit) = match line.strip_prefix(':') {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        if let Some(number) = number(digits)
            && (explicit || !asks)
        {
            let found = self.current.as_ref().and_then(|now| {
                let button = now.buttons.get(number.checked_sub(1)?)?;
                Some(Choice::Press {
                    data: button.data.clone(),
                    on: now.message,
                })
            });
            return match found {
                Some(_) if begun.is_some_and(|begun| begun != self.epoch) => Choice::Changed,
                Some(press) => press,
                None if (1..=self.most).contains(&number) => Choice::Gone,
                None if self.offers() => Choice::Beyond(number),
                None if explicit => Choice::Gone,
                None => Choice::Text,
            };
        }
        let newest = self.current.as_ref().and_then(|now| {
            let button = now
                .buttons
                .iter()
                .find(|button| same_label(&button.label, line))?;
            Some((now.message, button.data.clone()))
        });
        let found = newest.or_else(|| {
            older
                .filter(|_| !asks)
                .find(|(_, button)| same_label(&button.label, line))
                .map(|(on, button)| (on, button.data.clone()))
        });
        match (found, self.near_label(line)) {
            (Some((on, data)), _) => Choice::Press { data, on },
            (None, Some(label)) => Choice::Near(label),
            (None, None) => Choice::Text,
        }
    }

    /// A text was handed over: it answers the question that was open. A command answers nothing, but `/cancel` ends it.
    pub(super) fn said(&mut self, text: &str) {
        let mut words = text.split_whitespace().map(str::to_ascii_lowercase);
        let is_cancel = match words.next().as_deref() {
            Some("/cancel") => true,
            Some("/mcp") => words.next().as_deref() == Some("cancel"),
            _ => false,
        };
        if is_cancel || !text.trim_start().starts_with('/') {
            self.question = None;
            self.secret = false;
        }
    }

    /// Whether the question that waits for text asks for a secret.
    pub(super) fn asks_for_secret(&self) -> bool {
        self.secret
    }

    /// Whether there are buttons and no question waits for text, here or further up.
    fn offers(&self) -> bool {
        self.question.is_none()
            && self
                .current
                .as_ref()
                .is_some_and(|now| !now.asks && !now.buttons.is_empty())
    }

    /// The label that a line is a slip of the keys from. Longer lines are talk.
    fn near_label(&self, line: &str) -> Option<String> {
        let now = self.current.as_ref().filter(|_| self.offers())?;
        let bare = |button: &Button| {
            let label = clean_line(&button.label);
            let bare = label.trim_start_matches(|char: char| !char.is_alphanumeric());
            bare.trim().to_owned()
        };
        let labels: Vec<String> = now.buttons.iter().map(bare).collect();
        let label = nearest(line, labels.iter().map(String::as_str))?;
        let talk = line.starts_with('/')
            || line.split_whitespace().count() > label.split_whitespace().count()
            || line.chars().count() < 2
            || line.chars().count() > label.chars().count() + 2;
        (!talk).then(|| label.to_owned())
    }

    fn take(&mut self, message: MessageId, view: &View) {
        if let Some(question) = &view.question {
            self.question = Some(message);
            self.secret = question.secret;
        } else if self.question.take_if(|asking| *asking == message).is_some() {
            self.secret = false;
        }
        let buttons: Vec<Button> = view.buttons.iter().flatten().cloned().collect();
        let asks = view.question.is_some();
        let same =
            |now: &Current| now.message == message && now.buttons == buttons && now.asks == asks;
        if self.current.as_ref().is_some_and(same) {
            return;
        }
        self.most = self.most.max(buttons.len());
        self.epoch += 1;
        self.current = Some(Current {
            message,
            buttons,
            asks,
        });
    }
}

fn has_buttons(view: &View) -> bool {
    view.buttons.iter().any(|row| !row.is_empty())
}

fn number(text: &str) -> Option<usize> {
    (1..=9)
        .contains(&text.len())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a line is a label, whatever its capitals and without the sign that a label may begin with (`◀ Back`).
fn same_label(label: &str, line: &str) -> bool {
    let label = clean_line(label).to_lowercase();
    let line = line.to_lowercase();
    !line.is_empty()
        && (label.trim() == line
            || label
                .trim_start_matches(|char: char| !char.is_alphanumeric())
                .trim()
                == line)
}

#[cfg(test)]
mod tests;
