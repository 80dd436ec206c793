//! The keys that things are sealed with, and the record of which are in use.
//!
//! Keys that the operator gives come first. Where none is given, one is generated into `keys/vault.key` (0600, outside
//! `users/`); it stays readable where keys are given later. `state/vault.json` names the keys that anything may be sealed
//! with: a start without one of them is refused, so that none is dropped while it is in use.
//!
//! Whoever seals does so under the lock of what is written, and asks for the key there: what was not sealed with a new key
//! is then found by whoever goes through everything after the key was made.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::atomic::{self, Durability};
use super::lock::{self, Lock};
use super::{STATE, Store, StoreError};
use crate::vault::{Binding, KeyId, OpenError, Ring};

pub(super) const KEYS: &str = "keys";
const KEY_FILE: &str = "vault.key";
const RECORD: &str = "vault.json";
const RECORD_LOCK: &str = "vault.lock";
const MOST_BYTES: u64 = 64 * 1024;

/// The keys as one process knows them.
#[derive(Debug, Default)]
pub(super) struct Seals {
    given: Ring,
    /// Given and generated ones together, once read. A std lock: held for a look.
    known: Mutex<Option<Arc<Ring>>>,
    /// This process looked through everything for what is not sealed.
    looked: AtomicBool,
}

/// `state/vault.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    keys: BTreeSet<KeyId>,
    /// Nothing is kept unsealed any more.
    #[serde(default)]
    all_sealed: bool,
}

impl Seals {
    pub(super) fn of(given: Ring) -> Self {
        Self {
            given,
            known: Mutex::default(),
            looked: AtomicBool::new(false),
        }
    }

    /// Whether the operator gives the keys.
    pub(super) fn are_given(&self) -> bool {
        !self.given.is_empty()
    }
}

/// Seals with the newest key, making one where there is none. The lock of what is written is held.
pub(super) fn seal(
    store: &Store,
    binding: Binding<'_>,
    plain: &[u8],
) -> Result<String, StoreError> {
    let ring = ring_to_seal(store)?;
    let active = ring.active().cloned();
    if let Some(active) = active {
        note_in_use(store, &active)?;
    }
    ring.seal(binding, plain)
        .map_err(|error| StoreError::Keys(error.to_string()))
}

/// Opens what is sealed. `path` is for words.
pub(super) fn open(
    store: &Store,
    path: &str,
    binding: Binding<'_>,
    sealed: &str,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let known = known(store).clone();
    let ring = match known {
        Some(ring) => ring,
        None => ring_now(store)?,
    };
    let opened = match ring.open(binding, sealed) {
        // Another process may have made a new one meanwhile.
        Err(OpenError::UnknownKey(_)) => ring_now(store)?.open(binding, sealed),
        opened => opened,
    };
    opened.map_err(|cause| StoreError::Sealed {
        path: path.to_owned(),
        cause,
    })
}

/// Whether what does not open for this reason never will: it was changed, or its key is given up. Where its key is only
/// missing it stays as it is.
pub(super) fn is_lost(store: &Store, cause: &OpenError) -> Result<bool, StoreError> {
    match cause {
        OpenError::UnknownKey(id) => Ok(!in_use(store)?.contains(id)),
        OpenError::Malformed | OpenError::Broken => Ok(true),
    }
}

/// Whether it was sealed with the key that seals now, as far as this process knows.
pub(super) fn is_fresh(store: &Store, sealed: &str) -> bool {
    known(store)
        .as_ref()
        .is_none_or(|ring| ring.is_fresh(sealed))
}

/// The ring to seal with. Given keys stay as they are while a process lives; a generated one may have been replaced by
/// another process, so that its file is read each time.
pub(super) fn ring_to_seal(store: &Store) -> Result<Arc<Ring>, StoreError> {
    if store.root.seals.are_given()
        && let Some(ring) = known(store).clone()
    {
        return Ok(ring);
    }
    let ring = ring_now(store)?;
    if !ring.is_empty() {
        return Ok(ring);
    }
    let folder = store.part(KEYS)?;
    folder.keep_private();
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    // Another process may have been faster.
    if generated(store)?.is_none() {
        let fresh = Ring::generate().map_err(|error| StoreError::Keys(error.to_string()))?;
        write_generated(store, &fresh)?;
        tracing::warn!(
            file = %folder.path_of(KEY_FILE),
            "A key was made for what is kept secret. It lies beside the data, so it protects folders that are copied \
             without it and not a host that is taken over; SWITCHBOARD_VAULT_KEY_FILE takes one from elsewhere."
        );
    }
    ring_now(store)
}

/// Given keys, then the generated ones, as they are on disk now.
fn ring_now(store: &Store) -> Result<Arc<Ring>, StoreError> {
    let given = store.root.seals.given.clone();
    let ring = match generated(store)? {
        Some(generated) => given.then(&generated).map_err(|_| {
            StoreError::Keys(format!(
                "a given key has the id of another one in {KEYS}/{KEY_FILE}; give it another id"
            ))
        })?,
        None => given,
    };
    let ring = Arc::new(ring);
    *known(store) = Some(Arc::clone(&ring));
    Ok(ring)
}

fn known(store: &Store) -> std::sync::MutexGuard<'_, Option<Arc<Ring>>> {
    let known = &store.root.seals.known;
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is in the file of generated keys.
pub(super) fn generated(store: &Store) -> Result<Option<Ring>, StoreError> {
    let Some(folder) = store.root.folder.child(KEYS)? else {
        return Ok(None);
    };
    let Some(bytes) = folder.read(KEY_FILE, MOST_BYTES)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let ring = Ring::read_file(&bytes).map_err(|error| {
        StoreError::Keys(format!(
            "{} {error}; put the file back as it was",
            folder.path_of(KEY_FILE)
        ))
    })?;
    Ok(Some(ring))
}

/// Puts keys into the file of generated ones; its folder's lock is held.
fn write_generated(store: &Store, ring: &Ring) -> Result<(), StoreError> {
    let folder = store.part(KEYS)?;
    let disk = &store.root.disk;
    atomic::sweep(&folder, std::time::Duration::ZERO)?;
    let text = ring.to_file();
    atomic::write(disk, &folder, KEY_FILE, text.as_bytes(), Durability::Power)
}

/// A fresh key goes before the generated ones. Not where there are several already: then a rotation was cut short, and
/// its key is the one to go on with.
pub(super) fn renew_generated(store: &Store) -> Result<(), StoreError> {
    let folder = store.part(KEYS)?;
    folder.keep_private();
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    let Some(old) = generated(store)? else {
        return Ok(());
    };
    if old.ids().count() > 1 {
        return Ok(());
    }
    let fresh = Ring::generate()
        .and_then(|fresh| fresh.then(&old))
        .map_err(|error| StoreError::Keys(error.to_string()))?;
    write_generated(store, &fresh)
}

/// Takes keys that seal nothing any more out of the file of generated ones, where others are left.
pub(super) fn drop_generated(store: &Store, still: &BTreeSet<KeyId>) -> Result<(), StoreError> {
    let Some(folder) = store.root.folder.child(KEYS)? else {
        return Ok(());
    };
    let _lock = Lock::take_in(&folder, lock::WAIT)?;
    let Some(old) = generated(store)? else {
        return Ok(());
    };
    let unused: Vec<KeyId> = old
        .ids()
        .filter(|id| !still.contains(id))
        .cloned()
        .collect();
    let kept = unused.iter().fold(old.clone(), Ring::without);
    if unused.is_empty() || kept.is_empty() {
        return Ok(());
    }
    write_generated(store, &kept)?;
    ring_now(store).map(drop)
}

/// Whether everything was looked through once, to its end, for what is not sealed.
pub(super) fn are_all_sealed(store: &Store) -> Result<bool, StoreError> {
    Ok(read_record(store)?.all_sealed)
}

/// Everything was looked through. Written down by the next change of the record; at once where `now`.
pub(super) fn note_all_sealed(store: &Store, now: bool) -> Result<(), StoreError> {
    store.root.seals.looked.store(true, Ordering::Release);
    if now { record(store, |_| {}) } else { Ok(()) }
}

/// The keys that anything may be sealed with.
pub(super) fn in_use(store: &Store) -> Result<BTreeSet<KeyId>, StoreError> {
    Ok(read_record(store)?.keys)
}

fn read_record(store: &Store) -> Result<Record, StoreError> {
    let state = store.part(STATE)?;
    let Some(bytes) = state.read(RECORD, MOST_BYTES)? else {
        return Ok(Record::default());
    };
    serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged {
        path: state.path_of(RECORD),
        reason: "it is no record of keys; move it away, and it is made anew".to_owned(),
    })
}

/// Writes which keys are in use.
pub(super) fn record(
    store: &Store,
    change: impl FnOnce(&mut BTreeSet<KeyId>),
) -> Result<(), StoreError> {
    let state = store.part(STATE)?;
    let _lock = Lock::take_named(&state, RECORD_LOCK, lock::WAIT)?;
    let old = read_record(store)?;
    let mut new = old.clone();
    change(&mut new.keys);
    new.all_sealed |= store.root.seals.looked.load(Ordering::Acquire);
    if new == old {
        return Ok(());
    }
    let text =
        serde_json::to_vec(&new).map_err(|error| StoreError::io(state.path_of(RECORD), error))?;
    atomic::write(&store.root.disk, &state, RECORD, &text, Durability::Power)
}

fn note_in_use(store: &Store, id: &KeyId) -> Result<(), StoreError> {
    // Read each time: another process may have taken it out.
    if in_use(store)?.contains(id) {
        return Ok(());
    }
    record(store, |keys| {
        keys.insert(id.clone());
    })
}

/// Refuses where a key is missing that something is sealed with.
pub(super) fn check(store: &Store) -> Result<(), StoreError> {
    let needed = in_use(store)?;
    if needed.is_empty() && !store.root.seals.are_given() {
        return Ok(());
    }
    let ring = ring_now(store)?;
    match needed
        .iter()
        .find(|id| ring.ids().all(|known| known != *id))
    {
        None => Ok(()),
        Some(missing) => Err(StoreError::Keys(format!(
            "the key `{missing}` is missing, and something here is sealed with it: put it back behind the others in \
             SWITCHBOARD_VAULT_KEYS or the key file, and let `switchboard secrets rotate` replace it; where it is lost, \
             `switchboard secrets give-up {missing}` goes on without what it sealed"
        ))),
    }
}
