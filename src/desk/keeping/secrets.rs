//! What secrets and logins were given for, and that they go nowhere else.

use super::super::records::{Proposal, Records};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::audit::{Entry, What};
use crate::config::{
    CredentialId, GivenFor, RemoteAuth, RemoteServer, SecretName, ServerName, ThreadConfig,
};
use crate::secret::Secret;
use crate::store::Given;

impl Turn<'_> {
    /// Refuses a change that would give a secret to others than it was given for, or one that somebody else is just
    /// giving: who may configure here may use a key, and not carry it off. Judged by what is kept beside the secret, and
    /// by nothing that stands in the files.
    pub(in crate::desk) async fn keys_stay(
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
    pub(in crate::desk) async fn is_given_for(
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
    pub(in crate::desk) async fn has_its_login(
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
    pub(in crate::desk) async fn may_have(
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

    /// Stores a secret under a name that is free, `wanted` or one after it. `note` keeps the name in a record before the
    /// secret is stored, so that a crash in between leaves none that nobody knows of.
    pub(in crate::desk) async fn keep_secret(
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

/// `wanted`, or `wanted_2` and so on where that is taken.
pub(in crate::desk) fn free_name(wanted: &str, taken: &[SecretName]) -> SecretName {
    let short: String = wanted.chars().take(56).collect();
    let numbers = std::iter::once(short.clone())
        .chain((2..=taken.len() + 2).map(|number| format!("{short}_{number}")));
    let mut names = numbers.filter_map(|name| SecretName::new(&name).ok());
    let free = names.find(|name| !taken.contains(name));
    // One more than there are: one of them is free. The form is ours.
    free.unwrap_or_else(|| unreachable!("{wanted} is no name of a secret"))
}
