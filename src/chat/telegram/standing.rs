//! What a person is in a chat, as Telegram says, remembered for a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use teloxide::prelude::Requester;
use teloxide::types::{ChatId, ChatMemberKind, UserId};
use tokio::time::Instant;

use super::Telegram;
use super::incoming::anonymous_id;
use crate::actor::{ActorId, Standing};
use crate::chat::FrontError;
use crate::thread::ThreadId;

const REMEMBERED_FOR: Duration = Duration::from_mins(1);
const MOST_REMEMBERED: usize = 1024;

/// Answers of `getChatMember` that are still good.
#[derive(Debug, Default)]
pub(super) struct Standings {
    // A plain mutex: held for a look-up only, never over an await.
    known: Mutex<HashMap<(i64, u64), (Standing, Instant)>>,
}

impl Standings {
    fn get(&self, key: (i64, u64)) -> Option<Standing> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&key)
            .filter(|(_, asked)| asked.elapsed() < REMEMBERED_FOR)
            .map(|(standing, _)| *standing)
    }

    fn put(&self, key: (i64, u64), standing: Option<Standing>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(standing) = standing else {
            known.remove(&key);
            return;
        };
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, (_, asked)| asked.elapsed() < REMEMBERED_FOR);
        }
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(key, (standing, Instant::now()));
    }
}

impl Telegram {
    /// What a person is in a chat. Where Telegram does not say, that is an error, never a guess.
    pub(super) async fn ask_standing(
        &self,
        thread: ThreadId,
        actor: &ActorId,
        fresh: bool,
    ) -> Result<Standing, FrontError> {
        let ThreadId::Telegram { chat: named, .. } = thread else {
            return Ok(Standing::Outsider);
        };
        let chat = self.migrations.current(named);
        if *actor == anonymous_id(chat) || *actor == anonymous_id(named) {
            // Telegram lets nobody but an administrator write in the group's own name.
            return Ok(Standing::Administrator);
        }
        let Some(user) = user_of(actor) else {
            return Ok(Standing::Outsider);
        };
        if chat > 0 {
            let own = u64::try_from(chat).is_ok_and(|chat| chat == user);
            return Ok(if own {
                Standing::Own
            } else {
                Standing::Outsider
            });
        }
        if let Some(known) = self.standings.get((chat, user)).filter(|_| !fresh) {
            return Ok(known);
        }
        let asked = self
            .ask(self.bot.get_chat_member(ChatId(chat), UserId(user)))
            .await;
        let standing = match asked {
            Ok(member) => standing_of(&member.kind),
            Err(failure) if failure.is_unknown_member() => Standing::Outsider,
            Err(failure) => {
                self.standings.put((chat, user), None);
                return Err(FrontError::Other(format!(
                    "I could not find out who administers this group ({failure}); make me an administrator here or try \
                     again in a moment"
                )));
            }
        };
        self.standings.put((chat, user), Some(standing));
        Ok(standing)
    }
}

/// The Telegram user behind an actor id.
pub(super) fn user_of(actor: &ActorId) -> Option<u64> {
    actor.0.strip_prefix("tg:")?.parse().ok()
}

fn standing_of(kind: &ChatMemberKind) -> Standing {
    match kind {
        ChatMemberKind::Owner(_) => Standing::Creator,
        ChatMemberKind::Administrator(_) => Standing::Administrator,
        ChatMemberKind::Member(_) => Standing::Member,
        ChatMemberKind::Restricted(restricted) if restricted.is_member => Standing::Member,
        ChatMemberKind::Restricted(_) | ChatMemberKind::Left | ChatMemberKind::Banned(_) => {
            Standing::Outsider
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_good_for_a_minute_and_bounded() {
        let standings = Standings::default();
        standings.put((-1, 2), Some(Standing::Member));
        assert_eq!(standings.get((-1, 2)), Some(Standing::Member));
        assert_eq!(standings.get((-1, 3)), None);
        tokio::time::advance(REMEMBERED_FOR).await;
        assert_eq!(standings.get((-1, 2)), None);
        for user in 0..5000 {
            standings.put((-1, user), Some(Standing::Member));
        }
        assert!(standings.known.lock().unwrap().len() <= MOST_REMEMBERED);
    }
}
