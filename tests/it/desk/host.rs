//! Changes made on the host go the same way.

use serde_json::json;
use switchboard::thread::ThreadId;

use crate::support::chat::{plain, steady};
use crate::support::world::World;

fn demo() -> String {
    serde_json::to_string_pretty(&json!({"mcpServers": {"demo": {"type": "stdio", "command": "switchboard", "args": ["demo-server"]}}})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edit_loads_tools_and_is_announced_and_can_be_undone() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp").await;
    world.edit_on_host(ThreadId::Local, &demo());
    let announced = world
        .sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains("*demo* · 6 tools")
        })
        .await;
    insta::assert_snapshot!("host_edit", steady(&plain(&announced.view)));
    assert!(ann.says("/mcp call demo echo text=hi").await.contains("hi"));
    let proposal = ann.says("/mcp undo").await;
    assert!(proposal.contains("removes *demo*"), "{proposal}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edit_of_a_thread_that_sleeps_is_noticed_at_the_next_message() {
    let world = World::open();
    world.edit_on_host(ThreadId::Local, &demo());
    let panel = world.ann().says("/mcp call demo echo text=found").await;
    assert!(panel.contains("found"), "{panel}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_hand_edit_leaves_the_tools_and_says_where() {
    let world = World::open();
    let ann = world.ann();
    world.edit_on_host(ThreadId::Local, &demo());
    ann.says("/mcp tools").await;
    world.edit_on_host(
        ThreadId::Local,
        "{\n  \"mcpServers\": {\n    \"demo\": {\"command\": \"x\",,}\n  }\n}\n",
    );
    let told = world
        .sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains("broken")
        })
        .await;
    insta::assert_snapshot!("host_broke", steady(&plain(&told.view)));
    assert!(
        ann.says("/mcp call demo echo text=still")
            .await
            .contains("still")
    );
    insta::assert_snapshot!("broken_panel", steady(&ann.says("/mcp").await));
    let refused = ann.says("/mcp remove demo").await;
    assert!(refused.contains("broken"), "{refused}");
    ann.presses("Use last good").await;
    insta::assert_snapshot!("repaired", steady(&ann.presses("Apply").await));
    assert_eq!(world.config(ThreadId::Local).unwrap().trim(), demo().trim());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_host_mends_is_told_to_be_sound_again() {
    let world = World::open();
    let ann = world.ann();
    world.edit_on_host(ThreadId::Local, &demo());
    ann.says("/mcp tools").await;
    world.edit_on_host(ThreadId::Local, "{ broken");
    world
        .sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains("broken")
        })
        .await;
    world.edit_on_host(ThreadId::Local, &demo());
    let told = world
        .sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains("sound again")
        })
        .await;
    insta::assert_snapshot!("sound_again", steady(&plain(&told.view)));
    world.close().await;
}
