//! A secret that somebody gives by `/mcp secrets set`, or wants to be forgotten. Its name, never itself.

use serde::{Deserialize, Serialize};

use crate::config::{GivenFor, SecretName};

/// A value that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct SecretFlow {
    /// What it will be called.
    pub(in crate::desk) name: SecretName,
    /// What it is given for, as the person is told; settled before it is given.
    pub(in crate::desk) given_for: GivenFor,
    /// Whether only this person reads the thread.
    pub(in crate::desk) private: bool,
    /// The button in the group that leads to the private chat.
    #[serde(default)]
    pub(in crate::desk) nonce: Option<String>,
}
