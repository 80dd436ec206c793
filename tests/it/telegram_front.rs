//! The Telegram front against the stand-in Bot API: what comes in as events, what goes out as messages.

mod delivery;
mod incoming;
mod outgoing;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use switchboard::actor::{ActorId, Standing};
use switchboard::chat::telegram::{ConnectError, RunError, Telegram, TelegramOptions};
use switchboard::chat::{
    Answer, Attachment, AttachmentKind, Block, Busy, Button, Event, EventKind, EventSink, FileRef,
    Front, FrontError, MessageId, PressId, Question, View,
};
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::bot_api::{BOT_NAME, BotApi, Fault, Person, Place, Role, TOKEN};
use crate::support::telegram::options;

/// A desk that only writes down what it is told.
struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    /// What the next deliveries meet instead.
    moods: Mutex<Vec<Mood>>,
}

#[derive(Clone, Copy)]
enum Mood {
    Busy,
    Panics,
}

impl EventSink for Recorder {
    fn deliver(&self, event: Event) -> Result<(), Busy> {
        let mood = self.moods.lock().unwrap().pop();
        match mood {
            Some(Mood::Busy) => Err(Busy),
            Some(Mood::Panics) => panic!("a panic of the test"),
            None => {
                self.events.send(event).expect("the test listens");
                Ok(())
            }
        }
    }

    fn lets_in(&self, _thread: ThreadId, _actor: &ActorId) -> bool {
        true
    }
}

/// A running front.
struct Running {
    api: BotApi,
    front: Arc<Telegram>,
    sink: Arc<Recorder>,
    events: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
    run: JoinHandle<Result<(), RunError>>,
}

impl Running {
    async fn start() -> Self {
        let api = BotApi::start().await;
        let front = Telegram::connect(options(&api)).await.expect("connected");
        let (sender, events) = mpsc::unbounded_channel();
        let sink = Arc::new(Recorder {
            events: sender,
            moods: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let run = tokio::spawn({
            let (front, sink, stop) = (Arc::clone(&front), Arc::clone(&sink), stop.clone());
            async move { front.run(sink, stop).await }
        });
        Self {
            api,
            front,
            sink,
            events,
            stop,
            run,
        }
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_mins(5), self.events.recv())
            .await
            .expect("an event in time")
            .expect("the front lives")
    }

    async fn text(&mut self) -> String {
        match self.event().await.kind {
            EventKind::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Whatever was said before this is the last; so nothing else of it became an event.
    async fn nothing_before_marker(&mut self, person: &Person) {
        person.says("/help marker");
        assert_eq!(self.text().await, "/help marker");
    }

    async fn sent(&self, place: Place, view: View) -> MessageId {
        self.front.send(thread(place), view).await.expect("sent")
    }

    async fn end(self) {
        self.stop.cancel();
        self.run.await.expect("no panic").expect("a quiet end");
    }
}

fn thread(place: Place) -> ThreadId {
    let topic = place
        .topic
        .map(|topic| i32::try_from(topic).expect("small"));
    ThreadId::telegram(place.chat, topic)
}

fn actor(person: &Person) -> ActorId {
    ActorId(format!("tg:{}", person.id))
}

fn buttons() -> [Button; 2] {
    [
        Button::new("Apply", "v1:abc:apply"),
        Button::new("Cancel", "v1:abc:cancel"),
    ]
}

fn attachment(kind: AttachmentKind, name: &str, bytes: &[u8]) -> Attachment {
    Attachment {
        kind,
        name: name.to_owned(),
        bytes: bytes.into(),
        caption: "caption <&>".to_owned(),
    }
}

// ---- connecting

#[tokio::test]
async fn connecting_registers_the_commands_of_each_scope() {
    let api = BotApi::start().await;
    let front = Telegram::connect(options(&api)).await.expect("connected");
    assert_eq!(front.our_name(), BOT_NAME);
    let scopes: Vec<_> = api
        .requests("setMyCommands")
        .iter()
        .map(|request| {
            let names = request["commands"].as_array().expect("commands");
            let names: Vec<_> = names
                .iter()
                .map(|one| one["command"].as_str().expect("a name").to_owned())
                .collect();
            (
                request["scope"]["type"]
                    .as_str()
                    .expect("a scope")
                    .to_owned(),
                names.join(" "),
            )
        })
        .collect();
    assert_eq!(
        scopes,
        [
            (
                "all_private_chats".to_owned(),
                "mcp help cancel start".to_owned()
            ),
            (
                "all_group_chats".to_owned(),
                "mcp help cancel settings".to_owned()
            ),
        ]
    );
    let printed = format!("{front:?} {:?}", options(&api));
    assert!(!printed.contains(TOKEN), "{printed}");
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_said() {
    let api = BotApi::start().await;
    let connect = async |change: &dyn Fn(&mut TelegramOptions)| {
        let mut options = options(&api);
        change(&mut options);
        Telegram::connect(options).await.expect_err("refused")
    };
    for token in ["", "no token", "123:wrong", "a/b:c"] {
        let error = connect(&|options| options.token = token.to_owned()).await;
        assert!(matches!(error, ConnectError::Token), "{token}: {error}");
    }
    let error = connect(&|options| options.api_url = Some("ftp://x".to_owned())).await;
    assert!(matches!(error, ConnectError::ApiUrl(_)), "{error}");
    let error = connect(&|options| options.api_url = Some("http://127.0.0.1:1".to_owned())).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains(TOKEN), "{error}");
    api.set_webhook("https://example.com/hook");
    let error = connect(&|_| ()).await;
    assert!(matches!(error, ConnectError::Webhook), "{error}");
}

// ---- coming in

// ---- the loop

// ---- going out

#[tokio::test]
async fn standing_is_what_telegram_says_now() {
    let it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ask = async |person: &Person, fresh| {
        it.front
            .standing(thread(group.place()), &actor(person), fresh)
            .await
    };
    for (role, expected) in [
        (Role::Creator, Standing::Creator),
        (Role::Administrator, Standing::Administrator),
        (Role::Member, Standing::Member),
        (Role::Restricted { is_member: true }, Standing::Member),
        (Role::Restricted { is_member: false }, Standing::Outsider),
        (Role::Left, Standing::Outsider),
        (Role::Kicked, Standing::Outsider),
    ] {
        let person = group.member("Somebody", role);
        assert_eq!(
            ask(&person, false).await.expect("known"),
            expected,
            "{role:?}"
        );
    }
    let ann = group.member("Ann", Role::Administrator);
    assert_eq!(
        ask(&ann, false).await.expect("known"),
        Standing::Administrator
    );
    group.set_role(&ann, Role::Member);
    assert_eq!(
        ask(&ann, false).await.expect("remembered"),
        Standing::Administrator
    );
    assert_eq!(
        ask(&ann, true).await.expect("asked again"),
        Standing::Member
    );
    group.hide_members();
    let refused = ask(&ann, true).await.expect_err("not known");
    assert!(
        refused.to_string().contains("make me an administrator"),
        "{refused}"
    );

    let zoe = it.api.private_chat("Zoe");
    let own = it
        .front
        .standing(thread(zoe.place), &actor(&zoe), false)
        .await;
    assert_eq!(own.expect("known"), Standing::Own);
    let other = it
        .front
        .standing(thread(zoe.place), &actor(&ann), false)
        .await;
    assert_eq!(other.expect("known"), Standing::Outsider);
    it.end().await;
}

// ---- the stand-in itself

#[tokio::test]
async fn the_stand_in_fails_what_telegram_refuses() {
    use teloxide::payloads::SendMessageSetters;
    use teloxide::prelude::Requester;
    use teloxide::types::{ChatId, MessageId, ParseMode, ThreadId};
    let api = BotApi::start().await;
    let ann = api.private_chat("Ann");
    let bot = teloxide::Bot::new(TOKEN).set_api_url(api.url().parse().expect("an address"));
    let chat = ChatId(ann.place.chat);
    assert!(
        bot.send_message(chat, "<b>")
            .parse_mode(ParseMode::Html)
            .await
            .is_err()
    );
    assert!(bot.send_message(chat, "x".repeat(4097)).await.is_err());
    assert!(bot.send_message(chat, " ").await.is_err());
    assert!(
        bot.send_message(chat, "x")
            .message_thread_id(ThreadId(MessageId(1)))
            .await
            .is_err()
    );
    assert!(bot.send_dice(chat).await.is_err());
    assert_eq!(api.take_violations().len(), 5);
    bot.send_message(chat, "🦀".repeat(2048))
        .await
        .expect("4096 units fit");
    let file = tempfile::NamedTempFile::new().expect("a file");
    api.dump_requests(file.path());
    let dumped = std::fs::read_to_string(file.path()).expect("readable");
    assert_eq!(
        dumped.lines().count(),
        5,
        "the unknown method is not among them"
    );
}
