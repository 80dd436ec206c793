//! Views, as messages of Telegram.

use super::*;

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
