//! How many connections are open at once: in all, of one chat, and of what installs packages, which has places of its own.
//!
//! Whoever holds all that it may have takes nothing from the others: a chat has a share, and many of them fit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::thread::ThreadId;

/// Of all servers, where the system lets the bot have the files for it.
const SERVERS: usize = 1024;
/// Of all installations.
const INSTALLS: usize = 256;
/// Of one chat.
const EACH: usize = 64;

/// What a gate is for, and of which chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A server that runs.
    Server(ThreadId),
    /// The installation of a package.
    Install(ThreadId),
}

/// The places of everybody.
#[derive(Debug)]
pub(super) struct Places {
    servers: Pool,
    installs: Pool,
}

impl Places {
    /// As many as the files allow that this process may open: each connection has two, and the bot needs its own.
    pub(super) fn here() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        Self::with_files(files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        }))
    }

    pub(super) fn with_files(files: usize) -> Self {
        Self {
            servers: Pool::new((files / 16 * 3).min(SERVERS), 8),
            installs: Pool::new((files / 16).min(INSTALLS), 4),
        }
    }

    /// Where the connections of a gate stand in line.
    pub(super) fn line(&self, purpose: Purpose) -> Line {
        match purpose {
            Purpose::Server(thread) => self.servers.line(thread),
            Purpose::Install(thread) => self.installs.line(thread),
        }
    }
}

#[derive(Debug)]
struct Pool {
    all: Arc<Semaphore>,
    /// Places of one chat.
    each: usize,
    /// Of the chats that have a gate. A std lock: held for a map operation.
    threads: Mutex<HashMap<ThreadId, Weak<Semaphore>>>,
}

impl Pool {
    /// So that at least so many chats fit.
    fn new(all: usize, fit: usize) -> Self {
        let all = all.max(fit);
        Self {
            all: Arc::new(Semaphore::new(all)),
            each: (all / fit).min(EACH),
            threads: Mutex::default(),
        }
    }

    fn line(&self, thread: ThreadId) -> Line {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = threads.get(&thread).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            threads.retain(|_, places| places.strong_count() > 0);
            let own = Arc::new(Semaphore::new(self.each));
            threads.insert(thread, Arc::downgrade(&own));
            own
        });
        Line {
            own,
            all: Arc::clone(&self.all),
            each: self.each,
        }
    }
}

/// Where the connections of one gate stand in line.
#[derive(Debug)]
pub(super) struct Line {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    /// Connections that one gate can have.
    pub(super) each: usize,
}

/// A connection may be there as long as this is.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _own: SemaphorePermit<'a>,
    _all: SemaphorePermit<'a>,
}

/// Why there was no place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The chat has all that it may have.
    Own,
    /// Everybody together.
    All,
}

impl Line {
    /// Waits for a place so long. One that waits for its own chat's stands in nobody else's way.
    pub(super) async fn enter(&self, patience: Duration) -> Result<Place<'_>, Full> {
        let until = Instant::now() + patience;
        let own = timeout_at(until, self.own.acquire()).await;
        let own = own.ok().and_then(Result::ok).ok_or(Full::Own)?;
        let all = timeout_at(until, self.all.acquire()).await;
        let all = all.ok().and_then(Result::ok).ok_or(Full::All)?;
        Ok(Place {
            _own: own,
            _all: all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_chats_fit_whatever_the_system_allows() {
        for (files, servers, each, installs) in [
            (usize::MAX, 1024, 64, 256),
            (20_000, 1024, 64, 256),
            (1024, 192, 24, 64),
            (16, 8, 1, 4),
        ] {
            let places = Places::with_files(files);
            let found = (
                places.servers.all.available_permits(),
                places.servers.each,
                places.installs.all.available_permits(),
            );
            assert_eq!(found, (servers, each, installs), "{files} files");
            assert!(places.servers.each * 8 <= servers);
            assert!(places.installs.each * 4 <= installs);
        }
    }
}
