//! Everything that is done with a server once it is connected.

use super::{CANARY, LOCAL, nowhere, open, remote, screen, token, world};
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners};
use crate::support::world::World;

/// Measured times of a remote server, which `steady` does not know.
fn timeless(far: &Far, text: &str) -> String {
    let lines = screen(far, text);
    let lines = lines.lines().map(|line| {
        let words = line.split(" · ").filter(|word| {
            let timed = ["reached in", "started in", "answers in", "Time limit"];
            !timed.iter().any(|start| word.starts_with(start))
        });
        words.collect::<Vec<_>>().join(" · ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_server_is_like_any_other() {
    let far = Far::start(Manners::default().wanting(token(CANARY))).await;
    let world = world();
    let ann = world.ann();
    ann.says(&format!(
        "/mcp connect hub {} --bearer {CANARY} --header 'X-Team: blue'",
        far.url()
    ))
    .await;
    insta::assert_snapshot!("applied", timeless(&far, &ann.presses("Apply").await));
    assert!(
        ann.says("/mcp call hub echo text=hello")
            .await
            .contains("hello")
    );
    for (name, line) in [
        ("list", "/mcp list"),
        ("show", "/mcp show hub"),
        ("status", "/mcp status"),
        ("restarted", "/mcp restart hub"),
    ] {
        insta::assert_snapshot!(name, timeless(&far, &ann.says(line).await));
    }
    insta::assert_snapshot!("tested", timeless(&far, &ann.says("/mcp test hub").await));
    let logs = ann.says("/mcp logs hub").await;
    assert!(
        logs.contains("tools/list") && logs.contains("200"),
        "{logs}"
    );
    let tools = ann.says("/mcp tools hub").await;
    assert!(tools.contains("# Tools of hub (8)"), "{tools}");
    ann.says("/mcp disable hub").await;
    let off = ann.says("/mcp call hub echo text=x").await;
    assert!(off.contains("/mcp enable hub"), "{off}");
    ann.says("/mcp enable hub").await;
    let on = ann.presses("Apply").await;
    assert!(on.contains("*hub* · 8 tools"), "{on}");
    ann.says("/mcp rename hub far").await;
    let renamed = ann.presses("Apply").await;
    assert!(renamed.contains("*far* · 8 tools"), "{renamed}");
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_down_says_that_it_is_tried_again() {
    let mut far = Far::start(Manners::default()).await;
    let world = world();
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    ann.presses("Apply").await;
    far.die().await;
    let restarted = ann.says("/mcp restart hub").await;
    assert!(
        restarted.contains("tries again in") || restarted.contains("is tried again now"),
        "{restarted}"
    );
    let called = ann.says("/mcp call hub echo text=x").await;
    assert!(!called.contains("✅"), "{called}");
    far.rise().await;
    ann.says("/mcp restart hub").await;
    let called = ann.says("/mcp call hub echo text=again").await;
    assert!(called.contains("again"), "{called}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_command_leaves_no_secret_of_what_was_not_applied() {
    let far = Far::start(Manners::default().wanting(token(CANARY))).await;
    let world = World::open_with(|options| {
        open(options);
        options.one_shot = true;
    });
    let ann = world.ann();
    let proposal = ann
        .says(&format!("/mcp connect hub {} --bearer {CANARY}", far.url()))
        .await;
    assert!(proposal.contains("# Connect hub?"), "{proposal}");
    assert_eq!(world.house.store.secret_names(LOCAL).unwrap().len(), 1);
    let world = world.restarted_with(open).await;
    assert_eq!(world.house.store.secret_names(LOCAL).unwrap(), []);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_command_connects() {
    let far = Far::start(Manners::default().wanting(token(CANARY))).await;
    let world = World::open_with(|options| {
        open(options);
        options.one_shot = true;
    });
    let ann = world.ann();
    let asked = ann.says("/mcp connect").await;
    assert!(asked.contains("cannot be asked back"), "{asked}");
    ann.says("/cancel").await;
    ann.says(&format!("/mcp connect hub {} --bearer {CANARY}", far.url()))
        .await;
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*hub* · 8 tools"), "{applied}");
    let world = world.restarted_with(open).await;
    assert_eq!(world.house.store.secret_names(LOCAL).unwrap().len(), 1);
    let called = world.ann().says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_can_be_stopped() {
    use crate::support::hostile::{On, Trouble};
    use switchboard::chat::{EventKind, MessageId, PressId};
    let far = Far::start(Manners::default().with(On::All, Trouble::Silence)).await;
    let world = world();
    let ann = world.ann();
    ann.begins(
        Some(MessageId(5)),
        EventKind::Text(format!("/mcp connect hub {}", far.url())),
    );
    let running = world
        .glimpses(LOCAL, |text| {
            text.contains("name found") && text.contains("[Stop]")
        })
        .await;
    assert!(running.contains("# Trying 127.0.0.1"), "{running}");
    let (on, stop) = world.chat.button(LOCAL, "Stop");
    ann.begins(
        None,
        EventKind::Press {
            data: stop.data,
            on,
            press: PressId("press".to_owned()),
        },
    );
    let stopped = world
        .sees(LOCAL, |shown| plain(&shown.view).contains("Stopped"))
        .await;
    assert_eq!(stopped.id, on, "another message");
    assert!(ann.says("/cancel").await.contains("nothing to cancel"));
    assert_eq!(remote(&world, LOCAL), serde_json::json!(null));
    world.close().await;
}
