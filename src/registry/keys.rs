//! What servers need that does not stand in the files: agreement, secrets, tokens. The store and the oauth room, seen
//! from here.

use async_trait::async_trait;
use url::Url;

use crate::config::{CredentialId, RemoteServer, SecretName, ServerName};
use crate::secret::Secret;
use crate::thread::ThreadId;

/// Where they come from.
#[async_trait]
pub trait Keys: Send + Sync + std::fmt::Debug {
    /// Whether somebody agreed to exactly this server in this thread.
    async fn is_approved(&self, thread: ThreadId, name: &ServerName, server: &RemoteServer)
    -> bool;
    /// The value of a secret of the thread, to be sent to `url`; `None` where there is none, or it was given for another
    /// place.
    async fn secret(&self, thread: ThreadId, name: &SecretName, url: &Url) -> Option<Secret>;
    /// The value of a secret of the thread for a server that runs here; `None` where there is none, or it was given for a
    /// remote one.
    async fn local_secret(&self, thread: ThreadId, name: &SecretName) -> Option<Secret>;
    /// An access token to send, renewed first where it is about to end. Asked before each request, so it is cheap while
    /// the token is fresh.
    async fn token(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
    ) -> Result<Secret, NoToken>;
    /// The server answered 401 to this token: another one, renewed.
    async fn refused(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
        token: &Secret,
    ) -> Result<Secret, NoToken>;
}

/// Why there is no token to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The person must log in (again); a sentence that says why.
    #[error("{0}")]
    NeedsLogin(String),
    /// It may work later; a sentence that says why.
    #[error("{0}")]
    Later(String),
}

/// For a house without remote servers: nobody agreed to any, and there are no secrets.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

#[async_trait]
impl Keys for NoKeys {
    async fn is_approved(&self, _: ThreadId, _: &ServerName, _: &RemoteServer) -> bool {
        false
    }

    async fn secret(&self, _: ThreadId, _: &SecretName, _: &Url) -> Option<Secret> {
        None
    }

    async fn local_secret(&self, _: ThreadId, _: &SecretName) -> Option<Secret> {
        None
    }

    async fn token(&self, _: ThreadId, _: &CredentialId, _: &Url) -> Result<Secret, NoToken> {
        Err(NoToken::NeedsLogin("nobody logged in".to_owned()))
    }

    async fn refused(
        &self,
        _: ThreadId,
        _: &CredentialId,
        _: &Url,
        _: &Secret,
    ) -> Result<Secret, NoToken> {
        Err(NoToken::NeedsLogin("nobody logged in".to_owned()))
    }
}
