//! What the desk writes down, and what it does not begin where nothing can be written down.

use super::hall::{Hall, blocking};
use super::refusal::Refusal;
use super::turn::Turn;
use crate::actor::Actor;
use crate::audit::{Closed, Entry, What};
use crate::thread::ThreadId;

impl Turn<'_> {
    /// Refuses where what is about to happen could not be written down.
    pub(super) async fn audit_is_open(&self) -> Result<(), Refusal> {
        let (audit, thread) = (self.hall.parts.audit.clone(), self.thread);
        let open = blocking(move || audit.is_open(thread)).await;
        Ok(open?)
    }

    /// Writes down what this person did, before they are told that it is done. Where that fails it has happened all the
    /// same: they are told, and it is written as soon as it can be.
    pub(super) async fn note(&self, what: What) {
        if let Err(closed) = self.hall.note(self.thread, Some(&self.actor), what).await {
            self.send(super::screens::not_noted(&closed)).await;
        }
    }
}

impl Hall {
    /// Writes something down for good, off the async threads.
    pub(super) async fn note(
        &self,
        thread: ThreadId,
        by: Option<&Actor>,
        what: What,
    ) -> Result<(), Closed> {
        let (audit, by) = (self.parts.audit.clone(), by.cloned());
        blocking(move || audit.note_durably(thread, Entry { by, what })).await
    }
}
