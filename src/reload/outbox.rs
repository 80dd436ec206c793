//! Notices on their way to the desk, without ever making a reload wait for it.
//!
//! The desk takes notices and also asks for threads; a thread's task that waited until a notice is taken, while the desk
//! waits for that task's answer, would never end. So a task leaves its notice here and goes on. The queue is bounded by
//! meaning: beyond [`PLENTY`] a thread's notice is made one with its newest, so it holds few more than there are loaded
//! threads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::ReloadNotice;
use crate::thread::ThreadId;

/// More than a desk that is alive leaves lying.
const PLENTY: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// A plain lock: held for one push or pop.
    queue: Mutex<VecDeque<ReloadNotice>>,
    /// Wakes the one who takes.
    wake: Notify,
}

impl Outbox {
    pub(super) fn push(&self, notice: ReloadNotice) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = notice.thread();
        let newest = (queue.len() >= PLENTY)
            .then(|| {
                queue
                    .iter_mut()
                    .rev()
                    .find(|other| other.thread() == thread)
            })
            .flatten();
        match newest {
            Some(newest) => newest.absorb(notice),
            None => queue.push_back(notice),
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// The oldest notice. Safe to cancel.
    pub(super) async fn next(&self) -> ReloadNotice {
        loop {
            let oldest = self
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match oldest {
                Some(notice) => return notice,
                None => self.wake.notified().await,
            }
        }
    }
}

impl ReloadNotice {
    /// Which thread it is about.
    pub fn thread(&self) -> ThreadId {
        match self {
            Self::Changed { thread, .. } | Self::Broken { thread, .. } => *thread,
        }
    }

    /// Says what both say: the newest state, and what was before the first.
    fn absorb(&mut self, mut newer: Self) {
        if let (Self::Changed { before: first, .. }, Self::Changed { before, .. }) =
            (&mut *self, &mut newer)
        {
            *before = first.take();
        }
        *self = newer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Files, Revision};
    use crate::reload::Loaded;
    use std::sync::Arc;

    fn changed(chat: i64, revision: u8, before: &Arc<Files>) -> ReloadNotice {
        ReloadNotice::Changed {
            thread: ThreadId::telegram(chat, None),
            now: Loaded {
                revision: Revision::of(Some(&[revision]), None),
                files: Arc::default(),
                config: Arc::default(),
                broken: None,
            },
            before: Some(Arc::clone(before)),
        }
    }

    #[tokio::test]
    async fn notices_come_in_order_and_those_nobody_takes_become_one() {
        let outbox = Outbox::default();
        let (first, later) = (Arc::new(Files::default()), Arc::new(Files::default()));
        for chat in 0..256 {
            outbox.push(changed(chat, 0, &first));
        }
        for revision in 1..=200 {
            outbox.push(changed(7, revision, &later));
        }
        for chat in 0..256 {
            let ReloadNotice::Changed {
                thread,
                now,
                before,
            } = outbox.next().await
            else {
                panic!("a change became something else");
            };
            assert_eq!(thread, ThreadId::telegram(chat, None));
            let newest = if chat == 7 { 200 } else { 0 };
            assert_eq!(now.revision, Revision::of(Some(&[newest]), None));
            assert!(Arc::ptr_eq(&before.unwrap(), &first));
        }
        assert!(outbox.queue.lock().unwrap().is_empty());
    }
}
