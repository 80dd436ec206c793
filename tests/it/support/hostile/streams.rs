//! Bodies that do not end: streams of events, and the ways to misuse them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::State;

pub(super) const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
/// What a slow one waits between two bytes.
const DRIP: Duration = Duration::from_millis(10);
/// Bytes of one piece of a flood.
const PIECE: usize = 64 * 1024;

/// A stream of events that is written to. Its end is the end of its last sender.
#[derive(Debug, Clone)]
pub(super) struct Lines(mpsc::UnboundedSender<Bytes>);

impl Lines {
    /// Whether somebody still reads.
    pub(super) fn message(&self, message: &Value) -> bool {
        self.raw(format!("event: message\ndata: {message}\n\n"))
    }

    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }

    pub(super) fn raw(&self, text: String) -> bool {
        self.0.send(text.into()).is_ok()
    }
}

/// Counts a body while somebody reads it.
struct Guard {
    state: Arc<State>,
    endless: bool,
}

impl Guard {
    fn new(state: &Arc<State>, endless: bool) -> Self {
        let state = state.clone();
        let guard = Self { state, endless };
        guard.counter().fetch_add(1, Ordering::SeqCst);
        guard.state.tell();
        guard
    }

    fn counter(&self) -> &std::sync::atomic::AtomicUsize {
        if self.endless {
            &self.state.endless
        } else {
            &self.state.open_streams
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::SeqCst);
        self.state.tell();
    }
}

fn typed(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A stream for whatever comes, after this beginning; counted while it is open.
pub(super) fn open(state: &Arc<State>, beginning: String) -> (Lines, Response) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let lines = Lines(sender);
    lines.raw(beginning);
    // Known before it is counted: who sees that it is open may write into it.
    state.streams().push(lines.clone());
    let guard = Guard::new(state, false);
    let body = stream::unfold((receiver, guard), |(mut receiver, guard)| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), (receiver, guard)))
    });
    (lines, typed(EVENTS, Body::from_stream(body)))
}

/// A stream for one answer; not counted.
pub(super) fn answer() -> (Lines, Response) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let body = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    (Lines(sender), typed(EVENTS, Body::from_stream(body)))
}

/// A stream with these words, at its end.
pub(super) fn ended(words: String) -> Response {
    typed(EVENTS, words.into())
}

/// A beginning, and then the connection breaks.
pub(super) fn broken(kind: &'static str, beginning: &'static str) -> Response {
    let body = stream::unfold(0, move |at| async move {
        if at == 0 {
            return Some((Ok(Bytes::from_static(beginning.as_bytes())), 1));
        }
        // The beginning leaves first.
        tokio::time::sleep(DRIP).await;
        Some((Err(io::Error::other("broken on purpose")), 1))
    });
    typed(kind, Body::from_stream(body))
}

/// A status and headers, and nothing of the body.
pub(super) fn headers_only(state: &Arc<State>) -> Response {
    let guard = Guard::new(state, true);
    let body = stream::unfold(guard, |_guard| async {
        std::future::pending::<Option<(Result<Bytes, Infallible>, Guard)>>().await
    });
    typed(JSON, Body::from_stream(body))
}

/// Notifications without end.
pub(super) fn flood(state: &Arc<State>) -> Response {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/message",
        "params": {"level": "info", "data": "again"}});
    let event = format!("data: {note}\n\n");
    let piece = event.repeat(PIECE / event.len());
    endless(state, EVENTS, Bytes::new(), piece.into(), None)
}

/// One event without end.
pub(super) fn huge_event(state: &Arc<State>) -> Response {
    endless(state, EVENTS, "data: ".into(), filling(), None)
}

/// One JSON text without end.
pub(super) fn huge_body(state: &Arc<State>) -> Response {
    endless(state, JSON, "{\"jsonrpc\":\"".into(), filling(), None)
}

/// Blanks without end, one by one.
pub(super) fn drip(state: &Arc<State>) -> Response {
    endless(state, JSON, Bytes::new(), " ".into(), Some(DRIP))
}

/// This JSON, byte by byte.
pub(super) fn slow(text: String) -> Response {
    let bytes = text.into_bytes().into_iter();
    let body = stream::unfold(bytes, |mut bytes| async {
        let byte = bytes.next()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from(vec![byte])), bytes))
    });
    typed(JSON, Body::from_stream(body))
}

fn filling() -> Bytes {
    "x".repeat(PIECE).into()
}

fn endless(
    state: &Arc<State>,
    kind: &'static str,
    first: Bytes,
    piece: Bytes,
    pause: Option<Duration>,
) -> Response {
    let guard = Guard::new(state, true);
    let begin = (guard, Some(first), 0);
    let body = stream::unfold(begin, move |(guard, first, sent)| {
        let piece = first.unwrap_or_else(|| piece.clone());
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let sent = sent + piece.len() as u64;
            guard.state.sent.fetch_max(sent, Ordering::SeqCst);
            Some((Ok::<_, Infallible>(piece), (guard, None, sent)))
        }
    });
    typed(kind, Body::from_stream(body))
}
