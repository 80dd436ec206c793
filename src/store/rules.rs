//! `rules.json`: what a thread decided of its servers' tools, by server, with the definitions that were pinned.
//!
//! Moves with the thread's state. A damaged file is set aside, and what was decided is not guessed: every tool of a server
//! without a record starts off from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::folder::Folder;
use super::{Store, StoreError};
use crate::config::ServerName;
use crate::policy::{Ruling, Seen, ToolDecisions};
use crate::thread::ThreadId;

const NAME: &str = "rules.json";
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// More than a thread has servers: what was removed by hand while the bot did not run is forgotten last.
const SERVERS: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    servers: BTreeMap<ServerName, ToolDecisions>,
    /// What was decided before was damaged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

impl Store {
    /// A ruling for each tool that a server lists, in their order; what was never seen is pinned. `of` stands for what the
    /// server runs ([`crate::config::program_key`]), `definition` gives a tool's definition for people.
    pub fn rule_tools(
        &self,
        thread: ThreadId,
        server: &ServerName,
        of: &str,
        tools: &[Seen<'_>],
        definition: impl Fn(usize) -> String,
    ) -> Result<Vec<Ruling>, StoreError> {
        // Mostly nothing is new, and then nothing is locked and written.
        if let Some(state) = self.state(thread)?
            && let Look::Whole(mut kept) = look(&state)?
            && let Some(decisions) = kept.servers.get_mut(server)
        {
            let before = decisions.clone();
            let rulings = decisions.see(of, tools, &definition);
            if *decisions == before {
                return Ok(rulings);
            }
        }
        self.change(thread, |kept| {
            let decisions = of_server(kept, server);
            decisions.see(of, tools, &definition)
        })
    }

    /// What was decided of a server's tools.
    pub fn tool_decisions(
        &self,
        thread: ThreadId,
        server: &ServerName,
    ) -> Result<ToolDecisions, StoreError> {
        let Some(state) = self.state(thread)? else {
            return Ok(ToolDecisions::default());
        };
        let mut kept = match look(&state)? {
            Look::Nothing => Kept::default(),
            Look::Whole(kept) => kept,
            Look::Damaged(_) => Kept {
                lost: true,
                ..Kept::default()
            },
        };
        Ok(std::mem::take(of_server(&mut kept, server)))
    }

    /// Decides something of a server's tools; what `decide` answers is passed on. Nobody else's decision is lost.
    pub fn decide_tools<T>(
        &self,
        thread: ThreadId,
        server: &ServerName,
        decide: impl FnOnce(&mut ToolDecisions) -> T,
    ) -> Result<T, StoreError> {
        self.change(thread, |kept| decide(of_server(kept, server)))
    }

    /// What was decided of one server's tools holds for another name as well, before it gets it. What stood there is gone.
    pub fn copy_tool_rules(
        &self,
        thread: ThreadId,
        from: &ServerName,
        to: &ServerName,
    ) -> Result<(), StoreError> {
        self.change_known(thread, |kept| {
            match kept.servers.get(from).cloned() {
                Some(decisions) => kept.servers.insert(to.clone(), decisions),
                None => kept.servers.remove(to),
            };
        })
    }

    /// Forgets what was decided of servers that are gone.
    pub fn forget_tool_rules(
        &self,
        thread: ThreadId,
        servers: &[ServerName],
    ) -> Result<(), StoreError> {
        self.change_known(thread, |kept| {
            for server in servers {
                kept.servers.remove(server);
            }
        })
    }

    /// Where nothing was ever decided there is nothing to change.
    fn change_known(
        &self,
        thread: ThreadId,
        change: impl FnOnce(&mut Kept),
    ) -> Result<(), StoreError> {
        match self.state(thread)? {
            Some(state) if state.stat(NAME)?.is_some() => self.change(thread, change),
            _ => Ok(()),
        }
    }

    fn change<T>(
        &self,
        thread: ThreadId,
        change: impl FnOnce(&mut Kept) -> T,
    ) -> Result<T, StoreError> {
        let (state, _lock) = self.lock(thread)?;
        let old = match look(&state)? {
            Look::Nothing => Kept::default(),
            Look::Whole(kept) => kept,
            Look::Damaged(reason) => {
                super::set_aside(&state, NAME, &reason)?;
                Kept {
                    lost: true,
                    ..Kept::default()
                }
            }
        };
        let mut new = old.clone();
        let answer = change(&mut new);
        if new != old {
            write(self, &state, &new)?;
        }
        Ok(answer)
    }
}

fn of_server<'a>(kept: &'a mut Kept, server: &ServerName) -> &'a mut ToolDecisions {
    let lost = kept.lost;
    if kept.servers.len() >= SERVERS && !kept.servers.contains_key(server) {
        // By name, since nothing tells when they were used; what is forgotten starts anew, which is the careful side.
        kept.servers.pop_first();
    }
    kept.servers.entry(server.clone()).or_insert_with(|| {
        if lost {
            ToolDecisions::lost()
        } else {
            ToolDecisions::default()
        }
    })
}

enum Look {
    Nothing,
    Whole(Kept),
    Damaged(String),
}

fn look(state: &Folder) -> Result<Look, StoreError> {
    let text = match state.read(NAME, MOST_BYTES) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Look::Nothing),
        Err(error @ StoreError::TooLarge { .. }) => return Ok(Look::Damaged(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice(&text) {
        Ok(kept) => Look::Whole(kept),
        // The parser's own words may repeat a value.
        Err(error) => Look::Damaged(format!("line {}, column {}", error.line(), error.column())),
    })
}

fn write(store: &Store, state: &Folder, kept: &Kept) -> Result<(), StoreError> {
    let path = state.path_of(NAME);
    let text = serde_json::to_vec(kept).map_err(|error| StoreError::io(path.clone(), error))?;
    if text.len() as u64 > MOST_BYTES {
        let bytes = text.len() as u64;
        return Err(StoreError::TooLarge { path, bytes });
    }
    atomic::sweep(state, Duration::ZERO)?;
    atomic::write(&store.root.disk, state, NAME, &text, Durability::Power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, Pin};
    use serde_json::json;

    const THREAD: ThreadId = ThreadId::Local;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        (folder, store)
    }

    fn name(text: &str) -> ServerName {
        ServerName::new(text).unwrap()
    }

    fn tool(name: &'static str, version: u8) -> Seen<'static> {
        Seen {
            name,
            pin: Pin::of(&json!([name, version])),
            is_risky: name.starts_with("risky"),
        }
    }

    fn rule(store: &Store, server: &str, tools: &[Seen<'_>]) -> Vec<Ruling> {
        let rulings = store.rule_tools(THREAD, &name(server), "p", tools, |_| "{}".to_owned());
        rulings.unwrap()
    }

    #[test]
    fn d12_a_pin_survives_a_restart_and_is_its_owners_alone() {
        let (folder, store) = store();
        assert_eq!(rule(&store, "a", &[tool("t", 1)]), [Ruling::On]);
        drop(store);
        let store = Store::open(&folder.path().join("data")).unwrap();
        assert_eq!(rule(&store, "a", &[tool("t", 2)]), [Ruling::Changed]);
        assert_eq!(rule(&store, "b", &[tool("t", 2)]), [Ruling::On]);
        let file = folder.path().join("data/state/local/rules.json");
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_new_writes_nothing() {
        let (folder, store) = store();
        rule(&store, "a", &[tool("t", 1)]);
        let file = folder.path().join("data/state/local/rules.json");
        let inode = || std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let before = inode();
        for _ in 0..3 {
            rule(&store, "a", &[tool("t", 2)]);
        }
        assert_eq!(inode(), before);
    }

    #[test]
    fn a_rename_keeps_and_a_removal_forgets() {
        let (_folder, store) = store();
        let risky = tool("risky", 1);
        assert_eq!(rule(&store, "a", &[risky]), [Ruling::Risky]);
        let allowed = store.decide_tools(THREAD, &name("a"), |of| of.allow("risky"));
        assert!(allowed.unwrap());
        store
            .copy_tool_rules(THREAD, &name("a"), &name("b"))
            .unwrap();
        store.forget_tool_rules(THREAD, &[name("a")]).unwrap();
        assert_eq!(rule(&store, "b", &[risky]), [Ruling::On]);
        assert_eq!(rule(&store, "a", &[risky]), [Ruling::Risky]);
        // A name that nothing was decided of brings nothing along, and leaves nothing.
        store
            .copy_tool_rules(THREAD, &name("c"), &name("b"))
            .unwrap();
        assert_eq!(rule(&store, "b", &[risky]), [Ruling::Risky]);
    }

    #[test]
    fn what_was_decided_moves_with_the_thread() {
        let (_folder, store) = store();
        let (from, to) = (ThreadId::telegram(-1, None), ThreadId::telegram(-2, None));
        let files = crate::store::tests::files(1, None);
        let entry = crate::store::tests::entry("e");
        store
            .commit(
                from,
                crate::store::RawFiles::default().revision(),
                &files,
                entry,
            )
            .unwrap();
        store
            .decide_tools(from, &name("a"), |of| of.deny("x"))
            .unwrap();
        store.rename_thread(from, to).unwrap();
        let moved = store.tool_decisions(to, &name("a")).unwrap();
        assert_eq!(moved.denies("x"), Some("x"));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test plays what damages it")]
    fn a_damaged_file_makes_careful_and_is_kept_aside() {
        let (folder, store) = store();
        rule(&store, "a", &[tool("t", 1)]);
        let file = folder.path().join("data/state/local/rules.json");
        std::fs::write(&file, "{\"servers\": ").unwrap();
        let decisions = store.tool_decisions(THREAD, &name("a")).unwrap();
        assert_eq!(decisions.mode(&tool("t", 1)), Mode::Ask);
        for server in ["a", "b"] {
            assert_eq!(rule(&store, server, &[tool("t", 1)]), [Ruling::Risky]);
        }
        assert!(file.with_extension("json.damaged").exists());
    }

    #[test]
    fn two_at_once_lose_nothing() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    let decided =
                        store.decide_tools(THREAD, &name("a"), |of| of.deny(&format!("t{n}")));
                    assert!(decided.unwrap());
                });
            }
        });
        let decisions = store.tool_decisions(THREAD, &name("a")).unwrap();
        assert!((0..8).all(|n| decisions.denies(&format!("t{n}")).is_some()));
    }
}
