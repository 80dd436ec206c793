//! A call's lines in the audit: that it begins, before it is made, and what came of it, whatever that is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::arguments::{shown, sum};
use crate::actor::Actor;
use crate::audit::{Audit, Entry, What};
use crate::config::Masker;
use crate::policy::Tier;
use crate::registry::{CallError, CallOutcome, CallRequest, Content};
use crate::thread::ThreadId;

/// Characters of an outcome.
const OUTCOME_CHARS: usize = 300;
/// Refusals of a thread that are written down in a minute; a flood shall not push everything else out of the audit.
const REFUSALS: u32 = 10;
/// So many threads' refusals are counted apart.
const THREADS: usize = 4096;

/// The line of what came of a call: written when it ends, or when the call is dropped.
pub(super) struct Line {
    audit: Arc<dyn Audit>,
    thread: ThreadId,
    began: Instant,
    /// `None` once it is written.
    entry: Option<Entry>,
}

impl Line {
    /// Of a call that is about to be made, which is written down first: one that brings the bot down leaves its trace.
    pub(super) fn begin(
        audit: &Arc<dyn Audit>,
        by: Option<Actor>,
        request: &CallRequest,
        masker: &Masker,
        tier: Option<Tier>,
        call: String,
    ) -> Self {
        let mut line = Self::of(audit, by, request, masker);
        if let Some(entry) = &mut line.entry
            && let What::Called {
                server,
                tool,
                arguments_sha256,
                tier: confined,
                call: begun,
                ..
            } = &mut entry.what
        {
            *confined = tier;
            *begun = Some(call.clone());
            let what = What::Calling {
                server: server.clone(),
                tool: tool.clone(),
                arguments_sha256: arguments_sha256.clone(),
                call,
            };
            let by = entry.by.clone();
            audit.note(request.thread, Entry { by, what });
        }
        line
    }

    /// Of a call that is not made.
    pub(super) fn of(
        audit: &Arc<dyn Audit>,
        by: Option<Actor>,
        request: &CallRequest,
        masker: &Masker,
    ) -> Self {
        let (arguments_sha256, bytes) = sum(&request.arguments);
        let what = What::Called {
            server: clip(&masker.mask(&request.server)),
            tool: clip(&masker.mask(&request.tool)),
            arguments: shown(masker, &request.arguments),
            arguments_sha256,
            bytes: (bytes, 0),
            took_ms: 0,
            outcome: "given up".to_owned(),
            tier: None,
            call: None,
        };
        Self {
            audit: Arc::clone(audit),
            thread: request.thread,
            began: Instant::now(),
            entry: Some(Entry { by, what }),
        }
    }

    pub(super) fn end(mut self, result: &Result<CallOutcome, CallError>, masker: &Masker) {
        let (said, size) = match result {
            Ok(outcome) if outcome.is_error => ("tool error".to_owned(), size(outcome)),
            Ok(outcome) => ("ok".to_owned(), size(outcome)),
            Err(error) => (clip(&masker.mask(&error.to_string())), 0),
        };
        self.write(said, size);
    }

    pub(super) fn refused(mut self, why: &str, more: u32) {
        let mut said = clip(why);
        if more > 0 {
            said = format!("{said} (and {more} more were refused before)");
        }
        self.write(said, 0);
    }

    fn write(&mut self, said: String, size: u64) {
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        if let What::Called {
            bytes,
            took_ms,
            outcome,
            ..
        } = &mut entry.what
        {
            *outcome = said;
            bytes.1 = size;
            *took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        self.audit.note(self.thread, entry);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.write("given up: nobody waits for it any more".to_owned(), 0);
    }
}

/// Counts refusals, so that of a flood only the first few are written down.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<ThreadId, Counted>);

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    since: Duration,
    written: u32,
    left_out: u32,
}

impl Refusals {
    /// Whether this one is written down, and how many were not before it.
    pub(super) fn count(&mut self, now: Duration, thread: ThreadId) -> Option<u32> {
        const MINUTE: Duration = Duration::from_mins(1);
        if self.0.len() >= THREADS && !self.0.contains_key(&thread) {
            self.0
                .retain(|_, counted| now.saturating_sub(counted.since) < MINUTE);
            if self.0.len() >= THREADS {
                self.0.clear();
            }
        }
        let counted = self.0.entry(thread).or_insert(Counted {
            since: now,
            ..Counted::default()
        });
        if now.saturating_sub(counted.since) >= MINUTE {
            counted.since = now;
            counted.written = 0;
        }
        if counted.written >= REFUSALS {
            counted.left_out = counted.left_out.saturating_add(1);
            return None;
        }
        counted.written += 1;
        Some(std::mem::take(&mut counted.left_out))
    }
}

/// The size of a result: its texts and bytes as they came.
fn size(outcome: &CallOutcome) -> u64 {
    let parts: usize = outcome
        .content
        .iter()
        .map(|part| match part {
            Content::Text(text) | Content::TextResource { text, .. } => text.len(),
            Content::Image { bytes, .. }
            | Content::Audio { bytes, .. }
            | Content::BlobResource { bytes, .. } => bytes.len(),
            Content::Link { uri, .. } => uri.len(),
            Content::Unknown(value) => length(value),
        })
        .sum();
    let structured = outcome.structured.as_ref().map_or(0, length);
    (parts + structured) as u64
}

/// Bytes as JSON, without making the text.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| length(item) + 1).sum::<usize>() + 2,
        Value::Object(members) => {
            let each = members
                .iter()
                .map(|(name, member)| name.len() + length(member) + 4);
            each.sum::<usize>() + 2
        }
        other => other.to_string().len(),
    }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(OUTCOME_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
