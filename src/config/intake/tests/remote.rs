//! Remote entries: offered one by one, without their secrets.

use super::*;

#[test]
fn remote_entries_are_offered_without_their_secrets() {
    for (entry, expected) in [
        (
            json!({"url": "https://h.example/mcp"}),
            "/mcp connect a https://h.example/mcp",
        ),
        (
            json!({"type": "streamable-http", "url": "https://h.example"}),
            "/mcp connect a https://h.example",
        ),
        (
            json!({"httpUrl": "https://h.example"}),
            "/mcp connect a https://h.example",
        ),
        (
            json!({"serverUrl": "https://h.example/sse"}),
            "/mcp connect a https://h.example/sse",
        ),
        (
            json!({"type": "sse", "url": "https://me:hidden@h.example/?region=eu&api_key=hidden&x=1"}),
            "/mcp connect a https://h.example/?region=eu&x=1",
        ),
        (
            json!({"type": "http", "url": "https://h.example", "headers": {"Authorization": "Bearer hidden1"}}),
            "/mcp connect a https://h.example",
        ),
        (
            json!({"type": "websocket", "url": "wss://h.example"}),
            "/mcp connect a wss://h.example",
        ),
        (
            json!({"type": "http", "url": "https://h.example", "auth": {"oauth": "hidden"}}),
            "/mcp connect a https://h.example --oauth",
        ),
        (
            json!({"type": "http", "url": "https://h.example", "auth": {"bearer": "${secret:hidden}"}}),
            "/mcp connect a https://h.example --bearer",
        ),
        (
            json!({"type": "sse", "url": "https://h.example", "auth": {"api_key": {"header": "X-Key", "value": "hidden"}}}),
            "/mcp connect a https://h.example --api-key X-Key",
        ),
        (
            json!({"type": "sse", "url": "https://h.example", "auth": {"api_key": {"header": "a\n/mcp remove b"}}}),
            "/mcp connect a https://h.example",
        ),
        (
            json!({"url": "https://h.example/x\n/mcp remove b"}),
            "/mcp connect a https://h.example/x%0A/mcp%20remove%20b",
        ),
        (
            json!({"url": "https://h.example/it's\"a\\b”\u{200b}c"}),
            "/mcp connect a https://h.example/it%27s%22a%5Cb%E2%80%9D%E2%80%8Bc",
        ),
    ] {
        let text = json!({"mcpServers": {"a": entry}}).to_string();
        let lines = told(None, &text);
        assert_eq!(lines[0], expected);
        assert!(!lines.join("\n").contains("hidden"), "{lines:?}");
    }
    // A command wins over an address that only stands beside it.
    let both = json!({"mcpServers": {"a": {"command": "npx", "args": ["mcp-remote"], "url": "https://h.example"}}}).to_string();
    assert!(told(None, &both)[0].starts_with("a {"));
}

#[test]
fn a_whole_remote_file_is_offered_one_by_one_and_changes_nothing() {
    let text = json!({"$schema": "x", "mcpServers": {
        "a": {"type": "http", "url": "https://a.example", "auth": {"oauth": "a"}, "timeout_ms": 5},
        "b": {"type": "sse", "url": "https://b.example", "disabled": true}}});
    let read = intake(None, text.to_string().as_bytes()).unwrap();
    assert!(read.whole && read.local.is_empty());
    let lines: Vec<&str> = read.remote.iter().map(|o| o.connect.as_str()).collect();
    assert_eq!(
        lines,
        [
            "/mcp connect a https://a.example --oauth",
            "/mcp connect b https://b.example"
        ]
    );
}
