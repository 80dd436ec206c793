//! The variables of the environment: which are ours, and what they are set to.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::{SettingsError, keys, parse_duration};

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

/// The variables that are set to something.
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// An empty variable counts as not set.
    pub(super) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let set = variables.into_iter();
        Self(set.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// As it is, UTF-8 or not.
    pub(super) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, SettingsError> {
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

    pub(super) fn duration(
        &self,
        name: &'static str,
        default: Duration,
    ) -> Result<Duration, SettingsError> {
        let Some(value) = self.text(name)? else {
            return Ok(default);
        };
        parse_duration(value).ok_or_else(|| SettingsError::NotADuration {
            name,
            value: shown(value),
        })
    }

    /// A sentence for each variable that looks like one of ours and is none: a typing error there has no other sign.
    pub(super) fn unknown(&self) -> Vec<String> {
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

fn closest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, _)| *distance <= 4)
        .min()
        .map(|(_, name)| name)
}

/// A value as it can stand in a sentence on a terminal.
pub(super) fn shown(value: &str) -> String {
    value
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .take(200)
        .collect()
}
