//! The processor's time that a server with all its processes used within the last ten minutes.
//!
//! No limit of the kernel's counts that: `RLIMIT_CPU` is of one process, and begins anew with each. So what each process
//! used is read now and then, and what was added since the last look counts. It counts for the server and not for its
//! process, so that one that ends and is started again has no more than one that goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fs;
use std::time::Duration;

use super::process_table::ProcessTable;
use super::wire::{Over, Watch};

/// What is counted together.
const WINDOW: Duration = Duration::from_mins(10);
/// What is forgotten together: the window is this much shorter at times, and never longer.
const PIECE: Duration = Duration::from_secs(10);

/// What all watched servers used.
pub(super) struct Processor {
    /// Clock ticks of a second.
    hertz: u64,
    /// What was last seen, by child.
    seen: HashMap<u64, Seen>,
    /// By the server that it is a child of.
    spent: HashMap<u64, Spent>,
}

impl Processor {
    pub(super) fn new(hertz: u64) -> Self {
        Self {
            hertz,
            seen: HashMap::new(),
            spent: HashMap::new(),
        }
    }

    /// Takes in what a child's processes used until now, and says whether that was more than its server may. `now` is a
    /// time that only grows.
    pub(super) fn look(
        &mut self,
        id: u64,
        watch: &Watch,
        times: &[(Name, Times)],
        now: Duration,
    ) -> Option<Over> {
        let added = self.seen.entry(id).or_default().added(times);
        let spent = self.spent.entry(watch.server).or_default();
        spent.add(now, added);
        (spent.within(now) > watch.processor.saturating_mul(self.hertz))
            .then_some(Over::Processor(watch.processor))
    }

    /// The processes to look at: those of the child now, and those seen last, of which one that is dead is still there
    /// until its parent asks for it. Parents come before their children: what a child leaves to its parent between the
    /// two is then missed until the next look, and never counted twice.
    pub(super) fn names(&self, id: u64, members: &[i32], processes: &ProcessTable) -> Vec<Name> {
        let members: HashSet<i32> = members.iter().copied().collect();
        let living = processes.living.iter();
        let mut names: BTreeSet<Name> = living
            .filter(|process| members.contains(&process.pid))
            .map(|process| Name {
                born: process.born,
                pid: process.pid,
            })
            .collect();
        if let Some(seen) = self.seen.get(&id) {
            names.extend(seen.last.keys());
        }
        names.into_iter().collect()
    }

    /// Forgets children that are not among these, and servers that used nothing for a whole window.
    pub(super) fn keep(&mut self, children: &HashSet<u64>, now: Duration) {
        self.seen.retain(|id, _| children.contains(id));
        self.spent.retain(|_, spent| spent.within(now) > 0);
    }

    /// Whoever starts this server again gives it all its time again.
    pub(super) fn forgive(&mut self, watch: &Watch) {
        self.spent.remove(&watch.server);
    }
}

/// A process, for good. In the order of their births.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    born: u64,
    pid: i32,
}

/// Clock ticks that a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Itself, with all its threads.
    own: u64,
    /// Its children that ended and that it waited for, with theirs.
    children: u64,
}

impl Times {
    /// Of these, as far as they are still there.
    pub(super) fn of(names: &[Name]) -> Vec<(Name, Self)> {
        let read = |name: &Name| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", name.pid)).ok()?;
            Some((*name, Self::read(&stat, name.born)?))
        };
        names.iter().filter_map(read).collect()
    }

    fn read(stat: &str, born: u64) -> Option<Self> {
        // proc(5): `pid (comm) state …`; the 14th to the 17th field, and the 22nd.
        let fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let numbers: Vec<u64> = fields
            .skip(11)
            .take(9)
            .map_while(|field| field.parse().ok())
            .collect();
        let [user, system, children_user, children_system, .., is_born] = numbers[..] else {
            return None;
        };
        (is_born == born).then_some(Self {
            own: user.saturating_add(system),
            children: children_user.saturating_add(children_system),
        })
    }
}

/// What was last seen of a child's processes.
#[derive(Debug, Default)]
struct Seen {
    last: BTreeMap<Name, Times>,
    /// What processes used that are gone since the last look and whose parent did not have it yet.
    left: u64,
}

impl Seen {
    /// What they used since the last look.
    fn added(&mut self, times: &[(Name, Times)]) -> u64 {
        let now: BTreeMap<Name, Times> = times.iter().copied().collect();
        let (mut own, mut children) = (0_u64, 0_u64);
        for (name, times) in &now {
            let before = self.last.get(name).copied().unwrap_or_default();
            own = own.saturating_add(times.own.saturating_sub(before.own));
            children = children.saturating_add(times.children.saturating_sub(before.children));
        }
        let gone = self.last.iter().filter(|(name, _)| !now.contains_key(name));
        let gone = gone.fold(0_u64, |all, (_, times)| {
            all.saturating_add(times.own).saturating_add(times.children)
        });
        self.last = now;
        // What was counted of them already came to their parents, or does until the next look. Never later: nobody waited
        // for them then, and what others leave is not to be taken for theirs.
        let counted = self.left.saturating_add(gone);
        self.left = gone.min(counted.saturating_sub(children));
        own.saturating_add(children.saturating_sub(counted))
    }
}

/// Clock ticks in a window that slides by pieces.
#[derive(Debug, Default)]
struct Spent {
    /// The number of a piece since the time began, and what was used in it; no more than fit into a window.
    pieces: VecDeque<(u64, u64)>,
}

impl Spent {
    fn add(&mut self, now: Duration, ticks: u64) {
        let piece = now.as_secs() / PIECE.as_secs();
        match self.pieces.back_mut() {
            _ if ticks == 0 => {}
            Some((last, used)) if *last == piece => *used = used.saturating_add(ticks),
            _ => self.pieces.push_back((piece, ticks)),
        }
    }

    /// What was used in the pieces that lie wholly within the window which ends now.
    fn within(&mut self, now: Duration) -> u64 {
        let begin = now.checked_sub(WINDOW);
        let is_past = |piece: u64| {
            begin.is_some_and(|begin| Duration::from_secs(piece * PIECE.as_secs()) <= begin)
        };
        while self
            .pieces
            .front()
            .is_some_and(|(piece, _)| is_past(*piece))
        {
            self.pieces.pop_front();
        }
        let used = self.pieces.iter().map(|(_, used)| *used);
        used.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERTZ: u64 = 100;

    fn watch(server: u64, processor: u64) -> Watch {
        Watch {
            server,
            memory: u64::MAX,
            processes: u64::MAX,
            processor,
            is_keeper: false,
        }
    }

    /// Processes by number, with what each and its children used.
    fn times(of: &[(i32, u64, u64)]) -> Vec<(Name, Times)> {
        let one = |(pid, own, children): &(i32, u64, u64)| {
            let name = Name { born: 7, pid: *pid };
            let (own, children) = (*own, *children);
            (name, Times { own, children })
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn d10_what_a_process_used_counts_once_whoever_has_it_in_the_end() {
        // What is there at each look, and what was added since the last one.
        type Looks<'a> = &'a [(&'a [(i32, u64, u64)], u64)];
        let looks: [(&str, Looks<'_>); 7] = [
            (
                "one that goes on",
                &[(&[(1, 50, 0)], 50), (&[(1, 70, 0)], 20), (&[(1, 70, 0)], 0)],
            ),
            (
                "a child that was seen and waited for",
                &[
                    (&[(1, 5, 0), (2, 80, 0)], 85),
                    (&[(1, 6, 100)], 21),
                    (&[(1, 6, 100)], 0),
                ],
            ),
            (
                "a child that nobody saw",
                &[(&[(1, 5, 0)], 5), (&[(1, 5, 40)], 40)],
            ),
            (
                "a child that went between its parent and itself",
                &[
                    (&[(1, 5, 0), (2, 80, 0)], 85),
                    (&[(1, 5, 0)], 0),
                    (&[(1, 5, 90)], 10),
                ],
            ),
            (
                "a child's children",
                &[
                    (&[(1, 1, 0), (2, 2, 0), (3, 30, 0)], 33),
                    (&[(1, 1, 0), (2, 2, 35)], 5),
                    (&[(1, 1, 40)], 3),
                ],
            ),
            (
                "an orphan, whom nobody of them waits for",
                &[
                    (&[(1, 1, 0), (3, 30, 0)], 31),
                    (&[(1, 1, 0), (3, 60, 0)], 30),
                    (&[(1, 2, 0)], 1),
                ],
            ),
            (
                "what another leaves much later is not the orphan's",
                &[
                    (&[(1, 1, 0), (3, 60, 0)], 61),
                    (&[(1, 1, 0)], 0),
                    (&[(1, 1, 0)], 0),
                    (&[(1, 1, 50)], 50),
                ],
            ),
        ];
        for (what, looks) in looks {
            let mut seen = Seen::default();
            for (number, (there, expected)) in looks.iter().enumerate() {
                assert_eq!(seen.added(&times(there)), *expected, "{what}: {number}");
            }
        }
    }

    #[test]
    fn d10_a_number_that_is_given_again_is_another_process() {
        let mut seen = Seen::default();
        let of = |born, own| vec![(Name { born, pid: 2 }, Times { own, children: 0 })];
        assert_eq!(seen.added(&of(7, 80)), 80);
        assert_eq!(seen.added(&of(8, 30)), 30);
    }

    /// When it is looked, what was used since then, and whether that is more than 300 seconds in ten minutes.
    #[test]
    fn d10_who_uses_more_than_it_may_within_ten_minutes_is_over() {
        let half = |seconds: u64| seconds / 2;
        let steady: Vec<_> = (0..3600)
            .step_by(2)
            .map(|at| (at, half(2), false))
            .collect();
        let spins: Vec<_> = (1..=301).map(|at| (at, 1, at > 300)).collect();
        for (what, looks) in [
            ("half a core all the time", steady),
            ("a whole core", spins),
            ("at once", vec![(0, 300, false), (1, 1, true)]),
            (
                "in two bursts, far enough apart",
                vec![(5, 300, false), (600, 0, false), (610, 300, false)],
            ),
            (
                "in two bursts",
                vec![(5, 200, false), (595, 101, true), (611, 0, false)],
            ),
        ] {
            let (watch, mut processor) = (watch(1, 300), Processor::new(HERTZ));
            let mut used = 0;
            for (at, added, expected) in looks {
                used += added * HERTZ;
                let over =
                    processor.look(9, &watch, &times(&[(1, used, 0)]), Duration::from_secs(at));
                let expected = expected.then_some(Over::Processor(300));
                assert_eq!(over, expected, "{what}: at {at} s");
                let pieces = processor.spent[&1].pieces.len();
                assert!(pieces <= 60, "{what}: {pieces}");
            }
        }
    }

    #[test]
    fn d10_one_that_starts_anew_goes_on_with_what_it_used_until_somebody_forgives_it() {
        let (watch, mut processor) = (watch(1, 10), Processor::new(HERTZ));
        let second = Duration::from_secs;
        let used = |seconds| times(&[(1, seconds * HERTZ, 0)]);
        assert_eq!(processor.look(1, &watch, &used(9), second(0)), None);
        // The next child, and one of another server.
        processor.keep(&HashSet::from([2, 3]), second(2));
        let other = super::tests::watch(2, 10);
        assert_eq!(processor.look(3, &other, &used(9), second(2)), None);
        let over = Some(Over::Processor(10));
        assert_eq!(processor.look(2, &watch, &used(2), second(2)), over);
        processor.forgive(&watch);
        processor.keep(&HashSet::new(), second(3));
        assert_eq!(processor.look(4, &watch, &used(9), second(4)), None);
        // Nothing is kept of who is gone for long.
        processor.keep(&HashSet::new(), second(615));
        assert!(processor.seen.is_empty() && processor.spent.is_empty());
    }

    #[test]
    fn times_are_read_of_the_process_that_is_meant() {
        let stat = "7 (a) b (c) S 3 5 5 0 -1 0 0 0 0 0 11 22 33 44 20 0 1 0 4242 0 0";
        let expected = Times {
            own: 33,
            children: 77,
        };
        assert_eq!(Times::read(stat, 4242), Some(expected));
        assert_eq!(Times::read(stat, 4243), None);
        assert_eq!(Times::read("7 (garbage) S 1", 0), None);
    }

    /// A process that ended is looked at until its parent has asked for it, and its parent first.
    #[test]
    fn the_dead_are_read_and_parents_come_first() {
        use super::super::process_table::Process;
        let process = |pid, born| Process {
            pid,
            parent: 1,
            group: 1,
            born,
        };
        let mut processor = Processor::new(HERTZ);
        let dead = Name { born: 6, pid: 40 };
        let watch = watch(1, 10);
        processor.look(1, &watch, &[(dead, Times::default())], Duration::ZERO);
        let table = ProcessTable {
            living: vec![process(10, 9), process(20, 5), process(30, 7)],
        };
        let names = processor.names(1, &[10, 20], &table);
        let pids: Vec<_> = names.iter().map(|name| name.pid).collect();
        assert_eq!(pids, [20, 40, 10]);
    }
}
