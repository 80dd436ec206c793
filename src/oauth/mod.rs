//! Logins at servers that want OAuth: from a link to a stored token, its renewal, and its end.
//!
//! As the MCP authorization specification of 2025-11-25 and 2026-07-28 has it. A login is a record on disk, so it survives
//! a restart; it belongs to one person in one thread for one server, ends after 10 minutes, and is used once. Its way:
//! [`OAuth::begin`] (discovery, client id, link) → the person leaves through our start page → the authorization server
//! sends them back ([`OAuth::arrive`], or the address pasted into the chat, [`OAuth::pasted`]) and the code becomes tokens
//! that wait → the person presses Finish in the chat ([`OAuth::finish`]) and the tokens become the thread's.

mod account;
mod arrival;
mod clients;
mod discovery;
mod ending;
mod grant;
mod http;
mod keyed;
mod login;
mod operator;
mod random;
mod record;
mod room;
mod scope;
mod tokens;

pub use scope::scope_words;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use url::Url;

use crate::actor::{Actor, ActorId};
use crate::config::{CredentialId, ServerName};
use crate::net::Net;
use crate::secret::Secret;
use crate::thread::ThreadId;

/// A login can be finished for this long, in milliseconds.
pub const LIFETIME_MS: i64 = 10 * 60 * 1000;

/// How long the end of the process waits for an answer of an authorization server.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// What is kept on disk for this room; the store, seen from here. Calls block; this room makes them off the runtime's
/// workers. Values are secret: nobody logs them.
pub trait Keeper: Send + Sync + std::fmt::Debug {
    /// A thread's credential.
    fn credential(&self, thread: ThreadId, id: &CredentialId) -> Result<Option<Value>, KeepError>;
    /// Keeps it durably; `None` forgets it.
    fn keep_credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
        value: Option<&Value>,
    ) -> Result<(), KeepError>;
    /// A login under way.
    fn login(&self, id: &str) -> Result<Option<Value>, KeepError>;
    /// Keeps it; `None` forgets it.
    fn keep_login(&self, id: &str, value: Option<&Value>) -> Result<(), KeepError>;
    /// The ids of all logins under way; asked once, at start.
    fn logins(&self) -> Result<Vec<String>, KeepError>;
    /// A client that was registered dynamically, by a key of ours.
    fn client(&self, key: &str) -> Result<Option<Value>, KeepError>;
    /// Keeps it; `None` forgets it.
    fn keep_client(&self, key: &str, value: Option<&Value>) -> Result<(), KeepError>;
    /// The id that a thread has now (a group that got a new one).
    fn thread_now(&self, thread: ThreadId) -> ThreadId;
}

/// The disk said no; the words hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeepError(pub String);

/// What the room works with.
#[derive(Clone)]
pub struct OAuthParts {
    /// The one HTTP client.
    pub net: Net,
    /// The disk.
    pub keeper: Arc<dyn Keeper>,
    /// Milliseconds since the epoch.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Where people reach our pages, without a path; `None` where they cannot: then links lead straight to the
    /// authorization server, and the address that it sends back to is pasted into the chat.
    pub public_url: Option<Url>,
    /// Where we listen; the redirect address is on it where there is no public URL (RFC 8252, 7.3).
    pub listen: std::net::SocketAddr,
    /// Clients that the operator registered beforehand, by issuer.
    pub clients: Vec<OperatorClient>,
}

/// A client id that was registered beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorClient {
    /// The issuer that knows it, exactly as it writes itself.
    pub issuer: String,
    /// The id.
    pub client: GivenClient,
}

/// A client id with its secret, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenClient {
    /// The id.
    pub id: String,
    /// Its secret.
    pub secret: Option<Secret>,
}

/// The handle of the room. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    room: Arc<room::Room>,
}

/// A login under way; random, unguessable, fit for a button.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LoginId(pub String);

/// What a login is for.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The thread.
    pub thread: ThreadId,
    /// Who wants it; the only one who can finish it.
    pub by: Actor,
    /// The chat in words, for the page: "your private chat", "the group".
    pub place: String,
    /// The server's name in the thread.
    pub server: ServerName,
    /// Its address, as it may be shown: a key in it has its name instead.
    pub url: Url,
    /// The address with the keys in their places, where it has any.
    pub keyed: Option<Keyed>,
    /// The `WWW-Authenticate` header that the server sent, where it sent one.
    pub challenge: Option<String>,
    /// A client id that the person gave.
    pub client: Option<GivenClient>,
    /// Where the tokens will be kept.
    pub credential: CredentialId,
}

/// An address that has keys in it. It is asked how to log in, and is neither shown nor handed on.
#[derive(Clone)]
pub struct Keyed {
    /// The whole address.
    pub url: Url,
    /// The keys in it.
    pub keys: Vec<Secret>,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed([redacted])")
    }
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Which login.
    pub id: LoginId,
    /// What the person opens.
    pub link: Url,
    /// Whether the link is our own page (and the way back comes to us); else the person pastes the address back.
    pub through_us: bool,
    /// Who is asked to let us in: the authorization server's host.
    pub issuer: String,
    /// What will be asked for; empty where the server did not say.
    pub scopes: Vec<String>,
    /// How the bot names itself there: `preregistered`, `metadata document`, `registered`.
    pub client: ClientKind,
    /// Until when, in milliseconds since the epoch.
    pub until_ms: i64,
}

/// Where our client id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// Given by the person or the operator.
    Given,
    /// Our metadata document (CIMD).
    Document,
    /// Registered dynamically (RFC 7591).
    Registered,
}

/// What a start page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPage {
    /// The server's name in the thread.
    pub server: String,
    /// Its address.
    pub url: String,
    /// The chat in words.
    pub place: String,
    /// Who began.
    pub who: String,
    /// The authorization server's host.
    pub issuer: String,
    /// What will be asked for.
    pub scopes: Vec<String>,
    /// Where it goes on to: scheme, host and port of the authorization server.
    pub leads_to: String,
}

/// Where a browser that came back stands; each has a page of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// All is well: the person presses Finish in the chat.
    Welcome {
        /// The server's name in the thread.
        server: String,
        /// The chat in words.
        place: String,
        /// Who began.
        who: String,
    },
    /// The person said no there.
    Denied {
        /// The server's name in the thread.
        server: String,
        /// The chat in words.
        place: String,
    },
    /// The authorization server answered with an error, or exchanged nothing.
    Failed {
        /// The server's name in the thread.
        server: String,
        /// The chat in words.
        place: String,
        /// What went wrong, a sentence for people; bounded, untrusted.
        why: String,
    },
    /// The login is over, was used, or never was ours.
    Unknown,
    /// It was begun in another browser.
    WrongBrowser,
}

/// What the room tells the desk.
#[derive(Debug, Clone)]
pub struct LoginNotice {
    /// The thread.
    pub thread: ThreadId,
    /// Which login.
    pub id: LoginId,
    /// What became of it.
    pub news: LoginNews,
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginNews {
    /// The browser came back and the tokens wait for Finish.
    Arrived {
        /// Who logged in there, as far as the server says (the `sub` or email of an id token); untrusted.
        account: Option<String>,
        /// What was granted.
        scopes: Vec<String>,
    },
    /// The person said no.
    Denied,
    /// It failed; a sentence for people.
    Failed(String),
    /// Nobody came in time.
    Expired,
}

/// Why a login cannot begin or end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// The server names no authorization server that we can use; a sentence for people.
    #[error("{0}")]
    Discovery(String),
    /// The authorization server takes no clients that it does not know: a client id must be given.
    #[error(
        "{issuer} takes no new programs by itself; it needs a client id that you register there"
    )]
    NeedsClientId {
        /// Its host.
        issuer: String,
        /// The redirect address to register there.
        redirect: String,
    },
    /// It is over, was used, or never was.
    #[error("this login is over")]
    Over,
    /// It is another person's.
    #[error("this login is somebody else's")]
    NotYours,
    /// It came back already, and waits for Finish.
    #[error("this login came through already; press Finish")]
    Waits,
    /// The authorization server did not give a token; a sentence for people.
    #[error("{0}")]
    Refused(String),
    /// The disk.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// Why there is no token to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The person must log in (again); a sentence that says why.
    #[error("{0}")]
    NeedsLogin(String),
    /// It may work later: the authorization server does not answer.
    #[error("{0}")]
    Later(String),
}

/// What a logout did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedOut {
    /// The server was told and took it (RFC 7009).
    Revoked,
    /// The server has no place to be told, or did not answer; the tokens are forgotten here.
    Forgotten,
    /// There was nothing.
    Nothing,
}

impl std::fmt::Debug for OAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuth").finish_non_exhaustive()
    }
}

impl OAuth {
    /// Opens the room: what is under way goes on, and its ends are told through the receiver.
    pub fn start(parts: OAuthParts) -> (Self, mpsc::Receiver<LoginNotice>) {
        let public = parts.public_url.as_ref();
        let document = public
            // Authorization servers fetch it over https and nothing else.
            .filter(|public| public.scheme() == "https")
            .and_then(|public| Url::parse(&room::below(public, "oauth/client.json")).ok());
        Self::start_as(parts, document)
    }

    /// As [`OAuth::start`], with the client metadata document (CIMD) at an address of its own; `None`: there is none.
    pub fn start_as(
        parts: OAuthParts,
        document: Option<Url>,
    ) -> (Self, mpsc::Receiver<LoginNotice>) {
        let (sender, receiver) = mpsc::channel(64);
        let room = Arc::new(room::Room::new(parts, document, sender));
        room.tasks.spawn(ending::clockwork(Arc::clone(&room)));
        (Self { room }, receiver)
    }

    /// Begins a login: asks the server who may let us in, finds a client id, makes the link.
    pub async fn begin(&self, ask: Begin) -> Result<Invitation, OAuthError> {
        login::begin(&self.room, ask).await
    }

    /// What the start page of a link shows; `None` where the link is over.
    pub async fn start_page(&self, nonce: &str) -> Option<StartPage> {
        login::start_page(&self.room, nonce).await
    }

    /// The person goes on from the start page: where to, and the cookie that binds the browser (a `Set-Cookie` value).
    pub async fn leave(&self, nonce: &str) -> Option<(Url, String)> {
        login::leave(&self.room, nonce).await
    }

    /// A browser came back with this query; `cookie` as it sent it.
    pub async fn arrive(&self, query: &str, cookie: Option<&str>) -> Arrival {
        arrival::arrive(&self.room, query, cookie).await
    }

    /// The person pasted the address that their browser was sent to. No cookie: the paste itself comes from who began.
    /// What arrives is told by a notice, with the account, and waits for Finish; what fails is the answer alone.
    pub async fn pasted(
        &self,
        thread: ThreadId,
        by: &ActorId,
        address: &str,
    ) -> Result<LoginId, OAuthError> {
        arrival::pasted(&self.room, thread, by, address).await
    }

    /// The person who began presses Finish: the tokens become the thread's. Where several stand behind who began
    /// ([`ActorId::is_shared`]) anybody may, and the desk judges who that is.
    pub async fn finish(&self, id: &LoginId, by: &ActorId) -> Result<(), OAuthError> {
        ending::finish(&self.room, id, by).await
    }

    /// Ends a login that nobody wants any more.
    pub async fn cancel(&self, id: &LoginId) {
        ending::cancel(&self.room, id).await;
    }

    /// A token for a request, renewed where it is about to end; one renewal at a time for each credential.
    pub async fn token(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
    ) -> Result<Secret, NoToken> {
        tokens::token(&self.room, thread, credential, url, None).await
    }

    /// The server refused this token (401): renews it, once for all who ask with the same one.
    pub async fn refused(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
        token: &Secret,
    ) -> Result<Secret, NoToken> {
        tokens::token(&self.room, thread, credential, url, Some(token)).await
    }

    /// Whether there is a login for this credential.
    pub async fn has_login(&self, thread: ThreadId, credential: &CredentialId) -> bool {
        tokens::has_login(&self.room, thread, credential).await
    }

    /// The address that the tokens of a credential are for; `None` where nothing is kept under it.
    pub async fn address(&self, thread: ThreadId, credential: &CredentialId) -> Option<Url> {
        tokens::address(&self.room, thread, credential).await
    }

    /// Revokes and forgets, with what is under way for this credential.
    pub async fn logout(&self, thread: ThreadId, credential: &CredentialId) -> LoggedOut {
        tokens::logout(&self.room, thread, credential).await
    }

    /// Our own client metadata document, served under the public URL; `None` without one.
    pub fn client_document(&self) -> Option<Value> {
        clients::document(&self.room)
    }

    /// The path of the public URL, which a proxy before us may have left on requests: empty, or `/below`.
    pub fn base_path(&self) -> &str {
        let public = self.room.parts.public_url.as_ref();
        public.map_or("", |public| public.path().trim_end_matches('/'))
    }

    /// The origin of the public URL, as browsers write it; `None` without one.
    pub fn origin(&self) -> Option<String> {
        let public = self.room.parts.public_url.as_ref()?;
        Some(public.origin().ascii_serialization())
    }

    /// Ends the timers, and waits a while for what would be lost half done.
    pub async fn shutdown(&self) {
        self.room.stop.cancel();
        self.room.tasks.close();
        let waited = tokio::time::timeout(SHUTDOWN, self.room.tasks.wait()).await;
        if waited.is_err() {
            tracing::warn!(
                "a login or its renewal is left half done; it is told at the next start."
            );
        }
    }
}
