//! The settings of the process: flags and environment, read and checked once.
//!
//! [`Settings::read`] is a pure function of what it is given (it looks at the folders that are named and reads the file with
//! the keys, and nothing else), so that no other room asks the environment. Settings that make no sense stop the start with a sentence that names them.

mod duration;
mod environment;
mod error;
mod keys;
mod log;
mod network;
mod people;

use std::ffi::OsString;
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
pub use environment::VARIABLES;
pub use error::SettingsError;

use environment::{Environment, shown};
use network::Network;
use people::People;

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

impl Settings {
    /// Reads and checks everything. An empty variable counts as not set.
    pub fn read(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let environment = Environment::of(environment);
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
            downloads: match environment.raw("SWITCHBOARD_DOWNLOADS") {
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
            home: environment.raw("HOME").map(PathBuf::from),
            color: environment.raw("NO_COLOR").is_none(),
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
    match environment.raw("SWITCHBOARD_DATA") {
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

#[cfg(test)]
mod tests;
