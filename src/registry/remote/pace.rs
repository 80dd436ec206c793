//! How often something that breaks is tried again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RemoteOptions;

/// What lasted this long was well.
const WELL: Duration = Duration::from_secs(30);

/// The pace of one thing that is opened again and again. Whoever opens it may be as eager as it likes.
#[derive(Debug)]
pub(super) struct Pace {
    options: RemoteOptions,
    /// A std lock: held for a moment, never over an await.
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    opened: Option<Instant>,
    in_a_row: u32,
}

impl Pace {
    pub(super) fn new(options: &RemoteOptions) -> Self {
        Self {
            options: options.clone(),
            past: Mutex::default(),
        }
    }

    /// Waits until it may be opened; whether it is for the first time.
    pub(super) async fn wait(&self, closed: &CancellationToken) -> bool {
        let (until, is_first) = self.next(Instant::now());
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = closed.cancelled() => {}
        }
        is_first
    }

    fn next(&self, now: Instant) -> (Instant, bool) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = past.opened else {
            past.opened = Some(now);
            return (now, true);
        };
        past.in_a_row = if now.saturating_duration_since(opened) >= WELL {
            0
        } else {
            past.in_a_row.saturating_add(1)
        };
        let apart = match past.in_a_row {
            0 | 1 => self.options.reopen_after,
            more => {
                let doubled = 2_u32.saturating_pow((more - 2).min(6));
                let wait = self.options.reopen_backoff.saturating_mul(doubled);
                jittered(wait.min(self.options.reopen_cap))
            }
        };
        let until = now.max(opened + apart);
        past.opened = Some(until);
        (until, false)
    }
}

/// Up to a fifth more or less, so that many who wait for the same server do not come together.
pub(in crate::registry) fn jittered(wait: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait.mul_f64(0.8 + 0.4 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_at_once_is_opened_ever_more_rarely() {
        let pace = Pace::new(&RemoteOptions::default());
        let mut now = Instant::now();
        let begun = now;
        let mut first = 0;
        for _ in 0..12 {
            let (until, is_first) = pace.next(now);
            first += u32::from(is_first);
            now = until;
        }
        assert_eq!(first, 1);
        // 0.25 + 1 + 2 + 4 + 8 + 16 + 32 + 60 + … seconds, give or take a fifth.
        let took = now.duration_since(begun).as_secs();
        assert!((170..=370).contains(&took), "{took}");
        let later = now + WELL;
        assert_eq!(
            pace.next(later).0,
            later,
            "what lasted is opened again at once"
        );
    }
}
