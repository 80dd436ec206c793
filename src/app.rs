//! Wiring, and the order of start and shutdown. The only file that knows every room; it decides nothing about servers.
//!
//! Start: store, registry, reload, desk, front. Shutdown: the front stops taking events, reload stops watching and drains,
//! the desk ends what it handles, the registry closes connections and names stragglers. A second signal exits at once.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use async_trait::async_trait;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::actor::{Actor, ActorId};
use crate::chat::telegram::{Telegram, TelegramOptions};
use crate::chat::terminal::{LOCAL_ACTOR, Streams, Terminal, TerminalOptions};
use crate::chat::{Event, EventKind, EventSink, Front, PressId};
use crate::config::{CredentialId, RemoteServer, SecretName, ServerName, owner_elsewhere};
use crate::desk::{Clock, Desk, DeskParts};
use crate::net::{Net, NetOptions};
use crate::oauth::{KeepError, Keeper, OAuth, OAuthParts, OperatorClient};
use crate::registry::{Keys, NoToken, Registry, RegistryOptions, ToolCache};
use crate::reload::{Reload, ReloadOptions};
use crate::secret::Secret;
use crate::settings::{AdminServers, FrontKind, Settings};
use crate::store::{Claim, Shelf, Store};
use crate::thread::ThreadId;
use crate::web::Web;

/// Everything ends within this long after the first signal.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The last lines have this long to be read.
const FLUSH: Duration = Duration::from_secs(2);

/// How a house is built.
#[derive(Clone)]
pub struct HouseOptions {
    /// The data folder.
    pub data: PathBuf,
    /// How the registry works; its paths are set by [`House::open`].
    pub registry: RegistryOptions,
    /// How reload works.
    pub reload: ReloadOptions,
    /// What may be spoken to over the network, and how.
    pub net: NetOptions,
    /// Where people reach our pages.
    pub public_url: Option<url::Url>,
    /// Where our pages are served.
    pub listen: SocketAddr,
    /// Where our client metadata document is, when that is not below the public URL.
    pub client_document: Option<url::Url>,
    /// Which of the operator's servers threads are offered.
    pub admin_servers: AdminServers,
    /// The time.
    pub clock: Clock,
    /// One command and the end: nothing is kept that waits for a person.
    pub one_shot: bool,
}

/// All rooms behind a front, running.
#[derive(Debug)]
pub struct House {
    /// Where events go.
    pub desk: Desk,
    /// What loads threads.
    pub reload: Reload,
    /// What runs servers.
    pub registry: Registry,
    /// What is on disk.
    pub store: Store,
    /// Logins at remote servers; what [`Web`] serves.
    pub oauth: OAuth,
    notices: JoinHandle<()>,
    pages: Option<Pages>,
    _claim: Option<Claim>,
}

/// The pages of logins, being served.
#[derive(Debug)]
struct Pages {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl HouseOptions {
    /// The defaults for a data folder, with our own program.
    pub fn new(data: PathBuf, program: PathBuf) -> Self {
        let registry = RegistryOptions::new(program, data.join("homes"));
        Self {
            data,
            registry,
            reload: ReloadOptions::default(),
            net: NetOptions::default(),
            public_url: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            client_document: None,
            admin_servers: AdminServers::None,
            clock: Arc::new(now_ms),
            one_shot: false,
        }
    }

    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the bot's own program cannot be found")?;
        let mut options = Self::new(settings.data.clone(), program);
        options.registry.server_idle = settings.server_idle;
        options.registry.call_timeout = settings.call_timeout;
        options.reload.thread_idle = settings.thread_idle;
        options.net.rules = settings.address_rules.clone();
        options.public_url.clone_from(&settings.public_url);
        options.listen = settings.listen;
        options.admin_servers = settings.admin_servers.clone();
        Ok(options)
    }
}

impl House {
    /// Opens the rooms behind a front. Nothing is loaded and no process is started before somebody speaks.
    pub fn open(
        options: HouseOptions,
        front: Arc<dyn Front>,
        our_name: Option<String>,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&options.data).with_context(|| {
            format!("the data folder {} cannot be used", options.data.display())
        })?;
        // A single command may work beside a bot; two bots would answer everything twice.
        let claim = (!options.one_shot)
            .then(|| store.claim_for_bot())
            .transpose()
            .context("no bot can start here while another one uses the folder")?;
        let net = Net::new(options.net);
        let logins_at = OAuthParts {
            net: net.clone(),
            keeper: Arc::new(Kept(store.clone())),
            clock: Arc::clone(&options.clock),
            public_url: options.public_url,
            listen: options.listen,
            clients: operator_clients(&store)?,
        };
        let (oauth, logins) = match options.client_document {
            Some(document) => OAuth::start_as(logins_at, Some(document)),
            None => OAuth::start(logins_at),
        };
        let (registry, reports) = Registry::start(
            options.registry,
            Arc::new(StoredTools(store.clone())),
            net,
            Arc::new(StoredKeys {
                store: store.clone(),
                oauth: oauth.clone(),
            }),
        );
        let reload = ReloadOptions {
            admin: options.admin_servers,
            ..options.reload
        };
        let (reload, changes) = Reload::start(store.clone(), registry.clone(), reload)
            .context("the data folder cannot be watched")?;
        let desk = Desk::new(DeskParts {
            front,
            store: store.clone(),
            registry: registry.clone(),
            reload: reload.clone(),
            oauth: oauth.clone(),
            clock: options.clock,
            our_name,
            one_shot: options.one_shot,
        });
        let notices = tokio::spawn({
            let desk = desk.clone();
            async move { desk.follow(changes, reports, logins).await }
        });
        Ok(Self {
            desk,
            reload,
            registry,
            store,
            oauth,
            notices,
            pages: None,
            _claim: claim,
        })
    }

    /// Serves the pages of logins until the house is closed.
    pub fn serve(&mut self, web: Web) {
        let stop = CancellationToken::new();
        let serving = web.serve(self.oauth.clone(), stop.clone());
        let served = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the pages for logins are not served any more.");
            }
        });
        self.pages = Some(Pages { stop, served });
    }

    /// Ends everything, in order, within the deadline; what does not end in time is named in the log.
    pub async fn close(self, deadline: Duration) {
        // The desk first: what was taken is answered while everything it needs still works.
        if tokio::time::timeout(deadline / 3, self.desk.drain())
            .await
            .is_err()
        {
            tracing::warn!("what was being handled did not end in time and is dropped.");
        }
        if let Some(pages) = &self.pages {
            pages.stop.cancel();
        }
        let rest = async {
            self.reload.shutdown().await;
            self.desk.shutdown().await;
            self.oauth.shutdown().await;
            if let Some(pages) = self.pages {
                let _ = pages.served.await;
            }
        };
        if tokio::time::timeout(deadline / 6, rest).await.is_err() {
            tracing::warn!("a reload or a task of the desk did not end in time and is dropped.");
        }
        for (thread, server) in self.registry.shutdown(deadline / 2).await {
            tracing::warn!(%thread, %server, "the server did not end by itself and was killed.");
        }
        self.notices.abort();
    }
}

/// Runs the bot until it is told to stop.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    match settings.front {
        FrontKind::Telegram => run_telegram(settings, stop).await,
        FrontKind::Terminal => run_terminal(settings, stop).await,
    }
}

async fn run_telegram(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let mut options = HouseOptions::of(&settings)?;
    let web = bound(&settings, &mut options).await?;
    let token = settings
        .token
        .as_ref()
        .context("the Telegram front needs TELOXIDE_TOKEN")?;
    let telegram = Telegram::connect(TelegramOptions {
        api_url: settings.api_url.clone(),
        ..TelegramOptions::new(token.expose())
    })
    .await?;
    let mut house = House::open(
        options,
        Arc::<Telegram>::clone(&telegram),
        Some(telegram.our_name().to_owned()),
    )?;
    if let Some(web) = web {
        house.serve(web);
    }
    say(&format!(
        "Switchboard serves Telegram as @{}. Ctrl-C ends it.",
        telegram.our_name()
    ));
    let signals = tokio::spawn(signals.stop(stop.clone(), None));
    let ended = telegram.run(Arc::new(house.desk.clone()), stop).await;
    house.close(SHUTDOWN).await;
    signals.abort();
    ended.map_err(Into::into)
}

async fn run_terminal(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let mut options = HouseOptions::of(&settings)?;
    let web = bound(&settings, &mut options).await?;
    let terminal = Terminal::start(TerminalOptions {
        downloads: settings.downloads.clone(),
        home: settings.home.clone(),
        name: settings.user.clone(),
        color: settings.color,
        banner: Some(settings.banner()),
        opening: Some("/start".to_owned()),
        streams: Streams::Process,
    });
    let mut house = House::open(options, Arc::<Terminal>::clone(&terminal), None)?;
    if let Some(web) = web {
        house.serve(web);
    }
    let signals = tokio::spawn(signals.stop(stop.clone(), Some(Arc::clone(&terminal))));
    let desk = house.desk.clone();
    let idle = Arc::new(move || {
        let desk = desk.clone();
        let quiet: futures::future::BoxFuture<'static, ()> =
            Box::pin(async move { desk.quiet().await });
        quiet
    });
    terminal.run(Arc::new(house.desk.clone()), idle, stop).await;
    house.close(SHUTDOWN).await;
    flushed(&terminal).await;
    signals.abort();
    Ok(())
}

/// Binds the address of the pages. Where nobody counts on it, a start without them is fine: the address that a login ends
/// at is then pasted into the chat.
async fn bound(settings: &Settings, options: &mut HouseOptions) -> anyhow::Result<Option<Web>> {
    let listen = settings.listen;
    let bound = Web::bind(listen).await;
    match bound.and_then(|web| web.address().map(|address| (web, address))) {
        Ok((web, address)) => {
            options.listen = address;
            tracing::info!(%address, "the pages for logins are served.");
            Ok(Some(web))
        }
        Err(error) if settings.listen_chosen || settings.public_url.is_some() => {
            Err(error).with_context(|| {
                format!(
                    "the pages for logins cannot be served at {listen}; free that address or set SWITCHBOARD_LISTEN to \
                     another one"
                )
            })
        }
        Err(error) => {
            tracing::info!(%listen, %error, "the pages for logins are not served; logins end by pasting an address.");
            Ok(None)
        }
    }
}

/// Runs one chat command in a thread, as its owner, and ends. With `yes`, the proposal it makes is applied. Returns
/// whether nothing that was shown was an error.
pub async fn do_once(
    settings: Settings,
    thread: ThreadId,
    yes: bool,
    line: String,
) -> anyhow::Result<bool> {
    let signals = Signals::listen()?;
    let options = HouseOptions {
        one_shot: true,
        ..HouseOptions::of(&settings)?
    };
    let terminal = Terminal::script(Box::new(std::io::stdout()), settings.downloads.clone());
    let house = House::open(options, Arc::<Terminal>::clone(&terminal), None)?;
    let actor = Actor {
        id: ActorId(LOCAL_ACTOR.to_owned()),
        name: settings.user.clone(),
    };
    let event = |kind| Event {
        thread,
        actor: actor.clone(),
        private: true,
        message: None,
        kind,
    };
    let stop = CancellationToken::new();
    let signals = tokio::spawn(signals.stop(stop.clone(), None));
    let work = async {
        // One event at a time: the inbox is never full.
        let _ = house.desk.deliver(event(EventKind::Text(line)));
        house.desk.quiet().await;
        let buttons = || terminal.last_buttons();
        let apply = buttons().and_then(|(on, buttons)| {
            let apply = buttons.into_iter().find(crate::desk::is_apply);
            apply.map(|button| (on, button))
        });
        match apply {
            Some((on, button)) if yes => {
                let press = EventKind::Press {
                    data: button.data,
                    on,
                    press: PressId("do".to_owned()),
                };
                let _ = house.desk.deliver(event(press));
                house.desk.quiet().await;
                // The files changed in between: there is a new difference to be looked at.
                buttons().is_none_or(|(_, buttons)| !buttons.iter().any(crate::desk::is_apply))
            }
            Some(_) => {
                say("Nothing was applied; `--yes` applies it.");
                true
            }
            None => true,
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = stop.cancelled() => false,
    };
    house.close(SHUTDOWN).await;
    let read = flushed(&terminal).await;
    signals.abort();
    Ok(done && read && !terminal.saw_error())
}

/// The clients that the operator registered beforehand.
fn operator_clients(store: &Store) -> anyhow::Result<Vec<OperatorClient>> {
    let Some(bytes) = store.operator_clients()? else {
        return Ok(Vec::new());
    };
    OperatorClient::read(&bytes)
        .context("the operator's clients in admin/oauth_clients.json cannot be used; mend the file or move it away")
}

/// Writes what is still to be shown; an output that nobody reads does not hold up the end.
async fn flushed(terminal: &Terminal) -> bool {
    tokio::time::timeout(FLUSH, terminal.flush())
        .await
        .unwrap_or(false)
}

/// The signals that end the bot, heard from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The first signal asks for an orderly end; the second ends the process at once. The launcher then ends the servers.
    async fn stop(mut self, stop: CancellationToken, terminal: Option<Arc<Terminal>>) {
        for first in [true, false] {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping; a second signal ends the bot at once.");
                stop.cancel();
            }
        }
        if let Some(terminal) = terminal {
            terminal.restore();
        }
        std::process::exit(130);
    }
}

/// The store's tool cache, as the registry sees it.
#[derive(Debug)]
struct StoredTools(Store);

#[async_trait]
impl ToolCache for StoredTools {
    fn get(
        &self,
        thread: ThreadId,
        server: &ServerName,
        definition: &str,
    ) -> Option<serde_json::Value> {
        self.0.tools(thread, server.as_str(), definition)
    }

    fn put(
        &self,
        thread: ThreadId,
        server: &ServerName,
        tools: Option<(&str, &serde_json::Value)>,
    ) {
        if let Err(error) = self.0.save_tools(thread, server.as_str(), tools) {
            tracing::warn!(%thread, %server, %error, "the list of tools could not be kept; the server will be started to ask for it.");
        }
    }
}

/// What remote servers need, as the registry sees it.
#[derive(Debug)]
struct StoredKeys {
    store: Store,
    oauth: OAuth,
}

#[async_trait]
impl Keys for StoredKeys {
    async fn is_approved(
        &self,
        thread: ThreadId,
        name: &ServerName,
        server: &RemoteServer,
    ) -> bool {
        let (store, name, wanted) = (self.store.clone(), name.clone(), server.approval());
        let look = move || {
            store
                .approvals(thread)
                .map(|all| all.get(&name) == Some(&wanted))
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(is_approved)) => is_approved,
            Ok(Err(error)) => {
                tracing::warn!(%thread, %error, "what was agreed to cannot be read; nothing is connected.");
                false
            }
            Err(_) => false,
        }
    }

    async fn secret(&self, thread: ThreadId, name: &SecretName, url: &Url) -> Option<Secret> {
        let (store, name, url) = (self.store.clone(), name.clone(), url.to_string());
        let look = move || {
            let agreed = store.approvals(thread)?;
            if let Some(owner) = owner_elsewhere(&agreed, &name, &url) {
                tracing::warn!(%thread, secret = %name, %owner, "a secret is asked for by another server than it was given for.");
                return Ok(None);
            }
            store.secret(thread, &name)
        };
        let read = tokio::task::spawn_blocking(look).await;
        read.ok()?
            .inspect_err(|error| tracing::warn!(%thread, %error, "a secret cannot be read."))
            .ok()?
    }

    async fn token(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
    ) -> Result<Secret, NoToken> {
        self.oauth
            .token(thread, credential, url)
            .await
            .map_err(no_token)
    }

    async fn refused(
        &self,
        thread: ThreadId,
        credential: &CredentialId,
        url: &Url,
        token: &Secret,
    ) -> Result<Secret, NoToken> {
        self.oauth
            .refused(thread, credential, url, token)
            .await
            .map_err(no_token)
    }
}

fn no_token(error: crate::oauth::NoToken) -> NoToken {
    match error {
        crate::oauth::NoToken::NeedsLogin(why) => NoToken::NeedsLogin(why),
        crate::oauth::NoToken::Later(why) => NoToken::Later(why),
    }
}

/// The disk, as the oauth room sees it.
#[derive(Debug)]
struct Kept(Store);

impl Keeper for Kept {
    fn credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
    ) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.credential(thread, id).map_err(kept)
    }

    fn keep_credential(
        &self,
        thread: ThreadId,
        id: &CredentialId,
        value: Option<&serde_json::Value>,
    ) -> Result<(), KeepError> {
        self.0.keep_credential(thread, id, value).map_err(kept)
    }

    fn login(&self, id: &str) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.shelved(Shelf::Logins, id).map_err(kept)
    }

    fn keep_login(&self, id: &str, value: Option<&serde_json::Value>) -> Result<(), KeepError> {
        self.0.shelve(Shelf::Logins, id, value).map_err(kept)
    }

    fn logins(&self) -> Result<Vec<String>, KeepError> {
        self.0.shelf(Shelf::Logins).map_err(kept)
    }

    fn client(&self, key: &str) -> Result<Option<serde_json::Value>, KeepError> {
        self.0.shelved(Shelf::Clients, key).map_err(kept)
    }

    fn keep_client(&self, key: &str, value: Option<&serde_json::Value>) -> Result<(), KeepError> {
        self.0.shelve(Shelf::Clients, key, value).map_err(kept)
    }

    fn thread_now(&self, thread: ThreadId) -> ThreadId {
        self.0.alias(thread).ok().flatten().unwrap_or(thread)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn kept(error: crate::store::StoreError) -> KeepError {
    KeepError(error.to_string())
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A line for the operator; nothing can be done where stderr is closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
