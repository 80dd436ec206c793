//! Calling tools, and how servers do.

use switchboard::chat::{AttachmentKind, EventKind};
use switchboard::thread::ThreadId;

use crate::support::chat::{plain, steady};
use crate::support::world::World;

async fn with_demo() -> World {
    let world = World::open();
    world
        .ann()
        .says("/mcp add demo -- switchboard demo-server")
        .await;
    let applied = world.ann().presses("Apply").await;
    assert!(applied.contains("*demo* · 6 tools"), "{applied}");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_come_as_pairs_as_json_and_by_questions() {
    let world = with_demo().await;
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
    let world = with_demo().await;
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
    let long = "x".repeat(10_000);
    ann.says(&format!("/mcp call demo echo text={long}")).await;
    let shown = world.chat.newest(ThreadId::Local);
    assert_eq!(shown.view.attachments[0].bytes.len(), 10_000);
    assert!(plain(&shown.view).chars().count() < 4000);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_one_live_message_and_stop_cancels() {
    let world = with_demo().await;
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
    let world = with_demo().await;
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
