//! `state/_shelf/<shelf>/<hash>.json`: what belongs to no thread's folder, each thing in a file of its own with its key
//! inside. No thread has a name with `_` in front.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Found, MOST_BYTES, Shelf, forget, full, look, look_and_mend, write};
use crate::store::folder::Folder;
use crate::store::lock::{self, Lock};
use crate::store::{STATE, Store, StoreError, atomic};

const FOLDER: &str = "_shelf";
const MOST_THINGS: usize = 4096;
/// Its text is escaped once more for nothing, but its key may be long.
const FILE_BYTES: usize = MOST_BYTES + 64 * 1024;

#[derive(Serialize)]
struct Keep<'a> {
    key: &'a str,
    value: &'a Value,
}

#[derive(Deserialize)]
struct Kept {
    key: String,
    value: Value,
}

pub(super) fn read(store: &Store, shelf: Shelf, key: &str) -> Result<Option<Value>, StoreError> {
    let Some(folder) = folder(store, shelf)? else {
        return Ok(None);
    };
    let name = file_of(key);
    let kept: Option<Kept> = match look(&folder, &name, FILE_BYTES)? {
        Found::Nothing => None,
        Found::Whole(kept) => Some(kept),
        Found::Damaged(_) => {
            let _lock = Lock::take_in(&folder, lock::WAIT)?;
            look_and_mend(&folder, &name, FILE_BYTES)?
        }
    };
    Ok(kept.filter(|kept| kept.key == key).map(|kept| kept.value))
}

pub(super) fn keep(
    store: &Store,
    shelf: Shelf,
    key: &str,
    value: Option<&Value>,
) -> Result<(), StoreError> {
    let name = file_of(key);
    let Some(value) = value else {
        let Some(folder) = folder(store, shelf)? else {
            return Ok(());
        };
        let _lock = Lock::take_in(&folder, lock::WAIT)?;
        return forget(store, &folder, &name);
    };
    let folder = store
        .part(STATE)?
        .child_made(FOLDER)?
        .child_made(name_of(shelf))?;
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    if folder.stat(&name)?.is_none() {
        let there = files(&folder)?;
        match shelf {
            _ if there.len() < MOST_THINGS => {}
            // They end by themselves, and whoever keeps them counts them.
            Shelf::Logins => return Err(full(&folder, &name, MOST_THINGS)),
            Shelf::Clients | Shelf::Handoffs => make_room(store, &folder, there)?,
        }
    }
    write(store, &folder, &name, &Keep { key, value }, FILE_BYTES)
}

/// Takes the oldest things away, so that nobody fills a shelf for all others: a client is registered again where it is
/// needed, and the oldest handoffs are over.
fn make_room(store: &Store, folder: &Folder, names: Vec<String>) -> Result<(), StoreError> {
    let mut aged = Vec::with_capacity(names.len());
    for name in names {
        if let Some(stat) = folder.stat(&name)? {
            aged.push((stat.st_mtime, stat.st_mtime_nsec, name));
        }
    }
    aged.sort_unstable();
    for (_, _, name) in aged.iter().take(MOST_THINGS / 8) {
        folder.remove(name)?;
    }
    atomic::sync(&store.root.disk, folder)
}

pub(super) fn keys(store: &Store, shelf: Shelf) -> Result<Vec<String>, StoreError> {
    let Some(folder) = folder(store, shelf)? else {
        return Ok(Vec::new());
    };
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    let mut keys = Vec::new();
    for name in files(&folder)? {
        // What somebody put there by hand does not hide the rest.
        match look_and_mend::<Kept>(&folder, &name, FILE_BYTES) {
            Ok(Some(kept)) if file_of(&kept.key) == name => keys.push(kept.key),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "A file of the bot cannot be read."),
        }
    }
    keys.sort_unstable();
    Ok(keys)
}

fn folder(store: &Store, shelf: Shelf) -> Result<Option<Folder>, StoreError> {
    match store.part(STATE)?.child(FOLDER)? {
        Some(shelves) => shelves.child(name_of(shelf)),
        None => Ok(None),
    }
}

fn files(folder: &Folder) -> Result<Vec<String>, StoreError> {
    let mut names = folder.names()?;
    names.retain(|name| {
        let hash = name.strip_suffix(".json");
        hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    Ok(names)
}

fn file_of(key: &str) -> String {
    let mut name = String::with_capacity(69);
    for byte in Sha256::digest(key) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(".json");
    name
}

fn name_of(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::Logins => "logins",
        Shelf::Clients => "clients",
        Shelf::Handoffs => "handoffs",
    }
}
