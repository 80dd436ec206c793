//! notify on the folders of loaded threads and on the operator's: tells whose files were written, and reads nothing.
//!
//! Watches folders, not files (a rename replaces a file's inode). "Moved to" and "closed after write" both mean a
//! finished write, so there is no wait. Overflow of the queue reports every watched folder. A folder that is deleted or
//! moved away is reported too, and is not watched any more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::config::{FileKind, POLICY_FILE};
use crate::thread::ThreadId;

/// The one watcher of the process.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    /// `None` once stopped. Never taken while `Shared::state` is held: the watcher's own thread needs that one while it
    /// answers.
    watcher: Mutex<Option<RecommendedWatcher>>,
    cap: usize,
}

/// Whose folder is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Watched {
    /// A thread's.
    Thread(ThreadId),
    /// The operator's.
    Admin,
}

impl From<ThreadId> for Watched {
    fn from(thread: ThreadId) -> Self {
        Self::Thread(thread)
    }
}

/// Those whose files were written, each once until it is taken.
#[derive(Debug)]
pub struct Written {
    shared: Arc<Shared>,
}

/// Why a folder is not watched; the thread is then checked at each message instead.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}")]
pub struct WatchError {
    /// The folder.
    pub path: String,
    /// Why.
    #[source]
    pub source: notify::Error,
}

#[derive(Debug, Default)]
struct Shared {
    /// A plain lock: held for a few look-ups by the watcher's thread and for one by the reader, never over a wait.
    state: Mutex<State>,
    /// Wakes the one reader.
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_folder: HashMap<PathBuf, Watched>,
    by_whose: HashMap<Watched, PathBuf>,
    /// Those whose folder is gone, or is another one now; the watcher may still hold the old one.
    lost: HashSet<Watched>,
    /// Written and not yet taken: in order, and each once.
    queue: VecDeque<Watched>,
    queued: HashSet<Watched>,
}

impl Watch {
    /// Starts the watcher; whose files were written comes through the receiver, coalesced while nobody takes it. `cap`
    /// bounds the number of threads' folders watched; the operator's has its place beside them.
    pub fn start(cap: usize) -> Result<(Self, Written), WatchError> {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| handler.handle(event))
            .map_err(|source| WatchError::new(Path::new("data/users"), source))?;
        let written = Written {
            shared: Arc::clone(&shared),
        };
        let watch = Self {
            shared,
            watcher: Mutex::new(Some(watcher)),
            cap,
        };
        Ok((watch, written))
    }

    /// Watches a folder; twice is once, and a folder that was lost is watched anew.
    pub fn add(&self, whose: impl Into<Watched>, folder: &Path) -> Result<(), WatchError> {
        let whose = whose.into();
        // Held throughout, so that two callers cannot undo each other's work.
        let mut watcher = lock(&self.watcher);
        let Some(watcher) = watcher.as_mut() else {
            return Err(WatchError::new(folder, notify::Error::generic("stopped")));
        };
        let before = {
            let mut state = self.shared.state();
            let known = state.by_whose.get(&whose).map(PathBuf::as_path);
            if known == Some(folder) && !state.lost.contains(&whose) {
                return Ok(());
            }
            let before = state.forget(whose);
            if whose != Watched::Admin && state.threads() >= self.cap {
                let full = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
                return Err(WatchError::new(folder, full));
            }
            state.by_folder.insert(folder.to_owned(), whose);
            state.by_whose.insert(whose, folder.to_owned());
            before
        };
        if let Some(before) = before {
            // It may be gone with its folder.
            let _ = watcher.unwatch(&before);
        }
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .map_err(|source| {
                self.shared.state().forget(whose);
                WatchError::new(folder, source)
            })
    }

    /// Whether the folder is watched and still where it was.
    pub fn holds(&self, whose: impl Into<Watched>) -> bool {
        let whose = whose.into();
        let state = self.shared.state();
        state.by_whose.contains_key(&whose) && !state.lost.contains(&whose)
    }

    /// Stops watching it.
    pub fn remove(&self, whose: impl Into<Watched>) {
        let whose = whose.into();
        let mut watcher = lock(&self.watcher);
        let folder = self.shared.state().forget(whose);
        if let (Some(watcher), Some(folder)) = (watcher.as_mut(), folder) {
            let _ = watcher.unwatch(&folder);
        }
    }

    /// Stops watching everything.
    pub fn stop(&self) {
        let watcher = lock(&self.watcher).take();
        drop(watcher);
    }
}

impl Written {
    /// The next whose files were written, or whose folder is gone. Safe to cancel.
    pub async fn recv(&mut self) -> Watched {
        loop {
            if let Some(whose) = self.shared.take() {
                return whose;
            }
            // A permit is kept for a wake-up between the look and the wait.
            self.shared.wake.notified().await;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn take(&self) -> Option<Watched> {
        let mut state = self.state();
        let whose = state.queue.pop_front()?;
        state.queued.remove(&whose);
        Some(whose)
    }

    /// Called on the watcher's thread for everything that happens in the folders, so it allocates nothing for events
    /// that mean nothing here (our own reads and temporary files).
    fn handle(&self, event: notify::Result<Event>) {
        let mut state = self.state();
        match event {
            Ok(event) if event.need_rescan() => state.report_all(),
            Ok(event) => {
                for path in &event.paths {
                    state.judge(event.kind, path);
                }
            }
            // The watcher lost something and does not say what.
            Err(error) => {
                tracing::warn!(%error, "The file watcher failed; every watched folder is looked at.");
                state.report_all();
            }
        }
        let is_any = !state.queue.is_empty();
        drop(state);
        if is_any {
            self.wake.notify_one();
        }
    }
}

impl State {
    fn threads(&self) -> usize {
        self.by_whose.len() - usize::from(self.by_whose.contains_key(&Watched::Admin))
    }

    fn judge(&mut self, kind: EventKind, path: &Path) {
        if let Some(whose) = self.by_folder.get(path).copied() {
            if is_loss(kind) {
                self.lost.insert(whose);
                self.report(whose);
            }
            return;
        }
        let ours = [
            FileKind::Local.file_name(),
            FileKind::Remote.file_name(),
            POLICY_FILE,
        ];
        let is_ours = path
            .file_name()
            .is_some_and(|name| ours.iter().any(|ours| name == *ours));
        if is_ours
            && is_change(kind)
            && let Some(whose) = path.parent().and_then(|folder| self.by_folder.get(folder))
        {
            self.report(*whose);
        }
    }

    fn report(&mut self, whose: Watched) {
        if self.queued.insert(whose) {
            self.queue.push_back(whose);
        }
    }

    fn report_all(&mut self) {
        let all: Vec<Watched> = self.by_whose.keys().copied().collect();
        for whose in all {
            self.report(whose);
        }
    }

    fn forget(&mut self, whose: Watched) -> Option<PathBuf> {
        self.lost.remove(&whose);
        let folder = self.by_whose.remove(&whose)?;
        self.by_folder.remove(&folder);
        Some(folder)
    }
}

/// A finished change of a file. A write under way is none: its end is told too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        // "Both" only says once more what "from" and "to" said.
        EventKind::Modify(ModifyKind::Name(half)) => half != RenameMode::Both,
        // Rights: a file that could not be read may be readable now.
        EventKind::Modify(other) => matches!(other, ModifyKind::Metadata(_)),
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Create(_) | EventKind::Remove(_) => true,
        EventKind::Any | EventKind::Other => false,
    }
}

/// The watched folder itself is gone.
fn is_loss(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    )
}

impl WatchError {
    fn new(path: &Path, source: notify::Error) -> Self {
        Self {
            path: path.display().to_string(),
            source,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    const ONE: ThreadId = ThreadId::Local;
    const END: ThreadId = ThreadId::Telegram {
        chat: 1,
        topic: None,
    };

    type Deed = fn(&Scene);

    struct Scene {
        dir: tempfile::TempDir,
        watch: Watch,
        written: Written,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (watch, written) = Watch::start(2).unwrap();
            for thread in [ONE, END] {
                let folder = dir.path().join(thread.to_string());
                fs::create_dir(&folder).unwrap();
                watch.add(thread, &folder).unwrap();
            }
            Self {
                dir,
                watch,
                written,
            }
        }

        fn folder(&self, thread: ThreadId) -> PathBuf {
            self.dir.path().join(thread.to_string())
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder(ONE).join(name)
        }

        /// The threads reported until now: what the system tells comes in order, so a write in the second folder ends
        /// what the first one has caused.
        async fn reported(&mut self) -> usize {
            put(&self.folder(END).join("mcp.json"), "{}");
            let mut count = 0;
            loop {
                let next = tokio::time::timeout(Duration::from_mins(5), self.written.recv());
                match next.await.expect("the watcher is deaf") {
                    Watched::Thread(END) => return count,
                    _ => count += 1,
                }
            }
        }
    }

    fn put(path: &Path, text: &str) {
        let temporary = path.with_extension("new");
        fs::File::create(&temporary)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        fs::rename(temporary, path).unwrap();
    }

    #[tokio::test]
    async fn what_changes_a_configuration_is_told_and_nothing_else() {
        let deeds: [(&str, Deed, bool); 9] = [
            ("rename over", |s| put(&s.file("mcp.json"), "{}"), true),
            ("second rename", |s| put(&s.file("mcp.json"), "{ }"), true),
            (
                "write in place",
                |s| {
                    let mut file = fs::OpenOptions::new()
                        .append(true)
                        .open(s.file("mcp.json"))
                        .unwrap();
                    file.write_all(b" ").unwrap();
                },
                true,
            ),
            (
                "the other file",
                |s| put(&s.file("mcp_remote.json"), "{}"),
                true,
            ),
            (
                "delete",
                |s| fs::remove_file(s.file("mcp_remote.json")).unwrap(),
                true,
            ),
            (
                "move away",
                |s| fs::rename(s.file("mcp.json"), s.file("old")).unwrap(),
                true,
            ),
            (
                "hard link",
                |s| fs::hard_link(s.file("old"), s.file("mcp.json")).unwrap(),
                true,
            ),
            (
                "read",
                |s| drop(fs::read(s.file("mcp.json")).unwrap()),
                false,
            ),
            (
                "temporary",
                |s| drop(fs::File::create(s.file(".mcp.json.1.tmp")).unwrap()),
                false,
            ),
        ];
        let mut scene = Scene::new();
        for (name, deed, is_told) in deeds {
            deed(&scene);
            assert_eq!(scene.reported().await > 0, is_told, "{name}");
        }
    }

    #[tokio::test]
    async fn a_rename_is_told_once() {
        let mut scene = Scene::new();
        for _ in 0..20 {
            put(&scene.file("mcp.json"), "{}");
            assert_eq!(scene.written.recv().await, ONE.into());
            assert_eq!(scene.reported().await, 0);
        }
    }

    #[tokio::test]
    async fn repeats_that_nobody_takes_are_one() {
        let mut scene = Scene::new();
        let shared = Arc::clone(&scene.watch.shared);
        for _ in 0..1000 {
            shared.handle(Ok(Event::new(EventKind::Modify(ModifyKind::Name(
                RenameMode::To,
            )))
            .add_path(scene.file("mcp.json"))));
        }
        assert_eq!(scene.reported().await, 1);
    }

    #[tokio::test]
    async fn an_overflow_reports_every_thread() {
        let mut scene = Scene::new();
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        scene.watch.shared.handle(Ok(overflow));
        let mut both = [scene.written.recv().await, scene.written.recv().await];
        both.sort();
        assert_eq!(both, [ONE, END].map(Watched::from));
    }

    #[tokio::test]
    async fn the_cap_refuses_and_a_removed_thread_makes_room() {
        let scene = Scene::new();
        let third = ThreadId::telegram(3, None);
        let folder = scene.folder(third);
        fs::create_dir(&folder).unwrap();
        let refused = scene.watch.add(third, &folder).unwrap_err();
        assert!(refused.path.ends_with("tg3"));
        assert!(!scene.watch.holds(third));
        scene.watch.add(ONE, &scene.folder(ONE)).unwrap();
        scene.watch.remove(ONE);
        scene.watch.add(third, &folder).unwrap();
        assert!(scene.watch.holds(third) && !scene.watch.holds(ONE));
        // The operator's folder takes nobody's place.
        let admin = scene.dir.path().join("admin");
        fs::create_dir(&admin).unwrap();
        scene.watch.add(Watched::Admin, &admin).unwrap();
        assert!(scene.watch.add(ONE, &scene.folder(ONE)).is_err());
        scene.watch.remove(third);
        scene.watch.add(ONE, &scene.folder(ONE)).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_goes_away_is_told_and_can_be_watched_again() {
        for goes in [
            |folder: &Path| fs::remove_dir_all(folder).unwrap(),
            |folder: &Path| fs::rename(folder, folder.with_extension("9")).unwrap(),
        ] {
            let mut scene = Scene::new();
            let folder = scene.folder(ONE);
            goes(&folder);
            assert!(scene.reported().await > 0);
            assert!(!scene.watch.holds(ONE));
            fs::create_dir(&folder).unwrap();
            scene.watch.add(ONE, &folder).unwrap();
            put(&scene.file("mcp.json"), "{}");
            assert!(scene.reported().await > 0);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_and_takes_no_place() {
        let scene = Scene::new();
        scene.watch.remove(ONE);
        let missing = scene.dir.path().join("tg9");
        assert!(
            scene
                .watch
                .add(ThreadId::telegram(9, None), &missing)
                .is_err()
        );
        scene.watch.add(ONE, &scene.folder(ONE)).unwrap();
    }
}
