//! HTTP+SSE of MCP 2024-11-05: one stream of events that everything comes by, and POSTs to an address that the stream names.
//!
//! The stream is never resumed: its end is the end of the connection, and whoever wants more connects anew and shakes hands
//! again. Nothing is read ahead, so a server that floods waits for whoever takes its messages.

#[cfg(fuzzing)]
mod fuzzing;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use rmcp::RoleClient;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use sse_stream::Sse;
use url::Url;

use super::super::text::one_line;
use super::super::transport::{Noise, id_of_answer, unreadable};
use super::{Ask, EventStream, Wire, WireError, events, media_type, read_body};

#[cfg(fuzzing)]
pub use fuzzing::{Told, events_of};

/// How long the head of the stream is waited for.
const STREAM_LIMIT: Duration = Duration::from_secs(30);
/// Events before that address.
const EARLY_EVENTS: usize = 100;
/// How long the head of a POST's answer is waited for. A server may send it only when the call is done; the call has a
/// deadline of its own.
const POST_LIMIT: Duration = Duration::from_mins(2);
/// The answer to a POST says nothing; it is read so far and so long that its connection can be used again.
const ANSWER_BYTES: usize = 16 * 1024;
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The two directions.
pub(in crate::registry) struct SseTransport {
    wire: Arc<Wire>,
    events: Option<EventStream>,
    /// Where the stream was opened; what it names is relative to it.
    base: Url,
    /// Where messages go; a server may name another place later. A std lock: held for a moment, never over an await.
    endpoint: Arc<RwLock<Url>>,
    /// Events that are no messages; the rest is counted by whoever watches this transport.
    noise: Noise,
}

/// Opens the stream and waits for the address that messages go to; for each at most `limit`, and not too long.
pub(in crate::registry) async fn connect(
    wire: &Arc<Wire>,
    limit: Duration,
) -> Result<SseTransport, WireError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let response = wire
        .send(Ask {
            method: Method::GET,
            url: None,
            headers,
            body: Vec::new(),
            what: "stream",
            limit: STREAM_LIMIT.min(limit),
            harmless: true,
            farewell: false,
        })
        .await?;
    if !response.status().is_success() {
        return Err(Wire::status_error(&response));
    }
    let kind = media_type(&response);
    if kind != "text/event-stream" {
        return Err(wire.hushed(WireError::WrongKind(named(&kind))));
    }
    let base = response.url().clone();
    let mut events = events(response, wire, None);
    let waiting = first_endpoint(&mut events, &base, wire.url());
    let endpoint = tokio::time::timeout(wire.options().endpoint_limit.min(limit), waiting)
        .await
        .map_err(|_| {
            WireError::Malformed(
                "its stream does not say where messages go (no `endpoint` event)".to_owned(),
            )
        })?
        .map_err(|error| wire.hushed(error))?;
    Ok(SseTransport {
        wire: wire.clone(),
        events: Some(events),
        base,
        endpoint: Arc::new(RwLock::new(endpoint)),
        noise: Noise::until(wire.options().flood_limit),
    })
}

impl Transport<RoleClient> for SseTransport {
    type Error = WireError;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), WireError>> + Send + 'static {
        let wire = self.wire.clone();
        let endpoint = self
            .endpoint
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        async move { post(&wire, &endpoint, &item).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            if self.noise.pause().await.is_err() {
                self.events = None;
            }
            let event = self.events.as_mut()?.next().await;
            let taken = match event {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => Err(stream_error(error)),
                None => Err(WireError::Malformed("its stream ended".to_owned())),
            };
            match taken {
                Ok(Some(message)) => return Some(*message),
                Ok(None) => self.noise.count(1.0),
                Err(error) => {
                    self.wire.failed(&error);
                    self.events = None;
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), WireError> {
        self.events = None;
        Ok(())
    }
}

impl SseTransport {
    /// The message in an event, if it is one; an error ends the connection.
    fn take(&self, event: Sse) -> Result<Option<Box<RxJsonRpcMessage<RoleClient>>>, WireError> {
        let data = event.data.unwrap_or_default();
        match event.event.as_deref().unwrap_or_default() {
            "" | "message" => Ok(read(&data).map(Box::new)),
            "endpoint" => {
                let url = endpoint_of(&data, &self.base, self.wire.url())
                    .map_err(|error| self.wire.hushed(error))?;
                *self
                    .endpoint
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = url;
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

async fn post(
    wire: &Wire,
    endpoint: &Url,
    message: &TxJsonRpcMessage<RoleClient>,
) -> Result<(), WireError> {
    let body = serde_json::to_vec(message)
        .map_err(|error| WireError::Malformed(one_line(&error.to_string(), 200)))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = wire
        .send(Ask {
            method: Method::POST,
            url: Some(endpoint),
            headers,
            body,
            what: what(message),
            limit: POST_LIMIT,
            harmless: false,
            farewell: false,
        })
        .await?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::NOT_FOUND => return Err(WireError::SessionLost),
        _ => return Err(Wire::status_error(&response)),
    }
    let _ = tokio::time::timeout(ANSWER_LIMIT, read_body(response, ANSWER_BYTES)).await;
    Ok(())
}

/// What a message is, for the log.
fn what(message: &TxJsonRpcMessage<RoleClient>) -> &str {
    match message {
        JsonRpcMessage::Request(request) => request.request.method(),
        JsonRpcMessage::Notification(_) => "notification",
        JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => "answer",
    }
}

/// The address in the first `endpoint` event.
async fn first_endpoint(
    events: &mut EventStream,
    base: &Url,
    server: &Url,
) -> Result<Url, WireError> {
    let broken = |what: String| WireError::Malformed(what);
    for _ in 0..EARLY_EVENTS {
        match events.next().await {
            Some(Ok(event)) if event.event.as_deref() == Some("endpoint") => {
                return endpoint_of(&event.data.unwrap_or_default(), base, server);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(stream_error(error)),
            None => {
                return Err(broken(
                    "its stream ended before it said where messages go".to_owned(),
                ));
            }
        }
    }
    Err(broken(
        "its stream says all sorts of things, but not where messages go".to_owned(),
    ))
}

/// Where messages go: within the origin of the server, for they carry its key.
fn endpoint_of(data: &str, base: &Url, server: &Url) -> Result<Url, WireError> {
    let url = base.join(data.trim()).map_err(|_| {
        WireError::Malformed("the address that its stream names is no address".to_owned())
    })?;
    if url.origin() != server.origin() {
        return Err(WireError::Redirect {
            to: one_line(&url.origin().ascii_serialization(), 200),
        });
    }
    Ok(url)
}

fn stream_error(error: sse_stream::Error) -> WireError {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<WireError>() {
            Ok(error) => *error,
            Err(_) => WireError::Malformed("its stream broke off".to_owned()),
        },
        _ => WireError::Malformed("its stream is not one of events".to_owned()),
    }
}

/// What a media type is, in words.
pub(super) fn named(kind: &str) -> String {
    match kind {
        "" => "something without a content type".to_owned(),
        "text/html" => "a web page".to_owned(),
        other => format!("`{}`", one_line(other, 80)),
    }
}

/// A message, or the answer that stands for one that cannot be read; else its request would wait for its deadline.
fn read(data: &str) -> Option<RxJsonRpcMessage<RoleClient>> {
    if let Ok(message) = serde_json::from_str(data) {
        return Some(message);
    }
    let is_object = data.trim_start().starts_with('{');
    let id = is_object.then(|| id_of_answer(data.as_bytes())).flatten()?;
    Some(unreadable(id, "the answer is not in the form of JSON-RPC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_within_the_origin_alone() {
        let base = Url::parse("https://mcp.example.com/a/sse?x=1").unwrap();
        for (data, expected) in [
            (
                "/messages?id=1",
                Ok("https://mcp.example.com/messages?id=1"),
            ),
            ("messages", Ok("https://mcp.example.com/a/messages")),
            ("?id=2", Ok("https://mcp.example.com/a/sse?id=2")),
            (
                " https://mcp.example.com:443/m ",
                Ok("https://mcp.example.com/m"),
            ),
            (
                "http://mcp.example.com/m",
                Err("it sends on to http://mcp.example.com"),
            ),
            (
                "//evil.example/m",
                Err("it sends on to https://evil.example"),
            ),
            (
                "https://mcp.example.com:444/m",
                Err("it sends on to https://mcp.example.com:444"),
            ),
            ("javascript:alert(1)", Err("it sends on to null")),
            (
                "https://[",
                Err("its answer makes no sense: the address that its stream names is no address"),
            ),
        ] {
            let found = endpoint_of(data, &base, &base);
            let found = found.as_ref().map(Url::as_str).map_err(ToString::to_string);
            assert_eq!(found, expected.map_err(str::to_owned), "{data}");
        }
    }

    #[test]
    fn what_cannot_be_read_answers_its_request() {
        let seen = |data: &str| {
            read(data).map(|message| match message {
                JsonRpcMessage::Error(error) => {
                    format!(
                        "{:?} {}",
                        error.id.map(|id| id.to_string()),
                        error.error.code.0
                    )
                }
                JsonRpcMessage::Response(_) => "response".to_owned(),
                JsonRpcMessage::Notification(_) => "notification".to_owned(),
                JsonRpcMessage::Request(_) => "request".to_owned(),
            })
        };
        for (data, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("response")),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
                Some("notification"),
            ),
            (r#"{"id":1,"result":{}}"#, Some("Some(\"1\") -39999")),
            (r#"{"id":"a","result":{}}"#, Some("Some(\"a\") -39999")),
            (r#"{"id":1,"method":"x","params":3}"#, None),
            (r#"{"id":{}}"#, None),
            ("[1]", None),
            ("hello", None),
        ] {
            assert_eq!(seen(data).as_deref(), expected, "{data}");
        }
    }
}
