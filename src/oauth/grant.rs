//! What is asked of a token endpoint: tokens for a code, tokens for a refresh token, and that a token be revoked.
//!
//! rmcp's manager carries a login up to the moment the browser is back. From there on it is in the way: it would find
//! everything out again before a code is exchanged (and after each restart), and it neither keeps a client's secret nor
//! tells an unknown client from a refused token, nor revokes. The three forms are sent from here, read leniently (numbers
//! as text, errors with status 200), and no answer is ever logged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::config::Masker;
use crate::net::Net;
use crate::secret::Secret;

use super::account::account;
use super::http::{host_of, send, words};
use super::record::{Authority, Client, Proof, Tokens};

/// What tokens are asked for with.
pub(super) enum Grant<'a> {
    /// The code that the browser brought (RFC 6749, 4.1.3), and the PKCE verifier.
    Code(&'a str, &'a Secret),
    /// A refresh token (RFC 6749, 6).
    Refresh(&'a Secret),
}

/// What the token endpoint gave.
pub(super) struct Granted {
    pub(super) tokens: Tokens,
    /// Who logged in, by the id token's own word.
    pub(super) account: Option<String>,
}

/// Why it gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotGranted {
    /// It said no, and will say so again: an error code of RFC 6749, 5.2, and its words for it, fit to be shown.
    Refused { code: String, words: String },
    /// It could not be asked, or its answer makes no sense; a few words that go on from "the login at … cannot be …:".
    Trouble(String),
}

/// Asks for tokens. `wanted` are the scopes that count as granted where the answer names none (RFC 6749, 5.1); of the
/// answer nothing is shown that is `hidden` or was sent.
pub(super) async fn ask(
    net: &Net,
    authority: &Authority,
    grant: &Grant<'_>,
    wanted: &[String],
    hidden: &[String],
    now_ms: i64,
) -> Result<Granted, NotGranted> {
    let mut form = vec![("resource", authority.resource.as_str())];
    let mut secrets: Vec<String> = match grant {
        Grant::Code(code, verifier) => vec![(*code).to_owned(), verifier.expose().to_owned()],
        Grant::Refresh(token) => vec![token.expose().to_owned()],
    };
    secrets.extend(
        authority
            .client
            .secret
            .iter()
            .map(|s| s.expose().to_owned()),
    );
    match grant {
        Grant::Code(code, verifier) => form.extend([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", authority.redirect.as_str()),
            ("code_verifier", verifier.expose()),
        ]),
        Grant::Refresh(token) => form.extend([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
        ]),
    }
    let endpoint = &authority.token_endpoint;
    let request = posted(endpoint, &authority.client, form)
        .ok_or_else(|| NotGranted::Trouble("its token endpoint has an odd address".to_owned()))?;
    if let Some(proof) = request.headers().get(AUTHORIZATION) {
        let proof = proof.to_str().unwrap_or_default();
        secrets.extend(proof.split(' ').next_back().map(str::to_owned));
    }
    let answer = send(net, request)
        .await
        .map_err(|error| NotGranted::Trouble(error.to_string()))?;
    let host = host_of(endpoint);
    secrets.extend_from_slice(hidden);
    let masker = Masker::default().and(secrets);
    let (status, body) = (answer.status(), answer.body());
    read(status, body, &host, wanted, now_ms, masker)
}

/// Asks to revoke a token (RFC 7009); whether the server took it.
pub(super) async fn revoke(net: &Net, authority: &Authority, token: &Secret, hint: &str) -> bool {
    let Some(endpoint) = &authority.revocation_endpoint else {
        return false;
    };
    let form = vec![("token", token.expose()), ("token_type_hint", hint)];
    let Some(request) = posted(endpoint, &authority.client, form) else {
        return false;
    };
    match send(net, request).await {
        Ok(answer) => answer.status().is_success(),
        Err(error) => {
            tracing::info!(host = host_of(endpoint), %error, "a token could not be revoked; it is forgotten here.");
            false
        }
    }
}

/// Revokes both tokens, the refresh token first: it is what lives long. Whether the server took it.
pub(super) async fn revoke_all(net: &Net, authority: &Authority, tokens: &Tokens) -> bool {
    let refresh = match &tokens.refresh {
        Some(token) => Some(revoke(net, authority, token, "refresh_token").await),
        None => None,
    };
    let access = revoke(net, authority, &tokens.access, "access_token").await;
    // Some servers know refresh tokens only, and the access token ends with them.
    refresh.unwrap_or(access)
}

/// A form with the client's proof of itself (RFC 6749, 2.3.1).
fn posted<'a>(
    endpoint: &Url,
    client: &'a Client,
    mut form: Vec<(&'a str, &'a str)>,
) -> Option<Request<Vec<u8>>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match (client.proof, &client.secret) {
        (Proof::Basic, Some(secret)) => {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let both = format!("{}:{}", encoded(&client.id), encoded(secret.expose()));
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(both)));
        }
        (Proof::Post, Some(secret)) => form.extend([
            ("client_id", client.id.as_str()),
            ("client_secret", secret.expose()),
        ]),
        (Proof::None, _) | (_, None) => form.push(("client_id", &client.id)),
    }
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    request.body(body.into_bytes()).ok()
}

fn read(
    status: StatusCode,
    body: &[u8],
    host: &str,
    wanted: &[String],
    now_ms: i64,
    masker: Masker,
) -> Result<Granted, NotGranted> {
    let odd = || NotGranted::Trouble(format!("{host} answered with status {}", status.as_u16()));
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Err(odd());
    };
    let text = |name: &str| {
        let text = answer.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    if let Some(code) = text("error") {
        // It may repeat what it was sent.
        let words = |text: &str, most| words(&masker.mask_known(text), most);
        let said = match text("error_description") {
            Some(description) => format!("{} ({})", words(description, 300), words(code, 60)),
            None => words(code, 60),
        };
        let passes = matches!(
            code,
            "temporarily_unavailable" | "server_error" | "slow_down"
        );
        if passes || status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(NotGranted::Trouble(format!("{host} says: {said}")));
        }
        return Err(NotGranted::Refused {
            code: code.to_owned(),
            words: said,
        });
    }
    let access = text("access_token").filter(|_| status.is_success());
    let access = access.ok_or_else(odd)?;
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(NotGranted::Refused {
            code: "token_type".to_owned(),
            words: "it gives tokens of a kind that MCP does not use".to_owned(),
        });
    }
    // A token that cannot stand in a header is none.
    if !access.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(odd());
    }
    let seconds = answer.get("expires_in").and_then(|value| match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    });
    // What is shown of the answer holds none of its tokens.
    let given = [Some(access), text("refresh_token")];
    let masker = masker.and(given.into_iter().flatten().map(str::to_owned));
    let scopes = match text("scope") {
        Some(scopes) => scopes
            .split_whitespace()
            .filter(|scope| !masker.is_in(scope))
            .map(|scope| words(scope, 256))
            .take(100)
            .collect(),
        None => wanted.to_vec(),
    };
    Ok(Granted {
        tokens: Tokens {
            access: Secret::from(access.to_owned()),
            refresh: text("refresh_token").map(|token| Secret::from(token.to_owned())),
            received_ms: now_ms,
            expires_ms: seconds
                .filter(|seconds| *seconds > 0)
                .map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000))),
            scopes,
        },
        account: text("id_token")
            .and_then(account)
            .filter(|account| !masker.is_in(account)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, body: &str) -> Result<Granted, NotGranted> {
        let wanted = ["a".to_owned()];
        let status = StatusCode::from_u16(status).unwrap();
        let masker = Masker::default().and(["sent-secret".to_owned()]);
        read(
            status,
            body.as_bytes(),
            "as.example",
            &wanted,
            1_000,
            masker,
        )
    }

    #[test]
    fn no_secret_comes_back_in_what_is_shown() {
        let body =
            r#"{"error":"invalid_sent-secret","error_description":"I got sent-secret\u0021"}"#;
        let Err(NotGranted::Refused { words, .. }) = asked(400, body) else {
            panic!("it was refused");
        };
        assert!(words.starts_with("I got"), "{words}");
        assert!(!words.contains("sent-secret"), "{words}");
        let body = r#"{"access_token":"Access-1","refresh_token":"refresh-1","scope":"b access-1 xrefresh-1x sent-secret"}"#;
        assert_eq!(asked(200, body).ok().unwrap().tokens.scopes, ["b"]);
    }

    #[test]
    fn answers_are_read_leniently() {
        let cases = [
            (
                r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#,
                Some(61_000),
                vec!["a"],
            ),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":"60","scope":"b c"}"#,
                Some(61_000),
                vec!["b", "c"],
            ),
            (r#"{"access_token":"t"}"#, None, vec!["a"]),
            (
                r#"{"access_token":"t","expires_in":0,"scope":""}"#,
                None,
                vec!["a"],
            ),
            (
                r#"{"access_token":"t","expires_in":9223372036854775807}"#,
                Some(i64::MAX),
                vec!["a"],
            ),
        ];
        for (body, expires, scopes) in cases {
            let granted = asked(200, body).ok().unwrap().tokens;
            assert_eq!(granted.expires_ms, expires, "{body}");
            assert_eq!(granted.scopes, scopes, "{body}");
        }
    }

    #[test]
    fn a_refusal_and_trouble_are_told_apart() {
        let refused = [
            (400, r#"{"error":"invalid_grant"}"#),
            (
                200,
                r#"{"error":"bad_verification_code","error_description":"x"}"#,
            ),
            (401, r#"{"error":"invalid_client"}"#),
            (200, r#"{"access_token":"t","token_type":"DPoP"}"#),
        ];
        for (status, body) in refused {
            assert!(
                matches!(asked(status, body), Err(NotGranted::Refused { .. })),
                "{body}"
            );
        }
        let trouble = [
            (503, r#"{"error":"invalid_grant"}"#),
            (429, r#"{"error":"slow_down"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
            (502, "<html>"),
            (200, "<html>"),
            (200, "{}"),
            (200, r#"{"access_token":""}"#),
            (200, "{\"access_token\":\"a\\nb\"}"),
            (404, r#"{"access_token":"t"}"#),
        ];
        for (status, body) in trouble {
            assert!(
                matches!(asked(status, body), Err(NotGranted::Trouble(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn each_proof_of_a_client_is_sent_in_its_own_way() {
        let sent = |proof, secret: Option<&str>| {
            let client = Client {
                id: "a b".to_owned(),
                secret: secret.map(|text| Secret::from(text.to_owned())),
                kind: super::super::ClientKind::Given,
                proof,
                until_ms: None,
            };
            let endpoint = Url::parse("https://as.example/token").unwrap();
            let request = posted(&endpoint, &client, vec![("token", "t")]).unwrap();
            let header = request.headers().get(AUTHORIZATION);
            (
                header.map(|value| value.to_str().unwrap().to_owned()),
                String::from_utf8(request.into_body()).unwrap(),
            )
        };
        let basic = format!("Basic {}", STANDARD.encode("a+b:s%3A"));
        assert_eq!(
            sent(Proof::None, None),
            (None, "token=t&client_id=a+b".to_owned())
        );
        assert_eq!(
            sent(Proof::None, Some("s")),
            (None, "token=t&client_id=a+b".to_owned())
        );
        assert_eq!(
            sent(Proof::Basic, Some("s:")),
            (Some(basic), "token=t".to_owned())
        );
        assert_eq!(
            sent(Proof::Post, Some("s:")),
            (None, "token=t&client_id=a+b&client_secret=s%3A".to_owned())
        );
    }
}
