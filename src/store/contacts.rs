//! `contacts/<server>.json`: the hosts that a server reached through the proxy, or wanted to.
//!
//! For people to look at and to narrow a grant by. Atomic and not synced, like the tool cache: what the power takes away is
//! seen again when the server reaches there again. Bounded, and what was refused goes first, so that a server cannot hide
//! where it was behind many that it was not let through to.

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::by_server::file_of;
use super::folder::Folder;
use super::{Store, StoreError};
use crate::config::ServerName;
use crate::thread::ThreadId;

pub(super) const FOLDER: &str = "contacts";
/// Of one server.
const MOST: usize = 128;
const MOST_BYTES: u64 = 256 * 1024;

/// A host that a server reached, or wanted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacted {
    /// The host, as DNS writes it, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it was let through the last time.
    pub allowed: bool,
    /// When it was last, in milliseconds since the epoch.
    pub at_ms: i64,
    /// How often.
    pub times: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// What the server was; of another one nothing is told.
    key: String,
    contacts: Vec<Contacted>,
}

impl Store {
    /// The hosts that a server with this key reached, the newest first; a damaged file counts as none.
    pub fn contacts(&self, thread: ThreadId, server: &ServerName, key: &str) -> Vec<Contacted> {
        let state = self.state(thread).ok().flatten();
        let folder = state.and_then(|state| state.child(FOLDER).ok().flatten());
        let mut all = folder.map_or_else(Vec::new, |folder| read(&folder, server, key));
        all.sort_by_key(|contact| std::cmp::Reverse(contact.at_ms));
        all
    }

    /// Adds what a server reached since the last time; returns what it reached for the first time, as long as there is room
    /// to remember that: a server that goes everywhere is not told of without end.
    pub fn note_contacts(
        &self,
        thread: ThreadId,
        server: &ServerName,
        key: &str,
        news: &[Contacted],
    ) -> Result<Vec<Contacted>, StoreError> {
        let (state, _lock) = self.lock(thread)?;
        let folder = state.child_made(FOLDER)?;
        let mut contacts = read(&folder, server, key);
        let mut first = Vec::new();
        for new in news {
            let mut known = contacts.iter_mut();
            let is_same = |old: &&mut Contacted| old.host == new.host && old.port == new.port;
            if let Some(old) = known.find(is_same) {
                old.allowed = new.allowed;
                old.at_ms = old.at_ms.max(new.at_ms);
                old.times = old.times.saturating_add(new.times);
                continue;
            }
            if contacts.len() < MOST {
                first.push(new.clone());
            }
            contacts.push(new.clone());
        }
        contacts.sort_by_key(|contact| std::cmp::Reverse((contact.allowed, contact.at_ms)));
        contacts.truncate(MOST);
        let name = file_of(server);
        let kept = Kept {
            key: key.to_owned(),
            contacts,
        };
        let text = serde_json::to_vec(&kept)
            .map_err(|error| StoreError::io(folder.path_of(&name), error))?;
        atomic::write(&self.root.disk, &folder, &name, &text, Durability::Process)?;
        Ok(first)
    }
}

fn read(folder: &Folder, server: &ServerName, key: &str) -> Vec<Contacted> {
    let text = folder.read(&file_of(server), MOST_BYTES).ok().flatten();
    let kept: Option<Kept> = text.and_then(|text| serde_json::from_slice(&text).ok());
    kept.filter(|kept| kept.key == key)
        .map_or_else(Vec::new, |kept| kept.contacts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(host: &str, allowed: bool, at_ms: i64) -> Contacted {
        Contacted {
            host: host.to_owned(),
            port: 443,
            allowed,
            at_ms,
            times: 1,
        }
    }

    #[test]
    fn contacts_add_up_and_belong_to_one_definition() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (thread, name) = (ThreadId::Local, ServerName::new("files").unwrap());
        let note = |news: &[Contacted]| store.note_contacts(thread, &name, "k", news).unwrap();
        note(&[contact("a", true, 1), contact("b", false, 2)]);
        note(&[contact("a", false, 3)]);
        let told: Vec<_> = store
            .contacts(thread, &name, "k")
            .into_iter()
            .map(|contact| (contact.host, contact.allowed, contact.at_ms, contact.times))
            .collect();
        assert_eq!(
            told,
            [("a".to_owned(), false, 3, 2), ("b".to_owned(), false, 2, 1)]
        );
        assert_eq!(store.contacts(thread, &name, "other"), []);
    }

    #[test]
    fn they_are_bounded_and_the_refused_ones_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (thread, name) = (ThreadId::Local, ServerName::new("files").unwrap());
        let note = |news: &[Contacted]| store.note_contacts(thread, &name, "k", news).unwrap();
        note(&[contact("first", true, 0)]);
        let many = (1..1000).map(|at| contact(&format!("x{at}"), false, at));
        note(&many.collect::<Vec<_>>());
        let all = store.contacts(thread, &name, "k");
        assert_eq!(all.len(), MOST);
        assert_eq!(all[0].host, "x999");
        assert!(all.iter().any(|contact| contact.host == "first"));
    }

    #[test]
    fn each_host_is_new_once_and_a_flood_of_them_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let name = ServerName::new("a").unwrap();
        let contact = |host: String| Contacted {
            host,
            port: 443,
            allowed: true,
            at_ms: 1,
            times: 1,
        };
        let note = |hosts: Vec<String>| {
            let news: Vec<_> = hosts.into_iter().map(contact).collect();
            let first = store.note_contacts(ThreadId::Local, &name, "k", &news);
            first.unwrap().len()
        };
        assert_eq!(note(vec!["x".to_owned()]), 1);
        assert_eq!(note(vec!["x".to_owned(), "y".to_owned()]), 1);
        let flood = |from: usize| (from..from + MOST).map(|n| format!("h{n}")).collect();
        let told: usize = (0..4).map(|round| note(flood(round * MOST))).sum();
        assert_eq!(told + 2, MOST, "no more than are remembered");
    }
}
