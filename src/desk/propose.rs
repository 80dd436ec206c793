//! Proposals: every change is shown before it is written, and written only if nothing else was meanwhile.

use std::sync::Arc;
use std::time::Instant;

use super::action::ProposalVerb;
use super::records::{Proposal, Wait};
use super::refusal::Refusal;
use super::screens;
use super::turn::Turn;
use super::{blocking, new_id};
use crate::actor::Actor;
use crate::chat::{Answer, MessageId};
use crate::config::{Change, Edit, FileKind, Files, Revision, unified};
use crate::policy::{self, Action};
use crate::reload::Loaded;
use crate::store::{CommitError, HistoryEntry, Origin};

/// So many open proposals are shown again at `/start`.
const SHOWN_AGAIN: usize = 3;

/// Lines of context around a change.
const CONTEXT: usize = 2;

/// A change somebody asked for.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// A few words: `add github`.
    pub(super) title: String,
    /// The change.
    pub(super) edit: Edit,
    /// It can also replace everything.
    pub(super) can_replace: bool,
    /// What was changed while reading, remote entries.
    pub(super) notes: Vec<String>,
    /// The history entry that it turns round.
    pub(super) undoes: Option<String>,
    /// It replaces a broken file by the last good configuration.
    pub(super) repairs: bool,
}

/// What a change comes to on the files as they are now.
pub(super) struct Worked {
    /// The whole edit.
    pub(super) edit: Edit,
    /// The files after it.
    pub(super) new: Files,
    /// The masked diff.
    pub(super) diff: String,
    /// The risks in words.
    pub(super) risks: Vec<String>,
}

impl Turn<'_> {
    /// Shows a change with Apply and Cancel; nothing is written.
    pub(super) async fn propose(&mut self, draft: Draft) -> Result<(), Refusal> {
        self.may(Action::Configure, false).await?;
        let loaded = if draft.repairs {
            self.loaded().await?
        } else {
            self.sound().await?
        };
        let proposal = Proposal {
            id: new_id(),
            by: self.actor.clone(),
            message: None,
            base: loaded.revision,
            title: draft.title,
            edit: draft.edit,
            can_replace: draft.can_replace,
            replaces: false,
            notes: draft.notes,
            undoes: draft.undoes,
            repairs: draft.repairs,
            at_ms: self.now_ms(),
        };
        let worked = work_out(&loaded, &proposal)?;
        if worked.new == *loaded.files && !proposal.can_replace && !proposal.repairs {
            self.show(screens::nothing_to_change(&[])).await;
            return Ok(());
        }
        self.show_proposal(proposal, &loaded, &worked, None).await;
        Ok(())
    }

    async fn show_proposal(
        &mut self,
        proposal: Proposal,
        loaded: &Loaded,
        worked: &Worked,
        lead: Option<&str>,
    ) {
        let id = proposal.id.clone();
        let view = screens::proposal(&proposal, &loaded.files, worked, lead);
        self.records.take_proposal(&id);
        self.records.proposals.push(proposal);
        // Kept before it is shown: a button that is seen can be pressed, also after a crash right here.
        self.keep_records().await;
        let message = self.show(view).await;
        if let Some(proposal) = self
            .records
            .proposals
            .iter_mut()
            .find(|proposal| proposal.id == id)
        {
            proposal.message = message.or(proposal.message);
        }
    }

    /// Shows what this person proposed and has not decided, anew: its message may be out of sight or out of reach.
    pub(super) async fn show_open_proposals(&mut self) {
        let now = self.now_ms();
        let theirs =
            |proposal: &&Proposal| proposal.by.id == self.actor.id && proposal.is_open(now);
        let open: Vec<Proposal> = self
            .records
            .proposals
            .iter()
            .filter(theirs)
            .cloned()
            .collect();
        for proposal in open.into_iter().rev().take(SHOWN_AGAIN).rev() {
            let Ok(loaded) = self.loaded().await else {
                return;
            };
            let Ok(worked) = work_out(&loaded, &proposal) else {
                continue;
            };
            // The base stays what it was: an older copy must not apply what only this one shows.
            self.show_proposal(
                proposal,
                &loaded,
                &worked,
                Some("This still waits for you:"),
            )
            .await;
        }
    }

    /// A button of a proposal was pressed.
    pub(super) async fn decide(&mut self, verb: ProposalVerb, id: &str) -> Result<(), Refusal> {
        let Some(proposal) = self.records.proposal(id).cloned() else {
            return Err(Refusal::Over(
                "This was already applied, cancelled, or is too old. Nothing was changed now.",
            ));
        };
        self.may_go_on(&proposal.by).await?;
        // Its newest message is the one that changes, also where an older copy was pressed.
        self.pressed = proposal.message.or(self.pressed);
        if !proposal.is_open(self.now_ms()) {
            self.records.take_proposal(id);
            self.show(screens::expired(&proposal.title)).await;
            return Ok(());
        }
        match verb {
            ProposalVerb::Cancel => {
                self.records.take_proposal(id);
                self.show(screens::cancelled(&proposal.title)).await;
                Ok(())
            }
            ProposalVerb::Switch => self.switch(proposal).await,
            ProposalVerb::Apply => self.apply(proposal).await,
        }
    }

    /// Whether this person may go on with what somebody began: only they themselves, or where an anonymous administrator
    /// began, whoever configures here.
    pub(super) async fn may_go_on(&self, by: &Actor) -> Result<(), Refusal> {
        if by.id == self.actor.id {
            Ok(())
        } else if by.id.is_shared() {
            self.may(Action::Configure, true).await
        } else {
            Err(Refusal::NotYours(by.name.clone()))
        }
    }

    /// Shows the other way to take an upload.
    async fn switch(&mut self, mut proposal: Proposal) -> Result<(), Refusal> {
        if !proposal.can_replace {
            return Err(Refusal::Over("There is no other way to take this one."));
        }
        proposal.replaces = !proposal.replaces;
        let loaded = self.sound().await?;
        let worked = work_out(&loaded, &proposal)?;
        proposal.base = loaded.revision;
        self.show_proposal(proposal, &loaded, &worked, None).await;
        Ok(())
    }

    async fn apply(&mut self, proposal: Proposal) -> Result<(), Refusal> {
        // Rights may have gone since the proposal was made: asked anew.
        self.may(Action::Configure, true).await?;
        let loaded = if proposal.repairs {
            self.loaded().await?
        } else {
            self.sound().await?
        };
        if proposal.repairs && loaded.broken.is_none() {
            self.records.take_proposal(&proposal.id);
            return Err(Refusal::Over(
                "The files are not broken any more. Nothing was changed.",
            ));
        }
        let worked = work_out(&loaded, &proposal)?;
        if loaded.revision != proposal.base {
            return self.show_changed(proposal, &loaded, &worked).await;
        }
        self.answer(Answer::Silent).await;
        let entry = history_entry(
            &loaded.files,
            &worked,
            &proposal.title,
            proposal.undoes.clone(),
            self,
        );
        let committed = if proposal.repairs {
            self.replace_broken(worked.new, entry.clone()).await
        } else {
            self.commit(loaded.revision, worked.new, entry.clone())
                .await
        };
        match committed {
            // The files said it already in other words; nothing was written.
            Ok(revision) if revision == loaded.revision => {
                self.records.take_proposal(&proposal.id);
                self.show(screens::nothing_to_change(&[])).await;
                Ok(())
            }
            Ok(revision) => {
                self.records.take_proposal(&proposal.id);
                let message = self
                    .show_in(
                        proposal.message,
                        screens::applying(&proposal.title, &entry.id),
                    )
                    .await;
                self.wait_for(revision, message, &proposal.title, &entry);
                Ok(())
            }
            Err(CommitError::Stale { .. }) => {
                let loaded = self.sound().await?;
                let worked = work_out(&loaded, &proposal)?;
                self.show_changed(proposal, &loaded, &worked).await
            }
            Err(CommitError::Store(error)) => Err(Refusal::Store(error.to_string())),
        }
    }

    /// The files are not what they were when the diff was shown: shows the new one, and writes nothing.
    async fn show_changed(
        &mut self,
        mut proposal: Proposal,
        loaded: &Loaded,
        worked: &Worked,
    ) -> Result<(), Refusal> {
        proposal.base = loaded.revision;
        if worked.new == *loaded.files && !proposal.repairs {
            self.records.take_proposal(&proposal.id);
            self.show(screens::nothing_to_change(&[
                "The files changed meanwhile and already say this.".to_owned(),
            ]))
            .await;
            return Ok(());
        }
        let lead =
            "The files changed meanwhile, so nothing was written. This is the new difference:";
        self.show_proposal(proposal, loaded, worked, Some(lead))
            .await;
        Ok(())
    }

    /// Writes a safe change at once (disable), without a proposal, and says how to turn it round. The edit is made from the
    /// very files that it is committed on, so that nobody's change is lost.
    pub(super) async fn apply_now(
        &mut self,
        title: &str,
        edit: impl Fn(&Loaded) -> Result<Edit, Refusal> + Send,
    ) -> Result<(), Refusal> {
        self.may(Action::Configure, true).await?;
        // A second try covers a file that changed between the read and the commit; more would hide a fault.
        for _ in 0..2 {
            let loaded = self.sound().await?;
            let worked = work_out_edit(&loaded, &edit(&loaded)?)?;
            if worked.new == *loaded.files {
                self.show(screens::nothing_to_change(&[])).await;
                return Ok(());
            }
            let entry = history_entry(&loaded.files, &worked, title, None, self);
            match self
                .commit(loaded.revision, worked.new, entry.clone())
                .await
            {
                Ok(revision) => {
                    let message = self.show(screens::applying(title, &entry.id)).await;
                    self.wait_for(revision, message, title, &entry);
                    return Ok(());
                }
                Err(CommitError::Stale { .. }) => {}
                Err(CommitError::Store(error)) => return Err(Refusal::Store(error.to_string())),
            }
        }
        Err(Refusal::Plain(
            "The file is being changed by somebody else right now. Try again in a moment."
                .to_owned(),
        ))
    }

    async fn commit(
        &self,
        base: Revision,
        new: Files,
        entry: HistoryEntry,
    ) -> Result<Revision, CommitError> {
        let (store, thread) = (self.hall.parts.store.clone(), self.thread);
        let committed = blocking(move || store.commit(thread, base, &new, entry)).await;
        if let Ok(revision) = committed {
            self.hall.committed(self.thread, revision);
        }
        committed
    }

    /// Writes over files that do not parse or cannot be read, which are put aside.
    async fn replace_broken(
        &self,
        new: Files,
        entry: HistoryEntry,
    ) -> Result<Revision, CommitError> {
        let (store, thread) = (self.hall.parts.store.clone(), self.thread);
        let replaced = blocking(move || store.replace_broken(thread, &new, entry)).await;
        if let Ok(revision) = replaced {
            self.hall.committed(self.thread, revision);
        }
        replaced
    }

    fn wait_for(
        &mut self,
        revision: Revision,
        message: Option<MessageId>,
        title: &str,
        entry: &HistoryEntry,
    ) {
        let Some(message) = message else { return };
        let at_ms = self.now_ms();
        self.records.waits.push(Wait {
            revision,
            message,
            title: title.to_owned(),
            names: entry.edit.names().into_iter().map(str::to_owned).collect(),
            entry: Some(entry.id.clone()),
            host: None,
            at_ms,
            since: Some(Instant::now()),
        });
    }
}

/// What a proposal comes to on the given files; an error where they would not be valid after it.
fn work_out(loaded: &Loaded, proposal: &Proposal) -> Result<Worked, Refusal> {
    if proposal.replaces {
        work_out_edit(loaded, &replacing(&proposal.edit, &loaded.files))
    } else {
        work_out_edit(loaded, &proposal.edit)
    }
}

fn work_out_edit(loaded: &Loaded, edit: &Edit) -> Result<Worked, Refusal> {
    let new = edit.apply(&loaded.files)?;
    let config = new.check()?;
    let diff = unified(&loaded.files, &new, CONTEXT);
    Ok(Worked {
        risks: policy::risks(&loaded.config, &config),
        edit: edit.clone(),
        new,
        diff,
    })
}

/// The edit, and the removal of every local server that it does not name. From the files as they are now, so that
/// "everything" stays true while the proposal waits.
fn replacing(edit: &Edit, files: &Files) -> Edit {
    let named = edit.names();
    let others = files
        .local
        .servers()
        .filter(|(name, _)| !named.contains(name));
    let removals = others.map(|(name, _)| Change::Remove {
        file: FileKind::Local,
        name: name.to_owned(),
    });
    Edit(removals.chain(edit.0.iter().cloned()).collect())
}

fn history_entry(
    old: &Arc<Files>,
    worked: &Worked,
    title: &str,
    undoes: Option<String>,
    turn: &Turn<'_>,
) -> HistoryEntry {
    HistoryEntry {
        id: new_id(),
        at_ms: turn.now_ms(),
        origin: Origin::Person(turn.actor.clone()),
        title: title.to_owned(),
        edit: Edit::between(old, &worked.new),
        inverse: Edit::between(&worked.new, old),
        diff: as_done(&worked.diff),
        undoes,
    }
}

/// A difference that is no proposal any more.
pub(super) fn as_done(diff: &str) -> String {
    diff.replace(" (proposed)\n", "\n")
}
