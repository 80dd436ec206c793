//! What comes in: counted, let in or not, answered or troubled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{self, Asked};
use super::streams::{self, Lines};
use super::{Get, Manners, Seen, Sessions, Speaks, State, Trouble, Wants};

const SESSION: &str = "mcp-session-id";
const PAGE: &str = "<!doctype html><html><body><h1>Welcome</h1></body></html>";

#[derive(Deserialize)]
struct Which {
    session: Option<String>,
}

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new().fallback(handle).with_state(state)
}

async fn handle(
    Shared(state): Shared<Arc<State>>,
    Query(which): Query<Which>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let seen = Seen {
        method: method.clone(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
        life: state.lives.load(Ordering::SeqCst),
    };
    state.seen().push(seen.clone());
    state.tell();
    let manners = state.manners().clone();
    if seen.path.starts_with("/.well-known/") {
        return well_known(&state, &manners, &seen.path);
    }
    if let Some(refusal) = refused(&state, &manners, &seen) {
        return refusal;
    }
    if let Some(trouble) = state.trouble(&method, seen.rpc()) {
        return troubled(&state, &manners, &seen, which.session, trouble).await;
    }
    answered(&state, &manners, &seen, which.session).await
}

async fn answered(
    state: &Arc<State>,
    manners: &Manners,
    seen: &Seen,
    session: Option<String>,
) -> Response {
    let path = seen.path.as_str();
    if seen.method == Method::GET && manners.get == Get::Silent {
        std::future::pending::<()>().await;
    }
    match (manners.speaks, &seen.method) {
        (Speaks::Web, &Method::GET) => page(),
        (Speaks::Legacy, &Method::GET) if path == "/sse" => legacy_stream(state, manners),
        (Speaks::Legacy, &Method::POST) if path == "/messages" => {
            legacy_message(state, seen, session)
        }
        (Speaks::Legacy, &Method::POST) if path == "/sse" => {
            status(manners.legacy_post).into_response()
        }
        (Speaks::Json | Speaks::Events, method) if path == "/mcp" => match *method {
            Method::POST => streamable(state, manners, seen).await,
            Method::GET => stream(state, manners, seen),
            Method::DELETE => {
                let session = seen.header(SESSION).unwrap_or_default();
                state.sessions().remove(session);
                StatusCode::OK.into_response()
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        },
        (Speaks::Modern, &Method::POST) if path == "/mcp" => modern(state, manners, seen).await,
        (Speaks::Modern, _) if path == "/mcp" => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn streamable(state: &Arc<State>, manners: &Manners, seen: &Seen) -> Response {
    let session = seen.header(SESSION).map(str::to_owned);
    let asked = Asked::of(&seen.body, session.as_deref());
    let begins = asked.method == "initialize";
    if !begins && let Some(refusal) = without_session(state, manners, session.as_deref()) {
        return refusal;
    }
    let mut response = if asked.id.is_null() {
        answers::noted(state, &asked);
        StatusCode::ACCEPTED.into_response()
    } else {
        in_its_form(state, manners, asked).await
    };
    let named = match manners.sessions {
        Sessions::None => None,
        Sessions::Changing => Some(begun(state)),
        Sessions::Kept | Sessions::ForgottenAfter(_) => begins.then(|| begun(state)),
    };
    if let Some(session) = named {
        let value = HeaderValue::from_str(&session).unwrap();
        response.headers_mut().insert(SESSION, value);
    }
    response
}

/// An answer as JSON, or as a stream of events with the progress before it.
async fn in_its_form(state: &Arc<State>, manners: &Manners, asked: Asked) -> Response {
    if manners.speaks == Speaks::Events {
        let (lines, response) = streams::answer();
        answer_by(state, asked, lines);
        return response;
    }
    let progress = |note: &Value| state.push(note);
    match answers::answer(state, asked, &progress).await {
        Some(answer) => json_answer(&answer),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// Answers by a stream, as long as somebody reads it.
fn answer_by(state: &Arc<State>, asked: Asked, lines: Lines) {
    let state = state.clone();
    tokio::spawn(async move {
        let progress = |note: &Value| {
            lines.message(note);
        };
        tokio::select! {
            () = lines.closed() => {}
            answer = answers::answer(&state, asked, &progress) => {
                if let Some(answer) = answer {
                    lines.message(&answer);
                }
            }
        }
    });
}

/// 400 without a session, 404 with one that it does not know.
fn without_session(state: &State, manners: &Manners, session: Option<&str>) -> Option<Response> {
    let most = match manners.sessions {
        Sessions::None => return None,
        Sessions::Kept | Sessions::Changing => usize::MAX,
        Sessions::ForgottenAfter(most) => most,
    };
    let Some(session) = session else {
        return Some(rpc_error(
            400,
            -32000,
            "Bad Request: Server not initialized",
        ));
    };
    let mut sessions = state.sessions();
    let used = sessions.get_mut(session);
    match used {
        Some(used) if *used < most => {
            *used += 1;
            None
        }
        _ => {
            sessions.remove(session);
            Some(rpc_error(404, -32001, "Session not found"))
        }
    }
}

fn begun(state: &State) -> String {
    let session = format!("session-{}", state.number());
    state.sessions().insert(session.clone(), 0);
    session
}

fn stream(state: &Arc<State>, manners: &Manners, seen: &Seen) -> Response {
    if let Some(refusal) = without_session(state, manners, seen.header(SESSION)) {
        return refusal;
    }
    match manners.get {
        Get::None | Get::Silent => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Get::Open => {
            let (_, response) = streams::open(state, ": here it begins\n\n".to_owned());
            response
        }
        Get::Closes(None) => streams::ended(": nothing\n\n".to_owned()),
        Get::Closes(Some(retry)) => streams::ended(format!("id: 1\nretry: {retry}\ndata: \n\n")),
        Get::Breaks => streams::broken(streams::EVENTS, ": here it begins\n\n"),
        Get::Floods => streams::flood(state),
        Get::HugeEvent => streams::huge_event(state),
        Get::Html => page(),
        Get::Fails => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn legacy_stream(state: &Arc<State>, manners: &Manners) -> Response {
    match manners.get {
        Get::Open => {}
        // Legacy servers have no other way to answer, so these are told by the stream itself.
        Get::None => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => {
            return stream(
                state,
                &Manners {
                    sessions: Sessions::None,
                    ..manners.clone()
                },
                &Seen {
                    method: Method::GET,
                    path: String::new(),
                    query: String::new(),
                    headers: HeaderMap::new(),
                    body: Value::Null,
                    life: 0,
                },
            );
        }
    }
    let session = begun(state);
    let endpoint = match manners.endpoint {
        Some(endpoint) => endpoint.replace("{base}", &state.base()),
        None => format!("/messages?session={session}"),
    };
    let beginning = match endpoint.as_str() {
        "" => ": it does not say where\n\n".to_owned(),
        endpoint => format!("event: endpoint\ndata: {endpoint}\n\n"),
    };
    let (lines, response) = streams::open(state, beginning);
    state.legacy().insert(session, lines);
    response
}

fn legacy_message(state: &Arc<State>, seen: &Seen, session: Option<String>) -> Response {
    let session = session.unwrap_or_default();
    let Some(lines) = state.legacy().get(&session).cloned() else {
        return status(404).into_response();
    };
    let asked = Asked::of(&seen.body, Some(&session));
    if asked.id.is_null() {
        answers::noted(state, &asked);
    } else {
        answer_by(state, asked, lines);
    }
    (StatusCode::ACCEPTED, "Accepted").into_response()
}

async fn modern(state: &Arc<State>, manners: &Manners, seen: &Seen) -> Response {
    let asked = Asked::of(&seen.body, None);
    if seen.header("mcp-protocol-version") != Some(answers::MODERN) {
        let supported = json!({"supported": [answers::MODERN], "requested": "another"});
        let error =
            json!({"code": -32022, "message": "Unsupported protocol version", "data": supported});
        return (
            StatusCode::BAD_REQUEST,
            [(header::CONTENT_TYPE, "application/json")],
            json!({"jsonrpc": "2.0", "id": asked.id, "error": error}).to_string(),
        )
            .into_response();
    }
    if asked.method == "subscriptions/listen" {
        let heard = json!({
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {
                "notifications": {"toolsListChanged": true},
                "_meta": {"io.modelcontextprotocol/subscriptionId": asked.id},
            },
        });
        let (_, response) = streams::open(state, format!("data: {heard}\n\n"));
        return response;
    }
    if asked.id.is_null() {
        answers::noted(state, &asked);
        return StatusCode::ACCEPTED.into_response();
    }
    in_its_form(
        state,
        &Manners {
            speaks: Speaks::Events,
            ..manners.clone()
        },
        asked,
    )
    .await
}

async fn troubled(
    state: &Arc<State>,
    manners: &Manners,
    seen: &Seen,
    session: Option<String>,
    trouble: Trouble,
) -> Response {
    match trouble {
        Trouble::Silence => std::future::pending().await,
        Trouble::Headers => streams::headers_only(state),
        Trouble::Drip => streams::drip(state),
        Trouble::Flood => streams::flood(state),
        Trouble::HugeBody => streams::huge_body(state),
        Trouble::HugeEvent => streams::huge_event(state),
        Trouble::Redirect(to) => {
            let sent = seen.header("authorization").unwrap_or_default();
            let to = to.replace("{token}", sent.trim_start_matches("Bearer "));
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Trouble::Status(code, after) => {
            let mut response = status(code).into_response();
            if let Some(after) = after {
                let after = HeaderValue::from_static(after);
                response.headers_mut().insert(header::RETRY_AFTER, after);
            }
            response
        }
        Trouble::Html => page(),
        Trouble::Nonsense => (
            [(header::CONTENT_TYPE, "application/json")],
            "this is { not JSON",
        )
            .into_response(),
        Trouble::WrongId => json_answer(&json!({"jsonrpc": "2.0", "id": "another", "result": {}})),
        Trouble::Cut => streams::ended(": that was it\n\n".to_owned()),
        Trouble::Broken => streams::broken("application/json", "{\"jsonrpc\": \"2.0\", "),
        Trouble::WrongType | Trouble::Slow => {
            let manners = Manners {
                speaks: if manners.speaks == Speaks::Events {
                    Speaks::Json
                } else {
                    manners.speaks
                },
                ..manners.clone()
            };
            let right = Box::pin(answered(state, &manners, seen, session)).await;
            let (mut parts, body) = right.into_parts();
            if trouble == Trouble::WrongType {
                let plain = HeaderValue::from_static("text/plain");
                parts.headers.insert(header::CONTENT_TYPE, plain);
                return Response::from_parts(parts, body);
            }
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            let slowly = streams::slow(text);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, slowly.into_body())
        }
    }
}

/// 401 or 403, where it does not know who asks.
fn refused(state: &State, manners: &Manners, seen: &Seen) -> Option<Response> {
    let token = seen
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    match &manners.wants {
        Wants::Nothing => {}
        Wants::Nobody => return Some(status(403).into_response()),
        Wants::Header(name, value) => {
            if seen.header(name) != Some(value) {
                return Some(status(401).into_response());
            }
        }
        Wants::Token {
            tokens, challenge, ..
        } => {
            if !token.is_some_and(|token| tokens.iter().any(|good| good == token)) {
                let sent = token.unwrap_or_default();
                let challenge = challenge.map(|text| {
                    text.replace("{base}", &state.base())
                        .replace("{token}", sent)
                });
                return Some(challenged(401, challenge));
            }
        }
    }
    let (tool, enough) = manners.more_rights?;
    let is_it = seen.rpc() == "tools/call" && seen.body["params"]["name"] == tool;
    (is_it && token != Some(enough)).then(|| {
        // Where it sends people for a token at all, or to itself.
        let place = match &manners.wants {
            Wants::Token {
                challenge: Some(challenge),
                ..
            } => challenge.split("resource_metadata=\"").nth(1),
            _ => None,
        };
        let place = place.and_then(|place| place.split('"').next());
        let place = place.map_or_else(
            || format!("{}/.well-known/oauth-protected-resource/mcp", state.base()),
            |place| place.replace("{base}", &state.base()),
        );
        let challenge = format!(
            "Bearer error=\"insufficient_scope\", scope=\"more\", resource_metadata=\"{place}\""
        );
        challenged(403, Some(challenge))
    })
}

fn challenged(code: u16, challenge: Option<String>) -> Response {
    let mut response = status(code).into_response();
    if let Some(challenge) = challenge {
        let challenge = HeaderValue::from_str(&challenge).unwrap();
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn well_known(state: &State, manners: &Manners, path: &str) -> Response {
    if let Some(at) = &manners.metadata_at {
        return (StatusCode::FOUND, [(header::LOCATION, at.clone())]).into_response();
    }
    let has = matches!(manners.wants, Wants::Token { metadata: true, .. });
    if has && path.starts_with("/.well-known/oauth-protected-resource") {
        return json_answer(&json!({
            "resource": format!("{}/mcp", state.base()),
            "authorization_servers": [state.base()],
        }));
    }
    status(404).into_response()
}

fn json_answer(value: &Value) -> Response {
    let body = Body::from(value.to_string());
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn rpc_error(code: u16, error: i32, message: &str) -> Response {
    let mut response = json_answer(
        &json!({"jsonrpc": "2.0", "id": null, "error": {"code": error, "message": message}}),
    );
    *response.status_mut() = status(code);
    response
}

fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}
