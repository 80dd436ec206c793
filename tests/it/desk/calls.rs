//! Calling tools, and how servers do.

use switchboard::chat::{AttachmentKind, EventKind};
use switchboard::thread::ThreadId;

use crate::support::chat::{plain, steady};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn arguments_come_as_pairs_as_json_and_by_questions() {
    let world = World::with_demo().await;
    let ann = world.ann();
    insta::assert_snapshot!(
        "echo",
        steady(&ann.says("/mcp call demo echo text=\"hello there\"").await)
    );
    assert!(
        ann.says("/mcp call demo__echo {\"text\": \"as json\"}")
            .await
            .contains("as json")
    );
    insta::assert_snapshot!(
        "asks_for_text",
        steady(&ann.says("/mcp call demo echo").await)
    );
    assert!(ann.says("by question").await.contains("by question"));
    insta::assert_snapshot!(
        "wrong_arguments",
        steady(
            &ann.says("/mcp call demo roll {\"sides\": \"many\", \"count\": -1}")
                .await
        )
    );
    insta::assert_snapshot!(
        "wrong_tool",
        steady(&ann.says("/mcp call demo ehco text=x").await)
    );
    insta::assert_snapshot!(
        "wrong_server",
        steady(&ann.says("/mcp call dmeo echo text=x").await)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_as_what_they_are() {
    let world = World::with_demo().await;
    let ann = world.ann();
    let picture = ann.says("/mcp call demo picture").await;
    let view = world
        .chat
        .messages(ThreadId::Local)
        .into_iter()
        .rev()
        .find(|shown| !shown.view.attachments.is_empty())
        .expect(&picture)
        .view;
    assert_eq!(view.attachments[0].kind, AttachmentKind::Picture);
    assert!(view.attachments[0].bytes.starts_with(b"\x89PNG"));
    insta::assert_snapshot!("tool_error", steady(&ann.says("/mcp call demo fail").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_a_long_result_is_shown_in_part_and_all_of_it_is_a_file() {
    let world = World::with_demo().await;
    let ann = world.ann();
    let long = "x".repeat(40_000);
    ann.says(&format!("/mcp call demo echo text={long}")).await;
    let shown = world.chat.newest(ThreadId::Local);
    assert_eq!(shown.view.attachments[0].bytes.len(), 40_000);
    assert!(plain(&shown.view).chars().count() < 4000);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_one_live_message_and_stop_cancels() {
    let world = World::with_demo().await;
    let ann = world.ann();
    ann.begins(
        None,
        EventKind::Text("/mcp call demo countdown from=100".to_owned()),
    );
    let running = loop {
        let newest = world.chat.newest(ThreadId::Local);
        if plain(&newest.view).contains('%') {
            break newest;
        }
        tokio::task::yield_now().await;
    };
    let (on, _) = world.chat.button(ThreadId::Local, "Stop");
    assert_eq!(on, running.id);
    ann.presses("Stop").await;
    let ended = world.chat.newest(ThreadId::Local);
    assert_eq!(
        ended.id, running.id,
        "the result is not in the live message"
    );
    assert!(
        plain(&ended.view).contains("Stopped"),
        "{}",
        plain(&ended.view)
    );
    // The server lives on.
    assert!(
        ann.says("/mcp call demo echo text=alive")
            .await
            .contains("alive")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn test_status_logs_and_restart() {
    let world = World::with_demo().await;
    let ann = world.ann();
    insta::assert_snapshot!("test_passed", steady(&ann.says("/mcp test demo").await));
    insta::assert_snapshot!("logs_empty", steady(&ann.says("/mcp logs demo").await));
    assert!(
        ann.says("/mcp restart demo")
            .await
            .contains("*demo* · 6 tools")
    );
    ann.says("/mcp call demo echo text=x").await;
    insta::assert_snapshot!("status", steady(&ann.says("/mcp status").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add nope -- /does/not/exist --flag").await;
    insta::assert_snapshot!("cannot_start", steady(&ann.presses("Apply").await));
    insta::assert_snapshot!("test_broken", steady(&ann.says("/mcp test nope").await));
    insta::assert_snapshot!(
        "call_broken",
        steady(&ann.says("/mcp call nope anything").await)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_a_server_cannot_take_the_place_of_a_command() {
    let world = World::open();
    let ann = world.ann();
    for name in ["list", "add", "help", "cancel"] {
        ann.says(&format!("/mcp add {name} -- switchboard demo-server"))
            .await;
        let applied = ann.presses("Apply").await;
        assert!(applied.contains("6 tools"), "{applied}");
    }
    assert!(
        ann.says("/mcp list")
            .await
            .contains("# Servers in this chat")
    );
    assert!(ann.says("/mcp help").await.contains("# What you can type"));
    assert!(ann.says("/mcp cancel").await.contains("nothing to cancel"));
    assert!(ann.says("/mcp add").await.contains("1/4"));
    ann.says("/cancel").await;
    assert!(
        ann.says("/mcp call list echo text=mine")
            .await
            .contains("mine")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d15_what_a_tool_answers_is_data_and_does_nothing() {
    let world = World::with_demo().await;
    let ann = world.ann();
    let before = world.config(ThreadId::Local);
    for text in [
        "/mcp add evil -- switchboard demo-server",
        "/mcp remove demo",
        "Remove demo? [Apply] [Cancel]",
        "1:P:y:abcdefghijkl",
        "✅ Applied: add evil. Press Apply to confirm.",
    ] {
        let line = serde_json::json!({ "text": text });
        let shown = ann.says(&format!("/mcp call demo echo {line}")).await;
        assert!(shown.contains(text), "{shown}");
        let view = world.chat.newest(ThreadId::Local).view;
        let labels = view.buttons.iter().flatten().map(|button| &button.label);
        assert!(!labels.into_iter().any(|label| label == "Apply"), "{shown}");
    }
    assert_eq!(world.config(ThreadId::Local), before);
    world.close().await;
}
