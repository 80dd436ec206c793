//! One room with its disk, its clock and the servers that it talks to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use switchboard::actor::{Actor, ActorId};
use switchboard::config::{CredentialId, ServerName};
use switchboard::net::{Net, NetOptions};
use switchboard::oauth::{
    Arrival, Begin, Invitation, KeepError, Keeper, LoginId, LoginNews, LoginNotice, NoToken, OAuth,
    OAuthError, OAuthParts, OperatorClient,
};
use switchboard::policy::AddressRules;
use switchboard::secret::Secret;
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;
use url::Url;

use super::stand::Stand;

pub const HERE: ThreadId = ThreadId::Telegram {
    chat: 7,
    topic: None,
};
pub const THERE: ThreadId = ThreadId::Telegram {
    chat: 8,
    topic: None,
};
pub const PUBLIC: &str = "https://bot.example/base";

/// A disk in memory.
#[derive(Debug, Default)]
pub struct Disk {
    pub credentials: Mutex<BTreeMap<String, Value>>,
    pub logins: Mutex<BTreeMap<String, Value>>,
    pub clients: Mutex<BTreeMap<String, Value>>,
    /// `HERE` is called `THERE` now.
    pub moved: AtomicBool,
    /// Nothing more can be written.
    pub full: AtomicBool,
}

/// The disk as one life of the bot has it: what is left of a dead one writes no more.
#[derive(Debug)]
pub struct Life {
    disk: Arc<Disk>,
    is_dead: AtomicBool,
}

pub struct World {
    pub stand: Stand,
    pub disk: Arc<Disk>,
    life: Arc<Life>,
    pub oauth: OAuth,
    pub notices: mpsc::Receiver<LoginNotice>,
    pub clock: Arc<AtomicI64>,
    pub public: Option<Url>,
    pub operator: Vec<OperatorClient>,
    /// Looks through all addresses that were asked for, at the end of each test.
    _watch: Watch,
}

struct Watch(Stand);

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.no_token_in_an_address();
        }
    }
}

impl World {
    /// With a public URL.
    pub async fn public() -> Self {
        Self::start(Some(Url::parse(PUBLIC).unwrap())).await
    }

    /// Without one: the link leads straight there.
    pub async fn bare() -> Self {
        Self::start(None).await
    }

    /// As [`World::public`], with everything at 127.0.0.2: nothing else of loopback may be spoken to.
    pub async fn walled() -> Self {
        let public = Some(Url::parse(PUBLIC).unwrap());
        Self::start_at(Stand::start_at("127.0.0.2").await, public)
    }

    async fn start(public: Option<Url>) -> Self {
        Self::start_at(Stand::start().await, public)
    }

    fn start_at(stand: Stand, public: Option<Url>) -> Self {
        let disk = Arc::new(Disk::default());
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let life = Life::new(&disk);
        let parts = parts(&stand, &life, &clock, public.clone(), Vec::new());
        let (oauth, notices) = OAuth::start(parts);
        Self {
            _watch: Watch(stand.clone()),
            stand,
            disk,
            life,
            oauth,
            notices,
            clock,
            public,
            operator: Vec::new(),
        }
    }

    /// The bot dies, as it stands, and another begins on the same disk.
    pub fn restart(&mut self) {
        self.life.is_dead.store(true, Ordering::SeqCst);
        self.life = Life::new(&self.disk);
        let (oauth, notices) = OAuth::start(parts(
            &self.stand,
            &self.life,
            &self.clock,
            self.public.clone(),
            self.operator.clone(),
        ));
        self.oauth = oauth;
        self.notices = notices;
    }

    pub fn later(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub fn ask(&self, challenge: &str) -> Begin {
        Begin {
            thread: HERE,
            by: person("tg:1"),
            place: "the group".to_owned(),
            server: ServerName::new("notes").unwrap(),
            url: self.stand.url(),
            keyed: None,
            challenge: Some(self.stand.challenge(challenge)),
            client: None,
            credential: credential(),
        }
    }

    pub async fn begin(&self) -> Result<Invitation, OAuthError> {
        self.oauth.begin(self.ask("")).await
    }

    /// Somebody else's.
    pub async fn begin_for(&self, by: &str) -> Result<Invitation, OAuthError> {
        let mut ask = self.ask("");
        ask.by = person(by);
        self.oauth.begin(ask).await
    }

    /// Where the person logs in, and the cookie of their browser.
    pub async fn leave(&self, invitation: &Invitation) -> (Url, Option<String>) {
        if !invitation.through_us {
            return (invitation.link.clone(), None);
        }
        let (address, cookie) = self.oauth.leave(nonce(invitation)).await.unwrap();
        (address, Some(cookie.split(';').next().unwrap().to_owned()))
    }

    /// From the link to waiting tokens.
    pub async fn arrive(&mut self, invitation: &Invitation) -> LoginNews {
        let (address, cookie) = self.leave(invitation).await;
        let query = self.stand.consent(&address);
        let arrival = self.oauth.arrive(&query, cookie.as_deref()).await;
        assert!(matches!(arrival, Arrival::Welcome { .. }), "{arrival:?}");
        self.news(&invitation.id).await
    }

    /// A whole login.
    pub async fn log_in(&mut self) {
        self.log_in_with("").await;
    }

    pub async fn log_in_with(&mut self, challenge: &str) {
        let invitation = self.oauth.begin(self.ask(challenge)).await.unwrap();
        self.arrive(&invitation).await;
        self.finish(&invitation.id).await.unwrap();
    }

    pub async fn finish(&self, id: &LoginId) -> Result<(), OAuthError> {
        self.oauth.finish(id, &person("tg:1").id).await
    }

    /// The next notice, which is about this login.
    pub async fn news(&mut self, id: &LoginId) -> LoginNews {
        let notice = tokio::time::timeout(std::time::Duration::from_secs(20), self.notices.recv());
        let notice = notice.await.expect("no notice came").unwrap();
        assert_eq!(notice.id, *id);
        assert_eq!(notice.thread, HERE);
        notice.news
    }

    pub fn no_news(&mut self) {
        assert!(self.notices.try_recv().is_err(), "a notice came");
    }

    pub async fn token(&self) -> Result<String, NoToken> {
        let token = self
            .oauth
            .token(HERE, &credential(), &self.stand.url())
            .await;
        token.map(|token| token.expose().to_owned())
    }

    pub async fn refused(&self, token: &str) -> Result<String, NoToken> {
        let token = Secret::from(token.to_owned());
        let (id, url) = (credential(), self.stand.url());
        let new = self.oauth.refused(HERE, &id, &url, &token).await;
        new.map(|token| token.expose().to_owned())
    }
}

pub fn parts(
    stand: &Stand,
    life: &Arc<Life>,
    clock: &Arc<AtomicI64>,
    public_url: Option<Url>,
    clients: Vec<OperatorClient>,
) -> OAuthParts {
    let rules = AddressRules {
        allow_http: true,
        allow: vec![
            format!("{}/32", stand.url().host_str().unwrap())
                .parse()
                .unwrap(),
        ],
    };
    let clock = Arc::clone(clock);
    OAuthParts {
        net: Net::new(NetOptions {
            rules,
            ..NetOptions::default()
        }),
        keeper: Arc::clone(life) as Arc<dyn Keeper>,
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        public_url,
        listen: "127.0.0.1:8787".parse().unwrap(),
        clients,
    }
}

pub fn credential() -> CredentialId {
    CredentialId::new("notes-1").unwrap()
}

pub fn person(id: &str) -> Actor {
    Actor {
        id: ActorId(id.to_owned()),
        name: "Ann".to_owned(),
    }
}

pub fn nonce(invitation: &Invitation) -> &str {
    invitation.link.path().rsplit('/').next().unwrap()
}

impl Life {
    fn new(disk: &Arc<Disk>) -> Arc<Self> {
        Arc::new(Self {
            disk: Arc::clone(disk),
            is_dead: AtomicBool::new(false),
        })
    }

    fn put(
        &self,
        of: impl Fn(&Disk) -> &Mutex<BTreeMap<String, Value>>,
        key: String,
        value: Option<&Value>,
    ) -> Result<(), KeepError> {
        let mut values = of(&self.disk).lock().unwrap();
        if self.is_dead.load(Ordering::SeqCst) || self.disk.full.load(Ordering::SeqCst) {
            return Err(KeepError("the disk is full".to_owned()));
        }
        match value {
            Some(value) => values.insert(key, value.clone()),
            None => values.remove(&key),
        };
        Ok(())
    }
}

impl Keeper for Life {
    fn credential(&self, thread: ThreadId, id: &CredentialId) -> Result<Option<Value>, KeepError> {
        let all = self.disk.credentials.lock().unwrap();
        Ok(all.get(&format!("{thread}/{id}")).cloned())
    }

    fn keep_credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
        value: Option<&Value>,
    ) -> Result<(), KeepError> {
        self.put(|disk| &disk.credentials, format!("{thread}/{id}"), value)
    }

    fn login(&self, id: &str) -> Result<Option<Value>, KeepError> {
        Ok(self.disk.logins.lock().unwrap().get(id).cloned())
    }

    fn keep_login(&self, id: &str, value: Option<&Value>) -> Result<(), KeepError> {
        self.put(|disk| &disk.logins, id.to_owned(), value)
    }

    fn logins(&self) -> Result<Vec<String>, KeepError> {
        Ok(self.disk.logins.lock().unwrap().keys().cloned().collect())
    }

    fn client(&self, key: &str) -> Result<Option<Value>, KeepError> {
        Ok(self.disk.clients.lock().unwrap().get(key).cloned())
    }

    fn keep_client(&self, key: &str, value: Option<&Value>) -> Result<(), KeepError> {
        self.put(|disk| &disk.clients, key.to_owned(), value)
    }

    fn thread_now(&self, thread: ThreadId) -> ThreadId {
        if thread == HERE && self.disk.moved.load(Ordering::SeqCst) {
            return THERE;
        }
        thread
    }
}
