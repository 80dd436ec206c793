//! Which request gets which page.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::oauth::{Arrival, OAuth};

use super::Behind;
use super::pages::{self, Page};

/// The router. There is one handler: a proxy may have left the path of the public URL on a request or not, and both are
/// the same request.
pub(super) fn routes(oauth: OAuth, entry: Option<Behind>) -> Router {
    Router::new().fallback(answer).with_state((oauth, entry))
}

/// What there is.
enum Place<'a> {
    Health,
    Document,
    Callback,
    Start(&'a str),
    Secret(&'a str),
}

async fn answer(
    State((oauth, entry)): State<(OAuth, Option<Behind>)>,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path();
    let stripped = || path.strip_prefix(oauth.base_path());
    let Some(place) = place(path).or_else(|| place(stripped()?)) else {
        return pages::nothing_here().into_response();
    };
    if let Place::Secret(nonce) = place {
        let nonce = nonce.to_owned();
        return match entry {
            Some(Behind(entry)) => {
                let own = is_own_form(request.headers(), oauth.origin().as_deref());
                super::entry::answer(&*entry, &nonce, request, own).await
            }
            None => pages::nothing_here().into_response(),
        };
    }
    let headers = request.headers();
    let (is_get, is_head) = (
        request.method() == Method::GET,
        request.method() == Method::HEAD,
    );
    match place {
        Place::Health if is_get || is_head => plain("text/plain; charset=utf-8", "ok\n".to_owned()),
        Place::Document if is_get || is_head => match oauth.client_document() {
            Some(document) => plain("application/json", document.to_string()),
            None => pages::nothing_here().into_response(),
        },
        // Not HEAD: the look ahead of a link preview must not use the state up.
        Place::Callback if is_get => {
            let query = request.uri().query().unwrap_or_default();
            let cookies = cookies(headers);
            pages::arrival(&oauth.arrive(query, cookies.as_deref()).await).into_response()
        }
        Place::Start(nonce)
            if request.method() == Method::POST
                && is_own_form(headers, oauth.origin().as_deref()) =>
        {
            leave(&oauth, nonce).await
        }
        // Also a POST that another site sent: the person sees first what they are asked.
        Place::Start(nonce) if is_get || is_head || request.method() == Method::POST => {
            start(&oauth, nonce).await.into_response()
        }
        Place::Health | Place::Document | Place::Callback | Place::Start(_) | Place::Secret(_) => {
            let mut response = pages::nothing_here().into_response();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response
        }
    }
}

fn place(path: &str) -> Option<Place<'_>> {
    match path {
        "/healthz" => Some(Place::Health),
        "/oauth/client.json" => Some(Place::Document),
        "/oauth/callback" => Some(Place::Callback),
        other => {
            let start = other.strip_prefix("/oauth/start/").map(Place::Start);
            start.or_else(|| other.strip_prefix("/secret/").map(Place::Secret))
        }
    }
}

async fn start(oauth: &OAuth, nonce: &str) -> Page {
    match oauth.start_page(nonce).await {
        Some(start) => pages::start(&start),
        None => pages::arrival(&Arrival::Unknown),
    }
}

async fn leave(oauth: &OAuth, nonce: &str) -> Response<Body> {
    let Some((address, cookie)) = oauth.leave(nonce).await else {
        return pages::arrival(&Arrival::Unknown).into_response();
    };
    let (Ok(address), Ok(cookie)) = (
        HeaderValue::from_str(address.as_str()),
        HeaderValue::from_str(&cookie),
    ) else {
        return pages::arrival(&Arrival::Unknown).into_response();
    };
    let mut response = pages::safe(Response::new(Body::empty()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, address);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// Whether a form was sent from our own page, at this origin. Browsers say where it is from, in one header or both (Fetch
/// Metadata, RFC 6454). What says nothing of it is no browser of today, and whoever sends that knows the address.
pub(super) fn is_own_form(headers: &HeaderMap, own: Option<&str>) -> bool {
    let said = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let is_near = said("sec-fetch-site").all(|site| site == b"same-origin");
    let is_told = headers.contains_key("sec-fetch-site");
    let mut origins = said("origin");
    is_near
        && origins.all(|origin| match origin {
            // A browser that keeps it for itself still says whether it is ours.
            b"null" => is_told,
            origin => own.is_some_and(|own| origin.eq_ignore_ascii_case(own.as_bytes())),
        })
}

/// All cookies in one line (RFC 9113, 8.2.3 allows several).
fn cookies(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn plain(kind: &'static str, text: String) -> Response<Body> {
    let mut response = pages::safe(Response::new(Body::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d25_a_form_of_another_site_is_not_taken() {
        const OWN: &str = "https://bot.example";
        for (headers, expected) in [
            (&[][..], true),
            (&[("origin", OWN)], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", OWN)], true),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "http://bot.example")], false),
            (&[("origin", "https://bot.example.evil.example")], false),
            (&[("origin", "https://bot.example:8443")], false),
            (&[("origin", "null")], false),
            (&[("origin", OWN), ("origin", "http://evil.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", OWN)], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "http://evil.example"),
                ],
                false,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_own_form(&map, Some(OWN)), expected, "{headers:?}");
        }
        let far = HeaderMap::from_iter([(
            axum::http::header::ORIGIN,
            HeaderValue::from_static("http://evil.example"),
        )]);
        assert!(!is_own_form(&far, None), "without a public URL");
    }
}
