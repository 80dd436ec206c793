//! The operator's servers: used like others, changed by nobody here.

use serde_json::json;
use switchboard::settings::AdminServers;

use super::{CANARY, LOCAL, open, screen};
use crate::support::hostile::{Far, Manners};
use crate::support::world::{World, write};

fn world_with(files: &[(&str, serde_json::Value)]) -> World {
    World::open_with(|options| {
        open(options);
        options.admin_servers = AdminServers::All;
        let folder = options.data.join("admin");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            write(&folder.join(name), &text.to_string());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_shown_called_and_not_changed() {
    let far = Far::start(Manners::default()).await;
    let world = world_with(&[
        (
            "mcp.json",
            json!({"mcpServers": {"tools": {"type": "stdio", "command": "switchboard", "args": ["demo-server"], "env": {"API_KEY": CANARY}}}}),
        ),
        (
            "mcp_remote.json",
            json!({"mcpServers": {"hub": {"type": "http", "url": far.url(), "headers": {"X-Key": CANARY}}}}),
        ),
    ]);
    let ann = world.ann();
    ann.says("/mcp call tools echo text=warm").await;
    let shown = |text: &str| screen(&far, text);
    insta::assert_snapshot!("admin_local", shown(&ann.says("/mcp show tools").await));
    for line in [
        "/mcp edit tools command=x",
        "/mcp edit tools",
        "/mcp rename tools other",
        "/mcp remove hub",
        "/mcp disable tools",
        "/mcp enable hub",
        "/mcp connect hub",
    ] {
        let refused = ann.says(line).await;
        assert!(
            refused.contains("offered by who runs this bot"),
            "{line}: {refused}"
        );
    }
    assert!(
        ann.says("/mcp call tools echo text=hi")
            .await
            .contains("hi")
    );
    assert!(ann.says("/mcp test tools").await.contains("tools works"));
    let proposal = ann.says("/mcp add tools -- switchboard demo-server").await;
    assert!(proposal.contains("# Add tools?"), "{proposal}");
    ann.presses("Apply").await;
    insta::assert_snapshot!(
        "admin_hidden",
        shown(&ann.says("/mcp list").await)
            .lines()
            .filter(|line| !line.contains("hub"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(!world.transcript(LOCAL).contains(CANARY));
    world.close().await;
}
