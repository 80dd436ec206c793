//! Which changes of the files are this process's own.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Hall;
use crate::config::Revision;
use crate::thread::ThreadId;

/// Reload tells of a write long before this, or never.
const UNTOLD: Duration = Duration::from_secs(10);

/// So many changes of this process are told apart from those of others.
const COMMITTED: usize = 256;

impl Hall {
    /// Remembers that a revision is this process's own work, until reload tells of it; the next command here sees it.
    pub(in crate::desk) fn committed(&self, thread: ThreadId, revision: Revision) {
        self.parts.reload.expect(thread);
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if committed.len() == COMMITTED {
            committed.pop_front();
        }
        committed.push_back((thread, revision, Instant::now()));
    }

    /// Whether what reload tells of is this process's own work; asked once for each notice. Own work before it was
    /// overtaken and is forgotten; so is what was never told of, since the same text can come back by another hand.
    pub(in crate::desk) fn is_own(&self, thread: ThreadId, revision: Revision) -> bool {
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let own = committed
            .iter()
            .rposition(|(of, own, _)| *of == thread && *own == revision);
        let mut place = 0;
        committed.retain(|(of, _, since)| {
            let overtaken = own.is_some_and(|own| place <= own) || since.elapsed() > UNTOLD;
            place += 1;
            *of != thread || !overtaken
        });
        own.is_some()
    }
}
