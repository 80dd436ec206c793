//! Requests to one remote server: where they may go, what they carry, and what their failures mean.
//!
//! Every request of both transports goes through [`Wire::send`]. It judges each address but the server's own, which is
//! judged when the wire is laid, and each redirect; adds the server's own headers and its key or token; renews a token that
//! is refused once; bounds the wait for an answer; and writes a line into the server's log. Neither a query nor a secret is
//! in any word of it.

mod asking;
mod challenge;
mod error;
mod gather;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::allowed;
use super::super::context::Context;
use super::super::logs::Logs;
use super::super::text::{masked_line, one_line};
use super::super::{Keys, Stage};
use super::{Mend, RemoteOptions, Trouble};
use crate::config::{CredentialId, Masker, RemoteAuth, RemoteServer};
use crate::net::{Net, NetError};
use crate::secret::Secret;
use crate::thread::ThreadId;

use challenge::first_challenge;
pub(super) use error::Failing;
pub(in crate::registry) use error::WireError;
use gather::Gathering;

/// Characters of a challenge that are kept; longer ones are cut, which no server of this world needs.
const CHALLENGE_CHARS: usize = 2000;
/// The longest wait that a `Retry-After` is heeded for.
const RETRY_AFTER_CAP: Duration = Duration::from_mins(5);

/// A name that the masker takes for one of a secret.
const TOKEN: &str = "TOKEN";
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

impl Wire {
    /// Judges the address and gathers what requests carry. Nothing is sent yet.
    pub(in crate::registry) async fn lay(
        context: &Context,
        thread: ThreadId,
        server: &RemoteServer,
        logs: &Arc<Logs>,
    ) -> Result<Arc<Self>, Trouble> {
        let judged = |address: &str| {
            let judged = context.outside.net.judge_url(address);
            judged.map_err(|problem| bad_address(&problem))
        };
        let place = judged(&server.url)?;
        allowed::remote(&context.outside.policy.now(), server)
            .map_err(|denied| allowed::trouble(Stage::Address, &denied))?;
        let mut gathering = Gathering {
            keys: context.outside.keys.as_ref(),
            thread,
            url: &place,
            known: Vec::new(),
            headers: HeaderMap::new(),
        };
        let url = judged(&gathering.address(&server.url).await?)?;
        if url.origin() != place.origin() {
            return Err(bad_address(&"has a secret where its host is"));
        }
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
            net: context.outside.net.clone(),
            keys: context.outside.keys.clone(),
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
        mut ask: Ask<'_>,
    ) -> Result<reqwest::Response, WireError> {
        let began = Instant::now();
        let (method, what) = (&ask.method, ask.what);
        let body = Bytes::from(std::mem::take(&mut ask.body));
        // Pinned where it is: a future is large, and each wrapper would move it once more.
        let negotiation = std::pin::pin!(self.negotiate(&ask, &body));
        let result = tokio::select! {
            biased;
            () = self.closed.cancelled(), if !ask.farewell => return Err(WireError::Closed),
            result = tokio::time::timeout(ask.limit, negotiation) => result
                .unwrap_or_else(|_| Err(WireError::Net(NetError::TimedOut { host: self.host() }))),
        };
        let millis = began.elapsed().as_millis();
        self.logs.note(match &result {
            Ok(response) => {
                let status = response.status().as_u16();
                format!("{method} {what} {status} in {millis} ms")
            }
            Err(error) => {
                let why = self.masked(&error.to_string(), 200);
                format!("{method} {what} failed ({why}) in {millis} ms")
            }
        });
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

fn bad_address(why: &impl std::fmt::Display) -> Trouble {
    Trouble::new(
        Stage::Address,
        format!("its address {why}"),
        "Give it another address with `/mcp edit`.",
        Mend::Change,
    )
}

/// Host and port of an address, for words.
pub(in crate::registry) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
