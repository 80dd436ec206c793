//! Names for what came without one, or with one that we cannot use.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::limits;
use super::{safe, shown};

/// The names given so far, so that each is given once.
#[derive(Default)]
pub(super) struct Taken(HashSet<String>);

impl Taken {
    /// A safe and new name for what was written, with a note where they differ.
    pub(super) fn take(&mut self, written: &str, notes: &mut Vec<String>) -> String {
        let wanted = safe(written);
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            let ending = format!("-{number}");
            // Safe names are ASCII, so any place is a character's start.
            let room = wanted.len().min(limits::NAME_CHARS - ending.len());
            name = format!("{}{ending}", &wanted[..room]);
            number += 1;
        }
        if name != written {
            let why = if written.chars().count() > limits::NAME_CHARS {
                format!(": {} characters are the most", limits::NAME_CHARS)
            } else {
                String::new()
            };
            notes.push(format!("`{}` is named `{name}` here{why}.", shown(written)));
        }
        name
    }
}

/// A name after the command or the package that it runs: `npx -y @scope/server-everything` gives `everything`.
pub(super) fn derived(entry: &Map<String, Value>) -> String {
    let words = words_of(entry);
    let name = match words.first() {
        Some(_) => from_words(&words),
        None => from_url(entry),
    };
    safe(name.as_deref().unwrap_or("server"))
}

fn words_of(entry: &Map<String, Value>) -> Vec<String> {
    let mut words = Vec::new();
    for key in ["command", "cmd"] {
        match entry.get(key) {
            Some(Value::String(text)) => words.extend(text.split_whitespace().map(str::to_owned)),
            Some(Value::Array(items)) => {
                words.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Some(Value::Object(zed)) => {
                words.extend(zed.get("path").and_then(Value::as_str).map(str::to_owned));
                words.extend(texts(zed.get("args")));
            }
            _ => continue,
        }
        break;
    }
    words.extend(texts(entry.get("args")));
    words
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned)
}

fn from_words(words: &[String]) -> Option<String> {
    let program = last_part(words.first()?);
    let program = program
        .strip_suffix(".exe")
        .or(program.strip_suffix(".cmd"))
        .unwrap_or(program);
    let runs_another = matches!(
        program,
        "npx"
            | "bunx"
            | "pnpx"
            | "npm"
            | "pnpm"
            | "yarn"
            | "bun"
            | "deno"
            | "uvx"
            | "uv"
            | "pipx"
            | "docker"
            | "podman"
            | "node"
            | "python"
            | "python3"
            | "ruby"
            | "go"
            | "java"
            | "dotnet"
            | "env"
            | "sh"
            | "bash"
            | "cmd"
    );
    if !runs_another {
        return stripped(program).or_else(|| Some(program.to_owned()));
    }
    let skipped = [
        "run", "exec", "x", "dlx", "tool", "install", "-m", "/c", "start",
    ];
    let mut words = words[1..].iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        // Flags whose value is the next word.
        if matches!(
            word,
            "-e" | "--env"
                | "-v"
                | "--volume"
                | "--mount"
                | "--name"
                | "--directory"
                | "--from"
                | "-p"
                | "--package"
                | "--network"
                | "--python"
                | "--with"
        ) && words.peek().is_some_and(|next| !next.starts_with('-'))
        {
            let value = words.next()?;
            if matches!(word, "-p" | "--package") && !value.contains(':') {
                return stripped(value);
            }
            continue;
        }
        if word.starts_with('-')
            || skipped.contains(&word)
            || word.contains('=') && !word.contains('@')
        {
            continue;
        }
        if matches!(word, "npx" | "uvx" | "bunx" | "node" | "python" | "python3") {
            continue;
        }
        return stripped(word).or_else(|| Some(last_part(word).to_owned()));
    }
    Some(program.to_owned())
}

/// The telling part of a package's, an image's or a script's name.
fn stripped(package: &str) -> Option<String> {
    let package = package.split("==").next().unwrap_or(package);
    let (scope, name) = match package
        .strip_prefix('@')
        .and_then(|rest| rest.split_once('/'))
    {
        Some((scope, name)) => (Some(scope), name),
        None => (None, last_part(package)),
    };
    let name = name.split(['@', ':', '[']).next().unwrap_or(name);
    let name = [".js", ".mjs", ".cjs", ".ts", ".py", ".sh", ".jar", ".rb"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    let mut short = name;
    for start in ["mcp-server-", "server-", "mcp-"] {
        short = short.strip_prefix(start).unwrap_or(short);
    }
    for end in ["-mcp-server", "-server", "-mcp", "_mcp", "_server"] {
        short = short.strip_suffix(end).unwrap_or(short);
    }
    let generic = matches!(
        short,
        "" | "mcp" | "server" | "index" | "main" | "app" | "cli" | "start"
    );
    match (generic, scope) {
        (false, _) => Some(short.to_owned()),
        (true, Some(scope)) => Some(scope.to_owned()),
        (true, None) => {
            // `…/weather/server.py` is told by its folder, past `dist` and the like.
            let telling = |folder: &&str| {
                !matches!(
                    *folder,
                    "" | "." | ".." | "src" | "dist" | "build" | "bin" | "out"
                )
            };
            let mut folders = package.rsplit(['/', '\\']).skip(1);
            folders.find(telling).map(str::to_owned)
        }
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn from_url(entry: &Map<String, Value>) -> Option<String> {
    let url = ["url", "httpUrl", "serverUrl"]
        .iter()
        .find_map(|key| entry.get(*key)?.as_str())?;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?.split(':').next()?;
    let mut parts = host
        .split('.')
        .filter(|part| !matches!(*part, "mcp" | "www" | "api" | ""));
    parts.next().map(str::to_owned)
}
