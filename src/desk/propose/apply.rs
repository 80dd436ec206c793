//! Applying: agreements first, then the files, and a message that waits for what comes of it.

use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::super::handle::{News, keep_client_id};
use super::super::records::{Connects, LoginWish, Proposal, Wait};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::super::{Work, blocking, new_id};
use super::as_done;
use super::work_out::{Worked, work_out, work_out_edit};
use crate::audit::What;
use crate::chat::{Answer, MessageId};
use crate::config::{Change, Edit, Files, RemoteAuth, Revision, ServerName, ThreadConfig};
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
        // The operator may have decided otherwise since.
        self.is_allowed(&loaded.config, &worked.config).await?;
        // Somebody may have given the key for another server since.
        self.keys_stay(&loaded.config, &worked.config, &proposal)
            .await?;
        let words = self.may_grant(&loaded.config, &worked.config)?;
        if proposal.connects.is_some() || !only_takes_away(&loaded, &worked.new) {
            self.audit_is_open().await?;
        }
        self.answer(Answer::Silent).await;
        self.give_word(words).await?;
        let entry = history_entry(
            &loaded.files,
            &worked,
            &proposal.title(),
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
            self.note_agreed(&connects).await;
            return self.agreed(proposal, connects).await;
        }
        self.rules_move(&loaded, &worked, &proposal).await?;
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
                    self.note_agreed(&connects).await;
                    return self.agreed(proposal, connects).await;
                }
                self.records.take_proposal(&proposal.id);
                self.show(screens::nothing_to_change(&[])).await;
                Ok(())
            }
            Ok(revision) => {
                self.rules_moved(&loaded.config, &worked.config).await;
                self.seal_history(&proposal.secrets).await;
                self.records.take_proposal(&proposal.id);
                if let Some(connects) = &proposal.connects {
                    self.note_agreed(connects).await;
                }
                self.note(changed(&entry)).await;
                let message = self
                    .show_in(
                        proposal.message,
                        screens::applying(&proposal.title(), &entry.id),
                    )
                    .await;
                self.wait_for(revision, message, &proposal.title(), &entry);
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

    /// Before it is written: what was decided of a renamed server's tools holds for its new name, and a name that is new
    /// here starts without what was ever decided of it.
    async fn rules_move(
        &self,
        loaded: &Loaded,
        worked: &Worked,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let before = names(&loaded.config);
        let fresh = names(&worked.config)
            .into_iter()
            .filter(|name| !before.contains(name));
        let renamed: Vec<(ServerName, ServerName)> = proposal
            .edit
            .0
            .iter()
            .filter_map(|change| match change {
                Change::Rename { from, to, .. } => {
                    Some((ServerName::new(from).ok()?, ServerName::new(to).ok()?))
                }
                Change::Put { .. } | Change::Remove { .. } | Change::Field { .. } => None,
            })
            .collect();
        let fresh: Vec<ServerName> = fresh.collect();
        let thread = self.thread;
        self.stored(move |store| {
            store.forget_tool_rules(thread, &fresh)?;
            renamed
                .iter()
                .try_for_each(|(from, to)| store.copy_tool_rules(thread, from, to))
        })
        .await
    }

    /// After it was written: what was decided of servers that are gone is forgotten.
    async fn rules_moved(&self, before: &ThreadConfig, after: &ThreadConfig) {
        let after = names(after);
        let gone = names(before)
            .into_iter()
            .filter(|name| !after.contains(name));
        let (gone, thread): (Vec<ServerName>, _) = (gone.collect(), self.thread);
        let forgotten = self
            .stored(move |store| store.forget_tool_rules(thread, &gone))
            .await;
        if forgotten.is_err() {
            // A name that comes back starts anew all the same.
            tracing::warn!(%thread, "what was decided of removed servers' tools is not forgotten yet.");
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
                let url = entry.and_then(|(_, server)| Url::parse(&server.url).ok());
                let Some(url) = url else { return Ok(()) };
                keep_client_id(self.hall, self.thread, id, &url, client.clone()).await
            }
            _ => Ok(()),
        }
    }

    async fn note_agreed(&self, connects: &Connects) {
        self.note(What::Decided {
            server: connects.server.clone(),
            decision: "connecting it was agreed to".to_owned(),
        })
        .await;
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
                    self.note(changed(&entry)).await;
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

/// The line of the audit for a change.
pub(in crate::desk) fn changed(entry: &HistoryEntry) -> What {
    What::Changed {
        title: entry.title.clone(),
        servers: entry.edit.names().into_iter().map(str::to_owned).collect(),
        history: Some(entry.id.clone()),
    }
}

/// Whether a change only removes servers or switches them off: that may be done also where it cannot be written down.
fn only_takes_away(loaded: &Loaded, new: &Files) -> bool {
    let edit = Edit::between(&loaded.files, new);
    edit.0.iter().all(|change| match change {
        Change::Remove { .. } => true,
        Change::Put { value, .. } => value.get("disabled") == Some(&serde_json::Value::Bool(true)),
        Change::Rename { .. } | Change::Field { .. } => false,
    })
}

/// The thread's own servers.
fn names(config: &ThreadConfig) -> Vec<ServerName> {
    let local = config.local.iter().map(|(name, _)| name.clone());
    local
        .chain(config.remote.iter().map(|(name, _)| name.clone()))
        .collect()
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
