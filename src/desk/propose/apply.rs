//! Applying: agreements first, then the files, and a message that waits for what comes of it.

use std::sync::Arc;
use std::time::Instant;

use super::super::handle::{News, keep_client_id};
use super::super::records::{Connects, LoginWish, Proposal, Wait};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::super::{Work, blocking, new_id};
use super::as_done;
use super::work_out::{Worked, work_out, work_out_edit};
use crate::chat::{Answer, MessageId};
use crate::config::{Edit, Files, RemoteAuth, Revision, ServerName};
use crate::policy::Action;
use crate::registry::ServerState;
use crate::reload::Loaded;
use crate::store::{CommitError, HistoryEntry, Origin};

impl Turn<'_> {
    pub(super) async fn apply(&mut self, proposal: Proposal) -> Result<(), Refusal> {
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
        // Somebody may have given the key for another server since.
        self.keys_stay(&loaded.config, &worked.config, &proposal)
            .await?;
        self.answer(Answer::Silent).await;
        let entry = history_entry(
            &loaded.files,
            &worked,
            &proposal.title,
            proposal.undoes.clone(),
            self,
        );
        // The agreement first: the server must find it when it starts.
        let former = self
            .agree_to(&loaded.config, &worked.config, &proposal)
            .await?;
        self.keep_given_client(&proposal, &worked).await?;
        if worked.new == *loaded.files
            && let Some(connects) = proposal.connects.clone()
        {
            return self.agreed(proposal, connects).await;
        }
        let committed = if proposal.repairs {
            self.replace_broken(worked.new, entry.clone()).await
        } else {
            self.commit(loaded.revision, worked.new, entry.clone())
                .await
        };
        match committed {
            // The files said it already in other words; nothing was written.
            Ok(revision) if revision == loaded.revision => {
                if let Some(connects) = proposal.connects.clone() {
                    return self.agreed(proposal, connects).await;
                }
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
                self.wish_login(&proposal, message);
                Ok(())
            }
            Err(CommitError::Stale { .. }) => {
                self.agree(former).await?;
                let loaded = self.sound().await?;
                let worked = work_out(&loaded, &proposal)?;
                self.show_changed(proposal, &loaded, &worked).await
            }
            Err(CommitError::Store(error)) => {
                self.agree(former).await?;
                Err(Refusal::Store(error.to_string()))
            }
        }
    }

    /// An entry that stands in the file already is agreed to: it is tried at once.
    async fn agreed(&mut self, proposal: Proposal, connects: Connects) -> Result<(), Refusal> {
        self.records.take_proposal(&proposal.id);
        let view = screens::agreed(&connects.server);
        let message = self.show_in(proposal.message, view).await;
        let name = ServerName::new(&connects.server)?;
        let wish = self.login_wish(&proposal);
        let (hall, thread) = (Arc::clone(self.hall), self.thread);
        self.hall.spawn(async move {
            let view = match hall.parts.registry.restart(thread, &name).await {
                Ok(server) => {
                    if let (ServerState::NeedsLogin { challenge, .. }, Some(wish), Some(message)) =
                        (&server.state, wish, message)
                    {
                        let challenge = challenge.clone();
                        let news = News::LoginWanted {
                            wish,
                            challenge,
                            message,
                        };
                        let _ = hall.post(thread, Work::News(news));
                        return;
                    }
                    screens::agreed_and_tried(&server)
                }
                Err(_) => screens::agreed(name.as_str()),
            };
            hall.finish(thread, message, view).await;
        });
        Ok(())
    }

    /// The client id that came with a connect line is kept beside the login it is for.
    async fn keep_given_client(&self, proposal: &Proposal, worked: &Worked) -> Result<(), Refusal> {
        let Some(connects) = &proposal.connects else {
            return Ok(());
        };
        let mut remote = worked.config.remote.iter();
        let entry = remote.find(|(name, _)| name.as_str() == connects.server);
        match (entry.map(|(_, server)| &server.auth), &connects.client_id) {
            (Some(RemoteAuth::OAuth(id)), Some(client)) => {
                keep_client_id(self.hall, self.thread, id, client.clone()).await
            }
            _ => Ok(()),
        }
    }

    fn login_wish(&self, proposal: &Proposal) -> Option<LoginWish> {
        let connects = proposal.connects.as_ref()?;
        // A single command has nobody who comes back.
        let wished = connects.oauth && !self.hall.parts.one_shot;
        wished.then(|| LoginWish {
            by: proposal.by.clone(),
            private: self.private,
            server: connects.server.clone(),
        })
    }

    /// The login is begun in the message that tells of the tools.
    fn wish_login(&mut self, proposal: &Proposal, message: Option<MessageId>) {
        let wish = self.login_wish(proposal);
        let mut waits = self.records.waits.iter_mut().rev();
        if let Some(wait) = waits.find(|wait| Some(wait.message) == message) {
            wait.login = wish;
        }
    }

    /// Writes a safe change at once (disable), without a proposal, and says how to turn it round. The edit is made from the
    /// very files that it is committed on, so that nobody's change is lost.
    pub(in crate::desk) async fn apply_now(
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
            login: None,
            at_ms,
            since: Some(Instant::now()),
        });
    }
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
