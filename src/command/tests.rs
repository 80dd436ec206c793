//! What is typed → what is asked for.

mod properties;

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
fn an_add_line_is_read_in_every_spelling() {
    check(&[
        (
            "/mcp add gh --network api.github.com,*.x.example -- npx p",
            "add gh npx[p]  cwd none network api.github.com,*.x.example",
        ),
        (
            "/mcp add gh --network=none npx p --network host",
            "add gh npx[p|--network|host]  cwd none network none",
        ),
        ("/mcp edit gh network=", "edit gh <network=>"),
    ]);
    let expected = "add gh npx[-y|server-github] <TOKEN=abc> cwd /srv";
    for text in [
        "/mcp add gh -e TOKEN=abc --cwd /srv -- npx -y server-github",
        "/mcp add -e TOKEN=abc --cwd=/srv gh -- npx -y server-github",
        "/mcp add gh --env=TOKEN=abc --cwd /srv npx -y server-github",
        "/mcp add gh -eTOKEN=abc --cwd '/srv' -- npx -y server-github",
        "/mcp add gh TOKEN=abc --cwd /srv npx -y server-github",
        "/mcp add gh \\\n  -e TOKEN=abc \\\n  --cwd /srv \\\n  -- npx -y server-github",
        "/mcp add gh –e TOKEN=“abc” —cwd /srv — npx –y server-github",
        "/mcp ADD claude mcp add gh -s user -t stdio -e TOKEN=abc --cwd /srv -- npx -y server-github",
        "/mcp add $ claude mcp add --scope project --transport=stdio gh --env TOKEN=abc --cwd /srv -- npx -y server-github",
        "/mcp add codex mcp add gh --env TOKEN=abc --cwd /srv -- npx -y server-github",
        "/mcp add gemini mcp add gh -e TOKEN=abc --cwd /srv npx -- -y server-github",
        "/mcp claude mcp add gh -e TOKEN=abc --cwd /srv -- npx -y server-github",
        "/mcp_add gh -e TOKEN=abc --cwd /srv -- npx -y server-github",
    ] {
        assert_eq!(told(text), expected, "{text:?}");
    }
    check(&[
        ("/mcp add", "add (none)"),
        ("/mcp add gh", "add (gh)"),
        ("/mcp add claude mcp add", "add (none)"),
        (
            "/mcp add a -e X= -e Y=b=c -- run",
            "add a run[] <X=><Y=b=c> cwd none",
        ),
        ("/mcp add a run -- -e K=V", "add a run[--|-e|K=V]  cwd none"),
        (
            "/mcp add a -- sh -c 'echo \"hi\" | cat'",
            "add a sh[-c|echo \"hi\" | cat]  cwd none",
        ),
        ("/mcp add a -- run ''", "add a run[]  cwd none"),
        (
            "/mcp add My.Server_1 -- Run",
            "add My.Server_1 Run[]  cwd none",
        ),
    ]);
}

#[test]
fn an_add_line_that_lacks_something_says_what() {
    check(&[
        (
            "/mcp add a --",
            "usage of /mcp add: the command that starts the server is missing",
        ),
        (
            "/mcp add a -e K=V",
            "usage of /mcp add: the command that starts the server is missing",
        ),
        (
            "/mcp add -- npx",
            "usage of /mcp add: the server's name is missing; it comes before the command",
        ),
        (
            "/mcp add a -e ghp_secret -- npx",
            "usage of /mcp add: after `-e` comes KEY=value, as in `-e API_KEY=abc`",
        ),
        (
            "/mcp add a --cwd",
            "usage of /mcp add: after `--cwd` comes a folder",
        ),
        (
            "/mcp add a -psecret -- npx",
            "usage of /mcp add: the option `-p` is not known here; if it belongs to the server's \
             command, put `--` before that command",
        ),
        (
            "/mcp add a -y npx",
            "usage of /mcp add: the option `-y` is not known here; if it belongs to the server's \
             command, put `--` before that command",
        ),
        ("/mcp add a -- npx \"oops", "open quote at \"oops"),
    ]);
}

#[test]
fn a_remote_server_is_read_however_it_is_written() {
    check(&[
        ("/mcp connect", "connect (none)"),
        ("/mcp connect linear", "connect (linear)"),
        (
            "/mcp connect https://mcp.linear.app/mcp",
            "connect (none) https://mcp.linear.app/mcp ask client none",
        ),
        (
            "/mcp connect mcp.linear.app/mcp",
            "connect (none) https://mcp.linear.app/mcp ask client none",
        ),
        (
            "/mcp connect mcp.linear.app",
            "connect (none) https://mcp.linear.app ask client none",
        ),
        (
            "/mcp connect my.tools mcp.linear.app/mcp",
            "connect (my.tools) https://mcp.linear.app/mcp ask client none",
        ),
        (
            "/mcp connect http://localhost:8000/mcp docs",
            "connect (docs) http://localhost:8000/mcp ask client none",
        ),
        (
            "/mcp connect localhost:8000/mcp",
            "connect (none) https://localhost:8000/mcp ask client none",
        ),
        (
            "/mcp connect docs https://x.example --header 'X-Team: blue team' -H “X-B: 1”",
            "connect (docs) https://x.example <X-Team=blue team><X-B=1>ask client none",
        ),
        (
            "/mcp connect docs https://x.example —bearer",
            "connect (docs) https://x.example bearer None client none",
        ),
        (
            "/mcp connect --bearer docs https://x.example",
            "connect (docs) https://x.example bearer None client none",
        ),
        (
            "/mcp connect docs https://x.example --bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "connect (docs) https://x.example bearer Some(\"ghp_16C7e42F292c6912E7710c838347Ae178B4a\") client none",
        ),
        (
            "/mcp connect https://x.example --bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "connect (none) https://x.example bearer Some(\"ghp_16C7e42F292c6912E7710c838347Ae178B4a\") client none",
        ),
        (
            "/mcp connect docs https://x.example --bearer=abc",
            "connect (docs) https://x.example bearer Some(\"abc\") client none",
        ),
        (
            "/mcp connect docs https://x.example --api-key X-API-Key",
            "connect (docs) https://x.example key Some(\"X-API-Key\") None client none",
        ),
        (
            "/mcp connect docs https://x.example --api-key X-API-Key hush",
            "connect (docs) https://x.example key Some(\"X-API-Key\") Some(\"hush\") client none",
        ),
        (
            "/mcp connect --api-key https://x.example",
            "connect (none) https://x.example key None None client none",
        ),
        (
            "/mcp connect docs https://x.example --oauth --client-id abc",
            "connect (docs) https://x.example oauth client abc",
        ),
        (
            "/mcp connect docs https://x.example --client-id=abc",
            "connect (docs) https://x.example oauth client abc",
        ),
        (
            "/mcp connect docs https://x.example --none",
            "connect (docs) https://x.example nothing client none",
        ),
    ]);
}

#[test]
fn an_add_line_with_an_address_connects() {
    check(&[
        (
            "/mcp add --transport http docs https://x.example/mcp",
            "connect (docs) https://x.example/mcp ask client none",
        ),
        (
            "/mcp add -t sse -s user docs https://x.example/sse",
            "connect (docs) https://x.example/sse ask client none",
        ),
        (
            "/mcp add docs https://x.example/mcp",
            "connect (docs) https://x.example/mcp ask client none",
        ),
        (
            "claude mcp add --transport http docs https://x.example -H 'A: b'",
            "connect (docs) https://x.example <A=b>ask client none",
        ),
        (
            "codex mcp add docs --url https://x.example --bearer-token-env-var TOKEN",
            "connect (docs) https://x.example bearer None client none",
        ),
        (
            "/mcp add proxy -- npx mcp-remote https://x.example",
            "add proxy npx[mcp-remote|https://x.example]  cwd none",
        ),
        (
            "/mcp add proxy npx mcp-remote https://x.example --header 'A: b'",
            "add proxy npx[mcp-remote|https://x.example|--header|A: b]  cwd none",
        ),
    ]);
}

#[test]
fn a_connect_line_that_is_not_right_says_why() {
    check(&[
        (
            "/mcp connect docs --bearer",
            "usage of /mcp connect: there is no address in it; one looks like https://mcp.example.com/mcp",
        ),
        (
            "/mcp connect a b c",
            "usage of /mcp connect: there is no address in it; one looks like https://mcp.example.com/mcp",
        ),
        (
            "/mcp connect docs https://x.example https://y.example",
            "usage of /mcp connect: only one address is expected",
        ),
        (
            "/mcp connect my docs https://x.example",
            "usage of /mcp connect: one name and one address are expected, and names have no spaces",
        ),
        (
            "/mcp connect docs https://x.example --bearer --oauth",
            "usage of /mcp connect: only one of `--bearer`, `--api-key`, `--oauth` and `--none` can be",
        ),
        (
            "/mcp connect docs https://x.example --none --client-id x",
            "usage of /mcp connect: `--client-id` goes with `--oauth`",
        ),
        (
            "/mcp connect docs https://x.example --header hush",
            "usage of /mcp connect: after `--header` comes 'Name: value' in quotes, as in `--header 'X-Team: blue'`",
        ),
        (
            "/mcp connect docs https://x.example --colour",
            "usage of /mcp connect: the option `--colour` is not known here; there are `--header`, `--bearer`, \
             `--api-key`, `--oauth`, `--none` and `--client-id`",
        ),
        (
            "/mcp login",
            "usage of /mcp login: the server's name is missing",
        ),
        (
            "/mcp login a b",
            "usage of /mcp login: only one name is expected, and names have no spaces",
        ),
        (
            "/mcp edit hub auth=oauth",
            "usage of /mcp edit: one header is changed with headers.NAME=value, and the login with `/mcp connect NAME`",
        ),
        (
            "/mcp edit hub headers.X-Team=red url=https://y.example",
            "edit hub <headers.X-Team=red><url=https://y.example>",
        ),
    ]);
}

#[test]
fn json_is_taken_verbatim() {
    check(&[
        ("/mcp add-json {\"a\": 1}", "add-json (none) {\"a\": 1}"),
        ("/mcp add-json gh {\"a\":  1}", "add-json (gh) {\"a\":  1}"),
        (
            "/mcp addjson gh\n{\n  \"a\": 1\n}",
            "add-json (gh) {\n  \"a\": 1\n}",
        ),
        ("/mcp add_json gh{\"a\": 1}", "add-json (gh) {\"a\": 1}"),
        ("/mcp add-json{\"a\": 1}", "add-json (none) {\"a\": 1}"),
        (
            "/mcp add-json \"gh\": {\"a\": 1}",
            "add-json (gh) {\"a\": 1}",
        ),
        (
            "/mcp add-json \"My Server\" {\"a\": 1}",
            "add-json (My Server) {\"a\": 1}",
        ),
        (
            "/mcp add-json gh '{\"a\": \"it\\'s\"}'",
            "add-json (gh) {\"a\": \"it\\'s\"}",
        ),
        (
            "/mcp add-json gh ```json\n{\"a\": 1}\n```",
            "add-json (gh) {\"a\": 1}",
        ),
        (
            "/mcp add-json claude mcp add-json -s user gh '{\"a\": 1}'",
            "add-json (gh) {\"a\": 1}",
        ),
        (
            "/mcp add claude mcp add-json gh '{\"a\": 1}' --scope user",
            "add-json (gh) {\"a\": 1}",
        ),
        (
            r#"/mcp add-json gh "{\"a\": \"b c\"}""#,
            r#"add-json (gh) {"a": "b c"}"#,
        ),
        (
            "/mcp add-json code --add-mcp '{\"name\": \"x\"}'",
            "add-json (none) {\"name\": \"x\"}",
        ),
        ("/mcp add {\"a\": 1}", "add-json (none) {\"a\": 1}"),
        ("/mcp add gh {\"a\": 1}", "add-json (gh) {\"a\": 1}"),
        ("/mcp {\"a\": 1}", "add-json (none) {\"a\": 1}"),
        ("/mcp add-json {“a”: 1,}", "add-json (none) {“a”: 1,}"),
        (
            "/mcp add-json gh nonsense here",
            "add-json (gh) nonsense here",
        ),
        ("/mcp add-json", "add-json (none) "),
        (
            "claude mcp add-json gh {\"a\": 1}",
            "add-json (gh) {\"a\": 1}",
        ),
        (
            "$ code --add-mcp '{\"name\": \"x\"}'",
            "add-json (none) {\"name\": \"x\"}",
        ),
        (
            "/mcp add-json gh",
            "usage of /mcp add-json: the server's JSON is missing",
        ),
    ]);
}

#[test]
fn fields_of_an_edit_are_read() {
    check(&[
        ("/mcp edit gh", "edit gh "),
        (
            "/mcp edit gh Command=npx args=\"-y x\" env.Token_1=a=b cwd=",
            "edit gh <command=npx><args=-y x><env.Token_1=a=b><cwd=>",
        ),
        (
            "/mcp edit gh args=[\"-y\", \"x y\"] cwd=/",
            "edit gh <args=[\"-y\", \"x y\"]><cwd=/>",
        ),
        (
            "/mcp edit gh args=[“-y”, “x”]",
            "edit gh <args=[\"-y\", \"x\"]>",
        ),
        (
            "/mcp edit gh env={\"A\": \"b c\"}",
            "edit gh <env={\"A\": \"b c\"}>",
        ),
        ("/mcp edit gh args=[a", "edit gh <args=[a>"),
        (
            "/mcp edit gh args=-y x",
            "usage of /mcp edit: values are written key=value, with quotes around a value that has spaces",
        ),
        (
            "/mcp edit gh colour=red",
            "usage of /mcp edit: the fields are command, args, cwd, network, env and env.KEY, and of a remote server url, headers.NAME and timeout_ms",
        ),
        (
            "/mcp edit gh env.=x",
            "usage of /mcp edit: the fields are command, args, cwd, network, env and env.KEY, and of a remote server url, headers.NAME and timeout_ms",
        ),
        (
            "/mcp edit gh disabled=true",
            "usage of /mcp edit: whether a server runs is changed with `/mcp enable` and `/mcp disable`",
        ),
        (
            "/mcp edit gh name=x",
            "usage of /mcp edit: the name is changed with `/mcp rename`",
        ),
        (
            "/mcp edit",
            "usage of /mcp edit: the server's name is missing",
        ),
    ]);
}

#[test]
fn arguments_of_a_call_are_read() {
    check(&[
        ("/mcp call srv tool", "call srv (tool) nothing"),
        ("/mcp call srv__tool", "call srv__tool (none) nothing"),
        ("/mcp call srv tool {\"a\": 1}", "call srv (tool) {\"a\":1}"),
        (
            "/mcp call srv tool '{\"a\": 1}'",
            "call srv (tool) {\"a\":1}",
        ),
        (
            "/mcp call srv tool ```\n{\"a\": 1}\n```",
            "call srv (tool) {\"a\":1}",
        ),
        (
            "/mcp call srv__tool {\"a\": 1}",
            "call srv__tool (none) {\"a\":1}",
        ),
        (
            "/mcp call srv tool {“a”:\u{a0}“ü”}",
            "call srv (tool) {\"a\":\"ü\"}",
        ),
        (
            "/mcp call srv tool {\"a\": \"say “hi”\"}",
            "call srv (tool) {\"a\":\"say “hi”\"}",
        ),
        (
            "/mcp call srv tool a=1 b=\"two words\"",
            "call srv (tool) <a=1><b=two words>",
        ),
        ("/mcp call srv__tool a=1", "call srv__tool (none) <a=1>"),
        (
            "/mcp call srv tool a.b=1 c=[1, 2] d={\"x\": \"y z\"}",
            "call srv (tool) <a.b=1><c=[1, 2]><d={\"x\": \"y z\"}>",
        ),
        (
            "/mcp call srv tool q='a=b' r=",
            "call srv (tool) <q=a=b><r=>",
        ),
        ("/mcp call srv tool q=it’s", "call srv (tool) <q=it’s>"),
        (
            "/mcp call",
            "usage of /mcp call: the server's name and the tool's name are missing",
        ),
        (
            "/mcp call srv tool [1]",
            "usage of /mcp call: the arguments are one JSON object, not a list",
        ),
        (
            "/mcp call srv tool hello",
            "usage of /mcp call: values are written key=value, with quotes around a value that has spaces",
        ),
        ("/mcp call srv tool a=\"x", "open quote at a=\"x"),
    ]);
}

#[test]
fn json_that_does_not_parse_is_answered_with_its_place() {
    check(&[
        (
            "/mcp call srv tool {\"a\": 1,\n \"ü\": tru}",
            "json 2:10 a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, or something in `{…}` or `[…]` |  \"ü\": tru} | caret 9",
        ),
        (
            "/mcp call srv tool {\"a\" 1}",
            "json 1:6 a `:` is expected here, between a name and its value | {\"a\" 1} | caret 5",
        ),
        (
            "/mcp call srv tool {“a”: 1 “b”: 2}",
            "json 1:9 a `,` or the closing `}` is expected here | {\"a\": 1 \"b\": 2} | caret 8",
        ),
        (
            "/mcp call srv tool {\"token\": \"0123456789\" \"b\": \"ghp_16C7e42F292c6912E7710c838347Ae178B4a\"}",
            "json 1:24 a `,` or the closing `}` is expected here | {\"token\": \"••••\" \"b\": \"••••\"} | caret 17",
        ),
        (
            "/mcp call srv tool {\"a\": \"x",
            "json 1:9 it ends within a text; a closing `\"` is missing | {\"a\": \"x | caret 8",
        ),
    ]);
    let long = format!("/mcp call srv tool {{\"a\": \"{}\" x", "ä ".repeat(200));
    let Err(CommandError::Json(error)) = read(&long, None) else {
        panic!("a broken text is no request");
    };
    assert_eq!(error.column, 410);
    assert!(error.text.chars().count() <= 82);
    assert_eq!(
        error.text.chars().nth(error.caret),
        Some('x'),
        "{}",
        error.text
    );
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

#[test]
fn secrets_are_named_and_values_are_taken_as_they_are() {
    check(&[
        ("/mcp secrets", "secrets"),
        ("/mcp SECRETS list", "secrets"),
        ("/mcp vault", "secrets"),
        (
            "/mcp secrets set A_KEY",
            "secrets set A_KEY for (none) value (none)",
        ),
        (
            "/mcp secrets set A for hub",
            "secrets set A for (hub) value (none)",
        ),
        (
            "/mcp secrets add A for hub x y",
            "secrets set A for (hub) value (x y)",
        ),
        (
            "/mcp secrets set A for",
            "secrets set A for (none) value (for)",
        ),
        (
            "/mcp secrets set A=b=c",
            "secrets set A for (none) value (b=c)",
        ),
        (
            "/mcp secrets set A \"b c\" ",
            "secrets set A for (none) value (b c)",
        ),
        (
            "/mcp secrets set A \"b\" \"c\"",
            "secrets set A for (none) value (\"b\" \"c\")",
        ),
        (
            "/mcp secrets set A one\ntwo",
            "secrets set A for (none) value (one\ntwo)",
        ),
        ("/mcp secrets rm A", "secrets remove A"),
    ]);
    for text in [
        "/mcp secrets set",
        "/mcp secrets set =x",
        "/mcp secrets remove",
        "/mcp secrets remove a b",
        "/mcp secrets dance",
    ] {
        let read = read(text, None);
        assert!(
            matches!(read, Err(CommandError::Usage { .. })),
            "{text}: {read:?}"
        );
    }
}
