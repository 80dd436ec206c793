//! The processes of this machine as `/proc` shows them at one moment, and whose descendants they are.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::process::Pid;

use super::wire::MARKER;

/// One process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// In clock ticks since the machine started: with the number it names one process for good, while parent and group
    /// may change.
    pub(super) born: u64,
}

impl Process {
    /// Whether the number still means this process.
    pub(super) fn is_still(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| parse_stat(self.pid, &stat))
            .is_some_and(|now| now.born == self.born)
    }
}

/// Every process that is not yet dead (a zombie only waits to be reaped, unless threads of it go on without the first).
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    pub(super) living: Vec<Process>,
}

impl ProcessTable {
    /// Reads `/proc`. Processes that end meanwhile are left out.
    pub(super) fn read() -> Self {
        let mut living = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            living.extend(parse_stat(pid, &stat));
        }
        Self { living }
    }

    /// The processes below `ancestor`, itself left out.
    pub(super) fn descendants(&self, ancestor: i32) -> HashSet<i32> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for process in &self.living {
            children
                .entry(process.parent)
                .or_default()
                .push(process.pid);
        }
        let (mut found, mut open) = (HashSet::new(), vec![ancestor]);
        while let Some(parent) = open.pop() {
            for child in children.get(&parent).into_iter().flatten() {
                if found.insert(*child) {
                    open.push(*child);
                }
            }
        }
        found
    }
}

/// Whether a process was started with our marker and `accept`s its value. The value is what it was started with: a
/// process cannot take it off, only start others without it.
pub(super) fn is_marked(pid: i32, accept: impl Fn(&str) -> bool) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    environment.split(|byte| *byte == 0).any(|variable| {
        std::str::from_utf8(variable)
            .ok()
            .and_then(|variable| variable.strip_prefix(MARKER)?.strip_prefix('='))
            .is_some_and(&accept)
    })
}

/// The number under which `/proc` shows what a process has: its own, or that of a thread that goes on without the first.
pub(super) fn speaker(pid: i32) -> i32 {
    let has_memory = |thread: i32| {
        let status = fs::read_to_string(format!("/proc/{thread}/status"));
        status.is_ok_and(|status| status.contains("VmSize:"))
    };
    if has_memory(pid) {
        return pid;
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let numbers = threads.into_iter().flatten().flatten();
    numbers
        .filter_map(|thread| thread.file_name().to_str()?.parse().ok())
        .find(|thread| has_memory(*thread))
        .unwrap_or(pid)
}

/// Sends SIGKILL; a process that is gone already is fine.
pub(super) fn kill(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Sends a signal to one process.
pub(super) fn signal(pid: i32, signal: rustix::process::Signal) {
    // 0 and 1 would mean our own group and init.
    if pid > 1
        && let Some(pid) = Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    // proc(5): `pid (comm) state ppid pgrp …`; comm may hold blanks and brackets.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // The 20th field and the 22nd; the group was the fifth.
    let threads: u64 = fields.nth(14)?.parse().ok()?;
    let born = fields.nth(1)?.parse().ok()?;
    // Where the first thread alone ended, the process looks like a zombie, and its others go on.
    (threads > 1 || !matches!(state, "Z" | "X" | "x")).then_some(Process {
        pid,
        parent,
        group,
        born,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let rest = "3 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let process = parse_stat(7, &format!("7 (a) b (c) S {rest}")).unwrap();
        assert_eq!((process.parent, process.group, process.born), (3, 5, 4242));
        assert!(
            parse_stat(7, &format!("7 (x) Z {rest}")).is_none(),
            "a zombie is not living"
        );
        let threads = rest.replace(" 20 0 1 0 ", " 20 0 2 0 ");
        assert!(
            parse_stat(7, &format!("7 (x) Z {threads}")).is_some(),
            "its other thread is"
        );
        assert!(parse_stat(7, "garbage").is_none());
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let living = [(2, 1), (3, 2), (4, 3), (5, 1)]
            .map(|(pid, parent)| Process {
                pid,
                parent,
                group: pid,
                born: 0,
            })
            .to_vec();
        let table = ProcessTable { living };
        assert_eq!(table.descendants(2), HashSet::from([3, 4]));
    }
}
