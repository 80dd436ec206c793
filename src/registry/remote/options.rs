//! How patient the bot is with servers over the network.

use std::time::Duration;

/// The waits that no server decides. The defaults are for the world outside; whoever knows a quicker one may shorten them.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// The wait after a first failed start or lost connection; it doubles with each one in a row, and there is no last one.
    pub backoff: Duration,
    /// The longest of these waits.
    pub backoff_cap: Duration,
    /// A server that is suspected to be gone is asked this long after the suspicion, and not more often.
    pub suspect_after: Duration,
    /// How long a server may take to say that it is there.
    pub check_limit: Duration,
    /// A stream that broke is not opened again closer to its last opening than this.
    pub reopen_after: Duration,
    /// The waits between later openings begin with this and double.
    pub reopen_backoff: Duration,
    /// The longest of them.
    pub reopen_cap: Duration,
    /// A server that does not answer `server/discover` for this long is taken for an older one.
    pub discover_limit: Duration,
    /// How long an HTTP+SSE stream may take to say where messages go.
    pub endpoint_limit: Duration,
    /// The longest that one question to an address that nobody has connected yet waits.
    pub question_limit: Duration,
    /// How long the end of a connection may take, its session's included.
    pub end_limit: Duration,
    /// A server that floods its connection for this long is cut off.
    pub flood_limit: Duration,
}

impl Default for RemoteOptions {
    /// The documented defaults.
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(1),
            backoff_cap: Duration::from_mins(5),
            suspect_after: Duration::from_secs(1),
            check_limit: Duration::from_secs(10),
            reopen_after: Duration::from_millis(250),
            reopen_backoff: Duration::from_secs(1),
            reopen_cap: Duration::from_mins(1),
            discover_limit: Duration::from_secs(8),
            endpoint_limit: Duration::from_secs(15),
            question_limit: Duration::from_secs(15),
            end_limit: Duration::from_secs(6),
            flood_limit: Duration::from_secs(10),
        }
    }
}
