use proptest::prelude::*;

use super::*;

fn told(bytes: &[u8]) -> String {
    match Document::parse(bytes) {
        Ok(document) => serde_json::to_string(&document.0).unwrap(),
        Err(ConfigError::Syntax(error)) => format!(
            "{}:{} {}\n{}\n{}^",
            error.line,
            error.column,
            error.message,
            error.text,
            " ".repeat(error.caret)
        ),
        Err(error) => error.to_string(),
    }
}

#[test]
fn texts_are_read_or_told_why_not() {
    let big = format!("{{\"x\": \"{}\"}}", "x".repeat(limits::FILE_BYTES));
    for (text, expected) in [
        ("", "{}"),
        (" \n", "{}"),
        ("\u{feff}", "{}"),
        (
            "\u{feff}{\"b\": 1, \"a\": {\"z\": 1.0, \"y\": []}}",
            r#"{"b":1,"a":{"z":1.0,"y":[]}}"#,
        ),
        ("[1]", "expected an object"),
        ("7", "expected an object"),
        ("null", "expected an object"),
        ("<html></html>", "not JSON"),
        ("#!/bin/sh\necho {}", "not JSON"),
        ("hello", "not JSON"),
        (big.as_str(), "262153 bytes; at most 262144 are allowed"),
        (
            "{\"mcpServers\": {\"a\": 1, \"b\": 2, \"a\": 3}}",
            "`mcpServers.a`: is there twice; only one of them can be meant",
        ),
        (
            "{\"x\": [{\"k\": 1, \"k\": 1}], \"x\": 2}",
            "`x[0].k`: is there twice; only one of them can be meant; `x`: is there twice; only one of them can be meant",
        ),
        (
            "{\"$serde_json::private::RawValue\": \"x\"}",
            "`[\"$serde_json::private::RawValue\"]`: is not a usable name",
        ),
    ] {
        assert_eq!(
            told(text.as_bytes()),
            expected,
            "{}",
            &text[..text.len().min(80)]
        );
    }
    assert_eq!(told(&[0x89, b'P', b'N', b'G', 0xff]), "not UTF-8 text");
}

#[test]
fn syntax_errors_show_the_line() {
    for (text, expected) in [
        (
            "{\n  \"a\": 1\n  \"b\": 2\n}",
            "3:3 a `,` or the closing `}` is expected here\n  \"b\": 2\n  ^",
        ),
        (
            "{\"ä🙂\": 1 x}",
            "1:10 a `,` or the closing `}` is expected here\n{\"ä🙂\": 1 x}\n         ^",
        ),
        (
            "{\"a\": ",
            "1:6 it ends too early; a value is missing\n{\"a\": \n     ^",
        ),
        (
            "{\r\n\t\"a\": tru\r\n}",
            "2:10 a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, or something in `{…}` or `[…]`\n \"a\": tru\n         ^",
        ),
        (
            "// note\n{}",
            "1:1 a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, or something in `{…}` or `[…]`\n// note\n^",
        ),
        (
            "{\"GITHUB_TOKEN\": \"abcdef\" 1}",
            "1:27 a `,` or the closing `}` is expected here\n{\"GITHUB_TOKEN\": \"••••\" 1}\n                        ^",
        ),
    ] {
        assert_eq!(told(text.as_bytes()), expected);
    }
}

#[test]
fn a_long_line_is_shortened_round_the_place() {
    let text = format!(
        "{{\"a\": [{}, x {}]}}",
        "1, ".repeat(100) + "1",
        "2, ".repeat(100)
    );
    let Err(ConfigError::Syntax(error)) = Document::parse(text.as_bytes()) else {
        panic!("parsed");
    };
    assert!(error.text.starts_with('…') && error.text.ends_with('…'));
    assert_eq!(error.text.chars().nth(error.caret), Some('x'));
    assert!(error.text.chars().count() < 110);
}

#[test]
fn d37_a_deep_text_is_refused_and_not_overflowed() {
    for depth in [16, 33, 127, 129, 100_000] {
        let text = format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        let told = told(text.as_bytes());
        assert!(told.contains("nested too deep"), "{told}");
    }
}

#[test]
fn text_and_document_are_the_same() {
    let text = "{\n  \"note\": \"x\",\n  \"mcpServers\": {\n    \"b\": {\n      \"command\": \"x\"\n    },\n    \"a\": {}\n  }\n}\n";
    let document = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(document.to_text(), text);
    assert_eq!(
        document.servers().map(|(name, _)| name).collect::<Vec<_>>(),
        ["b", "a"]
    );
    assert_eq!(
        document.fields().map(|(name, _)| name).collect::<Vec<_>>(),
        ["note"]
    );
    assert!(document.server("a").is_some() && document.server("note").is_none());
    assert_eq!(
        Document::default().to_text(),
        "{\n  \"mcpServers\": {}\n}\n"
    );
}

#[test]
fn a_text_that_would_be_too_large_is_written_without_blanks() {
    let compact = format!("{{\"mcpServers\":{{}},\"x\":[{}1]}}", "1,".repeat(120_000));
    let document = Document::parse(compact.as_bytes()).unwrap();
    assert_eq!(document.to_text(), compact + "\n");
}

#[test]
fn revisions_differ_where_files_differ() {
    let all = [
        Revision::of(None, None),
        Revision::of(Some(b""), None),
        Revision::of(None, Some(b"")),
        Revision::of(Some(b""), Some(b"")),
        Revision::of(Some(b"a"), Some(b"b")),
        Revision::of(Some(b"ab"), Some(b"")),
        Revision::of(Some(b""), Some(b"ab")),
        Revision::default(),
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_ne!(one, other);
        }
    }
    assert_eq!(all[4], Revision::of(Some(b"a"), Some(b"b")));
    let kept = serde_json::to_string(&all[4]).unwrap();
    assert_eq!(kept.len(), 34);
    assert_eq!(serde_json::from_str::<Revision>(&kept).unwrap(), all[4]);
    for bad in ["\"\"", "\"+0000000000000000000000000000000\"", "3"] {
        assert!(serde_json::from_str::<Revision>(bad).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&bytes);
    }

    #[test]
    fn any_json_like_text_is_answered(text in "[{}\\[\\]:,\"a1 \n\\\\\u{e4}“=t-]{0,60}") {
        if let Err(ConfigError::Syntax(error)) = Document::parse(text.as_bytes()) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(error.caret <= error.text.chars().count());
        }
        let _ = told(text.as_bytes());
    }
}

#[test]
fn a_number_that_would_come_back_as_another_is_refused_with_its_line() {
    let text = "{\"mcpServers\": {\"a\": {\"command\": \"a\",\n\"x\": 123456789012345678901}}}";
    let ConfigError::Invalid(problems) = Document::parse(text.as_bytes()).unwrap_err() else {
        panic!("it is a problem of its own");
    };
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert_eq!(problem.path, "line 2");
    assert!(problem.message.contains("123456789012345678901"));
}
