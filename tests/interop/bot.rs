//! The whole table of commands on Telegram's stand-in, with servers that nobody here wrote.

use std::path::Path;

use serde_json::{Value, json};

use crate::servers::{EVERYTHING, FILESYSTEM, MEMORY, Published};
use crate::support::bot_api::Person;
use crate::support::telegram::Bot;

/// Ends the bot, and keeps what it sent for the check against aiogram's models.
async fn close(bot: Bot) {
    let api = bot.close().await;
    if let Some(path) = std::env::var_os("SWITCHBOARD_RECORD_REQUESTS") {
        api.dump_requests(Path::new(&path));
    }
}

fn node(server: &Published) -> String {
    // The program is a script with `node` in its first line.
    server.path().display().to_string()
}

async fn apply(bot: &Bot, person: &Person, line: &str, ready: &str) {
    bot.says(person, line, "What to know before you apply it")
        .await;
    bot.presses(person, "Apply", ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_table_works_with_server_everything() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    let program = node(&EVERYTHING);
    bot.says(&ann, "/start", "There are no servers here yet")
        .await;
    bot.says(&ann, "/help", "What you can type").await;
    bot.says(&ann, "/mcp help add", "Adds a server").await;

    // add: guided, in one line, as JSON, as a file
    bot.says(&ann, "/mcp add", "1/4").await;
    bot.says(&ann, "everything", "2/4").await;
    bot.says(&ann, &program, "3/4").await;
    bot.says(&ann, "MODE=fast", "4/4").await;
    bot.presses(&ann, "Skip", "Add everything?").await;
    bot.presses(&ann, "Apply", "🟢 everything ·").await;
    apply(
        &bot,
        &ann,
        &format!("/mcp add again -- {program}"),
        "🟢 again ·",
    )
    .await;
    let json = json!({"third": {"command": program, "args": [], "x-kept": 1}, "hub": {"url": "https://mcp.example.com/mcp"}});
    bot.says(&ann, &format!("/mcp add-json {json}"), "Add third?")
        .await;
    let offer = "/mcp connect hub https://mcp.example.com/mcp";
    let offered = bot.sees(ann.place, offer).await;
    let labels = offered.buttons.iter().flatten().map(|(label, _)| label);
    assert!(
        labels.clone().any(|label| label == "Connect hub"),
        "{offered:?}"
    );
    bot.presses(&ann, "Apply", "🟢 third ·").await;
    let file =
        json!({"mcpServers": {"fourth": {"command": program, "disabled": true}}}).to_string();
    bot.says(&ann, "/mcp upload", "Upload a file").await;
    ann.sends_file("mcp.json", file.as_bytes(), "");
    bot.sees(ann.place, "Add fourth?").await;
    bot.presses(&ann, "Apply", "fourth · off").await;
    ann.says("/mcp download");
    let sent = bot
        .api
        .wait_for(ann.place, "mcp.json", |shown| {
            shown.iter().find_map(|one| one.document.clone())
        })
        .await;
    let config: Value = serde_json::from_slice(&sent.bytes).expect("the download is JSON");
    let names: Vec<&String> = config["mcpServers"]
        .as_object()
        .expect("servers")
        .keys()
        .collect();
    assert_eq!(names, ["everything", "again", "third", "fourth"]);
    assert_eq!(config["mcpServers"]["third"]["x-kept"], 1);

    // look
    bot.says(&ann, "/mcp", "Servers in this chat").await;
    bot.says(&ann, "/mcp list", "fourth").await;
    bot.says(&ann, "/mcp show everything", "MODE").await;
    bot.says(&ann, "/mcp tools", "tools in this chat").await;
    bot.says(&ann, "/mcp tools everything", "Tools of everything")
        .await;
    bot.says(&ann, "/mcp status", "Health").await;
    bot.says(&ann, "/mcp logs everything", "Log of everything")
        .await;
    bot.says(&ann, "/mcp test everything", "everything works")
        .await;

    // call
    bot.says(
        &ann,
        "/mcp call everything echo message=hello-there",
        "hello-there",
    )
    .await;
    bot.says(
        &ann,
        "/mcp call everything get-sum {\"a\": 2, \"b\": 40}",
        "42",
    )
    .await;
    bot.says(&ann, "/mcp call everything get-sum a=2 b=many", "expected")
        .await;
    bot.says(&ann, "/mcp call everything get-sum a=3", "What is b?")
        .await;
    bot.says(&ann, "39", "42").await;
    ann.says("/mcp call everything get-tiny-image");
    bot.api
        .wait_for(ann.place, "a picture", |shown| {
            shown.iter().find_map(|one| one.photo.clone())
        })
        .await;
    let running = bot
        .says(
            &ann,
            "/mcp call everything trigger-long-running-operation duration=30 steps=300",
            "▱",
        )
        .await;
    let stopped = bot.presses(&ann, "Stop", "Stopped").await;
    assert_eq!(running.id, stopped.id);
    bot.says(
        &ann,
        "/mcp call everything get-resource-links count=2",
        "🔗",
    )
    .await;

    // change
    apply(
        &bot,
        &ann,
        "/mcp edit everything env.MODE=slow env.NEW=1",
        "🟢 everything ·",
    )
    .await;
    bot.says(
        &ann,
        "/mcp rename again renamed",
        "Rename again to renamed?",
    )
    .await;
    bot.presses(&ann, "Apply", "🟢 renamed ·").await;
    bot.says(&ann, "/mcp disable renamed", "renamed · off")
        .await;
    bot.says(&ann, "/mcp enable renamed", "Enable renamed?")
        .await;
    bot.presses(&ann, "Apply", "🟢 renamed ·").await;
    bot.says(&ann, "/mcp restart renamed", "🟢 renamed ·").await;
    bot.says(&ann, "/mcp remove renamed", "Remove renamed?")
        .await;
    bot.presses(&ann, "Apply", "renamed · gone").await;
    bot.says(&ann, "/mcp history", "remove renamed").await;
    bot.says(&ann, "/mcp undo", "Undo “remove renamed”?").await;
    bot.presses(&ann, "Apply", "🟢 renamed ·").await;
    bot.says(&ann, "/cancel", "nothing to cancel").await;
    close(bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_filesystem_is_added_listed_and_called() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("its path");
    apply(
        &bot,
        &ann,
        &format!(
            "/mcp add files -- {} {}",
            node(&FILESYSTEM),
            folder.display()
        ),
        "🟢 files ·",
    )
    .await;
    bot.says(&ann, "/mcp tools files", "read_text_file").await;
    let path = folder.join("note.txt");
    bot.says(
        &ann,
        &format!(
            "/mcp call files write_file path={} content=\"from the chat\"",
            path.display()
        ),
        "✅ write_file",
    )
    .await;
    assert_eq!(
        std::fs::read_to_string(&path).expect("the file"),
        "from the chat"
    );
    bot.says(
        &ann,
        &format!("/mcp call files read_text_file path={}", path.display()),
        "from the chat",
    )
    .await;
    close(bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_memory_is_added_listed_and_called() {
    let bot = Bot::start().await;
    let ann = bot.api.private_chat("Ann");
    let kept = tempfile::tempdir().expect("a folder");
    let file = kept.path().join("memory.jsonl");
    apply(
        &bot,
        &ann,
        &format!(
            "/mcp add memory -e MEMORY_FILE_PATH={} -- {}",
            file.display(),
            node(&MEMORY)
        ),
        "🟢 memory ·",
    )
    .await;
    bot.says(&ann, "/mcp tools memory", "create_entities").await;
    let entity = json!({"entities": [{"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}]});
    bot.says(
        &ann,
        &format!("/mcp call memory create_entities {entity}"),
        "✅ create_entities",
    )
    .await;
    bot.says(&ann, "/mcp call memory read_graph", "wrote programs")
        .await;
    close(bot).await;
}
