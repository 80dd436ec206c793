//! Every screen that needs nothing but a look.

use serde_json::json;
use switchboard::command::TABLE;
use switchboard::thread::ThreadId;

use crate::support::chat::steady;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn empty_screens_teach() {
    let world = World::open();
    let ann = world.ann();
    for (name, line) in [
        ("empty_panel", "/mcp"),
        ("empty_list", "/mcp list"),
        ("empty_tools", "/mcp tools"),
        ("empty_status", "/mcp status"),
        ("empty_history", "/mcp history"),
        ("empty_undo", "/mcp undo"),
        ("help", "/help"),
        ("help_add", "/mcp help add"),
        ("help_typo", "/mcp help ad-json"),
        ("typo", "/mcp lsit"),
        ("unknown", "/frobnicate"),
        ("no_server", "/mcp show github"),
        ("usage", "/mcp rename a"),
        ("connect", "/mcp connect hub https://mcp.example.com"),
        ("small_talk", "hello"),
    ] {
        insta::assert_snapshot!(name, steady(&ann.says(line).await));
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_explains_itself() {
    let world = World::open();
    for entry in TABLE {
        let help = world.ann().says(&format!("/mcp help {}", entry.name)).await;
        assert!(help.contains(entry.usage), "{help}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_screens() {
    let world = World::open();
    let ann = world.ann();
    let mut servers = serde_json::Map::new();
    servers.insert("demo".to_owned(), json!({"type": "stdio", "command": "switchboard", "args": ["demo-server"], "env": {"MODE": "fast", "API_TOKEN": "hush-hush"}}));
    for number in 0..9 {
        servers.insert(
            format!("off-{number}"),
            json!({"type": "stdio", "command": "true", "disabled": true}),
        );
    }
    world.edit_on_host(
        ThreadId::Local,
        &json!({ "mcpServers": servers }).to_string(),
    );
    let remote = json!({"mcpServers": {"hub": {"type": "http", "url": "https://mcp.example.com/mcp", "headers": {"X-Team": "hush-hush"}}}});
    crate::support::world::write(
        &world.file(ThreadId::Local, "mcp_remote.json"),
        &remote.to_string(),
    );
    ann.says("/mcp call demo echo text=warm").await;
    for (name, line) in [
        ("panel", "/mcp"),
        ("list", "/mcp list"),
        ("show_local", "/mcp show demo"),
        ("show_remote", "/mcp show hub"),
        ("tools_of", "/mcp tools demo"),
    ] {
        insta::assert_snapshot!(name, steady(&ann.says(line).await));
    }
    insta::assert_snapshot!("tool_card", steady(&ann.presses("roll").await));
    ann.says("/mcp").await;
    insta::assert_snapshot!("panel_2", steady(&ann.presses("Next ›").await));
    insta::assert_snapshot!("remote_refused", steady(&ann.says("/mcp test hub").await));
    assert!(!world.transcript(ThreadId::Local).contains("hush-hush"));
    world.close().await;
}
