//! The page where somebody enters a secret, so that it never passes the chat. The address works once and not for long; who
//! asked for it, and what becomes of the value, is the affair of whoever is behind [`Entry`].

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::pages;
use crate::secret::Secret;

/// Encoded, 16 KiB of anything fit in.
const MOST_BYTES: usize = 64 * 1024;

/// Where entered secrets go.
#[async_trait::async_trait]
pub trait Entry: Send + Sync {
    /// What is asked for at this address (`the token for linear`); `None` where it is over or never was. A look changes
    /// nothing.
    async fn asked(&self, nonce: &str) -> Option<String>;
    /// Takes the value; with that the address is over.
    async fn given(&self, nonce: &str, value: Secret) -> Entered;
}

/// What became of an entered secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// It is on its way to the chat that asked for it.
    Taken,
    /// It cannot be one, for this reason; the address still works.
    Unfit(String),
    /// The address is over, or never was one.
    Over,
}

/// Answers a request for the page; what is sent is taken only from the page itself (`is_own`).
pub(super) async fn answer(
    entry: &dyn Entry,
    nonce: &str,
    request: Request,
    is_own: bool,
) -> Response<Body> {
    let Some(what) = entry.asked(nonce).await else {
        return pages::entry_over().into_response();
    };
    if request.method() != Method::POST {
        return pages::entry(&what, None).into_response();
    }
    if !is_own || !is_form(request.headers()) {
        return pages::entry(&what, None).into_response();
    }
    let Ok(body) = to_bytes(request.into_body(), MOST_BYTES).await else {
        let mut response = pages::entry(&what, Some("That is too long to be one.")).into_response();
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let mut fields = form_urlencoded::parse(&body);
    let value = fields.find(|(name, _)| name == "value");
    let value = Zeroizing::new(
        value
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default(),
    );
    match entry
        .given(nonce, Secret::from(value.as_str().to_owned()))
        .await
    {
        Entered::Taken => pages::entry_taken(&what).into_response(),
        Entered::Unfit(why) => pages::entry(&what, Some(&why)).into_response(),
        Entered::Over => pages::entry_over().into_response(),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(axum::http::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}
