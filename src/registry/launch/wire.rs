//! What the bot and the launcher say to each other: one JSON packet a message, at most one order's pipes with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The variable by which a server's descendants are known even after they left its process group and its parents.
/// Its value is `<launcher>.<child id>`.
/// Named by the sandbox, whose last step hands it on.
pub(super) use crate::sandbox::LAUNCH_MARK as MARKER;

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
        /// What it is watched for; `None` where it is not confined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<Watch>,
    },
    /// Ask the child and all it started to end.
    Terminate { id: u64 },
    /// End the child and all it started, until nothing of it is left; answered by [`Report::Swept`].
    Sweep { id: u64 },
}

/// What a confined server is watched for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::registry) struct Watch {
    /// Whose child it is: the same for each child of one server.
    pub(in crate::registry) server: u64,
    /// Bytes of memory of all its processes.
    pub(in crate::registry) memory: u64,
    /// Its processes and threads.
    pub(in crate::registry) processes: u64,
    /// Seconds of the processor's time within ten minutes, of all its processes.
    pub(in crate::registry) processor: u64,
    /// The child keeps the server in a namespace and passes on how it ended; a polite signal is not for the child itself.
    pub(in crate::registry) is_keeper: bool,
}

/// What a server was ended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::registry) enum Over {
    /// More memory than this many bytes.
    Memory(u64),
    /// More processes and threads than these.
    Processes(u64),
    /// More seconds of the processor's time than these, within ten minutes.
    Processor(u64),
    /// More sockets than these.
    Sockets(u64),
    /// Its thread's home, which holds more than this many bytes.
    Home(u64),
}

/// Launcher to bot.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub(super) enum Report {
    /// The program runs.
    Spawned { id: u64, pid: i32 },
    /// The system refused, with its error number.
    Refused { id: u64, errno: i32 },
    /// It used more than it may, and is being ended.
    Over { id: u64, over: Over },
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

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(most) => {
                let most = super::super::text::bytes(*most);
                write!(f, "it was ended because it used more than {most} of memory")
            }
            Self::Processes(most) => write!(
                f,
                "it was ended because it ran more than {most} processes and threads"
            ),
            Self::Processor(most) => {
                let s = if *most == 1 { "" } else { "s" };
                write!(
                    f,
                    "it was ended because it used the processor for more than {most} second{s} within ten minutes"
                )
            }
            Self::Sockets(most) => write!(
                f,
                "it was ended because it had more than {most} sockets, whose memory is the host's"
            ),
            Self::Home(most) => {
                let most = super::super::text::bytes(*most);
                write!(
                    f,
                    "it was ended because this chat's own folder on the host holds more than {most}"
                )
            }
        }
    }
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
