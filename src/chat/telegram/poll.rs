//! The loop that asks Telegram for updates and hands them to the house.
//!
//! It never waits for anything but Telegram: events are handed over by a call that returns at once, and the front's own
//! words are sent by tasks beside it. An update is confirmed by the next request, so only after it was handed over; one
//! that panics or cannot be read is skipped and never asked for again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use teloxide::requests::{JsonRequest, Payload};
use teloxide::types::{CallbackQueryId, Update, UpdateKind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::incoming::{Incoming, Reader};
use super::memory::Seen;
use super::outgoing::within;
use super::{RunError, Telegram};
use crate::chat::{Answer, Busy, Event, EventKind, EventSink};
use crate::thread::ThreadId;

const BUSY: &str = "I am busy in this chat; try again in a moment, please.";

/// How many of the front's own words may be on their way at once; more are left unsaid.
const MOST_NOTICES: usize = 64;

/// `getUpdates`, with answers that are read one by one: a single strange update must not hide the others.
#[derive(Debug, Serialize)]
struct GetUpdates {
    offset: i64,
    limit: u8,
    timeout: u64,
    allowed_updates: [&'static str; 4],
}

impl Payload for GetUpdates {
    type Output = Vec<Value>;
    const NAME: &'static str = "GetUpdates";
}

impl Telegram {
    /// Serves until `stop`, or until the token is refused.
    pub(super) async fn poll(
        self: &Arc<Self>,
        sink: Arc<dyn EventSink>,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        self.open(sink);
        let mut polling = Polling {
            front: self,
            offset: 0,
            seen: Seen::new(),
            notices: JoinSet::new(),
            trouble: Trouble::default(),
        };
        let end = polling.run(&stop).await;
        self.close();
        end
    }
}

struct Polling<'a> {
    front: &'a Arc<Telegram>,
    offset: i64,
    seen: Seen,
    // Owned here so that nothing that the front says by itself outlives the loop.
    notices: JoinSet<()>,
    trouble: Trouble,
}

impl Polling<'_> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), RunError> {
        loop {
            while self.notices.try_join_next().is_some() {}
            if catch_unwind(AssertUnwindSafe(|| self.front.hand_in_again())).is_err() {
                tracing::error!("an event that had waited made the bot panic and was skipped");
            }
            let asked = tokio::select! {
                () = stop.cancelled() => break,
                asked = self.ask(self.front.long_poll, 100) => asked,
            };
            match asked {
                Ok(updates) => {
                    self.trouble.over();
                    for update in updates {
                        self.take(&update);
                    }
                }
                Err(failure) if failure.is_bad_token() => return Err(RunError::Token),
                Err(failure) => {
                    let pause = self.trouble.pause(&failure);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        // Confirms what was handed over; what this brings stays unconfirmed and comes again after a restart.
        let _confirmed =
            tokio::time::timeout(Duration::from_secs(2), self.ask(Duration::ZERO, 1)).await;
        Ok(())
    }

    async fn ask(&self, wait: Duration, limit: u8) -> Result<Vec<Value>, Failure> {
        let request = GetUpdates {
            offset: self.offset,
            limit,
            timeout: wait.as_secs(),
            allowed_updates: [
                "message",
                "edited_message",
                "callback_query",
                "my_chat_member",
            ],
        };
        let request = JsonRequest::new(self.front.bot.clone(), request);
        within(wait + self.front.patience, request.into_future()).await
    }

    fn take(&mut self, raw: &Value) {
        let Some(id) = raw.get("update_id").and_then(Value::as_i64) else {
            tracing::warn!("an update without an id was skipped");
            return;
        };
        // Not the greatest so far: after a quiet week Telegram begins again at a random number, perhaps a lower one.
        self.offset = id.saturating_add(1);
        if !self.seen.first_time(id.unsigned_abs()) {
            return;
        }
        // A panic ends this update alone.
        if catch_unwind(AssertUnwindSafe(|| self.handle(id, raw))).is_err() {
            tracing::error!(update = id, "an update made the bot panic and was skipped");
        }
    }

    fn handle(&mut self, id: i64, raw: &Value) {
        // Through text, because teloxide's reader of updates does not take an owned value.
        let update: Update = match serde_json::from_str(&raw.to_string()) {
            Ok(update) => update,
            Err(error) => {
                // The category only: the update may hold a secret.
                tracing::warn!(update = id, category = ?error.classify(), "an update that could not be read was skipped");
                return;
            }
        };
        if let UpdateKind::Error(_) = update.kind {
            tracing::warn!(
                update = id,
                "an update of a kind that could not be read was skipped"
            );
            return;
        }
        let reader = Reader {
            me: self.front.me,
            name: &self.front.name,
            now: unix_now(),
        };
        match reader.read(update) {
            None => {}
            Some(Incoming::Event(event)) => self.deliver(event),
            Some(Incoming::Say { thread, actor, .. }) if !self.front.lets_in(thread, &actor) => {}
            Some(Incoming::Say {
                thread,
                actor: _,
                reply_to,
                text,
            }) => {
                let front = Arc::clone(self.front);
                self.notice(async move { front.say(thread, Some(reply_to), &text).await });
            }
            Some(Incoming::Nowhere {
                thread,
                actor,
                press,
                text,
            }) => {
                let is_in = thread.is_some_and(|thread| self.front.lets_in(thread, &actor));
                let answer = match text {
                    Some(text) if is_in => Answer::Alert(text.to_owned()),
                    Some(_) | None => Answer::Silent,
                };
                self.answer(press, answer);
            }
            Some(Incoming::Migrated { old, new, actor }) => {
                self.front.migrated(old, new, Some(actor));
            }
        }
    }

    fn deliver(&mut self, event: Event) {
        if let Some(message) = event.message {
            self.front
                .last_messages
                .note(event.thread, &event.actor.id, message);
        }
        if matches!(event.kind, EventKind::Left) {
            self.front.hand_in(event);
            return;
        }
        let (thread, message) = (event.thread, event.message);
        let press = match &event.kind {
            EventKind::Press { press, .. } => Some(press.clone()),
            _ => None,
        };
        let Err(Busy) = self.front.try_deliver(event) else {
            return;
        };
        match (press, thread) {
            (Some(press), _) => {
                self.answer(CallbackQueryId(press.0), Answer::Toast(BUSY.to_owned()));
            }
            (None, ThreadId::Telegram { chat, .. }) if self.front.busy_notes.due(chat) => {
                let front = Arc::clone(self.front);
                self.notice(async move { front.say(thread, message, BUSY).await });
            }
            (None, _) => {}
        }
    }

    fn answer(&mut self, press: CallbackQueryId, answer: Answer) {
        let front = Arc::clone(self.front);
        self.notice(async move {
            if let Err(error) = front.answer_press(press, answer).await {
                tracing::debug!(%error, "a press could not be answered");
            }
        });
    }

    fn notice(&mut self, say: impl Future<Output = ()> + Send + 'static) {
        if self.notices.len() < MOST_NOTICES {
            self.notices.spawn(say);
        }
    }
}

/// How the loop bears with Telegram when it does not answer.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
}

impl Trouble {
    const LONGEST: Duration = Duration::from_secs(30);

    fn over(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("Telegram answers again");
        }
    }

    fn pause(&mut self, failure: &Failure) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if failure.is_conflict() {
            // Said each time: two bots with one token lose messages at random.
            tracing::error!(
                "another process asks Telegram for updates with this token, or a webhook is set; stop the other one"
            );
        } else if self.failures == 1 {
            tracing::warn!(%failure, "Telegram does not answer; trying again");
        }
        if let Some(wait) = failure.retry_after() {
            return wait.min(Duration::from_mins(5));
        }
        let full =
            Duration::from_millis(500 * 2_u64.pow(self.failures.min(7) - 1)).min(Self::LONGEST);
        // Half of it by chance, so that many bots do not come back at the same moment.
        let mut byte = [128_u8];
        let _chance = getrandom::fill(&mut byte);
        full / 2 + full / 2 * u32::from(byte[0]) / 255
    }
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_end_with_success() {
        let mut trouble = Trouble::default();
        for expected in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            let pause = trouble.pause(&Failure::Timeout).as_millis();
            assert!(
                (expected / 2..=expected).contains(&pause),
                "{pause} for {expected}"
            );
        }
        trouble.over();
        assert!(trouble.pause(&Failure::Timeout) <= Duration::from_millis(500));
    }
}
