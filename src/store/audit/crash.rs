//! Processes that die: children that note without end, killed at random moments.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Verdict;
use super::tests::{entry, ledger};
use crate::audit::{Audit, What};
use crate::store::Store;
use crate::store::tests::THREAD;

/// Names the data folder and makes this test binary the child.
const FOLDER: &str = "SWITCHBOARD_TEST_AUDIT_CRASH_FOLDER";
/// Kills of one writer, and of two that take turns (each round kills both).
const ALONE: u32 = 250;
const TOGETHER: u32 = 60;

/// The child of the tests below: nothing unless it was started by one. Every third line is durable, and acknowledged.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let ledger = ledger(&store);
    let me = std::process::id();
    for nth in 0_u64.. {
        // Long and short ones, so that files are rotated now and then.
        let title = format!(
            "{me} {nth} {}",
            "x".repeat(usize::try_from(nth % 7).unwrap() * 300)
        );
        if nth % 3 == 0 {
            ledger.note_durably(THREAD, entry(&title)).unwrap();
        } else {
            ledger.note(THREAD, entry(&title));
            ledger.is_open(THREAD).unwrap();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {nth}").unwrap();
        out.flush().unwrap();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test that needs a process to kill"
)]
fn child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::audit::crash::writer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Starts children, kills them at a random moment after the first line, and returns who they were and what each had
/// acknowledged last.
fn killed(folder: &Path, count: usize) -> Vec<(u32, u64)> {
    let acknowledged =
        |line: &str| -> Option<u64> { line.split_once("acknowledged ")?.1.trim().parse().ok() };
    let mut children: Vec<_> = (0..count).map(|_| child(folder)).collect();
    let mut said: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            lines.map_while(Result::ok)
        })
        .collect();
    let first: Vec<_> = said
        .iter_mut()
        .map(|lines| lines.find_map(|line| acknowledged(&line)))
        .collect();
    // Not a wait for anything: the kill comes somewhere in the work.
    std::thread::sleep(Duration::from_micros(getrandom::u64().unwrap() % 3000));
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = said.into_iter().zip(first).map(|(lines, first)| {
        let last = lines.filter_map(|line| acknowledged(&line)).last();
        last.or(first).expect("the writer did not write")
    });
    let ids = children.iter().map(Child::id);
    ids.zip(last).collect()
}

/// What this process noted, in the order of the audit.
fn noted(store: &Store, process: u32) -> Vec<u64> {
    let lines = store.audit(THREAD, 100_000, None).unwrap();
    let title = |what: What| match what {
        What::Changed { title, .. } => Some(title),
        What::Mended { .. } => None,
        other => panic!("{other:?}"),
    };
    lines
        .into_iter()
        .filter_map(|line| title(line.entry.what))
        .filter_map(|title| {
            let (id, rest) = title.split_once(' ').unwrap();
            let (nth, _) = rest.split_once(' ').unwrap();
            (id.parse() == Ok(process)).then(|| nth.parse().unwrap())
        })
        .collect()
}

fn survives(rounds: u32, children: usize) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let dead = killed(dir.path(), children);
        let store = Store::open(dir.path()).unwrap();
        let verdict = store.verify_audit(THREAD).unwrap();
        assert!(
            matches!(verdict, Verdict::Whole { .. }),
            "round {round}: {verdict:?}"
        );
        for (process, last) in dead {
            let there = noted(&store, process);
            // The oldest files may have been dropped; from where it begins nothing is missing.
            let first = there[0];
            let expected: Vec<u64> = (first..first + there.len() as u64).collect();
            assert_eq!(there, expected, "round {round}");
            let newest = *there.last().unwrap();
            assert!(
                newest == last || newest == last + 1,
                "round {round}: {last}, {newest}"
            );
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_torn_by_a_kill() {
    survives(ALONE, 1);
}

#[test]
fn nor_where_two_processes_take_turns() {
    survives(TOGETHER, 2);
}
