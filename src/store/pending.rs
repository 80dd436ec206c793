//! `pending.json`: proposals and guided flows that wait for somebody, so that they survive a restart.

use serde_json::Value;

use super::atomic::{self, Durability};
use super::{Store, StoreError};
use crate::thread::ThreadId;

const NAME: &str = "pending.json";
const MOST_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn save(
    store: &Store,
    thread: ThreadId,
    records: Option<&Value>,
) -> Result<(), StoreError> {
    if records.is_none() && store.state(thread)?.is_none() {
        return Ok(());
    }
    let (state, _lock) = store.lock(thread)?;
    let Some(records) = records else {
        state.remove(NAME)?;
        return atomic::sync(&store.root.disk, &state);
    };
    let path = state.path_of(NAME);
    let text = serde_json::to_vec(records).map_err(|error| StoreError::io(path.clone(), error))?;
    if text.len() as u64 > MOST_BYTES {
        let bytes = text.len() as u64;
        return Err(StoreError::TooLarge { path, bytes });
    }
    atomic::write(&store.root.disk, &state, NAME, &text, Durability::Power)
}

pub(super) fn read(store: &Store, thread: ThreadId) -> Result<Option<Value>, StoreError> {
    let Some(state) = store.state(thread)? else {
        return Ok(None);
    };
    let text = match state.read(NAME, MOST_BYTES) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error @ StoreError::TooLarge { .. }) => {
            super::set_aside(&state, NAME, &error)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&text) {
        Ok(records) => Ok(Some(records)),
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            super::set_aside(&state, NAME, &place)?;
            Ok(None)
        }
    }
}
