//! What is written to disk: logins under way, tokens, and clients that were registered. All of it is secret.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::actor::Actor;
use crate::config::{CredentialId, ServerName};
use crate::secret::Secret;
use crate::thread::ThreadId;

use super::ClientKind;

/// A login under way.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) thread: ThreadId,
    pub(super) by: Actor,
    pub(super) place: String,
    pub(super) server: ServerName,
    pub(super) url: Url,
    pub(super) credential: CredentialId,
    /// The hash of the nonce in the link; `None` where the link leads straight to the authorization server.
    pub(super) nonce: Option<String>,
    /// The hash of the cookie of the browser that left through our start page last.
    pub(super) cookie: Option<String>,
    /// Where the person is sent: the address at the authorization server, with the `state` in it.
    pub(super) address: Url,
    #[serde(with = "secret_text")]
    pub(super) verifier: Secret,
    /// The server promised to name itself on the way back (RFC 9207).
    pub(super) names_itself: bool,
    pub(super) authority: Authority,
    /// Keys in the address: a server that repeats them does not get them shown.
    #[serde(default, with = "secret_texts")]
    pub(super) keys: Vec<Secret>,
    /// What is asked for.
    pub(super) scopes: Vec<String>,
    /// How many times in a row rights were asked for that had been asked for before.
    pub(super) repeats: u32,
    /// The client was registered for an earlier login.
    pub(super) reused: bool,
    pub(super) until_ms: i64,
    pub(super) stage: Stage,
}

/// How far a login is. A `state` is good for one step out of `Open`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The person has the link.
    Open,
    /// The browser is back, and its code is being exchanged. Found at start it means that the bot died meanwhile.
    Exchanging,
    /// The tokens wait for Finish.
    Arrived(Tokens),
}

/// Who gives tokens, and as whom we stand there.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Authority {
    /// Its name, exactly as it writes itself.
    pub(super) issuer: String,
    /// Its host, for people.
    pub(super) host: String,
    pub(super) token_endpoint: Url,
    pub(super) revocation_endpoint: Option<Url>,
    /// What the tokens are for, byte for byte as published (RFC 8707).
    pub(super) resource: String,
    pub(super) redirect: String,
    pub(super) client: Client,
}

/// As whom we stand at an authorization server.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) id: String,
    #[serde(default, with = "maybe_secret_text")]
    pub(super) secret: Option<Secret>,
    pub(super) kind: ClientKind,
    /// How it proves itself at the token endpoint.
    pub(super) proof: Proof,
    /// From when on its secret is no good, in milliseconds since the epoch.
    #[serde(default)]
    pub(super) until_ms: Option<i64>,
}

/// RFC 7591: `token_endpoint_auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Proof {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "client_secret_basic")]
    Basic,
    #[serde(rename = "client_secret_post")]
    Post,
}

impl Proof {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }
}

/// What a token endpoint gave.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Tokens {
    #[serde(with = "secret_text")]
    pub(super) access: Secret,
    #[serde(default, with = "maybe_secret_text")]
    pub(super) refresh: Option<Secret>,
    pub(super) received_ms: i64,
    /// `None`: the server did not say.
    pub(super) expires_ms: Option<i64>,
    pub(super) scopes: Vec<String>,
}

/// A thread's login at a server.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Credential {
    /// The login that it came from: Finish pressed again after a crash does not bring back older tokens.
    pub(super) login: String,
    /// The address that the tokens are sent to, and no other origin.
    pub(super) url: Url,
    pub(super) authority: Authority,
    /// `None` where it is over: the rest is kept, so that the next login asks for the same.
    pub(super) tokens: Option<Tokens>,
    /// Why it is over; a sentence for people.
    #[serde(default)]
    pub(super) ended: Option<String>,
    /// What was asked for last.
    pub(super) asked: Vec<String>,
    #[serde(default)]
    pub(super) repeats: u32,
    /// A renewal was begun and its answer is not kept here: the refresh token may be used up.
    #[serde(default)]
    pub(super) renewing: bool,
}

/// Reads a record; one that this version does not understand counts as none.
pub(super) fn read<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Option<T> {
    serde_json::from_value(value)
        .inspect_err(|_| {
            tracing::warn!(what, "a record of a login cannot be read and is left out.");
        })
        .ok()
}

/// Writes a record.
pub(super) fn write<T: Serialize>(record: &T) -> Value {
    // Plain data with text keys: it cannot fail.
    serde_json::to_value(record).unwrap_or_default()
}

mod secret_text {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::from)
    }
}

mod secret_texts {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secrets: &[Secret], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(secrets.iter().map(Secret::expose))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        Ok(texts.into_iter().map(Secret::from).collect())
    }
}

mod maybe_secret_text {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde's way")]
    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => to.serialize_some(secret.expose()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::from))
    }
}
