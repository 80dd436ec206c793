//! As whom we stand at an authorization server: a client id that somebody gave, our metadata document, or one that was
//! registered dynamically (RFC 7591), which is kept for its issuer and redirect address and used again.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::secret::Secret;

use super::discovery::Discovered;
use super::http::{host_of, send, words};
use super::keyed::Keys;
use super::record::{self, Authority, Client, Proof};
use super::room::{Room, below};
use super::{ClientKind, GivenClient, OAuthError, random};

/// How the bot calls itself on the pages of authorization servers.
const NAME: &str = "Switchboard";

/// A secret that ends within this is not worth beginning with.
const MARGIN_MS: i64 = 20 * 60 * 1000;

/// Finds a client id for a login. `earlier` is the client of the login that this one follows, at the same issuer. Also
/// tells whether it was registered for a login before this one.
pub(super) async fn client(
    room: &Room,
    found: &Discovered,
    keys: &Keys,
    given: Option<&GivenClient>,
    earlier: Option<&Client>,
) -> Result<(Client, bool), OAuthError> {
    let operators = || {
        let mut clients = room.parts.clients.iter();
        clients.find(|client| client.issuer == found.issuer)
    };
    if let Some(given) = given {
        return Ok((as_given(given, found), false));
    }
    if let Some(earlier) = earlier.filter(|client| client.kind == ClientKind::Given) {
        return Ok((earlier.clone(), false));
    }
    if let Some(operators) = operators() {
        return Ok((as_given(&operators.client, found), false));
    }
    if let Some(document) = room.document.as_ref().filter(|_| found.reads_documents) {
        let client = Client {
            id: document.to_string(),
            secret: None,
            kind: ClientKind::Document,
            proof: Proof::None,
            until_ms: None,
        };
        return Ok((client, false));
    }
    if let Some(kept) = kept(room, &found.issuer).await? {
        return Ok((kept, true));
    }
    let Some(endpoint) = &found.registration_endpoint else {
        return Err(needs_id(room, found));
    };
    let client = register(room, found, keys, endpoint).await?;
    let (key, value) = (key(room, &found.issuer), record::write(&client));
    let kept = room.disk(move |keeper| keeper.keep_client(&key, Some(&value)));
    if let Err(error) = kept.await {
        // The login has its own copy; the next one registers again.
        tracing::warn!(%error, "a registered client cannot be kept.");
    }
    Ok((client, false))
}

/// Forgets a registered client that its authorization server does not know any more: the next login registers anew.
pub(super) async fn forget(room: &Room, authority: &Authority) {
    if authority.client.kind != ClientKind::Registered {
        return;
    }
    let (key, id) = (key(room, &authority.issuer), authority.client.id.clone());
    let forgotten = room.disk(move |keeper| {
        let kept = keeper.client(&key)?;
        let kept = kept.and_then(|value| record::read::<Client>("client", value));
        // Another login may have registered anew meanwhile.
        if kept.is_some_and(|kept| kept.id == id) {
            keeper.keep_client(&key, None)?;
        }
        Ok(())
    });
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, "a registered client cannot be forgotten.");
    }
}

/// Our client metadata document, for the authorization server to read.
pub(super) fn document(room: &Room) -> Option<Value> {
    let public = room.parts.public_url.as_ref()?;
    Some(json!({
        "client_id": room.document.as_ref().map_or_else(|| below(public, "oauth/client.json"), Url::to_string),
        "client_name": NAME,
        "client_uri": public,
        "redirect_uris": [room.redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": application(&room.redirect),
    }))
}

fn as_given(given: &GivenClient, found: &Discovered) -> Client {
    let proof = match (&given.secret, &found.proofs) {
        (None, _) => Proof::None,
        // RFC 8414: where the server does not say, it is Basic.
        (Some(_), None) => Proof::Basic,
        (Some(_), Some(proofs)) if proofs.contains(&Proof::Basic) => Proof::Basic,
        (Some(_), Some(_)) => Proof::Post,
    };
    Client {
        id: given.id.clone(),
        secret: given.secret.clone(),
        kind: ClientKind::Given,
        proof,
        until_ms: None,
    }
}

async fn kept(room: &Room, issuer: &str) -> Result<Option<Client>, OAuthError> {
    let key = key(room, issuer);
    let value = room.disk(move |keeper| keeper.client(&key)).await?;
    let kept = value.and_then(|value| record::read::<Client>("client", value));
    let now = room.now_ms();
    Ok(kept.filter(|client| {
        let until = client.until_ms;
        until.is_none_or(|until| until.saturating_sub(MARGIN_MS) > now)
    }))
}

async fn register(
    room: &Room,
    found: &Discovered,
    keys: &Keys,
    endpoint: &Url,
) -> Result<Client, OAuthError> {
    let host = host_of(endpoint);
    let wish = wish(found.proofs.as_deref());
    let body = json!({
        "client_name": NAME,
        "redirect_uris": [room.redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": wish.name(),
        "application_type": application(&room.redirect),
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|_| OAuthError::Discovery(format!("{host} has an odd address")))?;
    let answer = send(&room.parts.net, request).await.map_err(|error| {
        OAuthError::Discovery(format!("I could not register at {host}: {error}"))
    })?;
    // It wants a token for registering, or does not register after all.
    if matches!(
        answer.status(),
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
    ) {
        return Err(needs_id(room, found));
    }
    let status = answer.status();
    let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    if !status.is_success() {
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let why = text("error_description").or(text("error")).map_or_else(
            || format!("it answered with status {}", status.as_u16()),
            |text| words(&keys.hush(text), 200),
        );
        return Err(OAuthError::Refused(format!(
            "{host} did not register me: {why}; a client id that you register there yourself would do instead"
        )));
    }
    registered(&answer, wish).ok_or_else(|| {
        OAuthError::Refused(format!(
            "{host} registered me in a way that I cannot use; a client id that you register there yourself would do \
             instead"
        ))
    })
}

/// How we would prove ourselves: not at all where that is possible, since PKCE does the work.
fn wish(offered: Option<&[Proof]>) -> Proof {
    match offered {
        Some([]) | None => Proof::None,
        // In the order of `Proof`.
        Some([first, ..]) => *first,
    }
}

/// Reads the answer to a registration (RFC 7591, 3.2.1).
fn registered(answer: &Value, wish: Proof) -> Option<Client> {
    let text = |name: &str| {
        let text = answer.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let id = text("client_id").filter(|id| id.len() <= 2048)?;
    let secret = text("client_secret").map(|secret| Secret::from(secret.to_owned()));
    let named = [Proof::None, Proof::Basic, Proof::Post]
        .into_iter()
        .find(|proof| text("token_endpoint_auth_method") == Some(proof.name()));
    let proof = match (named, &secret) {
        (Some(Proof::None), _) | (None, None) => Proof::None,
        (Some(named), Some(_)) => named,
        // A secret that nobody can ask for.
        (Some(_), None) => return None,
        // It names no way: then the one that was wished for.
        (None, Some(_)) if text("token_endpoint_auth_method").is_some() => return None,
        (None, Some(_)) => wish,
    };
    let until = answer
        .get("client_secret_expires_at")
        .and_then(Value::as_i64);
    Some(Client {
        id: id.to_owned(),
        secret: secret.filter(|_| proof != Proof::None),
        kind: ClientKind::Registered,
        proof,
        until_ms: until
            .filter(|seconds| *seconds > 0 && proof != Proof::None)
            .map(|seconds| seconds.saturating_mul(1000)),
    })
}

fn key(room: &Room, issuer: &str) -> String {
    random::hash("client", &[issuer, &room.redirect])
}

/// OIDC Registration, section 2: a redirect to this computer is a native program's.
fn application(redirect: &str) -> &'static str {
    if redirect.starts_with("https:") {
        "web"
    } else {
        "native"
    }
}

fn needs_id(room: &Room, found: &Discovered) -> OAuthError {
    OAuthError::NeedsClientId {
        issuer: found.host.clone(),
        redirect: room.redirect.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_read_with_the_proof_that_they_name() {
        let cases = [
            (
                json!({"client_id": "a"}),
                Proof::None,
                Some((Proof::None, false)),
            ),
            (
                json!({"client_id": "a", "client_secret": ""}),
                Proof::None,
                Some((Proof::None, false)),
            ),
            (
                json!({"client_id": "a", "client_secret": "s"}),
                Proof::None,
                Some((Proof::None, false)),
            ),
            (
                json!({"client_id": "a", "client_secret": "s"}),
                Proof::Post,
                Some((Proof::Post, true)),
            ),
            (
                json!({"client_id": "a", "client_secret": "s", "token_endpoint_auth_method": "client_secret_basic"}),
                Proof::None,
                Some((Proof::Basic, true)),
            ),
            (
                json!({"client_id": "a", "client_secret": "s", "token_endpoint_auth_method": "private_key_jwt"}),
                Proof::None,
                None,
            ),
            (
                json!({"client_id": "a", "token_endpoint_auth_method": "client_secret_post"}),
                Proof::Post,
                None,
            ),
            (json!({"client_id": ""}), Proof::None, None),
            (json!({"client_id": "a".repeat(3000)}), Proof::None, None),
            (json!(null), Proof::None, None),
        ];
        for (answer, wish, expected) in cases {
            let read = registered(&answer, wish);
            let read = read.map(|client| (client.proof, client.secret.is_some()));
            assert_eq!(read, expected, "{answer}");
        }
    }

    #[test]
    fn no_secret_is_wished_for_where_that_is_possible() {
        let cases: [(Option<&[Proof]>, Proof); 4] = [
            (None, Proof::None),
            (Some(&[]), Proof::None),
            (Some(&[Proof::None, Proof::Basic]), Proof::None),
            (Some(&[Proof::Basic, Proof::Post]), Proof::Basic),
        ];
        for (offered, expected) in cases {
            assert_eq!(wish(offered), expected);
        }
    }
}
