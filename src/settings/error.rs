//! What is said of a setting that makes no sense.

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
