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

/// Of remote servers, whose type is filled in.
fn told_remote(old: &Value, new: &Value) -> Vec<String> {
    let config = |servers: &Value| {
        let mut servers = servers.clone();
        for entry in servers.as_object_mut().unwrap().values_mut() {
            entry["type"] = json!("http");
        }
        let text = json!({"mcpServers": servers}).to_string();
        let files = Files {
            local: Document::default(),
            remote: Document::parse(text.as_bytes()).unwrap(),
        };
        files.check().unwrap()
    };
    risks(&config(old), &config(new))
}

const AT: &str = "`a` is on the network at h.example: what its tools are given goes there.";

#[test]
fn a_new_remote_server_is_told_with_its_place_and_whose_name_it_acts_in() {
    let url = "https://h.example/mcp?token=hush";
    for (entry, expected) in [
        (
            json!({"url": url}),
            &[
                AT,
                "`a` acts in nobody's name: it is asked without a login.",
            ][..],
        ),
        (
            json!({"url": url, "auth": {"oauth": "cred"}}),
            &[
                AT,
                "`a` acts with your login at h.example: whoever calls its tools in this chat does so in your name.",
            ],
        ),
        (
            json!({"url": url, "auth": {"bearer": "${secret:KEY}"}, "headers": {"X-Team": "blue"}}),
            &[
                AT,
                "`a` acts with the key you gave as `KEY`: whoever calls its tools in this chat may do what that key allows.",
                "`a` gets this header with each request: X-Team.",
            ],
        ),
        (
            json!({"url": url, "auth": {"api_key": {"header": "X-Key", "value": "${secret:KEY}"}}}),
            &[
                AT,
                "`a` acts with the key you gave as `KEY`, in the header X-Key: whoever calls its tools in this chat may do what that key allows.",
            ],
        ),
        (
            json!({"url": url, "headers": {"Authorization": "hush", "X-B": "${secret:B} ${secret:A}", "X-C": "${secret:B}"}}),
            &[
                AT,
                "`a` gets these headers with each request, with the keys you gave as `A`, `B`: Authorization, X-B, X-C.",
            ],
        ),
        (
            json!({"url": "HTTP://127.0.0.1:8080/mcp"}),
            &[
                "`a` is on the network at 127.0.0.1:8080: what its tools are given goes there.",
                "The connection to 127.0.0.1:8080 is not encrypted (http): others on the way can read and change it.",
                "`a` acts in nobody's name: it is asked without a login.",
            ],
        ),
        // A Cyrillic letter, a login, and an address that is none.
        (
            json!({"url": "https://me:hush@\u{430}pple.example/"}),
            &[
                "`a` is on the network at xn--pple-43d.example: what its tools are given goes there.",
                "`a` acts in nobody's name: it is asked without a login.",
            ],
        ),
        (
            json!({"url": "https://[\u{202e}x"}),
            &[
                "`a` is on the network at https://[\\u{202e}x: what its tools are given goes there.",
                "`a` acts in nobody's name: it is asked without a login.",
            ],
        ),
        (json!({"url": url, "disabled": true}), &[]),
    ] {
        let new = json!({ "a": entry });
        let told = told_remote(&json!({}), &new);
        assert_eq!(told, expected);
        assert!(!told.concat().contains("hush"));
        // Nothing new, and where it is switched off or taken away nothing at all.
        assert_eq!(told_remote(&new, &new), [""; 0]);
        assert_eq!(told_remote(&new, &json!({})), [""; 0]);
        let off = json!({"a": {"url": "https://other.example", "disabled": true}});
        assert_eq!(told_remote(&new, &off), [""; 0]);
        assert_eq!(told_remote(&off, &new), expected);
    }
}

#[test]
fn what_changes_of_a_remote_server_is_told() {
    let with = |entry: &Value, change: &Value| {
        let mut entry = entry.clone();
        for (name, value) in change.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    };
    let base = json!({"url": "https://h.example/mcp", "auth": {"bearer": "${secret:K}"},
        "headers": {"X-A": "${secret:A}"}});
    for (change, expected) in [
        (json!({"timeout_ms": 5}), &[][..]),
        (json!({"headers": {"x-a": "${secret:A}"}}), &[]),
        (json!({"headers": {}}), &[]),
        (
            json!({"url": "https://h.example/other?key=hush"}),
            &["`a` has a new address at h.example: https://h.example/other?key=••••"],
        ),
        (
            json!({"url": "http://h.example/mcp"}),
            &[
                "`a` has a new address at h.example: http://h.example/mcp",
                "The connection to h.example is not encrypted (http): others on the way can read and change it.",
            ],
        ),
        (
            json!({"url": "https://evil.example/mcp"}),
            &[
                "`a` moves from h.example to evil.example: what its tools are given goes there from now on.",
                "`a` acts with the key you gave as `K` now: whoever calls its tools in this chat may do what that key allows.",
                "`a` gets this header with each request, with the key you gave as `A`: X-A.",
            ],
        ),
        (
            json!({"auth": {"oauth": "x"}}),
            &[
                "`a` acts with your login at h.example now: whoever calls its tools in this chat does so in your name.",
            ],
        ),
        (
            json!({"headers": {"X-A": "${secret:B}", "X-C": "c"}}),
            &["`a` gets these headers with each request, with the key you gave as `B`: X-A, X-C."],
        ),
    ] {
        let new = with(&base, &change);
        let told = told_remote(&json!({"a": base}), &json!({"a": new}));
        assert_eq!(told, expected, "{change}");
    }
    // Another name for the same adds nothing; a second one beside it does.
    assert_eq!(
        told_remote(&json!({"a": base}), &json!({"b": base})),
        [""; 0]
    );
    assert!(!told_remote(&json!({"a": base}), &json!({"a": base, "b": base})).is_empty());
}

#[test]
fn a_key_or_a_login_that_goes_to_another_place_too_is_told() {
    let old = json!({
        "k": {"url": "https://one.example", "auth": {"bearer": "${secret:K}"}},
        "l": {"url": "https://two.example", "auth": {"oauth": "cred"}},
    });
    let mut new = old.clone();
    new["x"] = json!({"url": "https://evil.example", "auth": {"oauth": "cred"}, "headers": {"A": "${secret:K}"}});
    let told = told_remote(&old, &new);
    assert_eq!(
        &told[told.len() - 2..],
        [
            "The key `K` goes to evil.example as well, not to that of `k` alone.",
            "`x` shares the login of `l`."
        ]
    );
}

#[test]
fn a_name_of_the_operators_is_told_when_it_is_taken_and_given_back() {
    let entry = json!({"command": "run"});
    let (none, own) = (config(&json!({})), config(&json!({"a": entry, "b": entry})));
    let admin = |name: &str| {
        let server = own.local[0].1.clone();
        (
            ServerName::new(name).unwrap(),
            crate::config::Definition::Local(server),
        )
    };
    let offered = ThreadConfig {
        admin: vec![admin("a"), admin("z")],
        ..none.clone()
    };
    let told = risks(&offered, &own);
    let taken = "`a` takes the place of the operator's server of that name in this chat.";
    assert_eq!(told.last().unwrap(), taken);
    assert_eq!(
        told.iter().filter(|line| line.contains("operator")).count(),
        1
    );
    let hiding = ThreadConfig {
        hidden: vec![ServerName::new("a").unwrap()],
        ..own.clone()
    };
    assert_eq!(risks(&hiding, &own), [""; 0]);
    let told = risks(&hiding, &none);
    assert_eq!(
        told,
        ["The operator's server `a` is offered in this chat again."]
    );
}
