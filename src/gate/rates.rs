//! How many calls in a minute: a bucket of tokens for each thread, person and server, filled by a clock that is handed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::actor::ActorId;
use crate::policy::CallsAMinute;
use crate::thread::ThreadId;

const MINUTE: f64 = 60.0;
/// So many are remembered of each kind; then those that were used longest ago begin anew.
const MOST: usize = 16 * 1024;

/// Whose calls are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The thread's.
    Thread,
    /// The person's, in whatever thread.
    Person,
    /// Those of one server of the thread.
    Server,
}

/// What was used up of each allowance.
#[derive(Debug, Default)]
pub(super) struct Rates {
    threads: Buckets<ThreadId>,
    people: Buckets<ActorId>,
    servers: Buckets<(ThreadId, String)>,
}

#[derive(Debug)]
struct Buckets<K>(HashMap<K, Bucket>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Rates {
    /// Takes one call from each allowance, or none from any: then whose is used up, and when to try again.
    pub(super) fn take(
        &mut self,
        now: Duration,
        most: CallsAMinute,
        thread: ThreadId,
        person: Option<&ActorId>,
        server: &str,
    ) -> Result<(), (Whose, Duration)> {
        let server = (thread, server.to_owned());
        let of_thread = self.threads.filled(now, most.thread, thread);
        let of_person = person.map(|person| self.people.filled(now, most.person, person.clone()));
        let of_server = self.servers.filled(now, most.server, server);
        let waits = [
            (
                Whose::Thread,
                of_thread.as_ref().map(|b| b.wait(most.thread)),
            ),
            (
                Whose::Person,
                of_person
                    .as_ref()
                    .and_then(|b| b.as_ref().map(|b| b.wait(most.person))),
            ),
            (
                Whose::Server,
                of_server.as_ref().map(|b| b.wait(most.server)),
            ),
        ];
        let longest = waits
            .into_iter()
            .filter_map(|(whose, wait)| Some((whose, wait??)))
            .max_by_key(|(_, wait)| *wait);
        if let Some(used_up) = longest {
            return Err(used_up);
        }
        for bucket in [of_thread, of_person.flatten(), of_server]
            .into_iter()
            .flatten()
        {
            bucket.tokens -= 1.0;
        }
        Ok(())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// The bucket with what came since it was looked at; `None` where there is no limit.
    fn filled(&mut self, now: Duration, most: u32, key: K) -> Option<&mut Bucket> {
        if most == u32::MAX {
            return None;
        }
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.forget(now);
        }
        let full = Bucket {
            tokens: f64::from(most),
            at: now,
        };
        let bucket = self.0.entry(key).or_insert(full);
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * f64::from(most) / MINUTE).min(f64::from(most));
        bucket.at = now;
        Some(bucket)
    }

    /// Makes room: a bucket that nobody used for a minute is full again, and being full is being new.
    fn forget(&mut self, now: Duration) {
        self.0
            .retain(|_, bucket| now.saturating_sub(bucket.at).as_secs_f64() < MINUTE);
        if self.0.len() >= MOST {
            let mut used: Vec<Duration> = self.0.values().map(|bucket| bucket.at).collect();
            let (_, middle, _) = used.select_nth_unstable(MOST / 2);
            let middle = *middle;
            self.0.retain(|_, bucket| bucket.at > middle);
        }
    }
}

impl Bucket {
    /// How long until there is a token; `None` where there is one.
    fn wait(&self, most: u32) -> Option<Duration> {
        if self.tokens >= 1.0 {
            return None;
        }
        let seconds = (1.0 - self.tokens) * MINUTE / f64::from(most.max(1));
        Some(Duration::from_secs_f64(seconds.clamp(0.0, MINUTE)))
    }
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CallsAMinute = CallsAMinute {
        thread: 6,
        person: 4,
        server: 3,
    };

    fn thread(id: i64) -> ThreadId {
        ThreadId::telegram(id, None)
    }

    #[test]
    fn each_allowance_is_used_up_by_itself_and_comes_back_with_time() {
        let (ann, bob) = (ActorId("ann".into()), ActorId("bob".into()));
        let mut rates = Rates::default();
        let mut call = |at: u64, id, person, server| {
            let now = Duration::from_secs(at);
            let taken = rates.take(now, LIMITS, thread(id), Some(person), server);
            taken.map_err(|(whose, wait)| (whose, wait.as_secs()))
        };
        for (at, id, person, server, expected) in [
            (0, 1, &ann, "x", Ok(())),
            (0, 1, &ann, "x", Ok(())),
            (0, 1, &ann, "x", Ok(())),
            // The server's three are used up; the person has one left.
            (0, 1, &ann, "x", Err((Whose::Server, 20))),
            (0, 1, &ann, "y", Ok(())),
            (0, 1, &ann, "y", Err((Whose::Person, 15))),
            // Nor in another thread.
            (0, 2, &ann, "y", Err((Whose::Person, 15))),
            (0, 1, &bob, "y", Ok(())),
            (0, 1, &bob, "y", Ok(())),
            (0, 1, &bob, "z", Err((Whose::Thread, 10))),
            // Another thread has its own.
            (0, 2, &bob, "x", Ok(())),
            (10, 1, &bob, "z", Ok(())),
            (20, 1, &ann, "x", Ok(())),
        ] {
            assert_eq!(call(at, id, person, server), expected, "{at} {id} {server}");
        }
    }

    #[test]
    fn no_limit_takes_no_room_and_zero_lets_nobody_through() {
        let mut rates = Rates::default();
        let open = CallsAMinute {
            thread: u32::MAX,
            person: u32::MAX,
            server: u32::MAX,
        };
        for id in 0..100 {
            let taken = rates.take(Duration::ZERO, open, thread(id), None, "x");
            assert_eq!(taken, Ok(()));
        }
        assert!(rates.threads.0.is_empty() && rates.servers.0.is_empty());
        let none = CallsAMinute { thread: 0, ..open };
        let refused = rates.take(Duration::ZERO, none, thread(1), None, "x");
        assert_eq!(refused, Err((Whose::Thread, Duration::from_mins(1))));
    }

    #[test]
    fn memory_is_bounded_however_many_come() {
        let mut rates = Rates::default();
        for id in 0..3 * i64::try_from(MOST).unwrap() {
            let now = Duration::from_micros(id.unsigned_abs());
            rates.take(now, LIMITS, thread(id), None, "x").unwrap();
            assert!(rates.threads.0.len() <= MOST && rates.servers.0.len() <= MOST);
        }
    }
}
