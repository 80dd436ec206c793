//! A protected server and its authorization server, on one port of this computer, as bent as a test wants them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

/// The servers.
#[derive(Clone)]
pub struct Stand {
    pub origin: String,
    state: Arc<Mutex<Bent>>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

/// What they do and what they saw.
pub struct Bent {
    /// Fields of the two metadata documents beside or instead of the usual ones; `null` leaves one out.
    pub resource: Value,
    pub metadata: Value,
    /// Where the protected server is.
    pub place: String,
    /// Neither document is published.
    pub silent: bool,
    /// The resource's is not.
    pub unguarded: bool,
    /// Fields of the answer to a registration.
    pub registration: Value,
    /// How a registration is answered instead.
    pub registration_status: Option<(u16, Value)>,
    /// How the token endpoint answers instead; `{code}`, `{code_verifier}` and `{refresh_token}` in it stand for what it was
    /// sent.
    pub token_status: Option<(u16, Value)>,
    /// Fields of the answer of the token endpoint.
    pub token: Value,
    /// How often a refresh token may be used again.
    pub grace: usize,
    /// Known clients; others are `invalid_client`.
    pub clients: Vec<String>,
    /// The token endpoint waits for a permit before it answers, after it did its work.
    pub gate: Option<Arc<tokio::sync::Semaphore>>,
    /// Paths that send on to elsewhere.
    pub sends_on: HashMap<String, String>,
    codes: HashMap<String, (String, String)>,
    refresh: BTreeMap<String, usize>,
    /// Tokens that were given.
    issued: Vec<String>,
    counter: usize,
    /// Requests: path, form or JSON, and the client's proof of itself.
    pub seen: Vec<Seen>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub query: String,
    pub body: Value,
    pub basic: Option<String>,
}

impl Stand {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// At another address of loopback.
    pub async fn start_at(ip: &str) -> Self {
        let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Bent {
            resource: json!({}),
            metadata: json!({}),
            place: "/mcp".to_owned(),
            silent: false,
            unguarded: false,
            registration: json!({}),
            registration_status: None,
            token_status: None,
            token: json!({}),
            grace: 0,
            clients: Vec::new(),
            gate: None,
            sends_on: HashMap::new(),
            codes: HashMap::new(),
            refresh: BTreeMap::new(),
            issued: Vec::new(),
            counter: 0,
            seen: Vec::new(),
        }));
        let stop = tokio_util::sync::CancellationToken::new();
        let stand = Self {
            origin,
            state,
            _stop: Arc::new(stop.clone().drop_guard()),
        };
        let inside = (stand.origin.clone(), Arc::clone(&stand.state));
        let app = Router::new().fallback(answer).with_state(inside);
        tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
            served.await.unwrap();
        });
        stand
    }

    pub fn bent(&self) -> MutexGuard<'_, Bent> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("{}/mcp", self.origin)).unwrap()
    }

    /// The challenge of the server, with more in it.
    pub fn challenge(&self, more: &str) -> String {
        let at = &self.origin;
        format!("Bearer resource_metadata=\"{at}/.well-known/oauth-protected-resource/mcp\"{more}")
    }

    /// Bodies of requests to a path.
    pub fn seen(&self, path: &str) -> Vec<Value> {
        let bent = self.bent();
        let seen = bent.seen.iter().filter(|seen| seen.path == path);
        seen.map(|seen| seen.body.clone()).collect()
    }

    /// No token that was ever given stands in an address that was asked for (RFC 6750, 5.3).
    pub fn no_token_in_an_address(&self) {
        let bent = self.bent();
        let tokens: Vec<&str> = bent
            .seen
            .iter()
            .flat_map(|seen| [&seen.body["token"], &seen.body["refresh_token"]])
            .chain([&bent.token["access_token"], &bent.token["refresh_token"]])
            .filter_map(Value::as_str)
            .chain(bent.issued.iter().map(String::as_str))
            // Shorter ones stand in words.
            .filter(|token| token.len() > 5)
            .collect();
        for seen in &bent.seen {
            let address = format!("{}?{}", seen.path, seen.query);
            for token in &tokens {
                assert!(!address.contains(token), "{token} stands in {address}");
            }
        }
    }

    /// The person logs in and consents: the query that their browser comes back with.
    pub fn consent(&self, address: &Url) -> String {
        let asked: HashMap<String, String> = address.query_pairs().into_owned().collect();
        let mut bent = self.bent();
        bent.counter += 1;
        let code = format!("code-{}", bent.counter);
        let scope = asked.get("scope").cloned().unwrap_or_default();
        assert_eq!(asked["code_challenge_method"], "S256");
        let challenge = asked["code_challenge"].clone();
        bent.codes.insert(code.clone(), (challenge, scope));
        form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &asked["state"])
            .append_pair("iss", &self.origin)
            .finish()
    }

    /// The person comes back with something else than a code.
    pub fn answer(address: &Url, more: &[(&str, &str)]) -> String {
        let state = address.query_pairs().find(|(name, _)| name == "state");
        let state = state.unwrap().1.into_owned();
        form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &state)
            .extend_pairs(more)
            .finish()
    }
}

type Inside = (String, Arc<Mutex<Bent>>);

async fn answer(State((origin, state)): State<Inside>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (response, gate) = {
        let mut bent = state.lock().unwrap();
        let seen = seen(&parts.uri, &parts.headers, &body);
        bent.seen.push(seen.clone());
        let response = match bent.sends_on.get(&seen.path) {
            Some(to) => sent_on(to),
            None => bent.respond(&origin, &seen),
        };
        let gate = bent.gate.clone().filter(|_| seen.path == "/token");
        (response, gate)
    };
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
    response
}

fn seen(uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Seen {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    let body = if is_json {
        serde_json::from_slice(body).unwrap()
    } else {
        let pairs = form_urlencoded::parse(body);
        Value::Object(
            pairs
                .map(|(name, value)| (name.into(), json!(value)))
                .collect(),
        )
    };
    let basic = headers.get(header::AUTHORIZATION).map(|value| {
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    });
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    Seen {
        path,
        query,
        body,
        basic,
    }
}

impl Bent {
    fn respond(&mut self, origin: &str, seen: &Seen) -> Response {
        match seen.path.as_str() {
            path if path == format!("/.well-known/oauth-protected-resource{}", self.place)
                && !self.silent
                && !self.unguarded =>
            {
                let usual = json!({
                    "resource": format!("{origin}{}", self.place),
                    "authorization_servers": [origin],
                });
                (StatusCode::OK, merged(usual, &self.resource).to_string()).into_response()
            }
            "/.well-known/oauth-authorization-server" if !self.silent => {
                let usual = json!({
                    "issuer": origin,
                    "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"),
                    "registration_endpoint": format!("{origin}/register"),
                    "revocation_endpoint": format!("{origin}/revoke"),
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none"],
                });
                (StatusCode::OK, merged(usual, &self.metadata).to_string()).into_response()
            }
            "/register" => self.register(seen),
            "/token" => self.token(seen),
            "/revoke" => StatusCode::OK.into_response(),
            path if path == self.place => StatusCode::UNAUTHORIZED.into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn register(&mut self, seen: &Seen) -> Response {
        if let Some((status, body)) = &self.registration_status {
            return said(*status, body);
        }
        self.counter += 1;
        let id = format!("client-{}", self.counter);
        self.clients.push(id.clone());
        let usual = json!({"client_id": id, "redirect_uris": seen.body["redirect_uris"]});
        said(201, &merged(usual, &self.registration))
    }

    fn token(&mut self, seen: &Seen) -> Response {
        let form = |name: &str| seen.body[name].as_str().unwrap_or_default();
        if let Some((status, body)) = &self.token_status {
            let mut text = body.to_string();
            for name in ["code", "code_verifier", "refresh_token"] {
                text = text.replace(&format!("{{{name}}}"), form(name));
            }
            return said(*status, &serde_json::from_str(&text).unwrap());
        }
        let client = match &seen.basic {
            Some(basic) => basic.split_once(':').unwrap().0,
            None => form("client_id"),
        };
        if !self.clients.is_empty() && !self.clients.iter().any(|known| known == client) {
            return said(401, &json!({"error": "invalid_client"}));
        }
        let scope = match form("grant_type") {
            "authorization_code" => {
                let Some((challenge, scope)) = self.codes.remove(form("code")) else {
                    return said(400, &json!({"error": "invalid_grant"}));
                };
                let digest = Sha256::digest(form("code_verifier"));
                assert_eq!(
                    URL_SAFE_NO_PAD.encode(digest),
                    challenge,
                    "PKCE does not fit"
                );
                scope
            }
            "refresh_token" => {
                let grace = self.grace;
                let uses = self.refresh.get_mut(form("refresh_token"));
                let Some(uses) = uses.filter(|uses| **uses <= grace) else {
                    return said(
                        400,
                        &json!({"error": "invalid_grant", "error_description": "it is <used> up"}),
                    );
                };
                *uses += 1;
                String::new()
            }
            other => panic!("{other} was asked for"),
        };
        self.counter += 1;
        let refresh = format!("refresh-{}", self.counter);
        self.refresh.insert(refresh.clone(), 0);
        let mut usual = json!({
            "access_token": format!("access-{}", self.counter),
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": refresh,
        });
        let tokens = [&usual["access_token"], &usual["refresh_token"]];
        self.issued
            .extend(tokens.map(|token| token.as_str().unwrap().to_owned()));
        if !scope.is_empty() {
            usual["scope"] = json!(scope);
        }
        said(200, &merged(usual, &self.token))
    }
}

/// With the body of a POST, where that is followed.
fn sent_on(to: &str) -> Response {
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, to.to_owned())],
    )
        .into_response()
}

fn said(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, body.to_string()).into_response()
}

fn merged(mut usual: Value, bent: &Value) -> Value {
    let fields = usual.as_object_mut().unwrap();
    for (name, value) in bent.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    usual
}
