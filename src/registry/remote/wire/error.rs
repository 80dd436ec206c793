//! Why a request brought no answer to read, and what that means for the server as a whole.

use std::time::Duration;

use super::{Mend, Trouble};
use crate::net::{Net, NetError};
use crate::registry::Stage;

/// Why a request brought no answer to read. The words hold no secret and no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum WireError {
    #[error("{0}")]
    Net(#[from] NetError),
    #[error("it sends on to {to}")]
    Redirect { to: String },
    #[error("{reason}")]
    NeedsLogin {
        reason: String,
        challenge: Option<String>,
    },
    #[error("the login that there is does not reach for this")]
    MoreRights {
        scope: Option<String>,
        challenge: String,
    },
    #[error("{0}")]
    Later(String),
    #[error("it answered with HTTP {status}{note}")]
    Status {
        status: u16,
        retry_after: Option<Duration>,
        /// Nothing, or what its body says, from ` (`.
        note: String,
    },
    #[error("it does not know the session any more")]
    SessionLost,
    #[error("it answered with {0}, which is not MCP")]
    WrongKind(String),
    #[error("its answer is larger than {} MiB", limit / (1024 * 1024))]
    TooLarge { limit: usize },
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
    #[error("the connection was closed")]
    Closed,
}

/// What a failure of the client means.
pub(in crate::registry::remote) trait Failing<T> {
    fn failing(self) -> Result<T, WireError>;
}

impl<T> Failing<T> for reqwest::Result<T> {
    fn failing(self) -> Result<T, WireError> {
        self.map_err(|error| WireError::Net(Net::explain(&error)))
    }
}

impl WireError {
    /// What it means for the server as a whole.
    pub(in crate::registry) fn trouble(&self, stage: Stage) -> Trouble {
        let what = self.to_string();
        let (stage, advice, mend) = match self {
            Self::Net(NetError::Address(_)) => (
                Stage::Address,
                "Give it another address with `/mcp edit`.",
                Mend::Change,
            ),
            Self::Net(NetError::Dns { .. }) => {
                (Stage::Dns, "Is the address spelt right?", Mend::Again)
            }
            Self::Net(NetError::Connect { .. }) => (
                Stage::Tls,
                "Is the server running, and is the address right?",
                Mend::Again,
            ),
            Self::Net(NetError::Tls { .. }) => (
                Stage::Tls,
                "Its certificate must be valid for this name.",
                Mend::Again,
            ),
            Self::Net(_) => (stage.max_http(), "Try again in a moment.", Mend::Again),
            Self::Redirect { .. } => (
                Stage::Http,
                "If that is the server that you mean, give it that address with `/mcp edit`.",
                Mend::Change,
            ),
            Self::NeedsLogin { challenge, .. } => (Stage::Auth, "", Mend::Login(challenge.clone())),
            Self::MoreRights { challenge, .. } => {
                (Stage::Auth, "", Mend::Login(Some(challenge.clone())))
            }
            Self::Later(_) => (Stage::Auth, "", Mend::Again),
            Self::Status {
                status,
                retry_after,
                ..
            } => (
                Stage::Http,
                match status {
                    404 | 405 | 410 => "The path of the address may be wrong: many end in /mcp.",
                    403 => "Its operator may let only some in.",
                    _ => "",
                },
                retry_after.map_or(Mend::Again, Mend::After),
            ),
            Self::WrongKind(_) => (
                Stage::Transport,
                "The address may be that of a web page: an MCP endpoint often ends in /mcp or /sse.",
                Mend::Again,
            ),
            Self::SessionLost => (stage, "", Mend::Now),
            Self::TooLarge { .. } | Self::Malformed(_) | Self::Closed => (stage, "", Mend::Again),
        };
        Trouble::new(stage, what, advice, mend)
    }
}

impl Stage {
    /// No answer at all is no answer to HTTP, whatever was asked.
    fn max_http(self) -> Self {
        match self {
            Self::Address | Self::Dns | Self::Tls => Self::Http,
            other => other,
        }
    }
}
