//! What is kept for remote servers outside the files: agreements, secrets, tokens, logins under way, registered clients.
//!
//! All of it 0600 in 0700 folders, written atomically and durably, never shown and never downloaded; what is secret is
//! sealed. A thread's own things are below its state folder and move with it; logins and clients belong to no thread's
//! folder.

pub(super) mod operator;
mod own;
mod plain;
mod rotate;
mod shelf;
#[cfg(test)]
mod tests;
mod vault_id;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::atomic::{self, Durability};
use super::folder::Folder;
use super::{RawFiles, Store, StoreError};
use crate::config::{Approval, CredentialId, GivenFor, SecretName, ServerName};
use crate::secret::Secret;
use crate::thread::ThreadId;

pub use rotate::Rotated;

pub(super) use own::{remove_all, sweep};
pub(super) use plain::seal_all;
pub(super) use vault_id::open_to;

impl Store {
    /// What was agreed to in a thread, by server. Where what was kept is damaged, nothing was.
    pub fn approvals(
        &self,
        thread: ThreadId,
    ) -> Result<BTreeMap<ServerName, Approval>, StoreError> {
        own::approvals(self, thread)
    }

    /// Remembers agreements; `None` takes one back. All of them or none.
    pub fn approve(
        &self,
        thread: ThreadId,
        changes: &[(ServerName, Option<Approval>)],
    ) -> Result<(), StoreError> {
        own::approve(self, thread, changes)
    }

    /// The names of a thread's secrets.
    pub fn secret_names(&self, thread: ThreadId) -> Result<Vec<SecretName>, StoreError> {
        own::secret_names(self, thread)
    }

    /// What may be shown of a thread's secrets, by name.
    pub fn secrets(&self, thread: ThreadId) -> Result<Vec<KeptSecret>, StoreError> {
        own::secrets(self, thread)
    }

    /// What a secret was given for; `None` where there is none of that name.
    pub fn secret_given_for(
        &self,
        thread: ThreadId,
        name: &SecretName,
    ) -> Result<Option<GivenFor>, StoreError> {
        own::given_for(self, thread, name)
    }

    /// A secret of a thread, to be sent there; `None` where there is none, or it was given for something else.
    pub fn secret(
        &self,
        thread: ThreadId,
        name: &SecretName,
        to: &GivenFor,
    ) -> Result<Option<Secret>, StoreError> {
        own::secret(self, thread, name, to)
    }

    /// Keeps secrets, sealed; `None` forgets one. All of them or none; at most 256, each of at most 16 KiB.
    pub fn keep_secrets(
        &self,
        thread: ThreadId,
        changes: &[(SecretName, Option<Given>)],
    ) -> Result<(), StoreError> {
        own::keep_secrets(self, thread, changes)
    }

    /// The ids of a thread's credentials, sorted.
    pub fn credentials(&self, thread: ThreadId) -> Result<Vec<CredentialId>, StoreError> {
        own::credentials(self, thread)
    }

    /// What the oauth room keeps for a credential; a damaged file is set aside and counts as none.
    pub fn credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
    ) -> Result<Option<Value>, StoreError> {
        own::credential(self, thread, id)
    }

    /// Keeps it; `None` forgets it, and leaves no file. At most 128 a thread, each of at most 256 KiB.
    pub fn keep_credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
        value: Option<&Value>,
    ) -> Result<(), StoreError> {
        own::keep_credential(self, thread, id, value)
    }

    /// Something that belongs to no thread's folder, by shelf and a key of ours (any text; it is hashed for its file's
    /// name).
    pub fn shelved(&self, on: Shelf, key: &str) -> Result<Option<Value>, StoreError> {
        shelf::read(self, on, key)
    }

    /// Takes it away: of several at once, one gets it.
    pub fn take_shelved(&self, on: Shelf, key: &str) -> Result<Option<Value>, StoreError> {
        shelf::take(self, on, key)
    }

    /// Keeps it; `None` forgets it. At most 4096 on a shelf, each of at most 256 KiB: a full shelf of logins takes no more,
    /// another one lets its oldest things go.
    pub fn shelve(&self, on: Shelf, key: &str, value: Option<&Value>) -> Result<(), StoreError> {
        shelf::keep(self, on, key, value)
    }

    /// The keys of everything on a shelf, sorted.
    pub fn shelf(&self, on: Shelf) -> Result<Vec<String>, StoreError> {
        shelf::keys(self, on)
    }

    /// Seals everything anew with the key that is to seal from now on: a fresh one, or the first of those that the operator
    /// gives. Cut short anywhere, everything stays readable, and it may be called again.
    pub fn rotate_keys(&self) -> Result<Rotated, StoreError> {
        rotate::all(self)
    }

    /// The operator's two files in `data/admin/`, the same forms as a thread's; the folder is made where it is missing.
    pub fn admin_files(&self) -> Result<RawFiles, StoreError> {
        operator::files(self)
    }

    /// The folder to watch for the operator's files, made where it is missing.
    pub fn admin_folder(&self) -> Result<std::path::PathBuf, StoreError> {
        operator::path(self)
    }

    /// The operator's `data/admin/oauth_clients.json`, raw: `{issuer: {"client_id", "client_secret"?}}`.
    pub fn operator_clients(&self) -> Result<Option<Vec<u8>>, StoreError> {
        operator::clients(self)
    }
}

/// A secret that somebody gives.
#[derive(Debug, Clone)]
pub struct Given {
    /// Itself.
    pub secret: Secret,
    /// What for. It goes nowhere else.
    pub given_for: GivenFor,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSecret {
    /// Its name.
    pub name: SecretName,
    /// What it was given for.
    pub given_for: GivenFor,
    /// When, in milliseconds since the epoch; 0 where nobody wrote it down.
    pub set_at_ms: i64,
    /// Its last four characters, where it has at least twelve.
    pub ending: Option<String>,
    /// Whether it opens; else it is to be given anew.
    pub is_readable: bool,
}

/// What belongs to no thread's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Logins under way.
    Logins,
    /// Clients that were registered dynamically.
    Clients,
    /// Questions that moved from a group into somebody's private chat.
    Handoffs,
}

/// Of a credential, and of something on a shelf, before it is sealed.
const MOST_BYTES: usize = 256 * 1024;

/// The text of a value, to be sealed.
fn plain(value: &Value, path: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let text = serde_json::to_vec(value).map_err(|error| StoreError::io(path.to_owned(), error))?;
    if text.len() > MOST_BYTES {
        let bytes = text.len() as u64;
        let path = path.to_owned();
        return Err(StoreError::TooLarge { path, bytes });
    }
    Ok(Zeroizing::new(text))
}

/// What a file of ours holds.
enum Found<T> {
    Nothing,
    Whole(T),
    /// Why it cannot be used. Never repeats what stands there.
    Damaged(String),
}

fn look<T: DeserializeOwned>(
    folder: &Folder,
    name: &str,
    limit: usize,
) -> Result<Found<T>, StoreError> {
    let bytes = match folder.read(name, limit as u64) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Found::Nothing),
        Err(StoreError::TooLarge { bytes, .. }) => {
            return Ok(Found::Damaged(format!("it has {bytes} bytes")));
        }
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice(&bytes) {
        Ok(value) => Found::Whole(value),
        // The parser's own words may repeat a value.
        Err(error) => Found::Damaged(format!("line {}, column {}", error.line(), error.column())),
    })
}

/// The same under a lock: what is damaged is set aside and counts as nothing.
fn look_and_mend<T: DeserializeOwned>(
    folder: &Folder,
    name: &str,
    limit: usize,
) -> Result<Option<T>, StoreError> {
    match look(folder, name, limit)? {
        Found::Nothing => Ok(None),
        Found::Whole(value) => Ok(Some(value)),
        Found::Damaged(reason) => {
            super::set_aside(folder, name, &reason)?;
            Ok(None)
        }
    }
}

/// Writes it under a lock; what a process that died left beside it goes first.
fn write(
    store: &Store,
    folder: &Folder,
    name: &str,
    value: &impl serde::Serialize,
    limit: usize,
) -> Result<(), StoreError> {
    let path = folder.path_of(name);
    let text = serde_json::to_vec(value).map_err(|error| StoreError::io(path.clone(), error))?;
    if text.len() > limit {
        let bytes = text.len() as u64;
        return Err(StoreError::TooLarge { path, bytes });
    }
    atomic::sweep(folder, Duration::ZERO)?;
    atomic::write(&store.root.disk, folder, name, &text, Durability::Power)
}

/// Removes it durably under a lock, with everything that was ever left of it.
fn forget(store: &Store, folder: &Folder, name: &str) -> Result<(), StoreError> {
    atomic::sweep(folder, Duration::ZERO)?;
    folder.remove(name)?;
    folder.remove(&format!("{name}.damaged"))?;
    atomic::sync(&store.root.disk, folder)
}

fn full(folder: &Folder, name: &str, most: usize) -> StoreError {
    let why = format!("there are {most} already");
    let cause = std::io::Error::new(std::io::ErrorKind::StorageFull, why);
    StoreError::io(folder.path_of(name), cause)
}
