//! Requests to one remote server: where they may go, what they carry, and what their failures mean.
//!
//! Every request of both transports goes through [`Wire::send`]. It judges the address and each redirect, adds the
//! server's own headers and its key or token, renews a token that is refused once, bounds the wait for an answer, and
//! writes a line into the server's log. Neither a query nor a secret is in any word of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::context::Context;
use super::super::logs::Logs;
use super::super::text::{masked_line, one_line};
use super::super::{Keys, NoToken, Stage};
use super::{Mend, RemoteOptions, Trouble};
use crate::config::{CredentialId, Masker, RemoteAuth, RemoteServer, SecretName};
use crate::net::{Net, NetError};
use crate::secret::Secret;
use crate::thread::ThreadId;

/// Redirects within the origin that are followed.
const HOPS: usize = 3;
/// Characters of a challenge that are kept; longer ones are cut, which no server of this world needs.
const CHALLENGE_CHARS: usize = 2000;
/// The longest wait that a `Retry-After` is heeded for.
const RETRY_AFTER_CAP: Duration = Duration::from_mins(5);

/// Tokens that are masked: few are renewed while one connection lasts, and the oldest have ended long ago.
const TOKENS: usize = 8;

/// The way to one server. Lives as long as one connection.
pub(in crate::registry) struct Wire {
    net: Net,
    keys: Arc<dyn Keys>,
    options: RemoteOptions,
    thread: ThreadId,
    url: Url,
    /// The server's own headers and its key, resolved; sent to its origin alone.
    headers: HeaderMap,
    credential: Option<CredentialId>,
    auth: &'static str,
    masker: Arc<ArcSwap<Masker>>,
    /// What the masker knows besides the token of now. A std lock: held for a moment, never over an await.
    secrets: Mutex<Known>,
    logs: Arc<Logs>,
    closed: CancellationToken,
    /// What went wrong last, for an end that says nothing itself.
    failure: Mutex<Option<WireError>>,
}

#[derive(Default)]
struct Known {
    secrets: Vec<(String, String)>,
    token: Option<Secret>,
}

/// One request.
pub(in crate::registry) struct Ask<'a> {
    /// `GET`, `POST`, `DELETE`.
    pub(in crate::registry) method: Method,
    /// Where, if not at the server's own address; within its origin.
    pub(in crate::registry) url: Option<&'a Url>,
    /// Headers of the protocol; they win over the server's own ones.
    pub(in crate::registry) headers: HeaderMap,
    /// What is sent.
    pub(in crate::registry) body: Vec<u8>,
    /// What it is, for the log: the method of the JSON-RPC message, `answer`, `stream`, `end of session`.
    pub(in crate::registry) what: &'a str,
    /// How long the head of the answer is waited for.
    pub(in crate::registry) limit: Duration,
    /// Nothing happens at the server by it: it may be sent without a login, to hear how one begins.
    pub(in crate::registry) harmless: bool,
    /// It is sent also when the wire is closed.
    pub(in crate::registry) farewell: bool,
}

/// Why a request brought no answer to read. The words hold no secret and no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum WireError {
    #[error("{0}")]
    Net(#[from] NetError),
    #[error("it sends on to {to}")]
    Redirect { to: String },
    #[error("{reason}")]
    NeedsLogin {
        reason: String,
        challenge: Option<String>,
    },
    #[error("the login that there is does not reach for this")]
    MoreRights {
        scope: Option<String>,
        challenge: String,
    },
    #[error("{0}")]
    Later(String),
    #[error("it answered with HTTP {status}{note}")]
    Status {
        status: u16,
        retry_after: Option<Duration>,
        /// Nothing, or what its body says, from ` (`.
        note: String,
    },
    #[error("it does not know the session any more")]
    SessionLost,
    #[error("it answered with {0}, which is not MCP")]
    WrongKind(String),
    #[error("its answer is larger than {} MiB", limit / (1024 * 1024))]
    TooLarge { limit: usize },
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
    #[error("the connection was closed")]
    Closed,
}

/// What a failure of the client means.
pub(super) trait Failing<T> {
    fn failing(self) -> Result<T, WireError>;
}

impl<T> Failing<T> for reqwest::Result<T> {
    fn failing(self) -> Result<T, WireError> {
        self.map_err(|error| WireError::Net(Net::explain(&error)))
    }
}

impl Wire {
    /// Judges the address and gathers what requests carry. Nothing is sent yet.
    pub(in crate::registry) async fn lay(
        context: &Context,
        thread: ThreadId,
        server: &RemoteServer,
        logs: &Arc<Logs>,
    ) -> Result<Arc<Self>, Trouble> {
        let url = context.net.judge_url(&server.url).map_err(|problem| {
            Trouble::new(
                Stage::Address,
                format!("its address {problem}"),
                "Give it another address with `/mcp edit`.",
                Mend::Change,
            )
        })?;
        let mut gathering = Gathering {
            keys: context.keys.as_ref(),
            thread,
            url: &url,
            known: Vec::new(),
            headers: HeaderMap::new(),
        };
        for (name, value) in &server.headers {
            let value = gathering.filled(value).await?;
            gathering.header(name, &value)?;
        }
        let (credential, auth) = match &server.auth {
            RemoteAuth::None => (None, "none"),
            RemoteAuth::OAuth(credential) => (Some(credential.clone()), "a login (OAuth)"),
            RemoteAuth::Bearer(name) => {
                let value = gathering.secret(name).await?;
                let value = format!("Bearer {}", value.expose().trim());
                gathering.header(AUTHORIZATION.as_str(), &value)?;
                (None, "a token")
            }
            RemoteAuth::ApiKey { header, value } => {
                let value = gathering.secret(value).await?;
                gathering.header(header, value.expose().trim())?;
                (None, "a key")
            }
        };
        let Gathering { known, headers, .. } = gathering;
        let masker = ArcSwap::from_pointee(Masker::of_env(&known));
        Ok(Arc::new(Self {
            net: context.net.clone(),
            keys: context.keys.clone(),
            options: context.options.remote.clone(),
            thread,
            url,
            headers,
            credential,
            auth,
            masker: Arc::new(masker),
            secrets: Mutex::new(Known {
                secrets: known,
                token: None,
            }),
            logs: logs.clone(),
            closed: CancellationToken::new(),
            failure: Mutex::default(),
        }))
    }

    /// The server's address.
    pub(in crate::registry) fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port, for words.
    pub(in crate::registry) fn host(&self) -> String {
        host(&self.url)
    }

    /// How the bot proves who it is, in words; `none`.
    pub(in crate::registry) fn auth(&self) -> &'static str {
        self.auth
    }

    /// Knows every secret that was sent so far; a renewed token is in the next load.
    pub(in crate::registry) fn masker(&self) -> &Arc<ArcSwap<Masker>> {
        &self.masker
    }

    /// How patient we are.
    pub(in crate::registry) fn options(&self) -> &RemoteOptions {
        &self.options
    }

    /// Cancelled when the connection is over.
    pub(in crate::registry) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Remembers what went wrong.
    pub(in crate::registry) fn failed(&self, error: &WireError) {
        if *error != WireError::Closed {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }

    /// What went wrong last.
    pub(in crate::registry) fn failure(&self) -> Option<WireError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Goes on until the wire is closed.
    pub(in crate::registry) async fn or_closed<T>(
        &self,
        reading: impl Future<Output = Result<T, WireError>>,
    ) -> Result<T, WireError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(WireError::Closed),
            result = reading => result,
        }
    }

    /// Sends a request; an answer with a status that its caller judges. Logins and redirects are seen to here.
    pub(in crate::registry) async fn send(
        &self,
        ask: Ask<'_>,
    ) -> Result<reqwest::Response, WireError> {
        let began = Instant::now();
        let (method, what) = (ask.method.clone(), ask.what);
        let (limit, farewell) = (ask.limit, ask.farewell);
        let sent = async {
            match tokio::time::timeout(limit, self.negotiate(ask)).await {
                Ok(result) => result,
                Err(_) => Err(WireError::Net(NetError::TimedOut { host: self.host() })),
            }
        };
        let result = tokio::select! {
            biased;
            () = self.closed.cancelled(), if !farewell => return Err(WireError::Closed),
            result = sent => result,
        };
        let millis = began.elapsed().as_millis();
        let outcome = match &result {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => format!("failed ({})", self.masked(&error.to_string(), 200)),
        };
        self.logs
            .note(format!("{method} {what} {outcome} in {millis} ms"));
        result
    }

    /// What a status other than success means.
    pub(in crate::registry) fn status_error(response: &reqwest::Response) -> WireError {
        let retry_after = response
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_CAP));
        WireError::Status {
            status: response.status().as_u16(),
            retry_after,
            note: String::new(),
        }
    }

    /// A server's words: secrets masked, one line, bounded.
    pub(in crate::registry) fn masked(&self, text: &str, most: usize) -> String {
        masked_line(&self.masker.load(), text, most)
    }

    /// The first challenge of an answer; bounded, untrusted. A server that repeats in it what it was sent does not get that
    /// shown, kept, or asked for elsewhere as a scope.
    pub(in crate::registry) fn challenge(&self, response: &reqwest::Response) -> Option<String> {
        let said = first_challenge(response)?;
        let masked = self.masker.load().mask_known(&said);
        Some(one_line(&masked, CHALLENGE_CHARS))
    }

    /// The error without a name of the server's making that repeats what it was sent.
    pub(in crate::registry) fn hushed(&self, error: WireError) -> WireError {
        let masker = self.masker.load();
        match error {
            WireError::Redirect { to } if masker.is_in(&to) => WireError::Redirect {
                to: "another place".to_owned(),
            },
            WireError::WrongKind(kind) if masker.is_in(&kind) => {
                WireError::WrongKind("something else".to_owned())
            }
            other => other,
        }
    }

    async fn negotiate(&self, ask: Ask<'_>) -> Result<reqwest::Response, WireError> {
        let mut request = self.request(&ask)?;
        let Some(credential) = &self.credential else {
            let response = self.follow(request).await?;
            return match response.status() {
                StatusCode::UNAUTHORIZED => Err(WireError::NeedsLogin {
                    reason: match self.auth {
                        "none" => "it wants a login or a key, and has none here",
                        _ => "it refused the key or token that it was sent",
                    }
                    .to_owned(),
                    challenge: self.challenge(&response),
                }),
                _ => self.rights(response),
            };
        };
        let token = match self.keys.token(self.thread, credential, &self.url).await {
            Ok(token) => token,
            Err(no) => return Err(self.without_token(no, &ask, request).await),
        };
        let spare = request.try_clone();
        self.authorize(&mut request, &token)?;
        let response = self.follow(request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.rights(response);
        }
        let refused = self.challenge(&response);
        drop(response);
        let renewed = self
            .keys
            .refused(self.thread, credential, &self.url, &token);
        let renewed = match renewed.await {
            Ok(token) => token,
            Err(NoToken::NeedsLogin(reason)) => {
                return Err(WireError::NeedsLogin {
                    reason,
                    challenge: refused,
                });
            }
            Err(NoToken::Later(reason)) => return Err(WireError::Later(reason)),
        };
        let Some(mut again) = spare else {
            return Err(WireError::Closed);
        };
        self.authorize(&mut again, &renewed)?;
        let response = self.follow(again).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(WireError::NeedsLogin {
                reason: "it refuses the login that there is".to_owned(),
                challenge: self.challenge(&response).or(refused),
            });
        }
        self.rights(response)
    }

    /// There is no token. How a login begins is in the server's challenge, so it is asked for one where that does nothing.
    async fn without_token(
        &self,
        no: NoToken,
        ask: &Ask<'_>,
        request: reqwest::Request,
    ) -> WireError {
        let reason = match no {
            NoToken::Later(reason) => return WireError::Later(reason),
            NoToken::NeedsLogin(reason) => reason,
        };
        let challenge = if ask.harmless {
            match self.follow(request).await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.challenge(&response)
                }
                Ok(_) => None,
                Err(error) => return error,
            }
        } else {
            None
        };
        WireError::NeedsLogin { reason, challenge }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<reqwest::Request, WireError> {
        let url = ask.url.unwrap_or(&self.url);
        self.judge(url)?;
        let mut request = reqwest::Request::new(ask.method.clone(), url.clone());
        let headers = request.headers_mut();
        if url.origin() == self.url.origin() {
            headers.clone_from(&self.headers);
        }
        for (name, value) in &ask.headers {
            headers.insert(name, value.clone());
        }
        if !ask.body.is_empty() {
            *request.body_mut() = Some(ask.body.clone().into());
        }
        Ok(request)
    }

    fn authorize(&self, request: &mut reqwest::Request, token: &Secret) -> Result<(), WireError> {
        self.know(token);
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| WireError::NeedsLogin {
            reason: "the token of the login has characters that no header can carry".to_owned(),
            challenge: None,
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    /// Follows redirects within the origin; the method and the body stay, since nothing was done yet.
    async fn follow(&self, mut request: reqwest::Request) -> Result<reqwest::Response, WireError> {
        for _ in 0..HOPS {
            let spare = request.try_clone();
            let at = request.url().clone();
            let response = self.net.client().execute(request).await.failing()?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok(response);
            }
            let to = response
                .headers()
                .get(LOCATION)
                .and_then(|value| at.join(value.to_str().ok()?).ok());
            let Some(to) = to else {
                return Err(Self::status_error(&response));
            };
            let keeps = response.status() != StatusCode::SEE_OTHER;
            if to.origin() != self.url.origin() || !(keeps || request_is_get(spare.as_ref())) {
                return Err(self.hushed(WireError::Redirect {
                    to: one_line(&to.origin().ascii_serialization(), 200),
                }));
            }
            self.judge(&to)?;
            let Some(mut again) = spare else {
                return Err(WireError::Closed);
            };
            *again.url_mut() = to;
            request = again;
        }
        Err(WireError::Net(NetError::Redirects { host: self.host() }))
    }

    fn judge(&self, url: &Url) -> Result<(), WireError> {
        self.net
            .judge_url(url.as_str())
            .map_err(NetError::Address)?;
        Ok(())
    }

    fn rights(&self, response: reqwest::Response) -> Result<reqwest::Response, WireError> {
        if response.status() == StatusCode::FORBIDDEN
            && let Some(challenge) = self.challenge(&response)
            && challenge.contains("insufficient_scope")
        {
            return Err(WireError::MoreRights {
                scope: parameter(&challenge, "scope"),
                challenge,
            });
        }
        Ok(response)
    }

    /// From now on the token is masked; older ones too, for a server may repeat them late.
    fn know(&self, token: &Secret) {
        let mut known = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if known.token.as_ref() == Some(token) {
            return;
        }
        known.token = Some(token.clone());
        let named = |(name, _): &(String, String)| name == TOKEN;
        if known.secrets.iter().filter(|known| named(known)).count() >= TOKENS
            && let Some(oldest) = known.secrets.iter().position(named)
        {
            known.secrets.remove(oldest);
        }
        known
            .secrets
            .push((TOKEN.to_owned(), token.expose().to_owned()));
        self.masker.store(Arc::new(Masker::of_env(&known.secrets)));
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

impl WireError {
    /// What it means for the server as a whole.
    pub(in crate::registry) fn trouble(&self, stage: Stage) -> Trouble {
        let what = self.to_string();
        let (stage, advice, mend) = match self {
            Self::Net(NetError::Address(_)) => (
                Stage::Address,
                "Give it another address with `/mcp edit`.",
                Mend::Change,
            ),
            Self::Net(NetError::Dns { .. }) => {
                (Stage::Dns, "Is the address spelt right?", Mend::Again)
            }
            Self::Net(NetError::Connect { .. }) => (
                Stage::Tls,
                "Is the server running, and is the address right?",
                Mend::Again,
            ),
            Self::Net(NetError::Tls { .. }) => (
                Stage::Tls,
                "Its certificate must be valid for this name.",
                Mend::Again,
            ),
            Self::Net(_) => (stage.max_http(), "Try again in a moment.", Mend::Again),
            Self::Redirect { .. } => (
                Stage::Http,
                "If that is the server that you mean, give it that address with `/mcp edit`.",
                Mend::Change,
            ),
            Self::NeedsLogin { challenge, .. } => (Stage::Auth, "", Mend::Login(challenge.clone())),
            Self::MoreRights { challenge, .. } => {
                (Stage::Auth, "", Mend::Login(Some(challenge.clone())))
            }
            Self::Later(_) => (Stage::Auth, "", Mend::Again),
            Self::Status {
                status,
                retry_after,
                ..
            } => (
                Stage::Http,
                match status {
                    404 | 405 | 410 => "The path of the address may be wrong: many end in /mcp.",
                    403 => "Its operator may let only some in.",
                    _ => "",
                },
                retry_after.map_or(Mend::Again, Mend::After),
            ),
            Self::WrongKind(_) => (
                Stage::Transport,
                "The address may be that of a web page: an MCP endpoint often ends in /mcp or /sse.",
                Mend::Again,
            ),
            Self::SessionLost => (stage, "", Mend::Now),
            Self::TooLarge { .. } | Self::Malformed(_) | Self::Closed => (stage, "", Mend::Again),
        };
        Trouble::new(stage, what, advice, mend)
    }
}

impl Stage {
    /// No answer at all is no answer to HTTP, whatever was asked.
    fn max_http(self) -> Self {
        match self {
            Self::Address | Self::Dns | Self::Tls => Self::Http,
            other => other,
        }
    }
}

/// What the headers of a server are gathered with.
struct Gathering<'a> {
    keys: &'a dyn Keys,
    thread: ThreadId,
    url: &'a Url,
    known: Vec<(String, String)>,
    headers: HeaderMap,
}

/// A name that the masker takes for one of a secret.
const TOKEN: &str = "TOKEN";

impl Gathering<'_> {
    /// A header's value with its secrets in place.
    async fn filled(&mut self, value: &str) -> Result<String, Trouble> {
        let mut filled = String::new();
        let mut rest = value;
        while let Some(start) = rest.find("${secret:") {
            let Some(length) = rest[start..].find('}') else {
                break;
            };
            filled.push_str(&rest[..start]);
            let placeholder = &rest[start..=start + length];
            match SecretName::of_placeholder(placeholder) {
                Some(name) => filled.push_str(self.secret(&name).await?.expose().trim()),
                None => filled.push_str(placeholder),
            }
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    async fn secret(&mut self, name: &SecretName) -> Result<Secret, Trouble> {
        let Some(secret) = self.keys.secret(self.thread, name, self.url).await else {
            return Err(Trouble::new(
                Stage::Auth,
                format!("the secret `{name}` that it needs is not set here for this address"),
                "Give it with `/mcp login` and the server's name.",
                Mend::Change,
            ));
        };
        self.known
            .push((TOKEN.to_owned(), secret.expose().trim().to_owned()));
        Ok(secret)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Trouble> {
        let wrong = |part: &str| {
            Trouble::new(
                Stage::Auth,
                format!(
                    "{part} of its header `{}` has characters that no header can carry",
                    one_line(name, 60)
                ),
                "Give it another one with `/mcp edit` or `/mcp login`.",
                Mend::Change,
            )
        };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name"))?;
        let mut bytes = HeaderValue::from_str(value).map_err(|_| wrong("the value"))?;
        bytes.set_sensitive(true);
        self.known.push((name.to_owned(), value.to_owned()));
        self.headers.insert(header, bytes);
        Ok(())
    }
}

/// Host and port of an address, for words.
pub(in crate::registry) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn request_is_get(request: Option<&reqwest::Request>) -> bool {
    request.is_some_and(|request| request.method() == Method::GET)
}

fn first_challenge(response: &reqwest::Response) -> Option<String> {
    let all = response.headers().get_all(WWW_AUTHENTICATE);
    let texts: Vec<_> = all.iter().filter_map(|value| value.to_str().ok()).collect();
    // A server may offer several schemes; ours is Bearer.
    let bearer = |text: &str| text.trim_start().to_ascii_lowercase().starts_with("bearer");
    let first = texts.iter().find(|text| bearer(text)).or(texts.first())?;
    Some((*first).to_owned())
}

/// A parameter of a challenge, quoted or not.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let lower = challenge.to_ascii_lowercase();
    let mut from = 0;
    while let Some(found) = lower[from..].find(name) {
        let start = from + found;
        let after = &challenge[start + name.len()..];
        let stands_alone =
            !lower[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if let Some(value) = after
            .trim_start()
            .strip_prefix('=')
            .filter(|_| stands_alone)
        {
            let value = value.trim_start();
            let text = match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => value.split([',', ' ', ';']).next(),
            };
            return text
                .filter(|text| !text.is_empty())
                .map(|text| one_line(text, 500));
        }
        from = start + name.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_quoted_or_not() {
        for (challenge, expected) in [
            (
                r#"Bearer error="insufficient_scope", scope="a b""#,
                Some("a b"),
            ),
            ("Bearer scope=a, realm=x", Some("a")),
            (r#"Bearer error_scope="no", scope = "yes""#, Some("yes")),
            (r#"Bearer error="insufficient_scope""#, None),
            ("Bearer scope", None),
        ] {
            assert_eq!(
                parameter(challenge, "scope").as_deref(),
                expected,
                "{challenge}"
            );
        }
    }
}
