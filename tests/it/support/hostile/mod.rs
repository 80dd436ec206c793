//! A remote MCP server of our own, on loopback, that behaves as a test tells it to: well, or in every wrong way that the
//! bot has to bear. It counts what it saw, so that a test can say that nothing spins and nothing leaks.
//!
//! Each has a port and a thread of its own; [`Far::die`] and [`Far::rise`] end it and bring it back at the same port.

mod answers;
mod http;
mod life;
mod streams;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use life::{Life, Port};
use streams::Lines;

/// Nothing in a test waits longer than this; what does is a hang, and fails.
const PATIENCE: Duration = Duration::from_mins(5);

/// The server and what it saw.
pub struct Far {
    state: Arc<State>,
    port: Port,
    life: Option<Life>,
}

/// How it behaves. The default is a good streamable HTTP server with sessions, a GET stream and answers as events.
#[derive(Debug, Clone)]
pub struct Manners {
    pub speaks: Speaks,
    pub sessions: Sessions,
    pub get: Get,
    pub wants: Wants,
    /// The first that fits a request is done instead of an answer.
    pub troubles: Vec<(On, Trouble)>,
    /// Tools named `tool0` and so on, beside the ones of [`answers`].
    pub tools: usize,
    pub pages: Pages,
    /// The protocol revision that it says in `initialize`; what it is asked for where `None`.
    pub protocol: Option<&'static str>,
    /// The status of a POST to the address of a legacy stream.
    pub legacy_post: u16,
    /// Where its metadata is said to have gone.
    pub metadata_at: Option<String>,
    /// What the legacy stream says first; `{base}` stands for its own address.
    pub endpoint: Option<&'static str>,
    /// The tool that wants more rights than any token has, except this one.
    pub more_rights: Option<(&'static str, &'static str)>,
}

/// The language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Streamable HTTP up to 2025-11-25; answers are JSON.
    Json,
    /// Streamable HTTP up to 2025-11-25; answers are events.
    Events,
    /// HTTP+SSE of 2024-11-05.
    Legacy,
    /// Streamable HTTP of 2026-07-28: no handshake, no sessions.
    Modern,
    /// A web server that knows nothing of MCP.
    Web,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    None,
    Kept,
    /// A session answers so many requests and is then unknown (404).
    ForgottenAfter(usize),
    /// Every answer names another session; all are taken.
    Changing,
}

/// What a GET brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Get {
    /// 405.
    None,
    /// A stream that stays open.
    Open,
    /// A stream that ends at once, after `retry:` where there is a number.
    Closes(Option<u64>),
    /// A stream that breaks off at once.
    Breaks,
    /// Notifications without end.
    Floods,
    /// One event without end.
    HugeEvent,
    /// Nothing ever, not even a status.
    Silent,
    /// A page.
    Html,
    /// 500.
    Fails,
}

/// What it wants to know of the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    Nothing,
    /// `Authorization: Bearer` and one of these; else 401 with the challenge, in which `{base}` stands for its address and
    /// `{token}` for what it was sent.
    Token {
        tokens: Vec<String>,
        challenge: Option<&'static str>,
        /// It has protected resource metadata (RFC 9728).
        metadata: bool,
    },
    /// A header with this value; else 401 without a word.
    Header(&'static str, String),
    /// 403 to everybody.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Every POST and GET.
    All,
    /// Every POST.
    Post,
    /// Every DELETE.
    Delete,
    /// A JSON-RPC method.
    Rpc(&'static str),
    /// The same, but only the first time: the trouble is then over.
    Once(&'static str),
}

/// What it does instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Not even a status.
    Silence,
    /// A status, and then nothing of the body.
    Headers,
    /// A body of blanks, byte by byte, without end.
    Drip,
    /// The right answer, byte by byte.
    Slow,
    /// Notifications without end, as events.
    Flood,
    /// A JSON body without end.
    HugeBody,
    /// One event without end.
    HugeEvent,
    /// `{token}` in it stands for the token that it was sent.
    Redirect(String),
    /// A status with `Retry-After`.
    Status(u16, Option<&'static str>),
    Html,
    /// The right answer as `text/plain`.
    WrongType,
    /// Text that is no JSON, called JSON.
    Nonsense,
    /// A good answer to another request.
    WrongId,
    /// A stream of events that ends without an answer.
    Cut,
    /// A body that breaks off.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    One,
    Of(usize),
    /// The second page leads to itself.
    Loop,
    /// Each page leads to another one.
    Endless,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Value,
    /// In which of its lives it was seen, from 1.
    pub life: usize,
}

impl Seen {
    /// The JSON-RPC method; empty where there is none.
    pub fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            speaks: Speaks::Events,
            sessions: Sessions::Kept,
            get: Get::Open,
            wants: Wants::Nothing,
            troubles: Vec::new(),
            tools: 0,
            pages: Pages::One,
            protocol: None,
            legacy_post: 404,
            metadata_at: None,
            endpoint: None,
            more_rights: None,
        }
    }
}

impl Manners {
    pub fn speaking(speaks: Speaks) -> Self {
        Self {
            speaks,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with(mut self, on: On, trouble: Trouble) -> Self {
        self.troubles.push((on, trouble));
        self
    }

    #[must_use]
    pub fn get(mut self, get: Get) -> Self {
        self.get = get;
        self
    }

    #[must_use]
    pub fn wanting(mut self, wants: Wants) -> Self {
        self.wants = wants;
        self
    }
}

/// What its requests share; outlives its lives.
struct State {
    address: SocketAddr,
    /// A std lock, as all here: held for a moment, never over an await.
    manners: Mutex<Manners>,
    seen: Mutex<Vec<Seen>>,
    sessions: Mutex<HashMap<String, usize>>,
    streams: Mutex<Vec<Lines>>,
    legacy: Mutex<HashMap<String, Lines>>,
    waiting: Mutex<HashMap<String, CancellationToken>>,
    grown: AtomicUsize,
    /// Told whenever something is counted.
    news: watch::Sender<u64>,
    gate: watch::Sender<bool>,
    next: AtomicU64,
    lives: AtomicUsize,
    connections: AtomicUsize,
    accepted: AtomicUsize,
    open_streams: AtomicUsize,
    endless: AtomicUsize,
    sent: AtomicU64,
    over: Mutex<HashSet<usize>>,
}

impl Far {
    /// A server on 127.0.0.1.
    pub async fn start(manners: Manners) -> Self {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST), manners).await
    }

    /// A server at another address of loopback, such as 127.0.0.2.
    pub async fn start_at(ip: IpAddr, manners: Manners) -> Self {
        let port = Port::take(ip);
        let state = Arc::new(State {
            address: port.address,
            manners: Mutex::new(manners),
            seen: Mutex::default(),
            sessions: Mutex::default(),
            streams: Mutex::default(),
            legacy: Mutex::default(),
            waiting: Mutex::default(),
            grown: AtomicUsize::new(0),
            news: watch::channel(0).0,
            gate: watch::channel(false).0,
            next: AtomicU64::new(0),
            lives: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            open_streams: AtomicUsize::new(0),
            endless: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            over: Mutex::default(),
        });
        let mut far = Self {
            state,
            port,
            life: None,
        };
        far.rise().await;
        far
    }

    /// Without a path: `http://127.0.0.1:1234`.
    pub fn base(&self) -> String {
        self.state.base()
    }

    /// What is connected to: `…/mcp`, and `…/sse` for a legacy one.
    pub fn url(&self) -> String {
        let path = match self.state.manners().speaks {
            Speaks::Legacy => "sse",
            _ => "mcp",
        };
        format!("{}/{path}", self.base())
    }

    /// Changes how it behaves from the next request on.
    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state.manners());
    }

    /// Ends it: all its connections break, its port refuses.
    pub async fn die(&mut self) {
        if let Some(life) = self.life.take() {
            life.end().await;
        }
        self.forget_sessions();
        self.end_streams();
    }

    /// Brings it back at the same port. It knows no session of its last life.
    pub async fn rise(&mut self) {
        if self.life.is_none() {
            self.state.lives.fetch_add(1, Ordering::SeqCst);
            self.life = Some(Life::begin(&self.port, self.state.clone()).await);
        }
    }

    /// Every session is unknown from now on; streams that are open stay so.
    pub fn forget_sessions(&self) {
        self.state.sessions().clear();
    }

    /// Ends the open streams, each as a server does that restarts its HTTP side.
    pub fn end_streams(&self) {
        self.state.streams().clear();
        self.state.legacy().clear();
    }

    /// Sends a message to every open stream.
    pub fn push(&self, message: &Value) {
        self.state.push(message);
    }

    /// Writes this text into every open stream, event or not.
    pub fn say(&self, text: &str) {
        let text = text.to_owned();
        self.state.streams().retain(|lines| lines.raw(text.clone()));
    }

    /// Adds a tool and says so.
    pub fn grow(&self) {
        self.state.grow();
    }

    /// Lets the calls of `wait` go on, now and later.
    pub fn open_gate(&self) {
        self.state.gate.send_replace(true);
    }

    /// Everything that came in, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen().clone()
    }

    /// How many requests were such.
    pub fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.state.seen().iter().filter(|seen| is(seen)).count()
    }

    /// How many requests had this JSON-RPC method.
    pub fn rpcs(&self, method: &str) -> usize {
        self.count(|seen| seen.rpc() == method)
    }

    pub fn gets(&self) -> usize {
        self.count(|seen| seen.method == Method::GET)
    }

    /// Connections that are open; a client may keep a few for later.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections that were ever made.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Streams of events that a client has open for whatever comes.
    pub fn streams(&self) -> usize {
        self.state.open_streams.load(Ordering::SeqCst)
    }

    /// Bodies without an end that a client still reads.
    pub fn endless(&self) -> usize {
        self.state.endless.load(Ordering::SeqCst)
    }

    /// The most bytes that a client took of one body without an end.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Calls of `wait` that wait.
    pub fn waiting(&self) -> usize {
        self.state.waiting().len()
    }

    /// Waits until it is so. Looks again whenever something came in, opened or ended.
    pub async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut news = self.state.news.subscribe();
        let waiting = async {
            loop {
                news.borrow_and_update();
                if is(self) {
                    return;
                }
                news.changed().await.expect("the sender is in the state");
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let seen: Vec<_> = self
                .seen()
                .iter()
                .map(|seen| format!("{} {} {}", seen.method, seen.path, seen.rpc()))
                .collect();
            panic!("not in time: {what}; it saw {seen:#?}");
        }
    }
}

impl Far {
    /// No token that it was ever sent stands in an address that it was asked for (RFC 6750, 5.3). Of short ones nothing is said:
    /// a test may have put them there itself.
    fn no_token_in_an_address(&self) {
        let seen = self.seen();
        let sent = seen.iter().filter_map(|seen| seen.header("authorization"));
        let tokens: HashSet<&str> = sent
            .filter_map(|sent| sent.strip_prefix("Bearer "))
            .filter(|token| token.len() > 8)
            .collect();
        for seen in &seen {
            let address = format!("{}?{}", seen.path, seen.query);
            for token in &tokens {
                assert!(!address.contains(token), "{token} stands in {address}");
            }
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.no_token_in_an_address();
        }
        if let Some(life) = self.life.take() {
            life.forget();
        }
    }
}

impl State {
    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn manners(&self) -> MutexGuard<'_, Manners> {
        self.manners.lock().unwrap()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.sessions.lock().unwrap()
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Lines>> {
        self.streams.lock().unwrap()
    }

    fn legacy(&self) -> MutexGuard<'_, HashMap<String, Lines>> {
        self.legacy.lock().unwrap()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.waiting.lock().unwrap()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    fn push(&self, message: &Value) {
        self.streams().retain(|lines| lines.message(message));
    }

    fn grow(&self) {
        self.grown.fetch_add(1, Ordering::SeqCst);
        self.push(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    }

    /// The trouble that a request is in, if any.
    fn trouble(&self, method: &Method, rpc: &str) -> Option<Trouble> {
        let manners = self.manners();
        let mut over = self.over.lock().unwrap();
        manners
            .troubles
            .iter()
            .enumerate()
            .find(|(at, (on, _))| match on {
                On::All => method == Method::GET || method == Method::POST,
                On::Post => method == Method::POST,
                On::Delete => method == Method::DELETE,
                On::Rpc(name) => *name == rpc,
                On::Once(name) => *name == rpc && over.insert(*at),
            })
            .map(|(_, (_, trouble))| trouble.clone())
    }
}
