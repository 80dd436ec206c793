//! Which processes belong to which child, and which are to end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::lineage::{Leader, Lineage};
use super::super::process_table::{ProcessTable, is_marked};
use super::super::wire::Watch;

/// How long processes that do not die of SIGKILL (they hang in the kernel) are waited for.
const SWEEP_LIMIT: Duration = Duration::from_secs(3);
/// More processes than a server that is no fork bomb has.
const MANY: usize = 64;

/// What the launcher knows of its children. Its lock is held where signals are sent and processes reaped.
#[derive(Default)]
pub(super) struct Table {
    pub(super) children: HashMap<u64, Owned>,
    pub(super) by_pid: HashMap<i32, u64>,
    pub(super) sweeps: Vec<Sweep>,
    /// How many were ever started, so that the reaper notices one that came while it looked away.
    pub(super) births: u64,
    pub(super) lineage: Lineage,
    pub(super) childless: bool,
}

/// A child.
pub(super) struct Owned {
    /// Its process number, and that of its group for as long as anybody is in it.
    pub(super) pid: i32,
    pub(super) ended: bool,
    /// The whole value of its marker.
    pub(super) mark: String,
    /// The inode numbers of its pipes.
    pub(super) pipes: Vec<u64>,
    pub(super) watch: Option<Watch>,
    /// It is being ended for what it used.
    pub(super) is_over: bool,
}

impl Owned {
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some() && !self.is_over
    }
}

/// A child that is to end, with everything that belongs to it.
pub(super) struct Sweep {
    pub(super) id: u64,
    /// Else it is only asked to.
    pub(super) kill: bool,
    pub(super) until: Instant,
    /// Those that were stopped first, since there are many: what is stopped cannot start others meanwhile.
    stopped: HashSet<i32>,
}

impl Sweep {
    pub(super) fn new(id: u64, kill: bool) -> Self {
        Self {
            id,
            kill,
            until: Instant::now() + SWEEP_LIMIT,
            stopped: HashSet::new(),
        }
    }

    /// Which signal these get. A fork bomb makes others faster than they can be killed one by one, so it is stopped until
    /// there are no new ones.
    pub(super) fn signal(&mut self, victims: &[i32]) -> Signal {
        let seen = self.stopped.len();
        if !self.kill {
            return Signal::TERM;
        }
        if victims.len() > MANY {
            self.stopped.extend(victims);
        }
        if self.stopped.len() > seen {
            Signal::STOP
        } else {
            Signal::KILL
        }
    }
}

impl Table {
    pub(super) fn look(&mut self, processes: &ProcessTable) {
        let leaders: Vec<_> = self
            .children
            .iter()
            .map(|(id, child)| Leader {
                id: *id,
                pid: child.pid,
                ended: child.ended,
                owns_number: self.owns_number(*id, child),
                mark: &child.mark,
                pipes: &child.pipes,
            })
            .collect();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        self.lineage.look(processes, own, &leaders);
    }

    /// Once the leader is reaped, its number may belong to another child of ours; then the group tells nothing.
    fn owns_number(&self, id: u64, child: &Owned) -> bool {
        self.by_pid.get(&child.pid).is_none_or(|owner| *owner == id)
    }

    /// What passes on polite signals badly and is to get none: while it lives, the server in it does.
    pub(super) fn keeper(&self, id: u64) -> Option<i32> {
        let child = self.children.get(&id)?;
        let is_keeper = !child.ended && child.watch?.is_keeper;
        is_keeper.then_some(child.pid)
    }

    /// What is known to belong to a child without looking into processes.
    pub(super) fn members(&self, id: u64, processes: &ProcessTable) -> Vec<i32> {
        let Some(child) = self.children.get(&id) else {
            return Vec::new();
        };
        let below = if child.ended {
            HashSet::new()
        } else {
            processes.descendants(child.pid)
        };
        let number_is_its_own = self.owns_number(id, child);
        let living = processes.living.iter().filter(|process| {
            (!child.ended && process.pid == child.pid)
                || (number_is_its_own && process.group == child.pid)
                || below.contains(&process.pid)
                || self.lineage.belongs(process, id)
        });
        living.map(|process| process.pid).collect()
    }

    /// Everything that belongs to a child: its group, what it and its children started, and what bears its mark. Only
    /// our own descendants are looked at; every one of them is, because we are their subreaper.
    pub(super) fn victims(&self, id: u64, processes: &ProcessTable) -> Vec<i32> {
        let Some(child) = self.children.get(&id) else {
            return Vec::new();
        };
        let ours = processes.descendants(rustix::process::getpid().as_raw_nonzero().get());
        let number_is_its_own = self.owns_number(id, child);
        let below = if child.ended {
            HashSet::new()
        } else {
            processes.descendants(child.pid)
        };
        processes
            .living
            .iter()
            .filter(|process| ours.contains(&process.pid))
            .filter(|process| {
                (!child.ended && process.pid == child.pid)
                    || (number_is_its_own && process.group == child.pid)
                    || below.contains(&process.pid)
                    || self.lineage.belongs(process, id)
                    || (!child.mark.is_empty() && is_marked(process.pid, |mark| mark == child.mark))
            })
            // The table was read before the lock was taken: only who is still the same is meant.
            .filter(|process| process.is_still())
            .map(|process| process.pid)
            .collect()
    }
}
