//! How much a peer may say that nobody asked for: a flood is slowed down to a trickle and then cut off.

use std::time::Duration;

use tokio::time::Instant;

/// Messages a second that nobody asked for, and how many may come at once.
const PER_SECOND: f64 = 1000.0;
const BURST: f64 = 5000.0;
/// A peer that floods for this long is cut off, where nobody says another time.
const FLOOD_LIMIT: Duration = Duration::from_secs(10);

/// The account of one peer.
#[derive(Debug)]
pub(in crate::registry) struct Noise {
    /// How much is still allowed.
    allowance: f64,
    counted: Instant,
    flooding_since: Option<Instant>,
    limit: Duration,
    pause_until: Option<Instant>,
}

/// The peer floods without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) struct Flood;

impl Default for Noise {
    fn default() -> Self {
        Self::until(FLOOD_LIMIT)
    }
}

impl Noise {
    /// Of a peer that is cut off after a flood of this length.
    pub(in crate::registry) fn until(limit: Duration) -> Self {
        Self {
            allowance: BURST,
            counted: Instant::now(),
            flooding_since: None,
            limit,
            pause_until: None,
        }
    }

    /// Counts what nobody asked for; beyond the allowance reading pauses, and the peer waits until somebody reads again.
    pub(in crate::registry) fn count(&mut self, cost: f64) {
        let now = Instant::now();
        let refill = now.duration_since(self.counted).as_secs_f64() * PER_SECOND;
        self.counted = now;
        self.allowance = (self.allowance + refill).min(BURST) - cost;
        if self.allowance >= BURST / 2.0 {
            self.flooding_since = None;
        } else if self.allowance < 0.0 {
            self.flooding_since.get_or_insert(now);
            self.pause_until = Some(now + Duration::from_secs_f64(-self.allowance / PER_SECOND));
        }
    }

    /// Whether nothing is to be read before [`Noise::pause`] has returned.
    pub(in crate::registry) fn is_pausing(&self) -> bool {
        self.pause_until.is_some()
    }

    /// Waits until reading may go on. Survives being dropped half way.
    pub(in crate::registry) async fn pause(&mut self) -> Result<(), Flood> {
        if let Some(until) = self.pause_until {
            if self
                .flooding_since
                .is_some_and(|since| since.elapsed() > self.limit)
            {
                return Err(Flood);
            }
            tokio::time::sleep_until(until).await;
            self.pause_until = None;
        }
        Ok(())
    }
}
