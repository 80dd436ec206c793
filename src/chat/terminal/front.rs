//! The port: what handlers ask of a terminal.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::clean::clean_line;
use super::line::{Line, Style};
use super::{Mode, Terminal, files};
use crate::actor::{ActorId, Standing};
use crate::chat::{
    Answer, Attachment, Capabilities, FileRef, Front, FrontError, MessageId, PressId, View,
};
use crate::thread::ThreadId;

/// So many saved attachments are remembered, so that a changed message does not save them again.
const SAVED_KEPT: usize = 256;

#[async_trait]
impl Front for Terminal {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edit: true,
            delete_theirs: false,
            files: true,
            buttons: true,
        }
    }

    async fn send(&self, thread: ThreadId, view: View) -> Result<MessageId, FrontError> {
        self.check(thread)?;
        let (after, marks) = self.save(&view.attachments, None).await;
        let id = {
            let mut transcript = self.lock();
            let (id, text) = transcript.send(view, &after, self.size());
            self.queue(text);
            id
        };
        self.remember(id, marks);
        // Waiting for the writer is what keeps a flood of messages from filling the memory.
        self.written().await?;
        Ok(id)
    }

    async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError> {
        self.check(thread)?;
        let (after, marks) = self.save(&view.attachments, Some(message)).await;
        self.remember(message, marks);
        let mut transcript = self.lock();
        let text = transcript
            .edit(message, view, &after, self.size(), Instant::now())
            .ok_or_else(|| {
                FrontError::NotEditable("it is not among the last messages here".to_owned())
            })?;
        self.queue(text);
        Ok(())
    }

    async fn delete(&self, thread: ThreadId, message: MessageId) -> Result<(), FrontError> {
        self.check(thread)?;
        if self.lock().delete(message) {
            Ok(())
        } else {
            Err(FrontError::NotEditable(
                "a terminal does not take back what was typed".to_owned(),
            ))
        }
    }

    async fn fetch(&self, file: &FileRef, limit: usize) -> Result<Vec<u8>, FrontError> {
        let path = PathBuf::from(&file.handle);
        tokio::task::spawn_blocking(move || files::read(&path, limit))
            .await
            .unwrap_or_else(|error| Err(FrontError::Other(error.to_string())))
    }

    async fn answer(&self, _: &PressId, answer: Answer) -> Result<(), FrontError> {
        match answer {
            Answer::Silent => return Ok(()),
            Answer::Toast(text) => self.note(Style::Dim, &text),
            Answer::Alert(text) => {
                self.lock().failed();
                self.note(Style::Error, &text);
            }
        }
        self.written().await.map(drop)
    }

    async fn standing(
        &self,
        thread: ThreadId,
        actor: &ActorId,
        _: bool,
    ) -> Result<Standing, FrontError> {
        self.check(thread)?;
        Ok(if *actor == self.actor.id {
            Standing::Own
        } else {
            Standing::Outsider
        })
    }
}

impl Terminal {
    fn check(&self, thread: ThreadId) -> Result<(), FrontError> {
        if self.mode == Mode::Script || thread == ThreadId::Local {
            Ok(())
        } else {
            Err(FrontError::Gone(format!(
                "this terminal shows the thread `local` alone, not `{thread}`"
            )))
        }
    }

    /// Writes attachments to files and says where; those in `known` are there already.
    async fn save(
        &self,
        attachments: &[Attachment],
        on: Option<MessageId>,
    ) -> (Vec<Line>, Vec<u64>) {
        let (mut lines, mut marks) = (Vec::new(), Vec::new());
        for attachment in attachments {
            let mark = mark(attachment);
            if on.is_some_and(|on| self.saved().contains(&(on, mark))) {
                continue;
            }
            marks.push(mark);
            let (folder, kept) = (self.downloads.clone(), attachment.clone());
            let saved =
                tokio::task::spawn_blocking(move || files::save(&folder, &kept.name, &kept.bytes));
            let name = clean_line(&attachment.name);
            let line = match saved
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
            {
                Ok(path) => Line::of(
                    Style::Plain,
                    format!(
                        "Saved {name} ({}) to {}",
                        bytes(attachment.bytes.len()),
                        clean_line(&path.display().to_string())
                    ),
                ),
                Err(error) => {
                    self.lock().failed();
                    let folder = clean_line(&self.downloads.display().to_string());
                    Line::of(
                        Style::Error,
                        format!("{name} could not be saved in {folder}: {error}."),
                    )
                }
            };
            lines.push(line);
            if !attachment.caption.is_empty() {
                let caption = format!("  {}", clean_line(&attachment.caption));
                lines.push(Line::of(Style::Plain, caption));
            }
        }
        (lines, marks)
    }

    fn remember(&self, message: MessageId, marks: Vec<u64>) {
        let mut saved = self.saved();
        saved.extend(marks.into_iter().map(|mark| (message, mark)));
        let over = saved.len().saturating_sub(SAVED_KEPT);
        saved.drain(..over);
    }

    fn saved(&self) -> MutexGuard<'_, VecDeque<(MessageId, u64)>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(attachment: &Attachment) -> u64 {
    let mut hasher = DefaultHasher::new();
    attachment.name.hash(&mut hasher);
    attachment.bytes.hash(&mut hasher);
    hasher.finish()
}

fn bytes(count: usize) -> String {
    match count {
        1 => "1 byte".to_owned(),
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}
