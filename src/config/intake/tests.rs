//! What is pasted or sent as a file → what is read of it.

mod remote;
mod texts;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What was read, in one line a thing: servers, offers, notes, or what is wrong.
fn told(name: Option<&str>, text: &str) -> Vec<String> {
    match intake(name, text.as_bytes()) {
        Ok(intake) => {
            let mut lines: Vec<String> = intake
                .local
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            lines.extend(intake.remote.iter().map(|offer| offer.connect.clone()));
            lines.extend(intake.notes);
            lines
        }
        Err(ConfigError::Syntax(error)) => {
            vec![
                format!("{}:{} {}", error.line, error.column, error.message),
                error.text,
            ]
        }
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
    }
}

#[test]
fn shapes_and_roots() {
    let server = r#"{"command": "x"}"#;
    let read = r#"a {"type":"stdio","command":"x","args":[]}"#;
    for (name, text, expected) in [
        (
            None,
            format!(r#"{{"mcpServers": {{"a": {server}}}}}"#),
            vec![read],
        ),
        (
            None,
            format!(r#"{{"servers": {{"a": {server}}}}}"#),
            vec![read, "`servers` was read as `mcpServers`."],
        ),
        (
            None,
            format!(r#"{{"mcp": {{"servers": {{"a": {server}}}}}, "editor.x": 1}}"#),
            vec![
                read,
                "1 other settings of the file were left out.",
                "`mcp.servers` was read as `mcpServers`.",
            ],
        ),
        (
            None,
            format!(r#"{{"mcp_servers": {{"a": {server}}}}}"#),
            vec![read, "`mcp_servers` was read as `mcpServers`."],
        ),
        (None, format!(r#"{{"a": {server}}}"#), vec![read]),
        (
            Some("b"),
            format!(r#"{{"a": {server}}}"#),
            vec![
                r#"b {"type":"stdio","command":"x","args":[]}"#,
                "`a` is named `b` here.",
            ],
        ),
        (Some("a"), server.to_owned(), vec![read]),
        (
            None,
            server.to_owned(),
            vec![
                r#"x {"type":"stdio","command":"x","args":[]}"#,
                "It had no name; it is named `x`.",
            ],
        ),
        (
            None,
            r#"{"name": "a", "command": "x"}"#.to_owned(),
            vec![read],
        ),
        (
            None,
            format!(r#"{{"servers": {server}}}"#),
            vec![r#"servers {"type":"stdio","command":"x","args":[]}"#],
        ),
        (
            None,
            r#"{"command": {"command": "x"}}"#.to_owned(),
            vec![r#"command {"type":"stdio","command":"x","args":[]}"#],
        ),
        (None, "{}".to_owned(), vec!["there is no server in it"]),
        (
            None,
            "[1]".to_owned(),
            vec!["expected an object with a server or with servers in it"],
        ),
        (
            None,
            r#"{"env": "x"}"#.to_owned(),
            vec!["`command`: missing"],
        ),
        (
            None,
            r#"{"mcpServers": []}"#.to_owned(),
            vec!["`mcpServers`: expected an object"],
        ),
        (None, String::new(), vec!["not JSON"]),
        (None, "hello".to_owned(), vec!["not JSON"]),
        (None, "#!/bin/sh\nf() { ls; }".to_owned(), vec!["not JSON"]),
        (
            None,
            "<style>a { color: red }</style>".to_owned(),
            vec!["not JSON"],
        ),
    ] {
        assert_eq!(told(name, &text), expected, "{text}");
    }
}

#[test]
fn a_whole_document_brings_what_stands_beside_its_servers() {
    let read = intake(None, br#"{"note": 1, "mcpServers": {}, "inputs": []}"#).unwrap();
    assert!(read.whole && read.local.is_empty());
    assert_eq!(
        read.rest.fields().map(|(name, _)| name).collect::<Vec<_>>(),
        ["note", "inputs"]
    );
    assert!(!intake(None, br#"{"a": {"command": "x"}}"#).unwrap().whole);
}

#[test]
fn fields_of_other_clients() {
    for (entry, expected, note) in [
        (
            json!({"cmd": "x", "envs": {"A": "1"}}),
            json!({"type": "stdio", "command": "x", "args": [], "env": {"A": "1"}}),
            "`a`: `cmd` was read as `command`.|`a`: `envs` was read as `env`.",
        ),
        (
            json!({"command": "x", "workingDirectory": "/d"}),
            json!({"type": "stdio", "command": "x", "args": [], "cwd": "/d"}),
            "`a`: `workingDirectory` was read as `cwd`.",
        ),
        (
            json!({"command": "x", "enabled": false}),
            json!({"type": "stdio", "command": "x", "args": [], "disabled": true}),
            "`a`: `enabled: false` was read as `disabled: true`.",
        ),
        (
            json!({"command": "x", "startup": false}),
            json!({"type": "stdio", "command": "x", "args": [], "disabled": true}),
            "`a`: `startup: false` was read as `disabled: true`.",
        ),
        (
            json!({"command": "x", "enabled": true}),
            json!({"type": "stdio", "command": "x", "args": []}),
            "`a`: `enabled: true` was left out.",
        ),
        (
            json!({"command": "x", "env": ["A=1", "B=c=d"]}),
            json!({"type": "stdio", "command": "x", "args": [], "env": {"A": "1", "B": "c=d"}}),
            "`a`: the list in `env` was read as names and values.",
        ),
        (
            json!({"command": "x", "env": [{"name": "A", "value": 1}]}),
            json!({"type": "stdio", "command": "x", "args": [], "env": {"A": "1"}}),
            "`a`: the list in `env` was read as names and values.|`a`: numbers and switches in `env` were read as text.",
        ),
        (
            json!({"command": "x", "args": ["-p", 3000, true]}),
            json!({"type": "stdio", "command": "x", "args": ["-p", "3000", "true"]}),
            "`a`: numbers and switches in `args` were read as text.",
        ),
        (
            json!({"command": "npx -y 'a b' c\\d"}),
            json!({"type": "stdio", "command": "npx", "args": ["-y", "a b", "c\\d"]}),
            "`a`: the text in `command` was split into a command and its `args`.",
        ),
        (
            json!({"command": "C:\\Program Files\\x.exe"}),
            json!({"type": "stdio", "command": "C:\\Program Files\\x.exe", "args": []}),
            "",
        ),
        (
            json!({"command": "my server", "args": ["x"]}),
            json!({"type": "stdio", "command": "my server", "args": ["x"]}),
            "",
        ),
        (
            json!({"command": "x", "args": "-y \"b c\""}),
            json!({"type": "stdio", "command": "x", "args": ["-y", "b c"]}),
            "`a`: the text in `args` was split into single arguments.",
        ),
        (
            json!({"type": "local", "command": ["npx", "-y", "p"], "environment": {"A": "1"}}),
            json!({"type": "stdio", "command": "npx", "args": ["-y", "p"], "env": {"A": "1"}}),
            "`a`: `environment` was read as `env`.|`a`: the list in `command` was read as a command and its `args`.",
        ),
        (
            json!({"command": {"path": "x", "args": ["1"], "env": null}, "settings": {}}),
            json!({"type": "stdio", "command": "x", "args": ["1"], "settings": {}}),
            "`a`: the object in `command` was read as a command with its `args` and `env`.",
        ),
        (
            json!({"command": "x", "cwd": "", "env": null}),
            json!({"type": "stdio", "command": "x", "args": []}),
            "`a`: the empty `env` was left out.|`a`: the empty `cwd` was left out.",
        ),
        (
            json!({"alwaysAllow": ["t"], "command": "x", "timeout": 60, "autoApprove": []}),
            json!({"type": "stdio", "alwaysAllow": ["t"], "command": "x", "args": [], "timeout": 60, "autoApprove": []}),
            "",
        ),
        (
            json!({"command": "x", "type": "custom"}),
            json!({"command": "x", "args": [], "type": "stdio"}),
            "`a`: its type `custom` was read as `stdio`.",
        ),
    ] {
        let text = json!({"mcpServers": {"a": entry}}).to_string();
        let mut lines = told(None, &text);
        assert_eq!(lines.remove(0), format!("a {expected}"), "{text}");
        assert_eq!(lines.join("|"), note, "{text}");
    }
}

#[test]
fn problems_of_all_entries_come_at_once_with_their_places() {
    let text = json!({"mcpServers": {"github": {"command": "npx", "args": ["-y", null]}, "b": {"args": []}, "c d": {"command": {}, "env": {"X": [1]}}, "e": 1,
        "f": {"type": "http"}, "g": {"url": 7}}});
    assert_eq!(
        told(None, &text.to_string()),
        [
            "`mcpServers.github.args[1]`: expected a string",
            "`mcpServers.b.command`: missing",
            "`mcpServers[\"c d\"].command`: expected a string",
            "`mcpServers[\"c d\"].env.X`: expected a string",
            "`mcpServers.e`: expected an object",
            "`mcpServers.f.url`: missing",
            "`mcpServers.g.url`: expected a string",
        ]
    );
    assert_eq!(
        told(Some("a"), r#"{"command": "x", "args": [null]}"#),
        ["`args[0]`: expected a string"]
    );
    assert_eq!(
        told(None, r#"{"servers": {"a": {"command": 1, "args": []}}}"#),
        ["`servers.a.command`: expected a string"]
    );
}

#[test]
fn names_are_made_safe_and_unique() {
    let text = json!({"My Weather Server": {"command": "x"}, "My-Weather-Server": {"command": "y"}, "Wetter/Ä": {"url": "https://w.example"}, "": {"command": "z"},
        "--network": {"url": "https://n.example"}});
    assert_eq!(
        told(None, &text.to_string()),
        [
            r#"My-Weather-Server {"type":"stdio","command":"x","args":[]}"#,
            r#"My-Weather-Server-2 {"type":"stdio","command":"y","args":[]}"#,
            r#"server {"type":"stdio","command":"z","args":[]}"#,
            "/mcp connect Wetter https://w.example",
            "/mcp connect network https://n.example",
            "`My Weather Server` is named `My-Weather-Server` here.",
            "`My-Weather-Server` is named `My-Weather-Server-2` here.",
            "`Wetter/Ä` is named `Wetter` here.",
            "`` is named `server` here.",
            "`--network` is named `network` here.",
        ]
    );
}

#[test]
fn bare_servers_are_named_after_what_they_run() {
    for (command, args, expected) in [
        (
            "npx",
            json!(["-y", "@modelcontextprotocol/server-everything"]),
            "everything",
        ),
        (
            "npx",
            json!([
                "-y",
                "@modelcontextprotocol/server-filesystem@2025.8.1",
                "/tmp"
            ]),
            "filesystem",
        ),
        (
            "npx -y @modelcontextprotocol/server-memory",
            json!([]),
            "memory",
        ),
        ("uvx", json!(["mcp-server-git", "--repository", "x"]), "git"),
        (
            "uvx",
            json!(["--from", "git+https://x", "serena"]),
            "serena",
        ),
        ("npx", json!(["@playwright/mcp@latest"]), "playwright"),
        ("npx", json!(["-y", "firecrawl-mcp"]), "firecrawl"),
        (
            "docker",
            json!([
                "run",
                "-i",
                "--rm",
                "-e",
                "GITHUB_TOKEN",
                "ghcr.io/github/github-mcp-server"
            ]),
            "github",
        ),
        ("node", json!(["/srv/weather/dist/index.js"]), "weather"),
        (
            "python",
            json!(["-m", "mcp_server_time"]),
            "mcp_server_time",
        ),
        ("python", json!(["/srv/weather/server.py"]), "weather"),
        ("/usr/local/bin/my-mcp-server", json!([]), "my"),
        ("npx", json!([]), "npx"),
    ] {
        let text = json!({"command": command, "args": args}).to_string();
        let read = intake(None, text.as_bytes()).unwrap();
        assert_eq!(read.local[0].0, expected, "{text}");
    }
    assert_eq!(
        told(None, r#"{"url": "https://mcp.weather.example/x"}"#)[0],
        "/mcp connect weather https://mcp.weather.example/x"
    );
}

#[test]
fn what_does_nothing_here_is_told() {
    let long = "x".repeat(65);
    for (text, expected) in [
        (
            json!({"a": {"command": "x", "envFile": ".env"}}),
            "`a`: `envFile` does nothing here; give its variables in `env`.".to_owned(),
        ),
        (
            json!({"a": {"type": "http", "url": "ftp://x"}}),
            "`a.url`: expected an address that begins with http:// or https://".to_owned(),
        ),
        (
            json!({"a": {"command": "x", "env": {"A B": "1"}}}),
            "`a.env[\"A B\"]`: a variable's name must not be empty or have white space, `=` or a control character in it"
                .to_owned(),
        ),
        (
            json!({"mcpServers": {long.clone(): {"command": "x"}}}),
            format!("`{long}` is named `{}` here: 64 characters are the most.", &long[1..]),
        ),
    ] {
        let all = told(None, &text.to_string());
        assert_eq!(all.last(), Some(&expected), "{all:?}");
    }
}

#[test]
fn what_must_be_filled_in_is_named() {
    let text = json!({"inputs": [{"type": "promptString", "id": "tok", "description": "GitHub token", "password": true}],
        "servers": {"github": {"command": "x", "env": {"T": "${input:tok}", "U": "${input:other}"}}}});
    let notes = intake(None, text.to_string().as_bytes()).unwrap().notes;
    assert_eq!(
        notes[1..],
        [
            "`inputs` does nothing here, nobody is asked; give the values themselves in `env` or `args`.",
            "`github` needs a value in place of `${input:tok}`: GitHub token.",
            "`github` needs a value in place of `${input:other}`: other.",
        ]
    );
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = intake(None, &bytes);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,40}|([{}\\[\\]:, \n]|\"a\"|“|”|//|/\\*|\\*/|```|\"command\"|\"mcpServers\":|\"url\":|\"\\$\\{input:|\\\\|ä|cursor://x\\?config=|vscode:\\?|%7B|%|1|null){0,24}") {
        let _ = intake(Some(&text), text.as_bytes());
        let _ = intake(None, text.as_bytes());
    }

    #[test]
    fn what_is_taken_is_valid(fields in prop::collection::vec(("command|cmd|args|env|cwd|type|enabled|url|x|disabled", prop_oneof![
        Just(json!(null)), Just(json!(1)), Just(json!(true)), Just(json!("a b")), Just(json!("stdio")), Just(json!(["x", 1])), Just(json!({"A": 1})),
        Just(json!(["A=1"])), Just(json!({"path": "x", "args": [1]})), Just(json!([])), Just(json!("")),
    ]), 0..6), name in "\\PC{0,70}") {
        let entry: Map<String, Value> = fields.into_iter().collect();
        if let Ok(read) = intake(None, json!({"mcpServers": {name: entry}}).to_string().as_bytes()) {
            let mut servers = Map::new();
            for (name, value) in read.local {
                prop_assert!(ServerName::new(&name).is_ok());
                servers.insert(name, value);
            }
            let mut document = Map::new();
            document.insert(SERVERS.to_owned(), Value::Object(servers));
            let files = super::super::Files { local: Document(document), ..Default::default() };
            prop_assert!(files.check().is_ok());
        }
    }

    #[test]
    fn names_made_safe_are_names(text in "\\PC{0,100}|[ -]{0,70}|[a ]{60,80}|.{0,20}") {
        prop_assert!(ServerName::new(ServerName::made_safe(&text).as_str()).is_ok());
    }
}
