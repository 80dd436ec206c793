//! The whole bot on Telegram: what people do, from the first `/start` to the tools and back.

use serde_json::Value;

use crate::support::bot_api::Role;
use crate::support::telegram::Bot;

#[tokio::test(flavor = "multi_thread")]
async fn from_start_to_a_called_tool_in_a_private_chat() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    bot.says(&ann, "/start", "There are no servers here yet")
        .await;
    bot.presses(&ann, "Try the demo server", "Add demo?").await;
    bot.presses(&ann, "Apply", "demo · 6 tools").await;
    bot.presses(&ann, "Tools", "Tools of demo (6)").await;
    let called = bot
        .says(&ann, "/mcp call demo echo text=\"<b>& hello</b>\"", "hello")
        .await;
    assert!(called.plain.contains("<b>& hello</b>"), "{called:?}");
    ann.says("/mcp call demo picture");
    let picture = bot
        .api
        .wait_for(ann.place, "a picture", |shown| {
            shown.iter().find_map(|one| one.photo.clone())
        })
        .await;
    assert!(picture.bytes.starts_with(b"\x89PNG"));
    ann.says("/mcp download");
    let file = bot
        .api
        .wait_for(ann.place, "mcp.json", |shown| {
            shown.iter().find_map(|one| one.document.clone())
        })
        .await;
    let config: Value = serde_json::from_slice(&file.bytes).unwrap();
    assert_eq!(config["mcpServers"]["demo"]["command"], "switchboard");
    bot.says(&ann, "/mcp disable demo", "demo · off").await;
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_is_one_live_message_with_stop() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    bot.says(
        &ann,
        "/mcp add demo -- switchboard demo-server",
        "Add demo?",
    )
    .await;
    bot.presses(&ann, "Apply", "demo · 6 tools").await;
    let running = bot
        .says(&ann, "/mcp call demo countdown from=500", "%")
        .await;
    let stopped = bot.presses(&ann, "Stop", "Stopped").await;
    assert_eq!(running.id, stopped.id);
    bot.says(&ann, "/mcp call demo echo text=alive", "alive")
        .await;
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guided_flow_in_a_topic_asks_by_reply_and_topics_are_apart() {
    let bot = Bot::start().await;
    let forum = bot.api.forum("Workshop");
    let (here, there) = (forum.topic(), forum.topic());
    let ann = forum.member("Ann", Role::Creator).at(here);
    let asked = bot.says(&ann, "/mcp add", "1/4").await;
    assert!(matches!(&asked.force_reply, Some((_, true))), "{asked:?}");
    ann.replies(asked.id, "demo");
    let asked = bot.sees(here, "2/4").await;
    ann.replies(asked.id, "switchboard demo-server");
    let asked = bot.sees(here, "3/4").await;
    ann.replies(asked.id, "-");
    let asked = bot.sees(here, "4/4").await;
    ann.replies(asked.id, "-");
    bot.sees(here, "Add demo?").await;
    bot.presses(&ann, "Apply", "demo · 6 tools").await;
    bot.says(&ann.at(there), "/mcp list", "No servers here yet")
        .await;
    let member = forum.member("Bob", Role::Member).at(here);
    bot.says(
        &member,
        "/mcp remove demo",
        "Only the creator and the administrators",
    )
    .await;
    bot.says(&member, "/mcp call demo echo text=members", "members")
        .await;
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_offered_and_a_secret_is_taken_out_of_the_chat() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    let file = br#"{"mcpServers": {"demo": {"command": "switchboard", "args": ["demo-server"], "env": {"API_TOKEN": "hush-hush-hush"}}}}"#;
    ann.sends_file("claude_desktop_config.json", file, "");
    bot.sees(ann.place, "Add demo?").await;
    bot.presses(&ann, "Apply", "demo · 6 tools").await;
    bot.says(&ann, "/mcp show demo", "API_TOKEN").await;
    assert!(
        bot.api.calls("DeleteMessage") + bot.api.calls("deleteMessage") > 0,
        "the file with the secret stays"
    );
    for method in ["sendMessage", "editMessageText", "sendDocument"] {
        let sent = format!("{:?}", bot.api.requests(method));
        assert!(!sent.contains("hush-hush"), "{method} sent the secret");
    }
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_migrates_keeps_its_servers_and_a_kick_stops_them() {
    let bot = Bot::start().await;
    let group = bot.api.group("Workshop");
    let ann = group.member("Ann", Role::Creator);
    bot.says(
        &ann,
        "/mcp add demo -- switchboard demo-server",
        "Add demo?",
    )
    .await;
    bot.presses(&ann, "Apply", "demo · 6 tools").await;
    let moved = group.migrates(true);
    let ann = ann.at(moved.place());
    bot.says(&ann, "/mcp list", "demo").await;
    let thread = switchboard::thread::ThreadId::telegram(moved.place().chat, None);
    assert!(bot.house.registry.snapshot(thread).is_some());
    moved.kicks_bot(&ann);
    bot.api.wait_for_confirmed().await;
    bot.house.desk.quiet().await;
    assert!(
        bot.house.registry.snapshot(thread).is_none(),
        "servers of a left chat are still there"
    );
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_difference_goes_as_a_file() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    let servers: serde_json::Map<String, Value> = (0..40)
        .map(|n| {
            (
                format!("s{n}"),
                serde_json::json!({"command": "true", "args": ["a", "b", "c"], "disabled": true}),
            )
        })
        .collect();
    let text = serde_json::json!({ "mcpServers": servers }).to_string();
    ann.sends_file("many.json", text.as_bytes(), "/mcp upload");
    bot.sees(ann.place, "Add 40 servers?").await;
    let file = bot
        .api
        .wait_for(ann.place, "a diff", |shown| {
            shown.iter().find_map(|one| one.document.clone())
        })
        .await;
    assert!(
        std::path::Path::new(&file.name)
            .extension()
            .is_some_and(|extension| extension == "diff"),
        "{}",
        file.name
    );
    bot.presses(&ann, "Apply", "Applied").await;
    bot.close().await;
}
