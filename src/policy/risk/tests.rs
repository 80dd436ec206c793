use serde_json::{Value, json};

use super::*;
use crate::config::{Document, Files};

fn config(servers: &Value) -> ThreadConfig {
    let text = json!({"mcpServers": servers}).to_string();
    let files = Files {
        local: Document::parse(text.as_bytes()).unwrap(),
        remote: Document::default(),
    };
    files.check().unwrap()
}

fn told(old: &Value, new: &Value) -> Vec<String> {
    risks(&config(old), &config(new))
}

#[test]
fn a_new_program_is_named_with_its_arguments_and_what_it_does() {
    for (entry, expected) in [
        (
            json!({"command": "my-server", "args": ["--token", "hidden"]}),
            vec!["`a` runs a new program on this host: my-server --token ••••"],
        ),
        (
            json!({"command": "npx", "args": ["-y", "pkg"]}),
            vec![
                "`a` runs a new program on this host: npx -y pkg",
                "`npx` downloads and runs code from the network.",
            ],
        ),
        (
            json!({"command": "/usr/bin/uvx", "args": ["pkg"]}),
            vec![
                "`a` runs a new program on this host: /usr/bin/uvx pkg",
                "`uvx` downloads and runs code from the network.",
            ],
        ),
        (
            json!({"command": "pnpm", "args": ["dlx", "pkg"]}),
            vec![
                "`a` runs a new program on this host: pnpm dlx pkg",
                "`pnpm` downloads and runs code from the network.",
            ],
        ),
        (
            json!({"command": "bash", "args": ["-c", "ls"]}),
            vec![
                "`a` runs a new program on this host: bash -c ls",
                "`bash` is a shell and can run anything.",
            ],
        ),
        (
            json!({"command": "/bin/../bin/sh"}),
            vec![
                "`a` runs a new program on this host: /bin/../bin/sh",
                "`sh` is a shell and can run anything.",
            ],
        ),
        (
            json!({"command": "env", "args": ["A=1", "npx.cmd", "p"]}),
            vec![
                "`a` runs a new program on this host: env A=1 npx.cmd p",
                "`npx` downloads and runs code from the network.",
            ],
        ),
        (
            json!({"command": "python3", "args": ["-c", "x"]}),
            vec![
                "`a` runs a new program on this host: python3 -c x",
                "`python3` runs the code in its arguments.",
            ],
        ),
        (
            json!({"command": "sudo", "args": ["x"]}),
            vec![
                "`a` runs a new program on this host: sudo x",
                "`sudo` runs programs with other rights.",
            ],
        ),
        (
            json!({"command": "x", "env": {"B": "1", "A": "2"}, "cwd": "/srv"}),
            vec![
                "`a` runs a new program on this host: x",
                "`a` gets new environment variables: B, A.",
                "`a` works in a new folder: /srv",
            ],
        ),
        (json!({"command": "x", "disabled": true}), vec![]),
    ] {
        assert_eq!(told(&json!({}), &json!({"a": entry})), expected);
    }
}

#[test]
fn only_what_is_new_is_told_of_a_change() {
    let old =
        json!({"command": "x", "args": ["1"], "env": {"A": "1", "PATH": "/bin"}, "cwd": "/srv"});
    let with = |key: &str, value: Value| {
        let mut entry = old.clone();
        entry[key] = value;
        entry
    };
    for (new, expected) in [
        (old.clone(), vec![]),
        (with("env", json!({"PATH": "/bin", "A": "2"})), vec![]),
        (
            with("args", json!(["2"])),
            vec!["`a` runs a changed program on this host: x 2"],
        ),
        (
            with("env", json!({"A": "1", "PATH": "/bin", "B": "1"})),
            vec!["`a` gets a new environment variable: B."],
        ),
        (
            with("env", json!({"A": "1", "PATH": "/tmp"})),
            vec!["`a` sets PATH, which can make a program load other code."],
        ),
        (
            with("cwd", json!("/tmp")),
            vec!["`a` works in a new folder: /tmp"],
        ),
        (
            with("cwd", json!("/tmp?token=abc")),
            vec!["`a` works in a new folder: /tmp?token=••••"],
        ),
        (with("disabled", json!(true)), vec![]),
    ] {
        assert_eq!(told(&json!({"a": old}), &json!({"a": new})), expected);
    }
    // Another name for it, or its removal, runs nothing new; enabling does.
    assert_eq!(told(&json!({"a": old}), &json!({"b": old})), [""; 0]);
    assert_eq!(told(&json!({"a": old}), &json!({})), [""; 0]);
    assert_eq!(
        told(
            &json!({"a": with("disabled", json!(true))}),
            &json!({"a": old})
        )[0],
        "`a` runs a new program on this host: x 1"
    );
}

#[test]
fn texts_of_the_server_cannot_pass_for_ours() {
    let entry = json!({"command": "x", "args": ["a\n`b` is harmless."], "cwd": "/a\nb", "env": {"A\u{200b}B": "1"}});
    for sentence in told(&json!({}), &json!({"a": entry})) {
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}
