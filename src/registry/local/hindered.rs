//! What to do about a server that ended over something that the sandbox keeps from it: a folder that it is not shown, or
//! the most that it may use. Said only where it is so, by what we started it with and what it wrote itself.

use std::path::Path;

use super::super::launch::{Ended, Over};
use super::super::text::bytes;
use super::cage::HOME_IS_FULL;
use crate::sandbox::{Limits, Shown, Sight};

/// Characters of a path that is looked at, and of one that is told: the server wrote it, and may write anything.
const PATH_CHARS: usize = 200;
const TOLD_CHARS: usize = 80;

/// Words of programs that did not find or reach a file.
const NOT_REACHED: &[&str] = &[
    "enoent",
    "eacces",
    "eperm",
    "erofs",
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "read-only file system",
    "cannot access",
    "does not exist",
];
/// Words of those that were refused one that is there.
const REFUSED: &[&str] = &[
    "eacces",
    "eperm",
    "permission denied",
    "operation not permitted",
];
/// Words of those that did not find one.
const NOT_FOUND: &[&str] = &[
    "enoent",
    "no such file or directory",
    "cannot access",
    "does not exist",
];
/// Words of those that could not change one.
const NOT_CHANGED: &[&str] = &["erofs", "read-only file system"];
/// Words of those that had no memory.
const NO_MEMORY: &[&str] = &[
    "heap out of memory",
    "memoryerror",
    "cannot allocate memory",
    "enomem",
    "bad_alloc",
    "outofmemoryerror",
    "out of memory",
];

/// What to do about too many sockets, of which nobody grants more.
const FEWER_CONNECTIONS: &str = "Give it less to do at once: each open connection is one or two of them, and one that \
    never closes its connections is broken";

/// What a confined server was started with.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) shown: Option<Shown>,
    pub(super) limits: Option<Limits>,
}

impl Held {
    /// What to do, in whole sentences but for the last full stop; `None` where nothing of this is known to be the cause.
    /// `lines` are what it wrote itself.
    pub(super) fn advice(
        &self,
        over: Option<Over>,
        ended: Option<Ended>,
        lines: &[String],
    ) -> Option<String> {
        let limits = self.limits.as_ref();
        match over {
            Some(Over::Memory(_)) => {
                return Some(raise("quotas.memory_bytes"));
            }
            Some(Over::Processes(_)) => return Some(raise("quotas.processes")),
            Some(Over::Processor(_)) => {
                let advice = raise("quotas.cpu_seconds");
                return Some(format!(
                    "It is not started again by itself: Restart, or `/mcp restart`, does that. {advice}"
                ));
            }
            Some(Over::Sockets(_)) => return Some(FEWER_CONNECTIONS.to_owned()),
            Some(Over::Home(_)) => return Some(HOME_IS_FULL.to_owned()),
            None => {}
        }
        let lower: Vec<String> = lines.iter().map(|line| line.to_lowercase()).collect();
        let says = |line: &String, words: &[&str]| words.iter().any(|word| line.contains(word));
        if let Some(limits) = limits
            && lower.iter().any(|line| says(line, NO_MEMORY))
        {
            let most = bytes(limits.memory_bytes);
            return Some(format!(
                "It says that it had no memory left, and it may use {most} here. {}",
                raise("quotas.memory_bytes")
            ));
        }
        let shown = self.shown.as_ref()?;
        let told = lines
            .iter()
            .zip(&lower)
            .filter(|(_, lower)| says(lower, NOT_REACHED));
        for (line, lower) in told {
            for path in paths(line) {
                match shown.sight(Path::new(path)) {
                    Sight::Hidden if shown.hides_names || says(lower, REFUSED) => {
                        return Some(hidden(path, shown));
                    }
                    Sight::ReadOnly if says(lower, NOT_CHANGED) => {
                        return Some(read_only(path, shown));
                    }
                    Sight::Empty if says(lower, NOT_FOUND) => return Some(empty(path, shown)),
                    Sight::Hidden | Sight::Empty | Sight::ReadOnly | Sight::Other => {}
                }
            }
        }
        if let (Some(limits), Some(Ended::Signal(9))) = (limits, ended) {
            return Some(format!(
                "It may use {} of memory here, and the host itself may have less to give: ask whoever runs the bot",
                bytes(limits.memory_bytes)
            ));
        }
        None
    }
}

fn raise(quota: &str) -> String {
    format!(
        "Give it less to do, or ask whoever runs the bot to raise `{quota}` in the bot's policy (data/admin/policy.json)"
    )
}

fn hidden(path: &str, shown: &Shown) -> String {
    let path = told(path).unwrap_or_else(|| "a path that it asks for".to_owned());
    format!(
        "The sandbox does not show it {path}: {}",
        what_it_sees(shown)
    )
}

/// What a server sees of the host, and what to do where that is not enough.
pub(super) fn what_it_sees(shown: &Shown) -> String {
    format!(
        "it sees this chat's own folder (`{}`), the system's programs, and folders that the operator grants. Use a path in \
         the chat's own folder (`/mcp edit`), or ask whoever runs the bot to grant the folder: `folders` in the bot's policy \
         (data/admin/policy.json)",
        shown.home.display()
    )
}

fn empty(path: &str, shown: &Shown) -> String {
    let path = told(path).unwrap_or_else(|| "one".to_owned());
    format!(
        "The sandbox gives it a `/tmp` of its own, so it does not see the host's {path}. Use a path in this chat's own \
         folder (`{}`, set with `/mcp edit`), or ask whoever runs the bot to grant the folder: `folders` in the bot's \
         policy (data/admin/policy.json)",
        shown.home.display()
    )
}

fn read_only(path: &str, shown: &Shown) -> String {
    let path = told(path).unwrap_or_else(|| "what it asks for".to_owned());
    format!(
        "The sandbox lets it read {path}, and not change it: it can write in this chat's own folder (`{}`). Use a path \
         there (`/mcp edit`), or ask whoever runs the bot for a folder with `write`: `folders` in the bot's policy \
         (data/admin/policy.json)",
        shown.home.display()
    )
}

/// A path as it stands in a sentence of ours; `None` for one that reads as a sentence of the server's.
pub(super) fn told(path: &str) -> Option<String> {
    let blanks = path.chars().filter(|c| c.is_whitespace()).count();
    let is_path = blanks <= 1
        && path.chars().nth(TOLD_CHARS).is_none()
        && (path.chars()).all(|c| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric());
    is_path.then(|| format!("`{path}`"))
}

/// The full paths in a line.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('/').filter_map(|(start, _)| {
        let quote = line[..start].chars().next_back();
        let rest = &line[start..];
        let end = match quote {
            Some(quote @ ('\'' | '"' | '`')) => rest.find(quote)?,
            Some(c) if !(c.is_whitespace() || "=(:[".contains(c)) => return None,
            _ => rest
                .find(|c: char| c.is_whitespace() || "'\"`,;:()[]".contains(c))
                .unwrap_or(rest.len()),
        };
        let path = rest[..end].trim_end_matches(['.', ':']);
        let is_plain = path.len() > 1
            && !path.starts_with("//")
            && path.chars().nth(PATH_CHARS).is_none()
            && !path.contains(['`', '\u{fffd}', '…', '['])
            && !path.chars().any(char::is_control);
        is_plain.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Cage, Granted, Network};

    const MIB: u64 = 1024 * 1024;

    fn held() -> Held {
        let cage = Cage {
            home: "/data/homes/local".into(),
            data: "/data".into(),
            owner: None,
            folders: vec![Granted {
                path: "/srv/read".into(),
                write: false,
            }],
            network: Network::None,
            limits: Limits::default(),
        };
        Held {
            shown: Some(Shown::of(&cage, &[], true)),
            limits: Some(Limits {
                memory_bytes: 256 * MIB,
                ..Limits::default()
            }),
        }
    }

    #[test]
    fn paths_are_found_as_programs_write_them() {
        for (line, expected) in [
            (
                "Error: ENOENT: no such file, open '/srv/a b.txt'",
                &["/srv/a b.txt"][..],
            ),
            ("[Errno 2] No such file or directory: \"/x/y\"", &["/x/y"]),
            ("cat: /x/y: Permission denied", &["/x/y"]),
            ("--root=/x/y.", &["/x/y"]),
            ("https://a.example/x and a/b", &[]),
            ("/", &[]),
            ("'/never ends", &[]),
        ] {
            assert_eq!(paths(line).collect::<Vec<_>>(), expected, "{line}");
        }
    }

    #[test]
    fn the_sandbox_is_named_where_it_is_the_cause_and_nowhere_else() {
        let of = |held: &Held, line: &str| held.advice(None, None, &[line.to_owned()]);
        for (line, expected) in [
            (
                "Error: ENOENT: no such file or directory, stat '/srv/files'",
                Some("does not show it `/srv/files`"),
            ),
            (
                "PermissionError: [Errno 13] Permission denied: '/srv/files'",
                Some("does not show it `/srv/files`"),
            ),
            (
                "EROFS: read-only file system, mkdir '/srv/read/x'",
                Some("lets it read `/srv/read/x`"),
            ),
            (
                "cat: /tmp/mine/x: No such file or directory",
                Some("a `/tmp` of its own"),
            ),
            ("EACCES: permission denied, open '/tmp/x'", None),
            // What is shown, it did not find for another reason.
            (
                "ENOENT: no such file or directory, open '/usr/share/x'",
                None,
            ),
            (
                "ENOENT: no such file or directory, open '/home/thread/x'",
                None,
            ),
            ("EACCES: permission denied, open '/srv/read/x'", None),
            ("ENOENT: no such file or directory, open 'x'", None),
            ("started with /srv/files", None),
            (
                "FATAL ERROR: Reached heap limit - JavaScript heap out of memory",
                Some("may use 256 MiB here"),
            ),
            ("MemoryError", Some("quotas.memory_bytes")),
            ("it is broken", None),
        ] {
            let advice = of(&held(), line);
            match expected {
                Some(expected) => {
                    assert!(
                        advice.as_ref().is_some_and(|it| it.contains(expected)),
                        "{advice:?}"
                    );
                }
                None => assert_eq!(advice, None, "{line}"),
            }
            assert_eq!(of(&Held::default(), line), None, "not confined: {line}");
        }
    }

    #[test]
    fn a_sentence_of_the_servers_is_not_said_by_us() {
        let long = format!("/srv/{}", "x".repeat(TOLD_CHARS));
        for (path, expected) in [
            ("/srv/a b.txt", "does not show it `/srv/a b.txt`:"),
            ("/srv/dönerbude", "does not show it `/srv/dönerbude`:"),
            (
                "/srv The bot was hacked, operator says: pay",
                "does not show it a path that it asks for:",
            ),
            ("/srv/a\u{202e}b", "a path that it asks for:"),
            ("/srv/a\u{a0}b\u{a0}c", "a path that it asks for:"),
            (&long, "a path that it asks for:"),
        ] {
            let line = format!("ENOENT: no such file or directory, open '{path}'");
            let advice = held().advice(None, None, &[line]).unwrap();
            assert!(advice.contains(expected), "{advice}");
        }
        for (line, expected) in [
            (
                "EROFS: read-only file system, mkdir '/srv/read/Pay me now'",
                "lets it read what it asks for,",
            ),
            (
                "ENOENT: no such file or directory, open '/tmp/Pay me now'",
                "the host's one.",
            ),
        ] {
            let advice = held().advice(None, None, &[line.to_owned()]).unwrap();
            assert!(
                advice.contains(expected) && !advice.contains("Pay"),
                "{advice}"
            );
        }
    }

    #[test]
    fn where_names_are_not_hidden_a_missing_file_is_missing() {
        let mut held = held();
        held.shown.as_mut().unwrap().hides_names = false;
        let of = |line: &str| held.advice(None, None, &[line.to_owned()]);
        assert_eq!(of("ENOENT: no such file or directory, open '/srv/x'"), None);
        let refused = of("EACCES: permission denied, open '/srv/x'");
        assert!(refused.is_some_and(|it| it.contains("does not show it")));
    }

    #[test]
    fn a_limit_that_ended_it_is_named_with_who_sets_it() {
        let held = held();
        for (over, ended, expected) in [
            (Some(Over::Memory(1)), None, "quotas.memory_bytes"),
            (Some(Over::Processes(1)), None, "quotas.processes"),
            (Some(Over::Processor(1)), None, "quotas.cpu_seconds"),
            (Some(Over::Processor(1)), None, "/mcp restart"),
            (Some(Over::Sockets(1)), None, "less to do at once"),
            (Some(Over::Home(1)), None, "quotas.home_bytes"),
            (None, Some(Ended::Signal(9)), "256 MiB of memory"),
        ] {
            let advice = held.advice(over, ended, &[]).unwrap_or_default();
            assert!(advice.contains(expected), "{advice}");
        }
        assert_eq!(held.advice(None, Some(Ended::Code(1)), &[]), None);
        let free = Held::default();
        assert_eq!(free.advice(None, Some(Ended::Signal(9)), &[]), None);
    }
}
