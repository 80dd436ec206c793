//! Adding: the demo server, one line, guided, JSON, files.

use serde_json::{Value, json};
use switchboard::thread::ThreadId;

use crate::support::chat::steady;
use crate::support::world::World;

fn config(world: &World) -> Value {
    serde_json::from_str(&world.config(ThreadId::Local).expect("nothing was written")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_server_is_two_presses_away() {
    let world = World::open();
    let ann = world.ann();
    insta::assert_snapshot!("welcome", steady(&ann.says("/start").await));
    insta::assert_snapshot!(
        "demo_proposal",
        steady(&ann.presses("Try the demo server").await)
    );
    assert_eq!(world.config(ThreadId::Local), None, "written before Apply");
    insta::assert_snapshot!("demo_applied", steady(&ann.presses("Apply").await));
    assert_eq!(
        config(&world),
        json!({"mcpServers": {"demo": {"type": "stdio", "command": "switchboard", "args": ["demo-server"]}}})
    );
    insta::assert_snapshot!("demo_tools", steady(&ann.presses("Tools").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_all_of_it_is_shown_before_anything_runs() {
    let world = World::open();
    let ann = world.ann();
    let long = format!("--about={}", "word ".repeat(600));
    let mark = world.data().join("it-ran");
    let line = format!(
        "/mcp add x -e MODE=fast --cwd /tmp -- touch {} '{long}'",
        mark.display()
    );
    let proposal = ann.says(&line).await;
    for part in [&*long, "touch", "MODE", "/tmp", "sandbox"] {
        assert!(proposal.contains(part), "{part} is not shown: {proposal}");
    }
    ann.presses("Cancel").await;
    let snapshot = world.house.registry.snapshot(ThreadId::Local);
    assert!(snapshot.is_none_or(|snapshot| snapshot.servers.is_empty()));
    assert!(!mark.exists(), "it ran before anybody agreed");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_adds_with_env_and_folder_and_hides_the_secret() {
    let world = World::open();
    let ann = world.ann();
    let line = "/mcp add \"My Demo\" -e MODE=fast -e API_TOKEN=hush-hush-hush --cwd /tmp -- switchboard demo-server".to_string();
    let proposal = ann.says(&line).await;
    insta::assert_snapshot!("one_line_proposal", steady(&proposal));
    assert_eq!(
        world.chat.deleted().len(),
        1,
        "the message with the secret stays in the chat"
    );
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*My-Demo* · 6 tools"), "{applied}");
    assert_eq!(
        config(&world)["mcpServers"]["My-Demo"]["env"],
        json!({"MODE": "fast", "API_TOKEN": "${secret:API_TOKEN}"})
    );
    let shown = ann.says("/mcp show My-Demo").await;
    assert!(
        shown.contains("fast") && !world.transcript(ThreadId::Local).contains("hush-hush"),
        "{shown}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guided_add_asks_one_thing_a_step() {
    let world = World::open();
    let ann = world.ann();
    insta::assert_snapshot!("guided_1", steady(&ann.says("/mcp add").await));
    insta::assert_snapshot!("guided_2", steady(&ann.says("my server").await));
    ann.presses("Back").await;
    ann.says("demo").await;
    insta::assert_snapshot!(
        "guided_3",
        steady(&ann.says("switchboard demo-server").await)
    );
    let wrong = ann.says("no equals sign").await;
    assert!(wrong.contains("`KEY=value`"), "{wrong}");
    insta::assert_snapshot!(
        "guided_4",
        steady(&ann.says("A=1\nexport B=\"two words\"").await)
    );
    // A path is an answer here, not a command.
    let proposal = ann.says("/tmp").await;
    assert!(proposal.contains("# Add demo?"), "{proposal}");
    ann.presses("Apply").await;
    assert_eq!(
        config(&world)["mcpServers"]["demo"]["env"],
        json!({"A": "1", "B": "two words"})
    );
    assert_eq!(config(&world)["mcpServers"]["demo"]["cwd"], "/tmp");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_says_what_it_cancelled() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add").await;
    assert!(
        ann.says("/cancel")
            .await
            .contains("Cancelled adding a server")
    );
    assert!(ann.says("/cancel").await.contains("nothing to cancel"));
    ann.says("/mcp add").await;
    assert!(
        ann.presses("Cancel")
            .await
            .contains("Cancelled adding a server")
    );
    ann.says("/start").await;
    ann.presses("Try the demo server").await;
    assert!(ann.presses("Cancel").await.contains("Nothing was changed"));
    assert_eq!(world.config(ThreadId::Local), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_every_shape_is_taken_and_remote_entries_are_named() {
    let world = World::open();
    let ann = world.ann();
    let json = "/mcp add-json ```json\n{“mcpServers”: {\"My Demo\": {\"command\": \"switchboard\", \"args\": [\"demo-server\"], \"x-note\": {\"kept\": [1, 2]}}, \
         \"hub\": {\"url\": \"https://mcp.example.com/mcp\", \"headers\": {\"Authorization\": \"Bearer hush-hush-hush\"}}}}\n```".to_string();
    let proposal = ann.says(&json).await;
    insta::assert_snapshot!("json_proposal", steady(&proposal));
    ann.presses("Apply").await;
    assert_eq!(
        config(&world)["mcpServers"],
        json!({"My-Demo": {"type": "stdio", "command": "switchboard", "args": ["demo-server"], "x-note": {"kept": [1, 2]}}})
    );
    assert!(!world.transcript(ThreadId::Local).contains("hush-hush"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_adds_or_replaces_and_a_download_brings_it_back() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add old -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let file = json!({
        "globalShortcut": "Ctrl+Space",
        "mcpServers": {"new": {"type": "stdio", "command": "switchboard", "args": ["demo-server"], "env": {"API_KEY": "hush-hush-hush"}, "autoApprove": ["echo"]}}
    });
    let bytes = serde_json::to_vec(&file).unwrap();
    insta::assert_snapshot!(
        "upload_proposal",
        steady(&ann.sends("claude_desktop_config.json", &bytes, "").await)
    );
    insta::assert_snapshot!("upload_replaces", steady(&ann.presses("Replace all").await));
    let applied = ann.presses("Apply").await;
    assert!(
        applied.contains("*new* · 6 tools") && applied.contains("*old* · gone"),
        "{applied}"
    );
    assert_eq!(
        config(&world)["mcpServers"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["new"]
    );
    assert_eq!(config(&world)["globalShortcut"], "Ctrl+Space");

    insta::assert_snapshot!("undo_replaced", steady(&ann.says("/mcp undo").await));
    ann.presses("Cancel").await;
    insta::assert_snapshot!("download", steady(&ann.says("/mcp download").await));
    let sent = world
        .chat
        .newest(ThreadId::Local)
        .view
        .attachments
        .remove(0);
    let text = String::from_utf8(sent.bytes.to_vec()).unwrap();
    assert!(
        text.contains("autoApprove")
            && text.contains("globalShortcut")
            && !text.contains("hush-hush"),
        "{text}"
    );
    let again = ann.sends("mcp.json", text.as_bytes(), "/mcp upload").await;
    assert!(again.contains("nothing to change"), "{again}");
    assert_eq!(
        config(&world)["mcpServers"]["new"]["env"]["API_KEY"],
        "${secret:API_KEY}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_and_changes_nothing() {
    let world = World::open();
    let ann = world.ann();
    insta::assert_snapshot!(
        "bad_syntax",
        ann.says(
            "/mcp add-json {\"mcpServers\": {\n  \"a\": {\"command\": \"x\",, \"args\": []}\n}}"
        )
        .await
    );
    insta::assert_snapshot!(
        "bad_schema",
        ann.says("/mcp add-json {\"mcpServers\": {\"github\": {\"command\": \"npx\", \"args\": [\"-y\", {\"a\": 1}]}, \"b\": {\"command\": 7}, \"c\": {}}}").await
    );
    ann.says("/mcp upload").await;
    insta::assert_snapshot!(
        "bad_picture",
        ann.sends("cat.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe", "")
            .await
    );
    insta::assert_snapshot!(
        "bad_page",
        ann.sends("page.json", b"<!doctype html><p>sign in", "")
            .await
    );
    insta::assert_snapshot!(
        "bad_size",
        ann.sends("huge.json", &vec![b' '; 300 * 1024], "").await
    );
    insta::assert_snapshot!("bad_kind", ann.says("/cancel").await);
    insta::assert_snapshot!("not_asked_for", ann.sends("notes.txt", b"hello", "").await);
    assert_eq!(world.config(ThreadId::Local), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_are_answered() {
    let world = World::open();
    let ann = world.ann();
    let many: serde_json::Map<String, Value> = (0..65)
        .map(|n| (format!("s{n}"), json!({"command": "x", "args": []})))
        .collect();
    let answer = ann
        .says(&format!("/mcp add-json {}", json!({ "mcpServers": many })))
        .await;
    assert!(answer.contains("64"), "{answer}");
    let long = "x".repeat(9 * 1024);
    let answer = ann
        .says(&format!("/mcp add big -- switchboard {long}"))
        .await;
    assert!(answer.contains('8'), "{answer}");
    assert_eq!(world.config(ThreadId::Local), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d37_uploads_are_bounded_and_say_nothing_twice() {
    let world = World::open();
    let ann = world.ann();
    let server = r#"{"command": "switchboard", "args": ["demo-server"]}"#;
    let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
    for (name, bytes, told) in [
        ("size", vec![b' '; 256 * 1024 + 1], "at most 256 KiB"),
        (
            "depth",
            format!(r#"{{"mcpServers": {{"a": {server}}}, "x": {deep}}}"#).into_bytes(),
            "16",
        ),
        (
            "a server twice",
            format!(r#"{{"mcpServers": {{"a": {server}, "a": {server}}}}}"#).into_bytes(),
            "twice",
        ),
        (
            "a field twice",
            br#"{"mcpServers": {"a": {"command": "x", "command": "y"}}}"#.to_vec(),
            "twice",
        ),
    ] {
        let answer = ann.sends("servers.json", &bytes, "").await;
        assert!(answer.contains(told), "{name}: {answer}");
        assert!(!answer.contains("[Apply]"), "{name}: {answer}");
    }
    assert_eq!(world.config(ThreadId::Local), None);
    let text = format!(
        "\u{feff}{{\"mcpServers\": {{\"demo\": {server}}}, \"__proto__\": {{\"command\": \"x\"}}}}"
    );
    ann.sends("servers.json", text.as_bytes(), "").await;
    assert!(ann.presses("Apply").await.contains("*demo* · 6 tools"));
    let config: Value = serde_json::from_str(&world.config(ThreadId::Local).unwrap()).unwrap();
    let servers = config["mcpServers"].as_object().unwrap();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["demo"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_what_is_there_offers_only_to_replace_the_rest() {
    let world = World::open();
    let ann = world.ann();
    let entry = json!({"type": "stdio", "command": "switchboard", "args": ["demo-server"]});
    let all = json!({"mcpServers": {"a": entry, "b": entry, "c": entry}});
    ann.sends("all.json", all.to_string().as_bytes(), "").await;
    ann.presses("Apply").await;
    let two = json!({"mcpServers": {"a": entry, "b": entry}});
    let told = ann.sends("two.json", two.to_string().as_bytes(), "").await;
    insta::assert_snapshot!("upload_there_already", steady(&told));
    let replaces = ann.presses("Replace all").await;
    assert!(replaces.contains("removes *c*"), "{replaces}");
    let back = ann.presses("Only add").await;
    assert!(
        back.contains("nothing to change") && !back.contains("[Apply]"),
        "{back}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_the_tier_stands_in_every_proposal_about_a_local_server() {
    let world = World::with_demo().await;
    let ann = world.ann();
    for line in [
        // Another server runs the very same.
        "/mcp add twin -- switchboard demo-server",
        "/mcp edit demo args=demo-server",
        "/mcp edit demo args='demo-server more'",
        "/mcp edit demo env.A=1",
        "/mcp rename demo toys",
    ] {
        let proposal = ann.says(line).await;
        if proposal.contains("nothing to change") {
            continue;
        }
        assert!(proposal.contains("sandbox"), "{line}: {proposal}");
        ann.presses("Cancel").await;
    }
    world.close().await;
}
