//! A thread's own: `approvals.json`, `secrets.json`, and `credentials/<id>.json`, one file each so that a rotated token is
//! one atomic write.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Found, MOST_BYTES, forget, full, look, look_and_mend, write};
use crate::config::{Approval, CredentialId, SecretName, ServerName};
use crate::secret::Secret;
use crate::store::folder::Folder;
use crate::store::{Store, StoreError, atomic};
use crate::thread::ThreadId;

const APPROVALS: &str = "approvals.json";
const SECRETS: &str = "secrets.json";
const CREDENTIALS: &str = "credentials";

/// More than a thread has servers: what was removed is taken back by the desk, a little later.
const MOST_APPROVALS: usize = 256;
const MOST_SECRETS: usize = 256;
const MOST_CREDENTIALS: usize = 128;
/// Of one secret.
const SECRET_BYTES: usize = 16 * 1024;
/// Of one of the two files.
const FILE_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn approvals(
    store: &Store,
    thread: ThreadId,
) -> Result<BTreeMap<ServerName, Approval>, StoreError> {
    Ok(read(store, thread, None, APPROVALS, FILE_BYTES)?.unwrap_or_default())
}

pub(super) fn approve(
    store: &Store,
    thread: ThreadId,
    changes: &[(ServerName, Option<Approval>)],
) -> Result<(), StoreError> {
    change(store, thread, APPROVALS, MOST_APPROVALS, changes)
}

pub(super) fn secret_names(store: &Store, thread: ThreadId) -> Result<Vec<SecretName>, StoreError> {
    Ok(secrets(store, thread)?.into_keys().collect())
}

pub(super) fn secret(
    store: &Store,
    thread: ThreadId,
    name: &SecretName,
) -> Result<Option<Secret>, StoreError> {
    Ok(secrets(store, thread)?.remove(name).map(Secret::from))
}

pub(super) fn keep_secrets(
    store: &Store,
    thread: ThreadId,
    changes: &[(SecretName, Option<Secret>)],
) -> Result<(), StoreError> {
    for (_, secret) in changes {
        let bytes = secret.as_ref().map_or(0, |secret| secret.expose().len());
        if bytes > SECRET_BYTES {
            return Err(StoreError::TooLarge {
                path: SECRETS.to_owned(),
                bytes: bytes as u64,
            });
        }
    }
    let changes: Vec<(SecretName, Option<String>)> = changes
        .iter()
        .map(|(name, secret)| {
            let value = secret.as_ref().map(|secret| secret.expose().to_owned());
            (name.clone(), value)
        })
        .collect();
    change(store, thread, SECRETS, MOST_SECRETS, &changes)
}

pub(super) fn credentials(
    store: &Store,
    thread: ThreadId,
) -> Result<Vec<CredentialId>, StoreError> {
    let Some(folder) = credentials_of(store, thread)? else {
        return Ok(Vec::new());
    };
    ids(&folder)
}

pub(super) fn credential(
    store: &Store,
    thread: ThreadId,
    id: &CredentialId,
) -> Result<Option<Value>, StoreError> {
    read(store, thread, Some(CREDENTIALS), &file_of(id), MOST_BYTES)
}

pub(super) fn keep_credential(
    store: &Store,
    thread: ThreadId,
    id: &CredentialId,
    value: Option<&Value>,
) -> Result<(), StoreError> {
    let name = file_of(id);
    let Some(value) = value else {
        if store.state(thread)?.is_none() {
            return Ok(());
        }
        let (state, _lock) = store.lock(thread)?;
        return match state.child(CREDENTIALS)? {
            Some(folder) => forget(store, &folder, &name),
            None => Ok(()),
        };
    };
    let (state, _lock) = store.lock(thread)?;
    let folder = state.child_made(CREDENTIALS)?;
    if folder.stat(&name)?.is_none() && ids(&folder)?.len() >= MOST_CREDENTIALS {
        return Err(full(&folder, &name, MOST_CREDENTIALS));
    }
    write(store, &folder, &name, value, MOST_BYTES)
}

/// Removes what a process that died left among a thread's credentials; under the thread's lock.
pub(in super::super) fn sweep(state: &Folder) -> Result<(), StoreError> {
    match state.child(CREDENTIALS)? {
        Some(folder) => atomic::sweep(&folder, Duration::ZERO),
        None => Ok(()),
    }
}

/// Removes a thread's credentials, which are in a folder of their own.
pub(in super::super) fn remove_all(state: &Folder) -> Result<(), StoreError> {
    if let Some(folder) = state.child(CREDENTIALS)? {
        for name in folder.names()? {
            folder.remove(&name)?;
        }
        state.remove_empty(CREDENTIALS)?;
    }
    Ok(())
}

/// A checked id with an ending is a safe file name: it has neither `/` nor `.` in it.
fn file_of(id: &CredentialId) -> String {
    format!("{id}.json")
}

fn secrets(store: &Store, thread: ThreadId) -> Result<BTreeMap<SecretName, String>, StoreError> {
    Ok(read(store, thread, None, SECRETS, FILE_BYTES)?.unwrap_or_default())
}

fn credentials_of(store: &Store, thread: ThreadId) -> Result<Option<Folder>, StoreError> {
    match store.state(thread)? {
        Some(state) => state.child(CREDENTIALS),
        None => Ok(None),
    }
}

fn ids(folder: &Folder) -> Result<Vec<CredentialId>, StoreError> {
    let names = folder.names()?;
    let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
    let mut ids: Vec<_> = ids.filter_map(|id| CredentialId::new(id).ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Reads a file without the lock: it is replaced as a whole. Only what is damaged is looked at again under it, so that
/// nobody's good file is set aside.
fn read<T: DeserializeOwned>(
    store: &Store,
    thread: ThreadId,
    below: Option<&str>,
    name: &str,
    limit: usize,
) -> Result<Option<T>, StoreError> {
    let folder_in = |state: Folder| match below {
        Some(below) => state.child(below),
        None => Ok(Some(state)),
    };
    let Some(state) = store.state(thread)? else {
        return Ok(None);
    };
    let Some(folder) = folder_in(state)? else {
        return Ok(None);
    };
    match look(&folder, name, limit)? {
        Found::Nothing => return Ok(None),
        Found::Whole(value) => return Ok(Some(value)),
        Found::Damaged(_) => {}
    }
    let (state, _lock) = store.lock(thread)?;
    match folder_in(state)? {
        Some(folder) => look_and_mend(&folder, name, limit),
        None => Ok(None),
    }
}

/// Changes a file of names and values.
fn change<K, V>(
    store: &Store,
    thread: ThreadId,
    file: &str,
    most: usize,
    changes: &[(K, Option<V>)],
) -> Result<(), StoreError>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: PartialEq + Clone + Serialize + DeserializeOwned,
{
    let is_forgetting = changes.iter().all(|(_, value)| value.is_none());
    if changes.is_empty() || (is_forgetting && store.state(thread)?.is_none()) {
        return Ok(());
    }
    let (state, _lock) = store.lock(thread)?;
    let old: BTreeMap<K, V> = look_and_mend(&state, file, FILE_BYTES)?.unwrap_or_default();
    let mut new = old.clone();
    for (name, value) in changes {
        match value {
            Some(value) => new.insert(name.clone(), value.clone()),
            None => new.remove(name),
        };
    }
    if new.len() > most && new.len() > old.len() {
        return Err(full(&state, file, most));
    }
    if new.is_empty() {
        return forget(store, &state, file);
    }
    if changes.iter().any(|(_, value)| value.is_none()) {
        // What is to be forgotten may stand there as well.
        state.remove(&format!("{file}.damaged"))?;
    }
    if new == old {
        return Ok(());
    }
    write(store, &state, file, &new, FILE_BYTES)
}
