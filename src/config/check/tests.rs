use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::parse;
use super::*;

fn files(local: &Value, remote: &Value) -> Files {
    let document = |value: &Value| Document::parse(value.to_string().as_bytes()).unwrap();
    Files {
        local: document(local),
        remote: document(remote),
    }
}

fn told(result: Result<ThreadConfig, ConfigError>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
    }
}

fn of_kind(kind: FileKind, document: Document) -> Files {
    match kind {
        FileKind::Local => Files {
            local: document,
            ..Files::default()
        },
        FileKind::Remote => Files {
            remote: document,
            ..Files::default()
        },
    }
}

/// The examples beside the published schemas: which file, the name, the text.
fn examples(folder: &str) -> Vec<(FileKind, String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("schemas/examples")
        .join(folder);
    let mut all: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Those of the operator's policy are its room's.
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !name.starts_with("policy.")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let kind = match name.split('.').next() {
                Some("mcp") => FileKind::Local,
                Some("mcp_remote") => FileKind::Remote,
                _ => panic!("{name} names no schema"),
            };
            (kind, name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    for kind in [FileKind::Local, FileKind::Remote] {
        assert!(
            all.iter().filter(|(k, ..)| *k == kind).count() >= 12,
            "examples are missing"
        );
    }
    all
}

/// What the published schema alone says.
fn valid_by_schema(kind: FileKind, document: &Map<String, Value>) -> bool {
    schema::problems(kind, document).is_empty()
}

/// What the typed reading alone says.
fn taken(kind: FileKind, document: &Document) -> bool {
    match kind {
        FileKind::Local => servers(document, stdio).is_some(),
        FileKind::Remote => servers(document, remote).is_some(),
    }
}

#[test]
fn valid_examples_are_valid() {
    for (kind, name, text) in examples("valid") {
        let document = Document::parse(text.as_bytes()).unwrap();
        assert!(valid_by_schema(kind, &document.0), "{name}");
        assert!(taken(kind, &document), "{name}");
        assert_eq!(told(of_kind(kind, document).check()), [""; 0], "{name}");
    }
}

#[test]
fn invalid_examples_are_told_with_their_places() {
    let mut all = String::new();
    for (kind, name, text) in examples("invalid") {
        let document = Document::parse(text.as_bytes()).unwrap();
        assert!(!taken(kind, &document), "{name}");
        // NUL characters are a limit of the system, not of the schema.
        if !name.contains(".nul.") {
            assert!(!valid_by_schema(kind, &document.0), "{name}");
        }
        let problems = told(of_kind(kind, document).check());
        assert!(!problems.is_empty(), "{name}");
        all.extend([name.as_str(), "\n    ", &problems.join("\n    "), "\n"]);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_header_of_the_transport_is_refused_in_any_letters() {
    for name in super::super::remote::TRANSPORT_HEADERS {
        for name in [
            name.to_owned(),
            name.to_ascii_uppercase(),
            name.to_ascii_lowercase(),
        ] {
            let headers = json!({name.clone(): "x"});
            let remote = json!({"mcpServers": {"r": {"type": "http", "url": "https://r.example", "headers": headers}}});
            assert!(
                !valid_by_schema(FileKind::Remote, remote.as_object().unwrap()),
                "{name}"
            );
            let problem = format!(
                "`mcp_remote.json: mcpServers.r.headers.{name}`: is set by the connection itself; leave it out"
            );
            assert_eq!(told(files(&json!({}), &remote).check()), [problem]);
        }
    }
}

#[test]
fn a_remote_entry_is_read_whole() {
    let entry = |auth: Value| {
        json!({"mcpServers": {"r": {"type": "http", "url": "https://r.example", "auth": auth, "timeout_ms": 3e4,
            "headers": {"X-B": "${secret:B}", "X-A": ""}, "disabled": true}}})
    };
    let name = |text| SecretName::new(text).unwrap();
    let key = RemoteAuth::ApiKey {
        header: "X-Key".to_owned(),
        value: name("K.1"),
    };
    for (auth, expected, secrets) in [
        (
            json!({"oauth": "w-1_x"}),
            RemoteAuth::OAuth(CredentialId::new("w-1_x").unwrap()),
            &["B"][..],
        ),
        (
            json!({"bearer": "${secret:A}"}),
            RemoteAuth::Bearer(name("A")),
            &["A", "B"],
        ),
        (
            json!({"api_key": {"value": "${secret:K.1}", "header": "X-Key"}}),
            key,
            &["B", "K.1"],
        ),
    ] {
        let config = files(&json!({}), &entry(auth)).check().unwrap();
        let server = &config.remote[0].1;
        assert_eq!(server.auth, expected);
        assert_eq!((server.timeout_ms, server.disabled), (Some(30_000), true));
        assert_eq!(
            server.headers[0],
            ("X-B".to_owned(), "${secret:B}".to_owned())
        );
        let named: Vec<String> = server
            .secret_names()
            .into_iter()
            .map(String::from)
            .collect();
        assert_eq!(named, secrets);
    }
}

#[test]
fn the_file_to_blame_is_named() {
    let (good, bad) = (json!({}), json!({"mcpServers": {"a b": {}}}));
    for (local, remote, expected) in [
        (&bad, &good, Some(FileKind::Local)),
        (&good, &bad, Some(FileKind::Remote)),
        (&bad, &bad, None),
    ] {
        assert_eq!(files(local, remote).check().unwrap_err().file(), expected);
    }
}

#[test]
fn checked_servers_keep_values_and_order() {
    let config = files(
        &json!({"mcpServers": {"b": {"command": "x", "args": ["1"], "env": {"Z": "1", "A": "2"}, "cwd": "/d"},
            "a": {"type": "stdio", "command": "y", "disabled": true, "timeout": 3}}}),
        &json!({"mcpServers": {"r": {"type": "sse", "url": "https://r.example", "headers": {"H": "v"}}}}),
    )
    .check()
    .unwrap();
    let names: Vec<_> = config.local.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    let b = &config.local[0].1;
    assert_eq!(
        (b.command.as_str(), b.cwd.as_deref(), b.disabled),
        ("x", Some("/d"), false)
    );
    assert_eq!(
        b.env,
        [
            ("Z".to_owned(), "1".to_owned()),
            ("A".to_owned(), "2".to_owned())
        ]
    );
    assert!(config.local[1].1.disabled);
    assert_eq!(config.remote[0].1.transport, RemoteTransport::Sse);
    assert_eq!(config.remote[0].1.headers[0].0, "H");
}

#[test]
fn limits_are_told() {
    let long = "x".repeat(limits::VALUE_BYTES + 1);
    let umlauts = "ä".repeat(limits::VALUE_BYTES / 2 + 1);
    let full = vec!["x".repeat(limits::VALUE_BYTES); 9];
    let many = |count: usize, start: &str| -> Value {
        let servers: Map<_, _> = (0..count)
            .map(|i| (format!("{start}{i}"), json!({"command": "a"})))
            .collect();
        json!({"mcpServers": servers})
    };
    let remote = json!({"mcpServers": {"r": {"type": "http", "url": "https://r.example"}}});
    let mut deep = json!(1);
    for _ in 0..parse::DEPTH - 3 {
        deep = json!([deep]);
    }
    let none = json!({});
    let one = |entry: Value| json!({"mcpServers": {"a": entry}});
    for (local, remote, expected) in [
        (
            one(json!({"command": long})),
            &none,
            "`mcpServers.a.command`: has more than 8192 characters",
        ),
        (
            one(json!({"command": umlauts})),
            &none,
            "`mcpServers.a.command`: has 8194 bytes; at most 8192 are allowed",
        ),
        (
            one(json!({"command": "a", "env": {"B": umlauts}})),
            &none,
            "`mcpServers.a.env.B`: has 8194 bytes; at most 8192 are allowed",
        ),
        (
            one(json!({"command": "a", "args": full})),
            &none,
            "`mcpServers.a`: command, args and env have 73739 bytes together; at most 65536 are allowed",
        ),
        (
            one(json!({"command": "a", "cwd": umlauts})),
            &none,
            "`mcpServers.a.cwd`: has 8194 bytes; at most 8192 are allowed",
        ),
        (
            one(json!({"command": "a", "network": ["8.8.8.8", "127.0.0.1"]})),
            &none,
            "`mcpServers.a.network[1]`: is no public address, and only public ones can be granted",
        ),
        (
            many(64, "s"),
            &remote,
            "`mcpServers`: 64 servers here and 1 in mcp_remote.json; at most 64 are allowed together",
        ),
        (
            many(1, "r"),
            &json!({"mcpServers": {"r0": {"type": "http", "url": "https://r.example"}}}),
            "`mcpServers.r0`: is also in mcp_remote.json; a name can be in one of the two files only",
        ),
    ] {
        assert_eq!(told(files(&local, remote).check()), [expected]);
    }
    // Just within.
    for entry in [
        json!({"command": "x".repeat(limits::VALUE_BYTES)}),
        json!({"command": "a", "args": vec!["x"; limits::ARGS]}),
        json!({"command": "a", "args": vec!["x".repeat(limits::VALUE_BYTES - 8); 8]}),
        json!({"command": "a", "x": deep}),
    ] {
        assert_eq!(told(files(&one(entry), &none).check()), [""; 0]);
    }
}

#[test]
fn what_is_accepted_can_be_written_and_read_back() {
    // Entries come from edits, too, so they may be deeper than a file that was parsed.
    let mut deep = json!(1);
    for _ in 0..parse::DEPTH - 2 {
        deep = json!([deep]);
    }
    let mut document = Document::default();
    document.0.insert(
        SERVERS.to_owned(),
        json!({"a": {"command": "a", "x": deep}}),
    );
    let files = of_kind(FileKind::Local, document);
    assert_eq!(told(files.check()), ["`mcpServers.a`: is nested too deep"]);
    assert!(Document::parse(files.local.to_text().as_bytes()).is_err());

    let mut big = Document::default();
    big.0
        .insert("x".to_owned(), json!("x".repeat(limits::FILE_BYTES)));
    assert_eq!(
        told(of_kind(FileKind::Remote, big).check()),
        ["`mcp_remote.json`: has more than 262144 bytes when it is written"]
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..400_000_i64).prop_map(Value::from),
        (0.0..3.0_f64).prop_map(Value::from),
        "[a-z=\u{e4} .]{0,6}".prop_map(Value::from),
        Just(json!("stdio")),
        Just(json!("http")),
        Just(json!("sse")),
        Just(json!("oauth")),
        Just(json!("https://a.example/x")),
        Just(json!("http:///x")),
        Just(json!("hTTp://a b")),
        Just(json!("https://\u{85}")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z =-]{0,4}|type", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_auth() -> impl Strategy<Value = Value> {
    let text = "[a-z]{1,3}|\\$\\{secret:[a-z. -]{0,3}\\}?|[a-z/]{0,2}";
    let header = prop_oneof![Just("Host".to_owned()), "[A-Z ]{0,3}".prop_map(|text| text)];
    let field = prop_oneof![Just("header"), Just("value"), Just("key")];
    let key = prop_oneof![
        8 => (header, text).prop_map(|(header, value)| json!({"header": header, "value": value})),
        1 => prop::collection::btree_map(field, text, 0..3).prop_map(|fields| json!(fields)),
    ];
    let way = prop_oneof![
        4 => ("oauth|bearer|type", text).prop_map(|(way, value)| (way, json!(value))),
        2 => key.prop_map(|value| ("api_key".to_owned(), value)),
    ];
    prop_oneof![
        6 => way.clone().prop_map(|way| json!({way.0: way.1})),
        1 => prop::collection::vec(way, 0..3)
            .prop_map(|ways| Value::Object(ways.into_iter().collect())),
    ]
}

fn any_headers() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        4 => "[A-Z-]{1,3}".prop_map(|name| name),
        1 => prop::sample::select(&super::super::remote::TRANSPORT_HEADERS[..])
            .prop_map(str::to_ascii_lowercase),
        1 => Just("x\u{212a}eep-alive".to_owned()),
    ];
    let value = "[a-z]{0,3}|(\\$\\{secret:[a-z ]{0,2}\\}?){0,2}|[\\t ~\u{e4}\r\u{7f}]{0,2}";
    prop::collection::btree_map(name, value, 0..3).prop_map(|all| json!(all))
}

/// Of hosts, those that the schema and the typed reading can both tell apart; the rest is a limit.
fn any_network() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(&["none", "public", "host", "all"][..]).prop_map(Value::from),
        prop::collection::vec("[a-z]{1,3}(\\.[a-z]{2})?|a/b|b@c|\\*|", 0..3)
            .prop_map(|all| json!(all)),
    ]
}

fn any_entry() -> impl Strategy<Value = Value> {
    let texts = prop::collection::vec("[a-z ]{0,4}", 0..3).prop_map(|all| json!(all));
    let map =
        prop::collection::btree_map("[A-Z-]{1,3}", "[a-z]{0,3}", 0..3).prop_map(|all| json!(all));
    let good = |strategy: BoxedStrategy<Value>| prop_oneof![6 => strategy, 1 => any_value()];
    let local = (
        prop::option::of(good(
            prop_oneof![
                Just(json!("stdio")),
                Just(json!("http")),
                Just(json!("sse"))
            ]
            .boxed(),
        )),
        prop::option::weighted(0.8, good("[a-z]{1,4}".prop_map(Value::from).boxed())),
        prop::option::of(good(texts.boxed())),
        prop::option::of(good(map.boxed())),
        prop::option::of(good("/[a-z]{0,3}".prop_map(Value::from).boxed())),
        prop::option::of(good(any::<bool>().prop_map(Value::from).boxed())),
        prop::option::weighted(0.2, good(any_network().boxed())),
    );
    let remote = (
        prop::option::weighted(0.6, good(Just(json!("https://a.example")).boxed())),
        prop::option::of(good(any_headers().boxed())),
        prop::option::of(good(any_auth().boxed())),
        prop::option::of(good((1..9000).prop_map(Value::from).boxed())),
    );
    (local, remote).prop_map(
        |((kind, command, args, env, cwd, disabled, network), (url, headers, auth, timeout))| {
            let names = [
                "type",
                "command",
                "args",
                "env",
                "cwd",
                "disabled",
                "network",
                "url",
                "headers",
                "auth",
                "timeout_ms",
            ];
            let values = [
                kind, command, args, env, cwd, disabled, network, url, headers, auth, timeout,
            ];
            let fields = names.into_iter().zip(values);
            Value::Object(
                fields
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect(),
            )
        },
    )
}

proptest! {
    #[test]
    fn typed_reading_and_schema_agree(entry in prop_oneof![4 => any_entry(), 1 => any_value()], name in "[a-z .]{0,3}") {
        for kind in [FileKind::Local, FileKind::Remote] {
            let mut document = Map::new();
            document.insert(SERVERS.to_owned(), json!({name.clone(): entry.clone()}));
            let document = Document(document);
            prop_assert_eq!(taken(kind, &document), valid_by_schema(kind, &document.0));
            let problems = told(of_kind(kind, document.clone()).check());
            prop_assert_eq!(taken(kind, &document), problems.is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.contains("cannot be read")), "{:?}", problems);
        }
    }
}
