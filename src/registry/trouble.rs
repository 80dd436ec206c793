//! Why a server could not be reached or started, and what becomes of it then.

use std::time::Duration;

use super::Stage;
use super::text::sentence;

/// Why a server could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) stage: Stage,
    /// What happened: a sentence without its full stop.
    pub(super) what: String,
    /// What to do, a sentence; may be empty.
    pub(super) advice: String,
    /// What may mend it.
    pub(super) mend: Mend,
    /// The last lines of stderr say more.
    pub(super) said: Vec<String>,
}

/// What may mend a trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mend {
    /// Trying again.
    Again,
    /// Trying again at once: nothing is wrong with the server.
    Now,
    /// Trying again, and not before this long from now: the server said so.
    After(Duration),
    /// Somebody who has it started again: by itself it would do the same.
    Restart,
    /// Another definition, or a person at the host.
    Change,
    /// A login; the server's `WWW-Authenticate` header, where it sent one.
    Login(Option<String>),
    /// Somebody who agrees to it.
    Approval,
}

impl Trouble {
    /// One without lines of stderr.
    pub(super) fn new(
        stage: Stage,
        what: impl Into<String>,
        advice: impl Into<String>,
        mend: Mend,
    ) -> Self {
        Self {
            stage,
            what: what.into(),
            advice: advice.into(),
            mend,
            said: Vec::new(),
        }
    }

    /// All of it in whole sentences. Each part is masked by itself, before it has punctuation of ours.
    pub(super) fn in_words(&self, mask: impl Fn(&str) -> String) -> String {
        let mut words = vec![sentence(&mask(&self.what))];
        if !self.said.is_empty() {
            let said: Vec<_> = self.said.iter().map(|line| mask(line)).collect();
            words.push(sentence(&format!("It said: {}", said.join(" / "))));
        }
        if !self.advice.is_empty() {
            words.push(sentence(&mask(&self.advice)));
        }
        words.join(" ")
    }
}
