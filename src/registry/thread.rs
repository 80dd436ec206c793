//! A thread's table of servers: what should run, what each is doing, and the snapshot that readers see.
//!
//! Every change goes through the table's lock and ends in one published snapshot, so a reader never sees half of one. The
//! lock is held for a few microseconds and never over an await; that is what lets a removal take effect at once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::connection::Connection;
use super::context::Context;
use super::handle::{Handle, Order};
use super::listing::Listing;
use super::names::{Wanted, settle};
use super::server;
use super::{Notice, Refused, ServerKind, ServerState, ServerView, Snapshot, Stats, Tool};
use crate::config::{Revision, ServerName, StdioServer, ThreadConfig};
use crate::thread::ThreadId;

/// One loaded thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) id: ThreadId,
    pub(super) context: Arc<Context>,
    table: Mutex<Table>,
    snapshot: ArcSwap<Snapshot>,
    /// For calls: by name, without the lock.
    handles: ArcSwap<HashMap<String, Arc<Handle>>>,
    /// Counts publications; who waits for one waits here.
    changed: watch::Sender<u64>,
    /// Calls were made since the snapshot's counts were read.
    counts_are_old: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    revision: Revision,
    entries: Vec<Entry>,
    pending: Vec<Pending>,
    applied: bool,
    gone: bool,
}

#[derive(Debug)]
struct Entry {
    name: ServerName,
    state: ServerState,
    tools: Arc<[Tool]>,
    refused: Arc<[Refused]>,
    /// `None` for a remote one.
    local: Option<Local>,
}

#[derive(Debug)]
struct Local {
    definition: StdioServer,
    handle: Arc<Handle>,
}

/// An applied revision that is not reported yet.
#[derive(Debug)]
struct Pending {
    revision: Revision,
    touched: Vec<ServerName>,
    removed: Vec<ServerName>,
}

/// What a server's task may change of its entry.
pub(super) struct Change<'a> {
    pub(super) state: &'a mut ServerState,
    pub(super) tools: &'a mut Arc<[Tool]>,
    pub(super) refused: &'a mut Arc<[Refused]>,
    handle: &'a Handle,
}

impl Change<'_> {
    /// Sends new calls there from now on.
    pub(super) fn connect(&self, connection: Option<Arc<Connection>>) {
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
            changed: watch::Sender::new(0),
            counts_are_old: AtomicBool::new(false),
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
        mut cached: HashMap<ServerName, Listing>,
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
        for (name, definition) in &config.local {
            let before = old.remove(name);
            let (entry, is_touched) = self.local_entry(name, definition, before, &mut cached);
            if is_touched {
                touched.push(name.clone());
            }
            table.entries.push(entry);
        }
        for (name, server) in &config.remote {
            let before = old.remove(name);
            let state = if server.disabled {
                ServerState::Disabled
            } else {
                ServerState::NotServed
            };
            if before
                .as_ref()
                .is_none_or(|entry| entry.local.is_some() || entry.state != state)
            {
                touched.push(name.clone());
            }
            if let Some(local) = before.and_then(|entry| entry.local) {
                local.handle.let_go();
            }
            table.entries.push(Entry {
                name: name.clone(),
                state,
                tools: Arc::default(),
                refused: Arc::default(),
                local: None,
            });
        }
        let mut removed: Vec<_> = old.keys().cloned().collect();
        removed.sort_unstable();
        for local in old.into_values().filter_map(|entry| entry.local) {
            local.handle.let_go();
        }
        table.pending.push(Pending {
            revision,
            touched,
            removed,
        });
        self.publish_handles(&table);
        self.publish(&mut table);
    }

    /// Stops everything and forgets it.
    pub(super) fn unload(&self) {
        let mut table = self.lock();
        table.gone = true;
        for local in table.entries.drain(..).filter_map(|entry| entry.local) {
            local.handle.let_go();
        }
        table.pending.clear();
        self.publish_handles(&table);
        self.publish(&mut table);
    }

    /// Lets a server's task change its entry; passed over where the server is somebody else's by now.
    pub(super) fn update(&self, handle: &Handle, task: u64, change: impl FnOnce(&mut Change<'_>)) {
        let mut table = self.lock();
        if handle.task.load(Ordering::Acquire) != task {
            return;
        }
        let Some(entry) = table
            .entries
            .iter_mut()
            .find(|entry| entry.name == handle.name)
        else {
            return;
        };
        change(&mut Change {
            state: &mut entry.state,
            tools: &mut entry.tools,
            refused: &mut entry.refused,
            handle,
        });
        self.publish(&mut table);
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

    fn local_entry(
        self: &Arc<Self>,
        name: &ServerName,
        definition: &StdioServer,
        before: Option<Entry>,
        cached: &mut HashMap<ServerName, Listing>,
    ) -> (Entry, bool) {
        let fresh = |handle: Arc<Handle>, state, listing: Listing| Entry {
            name: name.clone(),
            state,
            tools: listing.tools,
            refused: listing.refused,
            local: Some(Local {
                definition: definition.clone(),
                handle,
            }),
        };
        let starting = ServerState::Starting {
            since: Instant::now(),
        };
        let Some((mut entry, local)) = before.and_then(|mut entry| {
            let local = entry.local.take()?;
            Some((entry, local))
        }) else {
            let handle = Handle::new(name.clone(), definition);
            if definition.disabled {
                return (
                    fresh(handle, ServerState::Disabled, Listing::default()),
                    true,
                );
            }
            let known = cached.remove(name);
            let state = if known.is_some() {
                ServerState::Asleep
            } else {
                starting
            };
            server::spawn(self, &handle, definition, known.clone());
            return (fresh(handle, state, known.unwrap_or_default()), true);
        };
        if local.definition == *definition {
            entry.local = Some(local);
            return (entry, false);
        }
        let Local {
            definition: old,
            handle,
        } = local;
        if definition.disabled {
            handle.let_go();
            entry.state = ServerState::Disabled;
            entry.tools = Arc::default();
            entry.refused = Arc::default();
        } else {
            // Its tools of before stay until the new ones are there: the old process still answers.
            if old.disabled || !handle.order(Order::Redefine(definition.clone())) {
                server::spawn(self, &handle, definition, None);
            }
            entry.state = starting;
        }
        entry.local = Some(Local {
            definition: definition.clone(),
            handle,
        });
        (entry, true)
    }

    fn publish_handles(&self, table: &Table) {
        let handles = table
            .entries
            .iter()
            .filter_map(|entry| {
                let local = entry.local.as_ref()?;
                Some((entry.name.as_str().to_owned(), local.handle.clone()))
            })
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
        table.pending.retain(|pending| {
            if pending
                .touched
                .iter()
                .any(|name| unsettled.contains(name.as_str()))
            {
                return true;
            }
            self.context.tell(Notice::Settled {
                thread: self.id,
                revision: pending.revision,
                touched: pending
                    .touched
                    .iter()
                    .filter_map(|name| snapshot.server(name.as_str()).cloned())
                    .collect(),
                removed: pending.removed.clone(),
            });
            false
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn snapshot(&self) -> Snapshot {
        let wanted: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .flat_map(|(server, entry)| {
                entry
                    .tools
                    .iter()
                    .enumerate()
                    .map(move |(tool, offer)| Wanted {
                        place: (server, tool),
                        server: entry.name.as_str(),
                        tool: &offer.name,
                        name: &offer.unique_name,
                    })
            })
            .collect();
        let (names, renamed) = settle(&wanted);
        let mut servers: Vec<_> = self.entries.iter().map(Entry::view).collect();
        for ((server, tool), name) in renamed {
            // Rare, so the copy of a server's tools is made here and not kept.
            let tools = &mut servers[server].tools;
            let mut own = tools.to_vec();
            own[tool].unique_name = name;
            *tools = own.into();
        }
        Snapshot {
            revision: self.revision,
            servers,
            names,
        }
    }
}

impl Entry {
    fn view(&self) -> ServerView {
        ServerView {
            name: self.name.clone(),
            kind: match self.local {
                Some(_) => ServerKind::Local,
                None => ServerKind::Remote,
            },
            state: self.state.clone(),
            tools: self.tools.clone(),
            refused: self.refused.clone(),
            stats: self.stats(),
        }
    }

    fn stats(&self) -> Stats {
        self.local
            .as_ref()
            .map_or_else(Stats::default, |local| local.handle.meter.read())
    }
}
