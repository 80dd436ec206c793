//! The grammar of what people type: text → a typed request, and the help texts from the same table.
//!
//! Never panics on any text. Forgives what phones do: smart quotes and dashes, a space or line end after the command,
//! capital letters in command words, `/mcp@OurBot`. Arguments after the subcommand stay verbatim where they are JSON.

mod add;
mod admin;
mod connect;
mod json;
mod lex;
mod line;
mod parse;
mod table;
#[cfg(test)]
mod tests;

pub use admin::AdminRequest;
pub use parse::{CommandError, looks_like_a_command, meant, read};
pub use table::{Entry, TABLE, help_for, nearest};

use std::fmt;

use serde_json::{Map, Value};

/// What somebody asked for.
///
/// `Debug` says which command it is and nothing that was typed, since that may hold secrets.
#[derive(Clone, PartialEq)]
pub enum Request {
    /// `/start`, with the payload of a deep link.
    Start(Option<String>),
    /// `/help`.
    Help,
    /// `/mcp help [COMMAND]`.
    HelpFor(Option<String>),
    /// `/cancel`.
    Cancel,
    /// `/admin …`.
    Admin(AdminRequest),
    /// `/settings`.
    Settings,
    /// `/mcp` alone.
    Panel,
    /// `/mcp add` alone, or with just a name: the guided flow.
    AddGuided(Option<String>),
    /// `/mcp add NAME [-e K=V]… [--cwd DIR] -- COMMAND ARG…`. `--` may be left out where the command does not begin with
    /// a dash, options may stand before the name, `-s`/`--scope X`, `-t stdio`/`--transport stdio` of `claude mcp add`
    /// are accepted and ignored; the whole line may begin with `claude mcp add`, `codex mcp add` or `gemini mcp add`.
    Add(AddLine),
    /// `/mcp add-json [NAME] JSON`; alone it has neither, and the JSON is asked for.
    AddJson {
        /// The name, where the JSON is one bare server.
        name: Option<String>,
        /// The rest of the line and all lines below, verbatim.
        json: String,
    },
    /// `/mcp upload`.
    Upload,
    /// `/mcp download` and `/mcp download remote`.
    Download(crate::config::FileKind),
    /// `/mcp list`.
    List,
    /// `/mcp show NAME`.
    Show(String),
    /// `/mcp edit NAME [field=value …]`; no fields begin the guided flow.
    Edit {
        /// The server.
        name: String,
        /// Fields in order: `command`, `args`, `cwd`, `env.KEY`, `env`, and of a remote server `url`, `headers.KEY`,
        /// `timeout_ms`; an empty value takes the field away.
        fields: Vec<(String, String)>,
    },
    /// `/mcp rename A B`.
    Rename {
        /// Its name now.
        from: String,
        /// Its name then.
        to: String,
    },
    /// `/mcp remove NAME`.
    Remove(String),
    /// `/mcp enable NAME`.
    Enable(String),
    /// `/mcp disable NAME`.
    Disable(String),
    /// `/mcp tools [NAME]`.
    Tools(Option<String>),
    /// `/mcp tools NAME TOOL [mode=always|ask|never]`.
    Tool {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// How calls are made from now on: `always`, `ask` or `never`.
        mode: Option<&'static str>,
    },
    /// `/mcp allow SERVER TOOL|PATTERN…`.
    Allow {
        /// The server.
        server: String,
        /// Tools and patterns, at least one.
        tools: Vec<String>,
    },
    /// `/mcp deny SERVER TOOL|PATTERN…`.
    Deny {
        /// The server.
        server: String,
        /// Tools and patterns, at least one.
        tools: Vec<String>,
    },
    /// `/mcp call SERVER TOOL [JSON or key=value …]`; also `/mcp call server__tool …`.
    Call {
        /// The server, or a unique tool name where `tool` is `None`.
        server: String,
        /// The tool.
        tool: Option<String>,
        /// What it is called with.
        arguments: Arguments,
    },
    /// `/mcp test NAME`.
    Test(String),
    /// `/mcp status`.
    Status,
    /// `/mcp logs NAME`.
    Logs(String),
    /// `/mcp restart NAME`.
    Restart(String),
    /// `/mcp history`.
    History,
    /// `/mcp audit [N|NAME|verify|file]`.
    Audit(AuditWish),
    /// `/mcp undo`.
    Undo,
    /// `/mcp connect` alone, or with just a name: the guided flow, or the one of a server that is there.
    ConnectGuided(Option<String>),
    /// `/mcp connect [NAME] URL …`, `/mcp add NAME URL`, and the lines with which other clients add a remote server.
    Connect(ConnectLine),
    /// `/mcp login NAME [--client-id ID]`.
    Login {
        /// The server.
        name: String,
        /// A client id that was registered beforehand.
        client_id: Option<String>,
    },
    /// `/mcp logout NAME`.
    Logout(String),
    /// `/mcp secrets`.
    Secrets,
    /// `/mcp secrets set NAME [for SERVER]`.
    SetSecret {
        /// What it is called, as typed.
        name: String,
        /// The server that it is for.
        server: Option<String>,
        /// The value, where it was typed along.
        value: Option<String>,
    },
    /// `/mcp secrets remove NAME`.
    RemoveSecret(String),
    /// A command of another bot in the same group (`/mcp@OtherBot`): stay silent.
    NotForUs,
}

/// What is wanted of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditWish {
    /// The newest lines, so many or as many as are usual.
    Newest(Option<u32>),
    /// Those of one server.
    Of(String),
    /// Whether it is whole.
    Verify,
    /// The files.
    File,
}

impl Request {
    /// The command as it is known: the subcommand of `/mcp`, or `start`, `help`, `cancel`, `mcp`; for logs.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Help | Self::HelpFor(_) => "help",
            Self::Cancel => "cancel",
            Self::Admin(_) => "admin",
            Self::Settings => "settings",
            Self::Panel => "mcp",
            Self::AddGuided(_) | Self::Add(_) => "add",
            Self::AddJson { .. } => "add-json",
            Self::Upload => "upload",
            Self::Download(_) => "download",
            Self::List => "list",
            Self::Show(_) => "show",
            Self::Edit { .. } => "edit",
            Self::Rename { .. } => "rename",
            Self::Remove(_) => "remove",
            Self::Enable(_) => "enable",
            Self::Disable(_) => "disable",
            Self::Tools(_) | Self::Tool { .. } => "tools",
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
            Self::Call { .. } => "call",
            Self::Test(_) => "test",
            Self::Status => "status",
            Self::Logs(_) => "logs",
            Self::Restart(_) => "restart",
            Self::History => "history",
            Self::Audit(_) => "audit",
            Self::Undo => "undo",
            Self::ConnectGuided(_) | Self::Connect(_) => "connect",
            Self::Login { .. } => "login",
            Self::Logout(_) => "logout",
            Self::Secrets | Self::SetSecret { .. } | Self::RemoveSecret(_) => "secrets",
            Self::NotForUs => "not for us",
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.command())
    }
}

/// The parts of `/mcp add …` in one line.
///
/// `Debug` shows the program alone, since the rest may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct AddLine {
    /// The name, as typed.
    pub name: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// `-e K=V`, in order.
    pub env: Vec<(String, String)>,
    /// `--cwd DIR`.
    pub cwd: Option<String>,
    /// `--network none|public|host|HOST,HOST`, as typed.
    pub network: Option<String>,
}

impl fmt::Debug for AddLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddLine")
            .field("name", &self.name)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// The parts of `/mcp connect …` in one line.
///
/// `Debug` shows that it is one, since any part may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectLine {
    /// The name, as typed; where none was, it is derived from the address.
    pub name: Option<String>,
    /// The address, with its scheme.
    pub url: String,
    /// `--header 'K: V'`, in order.
    pub headers: Vec<(String, String)>,
    /// How the bot proves who it is.
    pub auth: ConnectAuth,
    /// `--client-id ID`.
    pub client_id: Option<String>,
}

impl fmt::Debug for ConnectLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectLine").finish_non_exhaustive()
    }
}

/// The way of login that was asked for; not `Debug`, since it may hold a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ConnectAuth {
    /// Nothing was said: the server is asked.
    #[default]
    Ask,
    /// `--none`.
    None,
    /// `--bearer`, perhaps with the token.
    Bearer(Option<String>),
    /// `--api-key HEADER`, perhaps with the key.
    ApiKey {
        /// The header; `Authorization` where none was given.
        header: Option<String>,
        /// The key.
        key: Option<String>,
    },
    /// `--oauth`.
    OAuth,
}

/// The arguments of a tool call as they were typed.
///
/// `Debug` shows how many there are.
#[derive(Clone, PartialEq)]
pub enum Arguments {
    /// Nothing was given.
    None,
    /// A JSON object.
    Json(Map<String, Value>),
    /// `key=value` pairs, to be read by the types of the tool's schema. Dotted keys (`a.b=1`) stay as they are.
    Pairs(Vec<(String, String)>),
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Json(object) => write!(f, "Json({} fields)", object.len()),
            Self::Pairs(pairs) => write!(f, "Pairs({} pairs)", pairs.len()),
        }
    }
}

/// Shell-like words of a text, as a person's answer to "which command starts it?".
pub fn words(text: &str) -> Result<Vec<String>, CommandError> {
    Ok(lex::words(text)?)
}
