//! One isolated world: a data folder of its own, the rooms behind a front in memory, a clock that the test owns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use switchboard::actor::{Actor, ActorId};
use switchboard::app::{House, HouseOptions};
use switchboard::chat::{Event, EventKind, EventSink, FileRef, MessageId, PressId};
use switchboard::policy::HostPolicy;
use switchboard::thread::ThreadId;

use super::chat::{Chat, Shown, plain};

/// Nothing in a test waits longer than this; what does is a hang, and fails.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// 2026-01-02 03:04:05 UTC.
const BEGIN_MS: i64 = 1_767_323_045_000;

/// Our own program, which is also the demo server.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_switchboard");

/// The server that does everything wrong.
pub fn misbehave() -> PathBuf {
    let path = Path::new(PROGRAM)
        .with_file_name("examples")
        .join("misbehave");
    assert!(
        path.exists(),
        "{} is missing: run plain `cargo test`, or first `cargo build --example misbehave`",
        path.display()
    );
    path
}

pub struct World {
    pub chat: Arc<Chat>,
    pub house: House,
    folder: Arc<tempfile::TempDir>,
    clock_ms: Arc<AtomicI64>,
    said: AtomicI64,
}

/// Somebody in a thread.
pub struct Person<'a> {
    world: &'a World,
    thread: ThreadId,
    actor: Actor,
    private: bool,
}

impl World {
    pub fn open() -> Self {
        Self::open_with(|_| {})
    }

    /// With other options.
    pub fn open_with(set: impl FnOnce(&mut HouseOptions)) -> Self {
        Self::open_in(Arc::new(tempfile::tempdir().unwrap()), Arc::default(), set)
    }

    /// With a folder that the users of the threads can pass through, where the tests run as root.
    pub fn open_passable(set: impl FnOnce(&mut HouseOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        Self::open_in(Arc::new(folder), Arc::default(), set)
    }

    fn open_in(
        folder: Arc<tempfile::TempDir>,
        chat: Arc<Chat>,
        set: impl FnOnce(&mut HouseOptions),
    ) -> Self {
        let clock_ms = Arc::new(AtomicI64::new(BEGIN_MS));
        let mut options = HouseOptions::new(folder.path().join("data"), PathBuf::from(PROGRAM));
        let clock = Arc::clone(&clock_ms);
        options.clock = Arc::new(move || clock.load(Ordering::SeqCst));
        // No registry of packages is asked; the tests of that ask otherwise.
        options.registry.packages = false;
        // Most tests are about something else than what an operator closes.
        options.policy.defaults = HostPolicy::open();
        set(&mut options);
        let front: Arc<Chat> = Arc::clone(&chat);
        let house = House::open(options, front, Some("SwitchboardBot".to_owned())).unwrap();
        Self {
            chat,
            house,
            folder,
            clock_ms,
            said: AtomicI64::new(1_000_000),
        }
    }

    /// Ends the bot and starts it again on the same data; the chat keeps its messages.
    pub async fn restarted(self) -> Self {
        self.restarted_with(|_| {}).await
    }

    /// The same with other options.
    pub async fn restarted_with(self, set: impl FnOnce(&mut HouseOptions)) -> Self {
        let Self {
            chat,
            house,
            folder,
            clock_ms,
            ..
        } = self;
        let now = clock_ms.load(Ordering::SeqCst);
        within(house.close(Duration::from_secs(10))).await;
        let world = Self::open_in(folder, chat, set);
        world.clock_ms.store(now, Ordering::SeqCst);
        world
    }

    pub async fn close(self) {
        within(self.house.close(Duration::from_secs(10))).await;
    }

    pub fn pass(&self, time: Duration) {
        self.clock_ms
            .fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// One whose terminal chat has the demo server.
    pub async fn with_demo() -> Self {
        let world = Self::open();
        let ann = world.ann();
        ann.says("/mcp add demo -- switchboard demo-server").await;
        let applied = ann.presses("Apply").await;
        assert!(applied.contains("*demo* · 6 tools"), "{applied}");
        world
    }

    /// The owner of the terminal chat.
    pub fn ann(&self) -> Person<'_> {
        self.person("Ann", ThreadId::Local, true)
    }

    pub fn person(&self, name: &str, thread: ThreadId, private: bool) -> Person<'_> {
        Person {
            world: self,
            thread,
            actor: Actor {
                id: ActorId(name.to_lowercase()),
                name: name.to_owned(),
            },
            private,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn file(&self, thread: ThreadId, name: &str) -> PathBuf {
        self.data()
            .join("users")
            .join(thread.to_string())
            .join(name)
    }

    /// The text of `mcp.json`, if there is one.
    pub fn config(&self, thread: ThreadId) -> Option<String> {
        std::fs::read_to_string(self.file(thread, "mcp.json")).ok()
    }

    /// Replaces a file as an editor on the host does: by a rename.
    pub fn edit_on_host(&self, thread: ThreadId, text: &str) {
        self.write_on_host(thread, "mcp.json", text);
    }

    /// The same for any of its two files.
    pub fn write_on_host(&self, thread: ThreadId, file: &str, text: &str) {
        let path = self.file(thread, file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = path.with_extension("tmp-of-editor");
        write(&temporary, text);
        std::fs::rename(temporary, path).unwrap();
    }

    /// Replaces the operator's policy as an editor on the host does; it is in force when this returns.
    pub async fn edit_policy(&self, text: &str) {
        let folder = self.data().join("admin");
        std::fs::create_dir_all(&folder).unwrap();
        write(&folder.join("new"), text);
        std::fs::rename(folder.join("new"), folder.join("policy.json")).unwrap();
        within(self.house.reload.heed_policy()).await;
    }

    /// The lines of a thread's audit.
    pub fn audit(&self, thread: ThreadId) -> Vec<serde_json::Value> {
        let file = self.data().join("state").join(thread.to_string());
        let text = std::fs::read_to_string(file.join("audit.jsonl")).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        // The last may be half written.
        lines.map_while(Result::ok).collect()
    }

    /// Waits until the audit of a thread has lines that satisfy this, and returns what it makes of them.
    pub async fn noted<T>(
        &self,
        thread: ThreadId,
        is: impl Fn(&[serde_json::Value]) -> Option<T>,
    ) -> T {
        let look = async {
            loop {
                if let Some(found) = is(&self.audit(thread)) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.unwrap_or_else(|_| panic!("never noted; there is {:#?}", self.audit(thread)))
    }

    /// Waits for a message of the thread that satisfies `is`, looking again whenever the thread is quiet.
    pub async fn sees(&self, thread: ThreadId, is: impl Fn(&Shown) -> bool) -> Shown {
        let look = async {
            loop {
                self.house.desk.quiet().await;
                if let Some(shown) = self
                    .chat
                    .messages(thread)
                    .into_iter()
                    .rev()
                    .find(|shown| is(shown))
                {
                    return shown;
                }
                // Not a wait for a fixed time: the condition is looked at again as often as the runtime lets us.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, look).await;
        seen.unwrap_or_else(|_| panic!("never seen; there is:\n{}", self.transcript(thread)))
    }

    /// Waits for a message of the thread that has this in it, while other things may still be under way.
    pub async fn glimpses(&self, thread: ThreadId, is: impl Fn(&str) -> bool) -> String {
        let look = async {
            loop {
                let mut screens = self.chat.messages(thread).into_iter().rev();
                if let Some(seen) = screens.find_map(|shown| {
                    let screen = plain(&shown.view);
                    is(&screen).then_some(screen)
                }) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, look).await;
        seen.unwrap_or_else(|_| panic!("never seen; there is:\n{}", self.transcript(thread)))
    }

    pub fn transcript(&self, thread: ThreadId) -> String {
        self.chat
            .messages(thread)
            .iter()
            .map(|shown| plain(&shown.view))
            .collect::<Vec<_>>()
            .join("\n---\n")
    }

    fn next_message(&self) -> MessageId {
        MessageId(self.said.fetch_add(1, Ordering::SeqCst))
    }
}

impl Person<'_> {
    /// Writes, and returns the newest message once everything that follows has happened.
    pub async fn says(&self, text: &str) -> String {
        self.does(
            Some(self.world.next_message()),
            EventKind::Text(text.to_owned()),
        )
        .await;
        self.sees_now()
    }

    /// Presses the newest button of that label.
    pub async fn presses(&self, label: &str) -> String {
        let (on, button) = self.world.chat.button(self.thread, label);
        self.does(
            None,
            EventKind::Press {
                data: button.data,
                on,
                press: PressId("press".to_owned()),
            },
        )
        .await;
        self.sees_now()
    }

    /// Presses with given data, as anybody can.
    pub async fn forges(&self, data: &str, on: MessageId) -> String {
        self.does(
            None,
            EventKind::Press {
                data: data.to_owned(),
                on,
                press: PressId("press".to_owned()),
            },
        )
        .await;
        self.sees_now()
    }

    /// Sends a file.
    pub async fn sends(&self, name: &str, bytes: &[u8], caption: &str) -> String {
        self.world.chat.put_file(name, bytes);
        let file = FileRef {
            handle: name.to_owned(),
            name: name.to_owned(),
            size: Some(bytes.len() as u64),
        };
        self.does(
            Some(self.world.next_message()),
            EventKind::File {
                file,
                caption: caption.to_owned(),
            },
        )
        .await;
        self.sees_now()
    }

    pub fn sees_now(&self) -> String {
        plain(&self.world.chat.newest(self.thread).view)
    }

    pub async fn does(&self, message: Option<MessageId>, kind: EventKind) {
        self.begins(message, kind);
        within(self.world.house.desk.quiet()).await;
    }

    /// Hands an event over without waiting for what it leads to.
    pub fn begins(&self, message: Option<MessageId>, kind: EventKind) {
        let event = Event {
            thread: self.thread,
            actor: self.actor.clone(),
            private: self.private,
            message,
            kind,
        };
        self.world
            .house
            .desk
            .deliver(event)
            .expect("the inbox is full");
    }

    /// Writes under another id from now on.
    pub fn becomes(&mut self, id: ActorId) {
        self.actor.id = id;
    }

    pub fn id(&self) -> ActorId {
        self.actor.id.clone()
    }
}

/// Fails instead of hanging.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("this hangs")
}

#[allow(clippy::disallowed_methods, reason = "a test plays the host's editor")]
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
