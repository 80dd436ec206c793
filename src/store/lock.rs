//! One writer a thread, over all processes.
//!
//! A lock of the system on a file that is kept (`state/<thread>/lock`): it ends with the process that held it, however
//! that died.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use rustix::io::{Errno, pread, pwrite};

use super::{StoreError, folder::Folder};

/// A writer's work takes milliseconds, and on a slow disk a second; who waits this long for one has met one that hangs.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// So many times as long where others have their turns meanwhile.
const TURNS: u32 = 12;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// The lock's file.
pub(super) const NAME: &str = "lock";

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The system's lock lives as long as this descriptor.
    file: File,
}

impl Lock {
    /// Waits for the lock of a thread's state folder, for a bounded time; the folder is made where it is missing and
    /// comes with the lock.
    pub(super) fn take(
        state: &Folder,
        thread: &str,
        wait: Duration,
    ) -> Result<(Folder, Self), StoreError> {
        let begun = Instant::now();
        loop {
            let folder = state.child_made(thread)?;
            let lock = Self::take_in(&folder, wait.saturating_sub(begun.elapsed()))?;
            // While this one waited the folder may have moved to another id, or been removed.
            let held = lock.inode(&folder)?;
            let there = match state.child(thread)? {
                Some(again) => again.stat(NAME)?,
                None => None,
            };
            if there.is_some_and(|there| there.st_ino == held) {
                return Ok((folder, lock));
            }
            if begun.elapsed() >= wait {
                return Err(StoreError::Busy(folder.path_of(NAME)));
            }
        }
    }

    /// Waits for the lock in a folder that stays where it is.
    pub(super) fn take_in(folder: &Folder, wait: Duration) -> Result<Self, StoreError> {
        Self::take_named(folder, NAME, wait)
    }

    /// The same with a lock file of another name.
    pub(super) fn take_named(
        folder: &Folder,
        name: &str,
        wait: Duration,
    ) -> Result<Self, StoreError> {
        let path = folder.path_of(name);
        let flags = OFlags::CREATE | OFlags::RDWR;
        let Some(file) = folder.open_file(name, flags)? else {
            return Err(StoreError::io(path, Errno::NOENT));
        };
        acquire(&file, wait, || path.clone())?;
        Ok(Self { file })
    }

    fn inode(&self, folder: &Folder) -> Result<u64, StoreError> {
        fstat(&self.file)
            .map(|stat| stat.st_ino)
            .map_err(|errno| StoreError::io(folder.path_of(NAME), errno))
    }
}

/// Waits for the system's lock on an open file. The wait begins anew when somebody else had their turn: writers that are
/// many, or slow, are none that hang.
pub(super) fn acquire(
    file: &File,
    wait: Duration,
    path: impl Fn() -> String,
) -> Result<(), StoreError> {
    let mut patience = Patience::new(Instant::now(), wait);
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Only others' patience hangs on it: a disk that takes nothing more is met by the work itself.
                let _ = pwrite(file, &turn_of(file).wrapping_add(1).to_ne_bytes(), 0);
                return Ok(());
            }
            Err(Errno::WOULDBLOCK) if patience.is_over(Instant::now(), turn_of(file)) => {
                return Err(StoreError::Busy(path()));
            }
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOOK_AGAIN),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(StoreError::io(path(), errno)),
        }
    }
}

/// How long somebody waits.
struct Patience {
    wait: Duration,
    first: Instant,
    /// When the turn of now was first seen.
    begun: Instant,
    turn: Option<u64>,
}

impl Patience {
    fn new(now: Instant, wait: Duration) -> Self {
        Self {
            wait,
            first: now,
            begun: now,
            turn: None,
        }
    }

    fn is_over(&mut self, now: Instant, turn: u64) -> bool {
        if self.turn.replace(turn).is_some_and(|before| before != turn) {
            self.begun = now;
        }
        now - self.begun >= self.wait || now - self.first >= self.wait * TURNS
    }
}

/// How many had the lock so far.
fn turn_of(file: &File) -> u64 {
    let mut bytes = [0; 8];
    match pread(file, &mut bytes, 0) {
        Ok(8) => u64::from_ne_bytes(bytes),
        Ok(_) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When somebody who looks each second gives up, if the lock goes on to somebody else every so many seconds.
    fn gives_up(every: u64) -> u64 {
        let first = Instant::now();
        let mut patience = Patience::new(first, WAIT);
        let mut looks = 0_u64..;
        let over = looks.find(|second| {
            let now = first + Duration::from_secs(*second);
            patience.is_over(now, second / every)
        });
        over.unwrap()
    }

    #[test]
    fn who_waits_for_many_waits_longer_than_for_one_that_hangs() {
        assert_eq!(gives_up(1000), WAIT.as_secs());
        assert_eq!(gives_up(6), WAIT.as_secs());
        assert_eq!(gives_up(4), WAIT.as_secs() * u64::from(TURNS));
        // Each holder counts itself.
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        let turns = [0, 0].map(|_| turn_of(&Lock::take_in(&folder, WAIT).unwrap().file));
        assert_eq!(turns, [1, 2]);
    }

    #[test]
    fn a_second_writer_waits_its_time_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let state = Folder::root(dir.path()).unwrap();
        let held = Lock::take(&state, "local", WAIT).unwrap();
        let refused = Lock::take(&state, "local", Duration::ZERO);
        assert!(matches!(refused, Err(StoreError::Busy(path)) if path == "local/lock"));
        drop(held);
        Lock::take(&state, "local", Duration::ZERO).unwrap();
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = crate::store::Store::open(std::path::Path::new("/proc/x")).unwrap_err();
        let told = error.to_string();
        assert_eq!(told.matches("No such file").count(), 1, "{told}");
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn one_bot_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(dir.path()).unwrap();
        let claim = store.claim_for_bot().unwrap();
        let second = crate::store::Store::open(dir.path()).unwrap();
        let refused = second.claim_for_bot().unwrap_err();
        assert!(
            matches!(&refused, StoreError::Busy(path) if *path == dir.path().display().to_string()),
            "{refused}"
        );
        drop(claim);
        let _claim = second.claim_for_bot().unwrap();
    }

    #[test]
    fn a_lock_of_a_folder_that_moved_away_is_not_taken_for_the_thread() {
        let dir = tempfile::tempdir().unwrap();
        let state = Folder::root(dir.path()).unwrap();
        let (_old, held) = Lock::take(&state, "tg1", WAIT).unwrap();
        let waiting = std::thread::spawn({
            let state = Folder::root(dir.path()).unwrap();
            move || Lock::take(&state, "tg1", WAIT).map(|(folder, _)| folder.stat(NAME))
        });
        state.rename("tg1", "tg2").unwrap();
        let moved = state
            .child("tg2")
            .unwrap()
            .unwrap()
            .stat(NAME)
            .unwrap()
            .unwrap();
        drop(held);
        let taken = waiting.join().unwrap().unwrap().unwrap().unwrap();
        assert_ne!(taken.st_ino, moved.st_ino);
    }
}
