//! The inside of the room: what every part of it works with, and the logins under way.
//!
//! Logins live in memory with a copy on disk: a step is taken in memory, under the lock, so that it is taken once; then it
//! is written. Credentials live on disk with a copy in memory ([`super::tokens`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OnceCell, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::CredentialId;
use crate::thread::ThreadId;

use super::record::{self, Authority, Login, Stage, Tokens};
use super::tokens::Slot;
use super::{KeepError, Keeper, LoginId, LoginNews, LoginNotice, OAuthParts, grant};

pub(super) struct Room {
    pub(super) parts: OAuthParts,
    /// Where our client metadata document is, if an authorization server can read it.
    pub(super) document: Option<Url>,
    /// Where authorization servers send people back to.
    pub(super) redirect: String,
    /// All logins under way by their id. Held for moments and never over an await.
    logins: Mutex<BTreeMap<String, Login>>,
    loaded: OnceCell<()>,
    /// Writes of logins go one by one, each with what is true then: an older state never overtakes a newer one.
    writing: tokio::sync::Mutex<()>,
    /// One for each credential that was asked for; they are few and small, and stay.
    pub(super) slots: Mutex<HashMap<(ThreadId, CredentialId), Arc<Slot>>>,
    notices: mpsc::Sender<LoginNotice>,
    /// A login came or went: the clockwork looks again.
    pub(super) changed: Notify,
    pub(super) stop: CancellationToken,
    /// What must not be left half done because somebody who waits for it goes away: exchanges, renewals, revocations.
    pub(super) tasks: TaskTracker,
}

impl Room {
    pub(super) fn new(
        parts: OAuthParts,
        document: Option<Url>,
        notices: mpsc::Sender<LoginNotice>,
    ) -> Self {
        let redirect = match &parts.public_url {
            Some(public) => below(public, "oauth/callback"),
            // RFC 8252, 7.3: the loopback by its number, not by its name.
            None => format!("http://127.0.0.1:{}/oauth/callback", parts.listen.port()),
        };
        Self {
            redirect,
            document,
            parts,
            logins: Mutex::default(),
            loaded: OnceCell::new(),
            writing: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
            notices,
            changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        (self.parts.clock)()
    }

    pub(super) fn logins(&self) -> MutexGuard<'_, BTreeMap<String, Login>> {
        // Every step leaves the map whole, also where it panics.
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work with the disk, off the runtime's workers.
    pub(super) async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Keeper) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let keeper = Arc::clone(&self.parts.keeper);
        tokio::task::spawn_blocking(move || work(&*keeper))
            .await
            .unwrap_or_else(|_| Err(KeepError("the disk could not be asked".to_owned())))
    }

    /// What a thread is called now.
    pub(super) async fn thread_now(&self, thread: ThreadId) -> ThreadId {
        let now = self.disk(move |keeper| Ok(keeper.thread_now(thread))).await;
        now.unwrap_or(thread)
    }

    /// Waits until the logins of an earlier life are known.
    pub(super) async fn loaded(&self) {
        self.loaded.get_or_init(|| self.load()).await;
    }

    async fn load(&self) {
        let read = self.disk(|keeper| {
            let mut found = Vec::new();
            for id in keeper.logins()? {
                if let Some(value) = keeper.login(&id)? {
                    found.push((id, value));
                }
            }
            Ok(found)
        });
        let found = match read.await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the logins under way cannot be read; people must begin them again.");
                return;
            }
        };
        for (id, value) in found {
            match record::read::<Login>("login", value) {
                Some(login) if matches!(login.stage, Stage::Exchanging) => {
                    self.write(&id).await;
                    self.tell(
                        login.thread,
                        &id,
                        LoginNews::Failed(
                            "I was restarted in the very moment of the login; begin it again"
                                .to_owned(),
                        ),
                    )
                    .await;
                }
                Some(login) => {
                    self.logins().insert(id, login);
                }
                None => {
                    self.write(&id).await;
                }
            }
        }
    }

    /// Brings a login's record on disk to what is true in memory; forgets it where there is none any more.
    pub(super) async fn save(&self, id: &str) -> Result<(), KeepError> {
        let _turn = self.writing.lock().await;
        let value = self.logins().get(id).map(record::write);
        let id = id.to_owned();
        self.disk(move |keeper| keeper.keep_login(&id, value.as_ref()))
            .await
    }

    /// As [`Room::save`], where a failure changes nothing: it is found again at the next start.
    pub(super) async fn write(&self, id: &str) {
        if let Err(error) = self.save(id).await {
            tracing::warn!(%error, "the record of a login cannot be written.");
        }
    }

    /// Tells the desk. It may be slow; nothing here waits for it.
    pub(super) async fn tell(&self, thread: ThreadId, id: &str, news: LoginNews) {
        let notice = LoginNotice {
            thread: self.thread_now(thread).await,
            id: LoginId(id.to_owned()),
            news,
        };
        let Err(mpsc::error::TrySendError::Full(notice)) = self.notices.try_send(notice) else {
            return;
        };
        let (notices, stop) = (self.notices.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                _ = notices.send(notice) => (),
                () = stop.cancelled() => (),
            }
        });
    }

    /// Revokes tokens that nobody will use, in the background.
    pub(super) fn throw_away(&self, authority: Authority, tokens: Tokens) {
        let net = self.parts.net.clone();
        self.tasks.spawn(async move {
            grant::revoke_all(&net, &authority, &tokens).await;
        });
    }
}

/// An address below our public one.
pub(super) fn below(public: &Url, path: &str) -> String {
    format!("{}/{path}", public.as_str().trim_end_matches('/'))
}
