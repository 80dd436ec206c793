//! An authorization server of our own on loopback: everybody who comes is let in, by a code that the test makes up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::Uri;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::HashMap;

use switchboard::chat::View;
use switchboard::oauth::Arrival;
use switchboard::thread::ThreadId;

use super::LOCAL;
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners, Speaks, Wants};
use crate::support::world::World;

/// The access token that it gives.
pub(in crate::desk) const TOKEN: &str = "at-Zx81-hush-hush";

/// What it saw, and what it protects.
#[derive(Debug, Default)]
pub(in crate::desk) struct Seen {
    pub(in crate::desk) resource: String,
    pub(in crate::desk) registers: bool,
    pub(in crate::desk) revoked: Vec<String>,
    pub(in crate::desk) codes: Vec<String>,
    /// The access token that it gives instead of [`TOKEN`].
    pub(in crate::desk) gives: Option<&'static str>,
    /// Who logged in, by its id token.
    pub(in crate::desk) email: Option<&'static str>,
    /// The refresh token, likewise.
    pub(in crate::desk) refreshes_by: Option<&'static str>,
    /// The secret that it gives to whoever registers.
    pub(in crate::desk) client_secret: Option<&'static str>,
    /// What else it gives with a token, as if it said who logged in.
    pub(in crate::desk) id_token: Option<&'static str>,
    /// The verifiers and the client secrets that it was shown.
    pub(in crate::desk) verifiers: Vec<String>,
    pub(in crate::desk) client_secrets: Vec<String>,
}

pub(in crate::desk) struct Idp {
    pub(in crate::desk) base: String,
    pub(in crate::desk) seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Shared(String, Arc<Mutex<Seen>>);

impl Idp {
    pub(in crate::desk) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen {
            registers: true,
            ..Seen::default()
        }));
        let router = Router::new()
            .route("/register", post(register))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .fallback(get(metadata))
            .with_state(Shared(base.clone(), Arc::clone(&seen)));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { base, seen, task }
    }

    /// The challenge with which a server sends people here.
    pub(in crate::desk) fn challenge(&self) -> &'static str {
        let text = format!(
            "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource\", scope=\"read profile issues:write\"",
            self.base
        );
        Box::leak(text.into_boxed_str())
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server of the hostile kind that only those may use who were let in here.
pub(in crate::desk) struct Protected {
    pub(in crate::desk) idp: Idp,
    pub(in crate::desk) far: Far,
}

impl Protected {
    pub(in crate::desk) async fn start() -> Self {
        Self::speaking(Speaks::Json).await
    }

    pub(in crate::desk) async fn speaking(speaks: Speaks) -> Self {
        let idp = Idp::start().await;
        let wants = Wants::Token {
            tokens: vec![TOKEN.to_owned()],
            challenge: Some(idp.challenge()),
            metadata: false,
        };
        let far = Far::start(Manners::speaking(speaks).wanting(wants)).await;
        idp.seen.lock().unwrap().resource = far.url();
        Self { idp, far }
    }

    /// Ann connects it in the terminal as `hub`, and logs in there.
    pub(in crate::desk) async fn connected_and_logged_in(&self, world: &World) {
        let ann = world.ann();
        ann.says(&format!("/mcp connect hub {}", self.far.url()))
            .await;
        let invited = ann.presses("Apply").await;
        pasted_and_finished(world, &invited).await;
        world
            .sees(LOCAL, |shown| {
                plain(&shown.view).contains("Logged in to *hub*")
            })
            .await;
    }
}

/// The browser follows the link in the chat: our start page, theirs, and back with this answer.
pub(in crate::desk) async fn through_our_page(
    world: &World,
    thread: ThreadId,
    answer: &str,
) -> Arrival {
    // An address that is not public has no button, and stands in the text alone.
    let link = |view: &View| {
        let button = view.links.first().map(|link| link.url.clone());
        button.or_else(|| link_in(&plain(view)))
    };
    let shown = world
        .sees(thread, |shown| link(&shown.view).is_some())
        .await;
    let link = url::Url::parse(&link(&shown.view).unwrap()).unwrap();
    let in_path = link.path().rsplit('/').next().unwrap_or_default();
    let nonce = link
        .query_pairs()
        .next()
        .map_or(in_path.to_owned(), |(_, value)| value.into_owned());
    let oauth = &world.house.oauth;
    let (away, cookie) = oauth.leave(&nonce).await.expect("the link leads nowhere");
    let mut pairs = away.query_pairs();
    let state = pairs.find(|(key, _)| key == "state").unwrap().1;
    let cookie = cookie.split(';').next().unwrap();
    oauth
        .arrive(&format!("{answer}&state={state}"), Some(cookie))
        .await
}

pub(in crate::desk) fn link_in(text: &str) -> Option<String> {
    let rest = text.split("Open this link: `").nth(1)?;
    Some(rest.split('`').next()?.to_owned())
}

/// Where the browser is sent back to, with a code.
pub(in crate::desk) fn way_back(text: &str) -> String {
    let link = url::Url::parse(&link_in(text).expect("there is no link")).unwrap();
    let query: HashMap<_, _> = link.query_pairs().collect();
    format!(
        "{}?code=c-1&state={}",
        query["redirect_uri"], query["state"]
    )
}

/// Ann pastes where her browser was sent back to, sees whose account it is, and finishes.
pub(in crate::desk) async fn pasted_and_finished(world: &World, invited: &str) {
    let ann = world.ann();
    ann.says(&way_back(invited)).await;
    world
        .sees(LOCAL, |shown| plain(&shown.view).contains("[Finish]"))
        .await;
    ann.presses("Finish").await;
}

async fn metadata(State(Shared(base, seen)): State<Shared>, uri: Uri) -> Json<Value> {
    let seen = seen.lock().unwrap();
    if uri.path().contains("protected-resource") {
        return Json(json!({"resource": seen.resource, "authorization_servers": [base]}));
    }
    let mut metadata = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "revocation_endpoint": format!("{base}/revoke"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [method(&seen)],
    });
    if seen.registers {
        metadata["registration_endpoint"] = json!(format!("{base}/register"));
    }
    Json(metadata)
}

fn method(seen: &Seen) -> &'static str {
    if seen.client_secret.is_some() {
        "client_secret_post"
    } else {
        "none"
    }
}

async fn register(
    State(Shared(_, seen)): State<Shared>,
    Json(mut client): Json<Value>,
) -> (axum::http::StatusCode, Json<Value>) {
    client["client_id"] = json!("client-1");
    let seen = seen.lock().unwrap();
    if let Some(secret) = seen.client_secret {
        client["client_secret"] = json!(secret);
        client["token_endpoint_auth_method"] = json!(method(&seen));
    }
    (axum::http::StatusCode::CREATED, Json(client))
}

async fn token(
    State(Shared(_, seen)): State<Shared>,
    Form(form): Form<HashMap<String, String>>,
) -> Json<Value> {
    let code = form.get("code").cloned().unwrap_or_default();
    let mut seen = seen.lock().unwrap();
    seen.codes.push(code);
    seen.verifiers.extend(form.get("code_verifier").cloned());
    seen.client_secrets
        .extend(form.get("client_secret").cloned());
    let mut answer = json!({"access_token": seen.gives.unwrap_or(TOKEN), "token_type": "Bearer", "expires_in": 3600, "refresh_token": seen.refreshes_by.unwrap_or("rt-1"), "scope": "read"});
    if let Some(email) = seen.email {
        let claims = URL_SAFE_NO_PAD.encode(json!({"sub": "42", "email": email}).to_string());
        answer["id_token"] = json!(format!("e30.{claims}.x"));
    }
    if let Some(token) = seen.id_token {
        answer["id_token"] = json!(token);
    }
    Json(answer)
}

async fn revoke(
    State(Shared(_, seen)): State<Shared>,
    Form(form): Form<HashMap<String, String>>,
) -> &'static str {
    let token = form.get("token").cloned().unwrap_or_default();
    seen.lock().unwrap().revoked.push(token);
    ""
}
