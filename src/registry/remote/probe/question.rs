//! One question of the probe, and whatever comes back, bounded.

use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rmcp::model::ProtocolVersion;
use serde_json::{Value, json};

use super::super::{Ask, EVENT_BYTES, Wire, WireError, events, media_type, read_body};
use crate::net::NetError;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const RPC_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Events that are looked at for the answer.
const EVENTS: usize = 100;
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// `server/discover`, of the newest revision.
    Discover,
    /// `initialize`, of the revisions before.
    Initialize,
    /// The stream of 2024-11-05; not asked here.
    Stream,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) question: Question,
    /// The HTTP status; none where there was no answer.
    pub(super) status: Option<u16>,
    /// The session that it opened.
    pub(super) session: Option<HeaderValue>,
    /// The `WWW-Authenticate` header.
    pub(super) challenge: Option<String>,
    /// The message in it.
    pub(super) message: Result<Value, WireError>,
}

/// Asks, and reads the answer; all of it within the limit.
pub(super) async fn ask(wire: &Wire, question: Question, limit: Duration) -> Answer {
    let until = tokio::time::Instant::now() + limit;
    let response = match wire.send(request(question, limit)).await {
        Ok(response) => response,
        Err(error) => return Answer::failed(question, error),
    };
    let status = response.status();
    let mut answer = Answer {
        question,
        status: Some(status.as_u16()),
        session: response.headers().get(SESSION).cloned(),
        challenge: wire.challenge(&response),
        message: Err(Wire::status_error(&response)),
    };
    let reading = tokio::time::timeout_at(until, message_of(wire, response));
    let read = reading.await.unwrap_or_else(|_| {
        Err(WireError::Malformed(
            "its answer begins and does not come to an end".to_owned(),
        ))
    });
    // The body of an error is of interest only where it is a message.
    if status.is_success() || read.is_ok() {
        answer.message = read;
    }
    answer
}

/// Ends a session that a question opened.
pub(super) async fn end_session(wire: &Wire, session: HeaderValue) {
    let mut headers = HeaderMap::new();
    headers.insert(SESSION, session);
    let version = HeaderValue::from_static(newest_with_handshake());
    headers.insert(VERSION, version);
    let goodbye = Ask {
        method: Method::DELETE,
        url: None,
        headers,
        body: Vec::new(),
        what: "end of session",
        limit: GOODBYE_LIMIT,
        harmless: false,
        farewell: true,
    };
    let _ = wire.send(goodbye).await;
}

impl Answer {
    /// There was none, or none that may be read.
    pub(super) fn failed(question: Question, error: WireError) -> Self {
        let (status, challenge) = match &error {
            WireError::NeedsLogin { challenge, .. } => (Some(401), challenge.clone()),
            WireError::MoreRights { challenge, .. } => (Some(403), Some(challenge.clone())),
            WireError::Status { status, .. } => (Some(*status), None),
            _ => (None, None),
        };
        Self {
            question,
            status,
            session: None,
            challenge,
            message: Err(error),
        }
    }

    pub(super) fn timed_out(&self) -> bool {
        matches!(self.message, Err(WireError::Net(NetError::TimedOut { .. })))
    }

    /// It wants to know who asks.
    pub(super) fn is_guarded(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }

    /// The specification has a client ask for the stream of old at these.
    pub(super) fn asks_for_a_stream(&self) -> bool {
        matches!(self.status, Some(400 | 404 | 405))
    }

    /// What it speaks, where it answered the question.
    pub(super) fn understood(&self) -> Option<String> {
        let message = self.message.as_ref().ok()?;
        let result = || message.get("result");
        let versions = match self.question {
            Question::Discover => match named_instead(message) {
                Some(versions) => versions,
                None => result()?.get("supportedVersions")?.as_array()?.clone(),
            },
            Question::Initialize => vec![result()?.get("protocolVersion")?.clone()],
            Question::Stream => return None,
        };
        // A revision that we do not know is judged at the handshake, where the words for it are.
        let known = ProtocolVersion::KNOWN_VERSIONS
            .iter()
            .map(ProtocolVersion::as_str)
            .filter(|known| versions.iter().any(|version| version == known))
            .max();
        match (self.question, known) {
            (Question::Discover, None) => None,
            (_, Some(version)) => Some(format!("streamable HTTP, {version}")),
            (_, None) => Some("streamable HTTP".to_owned()),
        }
    }

    /// The words of an error in the form of JSON-RPC.
    pub(super) fn error(&self) -> Option<&str> {
        let error = self.message.as_ref().ok()?.get("error")?;
        error.get("message")?.as_str()
    }
}

fn request(question: Question, limit: Duration) -> Ask<'static> {
    let (method, version, params) = match question {
        Question::Discover => {
            let version = ProtocolVersion::LATEST.as_str();
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientInfo": us(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            (
                "server/discover",
                Some(version.to_owned()),
                json!({"_meta": meta}),
            )
        }
        Question::Initialize | Question::Stream => (
            "initialize",
            None,
            json!({
                "protocolVersion": newest_with_handshake(),
                "capabilities": {},
                "clientInfo": us(),
            }),
        ),
    };
    let mut headers = HeaderMap::new();
    let accepted = "application/json, text/event-stream";
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(version) = version.and_then(|version| HeaderValue::from_str(&version).ok()) {
        headers.insert(VERSION, version);
        headers.insert(RPC_METHOD, HeaderValue::from_static(method));
    }
    let message = json!({"jsonrpc": "2.0", "id": ID, "method": method, "params": params});
    Ask {
        method: Method::POST,
        url: None,
        headers,
        body: message.to_string().into_bytes(),
        what: method,
        limit,
        harmless: true,
        farewell: false,
    }
}

const ID: u32 = 1;

/// The revisions that a server names which refuses the one that it was asked in (2026-07-28, `-32022`). It speaks so all
/// the same, and the handshake agrees on one.
fn named_instead(message: &Value) -> Option<Vec<Value>> {
    let error = message
        .get("error")
        .filter(|error| error["code"] == -32022)?;
    error["data"]["supported"].as_array().cloned()
}

fn us() -> Value {
    json!({"name": "switchboard", "version": env!("CARGO_PKG_VERSION")})
}

fn newest_with_handshake() -> &'static str {
    "2025-11-25"
}

/// The message in an answer, as JSON or as an event.
async fn message_of(wire: &Wire, response: reqwest::Response) -> Result<Value, WireError> {
    match media_type(&response).as_str() {
        "application/json" => {
            let body = read_body(response, EVENT_BYTES).await?;
            serde_json::from_slice(&body)
                .map_err(|_| WireError::Malformed("it is no JSON, although it says so".to_owned()))
        }
        "text/event-stream" => {
            let mut events = events(response, wire, Some(EVENT_BYTES)).take(EVENTS);
            while let Some(Ok(event)) = events.next().await {
                let data = event.data.unwrap_or_default();
                let message: Option<Value> = serde_json::from_str(&data).ok();
                if let Some(message) = message.filter(|message| message["id"] == ID) {
                    return Ok(message);
                }
            }
            Err(WireError::Malformed(
                "its stream ends without an answer".to_owned(),
            ))
        }
        other => Err(wire.hushed(WireError::WrongKind(super::super::sse::named(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_by_what_it_says() {
        for (question, message, expected) in [
            (
                Question::Discover,
                json!({"result": {"supportedVersions": ["2026-07-28", "2099-01-01"]}}),
                Some("streamable HTTP, 2026-07-28"),
            ),
            (
                Question::Discover,
                json!({"result": {"supportedVersions": ["2099-01-01"]}}),
                None,
            ),
            (Question::Discover, json!({"result": {}}), None),
            (
                Question::Discover,
                json!({"error": {"code": -32022, "message": "x", "data": {"supported": ["2026-07-28"]}}}),
                Some("streamable HTTP, 2026-07-28"),
            ),
            (
                Question::Discover,
                json!({"error": {"code": -32022, "message": "x", "data": {"supported": ["2099-01-01"]}}}),
                None,
            ),
            (
                Question::Discover,
                json!({"error": {"code": 1, "message": "x"}}),
                None,
            ),
            (
                Question::Initialize,
                json!({"result": {"protocolVersion": "2025-06-18"}}),
                Some("streamable HTTP, 2025-06-18"),
            ),
            (
                Question::Initialize,
                json!({"result": {"protocolVersion": "1999"}}),
                Some("streamable HTTP"),
            ),
            (Question::Initialize, json!({"result": "hello"}), None),
            (Question::Initialize, json!([1, 2]), None),
        ] {
            let mut answer = Answer::failed(question, WireError::Closed);
            answer.message = Ok(message.clone());
            assert_eq!(answer.understood().as_deref(), expected, "{message}");
        }
    }

    #[test]
    fn the_newest_revision_with_a_handshake_is_named_right() {
        assert_eq!(
            newest_with_handshake(),
            ProtocolVersion::LATEST_WITH_INITIALIZE.as_str()
        );
    }
}
