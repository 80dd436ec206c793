//! What an entry had is forgotten when no file mentions it any more; what is to be forgotten is a record first, so that a
//! crash leaves nothing behind.

use std::sync::Arc;

use super::super::handle::News;
use super::super::records::{Forget, LIFETIME_MS, Later, Records};
use super::super::{Hall, Work, blocking};
use crate::config::{
    CredentialId, Document, FileKind, Files, RemoteAuth, RemoteServer, SecretName, ServerName,
    ThreadConfig,
};
use crate::thread::ThreadId;

/// Entries are gone from the files, and not through the desk: what they had goes as after a removal. What an entry of
/// another name has now stays, as a rename by hand is none of the login's business; the agreement was to the old name.
///
/// A file that is missing or blank says less than one that parses without the entry: it may be on its way to another
/// folder, or come back from a backup. Then what the entries had stays for as long as a person has to decide anything.
pub(in crate::desk) async fn gone_on_host(
    hall: &Hall,
    thread: ThreadId,
    before: &Files,
    now: &ThreadConfig,
    records: &mut Records,
) {
    let Ok(before) = before.check() else { return };
    let gone = gone_with_agreements(&before, now);
    if gone.is_empty() {
        return;
    }
    let store = hall.parts.store.clone();
    let on_disk = blocking(move || store.load(thread)).await.ok();
    let is_there = |file: FileKind| {
        let text = on_disk.as_ref().and_then(|(files, _)| match file {
            FileKind::Local => files.local.as_deref(),
            FileKind::Remote => files.remote.as_deref(),
        });
        !text.unwrap_or_default().trim_ascii().is_empty()
    };
    let of_local = |what: &Forget| {
        let mut local = before.local.iter();
        matches!(what, Forget::Secret(name) if local.any(|(_, server)| server.secret_names().contains(name)))
    };
    let at_ms = (hall.parts.clock)().saturating_add(LIFETIME_MS);
    for what in gone {
        let file = if of_local(&what) {
            FileKind::Local
        } else {
            FileKind::Remote
        };
        if is_there(file) {
            records.note_to_forget(what);
        } else {
            records.later.push(Later { what, at_ms });
        }
    }
}

pub(super) fn gone_with_agreements(old: &ThreadConfig, new: &ThreadConfig) -> Vec<Forget> {
    let names = old.remote.iter().map(|(name, _)| name);
    let is_there = |name: &ServerName| new.remote.iter().any(|(other, _)| other == name);
    let gone = names.filter(|name| !is_there(name));
    let agreements = gone.map(|name| Forget::Approval(name.clone()));
    agreements.chain(left_over(old, new)).collect()
}

/// Under which name the client id of a login is kept, beside the login.
pub(in crate::desk) fn client_id_name(credential: &CredentialId) -> Option<SecretName> {
    let short: String = credential.as_str().chars().take(48).collect();
    SecretName::new(&format!("oauth.{short}.client")).ok()
}

/// What entries had that are gone or changed, and no entry has now.
pub(super) fn left_over(old: &ThreadConfig, new: &ThreadConfig) -> Vec<Forget> {
    let have: Vec<Forget> = all_had(new).collect();
    all_had(old).filter(|what| !have.contains(what)).collect()
}

fn all_had(config: &ThreadConfig) -> impl Iterator<Item = Forget> {
    let remote = config.remote.iter().flat_map(|(_, server)| had(server));
    let local = config.local.iter();
    let local = local.flat_map(|(_, server)| server.secret_names());
    remote.chain(local.map(Forget::Secret))
}

fn had(server: &RemoteServer) -> impl Iterator<Item = Forget> {
    let login = match &server.auth {
        RemoteAuth::OAuth(id) => Some(Forget::Credential(id.clone())),
        RemoteAuth::None | RemoteAuth::Bearer(_) | RemoteAuth::ApiKey { .. } => None,
    };
    let secrets = server.named_secrets().into_iter();
    secrets.map(Forget::Secret).chain(login)
}

/// Forgets what no file mentions; what one mentions stays, and is no more to be forgotten.
pub(in crate::desk) async fn sweep(hall: &Arc<Hall>, thread: ThreadId, records: &mut Records) {
    let store = hall.parts.store.clone();
    let files = match blocking(move || store.load(thread)).await {
        Ok((files, _)) => files,
        Err(error) => {
            tracing::warn!(%thread, %error, "what a removed server had is not forgotten yet.");
            return;
        }
    };
    let named = files.remote.as_deref().map(Document::parse);
    let text = [files.local, files.remote].map(Option::unwrap_or_default);
    let text = String::from_utf8_lossy(&text.concat()).into_owned();
    let operators = operators_text(hall, records).await;
    let (mut secrets, mut later, mut agreements) = (Vec::new(), Vec::new(), Vec::new());
    for what in std::mem::take(&mut records.forget) {
        match what {
            Forget::Secret(name) if records.needs(&name) => {}
            // Whether the operator's servers name it is known when they can be read.
            Forget::Secret(_) if operators.is_none() => records.forget.push(what),
            Forget::Secret(name)
                if [Some(&text), operators.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|text| text.contains(&name.placeholder())) => {}
            Forget::Credential(id) if text.contains(&format!("\"{id}\"")) => {}
            Forget::Secret(name) => secrets.push(name),
            Forget::Credential(id) => later.push(id),
            Forget::Approval(name) => match &named {
                Some(Ok(document)) if document.server(name.as_str()).is_some() => {}
                Some(Ok(_)) | None => agreements.push((name, None)),
                // Whether it names the server is known when it is whole again.
                Some(Err(_)) => records.forget.push(Forget::Approval(name)),
            },
        }
    }
    if !agreements.is_empty() {
        let store = hall.parts.store.clone();
        let theirs: Vec<_> = agreements.iter().map(|(name, _)| name.clone()).collect();
        let taken = blocking(move || store.approve(thread, &agreements)).await;
        if let Err(error) = taken {
            tracing::warn!(%thread, %error, "the agreement to a removed server is not forgotten yet.");
            let again = theirs.into_iter().map(Forget::Approval);
            records.forget.extend(again);
        }
    }
    let ids = later.iter().filter_map(client_id_name);
    let changes: Vec<_> = secrets
        .iter()
        .cloned()
        .chain(ids)
        .map(|name| (name, None))
        .collect();
    if !changes.is_empty() {
        let store = hall.parts.store.clone();
        let kept = blocking(move || store.keep_secrets(thread, &changes)).await;
        if let Err(error) = kept {
            tracing::warn!(%thread, %error, "secrets of a removed server are not forgotten yet.");
            records
                .forget
                .extend(secrets.into_iter().map(Forget::Secret));
        }
    }
    for id in later {
        // A record until it is done: the server may be asked to revoke it, which takes long.
        records.forget.push(Forget::Credential(id.clone()));
        if !hall.begin_forgetting(thread, &id) {
            continue;
        }
        let task = Arc::clone(hall);
        hall.spawn(async move {
            let done = task.parts.oauth.logout(thread, &id).await;
            tracing::info!(%thread, ?done, "the login of a removed server is forgotten.");
            let _ = task.post(thread, Work::News(News::Forgotten(id)));
        });
    }
}

/// What the operator's files say, which name secrets that a thread gives its own values; `None` where they cannot be read.
async fn operators_text(hall: &Hall, records: &Records) -> Option<String> {
    let any = |what: &Forget| matches!(what, Forget::Secret(_));
    if !records.forget.iter().any(any) {
        return Some(String::new());
    }
    let store = hall.parts.store.clone();
    let files = blocking(move || store.admin_files()).await.ok()?;
    let text = [files.local, files.remote].map(Option::unwrap_or_default);
    Some(String::from_utf8_lossy(&text.concat()).into_owned())
}
