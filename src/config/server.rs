//! Checked servers: what the schema and the limits let through, typed.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::ServerName;
use super::mask::masked_args;
use super::secrets::{spans, without};

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
    /// It is kept but not started.
    pub disabled: bool,
}

impl StdioServer {
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

/// A short, stable key of what a server runs (command, args, env, cwd), the same in every process; whether it is disabled
/// does not matter. Tells nothing of the values.
pub fn definition_key(server: &StdioServer) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(&server.command);
    // Counts keep an argument from passing for a variable.
    text(&server.args.len().to_string());
    server.args.iter().for_each(|arg| text(arg));
    let mut env: Vec<_> = server.env.iter().collect();
    env.sort();
    text(&env.len().to_string());
    for (name, value) in env {
        text(name);
        text(value);
    }
    text(if server.cwd.is_some() { "cwd" } else { "" });
    text(server.cwd.as_deref().unwrap_or_default());
    let mut key = String::with_capacity(32);
    for byte in &hash.finalize()[..16] {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
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

/// How a remote server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteTransport {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of MCP 2024-11-05.
    Sse,
}

/// A server reached over the network; read, checked and shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteServer {
    /// How.
    pub transport: RemoteTransport,
    /// Where.
    pub url: String,
    /// Names of the headers it is sent; their values may be secret and are not kept here.
    pub header_names: Vec<String>,
    /// It is kept but not connected.
    pub disabled: bool,
}

/// Both files, checked, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadConfig {
    /// Servers that run here.
    pub local: Vec<(ServerName, StdioServer)>,
    /// Servers reached over the network.
    pub remote: Vec<(ServerName, RemoteServer)>,
}

impl std::fmt::Debug for StdioServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdioServer")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteServer")
            .field("url", &without(&self.url, &spans(&self.url)))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
