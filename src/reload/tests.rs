//! The room on real files, with a registry that only writes down what it is told.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{BrokenWhy, Loaded, Reload, ReloadNotice, ReloadOptions, Runs};
use crate::config::{Document, Edit, FileKind, Files, Revision, ThreadConfig};
use crate::store::{HistoryEntry, Origin, Store, StoreError};
use crate::thread::ThreadId;

const THREAD: ThreadId = ThreadId::Telegram {
    chat: 5,
    topic: None,
};
const OTHER: ThreadId = ThreadId::Telegram {
    chat: 6,
    topic: None,
};
/// Longer than any test; what waits for it has failed.
const NEVER: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, PartialEq)]
enum Call {
    /// The commands that shall run.
    Apply(ThreadId, Vec<String>),
    Unload(ThreadId),
}

/// Writes down what it is told.
#[derive(Debug)]
struct Fake {
    calls: watch::Sender<Vec<Call>>,
    revisions: Mutex<Vec<Revision>>,
    /// A thread whose calls wait for a permit.
    slow: Mutex<Option<ThreadId>>,
    gate: Semaphore,
}

#[async_trait]
impl Runs for Fake {
    async fn apply(&self, thread: ThreadId, config: Arc<ThreadConfig>, revision: Revision) {
        let is_slow = *self.slow.lock().unwrap() == Some(thread);
        if is_slow {
            self.gate.acquire().await.unwrap().forget();
        }
        let commands = config
            .local
            .iter()
            .map(|(_, server)| server.command.clone())
            .collect();
        self.revisions.lock().unwrap().push(revision);
        self.calls
            .send_modify(|calls| calls.push(Call::Apply(thread, commands)));
    }

    async fn judge_again(&self, _: Arc<crate::policy::HostPolicy>) {}

    async fn unload(&self, thread: ThreadId) {
        self.calls
            .send_modify(|calls| calls.push(Call::Unload(thread)));
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    folder: PathBuf,
    store: Store,
    fake: Arc<Fake>,
    reload: Reload,
    notices: mpsc::Receiver<ReloadNotice>,
}

impl Scene {
    fn new() -> Self {
        Self::with(ReloadOptions::default())
    }

    fn with(options: ReloadOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self::over(dir, store, options)
    }

    fn over(dir: tempfile::TempDir, store: Store, options: ReloadOptions) -> Self {
        let fake = Arc::new(Fake {
            calls: watch::Sender::default(),
            revisions: Mutex::default(),
            slow: Mutex::default(),
            gate: Semaphore::new(0),
        });
        let runs = Arc::clone(&fake);
        let (reload, notices) = Reload::start_with(store.clone(), runs, options).unwrap();
        Self {
            folder: dir.path().join("users/tg5"),
            _dir: dir,
            store,
            fake,
            reload,
            notices,
        }
    }

    async fn touch(&self) -> Loaded {
        let touched = tokio::time::timeout(NEVER, self.reload.touch(THREAD)).await;
        touched.expect("touch hangs").unwrap()
    }

    async fn notice(&mut self) -> ReloadNotice {
        let next = tokio::time::timeout(NEVER, self.notices.recv()).await;
        next.expect("there is no notice").unwrap()
    }

    async fn changed(&mut self) -> (Loaded, Option<Arc<Files>>) {
        match self.notice().await {
            ReloadNotice::Changed { now, before, .. } => (now, before),
            ReloadNotice::Broken { now, .. } => panic!("{:?}", now.broken),
        }
    }

    async fn broken(&mut self) -> Loaded {
        match self.notice().await {
            ReloadNotice::Broken { now, .. } => now,
            ReloadNotice::Changed { now, .. } => panic!("{:?} was taken up", now.files),
        }
    }

    /// Waits until the registry was told this last.
    async fn runs(&self, commands: &[&str]) {
        let wanted = Call::Apply(THREAD, commands.iter().map(ToString::to_string).collect());
        let mut calls = self.fake.calls.subscribe();
        let found = calls.wait_for(|calls| calls.last() == Some(&wanted));
        let found = tokio::time::timeout(NEVER, found).await.is_ok();
        assert!(found, "{:?} and not {wanted:?}", self.calls());
    }

    fn calls(&self) -> Vec<Call> {
        self.fake.calls.borrow().clone()
    }

    fn applied(&self) -> usize {
        self.calls()
            .iter()
            .filter(|call| matches!(call, Call::Apply(..)))
            .count()
    }

    /// Replaces a file as the host's editors do.
    fn put(&self, name: &str, text: &str) {
        let temporary = self.folder.join("put.new");
        fs::File::create(&temporary)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        fs::rename(temporary, self.folder.join(name)).unwrap();
    }

    fn put_in_place(&self, text: &str) {
        let file = fs::File::create(self.folder.join("mcp.json"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn commit(&self, command: &str) -> Revision {
        let base = self.store.load(THREAD).unwrap().0.revision();
        self.store
            .commit(THREAD, base, &files(command), entry())
            .unwrap()
    }
}

fn text(command: &str) -> String {
    json!({"mcpServers": {"s": {"type": "stdio", "command": command}}}).to_string()
}

fn files(command: &str) -> Files {
    Files {
        local: Document::parse(text(command).as_bytes()).unwrap(),
        remote: Document::default(),
    }
}

fn entry() -> HistoryEntry {
    HistoryEntry {
        id: "a".to_owned(),
        at_ms: 0,
        origin: Origin::Host,
        title: String::new(),
        edit: Edit::default(),
        inverse: Edit::default(),
        diff: String::new(),
        undoes: None,
    }
}

fn second_look(second_look: Duration) -> ReloadOptions {
    ReloadOptions {
        second_look,
        ..ReloadOptions::default()
    }
}

fn unwatched() -> ReloadOptions {
    ReloadOptions {
        watch_cap: 0,
        ..ReloadOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_loaded_once_and_a_hand_edit_takes_effect() {
    let mut scene = Scene::new();
    scene.touch().await;
    let (first, before) = scene.changed().await;
    assert!(before.is_none() && first.broken.is_none());
    for _ in 0..10 {
        assert_eq!(scene.touch().await.revision, first.revision);
    }
    assert_eq!(scene.calls(), [Call::Apply(THREAD, vec![])]);

    scene.put("mcp.json", &text("one"));
    let (now, before) = scene.changed().await;
    assert_eq!(before, Some(first.files));
    assert_eq!(*now.files, files("one"));
    scene.runs(&["one"]).await;
    scene.put_in_place(&text("two"));
    scene.runs(&["two"]).await;
    let (_, before) = scene.changed().await;
    assert_eq!(*before.unwrap(), files("one"));
    fs::remove_file(scene.folder.join("mcp.json")).unwrap();
    scene.runs(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_arrives_with_its_revision() {
    let mut scene = Scene::new();
    scene.touch().await;
    scene.changed().await;
    for command in ["one", "two", "three"] {
        let revision = scene.commit(command);
        assert_eq!(scene.changed().await.0.revision, revision);
        assert_eq!(scene.fake.revisions.lock().unwrap().last(), Some(&revision));
        assert_eq!(scene.touch().await.revision, revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_what_runs_and_is_told_once() {
    let mut scene = Scene::with(second_look(Duration::ZERO));
    scene.touch().await;
    scene.changed().await;
    scene.put("mcp.json", &text("one"));
    scene.changed().await;
    scene.put("mcp.json", "{\"mcpServers\": ");
    let now = scene.broken().await;
    let broken = now.broken.clone().unwrap();
    assert_eq!(broken.file, Some(FileKind::Local));
    assert!(matches!(broken.why, BrokenWhy::Config(_)));
    assert_eq!(*now.files, files("one"));
    assert_eq!(scene.touch().await.broken, Some(broken));
    // The same text again is no news; the old one again is.
    scene.put("mcp.json", "{\"mcpServers\": ");
    scene.put("mcp.json", &text("one"));
    let (now, _) = scene.changed().await;
    assert!(now.broken.is_none());
    scene.runs(&["one"]).await;

    fs::remove_file(scene.folder.join("mcp.json")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", scene.folder.join("mcp_remote.json")).unwrap();
    let broken = loop {
        match scene.notice().await {
            ReloadNotice::Broken { now, .. } => break now.broken.unwrap(),
            ReloadNotice::Changed { .. } => {}
        }
    };
    assert_eq!(broken.file, Some(FileKind::Remote));
    assert!(matches!(broken.why, BrokenWhy::Unreadable(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_under_way_is_not_called_broken() {
    let mut scene = Scene::with(second_look(NEVER));
    scene.touch().await;
    scene.changed().await;
    scene.put("mcp.json", &text("one"));
    scene.changed().await;
    // Half a text, an empty file, and no file: each is waited out until the next write.
    let halves: [fn(&Scene); 3] = [
        |scene| scene.put_in_place("{\"mcpServers\""),
        |scene| scene.put_in_place(""),
        |scene| fs::remove_file(scene.folder.join("mcp.json")).unwrap(),
    ];
    for (nth, half) in halves.into_iter().enumerate() {
        half(&scene);
        let command = format!("after{nth}");
        scene.put("mcp.json", &text(&command));
        let (now, _) = scene.changed().await;
        assert_eq!(*now.files, files(&command));
    }
    let told = scene.calls();
    let emptied = told
        .iter()
        .skip(1)
        .any(|call| *call == Call::Apply(THREAD, vec![]));
    assert!(!emptied, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_at_the_first_load_the_last_good_one_runs() {
    for has_last_good in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.thread_folder(THREAD).unwrap();
        if has_last_good {
            store.save_last_good(THREAD, &files("good")).unwrap();
        }
        let mut scene = Scene::over(dir, store, ReloadOptions::default());
        scene.put_in_place("]");
        let loaded = scene.touch().await;
        assert!(loaded.broken.is_some());
        assert!(scene.broken().await.broken.is_some());
        let expected: &[&str] = if has_last_good { &["good"] } else { &[] };
        scene.runs(expected).await;
        assert_eq!(loaded.config.local.len(), expected.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_writes_are_a_handful_of_reloads_and_end_in_the_last() {
    let scene = Scene::new();
    scene.touch().await;
    let begun = std::time::Instant::now();
    for nth in 0..1000 {
        scene.put("mcp.json", &text(&format!("c{nth}")));
    }
    // On a machine that is so slow that writes are no burst, each of them may count: three in the shortest wait.
    let slow = 3 * usize::try_from(begun.elapsed().as_millis() / 5).unwrap();
    scene.runs(&["c999"]).await;
    assert!(scene.applied() <= 12 + slow, "{} reloads", scene.applied());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_again_is_nothing() {
    let mut scene = Scene::new();
    scene.touch().await;
    scene.changed().await;
    for _ in 0..5 {
        scene.put("mcp.json", &text("one"));
        scene.touch().await;
    }
    scene.changed().await;
    scene.put("mcp.json", &text("two"));
    let (now, _) = scene.changed().await;
    assert_eq!(*now.files, files("two"));
    assert_eq!(scene.applied(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_thread_holds_up_no_other() {
    let scene = Scene::new();
    *scene.fake.slow.lock().unwrap() = Some(THREAD);
    let slow = tokio::spawn({
        let reload = scene.reload.clone();
        async move { reload.touch(THREAD).await }
    });
    for chat in 10..20 {
        scene
            .reload
            .touch(ThreadId::telegram(chat, None))
            .await
            .unwrap();
    }
    assert!(!slow.is_finished());
    scene.fake.gate.add_permits(1);
    slow.await.unwrap().unwrap();
    scene.runs(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_that_takes_no_notice_hangs_nobody() {
    let scene = Scene::new();
    for chat in 0..100 {
        let thread = ThreadId::telegram(chat, None);
        tokio::time::timeout(NEVER, scene.reload.touch(thread))
            .await
            .unwrap()
            .unwrap();
    }
    scene.touch().await;
    scene.commit("one");
    scene.runs(&["one"]).await;
    tokio::time::timeout(NEVER, scene.reload.shutdown())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_watch_each_touch_looks() {
    let mut scene = Scene::with(unwatched());
    scene.touch().await;
    scene.changed().await;
    for nth in 0..20 {
        // Texts of one length, written within a tick of the clock.
        let command = format!("c{nth:02}");
        scene.put_in_place(&text(&command));
        assert_eq!(*scene.touch().await.files, files(&command));
        scene.touch().await;
    }
    assert_eq!(scene.applied(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_process_wrote_is_seen_before_it_is_reported() {
    let scene = Scene::new();
    scene.touch().await;
    for nth in 0..50 {
        let command = format!("c{nth}");
        let revision = scene.commit(&command);
        scene.reload.expect(THREAD);
        assert_eq!(scene.touch().await.revision, revision);
    }
    // The reports that came late change nothing.
    scene.runs(&["c49"]).await;
    assert_eq!(scene.applied(), 51);
}

#[tokio::test(start_paused = true)]
async fn an_unused_thread_is_let_go_and_loaded_again() {
    let scene = Scene::new();
    scene.touch().await;
    scene.reload.touch(OTHER).await.unwrap();
    tokio::time::sleep(Duration::from_mins(40)).await;
    scene.touch().await;
    tokio::time::sleep(Duration::from_mins(40)).await;
    let unloaded = |scene: &Scene| -> Vec<Call> {
        let is_unload = |call: &Call| matches!(call, Call::Unload(_));
        scene.calls().into_iter().filter(is_unload).collect()
    };
    assert_eq!(unloaded(&scene), [Call::Unload(OTHER)]);
    tokio::time::sleep(Duration::from_mins(40)).await;
    assert_eq!(
        unloaded(&scene),
        [Call::Unload(OTHER), Call::Unload(THREAD)]
    );
    assert!(scene.reload.shared.threads().slots.is_empty());
    assert!(!scene.reload.shared.watch.holds(THREAD));
    scene.touch().await;
    assert_eq!(scene.calls().last(), Some(&Call::Apply(THREAD, vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_while_a_thread_was_not_loaded_is_told_with_what_ran_before() {
    let mut scene = Scene::new();
    scene.touch().await;
    scene.changed().await;
    scene.commit("one");
    scene.changed().await;
    scene.reload.release(THREAD).await;
    assert_eq!(scene.calls().last(), Some(&Call::Unload(THREAD)));
    scene.put("mcp.json", &text("two"));
    scene.touch().await;
    let (now, before) = scene.changed().await;
    assert_eq!(
        (&*now.files, &*before.unwrap()),
        (&files("two"), &files("one"))
    );

    // What the bot wrote meanwhile is in the history, and is no news.
    scene.reload.release(THREAD).await;
    scene.commit("three");
    scene.touch().await;
    assert!(scene.changed().await.1.is_none());
    scene.reload.release(OTHER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_away_stops_its_servers_and_may_come_back() {
    let scene = Scene::new();
    scene.touch().await;
    scene.put("mcp.json", &text("one"));
    scene.runs(&["one"]).await;
    fs::rename(&scene.folder, scene.folder.with_extension("9")).unwrap();
    scene.runs(&[]).await;
    assert!(!scene.folder.exists());
    fs::rename(scene.folder.with_extension("9"), &scene.folder).unwrap();
    scene.touch().await;
    scene.runs(&["one"]).await;
    // It is watched again.
    scene.put("mcp.json", &text("two"));
    scene.runs(&["two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_a_symlink_is_an_error_and_leaves_nothing_behind() {
    let scene = Scene::new();
    std::os::unix::fs::symlink("/etc", &scene.folder).unwrap();
    let refused = scene.reload.touch(THREAD).await;
    assert!(
        matches!(refused, Err(StoreError::NotOrdinary(_))),
        "{refused:?}"
    );
    assert!(scene.calls().is_empty());
    fs::remove_file(&scene.folder).unwrap();
    scene.touch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_nothing_is_loaded() {
    let scene = Scene::new();
    scene.touch().await;
    tokio::time::timeout(NEVER, scene.reload.shutdown())
        .await
        .unwrap();
    assert!(scene.reload.touch(THREAD).await.is_err());
    assert!(scene.reload.touch(OTHER).await.is_err());
    assert_eq!(scene.applied(), 1);
    scene.reload.release(THREAD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn touches_and_releases_at_once_end_well() {
    let scene = Scene::new();
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..200 {
        let reload = scene.reload.clone();
        tasks.spawn(async move {
            if nth % 3 == 0 {
                reload.release(THREAD).await;
            } else {
                reload.touch(THREAD).await.unwrap();
            }
        });
    }
    tokio::time::timeout(NEVER, tasks.join_all()).await.unwrap();
    scene.touch().await;
    scene.put("mcp.json", &text("last"));
    scene.runs(&["last"]).await;
}
