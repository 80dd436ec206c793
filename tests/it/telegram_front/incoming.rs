//! What comes from Telegram, as events of the desk.

use super::*;

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
    // The house answers, who knows Ann; the front alone says nothing.
    let event = it.event().await;
    assert!(matches!(event.kind, EventKind::Edited(text) if text == "/mcp list"));
    assert_eq!(event.message, Some(MessageId(id)));
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
