//! The Telegram front: long polling in, limited and well-formed messages out.
//!
//! Only this folder knows teloxide, and only its parts for requests and types: the poll loop is our own, because the
//! dispatcher lets one slow chat or one panic stop all others (and logs updates with what people wrote).

mod failure;
mod files;
mod html;
mod incoming;
mod limiter;
mod links;
mod memory;
mod outgoing;
mod poll;
mod render;
mod standing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use teloxide::Bot;
use teloxide::payloads::SetMyCommandsSetters;
use teloxide::prelude::Requester;
use teloxide::types::{BotCommand, BotCommandScope, CallbackQueryId};
use tokio_util::sync::CancellationToken;

use self::failure::Failure;
use self::limiter::Limiter;
pub use self::limiter::Pace;
use self::memory::{BusyNotes, LastMessages, Migrations};
use self::standing::Standings;
use crate::actor::{Actor, ActorId, Standing};
use crate::chat::{
    Answer, Busy, Capabilities, Event, EventKind, EventSink, FileRef, Front, FrontError, MessageId,
    PressId, View,
};
use crate::thread::ThreadId;

/// What the front needs to reach Telegram.
#[derive(Clone)]
pub struct TelegramOptions {
    /// The bot's token, from `BotFather`.
    pub token: String,
    /// Another Bot API server than Telegram's own.
    pub api_url: Option<String>,
    /// How often a chat is written to.
    pub pace: Pace,
    /// How long one request may take.
    pub patience: Duration,
    /// How long the transfer of a large file may take.
    pub file_patience: Duration,
    /// How long Telegram holds a request for updates open; whole seconds.
    pub long_poll: Duration,
}

impl TelegramOptions {
    /// The usual options for a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            api_url: None,
            pace: Pace::default(),
            // More than the ten seconds that teloxide sleeps inside a request after a 5xx, so that the answer is heard.
            patience: Duration::from_secs(15),
            file_patience: Duration::from_mins(2),
            long_poll: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for TelegramOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramOptions")
            .field("token", &"[redacted]")
            .field("api_url", &self.api_url)
            .finish_non_exhaustive()
    }
}

/// Why the front could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The token is none, or Telegram does not know it.
    #[error(
        "Telegram does not accept the token; copy it again from @BotFather into TELOXIDE_TOKEN"
    )]
    Token,
    /// The address of the Bot API is none.
    #[error("`{0}` is not an address of a Bot API server (expected https://host)")]
    ApiUrl(String),
    /// The TLS library could not start.
    #[error("the HTTP client could not be made; are the system's certificates readable?")]
    Client,
    /// No answer, or one that makes no sense.
    #[error("{0}; check this machine's network and try again")]
    Unreachable(String),
    /// Updates go elsewhere.
    #[error(
        "a webhook is set for this bot, so Telegram sends its updates there; remove it (deleteWebhook) or use another bot"
    )]
    Webhook,
}

/// Why the front stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token was revoked while the bot ran.
    #[error(
        "Telegram does not accept the token any more; put a new one from @BotFather into TELOXIDE_TOKEN and start again"
    )]
    Token,
}

/// The front of Telegram.
pub struct Telegram {
    bot: Bot,
    me: u64,
    name: String,
    patience: Duration,
    file_patience: Duration,
    long_poll: Duration,
    limiter: Limiter,
    standings: Standings,
    migrations: Migrations,
    last_messages: LastMessages,
    busy_notes: BusyNotes,
    // A plain mutex: held for a clone or a push only, never over an await or a delivery.
    house: Mutex<House>,
}

/// The way to the desk, while the front runs.
#[derive(Default)]
struct House {
    sink: Option<Arc<dyn EventSink>>,
    /// Events that must not be lost (a group moved, a thread is gone) and that the desk had no room for yet.
    owed: VecDeque<Event>,
}

const MOST_OWED: usize = 1024;

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` of `Bot` would print the token.
        f.debug_struct("Telegram")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Telegram {
    /// Asks Telegram who the bot is and makes its commands known.
    pub async fn connect(options: TelegramOptions) -> Result<Arc<Self>, ConnectError> {
        let bot = bot(&options)?;
        let patience = options.patience;
        let me = outgoing::within(patience, bot.get_me().into_future())
            .await
            .map_err(|failure| connect_error(&failure))?;
        let webhook = outgoing::within(patience, bot.get_webhook_info().into_future())
            .await
            .map_err(|failure| connect_error(&failure))?;
        if webhook.url.is_some() {
            return Err(ConnectError::Webhook);
        }
        let front = Arc::new(Self {
            me: me.id.0,
            name: me.username().to_owned(),
            patience,
            file_patience: options.file_patience,
            long_poll: options.long_poll,
            limiter: Limiter::new(options.pace),
            standings: Standings::default(),
            migrations: Migrations::new(),
            last_messages: LastMessages::new(),
            busy_notes: BusyNotes::new(),
            house: Mutex::default(),
            bot,
        });
        front.register_commands().await;
        Ok(front)
    }

    /// The bot's user name, without `@`; a command may carry it (`/mcp@Name`).
    pub fn our_name(&self) -> &str {
        &self.name
    }

    /// Hands what happens to `sink` until `stop`. Ends by itself only when Telegram refuses the token.
    pub async fn run(
        self: &Arc<Self>,
        sink: Arc<dyn EventSink>,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        self.poll(sink, stop).await
    }

    /// Private chats and groups see the same commands, but `/start` and `/settings`, which the other does not need.
    async fn register_commands(&self) {
        let command = |name: &str, what: &str| BotCommand::new(name, what);
        let group = vec![
            command("mcp", "Servers and tools of this chat"),
            command("help", "What I can do"),
            command("cancel", "Leave what we are doing"),
        ];
        let mut private = group.clone();
        private.push(command("start", "Begin"));
        let mut group = group;
        group.push(command("settings", "Who may do what in this chat"));
        for (commands, scope) in [
            (private, BotCommandScope::AllPrivateChats),
            (group, BotCommandScope::AllGroupChats),
        ] {
            if let Err(failure) = self
                .ask(self.bot.set_my_commands(commands).scope(scope))
                .await
            {
                tracing::warn!(%failure, "the list of commands could not be set; the commands themselves work");
            }
        }
    }

    /// Hands an event over.
    fn try_deliver(&self, event: Event) -> Result<(), Busy> {
        let sink = self.house().sink.clone();
        sink.map_or(Ok(()), |sink| sink.deliver(event))
    }

    /// Whether anything is said to this person here.
    fn lets_in(&self, thread: ThreadId, actor: &ActorId) -> bool {
        let sink = self.house().sink.clone();
        sink.is_some_and(|sink| sink.lets_in(thread, actor))
    }

    /// Hands over an event that must not be lost: where the desk has no room now, again a little later.
    fn hand_in(&self, event: Event) {
        if self.try_deliver(event.clone()).is_err() {
            let mut house = self.house();
            if house.owed.len() < MOST_OWED {
                house.owed.push_back(event);
            } else {
                tracing::error!(thread = %event.thread, "too many events wait for the desk; one was dropped");
            }
        }
    }

    /// Tries the events that the desk had no room for.
    fn hand_in_again(&self) {
        let owed = std::mem::take(&mut self.house().owed);
        for event in owed {
            self.hand_in(event);
        }
    }

    /// Notes that a group has a new id, and reports it once.
    fn migrated(&self, old: i64, new: i64, actor: Option<Actor>) {
        if self.migrations.note(old, new) {
            self.hand_in(Event {
                thread: ThreadId::telegram(new, None),
                actor: actor.unwrap_or_else(|| self.own_actor()),
                private: false,
                message: None,
                kind: EventKind::Migrated {
                    from: ThreadId::telegram(old, None),
                },
            });
        }
    }

    /// The bot itself, for what nobody did.
    fn own_actor(&self) -> Actor {
        Actor {
            id: incoming::actor_id(self.me),
            name: self.name.clone(),
        }
    }

    fn open(&self, sink: Arc<dyn EventSink>) {
        self.house().sink = Some(sink);
    }

    /// Lets go of the desk, which holds this front: a ring of `Arc` would never be freed.
    fn close(&self) {
        *self.house() = House::default();
    }

    fn house(&self) -> std::sync::MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Front for Telegram {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edit: true,
            delete_theirs: true,
            files: true,
            buttons: true,
        }
    }

    async fn send(&self, thread: ThreadId, view: View) -> Result<MessageId, FrontError> {
        self.send_view(thread, view).await
    }

    async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError> {
        self.edit_view(thread, message, view).await
    }

    async fn delete(&self, thread: ThreadId, message: MessageId) -> Result<(), FrontError> {
        self.delete_message(thread, message).await
    }

    async fn fetch(&self, file: &FileRef, limit: usize) -> Result<Vec<u8>, FrontError> {
        self.fetch_file(file, limit).await
    }

    fn private_link(&self, nonce: &str) -> Option<String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fine = (1..=64).contains(&nonce.len()) && nonce.bytes().all(fits);
        fine.then(|| format!("https://t.me/{}?start={nonce}", self.name))
    }

    async fn answer(&self, press: &PressId, answer: Answer) -> Result<(), FrontError> {
        self.answer_press(CallbackQueryId(press.0.clone()), answer)
            .await
    }

    async fn standing(
        &self,
        thread: ThreadId,
        actor: &ActorId,
        fresh: bool,
    ) -> Result<Standing, FrontError> {
        self.ask_standing(thread, actor, fresh).await
    }
}

/// A client of our own: teloxide's default gives every request 17 s in all, which is too short for a large file. Each
/// request is bounded from outside instead.
fn bot(options: &TelegramOptions) -> Result<Bot, ConnectError> {
    let token = options.token.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_');
    if token.is_empty() || !token.contains(':') || !token.chars().all(fits) {
        return Err(ConnectError::Token);
    }
    let client = teloxide::net::default_reqwest_settings()
        .timeout(
            options
                .file_patience
                .max(options.long_poll + options.patience),
        )
        .build()
        .map_err(|_| ConnectError::Client)?;
    let bot = Bot::with_client(token, client);
    let Some(address) = &options.api_url else {
        return Ok(bot);
    };
    let trimmed = address.trim_end_matches('/');
    if !(trimmed.starts_with("https://") || trimmed.starts_with("http://")) {
        return Err(ConnectError::ApiUrl(address.clone()));
    }
    match trimmed.parse() {
        Ok(url) => Ok(bot.set_api_url(url)),
        Err(_) => Err(ConnectError::ApiUrl(address.clone())),
    }
}

fn connect_error(failure: &Failure) -> ConnectError {
    if failure.is_bad_token() {
        ConnectError::Token
    } else {
        ConnectError::Unreachable(failure.to_string())
    }
}
