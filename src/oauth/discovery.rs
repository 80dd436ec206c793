//! Whom to ask for a login: from the server's challenge or its well-known places to the metadata of its authorization
//! server, by rmcp's manager (RFC 9728, RFC 8414, OIDC discovery, exact issuers).
//!
//! Stricter than the manager: nothing is made up where nothing is published, PKCE by S256 must be promised (the MCP
//! authorization specification: refuse otherwise), and every endpoint is judged as an address before it is used or shown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, StatusCode};
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, OAuthClientConfig, StateStore,
    StoredAuthorizationState, WWWAuthenticateParams,
};
use url::Url;

use crate::net::{Net, NetError};
use crate::secret::Secret;

use super::OAuthError;
use super::http::{Asking, host_of, send, words};
use super::keyed::Keys;
use super::record::{Client, Proof};

/// All of the asking together.
const DEADLINE: Duration = Duration::from_secs(45);

/// A server asks for a handful of rights; more than this is no list that anybody reads.
const SCOPES: usize = 100;

/// What a server and its authorization server publish about logging in.
pub(super) struct Discovered {
    manager: AuthorizationManager,
    sent: Sent,
    /// The authorization server's name, exactly as it writes itself.
    pub(super) issuer: String,
    /// The host that the person is sent to.
    pub(super) host: String,
    pub(super) token_endpoint: Url,
    pub(super) registration_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    /// It reads client metadata documents.
    pub(super) reads_documents: bool,
    /// How a client may prove itself; `None` where it does not say.
    pub(super) proofs: Option<Vec<Proof>>,
    /// It names itself on the way back (RFC 9207).
    pub(super) names_itself: bool,
    /// What to ask for: the challenge's scopes, else those of the resource, with `offline_access` where it is offered.
    pub(super) scopes: Vec<String>,
    /// The scopes that the challenge itself asks for, where it says that rights are missing.
    pub(super) missing: Option<Vec<String>>,
}

/// An address at the authorization server that a person can be sent to.
pub(super) struct Departure {
    pub(super) address: Url,
    pub(super) state: String,
    pub(super) verifier: Secret,
    /// What the tokens will be for (RFC 8707).
    pub(super) resource: String,
}

/// Asks the server at `url`, which answered with `challenge`, who may let us in.
pub(super) async fn discover(
    net: &Net,
    url: &Url,
    challenge: Option<&str>,
    keys: &Keys,
) -> Result<Discovered, OAuthError> {
    let asking = Arc::new(Asking::new(net.clone(), url.clone(), challenge));
    let ask = ask(net, url, challenge, Arc::clone(&asking));
    match tokio::time::timeout(DEADLINE, ask).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Trouble::Said(sentence))) => Err(OAuthError::Discovery(sentence)),
        Ok(Err(Trouble::Manager(error))) => Err(OAuthError::Discovery(sentence(
            &error,
            url,
            asking.failure().as_ref(),
            keys,
        ))),
        Err(_) => Err(OAuthError::Discovery(format!(
            "{} took too long to say how to log in; try again later",
            host_of(url)
        ))),
    }
}

enum Trouble {
    Said(String),
    Manager(AuthError),
}

impl From<AuthError> for Trouble {
    fn from(error: AuthError) -> Self {
        Self::Manager(error)
    }
}

async fn ask(
    net: &Net,
    url: &Url,
    challenge: Option<&str>,
    asking: Arc<Asking>,
) -> Result<Discovered, Trouble> {
    let server = host_of(url);
    let mut manager =
        AuthorizationManager::new_with_oauth_http_client(url.as_str(), asking.clone()).await?;
    let sent = Sent::default();
    manager.set_state_store(sent.clone());
    let metadata = match manager.resolve_metadata_from_challenge(challenge).await {
        Ok(resolved) if resolved.source.is_discovered() => resolved.metadata,
        Ok(_) => {
            return Err(Trouble::Said(format!(
                "{server} does not publish how to log in; it may want an API key or a token instead"
            )));
        }
        Err(error @ AuthError::AuthorizationServerMismatch { .. }) if !asking.is_named() => {
            under_one_roof(net, url).await.ok_or(error)?
        }
        Err(error) => return Err(error.into()),
    };
    manager.set_metadata(metadata.clone());
    let issuer = metadata.issuer.clone().ok_or_else(|| {
        Trouble::Said(format!(
            "the authorization server of {server} does not say its own name, so I cannot be sure of it"
        ))
    })?;
    if !promises_s256(&metadata) {
        return Err(Trouble::Said(format!(
            "the authorization server of {server} does not offer PKCE with S256, and a login without it is not safe"
        )));
    }
    let endpoint = |name: &str, text: &str| {
        net.judge_url(text).map_err(|problem| {
            Trouble::Said(format!(
                "the authorization server of {server} has a {name} that I cannot use: the address {problem}"
            ))
        })
    };
    let authorization = endpoint("login page", &metadata.authorization_endpoint)?;
    let token_endpoint = endpoint("token endpoint", &metadata.token_endpoint)?;
    let registration_endpoint = match &metadata.registration_endpoint {
        Some(text) => Some(endpoint("registration endpoint", text)?),
        None => None,
    };
    let revocation_endpoint =
        text_of(&metadata, "revocation_endpoint").and_then(|text| net.judge_url(text).ok());
    let mut scopes = manager.select_initial_scopes(&[]).await;
    scopes.retain(|scope| is_scope(scope));
    scopes.truncate(SCOPES);
    Ok(Discovered {
        sent,
        issuer,
        host: host_of(&authorization),
        token_endpoint,
        registration_endpoint,
        revocation_endpoint,
        reads_documents: is_true(&metadata, "client_id_metadata_document_supported"),
        proofs: proofs(&metadata),
        names_itself: is_true(&metadata, "authorization_response_iss_parameter_supported"),
        scopes,
        missing: challenge.and_then(|text| missing(text, url)),
        manager,
    })
}

/// Metadata of a server of 2025-03-26, which is its own authorization server, publishes no more than that, and may call
/// itself by a path of its own. Whoever answers for the whole origin may name any part of it; another origin is refused.
async fn under_one_roof(net: &Net, url: &Url) -> Option<AuthorizationMetadata> {
    let place = url.join("/.well-known/oauth-authorization-server").ok()?;
    let request = Request::get(place.as_str()).body(Vec::new()).ok()?;
    let answer = send(net, request).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let metadata: AuthorizationMetadata = serde_json::from_slice(answer.body()).ok()?;
    let issuer = Url::parse(metadata.issuer.as_deref()?).ok()?;
    (issuer.origin() == url.origin()).then_some(metadata)
}

impl Discovered {
    /// The address that a person opens, with PKCE, `state`, `resource` and these scopes in it.
    pub(super) async fn depart(
        &mut self,
        client: &Client,
        redirect: &str,
        scopes: &[String],
    ) -> Result<Departure, OAuthError> {
        let failed = || {
            OAuthError::Discovery(format!(
                "the address of the login at {} cannot be made; its metadata is odd",
                self.host
            ))
        };
        self.manager
            .configure_client(OAuthClientConfig::new(client.id.as_str(), redirect))
            .map_err(|_| failed())?;
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let address = self.manager.get_authorization_url(&scopes).await;
        let mut address = address
            .ok()
            .and_then(|text| Url::parse(&text).ok())
            .ok_or_else(failed)?;
        let sent = self.sent.take().ok_or_else(failed)?;
        // The manager tells what it will ask tokens for in this address only.
        let resource = address
            .query_pairs()
            .find(|(name, _)| name == "resource")
            .map(|(_, value)| value.into_owned())
            .ok_or_else(failed)?;
        if scopes.contains(&"offline_access") {
            // OpenID Connect, 11: without consent asked for, the scope is left out.
            address.query_pairs_mut().append_pair("prompt", "consent");
        }
        Ok(Departure {
            address,
            state: sent.csrf_token.clone(),
            verifier: Secret::from(sent.pkce_verifier.clone()),
            resource,
        })
    }
}

/// Scopes of a challenge that says that rights are missing (RFC 6750, 3.1).
fn missing(challenge: &str, url: &Url) -> Option<Vec<String>> {
    let challenge = WWWAuthenticateParams::parse(challenge, url);
    if !challenge.is_insufficient_scope() {
        return None;
    }
    let scopes = challenge.scope.unwrap_or_default();
    Some(
        scopes
            .split_whitespace()
            .filter(|scope| is_scope(scope))
            .take(SCOPES)
            .map(str::to_owned)
            .collect(),
    )
}

/// RFC 6749, 3.3: visible ASCII without quote and backslash. What is not is left out: it is shown to people.
fn is_scope(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

fn promises_s256(metadata: &AuthorizationMetadata) -> bool {
    let methods = metadata.code_challenge_methods_supported.as_deref();
    methods.is_some_and(|methods| methods.iter().any(|method| method == "S256"))
}

fn proofs(metadata: &AuthorizationMetadata) -> Option<Vec<Proof>> {
    let methods = metadata
        .additional_fields
        .get("token_endpoint_auth_methods_supported")?
        .as_array()?;
    Some(
        [Proof::None, Proof::Basic, Proof::Post]
            .into_iter()
            .filter(|proof| methods.iter().any(|method| method == proof.name()))
            .collect(),
    )
}

fn is_true(metadata: &AuthorizationMetadata, field: &str) -> bool {
    metadata
        .additional_fields
        .get(field)
        .and_then(serde_json::Value::as_bool)
        .unwrap_or(false)
}

fn text_of<'a>(metadata: &'a AuthorizationMetadata, field: &str) -> Option<&'a str> {
    metadata.additional_fields.get(field)?.as_str()
}

/// What went wrong, for people; nothing of a stranger's that is longer than a name.
fn sentence(error: &AuthError, url: &Url, failure: Option<&NetError>, keys: &Keys) -> String {
    let server = host_of(url);
    let words = |text: &str, most| words(&keys.hush(text), most);
    match (error, failure) {
        (AuthError::DiscoveryRequestFailed { url, .. }, Some(why)) => {
            format!("I could not ask {} how to log in: {why}", host_of(url))
        }
        (AuthError::DiscoveryRequestFailed { url, source }, None) => format!(
            "I could not ask {} how to log in: {}",
            host_of(url),
            words(&source.to_string(), 120)
        ),
        (AuthError::ProtectedResourceMetadataInvalid { .. }, _) => format!(
            "{server} describes itself as something else than this address, so a login there would not be safe"
        ),
        (
            AuthError::AuthorizationServersUnavailable {
                authorization_servers,
                ..
            },
            _,
        ) => format!(
            "{server} sends people to {} to log in, which publishes nothing that I can use",
            words(&authorization_servers.join(", "), 120)
        ),
        (
            AuthError::AuthorizationServerMismatch {
                expected_issuer,
                received_issuer,
            },
            _,
        ) => format!(
            "the authorization server of {server} was named {} and calls itself {}, so a login there would not be safe",
            words(expected_issuer, 120),
            words(received_issuer, 120)
        ),
        (AuthError::AuthorizationServerMissingIssuer { .. }, _) => format!(
            "the authorization server of {server} does not say its own name, so I cannot be sure of it"
        ),
        _ => format!("{server} publishes nothing about logging in that I can use"),
    }
}

/// What rmcp's manager would keep between leaving and coming back. We keep it in the record of the login.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Option<StoredAuthorizationState>>>);

impl Sent {
    fn take(&self) -> Option<StoredAuthorizationState> {
        self.0.lock().ok()?.take()
    }
}

#[async_trait]
impl StateStore for Sent {
    async fn save(&self, _state: &str, sent: StoredAuthorizationState) -> Result<(), AuthError> {
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(sent);
        }
        Ok(())
    }

    async fn load(&self, _state: &str) -> Result<Option<StoredAuthorizationState>, AuthError> {
        Ok(None)
    }

    async fn delete(&self, _state: &str) -> Result<(), AuthError> {
        Ok(())
    }
}
