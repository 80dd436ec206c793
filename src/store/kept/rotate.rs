//! Sealing anew, with another key.
//!
//! File by file, each replaced as a whole under its lock, so that everything is readable wherever it is cut short. Which
//! keys are still needed is told by what is on disk at the end, and not by what was meant to be done.

use std::collections::{BTreeMap, BTreeSet};

use super::own::{self, Sealed, SealedLogin};
use super::{Found, Given, Shelf, look, shelf, vault_id, write};
use crate::config::SecretName;
use crate::store::folder::Folder;
use crate::store::lock::{self, Lock};
use crate::store::{STATE, Store, StoreError, seals};
use crate::thread::ThreadId;
use crate::vault::{KeyId, key_of};

pub(super) const SHELVES: [Shelf; 3] = [Shelf::Logins, Shelf::Clients, Shelf::Handoffs];

/// What a rotation came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals now; `None` where nothing is sealed.
    pub active: Option<String>,
    /// How many things were sealed anew.
    pub resealed: usize,
    /// How many were sealed with it already.
    pub fresh: usize,
    /// What could not be: where it is, and why.
    pub refused: Vec<String>,
    /// Keys that seal nothing any more: given ones may be taken out.
    pub unused: Vec<String>,
    /// Older keys that something is still sealed with: they stay.
    pub needed: Vec<String>,
}

/// What was found and done, so far.
#[derive(Default)]
struct Tally {
    resealed: usize,
    fresh: usize,
    refused: Vec<String>,
    keys: BTreeSet<KeyId>,
}

pub(super) fn all(store: &Store) -> Result<Rotated, StoreError> {
    // A bot that was given other keys would go on with them.
    let are_given = store.root.seals.are_given();
    let _claim = are_given.then(|| store.claim_for_bot()).transpose()?;
    let before = seals::in_use(store)?;
    if !store.root.seals.are_given() {
        seals::renew_generated(store)?;
    }
    let mut tally = Tally::default();
    for thread in threads(store)? {
        one(store, thread, &mut tally)?;
    }
    for shelf in SHELVES {
        on_shelf(store, shelf, &mut tally)?;
    }
    if tally.keys.is_empty() && before.is_empty() {
        return Ok(Rotated::default());
    }
    let ring = seals::ring_to_seal(store)?;
    let active = ring.active().cloned();
    let mut still = tally.keys;
    still.extend(active.clone());
    // The record before the keys: a key too many does no harm.
    seals::record(store, |keys| keys.clone_from(&still))?;
    seals::drop_generated(store, &still)?;
    let names = |ids: Vec<&KeyId>| ids.into_iter().map(ToString::to_string).collect();
    Ok(Rotated {
        unused: names(ring.ids().filter(|id| !still.contains(id)).collect()),
        needed: names(
            still
                .iter()
                .filter(|id| Some(*id) != active.as_ref())
                .collect(),
        ),
        active: active.map(|id| id.to_string()),
        resealed: tally.resealed,
        fresh: tally.fresh,
        refused: tally.refused,
    })
}

/// What a thread keeps, where it is sealed with an older key.
pub(super) fn thread(store: &Store, thread: ThreadId) -> Result<(), StoreError> {
    one(store, thread, &mut Tally::default())
}

/// The threads that have a state folder.
pub(super) fn threads(store: &Store) -> Result<Vec<ThreadId>, StoreError> {
    let names = store.part(STATE)?.names()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn one(store: &Store, thread: ThreadId, tally: &mut Tally) -> Result<(), StoreError> {
    match store.state(thread) {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(()),
        Err(StoreError::NotOrdinary(path)) => {
            tally.refused.push(path);
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    let (state, _lock) = store.lock(thread)?;
    match vault_id::reseal(store, &state, thread) {
        Ok(true) => tally.resealed += 1,
        Ok(false) => {}
        Err(error) => tally.refuse(error)?,
    }
    tally.keys.extend(vault_id::keys(&state)?);
    secrets(store, &state, thread, tally)?;
    logins(store, &state, thread, tally)
}

fn secrets(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let Some(mut all) =
        whole::<BTreeMap<SecretName, Sealed>>(state, own::SECRETS, own::FILE_BYTES)?
    else {
        return Ok(());
    };
    let mut is_changed = false;
    for (name, kept) in &mut all {
        let anew = tally.anew(store, &kept.sealed, || {
            let given = Given {
                secret: own::opened(store, thread, name, kept)?,
                given_for: kept.given_for.clone(),
                at_ms: kept.set_at,
            };
            own::seal(store, state, thread, name, &given).map(|kept| kept.sealed)
        })?;
        if let Some(sealed) = anew {
            kept.sealed = sealed;
            is_changed = true;
        }
    }
    if is_changed {
        write(store, state, own::SECRETS, &all, own::FILE_BYTES)?;
    }
    Ok(())
}

fn logins(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let Some(folder) = state.child(own::CREDENTIALS)? else {
        return Ok(());
    };
    for id in own::ids(&folder)? {
        let name = own::file_of(&id);
        let Some(kept) = whole::<SealedLogin>(&folder, &name, own::FILE_BYTES)? else {
            continue;
        };
        let anew = tally.anew(store, &kept.sealed, || {
            let value = own::opened_login(store, thread, &id, &kept)?;
            own::seal_login(store, state, thread, &id, &value).map(|kept| kept.sealed)
        })?;
        if let Some(sealed) = anew {
            write(
                store,
                &folder,
                &name,
                &SealedLogin { sealed },
                own::FILE_BYTES,
            )?;
        }
    }
    Ok(())
}

fn on_shelf(store: &Store, on: Shelf, tally: &mut Tally) -> Result<(), StoreError> {
    let Some(folder) = shelf::folder(store, on)? else {
        return Ok(());
    };
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    for name in shelf::files(&folder)? {
        let Some(kept) = whole::<shelf::Kept>(&folder, &name, shelf::FILE_BYTES)? else {
            continue;
        };
        let anew = tally.anew(store, &kept.sealed, || {
            let value = shelf::opened(store, on, &folder, &kept)?;
            shelf::seal(store, on, &kept.key, &value).map(|kept| kept.sealed)
        })?;
        if let Some(sealed) = anew {
            let key = kept.key;
            write(
                store,
                &folder,
                &name,
                &shelf::Kept { key, sealed },
                shelf::FILE_BYTES,
            )?;
        }
    }
    Ok(())
}

impl Tally {
    /// Counts a sealed text, and gives it anew where it is sealed with an older key.
    fn anew(
        &mut self,
        store: &Store,
        sealed: &str,
        seal: impl FnOnce() -> Result<String, StoreError>,
    ) -> Result<Option<String>, StoreError> {
        if seals::ring_to_seal(store)?.is_fresh(sealed) {
            self.fresh += 1;
            self.keys.extend(key_of(sealed));
            return Ok(None);
        }
        match seal() {
            Ok(anew) => {
                self.resealed += 1;
                self.keys.extend(key_of(&anew));
                Ok(Some(anew))
            }
            Err(error) => {
                self.keys.extend(key_of(sealed));
                self.refuse(error)?;
                Ok(None)
            }
        }
    }

    /// What does not open is told and left as it is; anything else is an end.
    fn refuse(&mut self, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Sealed { .. } => {
                self.refused.push(error.to_string());
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// What is whole; what is damaged or no file is left to whoever reads it.
pub(super) fn whole<T: serde::de::DeserializeOwned>(
    folder: &Folder,
    name: &str,
    limit: usize,
) -> Result<Option<T>, StoreError> {
    match look(folder, name, limit) {
        Ok(Found::Whole(value)) => Ok(Some(value)),
        Ok(Found::Nothing | Found::Damaged(_)) | Err(StoreError::NotOrdinary(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
