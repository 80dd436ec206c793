//! How a bot that nobody operates yet comes to its operator: by a code that only its console shows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::super::{Announce, new_id};
use crate::actor::ActorId;

/// So often one person may be wrong, for as long as the process lives.
const TRIES_OF_ONE: u32 = 5;
/// So often all together may be wrong about one code; then there is a new one.
const TRIES_OF_ALL: u32 = 20;
/// So many people are remembered; beyond them nobody new may try.
const MOST_PEOPLE: usize = 1024;
/// Letters and digits of a code: 60 bits.
const LENGTH: usize = 12;

/// A code that makes whoever sends it the operator, once.
pub(super) struct Pairing {
    announce: Announce,
    // A plain mutex: held for a comparison.
    state: Mutex<State>,
}

struct State {
    code: String,
    /// Somebody had it right, and is being written down or was.
    used: bool,
    wrong: u32,
    tries: HashMap<ActorId, u32>,
}

/// What a try came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is the code; nobody else can use it any more.
    Right,
    /// It is not.
    Wrong,
    /// This person may not try any more.
    TooOften,
    /// It is the code, and others have read it; there is a new one.
    Overheard,
}

impl Pairing {
    /// Makes a code and announces it.
    pub(super) fn begin(announce: Announce) -> Self {
        let pairing = Self {
            announce,
            state: Mutex::new(State {
                code: new_code(),
                used: false,
                wrong: 0,
                tries: HashMap::new(),
            }),
        };
        pairing.say(&pairing.state());
        pairing
    }

    /// Tries a text; `None` where it has not the form of a code.
    pub(super) fn try_code(&self, actor: &ActorId, text: &str, private: bool) -> Option<Tried> {
        let typed = normal(text)?;
        let mut state = self.state();
        if state.used {
            return None;
        }
        let is_new = !state.tries.contains_key(actor);
        if is_new && state.tries.len() >= MOST_PEOPLE {
            return Some(Tried::TooOften);
        }
        let tries = state.tries.entry(actor.clone()).or_default();
        if *tries >= TRIES_OF_ONE {
            return Some(Tried::TooOften);
        }
        // Compared by their hashes, so that the time tells nothing of the code.
        let is_right = Sha256::digest(&typed) == Sha256::digest(normal(&state.code)?);
        if is_right && private {
            state.used = true;
            return Some(Tried::Right);
        }
        if is_right {
            self.renew(&mut state);
            return Some(Tried::Overheard);
        }
        *state.tries.entry(actor.clone()).or_default() += 1;
        state.wrong += 1;
        if state.wrong >= TRIES_OF_ALL {
            self.renew(&mut state);
        }
        Some(Tried::Wrong)
    }

    /// Whoever had it could not be written down: it is good again.
    pub(super) fn not_used(&self) {
        self.state().used = false;
    }

    /// It was used.
    pub(super) fn used(&self) {
        let mut state = self.state();
        state.used = true;
        state.tries.clear();
    }

    fn renew(&self, state: &mut State) {
        state.code = new_code();
        state.wrong = 0;
        self.say(state);
    }

    fn say(&self, state: &State) {
        (self.announce)(&format!(
            "This bot has no operator yet. Whoever sends it this in a private chat becomes its operator:\n\n    /start {}\n",
            state.code
        ));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Twelve random letters and digits in three groups; none of them looks like another.
fn new_code() -> String {
    let id = new_id().to_uppercase();
    format!("{}-{}-{}", &id[..4], &id[4..8], &id[8..12])
}

/// A code without its dashes and blanks, in capitals; `None` for what has not the form of one.
fn normal(text: &str) -> Option<String> {
    let bare: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '–' | '—' | '‐' | '‑'))
        .take(LENGTH + 1)
        .collect();
    let fits = bare.len() == LENGTH && bare.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| bare.to_uppercase())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A pairing, and the codes that it announced.
    fn begun() -> (Pairing, Arc<Mutex<Vec<String>>>) {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&said);
        let announce: Announce = Arc::new(move |line: &str| {
            let code = line.rsplit("/start ").next().unwrap().trim();
            heard.lock().unwrap().push(code.to_owned());
        });
        (Pairing::begin(announce), said)
    }

    fn newest(said: &Mutex<Vec<String>>) -> String {
        said.lock().unwrap().last().unwrap().clone()
    }

    fn person(user: u64) -> ActorId {
        ActorId::telegram(user)
    }

    #[test]
    fn a_code_is_readable_and_works_once_however_it_is_typed() {
        for typed in [
            |code: &str| code.to_owned(),
            |code: &str| code.to_lowercase(),
            |code: &str| code.replace('-', ""),
            |code: &str| code.replace('-', " — "),
        ] {
            let (pairing, said) = begun();
            let code = newest(&said);
            assert_eq!(code.len(), 14, "{code}");
            let tried = pairing.try_code(&person(1), &typed(&code), true);
            assert_eq!(tried, Some(Tried::Right), "{}", typed(&code));
            assert_eq!(pairing.try_code(&person(2), &code, true), None);
        }
    }

    #[test]
    fn other_words_are_no_tries() {
        let (pairing, _) = begun();
        for text in [
            "",
            "hello",
            "abcdefghijkmnpqrstuvwxyz",
            "ABCD-EFGH-JKL",
            "äbcd-efgh-jklm",
        ] {
            assert_eq!(pairing.try_code(&person(1), text, true), None, "{text}");
        }
    }

    #[test]
    fn nobody_may_guess_for_long() {
        let (pairing, said) = begun();
        let wrong = "AAAA-AAAA-AAAA";
        for _ in 0..TRIES_OF_ONE {
            assert_eq!(
                pairing.try_code(&person(1), wrong, true),
                Some(Tried::Wrong)
            );
        }
        let code = newest(&said);
        assert_eq!(
            pairing.try_code(&person(1), &code, true),
            Some(Tried::TooOften)
        );
        for user in 2..=(TRIES_OF_ALL / TRIES_OF_ONE).into() {
            for _ in 0..TRIES_OF_ONE {
                pairing.try_code(&person(user), wrong, true);
            }
        }
        assert_eq!(said.lock().unwrap().len(), 2, "a new code is announced");
        assert_eq!(
            pairing.try_code(&person(9), &code, true),
            Some(Tried::Wrong)
        );
        let code = newest(&said);
        assert_eq!(
            pairing.try_code(&person(9), &code, true),
            Some(Tried::Right)
        );
    }

    #[test]
    fn a_code_that_others_read_is_void() {
        let (pairing, said) = begun();
        let code = newest(&said);
        assert_eq!(
            pairing.try_code(&person(1), &code, false),
            Some(Tried::Overheard)
        );
        assert_ne!(newest(&said), code);
        assert_eq!(
            pairing.try_code(&person(2), &code, true),
            Some(Tried::Wrong)
        );
    }

    #[test]
    fn a_code_that_could_not_be_written_down_is_good_again() {
        let (pairing, said) = begun();
        let code = newest(&said);
        assert_eq!(
            pairing.try_code(&person(1), &code, true),
            Some(Tried::Right)
        );
        pairing.not_used();
        assert_eq!(
            pairing.try_code(&person(1), &code, true),
            Some(Tried::Right)
        );
    }
}
