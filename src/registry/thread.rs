//! A thread's table of servers: what should run, what each is doing, and the snapshot that readers see.
//!
//! Every change goes through the table's lock and ends in one published snapshot, so a reader never sees half of one. The
//! lock is held for a few microseconds and never over an await; that is what lets a removal take effect at once.

mod known;
mod table;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::connection::Connection;
use super::context::Context;
use super::handle::{Handle, Tenure, Why};
use super::listing::Listing;
use super::rules::ruled_aside;
use super::server;
use super::{Notice, Refused, ServerState, Snapshot, Tool};
use crate::config::{Definition, Masker, Revision, ServerName, ThreadConfig};
use crate::thread::ThreadId;
use known::Known;
use table::{Entry, Pending, Table};

/// One loaded thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) id: ThreadId,
    pub(super) context: Arc<Context>,
    table: Mutex<Table>,
    snapshot: ArcSwap<Snapshot>,
    /// For calls: by name, without the lock.
    handles: ArcSwap<HashMap<String, Arc<Handle>>>,
    known: Known,
    /// Counts publications; who waits for one waits here.
    changed: watch::Sender<u64>,
    /// Calls were made since the snapshot's counts were read.
    counts_are_old: AtomicBool,
    /// Held from asking what holds for tools until it is published, so that the newest decision is published last.
    pub(super) ruling: tokio::sync::Mutex<()>,
}

/// The tools that are known for a definition.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// As the server listed them.
    pub(super) listing: Listing,
    /// The same with what holds for them.
    pub(super) tools: Arc<[Tool]>,
}

/// What a server's task may change of its entry.
pub(super) struct Change<'a> {
    pub(super) state: &'a mut ServerState,
    pub(super) tools: &'a mut Arc<[Tool]>,
    pub(super) refused: &'a mut Arc<[Refused]>,
    handle: &'a Handle,
    /// Readers would see nothing new.
    idle: bool,
}

impl Change<'_> {
    /// It starts; where that was said already, nothing is published.
    pub(super) fn start(&mut self) {
        self.idle = matches!(self.state, ServerState::Starting { .. });
        if !self.idle {
            *self.state = ServerState::Starting {
                since: Instant::now(),
                doing: None,
            };
        }
    }

    /// What takes a while of a start.
    pub(super) fn tell(&mut self, what: String) {
        if let ServerState::Starting { doing, .. } = self.state {
            *doing = Some(what);
        }
    }

    /// Sends new calls there from now on.
    pub(super) fn connect(&self, connection: Option<Arc<Connection>>) {
        if let Some(connection) = &connection {
            // What it was given is still known when it sleeps.
            self.handle.masker.store(connection.masker.load_full());
        }
        self.handle.connection.store(connection);
    }
}

impl Thread {
    pub(super) fn new(id: ThreadId, context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self {
            id,
            context,
            table: Mutex::default(),
            snapshot: ArcSwap::default(),
            handles: ArcSwap::default(),
            known: Known::default(),
            changed: watch::Sender::new(0),
            counts_are_old: AtomicBool::new(false),
            ruling: tokio::sync::Mutex::default(),
        })
    }

    /// Whether a configuration was ever applied.
    pub(super) fn is_applied(&self) -> bool {
        self.lock().applied
    }

    /// Makes the table what the configuration says, starting with what must go. `cached` are tools that are known for
    /// these very definitions: the thread is just being loaded, and such a server sleeps until it is called.
    pub(super) fn apply(
        self: &Arc<Self>,
        config: &ThreadConfig,
        revision: Revision,
        mut cached: HashMap<ServerName, Cached>,
    ) {
        let mut table = self.lock();
        if table.gone || self.context.closing.is_cancelled() {
            return;
        }
        table.applied = true;
        table.revision = revision;
        let mut old: HashMap<ServerName, Entry> = std::mem::take(&mut table.entries)
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect();
        let mut touched = Vec::new();
        let mut came = HashSet::new();
        let own = config
            .own()
            .map(|(name, definition)| (name, (definition, false)));
        let admin = config.admin.iter();
        let admin = admin.map(|(name, definition)| (name, (definition.clone(), true)));
        for (name, wanted) in own.chain(admin) {
            let before = old.remove(name);
            if before.is_none() {
                came.insert(name.clone());
            }
            let (entry, is_touched) = self.entry(name, wanted, before, cached.remove(name));
            if is_touched {
                touched.push(name.clone());
            }
            table.entries.push(entry);
        }
        table.hidden.clone_from(&config.hidden);
        for entry in old.into_values() {
            // The same entry under a name that was not there before.
            let renamed = table.entries.iter().find(|new| {
                new.definition == entry.definition
                    && new.handle.is_admin == entry.handle.is_admin
                    && came.contains(&new.name)
            });
            let why = renamed.map_or(Why::Removed, |new| Why::Renamed(new.name.clone()));
            entry.handle.let_go(why);
        }
        table.await_report(Pending { revision, touched });
        self.publish_handles(&table);
        self.publish(&mut table);
    }

    /// Stops everything and forgets it.
    pub(super) fn unload(&self) {
        let mut table = self.lock();
        table.gone = true;
        for entry in table.entries.drain(..) {
            entry.handle.let_go(Why::LetGo);
        }
        table.pending.clear();
        self.publish_handles(&table);
        self.publish(&mut table);
    }

    /// Lets a server's task change its entry; passed over where the server is somebody else's by now. A task that has not
    /// heard of the newest definition yet still says which tools can be called, but not how the server does: with its word
    /// the new revision would be reported as settled before it was tried. Whether its word counted.
    pub(super) fn update(
        &self,
        handle: &Handle,
        tenure: Tenure,
        change: impl FnOnce(&mut Change<'_>),
    ) -> bool {
        let mut table = self.lock();
        if !handle.is_of(tenure) {
            return false;
        }
        let Some(entry) = table
            .entries
            .iter_mut()
            .find(|entry| entry.name == handle.name)
        else {
            return false;
        };
        let counts = handle.is_of_edition(tenure);
        let mut unheard = entry.state.clone();
        let state = if counts {
            &mut entry.state
        } else {
            &mut unheard
        };
        let mut changed = Change {
            state,
            tools: &mut entry.tools,
            refused: &mut entry.refused,
            handle,
            idle: false,
        };
        change(&mut changed);
        if !changed.idle {
            self.publish(&mut table);
        }
        counts
    }

    /// Publishes what holds for a server's tools now.
    pub(super) async fn rule_again(&self, server: &ServerName) {
        let _turn = self.ruling.lock().await;
        let known = {
            let table = self.lock();
            let mut entries = table.entries.iter();
            entries
                .find(|entry| entry.name == *server)
                // What is starting may be another program by now; its own tools are asked about when it lists them.
                .filter(|entry| !matches!(entry.state, ServerState::Starting { .. }))
                .map(|entry| (entry.definition.clone(), entry.tools.clone()))
        };
        let Some((definition, tools)) = known else {
            return;
        };
        let ruled = ruled_aside(&self.context, self.id, server, &definition, &tools).await;
        let mut table = self.lock();
        let mut entries = table.entries.iter_mut();
        let entry = entries.find(|entry| entry.name == *server);
        if let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.tools, &tools)) {
            entry.tools = ruled;
            self.publish(&mut table);
        }
    }

    /// The newest snapshot, with counts of now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        if self.counts_are_old.swap(false, Ordering::AcqRel) {
            let table = self.lock();
            let mut fresh = Snapshot::clone(&self.snapshot.load());
            for (view, entry) in fresh.servers.iter_mut().zip(&table.entries) {
                view.stats = entry.stats();
            }
            self.snapshot.store(Arc::new(fresh));
        }
        self.snapshot.load_full()
    }

    /// The newest snapshot for a moment.
    pub(super) fn glance(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(super) fn handle(&self, server: &str) -> Option<Arc<Handle>> {
        self.handles.load().get(server).cloned()
    }

    /// Knows the secrets of all its servers.
    pub(super) fn masker(&self) -> Arc<Masker> {
        self.known.of(self.handles.load().values())
    }

    /// Each server with its definition and what it is doing.
    pub(super) fn definitions(&self) -> Vec<(Arc<Handle>, Definition, ServerState)> {
        let table = self.lock();
        let entries = table.entries.iter();
        entries
            .map(|entry| {
                (
                    entry.handle.clone(),
                    entry.definition.clone(),
                    entry.state.clone(),
                )
            })
            .collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the thread was let go.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// A call was counted.
    pub(super) fn counted(&self) {
        if !self.counts_are_old.load(Ordering::Relaxed) {
            self.counts_are_old.store(true, Ordering::Release);
        }
    }

    /// A server's entry from now on, and whether it differs from what was before.
    fn entry(
        self: &Arc<Self>,
        name: &ServerName,
        (definition, is_admin): (Definition, bool),
        before: Option<Entry>,
        cached: Option<Cached>,
    ) -> (Entry, bool) {
        let starting = ServerState::Starting {
            since: Instant::now(),
            doing: None,
        };
        let before = before.and_then(|before| {
            // The operator's server and the thread's own one of that name have nothing in common.
            if before.handle.is_admin == is_admin {
                return Some(before);
            }
            before.handle.let_go(Why::Changed);
            None
        });
        let Some(mut entry) = before else {
            let handle = Handle::new(name.clone(), &definition, is_admin);
            let known = if definition.is_disabled() {
                None
            } else {
                cached
            };
            let state = match &known {
                _ if definition.is_disabled() => ServerState::Disabled,
                Some(_) => ServerState::Asleep,
                None => starting,
            };
            if !definition.is_disabled() {
                let listing = known.as_ref().map(|known| known.listing.clone());
                server::spawn(self, &handle, &definition, listing);
            }
            let (tools, refused) = known
                .map(|known| (known.tools, known.listing.refused))
                .unwrap_or_default();
            let entry = Entry {
                name: name.clone(),
                state,
                tools,
                refused,
                definition,
                handle,
            };
            return (entry, true);
        };
        if entry.definition == definition {
            return (entry, false);
        }
        if definition.is_disabled() {
            entry.handle.let_go(Why::SwitchedOff);
            entry.state = ServerState::Disabled;
            entry.tools = Arc::default();
            entry.refused = Arc::default();
        } else {
            // Its tools of before stay until the new ones are there: the old process still answers.
            if entry.definition.is_disabled() || !entry.handle.redefine(&definition) {
                server::spawn(self, &entry.handle, &definition, None);
            }
            entry.state = starting;
        }
        entry.definition = definition;
        (entry, true)
    }

    fn publish_handles(&self, table: &Table) {
        let handles = table
            .entries
            .iter()
            .map(|entry| (entry.name.as_str().to_owned(), entry.handle.clone()))
            .collect();
        self.handles.store(Arc::new(handles));
    }

    fn publish(&self, table: &mut Table) {
        self.snapshot.store(Arc::new(table.snapshot()));
        self.changed.send_modify(|count| *count += 1);
        let snapshot = self.snapshot.load();
        let unsettled: HashSet<&str> = snapshot
            .servers
            .iter()
            .filter(|server| matches!(server.state, ServerState::Starting { .. }))
            .map(|server| server.name.as_str())
            .collect();
        table.pending.retain_mut(|pending| {
            // Once is enough: what is down starts again and again, and two such need never rest at the same time.
            let touched = &mut pending.touched;
            touched.retain(|name| unsettled.contains(name.as_str()));
            if !touched.is_empty() {
                return true;
            }
            self.context.tell(Notice::Settled {
                thread: self.id,
                revision: pending.revision,
            });
            false
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
