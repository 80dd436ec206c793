//! Checked servers: what the schema and the limits let through, typed.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::mask::masked_args;
use super::secrets::{spans, without};
use super::{NetworkGrant, RemoteAuth, RemoteServer, SecretName, ServerName};

/// A server that runs here and speaks over stdin and stdout.
///
/// `Debug` masks the environment's values.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StdioServer {
    /// The program: a name looked up on `PATH`, or a path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, in the file's order.
    pub env: Vec<(String, String)>,
    /// Its working folder; the bot's choice where `None`.
    pub cwd: Option<String>,
    /// How much of the network it is granted.
    pub network: NetworkGrant,
    /// It is kept but not started.
    pub disabled: bool,
}

impl StdioServer {
    /// The names of the secrets that stand in its arguments and its environment, each once.
    pub fn secret_names(&self) -> Vec<SecretName> {
        let values = self.env.iter().map(|(_, value)| value).chain(&self.args);
        let mut names: Vec<SecretName> = values
            .flat_map(|text| SecretName::all_in(text))
            .map(|(_, name)| name)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the other definition would run the same; the order of the environment is no difference.
    pub fn means_the_same(&self, other: &Self) -> bool {
        fn sorted(env: &[(String, String)]) -> Vec<&(String, String)> {
            let mut env: Vec<_> = env.iter().collect();
            env.sort();
            env
        }
        self == other
            || (self.command == other.command
                && self.args == other.args
                && self.cwd == other.cwd
                && self.network == other.network
                && self.disabled == other.disabled
                && sorted(&self.env) == sorted(&other.env))
    }
}

/// The server's command line for showing: secrets masked, arguments with blanks quoted, nothing cut, characters that
/// cannot be seen written out. Not for running: no shell reads it.
pub fn command_line(server: &StdioServer) -> String {
    let mut line = quoted(&without(&server.command, &spans(&server.command)));
    for arg in masked_args(&server.args) {
        line.push(' ');
        line.push_str(&quoted(&arg));
    }
    line
}

/// A short, stable key of what a server is (command, args, env, cwd, network; type, address, headers, login), the same in every
/// process; whether it is disabled and how long it may take does not matter. Tells nothing of the values.
pub fn definition_key(server: &Definition) -> String {
    let mut key = Key(Sha256::new());
    match server {
        Definition::Local(server) => key.local(server),
        Definition::Remote(server) => key.remote(server),
    }
    let mut text = String::with_capacity(32);
    for byte in &key.0.finalize()[..16] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A short, stable key of what a server runs or where it is: command, arguments and folder; type and address. What it is
/// given (variables, headers, logins, network) does not matter.
pub fn program_key(server: &Definition) -> String {
    let mut bare = server.clone();
    match &mut bare {
        Definition::Local(server) => {
            server.env.clear();
            server.network = NetworkGrant::Unsaid;
        }
        Definition::Remote(server) => {
            server.headers.clear();
            server.auth = RemoteAuth::None;
        }
    }
    definition_key(&bare)
}

/// Tool caches on disk are found by it: what is hashed for a definition stays as it is.
struct Key(Sha256);

impl Key {
    fn local(&mut self, server: &StdioServer) {
        self.text(&server.command);
        // Counts keep an argument from passing for a variable.
        self.text(&server.args.len().to_string());
        server.args.iter().for_each(|arg| self.text(arg));
        self.pairs(&server.env);
        self.text(if server.cwd.is_some() { "cwd" } else { "" });
        self.text(server.cwd.as_deref().unwrap_or_default());
        if let Some(network) = server.network.to_field() {
            self.text("network");
            self.text(&network.to_string());
        }
    }

    fn remote(&mut self, server: &RemoteServer) {
        // No command has a NUL in it.
        self.text("\0remote");
        self.text(server.transport.name());
        self.text(&server.url);
        self.pairs(&server.headers);
        let auth = match &server.auth {
            RemoteAuth::None => vec!["none"],
            RemoteAuth::OAuth(id) => vec!["oauth", id.as_str()],
            RemoteAuth::Bearer(name) => vec!["bearer", name.as_str()],
            RemoteAuth::ApiKey { header, value } => vec!["api_key", header, value.as_str()],
        };
        for text in auth {
            self.text(text);
        }
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        let mut pairs: Vec<_> = pairs.iter().collect();
        pairs.sort();
        self.text(&pairs.len().to_string());
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }
}

/// The text with characters written out that cannot be seen (line ends, zero-width, bidirectional), so that nothing in it
/// can pass for words of ours.
pub fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            seen.extend(c.escape_unicode());
        } else {
            seen.push(c);
        }
    }
    seen
}

fn quoted(arg: &str) -> String {
    let seen = visible(arg);
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%~•".contains(c);
    if !seen.is_empty() && seen.chars().all(plain) {
        seen
    } else {
        format!("'{}'", seen.replace('\'', "'\\''"))
    }
}

/// Characters that change how a line looks without being seen: controls, zero-width, bidirectional, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Any server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Definition {
    /// It runs here.
    Local(StdioServer),
    /// It is reached over the network.
    Remote(RemoteServer),
}

impl Definition {
    /// Whether it is kept but not run.
    pub fn is_disabled(&self) -> bool {
        match self {
            Self::Local(server) => server.disabled,
            Self::Remote(server) => server.disabled,
        }
    }

    /// The names of the secrets that it needs, each once.
    pub fn secret_names(&self) -> Vec<SecretName> {
        match self {
            Self::Local(server) => server.secret_names(),
            Self::Remote(server) => server.secret_names(),
        }
    }
}

/// Which of the operator's servers (`data/admin/`) threads are offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AdminServers {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// These.
    Listed(Vec<ServerName>),
}

impl AdminServers {
    /// Whether a server of this name is offered.
    pub fn offers(&self, name: &ServerName) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Listed(names) => names.contains(name),
        }
    }
}

/// What a thread has: both files, checked, in their order, and what the operator offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadConfig {
    /// Servers that run here.
    pub local: Vec<(ServerName, StdioServer)>,
    /// Servers reached over the network.
    pub remote: Vec<(ServerName, RemoteServer)>,
    /// The operator's servers, without those whose names the thread took itself.
    pub admin: Vec<(ServerName, Definition)>,
    /// The operator's servers that the thread's own ones of the same name hide.
    pub hidden: Vec<ServerName>,
}

impl ThreadConfig {
    /// The thread's own servers: those that run here, then those over the network.
    pub fn own(&self) -> impl Iterator<Item = (&ServerName, Definition)> {
        let local = self.local.iter();
        let local = local.map(|(name, server)| (name, Definition::Local(server.clone())));
        let remote = self.remote.iter();
        let remote = remote.map(|(name, server)| (name, Definition::Remote(server.clone())));
        local.chain(remote)
    }

    /// Its own servers, and then the operator's.
    pub fn all(&self) -> impl Iterator<Item = (&ServerName, Definition)> {
        let admin = self.admin.iter();
        self.own()
            .chain(admin.map(|(name, definition)| (name, definition.clone())))
    }

    /// The names of all, in the same order.
    pub fn names(&self) -> impl Iterator<Item = &ServerName> {
        let local = self.local.iter().map(|(name, _)| name);
        let remote = self.remote.iter().map(|(name, _)| name);
        let admin = self.admin.iter().map(|(name, _)| name);
        local.chain(remote).chain(admin)
    }

    /// What a server is: the thread's own, or the operator's.
    pub fn definition(&self, name: &ServerName) -> Option<Definition> {
        self.all()
            .find(|(other, _)| *other == name)
            .map(|(_, definition)| definition)
    }
}

impl std::fmt::Debug for StdioServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdioServer")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
