//! How soon a reported write is looked at: at once, unless writes come faster than anybody means them.
//!
//! There is no fixed wait: a write after a moment of quiet, and the one after it, are looked at at once. Only in a burst
//! is there a wait, and only as long as writes keep coming during it does it grow; so a program that writes, waits for the
//! tools and writes again is never slowed by more than the shortest wait, and a thousand writes in a second end in a
//! handful of looks, the last of them after the last write.

use std::time::Duration;

use tokio::time::Instant;

/// No write for this long ends a burst.
const QUIET: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(400);
const GROWTH: u32 = 3;
/// Looks without a wait when a burst may be beginning.
const AT_ONCE: u32 = 2;

/// The pace of one thread.
#[derive(Debug)]
pub(super) struct Pace {
    last_write: Option<Instant>,
    /// Looks since the last quiet.
    looks: u32,
    wait: Duration,
    /// When to look, while a look is due.
    due: Option<Instant>,
    /// Writes while that one waits.
    more: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            last_write: None,
            looks: 0,
            wait: SHORTEST,
            due: None,
            more: 0,
        }
    }
}

impl Pace {
    /// A write was reported.
    pub(super) fn written(&mut self, now: Instant) {
        let is_quiet = self
            .last_write
            .is_none_or(|last| now.duration_since(last) >= QUIET);
        self.last_write = Some(now);
        if self.due.is_some() {
            self.more += 1;
            return;
        }
        if is_quiet {
            self.looks = 0;
            self.wait = SHORTEST;
        }
        let wait = if self.looks < AT_ONCE {
            Duration::ZERO
        } else {
            self.wait
        };
        self.due = Some(now + wait);
    }

    /// When to look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A look begins; it sees all writes until now.
    pub(super) fn looked(&mut self) {
        if self.due.take().is_none() {
            return;
        }
        let waited = self.looks >= AT_ONCE;
        self.looks += 1;
        match std::mem::take(&mut self.more) {
            // Nobody wrote during the wait: whoever writes waits for what comes of it.
            0 if waited => {
                self.looks = 0;
                self.wait = SHORTEST;
            }
            0 | 1 => {}
            _ => self.wait = (self.wait * GROWTH).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that writes at these times (in microseconds) cause, and when, if a look takes no time.
    fn looks(writes: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let epoch = Instant::now();
        let mut pace = Pace::default();
        let mut looks = Vec::new();
        let mut look = |pace: &mut Pace, until: Option<Instant>| {
            while let Some(due) = pace.due()
                && until.is_none_or(|until| due <= until)
            {
                looks.push(u64::try_from((due - epoch).as_micros()).unwrap());
                pace.looked();
            }
        };
        for at in writes {
            let now = epoch + Duration::from_micros(at);
            look(&mut pace, Some(now));
            pace.written(now);
        }
        look(&mut pace, None);
        looks
    }

    #[test]
    fn single_writes_are_looked_at_at_once() {
        let writes = [0, 30_000, 60_000, 1_000_000];
        assert_eq!(looks(writes), writes);
    }

    #[test]
    fn a_burst_ends_in_a_handful_of_looks_the_last_after_the_last_write() {
        for (apart, writes) in [(1000, 1000), (100, 1000), (10, 1000), (500, 2000)] {
            let looks = looks((0..writes).map(|nth| nth * apart));
            assert!(looks.len() <= 9, "{apart}: {looks:?}");
            assert_eq!(looks[0], 0);
            let last_write = (writes - 1) * apart;
            let end = looks[looks.len() - 1];
            assert!(
                end >= last_write && end <= last_write + 400_000,
                "{apart}: {looks:?}"
            );
        }
    }

    #[test]
    fn who_waits_for_each_write_is_hardly_slowed() {
        let epoch = Instant::now();
        let mut pace = Pace::default();
        let (mut now, mut waits) = (epoch, Vec::new());
        for _ in 0..100 {
            pace.written(now);
            let due = pace.due().unwrap();
            waits.push(due - now);
            pace.looked();
            now = due + Duration::from_millis(2);
        }
        waits.sort();
        assert_eq!(waits[50], Duration::ZERO);
        assert_eq!(waits[99], SHORTEST);
    }
}
