//! Those who asked to be let in: whom they were, when they were told, and who waits for an operator.

use std::collections::{HashMap, VecDeque};

use super::super::new_id;
use crate::actor::ActorId;
use crate::chat::Event;
use crate::policy::{Admission, HostPolicy, Named};
use crate::thread::ThreadId;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// So many people and chats are remembered; where all of them are of this hour, nobody else is told anything.
const MOST_TOLD: usize = 8192;
/// So many wait; the oldest make room.
const MOST_WAITING: usize = 64;
/// So often in an hour the operators are told of somebody.
const MOST_AN_HOUR: usize = 3;

/// Somebody who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::desk) struct Caller {
    /// Random, for buttons.
    pub(in crate::desk) id: String,
    /// Who, where that is one person.
    pub(in crate::desk) person: Option<ActorId>,
    /// What people call them; untrusted.
    pub(in crate::desk) name: String,
    /// The group where they asked.
    pub(in crate::desk) chat: Option<ThreadId>,
    /// Where they are told what came of it.
    pub(in crate::desk) thread: ThreadId,
    /// When, in milliseconds since the epoch.
    pub(in crate::desk) at_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Callers {
    /// When each person and each chat was told, in milliseconds since the epoch.
    told: HashMap<String, i64>,
    waiting: VecDeque<Caller>,
    /// When the operators were told, this hour.
    announced: VecDeque<i64>,
}

impl Callers {
    /// Whether neither this person nor this chat was told anything within the hour; from now on they were.
    pub(super) fn is_due(&mut self, person: &ActorId, thread: ThreadId, now_ms: i64) -> bool {
        let keys = [person.0.clone(), Named::here(thread).to_string()];
        let is_recent = |at: &i64| (0..HOUR_MS).contains(&now_ms.saturating_sub(*at));
        if keys
            .iter()
            .any(|key| self.told.get(key).is_some_and(is_recent))
        {
            return false;
        }
        if self.told.len() + keys.len() > MOST_TOLD {
            self.told.retain(|_, at| is_recent(at));
        }
        if self.told.len() + keys.len() > MOST_TOLD {
            return false;
        }
        self.told.extend(keys.map(|key| (key, now_ms)));
        true
    }

    /// Somebody asks for the first time: they wait. Returned where the operators shall be told.
    pub(super) fn ask(&mut self, event: &Event, now_ms: i64) -> Option<Caller> {
        let person = event.actor.id.user().map(|_| event.actor.id.clone());
        let chat = match Named::here(event.thread) {
            Named::Chat(chat) => Some(chat),
            Named::Person(_) => None,
        };
        let same = |other: &Caller| match chat {
            Some(_) => other.chat == chat,
            None => other.chat.is_none() && other.person == person,
        };
        if self.waiting.iter().any(same) {
            return None;
        }
        let caller = Caller {
            id: new_id(),
            person,
            name: event.actor.name.clone(),
            chat,
            thread: event.thread,
            at_ms: now_ms,
        };
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(caller.clone());
        self.announced
            .retain(|at| (0..HOUR_MS).contains(&now_ms.saturating_sub(*at)));
        if self.announced.len() >= MOST_AN_HOUR {
            return None;
        }
        self.announced.push_back(now_ms);
        Some(caller)
    }

    pub(super) fn take(&mut self, id: &str) -> Option<Caller> {
        let place = self.waiting.iter().position(|caller| caller.id == id)?;
        self.waiting.remove(place)
    }

    pub(super) fn put_back(&mut self, caller: Caller) {
        self.waiting.push_back(caller);
    }

    /// Those who were let in or blocked meanwhile do not wait any more.
    pub(super) fn tidy(&mut self, policy: &HostPolicy) {
        self.waiting.retain(|caller| {
            let nobody = ActorId(String::new());
            let person = caller.person.as_ref().unwrap_or(&nobody);
            policy.admission(caller.thread, person) == Admission::Stranger
        });
    }

    pub(super) fn waiting(&self) -> Vec<Caller> {
        self.waiting.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::chat::EventKind;

    fn asks(user: u64, chat: i64) -> Event {
        Event {
            thread: ThreadId::telegram(chat, Some(7).filter(|_| chat < 0)),
            actor: Actor {
                id: ActorId::telegram(user),
                name: "Bob".to_owned(),
            },
            private: chat > 0,
            message: None,
            kind: EventKind::Text("hello".to_owned()),
        }
    }

    #[test]
    fn each_person_and_each_chat_is_told_once_an_hour() {
        let mut callers = Callers::default();
        for (user, chat, at_ms, expected) in [
            (1, 1, 0, true),
            (1, 1, HOUR_MS - 1, false),
            (2, -5, 0, true),
            (3, -5, 1, false),
            (2, 2, 1, false),
            (3, 3, 1, true),
            (1, 1, HOUR_MS, true),
        ] {
            let thread = asks(user, chat).thread;
            let due = callers.is_due(&ActorId::telegram(user), thread, at_ms);
            assert_eq!(due, expected, "{user} in {chat} at {at_ms}");
        }
    }

    #[test]
    fn a_flood_of_strangers_is_forgotten_and_never_told_twice() {
        let mut callers = Callers::default();
        let mut told = 0;
        for user in 1..20_000_u64 {
            let chat = i64::try_from(user).unwrap();
            let thread = ThreadId::telegram(chat, None);
            told += usize::from(callers.is_due(&ActorId::telegram(user), thread, 0));
            callers.ask(&asks(user, chat), 0);
        }
        assert!(told <= MOST_TOLD && callers.told.len() <= MOST_TOLD);
        assert_eq!(callers.waiting.len(), MOST_WAITING);
        let first = ThreadId::telegram(1, None);
        assert!(!callers.is_due(&ActorId::telegram(1), first, 1));
        assert!(callers.is_due(&ActorId::telegram(1), first, HOUR_MS));
    }

    #[test]
    fn operators_are_told_a_few_times_an_hour_and_once_of_each() {
        let mut callers = Callers::default();
        let told =
            |callers: &mut Callers, user, chat, at| callers.ask(&asks(user, chat), at).is_some();
        assert!(told(&mut callers, 1, 1, 0));
        assert!(!told(&mut callers, 1, 1, HOUR_MS * 2), "they wait already");
        assert!(told(&mut callers, 1, -5, 1), "for a group");
        assert!(!told(&mut callers, 2, -5, 2), "for the same group");
        assert!(told(&mut callers, 3, 3, 3));
        assert!(!told(&mut callers, 4, 4, 4), "enough for this hour");
        assert_eq!(callers.waiting().len(), 4, "they wait all the same");
        assert!(told(&mut callers, 5, 5, HOUR_MS + 3));
        let mut policy = HostPolicy::default();
        policy.admit(&Named::Person(ActorId::telegram(4)));
        policy.shut_out(&Named::Person(ActorId::telegram(5)));
        callers.tidy(&policy);
        let left: Vec<_> = callers
            .waiting()
            .into_iter()
            .map(|caller| caller.thread)
            .collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
