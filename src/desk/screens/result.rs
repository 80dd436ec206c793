//! A tool's answer: text as text, a picture as a picture, what is too long as a file.

use std::sync::Arc;
use std::time::Duration;

use super::super::action::{Action, Key};
use super::{duration, shortened, were};
use crate::chat::{Attachment, AttachmentKind, Block, Text, View};
use crate::config::{Masker, visible};
use crate::registry::{CallOutcome, Content, Progress};

/// The most of a result that is shown in the chat, in characters; all of it goes into a file.
const SHOWN: usize = 2800;

/// At most this many files go with one answer.
const MOST_FILES: usize = 10;

/// A call that waits for its server to start.
pub(in crate::desk) fn starting(server: &str, stop: &str) -> View {
    View::text(
        Text::from("⏳ ")
            .bold(server)
            .plain(" is just starting; I call it as soon as it is ready."),
    )
    .row([Action::Stop(stop.to_owned()).button("Stop")])
}

/// A call under way.
pub(in crate::desk) fn call_running(
    server: &str,
    tool: &str,
    progress: Option<&Progress>,
    elapsed: Duration,
    stop: &str,
) -> View {
    let mut text = Text::from("⏳ ").code(tool).plain(" of ").bold(server);
    if let Some(progress) = progress {
        text = text.plain(format!(" · {}", progress_words(progress)));
    }
    if elapsed.as_secs() >= 2 {
        text = text.plain(format!(" · for {} s", elapsed.as_secs()));
    }
    View::text(text).row([Action::Stop(stop.to_owned()).button("Stop")])
}

fn progress_words(progress: &Progress) -> String {
    let mut words = match progress.total {
        Some(total) if total > 0.0 => {
            let share = (progress.done / total).clamp(0.0, 1.0);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 10"
            )]
            let filled = (share * 10.0).floor() as usize;
            format!(
                "{}{} {:.0} %",
                "▰".repeat(filled),
                "▱".repeat(10 - filled),
                share * 100.0
            )
        }
        Some(_) | None => format!("{}", progress.done),
    };
    if !progress.message.is_empty() {
        words.push_str(" · ");
        words.push_str(&shortened(&progress.message, 120));
    }
    words
}

/// A call that somebody stopped.
pub(in crate::desk) fn call_stopped(server: &str, tool: &str, elapsed: Duration) -> View {
    View::text(
        Text::from("⏹ Stopped ")
            .code(tool)
            .plain(" of ")
            .bold(server)
            .plain(format!(
                " after {}. The server was told.",
                duration(elapsed)
            )),
    )
    .row([Action::Call(Key::of(server), Key::of(tool)).button("Call again")])
}

/// What a tool answered. `masker` knows the server's secrets, which a tool may print.
pub(in crate::desk) fn call_done(
    server: &str,
    tool: &str,
    outcome: &CallOutcome,
    masker: &Masker,
) -> View {
    let sign = if outcome.is_error { "❌" } else { "✅" };
    let title = Text::from(sign)
        .plain(" ")
        .code(tool)
        .plain(" of ")
        .bold(server)
        .plain(format!(" · {}", duration(outcome.took)));
    let mut parts = Parts {
        view: View::text(title),
        left: SHOWN,
        files: 0,
        masker,
    };
    if outcome.is_error {
        parts.view = parts.view.line("The tool says that it failed:");
        parts.view.is_error = true;
    }
    for (index, part) in outcome.content.iter().enumerate() {
        parts.add(index, part);
    }
    let text_only = outcome
        .content
        .iter()
        .any(|part| matches!(part, Content::Text(_)));
    if let Some(structured) = outcome.structured.as_ref().filter(|_| !text_only) {
        parts.json("structured.json", structured);
    }
    let mut view = parts.view;
    if outcome.content.is_empty() && outcome.structured.is_none() {
        view = view.line("It answered without content.");
    }
    if outcome.hidden > 0 {
        view = view.line(format!(
            "⚠️ {} removed from what it answered.",
            were(outcome.hidden)
        ));
    }
    view.row([
        Action::Call(Key::of(server), Key::of(tool)).button("Call again"),
        Action::Tools(Key::of(server), 0).button("Tools"),
    ])
}

struct Parts<'a> {
    view: View,
    /// Characters that may still be shown.
    left: usize,
    files: usize,
    masker: &'a Masker,
}

impl Parts<'_> {
    fn add(&mut self, index: usize, part: &Content) {
        match part {
            Content::Text(text) => {
                let text = self.masker.mask_known(text);
                self.text(&format!("result-{}.txt", index + 1), "", &text);
            }
            Content::Image { mime, bytes } => self.file(
                AttachmentKind::Picture,
                &format!("picture-{}.{}", index + 1, extension(mime)),
                bytes,
                "",
            ),
            Content::Audio { mime, bytes } => self.file(
                AttachmentKind::Audio,
                &format!("sound-{}.{}", index + 1, extension(mime)),
                bytes,
                "",
            ),
            Content::TextResource { uri, mime, text } => {
                self.line(Text::from("📄 ").code(shortened(uri, 200)));
                let (text, language) = (
                    self.masker.mask_known(text),
                    if mime.contains("json") { "json" } else { "" },
                );
                self.text(&name_of(uri, index), language, &text);
            }
            Content::BlobResource { uri, bytes, .. } => {
                let name = name_of(uri, index);
                self.file(AttachmentKind::File, &name, bytes, &shortened(uri, 200));
            }
            Content::Link {
                uri,
                name,
                description,
            } => {
                let about = if description.is_empty() {
                    String::new()
                } else {
                    format!(" · {}", shortened(description, 200))
                };
                self.line(
                    Text::from("🔗 ")
                        .bold(shortened(name, 100))
                        .plain(" ")
                        .code(shortened(uri, 300))
                        .plain(about),
                );
            }
            Content::Unknown(value) => {
                self.line("A part that I do not know how to show:".into());
                self.json(&format!("part-{}.json", index + 1), value);
            }
        }
    }

    fn line(&mut self, text: Text) {
        if self.left > 0 {
            self.left = self.left.saturating_sub(text.to_plain().chars().count());
            self.view.blocks.push(Block::Text(text));
        }
    }

    fn json(&mut self, name: &str, value: &serde_json::Value) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
        let text: Vec<String> = text.lines().map(visible).collect();
        let text = self.masker.mask_known(&text.join("\n"));
        self.text(name, "json", &text);
    }

    /// Shows what fits; where it does not fit, all of it goes into a file as well.
    fn text(&mut self, name: &str, language: &'static str, text: &str) {
        let length = text.chars().count();
        let shown = if length <= self.left {
            text.to_owned()
        } else {
            shortened(text, self.left)
        };
        let whole = length <= self.left;
        self.left = self.left.saturating_sub(length);
        if !shown.trim().is_empty() {
            self.view.blocks.push(Block::Code {
                language,
                text: shown,
            });
        }
        if !whole {
            let note = format!("All {length} characters are in the file.");
            self.file(AttachmentKind::File, name, text.as_bytes(), &note);
        }
    }

    fn file(&mut self, kind: AttachmentKind, name: &str, bytes: &[u8], caption: &str) {
        self.files += 1;
        if self.files == MOST_FILES + 1 {
            self.view.blocks.push(Block::Text(
                format!("More than {MOST_FILES} files came back; the rest is left out.").into(),
            ));
        }
        if self.files <= MOST_FILES {
            let attachment = Attachment {
                kind,
                name: name.to_owned(),
                bytes: Arc::from(bytes),
                caption: caption.to_owned(),
            };
            self.view.attachments.push(attachment);
        }
    }
}

/// A file name from a resource's address: its last piece, made harmless.
fn name_of(uri: &str, index: usize) -> String {
    let last = uri
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let safe: String = last
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(80)
        .collect();
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() {
        format!("resource-{}", index + 1)
    } else {
        safe.to_owned()
    }
}

fn extension(mime: &str) -> String {
    let kind = mime.rsplit('/').next().unwrap_or_default();
    let kind = kind.split(['+', ';']).next().unwrap_or_default();
    match kind {
        "jpeg" => "jpg".to_owned(),
        "mpeg" => "mp3".to_owned(),
        "x-wav" => "wav".to_owned(),
        kind if !kind.is_empty()
            && kind.len() <= 8
            && kind.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            kind.to_owned()
        }
        _ => "bin".to_owned(),
    }
}
