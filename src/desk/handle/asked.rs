//! One step of a guided flow: the question, and what an answer led to.

use crate::chat::{Question, Text, View};

/// What an answer led to.
pub(super) enum Asked<T> {
    /// The next question.
    Next(T, View),
    /// The flow is over; what came of it has been shown.
    Finished,
}

impl<T> Asked<T> {
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Asked<U> {
        match self {
            Self::Next(kind, view) => Asked::Next(make(kind), view),
            Self::Finished => Asked::Finished,
        }
    }
}

/// A question with an example.
pub(super) fn ask(title: &str, words: &str, example: &str) -> View {
    View::titled(title)
        .line(words)
        .line(Text::from("For example: ").code(example))
        .asking(Question {
            placeholder: example.chars().take(64).collect(),
            of: None,
            secret: false,
        })
}
