//! What a confined server uses, with all its processes together: no single limit of the kernel's counts that.

use std::fs;
use std::time::{Duration, Instant};

use super::lineage::newest_process;
use super::wire::{Over, Watch};

/// What some processes use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Bytes of memory that are theirs: neither files nor what was only reserved.
    pub(super) memory: u64,
    pub(super) threads: u64,
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
                threads: all.threads + one.threads,
            })
    }

    /// Whether it is more than it may be.
    pub(super) fn over(self, watch: &Watch) -> Option<Over> {
        if self.memory > watch.memory {
            Some(Over::Memory(watch.memory))
        } else if self.threads > watch.processes {
            Some(Over::Processes(watch.processes))
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
                "RssAnon" | "RssShmem" | "VmSwap" => used.memory += number() * 1024,
                "Threads" => used.threads += number(),
                _ => {}
            }
        }
        used
    }
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
        let (now, machine) = (Instant::now(), Machine::read());
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
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = memory.lines().find_map(|line| {
            let kib = line
                .strip_prefix("MemAvailable:")?
                .split_ascii_whitespace()
                .next()?;
            kib.parse::<u64>().ok()
        });
        Self {
            available: available.unwrap_or(0) * 1024,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_mapped_are_nobodys_memory() {
        let status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 700 kB\nRssShmem:\t 50 kB\nVmSwap:\t 10 kB\nThreads:\t3\n";
        let used = Use::read(status);
        assert_eq!(
            used,
            Use {
                memory: 160 * 1024,
                threads: 3
            }
        );
        let most = |memory, processes| Watch {
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
}
