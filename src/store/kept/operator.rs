//! `data/admin/`: what the operator writes and the bot only reads.

use std::path::PathBuf;

use rustix::fs::fstat;

use crate::config::limits;
use crate::store::folder::Folder;
use crate::store::{RawFiles, Store, StoreError};

const FOLDER: &str = "admin";
const CLIENTS: &str = "oauth_clients.json";

pub(super) fn files(store: &Store) -> Result<RawFiles, StoreError> {
    RawFiles::read(&folder(store)?)
}

pub(super) fn path(store: &Store) -> Result<PathBuf, StoreError> {
    folder(store)?;
    Ok(store.root.path.join(FOLDER))
}

pub(super) fn clients(store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
    folder(store)?.read(CLIENTS, limits::FILE_BYTES as u64)
}

pub(in crate::store) fn folder(store: &Store) -> Result<Folder, StoreError> {
    let folder = store.part(FOLDER)?;
    // Its files may hold secrets. Only where it is needed: each change of rights is seen by who watches the folder.
    if fstat(&folder).is_ok_and(|stat| stat.st_mode & 0o077 != 0) {
        folder.keep_private();
    }
    Ok(folder)
}
