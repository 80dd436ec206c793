//! Whose child each of our descendants is, remembered from when it could still be seen.
//!
//! A process may leave its group, lose its parents and start others without our mark; after all three nothing tells whose
//! it was. So the launcher looks now and then, and remembers. One that was lost before the first look is told by the pipes
//! that it still holds, and else counts as anybody's who ran then: it ends with the last of them.

use std::collections::{BTreeSet, HashMap};

use super::process_table::{Process, ProcessTable, is_marked};

/// What is known of one child, to judge its descendants by.
pub(super) struct Leader<'a> {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) ended: bool,
    /// Whether its number, and that of its group, cannot be another's.
    pub(super) owns_number: bool,
    pub(super) mark: &'a str,
    /// The inode numbers of its pipes.
    pub(super) pipes: &'a [u64],
}

/// The owners of our descendants, by number and birth.
#[derive(Default)]
pub(super) struct Lineage {
    owners: HashMap<(i32, u64), BTreeSet<u64>>,
}

impl Lineage {
    /// Takes in who is there. `own` is the launcher's number.
    pub(super) fn look(&mut self, processes: &ProcessTable, own: i32, leaders: &[Leader<'_>]) {
        let ours = processes.descendants(own);
        let by_pid: HashMap<i32, &Process> = processes
            .living
            .iter()
            .filter(|process| ours.contains(&process.pid))
            .map(|process| (process.pid, process))
            .collect();
        let mut now = HashMap::with_capacity(by_pid.len());
        for process in by_pid.values() {
            let owners = self.owners_of(process, &by_pid, leaders);
            now.insert((process.pid, process.born), owners);
        }
        self.owners = now;
    }

    /// Whether the process ends with this child.
    pub(super) fn belongs(&self, process: &Process, id: u64) -> bool {
        let owners = self.owners.get(&(process.pid, process.born));
        owners.is_some_and(|owners| owners.len() == 1 && owners.contains(&id))
    }

    /// Nothing is left that this child could own.
    pub(super) fn forget(&mut self, id: u64) {
        for owners in self.owners.values_mut() {
            owners.remove(&id);
        }
    }

    fn owners_of(
        &self,
        process: &Process,
        by_pid: &HashMap<i32, &Process>,
        leaders: &[Leader<'_>],
    ) -> BTreeSet<u64> {
        let mut at = *process;
        // Up to the first whose owner is known. A loop of parents is none that a kernel makes, and would be left.
        for _ in 0..by_pid.len() {
            if let Some(owners) = self.owners.get(&(at.pid, at.born)) {
                return owners.clone();
            }
            let leads = |leader: &&Leader<'_>| {
                (!leader.ended && leader.pid == at.pid)
                    || (leader.owns_number && leader.pid == at.group)
            };
            if let Some(leader) = leaders.iter().find(leads) {
                return BTreeSet::from([leader.id]);
            }
            match by_pid.get(&at.parent) {
                Some(parent) => at = **parent,
                None => break,
            }
        }
        // `at` came to us as an orphan.
        let told = leaders.iter().find(|leader| {
            !leader.mark.is_empty() && is_marked(at.pid, |mark| mark == leader.mark)
        });
        if let Some(leader) = told.or_else(|| holds_pipe_of(at.pid, leaders)) {
            return BTreeSet::from([leader.id]);
        }
        leaders.iter().map(|leader| leader.id).collect()
    }
}

fn holds_pipe_of<'a, 'b>(pid: i32, leaders: &'a [Leader<'b>]) -> Option<&'a Leader<'b>> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    open.flatten().find_map(|fd| {
        let target = std::fs::read_link(fd.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?;
        let inode = inode.parse().ok()?;
        leaders.iter().find(|leader| leader.pipes.contains(&inode))
    })
}

/// The number that was given to the newest process of this machine; while it stays there are no new ones.
pub(super) fn newest_process() -> Option<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    load.split_ascii_whitespace().last().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that no process has, so that nothing is read of a real one.
    const OWN: i32 = 1_000_000_000;

    fn table(processes: &[(i32, i32, i32)]) -> ProcessTable {
        let living = processes.iter().map(|(pid, parent, group)| Process {
            pid: OWN + pid,
            parent: OWN + parent,
            group: OWN + group,
            born: 7,
        });
        ProcessTable {
            living: living.collect(),
        }
    }

    fn leader(id: u64, pid: i32) -> Leader<'static> {
        Leader {
            id,
            pid: OWN + pid,
            ended: false,
            owns_number: true,
            mark: "",
            pipes: &[],
        }
    }

    #[test]
    fn an_orphan_stays_whose_it_was() {
        let mut lineage = Lineage::default();
        let leaders = [leader(1, 10), leader(2, 20)];
        // 12 left its group below 11, and below it is 13.
        let before = table(&[
            (10, 0, 10),
            (20, 0, 20),
            (11, 10, 10),
            (12, 11, 12),
            (13, 12, 12),
        ]);
        lineage.look(&before, OWN, &leaders);
        let after = table(&[
            (10, 0, 10),
            (20, 0, 20),
            (12, 0, 12),
            (13, 12, 12),
            (14, 13, 14),
        ]);
        lineage.look(&after, OWN, &leaders);
        for (nth, id) in [(0, 1), (1, 2), (2, 1), (3, 1), (4, 1)] {
            assert!(lineage.belongs(&after.living[nth], id), "{nth}");
            assert!(!lineage.belongs(&after.living[nth], 3 - id), "{nth}");
        }
        // The number again, for another process.
        let mut reborn = after.living[2];
        reborn.born = 8;
        assert!(!lineage.belongs(&reborn, 1));
    }

    #[test]
    fn a_stranger_ends_with_the_last_who_may_own_it() {
        let mut lineage = Lineage::default();
        let now = table(&[(10, 0, 10), (20, 0, 20), (30, 0, 30)]);
        lineage.look(&now, OWN, &[leader(1, 10), leader(2, 20)]);
        let stranger = &now.living[2];
        assert!(!lineage.belongs(stranger, 1) && !lineage.belongs(stranger, 2));
        lineage.forget(1);
        // One that starts later is none of its owners.
        lineage.look(&now, OWN, &[leader(2, 20), leader(3, 40)]);
        assert!(lineage.belongs(stranger, 2) && !lineage.belongs(stranger, 3));
    }
}
