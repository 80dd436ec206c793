//! Undo: the reverse of an applied change, as a proposal like any other.

use super::super::propose::Draft;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use crate::policy::Action;
use crate::store::HistoryEntry;

/// How far back an undo looks.
const DEPTH: usize = 200;

impl Turn<'_> {
    /// Proposes to turn a change round: the named one, or the newest that is still in force.
    pub(super) async fn undo(&mut self, id: Option<&str>) -> Done {
        self.may(Action::Configure, false).await?;
        let thread = self.thread;
        let entries = self
            .stored(move |store| store.history(thread, DEPTH))
            .await?;
        let entry = if let Some(id) = id {
            entries.iter().find(|entry| entry.id == id)
        } else {
            let loaded = self.sound().await?;
            // One whose reverse changes nothing (secrets that were sealed) is passed over.
            let changes = |entry: &HistoryEntry| {
                let after = entry.inverse.apply(&loaded.files);
                after.map_or(true, |after| after != *loaded.files)
            };
            newest_in_force(&entries, changes)
        };
        let Some(entry) = entry else {
            return Err(Refusal::Plain("There is no change to undo.".to_owned()));
        };
        if !is_in_force(&entries, entry) {
            return Err(Refusal::Over(
                "That change was undone already. See /mcp history.",
            ));
        }
        // The message of the applied change stays as it is: the proposal is a new one.
        self.pressed = None;
        let draft = Draft {
            title: undo_title(&entry.title),
            edit: entry.inverse.clone(),
            undoes: Some(entry.id.clone()),
            ..Draft::default()
        };
        self.propose(draft).await
    }
}

/// `undo “add github”`.
fn undo_title(title: &str) -> String {
    format!("undo “{title}”")
}

/// The newest change that is in force, is no undo itself, and `is_one`.
fn newest_in_force(
    newest_first: &[HistoryEntry],
    is_one: impl Fn(&HistoryEntry) -> bool,
) -> Option<&HistoryEntry> {
    let mut own = newest_first.iter().filter(|entry| entry.undoes.is_none());
    own.find(|entry| is_in_force(newest_first, entry) && is_one(entry))
}

/// Whether no undo of it is itself in force (an undo that was undone counts no more). Undos are newer than what they
/// undo, so this ends.
fn is_in_force(newest_first: &[HistoryEntry], entry: &HistoryEntry) -> bool {
    let newer = newest_first.iter().take_while(|other| other.id != entry.id);
    let mut undos = newer.filter(|other| other.undoes.as_deref() == Some(entry.id.as_str()));
    !undos.any(|undo| is_in_force(newest_first, undo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Edit;
    use crate::store::Origin;

    fn entry(id: &str, undoes: Option<&str>) -> HistoryEntry {
        HistoryEntry {
            id: id.to_owned(),
            at_ms: 0,
            origin: Origin::Host,
            title: id.to_owned(),
            edit: Edit::default(),
            inverse: Edit::default(),
            diff: String::new(),
            undoes: undoes.map(str::to_owned),
        }
    }

    #[test]
    fn undo_walks_back_through_what_is_in_force() {
        let newest = |entries: &[HistoryEntry]| {
            newest_in_force(entries, |_| true).map(|entry| entry.id.clone())
        };
        assert_eq!(newest(&[]), None);
        assert_eq!(
            newest(&[entry("b", None), entry("a", None)]),
            Some("b".to_owned())
        );
        assert_eq!(
            newest(&[entry("u", Some("b")), entry("b", None), entry("a", None)]),
            Some("a".to_owned())
        );
        assert_eq!(newest(&[entry("u", Some("a")), entry("a", None)]), None);
        // An undo that was undone: the change is in force again.
        assert_eq!(
            newest(&[
                entry("v", Some("u")),
                entry("u", Some("a")),
                entry("a", None)
            ]),
            Some("a".to_owned())
        );
    }
}
