//! `state/_shelf/<shelf>/<hash>.json`: what belongs to no thread's folder, each thing in a file of its own with its key
//! inside. No thread has a name with `_` in front.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Found, MOST_BYTES, Shelf, forget, full, look, look_and_mend, plain, write};
use crate::store::folder::Folder;
use crate::store::lock::{self, Lock};
use crate::store::{STATE, Store, StoreError, atomic, seals};
use crate::vault::{Binding, OpenError};

const FOLDER: &str = "_shelf";
const MOST_THINGS: usize = 4096;
/// Sealed it is a third longer, and its key may be long.
pub(super) const FILE_BYTES: usize = 2 * MOST_BYTES;

#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) sealed: String,
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
    let Some(kept) = kept.filter(|kept| kept.key == key) else {
        return Ok(None);
    };
    match opened(store, shelf, &folder, &kept) {
        Err(StoreError::Sealed { path, cause }) if seals::is_lost(store, &cause)? => {
            tracing::warn!(%path, %cause, "A file of the bot cannot be read and is left out.");
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

pub(super) fn take(store: &Store, shelf: Shelf, key: &str) -> Result<Option<Value>, StoreError> {
    let Some(folder) = folder(store, shelf)? else {
        return Ok(None);
    };
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    let name = file_of(key);
    let kept: Option<Kept> = look_and_mend(&folder, &name, FILE_BYTES)?;
    let Some(kept) = kept.filter(|kept| kept.key == key) else {
        return Ok(None);
    };
    let value = opened(store, shelf, &folder, &kept)?;
    forget(store, &folder, &name)?;
    Ok(Some(value))
}

/// Seals something for its place on a shelf; under the shelf's lock.
pub(super) fn seal(
    store: &Store,
    shelf: Shelf,
    key: &str,
    value: &Value,
) -> Result<Kept, StoreError> {
    let plain = plain(value, name_of(shelf))?;
    let words = ["shelf", name_of(shelf), key];
    Ok(Kept {
        key: key.to_owned(),
        sealed: seals::seal(store, Binding::new(&words), &plain)?,
    })
}

pub(super) fn opened(
    store: &Store,
    shelf: Shelf,
    folder: &Folder,
    kept: &Kept,
) -> Result<Value, StoreError> {
    let path = folder.path_of(&file_of(&kept.key));
    let words = ["shelf", name_of(shelf), &kept.key];
    let plain = seals::open(store, &path, Binding::new(&words), &kept.sealed)?;
    serde_json::from_slice(&plain).map_err(|_| StoreError::Sealed {
        path,
        cause: OpenError::Broken,
    })
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
    let kept = seal(store, shelf, key, value)?;
    write(store, &folder, &name, &kept, FILE_BYTES)
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

pub(super) fn folder(store: &Store, shelf: Shelf) -> Result<Option<Folder>, StoreError> {
    match store.part(STATE)?.child(FOLDER)? {
        Some(shelves) => shelves.child(name_of(shelf)),
        None => Ok(None),
    }
}

pub(super) fn files(folder: &Folder) -> Result<Vec<String>, StoreError> {
    let mut names = folder.names()?;
    names.retain(|name| {
        let hash = name.strip_suffix(".json");
        hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    Ok(names)
}

pub(super) fn file_of(key: &str) -> String {
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
