use serde_json::json;

use super::*;

fn files(local: &Value) -> Files {
    Files {
        local: Document(local.as_object().unwrap().clone()),
        remote: Document::default(),
    }
}

#[test]
fn a_diff_names_the_files_and_masks_both_sides() {
    let old = json!({"mcpServers": {"a": {"command": "npx", "args": ["-y", "--token", "old-one"], "env": {"A_TOKEN": "111111", "MODE": "dev"}}}});
    let new = json!({"mcpServers": {"a": {"command": "npx", "args": ["-v", "-y", "--token", "new-one"], "env": {"A_TOKEN": "222222", "MODE": "prod"}}}});
    let mut with_remote = files(&new);
    with_remote.remote.0.insert("mcpServers".to_owned(), json!({"r": {"type": "http", "url": "https://u:p@h.example", "headers": {"Authorization": "Bearer abc"}}}));
    let diff = unified(&files(&old), &with_remote, 1);
    for secret in ["old-one", "new-one", "111111", "222222", "u:p", "abc"] {
        assert!(!diff.contains(secret), "{diff}");
    }
    insta::assert_snapshot!(diff);
}

#[test]
fn a_changed_secret_shows_as_changed() {
    let with = |entry: Value| files(&json!({"mcpServers": {"a": entry}}));
    for (old, new) in [
        (
            json!({"env": {"TOKEN": "one"}}),
            json!({"env": {"TOKEN": "two"}}),
        ),
        (
            json!({"args": ["--token", "one"]}),
            json!({"args": ["--token", "two"]}),
        ),
        (
            json!({"args": ["--token=one"]}),
            json!({"args": ["--token=two"]}),
        ),
        (
            json!({"args": ["--token=one"]}),
            json!({"args": ["-v", "--token=two"]}),
        ),
        (
            json!({"url": "https://a:one@h"}),
            json!({"url": "https://a:two@h"}),
        ),
        (
            json!({"headers": {"Authorization": "one"}}),
            json!({"headers": {"Authorization": "two"}}),
        ),
    ] {
        let diff = unified(&with(old.clone()), &with(new.clone()), 0);
        assert!(diff.contains("(changed)"), "{diff}");
        assert!(!diff.contains("one") && !diff.contains("two"), "{diff}");
        assert_eq!(unified(&with(old.clone()), &with(old), 3), "");
    }
}

#[test]
fn a_name_cannot_hide_what_a_server_runs() {
    for name in ["token", "secret", "auth", "password"] {
        let new = files(
            &json!({"mcpServers": {name: {"command": "evil", "args": ["rm"], "env": {"MODE": "wild"}, "cwd": "/etc"}}}),
        );
        let diff = unified(&Files::default(), &new, 3);
        for text in ["evil", "rm", "wild", "/etc"] {
            assert!(diff.contains(text), "{diff}");
        }
    }
}

#[test]
fn files_without_a_change_give_no_diff() {
    assert_eq!(
        unified(&Files::default(), &files(&json!({"mcpServers": {}})), 3),
        ""
    );
}

#[test]
fn large_and_wholly_different_files_are_compared_quickly_enough_to_end() {
    let big = |start: &str| {
        let args: Vec<String> = (0..12_000).map(|i| format!("{start}{}", i % 97)).collect();
        files(&json!({"mcpServers": {"a": {"args": args}}}))
    };
    assert!(unified(&big("a"), &big("b"), 3).lines().count() > 24_000);
}

#[test]
fn d01_what_cannot_be_seen_is_written_out() {
    let with = |arg: &str| files(&json!({"mcpServers": {"a": {"command": "x", "args": [arg]}}}));
    let diff = unified(&with("--safe"), &with("--sa\u{200b}fe\u{202e}\u{e0041}"), 3);
    assert!(
        diff.contains(r#"+        "--sa\u{200b}fe\u{202e}\u{e0041}""#),
        "{diff}"
    );
    assert_eq!(
        text_diff("t", "a\tb\n", "a\tb\u{feff}\n"),
        "--- t\n+++ t (now)\n@@ -1 +1 @@\n-a\tb\n+a\tb\\u{feff}\n"
    );
}
