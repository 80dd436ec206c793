//! The door: who is let in, judged before anything else is done with an event.
//!
//! For somebody who is not let in nothing runs: no thread is loaded, no folder is made, no worker kept. They are told once
//! an hour at most, and the operators are told of them, a few times an hour at most. What is remembered of them is bounded
//! and only in memory.

mod callers;
mod pairing;
mod reception;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::action::{Action as Press, AdmitVerb, Screen};
use super::records::LIFETIME_MS;
use crate::actor::ActorId;
use crate::chat::{Event, EventKind};
use crate::policy::{Admission, HostPolicy};

pub(super) use callers::Caller;
use callers::Callers;
use pairing::Pairing;

/// So many guests are in at once.
const MOST_GUESTS: usize = 1024;

/// What the door remembers.
#[derive(Default)]
pub(super) struct Door {
    pairing: Option<Pairing>,
    // Plain mutexes: held for a look-up, never over an await.
    callers: Mutex<Callers>,
    /// People whom a group sent for a secret, until when, in milliseconds since the epoch.
    guests: Mutex<HashMap<ActorId, i64>>,
    at_once: AtomicUsize,
}

/// Whether an event comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It does.
    In,
    /// As far as the question goes that a group sent this person for.
    Guest,
    /// It does not.
    Out(Admission),
}

impl Door {
    /// With an announcement where a first operator may come by a code.
    pub(super) fn new(announce: Option<super::Announce>, policy: &HostPolicy) -> Self {
        let announce = announce.filter(|_| policy.operators.is_empty());
        Self {
            pairing: announce.map(Pairing::begin),
            ..Self::default()
        }
    }

    /// Whether an event comes in.
    pub(super) fn way(&self, policy: &HostPolicy, event: &Event, now_ms: i64) -> Way {
        match policy.admission(event.thread, &event.actor.id) {
            Admission::Operator | Admission::Admitted => Way::In,
            Admission::Stranger if self.is_guest(event, now_ms) => Way::Guest,
            out @ (Admission::Stranger | Admission::Blocked) => Way::Out(out),
        }
    }

    /// Takes somebody who asked out of those who wait.
    pub(super) fn take_caller(&self, id: &str) -> Option<Caller> {
        self.callers().take(id)
    }

    /// It was not decided after all.
    pub(super) fn put_back(&self, caller: Caller) {
        self.callers().put_back(caller);
    }

    /// Those who asked and wait, newest first.
    pub(super) fn waiting(&self, policy: &HostPolicy) -> Vec<Caller> {
        let mut callers = self.callers();
        callers.tidy(policy);
        callers.waiting()
    }

    fn is_guest(&self, event: &Event, now_ms: i64) -> bool {
        let is_known = || {
            let guests = lock(&self.guests);
            guests
                .get(&event.actor.id)
                .is_some_and(|until| now_ms <= *until)
        };
        let is_answer = match &event.kind {
            EventKind::Text(text) => {
                let text = text.trim_start();
                !text.starts_with('/') || text.starts_with("/cancel") || text.starts_with("/start ")
            }
            EventKind::Press { data, .. } => matches!(Press::decode(data), Some(Press::Flow(..))),
            EventKind::Edited(_)
            | EventKind::File { .. }
            | EventKind::Migrated { .. }
            | EventKind::Left => false,
        };
        event.private && is_answer && is_known()
    }

    fn welcome_guest(&self, person: &ActorId, now_ms: i64) {
        let mut guests = lock(&self.guests);
        guests.retain(|_, until| now_ms <= *until);
        if guests.len() < MOST_GUESTS {
            guests.insert(person.clone(), now_ms + LIFETIME_MS);
        }
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        lock(&self.callers)
    }
}

/// The buttons below what operators are told of somebody.
pub(super) fn decisions(caller: &Caller) -> Vec<crate::chat::Button> {
    let button = |verb, label: &str| Press::Admit(verb, caller.id.clone()).button(label);
    match caller.chat {
        None => vec![
            button(AdmitVerb::Person, "Allow"),
            button(AdmitVerb::Block, "Block"),
        ],
        Some(_) => vec![
            button(AdmitVerb::Chat, "Allow chat"),
            button(AdmitVerb::Person, "Allow person"),
            button(AdmitVerb::Block, "Block chat"),
        ],
    }
}

/// The button that opens the operators' panel.
pub(super) fn panel_button(label: &str) -> crate::chat::Button {
    Press::Open(Screen::Admin).button(label)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
