//! Lines that add and connect servers.

use super::*;

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
