//! A stand-in for the Bot API on loopback, strict where Telegram is strict.
//!
//! What the bot must never send (an unknown method or parameter, broken HTML, too long a text, a button with too much
//! data, the General topic's id …) is refused as Telegram refuses it **and** fails the test when the stand-in is dropped.
//! Ordinary refusals (a message that is gone, an edit that changes nothing) are only answered.

#![allow(
    dead_code,
    reason = "a library for tests; not every test uses all of it"
)]

mod markup;
mod methods;
mod people;
mod server;
mod state;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use people::{Group, Person, Role};
pub(crate) use state::{Answered, ChatKind, Fault, Shown};
use state::{Chat, State};

/// The only token that the stand-in knows.
pub(crate) const TOKEN: &str = "123456789:AAH-token_of_the_stand-in_for_tests";
pub(crate) const BOT_ID: i64 = 123_456_789;
pub(crate) const BOT_NAME: &str = "SwitchboardTestBot";

/// How long a test waits for something that should come at once.
const DEADLINE: Duration = Duration::from_mins(5);

/// A chat, or a topic of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) chat: i64,
    pub(crate) topic: Option<i64>,
}

/// The running stand-in.
pub(crate) struct BotApi {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    server: JoinHandle<()>,
}

/// What the server and the test share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Counts changes, so that waiting needs no sleeping.
    changes: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl BotApi {
    /// Starts on a free port of loopback.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changes: watch::channel(0).0,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        let router = server::router(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving");
        });
        Self {
            shared,
            address,
            server,
        }
    }

    /// The address for `TELOXIDE_API_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A person with a private chat.
    pub(crate) fn private_chat(&self, name: &str) -> Person {
        let mut state = self.shared.lock();
        let id = state.new_user(name);
        state
            .chats
            .insert(id, Chat::new(ChatKind::Private, name.to_owned()));
        drop(state);
        Person::new(
            &self.shared,
            id,
            name,
            Place {
                chat: id,
                topic: None,
            },
        )
    }

    /// A plain group.
    pub(crate) fn group(&self, title: &str) -> Group {
        self.new_group(title, ChatKind::Group)
    }

    /// A supergroup.
    pub(crate) fn supergroup(&self, title: &str) -> Group {
        self.new_group(title, ChatKind::Supergroup)
    }

    /// A supergroup with topics.
    pub(crate) fn forum(&self, title: &str) -> Group {
        self.new_group(title, ChatKind::Forum)
    }

    fn new_group(&self, title: &str, kind: ChatKind) -> Group {
        let mut state = self.shared.lock();
        let id = state.new_group_id(kind);
        state.chats.insert(id, Chat::new(kind, title.to_owned()));
        drop(state);
        Group::new(&self.shared, id)
    }

    /// What the bot's messages in a place look like now, oldest first, without deleted ones.
    pub(crate) fn messages(&self, place: Place) -> Vec<Shown> {
        self.shared.lock().shown(place)
    }

    /// Waits until the messages of a place are as they should be.
    pub(crate) async fn wait_for<T>(
        &self,
        place: Place,
        what: &str,
        mut ready: impl FnMut(&[Shown]) -> Option<T>,
    ) -> T {
        let found = self.until(|state| ready(&state.shown(place))).await;
        found.unwrap_or_else(|| {
            let shown = self.messages(place);
            panic!(
                "no `{what}` in {place:?}; it shows {shown:#?}\n{}",
                self.tail()
            )
        })
    }

    /// Waits for a message whose plain text contains `text`.
    pub(crate) async fn wait_for_text(&self, place: Place, text: &str) -> Shown {
        self.wait_for(place, text, |shown| {
            shown
                .iter()
                .rev()
                .find(|one| one.plain.contains(text))
                .cloned()
        })
        .await
    }

    /// Waits until a number of answers to presses came, and returns them all.
    pub(crate) async fn wait_for_answers(&self, count: usize) -> Vec<Answered> {
        let found = self
            .until(|state| (state.answers.len() >= count).then(|| state.answers.clone()))
            .await;
        found.unwrap_or_else(|| panic!("fewer than {count} answers to presses\n{}", self.tail()))
    }

    /// Waits until a method was called a number of times.
    pub(crate) async fn wait_for_calls(&self, method: &str, count: usize) {
        let called = |state: &mut State| (state.calls(method) >= count).then_some(());
        let in_time = self.until(called).await.is_some();
        assert!(
            in_time,
            "`{method}` was not called {count} times\n{}",
            self.tail()
        );
    }

    /// Waits until every update was confirmed by a later `getUpdates`.
    pub(crate) async fn wait_for_confirmed(&self) {
        let confirmed = self
            .until(|state| state.updates.is_empty().then_some(()))
            .await;
        assert!(
            confirmed.is_some(),
            "updates stay unconfirmed\n{}",
            self.tail()
        );
    }

    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut changes = self.shared.watch();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = ready(&mut self.shared.lock()) {
                    return found;
                }
                changes.changed().await.expect("the stand-in lives");
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.ok()
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.shared.lock().calls(method)
    }

    /// The parameters of each call of a method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let state = self.shared.lock();
        let of_method = state.requests.iter().filter(|one| one.method == method);
        of_method.map(|one| one.params.clone()).collect()
    }

    /// Makes the next calls fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Puts an update of any form into the queue; `update_id` is added unless it is there.
    pub(crate) fn push_update(&self, update: Value) {
        self.shared.lock().push_update(update);
        self.shared.changed();
    }

    /// Says that a webhook is set.
    pub(crate) fn set_webhook(&self, url: &str) {
        url.clone_into(&mut self.shared.lock().webhook);
    }

    /// Appends every request so far as a line of JSON, as `tests/interop/check_requests.py` reads it.
    pub(crate) fn dump_requests(&self, path: &Path) {
        let mut lines = String::new();
        for request in &self.shared.lock().requests {
            let files = request.files.as_object();
            let multipart = files.is_some_and(|files| !files.is_empty());
            let line = json!({
                "method": request.method, "body": request.params, "multipart": multipart,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(path)
            .expect("a file");
        // Tests side by side append to one file: all lines go in one write.
        file.write_all(lines.as_bytes()).expect("written lines");
    }

    /// Fails where the bot sent what it must never send.
    pub(crate) fn assert_clean(&self) {
        let violations = std::mem::take(&mut self.shared.lock().violations);
        assert!(
            violations.is_empty(),
            "the bot broke rules of the Bot API: {violations:#?}"
        );
    }

    /// The broken rules so far; a test of the stand-in itself takes them away.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().violations)
    }

    fn tail(&self) -> String {
        let state = self.shared.lock();
        let skip = state.requests.len().saturating_sub(12);
        let mut lines = vec!["the last requests:".to_owned()];
        for request in &state.requests[skip..] {
            lines.push(format!("  {} {}", request.method, request.params));
        }
        lines.push(format!("broken rules: {:?}", state.violations));
        lines.join("\n")
    }
}

impl Drop for BotApi {
    fn drop(&mut self) {
        self.server.abort();
        if !std::thread::panicking() {
            self.assert_clean();
        }
    }
}
