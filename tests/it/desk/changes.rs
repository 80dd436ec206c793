//! Changing what is there, and what stands between a button and a write.

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::chat::Answer;
use switchboard::thread::ThreadId;

use crate::support::chat::steady;
use crate::support::world::{Person, World};

async fn with_demo(ann: &Person<'_>) {
    ann.says("/mcp add demo -e A=1 -- switchboard demo-server")
        .await;
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*demo* · 6 tools"), "{applied}");
}

fn entry(world: &World, name: &str) -> Value {
    let config: Value = serde_json::from_str(&world.config(ThreadId::Local).unwrap()).unwrap();
    config["mcpServers"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_in_one_line_and_field_by_field() {
    let world = World::open();
    let ann = world.ann();
    with_demo(&ann).await;
    insta::assert_snapshot!(
        "edit_line",
        steady(&ann.says("/mcp edit demo env.A=2 env.B=3 cwd=/tmp").await)
    );
    ann.presses("Apply").await;
    assert_eq!(entry(&world, "demo")["env"], json!({"A": "2", "B": "3"}));
    insta::assert_snapshot!("edit_menu", steady(&ann.says("/mcp edit demo").await));
    ann.presses("Environment").await;
    ann.says("B=\nC=4").await;
    ann.presses("Folder").await;
    ann.presses("Back").await;
    let proposal = ann.presses("Done").await;
    assert!(proposal.contains("# Edit demo?"), "{proposal}");
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "demo"),
        json!({"type": "stdio", "command": "switchboard", "args": ["demo-server"], "env": {"A": "2", "C": "4"}, "cwd": "/tmp"})
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_keeps_the_tools_under_the_new_name() {
    let world = World::open();
    let ann = world.ann();
    with_demo(&ann).await;
    ann.says("/mcp rename demo toys").await;
    let applied = ann.presses("Apply").await;
    assert!(
        applied.contains("*toys* · 6 tools") && applied.contains("*demo* · gone"),
        "{applied}"
    );
    assert!(
        ann.says("/mcp call toys__echo text=hello")
            .await
            .contains("hello")
    );
    assert!(
        ann.says("/mcp call demo echo text=hello")
            .await
            .contains("no server")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disable_is_immediate_and_enable_is_proposed() {
    let world = World::open();
    let ann = world.ann();
    with_demo(&ann).await;
    insta::assert_snapshot!("disabled", steady(&ann.says("/mcp disable demo").await));
    assert_eq!(entry(&world, "demo")["disabled"], true);
    assert!(
        world
            .house
            .registry
            .snapshot(ThreadId::Local)
            .unwrap()
            .names
            .is_empty()
    );
    insta::assert_snapshot!(
        "enable_proposal",
        steady(&ann.says("/mcp enable demo").await)
    );
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*demo* · 6 tools"), "{applied}");
    assert_eq!(entry(&world, "demo").get("disabled"), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_and_undo() {
    let world = World::open();
    let ann = world.ann();
    with_demo(&ann).await;
    let before = world.config(ThreadId::Local);
    insta::assert_snapshot!(
        "remove_proposal",
        steady(&ann.says("/mcp remove demo").await)
    );
    insta::assert_snapshot!("removed", steady(&ann.presses("Apply").await));
    assert!(
        world
            .house
            .registry
            .snapshot(ThreadId::Local)
            .unwrap()
            .names
            .is_empty()
    );
    ann.presses("Undo").await;
    let undone = ann.presses("Apply").await;
    assert!(undone.contains("*demo* · 6 tools"), "{undone}");
    assert_eq!(world.config(ThreadId::Local), before);
    insta::assert_snapshot!("history", steady(&ann.says("/mcp history").await));
    // What was undone is not undone again: the next one back is.
    assert!(ann.says("/mcp undo").await.contains("# Undo “add demo”?"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_apply_twice_writes_once() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
    ann.presses("Apply").await;
    let written = world.config(ThreadId::Local);
    ann.forges(&apply.data, on).await;
    assert!(
        matches!(world.chat.answers().last(), Some(Answer::Alert(text)) if text.contains("already applied")),
        "{:?}",
        world.chat.answers()
    );
    assert_eq!(world.config(ThreadId::Local), written);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_apply_after_a_quarter_of_an_hour_does_nothing() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    world.pass(Duration::from_secs(15 * 60 + 1));
    let answer = ann.presses("Apply").await;
    assert!(answer.contains("older than 15 minutes"), "{answer}");
    assert_eq!(world.config(ThreadId::Local), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_apply_on_changed_files_shows_the_new_difference() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    world.edit_on_host(ThreadId::Local, "{\"mcpServers\": {\"other\": {\"type\": \"stdio\", \"command\": \"true\", \"args\": [], \"disabled\": true}}}\n");
    world
        .sees(ThreadId::Local, |shown| {
            shown.view.blocks.len() > 1
                && format!("{:?}", shown.view).contains("was changed on the bot's machine")
        })
        .await;
    let host = world.config(ThreadId::Local);
    let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
    ann.forges(&apply.data, on).await;
    assert_eq!(
        world.config(ThreadId::Local),
        host,
        "written over the change of the host"
    );
    let shown = world
        .chat
        .messages(ThreadId::Local)
        .into_iter()
        .find(|shown| shown.id == on)
        .unwrap();
    let shown = crate::support::chat::plain(&shown.view);
    assert!(
        shown.contains("The files changed meanwhile") && shown.contains("\"disabled\": true"),
        "{shown}"
    );
    ann.forges(&apply.data, on).await;
    assert!(
        world.config(ThreadId::Local).unwrap().contains("\"other\"")
            && entry(&world, "demo").is_object()
    );
    world.close().await;
}
