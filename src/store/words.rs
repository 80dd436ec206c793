//! `network.json`: for which entries an operator gave their word that more of the network is granted than others may.

use std::collections::BTreeMap;

use super::atomic::{self, Durability};
use super::{Store, StoreError};
use crate::config::ServerName;
use crate::thread::ThreadId;

const NAME: &str = "network.json";
const MOST_BYTES: u64 = 64 * 1024;
/// More than a thread has servers; a word for one that is gone does no harm, since it is for one definition.
const MOST: usize = 256;

impl Store {
    /// Whether an operator gave their word for a server with this key.
    pub fn has_word(&self, thread: ThreadId, server: &ServerName, key: &str) -> bool {
        // What cannot be read gives nothing.
        let words = self.words(thread).unwrap_or_default();
        words.get(server).is_some_and(|known| known == key)
    }

    /// Remembers an operator's word for servers with these keys.
    pub fn give_word(
        &self,
        thread: ThreadId,
        given: &[(ServerName, String)],
    ) -> Result<(), StoreError> {
        let (state, _lock) = self.lock(thread)?;
        let mut words = self.words(thread)?;
        words.extend(given.iter().cloned());
        while words.len() > MOST {
            let other = words
                .keys()
                .find(|name| !given.iter().any(|(own, _)| own == *name));
            let Some(other) = other.cloned() else { break };
            words.remove(&other);
        }
        let text = serde_json::to_vec(&words)
            .map_err(|error| StoreError::io(state.path_of(NAME), error))?;
        atomic::write(&self.root.disk, &state, NAME, &text, Durability::Power)
    }

    fn words(&self, thread: ThreadId) -> Result<BTreeMap<ServerName, String>, StoreError> {
        let Some(state) = self.state(thread)? else {
            return Ok(BTreeMap::new());
        };
        let Some(text) = state.read(NAME, MOST_BYTES)? else {
            return Ok(BTreeMap::new());
        };
        match serde_json::from_slice(&text) {
            Ok(words) => Ok(words),
            Err(error) => {
                super::set_aside(&state, NAME, &error)?;
                Ok(BTreeMap::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_for_one_definition() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (thread, name) = (ThreadId::Local, ServerName::new("a").unwrap());
        assert!(!store.has_word(thread, &name, "k"));
        store
            .give_word(thread, &[(name.clone(), "k".to_owned())])
            .unwrap();
        assert!(store.has_word(thread, &name, "k"));
        assert!(!store.has_word(thread, &name, "other"));
        assert!(!store.has_word(thread, &ServerName::new("b").unwrap(), "k"));
    }
}
