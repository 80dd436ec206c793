//! What is typed → what is asked for.

mod properties;
mod servers;
mod values;

use super::*;

/// The request in a short form that shows everything that was read, or the error.
fn told(text: &str) -> String {
    match read(text, Some("OurBot")) {
        Ok(request) => shown(request),
        Err(CommandError::Unknown { typed, nearest }) => {
            format!("unknown {typed}, nearest {}", nearest.unwrap_or("none"))
        }
        Err(CommandError::Usage { what, usage }) => {
            let command: Vec<&str> = usage.split(' ').take(2).collect();
            format!("usage of {}: {what}", command.join(" "))
        }
        Err(CommandError::OpenQuote(at)) => format!("open quote at {at}"),
        Err(CommandError::Json(e)) => format!(
            "json {}:{} {} | {} | caret {}",
            e.line, e.column, e.message, e.text, e.caret
        ),
    }
}

#[expect(clippy::too_many_lines, reason = "a line for each command")]
fn shown(request: Request) -> String {
    let pairs = |pairs: Vec<(String, String)>| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("<{k}={v}>")).collect();
        pairs.concat()
    };
    let command = request.command();
    match request {
        Request::Help
        | Request::Cancel
        | Request::Panel
        | Request::Upload
        | Request::List
        | Request::Status
        | Request::History
        | Request::Undo
        | Request::Settings
        | Request::Secrets
        | Request::NotForUs => command.to_owned(),
        Request::Admin(asked) => format!("{command} {asked:?}"),
        Request::Audit(wish) => format!("{command} {wish:?}"),
        Request::Start(text)
        | Request::HelpFor(text)
        | Request::Tools(text)
        | Request::AddGuided(text)
        | Request::ConnectGuided(text) => {
            format!("{command} ({})", text.as_deref().unwrap_or("none"))
        }
        Request::Show(name)
        | Request::Remove(name)
        | Request::Enable(name)
        | Request::Disable(name)
        | Request::Test(name)
        | Request::Logs(name)
        | Request::Restart(name)
        | Request::Logout(name) => format!("{command} {name}"),
        Request::Connect(line) => format!(
            "{command} ({}) {} {}{} client {}",
            line.name.as_deref().unwrap_or("none"),
            line.url,
            pairs(line.headers),
            match line.auth {
                ConnectAuth::Ask => "ask".to_owned(),
                ConnectAuth::None => "nothing".to_owned(),
                ConnectAuth::Bearer(token) => format!("bearer {token:?}"),
                ConnectAuth::ApiKey { header, key } => format!("key {header:?} {key:?}"),
                ConnectAuth::OAuth => "oauth".to_owned(),
            },
            line.client_id.as_deref().unwrap_or("none"),
        ),
        Request::RemoveSecret(name) => format!("{command} remove {name}"),
        Request::SetSecret {
            name,
            server,
            value,
        } => format!(
            "{command} set {name} for ({}) value ({})",
            server.as_deref().unwrap_or("none"),
            value.as_deref().unwrap_or("none")
        ),
        Request::Login { name, client_id } => {
            format!(
                "{command} {name} client {}",
                client_id.as_deref().unwrap_or("none")
            )
        }
        Request::Download(kind) => format!("{command} {}", kind.file_name()),
        Request::Rename { from, to } => format!("{command} {from} {to}"),
        Request::AddJson { name, json } => {
            format!("{command} ({}) {json}", name.as_deref().unwrap_or("none"))
        }
        Request::Edit { name, fields } => format!("{command} {name} {}", pairs(fields)),
        Request::Add(line) => format!(
            "{command} {} {}[{}] {} cwd {}{}",
            line.name,
            line.command,
            line.args.join("|"),
            pairs(line.env),
            line.cwd.as_deref().unwrap_or("none"),
            line.network
                .map_or_else(String::new, |grant| format!(" network {grant}"))
        ),
        Request::Tool { server, tool, mode } => {
            format!("{command} {server} {tool} {}", mode.unwrap_or("none"))
        }
        Request::Allow { server, tools } | Request::Deny { server, tools } => {
            format!("{command} {server} {}", tools.join("|"))
        }
        Request::Call {
            server,
            tool,
            arguments,
        } => {
            let arguments = match arguments {
                Arguments::None => "nothing".to_owned(),
                Arguments::Json(object) => Value::Object(object).to_string(),
                Arguments::Pairs(given) => pairs(given),
            };
            format!(
                "{command} {server} ({}) {arguments}",
                tool.as_deref().unwrap_or("none")
            )
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(told(text), *expected, "{text:?}");
    }
}

#[test]
fn the_first_word_decides_whom_it_is_for() {
    check(&[
        ("/mcp", "mcp"),
        ("  /MCP  ", "mcp"),
        ("/mcp@OurBot", "mcp"),
        ("/MCP@ourbot List", "list"),
        ("/mcp@OtherBot list", "not for us"),
        ("/weather@OtherBot", "not for us"),
        ("/mcp\nlist", "list"),
        ("/mcp\u{a0}list\n", "list"),
        ("/mcp_list", "list"),
        ("/mcp_list@OurBot", "list"),
        ("/mcp_add_json {\"a\": 1}", "add-json (none) {\"a\": 1}"),
        ("/mcp_show github", "show github"),
        ("/help", "help"),
        ("/help add", "help (add)"),
        ("/Help@OurBot", "help"),
        ("/cancel", "cancel"),
        ("/mcp cancel", "cancel"),
        ("/start", "start (none)"),
        ("/start nonce_42", "start (nonce_42)"),
    ]);
    assert_eq!(read("/mcp@AnyBot", None), Ok(Request::Panel));
}

#[test]
fn subcommands_are_read() {
    check(&[
        ("/mcp LIST", "list"),
        ("/mcp ls", "list"),
        ("/mcp show github", "show github"),
        ("/mcp get “github”", "show github"),
        ("/mcp remove a", "remove a"),
        ("/mcp rm a", "remove a"),
        ("/mcp delete a", "remove a"),
        ("/mcp del a", "remove a"),
        ("/mcp on a", "enable a"),
        ("/mcp off a", "disable a"),
        ("/mcp tools", "tools (none)"),
        ("/mcp tools a", "tools (a)"),
        ("/mcp tools a b", "tools a b none"),
        ("/mcp tools a b mode=Ask", "tools a b ask"),
        ("/mcp tools a 'b c' never", "tools a b c never"),
        ("/mcp allow a read_*", "allow a read_*"),
        ("/mcp ALLOW a b 'c d'", "allow a b|c d"),
        ("/mcp deny a *", "deny a *"),
        ("/mcp test a", "test a"),
        ("/mcp status", "status"),
        ("/mcp log a", "logs a"),
        ("/mcp restart a", "restart a"),
        ("/mcp history", "history"),
        ("/mcp audit", "audit Newest(None)"),
        ("/mcp audit 25", "audit Newest(Some(25))"),
        ("/mcp audit demo", "audit Of(\"demo\")"),
        ("/mcp audit verify", "audit Verify"),
        ("/mcp audit file", "audit File"),
        ("/mcp undo", "undo"),
        ("/mcp upload", "upload"),
        ("/mcp import", "upload"),
        ("/mcp download", "download mcp.json"),
        ("/mcp export Remote", "download mcp_remote.json"),
        ("/mcp rename a b", "rename a b"),
        ("/mcp rename a to b", "rename a b"),
        (
            "/mcp connect docs  https://x.example/mcp ",
            "connect (docs) https://x.example/mcp ask client none",
        ),
        ("/mcp login linear", "login linear client none"),
        (
            "/mcp login linear --client-id abc",
            "login linear client abc",
        ),
        (
            "/mcp login —client-id=abc linear",
            "login linear client abc",
        ),
        ("/mcp signout linear", "logout linear"),
        ("/mcp help", "help (none)"),
        ("/mcp help ADD_JSON", "help (add-json)"),
        ("/mcp help /mcp rm", "help (remove)"),
        ("/mcp help nonsense", "help (nonsense)"),
        ("/mcp add --help", "help (add)"),
        ("/mcp call —help", "help (call)"),
    ]);
}

#[test]
fn what_is_wrong_is_told_with_the_usage() {
    check(&[
        (
            "/mcp show",
            "usage of /mcp show: the server's name is missing",
        ),
        (
            "/mcp show ''",
            "usage of /mcp show: the server's name is missing",
        ),
        (
            "/mcp remove my server",
            "usage of /mcp remove: only one name is expected, and names have no spaces",
        ),
        (
            "/mcp list all",
            "usage of /mcp list: nothing follows this command",
        ),
        (
            "/mcp download x",
            "usage of /mcp download: only `remote` may follow this command",
        ),
        (
            "/mcp rename a",
            "usage of /mcp rename: two names are expected: the one it has and the one it gets",
        ),
        (
            "/mcp rename a b c",
            "usage of /mcp rename: two names are expected, and names have no spaces",
        ),
        ("/mcp show \"github", "open quote at \"gith"),
    ]);
}

#[test]
fn mistyped_commands_get_the_nearest_one() {
    check(&[
        ("/mcp lsit", "unknown /mcp lsit, nearest /mcp list"),
        ("/mcp remov x", "unknown /mcp remov, nearest /mcp remove"),
        (
            "/mcp addjsn {}",
            "unknown /mcp addjsn, nearest /mcp add-json",
        ),
        ("/mcp hist", "unknown /mcp hist, nearest /mcp history"),
        ("/mcp stat", "unknown /mcp stat, nearest /mcp status"),
        ("/mcp conect", "unknown /mcp conect, nearest /mcp connect"),
        ("/mcp ad", "unknown /mcp ad, nearest /mcp add"),
        ("/mcp xyzzy", "unknown /mcp xyzzy, nearest none"),
        ("/mpc list", "unknown /mpc, nearest /mcp"),
        ("/hlep", "unknown /hlep, nearest /help"),
        ("/list", "unknown /list, nearest /mcp list"),
        ("/mcplist", "unknown /mcplist, nearest /mcp list"),
        ("/rm x", "unknown /rm, nearest /mcp remove"),
        ("/weather", "unknown /weather, nearest none"),
        ("", "unknown , nearest none"),
        ("hello", "unknown hello, nearest none"),
    ]);
    assert_eq!(
        told(&format!("/{}", "x".repeat(10_000))),
        format!("unknown /{}, nearest none", "x".repeat(63))
    );
}

#[test]
fn names_of_servers_are_matched_too() {
    for (typed, expected) in [
        ("githib", Some("github")),
        ("GITHUB", Some("github")),
        ("git", Some("github")),
        ("filesystm", Some("filesystem")),
        ("weather", None),
        ("", None),
    ] {
        assert_eq!(
            nearest(typed, ["filesystem", "github", "memory"]),
            expected,
            "{typed:?}"
        );
    }
}

#[test]
fn the_table_is_true() {
    let mut names = std::collections::HashSet::new();
    for entry in TABLE {
        assert!(names.insert(entry.name), "{} is there once", entry.name);
        assert_eq!(entry.typed(), format!("/mcp {}", entry.name));
        assert!(entry.help.chars().count() < 600, "{}", entry.name);
        assert!(
            !entry.help.is_empty() && entry.help.ends_with('.'),
            "{}",
            entry.name
        );
        assert!(
            !entry.summary.is_empty() && !entry.summary.ends_with('.'),
            "{}",
            entry.name
        );
        assert!(!entry.examples.is_empty(), "{}", entry.name);
        for example in entry.examples {
            let request =
                read(example, Some("OurBot")).unwrap_or_else(|e| panic!("{example}: {e}"));
            assert_eq!(request.command(), entry.name, "{example}");
            assert!(
                !matches!(request, Request::AddGuided(_) | Request::ConnectGuided(_)),
                "{example}"
            );
        }
        for word in [entry.name.to_uppercase(), entry.name.replace('-', "_")] {
            assert_eq!(help_for(&word), Some(entry), "{word}");
        }
    }
    assert_eq!(help_for("rm").map(|entry| entry.name), Some("remove"));
    assert_eq!(help_for("nonsense"), None);
}

#[test]
fn debug_shows_nothing_that_was_typed() {
    for text in [
        "/mcp add a -e T=hush --cwd /hush -- run hush",
        "/mcp add-json a {\"env\": {\"T\": \"hush\"}}",
        "/mcp edit a env.T=hush",
        "/mcp call a b {\"password\": \"hush\"}",
        "/mcp call a b password=hush",
        "/mcp connect a https://x.example/hush --bearer hush",
        "/mcp connect a https://x.example --header 'A: hush'",
    ] {
        let request = read(text, None).expect("is a request");
        let debug = match &request {
            Request::Add(line) => format!("{request:?}{line:?}"),
            Request::Connect(line) => format!("{request:?}{line:?}"),
            Request::Call { arguments, .. } => format!("{request:?}{arguments:?}"),
            _ => format!("{request:?}"),
        };
        assert!(!debug.contains("hush"), "{debug}");
    }
}

#[test]
fn plain_texts_that_were_meant_as_commands() {
    for (text, is_one, hint) in [
        ("mcp list", false, Some("/mcp list")),
        ("MCP ls", false, Some("/mcp list")),
        ("mcp", false, Some("/mcp")),
        ("mcp is nice", false, None),
        ("/mcp list", true, None),
        ("  /help", true, None),
        ("claude mcp add x -- npx y", true, None),
        ("codex mcp add x -- npx y", true, None),
        ("gemini mcp add x npx y", true, None),
        ("code --add-mcp '{}'", true, None),
        ("claude mcp list", false, None),
        ("claude is here", false, None),
    ] {
        assert_eq!(looks_like_a_command(text), is_one, "{text}");
        assert_eq!(meant(text), hint, "{text}");
    }
}
