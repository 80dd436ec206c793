//! Folders of a thread with a file for each server: what the bot saw of it, lost without harm.

use std::time::Duration;

use super::folder::Folder;
use super::{StoreError, atomic, contacts, tools};
use crate::config::ServerName;

const FOLDERS: [&str; 2] = [tools::FOLDER, contacts::FOLDER];
/// A temporary file this old is nobody's work.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// A checked name with an ending is a safe file name: it has no `/` and is neither `.` nor `..`.
pub(super) fn file_of(server: &ServerName) -> String {
    format!("{server}.json")
}

/// Removes what a process that died left in them.
pub(super) fn sweep(state: &Folder) -> Result<(), StoreError> {
    for name in FOLDERS {
        if let Some(folder) = state.child(name)? {
            atomic::sweep(&folder, LEFT_BEHIND)?;
        }
    }
    Ok(())
}

/// Removes all of a thread's.
pub(super) fn remove_all(state: &Folder) -> Result<(), StoreError> {
    for folder_name in FOLDERS {
        if let Some(folder) = state.child(folder_name)? {
            for name in folder.names()? {
                folder.remove(&name)?;
            }
            state.remove_empty(folder_name)?;
        }
    }
    Ok(())
}
