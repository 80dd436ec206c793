//! Bodies of answers, with a bound on everything: one event, one body, and the life of a stream.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use sse_stream::{Sse, SseStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::Failing as _;
use super::{Wire, WireError};
use crate::registry::transport::{Flood, Noise};

/// The largest event, and the largest body, that is read; little under the fuzzer, whose inputs are short.
pub(in crate::registry) const EVENT_BYTES: usize =
    if cfg!(fuzzing) { 512 } else { 4 * 1024 * 1024 };

/// Bytes of a stream that count as one message that nobody asked for.
const NOISE_BYTES: f64 = 4096.0;

/// Events of a server, as rmcp takes them.
pub(in crate::registry) type EventStream = BoxStream<'static, Result<Sse, sse_stream::Error>>;

/// The events of an answer, each at most [`EVENT_BYTES`] and no flood of them, together at most `most` where there is a
/// bound. When the wire is closed the answer's connection is too, also where nobody reads the stream any more.
pub(in crate::registry) fn events(
    response: reqwest::Response,
    wire: &Wire,
    most: Option<usize>,
) -> EventStream {
    let noise = Noise::until(wire.options().flood_limit);
    events_until(wire.closed().clone(), response, noise, most)
}

/// The same until `closed`.
pub(super) fn events_until(
    closed: CancellationToken,
    response: reqwest::Response,
    noise: Noise,
    most: Option<usize>,
) -> EventStream {
    let held = Held::new(response.bytes_stream(), closed.clone());
    let bounded = Bounded::new(held, noise, most).pieces();
    SseStream::from_bytes_stream(Box::pin(bounded))
        .take_until(closed.cancelled_owned())
        .boxed()
}

/// A whole body of at most `limit` bytes.
pub(in crate::registry) async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, WireError> {
    let too_large = || WireError::TooLarge { limit };
    let expected = response.content_length().unwrap_or(0);
    if expected > limit as u64 {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.failing()? {
        if piece.len() > limit - body.len() {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The media type of an answer in lower case, without its parameters; empty where there is none.
pub(in crate::registry) fn media_type(response: &reqwest::Response) -> String {
    let header = response.headers().get(http::header::CONTENT_TYPE);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim();
    // A header's text is ASCII, so every byte is a character.
    kind.get(..80).unwrap_or(kind).to_ascii_lowercase()
}

/// A body that goes when its connection is closed, and not only when it is read next: whoever took it may hold it for as
/// long as it likes.
struct Held<S> {
    /// A std lock: whoever has it polls the body or drops it.
    body: Arc<Mutex<Option<Pin<Box<S>>>>>,
    _unread: DropGuard,
}

impl<S: Send + 'static> Held<S> {
    fn new(body: S, closed: CancellationToken) -> Self {
        let body = Arc::new(Mutex::new(Some(Box::pin(body))));
        let unread = CancellationToken::new();
        let (kept, ended) = (body.clone(), unread.clone());
        // Ends with the reader or with the connection, whichever goes first.
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = ended.cancelled() => {}
            }
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        Self {
            body,
            _unread: unread.drop_guard(),
        }
    }
}

impl<S: Stream> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        match body.as_mut() {
            Some(body) => body.as_mut().poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

/// Counts the bytes of each event before the parser keeps them, and all of them: a flood is slowed down and then cut off.
struct Bounded<S> {
    bytes: Pin<Box<S>>,
    /// Bytes of the event so far without its last line, and of that line.
    event: usize,
    line: usize,
    left: Option<usize>,
    noise: Noise,
}

impl<S, B> Bounded<S>
where
    S: Stream<Item = reqwest::Result<B>>,
    B: AsRef<[u8]>,
{
    fn new(bytes: S, noise: Noise, most: Option<usize>) -> Self {
        Self {
            bytes: Box::pin(bytes),
            event: 0,
            line: 0,
            left: most,
            noise,
        }
    }

    fn pieces(self) -> impl Stream<Item = Result<B, WireError>> {
        futures::stream::unfold(Some(self), |bounded| async {
            let mut bounded = bounded?;
            let piece = bounded.next().await?;
            let more = piece.is_ok().then_some(bounded);
            Some((piece, more))
        })
    }

    async fn next(&mut self) -> Option<Result<B, WireError>> {
        if let Err(Flood) = self.noise.pause().await {
            return Some(Err(WireError::Malformed(
                "it is a flood that does not end".to_owned(),
            )));
        }
        let piece = self.bytes.next().await?.failing();
        Some(piece.and_then(|piece| self.admit(piece.as_ref()).map(|()| piece)))
    }

    fn admit(&mut self, piece: &[u8]) -> Result<(), WireError> {
        let too_large = WireError::TooLarge { limit: EVENT_BYTES };
        if let Some(left) = &mut self.left {
            match left.checked_sub(piece.len()) {
                Some(less) => *left = less,
                None => return Err(too_large),
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a budget, not an account")]
        self.noise.count(piece.len() as f64 / NOISE_BYTES);
        for byte in piece {
            match byte {
                b'\n' | b'\r' => {
                    // A blank line ends an event. Of `\r\n` the second half counts as one: it is only a bound.
                    self.event = if self.line == 0 {
                        0
                    } else {
                        self.event + self.line
                    };
                    self.line = 0;
                }
                _ => self.line += 1,
            }
            if self.event + self.line > EVENT_BYTES {
                return Err(too_large);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(pieces: Vec<Vec<u8>>) -> (usize, bool) {
        let bytes = futures::stream::iter(pieces.into_iter().map(reqwest::Result::Ok));
        let all: Vec<_> = Bounded::new(bytes, Noise::default(), None)
            .pieces()
            .collect()
            .await;
        let good = all.iter().filter(|piece| piece.is_ok()).count();
        (good, good < all.len())
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_goes_when_the_connection_is_closed_or_the_reader_is_gone() {
        for closes in [true, false] {
            let (sender, receiver) = futures::channel::mpsc::unbounded::<u8>();
            let closed = CancellationToken::new();
            let mut held = Some(Held::new(receiver, closed.clone()));
            sender.unbounded_send(1).unwrap();
            assert_eq!(held.as_mut().unwrap().next().await, Some(1));
            assert!(!sender.is_closed());
            if closes {
                closed.cancel();
            } else {
                held = None;
            }
            while !sender.is_closed() {
                tokio::task::yield_now().await;
            }
            if let Some(mut held) = held {
                assert_eq!(held.next().await, None);
            }
        }
    }

    #[tokio::test]
    async fn an_event_is_bounded_and_a_stream_is_not() {
        let half = [b"data: ".to_vec(), vec![b'x'; EVENT_BYTES / 2]].concat();
        let ended = [half.clone(), b"\n\n".to_vec()].concat();
        for (pieces, expected) in [
            (vec![ended.clone(), ended.clone(), ended], (3, false)),
            (vec![half.clone(), half.clone(), half.clone()], (1, true)),
            // Many short lines of one event are one event.
            (vec![b"data: xxxxxxx\n".repeat(EVENT_BYTES / 10)], (0, true)),
        ] {
            assert_eq!(passed(pieces).await, expected);
        }
    }
}
