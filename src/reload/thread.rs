//! The task of one loaded thread: reads its files when they changed, and hands them on.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::operator::Offered;
use super::pace::Pace;
use super::reading::{Meaning, Reading};
use super::saver::Saver;
use super::slot::{Ask, Slot};
use super::{Broken, Loaded, ReloadNotice, Shared, stopped};
use crate::config::{Document, Files, Revision, ThreadConfig};
use crate::store::StoreError;
use crate::thread::ThreadId;

/// Owns everything about the thread; `current` is `None` before it is loaded and after it was let go.
pub(super) struct Thread {
    id: ThreadId,
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    asks: mpsc::UnboundedReceiver<Ask>,
    current: Option<Current>,
    pace: Pace,
    saver: Saver,
    offered: watch::Receiver<Arc<Offered>>,
}

#[derive(Debug)]
struct Current {
    loaded: Loaded,
    /// What its own files mean, without what the operator offers.
    own: Arc<ThreadConfig>,
    /// What the registry was told last. Not the newest on disk where that is broken.
    applied: Revision,
    /// The newest reading; its text is not kept.
    read: Read,
}

#[derive(Debug)]
struct Read {
    revision: Option<Revision>,
    stamp: crate::store::Stamp,
    at: std::time::SystemTime,
}

enum Next {
    Ask(Ask),
    Written,
    Look,
    Offered,
    Idle,
    Nothing,
    Stop,
}

impl Thread {
    pub(super) fn new(
        id: ThreadId,
        shared: Arc<Shared>,
        slot: Arc<Slot>,
        asks: mpsc::UnboundedReceiver<Ask>,
    ) -> Self {
        let saver = Saver::default();
        let offered = shared.operator.subscribe();
        Self {
            id,
            shared,
            slot,
            asks,
            current: None,
            pace: Pace::default(),
            saver,
            offered,
        }
    }

    /// Runs until the thread is let go or the room stops.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Ask(Ask::Touch(answer)) => {
                    let touched = self.touched().await;
                    let _ = answer.send(touched);
                }
                Next::Ask(Ask::Release(done)) => {
                    self.let_go().await;
                    let _: Result<(), ()> = done.send(());
                }
                // A look for another reason may have seen the write already.
                Next::Written if !self.slot.is_behind() => {}
                Next::Written => self.pace.written(Instant::now()),
                Next::Look => self.look_again().await,
                Next::Offered => self.apply_offered().await,
                Next::Idle => self.let_go().await,
                Next::Nothing => {}
                Next::Stop => break,
            }
            if self.current.is_none() && self.is_over() {
                break;
            }
        }
        self.saver.finish(&self.shared, self.id).await;
    }

    async fn next(&mut self) -> Next {
        let is_loaded = self.current.is_some();
        let idle = self.slot.last_used(self.shared.epoch) + self.shared.options.thread_idle;
        let due = self.pace.due();
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Next::Stop,
            ask = self.asks.recv() => ask.map_or(Next::Stop, Next::Ask),
            () = self.slot.wake.notified(), if is_loaded => Next::Written,
            () = sleep_or_never(due), if is_loaded => Next::Look,
            // The sender lives as long as the room.
            Ok(()) = self.offered.changed(), if is_loaded => Next::Offered,
            () = self.saver.step(&self.shared, self.id) => Next::Nothing,
            () = sleep_until(idle), if is_loaded => {
                let used = self.slot.last_used(self.shared.epoch);
                // Somebody may have used it while this slept.
                if used + self.shared.options.thread_idle > Instant::now() { Next::Nothing } else { Next::Idle }
            }
        }
    }

    /// Whether the task may end: nobody asked anything since. Asks are sent under the same lock, so none is lost.
    fn is_over(&mut self) -> bool {
        let mut threads = self.shared.threads();
        if !self.asks.is_empty() {
            return false;
        }
        if threads
            .slots
            .get(&self.id)
            .is_some_and(|slot| Arc::ptr_eq(slot, &self.slot))
        {
            threads.slots.remove(&self.id);
        }
        self.asks.close();
        true
    }

    async fn touched(&mut self) -> Result<Loaded, StoreError> {
        match &self.current {
            None => self.load().await?,
            Some(_) if self.slot.is_behind() => self.look_again().await,
            Some(_) if self.slot.is_watched() => {}
            Some(current) => {
                let (stamp, at) = (current.read.stamp, current.read.at);
                let (shared, slot, id) =
                    (Arc::clone(&self.shared), Arc::clone(&self.slot), self.id);
                let is_unchanged = blocking(move || {
                    watch_folder(&shared, &slot, id);
                    let now = shared.store.stamp(id);
                    now.is_ok_and(|now| now.proves_unchanged(&stamp, at))
                });
                if is_unchanged.await != Some(true) {
                    self.look_again().await;
                }
            }
        }
        let loaded = self.current.as_ref().map(|current| current.loaded.clone());
        loaded.ok_or_else(stopped)
    }

    /// The first look. The disk may be cold, so it is read off the runtime's workers. Watched first and read then: a
    /// write between the two is reported.
    async fn load(&mut self) -> Result<(), StoreError> {
        let (shared, slot, id) = (Arc::clone(&self.shared), Arc::clone(&self.slot), self.id);
        let first = blocking(move || {
            if let Err(error) = shared.store.recover(id) {
                tracing::warn!(thread = %id, %error, "A commit that a crash cut short could not be settled yet.");
            }
            shared.store.thread_folder(id)?;
            watch_folder(&shared, &slot, id);
            let told = slot.told();
            let reading = Reading::take(&shared.store, id);
            let before = written_unseen(&shared, id);
            Ok((told, reading, before))
        });
        let (told, reading, before) = first.await.ok_or_else(stopped)??;
        self.look(told, reading, before).await;
        Ok(())
    }

    /// A look after a reported write. On the worker itself: what was just written through this system is in its memory
    /// (a write elsewhere, on a network disk, is not reported), and two small reads take less time than the way to
    /// another worker and back.
    async fn look_again(&mut self) {
        self.pace.looked();
        let (told, reading) = self.read();
        self.look(told, reading, None).await;
    }

    fn read(&self) -> (u64, Reading) {
        if !self.shared.watch.holds(self.id) {
            self.slot.set_watched(false);
            // Its folder went away. It is not made anew before somebody speaks there: it may be moving.
            if self.shared.store.exists(self.id) {
                watch_folder(&self.shared, &self.slot, self.id);
            }
        }
        (self.slot.told(), Reading::take(&self.shared.store, self.id))
    }

    /// Makes what was read take effect. `unseen`: what ran before, where that is not known here.
    async fn look(&mut self, mut told: u64, mut reading: Reading, unseen: Option<Arc<Files>>) {
        let deadline = Instant::now() + self.shared.options.second_look;
        let meaning = loop {
            if let Some(current) = &mut self.current
                && reading.revision().is_some()
                && reading.revision() == current.read.revision
            {
                current.read.stamp = reading.stamp;
                current.read.at = reading.at;
                let loaded = current.loaded.clone();
                self.slot.publish(Some(loaded), told);
                return;
            }
            let meaning = reading.meaning();
            if !self.is_doubtful(&reading, &meaning) || Instant::now() >= deadline {
                break meaning;
            }
            // The next write may come at once, or never.
            let _ = timeout_at(deadline, self.slot.wake.notified()).await;
            (told, reading) = self.read();
        };
        let read = Read {
            revision: reading.revision(),
            stamp: reading.stamp,
            at: reading.at,
        };
        match meaning {
            Meaning::Good(files, config) => self.take_up(told, read, files, config, unseen).await,
            Meaning::Bad(broken) => self.keep_on(told, read, broken).await,
        }
    }

    /// Whether the files look like a write under way.
    fn is_doubtful(&self, reading: &Reading, meaning: &Meaning) -> bool {
        match meaning {
            Meaning::Bad(_) => true,
            Meaning::Good(..) => self
                .current
                .as_ref()
                .is_some_and(|current| reading.lacks_text(&current.loaded.files)),
        }
    }

    async fn take_up(
        &mut self,
        told: u64,
        read: Read,
        files: Arc<Files>,
        config: Arc<ThreadConfig>,
        unseen: Option<Arc<Files>>,
    ) {
        let revision = read.revision.unwrap_or_default();
        let own = config;
        let config = self.apply(&own, revision).await;
        let before = match &self.current {
            Some(current) => Some(Arc::clone(&current.loaded.files)),
            None => unseen.filter(|unseen| !is_same(unseen, &files)),
        };
        self.saver.next = Some(Arc::clone(&files));
        let now = Loaded {
            revision,
            files,
            config,
            broken: None,
        };
        self.set(told, read, now.clone(), own, revision);
        self.shared.outbox.push(ReloadNotice::Changed {
            thread: self.id,
            now,
            before,
        });
    }

    /// The disk is broken: what ran goes on, at the first load what ran last.
    async fn keep_on(&mut self, told: u64, read: Read, broken: Broken) {
        let (mut now, own, applied) = if let Some(current) = &self.current {
            let own = Arc::clone(&current.own);
            (current.loaded.clone(), own, current.applied)
        } else {
            let (files, own) = self.last_good().await;
            let revision = read.revision.unwrap_or_default();
            let now = Loaded {
                revision,
                files,
                config: self.apply(&own, revision).await,
                broken: None,
            };
            (now, own, revision)
        };
        let is_known = now.broken.as_ref() == Some(&broken);
        now.revision = read.revision.unwrap_or(now.revision);
        now.broken = Some(broken);
        self.set(told, read, now.clone(), own, applied);
        if !is_known {
            self.shared.outbox.push(ReloadNotice::Broken {
                thread: self.id,
                now,
            });
        }
    }

    async fn last_good(&self) -> (Arc<Files>, Arc<ThreadConfig>) {
        let (shared, id) = (Arc::clone(&self.shared), self.id);
        let kept = blocking(move || shared.store.last_good(id));
        let files = match kept.await {
            Some(Ok(files)) => files.unwrap_or_default(),
            Some(Err(error)) => {
                tracing::warn!(thread = %id, %error, "The last good configuration cannot be read.");
                Files::default()
            }
            None => Files::default(),
        };
        match files.check() {
            Ok(config) => (Arc::new(files), Arc::new(config)),
            // It was good for an older version of the bot.
            Err(_) => (Arc::default(), Arc::default()),
        }
    }

    /// Has the registry run the thread's own servers with those that the operator offers now.
    async fn apply(&mut self, own: &ThreadConfig, revision: Revision) -> Arc<ThreadConfig> {
        let offered = Arc::clone(&self.offered.borrow_and_update());
        let config = Arc::new(offered.beside(own));
        self.shared
            .runs
            .apply(self.id, Arc::clone(&config), revision)
            .await;
        config
    }

    /// The operator offers something else. The thread's files are what they were, so the revision in force stays in
    /// force, and whoever waits for it goes on waiting for its servers.
    async fn apply_offered(&mut self) {
        let Some(current) = &self.current else {
            return;
        };
        let (own, applied) = (Arc::clone(&current.own), current.applied);
        if self.offered.borrow_and_update().beside(&own) == *current.loaded.config {
            return;
        }
        let config = self.apply(&own, applied).await;
        if let Some(current) = &mut self.current {
            current.loaded.config = config;
            self.slot.replace(current.loaded.clone());
        }
    }

    fn set(
        &mut self,
        told: u64,
        read: Read,
        loaded: Loaded,
        own: Arc<ThreadConfig>,
        applied: Revision,
    ) {
        self.slot.publish(Some(loaded.clone()), told);
        self.current = Some(Current {
            loaded,
            own,
            applied,
            read,
        });
    }

    async fn let_go(&mut self) {
        if self.current.take().is_none() {
            return;
        }
        // From here on everybody who asks waits for this task, which answers after the registry has let go.
        self.slot.set_watched(false);
        self.slot.publish(None, self.slot.told());
        self.pace = Pace::default();
        self.shared.watch.remove(self.id);
        // Whoever let it go may move its folders next.
        self.saver.finish(&self.shared, self.id).await;
        self.shared.runs.unload(self.id).await;
    }
}

/// Watches the thread's folder, making it where it is missing. Where that fails it is looked at when it is touched.
fn watch_folder(shared: &Shared, slot: &Slot, thread: ThreadId) {
    let folder = match shared.store.thread_folder(thread) {
        Ok(folder) => folder,
        Err(error) => {
            tracing::debug!(%thread, %error, "A folder cannot be opened; it is looked at when the thread is used.");
            return slot.set_watched(false);
        }
    };
    let watched = shared.watch.add(thread, &folder);
    if let Err(error) = &watched {
        tracing::debug!(%thread, %error, "A folder is not watched; it is looked at when the thread is used.");
    }
    slot.set_watched(watched.is_ok());
}

/// The last good configuration, where the files are not what the history says that they are.
fn written_unseen(shared: &Shared, thread: ThreadId) -> Option<Arc<Files>> {
    match shared.store.is_recorded(thread) {
        Ok(false) => shared.store.last_good(thread).ok().flatten().map(Arc::new),
        Ok(true) => None,
        Err(error) => {
            tracing::warn!(%thread, %error, "The history cannot be read.");
            None
        }
    }
}

/// Whether they would be written alike: an empty file means what a missing one does.
fn is_same(one: &Files, other: &Files) -> bool {
    let alike = |one: &Document, other: &Document| one.to_text() == other.to_text();
    alike(&one.local, &other.local) && alike(&one.remote, &other.remote)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_blocking(work).await.ok()
}

pub(super) async fn sleep_or_never(until: Option<Instant>) {
    match until {
        // The runtime's clock counts whole milliseconds and would sleep one of them even until now.
        Some(until) if until <= Instant::now() => {}
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
