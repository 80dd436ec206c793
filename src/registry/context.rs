//! What every task of the room shares.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::launch::{BaseEnvironment, Launcher};
use super::{Keys, Notice, RegistryOptions, ToolCache};
use crate::config::ServerName;
use crate::net::Net;
use crate::thread::ThreadId;

/// A look at a folder takes microseconds; one at a mount that hangs keeps its thread for ever.
const LOOKS: usize = 16;

/// One for each registry.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: RegistryOptions,
    pub(super) environment: BaseEnvironment,
    pub(super) cache: Arc<dyn ToolCache>,
    /// The one HTTP client.
    pub(super) net: Net,
    pub(super) keys: Arc<dyn Keys>,
    /// Never waits, so that a server's life does not hang on who listens; a task of the room passes on in order.
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    /// Owns every task of the room.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the room ends.
    pub(super) closing: CancellationToken,
    /// Cancelled when there is no more time to end in peace.
    pub(super) hurry: CancellationToken,
    /// Servers whose processes had to be killed.
    pub(super) killed: Mutex<Vec<(ThreadId, ServerName)>>,
    /// How many looks at the file system may hang at once.
    pub(super) looks: Arc<Semaphore>,
    /// A std lock: starting a launcher does not wait for it.
    launcher: Mutex<Option<Arc<Launcher>>>,
}

impl Context {
    pub(super) fn new(
        options: RegistryOptions,
        (cache, net, keys): (Arc<dyn ToolCache>, Net, Arc<dyn Keys>),
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self {
            options,
            environment: BaseEnvironment::of_this_process(),
            cache,
            net,
            keys,
            notices,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            hurry: CancellationToken::new(),
            killed: Mutex::default(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            launcher: Mutex::default(),
        }
    }

    /// The launcher; a new one where there is none yet or the last one died.
    pub(super) fn launcher(&self) -> io::Result<Arc<Launcher>> {
        let mut current = self.launcher.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(launcher) if !launcher.is_lost() => return Ok(launcher.clone()),
            // Told here and not where it is noticed: at the end of the bot its loss means nothing.
            Some(_) if !self.closing.is_cancelled() => tracing::error!(
                "the launcher process ended and its servers with it; a new one starts them again"
            ),
            _ => {}
        }
        let launcher = Launcher::start(&self.options.launcher)?;
        *current = Some(launcher.clone());
        Ok(launcher)
    }

    /// Ends the launcher and with it whatever is left.
    pub(super) async fn end_launcher(&self, limit: Duration) -> bool {
        let launcher = self
            .launcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match launcher {
            Some(launcher) => launcher.end(limit).await,
            None => true,
        }
    }

    pub(super) fn tell(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let launcher = self
            .launcher
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(launcher) = launcher {
            launcher.release();
        }
    }
}
