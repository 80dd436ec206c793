//! How often the bot speaks in one chat, so that Telegram does not silence it.
//!
//! Each chat has a lane of its own: what one chat is told to wait for never holds up another. A lane gives one turn at a
//! time, in the order of asking, so that the parts of an answer arrive in order. Waiting turns are bounded, and a lane
//! without waiting turns whose allowance is full again is forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::Instant;

/// How many messages a chat may be sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time that one message costs, and how many may come at once.
    pub chat: (Duration, u32),
    /// The same for groups, on top.
    pub group: (Duration, u32),
}

impl Default for Pace {
    /// One a second with bursts of three; 20 a minute in groups (Bot API FAQ, "My bot is hitting limits").
    fn default() -> Self {
        Self {
            chat: (Duration::from_secs(1), 3),
            group: (Duration::from_secs(3), 20),
        }
    }
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// Too many messages wait for this chat.
    Full,
    /// Telegram asked for a longer wait than anybody sits out.
    TooLong(Duration),
}

/// The lanes of all chats that were spoken to lately.
#[derive(Debug)]
pub(super) struct Limiter {
    pace: Pace,
    // A plain mutex: held for a look-up only, never over an await.
    lanes: Mutex<HashMap<i64, Arc<Lane>>>,
}

/// The right to send one message to a chat now. The lane's next turn comes when this one is dropped.
pub(super) struct Turn {
    allowance: OwnedMutexGuard<Allowance>,
    // After the guard, so that it counts as waiting until the guard is gone.
    _place: Place,
}

const MAX_WAITING: usize = 64;
const LONGEST_WAIT: Duration = Duration::from_secs(90);
const LANES_BEFORE_SWEEP: usize = 256;

impl Limiter {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            lanes: Mutex::default(),
        }
    }

    /// Waits for a turn in a chat.
    pub(super) async fn turn(&self, chat: i64) -> Result<Turn, NoTurn> {
        let lane = self.lane(chat);
        let place = Place::take(&lane)?;
        let allowance = Arc::clone(&lane.allowance).lock_owned().await;
        let mut turn = Turn {
            allowance,
            _place: place,
        };
        turn.take().await?;
        Ok(turn)
    }

    /// Waits for a turn to edit a message; `None` when a newer edit of it came meanwhile, which makes this one moot.
    pub(super) async fn edit_turn(&self, chat: i64, message: i32) -> Result<Option<Turn>, NoTurn> {
        let lane = self.lane(chat);
        let (_waiting, superseded) = WaitingEdit::register(&lane, message);
        tokio::select! {
            biased;
            Ok(()) = superseded => Ok(None),
            turn = self.turn(chat) => turn.map(Some),
        }
    }

    fn lane(&self, chat: i64) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_BEFORE_SWEEP && !lanes.contains_key(&chat) {
            let now = Instant::now();
            lanes.retain(|_, lane| !lane.is_idle(now));
        }
        let lane = lanes.entry(chat).or_insert_with(|| {
            Arc::new(Lane {
                allowance: Arc::new(tokio::sync::Mutex::new(Allowance::new(self.pace, chat))),
                waiting: AtomicUsize::new(0),
                edits: Mutex::default(),
            })
        });
        Arc::clone(lane)
    }
}

impl Turn {
    /// Telegram said to wait (`retry_after`): this chat is silent until then.
    pub(super) fn hold_off(&mut self, wait: Duration) {
        self.allowance.silent_until = Instant::now() + wait;
    }

    /// Waits until the turn is good again, after [`Self::hold_off`].
    pub(super) async fn take(&mut self) -> Result<(), NoTurn> {
        let ready = self.allowance.ready_at();
        let wait = ready.saturating_duration_since(Instant::now());
        if wait > LONGEST_WAIT {
            return Err(NoTurn::TooLong(wait));
        }
        tokio::time::sleep_until(ready).await;
        self.allowance.spend(Instant::now());
        Ok(())
    }
}

#[derive(Debug)]
struct Lane {
    // An async mutex because it is held while a message is on its way: it is the queue. Its waiters are served in order.
    allowance: Arc<tokio::sync::Mutex<Allowance>>,
    waiting: AtomicUsize,
    /// The newest edit of each message that still waits.
    edits: Mutex<HashMap<i32, oneshot::Sender<()>>>,
}

impl Lane {
    fn is_idle(self: &Arc<Self>, now: Instant) -> bool {
        Arc::strong_count(self) == 1
            && self
                .allowance
                .try_lock()
                .is_ok_and(|allowance| allowance.is_full(now))
    }
}

/// A place in the queue of a lane.
struct Place(Arc<Lane>);

impl Place {
    fn take(lane: &Arc<Lane>) -> Result<Self, NoTurn> {
        let place = Self(Arc::clone(lane));
        if lane.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(NoTurn::Full);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An edit that waits; a newer one of the same message takes its place in the table and tells it so.
struct WaitingEdit {
    lane: Arc<Lane>,
}

impl WaitingEdit {
    fn register(lane: &Arc<Lane>, message: i32) -> (Self, oneshot::Receiver<()>) {
        let (newer, superseded) = oneshot::channel();
        let mut edits = lane.edits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = edits.insert(message, newer) {
            let _gone = older.send(());
        }
        drop(edits);
        let waiting = Self {
            lane: Arc::clone(lane),
        };
        (waiting, superseded)
    }
}

impl Drop for WaitingEdit {
    fn drop(&mut self) {
        // The receiver went with the `select!`, so our sender is closed; a newer edit's sender is open and stays.
        let mut edits = self
            .lane
            .edits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        edits.retain(|_, newer| !newer.is_closed());
    }
}

/// What a chat may still be sent: one bucket, and a second one in groups.
#[derive(Debug)]
struct Allowance {
    chat: Bucket,
    group: Option<Bucket>,
    silent_until: Instant,
}

impl Allowance {
    fn new(pace: Pace, chat: i64) -> Self {
        let now = Instant::now();
        Self {
            chat: Bucket::new(pace.chat, now),
            group: (chat < 0).then(|| Bucket::new(pace.group, now)),
            silent_until: now,
        }
    }

    fn ready_at(&self) -> Instant {
        let group = self
            .group
            .as_ref()
            .map_or(self.silent_until, Bucket::ready_at);
        self.chat.ready_at().max(group).max(self.silent_until)
    }

    fn spend(&mut self, now: Instant) {
        self.chat.spend(now);
        if let Some(group) = &mut self.group {
            group.spend(now);
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.silent_until <= now
            && self.chat.full_at <= now
            && self.group.as_ref().is_none_or(|group| group.full_at <= now)
    }
}

/// A leaky bucket, kept as the one moment at which it is full again.
#[derive(Debug)]
struct Bucket {
    cost: Duration,
    burst: u32,
    full_at: Instant,
}

impl Bucket {
    fn new((cost, burst): (Duration, u32), now: Instant) -> Self {
        Self {
            cost,
            burst: burst.max(1),
            full_at: now,
        }
    }

    fn ready_at(&self) -> Instant {
        let saved = self.cost * (self.burst - 1);
        self.full_at.checked_sub(saved).unwrap_or(self.full_at)
    }

    fn spend(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(limiter: &Limiter, chat: i64, turns: u32) -> u64 {
        let start = Instant::now();
        for _ in 0..turns {
            drop(limiter.turn(chat).await.expect("a turn"));
        }
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_gets_three_at_once_and_then_one_a_second() {
        let limiter = Limiter::new(Pace::default());
        assert_eq!(seconds_for(&limiter, 7, 3).await, 0);
        assert_eq!(seconds_for(&limiter, 7, 5).await, 5);
        assert_eq!(
            seconds_for(&limiter, 8, 3).await,
            0,
            "another chat waits for nobody"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_gets_twenty_a_minute_on_top() {
        let limiter = Limiter::new(Pace::default());
        let start = Instant::now();
        let first = seconds_for(&limiter, -7, 20).await;
        assert!((17..20).contains(&first), "{first}");
        seconds_for(&limiter, -7, 20).await;
        assert!(start.elapsed() >= Duration::from_secs(57));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_off_silences_its_own_chat_only() {
        let limiter = Limiter::new(Pace::default());
        let mut turn = limiter.turn(7).await.expect("a turn");
        turn.hold_off(Duration::from_secs(30));
        drop(turn);
        assert_eq!(seconds_for(&limiter, 8, 1).await, 0);
        assert_eq!(seconds_for(&limiter, 7, 1).await, 30);
        let mut turn = limiter.turn(7).await.expect("a turn");
        turn.hold_off(Duration::from_hours(1));
        drop(turn);
        assert!(matches!(limiter.turn(7).await, Err(NoTurn::TooLong(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn newer_edits_replace_waiting_ones() {
        let limiter = Limiter::new(Pace::default());
        let held = limiter.turn(7).await.expect("a turn");
        // A turn that was given is let go at once, as after a request.
        let edit = async |message| {
            limiter
                .edit_turn(7, message)
                .await
                .map(|turn| turn.is_some())
        };
        let ends = tokio::join!(
            biased;
            edit(1),
            edit(1),
            async {
                drop(held);
                edit(2).await
            },
        );
        assert_eq!(ends, (Ok(false), Ok(true), Ok(true)));
        assert!(limiter.lane(7).edits.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_turns_are_bounded() {
        let limiter = Limiter::new(Pace::default());
        let held = limiter.turn(7).await.expect("a turn");
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| limiter.turn(7)).collect();
        let (results, ()) = tokio::join!(
            biased;
            futures::future::join_all(waiting.into_iter().map(|turn| async { turn.await.err() })),
            async { drop(held) },
        );
        let refused = results
            .iter()
            .filter(|end| **end == Some(NoTurn::Full))
            .count();
        assert_eq!(refused, 1, "the held turn and 63 others have their place");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_lanes_are_forgotten() {
        let limiter = Limiter::new(Pace::default());
        for chat in 0..LANES_BEFORE_SWEEP {
            drop(limiter.turn(i64::try_from(chat).expect("small")).await);
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(limiter.turn(-1).await);
        assert_eq!(limiter.lanes.lock().unwrap().len(), 1);
    }
}
