//! Small bounded memories of the front: what was seen, which groups moved, who wrote last, who was told "busy".
//!
//! All of them are plain mutexes, held for a look-up only, never over an await.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::ActorId;
use crate::chat::MessageId;
use crate::thread::ThreadId;

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Bounded<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// Puts an entry and returns the former one; a key keeps its age.
    fn put(&mut self, key: K, value: V) -> Option<V> {
        let former = self.entries.insert(key.clone(), value);
        if former.is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        former
    }
}

/// Updates that were handed over: Telegram may bring one twice.
#[derive(Debug)]
pub(super) struct Seen(Bounded<u64, ()>);

impl Seen {
    pub(super) fn new() -> Self {
        Self(Bounded::new(1024))
    }

    /// Whether an update is new.
    pub(super) fn first_time(&mut self, update: u64) -> bool {
        self.0.put(update, ()).is_none()
    }
}

/// Groups that became supergroups, and so have a new id.
#[derive(Debug)]
pub(super) struct Migrations(Mutex<Bounded<i64, i64>>);

impl Migrations {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bounded::new(1024)))
    }

    /// Notes that a group moved; whether that is news.
    pub(super) fn note(&self, old: i64, new: i64) -> bool {
        old != new && lock(&self.0).put(old, new) != Some(new)
    }

    /// The id under which a chat is reached today.
    pub(super) fn current(&self, chat: i64) -> i64 {
        let moved = lock(&self.0);
        let mut seen = HashSet::new();
        let mut at = chat;
        while let Some(next) = moved.entries.get(&at).filter(|_| seen.insert(at)) {
            at = *next;
        }
        at
    }
}

/// The last message of each person in each thread, for a question that is asked of one person.
#[derive(Debug)]
pub(super) struct LastMessages(Mutex<Bounded<(ThreadId, ActorId), MessageId>>);

impl LastMessages {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bounded::new(1024)))
    }

    pub(super) fn note(&self, thread: ThreadId, actor: &ActorId, message: MessageId) {
        lock(&self.0).put((thread, actor.clone()), message);
    }

    pub(super) fn of(&self, thread: ThreadId, actor: &ActorId) -> Option<MessageId> {
        lock(&self.0).entries.get(&(thread, actor.clone())).copied()
    }
}

/// When each chat was last told that the bot is busy.
#[derive(Debug)]
pub(super) struct BusyNotes(Mutex<Bounded<i64, Instant>>);

impl BusyNotes {
    const PAUSE: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Self {
        Self(Mutex::new(Bounded::new(256)))
    }

    /// Whether the chat may be told now; at most once in ten seconds.
    pub(super) fn due(&self, chat: i64) -> bool {
        let mut told = lock(&self.0);
        let due = told
            .entries
            .get(&chat)
            .is_none_or(|last| last.elapsed() >= Self::PAUSE);
        if due {
            told.put(chat, Instant::now());
        }
        due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_new_once() {
        let mut seen = Seen::new();
        assert!(seen.first_time(1));
        assert!(!seen.first_time(1));
        for id in 2..5000 {
            assert!(seen.first_time(id));
        }
        assert!(seen.0.entries.len() <= 1024);
    }

    #[test]
    fn migrations_are_news_once_and_follow_chains_and_loops() {
        let migrations = Migrations::new();
        assert!(migrations.note(-1, -100));
        assert!(!migrations.note(-1, -100));
        assert!(migrations.note(-100, -200));
        assert_eq!(migrations.current(-1), -200);
        assert_eq!(migrations.current(5), 5);
        migrations.note(-200, -1);
        assert!([-1, -100, -200].contains(&migrations.current(-1)));
    }

    #[tokio::test(start_paused = true)]
    async fn busy_is_said_once_in_ten_seconds_a_chat() {
        let notes = BusyNotes::new();
        assert!(notes.due(1));
        assert!(!notes.due(1));
        assert!(notes.due(2));
        tokio::time::advance(BusyNotes::PAUSE).await;
        assert!(notes.due(1));
    }
}
