//! The store and the desk, as the other rooms see them: a small type for each of their traits.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::audit::{self, Audit, What};
use crate::config::{
    CredentialId, Definition, GivenFor, RemoteServer, SecretName, ServerName, StdioServer,
    definition_key, program_key,
};
use crate::desk::{Clock, Desk};
use crate::net::egress::Contact;
use crate::oauth::{KeepError, Keeper, OAuth};
use crate::policy::{Rules, Seen, is_risky};
use crate::registry::{Keys, NetworkBook, NoToken, Ruling, Tool, ToolCache, ToolRules};
use crate::secret::Secret;
use crate::store::{Contacted, Shelf, Store, StoreError};
use crate::thread::ThreadId;
use crate::web::{Entered, Entry};

/// The store's tool cache, as the registry sees it.
#[derive(Debug)]
pub(super) struct StoredTools(pub(super) Store);

impl ToolCache for StoredTools {
    fn get(
        &self,
        thread: ThreadId,
        server: &ServerName,
        definition: &str,
    ) -> Option<serde_json::Value> {
        self.0.tools(thread, server.as_str(), definition)
    }

    fn put(
        &self,
        thread: ThreadId,
        server: &ServerName,
        tools: Option<(&str, &serde_json::Value)>,
    ) {
        if let Err(error) = self.0.save_tools(thread, server.as_str(), tools) {
            tracing::warn!(%thread, %server, %error, "the list of tools could not be kept; the server will be started to ask for it.");
        }
    }
}

/// What the store keeps of local servers and the network, as the registry sees it.
pub(super) struct StoredNetwork {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) audit: Arc<dyn Audit>,
}

impl NetworkBook for StoredNetwork {
    fn has_word(&self, thread: ThreadId, name: &ServerName, server: &StdioServer) -> bool {
        // Whoever writes this thread's files by hand is at the bot's terminal.
        let key = || definition_key(&Definition::Local(server.clone()));
        thread == ThreadId::Local || self.store.has_word(thread, name, &key())
    }

    fn contacted(
        &self,
        thread: ThreadId,
        name: &ServerName,
        server: &StdioServer,
        news: Vec<(Contact, u64)>,
    ) {
        let at_ms = (self.clock)();
        let news = news.into_iter().map(|(contact, times)| Contacted {
            host: contact.host,
            port: contact.port,
            allowed: contact.allowed,
            at_ms,
            times,
        });
        let news: Vec<_> = news.collect();
        let key = program_key(&Definition::Local(server.clone()));
        match self.store.note_contacts(thread, name, &key, &news) {
            Ok(first) => {
                for contact in first {
                    let what = What::Reached {
                        server: name.to_string(),
                        host: contact.host,
                        port: contact.port,
                        allowed: contact.allowed,
                    };
                    self.audit.note(thread, audit::Entry::of_the_bot(what));
                }
            }
            Err(error) => {
                tracing::warn!(%thread, server = %name, %error, "the hosts that a server reached could not be kept.");
            }
        }
    }
}

impl std::fmt::Debug for StoredNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredNetwork").finish_non_exhaustive()
    }
}

/// What threads decided of tools, as the registry sees it.
#[derive(Debug)]
pub(super) struct StoredRules {
    pub(super) store: Store,
    pub(super) policy: Rules,
}

impl ToolRules for StoredRules {
    fn rule(
        &self,
        thread: ThreadId,
        server: &ServerName,
        definition: &Definition,
        tools: &[Tool],
    ) -> Vec<Ruling> {
        let policy = self.policy.now();
        let seen: Vec<Seen<'_>> = tools
            .iter()
            .map(|tool| Seen {
                name: &tool.name,
                pin: tool.pin,
                is_risky: is_risky(&tool.hints(), policy.risky_tools.as_deref()),
            })
            .collect();
        let of = program_key(definition);
        let definition = |place: usize| tools.get(place).map_or_else(String::new, Tool::definition);
        let ruled = self
            .store
            .rule_tools(thread, server, &of, &seen, definition);
        ruled.unwrap_or_else(|error| {
            tracing::error!(%thread, %server, %error, "what was decided of tools cannot be read or written; they are off.");
            vec![Ruling::Unknown; tools.len()]
        })
    }
}

/// What remote servers need, as the registry sees it.
#[derive(Debug)]
pub(super) struct StoredKeys {
    pub(super) store: Store,
    pub(super) oauth: OAuth,
}

impl StoredKeys {
    async fn given_for(&self, thread: ThreadId, name: &SecretName, to: GivenFor) -> Option<Secret> {
        let (store, name) = (self.store.clone(), name.clone());
        let look = move || {
            let secret = store.secret(thread, &name, &to)?;
            if secret.is_none()
                && let Some(given) = store.secret_given_for(thread, &name)?
            {
                tracing::warn!(%thread, secret = %name, %given, asked = %to, "A secret is asked for by something that it was not given for.");
            }
            Ok::<_, StoreError>(secret)
        };
        let read = tokio::task::spawn_blocking(look).await;
        read.ok()?
            .inspect_err(|error| tracing::warn!(%thread, %error, "a secret cannot be read."))
            .ok()?
    }
}

#[async_trait]
impl Keys for StoredKeys {
    async fn is_approved(
        &self,
        thread: ThreadId,
        name: &ServerName,
        server: &RemoteServer,
    ) -> bool {
        let (store, name, wanted) = (self.store.clone(), name.clone(), server.approval());
        let look = move || {
            store
                .approvals(thread)
                .map(|all| all.get(&name) == Some(&wanted))
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(is_approved)) => is_approved,
            Ok(Err(error)) => {
                tracing::warn!(%thread, %error, "what was agreed to cannot be read; nothing is connected.");
                false
            }
            Err(_) => false,
        }
    }

    async fn secret(&self, thread: ThreadId, name: &SecretName, url: &Url) -> Option<Secret> {
        self.given_for(thread, name, GivenFor::at(url)).await
    }

    async fn local_secret(&self, thread: ThreadId, name: &SecretName) -> Option<Secret> {
        self.given_for(thread, name, GivenFor::Local).await
    }

    async fn token(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
    ) -> Result<Secret, NoToken> {
        self.oauth
            .token(thread, credential, url)
            .await
            .map_err(no_token)
    }

    async fn refused(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
        token: &Secret,
    ) -> Result<Secret, NoToken> {
        self.oauth
            .refused(thread, credential, url, token)
            .await
            .map_err(no_token)
    }
}

fn no_token(error: crate::oauth::NoToken) -> NoToken {
    match error {
        crate::oauth::NoToken::NeedsLogin(why) => NoToken::NeedsLogin(why),
        crate::oauth::NoToken::Later(why) => NoToken::Later(why),
    }
}

/// The desk, as the pages see it.
pub(super) struct Pasted(pub(super) Desk);

#[async_trait]
impl Entry for Pasted {
    async fn asked(&self, nonce: &str) -> Option<String> {
        self.0.secret_asked(nonce).await
    }

    async fn given(&self, nonce: &str, value: Secret) -> Entered {
        match self.0.secret_given(nonce, value).await {
            Ok(true) => Entered::Taken,
            Ok(false) => Entered::Over,
            Err(why) => Entered::Unfit(why),
        }
    }
}

/// The disk, as the oauth room sees it.
#[derive(Debug)]
pub(super) struct Kept(pub(super) Store);

impl Keeper for Kept {
    fn credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
    ) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.credential(thread, id).map_err(kept)
    }

    fn keep_credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
        value: Option<&serde_json::Value>,
    ) -> Result<(), KeepError> {
        self.0.keep_credential(thread, id, value).map_err(kept)
    }

    fn login(&self, id: &str) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.shelved(Shelf::Logins, id).map_err(kept)
    }

    fn keep_login(&self, id: &str, value: Option<&serde_json::Value>) -> Result<(), KeepError> {
        self.0.shelve(Shelf::Logins, id, value).map_err(kept)
    }

    fn logins(&self) -> Result<Vec<String>, KeepError> {
        self.0.shelf(Shelf::Logins).map_err(kept)
    }

    fn client(&self, key: &str) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.shelved(Shelf::Clients, key).map_err(kept)
    }

    fn keep_client(&self, key: &str, value: Option<&serde_json::Value>) -> Result<(), KeepError> {
        self.0.shelve(Shelf::Clients, key, value).map_err(kept)
    }

    fn thread_now(&self, thread: ThreadId) -> ThreadId {
        self.0.alias(thread).ok().flatten().unwrap_or(thread)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn kept(error: crate::store::StoreError) -> KeepError {
    KeepError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_reaches_is_in_the_audit_once_for_each_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let clock: Clock = Arc::new(|| 7);
        let book = StoredNetwork {
            store: store.clone(),
            clock: clock.clone(),
            audit: Arc::new(store.ledger(clock)),
        };
        let name = ServerName::new("weather").unwrap();
        let server = StdioServer {
            command: "weather".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            network: crate::config::NetworkGrant::default(),
            disabled: false,
        };
        let thread = ThreadId::Local;
        let contact = |host: &str, allowed| Contact {
            host: host.to_owned(),
            port: 443,
            allowed,
        };
        let first = vec![
            (contact("a.example", true), 3),
            (contact("b.example", false), 1),
        ];
        for news in [first, vec![(contact("a.example", true), 5)]] {
            book.contacted(thread, &name, &server, news);
        }
        let lines = store.audit(thread, 10, Some("weather")).unwrap();
        let told: Vec<What> = lines.into_iter().map(|noted| noted.entry.what).collect();
        let reached = |host: &str, allowed| What::Reached {
            server: "weather".to_owned(),
            host: host.to_owned(),
            port: 443,
            allowed,
        };
        assert_eq!(
            told,
            [reached("a.example", true), reached("b.example", false)]
        );
    }
}
