//! What happens to the place itself: a group gets a new id, or the bot is put out.

use super::super::blocking;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use crate::audit::What;
use crate::chat::View;
use crate::store::RenameOutcome;
use crate::thread::ThreadId;

impl Turn<'_> {
    /// The thread has a new id: its folders move along, once.
    pub(super) async fn migrated(&mut self, from: ThreadId) -> Done {
        let (ThreadId::Telegram { chat: old, .. }, ThreadId::Telegram { chat: new, .. }) =
            (from, self.thread)
        else {
            return Ok(());
        };
        self.move_admission(old, new).await?;
        let mut threads = self.stored(move |store| store.threads_of_chat(old)).await?;
        // The chat's own settings stand there, also where only its topics have servers.
        let general = ThreadId::telegram(old, None);
        if !threads.contains(&general) {
            threads.push(general);
        }
        let mut kept = Vec::new();
        for thread in threads {
            let ThreadId::Telegram { topic, .. } = thread else {
                continue;
            };
            let to = ThreadId::telegram(new, topic);
            self.hall.parts.reload.release(thread).await;
            match self
                .stored(move |store| store.rename_thread(thread, to))
                .await?
            {
                RenameOutcome::Moved | RenameOutcome::Nothing => {
                    self.stored(move |store| store.remember_alias(thread, to))
                        .await?;
                }
                RenameOutcome::BothExist => kept.push(thread),
            }
        }
        self.note(What::Admin {
            deed: format!("this chat got a new id; it was {from} before"),
        })
        .await;
        // What was kept for the old id was on disk before the move: it is this thread's now.
        *self.records = self.hall.read_records(self.thread).await;
        self.hall.parts.reload.release(self.thread).await;
        self.loaded().await?;
        if kept.is_empty() {
            return Ok(());
        }
        let names = kept
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        self.send(View::error(format!(
            "This group got a new id, and both the old and the new one have servers. I kept both and use the new one; the old ones are in {names}. Whoever runs this bot can move them."
        )))
        .await;
        Ok(())
    }

    /// What the operator said of the chat holds for its new id.
    async fn move_admission(&self, old: i64, new: i64) -> Done {
        if !self
            .hall
            .parts
            .policy
            .now()
            .names_chat(ThreadId::telegram(old, None))
        {
            return Ok(());
        }
        let store = self.hall.parts.store.clone();
        let moved = blocking(move || {
            store.change_policy(|policy| {
                policy.move_chat(old, new);
            })
        });
        if let Err(error) = moved.await {
            tracing::error!(%error, %old, %new, "what the policy says of a group could not be moved to its new id.");
            return Err(Refusal::Store(error.to_string()));
        }
        self.hall.parts.reload.heed_policy().await;
        Ok(())
    }

    /// The bot is out of the chat: nothing of it may keep running. Topics of the chat go with it.
    pub(super) async fn left(&mut self) -> Done {
        let threads = match self.thread {
            ThreadId::Telegram { chat, topic: None } => {
                self.stored(move |store| store.threads_of_chat(chat))
                    .await?
            }
            ThreadId::Telegram { .. } | ThreadId::Local => vec![self.thread],
        };
        for thread in threads.into_iter().chain([self.thread]) {
            // Calls first: one that waits for its server must not take the release for its chance.
            self.hall.live.cancel_thread(thread);
            self.hall.parts.reload.release(thread).await;
        }
        // Nobody is there to be told or to decide.
        let gone = std::mem::take(self.records);
        for login in &gone.logins {
            if let Some(id) = &login.login {
                self.hall.parts.oauth.cancel(id).await;
            }
        }
        // What was held and what is to be forgotten is still forgotten.
        self.records.forget.clone_from(&gone.forget);
        self.records.let_go_since(&gone);
        Ok::<(), Refusal>(())
    }
}
