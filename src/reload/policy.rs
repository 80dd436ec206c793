//! The operator's policy: taken up when its file changes, and at once in force.
//!
//! A broken file keeps what held before, and is told once: in the log and to the operators. Threads that are not to go on
//! are let go; servers that are not allowed any more stop with a reason, which is the registry's.

use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{Reload, Shared};
use crate::config::POLICY_FILE;
use crate::policy::{HostPolicy, PolicyFile, Rules};
use crate::thread::ThreadId;

/// How the policy is kept as its file says.
#[derive(Debug, Clone)]
pub struct Policing {
    /// What holds now.
    pub rules: Rules,
    /// Who tells the operators.
    pub told: mpsc::UnboundedSender<PolicyNews>,
}

/// What is told of the policy's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyNews {
    /// It is broken; what held before holds. Where and why, a sentence without full stop.
    Broken(String),
    /// It is sound again.
    Sound,
    /// What holds is another one now; which fields of it.
    Changed(Vec<String>),
}

impl Reload {
    /// What is wrong with the policy's file as it is now, while what it said before holds; a sentence without full stop.
    pub fn policy_trouble(&self) -> Option<String> {
        self.shared.policy_trouble().clone()
    }
}

impl Shared {
    /// Reads the policy's file and makes it take effect.
    pub(super) async fn look_at_policy(self: &Arc<Self>) {
        let Some(policing) = self.options.policy.clone() else {
            return;
        };
        // One at a time: a reading that is older never takes effect after a newer one.
        let _looking = self.policy_look.lock().await;
        let deadline = Instant::now() + self.options.second_look;
        let read = loop {
            let shared = Arc::clone(self);
            let Ok(read) = spawn_blocking(move || shared.read_policy()).await else {
                return;
            };
            // A missing file may be one that is just being replaced.
            let is_doubtful = !matches!(read, Ok(Some(_)));
            if !is_doubtful || Instant::now() >= deadline {
                break read;
            }
            self.wait_for_write(deadline).await;
        };
        match read {
            Ok(file) => {
                self.take_up_policy(&policing, &file.unwrap_or_default())
                    .await;
            }
            Err(why) => self.keep_policy(&policing, why),
        }
    }

    fn read_policy(&self) -> Result<Option<PolicyFile>, String> {
        if !self.attend_operator() {
            return Ok(None);
        }
        let bytes = self.store.policy().map_err(|error| error.to_string())?;
        match bytes {
            None => Ok(None),
            Some(bytes) => PolicyFile::read(Some(&bytes))
                .map(Some)
                .map_err(|error| error.to_string()),
        }
    }

    async fn take_up_policy(self: &Arc<Self>, policing: &Policing, file: &PolicyFile) {
        let was_broken = self.policy_trouble().take().is_some();
        if let Some((before, now)) = policing.rules.take_up(file) {
            let fields = now.fields_that_differ(&before);
            self.enforce(before, &now).await;
            let _ = policing.told.send(PolicyNews::Changed(fields));
            tracing::info!("The operator's policy changed and is in force.");
        }
        // Told last: whoever hears it finds it in force.
        if was_broken {
            tracing::info!("The policy in data/admin is good again.");
            let _ = policing.told.send(PolicyNews::Sound);
        }
    }

    /// A policy that allows less takes effect on what runs already.
    async fn enforce(&self, before: Arc<HostPolicy>, now: &HostPolicy) {
        let loaded: Vec<ThreadId> = self.threads().slots.keys().copied().collect();
        for thread in loaded {
            if now.closes(&before, thread) {
                tracing::info!(%thread, "the thread may not use the bot any more; its servers stop.");
                self.release(thread).await;
            }
        }
        self.runs.judge_again(before).await;
    }

    fn keep_policy(&self, policing: &Policing, why: String) {
        let mut told = self.policy_trouble();
        if told.as_ref() == Some(&why) {
            return;
        }
        tracing::error!(path = %format!("admin/{POLICY_FILE}"), reason = %why, "The policy cannot be read; the one of before holds.");
        let _ = policing.told.send(PolicyNews::Broken(why.clone()));
        *told = Some(why);
    }

    fn policy_trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.policy_trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
