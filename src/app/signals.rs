//! The signals that end the bot.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::chat::terminal::Terminal;

/// The signals that end the bot, heard from the moment this is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The first signal asks for an orderly end; the second ends the process at once. The launcher then ends the servers.
    pub(super) async fn stop(mut self, stop: CancellationToken, terminal: Option<Arc<Terminal>>) {
        for first in [true, false] {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping; a second signal ends the bot at once.");
                stop.cancel();
            }
        }
        if let Some(terminal) = terminal {
            terminal.restore();
        }
        std::process::exit(130);
    }
}
