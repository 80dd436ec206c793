//! What a confined server uses, with all its processes together: no single limit of the kernel's counts that.

use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::kept::shared_memory;
use super::lineage::newest_process;
use super::wire::{Over, Watch};

/// Sockets of one server. Each may hold what its sender's buffer takes (208 KiB, `net.core.wmem_default`) in the kernel's
/// memory, which no limit of a process counts: so it is a fifth of a GiB, and far more connections than a server has.
pub(super) const MOST_SOCKETS: u64 = 1000;

/// What some processes use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Bytes of memory that are theirs: neither files nor what was only reserved.
    pub(super) memory: u64,
    /// Those of them that they share.
    shared: u64,
    pub(super) threads: u64,
    /// Places for open files that they have, taken or not.
    files: u64,
    /// As far as they were counted.
    sockets: u64,
}

impl Use {
    /// Of these processes; one that is gone uses nothing.
    pub(super) fn of(processes: &[i32]) -> Self {
        let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        processes
            .iter()
            .map(|pid| Self::read(&status(pid)))
            .fold(Self::default(), |all, one| Self {
                memory: all.memory + one.memory,
                shared: all.shared + one.shared,
                threads: all.threads + one.threads,
                files: all.files + one.files,
                sockets: 0,
            })
    }

    /// The same with what they keep shared and gave up in the kernel's count. `shared` is what all of this machine hold so:
    /// where not even that would be too much, nobody is looked at any closer.
    pub(super) fn with_kept(mut self, processes: &[i32], watch: &Watch, shared: u64) -> Self {
        let own = self.memory - self.shared;
        if self.memory <= watch.memory && own.saturating_add(shared) > watch.memory {
            // Not both: what is counted is kept as well.
            self.shared = self.shared.max(shared_memory(processes));
            self.memory = own.saturating_add(self.shared);
        }
        self
    }

    /// The same with their sockets: those of their own network, where they have one, as the kernel counts them. Else those
    /// that they hold open, counted where they could be too many.
    pub(super) fn with_sockets(mut self, processes: &[i32]) -> Self {
        let own = network_of("self");
        let inside = processes.iter().find(|pid| {
            let network = network_of(pid);
            network.is_some() && network != own
        });
        self.sockets = match inside {
            Some(pid) => sockets_around(*pid),
            None if self.files > MOST_SOCKETS => open_sockets(processes),
            None => 0,
        };
        self
    }

    /// Whether it is more than it may be.
    pub(super) fn over(self, watch: &Watch) -> Option<Over> {
        if self.memory > watch.memory {
            Some(Over::Memory(watch.memory))
        } else if self.threads > watch.processes {
            Some(Over::Processes(watch.processes))
        } else if self.sockets > MOST_SOCKETS {
            Some(Over::Sockets(MOST_SOCKETS))
        } else {
            None
        }
    }

    fn read(status: &str) -> Self {
        let mut used = Self::default();
        for line in status.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let number = || {
                let number = value.split_ascii_whitespace().next();
                number
                    .and_then(|number| number.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            match name {
                "RssAnon" | "VmSwap" => used.memory += number() * 1024,
                "RssShmem" => {
                    used.shared += number() * 1024;
                    used.memory += number() * 1024;
                }
                "FDSize" => used.files += number(),
                "Threads" => used.threads += number(),
                _ => {}
            }
        }
        used
    }
}

fn network_of(process: impl Display) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

/// All sockets of a process's network.
fn sockets_around(pid: i32) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/net/sockstat")).unwrap_or_default();
    let used = all
        .lines()
        .find_map(|line| line.strip_prefix("sockets: used "));
    used.and_then(|used| used.trim().parse().ok()).unwrap_or(0)
}

/// Sockets that these hold open, up to more than they may.
fn open_sockets(processes: &[i32]) -> u64 {
    let folders = processes
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    let mut found = HashSet::new();
    for file in folders.flatten().flatten() {
        if let Ok(target) = fs::read_link(file.path())
            && target.to_string_lossy().starts_with("socket:[")
        {
            found.insert(target);
        }
        if found.len() as u64 > MOST_SOCKETS {
            break;
        }
    }
    found.len() as u64
}

/// When to look again: seldom while nothing happens on the machine, at once when its memory goes or processes come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Machine)>,
}

/// What the machine says of itself for the price of two small files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Machine {
    /// Bytes of memory that programs can still have.
    available: u64,
    /// The number of the newest process.
    newest: u64,
}

impl Pace {
    /// However quiet the machine is.
    const AT_LEAST: Duration = Duration::from_secs(2);
    const MEMORY: u64 = 64 * 1024 * 1024;
    const PROCESSES: u64 = 16;

    pub(super) fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now(), Machine::read())
    }

    fn is_due_at(&mut self, now: Instant, machine: Machine) -> bool {
        let is_due = self.last.is_none_or(|(at, then)| {
            now.duration_since(at) >= Self::AT_LEAST || machine.moved_since(&then)
        });
        match &mut self.last {
            // What became free can be taken again.
            Some((_, then)) if !is_due => then.available = then.available.max(machine.available),
            last => *last = Some((now, machine)),
        }
        is_due
    }
}

impl Machine {
    fn read() -> Self {
        Self {
            available: meminfo(["MemAvailable"])[0],
            newest: newest_process()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
        }
    }

    fn moved_since(&self, then: &Self) -> bool {
        // Numbers of processes begin again when they are used up.
        then.available.saturating_sub(self.available) > Pace::MEMORY
            || self.newest < then.newest
            || self.newest - then.newest > Pace::PROCESSES
    }
}

/// Bytes of memory that is shared on this machine, swapped or not: no server keeps more of it.
pub(super) fn shared_on_machine() -> u64 {
    let [shared, swap, free] = meminfo(["Shmem", "SwapTotal", "SwapFree"]);
    shared + swap.saturating_sub(free)
}

/// Lines of `/proc/meminfo`, in bytes.
fn meminfo<const N: usize>(names: [&str; N]) -> [u64; N] {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    names.map(|name| {
        let of = |line: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            value.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        memory.lines().find_map(of).unwrap_or(0) * 1024
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_mapped_are_nobodys_memory() {
        let status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 700 kB\nRssShmem:\t 50 kB\nVmSwap:\t 10 kB\nThreads:\t3\nFDSize:\t64\n";
        let used = Use::read(status);
        assert_eq!(
            used,
            Use {
                memory: 160 * 1024,
                shared: 50 * 1024,
                threads: 3,
                files: 64,
                sockets: 0,
            }
        );
        let most = |memory, processes| Watch {
            server: 1,
            processor: 1,
            memory,
            processes,
            is_keeper: false,
        };
        for (watch, expected) in [
            (most(160 * 1024, 3), None),
            (most(160 * 1024 - 1, 3), Some(Over::Memory(160 * 1024 - 1))),
            (most(u64::MAX, 2), Some(Over::Processes(2))),
        ] {
            assert_eq!(used.over(&watch), expected);
        }
        let many = |sockets| Use { sockets, ..used };
        let enough = most(u64::MAX, 3);
        assert_eq!(many(MOST_SOCKETS).over(&enough), None);
        let over = Some(Over::Sockets(MOST_SOCKETS));
        assert_eq!(many(MOST_SOCKETS + 1).over(&enough), over);
        assert!(Use::of(&[i32::try_from(std::process::id()).unwrap()]).memory > 0);
        assert_eq!(Use::of(&[i32::MAX]), Use::default());
    }

    #[test]
    fn it_is_looked_again_when_memory_goes_or_processes_come() {
        const MIB: u64 = 1024 * 1024;
        let then = Machine {
            available: 1000 * MIB,
            newest: 5000,
        };
        for (available, newest, expected) in [
            (1000, 5000, false),
            (2000, 5016, false),
            (936, 5000, false),
            (935, 5000, true),
            (1000, 5017, true),
            (1000, 300, true),
        ] {
            let now = Machine {
                available: available * MIB,
                newest,
            };
            assert_eq!(now.moved_since(&then), expected, "{now:?}");
        }
        let mut pace = Pace::default();
        assert!(pace.is_due(), "the first time");
    }

    /// One that only keeps the processor busy makes no process and takes no memory.
    #[test]
    fn d10_it_is_looked_again_also_where_nothing_changes() {
        let (began, machine) = (Instant::now(), Machine::default());
        let mut pace = Pace::default();
        for (ms, expected) in [
            (0, true),
            (100, false),
            (1900, false),
            (2000, true),
            (2100, false),
            (4000, true),
        ] {
            let now = began + Duration::from_millis(ms);
            assert_eq!(pace.is_due_at(now, machine), expected, "{ms} ms");
        }
    }
}
