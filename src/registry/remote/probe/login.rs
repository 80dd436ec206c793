//! What a server that lets nobody in wants to know.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::ACCEPT;
use serde_json::Value;
use url::Url;

use super::super::super::AuthWanted;
use super::super::super::context::Context;
use super::super::Wire;
use super::question::Answer;
use crate::config::{RemoteAuth, RemoteServer};
use crate::net::Redirects;

/// Bounds of a look at metadata.
const METADATA_BYTES: usize = 256 * 1024;
const METADATA_LIMIT: Duration = Duration::from_secs(10);
const METADATA_HOPS: usize = 3;
/// Where it is (RFC 9728, 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Which login an answer of 401 or 403 wants.
pub(super) async fn wanted(
    context: &Arc<Context>,
    server: &RemoteServer,
    wire: &Wire,
    answer: &Answer,
) -> AuthWanted {
    let challenge = answer.challenge.clone();
    let has_key = server
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    match server.auth {
        RemoteAuth::Bearer(_) | RemoteAuth::ApiKey { .. } => return AuthWanted::Refused,
        RemoteAuth::OAuth(_) => return AuthWanted::OAuth { challenge },
        RemoteAuth::None if has_key => return AuthWanted::Refused,
        RemoteAuth::None => {}
    }
    if challenge.as_deref().is_some_and(means_oauth) || has_metadata(context, wire.url()).await {
        AuthWanted::OAuth { challenge }
    } else {
        AuthWanted::Unknown
    }
}

/// A challenge of RFC 6750 or RFC 9728.
fn means_oauth(challenge: &str) -> bool {
    let challenge = challenge.trim_start().to_ascii_lowercase();
    let scheme = challenge.split([' ', ',', '\t']).next();
    scheme == Some("bearer") || challenge.contains("resource_metadata")
}

async fn has_metadata(context: &Context, url: &Url) -> bool {
    for place in places(url) {
        let request = Request::get(place.as_str())
            .header(ACCEPT, "application/json")
            .body(Vec::new());
        let Ok(request) = request else { continue };
        let hops = Redirects::Follow(METADATA_HOPS);
        let fetched = context
            .outside
            .net
            .fetch(request, hops, METADATA_BYTES, METADATA_LIMIT);
        if let Ok(answer) = fetched.await
            && answer.status().is_success()
            && is_metadata(answer.body())
        {
            return true;
        }
    }
    false
}

/// With the path of the address, and without.
fn places(url: &Url) -> Vec<Url> {
    let mut root = url.clone();
    root.set_path(WELL_KNOWN);
    root.set_query(None);
    root.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let mut own = root.clone();
    own.set_path(&format!("{WELL_KNOWN}{path}"));
    if own == root {
        return vec![root];
    }
    vec![own, root]
}

/// Not the page that some sites show for every address.
fn is_metadata(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|value: Value| {
        value["authorization_servers"].is_array() || value["resource"].is_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_tells_a_login_from_a_key() {
        for (challenge, expected) in [
            ("Bearer", true),
            (r#"bearer realm="x""#, true),
            (r#"DPoP resource_metadata="https://a/.well-known/x""#, true),
            ("Bearerish", false),
            (r#"Basic realm="x""#, false),
            ("ApiKey", false),
            ("", false),
        ] {
            assert_eq!(means_oauth(challenge), expected, "{challenge}");
        }
    }

    #[test]
    fn metadata_is_looked_for_in_both_places() {
        for (url, expected) in [
            (
                "https://a.example/mcp/?key=1",
                &[
                    "https://a.example/.well-known/oauth-protected-resource/mcp",
                    "https://a.example/.well-known/oauth-protected-resource",
                ][..],
            ),
            (
                "https://a.example:8443",
                &["https://a.example:8443/.well-known/oauth-protected-resource"],
            ),
        ] {
            let places = places(&Url::parse(url).unwrap());
            let places: Vec<_> = places.iter().map(Url::as_str).collect();
            assert_eq!(places, expected);
        }
    }

    #[test]
    fn a_page_is_no_metadata() {
        for (body, expected) in [
            (r#"{"resource": "https://a/mcp"}"#, true),
            (r#"{"authorization_servers": []}"#, true),
            ("{}", false),
            ("<html>", false),
            ("[]", false),
        ] {
            assert_eq!(is_metadata(body.as_bytes()), expected, "{body}");
        }
    }
}
