//! How many local servers run at once: of a thread, and of the host. Who needs a place where there is none gets that of
//! the server which nobody used for the longest time; where all are busy, it is refused with a word.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::Stage;
use super::context::Context;
use super::handle::Handle;
use super::trouble::{Mend, Trouble};
use crate::policy::Running;
use crate::thread::ThreadId;

/// So long somebody waits for another server to go to sleep.
const WAIT: Duration = Duration::from_secs(3);
/// And looks again at least this often.
const LOOK: Duration = Duration::from_millis(100);
/// A server whose connection has no more holders than these is not in use: its task twice, and its handle.
const IDLE_HOLDERS: usize = 3;

/// The local servers that run, or are being started.
#[derive(Debug, Default)]
pub(super) struct Places {
    // A plain mutex: held for a look through at most some hundred servers.
    taken: Mutex<Vec<Taken>>,
    left: Notify,
    /// A task sees to it that no more run than may.
    is_shedding: AtomicBool,
}

#[derive(Debug)]
struct Taken {
    thread: ThreadId,
    handle: Weak<Handle>,
    /// It was asked to go to sleep.
    asked: bool,
}

/// Whose places are all taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Thread(usize),
    Host(usize),
}

impl Places {
    /// Takes a place for a server, which keeps it until [`Places::leave`]. One that has one keeps it.
    pub(super) async fn enter(
        &self,
        thread: ThreadId,
        handle: &Arc<Handle>,
        most: Running,
    ) -> Result<(), Trouble> {
        let until = tokio::time::Instant::now() + WAIT;
        loop {
            let left = self.left.notified();
            let Err((full, sleepy)) = self.take(thread, handle, most) else {
                return Ok(());
            };
            if let Some(sleepy) = &sleepy {
                sleepy.ask_to_sleep();
            }
            if tokio::time::Instant::now() >= until || !self.waits(full, thread, sleepy.is_some()) {
                return Err(full.trouble());
            }
            let _ = tokio::time::timeout(LOOK, left).await;
        }
    }

    /// Asks those to go to sleep that are more than may run, the longest unused first. Whether any are left that were in
    /// use or are on their way: then it is to be asked again.
    fn shed(&self, most: Running) -> bool {
        let mut all = self.lock();
        all.retain(|taken| taken.handle.strong_count() > 0);
        let mut threads: HashMap<ThreadId, usize> = HashMap::new();
        for taken in all.iter() {
            *threads.entry(taken.thread).or_default() += 1;
        }
        let mut in_all = all.len();
        let mut longest: Vec<&mut Taken> = all.iter_mut().collect();
        longest.sort_by_key(|taken| {
            let unused = taken.handle.upgrade().map(|handle| handle.unused_for());
            Reverse(unused)
        });
        let mut is_over = false;
        for taken in longest {
            let of_thread = threads.entry(taken.thread).or_default();
            if *of_thread <= most.thread && in_all <= most.host {
                continue;
            }
            is_over = true;
            let Some(handle) = taken.handle.upgrade() else {
                continue;
            };
            let is_idle = is_idle(&handle);
            // One that was asked and has no connection is on its way.
            if is_idle || taken.asked && handle.connection.load().is_none() {
                *of_thread -= 1;
                in_all -= 1;
            }
            taken.asked = is_idle || taken.asked && handle.connection.load().is_none();
            if is_idle {
                handle.ask_to_sleep();
            }
        }
        is_over
    }

    /// Gives it back.
    pub(super) fn leave(&self, handle: &Arc<Handle>) {
        let mut taken = self.lock();
        let before = taken.len();
        taken.retain(|taken| taken.handle.as_ptr() != Arc::as_ptr(handle));
        if taken.len() < before {
            self.left.notify_waiters();
        }
    }

    /// Takes one, or says what is full and who might go to sleep.
    fn take(
        &self,
        thread: ThreadId,
        handle: &Arc<Handle>,
        most: Running,
    ) -> Result<(), (Full, Option<Arc<Handle>>)> {
        let mut all = self.lock();
        all.retain(|taken| taken.handle.strong_count() > 0);
        if all
            .iter()
            .any(|taken| taken.handle.as_ptr() == Arc::as_ptr(handle))
        {
            return Ok(());
        }
        let of_thread = all.iter().filter(|taken| taken.thread == thread).count();
        let full = if of_thread >= most.thread {
            Full::Thread(most.thread)
        } else if all.len() >= most.host {
            Full::Host(most.host)
        } else {
            all.push(Taken {
                thread,
                handle: Arc::downgrade(handle),
                asked: false,
            });
            return Ok(());
        };
        let theirs = all
            .iter_mut()
            .filter(|taken| !taken.asked)
            .filter(|taken| matches!(full, Full::Host(_)) || taken.thread == thread);
        let idle = theirs.filter_map(|taken| {
            let handle = taken.handle.upgrade()?;
            is_idle(&handle).then_some((handle, taken))
        });
        let longest = idle.max_by_key(|(handle, _)| handle.unused_for());
        Err((
            full,
            longest.map(|(handle, taken)| {
                taken.asked = true;
                handle
            }),
        ))
    }

    /// Whether somebody is about to leave; one who is asked and does not is asked again by the next who needs it.
    fn waits(&self, full: Full, thread: ThreadId, asked_now: bool) -> bool {
        let mut all = self.lock();
        let theirs = all
            .iter_mut()
            .filter(|taken| matches!(full, Full::Host(_)) || taken.thread == thread);
        let mut waits = asked_now;
        for taken in theirs.filter(|taken| taken.asked) {
            let sleeps = taken
                .handle
                .upgrade()
                .is_some_and(|handle| is_idle(&handle));
            waits |= sleeps;
            taken.asked = sleeps;
        }
        waits
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fewer may run at once than before: the longest unused go to sleep, and those that are in use when their calls end.
pub(super) fn make_room(context: &Arc<Context>) {
    let most = context.outside.policy.now().quotas.running;
    if !context.places.shed(most) || context.places.is_shedding.swap(true, Ordering::AcqRel) {
        return;
    }
    let own = context.clone();
    context.tasks.spawn(async move {
        loop {
            let left = own.places.left.notified();
            tokio::select! {
                () = own.closing.cancelled() => return,
                _ = tokio::time::timeout(LOOK, left) => {}
            }
            let shed = || own.places.shed(own.outside.policy.now().quotas.running);
            if shed() {
                continue;
            }
            own.places.is_shedding.store(false, Ordering::Release);
            // Who wanted it in between left it to this task.
            if !shed() || own.places.is_shedding.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    });
}

/// Whether it runs, and no call uses it.
fn is_idle(handle: &Handle) -> bool {
    let connection = handle.connection.load();
    connection
        .as_ref()
        .is_some_and(|connection| Arc::strong_count(connection) <= IDLE_HOLDERS)
}

impl Full {
    fn trouble(self) -> Trouble {
        let (what, advice) = match self {
            Self::Thread(most) => (
                format!(
                    "{most} local servers of this chat run already, which is as many as may, and all are in use"
                ),
                "Wait until a call ends, or switch one of them off.",
            ),
            Self::Host(most) => (
                format!(
                    "{most} local servers run on this machine already, which is as many as may, and all are in use"
                ),
                "Try again in a moment.",
            ),
        };
        Trouble::new(Stage::Process, what, advice, Mend::Again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Definition, NetworkGrant, ServerName, StdioServer};

    fn handle(name: &str) -> Arc<Handle> {
        let definition = Definition::Local(StdioServer {
            command: "x".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            network: NetworkGrant::default(),
            disabled: false,
        });
        Handle::new(ServerName::new(name).unwrap(), &definition, false)
    }

    const MOST: Running = Running { thread: 2, host: 3 };

    #[tokio::test(start_paused = true)]
    async fn a_thread_and_the_host_have_so_many_places_and_no_more() {
        let places = Places::default();
        let (one, two) = (ThreadId::telegram(1, None), ThreadId::telegram(2, None));
        let all: Vec<_> = ["a", "b", "c", "d", "e"].map(handle).into();
        let enter = |thread, nth: usize| {
            let (places, handle) = (&places, &all[nth]);
            async move {
                let entered = places.enter(thread, handle, MOST).await;
                entered.map_err(|trouble| trouble.what)
            }
        };
        assert_eq!(enter(one, 0).await, Ok(()));
        assert_eq!(enter(one, 1).await, Ok(()));
        assert_eq!(enter(one, 1).await, Ok(()), "it has one");
        let full = enter(one, 2).await.unwrap_err();
        assert!(full.starts_with("2 local servers of this chat"), "{full}");
        assert_eq!(enter(two, 3).await, Ok(()));
        let full = enter(two, 4).await.unwrap_err();
        assert!(full.starts_with("3 local servers run on this"), "{full}");
        places.leave(&all[0]);
        assert_eq!(enter(two, 4).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_has_no_place() {
        let places = Places::default();
        let thread = ThreadId::Local;
        for nth in 0..5 {
            let handle = handle(&format!("s{nth}"));
            places.enter(thread, &handle, MOST).await.unwrap();
        }
    }
}
