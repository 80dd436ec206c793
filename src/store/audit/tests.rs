//! The promises of the audit, on a real folder and with a disk that refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Flaw, Ledger, Verdict};
use crate::actor::{Actor, ActorId};
use crate::audit::{Audit, Entry, What};
use crate::store::atomic::Step;
use crate::store::tests::{Scene, THREAD};
use crate::store::{RenameOutcome, Store};
use crate::thread::ThreadId;

pub(super) fn entry(title: &str) -> Entry {
    let ann = Actor {
        id: ActorId("tg:1".to_owned()),
        name: "Ann".to_owned(),
    };
    Entry::by(
        &ann,
        What::Changed {
            title: title.to_owned(),
            servers: vec!["demo".to_owned()],
            history: None,
        },
    )
}

pub(super) fn ledger(store: &Store) -> Ledger {
    let now = AtomicI64::new(0);
    store.ledger(Arc::new(move || now.fetch_add(1, Ordering::Relaxed)))
}

fn told(store: &Store, thread: ThreadId) -> Vec<String> {
    let lines = store.audit(thread, 1_000_000, None).unwrap();
    lines
        .into_iter()
        .map(|noted| match noted.entry.what {
            What::Changed { title, .. } => title,
            What::Mended { told } => format!("mended: {told}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn file(scene: &Scene) -> PathBuf {
    scene.path("state/tg5/audit.jsonl")
}

/// An audit of that many lines, all of them on the disk.
fn of_lines(count: usize) -> Scene {
    let scene = Scene::new();
    let ledger = ledger(&scene.store);
    for n in 1..=count {
        ledger.note_durably(THREAD, entry(&n.to_string())).unwrap();
    }
    scene
}

fn is_whole(store: &Store, lines: u64) {
    let last = lines;
    assert_eq!(
        store.verify_audit(THREAD).unwrap(),
        Verdict::Whole { lines, last }
    );
}

#[test]
fn d36_every_line_is_there_in_order_for_the_owner_alone() {
    let scene = of_lines(5);
    assert_eq!(told(&scene.store, THREAD), ["1", "2", "3", "4", "5"]);
    is_whole(&scene.store, 5);
    for name in ["audit.jsonl", "audit.head", "audit.lock"] {
        let mode = fs::metadata(scene.path("state/tg5").join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let other = scene.store.verify_audit(ThreadId::Local).unwrap();
    assert_eq!(other, Verdict::Nothing);
    assert_eq!(scene.store.audited_threads().unwrap(), [THREAD]);
}

#[test]
fn d36_an_edited_removed_inserted_moved_or_cut_line_fails_verification() {
    type Deed = fn(&mut Vec<String>);
    let deeds: [(&str, Deed, u64, Flaw); 9] = [
        (
            "edited",
            |lines| lines[2] = lines[2].replace("\"3\"", "\"x\""),
            3,
            Flaw::Edited,
        ),
        (
            "made nonsense",
            |lines| lines[2] = "{".to_owned(),
            3,
            Flaw::Edited,
        ),
        ("emptied", |lines| lines[2].clear(), 3, Flaw::Edited),
        (
            "the first removed",
            |lines| drop(lines.remove(0)),
            1,
            Flaw::Removed,
        ),
        ("removed", |lines| drop(lines.remove(2)), 3, Flaw::Removed),
        (
            "inserted",
            |lines| lines.insert(2, lines[0].clone()),
            3,
            Flaw::Moved,
        ),
        ("moved", |lines| lines.swap(2, 3), 3, Flaw::Removed),
        ("cut", |lines| lines.truncate(4), 5, Flaw::Cut),
        ("all cut", |lines| lines.clear(), 1, Flaw::Cut),
    ];
    for (name, deed, n, flaw) in deeds {
        let scene = of_lines(6);
        let text = fs::read_to_string(file(&scene)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        deed(&mut lines);
        let lines: String = lines.into_iter().map(|line| line + "\n").collect();
        write(&file(&scene), lines.as_bytes());
        let broken = Verdict::Broken { n, flaw };
        assert_eq!(scene.store.verify_audit(THREAD).unwrap(), broken, "{name}");
        // What comes later does not hide it, whoever writes it.
        let later = Store::open(scene.dir.path()).unwrap();
        ledger(&later).note_durably(THREAD, entry("later")).unwrap();
        let Verdict::Broken { n: still, .. } = later.verify_audit(THREAD).unwrap() else {
            panic!("{name} is hidden");
        };
        assert_eq!(still, n, "{name}");
    }
}

#[test]
fn d36_a_chain_that_was_written_anew_does_not_fit_its_head_record() {
    let scene = of_lines(4);
    let other = Scene::new();
    for title in ["1", "2", "another", "4"] {
        let ledger = ledger(&other.store);
        ledger.note_durably(THREAD, entry(title)).unwrap();
    }
    fs::copy(file(&other), file(&scene)).unwrap();
    let broken = Verdict::Broken {
        n: 4,
        flaw: Flaw::Moved,
    };
    assert_eq!(scene.store.verify_audit(THREAD).unwrap(), broken);
    fs::remove_file(scene.path("state/tg5/audit.head")).unwrap();
    let broken = Verdict::Broken {
        n: 1,
        flaw: Flaw::NoHead,
    };
    assert_eq!(scene.store.verify_audit(THREAD).unwrap(), broken);
}

#[test]
fn a_torn_line_is_set_aside_and_told() {
    let scene = of_lines(3);
    let mut text = fs::read(file(&scene)).unwrap();
    text.extend_from_slice(b"{\"n\":4,\"at_ms\":12,\"what\":\"chan");
    write(&file(&scene), &text);
    // Nothing is wrong with what is whole.
    is_whole(&scene.store, 3);
    let again = Store::open(scene.dir.path()).unwrap();
    ledger(&again).note(THREAD, entry("4"));
    is_whole(&again, 5);
    let lines = told(&again, THREAD);
    assert!(
        lines[3].starts_with("mended: 30 bytes of a line") && lines[4] == "4",
        "{lines:?}"
    );
    let torn = fs::read_to_string(scene.path("state/tg5/audit.torn")).unwrap();
    assert_eq!(torn, "{\"n\":4,\"at_ms\":12,\"what\":\"chan\n");
}

#[test]
fn processes_take_turns() {
    let scene = Scene::new();
    let stores: Vec<Store> = (0..4)
        .map(|_| Store::open(scene.dir.path()).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for (nth, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                let ledger = ledger(store);
                for n in 0..100 {
                    let entry = entry(&format!("{nth}.{n}"));
                    if n % 20 == 0 {
                        ledger.note_durably(THREAD, entry).unwrap();
                    } else {
                        ledger.note(THREAD, entry);
                    }
                }
            });
        }
    });
    is_whole(&scene.store, 400);
    let lines = told(&scene.store, THREAD);
    for nth in 0..4 {
        let prefix = format!("{nth}.");
        let own: Vec<_> = lines
            .iter()
            .filter_map(|l| l.strip_prefix(&prefix))
            .collect();
        let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn the_chain_goes_on_over_files_and_the_oldest_is_dropped() {
    let scene = Scene::new();
    let ledger = ledger(&scene.store);
    let long = "x".repeat(1000);
    let count: u64 = 11 * 60;
    for n in 0..count {
        ledger.note(THREAD, entry(&format!("{n}{long}")));
    }
    ledger.note_durably(THREAD, entry("the end")).unwrap();
    let mut names: Vec<String> = fs::read_dir(scene.path("state/tg5"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            std::path::Path::new(name)
                .extension()
                .is_some_and(|end| end == "jsonl")
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 9, "{names:?}");
    for name in &names {
        let bytes = fs::metadata(scene.path("state/tg5").join(name))
            .unwrap()
            .len();
        assert!(bytes <= super::newest::FILE_BYTES, "{name}");
    }
    let Verdict::Whole { lines, last } = scene.store.verify_audit(THREAD).unwrap() else {
        panic!("{:?}", scene.store.verify_audit(THREAD));
    };
    assert_eq!(last, count + 1);
    assert!(lines < last && lines > 8 * 45, "{lines}");
    // The newest are found over the files.
    let newest = scene.store.audit(THREAD, 200, Some("demo")).unwrap();
    let numbers: Vec<u64> = newest.iter().map(|noted| noted.n).collect();
    let expected: Vec<u64> = (last - 199..=last).collect();
    assert_eq!(numbers, expected);
    assert_eq!(scene.store.audit(THREAD, 5, Some("other")).unwrap(), []);
    // A file that is taken away is missed, the oldest and one in the middle.
    for name in ["audit.8.jsonl", "audit.3.jsonl"] {
        let (path, away) = (scene.path("state/tg5").join(name), scene.path("away"));
        fs::rename(&path, &away).unwrap();
        let verdict = scene.store.verify_audit(THREAD).unwrap();
        assert!(
            matches!(
                verdict,
                Verdict::Broken {
                    flaw: Flaw::Removed,
                    ..
                }
            ),
            "{name}: {verdict:?}"
        );
        fs::rename(&away, &path).unwrap();
    }
}

#[test]
fn d36_a_disk_that_refuses_closes_the_audit_until_it_takes_a_line_again() {
    for step in [Step::Append, Step::Sync, Step::Write, Step::Reserve] {
        let scene = of_lines(2);
        let (ledger, disk) = (ledger(&scene.store), &scene.store.root.disk);
        assert_eq!(ledger.is_open(THREAD), Ok(()), "{step:?}");
        disk.refuse(step, 0);
        let refused = ledger.note_durably(THREAD, entry("3"));
        assert_eq!(refused.is_err(), step != Step::Reserve, "{step:?}");
        for _ in 0..3 {
            let closed = ledger.is_open(THREAD).unwrap_err();
            assert!(closed.0.contains("No space left"), "{step:?}: {closed}");
        }
        // What happens all the same (a server is removed) is kept for later, as far as there is room for it.
        for n in 0..100 {
            ledger.note(THREAD, entry(&format!("meanwhile {n}")));
        }
        disk.mend();
        assert_eq!(ledger.is_open(THREAD), Ok(()), "{step:?}");
        ledger.note_durably(THREAD, entry("after")).unwrap();
        let lines = told(&scene.store, THREAD);
        is_whole(&scene.store, lines.len() as u64);
        assert_eq!(lines.last().unwrap(), "after");
        assert!(lines.iter().any(|line| line == "meanwhile 40"), "{step:?}");
        let mended = lines.iter().find(|line| line.starts_with("mended"));
        let mended = mended.unwrap_or_else(|| panic!("{step:?}: {lines:?}"));
        assert!(mended.contains("more are lost"), "{step:?}: {mended}");
        // And whoever opens it anew finds the same.
        is_whole(&Store::open(scene.dir.path()).unwrap(), lines.len() as u64);
    }
}

#[test]
fn a_rotation_that_is_refused_anywhere_loses_nothing() {
    for step in [
        Step::Rename,
        Step::Create,
        Step::SyncFolder,
        Step::Sync,
        Step::Write,
    ] {
        for after in 0..3 {
            let scene = Scene::new();
            let ledger = ledger(&scene.store);
            let long = "x".repeat(1000);
            let mut noted = 0;
            for n in 0..3 * 60 {
                if n == 90 {
                    scene.store.root.disk.refuse(step, after);
                }
                if ledger.is_open(THREAD).is_ok() {
                    ledger.note(THREAD, entry(&format!("{n}{long}")));
                    noted += 1;
                }
            }
            scene.store.root.disk.mend();
            ledger.note_durably(THREAD, entry("the end")).unwrap();
            let lines = told(&scene.store, THREAD);
            let mended = lines
                .iter()
                .filter(|line| line.starts_with("mended"))
                .count();
            assert_eq!(lines.len(), noted + mended + 1, "{step:?} {after}");
            is_whole(&scene.store, lines.len() as u64);
        }
    }
}

#[test]
fn a_thread_that_gets_another_id_keeps_its_audit() {
    let scene = of_lines(3);
    let to = ThreadId::telegram(-100, None);
    let ledger = ledger(&scene.store);
    ledger.note_durably(to, entry("before")).unwrap();
    ledger.note(THREAD, entry("4"));
    fs::create_dir_all(scene.path("users/tg5")).unwrap();
    assert_eq!(
        scene.store.rename_thread(THREAD, to).unwrap(),
        RenameOutcome::Moved
    );
    scene.store.remember_alias(THREAD, to).unwrap();
    ledger.note(THREAD, entry("5"));
    ledger.note(to, entry("6"));
    assert_eq!(told(&scene.store, to), ["1", "2", "3", "4", "5", "6"]);
    let verdict = scene.store.verify_audit(to).unwrap();
    assert!(matches!(verdict, Verdict::Whole { lines: 6, .. }));
    assert!(!scene.path("state/tg5").exists());
    let before = fs::read_to_string(scene.path("state/tg-100/audit-before.jsonl")).unwrap();
    assert!(before.contains("\"title\":\"before\""), "{before}");
}

#[test]
fn many_threads_leave_few_files_open() {
    let scene = Scene::new();
    let ledger = ledger(&scene.store);
    for id in 1..=300 {
        ledger.note(ThreadId::telegram(id, None), entry("x"));
    }
    let books = &scene.store.root.books;
    books.sync(&scene.store.root.disk);
    books.forget_idle();
    assert!(super::locked(&books.open).len() <= super::OPEN_BOOKS);
    for id in 1..=300 {
        let thread = ThreadId::telegram(id, None);
        ledger.note(thread, entry("y"));
        assert_eq!(told(&scene.store, thread), ["x", "y"]);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test plays somebody on the host"
)]
fn write(path: &std::path::Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
