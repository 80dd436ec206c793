//! What every task of the room shares.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::launch::{BaseEnvironment, Launcher};
use super::local::{Claims, Homes, Sources};
use super::places::Places;
use super::{Notice, Outside, RegistryOptions};
use crate::config::ServerName;
use crate::thread::ThreadId;

/// A look at a folder takes microseconds; one at a mount that hangs keeps its thread for ever.
const LOOKS: usize = 16;

/// One for each registry.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: RegistryOptions,
    pub(super) environment: BaseEnvironment,
    pub(super) outside: Outside,
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
    /// One installation of packages at a time in a thread. A std lock: held for a map operation.
    installs: Mutex<HashMap<ThreadId, Arc<tokio::sync::Mutex<()>>>>,
    sources: OnceLock<Sources>,
    /// The packages that run.
    pub(super) claims: Arc<Claims>,
    /// The local servers that run, by the home that they work in.
    pub(super) homes: Homes,
    /// How many local servers run at once.
    pub(super) places: Places,
    /// A std lock: starting a launcher does not wait for it.
    launcher: Mutex<Option<Arc<Launcher>>>,
}

impl Context {
    pub(super) fn new(
        options: RegistryOptions,
        outside: Outside,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self {
            options,
            environment: BaseEnvironment::of_this_process(),
            outside,
            notices,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            hurry: CancellationToken::new(),
            killed: Mutex::default(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            installs: Mutex::default(),
            sources: OnceLock::new(),
            claims: Arc::default(),
            homes: Homes::default(),
            places: Places::default(),
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

    /// Held while a thread's packages are installed.
    pub(super) fn install_lock(&self, thread: ThreadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut installs = self.installs.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds are made anew.
        installs.retain(|_, lock| Arc::strong_count(lock) > 1);
        installs.entry(thread).or_default().clone()
    }

    /// Where packages come from. Reads a few small files, once.
    pub(super) fn sources(&self) -> &Sources {
        self.sources.get_or_init(Sources::of_this_host)
    }

    /// The folder that everything is kept in.
    pub(super) fn data(&self) -> PathBuf {
        let homes = self.options.homes.canonicalize();
        let homes = homes.unwrap_or_else(|_| self.options.homes.clone());
        homes.parent().map_or(homes.clone(), PathBuf::from)
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
