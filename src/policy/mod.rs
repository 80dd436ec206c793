//! Who may do what, and what a change risks. Pure: judges what it is given and looks nothing up.

mod access;
mod address;
mod chat;
mod file;
mod glob;
mod host;
mod launch;
mod network;
mod risk;
mod tier;
mod tools;

pub use access::{Admission, Named};
pub use address::{AddressProblem, AddressRules, literal};
pub use chat::{Call, ChatSettings, Configure, may};
pub use file::PolicyFile;
pub use glob::{is_pattern, matches};
pub use host::{
    Access, CallsAMinute, FolderGrant, Given, HostPolicy, Listed, NetworkFor, NetworkMost,
    Patterns, Quotas, Rules, Running, WhoAdds,
};
pub use launch::{Denied, Launcher, Runner, new_locals};
pub use network::{Granted, Less, Ways, reach_words};
pub use risk::{changes_locals, risks};
pub use tier::Tier;
pub use tools::{
    Hints, Label, Mode, Pin, Ruling, Said, Seen, ToolDecisions, Verdict, canonical, is_risky,
    labels,
};

/// What somebody wants to do in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Look at servers, tools and status (secrets are masked for everybody).
    Read,
    /// Call a tool.
    Call,
    /// Change the configuration, start or stop servers, read logs or download files.
    Configure,
}
