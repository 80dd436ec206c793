//! The way out for local servers: a CONNECT proxy on a Unix socket for each server that runs.
//!
//! A server in a sandbox has no network of its own; what it reaches, it reaches through here. Each request is judged by
//! the server's grant, and each address by the very filter of every other fetch of the bot: names are resolved when they
//! are connected to, every answer is judged, and the judged address is the one that is connected to. TLS passes through
//! untouched. What a server reached, or wanted to, is noted for the people of its chat.

mod answer;
mod head;
mod places;
mod serve;
#[cfg(test)]
mod tests;
mod tunnel;

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::Net;
use crate::config::HostPattern;

pub use places::Purpose;

use places::Places;

/// `sun_path` has 108 bytes with its NUL.
const LONGEST_PATH: usize = 107;

/// How much a server may reach through the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// These hosts.
    Hosts(Vec<HostPattern>),
    /// Any public address.
    Public,
}

/// How long the proxy waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a place among the connections that are open at once.
    pub place: Duration,
    /// For the whole head of a request.
    pub head: Duration,
    /// For a connection, the name's lookup included.
    pub connect: Duration,
    /// For a sign of life in either direction.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            place: Duration::from_secs(10),
            head: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            idle: Duration::from_mins(5),
        }
    }
}

/// One request of a server, as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The host, as DNS writes it, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it was let through.
    pub allowed: bool,
}

/// Who is told what a server reaches.
pub trait Witness: Send + Sync + std::fmt::Debug {
    /// Called for each request, before it is answered; must not block.
    fn saw(&self, contact: Contact);
}

/// What opens gates. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    net: Net,
    /// A private folder, where the sockets are.
    folder: Arc<Path>,
    patience: Patience,
    places: Arc<Places>,
}

/// Of this process: no two gates have one number, also of two houses in one folder.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// One server's way out; closed with all its connections when this is dropped.
#[derive(Debug)]
#[must_use = "the way out is closed when this is dropped"]
pub struct Gate {
    socket: PathBuf,
    moved: Arc<Moved>,
    closed: CancellationToken,
}

/// Bytes that went through a gate.
#[derive(Debug, Default)]
struct Moved {
    out: AtomicU64,
    back: AtomicU64,
}

impl Egress {
    /// Gates are opened in `folder`, which is there and private.
    pub fn new(net: Net, folder: &Path, patience: Patience) -> Self {
        Self {
            net,
            folder: Arc::from(folder),
            patience,
            places: Arc::new(Places::here()),
        }
    }

    /// Opens a way out for a server, whose name stands in refusals, or for an installation.
    pub fn open(
        &self,
        purpose: Purpose,
        server: &str,
        reach: Reach,
        witness: Arc<dyn Witness>,
    ) -> io::Result<Gate> {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let socket = self.folder.join(format!("{number}.sock"));
        let listener = bind(&self.folder, &socket)?;
        // Whoever is to connect is given it; the folder keeps others away as well.
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        let gate = Gate {
            socket,
            moved: Arc::default(),
            closed: CancellationToken::new(),
        };
        let door = serve::Door {
            net: self.net.clone(),
            server: server.to_owned(),
            reach,
            witness,
            patience: self.patience,
            moved: Arc::clone(&gate.moved),
            line: self.places.line(purpose),
        };
        let closed = gate.closed.clone();
        let serving = serve::serve(door, listener, closed.clone());
        tokio::spawn(closed.run_until_cancelled_owned(serving));
        Ok(gate)
    }
}

impl Gate {
    /// The socket to show to the server.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Bytes that went out and came back.
    pub fn moved(&self) -> (u64, u64) {
        (
            self.moved.out.load(Ordering::Relaxed),
            self.moved.back.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.closed.cancel();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Binds also where the path is longer than an address of a socket can be.
fn bind(folder: &Path, socket: &Path) -> io::Result<UnixListener> {
    if socket.as_os_str().len() <= LONGEST_PATH {
        return UnixListener::bind(socket);
    }
    let folder = std::fs::File::open(folder)?;
    let name = socket.file_name().unwrap_or_default();
    let near = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    UnixListener::bind(near)
}
