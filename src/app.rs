//! Wiring, and the order of start and shutdown. The only room that knows every other; it decides nothing about servers.
//!
//! Start: store, sandbox, registry, reload, desk, front. Shutdown: the front stops taking events, reload stops watching and
//! drains, the desk ends what it handles, the registry closes connections and names stragglers. A second signal exits at
//! once. [`house`] opens the rooms, `seen` is the store and the desk as the other rooms see them, `operate` what operators
//! do from a shell.

mod house;
mod operate;
mod panics;
mod seen;
mod signals;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::actor::{Actor, ActorId};
use crate::chat::telegram::{Telegram, TelegramOptions};
use crate::chat::terminal::{LOCAL_ACTOR, Streams, Terminal, TerminalOptions};
use crate::chat::{Event, EventKind, EventSink, PressId};
use crate::desk::Agrees;
use crate::settings::{FrontKind, Settings};
use crate::thread::ThreadId;
use crate::web::Web;

pub use house::{House, HouseOptions};
pub use operate::{give_up_key, rotate_secrets, verify_audit};
pub use panics::withhold_panics;

use signals::Signals;

/// Everything ends within this long after the first signal.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The last lines have this long to be read.
const FLUSH: Duration = Duration::from_secs(2);

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
    options.announce = Some(Arc::new(|line: &str| say(line)));
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

/// Runs one chat command in a thread, as its owner, and ends. With `yes`, the proposal that it makes is applied, and a call
/// that asks is allowed once. Returns whether nothing that was shown was an error.
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
        let agrees = || {
            let (on, buttons) = terminal.last_buttons()?;
            let mut buttons = buttons.into_iter();
            buttons.find_map(|button| Some((on, Agrees::of(&button)?, button)))
        };
        match agrees() {
            Some((on, _, button)) if yes => {
                let press = EventKind::Press {
                    data: button.data,
                    on,
                    press: PressId("do".to_owned()),
                };
                let _ = house.desk.deliver(event(press));
                house.desk.quiet().await;
                // The files changed in between: there is a new difference to be looked at.
                agrees().is_none()
            }
            Some((_, to, _)) => {
                say(match to {
                    Agrees::ToChange => "Nothing was applied; `--yes` applies it.",
                    Agrees::ToCall => "Nothing was called; `--yes` allows it once.",
                });
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

/// A line for the operator; nothing can be done where stderr is closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
