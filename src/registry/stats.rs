//! A server's counts and times, kept without locks so that a call costs a few atomic operations.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Health, Stats};

/// Answers whose times are kept for the median.
const KEPT: usize = 64;

/// Stands for a call that got no answer.
const FAILED: u32 = u32::MAX;

/// Written by calls and by the server's task, read by whoever looks.
#[derive(Debug)]
pub(super) struct Meter {
    answered: AtomicU64,
    unanswered: AtomicU64,
    restarts: AtomicU32,
    /// Microseconds plus one; 0 where nothing was measured.
    start: AtomicU64,
    /// The newest check of a remote server. A std lock: a check comes once a minute.
    health: Mutex<Option<Health>>,
    /// Microseconds plus one of the last answers, as a ring; [`FAILED`] for a call without one.
    times: [AtomicU32; KEPT],
    next: AtomicUsize,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            restarts: AtomicU32::new(0),
            start: AtomicU64::new(0),
            health: Mutex::new(None),
            times: [const { AtomicU32::new(0) }; KEPT],
            next: AtomicUsize::new(0),
        }
    }
}

impl Meter {
    pub(super) fn answered(&self, took: Duration) {
        self.answered.fetch_add(1, Relaxed);
        let place = self.next.fetch_add(1, Relaxed) % KEPT;
        let micros = u32::try_from(took.as_micros()).unwrap_or(FAILED);
        self.times[place].store(micros.min(FAILED - 2) + 1, Relaxed);
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Relaxed);
        let place = self.next.fetch_add(1, Relaxed) % KEPT;
        self.times[place].store(FAILED, Relaxed);
    }

    /// A remote server was asked whether it is there.
    pub(super) fn checked(&self, took: Duration, is_well: bool) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *health = Some(Health {
            at: Instant::now(),
            took,
            is_well,
        });
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(super) fn started(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX - 1);
        self.start.store(micros + 1, Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        let mut times: Vec<_> = self
            .times
            .iter()
            .map(|time| time.load(Relaxed))
            .filter(|time| *time > 0)
            .collect();
        let recent = times.len();
        times.retain(|time| *time != FAILED);
        times.sort_unstable();
        Stats {
            answered: self.answered.load(Relaxed),
            unanswered: self.unanswered.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            start_time: self
                .start
                .load(Relaxed)
                .checked_sub(1)
                .map(Duration::from_micros),
            recent: u32::try_from(recent).unwrap_or(u32::MAX),
            recent_failed: u32::try_from(recent - times.len()).unwrap_or(u32::MAX),
            health: *self.health.lock().unwrap_or_else(PoisonError::into_inner),
            median_call: times
                .get(times.len() / 2)
                .map(|time| Duration::from_micros(u64::from(*time - 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last_answers() {
        let meter = Meter::default();
        assert_eq!(meter.read(), Stats::default());
        for _ in 0..KEPT {
            meter.answered(Duration::from_secs(9));
        }
        for millis in 1..=KEPT as u64 {
            meter.answered(Duration::from_millis(millis));
        }
        meter.unanswered();
        meter.restarted();
        meter.started(Duration::from_millis(5));
        assert_eq!(
            meter.read(),
            Stats {
                answered: 128,
                unanswered: 1,
                restarts: 1,
                start_time: Some(Duration::from_millis(5)),
                median_call: Some(Duration::from_millis(33)),
                recent: 64,
                recent_failed: 1,
                health: None,
            }
        );
    }
}
