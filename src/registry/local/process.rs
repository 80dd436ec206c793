//! The process behind a connection, and its end.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::RunningService;

use super::super::connection::Client;
use super::super::launch::{Child, Lost, Over};
use super::super::logs::{Drained, Logs};
use super::super::transport::Outgoing;
use super::super::trouble::Mend;
use super::hindered::Held;
use super::packages::Claim;
use super::quota::Watched;
use super::way_out::WayOut;

/// How long the last words of a process that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Between the end of a process's output and its own end.
const END_TOGETHER: Duration = Duration::from_millis(500);
/// After its stdin closed a server has this long to end, and this long again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
const TERM_GRACE: Duration = Duration::from_secs(1);

/// The process behind a connection. Its drop ends it and what it started.
#[derive(Debug)]
pub(in crate::registry) struct Process {
    pub(super) child: Child,
    /// What it is kept from, for telling why it ended.
    pub(super) held: Box<Held>,
    /// Over the home that it works in.
    pub(super) watched: Option<Watched>,
    pub(super) drained: Drained,
    pub(super) outgoing: Arc<Outgoing>,
    /// Its drop ends rmcp's task; there once the handshake is.
    pub(super) service: Option<RunningService<RoleClient, Client>>,
    /// Closed with it.
    pub(super) _way_out: WayOut,
    /// What it runs stays there until it has ended.
    pub(super) _package: Option<Claim>,
}

impl Process {
    /// How it ended, in words, with its last lines, once it has; `None` where it goes on running.
    pub(in crate::registry) async fn last_words(
        &mut self,
        logs: &Logs,
    ) -> (Option<String>, Vec<String>) {
        let ended = tokio::time::timeout(END_TOGETHER, self.child.ended()).await;
        self.drained.wait(LAST_WORDS).await;
        if let Some(over) = self.over() {
            return (Some(over), logs.telling());
        }
        let how = match ended {
            Ok(Ok(ended)) => Some(format!("it ended with {ended}")),
            Ok(Err(Lost)) => Some("the bot's launcher process ended".to_owned()),
            Err(_) => None,
        };
        (how, logs.telling())
    }

    /// What to do about its end, where the sandbox is the cause of it; asked after its last words.
    pub(in crate::registry) async fn advice(&self, logs: &Logs) -> Option<String> {
        // Known by now, if ever.
        let ended = tokio::time::timeout(Duration::ZERO, self.child.ended()).await;
        let ended = ended.ok().and_then(Result::ok);
        self.held.advice(self.child.over(), ended, &logs.fresh())
    }

    /// What it was ended for, in words, if it used more than it may.
    pub(super) fn over(&self) -> Option<String> {
        self.child.over().map(|over| over.to_string())
    }

    /// What may mend its end; asked after its last words.
    pub(in crate::registry) fn mend(&self) -> Mend {
        match self.child.over() {
            // What starts by itself would use as much again.
            Some(Over::Processor(_)) => Mend::Restart,
            Some(Over::Memory(_) | Over::Processes(_) | Over::Sockets(_) | Over::Home(_))
            | None => Mend::Again,
        }
    }

    /// Waits until it has ended.
    pub(in crate::registry) async fn ended(&self) {
        let _ = self.child.ended().await;
    }

    /// Closes its stdin, asks, and leaves the rest to [`Process::sweep`]; whether it has to be killed.
    pub(in crate::registry) async fn end_in_peace(&self) -> bool {
        self.outgoing.close().await;
        if tokio::time::timeout(GRACE, self.ended()).await.is_ok() {
            return false;
        }
        self.child.terminate().await;
        tokio::time::timeout(TERM_GRACE, self.ended())
            .await
            .is_err()
    }

    /// Kills what is left of it and of what it started; how many processes the system could not end.
    pub(in crate::registry) async fn sweep(&mut self) -> usize {
        self.watched = None;
        self.child.sweep().await
    }
}
