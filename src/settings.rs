//! The settings of the process: flags and environment, read and checked once.
//!
//! [`Settings::read`] is a pure function of what it is given (it looks at the data folder, and at nothing else), so that
//! no other room asks the environment. Settings that make no sense stop the start with a sentence that names them.

mod duration;
mod keys;
mod log;
mod network;
mod people;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::actor::ActorId;
pub use crate::config::AdminServers;
use crate::policy::{Access, AddressRules, Tier};
use crate::sandbox::Choice;
use crate::secret::Secret;
use crate::vault::Ring;

pub use duration::parse_duration;
use network::Network;
use people::People;

/// Every variable of our own, with what `--help` says of it.
pub const VARIABLES: [(&str, &str); 16] = [
    (
        "SWITCHBOARD_DATA",
        "the data folder where --data is not given",
    ),
    (
        "SWITCHBOARD_DOWNLOADS",
        "where the terminal front writes files (DATA/downloads)",
    ),
    (
        "SWITCHBOARD_SERVER_IDLE",
        "a server unused for this long stops (15m)",
    ),
    (
        "SWITCHBOARD_THREAD_IDLE",
        "a thread unused for this long is let go (1h)",
    ),
    (
        "SWITCHBOARD_CALL_TIMEOUT",
        "a tool call without progress ends after this (60s)",
    ),
    (
        "SWITCHBOARD_PUBLIC_URL",
        "where people reach the pages for logins, as in `https://bot.example`",
    ),
    (
        "SWITCHBOARD_LISTEN",
        "where these pages are served (127.0.0.1:8787)",
    ),
    (
        "SWITCHBOARD_ADMIN_SERVERS",
        "which servers of DATA/admin chats are offered: `all`, `none` or names (none)",
    ),
    (
        "SWITCHBOARD_ALLOW_HTTP",
        "`1` lets servers be connected by plain http",
    ),
    (
        "SWITCHBOARD_ALLOW_CIDRS",
        "addresses to open that are not public, as in `127.0.0.1,10.1.0.0/16`",
    ),
    (
        "SWITCHBOARD_SANDBOX",
        "how local servers are confined: `auto`, `strong`, `restricted` or `off` (auto)",
    ),
    (
        "SWITCHBOARD_OPERATORS",
        "who operates the bot, beside those in DATA/admin/policy.json, as in `tg:123,tg:456`",
    ),
    (
        "SWITCHBOARD_ACCESS",
        "who may use the bot: `listed` people and chats or everybody (`open`), whatever policy.json says",
    ),
    (
        keys::KEY_FILE,
        "a file with the keys that seal what is kept secret (one is made in DATA/keys)",
    ),
    (
        keys::KEYS,
        "the same keys as text, the first one seals: `k2:<base64>,k1:<base64>`",
    ),
    (
        "SWITCHBOARD_LOG",
        "what is logged to stderr, as in `debug` or `info,rmcp=debug`",
    ),
];

const TOKEN: &str = "TELOXIDE_TOKEN";

/// What was given on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--front`.
    pub front: Option<FrontKind>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

/// The front that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontKind {
    /// Telegram by long polling.
    Telegram,
    /// The chat in this terminal.
    Terminal,
}

/// The checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The front to serve.
    pub front: FrontKind,
    /// Whether somebody asked for that front; else it follows from the token.
    pub front_chosen: bool,
    /// The data folder; it may not exist yet.
    pub data: PathBuf,
    /// Where the terminal front writes files.
    pub downloads: PathBuf,
    /// The bot's token; always there for [`FrontKind::Telegram`].
    pub token: Option<Secret>,
    /// Another Bot API server than Telegram's.
    pub api_url: Option<String>,
    /// A server unused for this long stops.
    pub server_idle: Duration,
    /// A thread unused for this long is let go.
    pub thread_idle: Duration,
    /// A tool call without progress ends after this.
    pub call_timeout: Duration,
    /// Which addresses of the network are spoken to.
    pub address_rules: AddressRules,
    /// Where people reach our pages (`SWITCHBOARD_PUBLIC_URL`): an address without query and fragment, whose path ends
    /// with a slash.
    pub public_url: Option<url::Url>,
    /// Where the pages are served.
    pub listen: std::net::SocketAddr,
    /// Somebody asked for that address, so a start without it makes no sense.
    pub listen_chosen: bool,
    /// Which of the operator's servers threads are offered.
    pub admin_servers: AdminServers,
    /// The filter of the log, complete.
    pub log: String,
    /// What the person at the terminal is called.
    pub user: String,
    /// Their home folder.
    pub home: Option<PathBuf>,
    /// Whether colours may be written (`NO_COLOR` is not set).
    pub color: bool,
    /// What is odd but stops nothing; each is a sentence for stderr.
    pub warnings: Vec<String>,
    /// Operators beside those of the policy's file.
    pub operators: Vec<ActorId>,
    /// Who may use the bot, whatever the policy's file says.
    pub access: Option<Access>,
    /// The keys that the operator gives for what is kept secret; without any, the store makes one.
    pub vault: Ring,
    /// How local servers are confined.
    pub sandbox: Choice,
}

/// A setting that makes no sense. Each says which, what it is (never a token), and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Telegram without a token.
    #[error(
        "the Telegram front needs a bot token in TELOXIDE_TOKEN; get one from @BotFather, or use `--front terminal`"
    )]
    NoToken,
    /// The token has not the form of one.
    #[error(
        "TELOXIDE_TOKEN is not a bot token; it looks like 123456789:AAH… (digits, a colon, letters and digits), as \
         @BotFather gives it"
    )]
    NotAToken,
    /// A time that cannot be read or makes no sense.
    #[error(
        "{name} is `{value}`, which is not a time from 1ms to 30d; write it like `90s`, `15m` or `1h30m`"
    )]
    NotADuration {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
    },
    /// A filter of the log that cannot be read.
    #[error(
        "SWITCHBOARD_LOG is `{value}`, which is not a filter ({why}); write it like `info` or `warn,switchboard=debug`"
    )]
    NotAFilter {
        /// What it was set to.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The Bot API's address is none.
    #[error(
        "TELOXIDE_API_URL is `{value}`, which is not an address; write it like `http://localhost:8081`"
    )]
    NotAnAddress {
        /// What it was set to, without what may be a password.
        value: String,
    },
    /// The data folder is not a folder.
    #[error("{name} is `{path}`, which is {what}; name a folder, it is made where it is missing")]
    NotAFolder {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        path: String,
        /// What is there.
        what: &'static str,
    },
    /// A switch that is neither on nor off.
    #[error("{name} is `{value}`, which is neither on nor off; write `1` or `0`")]
    NotASwitch {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
    },
    /// No way to confine servers.
    #[error(
        "SWITCHBOARD_SANDBOX is `{value}`, which is none of them; write `auto`, `strong`, `restricted` or `off`"
    )]
    NotASandbox {
        /// What it was set to.
        value: String,
    },
    /// A range of addresses that cannot be read.
    #[error(
        "{name} has `{value}` in it, which is no range of addresses; write them like `127.0.0.1,10.1.0.0/16`"
    )]
    NotARange {
        /// The setting.
        name: &'static str,
        /// The part that cannot be read.
        value: String,
    },
    /// An address to listen at that cannot be read.
    #[error(
        "{name} is `{value}`, which is not an IP address with a port; write it like `127.0.0.1:8787`"
    )]
    NotASocket {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
    },
    /// The public address cannot be one.
    #[error("SWITCHBOARD_PUBLIC_URL `{value}` {why}; write it like `https://bot.example`")]
    NotAPublicUrl {
        /// What it was set to, without what may be a password or a key.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that no server can have.
    #[error(
        "{name} has `{value}` in it, which is no name of a server ({why}); write `all`, `none` or names like `a,b`"
    )]
    NotAServer {
        /// The setting.
        name: &'static str,
        /// The part that cannot be read.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An operator who is nobody.
    #[error(
        "{name} has `{value}` in it, which is no person's id; write ids like `tg:123456789`, with commas between"
    )]
    NotAPerson {
        /// The setting.
        name: &'static str,
        /// The part that cannot be read.
        value: String,
    },
    /// Neither open nor listed.
    #[error("{name} is `{value}`; write `open` or `listed`")]
    NotAnAccess {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
    },
    /// Keys that cannot be used; never repeats one.
    #[error(
        "{name} {why}; `openssl rand -base64 32` makes a key, and `k1:` before it gives it an id"
    )]
    BadKeys {
        /// The setting.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A variable that is not UTF-8.
    #[error("{name} is not valid UTF-8; set it anew")]
    NotText {
        /// The setting.
        name: &'static str,
    },
}

impl Settings {
    /// Reads and checks everything. An empty variable counts as not set.
    pub fn read(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let environment = Environment(
            environment
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        );
        let front = match flags.front {
            Some(front) => front,
            None if environment.text(TOKEN)?.is_some() => FrontKind::Telegram,
            None => FrontKind::Terminal,
        };
        let data = data(flags, &environment)?;
        let network = Network::read(&environment)?;
        let people = People::read(&environment)?;
        let opened = [network.warnings(), people.warnings()].concat();
        let (vault, readable) = keys::read(&environment)?;
        Ok(Self {
            front,
            front_chosen: flags.front.is_some(),
            downloads: match environment.0.get(OsStr::new("SWITCHBOARD_DOWNLOADS")) {
                Some(path) => folder("SWITCHBOARD_DOWNLOADS", path.as_ref())?,
                None => data.join("downloads"),
            },
            data,
            token: match front {
                FrontKind::Telegram => Some(token(&environment)?),
                FrontKind::Terminal => None,
            },
            api_url: match front {
                FrontKind::Telegram => api_url(&environment)?,
                FrontKind::Terminal => None,
            },
            server_idle: environment
                .duration("SWITCHBOARD_SERVER_IDLE", Duration::from_mins(15))?,
            thread_idle: environment
                .duration("SWITCHBOARD_THREAD_IDLE", Duration::from_hours(1))?,
            call_timeout: environment
                .duration("SWITCHBOARD_CALL_TIMEOUT", Duration::from_mins(1))?,
            address_rules: network.rules,
            public_url: network.public_url,
            listen: network.listen,
            listen_chosen: network.listen_chosen,
            admin_servers: network.admin_servers,
            log: log::filter(environment.text("SWITCHBOARD_LOG")?, front)?,
            user: environment
                .text("USER")
                .ok()
                .flatten()
                .unwrap_or("you")
                .to_owned(),
            home: environment.0.get(OsStr::new("HOME")).map(PathBuf::from),
            color: !environment.0.contains_key(OsStr::new("NO_COLOR")),
            warnings: [
                environment.unknown(),
                opened,
                readable.into_iter().collect(),
            ]
            .concat(),
            vault,
            operators: people.operators,
            access: people.access,
            sandbox: sandbox(&environment)?,
        })
    }

    /// Sends the log to a writer of standard error from now on, once a process.
    pub fn log_to<W: io::Write + 'static>(&self, writer: fn() -> W) {
        log::start(&self.log, self.color, writer);
    }

    /// The first line of a chat in the terminal: that it is one, and why.
    pub fn banner(&self) -> String {
        let why = if self.front_chosen {
            "This is a chat in this terminal"
        } else {
            "TELOXIDE_TOKEN is not set, so this is a chat in this terminal"
        };
        format!("{why}; :help shows its keys, :quit ends it.")
    }
}

impl std::str::FromStr for FrontKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "telegram" => Ok(Self::Telegram),
            "terminal" => Ok(Self::Terminal),
            _ => Err("it is `telegram` or `terminal`".to_owned()),
        }
    }
}

/// The variables that are set to something.
struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    fn text(&self, name: &'static str) -> Result<Option<&str>, SettingsError> {
        self.0
            .get(OsStr::new(name))
            .map(|value| {
                value
                    .to_str()
                    .map(str::trim)
                    .ok_or(SettingsError::NotText { name })
            })
            .transpose()
    }

    fn duration(&self, name: &'static str, default: Duration) -> Result<Duration, SettingsError> {
        let Some(value) = self.text(name)? else {
            return Ok(default);
        };
        parse_duration(value).ok_or_else(|| SettingsError::NotADuration {
            name,
            value: shown(value),
        })
    }

    /// A sentence for each variable that looks like one of ours and is none: a typing error there has no other sign.
    fn unknown(&self) -> Vec<String> {
        let known = || VARIABLES.iter().map(|(name, _)| *name);
        self.0
            .keys()
            .map(|name| name.to_string_lossy())
            .filter(|name| name.starts_with("SWITCHBOARD_") && known().all(|known| known != name))
            .map(|name| {
                let name = shown(&name);
                match closest(&name, known()) {
                    Some(nearest) => {
                        format!("{name} is no setting and does nothing; did you mean {nearest}?")
                    }
                    None => format!("{name} is no setting and does nothing."),
                }
            })
            .collect()
    }
}

fn sandbox(environment: &Environment) -> Result<Choice, SettingsError> {
    let Some(value) = environment.text("SWITCHBOARD_SANDBOX")? else {
        return Ok(Choice::Auto);
    };
    match value.to_ascii_lowercase().as_str() {
        "auto" => Ok(Choice::Auto),
        "strong" => Ok(Choice::Exactly(Tier::Strong)),
        "restricted" => Ok(Choice::Exactly(Tier::Restricted)),
        "off" => Ok(Choice::Exactly(Tier::None)),
        _ => Err(SettingsError::NotASandbox {
            value: shown(value),
        }),
    }
}

fn data(flags: &Flags, environment: &Environment) -> Result<PathBuf, SettingsError> {
    if let Some(data) = &flags.data {
        return folder("--data", data);
    }
    match environment.0.get(OsStr::new("SWITCHBOARD_DATA")) {
        Some(data) => folder("SWITCHBOARD_DATA", data.as_ref()),
        None => folder("the data folder", Path::new("data")),
    }
}

/// A path at which a folder is or can be made.
fn folder(name: &'static str, path: &Path) -> Result<PathBuf, SettingsError> {
    let what = match path.metadata() {
        _ if path.as_os_str().is_empty() => "empty",
        Ok(found) if found.is_dir() => return Ok(path.to_owned()),
        Ok(_) => "a file",
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => "below a file",
        Err(_) if path.is_symlink() => "a symlink to nowhere",
        // Missing is fine; what else may be wrong is told by the first write.
        Err(_) => return Ok(path.to_owned()),
    };
    Err(SettingsError::NotAFolder {
        name,
        path: shown(&path.display().to_string()),
        what,
    })
}

/// Bot API: a token is the bot's id, a colon and a secret part.
fn token(environment: &Environment) -> Result<Secret, SettingsError> {
    let token = environment.text(TOKEN)?.ok_or(SettingsError::NoToken)?;
    let is_token = token.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && !secret.is_empty()
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    if is_token {
        Ok(Secret::from(token.to_owned()))
    } else {
        Err(SettingsError::NotAToken)
    }
}

fn api_url(environment: &Environment) -> Result<Option<String>, SettingsError> {
    let Some(url) = environment.text("TELOXIDE_API_URL")? else {
        return Ok(None);
    };
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_address = host
        .is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'))
        && !url.contains(|char: char| char.is_whitespace() || char.is_control());
    if is_address {
        Ok(Some(url.to_owned()))
    } else {
        // What stands before an @ may be a password.
        let value = url
            .rsplit_once('@')
            .map_or_else(|| shown(url), |(_, host)| format!("…@{}", shown(host)));
        Err(SettingsError::NotAnAddress { value })
    }
}

fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, _)| *distance <= 4)
        .min()
        .map(|(_, name)| name)
}

/// A value as it can stand in a sentence on a terminal.
fn shown(value: &str) -> String {
    value
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests;
