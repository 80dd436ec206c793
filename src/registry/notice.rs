//! What the registry tells the desk.

use super::ServerView;
use crate::config::{Revision, ServerName};
use crate::thread::ThreadId;

/// What the registry tells the desk.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Every server that the revision touched has settled: ready, failed, backing off, stopped, disabled or gone. Sent
    /// once for each applied revision, also when nothing was touched; a revision that was applied again meanwhile is
    /// reported once for both.
    Settled {
        /// Which thread.
        thread: ThreadId,
        /// Which revision.
        revision: Revision,
    },
    /// A server crashed too often and waits to be restarted.
    Parked {
        /// Which thread.
        thread: ThreadId,
        /// The server, with the reason in its state.
        server: ServerView,
    },
    /// A running server changed its tools (`tools/list_changed`).
    ToolsChanged {
        /// Which thread.
        thread: ThreadId,
        /// The server.
        server: ServerView,
    },
    /// The operator's policy is another one now, and some of the thread's servers stop or start anew by it. Sent once for
    /// a change of the policy, and not to a thread whose servers go on as they were.
    Judged {
        /// Which thread.
        thread: ThreadId,
        /// The servers that are not allowed any more, with why and what to do, in whole sentences.
        stopped: Vec<(ServerName, String)>,
        /// The servers that start anew, on other terms.
        anew: Vec<ServerName>,
    },
}
