//! The Telegram front against the stand-in Bot API: what comes in as events, what goes out as messages.

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

#[tokio::test]
async fn a_private_text_comes_with_thread_person_and_message() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let id = ann.says("/MCP\nadd");
    let event = it.event().await;
    assert_eq!(event.thread, thread(ann.place));
    assert_eq!(
        (event.actor.id, event.actor.name.as_str()),
        (actor(&ann), "Ann")
    );
    assert_eq!((event.private, event.message), (true, Some(MessageId(id))));
    assert!(matches!(event.kind, EventKind::Text(text) if text == "/MCP\nadd"));
    it.api.wait_for_confirmed().await;
    it.end().await;
}

#[tokio::test]
async fn topics_are_threads_and_plain_replies_are_not() {
    let mut it = Running::start().await;
    let forum = it.api.forum("Forum");
    let ann = forum.member("Ann", Role::Member);
    let topic = forum.topic();
    ann.at(topic).says("/mcp");
    assert_eq!(it.event().await.thread, thread(topic));
    ann.says("/mcp");
    assert_eq!(it.event().await.thread, ThreadId::telegram(forum.id, None));
    // A reply in a supergroup carries a thread id without being in a topic; General carries 1.
    ann.says_with("/mcp", json!({ "message_thread_id": 77 }));
    assert_eq!(it.event().await.thread, ThreadId::telegram(forum.id, None));
    ann.says_with(
        "/mcp",
        json!({ "message_thread_id": 1, "is_topic_message": true }),
    );
    assert_eq!(it.event().await.thread, ThreadId::telegram(forum.id, None));
    it.sent(topic, View::text("here")).await;
    it.sent(forum.place(), View::text("general")).await;
    assert_eq!(it.api.messages(topic).len(), 1);
    assert_eq!(it.api.messages(forum.place()).len(), 1);
    it.end().await;
}

#[tokio::test]
async fn in_groups_only_what_is_meant_for_the_bot_comes_in() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Member);
    let asked = it.sent(group.place(), View::text("Name?")).await;
    let mine = ann.says("hello all");
    ann.says("/ban Bob");
    ann.says("/mcp@OtherBot list");
    ann.replies(mine, "a reply to somebody else");
    ann.sends_file("a.json", b"{}", "look");
    ann.sends_file("a.json", b"{}", "/help");
    it.nothing_before_marker(&ann).await;

    for text in [
        "/mcp list",
        "/Help",
        "/cancel",
        "/mcp@switchboardtestbot list",
        "/mpc@SwitchboardTestBot",
    ] {
        ann.says(text);
        assert_eq!(it.text().await, text);
    }
    ann.replies(asked.0, "github");
    assert_eq!(it.text().await, "github");
    ann.sends_file("a.json", b"{}", "/mcp upload");
    assert!(
        matches!(it.event().await.kind, EventKind::File { caption, .. } if caption == "/mcp upload")
    );

    let private = it.api.private_chat("Zoe");
    private.says("/mcp@OtherBot list");
    private.says("small talk");
    assert_eq!(it.text().await, "small talk");
    it.end().await;
}

#[tokio::test]
async fn whom_an_operator_names_comes_as_an_id() {
    let mut it = Running::start().await;
    let group = it.api.forum("Team");
    let topic = group.topic();
    let ann = group.member("Ann", Role::Member).at(topic);
    let bob = group.member("Bob", Role::Member).at(topic);
    let id = format!("tg:{}", bob.id);
    let asked = it.sent(topic, View::text("Name?")).await;
    let theirs = bob.says("hello all");
    for (to, text, expected) in [
        (theirs, "/admin allow", format!("/admin allow {id}")),
        (
            theirs,
            "/admin operator add",
            format!("/admin operator add {id}"),
        ),
        (theirs, "/admin allow tg:5", "/admin allow tg:5".to_owned()),
        (theirs, "/admin allow here", "/admin allow here".to_owned()),
        (theirs, "/admin", "/admin".to_owned()),
        (theirs, "/mcp list", "/mcp list".to_owned()),
        (asked.0, "/admin allow", "/admin allow".to_owned()),
    ] {
        ann.replies(to, text);
        assert_eq!(it.text().await, expected);
    }
    ann.says("/admin allow");
    assert_eq!(it.text().await, "/admin allow");
    let user = json!({ "id": bob.id, "is_bot": false, "first_name": "Bob Ö" });
    let entities = json!({ "entities": [
        { "type": "bot_command", "offset": 0, "length": 6 },
        { "type": "text_mention", "offset": 13, "length": 5, "user": user },
    ] });
    ann.says_with("/admin allow Bob Ö", entities);
    assert_eq!(it.text().await, format!("/admin allow {id}"));
    it.end().await;
}

#[tokio::test]
async fn messages_that_nobody_wrote_to_the_bot_never_run() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Administrator);
    let chat = json!({ "id": group.id, "type": "supergroup", "title": "Team" });
    let channel = json!({ "id": -1_009_999, "type": "channel", "title": "News" });
    let bot = json!({ "id": 42, "is_bot": true, "first_name": "Other", "username": "OtherBot" });
    let origin = json!({ "type": "user", "date": 1, "sender_user": { "id": 7, "is_bot": false, "first_name": "X" } });
    for extra in [
        json!({ "from": bot }),
        json!({ "sender_chat": channel }),
        json!({ "sender_chat": channel, "is_automatic_forward": true }),
        // Another anonymous identity than the group's own.
        json!({ "sender_chat": chat }),
        json!({ "forward_origin": origin, "forward_date": 1 }),
        json!({ "via_bot": bot }),
    ] {
        ann.says_with("/mcp list", extra);
    }
    it.nothing_before_marker(&ann).await;
    // The two that people did are explained to them.
    it.api
        .wait_for(group.place(), "two explanations", |shown| {
            let told = shown
                .iter()
                .filter(|one| one.plain.contains("forwarded command does not run"));
            (told.count() == 2).then_some(())
        })
        .await;

    // A forwarded file is welcome in private, its command is not.
    let zoe = it.api.private_chat("Zoe");
    zoe.sends_file_with(
        "a.json",
        b"{}",
        "/mcp upload",
        json!({ "forward_origin": origin, "forward_date": 1 }),
    );
    assert!(matches!(it.event().await.kind, EventKind::File { caption, .. } if caption.is_empty()));
    it.end().await;
}

#[tokio::test]
async fn an_anonymous_administrator_is_one() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Administrator);
    let chat = json!({ "id": group.id, "type": "supergroup", "title": "Team" });
    let anonymous = json!({ "id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot" });
    ann.says_with("/mcp", json!({ "from": anonymous, "sender_chat": chat }));
    let event = it.event().await;
    assert_eq!(event.actor.id, ActorId(format!("tg:anon:{}", group.id)));
    let standing = it
        .front
        .standing(event.thread, &event.actor.id, true)
        .await
        .expect("known");
    assert_eq!(standing, Standing::Administrator);
    let elsewhere = ThreadId::telegram(-5, None);
    let standing = it
        .front
        .standing(elsewhere, &event.actor.id, true)
        .await
        .expect("known");
    assert_eq!(standing, Standing::Outsider);
    it.end().await;
}

#[tokio::test]
async fn edited_and_old_commands_are_explained_and_do_not_run() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let id = ann.says("/mcp lst");
    assert_eq!(it.text().await, "/mcp lst");
    ann.edits(id, "/mcp list");
    it.api
        .wait_for_text(ann.place, "edited command does not run")
        .await;
    let date = jiff::Timestamp::now().as_second() - 20 * 60;
    let old = ann.says_with("/mcp remove github", json!({ "date": date }));
    let told = it.api.wait_for_text(ann.place, "20 minutes ago").await;
    assert_eq!(told.reply_to, Some(old));
    // An answer that is no command is still an answer.
    ann.says_with("an old answer", json!({ "date": date }));
    assert_eq!(it.text().await, "an old answer");
    it.end().await;
}

#[tokio::test]
async fn files_are_fetched_within_the_limit() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let body = vec![b'x'; 300_000];
    ann.sends_file("servers.json", &body, "");
    let EventKind::File { file, caption } = it.event().await.kind else {
        panic!("expected a file");
    };
    assert_eq!(
        (file.name.as_str(), file.size, caption.as_str()),
        ("servers.json", Some(300_000), "")
    );
    assert_eq!(it.front.fetch(&file, 300_000).await.expect("fetched"), body);
    let too_large = it.front.fetch(&file, 1000).await;
    assert!(matches!(
        too_large,
        Err(FrontError::TooLarge { limit: 1000 })
    ));
    // Also where nobody said how large it is.
    let unknown = FileRef { size: None, ..file };
    let too_large = it.front.fetch(&unknown, 299_999).await;
    assert!(matches!(
        too_large,
        Err(FrontError::TooLarge { limit: 299_999 })
    ));
    let gone = FileRef {
        handle: "nothing".to_owned(),
        ..unknown
    };
    assert!(matches!(
        it.front.fetch(&gone, 10).await,
        Err(FrontError::Other(_))
    ));
    it.end().await;
}

#[tokio::test]
async fn a_press_comes_with_its_message_and_is_answered_once() {
    let mut it = Running::start().await;
    let group = it.api.forum("Forum");
    let ann = group.member("Ann", Role::Member);
    let topic = group.topic();
    let message = it.sent(topic, View::text("Apply?").row(buttons())).await;
    let query = ann.at(topic).presses("Apply");
    let event = it.event().await;
    assert_eq!((event.thread, event.actor.id), (thread(topic), actor(&ann)));
    let EventKind::Press { data, on, press } = event.kind else {
        panic!("expected a press");
    };
    assert_eq!((data.as_str(), on), ("v1:abc:apply", message));
    it.front
        .answer(&press, Answer::Alert("no".repeat(200)))
        .await
        .expect("answered");
    let answers = it.api.wait_for_answers(1).await;
    assert_eq!(
        (answers[0].query.as_str(), answers[0].alert),
        (query.as_str(), true)
    );
    let again = it.front.answer(&PressId(query), Answer::Silent).await;
    assert!(again.is_err());
    it.end().await;
}

#[tokio::test]
async fn an_inaccessible_message_is_answered_by_the_front() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let message = it.sent(ann.place, View::text("x").row(buttons())).await;
    let query = ann.presses_data(message.0, "v1:abc:apply");
    assert!(matches!(it.event().await.kind, EventKind::Press { .. }));
    it.api.push_update(json!({ "callback_query": {
        "id": query, "chat_instance": "1", "data": "v1:abc:apply",
        "from": { "id": ann.id, "is_bot": false, "first_name": "Ann" },
        "message": { "chat": { "id": ann.id, "type": "private", "first_name": "Ann" }, "message_id": message.0, "date": 0 },
    }}));
    let answers = it.api.wait_for_answers(1).await;
    assert!(
        answers[0].alert && answers[0].text.contains("too old"),
        "{answers:?}"
    );
    it.end().await;
}

#[tokio::test]
async fn joining_leaving_and_blocking_are_told() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Creator);
    group.adds_bot(&ann);
    assert_eq!(it.text().await, "/start");
    group.kicks_bot(&ann);
    let event = it.event().await;
    assert!(matches!(event.kind, EventKind::Left), "{event:?}");
    assert_eq!(event.thread, thread(group.place()));
    let gone = it.front.send(event.thread, View::text("x")).await;
    assert!(matches!(gone, Err(FrontError::Gone(_))), "{gone:?}");
    assert!(matches!(it.event().await.kind, EventKind::Left));

    let zoe = it.api.private_chat("Zoe");
    zoe.blocks();
    let event = it.event().await;
    assert!(matches!(event.kind, EventKind::Left) && event.private);
    it.end().await;
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_told() {
    let mut it = Running::start().await;
    let forum = it.api.forum("Forum");
    let topic = forum.topic();
    forum.delete_topic(topic);
    let gone = it.front.send(thread(topic), View::text("x")).await;
    assert!(matches!(gone, Err(FrontError::Gone(_))), "{gone:?}");
    let event = it.event().await;
    assert_eq!(event.thread, thread(topic));
    assert!(matches!(event.kind, EventKind::Left));
    it.end().await;
}

#[tokio::test]
async fn a_group_migrates_once() {
    let mut it = Running::start().await;
    let group = it.api.group("Team");
    let ann = group.member("Ann", Role::Creator);
    let new = group.migrates(true);
    let event = it.event().await;
    assert_eq!(event.thread, thread(new.place()));
    assert!(matches!(event.kind, EventKind::Migrated { from } if from == thread(group.place())));
    it.nothing_before_marker(&ann.at(new.place())).await;
    // The old id still reaches the group.
    it.sent(group.place(), View::text("moved")).await;
    it.api.wait_for_text(new.place(), "moved").await;
    it.end().await;
}

#[tokio::test]
async fn a_migration_that_only_an_error_tells_is_followed() {
    let mut it = Running::start().await;
    let group = it.api.group("Team");
    let ann = group.member("Ann", Role::Creator);
    let new = group.migrates(false);
    it.sent(group.place(), View::text("hello")).await;
    it.api.wait_for_text(new.place(), "hello").await;
    let event = it.event().await;
    assert!(matches!(event.kind, EventKind::Migrated { from } if from == thread(group.place())));
    let standing = it
        .front
        .standing(thread(group.place()), &actor(&ann), true)
        .await;
    assert_eq!(standing.expect("known"), Standing::Creator);
    it.end().await;
}

// ---- the loop

#[tokio::test]
async fn strange_updates_repeats_and_panics_do_not_stop_the_loop() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    it.api.push_update(json!({ "something_new": { "x": 1 } }));
    it.api.push_update(json!({ "message": { "no": "fields" } }));
    it.api.push_update(json!({ "message": 17 }));
    it.sink.moods.lock().unwrap().push(Mood::Panics);
    ann.says("this one panics");
    ann.says("this one does not");
    assert_eq!(it.text().await, "this one does not");
    it.nothing_before_marker(&ann).await;
    it.end().await;
}

#[tokio::test]
async fn an_update_that_comes_twice_runs_once() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let update = json!({ "update_id": 800_000_000, "message": {
        "message_id": 5, "date": jiff::Timestamp::now().as_second(), "text": "/mcp remove x",
        "from": { "id": ann.id, "is_bot": false, "first_name": "Ann" },
        "chat": { "id": ann.id, "type": "private", "first_name": "Ann" },
    }});
    it.api.push_update(update.clone());
    it.api.push_update(update);
    assert_eq!(it.text().await, "/mcp remove x");
    it.api
        .push_update(json!({ "update_id": 800_000_001, "message": {
            "message_id": 6, "date": jiff::Timestamp::now().as_second(), "text": "next",
            "from": { "id": ann.id, "is_bot": false, "first_name": "Ann" },
            "chat": { "id": ann.id, "type": "private", "first_name": "Ann" },
        }}));
    assert_eq!(it.text().await, "next");
    it.end().await;
}

#[tokio::test]
async fn a_busy_desk_is_said_once_and_kept_events_come_later() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let message = it.sent(ann.place, View::text("x").row(buttons())).await;
    *it.sink.moods.lock().unwrap() = vec![Mood::Busy; 3];
    ann.says("one");
    ann.says("two");
    ann.presses_data(message.0, "v1:abc:apply");
    let answers = it.api.wait_for_answers(1).await;
    assert!(answers[0].text.contains("busy"), "{answers:?}");
    it.api.wait_for_text(ann.place, "busy").await;
    it.nothing_before_marker(&ann).await;
    let told = it
        .api
        .messages(ann.place)
        .iter()
        .filter(|one| one.plain.contains("busy"))
        .count();
    assert_eq!(told, 1);
    // That a thread is gone must not be lost.
    it.sink.moods.lock().unwrap().push(Mood::Busy);
    ann.blocks();
    it.api.wait_for_confirmed().await;
    let zoe = it.api.private_chat("Zoe");
    zoe.says("hi");
    let kinds = [it.event().await.kind, it.event().await.kind];
    assert!(
        kinds.iter().any(|kind| matches!(kind, EventKind::Left)),
        "{kinds:?}"
    );
    it.end().await;
}

#[tokio::test]
async fn trouble_with_telegram_passes() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    it.api
        .fail(Fault::new("getUpdates", 400, "Bad Request: try later"));
    it.api.fail(Fault::new(
        "getUpdates",
        409,
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    ));
    ann.says("after the storm");
    assert_eq!(it.text().await, "after the storm");
    ann.says("and on");
    assert_eq!(it.text().await, "and on");
    it.end().await;
}

#[tokio::test]
async fn a_revoked_token_ends_the_run() {
    let it = Running::start().await;
    it.api.fail(Fault::new("getUpdates", 401, "Unauthorized"));
    // Wakes the request that is open.
    it.api.private_chat("Ann").says("hi");
    let end = it.run.await.expect("no panic");
    assert!(matches!(end, Err(RunError::Token)));
}

#[tokio::test]
async fn a_stop_confirms_what_was_handed_over() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    ann.says("the last");
    assert_eq!(it.text().await, "the last");
    it.stop.cancel();
    (&mut it.run).await.expect("no panic").expect("a quiet end");
    it.api.wait_for_confirmed().await;
}

// ---- going out

#[tokio::test]
async fn a_view_is_escaped_and_carries_its_buttons() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let view = View::titled("Add <github>")
        .with(Block::Diff("-a & b\n+\"c\"\n".to_owned()))
        .row(buttons());
    it.sent(ann.place, view).await;
    let shown = it.api.messages(ann.place).remove(0);
    assert_eq!(
        shown.plain,
        "Add <github>\n\n-a & b\n+\"c\"".replace("\n\n", "\n")
    );
    assert!(
        shown.html.contains("<pre><code class=\"language-diff\">"),
        "{}",
        shown.html
    );
    assert_eq!(
        shown.buttons[0][0],
        ("Apply".to_owned(), "v1:abc:apply".to_owned())
    );
    it.end().await;
}

#[tokio::test]
async fn links_are_buttons_where_telegram_takes_them_and_else_text() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let page = "https://bot.example/oauth/start/abc?x=<1>&y=2";
    let here = "http://127.0.0.1:8787/oauth/start/abc?a=1&b=2";
    let view = || {
        View::text("Log in:")
            .link("Log in", page)
            .link("Here", here)
            .row(buttons())
    };
    let id = it.sent(ann.place, view()).await;
    let shown = it.api.messages(ann.place).remove(0);
    assert_eq!(shown.plain, format!("Log in:\n\nHere: {here}"));
    let labels: Vec<Vec<&str>> = shown
        .buttons
        .iter()
        .map(|row| row.iter().map(|(label, _)| label.as_str()).collect())
        .collect();
    assert_eq!(labels, [vec!["Log in"], vec!["Apply", "Cancel"]]);
    assert!(
        shown.buttons[0][0]
            .1
            .starts_with("https://bot.example/oauth/start/abc?x=")
    );
    // An edit takes them along, and takes them away.
    it.front
        .edit(
            thread(ann.place),
            id,
            View::text("Done.").link("Again", page),
        )
        .await
        .expect("edited");
    let shown = it.api.messages(ann.place).remove(0);
    assert_eq!((shown.plain.as_str(), shown.buttons.len()), ("Done.", 1));
    it.front
        .edit(thread(ann.place), id, View::text("Over."))
        .await
        .expect("edited");
    assert!(it.api.messages(ann.place)[0].buttons.is_empty());
    it.end().await;
}

#[tokio::test]
async fn a_link_that_telegram_refuses_is_written_out() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    for (method, why) in [
        ("sendMessage", "Bad Request: BUTTON_URL_INVALID"),
        (
            "editMessageText",
            "Bad Request: inline keyboard button URL 'x' is invalid: Wrong HTTP URL",
        ),
    ] {
        it.api.fail(Fault::new(method, 400, why));
    }
    let view = |text: &str| {
        View::text(text)
            .link("Log in", "https://bot.example/x")
            .row(buttons())
    };
    let id = it.sent(ann.place, view("One:")).await;
    let written = |text: &str| {
        let shown = it.api.messages(ann.place);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(
            shown[0].plain,
            format!("{text}\n\nLog in: https://bot.example/x")
        );
        assert_eq!((shown[0].buttons.len(), shown[0].buttons[0].len()), (1, 2));
    };
    written("One:");
    it.front
        .edit(thread(ann.place), id, view("Two:"))
        .await
        .expect("edited");
    written("Two:");
    it.end().await;
}

#[tokio::test]
async fn a_link_leads_into_the_private_chat_and_says_where_from() {
    let mut it = Running::start().await;
    assert_eq!(
        it.front.private_link("aZ0_-9"),
        Some(format!("https://t.me/{BOT_NAME}?start=aZ0_-9"))
    );
    for nonce in ["", "a b", "a&b", "ä", &"x".repeat(65)] {
        assert_eq!(it.front.private_link(nonce), None, "{nonce}");
    }
    // What the link makes Telegram say for the person.
    let ann = it.api.private_chat("Ann");
    ann.says("/start aZ0_-9");
    let event = it.event().await;
    assert_eq!((event.private, event.thread), (true, thread(ann.place)));
    assert!(matches!(event.kind, EventKind::Text(text) if text == "/start aZ0_-9"));
    it.end().await;
}

#[tokio::test]
async fn long_views_are_split_or_sent_as_files() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let long = View::text("word ".repeat(1500)).row(buttons());
    let last = it.sent(ann.place, long).await;
    let shown = it.api.messages(ann.place);
    assert_eq!(shown.len(), 2);
    assert!(shown[0].buttons.is_empty() && !shown[1].buttons.is_empty());
    assert_eq!(last, MessageId(shown[1].id));

    let zoe = it.api.private_chat("Zoe");
    let diff = "+🦀 line\n".repeat(2000);
    it.sent(
        zoe.place,
        View::titled("Edit")
            .with(Block::Diff(diff.clone()))
            .row(buttons()),
    )
    .await;
    let shown = it.api.messages(zoe.place);
    assert!(shown[0].plain.contains("change.diff") && !shown[0].buttons.is_empty());
    let file = shown[1].document.clone().expect("a file");
    assert_eq!(
        (file.name.as_str(), file.bytes),
        ("change.diff", diff.into_bytes())
    );
    it.end().await;
}

#[tokio::test]
async fn edits_change_the_message_or_say_that_they_cannot() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let id = it.sent(ann.place, View::text("one").row(buttons())).await;
    let edit = async |id, view| it.front.edit(thread(ann.place), id, view).await;
    edit(id, View::text("two <2>")).await.expect("edited");
    edit(id, View::text("two <2>"))
        .await
        .expect("the same again is no error");
    let shown = it.api.messages(ann.place).remove(0);
    assert_eq!(
        (shown.plain.as_str(), shown.buttons.len(), shown.edits),
        ("two <2>", 0, 1)
    );

    edit(
        id,
        View::titled("Log").with(Block::Code {
            language: "",
            text: "x\n".repeat(4000),
        }),
    )
    .await
    .expect("edited");
    let shown = it.api.messages(ann.place);
    assert!(shown[0].plain.contains("output.txt"), "{}", shown[0].plain);
    assert_eq!(
        shown[1].document.as_ref().expect("a file").name,
        "output.txt"
    );

    let missing = edit(MessageId(1), View::text("x")).await;
    assert!(
        matches!(missing, Err(FrontError::NotEditable(_))),
        "{missing:?}"
    );
    let question = View::text("Name?").asking(Question {
        placeholder: "github".to_owned(),
        of: None,
        secret: false,
    });
    let asked = it.sent(ann.place, question).await;
    let fixed = edit(asked, View::text("x")).await;
    assert!(
        matches!(fixed, Err(FrontError::NotEditable(_))),
        "{fixed:?}"
    );
    it.end().await;
}

#[tokio::test]
async fn questions_ask_one_person_in_groups_and_buttons_win() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Member);
    let question = |of| {
        View::text("Name?").asking(Question {
            placeholder: "x".repeat(100),
            of,
            secret: false,
        })
    };
    it.sent(group.place(), question(Some(actor(&ann)))).await;
    let id = ann.says("/mcp add");
    it.event().await;
    it.sent(group.place(), question(Some(actor(&ann)))).await;
    it.sent(group.place(), question(Some(actor(&ann))).row(buttons()))
        .await;
    let shown = it.api.messages(group.place());
    let (placeholder, selective) = shown[0].force_reply.clone().expect("a forced reply");
    assert_eq!((placeholder.chars().count(), selective), (64, false));
    assert!(shown[1].force_reply.as_ref().expect("a forced reply").1);
    assert_eq!(shown[1].reply_to, Some(id));
    assert_eq!(shown[2].force_reply, None);
    assert!(
        shown[2].plain.contains("Reply to this message"),
        "{}",
        shown[2].plain
    );
    it.end().await;
}

#[tokio::test]
async fn attachments_are_what_they_are_and_fall_back_to_files() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let view = View::text("Results")
        .attach(attachment(
            AttachmentKind::Picture,
            "a.png",
            b"\x89PNG\r\n\x1a\nrest",
        ))
        .attach(attachment(AttachmentKind::Picture, "b.svg", b"<svg/>"))
        // WebP passes our look at its first bytes, and the server refuses it.
        .attach(attachment(
            AttachmentKind::Picture,
            "c.webp",
            b"RIFF\0\0\0\0WEBPVP8 ",
        ))
        .attach(attachment(AttachmentKind::Audio, "d.mp3", b"ID3"))
        .attach(attachment(AttachmentKind::File, "e.txt", b"text"))
        .attach(attachment(AttachmentKind::File, "f.txt", b""));
    it.sent(ann.place, view).await;
    let shown = it.api.messages(ann.place);
    assert!(shown[1].photo.is_some());
    assert_eq!(shown[2].document.as_ref().expect("a file").name, "b.svg");
    assert_eq!(shown[3].document.as_ref().expect("a file").name, "c.webp");
    assert!(shown[4].audio.is_some());
    assert_eq!(shown[5].document.as_ref().expect("a file").bytes, b"text");
    assert_eq!(shown[5].plain, "caption <&>");
    assert!(
        shown[6]
            .plain
            .contains("f.txt could not be sent: it is empty")
    );
    it.end().await;
}

#[tokio::test]
async fn marks_that_telegram_refuses_are_left_out() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    for method in ["sendMessage", "editMessageText"] {
        it.api.fail(Fault::new(
            method,
            400,
            "Bad Request: can't parse entities: because",
        ));
    }
    let id = it.sent(ann.place, View::titled("a <b>")).await;
    assert_eq!(it.api.messages(ann.place)[0].html, "a <b>");
    it.front
        .edit(thread(ann.place), id, View::titled("c <d>"))
        .await
        .expect("edited");
    assert_eq!(it.api.messages(ann.place)[0].html, "c <d>");
    it.end().await;
}

#[tokio::test]
async fn a_chat_that_must_wait_is_tried_again() {
    let it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    it.api
        .fail(Fault::too_many("sendMessage", ann.place.chat, 1));
    let id = it.sent(ann.place, View::text("patience")).await;
    it.api
        .fail(Fault::too_many("editMessageText", ann.place.chat, 1));
    it.front
        .edit(thread(ann.place), id, View::text("rewarded"))
        .await
        .expect("edited");
    assert_eq!(it.api.messages(ann.place)[0].plain, "rewarded");
    it.api
        .fail(Fault::too_many("sendMessage", ann.place.chat, 3600));
    let refused = it.front.send(thread(ann.place), View::text("x")).await;
    assert!(matches!(refused, Err(FrontError::Other(_))), "{refused:?}");
    // Nobody else waits for that chat.
    let zoe = it.api.private_chat("Zoe");
    it.sent(zoe.place, View::text("hello")).await;
    it.end().await;
}

#[tokio::test]
async fn a_failing_server_costs_a_bounded_time() {
    let api = BotApi::start().await;
    let ann = api.private_chat("Ann");
    let front = Telegram::connect(TelegramOptions {
        // Less than the ten seconds that teloxide waits inside, and enough for what goes well.
        patience: Duration::from_secs(6),
        ..options(&api)
    })
    .await
    .expect("connected");
    api.fail(Fault::new("sendMessage", 502, "Bad Gateway"));
    let refused = front.send(thread(ann.place), View::text("x")).await;
    assert!(
        matches!(&refused, Err(FrontError::Other(text)) if text.contains("in time")),
        "{refused:?}"
    );
    front
        .send(thread(ann.place), View::text("y"))
        .await
        .expect("sent");
}

#[tokio::test]
async fn deleting_says_plainly_when_it_cannot() {
    let mut it = Running::start().await;
    let group = it.api.supergroup("Team");
    let ann = group.member("Ann", Role::Member);
    let id = MessageId(ann.says("/mcp add x -e TOKEN=1 -- x"));
    it.event().await;
    group.forbid_deleting();
    let refused = it.front.delete(thread(group.place()), id).await;
    assert!(matches!(refused, Err(FrontError::Other(_))), "{refused:?}");
    let own = it.sent(group.place(), View::text("mine")).await;
    it.front
        .delete(thread(group.place()), own)
        .await
        .expect("deleted");
    it.front
        .delete(thread(group.place()), own)
        .await
        .expect("gone is deleted");
    assert!(it.api.messages(group.place()).is_empty());
    it.end().await;
}

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
