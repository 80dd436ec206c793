//! What a local server has of the network while it runs: its grant, worked out, and its gate in the bot's proxy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::Stage;
use super::super::context::Context;
use super::super::network::{NetworkBook, WaysOut};
use super::super::trouble::{Mend, Trouble};
use super::terms::ways;
use crate::config::{NetworkGrant, ServerName, StdioServer};
use crate::net::egress::{Contact, Gate, Purpose, Reach, Witness};
use crate::policy::Ways;
use crate::sandbox::Network;
use crate::thread::ThreadId;

/// What was reached is written down at most this often.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Hosts that wait to be written down; a server that reaches more in that time is known well enough by these.
const MOST: usize = 128;

/// What a server has of the network; ends with it.
#[derive(Debug)]
pub(in crate::registry) enum WayOut {
    /// Nothing.
    None,
    /// What the proxy lets through.
    Proxy {
        gate: Gate,
        /// Ends the task that writes down what was reached.
        _noting: DropGuard,
    },
    /// The host's own.
    Host,
}

impl WayOut {
    /// As the sandbox knows it.
    pub(super) fn network(&self) -> Network {
        match self {
            Self::None => Network::None,
            Self::Proxy { gate, .. } => Network::Proxy(gate.socket().to_owned()),
            Self::Host => Network::Host,
        }
    }
}

impl Context {
    /// What can be granted to a thread's servers here.
    pub(in crate::registry) fn network_ways(&self, thread: ThreadId) -> Ways {
        ways(self, &self.outside.policy.now(), thread)
    }
}

/// Opens the gate that a server's grant is.
pub(super) fn open(
    context: &Arc<Context>,
    thread: ThreadId,
    name: &ServerName,
    server: &StdioServer,
    grant: &NetworkGrant,
) -> Result<WayOut, Trouble> {
    let reach = match grant {
        NetworkGrant::Hosts(hosts) => Reach::Hosts(hosts.clone()),
        NetworkGrant::Public => Reach::Public,
        NetworkGrant::Host => return Ok(WayOut::Host),
        NetworkGrant::None | NetworkGrant::Unsaid => return Ok(WayOut::None),
    };
    let Some(WaysOut { egress, book }) = &context.outside.ways_out else {
        return Ok(WayOut::None);
    };
    let noting = CancellationToken::new();
    let seen = Arc::new(Seen::default());
    let witness: Arc<Seen> = Arc::clone(&seen);
    let gate = egress
        .open(Purpose::Server(thread), name.as_str(), reach, witness)
        .map_err(|error| Trouble {
            stage: Stage::Process,
            what: format!("its way to the network could not be opened: {error}"),
            advice: "Try again; if it stays so, ask whoever runs the bot.".to_owned(),
            mend: Mend::Again,
            said: Vec::new(),
        })?;
    let note = Note {
        seen,
        book: Arc::clone(book),
        thread,
        name: name.clone(),
        server: server.clone(),
    };
    context.tasks.spawn(note.follow(noting.clone()));
    Ok(WayOut::Proxy {
        gate,
        _noting: noting.drop_guard(),
    })
}

/// What a server reached and nobody has written down yet.
#[derive(Debug, Default)]
struct Seen {
    /// A std lock: held for a map operation.
    news: Mutex<HashMap<(String, u16), (bool, u64)>>,
    fresh: Notify,
}

impl Seen {
    fn take(&self) -> Vec<(Contact, u64)> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let news = std::mem::take(&mut *news).into_iter();
        news.map(|((host, port), (allowed, times))| {
            let contact = Contact {
                host,
                port,
                allowed,
            };
            (contact, times)
        })
        .collect()
    }
}

impl Witness for Seen {
    fn saw(&self, contact: Contact) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (contact.host, contact.port);
        if news.len() < MOST || news.contains_key(&key) {
            let known = news.entry(key).or_insert((contact.allowed, 0));
            *known = (contact.allowed, known.1.saturating_add(1));
            drop(news);
            self.fresh.notify_one();
        }
    }
}

struct Note {
    seen: Arc<Seen>,
    book: Arc<dyn NetworkBook>,
    thread: ThreadId,
    name: ServerName,
    server: StdioServer,
}

impl Note {
    /// Writes down what is new until the server ended, and then the rest.
    async fn follow(self, ended: CancellationToken) {
        while ended
            .run_until_cancelled(self.seen.fresh.notified())
            .await
            .is_some()
        {
            self.write().await;
            ended
                .run_until_cancelled(tokio::time::sleep(NOTED_EVERY))
                .await;
        }
        self.write().await;
    }

    async fn write(&self) {
        let news = self.seen.take();
        if news.is_empty() {
            return;
        }
        let (book, thread) = (Arc::clone(&self.book), self.thread);
        let (name, server) = (self.name.clone(), self.server.clone());
        let write = move || book.contacted(thread, &name, &server, news);
        let _ = tokio::task::spawn_blocking(write).await;
    }
}
