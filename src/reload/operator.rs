//! The operator's servers (`data/admin/`): read when they change, and offered to every thread.
//!
//! A broken file keeps what was offered before and is told once in the log, which is the operator's; no thread is held up
//! and none loses a server by it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::pace::Pace;
use super::reading::{Meaning, Reading};
use super::thread::sleep_or_never;
use super::{Broken, BrokenWhy, Shared};
use crate::config::{AdminServers, Definition, Files, ServerName, ThreadConfig};
use crate::store::Store;
use crate::watch::{Watch, Watched};

/// A folder that cannot be watched is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is offered now, and how it is found out.
#[derive(Debug)]
pub(super) struct Operator {
    offers: AdminServers,
    offered: watch::Sender<Arc<Offered>>,
    /// Wakes the task after a write; any number of writes before it looks are one.
    wake: Notify,
    /// A plain lock: held for a look at it or a change of it, by the one task.
    last: Mutex<Last>,
    /// Where the folder is, once it was there.
    folder: OnceLock<PathBuf>,
}

/// The newest look.
#[derive(Debug, Default)]
struct Last {
    /// The last good files; `None` before there were any.
    files: Option<Arc<Files>>,
    broken: Option<Broken>,
}

/// The servers that threads are offered, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered(Vec<(ServerName, Definition)>);

impl Operator {
    pub(super) fn new(offers: AdminServers) -> Self {
        Self {
            offers,
            offered: watch::Sender::default(),
            wake: Notify::new(),
            last: Mutex::default(),
            folder: OnceLock::new(),
        }
    }

    /// The first look, at start: a reading that fails is judged by the task, which looks twice.
    pub(super) fn open(&self, store: &Store, watch: &Watch) {
        if !self.offers_any() {
            return;
        }
        match self.read(store, watch).meaning() {
            Meaning::Good(files, config) => self.take_up(files, &config),
            Meaning::Bad(_) => self.tell_written(),
        }
    }

    /// Whether threads are offered anything at all.
    pub(super) fn offers_any(&self) -> bool {
        self.offers != AdminServers::None
    }

    /// Watched first and read then: a write between the two is reported.
    fn read(&self, store: &Store, watch: &Watch) -> Reading {
        if self.attend(store, watch) {
            Reading::of_operator(store)
        } else {
            Reading::of_no_files()
        }
    }

    /// Watches the folder; whether it is to be read.
    pub(super) fn attend(&self, store: &Store, watch: &Watch) -> bool {
        if !watch.holds(Watched::Admin) {
            // A folder that went away is not made anew: the operator may be putting another in its place.
            if self
                .folder
                .get()
                .is_some_and(|folder| folder.symlink_metadata().is_err())
            {
                return false;
            }
            match store.admin_folder() {
                Ok(folder) => {
                    if let Err(error) = watch.add(Watched::Admin, &folder) {
                        tracing::debug!(%error, "The operator's folder is not watched; it is looked at from time to time.");
                    }
                    let _ = self.folder.set(folder);
                }
                Err(error) => {
                    tracing::debug!(%error, "The operator's folder cannot be opened; it is looked at from time to time.");
                }
            }
        }
        true
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Offered>> {
        self.offered.subscribe()
    }

    /// A write was reported.
    pub(super) fn tell_written(&self) {
        self.wake.notify_one();
    }

    fn take_up(&self, files: Arc<Files>, config: &ThreadConfig) {
        let offered = Offered::of(config, &self.offers);
        let (is_new, was_broken) = {
            let mut last = self.last();
            let is_new = last.files.as_ref() != Some(&files);
            last.files = Some(files);
            (is_new, last.broken.take().is_some())
        };
        if let AdminServers::Listed(names) = &self.offers {
            for name in names.iter().filter(|name| is_new && !offered.has(name)) {
                tracing::warn!(server = %name, "A server that threads shall be offered is in no file of data/admin.");
            }
        }
        if was_broken {
            tracing::info!(
                servers = offered.0.len(),
                "The files in data/admin are good again."
            );
        }
        self.offered.send_if_modified(|before| {
            let is_new = **before != offered;
            if is_new {
                *before = Arc::new(offered);
            }
            is_new
        });
    }

    /// What was offered stays offered.
    fn keep_on(&self, broken: Broken) {
        let mut last = self.last();
        if last.broken.as_ref() != Some(&broken) {
            let file = broken.file.map_or("", crate::config::FileKind::file_name);
            let path = Path::new("admin").join(file);
            tracing::error!(path = %path.display(), reason = %reason(&broken.why), "The operator's servers cannot be read; those of before stay.");
            last.broken = Some(broken);
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offered {
    fn of(config: &ThreadConfig, offers: &AdminServers) -> Self {
        let offered = config.own().filter(|(name, _)| offers.offers(name));
        Self(
            offered
                .map(|(name, definition)| (name.clone(), definition))
                .collect(),
        )
    }

    fn has(&self, name: &ServerName) -> bool {
        self.0.iter().any(|(offered, _)| offered == name)
    }

    /// A thread's servers with these; its own names hide them.
    pub(super) fn beside(&self, own: &ThreadConfig) -> ThreadConfig {
        let is_own = |name: &ServerName| {
            own.local.iter().any(|(own, _)| own == name)
                || own.remote.iter().any(|(own, _)| own == name)
        };
        let (hidden, admin): (Vec<_>, Vec<_>) =
            self.0.iter().cloned().partition(|(name, _)| is_own(name));
        ThreadConfig {
            admin,
            hidden: hidden.into_iter().map(|(name, _)| name).collect(),
            ..own.clone()
        }
    }
}

impl Shared {
    /// Reads the operator's files again whenever they changed, until the room stops.
    pub(super) async fn oversee(self: Arc<Self>) {
        if !self.operator.offers_any() && self.options.policy.is_none() {
            return;
        }
        let mut pace = Pace::default();
        loop {
            let deaf = (!self.watch.holds(Watched::Admin)).then(|| Instant::now() + LOOK_AGAIN);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.operator.wake.notified() => {
                    pace.written(Instant::now());
                    continue;
                }
                () = sleep_or_never(pace.due()) => pace.looked(),
                () = sleep_or_never(deaf) => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.look_at_folder() => {}
            }
        }
    }

    async fn look_at_folder(self: &Arc<Self>) {
        // The policy first: what it forbids is not offered for a moment before.
        self.look_at_policy().await;
        if self.operator.offers_any() {
            self.look_at_operator().await;
        }
    }

    /// Waits until the folder is written again; for a file that may be half of one.
    pub(super) async fn wait_for_write(&self, deadline: Instant) {
        let _ = timeout_at(deadline, self.operator.wake.notified()).await;
    }

    /// Watches the operator's folder; whether it is to be read.
    pub(super) fn attend_operator(&self) -> bool {
        self.operator.attend(&self.store, &self.watch)
    }

    async fn look_at_operator(self: &Arc<Self>) {
        let deadline = Instant::now() + self.options.second_look;
        let meaning = loop {
            let shared = Arc::clone(self);
            let look = spawn_blocking(move || shared.operator.read(&shared.store, &shared.watch));
            let Ok(reading) = look.await else {
                return;
            };
            let meaning = reading.meaning();
            let before = self.operator.last().files.clone();
            let is_doubtful = matches!(meaning, Meaning::Bad(_))
                || before.is_some_and(|before| reading.lacks_text(&before));
            if !is_doubtful || Instant::now() >= deadline {
                break meaning;
            }
            let _ = timeout_at(deadline, self.operator.wake.notified()).await;
        };
        match meaning {
            Meaning::Good(files, config) => self.operator.take_up(files, &config),
            Meaning::Bad(broken) => self.operator.keep_on(broken),
        }
    }
}

fn reason(why: &BrokenWhy) -> String {
    match why {
        BrokenWhy::Config(error) => error.to_string(),
        BrokenWhy::Unreadable(reason) => reason.clone(),
    }
}

#[cfg(test)]
mod tests;
