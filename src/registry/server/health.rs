//! Whether a connected remote server is still there: asked at a steady pace, and at once where something looks wrong.

use std::pin::Pin;
use std::time::{Duration, Instant};

use super::super::RegistryOptions;
use super::super::connection::Connection;
use super::super::remote::{self, Checked, RemoteOptions};
use super::super::trouble::Trouble;
use super::sleep_until;

/// Checks without an answer in a row after which a server that nobody waits for counts as gone.
const MISSES: u32 = 2;

/// The checks of one connection; none for a server that runs here, whose process says more.
pub(super) struct Health {
    every: Duration,
    at: Instant,
    checking: Option<Pin<Box<dyn Future<Output = Checked> + Send>>>,
    misses: u32,
}

impl Health {
    pub(super) fn new(options: &RegistryOptions) -> Self {
        let every = options.health_every;
        Self {
            every,
            at: Instant::now() + every,
            checking: None,
            misses: 0,
        }
    }

    /// Waits until the next check is over. Goes on where it was when it is dropped half way.
    ///
    /// In a box, so that the tasks of servers that run here keep no room for it; an endless wait takes none.
    pub(super) fn next<'a>(
        &'a mut self,
        connection: &'a Connection,
        options: &'a RemoteOptions,
    ) -> Pin<Box<dyn Future<Output = Checked> + Send + 'a>> {
        if connection.is_local {
            return Box::pin(std::future::pending());
        }
        Box::pin(self.check(connection, options))
    }

    /// What is wrong after a check. A server that does not answer may be busy with a call that is under way.
    pub(super) fn judge(
        &mut self,
        outcome: Result<(), Option<Trouble>>,
        is_busy: bool,
    ) -> Option<Trouble> {
        match outcome {
            Ok(()) => {
                self.misses = 0;
                None
            }
            Err(Some(trouble)) => Some(trouble),
            Err(None) => {
                self.misses += 1;
                (self.misses >= MISSES && !is_busy).then(remote::unanswering)
            }
        }
    }

    async fn check(&mut self, connection: &Connection, options: &RemoteOptions) -> Checked {
        loop {
            if let Some(checking) = &mut self.checking {
                let checked = checking.await;
                self.checking = None;
                self.at = Instant::now() + remote::jittered(self.every);
                return checked;
            }
            tokio::select! {
                () = connection.events.suspected.notified() => {
                    self.at = self.at.min(Instant::now() + options.suspect_after);
                }
                () = sleep_until(self.at) => {
                    let (peer, is_modern) = (connection.peer.clone(), connection.is_modern());
                    self.checking = Some(Box::pin(remote::check(peer, is_modern, options.check_limit)));
                }
            }
        }
    }
}
