//! What an earlier version kept unsealed is sealed, once.
//!
//! File by file, each replaced as a whole; that it is done is written down at the end. Cut short, it goes on at the next
//! start. What a secret was given for is told by the agreements, where they tell one place; else nobody knows any more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::rotate::{SHELVES, threads, whole};
use super::{Given, MOST_BYTES, own, shelf, write};
use crate::config::{Approval, GivenFor, SecretName, ServerName};
use crate::secret::Secret;
use crate::store::folder::Folder;
use crate::store::lock::{self, Lock};
use crate::store::{Store, StoreError, atomic, seals};
use crate::thread::ThreadId;

const APPROVALS: &str = "approvals.json";

/// A secret, sealed or as it was kept before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Plain(String),
    Sealed(own::Sealed),
}

/// Something on a shelf, as it was kept before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelved {
    key: String,
    value: Value,
}

/// Seals what is not, unless that was done before.
pub(in super::super) fn seal_all(store: &Store) -> Result<(), StoreError> {
    if seals::are_all_sealed(store)? {
        return Ok(());
    }
    let threads = threads(store)?;
    let mut sealed = 0;
    for thread in &threads {
        match one(store, *thread) {
            Ok(count) => sealed += count,
            // A symlink or the like in its place: nothing is read there later either.
            Err(error @ StoreError::NotOrdinary(_)) => {
                tracing::warn!(%thread, %error, "What was kept here is left as it is.");
            }
            Err(error) => return Err(error),
        }
    }
    let mut has_shelf = false;
    for on in SHELVES {
        if let Some(folder) = shelf::folder(store, on)? {
            has_shelf = true;
            let _lock = Lock::take_in(&folder, lock::WAIT)?;
            atomic::sweep(&folder, Duration::ZERO)?;
            for name in shelf::files(&folder)? {
                let plain = whole::<Shelved>(&folder, &name, shelf::FILE_BYTES)?;
                if let Some(Shelved { key, value }) = plain {
                    let kept = shelf::seal(store, on, &key, &value)?;
                    write(store, &folder, &name, &kept, shelf::FILE_BYTES)?;
                    sealed += 1;
                }
            }
        }
    }
    if sealed > 0 {
        tracing::info!(sealed, "What was kept unsealed is sealed now.");
    }
    // A folder that is new has nothing to be looked for, and is not written to before it has.
    if let Err(error) = seals::note_all_sealed(store, !threads.is_empty() || has_shelf) {
        // It only spares the next start the look, and a full disk must not keep the bot from starting.
        tracing::warn!(%error, "It cannot be noted that everything is sealed; the next start looks again.");
    }
    Ok(())
}

fn one(store: &Store, thread: ThreadId) -> Result<usize, StoreError> {
    let Some(state) = store.state(thread)? else {
        return Ok(0);
    };
    if state.stat(own::SECRETS)?.is_none() && state.stat(own::CREDENTIALS)?.is_none() {
        return Ok(0);
    }
    let (state, _lock) = store.lock(thread)?;
    atomic::sweep(&state, Duration::ZERO)?;
    own::sweep(&state)?;
    Ok(secrets(store, &state, thread)? + logins(store, &state, thread)?)
}

fn secrets(store: &Store, state: &Folder, thread: ThreadId) -> Result<usize, StoreError> {
    let all = whole::<BTreeMap<SecretName, Either>>(state, own::SECRETS, own::FILE_BYTES)?;
    let Some(all) = all else { return Ok(0) };
    let agreed: BTreeMap<ServerName, Approval> =
        whole(state, APPROVALS, own::FILE_BYTES)?.unwrap_or_default();
    let mut count = 0;
    let mut sealed = BTreeMap::new();
    for (name, kept) in all {
        let kept = match kept {
            Either::Sealed(kept) => kept,
            Either::Plain(text) => {
                count += 1;
                let given = Given {
                    secret: Secret::from(text),
                    given_for: given_for(&name, &agreed),
                    at_ms: 0,
                };
                own::seal(store, state, thread, &name, &given)?
            }
        };
        sealed.insert(name, kept);
    }
    if count > 0 {
        write(store, state, own::SECRETS, &sealed, own::FILE_BYTES)?;
    }
    Ok(count)
}

/// The one place that it was agreed to send a secret to.
fn given_for(name: &SecretName, agreed: &BTreeMap<ServerName, Approval>) -> GivenFor {
    let client_of = |approval: &&Approval| {
        // The client id of a login is kept beside it, under its name.
        let id = approval.auth.strip_prefix("oauth:");
        id.is_some_and(|id| {
            let short: String = id.chars().take(48).collect();
            name.as_str() == format!("oauth.{short}.client")
        })
    };
    let users = agreed
        .values()
        .filter(|approval| approval.sends(name) || client_of(approval));
    let mut places: Vec<GivenFor> = users
        .map(|approval| GivenFor::place_of(&approval.url))
        .collect();
    places.dedup();
    match places.as_slice() {
        [place] => place.clone(),
        _ => GivenFor::Unknown,
    }
}

fn logins(store: &Store, state: &Folder, thread: ThreadId) -> Result<usize, StoreError> {
    let Some(folder) = state.child(own::CREDENTIALS)? else {
        return Ok(0);
    };
    let mut count = 0;
    for id in own::ids(&folder)? {
        let name = own::file_of(&id);
        // One that is as large as it may be was written with spaces by nobody.
        let Some(value) = whole::<Value>(&folder, &name, own::FILE_BYTES.max(MOST_BYTES))? else {
            continue;
        };
        if serde_json::from_value::<own::SealedLogin>(value.clone()).is_ok() {
            continue;
        }
        let kept = own::seal_login(store, state, thread, &id, &value)?;
        write(store, &folder, &name, &kept, own::FILE_BYTES)?;
        count += 1;
    }
    Ok(count)
}
