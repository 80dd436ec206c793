//! A command that was edited: it does not run, and a secret in it is taken away.

use super::super::records::LIFETIME_MS;
use super::super::turn::Turn;
use super::Done;
use crate::chat::View;
use crate::config::Masker;

/// So many messages with a secret in them are remembered that could not be deleted.
const MOST_WARNED: usize = 32;

impl Turn<'_> {
    /// Says that it does not run, once in a while for each thread: a message can be edited as often as anybody likes.
    pub(super) async fn edited(&mut self, text: &str) -> Done {
        let now_ms = self.now_ms();
        let note = self.hide_edited_secret(text).await;
        let told = &mut self.records.told_edited;
        let is_due = told
            .at_ms
            .is_none_or(|at_ms| now_ms.saturating_sub(at_ms).saturating_abs() > LIFETIME_MS);
        if is_due {
            told.at_ms = Some(now_ms);
        }
        let words = is_due.then(|| {
            "An edited command does not run, and I say so only once in a while; send it as a new message, please."
                .to_owned()
        });
        let mut said = note.into_iter().chain(words);
        if let Some(first) = said.next() {
            let view = said.fold(View::text(first), View::line);
            self.send(view).await;
        }
        Ok(())
    }

    /// Deletes the message where a secret is in it; a sentence about that, once for each message.
    async fn hide_edited_secret(&mut self, text: &str) -> Option<String> {
        let said = self.said?;
        let has_secret = Masker::default().mask(text) != text;
        if !has_secret || self.records.told_edited.warned.contains(&said) {
            return None;
        }
        let warned = &mut self.records.told_edited.warned;
        warned.push(said);
        let too_many = warned.len().saturating_sub(MOST_WARNED);
        warned.drain(..too_many);
        self.hide_what_was_said().await
    }
}
