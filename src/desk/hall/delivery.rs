//! What goes to the front: within a time, so that a chat that hangs holds up its own thread's worker for a while only.

use std::time::Duration;

use super::Hall;
use crate::chat::{FrontError, MessageId, View};
use crate::thread::ThreadId;

/// The front has this long for one message, which may wait for its turn in a busy chat; what takes longer has failed.
const FRONT: Duration = Duration::from_mins(2);

/// The front has this long for a small thing: an answer to a press, a question about somebody, a deletion.
const SMALL: Duration = Duration::from_secs(20);

impl Hall {
    /// Sends a message; a front that does not answer in time has failed.
    pub(in crate::desk) async fn send(
        &self,
        thread: ThreadId,
        view: View,
    ) -> Result<MessageId, FrontError> {
        let sent = tokio::time::timeout(FRONT, self.parts.front.send(thread, view)).await;
        sent.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
    }

    /// Asks something small of the front, likewise.
    pub(in crate::desk) async fn small<T>(
        &self,
        asked: impl Future<Output = Result<T, FrontError>>,
    ) -> Result<T, FrontError> {
        let answered = tokio::time::timeout(SMALL, asked).await;
        answered.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
    }

    /// Changes a message, likewise.
    pub(in crate::desk) async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError> {
        let edited =
            tokio::time::timeout(FRONT, self.parts.front.edit(thread, message, view)).await;
        edited.unwrap_or_else(|_| Err(FrontError::Other("it took too long".to_owned())))
    }

    /// Ends a live message: edits it, or sends a new one where it is gone; files follow in a message of their own.
    pub(in crate::desk) async fn finish(
        &self,
        thread: ThreadId,
        message: Option<MessageId>,
        mut view: View,
    ) {
        let Some(message) = message else {
            if let Err(error) = self.send(thread, view).await {
                tracing::warn!(%thread, %error, "a result could not be delivered.");
            }
            return;
        };
        let attachments = std::mem::take(&mut view.attachments);
        let edited = self.edit(thread, message, view.clone()).await;
        let rest = match edited {
            Ok(()) => View {
                attachments,
                ..View::default()
            },
            Err(_) => View {
                attachments,
                ..view
            },
        };
        if (!rest.attachments.is_empty() || !rest.blocks.is_empty())
            && let Err(error) = self.send(thread, rest).await
        {
            tracing::warn!(%thread, %error, "a result could not be delivered.");
        }
    }
}
