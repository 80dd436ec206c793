//! The screens while something is under way: a server that starts or gave up, a call and a test that run.

use serde_json::{Value, json};
use switchboard::chat::{AttachmentKind, EventKind};
use switchboard::registry::ServerState;
use switchboard::thread::ThreadId;

use crate::support::chat::{plain, steady};
use crate::support::world::{World, misbehave, within};

/// Puts a server that behaves by these words into the file, as the host does.
fn put(world: &World, name: &str, words: &[&str]) {
    let server = json!({"type": "stdio", "command": misbehave(), "args": words});
    world.edit_on_host(
        ThreadId::Local,
        &json!({"mcpServers": {name: server}}).to_string(),
    );
}

/// The same however long a slow machine takes.
fn steadier(screen: &str) -> String {
    let screen = screen.replace(misbehave().to_str().unwrap(), "/opt/misbehave");
    steady(&screen).replace(" · for TIME", "")
}

fn begins(world: &World, line: &str) {
    world.ann().begins(None, EventKind::Text(line.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_starting() {
    let world = World::open();
    let ann = world.ann();
    put(&world, "slow", &["mute"]);
    for (name, line) in [
        ("starting_panel", "/mcp"),
        ("starting_list", "/mcp list"),
        ("starting_show", "/mcp show slow"),
        ("starting_tools", "/mcp tools slow"),
        ("starting_status", "/mcp status"),
    ] {
        insta::assert_snapshot!(name, steadier(&ann.says(line).await));
    }
    begins(&world, "/mcp call slow echo");
    let waits = world
        .glimpses(ThreadId::Local, |text| text.contains("just starting"))
        .await;
    insta::assert_snapshot!("starting_call", steadier(&waits));
    insta::assert_snapshot!(
        "starting_call_stopped",
        steadier(&ann.presses("Stop").await)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_to_people_is_told_of_while_it_is_waited_for() {
    let world = World::open();
    let ann = world.ann();
    let talks = json!({"type": "stdio", "command": "sh", "args": ["-c", "echo Hello there; exec sleep 600"]});
    let file = json!({"mcpServers": {"talks": talks}});
    world.edit_on_host(ThreadId::Local, &file.to_string());
    ann.says("/mcp list").await;
    let told = world.house.registry.wait(ThreadId::Local, |snapshot| {
        let talks = snapshot.server("talks").map(|server| &server.state);
        matches!(talks, Some(ServerState::Starting { doing: Some(_), .. }))
    });
    within(told).await.unwrap();
    for line in ["/mcp", "/mcp show talks"] {
        let shown = ann.says(line).await;
        assert!(
            shown.contains(
                r#"it printed something that is not MCP ("Hello there"); waiting up to 2 min"#
            ),
            "{shown}"
        );
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs() {
    let world = World::open();
    let ann = world.ann();
    put(&world, "steady", &[]);
    ann.says("/mcp").await;
    begins(&world, "/mcp call steady hang half-way=\"so far so good\"");
    let running = world
        .glimpses(ThreadId::Local, |text| text.contains('%'))
        .await;
    insta::assert_snapshot!("call_running", steadier(&running));
    insta::assert_snapshot!("call_stopped", steadier(&ann.presses("Stop").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_runs() {
    let world = World::open();
    let ann = world.ann();
    put(&world, "slow", &["mute"]);
    begins(&world, "/mcp test slow");
    let running = world
        .glimpses(ThreadId::Local, |text| text.contains("⏳ handshake"))
        .await;
    insta::assert_snapshot!("test_running", steadier(&running));
    insta::assert_snapshot!("test_stopped", steadier(&ann.presses("Stop").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gave_up() {
    let world = World::open_with(|options| options.registry.backoff.clear());
    let ann = world.ann();
    put(&world, "broken", &["say=boom", "exit=3"]);
    ann.says("/mcp").await;
    let parked = world
        .sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains("ended too often")
        })
        .await;
    insta::assert_snapshot!("parked", steadier(&plain(&parked.view)));
    insta::assert_snapshot!("parked_panel", steadier(&ann.says("/mcp").await));
    insta::assert_snapshot!("parked_show", steadier(&ann.says("/mcp show broken").await));
    insta::assert_snapshot!(
        "parked_call",
        steadier(&ann.says("/mcp call broken echo").await)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_and_a_link_come_as_what_they_are() {
    let world = World::open();
    let ann = world.ann();
    put(&world, "steady", &[]);
    ann.says("/mcp").await;
    let call = |content: Value| format!("/mcp call steady weird {}", json!({"content": content}));
    let sound = call(json!([{"type": "audio", "mimeType": "audio/wav", "data": "UklGRg=="}]));
    insta::assert_snapshot!("sound", steadier(&ann.says(&sound).await));
    let attachment = world
        .chat
        .newest(ThreadId::Local)
        .view
        .attachments
        .remove(0);
    assert_eq!(attachment.kind, AttachmentKind::Audio);
    assert_eq!(&attachment.bytes[..], b"RIFF");
    let links = call(json!([
        {"type": "resource_link", "uri": "https://example.com/notes.md", "name": "notes", "description": "what was said"},
        {"type": "resource_link", "uri": "file:///tmp/plain.txt", "name": "plain"},
        {"type": "resource", "resource": {"uri": "file:///tmp/a.json", "mimeType": "application/json", "text": "{\"a\": 1}"}},
    ]));
    insta::assert_snapshot!("links", steadier(&ann.says(&links).await));
    world.close().await;
}
