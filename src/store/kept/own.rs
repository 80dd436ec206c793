//! A thread's own: `approvals.json`, `secrets.json`, and `credentials/<id>.json`, one file each so that a rotated token is
//! one atomic write. Secrets and logins are sealed, bound to the thread, their names and what they were given for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Found, Given, KeptSecret, forget, full, look, look_and_mend, plain, vault_id, write};
use crate::config::{Approval, CredentialId, GivenFor, SecretName, ServerName};
use crate::secret::Secret;
use crate::store::folder::Folder;
use crate::store::{Store, StoreError, atomic, seals};
use crate::thread::ThreadId;
use crate::vault::{Binding, OpenError};

const APPROVALS: &str = "approvals.json";
pub(super) const SECRETS: &str = "secrets.json";
pub(super) const CREDENTIALS: &str = "credentials";

/// More than a thread has servers: what was removed is taken back by the desk, a little later.
const MOST_APPROVALS: usize = 256;
const MOST_SECRETS: usize = 256;
const MOST_CREDENTIALS: usize = 128;
/// Of one secret.
const SECRET_BYTES: usize = 16 * 1024;
/// Of one file.
pub(super) const FILE_BYTES: usize = 8 * 1024 * 1024;

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
    let is_forgetting = changes.iter().all(|(_, approval)| approval.is_none());
    if changes.is_empty() || (is_forgetting && store.state(thread)?.is_none()) {
        return Ok(());
    }
    let (state, _lock) = store.lock(thread)?;
    change(store, &state, APPROVALS, MOST_APPROVALS, changes.to_vec())
}

/// A secret as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the fields of the file")]
pub(super) struct Sealed {
    pub(super) sealed: String,
    /// Bound into the seal: changed by hand, it does not open.
    pub(super) given_for: GivenFor,
    pub(super) set_at: i64,
}

/// A login as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedLogin {
    pub(super) sealed: String,
}

pub(super) fn secret_names(store: &Store, thread: ThreadId) -> Result<Vec<SecretName>, StoreError> {
    Ok(sealed(store, thread)?.into_keys().collect())
}

pub(super) fn secrets(store: &Store, thread: ThreadId) -> Result<Vec<KeptSecret>, StoreError> {
    let all = sealed(store, thread)?;
    let all = all.into_iter().map(|(name, kept)| {
        let secret = opened(store, thread, &name, &kept);
        let secret = secret.inspect_err(|error| refused(thread, &name, error));
        KeptSecret {
            ending: secret.as_ref().ok().and_then(ending),
            is_readable: secret.is_ok(),
            name,
            given_for: kept.given_for,
            set_at_ms: kept.set_at,
        }
    });
    Ok(all.collect())
}

pub(super) fn given_for(
    store: &Store,
    thread: ThreadId,
    name: &SecretName,
) -> Result<Option<GivenFor>, StoreError> {
    let kept = sealed(store, thread)?.remove(name);
    Ok(kept.map(|kept| kept.given_for))
}

pub(super) fn secret(
    store: &Store,
    thread: ThreadId,
    name: &SecretName,
    to: &GivenFor,
) -> Result<Option<Secret>, StoreError> {
    let kept = sealed(store, thread)?.remove(name);
    let Some(kept) = kept.filter(|kept| kept.given_for.allows(to)) else {
        return Ok(None);
    };
    let secret =
        opened(store, thread, name, &kept).inspect_err(|error| refused(thread, name, error))?;
    if !seals::is_fresh(store, &kept.sealed) {
        // What cannot be now is done by the next read, or by the command for it.
        let _ = super::rotate::thread(store, thread);
    }
    Ok(Some(secret))
}

pub(super) fn keep_secrets(
    store: &Store,
    thread: ThreadId,
    changes: &[(SecretName, Option<Given>)],
) -> Result<(), StoreError> {
    for (_, given) in changes {
        let bytes = given
            .as_ref()
            .map_or(0, |given| given.secret.expose().len());
        if bytes > SECRET_BYTES {
            return Err(StoreError::TooLarge {
                path: SECRETS.to_owned(),
                bytes: bytes as u64,
            });
        }
    }
    let is_forgetting = changes.iter().all(|(_, given)| given.is_none());
    if changes.is_empty() || (is_forgetting && store.state(thread)?.is_none()) {
        return Ok(());
    }
    let (state, _lock) = store.lock(thread)?;
    let mut sealed = Vec::with_capacity(changes.len());
    for (name, given) in changes {
        let kept = match given {
            Some(given) => Some(seal(store, &state, thread, name, given)?),
            None => None,
        };
        sealed.push((name.clone(), kept));
    }
    change(store, &state, SECRETS, MOST_SECRETS, sealed)
}

/// Seals a secret; under the thread's lock.
pub(super) fn seal(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
    name: &SecretName,
    given: &Given,
) -> Result<Sealed, StoreError> {
    let vault = vault_id::made(store, state, thread)?;
    let given_for = String::from(given.given_for.clone());
    let words = ["secret", &vault, name.as_str(), &given_for];
    Ok(Sealed {
        sealed: seals::seal(
            store,
            Binding::new(&words),
            given.secret.expose().as_bytes(),
        )?,
        given_for: given.given_for.clone(),
        set_at: given.at_ms,
    })
}

/// Opens a secret that was read from a thread's file.
pub(super) fn opened(
    store: &Store,
    thread: ThreadId,
    name: &SecretName,
    kept: &Sealed,
) -> Result<Secret, StoreError> {
    let Some(state) = store.state(thread)? else {
        return Err(broken(SECRETS.to_owned()));
    };
    let path = format!("{} ({name})", state.path_of(SECRETS));
    let Some(vault) = vault_id::read(store, &state, thread)? else {
        return Err(broken(path));
    };
    let given_for = String::from(kept.given_for.clone());
    let words = ["secret", &vault, name.as_str(), &given_for];
    let plain = seals::open(store, &path, Binding::new(&words), &kept.sealed)?;
    match std::str::from_utf8(&plain) {
        Ok(text) => Ok(Secret::from(text.to_owned())),
        Err(_) => Err(broken(path)),
    }
}

fn broken(path: String) -> StoreError {
    StoreError::Sealed {
        path,
        cause: OpenError::Broken,
    }
}

fn refused(thread: ThreadId, name: &SecretName, error: &StoreError) {
    tracing::warn!(%thread, secret = %name, %error, "A secret cannot be read and is not used.");
}

/// The last four characters, of what has enough that they tell nothing.
fn ending(secret: &Secret) -> Option<String> {
    let chars: Vec<char> = secret.expose().chars().collect();
    (chars.len() >= 12).then(|| chars[chars.len() - 4..].iter().collect())
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
    let name = file_of(id);
    let kept: Option<SealedLogin> = read(store, thread, Some(CREDENTIALS), &name, FILE_BYTES)?;
    let Some(kept) = kept else { return Ok(None) };
    let value = match opened_login(store, thread, id, &kept) {
        Err(StoreError::Sealed { path, cause }) if seals::is_lost(store, &cause)? => {
            tracing::warn!(%thread, %path, %cause, "A login cannot be read; it counts as none.");
            return Ok(None);
        }
        opened => opened?,
    };
    if !seals::is_fresh(store, &kept.sealed) {
        let _ = super::rotate::thread(store, thread);
    }
    Ok(Some(value))
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
    let kept = seal_login(store, &state, thread, id, value)?;
    write(store, &folder, &name, &kept, FILE_BYTES)
}

/// Seals a login; under the thread's lock.
pub(super) fn seal_login(
    store: &Store,
    state: &Folder,
    thread: ThreadId,
    id: &CredentialId,
    value: &Value,
) -> Result<SealedLogin, StoreError> {
    let plain = plain(value, &file_of(id))?;
    let vault = vault_id::made(store, state, thread)?;
    let words = ["credential", &vault, id.as_str()];
    let sealed = seals::seal(store, Binding::new(&words), &plain)?;
    Ok(SealedLogin { sealed })
}

pub(super) fn opened_login(
    store: &Store,
    thread: ThreadId,
    id: &CredentialId,
    kept: &SealedLogin,
) -> Result<Value, StoreError> {
    let path = format!("{CREDENTIALS}/{}", file_of(id));
    let vault = match store.state(thread)? {
        Some(state) => vault_id::read(store, &state, thread)?,
        None => None,
    };
    let Some(vault) = vault else {
        return Err(broken(path));
    };
    let words = ["credential", &vault, id.as_str()];
    let plain = seals::open(store, &path, Binding::new(&words), &kept.sealed)?;
    serde_json::from_slice(&plain).map_err(|_| broken(path))
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
pub(super) fn file_of(id: &CredentialId) -> String {
    format!("{id}.json")
}

fn sealed(store: &Store, thread: ThreadId) -> Result<BTreeMap<SecretName, Sealed>, StoreError> {
    Ok(read(store, thread, None, SECRETS, FILE_BYTES)?.unwrap_or_default())
}

fn credentials_of(store: &Store, thread: ThreadId) -> Result<Option<Folder>, StoreError> {
    match store.state(thread)? {
        Some(state) => state.child(CREDENTIALS),
        None => Ok(None),
    }
}

pub(super) fn ids(folder: &Folder) -> Result<Vec<CredentialId>, StoreError> {
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

/// Changes a file of names and values; under the thread's lock.
fn change<K, V>(
    store: &Store,
    state: &Folder,
    file: &str,
    most: usize,
    changes: Vec<(K, Option<V>)>,
) -> Result<(), StoreError>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: Clone + Serialize + DeserializeOwned,
{
    let mut all: BTreeMap<K, V> = look_and_mend(state, file, FILE_BYTES)?.unwrap_or_default();
    let before = all.len();
    let forgets = changes.iter().any(|(_, value)| value.is_none());
    let mut is_changed = false;
    for (name, value) in changes {
        is_changed |= match value {
            Some(value) => {
                all.insert(name, value);
                true
            }
            None => all.remove(&name).is_some(),
        };
    }
    if all.len() > most && all.len() > before {
        return Err(full(state, file, most));
    }
    if all.is_empty() {
        return forget(store, state, file);
    }
    if forgets {
        // What is to be forgotten may stand there as well.
        state.remove(&format!("{file}.damaged"))?;
    }
    if is_changed {
        write(store, state, file, &all, FILE_BYTES)?;
    }
    Ok(())
}
