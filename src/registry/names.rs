//! Names of tools that are unique in a thread: `server__tool`, at most 64 characters of `[A-Za-z0-9_-]`.
//!
//! A name depends on its server and tool alone, so that it survives restarts and other servers coming and going; only
//! tools whose plain names would be the same get a hash, each of them, so that the order of servers never matters.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

const MOST: usize = 64;
const HASH_CHARS: usize = 8;

/// The name of a tool for as long as nobody else has it.
pub(super) fn unique_name(server: &str, tool: &str) -> String {
    let plain = plain(server, tool);
    if plain.len() <= MOST {
        plain
    } else {
        hashed(server, tool, 0)
    }
}

/// A tool that wants a name.
pub(super) struct Wanted<'a> {
    /// Where it stands: its server's place and its own.
    pub(super) place: (usize, usize),
    pub(super) server: &'a str,
    pub(super) tool: &'a str,
    /// Its [`unique_name`].
    pub(super) name: &'a str,
}

/// The map from names to places, and the tools that cannot have the name they want with the one they get.
pub(super) type Settled = (
    HashMap<String, (usize, usize)>,
    Vec<((usize, usize), String)>,
);

/// Gives every tool of a thread its name.
pub(super) fn settle(wanted: &[Wanted<'_>]) -> Settled {
    let mut names: HashMap<String, (usize, usize)> = HashMap::with_capacity(wanted.len());
    let mut clashing: HashSet<&str> = HashSet::new();
    for tool in wanted {
        if names.insert(tool.name.to_owned(), tool.place).is_some() {
            clashing.insert(tool.name);
        }
    }
    let mut renamed = Vec::new();
    if !clashing.is_empty() {
        names.retain(|name, _| !clashing.contains(name.as_str()));
        for tool in wanted.iter().filter(|tool| clashing.contains(tool.name)) {
            // A server may choose its tools' names so that even the hashed one is taken; the next hash is not.
            let name = (0..=u8::MAX)
                .map(|again| hashed(tool.server, tool.tool, again))
                .find(|name| !names.contains_key(name) && !clashing.contains(name.as_str()));
            if let Some(name) = name {
                names.insert(name.clone(), tool.place);
                renamed.push((tool.place, name));
            }
        }
    }
    (names, renamed)
}

fn plain(server: &str, tool: &str) -> String {
    let mut name = String::with_capacity(server.len() + tool.len() + 2);
    name.extend(server.chars().map(safe));
    name.push_str("__");
    name.extend(tool.chars().map(safe));
    name
}

fn hashed(server: &str, tool: &str, again: u8) -> String {
    let mut hash = Sha256::new();
    hash.update(server);
    hash.update([0, again]);
    hash.update(tool);
    let mut name = plain(server, tool);
    name.truncate(MOST - HASH_CHARS - 1);
    name.push('_');
    for byte in hash.finalize().iter().take(HASH_CHARS / 2) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn safe(c: char) -> char {
    if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
        c
    } else {
        '_'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settled(tools: &[(&str, &str)]) -> HashMap<String, (usize, usize)> {
        let names: Vec<_> = tools.iter().map(|(s, t)| unique_name(s, t)).collect();
        let wanted: Vec<_> = tools
            .iter()
            .zip(&names)
            .enumerate()
            .map(|(place, ((server, tool), name))| Wanted {
                place: (place, 0),
                server,
                tool,
                name,
            })
            .collect();
        settle(&wanted).0
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        for (server, tool, name) in [
            ("github", "create_issue", "github__create_issue"),
            ("my.server", "do it!", "my_server__do_it_"),
            ("s", "ä", "s___"),
        ] {
            assert_eq!(unique_name(server, tool), name);
        }
    }

    #[test]
    fn long_names_are_cut_and_told_apart() {
        let (one, two) = ("x".repeat(80) + "1", "x".repeat(80) + "2");
        let (one, two) = (unique_name("server", &one), unique_name("server", &two));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (MOST, MOST));
    }

    #[test]
    fn d14_a_clash_changes_both_whatever_their_order() {
        let (one, two) = (("a.b", "c"), ("a_b", "c"));
        let (forth, back) = (settled(&[one, two]), settled(&[two, one]));
        assert_eq!(forth.len(), 2);
        assert!(!forth.contains_key("a_b__c"));
        for (name, place) in &forth {
            assert_eq!(back[name].0, 1 - place.0, "{name} depends on the order");
        }
    }

    #[test]
    fn d14_a_name_chosen_to_clash_with_a_hash_does_not_hide_a_tool() {
        let taken = hashed("a.b", "c", 0);
        let tool = taken.strip_prefix("a_b__").unwrap();
        let all = settled(&[("a.b", "c"), ("a_b", "c"), ("a_b", tool)]);
        assert_eq!(all.len(), 3);
    }

    proptest! {
        #[test]
        fn every_tool_has_one_name_of_the_form(
            tools in proptest::collection::hash_set(("[A-Za-z._-]{1,64}", "\\PC{1,80}"), 1..12)
        ) {
            let tools: Vec<_> = tools.iter().map(|(s, t)| (s.as_str(), t.as_str())).collect();
            let names = settled(&tools);
            prop_assert_eq!(names.len(), tools.len());
            for name in names.keys() {
                prop_assert!(name.len() <= MOST);
                prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
            }
        }
    }
}
