//! What stands outside the files for a server: the agreement to it, its secrets, its login.
//!
//! An agreement is written before the entry that it is about, and taken back where that is not written.

mod forget;
mod secrets;

use std::collections::BTreeMap;

use super::records::Proposal;
use super::refusal::Refusal;
use super::turn::Turn;
use crate::config::{Approval, Change, Edit, FileKind, RemoteServer, ServerName, ThreadConfig};

pub(super) use forget::{client_id_name, gone_on_host, sweep};
pub(super) use secrets::free_name;

use forget::left_over;

/// Agreements to be written: `None` takes one back.
pub(super) type Agreements = Vec<(ServerName, Option<Approval>)>;

impl Turn<'_> {
    /// Writes what somebody agrees to by this change. Returns what stood there before, for [`Turn::agree`] to put back.
    pub(super) async fn agree_to(
        &mut self,
        old: &ThreadConfig,
        new: &ThreadConfig,
        proposal: &Proposal,
    ) -> Result<Agreements, Refusal> {
        if old.remote == new.remote && old.local == new.local && proposal.connects.is_none() {
            return Ok(Vec::new());
        }
        let thread = self.thread;
        let known = self.stored(move |store| store.approvals(thread)).await?;
        let connects = proposal.connects.as_ref();
        let connects = connects.map(|connects| connects.server.as_str());
        let changes = agreements(&known, old, new, &proposal.edit, connects);
        let before = changes
            .iter()
            .map(|(name, _)| (name.clone(), known.get(name).cloned()))
            .collect();
        // Before anything is written: what the removed entries had is known also after a crash right here.
        for what in left_over(old, new) {
            self.records.note_to_forget(what);
        }
        self.keep_records().await;
        self.agree(changes).await?;
        Ok(before)
    }

    /// Writes agreements.
    pub(super) async fn agree(&self, changes: Agreements) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        let thread = self.thread;
        self.stored(move |store| store.approve(thread, &changes))
            .await
    }
}

/// What is agreed to by a change: new entries as they are shown; changed ones where they were agreed to before or are
/// just what is being connected; a renamed one keeps its agreement; a removed one loses it.
fn agreements(
    known: &BTreeMap<ServerName, Approval>,
    old: &ThreadConfig,
    new: &ThreadConfig,
    edit: &Edit,
    connects: Option<&str>,
) -> Agreements {
    let former = |name: &ServerName| {
        let renamed = edit.0.iter().find_map(|change| match change {
            Change::Rename {
                file: FileKind::Remote,
                from,
                to,
            } if to == name.as_str() => Some(from.as_str()),
            Change::Rename { .. }
            | Change::Put { .. }
            | Change::Remove { .. }
            | Change::Field { .. } => None,
        });
        let name = renamed.unwrap_or(name.as_str());
        let mut remote = old.remote.iter();
        remote.find(|(other, _)| other.as_str() == name)
    };
    let is_agreed =
        |name: &ServerName, server: &RemoteServer| known.get(name) == Some(&server.approval());
    let mut changes = Vec::new();
    for (name, server) in &new.remote {
        let agrees = connects == Some(name.as_str())
            || former(name).is_none_or(|(name, server)| is_agreed(name, server));
        let approval = agrees.then(|| server.approval());
        if known.get(name) != approval.as_ref() && (agrees || known.contains_key(name)) {
            changes.push((name.clone(), approval));
        }
    }
    for (name, _) in &old.remote {
        let is_gone = !new.remote.iter().any(|(other, _)| other == name);
        if is_gone && known.contains_key(name) {
            changes.push((name.clone(), None));
        }
    }
    changes
}

#[cfg(test)]
mod tests;
