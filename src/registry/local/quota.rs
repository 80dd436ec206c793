//! A thread's home while its servers run: measured when the disk fills, and over its quota they end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::context::Context;
use super::super::launch::{Ender, Over, nameless_files};
use super::cage::over;
use super::locate::look_within;
use crate::sandbox::{Owner, Sandbox, measure};
use crate::thread::ThreadId;

/// How often the free space is asked for, which costs nothing.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A home is measured at least this often.
const MEASURE_EVERY: Duration = Duration::from_mins(1);
/// And where so much of its quota is gone from the disk, whoever took it.
const PART: u64 = 16;
const LEAST: u64 = 4 * 1024 * 1024;

/// The servers that run in each thread's home. A std lock: held for a map operation.
#[derive(Debug, Default)]
pub(in crate::registry) struct Homes(Mutex<HashMap<ThreadId, Home>>);

#[derive(Debug, Default)]
struct Home {
    running: Vec<Ender>,
    /// A task looks after it.
    is_followed: bool,
    /// The bytes that it held, and when.
    held: Option<(u64, Instant)>,
}

impl Homes {
    /// The bytes that a home holds before something is started in it; why nothing is, where they are too many. Walks
    /// through it where that was not done lately.
    pub(super) fn room(
        &self,
        sandbox: &Sandbox,
        thread: ThreadId,
        (home, owner): (&Path, Option<Owner>),
        most: u64,
    ) -> Result<u64, String> {
        if !sandbox.confines() {
            return Ok(0);
        }
        let known = self.lock().get(&thread).and_then(|home| home.held);
        let known = known.filter(|(held, at)| *held <= most && at.elapsed() < MEASURE_EVERY);
        let held = match known {
            Some((held, _)) => held,
            None => measure(home, most, owner).bytes,
        };
        if known.is_none() {
            self.lock().entry(thread).or_default().held = Some((held, Instant::now()));
        }
        if held > most {
            return Err(over(most));
        }
        Ok(held)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, Home>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server is watched for as long as this lives.
#[derive(Debug)]
pub(super) struct Watched {
    context: Arc<Context>,
    thread: ThreadId,
    ender: Ender,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(home) = self.context.homes.lock().get_mut(&self.thread) {
            home.running.retain(|ender| *ender != self.ender);
        }
    }
}

/// Watches over the home of a server that was just started in it.
pub(super) fn watch(
    context: &Arc<Context>,
    thread: ThreadId,
    (home, owner): (&Path, Option<Owner>),
    ender: Ender,
) -> Watched {
    let is_followed = {
        let mut homes = context.homes.lock();
        let home = homes.entry(thread).or_default();
        home.running.push(ender.clone());
        std::mem::replace(&mut home.is_followed, true)
    };
    if !is_followed {
        let home = home.to_owned();
        let follow = follow(context.clone(), thread, home, owner);
        context.tasks.spawn(follow);
    }
    Watched {
        context: context.clone(),
        thread,
        ender,
    }
}

/// Until nothing runs there any more.
async fn follow(context: Arc<Context>, thread: ThreadId, home: PathBuf, owner: Option<Owner>) {
    let own = home.clone();
    let free = look_within(&context.looks, move || free_at(&own)).await;
    let mut last = Measured {
        free: free.unwrap_or(u64::MAX),
        at: Instant::now(),
    };
    loop {
        tokio::select! {
            () = context.closing.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        let running = {
            let mut homes = context.homes.lock();
            match homes.get_mut(&thread) {
                Some(home) if !home.running.is_empty() => home.running.clone(),
                _ => {
                    homes.remove(&thread);
                    return;
                }
            }
        };
        let most = context.outside.policy.now().quotas.home_bytes;
        let home = home.clone();
        let look = move || {
            let free = free_at(&home);
            let used = last
                .is_due(free, most)
                .then(|| taken(&home, most, owner, &running));
            (free, used)
        };
        let Some((free, used)) = look_within(&context.looks, look).await else {
            continue;
        };
        match used {
            None => last.free = last.free.max(free),
            Some(used) => {
                last = Measured {
                    free,
                    at: Instant::now(),
                };
                if let Some(home) = context.homes.lock().get_mut(&thread) {
                    home.held = Some((used, Instant::now()));
                }
                if used > most {
                    end_all(&context, thread, most).await;
                }
            }
        }
    }
}

/// The bytes that a home takes from the disk: what is found in it, and what its servers keep of what was there.
fn taken(home: &Path, most: u64, owner: Option<Owner>, running: &[Ender]) -> u64 {
    let found = measure(home, most, owner).bytes;
    if found > most {
        return found;
    }
    let servers = Ender::processes(running, owner.map(|owner| owner.uid));
    found.saturating_add(nameless_files(&servers, home))
}

async fn end_all(context: &Context, thread: ThreadId, most: u64) {
    let servers = {
        let homes = context.homes.lock();
        let home = homes.get(&thread);
        home.map(|home| home.running.clone()).unwrap_or_default()
    };
    for server in servers {
        server.end(Over::Home(most)).await;
    }
}

/// Bytes that are free on the disk of a home.
fn free_at(home: &Path) -> u64 {
    rustix::fs::statvfs(home).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize)
}

/// How it was when the home was measured last.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Bytes that were free on its disk, or are since.
    free: u64,
    at: Instant,
}

impl Measured {
    fn is_due(self, free: u64, most: u64) -> bool {
        let gone = self.free.saturating_sub(free);
        gone > (most / PART).max(LEAST) || self.at.elapsed() > MEASURE_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_measured_again_when_the_disk_fills() {
        const GIB: u64 = 1 << 30;
        let last = Measured {
            free: 100 * GIB,
            at: Instant::now(),
        };
        for (free, expected) in [
            (100 * GIB, false),
            (200 * GIB, false),
            (100 * GIB - GIB / 16, false),
            (100 * GIB - GIB / 8 - 1, true),
            (0, true),
        ] {
            assert_eq!(last.is_due(free, 2 * GIB), expected, "{free}");
        }
        let old = Instant::now().checked_sub(MEASURE_EVERY * 2).unwrap();
        assert!(Measured { at: old, ..last }.is_due(100 * GIB, 2 * GIB));
    }
}
