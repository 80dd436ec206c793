//! Servers that are reached over the network.
//!
//! [`Wire`] sends every request, so that addresses, headers, logins, deadlines and the log of requests are one matter for
//! both transports; above it, `http` (streamable HTTP) and `sse` (HTTP+SSE of 2024-11-05) are rmcp transports like the pipe
//! of a local server, and what is built on them is the same.

mod http;
mod link;
mod options;
mod pace;
mod probe;
mod probed;
mod sse;
mod stream;
mod wire;

use std::sync::Arc;

use super::Stage;
use super::connection::Opened;
use super::context::Context;
use super::logs::Logs;
use super::trouble::{Mend, Trouble};
use crate::config::{RemoteServer, RemoteTransport};
use crate::thread::ThreadId;

pub(super) use link::{Checked, Link, check, of_service, unanswering};
pub use options::RemoteOptions;
pub(super) use pace::jittered;
pub(super) use probe::probe;
pub use probed::{AuthWanted, ProbeAsk, Probed};
pub(super) use stream::{EVENT_BYTES, EventStream, events, media_type, read_body};
pub(super) use wire::{Ask, Wire, WireError};

#[cfg(fuzzing)]
pub use sse::{Told, events_of};

/// Connects a remote server: handshake and list of tools. `passed` is told each stage that is passed.
pub(super) async fn open(
    context: &Context,
    thread: ThreadId,
    name: &str,
    server: &RemoteServer,
    logs: &Arc<Logs>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let wire = Wire::lay(context, thread, server, logs).await?;
    passed(Stage::Address, wire.host());
    connect(context, name, server, wire, passed).await
}

/// The same, with a look at the name's addresses first: for a person who watches.
pub(super) async fn open_slowly(
    context: &Context,
    thread: ThreadId,
    name: &str,
    server: &RemoteServer,
    logs: &Arc<Logs>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let wire = Wire::lay(context, thread, server, logs).await?;
    passed(Stage::Address, wire.host());
    let addresses = context.outside.net.resolve(wire.url()).await;
    let addresses = addresses.map_err(|error| WireError::Net(error).trouble(Stage::Dns))?;
    let addresses: Vec<_> = addresses.iter().take(3).map(ToString::to_string).collect();
    passed(Stage::Dns, addresses.join(", "));
    connect(context, name, server, wire, passed).await
}

async fn connect(
    context: &Context,
    name: &str,
    server: &RemoteServer,
    wire: Arc<Wire>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let masker = wire.masker().clone();
    let opened = match server.transport {
        RemoteTransport::Http => link::over_http(context, name, server, wire, passed).await,
        RemoteTransport::Sse => link::over_sse(context, name, server, wire, passed).await,
    };
    // Its words may repeat what it was sent, which the definition's own masker does not know.
    opened.map_err(|trouble| Trouble {
        what: masker.load().mask(&trouble.what),
        ..trouble
    })
}
