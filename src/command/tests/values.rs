//! JSON, fields and arguments: what is taken as it was typed.

use super::*;

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
