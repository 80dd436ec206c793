//! What a thread's two files mean.
//!
//! Raw bytes become a [`Document`] (verbatim JSON that parsed), a document becomes checked servers (schema and limits),
//! and two documents become a difference. Edits change documents, never checked servers, so that fields that are not ours
//! pass through untouched. Pure: no IO, no async, no clock.

mod check;
mod diff;
mod document;
mod edit;
mod given;
mod intake;
mod lift;
mod mask;
mod masked;
mod masker;
mod name;
mod network;
mod parse;
mod problem;
mod remote;
mod schema;
mod schema_words;
mod secrets;
mod server;
mod tool_schema;

pub use check::is_env_name;
pub use diff::{text_diff, unified};
pub use document::{Document, FileKind, Files, Revision, RevisionError};
pub use edit::{Change, Edit, EditError};
pub use given::GivenFor;
pub use intake::{Intake, RemoteOffer, intake};
pub use lift::{Lifted, has_literals, lift};
pub use mask::{is_secret_name, is_secret_value, mask_value, masked_args, masked_env, masked_url};
pub use masked::{has_secret, restore_masked};
pub use masker::Masker;
pub use name::{NameError, ServerName};
pub use network::{BadHost, HostPattern, NetworkGrant, read_host};
pub use parse::syntax_words;
pub use problem::{ConfigError, Problem, SyntaxError};
pub use remote::{
    Approval, BadId, CredentialId, RemoteAuth, RemoteServer, RemoteTransport, SecretName,
};
pub use schema::{POLICY_FILE, policy_document, policy_schema_text, schema_text};
pub use secrets::{address_with, secrets_in_address};
pub use server::{
    AdminServers, Definition, StdioServer, ThreadConfig, command_line, definition_key, program_key,
    visible,
};
pub use tool_schema::{check_arguments, schema_problem};

/// The limits of a thread's files, each answered clearly when passed.
pub mod limits {
    /// Bytes of one file.
    pub const FILE_BYTES: usize = 256 * 1024;
    /// Servers of a thread, over both files.
    pub const SERVERS: usize = 64;
    /// Characters of a server's name.
    pub const NAME_CHARS: usize = 64;
    /// Arguments of a command.
    pub const ARGS: usize = 128;
    /// Environment variables of a server.
    pub const ENV_VARS: usize = 128;
    /// Hosts of a server's network grant.
    pub const HOSTS: usize = 64;
    /// Bytes of one of them.
    pub const HOST_BYTES: usize = 255;
    /// Bytes of one argument, of one variable's value, of the command, of the folder.
    pub const VALUE_BYTES: usize = 8 * 1024;
    /// Bytes of a server's command, arguments and environment together (one packet to the launcher).
    pub const LAUNCH_BYTES: usize = 64 * 1024;
}
