//! What stands outside the files for a server: the agreement to it, its secrets, its login.
//!
//! An agreement is written before the entry that it is about, and taken back where that is not written. What an entry had
//! is forgotten when no file mentions it any more; what is to be forgotten is a record first, so that a crash leaves
//! nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::handle::News;
use super::records::{Forget, LIFETIME_MS, Later, Proposal, Records};
use super::refusal::Refusal;
use super::turn::Turn;
use super::{Hall, Work, blocking};
use crate::audit::{Entry, What};
use crate::config::{
    Approval, Change, CredentialId, Definition, Document, Edit, FileKind, Files, GivenFor,
    RemoteAuth, RemoteServer, SecretName, ServerName, ThreadConfig,
};
use crate::secret::Secret;
use crate::store::Given;
use crate::thread::ThreadId;

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

    /// Refuses a change that would give a secret to others than it was given for, or one that somebody else is just
    /// giving: who may configure here may use a key, and not carry it off. Judged by what is kept beside the secret, and
    /// by nothing that stands in the files.
    pub(super) async fn keys_stay(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let connects = proposal.connects.as_ref();
        let changed = new.remote.iter().filter(|(name, server)| {
            let is_as_before = |(other, was): &(ServerName, RemoteServer)| {
                other == name && was.approval() == server.approval()
            };
            connects.is_some_and(|connects| connects.server == name.as_str())
                || !old.remote.iter().any(is_as_before)
        });
        for (name, server) in changed {
            let place = GivenFor::place_of(&server.url);
            for secret in server.secret_names() {
                let is_own = proposal.secrets.contains(&secret);
                self.may_have(name.as_str(), &secret, &place, is_own)
                    .await?;
            }
            if let RemoteAuth::OAuth(id) = &server.auth {
                self.has_its_login(name, id, &server.url, new).await?;
            }
        }
        let local = new.local.iter().filter(|entry| !old.local.contains(entry));
        for (name, server) in local {
            for secret in server.secret_names() {
                let is_own = proposal.secrets.contains(&secret);
                self.may_have(name.as_str(), &secret, &GivenFor::Local, is_own)
                    .await?;
            }
        }
        Ok(())
    }

    /// Whether this secret was given for the place of this address.
    pub(super) async fn is_given_for(
        &self,
        secret: &SecretName,
        url: &str,
    ) -> Result<bool, Refusal> {
        let given = self.given_for(secret).await?;
        Ok(given.is_some_and(|given| given.allows(&GivenFor::place_of(url))))
    }

    async fn given_for(&self, secret: &SecretName) -> Result<Option<GivenFor>, Refusal> {
        let (thread, secret) = (self.thread, secret.clone());
        self.stored(move |store| store.secret_given_for(thread, &secret))
            .await
    }

    /// Refuses a login that is kept for another place, or that another entry has for one: to log in or out here would end
    /// it there.
    pub(super) async fn has_its_login(
        &self,
        name: &ServerName,
        id: &CredentialId,
        url: &str,
        config: &ThreadConfig,
    ) -> Result<(), Refusal> {
        let place = GivenFor::place_of(url);
        let shares = |(other, server): &&(ServerName, RemoteServer)| {
            other != name
                && server.auth == RemoteAuth::OAuth(id.clone())
                && !GivenFor::place_of(&server.url).allows(&place)
        };
        let owner = match config.remote.iter().find(shares) {
            Some((other, _)) => format!("of `{other}`, which is at another place"),
            None => match self.hall.parts.oauth.address(self.thread, id).await {
                Some(address) if !GivenFor::at(&address).allows(&place) => {
                    format!("for {}", GivenFor::at(&address))
                }
                Some(_) | None => return Ok(()),
            },
        };
        Err(Refusal::Plain(format!(
            "`{name}` stands in the file with the login {owner}. Take it out with `/mcp remove {name}`, then connect it \
             with a login of its own."
        )))
    }

    /// Refuses where a secret was given for something else than this.
    pub(super) async fn may_have(
        &self,
        name: &str,
        secret: &SecretName,
        what: &GivenFor,
        is_own: bool,
    ) -> Result<(), Refusal> {
        let given = match self.given_for(secret).await? {
            Some(given) if !given.allows(what) => given.to_string(),
            _ if !is_own && self.records.holds(secret) => {
                "something that is not decided yet".to_owned()
            }
            Some(_) | None => return Ok(()),
        };
        Err(Refusal::Plain(format!(
            "The key `{secret}` was given for {given} and goes nowhere else. Give `{name}` a key of its own; if it stands \
             in the file like this already, take it out first with `/mcp remove {name}`."
        )))
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

    /// Stores a secret under a name that is free, `wanted` or one after it. `note` keeps the name in a record before the
    /// secret is stored, so that a crash in between leaves none that nobody knows of.
    pub(super) async fn keep_secret(
        &mut self,
        wanted: &str,
        secret: Secret,
        given_for: GivenFor,
        note: impl FnOnce(&mut Records, SecretName),
    ) -> Result<SecretName, Refusal> {
        let thread = self.thread;
        let taken = self.stored(move |store| store.secret_names(thread)).await?;
        let name = free_name(wanted, &taken);
        note(self.records, name.clone());
        self.keep_records().await;
        let given = Given {
            secret,
            given_for,
            at_ms: self.now_ms(),
        };
        let changes = [(name.clone(), Some(given))];
        self.stored(move |store| store.keep_secrets(thread, &changes))
            .await?;
        let what = What::Secret {
            name: name.to_string(),
            outcome: "set".to_owned(),
        };
        let audit = &self.hall.parts.audit;
        audit.note(thread, Entry::by(&self.actor, what));
        Ok(name)
    }
}

/// Entries are gone from the files, and not through the desk: what they had goes as after a removal. What an entry of
/// another name has now stays, as a rename by hand is none of the login's business; the agreement was to the old name.
///
/// A file that is missing or blank says less than one that parses without the entry: it may be on its way to another
/// folder, or come back from a backup. Then what the entries had stays for as long as a person has to decide anything.
pub(super) async fn gone_on_host(
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

fn gone_with_agreements(old: &ThreadConfig, new: &ThreadConfig) -> Vec<Forget> {
    let names = old.remote.iter().map(|(name, _)| name);
    let is_there = |name: &ServerName| new.remote.iter().any(|(other, _)| other == name);
    let gone = names.filter(|name| !is_there(name));
    let agreements = gone.map(|name| Forget::Approval(name.clone()));
    agreements.chain(left_over(old, new)).collect()
}

/// Under which name the client id of a login is kept, beside the login.
pub(super) fn client_id_name(credential: &CredentialId) -> Option<SecretName> {
    let short: String = credential.as_str().chars().take(48).collect();
    SecretName::new(&format!("oauth.{short}.client")).ok()
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

/// What entries had that are gone or changed, and no entry has now.
fn left_over(old: &ThreadConfig, new: &ThreadConfig) -> Vec<Forget> {
    let have: Vec<Forget> = all_had(new).collect();
    all_had(old).filter(|what| !have.contains(what)).collect()
}

fn all_had(config: &ThreadConfig) -> impl Iterator<Item = Forget> {
    let remote = config.remote.iter().flat_map(|(_, server)| had(server));
    let local = config.local.iter();
    let local = local.flat_map(|(_, server)| server.secret_names());
    remote.chain(local.map(Forget::Secret))
}

fn had(server: &RemoteServer) -> Vec<Forget> {
    let mut all: Vec<Forget> = server
        .headers
        .iter()
        .flat_map(|(_, value)| placeholders(value))
        .map(Forget::Secret)
        .collect();
    match &server.auth {
        RemoteAuth::None => {}
        RemoteAuth::OAuth(id) => all.push(Forget::Credential(id.clone())),
        RemoteAuth::Bearer(name) | RemoteAuth::ApiKey { value: name, .. } => {
            all.push(Forget::Secret(name.clone()));
        }
    }
    all
}

/// The secrets that an entry refers to.
pub(super) fn secrets_of(server: &RemoteServer) -> Vec<SecretName> {
    let all = had(server).into_iter();
    all.filter_map(|what| match what {
        Forget::Secret(name) => Some(name),
        Forget::Credential(_) | Forget::Approval(_) => None,
    })
    .collect()
}

/// The names of the secrets that a header's value refers to.
pub(super) fn placeholders(value: &str) -> Vec<SecretName> {
    let starts = value.match_indices("${secret:");
    starts
        .filter_map(|(at, start)| {
            let rest = &value[at + start.len()..];
            SecretName::new(&rest[..rest.find('}')?]).ok()
        })
        .collect()
}

/// Forgets what no file mentions; what one mentions stays, and is no more to be forgotten.
pub(super) async fn sweep(hall: &Arc<Hall>, thread: ThreadId, records: &mut Records) {
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
    let offered = names_of_offered(hall, thread, records).await;
    let (mut secrets, mut later, mut agreements) = (Vec::new(), Vec::new(), Vec::new());
    for what in std::mem::take(&mut records.forget) {
        match what {
            Forget::Secret(name) if records.needs(&name) || offered.contains(&name) => {}
            Forget::Secret(name) if text.contains(&name.placeholder()) => {}
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

/// The secrets that the operator's servers name, which a thread gives its own values.
async fn names_of_offered(hall: &Hall, thread: ThreadId, records: &Records) -> Vec<SecretName> {
    let any = |what: &Forget| matches!(what, Forget::Secret(_));
    if !records.forget.iter().any(any) {
        return Vec::new();
    }
    let Ok(loaded) = hall.parts.reload.touch(thread).await else {
        return Vec::new();
    };
    let offered = loaded.config.admin.iter();
    let names = offered.flat_map(|(_, definition)| match definition {
        Definition::Local(server) => server.secret_names(),
        Definition::Remote(server) => server.secret_names(),
    });
    names.collect()
}

/// `wanted`, or `wanted_2` and so on where that is taken.
pub(super) fn free_name(wanted: &str, taken: &[SecretName]) -> SecretName {
    let short: String = wanted.chars().take(56).collect();
    let numbers = std::iter::once(short.clone())
        .chain((2..=taken.len() + 2).map(|number| format!("{short}_{number}")));
    let mut names = numbers.filter_map(|name| SecretName::new(&name).ok());
    let free = names.find(|name| !taken.contains(name));
    // One more than there are: one of them is free. The form is ours.
    free.unwrap_or_else(|| unreachable!("{wanted} is no name of a secret"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RemoteTransport;

    fn server(url: &str, auth: RemoteAuth) -> RemoteServer {
        RemoteServer {
            transport: RemoteTransport::Http,
            url: url.to_owned(),
            headers: vec![("X-A".to_owned(), "a ${secret:A} ${secret:B}".to_owned())],
            auth,
            timeout_ms: None,
            disabled: false,
        }
    }

    fn name(text: &str) -> ServerName {
        ServerName::new(text).unwrap()
    }

    fn config(servers: &[(&str, &RemoteServer)]) -> ThreadConfig {
        let remote = servers
            .iter()
            .map(|(text, server)| (name(text), (*server).clone()));
        ThreadConfig {
            remote: remote.collect(),
            ..ThreadConfig::default()
        }
    }

    #[test]
    fn what_is_shown_is_agreed_to_and_nothing_else() {
        let (one, other) = (
            server("https://a.example", RemoteAuth::None),
            server("https://b.example", RemoteAuth::None),
        );
        let agreed = BTreeMap::from([(name("a"), one.approval())]);
        let nothing = BTreeMap::new();
        let rename = Edit(vec![Change::Rename {
            file: FileKind::Remote,
            from: "a".into(),
            to: "b".into(),
        }]);
        let (none, edit) = (config(&[]), Edit::default());
        let (had, has) = (config(&[("a", &one)]), config(&[("a", &other)]));
        let yes = |text: &str, server: &RemoteServer| (name(text), Some(server.approval()));
        let no = |text: &str| (name(text), None);
        // A new one.
        assert_eq!(
            agreements(&nothing, &none, &had, &edit, None),
            [yes("a", &one)]
        );
        // One that was agreed to is changed.
        assert_eq!(
            agreements(&agreed, &had, &has, &edit, None),
            [yes("a", &other)]
        );
        // One that was not, is changed: still nobody agreed.
        assert_eq!(agreements(&nothing, &had, &has, &edit, None), []);
        // It is connected.
        assert_eq!(
            agreements(&nothing, &had, &has, &edit, Some("a")),
            [yes("a", &other)]
        );
        assert_eq!(
            agreements(&nothing, &had, &had, &edit, Some("a")),
            [yes("a", &one)]
        );
        // Removed and renamed.
        assert_eq!(agreements(&agreed, &had, &none, &edit, None), [no("a")]);
        let renamed = config(&[("b", &one)]);
        assert_eq!(
            agreements(&agreed, &had, &renamed, &rename, None),
            [yes("b", &one), no("a")]
        );
        assert_eq!(agreements(&nothing, &had, &renamed, &rename, None), []);
        // A stale agreement to the new name does not count for what is renamed to it.
        let stale = BTreeMap::from([(name("b"), other.approval())]);
        assert_eq!(agreements(&stale, &had, &renamed, &rename, None), [no("b")]);
    }

    #[test]
    fn what_no_entry_has_any_more_is_left_over() {
        let secret = |text: &str| SecretName::new(text).unwrap();
        let id = CredentialId::new("c-1").unwrap();
        let old = config(&[
            (
                "a",
                &server("https://a.example", RemoteAuth::OAuth(id.clone())),
            ),
            (
                "b",
                &server("https://b.example", RemoteAuth::Bearer(secret("T"))),
            ),
        ]);
        let new = config(&[("a", &server("https://a.example", RemoteAuth::None))]);
        assert_eq!(
            left_over(&old, &new),
            [Forget::Credential(id), Forget::Secret(secret("T"))]
        );
        assert_eq!(left_over(&new, &old), []);
        // The same by hand; but what was only renamed keeps what it had, save the agreement.
        let gone = |new: &ThreadConfig| gone_with_agreements(&old, new);
        let of_b = Forget::Approval(name("b"));
        assert_eq!(gone(&new)[0], of_b);
        let moved = |text: &'static str| {
            let mut moved = old.clone();
            moved.remote[1].0 = name(text);
            moved
        };
        assert_eq!(gone(&moved("c")), [of_b]);
        assert_eq!(gone(&moved("b")), []);
    }

    #[test]
    fn a_name_for_a_secret_is_free() {
        let taken = ["HUB_TOKEN", "HUB_TOKEN_2"].map(|text| SecretName::new(text).unwrap());
        assert_eq!(free_name("HUB_TOKEN", &taken).as_str(), "HUB_TOKEN_3");
        assert_eq!(free_name("HUB_KEY", &taken).as_str(), "HUB_KEY");
        assert!(free_name(&"X".repeat(90), &taken).as_str().len() <= 64);
    }
}
