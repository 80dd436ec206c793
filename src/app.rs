//! Wiring, and the order of start and shutdown. The only file that knows every room; it decides nothing about servers.
//!
//! Start: store, registry, reload, desk, front. Shutdown: the front stops taking events, reload stops watching and drains,
//! the desk ends what it handles, the registry closes connections and names stragglers. A second signal exits at once.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use async_trait::async_trait;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::actor::{Actor, ActorId};
use crate::chat::telegram::{Telegram, TelegramOptions};
use crate::chat::terminal::{LOCAL_ACTOR, Streams, Terminal, TerminalOptions};
use crate::chat::{Event, EventKind, EventSink, Front, PressId};
use crate::config::ServerName;
use crate::desk::{Clock, Desk, DeskParts};
use crate::registry::{Registry, RegistryOptions, ToolCache};
use crate::reload::{Reload, ReloadOptions};
use crate::settings::{FrontKind, Settings};
use crate::store::{Claim, Store};
use crate::thread::ThreadId;

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
    notices: JoinHandle<()>,
    _claim: Option<Claim>,
}

impl HouseOptions {
    /// The defaults for a data folder, with our own program.
    pub fn new(data: PathBuf, program: PathBuf) -> Self {
        let registry = RegistryOptions::new(program, data.join("homes"));
        Self {
            data,
            registry,
            reload: ReloadOptions::default(),
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
        let (registry, reports) =
            Registry::start(options.registry, Arc::new(StoredTools(store.clone())));
        let (reload, changes) = Reload::start(store.clone(), registry.clone(), options.reload)
            .context("the data folder cannot be watched")?;
        let desk = Desk::new(DeskParts {
            front,
            store: store.clone(),
            registry: registry.clone(),
            reload: reload.clone(),
            clock: options.clock,
            our_name,
            one_shot: options.one_shot,
        });
        let notices = tokio::spawn({
            let desk = desk.clone();
            async move { desk.follow(changes, reports).await }
        });
        Ok(Self {
            desk,
            reload,
            registry,
            store,
            notices,
            _claim: claim,
        })
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
        let rest = async {
            self.reload.shutdown().await;
            self.desk.shutdown().await;
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
    let options = HouseOptions::of(&settings)?;
    let token = settings
        .token
        .as_ref()
        .context("the Telegram front needs TELOXIDE_TOKEN")?;
    let telegram = Telegram::connect(TelegramOptions {
        api_url: settings.api_url.clone(),
        ..TelegramOptions::new(token.expose())
    })
    .await?;
    let house = House::open(
        options,
        Arc::<Telegram>::clone(&telegram),
        Some(telegram.our_name().to_owned()),
    )?;
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
    let options = HouseOptions::of(&settings)?;
    let terminal = Terminal::start(TerminalOptions {
        downloads: settings.downloads.clone(),
        home: settings.home.clone(),
        name: settings.user.clone(),
        color: settings.color,
        banner: Some(settings.banner()),
        opening: Some("/start".to_owned()),
        streams: Streams::Process,
    });
    let house = House::open(options, Arc::<Terminal>::clone(&terminal), None)?;
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
