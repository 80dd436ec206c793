//! What the bot and the launcher say to each other: one JSON packet a message, at most one order's pipes with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The variable by which a server's descendants are known even after they left its process group and its parents.
/// Its value is `<launcher>.<child id>`.
pub(super) const MARKER: &str = "SWITCHBOARD_LAUNCH";

/// Asked for as send buffer on both ends, so that a packet with a definition at its limit fits.
pub(super) const SOCKET_BUFFER: usize = 1024 * 1024;

/// The largest packet that is read.
pub(super) const PACKET_BYTES: usize = 512 * 1024;

/// Bot to launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub(super) enum Order {
    /// Start a program; its stdin, stdout and stderr come with the packet.
    Spawn {
        id: u64,
        program: String,
        arg0: String,
        args: Vec<String>,
        env: BTreeMap<String, String>,
        cwd: String,
    },
    /// Ask the child and all it started to end.
    Terminate { id: u64 },
    /// End the child and all it started, until nothing of it is left; answered by [`Report::Swept`].
    Sweep { id: u64 },
}

/// Launcher to bot.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub(super) enum Report {
    /// The program runs.
    Spawned { id: u64, pid: i32 },
    /// The system refused, with its error number.
    Refused { id: u64, errno: i32 },
    /// The child itself ended; what it started may still run.
    Ended { id: u64, ended: Ended },
    /// Nothing of the child is left, but for `left` processes that cannot be ended.
    Swept { id: u64, left: usize },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::registry) enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(9) => f.write_str("signal 9 (killed, perhaps for want of memory)"),
            Self::Signal(11) => f.write_str("signal 11 (it crashed)"),
            Self::Signal(6) => f.write_str("signal 6 (it aborted)"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
