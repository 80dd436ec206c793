//! Streamable HTTP: rmcp's transport with requests that go through our [`Wire`].
//!
//! What rmcp leaves open is bounded here: every wait has a limit, every body and event a size, a stream that breaks is opened
//! again at a pace of ours and not of the server's, and an answer that cannot be read answers its request.

mod answers;
mod posted;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::SseRetryPolicy;
use rmcp::transport::common::http_header::{HEADER_LAST_EVENT_ID, HEADER_SESSION_ID};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};

use super::pace::{Pace, jittered};
use super::{
    Ask, EVENT_BYTES, EventStream, RemoteOptions, Wire, WireError, events, media_type, read_body,
};
use crate::registry::transport::{Events, unreadable};

use answers::{answer, answers};
use posted::Posted;
pub(super) use session::Session;
use session::farewell;

/// What is read of a refusal, and the characters of it that are shown.
const REFUSAL_BYTES: usize = 64 * 1024;
const NOTE_CHARS: usize = 200;
/// Requests under way at once; more wait.
const REQUESTS: usize = 64;
/// Characters of a session's id: visible ASCII, as the specification has it.
const SESSION_CHARS: usize = 1024;

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

type Failed = StreamableHttpError<WireError>;

/// How long is waited for the heads of answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// To a call of a tool; it ends by its own deadline before.
    pub(super) call: Duration,
    /// To anything else.
    pub(super) other: Duration,
}

/// The transport; nothing is sent before its first message. The session can be ended by the other part.
pub(super) fn transport(
    wire: &Arc<Wire>,
    watching: &Arc<Events>,
    session: &Session,
    waits: Waits,
) -> StreamableHttpClientTransport<HttpClient> {
    let client = HttpClient {
        wire: wire.clone(),
        watching: watching.clone(),
        waits,
        session: session.clone(),
        paces: Arc::new(Paces {
            own: Pace::new(wire.options()),
            resumed: Pace::new(wire.options()),
        }),
    };
    let mut config = StreamableHttpClientTransportConfig::with_uri(wire.url().as_str())
        .reinit_on_expired_session(false)
        .max_sse_event_size(EVENT_BYTES)
        .max_concurrent_requests(REQUESTS);
    config.retry_config = Arc::new(Again(wire.options().clone()));
    StreamableHttpClientTransport::with_client(client, config)
}

/// When a stream that broke is opened again: rmcp's part of it. Ours is in [`HttpClient::get_stream`].
#[derive(Debug)]
struct Again(RemoteOptions);

impl SseRetryPolicy for Again {
    fn retry(&self, times: usize) -> Option<Duration> {
        let wait = self.0.reopen_backoff.saturating_mul(1 << times.min(6));
        Some(jittered(wait.min(self.0.reopen_cap)))
    }
}

/// rmcp's requests on our wire.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    wire: Arc<Wire>,
    watching: Arc<Events>,
    waits: Waits,
    session: Session,
    paces: Arc<Paces>,
}

/// One for the server's own stream and one for answers that are taken up again.
#[derive(Debug)]
struct Paces {
    own: Pace,
    resumed: Pace,
}

impl StreamableHttpClient for HttpClient {
    type Error = WireError;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let posted = Posted::new(&message);
        let posting = self.post(&posted, &message, session_id.as_deref(), custom_headers);
        if !posted.discovers {
            return posting.await.map_err(|error| self.failed(error));
        }
        let limit = self.wire.options().discover_limit;
        // In a box: it comes once for each connection.
        match tokio::time::timeout(limit, Box::pin(posting)).await {
            Ok(Ok(response)) => Ok(Box::pin(posted.discovered(response, limit)).await),
            // These say nothing of the revision.
            Ok(Err(
                error @ (WireError::Net(_)
                | WireError::Redirect { .. }
                | WireError::NeedsLogin { .. }
                | WireError::MoreRights { .. }
                | WireError::Later(_)
                | WireError::Closed
                | WireError::Status {
                    status: 403 | 429 | 503,
                    ..
                }),
            )) => Err(self.failed(error)),
            Ok(Err(_)) | Err(_) => Ok(posted.is_older()),
        }
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        // Whoever takes it tells the server.
        if self.session.take().is_some() {
            let headers = custom_headers.into_iter().collect();
            farewell(&self.wire, &session_id, headers).await;
        }
        Ok(())
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<EventStream, Failed> {
        let pace = match last_event_id {
            Some(_) => &self.paces.resumed,
            None => &self.paces.own,
        };
        let is_first = pace.wait(self.wire.closed()).await;
        let mut headers: HeaderMap = custom_headers.into_iter().collect();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENTS));
        set(&mut headers, HEADER_SESSION_ID, session_id.as_deref());
        set(&mut headers, HEADER_LAST_EVENT_ID, last_event_id.as_deref());
        let sent = self.wire.send(Ask {
            method: Method::GET,
            url: None,
            headers,
            body: Vec::new(),
            what: "stream",
            limit: self.waits.other,
            harmless: true,
            farewell: false,
        });
        match sent.await {
            Ok(response) if response.status().is_success() && media_type(&response) == EVENTS => {
                let stream = events(response, &self.wire, None);
                Ok(answers(&self.wire, stream, None))
            }
            // No stream there, which is allowed. An end of the session shows at the next request.
            Ok(response) if !response.status().is_server_error() => {
                if !is_first {
                    self.watching.suspected.notify_one();
                }
                Err(StreamableHttpError::ServerDoesNotSupportSse)
            }
            other => {
                self.watching.suspected.notify_one();
                if is_first {
                    return Err(StreamableHttpError::ServerDoesNotSupportSse);
                }
                Err(match other {
                    Ok(response) => Failed::Client(Wire::status_error(&response)),
                    Err(error) => Failed::Client(error),
                })
            }
        }
    }
}

impl HttpClient {
    fn failed(&self, error: WireError) -> Failed {
        self.wire.failed(&error);
        Failed::Client(error)
    }

    async fn post(
        &self,
        posted: &Posted<'_>,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, WireError> {
        // Room for ours besides, so that it need not grow.
        let mut headers = HeaderMap::with_capacity(custom_headers.len() + 4);
        headers.extend(custom_headers);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        set(&mut headers, HEADER_SESSION_ID, session);
        let body =
            serde_json::to_vec(message).map_err(|error| WireError::Malformed(error.to_string()))?;
        let ask = Ask {
            method: Method::POST,
            url: None,
            headers,
            body,
            what: posted.what,
            limit: if posted.what == "tools/call" {
                self.waits.call
            } else {
                self.waits.other
            },
            harmless: posted.harmless,
            farewell: false,
        };
        let response = self.wire.send(ask).await?;
        let status = response.status();
        if !status.is_success() {
            return Box::pin(self.refused(posted, response, session.is_some())).await;
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let given = response
            .headers()
            .get(HEADER_SESSION_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| id.len() <= SESSION_CHARS)
            .map(str::to_owned);
        if let Some(session) = given.as_deref().filter(|_| posted.begins) {
            self.session.begun(session);
        }
        let Some(id) = &posted.id else {
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        match media_type(&response).as_str() {
            EVENTS => {
                // Nobody slows down what comes before a handshake is over.
                let most = (posted.begins || posted.discovers).then_some(EVENT_BYTES);
                let stream = events(response, &self.wire, most);
                let stream = answers(&self.wire, stream, Some(id.clone()));
                Ok(StreamableHttpPostResponse::Sse(stream, given))
            }
            JSON => {
                let body = match self.wire.or_closed(read_body(response, EVENT_BYTES)).await {
                    Ok(body) => body,
                    Err(WireError::TooLarge { .. }) => {
                        let answer = unreadable(id.clone(), "the answer is larger than 4 MiB");
                        return Ok(StreamableHttpPostResponse::Json(answer, given));
                    }
                    Err(error) => return Err(error),
                };
                let answer = answer(id, &body);
                Ok(StreamableHttpPostResponse::Json(answer, given))
            }
            "" => Err(WireError::WrongKind(
                "an answer of no media type".to_owned(),
            )),
            other => {
                let kind = format!("`{}`", self.wire.masked(other, 80));
                Err(self.wire.hushed(WireError::WrongKind(kind)))
            }
        }
    }

    /// A status that is no success: an error of JSON-RPC in it is the answer, a forgotten session is told by its status.
    async fn refused(
        &self,
        posted: &Posted<'_>,
        response: reqwest::Response,
        has_session: bool,
    ) -> Result<StreamableHttpPostResponse, WireError> {
        let status = response.status();
        let mut error = Wire::status_error(&response);
        let kind = media_type(&response);
        if status == StatusCode::NOT_FOUND && has_session {
            return Err(WireError::SessionLost);
        }
        let body = match self
            .wire
            .or_closed(read_body(response, REFUSAL_BYTES))
            .await
        {
            Ok(body) => body,
            Err(WireError::Closed) => return Err(WireError::Closed),
            Err(_) => return Err(error),
        };
        // Before the specification settled on 404, servers said so in words.
        if status == StatusCode::BAD_REQUEST && has_session && speaks_of_session(&body) {
            return Err(WireError::SessionLost);
        }
        let is_answer = status != StatusCode::TOO_MANY_REQUESTS
            && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_answer
            && let Some(id) = &posted.id
            && let Ok(JsonRpcMessage::Error(answer)) =
                serde_json::from_slice::<ServerJsonRpcMessage>(&body)
        {
            // It may have no id, or one of the server's own making: it is the answer to what was posted.
            let answer = ServerJsonRpcMessage::error(answer.error, Some(id.clone()));
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        if let WireError::Status { note, .. } = &mut error {
            let text = String::from_utf8_lossy(&body);
            if kind == "text/html" {
                " (a web page)".clone_into(note);
            } else if !text.trim().is_empty() {
                *note = format!(" ({})", self.wire.masked(&text, NOTE_CHARS));
            }
        }
        Err(error)
    }
}

fn speaks_of_session(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(2000)]);
    text.to_ascii_lowercase().contains("session")
}

fn set(headers: &mut HeaderMap, name: &'static str, value: Option<&str>) {
    let value = value.and_then(|value| HeaderValue::from_str(value).ok());
    if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
        headers.insert(name, value);
    }
}
