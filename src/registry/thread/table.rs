//! What a thread's servers are doing, and the snapshot that follows from it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::handle::Handle;
use super::super::names::{Wanted, settle};
use super::super::{Refused, ServerKind, ServerState, ServerView, Snapshot, Stats, Tool};
use crate::config::{Definition, Revision, ServerName};

/// What should run and what each server is doing.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) revision: Revision,
    pub(super) entries: Vec<Entry>,
    pub(super) pending: Vec<Pending>,
    named: Named,
    pub(super) hidden: Vec<ServerName>,
    pub(super) applied: bool,
    pub(super) gone: bool,
}

/// One server of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: ServerName,
    pub(super) state: ServerState,
    pub(super) tools: Arc<[Tool]>,
    pub(super) refused: Arc<[Refused]>,
    pub(super) definition: Definition,
    pub(super) handle: Arc<Handle>,
}

/// The unique names of the tools, made anew only when tools come, go or move: most publications tell of something else.
#[derive(Debug, Default)]
struct Named {
    /// Whose names they are, by the servers' places.
    of: Vec<Arc<[Tool]>>,
    names: Arc<HashMap<String, (usize, usize)>>,
    /// Tools that cannot have the name that they want.
    renamed: Vec<((usize, usize), String)>,
}

/// An applied revision that is not reported yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) revision: Revision,
    pub(super) touched: Vec<ServerName>,
}

impl Table {
    /// One report a revision, also where it was applied again before it settled (the operator offers something else): who
    /// waits for the revision waits for all that it touched.
    pub(super) fn await_report(&mut self, mut new: Pending) {
        let same = |pending: &Pending| pending.revision == new.revision;
        if let Some(at) = self.pending.iter().position(same) {
            new.touched.extend(self.pending.remove(at).touched);
            new.touched.sort_unstable();
            new.touched.dedup();
        }
        self.pending.push(new);
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        if !self.named.is_of(&self.entries) {
            self.named = Named::new(&self.entries);
        }
        let mut servers: Vec<_> = self.entries.iter().map(Entry::view).collect();
        for ((server, tool), name) in &self.named.renamed {
            // Rare, so the copy of a server's tools is made here and not kept.
            let tools = &mut servers[*server].tools;
            let mut own = tools.to_vec();
            own[*tool].unique_name.clone_from(name);
            *tools = own.into();
        }
        Snapshot {
            revision: self.revision,
            servers,
            names: self.named.names.clone(),
            hidden: self.hidden.clone(),
        }
    }
}

impl Named {
    fn new(entries: &[Entry]) -> Self {
        let wanted: Vec<_> = entries
            .iter()
            .enumerate()
            .flat_map(|(server, entry)| {
                let tools = entry.tools.iter().enumerate();
                tools.map(move |(tool, offer)| Wanted {
                    place: (server, tool),
                    server: entry.name.as_str(),
                    tool: &offer.name,
                    name: &offer.unique_name,
                })
            })
            .collect();
        let (names, renamed) = settle(&wanted);
        Self {
            of: entries.iter().map(|entry| entry.tools.clone()).collect(),
            names: Arc::new(names),
            renamed,
        }
    }

    /// Two servers never share a list, so the same list in the same place is the same server's.
    fn is_of(&self, entries: &[Entry]) -> bool {
        let none = Arc::default();
        (0..self.of.len().max(entries.len())).all(|place| {
            let before = self.of.get(place).unwrap_or(&none);
            let now = entries.get(place).map_or(&none, |entry| &entry.tools);
            Arc::ptr_eq(before, now) || (before.is_empty() && now.is_empty())
        })
    }
}

impl Entry {
    fn view(&self) -> ServerView {
        ServerView {
            name: self.name.clone(),
            kind: match self.definition {
                Definition::Local(_) => ServerKind::Local,
                Definition::Remote(_) => ServerKind::Remote,
            },
            is_admin: self.handle.is_admin,
            state: self.state.clone(),
            tools: self.tools.clone(),
            refused: self.refused.clone(),
            stats: self.stats(),
            ended: self.handle.last_end(),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.handle.meter.read()
    }
}
