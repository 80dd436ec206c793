//! The one way to a tool call: is there an audit to write it into, is it within what the operator allows, is there a place
//! for it; then the call, and a line in the audit whatever came of it.
//!
//! Who may call at all was judged before. Nothing here waits longer than the call's own deadline, nothing is dropped
//! silently, and a call that nobody waits for any more is written down as well.

mod arguments;
mod lanes;
mod note;
mod rates;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::actor::Actor;
use crate::audit::{Audit, Closed};
use crate::policy::Rules;
use crate::registry::{CallError, CallOutcome, CallRequest, Registry};

use lanes::{Lanes, Most};
use note::{Line, Refusals};
use rates::Rates;

pub use rates::Whose;

/// Time since some moment; handed in, so that tests own it.
pub type Ticks = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Who waits for a place is told to come back after this.
const LATER: Duration = Duration::from_secs(5);

/// What the gate stands before.
#[derive(Clone)]
pub struct GateParts {
    /// What makes the calls.
    pub registry: Registry,
    /// Where they are written down.
    pub audit: Arc<dyn Audit>,
    /// What the operator allows.
    pub rules: Rules,
    /// The time.
    pub ticks: Ticks,
}

/// The handle of the room. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    parts: GateParts,
    lanes: Lanes,
    // Plain mutexes: held for a look-up, never over an await.
    rates: Mutex<Rates>,
    refusals: Mutex<Refusals>,
    /// What tells the calls of this gate from those of another one, and how many it let through.
    run: u128,
    calls: AtomicU64,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The person; nobody where the bot calls by itself.
    pub by: Option<Actor>,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// What happens could not be written down, so nothing happens.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Too many calls within a minute.
    #[error("too many calls; try again in {} s", seconds(.again))]
    TooOften {
        /// Whose.
        whose: Whose,
        /// When there is room again.
        again: Duration,
    },
    /// Too many calls at once.
    #[error("busy; try again in {} s", seconds(.again))]
    Busy {
        /// When to try again.
        again: Duration,
    },
    /// The call came to nothing.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Gate {
    /// Opens the gate.
    pub fn new(parts: GateParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            lanes: Lanes::default(),
            rates: Mutex::default(),
            refusals: Mutex::default(),
            run: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_micros()),
            calls: AtomicU64::new(0),
        }))
    }

    /// Calls a tool. Dropping the future cancels the call at the server.
    pub async fn call(
        &self,
        caller: Caller,
        mut request: CallRequest,
    ) -> Result<CallOutcome, GateError> {
        let began = Instant::now();
        let parts = &self.0.parts;
        parts.audit.is_open(request.thread)?;
        let quotas = parts.rules.now().quotas.clone();
        let footing = parts.registry.footing(request.thread, &request.server);
        let masker = footing.as_ref().map(|footing| Arc::clone(&footing.masker));
        let masker = masker.unwrap_or_default();
        let taken = self.0.take(&caller, &request, quotas.calls_a_minute);
        if let Err((whose, again)) = taken {
            let error = GateError::TooOften { whose, again };
            self.refused(&caller, &request, &error);
            return Err(error);
        }
        let most = Most {
            of_thread: quotas.calls_at_once.max(1),
            in_all: quotas.calls_at_once_in_all.max(1),
        };
        let patience = footing.as_ref().map(|footing| footing.timeout);
        let patience = patience.unwrap_or(LATER);
        let entered = self.0.lanes.enter(request.thread, most);
        let Ok(Ok(place)) = tokio::time::timeout(patience, entered).await else {
            let error = GateError::Busy { again: LATER };
            self.refused(&caller, &request, &error);
            return Err(error);
        };
        request.waited = began.elapsed();
        let tier = footing.and_then(|footing| footing.tier);
        let call = self.0.next();
        let line = Line::begin(&parts.audit, caller.by, &request, &masker, tier, call);
        // What could not be written down is not done.
        if let Err(closed) = parts.audit.is_open(request.thread) {
            line.refused(&closed.to_string(), 0);
            return Err(closed.into());
        }
        let result = parts.registry.call(request).await;
        drop(place);
        line.end(&result, &masker);
        Ok(result?)
    }

    /// Writes down that a call was refused, here or before it came here; of a flood the first few in a minute, and how many
    /// there were.
    pub fn refused(&self, caller: &Caller, request: &CallRequest, why: &impl std::fmt::Display) {
        let parts = &self.0.parts;
        let mut refusals = self
            .0
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(more) = refusals.count((parts.ticks)(), request.thread) else {
            return;
        };
        drop(refusals);
        let footing = parts.registry.footing(request.thread, &request.server);
        let masker = footing.map(|footing| footing.masker).unwrap_or_default();
        let line = Line::of(&parts.audit, caller.by.clone(), request, &masker);
        line.refused(&masker.mask(&why.to_string()), more);
    }
}

impl Inner {
    fn take(
        &self,
        caller: &Caller,
        request: &CallRequest,
        most: crate::policy::CallsAMinute,
    ) -> Result<(), (Whose, Duration)> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let person = caller.by.as_ref().map(|actor| &actor.id);
        let now = (self.parts.ticks)();
        rates.take(now, most, request.thread, person, &request.server)
    }

    /// The name of the next call.
    fn next(&self) -> String {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{n:x}", self.run)
    }
}

/// Whole seconds, at least one.
fn seconds(again: &Duration) -> u64 {
    again
        .as_millis()
        .div_ceil(1000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

impl GateError {
    /// When to try again, in whole seconds, where that helps.
    pub fn again_secs(&self) -> Option<u64> {
        match self {
            Self::TooOften { again, .. } | Self::Busy { again } => Some(seconds(again)),
            Self::Closed(_) | Self::Call(_) => None,
        }
    }
}

/// The time as it passes.
pub fn ticks() -> Ticks {
    let begun = Instant::now();
    Arc::new(move || begun.elapsed())
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}
