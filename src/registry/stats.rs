//! A server's counts and times, kept without locks so that a call costs a few atomic operations.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::Stats;

/// Answers whose times are kept for the median.
const KEPT: usize = 64;

/// Written by calls and by the server's task, read by whoever looks.
#[derive(Debug)]
pub(super) struct Meter {
    answered: AtomicU64,
    unanswered: AtomicU64,
    restarts: AtomicU32,
    /// Microseconds plus one; 0 where nothing was measured.
    start: AtomicU64,
    /// Microseconds plus one of the last answers, as a ring.
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
            times: [const { AtomicU32::new(0) }; KEPT],
            next: AtomicUsize::new(0),
        }
    }
}

impl Meter {
    pub(super) fn answered(&self, took: Duration) {
        self.answered.fetch_add(1, Relaxed);
        let place = self.next.fetch_add(1, Relaxed) % KEPT;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX - 1);
        self.times[place].store(micros.saturating_add(1), Relaxed);
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Relaxed);
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
            }
        );
    }
}
