//! How well a local server is confined.

use serde::{Deserialize, Serialize};

/// How well a local server is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Not at all; only where the operator said `off`.
    None,
    /// Landlock, seccomp and limits: no other files, no network of its own; other processes can be seen.
    Restricted,
    /// Namespaces of its own by bubblewrap, and everything of the restricted tier.
    Strong,
}

impl Tier {
    /// In a word, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Strong => "strong",
        }
    }
}
