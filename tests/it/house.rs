//! The house: who may import whom, held by reading the `use` lines and paths of the source.

use std::path::{Path, PathBuf};

/// A room and the rooms of the crate that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("actor", &[]),
    ("secret", &[]),
    ("thread", &[]),
    ("demo", &[]),
    (
        "settings",
        &[
            "actor", "thread", "secret", "config", "policy", "sandbox", "vault",
        ],
    ),
    ("config", &["thread"]),
    ("policy", &["actor", "thread", "config"]),
    ("audit", &["actor", "thread", "policy"]),
    ("sandbox", &["thread", "config", "policy"]),
    ("vault", &["thread", "secret", "config"]),
    (
        "store",
        &[
            "actor", "thread", "secret", "config", "policy", "audit", "vault",
        ],
    ),
    ("watch", &["thread", "config"]),
    ("net", &["thread", "config", "policy"]),
    (
        "oauth",
        &["actor", "thread", "secret", "config", "policy", "net"],
    ),
    (
        "registry",
        &[
            "actor", "thread", "secret", "demo", "config", "policy", "net", "audit", "sandbox",
        ],
    ),
    (
        "gate",
        &["actor", "thread", "config", "policy", "audit", "registry"],
    ),
    (
        "reload",
        &["thread", "config", "policy", "store", "watch", "registry"],
    ),
    ("command", &["config"]),
    (
        "desk",
        &[
            "actor", "thread", "demo", "config", "policy", "store", "registry", "reload",
            "command", "chat", "oauth", "secret", "audit", "sandbox", "net", "gate",
        ],
    ),
    ("chat", &["actor", "thread", "command"]),
    ("web", &["oauth", "secret"]),
];

/// A library and the only places that may name it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("teloxide", &["chat/telegram"]),
    ("rustyline", &["chat/terminal"]),
    ("rmcp", &["registry", "oauth", "demo"]),
    ("reqwest", &["net", "registry"]),
    ("axum", &["web", "net/tests.rs"]),
    ("notify", &["watch.rs"]),
    ("jsonschema", &["config"]),
    ("landlock", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("switchboard_seccomp", &["sandbox"]),
    ("libc", &["sandbox"]),
    ("anyhow", &["main.rs", "app.rs", "app/"]),
    ("chacha20poly1305", &["vault"]),
];

#[test]
fn rooms_import_only_downward() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let room = path.split(['/', '.']).next().unwrap().to_owned();
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            continue;
        };
        for named in rooms_named(&text) {
            if named != room && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{path} names crate::{named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_gate_calls_tools() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let text: String = text.split_whitespace().collect();
        let calls = text.contains("registry.call(") || text.contains("Registry::call(");
        if calls != path.starts_with("gate/mod") {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_has_its_rule() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        let free = ["main", "lib", "app", "cli"].contains(&room);
        assert!(
            free || ROOMS.iter().any(|(name, _)| *name == room),
            "{room} has no rule in this test"
        );
    }
}

#[test]
fn each_library_is_named_in_its_room_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (library, homes) in LIBRARIES {
            let names = text.lines().any(|line| names_library(line, library));
            if names && !homes.iter().any(|home| path.starts_with(home)) {
                wrong.push(format!("{path} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn names_library(line: &str, library: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with("//") {
        return false;
    }
    line.match_indices(&format!("{library}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let in_text = line[..at].matches('"').count() % 2 == 1;
        !in_text && before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

fn rooms_named(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut rooms = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let name: String = line[at + 7..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            rooms.push(name);
        }
    }
    rooms.retain(|name| !name.is_empty());
    rooms
}

/// Every file of the product, by its path below `src`.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    let relative = |path: &PathBuf| {
        path.strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert!(found.len() > 20, "the source was not found");
    found
        .iter()
        .map(|path| (relative(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
