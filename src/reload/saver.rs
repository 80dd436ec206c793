//! The last good configuration on its way to the disk.

use std::future::pending;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use super::Shared;
use crate::config::Files;
use crate::store::StoreError;
use crate::thread::ThreadId;

/// Keeps the last good configuration, behind the reload and one at a time, so that an older never overwrites a newer.
#[derive(Default)]
pub(super) struct Saver {
    pub(super) next: Option<Arc<Files>>,
    running: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Saver {
    /// Makes a step; never ends where there is nothing to do. Safe to cancel.
    pub(super) async fn step(&mut self, shared: &Arc<Shared>, thread: ThreadId) {
        if let Some(running) = &mut self.running {
            let saved = running.await;
            self.running = None;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%thread, %error, "The last good configuration could not be kept.");
            }
        } else if let Some(files) = self.next.take() {
            let store = shared.store.clone();
            self.running = Some(spawn_blocking(move || store.save_last_good(thread, &files)));
        } else {
            pending::<()>().await;
        }
    }

    pub(super) async fn finish(&mut self, shared: &Arc<Shared>, thread: ThreadId) {
        while self.next.is_some() || self.running.is_some() {
            self.step(shared, thread).await;
        }
    }
}
