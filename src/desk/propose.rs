//! Proposals: every change is shown before it is written, and written only if nothing else was meanwhile.

mod allowed;
mod apply;
mod outdated;
mod sealing;
mod work_out;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::action::ProposalVerb;
use super::new_id;
use super::records::{Connects, Proposal};
use super::refusal::Refusal;
use super::screens;
use super::turn::Turn;
use crate::actor::Actor;
use crate::config::{Edit, SecretName};
use crate::policy::{Action, changes_locals};
use crate::reload::Loaded;

use work_out::work_out;

pub(super) use work_out::Worked;

/// So many open proposals are shown again at `/start`.
const SHOWN_AGAIN: usize = 3;

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
    /// Facts about what it brings.
    pub(super) about: Vec<(String, String)>,
    /// Secrets that were stored for it.
    pub(super) secrets: Vec<SecretName>,
    /// It connects a remote server.
    pub(super) connects: Option<Connects>,
}

impl Turn<'_> {
    /// Shows a change with Apply and Cancel; nothing is written.
    pub(super) fn propose(&mut self, draft: Draft) -> BoxFuture<'_, Result<(), Refusal>> {
        // In a box, here and below: many ways lead here, and each would have all of it within its own future.
        self.propose_it(draft).boxed()
    }

    async fn propose_it(&mut self, mut draft: Draft) -> Result<(), Refusal> {
        self.may(Action::Configure, false).await?;
        let loaded = if draft.repairs {
            self.loaded().await?
        } else {
            self.sound().await?
        };
        let lifted = self.take_out(&mut draft.edit, &loaded.files).await?;
        self.pin_packages(&loaded, &mut draft).await?;
        let mut proposal = Proposal {
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
            about: draft.about,
            secrets: draft.secrets,
            shares: Vec::new(),
            connects: draft.connects,
            at_ms: self.now_ms(),
        };
        let worked = work_out(&loaded, &proposal)?;
        self.is_allowed(&loaded.config, &worked.config).await?;
        self.keys_stay(&loaded.config, &worked.config, &proposal)
            .await?;
        self.may_grant(&loaded.config, &worked.config)?;
        if proposal.undoes.is_none() && !proposal.repairs {
            self.may_work_there(&loaded.config, &worked.config).await?;
        }
        if changes_nothing(&loaded, &worked, &proposal) && !proposal.can_replace {
            self.show(screens::nothing_to_change(&[])).await;
            return Ok(());
        }
        // Last, so that nothing is kept for what is refused.
        proposal.secrets.extend(self.seal(lifted).await?);
        proposal.shares = sealing::named(&proposal.edit);
        let sealed = sealing::note(&proposal.edit, &proposal.secrets);
        proposal.notes.extend(sealed);
        self.show_proposal(proposal, &loaded, &worked, None).await
    }

    fn show_proposal<'a>(
        &'a mut self,
        proposal: Proposal,
        loaded: &'a Loaded,
        worked: &'a Worked,
        lead: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Refusal>> {
        self.show_it(proposal, loaded, worked, lead).boxed()
    }

    async fn show_it(
        &mut self,
        proposal: Proposal,
        loaded: &Loaded,
        worked: &Worked,
        lead: Option<&str>,
    ) -> Result<(), Refusal> {
        let losses = if proposal.connects.is_none() {
            self.about_remotes(&loaded.config, &worked.config).await?
        } else {
            Vec::new()
        };
        let id = proposal.id.clone();
        let mut reach: Vec<String> = self.confinement(loaded, worked).into_iter().collect();
        reach.extend(self.network_risks(&loaded.config, &worked.config));
        reach.extend(self.out_of_sight(&loaded.config, &worked.config).await);
        reach.extend(self.outdated(&loaded.config, &worked.config).await?);
        let only_the_other_way = proposal.can_replace && !proposal.replaces;
        let view = if only_the_other_way && changes_nothing(loaded, worked, &proposal) {
            screens::there_already(&proposal, lead)
        } else {
            screens::proposal(&proposal, &loaded.files, worked, &reach, &losses, lead)
        };
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
        Ok(())
    }

    /// How what runs on the host is confined, where the change is about any of it.
    fn confinement(&self, loaded: &Loaded, worked: &Worked) -> Option<String> {
        changes_locals(&loaded.config, &worked.config)
            .then(|| self.hall.parts.registry.sandbox().in_words())
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
            let lead = Some("This still waits for you:");
            let shown = self.show_proposal(proposal, &loaded, &worked, lead);
            if shown.await.is_err() {
                return;
            }
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
        self.is_allowed(&loaded.config, &worked.config).await?;
        proposal.base = loaded.revision;
        self.show_proposal(proposal, &loaded, &worked, None).await
    }

    /// The files are not what they were when the diff was shown: shows the new one, and writes nothing.
    async fn show_changed(
        &mut self,
        mut proposal: Proposal,
        loaded: &Loaded,
        worked: &Worked,
    ) -> Result<(), Refusal> {
        proposal.base = loaded.revision;
        if changes_nothing(loaded, worked, &proposal) {
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
            .await
    }
}

/// Whether applying it would leave everything as it is.
fn changes_nothing(loaded: &Loaded, worked: &Worked, proposal: &Proposal) -> bool {
    worked.new == *loaded.files && !proposal.repairs && proposal.connects.is_none()
}

/// A difference that is no proposal any more.
pub(super) fn as_done(diff: &str) -> String {
    diff.replace(" (proposed)\n", "\n")
}
