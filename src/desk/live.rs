//! What takes long and can be stopped: calls and tests, each a task with one live message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Hall, new_id};
use crate::actor::ActorId;
use crate::chat::{MessageId, View};
use crate::thread::ThreadId;

/// The one message of something that takes long. Showing never holds up what is shown: at most one edit is under way, and
/// the newest view waits for it.
pub(super) struct LiveMessage {
    hall: Arc<Hall>,
    thread: ThreadId,
    message: Option<MessageId>,
    showing: Option<BoxFuture<'static, Option<MessageId>>>,
    next: Option<View>,
}

impl LiveMessage {
    /// None is sent yet.
    pub(super) fn new(hall: &Arc<Hall>, thread: ThreadId) -> Self {
        Self::within(hall, thread, None)
    }

    /// In a message that is there already, if there is one.
    pub(super) fn within(hall: &Arc<Hall>, thread: ThreadId, message: Option<MessageId>) -> Self {
        let hall = Arc::clone(hall);
        Self {
            hall,
            thread,
            message,
            showing: None,
            next: None,
        }
    }

    /// Has this shown next; what waited before is left out.
    pub(super) fn show(&mut self, view: View) {
        self.next = Some(view);
    }

    /// Goes on showing; never resolves. For an arm of a `select!`, which it may be dropped from at any time.
    pub(super) async fn go_on(&mut self) -> std::convert::Infallible {
        loop {
            if self.showing.is_none() {
                self.showing = self.next.take().map(|view| self.showing_of(view));
            }
            match &mut self.showing {
                Some(showing) => {
                    let shown = showing.await;
                    self.message = self.message.or(shown);
                    self.showing = None;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Ends with this view.
    pub(super) async fn finish(mut self, view: View) {
        if let Some(showing) = self.showing.take() {
            self.message = self.message.or(showing.await);
        }
        self.hall.finish(self.thread, self.message, view).await;
    }

    /// Ends without a last view: whoever asked goes on in this message.
    pub(super) async fn end(mut self) -> Option<MessageId> {
        match self.showing.take() {
            Some(showing) => self.message.or(showing.await),
            None => self.message,
        }
    }

    fn showing_of(&self, view: View) -> BoxFuture<'static, Option<MessageId>> {
        let (hall, thread, message) = (Arc::clone(&self.hall), self.thread, self.message);
        Box::pin(async move {
            match message {
                None => hall.send(thread, view).await.ok(),
                Some(message) => {
                    // An interim view that does not arrive is followed by another.
                    let _ = hall.edit(thread, message, view).await;
                    Some(message)
                }
            }
        })
    }
}

/// At most this many run in a thread at once: calls, whose own bounds are tighter, and tests.
const MOST: usize = 24;

/// The running ones.
#[derive(Debug, Default)]
pub(super) struct Live {
    // A plain mutex: held for a look-up, never over an await.
    running: Mutex<HashMap<String, Running>>,
    /// Everything was stopped for good: what begins now is stopped at once.
    closed: CancellationToken,
}

#[derive(Debug)]
struct Running {
    thread: ThreadId,
    by: ActorId,
    stop: CancellationToken,
}

/// What a press of Stop came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is being stopped.
    Yes,
    /// It had ended.
    Over,
    /// It is another person's.
    NotYours,
}

/// A place among the running ones; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place<'a> {
    live: &'a Live,
    /// What Stop names.
    pub(super) id: String,
    /// Set when somebody pressed Stop or the bot ends.
    pub(super) stop: CancellationToken,
}

impl Live {
    /// Takes a place; `None` where the thread has as many running as it may.
    pub(super) fn enter(&self, thread: ThreadId, by: &ActorId) -> Option<Place<'_>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .values()
            .filter(|other| other.thread == thread)
            .count()
            >= MOST
        {
            return None;
        }
        let (id, stop) = (new_id(), self.closed.child_token());
        running.insert(
            id.clone(),
            Running {
                thread,
                by: by.clone(),
                stop: stop.clone(),
            },
        );
        Some(Place {
            live: self,
            id,
            stop,
        })
    }

    /// Stops one, for the person who began it or somebody who configures.
    pub(super) fn stop(
        &self,
        id: &str,
        thread: ThreadId,
        by: &ActorId,
        configures: bool,
    ) -> Stopped {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get(id).filter(|one| one.thread == thread) {
            None => Stopped::Over,
            Some(one) if one.by == *by || configures => {
                one.stop.cancel();
                Stopped::Yes
            }
            Some(_) => Stopped::NotYours,
        }
    }

    /// Stops what somebody began in a thread; returns how many.
    pub(super) fn stop_of(&self, thread: ThreadId, by: &ActorId) -> usize {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = running
            .values()
            .filter(|one| one.thread == thread && one.by == *by);
        theirs.inspect(|one| one.stop.cancel()).count()
    }

    /// Stops what runs in a thread.
    pub(super) fn cancel_thread(&self, thread: ThreadId) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let there = running.values().filter(|one| one.thread == thread);
        there.for_each(|one| one.stop.cancel());
    }

    /// Stops everything, also what begins later.
    pub(super) fn cancel_all(&self) {
        self.closed.cancel();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.live
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_places_and_gets_them_back() {
        let (live, ann) = (Live::default(), ActorId("ann".into()));
        let mut places: Vec<_> = (0..MOST)
            .map(|_| live.enter(ThreadId::Local, &ann).unwrap())
            .collect();
        assert!(live.enter(ThreadId::Local, &ann).is_none());
        assert!(live.enter(ThreadId::telegram(1, None), &ann).is_some());
        places.pop();
        assert!(live.enter(ThreadId::Local, &ann).is_some());
    }

    #[test]
    fn only_who_began_or_who_configures_stops() {
        let (live, ann, bob) = (
            Live::default(),
            ActorId("ann".into()),
            ActorId("bob".into()),
        );
        let place = live.enter(ThreadId::Local, &ann).unwrap();
        assert_eq!(
            live.stop(&place.id, ThreadId::Local, &bob, false),
            Stopped::NotYours
        );
        assert!(!place.stop.is_cancelled());
        assert_eq!(
            live.stop(&place.id, ThreadId::telegram(1, None), &ann, true),
            Stopped::Over
        );
        assert_eq!(
            live.stop(&place.id, ThreadId::Local, &bob, true),
            Stopped::Yes
        );
        assert!(place.stop.is_cancelled());
        let id = place.id.clone();
        drop(place);
        assert_eq!(live.stop(&id, ThreadId::Local, &ann, false), Stopped::Over);
    }
}
