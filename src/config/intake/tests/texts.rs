//! What is pasted that is no plain JSON.

use super::*;

#[test]
fn texts_of_phones_and_editors_are_forgiven() {
    let read = r#"a {"type":"stdio","command":"x","args":["--y","it’s “so”"]}"#;
    let good = r#"{"a": {"command": "x", "args": ["--y", "it’s “so”"]}}"#;
    let plain = r#"a {"type":"stdio","command":"x","args":[]}"#;
    let quotes = "Quotes of a phone's keyboard were made straight.";
    for (text, expected) in [
        (good.to_owned(), vec![read]),
        (format!("```json\n{good}\n```"), vec![read]),
        (format!("```\n{good}\n```"), vec![read]),
        (format!("```{good}```"), vec![read]),
        (
            format!("Try this:\n```json\n{good}\n```\nand tell me"),
            vec![read],
        ),
        (
            format!("```sh\nnpm i\n```\n```json\n{good}\n```"),
            vec![read],
        ),
        (format!("```json\n{good}"), vec![read]),
        (
            format!("Here it is: {good} — thanks"),
            vec![read, "The text around the JSON was left out."],
        ),
        (
            format!("`{good}`"),
            vec![read, "The text around the JSON was left out."],
        ),
        ("{“a”: {„command“: “x”}}".to_owned(), vec![quotes, plain]),
        (
            "{“a”: {“command”: “x”, “args”: [“—y”, “–z”, “–long”, “a—b”]}}".to_owned(),
            vec![
                quotes,
                r#"a {"type":"stdio","command":"x","args":["--y","-z","--long","a—b"]}"#,
            ],
        ),
        (
            "{\"a\":\u{a0}{\"command\": \"x\"}}".to_owned(),
            vec!["Unusual blanks were made plain ones.", plain],
        ),
        (
            "{\"a\": {\"command\": \"x\",}, }".to_owned(),
            vec!["Commas before a closing bracket were taken away.", plain],
        ),
        (
            "// mine\n{\"a\": /* b */ {\"command\": \"x\"} // http://c\n}".to_owned(),
            vec!["Comments were taken away.", plain],
        ),
        (
            "\"a\": {\"command\": \"x\"}".to_owned(),
            vec!["The braces around it were added.", plain],
        ),
        (
            "\"a\": {\"command\": \"x\"},\n".to_owned(),
            vec!["The braces around it were added.", plain],
        ),
    ] {
        let mut lines = told(None, &text);
        let mut expected = expected;
        lines.sort();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{text}");
    }
}

#[test]
fn what_cannot_be_mended_is_told_where_it_was_pasted() {
    for (text, expected) in [
        (
            "{\n  \"a\": {\"command\": \"x\"\n  \"b\": 1\n}",
            vec![
                "3:3 a `,` or the closing `}` is expected here",
                "  \"b\": 1",
            ],
        ),
        (
            "look:\n```json\n{\"a\": ]}\n```",
            vec![
                "3:7 a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, or something in `{…}` or `[…]`",
                "{\"a\": ]}",
            ],
        ),
        (
            "{“a”: 1,\n “b” 2}",
            vec![
                "2:6 a `:` is expected here, between a name and its value",
                " “b” 2}",
            ],
        ),
        (
            "\"a\": {\"b\": ]}",
            vec![
                "1:12 a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, or something in `{…}` or `[…]`",
                "\"a\": {\"b\": ]}",
            ],
        ),
        (
            "{\"a\": {\"command\": \"x\"}, \"a\": {\"command\": \"y\"}}",
            vec!["`a`: is there twice; only one of them can be meant"],
        ),
    ] {
        let mut lines = told(None, text);
        if lines.len() == 2 {
            lines[1] = lines[1].trim_end().to_owned();
        }
        assert_eq!(lines, expected, "{text}");
    }
}

#[test]
fn install_links_are_read() {
    let plain = r#"a {"type":"stdio","command":"npx","args":["-y","p"]}"#;
    let base64 = "eyJjb21tYW5kIjoibnB4IiwiYXJncyI6WyIteSIsInAiXX0=";
    for link in [
        format!("cursor://anysphere.cursor-deeplink/mcp/install?name=a&config={base64}"),
        format!("<cursor://anysphere.cursor-deeplink/mcp/install?name=a&config={}>", base64.replace('=', "%3D")),
        format!("https://cursor.com/install-mcp?name=a&config={}", base64.trim_end_matches('=')),
        "vscode:mcp/install?%7B%22name%22%3A%22a%22%2C%22command%22%3A%22npx%22%2C%22args%22%3A%5B%22-y%22%2C%22p%22%5D%7D".to_owned(),
        "https://vscode.dev/redirect/mcp/install?name=a&config=%7B%22command%22%3A%22npx%22%2C%22args%22%3A%5B%22-y%22%2C%22p%22%5D%7D".to_owned(),
        "https://insiders.vscode.dev/redirect?url=vscode%3Amcp%2Finstall%3F%257B%2522name%2522%253A%2522a%2522%252C%2522command%2522%253A%2522npx%2522%252C%2522args%2522%253A%255B%2522-y%2522%252C%2522p%2522%255D%257D".to_owned(),
    ] {
        assert_eq!(told(None, &link), [plain], "{link}");
    }
    let broken = ["the install link holds no readable server; paste the server's JSON instead"];
    assert_eq!(
        told(None, "cursor://x/mcp/install?name=a&config=%%%"),
        broken
    );
    assert_eq!(told(None, "vscode:mcp/install?{oops"), broken);
    assert_eq!(told(None, "https://example.com/?x=1"), ["not JSON"]);
}

#[test]
fn other_languages_are_recognised() {
    for (text, expected) in [
        (
            "[mcp_servers.github]\ncommand = \"npx\"",
            "this is Codex's TOML",
        ),
        ("mcp_servers:\n  github:\n    command: npx", "this is YAML"),
        ("extensions:\n  a:\n    cmd: npx", "this is YAML"),
        ("claude mcp add x -- npx -y p", "this is a command line"),
        ("$ npx -y p", "this is a command line"),
        (
            r#"{"name": "io.x/y", "packages": [{}]}"#,
            "this is a registry's server.json",
        ),
    ] {
        let lines = told(None, text);
        assert!(lines[0].starts_with(expected), "{lines:?}");
    }
    assert_eq!(
        told(None, &"x".repeat(300_000)),
        ["300000 bytes; at most 262144 are allowed"]
    );
    assert_eq!(intake(None, &[0xff, 0xfe]), Err(ConfigError::NotUtf8));
}
