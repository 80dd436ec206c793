//! How the registry works: its waits and deadlines.

use std::path::PathBuf;
use std::time::Duration;

use super::remote::RemoteOptions;

/// How the registry works.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The program that is run as `PROGRAM launcher` to own the children; our own binary.
    pub launcher: PathBuf,
    /// Where a server without `cwd` runs, by thread; made where missing.
    pub homes: PathBuf,
    /// A server unused for this long stops and starts again at the next call.
    pub server_idle: Duration,
    /// A call's deadline without progress.
    pub call_timeout: Duration,
    /// The most that progress can extend a call to.
    pub call_cap: Duration,
    /// The deadline of a start: process, handshake and list of tools (a first `npx -y` downloads the package).
    pub start_timeout: Duration,
    /// The waits after the first, second, … crash; after the last the server is parked.
    pub backoff: Vec<Duration>,
    /// How often a connected remote server is asked whether it is there.
    pub health_every: Duration,
    /// The other waits for remote servers.
    pub remote: RemoteOptions,
    /// A server that was ready for this long starts counting crashes anew.
    pub good_after: Duration,
    /// What `npx` and `uvx` run is installed once, pinned to a version, and started from there; else they are run as they
    /// stand.
    pub packages: bool,
}

impl RegistryOptions {
    /// The documented defaults.
    pub fn new(launcher: PathBuf, homes: PathBuf) -> Self {
        Self {
            launcher,
            homes,
            server_idle: Duration::from_mins(15),
            call_timeout: Duration::from_mins(1),
            call_cap: Duration::from_mins(10),
            start_timeout: Duration::from_mins(2),
            backoff: [1, 2, 4, 8, 16].map(Duration::from_secs).to_vec(),
            health_every: Duration::from_mins(1),
            remote: RemoteOptions::default(),
            good_after: Duration::from_mins(5),
            packages: true,
        }
    }
}
