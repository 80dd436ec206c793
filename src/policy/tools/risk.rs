//! What a tool looks like: labels, and whether it starts switched off.
//!
//! Everything here is guessed from what an untrusted server says. A hint may make a tool look worse and never better: a
//! `delete_all` that calls itself read-only still destroys.

use super::super::glob::matches;

/// What a server says of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// Its name at the server.
    pub name: &'a str,
    /// What it does.
    pub description: &'a str,
    /// The names of its arguments.
    pub arguments: Vec<String>,
    /// MCP's annotations.
    pub read_only: Option<bool>,
    /// It may destroy.
    pub destructive: Option<bool>,
    /// It speaks with the world outside.
    pub open_world: Option<bool>,
}

/// What a tool looks like it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// It reads.
    Reads,
    /// It changes something.
    Writes,
    /// It destroys something.
    Destroys,
    /// It runs programs or code.
    RunsCode,
    /// It sends or fetches something elsewhere.
    ReachesOut,
    /// It tells variables or secrets, such as the keys that its server was given.
    TellsSecrets,
}

impl Label {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Destroys => "destroys",
            Self::RunsCode => "runs code",
            Self::ReachesOut => "reaches out",
            Self::TellsSecrets => "may tell keys and passwords",
        }
    }
}

const READS: &[&str] = &[
    "read", "get", "list", "search", "find", "query", "show", "view", "describe", "stat", "tree",
    "cat", "head", "tail", "lookup", "count", "check", "status", "info", "diff", "log",
];
const WRITES: &[&str] = &[
    "write", "create", "edit", "update", "set", "put", "insert", "append", "add", "move", "mv",
    "rename", "copy", "cp", "upload", "save", "modify", "patch", "post", "send", "publish",
    "commit", "push", "merge", "install", "mkdir", "touch", "replace", "import", "store", "upsert",
    "assign", "close", "reopen", "apply", "deploy", "change", "chmod", "chown",
];
const DESTROYS: &[&str] = &[
    "delete",
    "del",
    "remove",
    "rm",
    "rmdir",
    "unlink",
    "drop",
    "truncate",
    "destroy",
    "erase",
    "wipe",
    "purge",
    "kill",
    "terminate",
    "format",
    "overwrite",
    "reset",
    "clear",
    "clean",
    "uninstall",
    "revoke",
    "prune",
    "shutdown",
    "reboot",
    "trash",
    "discard",
    "flush",
];
const RUNS: &[&str] = &[
    "exec",
    "execute",
    "eval",
    "shell",
    "bash",
    "zsh",
    "sh",
    "terminal",
    "console",
    "command",
    "commands",
    "cmd",
    "run",
    "spawn",
    "script",
    "powershell",
    "pwsh",
    "python",
    "repl",
    "subprocess",
    "ssh",
    "sudo",
    "interpreter",
    "process",
    "system",
    "invoke",
    "pty",
    "tmux",
];
const REACHES: &[&str] = &[
    "fetch", "http", "https", "url", "browse", "browser", "web", "download", "upload", "email",
    "mail", "crawl", "scrape", "navigate", "request", "webhook", "curl", "wget", "tweet", "sms",
];
/// The file system and what else a host keeps to itself.
const FILES: &[&str] = &[
    "file",
    "files",
    "filesystem",
    "fs",
    "directory",
    "directories",
    "dir",
    "dirs",
    "folder",
    "folders",
    "disk",
];
/// Words of what tells a server's variables, or secrets that are kept.
const SECRETS: &[&str] = &[
    "env",
    "printenv",
    "environ",
    "secret",
    "secrets",
    "credential",
    "credentials",
];
/// Of those that tell them all: "returns all environment variables".
const SAYS_TELLS: &[&[&str]] = &[
    &["print", "environment"],
    &["prints", "environment"],
    &["return", "environment"],
    &["returns", "environment"],
    &["list", "environment"],
    &["lists", "environment"],
    &["show", "environment"],
    &["shows", "environment"],
    &["dump", "environment"],
    &["dumps", "environment"],
];
/// Arguments that tell more than the name.
const COMMAND_ARGUMENTS: &[&str] = &["command", "cmd", "script", "shell", "argv", "executable"];
const ADDRESS_ARGUMENTS: &[&str] = &[
    "url",
    "uri",
    "urls",
    "endpoint",
    "webhook",
    "host",
    "recipient",
];
/// Beginnings of words in a description.
const SAYS_DESTROYS: &[&str] = &[
    "delet",
    "overwrit",
    "eras",
    "irreversibl",
    "permanently",
    "destroy",
];
const SAYS_RUNS: &[&[&str]] = &[
    &["shell", "command"],
    &["shell", "commands"],
    &["execute", "command"],
    &["execute", "commands"],
    &["executes", "command"],
    &["executes", "commands"],
    &["run", "command"],
    &["runs", "command"],
    &["run", "commands"],
    &["runs", "commands"],
    &["arbitrary", "code"],
    &["execute", "code"],
    &["executes", "code"],
    &["runs", "code"],
    &["run", "code"],
];

/// What a tool looks like it does, in the order of [`Label`]; never empty.
pub fn labels(tool: &Hints<'_>) -> Vec<Label> {
    let name = words(tool.name);
    let said = words(tool.description);
    let has = |list: &[&str]| name.iter().any(|word| list.contains(&word.as_str()));
    let takes = |list: &[&str]| {
        let mut arguments = tool.arguments.iter();
        arguments.any(|argument| list.contains(&argument.to_ascii_lowercase().as_str()))
    };
    let runs = has(RUNS) || takes(COMMAND_ARGUMENTS) || says(&said, SAYS_RUNS);
    let says_destroys = said
        .iter()
        .any(|word| SAYS_DESTROYS.iter().any(|start| word.starts_with(start)));
    let destroys = has(DESTROYS) || tool.destructive == Some(true) || says_destroys;
    let writes = has(WRITES) || destroys || tool.read_only == Some(false);
    let reaches = has(REACHES) || takes(ADDRESS_ARGUMENTS) || tool.open_world == Some(true);
    let tells = has(SECRETS) || says(&said, SAYS_TELLS);
    let reads = has(READS) || !(writes || runs || reaches);
    [
        (reads, Label::Reads),
        (writes, Label::Writes),
        (destroys, Label::Destroys),
        (runs, Label::RunsCode),
        (reaches, Label::ReachesOut),
        (tells, Label::TellsSecrets),
    ]
    .into_iter()
    .filter_map(|(is, label)| is.then_some(label))
    .collect()
}

/// Whether a tool of a server that was just added starts switched off: by the operator's patterns where there are some,
/// else what destroys, runs code, tells secrets, or is about files.
pub fn is_risky(tool: &Hints<'_>, operators: Option<&[String]>) -> bool {
    if let Some(patterns) = operators {
        return patterns.iter().any(|pattern| matches(pattern, tool.name));
    }
    let about_files = words(tool.name)
        .iter()
        .any(|word| FILES.contains(&word.as_str()));
    let labels = labels(tool);
    let is = |label| labels.contains(&label);
    about_files || is(Label::Destroys) || is(Label::RunsCode) || is(Label::TellsSecrets)
}

fn says(said: &[String], pairs: &[&[&str]]) -> bool {
    // With at most two words in between: "executes an arbitrary command".
    pairs.iter().any(|pair| {
        said.iter().enumerate().any(|(place, word)| {
            let after = &said[place + 1..said.len().min(place + 4)];
            word == pair[0] && after.iter().any(|other| other == pair[1])
        })
    })
}

/// The words of a name or a text: `readFile`, `read-file` and `read_file` are two.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    for c in text.chars() {
        let is_end = !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase());
        if is_end && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Hints<'_> {
        Hints {
            name,
            ..Hints::default()
        }
    }

    #[test]
    fn names_tell_what_a_tool_does() {
        use Label::{Destroys, ReachesOut, Reads, RunsCode, TellsSecrets, Writes};
        for (name, expected) in [
            ("get_weather", &[Reads][..]),
            ("echo", &[Reads]),
            ("create_issue", &[Writes]),
            ("delete-branch", &[Writes, Destroys]),
            ("dropTable", &[Writes, Destroys]),
            ("run_shell", &[RunsCode]),
            ("executeSQL", &[RunsCode]),
            ("fetch", &[ReachesOut]),
            ("search_and_replace", &[Reads, Writes]),
            ("get-env", &[Reads, TellsSecrets]),
            ("printEnv", &[Reads, TellsSecrets]),
            ("get_secret_value", &[Reads, TellsSecrets]),
            ("create_environment", &[Writes]),
            // A word in a word is none.
            ("executor", &[Reads]),
            ("undeletable", &[Reads]),
        ] {
            assert_eq!(labels(&named(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_else_a_server_says_can_only_make_a_tool_look_worse() {
        let plain = named("helper");
        assert_eq!(labels(&plain), [Label::Reads]);
        let with = |change: &dyn Fn(&mut Hints<'static>)| {
            let mut tool = named("helper");
            change(&mut tool);
            labels(&tool)
        };
        let takes = |argument: &str| vec![argument.to_owned()];
        assert!(with(&|tool| tool.destructive = Some(true)).contains(&Label::Destroys));
        assert!(with(&|tool| tool.read_only = Some(false)).contains(&Label::Writes));
        assert!(with(&|tool| tool.open_world = Some(true)).contains(&Label::ReachesOut));
        assert!(with(&|tool| tool.arguments = takes("command")).contains(&Label::RunsCode));
        assert!(with(&|tool| tool.arguments = takes("URL")).contains(&Label::ReachesOut));
        for said in ["Executes an arbitrary command.", "Run shell commands"] {
            assert!(
                with(&|tool| tool.description = said).contains(&Label::RunsCode),
                "{said}"
            );
        }
        let said = "Returns all environment variables";
        assert!(with(&|tool| tool.description = said).contains(&Label::TellsSecrets));
        let said = "Needs the environment variable API_KEY";
        assert!(!with(&|tool| tool.description = said).contains(&Label::TellsSecrets));
        let said = "Permanently deletes a record";
        assert!(with(&|tool| tool.description = said).contains(&Label::Destroys));
    }

    #[test]
    fn d16_files_shells_and_what_destroys_start_off_whatever_the_annotations_say() {
        for (name, expected) in [
            ("read_file", true),
            ("list_directory", true),
            ("readTextFile", true),
            ("run_command", true),
            ("bash", true),
            ("delete_all", true),
            ("get-env", true),
            ("list_credentials", true),
            ("echo", false),
            ("create_issue", false),
            ("get_profile", false),
            ("fetch", false),
        ] {
            let mut tool = named(name);
            assert_eq!(is_risky(&tool, None), expected, "{name}");
            tool.read_only = Some(true);
            tool.destructive = Some(false);
            assert_eq!(
                is_risky(&tool, None),
                expected,
                "{name} says that it only reads"
            );
        }
    }

    #[test]
    fn the_operators_patterns_take_the_place_of_the_built_in_ones() {
        let patterns = ["*issue*".to_owned()];
        assert!(is_risky(&named("create_issue"), Some(&patterns)));
        assert!(!is_risky(&named("delete_all"), Some(&patterns)));
        assert!(!is_risky(&named("delete_all"), Some(&[])));
    }
}
