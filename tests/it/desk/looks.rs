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
        ("connect", "/mcp connect"),
        ("connect_cancelled", "/cancel"),
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

#[tokio::test(flavor = "multi_thread")]
async fn screens_on_the_way() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/start").await;
    ann.says("/mcp").await;
    insta::assert_snapshot!("examples", ann.presses("Examples").await);
    ann.says("/mcp").await;
    insta::assert_snapshot!("closed", ann.presses("Close").await);
    insta::assert_snapshot!("ask_json", ann.says("/mcp add-json").await);
    insta::assert_snapshot!("ask_file", ann.says("/mcp upload").await);
    insta::assert_snapshot!("file_awaited", ann.says("words instead of a file").await);
    insta::assert_snapshot!("cancelled", ann.says("/cancel").await);
    insta::assert_snapshot!(
        "only_remote",
        ann.says("/mcp add-json {\"hub\": {\"url\": \"https://mcp.example.com/mcp\"}}")
            .await
    );
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    insta::assert_snapshot!("welcome_again", ann.says("/start").await);
    insta::assert_snapshot!("restarted", steady(&ann.says("/mcp restart demo").await));
    insta::assert_snapshot!("all_tools", ann.says("/mcp tools").await);
    insta::assert_snapshot!(
        "nothing_to_change",
        ann.says("/mcp edit demo command=switchboard").await
    );
    insta::assert_snapshot!("switched_on_already", ann.says("/mcp enable demo").await);
    insta::assert_snapshot!("ask_name", {
        ann.says("/mcp show demo").await;
        ann.presses("Rename").await
    });
    insta::assert_snapshot!("rename_proposal", ann.says("toys and games").await);
    ann.presses("Cancel").await;
    ann.says("/mcp edit demo").await;
    insta::assert_snapshot!("ask_command", ann.presses("Command").await);
    ann.presses("Back").await;
    insta::assert_snapshot!("ask_variables", ann.presses("Environment").await);
    ann.presses("Back").await;
    insta::assert_snapshot!("ask_folder", ann.presses("Folder").await);
    ann.says("/cancel").await;
    insta::assert_snapshot!(
        "structured",
        steady(&ann.says("/mcp call demo roll count=1 sides=2").await).replace(['1', '2'], "N")
    );
    ann.says("/mcp disable demo").await;
    insta::assert_snapshot!(
        "call_of_one_that_is_off",
        ann.says("/mcp call demo echo text=x").await
    );
    insta::assert_snapshot!("slip", ann.says("mcp list").await);
    ann.says("/mcp remove demo").await;
    world.pass(std::time::Duration::from_mins(16));
    insta::assert_snapshot!("expired", ann.presses("Apply").await);
    world.close().await;
}
