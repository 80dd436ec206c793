//! What [`super::confined_main`] is told, and how: in front of everything else on the standard input that becomes the
//! server's, so that neither arguments nor variables stand on a command line or in the environment of another program.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Limits, Owner};

/// The bytes of the length, in decimal.
const LENGTH: usize = 8;
/// More than a definition at its limit needs.
const MOST: usize = 4 * 1024 * 1024;

/// What to become, and with what left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) program: PathBuf,
    pub(super) arg0: String,
    pub(super) args: Vec<String>,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: PathBuf,
    /// Whom to become first.
    pub(super) owner: Option<Owner>,
    pub(super) limits: Limits,
    /// The only files that can be reached; `None` where there are no others.
    pub(super) walls: Option<Walls>,
    pub(super) sockets: Sockets,
    /// Whether the relay to the proxy is started before it.
    pub(super) relay: bool,
}

/// What can be reached of the host's files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Walls {
    /// What can be read and run.
    pub(super) read: Vec<PathBuf>,
    /// What can be changed as well.
    pub(super) write: Vec<PathBuf>,
    /// Whether the host's network is reached all the same.
    pub(super) network: bool,
}

/// Which sockets can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sockets {
    /// None that leads out of the process and its children.
    None,
    /// Those, and TCP as the usher has it, which is this process's parent then and its standard output.
    Led,
    /// Those of a network namespace of its own.
    Own,
    /// The host's.
    Host,
}

impl Spec {
    /// As it is written to the standard input.
    pub(super) fn to_preamble(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![b'0'; LENGTH];
        serde_json::to_writer(&mut bytes, self)?;
        let length = format!("{:0LENGTH$}", bytes.len() - LENGTH);
        if length.len() > LENGTH || bytes.len() > MOST {
            return Err(io::Error::other(
                "its arguments and variables are too large",
            ));
        }
        bytes[..LENGTH].copy_from_slice(length.as_bytes());
        Ok(bytes)
    }

    /// Reads it and not one byte more: the rest is the server's.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; LENGTH];
        from.read_exact(&mut length)?;
        let length: usize = std::str::from_utf8(&length)
            .ok()
            .and_then(|length| length.parse().ok())
            .filter(|length| *length <= MOST)
            .ok_or_else(|| io::Error::other("this is for switchboard itself to run"))?;
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(Into::into)
    }
}
