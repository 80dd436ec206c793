//! `/mcp audit`: what was written down of this thread, as words, as files, and whether it is whole.

use std::sync::Arc;

use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use crate::chat::{Answer, Attachment, AttachmentKind, View};
use crate::command::AuditWish;
use crate::config::Masker;
use crate::policy::Action;
use crate::store::StoreError;

/// Lines where no number is given, and the most that fit a message.
const LINES: usize = 10;
const MOST_LINES: usize = 40;

impl Turn<'_> {
    pub(super) async fn audit(&mut self, wish: AuditWish) -> Done {
        // It tells who called what with what, which is not everybody's to read.
        self.may(Action::Configure, false).await?;
        let thread = self.thread;
        match wish {
            AuditWish::Newest(count) => {
                let most = usize::try_from(count.unwrap_or_default()).unwrap_or(MOST_LINES);
                let most = if most == 0 {
                    LINES
                } else {
                    most.min(MOST_LINES)
                };
                let lines = self
                    .stored(move |store| store.audit(thread, most, None))
                    .await?;
                self.say(screens::audit(&lines, None, self.now_ms())).await
            }
            AuditWish::Of(name) => {
                // A server that is gone has lines still; one that never was has none, and that is said.
                let wanted = name.clone();
                // Masked before a screen cuts it: half a key does not look like one.
                let shown = Masker::default().mask(&name);
                let lines = self
                    .stored(move |store| store.audit(thread, LINES, Some(&wanted)))
                    .await?;
                self.say(screens::audit(&lines, Some(&shown), self.now_ms()))
                    .await
            }
            AuditWish::Verify => {
                let verdict = self.stored(move |store| store.verify_audit(thread)).await?;
                self.say(screens::audit_verdict(&verdict)).await
            }
            AuditWish::File => self.audit_files().await,
        }
    }

    async fn audit_files(&mut self) -> Done {
        let thread = self.thread;
        let files = self
            .stored(move |store| -> Result<_, StoreError> {
                let files = store.audit_files(thread)?;
                Ok(files
                    .into_iter()
                    .filter(|(_, text)| !text.is_empty())
                    .collect::<Vec<_>>())
            })
            .await?;
        if files.is_empty() {
            return Err(Refusal::Plain(
                "Nothing was written down here yet.".to_owned(),
            ));
        }
        self.answer(Answer::Silent).await;
        let mut view = View::text(screens::audit_files(files.len()));
        for (name, text) in files {
            view = view.attach(Attachment {
                kind: AttachmentKind::File,
                name,
                bytes: Arc::from(text),
                caption: String::new(),
            });
        }
        self.send(view).await;
        Ok(())
    }
}
