//! Files on their way in and out.

use std::time::Duration;

use futures::StreamExt;
use teloxide::net::Download;
use teloxide::prelude::Requester;
use teloxide::types::{FileId, InputFile};

use super::Telegram;
use super::failure::Failure;
use super::html::{clean, shorten};
use crate::chat::{Attachment, AttachmentKind, FileRef, FrontError, MessageId, View};
use crate::thread::ThreadId;

/// The most a bot may send (Bot API: "Sending files").
const MOST_SENT: usize = 50 * 1024 * 1024;
/// The most a bot may receive (Bot API: `getFile`).
const MOST_RECEIVED: usize = 20 * 1024 * 1024;
/// The most a picture may have (Bot API: `sendPhoto`).
const MOST_PICTURE: usize = 10 * 1024 * 1024;
const CAPTION_UNITS: usize = 1024;

impl Telegram {
    /// Sends an attachment the way its kind is seen best, and as a document where Telegram refuses that.
    pub(super) async fn send_attachment(
        &self,
        thread: ThreadId,
        file: &Attachment,
    ) -> Result<MessageId, FrontError> {
        if let Some(why) = unsendable(file) {
            let text = format!("The file {} could not be sent: {why}.", clean(&file.name));
            return Box::pin(self.send_view(thread, View::error(text))).await;
        }
        let kind = shown_as(file);
        if kind != AttachmentKind::File {
            match self.upload(thread, file, kind).await {
                Err(failure) if failure.is_refusal() => {
                    tracing::debug!(%thread, %failure, "sending the file as a document instead");
                }
                sent => return sent.map_err(|failure| self.refused(thread, failure)),
            }
        }
        let sent = self.upload(thread, file, AttachmentKind::File).await;
        sent.map_err(|failure| self.refused(thread, failure))
    }

    /// Brings a file that a person sent; stops at the limit, whatever Telegram said of its size.
    pub(super) async fn fetch_file(
        &self,
        file: &FileRef,
        limit: usize,
    ) -> Result<Vec<u8>, FrontError> {
        let too_large = |size: u64| usize::try_from(size).map_or(true, |size| size > limit);
        if file.size.is_some_and(too_large) {
            return Err(FrontError::TooLarge { limit });
        }
        let found = self
            .ask(self.bot.get_file(FileId(file.handle.clone())))
            .await;
        let found = match found {
            Err(failure)
                if failure
                    .description()
                    .is_some_and(|text| text.contains("file is too big")) =>
            {
                return Err(FrontError::TooLarge {
                    limit: limit.min(MOST_RECEIVED),
                });
            }
            found => found?,
        };
        let download = async {
            let mut bytes = Vec::new();
            let mut chunks = std::pin::pin!(self.bot.download_file_stream(&found.path));
            while let Some(chunk) = chunks.next().await {
                // The error's own text names the address, which holds the token.
                let chunk = chunk.map_err(|_| {
                    FrontError::Other("the file could not be fetched from Telegram".to_owned())
                })?;
                if bytes.len() + chunk.len() > limit {
                    return Err(FrontError::TooLarge { limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        };
        tokio::time::timeout(self.file_patience, download)
            .await
            .unwrap_or_else(|_| {
                Err(FrontError::Other(
                    "Telegram did not send the file in time; send it again, please".to_owned(),
                ))
            })
    }

    async fn upload(
        &self,
        thread: ThreadId,
        file: &Attachment,
        kind: AttachmentKind,
    ) -> Result<MessageId, Failure> {
        let caption = clean(&file.caption);
        let caption = shorten(caption.trim(), CAPTION_UNITS).into_owned();
        let caption = (!caption.is_empty()).then_some(caption);
        let name = file_name(&file.name);
        let input = || InputFile::memory(file.bytes.to_vec()).file_name(name.clone());
        let patience = self.patience_for(file.bytes.len());
        let sent = match kind {
            AttachmentKind::Picture => {
                self.show(thread, patience, |chat, topic| {
                    let mut request = self.bot.send_photo(chat, input());
                    request.caption.clone_from(&caption);
                    request.message_thread_id = topic;
                    request
                })
                .await
            }
            AttachmentKind::Audio => {
                self.show(thread, patience, |chat, topic| {
                    let mut request = self.bot.send_audio(chat, input());
                    request.caption.clone_from(&caption);
                    request.message_thread_id = topic;
                    request
                })
                .await
            }
            AttachmentKind::File => {
                self.show(thread, patience, |chat, topic| {
                    let mut request = self.bot.send_document(chat, input());
                    request.caption.clone_from(&caption);
                    // A `.gif` or `.mp4` sent as a file stays the file that it is.
                    request.disable_content_type_detection = Some(true);
                    request.message_thread_id = topic;
                    request
                })
                .await
            }
        }?;
        Ok(MessageId(sent.id.0.into()))
    }

    fn patience_for(&self, bytes: usize) -> Duration {
        if bytes > 256 * 1024 {
            self.file_patience
        } else {
            self.patience
        }
    }
}

fn unsendable(file: &Attachment) -> Option<&'static str> {
    match file.bytes.len() {
        0 => Some("it is empty"),
        size if size > MOST_SENT => Some("Telegram takes at most 50 MB"),
        _ => None,
    }
}

/// What Telegram will take the bytes for: the content decides, because the kind came from a server.
fn shown_as(file: &Attachment) -> AttachmentKind {
    let bytes: &[u8] = &file.bytes;
    let picture = bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xff\xd8\xff")
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"));
    match file.kind {
        AttachmentKind::Picture if picture && bytes.len() <= MOST_PICTURE => {
            AttachmentKind::Picture
        }
        AttachmentKind::Picture | AttachmentKind::File => AttachmentKind::File,
        AttachmentKind::Audio => AttachmentKind::Audio,
    }
}

/// A file name without folders or control characters.
fn file_name(name: &str) -> String {
    let cleaned = clean(name).replace(['/', '\\', '\n', '"'], "_");
    let name = shorten(cleaned.trim(), 120).into_owned();
    if name.is_empty() {
        "file".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(kind: AttachmentKind, bytes: &[u8]) -> Attachment {
        Attachment {
            kind,
            name: "x".to_owned(),
            bytes: bytes.into(),
            caption: String::new(),
        }
    }

    #[test]
    fn content_decides_what_a_picture_is() {
        use AttachmentKind::{File, Picture};
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Picture),
            (b"\xff\xd8\xff\xe0", Picture),
            (b"RIFF\0\0\0\0WEBPVP8 ", Picture),
            (b"<svg></svg>", File),
            (b"GIF89a", File),
        ] {
            assert_eq!(shown_as(&attachment(Picture, bytes)), expected);
            assert_eq!(shown_as(&attachment(File, bytes)), File);
        }
        let mut huge = b"\x89PNG\r\n\x1a\n".to_vec();
        huge.resize(MOST_PICTURE + 1, 0);
        assert_eq!(shown_as(&attachment(Picture, &huge)), File);
    }

    #[test]
    fn file_names_hold_no_folders() {
        assert_eq!(file_name("../a\\b\"\n.json"), ".._a_b__.json");
        assert_eq!(file_name("  "), "file");
    }
}
