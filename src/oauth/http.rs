//! Requests of this room: every one through [`Net::fetch`], with a deadline and a bounded answer, and words of strangers
//! made fit to be shown.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use url::Url;

use crate::net::{Net, NetError, Redirects};

/// One request of a login ends within this.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// What the endpoint itself gets when it is asked for its challenge: it may be a stream that never ends.
const ASKING: Duration = Duration::from_secs(5);

/// Metadata and token answers are a few kilobytes.
const LIMIT: usize = 256 * 1024;

/// Sends one request; a redirect is an answer like any other.
pub(super) async fn send(
    net: &Net,
    request: Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, NetError> {
    net.fetch(request, Redirects::None, LIMIT, DEADLINE).await
}

/// The client that rmcp's discovery asks with. It follows redirects itself, within the origin.
pub(super) struct Asking {
    net: Net,
    /// The server's address; what it answers to a request without a token is known already or of little worth.
    endpoint: Url,
    challenge: Option<HeaderValue>,
    /// Why the last request failed: rmcp keeps its errors to itself.
    failure: Mutex<Option<NetError>>,
    /// Something was published that says who guards the server.
    named: AtomicBool,
}

impl Asking {
    pub(super) fn new(net: Net, endpoint: Url, challenge: Option<&str>) -> Self {
        Self {
            net,
            endpoint,
            challenge: challenge.and_then(|text| HeaderValue::from_str(text).ok()),
            failure: Mutex::default(),
            named: AtomicBool::new(false),
        }
    }

    /// Why the last request that failed did.
    pub(super) fn failure(&self) -> Option<NetError> {
        self.failure.lock().ok()?.take()
    }

    /// Whether something was found that may say who guards the server: anything but an authorization server's metadata.
    pub(super) fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// rmcp asks the endpoint for its challenge by a GET. Where the challenge is at hand it is given; else a failure
    /// says nothing: the well-known places are asked next.
    async fn endpoint(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let mut known = Response::new(Vec::new());
        if let Some(challenge) = &self.challenge {
            *known.status_mut() = StatusCode::UNAUTHORIZED;
            known
                .headers_mut()
                .insert(WWW_AUTHENTICATE, challenge.clone());
            return known;
        }
        let asked = self.net.fetch(request, Redirects::None, LIMIT, ASKING);
        match asked.await {
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => answer,
            Ok(_) | Err(_) => {
                *known.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                known
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("POST"));
                known
            }
        }
    }
}

impl OAuthHttpClient for Asking {
    fn execute(&self, asked: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let request = asked.request;
            if request.method() == Method::GET && *request.uri() == *self.endpoint.as_str() {
                return Ok(self.endpoint(request).await);
            }
            let path = request.uri().path();
            let is_servers = ["oauth-authorization-server", "openid-configuration"]
                .iter()
                .any(|place| path.contains(place));
            match send(&self.net, request).await {
                Ok(answer) => {
                    if !is_servers && answer.status() == StatusCode::OK {
                        self.named.store(true, Ordering::Relaxed);
                    }
                    Ok(answer)
                }
                Err(error) => {
                    if let Ok(mut failure) = self.failure.lock() {
                        *failure = Some(error.clone());
                    }
                    Err(error.into())
                }
            }
        })
    }
}

/// A host for people: with its port where that is an unusual one.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A stranger's words in one line of at most `most` characters, without what hides or turns text about.
pub(super) fn words(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (count, word) in text.split_whitespace().enumerate() {
        if count > 0 {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| is_plain(*c)));
        if line.len() > most * 4 {
            break;
        }
    }
    if line.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

fn is_plain(c: char) -> bool {
    let hides = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_are_one_bounded_line_without_tricks() {
        let cases = [
            ("ok", 10, "ok"),
            ("two\r\nlines\tand  more", 30, "two lines and more"),
            ("a\u{202e}b\u{200b}c\u{1b}[31m", 30, "abc[31m"),
            ("abcdef", 4, "abc…"),
            ("ääääää", 4, "äää…"),
        ];
        for (text, most, expected) in cases {
            assert_eq!(words(text, most), expected);
        }
        assert_eq!(words(&"x ".repeat(1_000_000), 20).chars().count(), 20);
    }

    #[test]
    fn hosts_show_unusual_ports() {
        let cases = [
            ("https://a.example/x", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ];
        for (url, expected) in cases {
            assert_eq!(host_of(&Url::parse(url).unwrap()), expected);
        }
    }
}
