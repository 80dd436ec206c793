//! `vault_id.json`: what a thread's secrets are bound to.
//!
//! A random id, sealed for the thread itself. Secrets and logins are bound to it, so none opens in another thread; a
//! thread that gets another id needs this one file sealed anew, before its folder moves, and nothing is out of reach
//! wherever a crash cuts that short.

use serde::{Deserialize, Serialize};

use super::{Found, look, look_and_mend, write};
use crate::store::folder::Folder;
use crate::store::{Store, StoreError, seals};
use crate::thread::ThreadId;
use crate::vault::{Binding, key_of};

pub(super) const NAME: &str = "vault_id.json";
const MOST_BYTES: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The same id, sealed for each of the thread's ids.
    seals: Vec<String>,
}

/// The thread's vault id; `None` where it has none.
pub(super) fn read(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
) -> Result<Option<String>, StoreError> {
    match look::<Kept>(state, NAME, MOST_BYTES)? {
        Found::Whole(kept) => opened(store, state, thread, &kept).map(Some),
        Found::Nothing | Found::Damaged(_) => Ok(None),
    }
}

/// The same, made where there is none; under the thread's lock.
pub(super) fn made(store: &Store, state: &Folder, thread: ThreadId) -> Result<String, StoreError> {
    let kept: Option<Kept> = look_and_mend(state, NAME, MOST_BYTES)?;
    match kept.map(|kept| opened(store, state, thread, &kept)) {
        Some(Err(StoreError::Sealed { cause, .. })) if seals::is_lost(store, &cause)? => {
            crate::store::set_aside(state, NAME, &cause)?;
        }
        Some(read) => return read,
        None => {}
    }
    let (high, low) = (random()?, random()?);
    let id = format!("{high:016x}{low:016x}");
    seal_for(store, state, &id, &[thread])?;
    Ok(id)
}

/// The thread is about to get another id: its things are to be read under both. Under its lock.
pub(in super::super) fn open_to(
    store: &Store,
    state: &Folder,
    from: ThreadId,
    to: ThreadId,
) -> Result<(), StoreError> {
    match read(store, state, from) {
        Ok(Some(id)) => seal_for(store, state, &id, &[from, to]),
        Ok(None) => Ok(()),
        // What cannot be read here cannot be read there either; the thread moves all the same.
        Err(error @ StoreError::Sealed { .. }) => {
            tracing::warn!(thread = %from, %error, "The secrets of a thread that moves cannot be read.");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Seals it anew where it was with an older key; whether it did. Under the thread's lock.
pub(super) fn reseal(store: &Store, state: &Folder, thread: ThreadId) -> Result<bool, StoreError> {
    let ring = seals::ring_to_seal(store)?;
    let Found::Whole(kept) = look::<Kept>(state, NAME, MOST_BYTES)? else {
        return Ok(false);
    };
    if kept.seals.iter().all(|sealed| ring.is_fresh(sealed)) {
        return Ok(false);
    }
    let id = opened(store, state, thread, &kept)?;
    seal_for(store, state, &id, &[thread])?;
    Ok(true)
}

/// The keys that it is sealed with.
pub(super) fn keys(state: &Folder) -> Result<Vec<crate::vault::KeyId>, StoreError> {
    match look::<Kept>(state, NAME, MOST_BYTES)? {
        Found::Whole(kept) => Ok(kept
            .seals
            .iter()
            .filter_map(|sealed| key_of(sealed))
            .collect()),
        Found::Nothing | Found::Damaged(_) => Ok(Vec::new()),
    }
}

fn opened(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
    kept: &Kept,
) -> Result<String, StoreError> {
    let path = state.path_of(NAME);
    let thread = thread.to_string();
    let binding = ["vault", thread.as_str()];
    let mut refused = StoreError::Sealed {
        path: path.clone(),
        cause: crate::vault::OpenError::Malformed,
    };
    for sealed in &kept.seals {
        match seals::open(store, &path, Binding::new(&binding), sealed) {
            Ok(id) => return Ok(String::from_utf8_lossy(&id).into_owned()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn seal_for(
    store: &Store,
    state: &Folder,
    id: &str,
    threads: &[ThreadId],
) -> Result<(), StoreError> {
    let seals = threads.iter().map(|thread| {
        let thread = thread.to_string();
        seals::seal(store, Binding::new(&["vault", &thread]), id.as_bytes())
    });
    let seals = seals.collect::<Result<_, _>>()?;
    write(store, state, NAME, &Kept { seals }, MOST_BYTES)
}

fn random() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|_| StoreError::Keys("the system gives no random bytes".to_owned()))
}
