//! What a change comes to on the files as they are now.

use super::super::records::Proposal;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::config::{
    Change, Edit, FileKind, Files, RemoteAuth, RemoteServer, SecretName, ServerName, ThreadConfig,
    unified,
};
use crate::policy;
use crate::reload::Loaded;

/// Lines of context around a change.
const CONTEXT: usize = 2;

/// What a change comes to on the files as they are now.
pub(in crate::desk) struct Worked {
    /// The whole edit.
    pub(in crate::desk) edit: Edit,
    /// The files after it.
    pub(in crate::desk) new: Files,
    /// What they mean.
    pub(in crate::desk) config: ThreadConfig,
    /// The masked diff.
    pub(in crate::desk) diff: String,
    /// The risks in words.
    pub(in crate::desk) risks: Vec<String>,
}

/// What a proposal comes to on the given files; an error where they would not be valid after it.
pub(super) fn work_out(loaded: &Loaded, proposal: &Proposal) -> Result<Worked, Refusal> {
    let edit = if proposal.replaces {
        &replacing(&proposal.edit, &loaded.files)
    } else {
        &proposal.edit
    };
    let mut worked = work_out_edit(loaded, edit)?;
    if let Some(connects) = &proposal.connects {
        // It is agreed to whole, so all of it is told, also what stands in the file already.
        let mut without = ThreadConfig::clone(&loaded.config);
        without
            .remote
            .retain(|(name, _)| name.as_str() != connects.server);
        worked.risks = policy::risks(&without, &worked.config);
    }
    Ok(worked)
}

pub(super) fn work_out_edit(loaded: &Loaded, edit: &Edit) -> Result<Worked, Refusal> {
    let new = edit.apply(&loaded.files)?;
    let config = new.check()?;
    let diff = unified(&loaded.files, &new, CONTEXT);
    Ok(Worked {
        risks: policy::risks(&loaded.config, &config),
        config,
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

impl Turn<'_> {
    /// What to know of remote servers that come with a change of another kind: undo, rename, repair.
    pub(super) async fn about_remotes(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Result<Vec<String>, Refusal> {
        let mut notes = Vec::new();
        for (name, server) in &new.remote {
            let is_known =
                |(_, other): &(ServerName, RemoteServer)| other.approval() == server.approval();
            if old.remote.iter().any(is_known) {
                continue;
            }
            match &server.auth {
                RemoteAuth::OAuth(id) => {
                    if !self.hall.parts.oauth.has_login(self.thread, id).await {
                        notes.push(format!(
                            "Its login is forgotten: `{name}` will ask you to log in again."
                        ));
                    }
                }
                RemoteAuth::None | RemoteAuth::Bearer(_) | RemoteAuth::ApiKey { .. } => {}
            }
            for secret in server.named_secrets() {
                if self.is_stored(&secret).await? {
                    continue;
                }
                notes.push(if server.auth.secret() == Some(&secret) {
                    format!("Its key `{secret}` is forgotten: give it again with `/mcp connect {name}`.")
                } else {
                    format!(
                        "Its key `{secret}` is forgotten: when this is applied, give it with `/mcp secrets set {secret} for {name}`."
                    )
                });
            }
        }
        for (_, server) in new.local.iter().filter(|entry| !old.local.contains(entry)) {
            for secret in server.secret_names() {
                let note = format!(
                    "`{secret}` has no value here yet: give it with `/mcp secrets set {secret}`."
                );
                if !self.is_stored(&secret).await? && !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        let named = |config: &ThreadConfig| -> Vec<SecretName> {
            let local = config.local.iter();
            local
                .flat_map(|(_, server)| server.secret_names())
                .collect()
        };
        let still = named(new);
        for secret in named(old).into_iter().filter(|name| !still.contains(name)) {
            let note = format!(
                "The value of `{secret}` is forgotten, too, and does not come back with Undo."
            );
            if self.is_stored(&secret).await? && !notes.contains(&note) {
                notes.push(note);
            }
        }
        for (name, server) in &old.remote {
            let is_gone = !new
                .remote
                .iter()
                .any(|(other, at)| other == name || at.approval() == server.approval());
            let lost = match &server.auth {
                RemoteAuth::OAuth(_) => "login",
                _ if !server.named_secrets().is_empty() => "key",
                _ => continue,
            };
            if is_gone {
                notes.push(format!(
                    "Its {lost} is forgotten, too, and does not come back with Undo."
                ));
            }
        }
        Ok(notes)
    }
}
