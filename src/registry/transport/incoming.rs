//! The way from a process: lines of bounded length out of a buffer that is only large while it is needed.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tokio::net::unix::pipe;

use super::LINE_BYTES;
use super::noise::{Flood, Noise};
use super::unreadable::END_BYTES;

/// Bytes of a line that is thrown away that count as one message.
const NOISE_BYTES: f64 = 4096.0;
/// What one read asks for at least. It goes to the stack first, so that a server that says little holds little.
pub(super) const READ_BYTES: usize = 8 * 1024;
/// What the buffer of a quiet server may keep, and of a busy one.
pub(super) const QUIET_BYTES: usize = 512;
pub(super) const KEEP_BYTES: usize = 64 * 1024;

/// The server's stdout, line by line. Everything survives a cancelled read.
#[derive(Debug)]
pub(super) struct Incoming {
    pipe: pipe::Receiver,
    pub(super) buffer: Vec<u8>,
    /// Up to here the buffer is done with, and up to there it holds no line end.
    done: usize,
    searched: usize,
    discarding: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) noise: Noise,
}

pub(super) enum Line {
    /// From where to where in the buffer.
    Whole(usize, usize),
    /// Both ends of a line that was thrown away.
    TooLong { head: Vec<u8>, tail: Vec<u8> },
}

impl Incoming {
    pub(super) fn new(pipe: pipe::Receiver) -> Self {
        Self {
            pipe,
            buffer: Vec::new(),
            done: 0,
            searched: 0,
            discarding: None,
            noise: Noise::default(),
        }
    }

    /// The next line, or why there is none any more. Where it is `quiet`, since no answer is waited for, no more than a small
    /// buffer is held while nothing comes.
    pub(super) async fn next(&mut self, quiet: bool) -> Result<Line, Option<&'static str>> {
        loop {
            if let Err(Flood) = self.noise.pause().await {
                return Err(Some(if self.discarding.is_some() {
                    "it prints one line that does not end"
                } else {
                    "it floods its output with messages that nobody asked for"
                }));
            }
            if let Some(line) = self.line_in_buffer() {
                return Ok(line);
            }
            if self.noise.is_pausing() {
                continue;
            }
            match std::future::poll_fn(|context| self.poll_read(context, quiet)).await {
                Ok(0) => return Err(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(None),
            }
        }
    }

    /// Reads what is there. A read that does not fill its space tells the runtime that the pipe is empty, which saves one
    /// that would find that out.
    fn poll_read(&mut self, context: &mut Context<'_>, quiet: bool) -> Poll<io::Result<usize>> {
        self.forget();
        if self.buffer.len() >= READ_BYTES {
            // A long line. `reserve` doubles, so it takes few reads and no more than its length twice.
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES {
                self.buffer.reserve(READ_BYTES);
            }
            return std::pin::pin!(self.pipe.read_buf(&mut self.buffer)).poll(context);
        }
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut space = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.pipe).poll_read(context, &mut space) {
            Poll::Ready(result) => {
                self.buffer.extend_from_slice(space.filled());
                Poll::Ready(result.map(|()| space.filled().len()))
            }
            Poll::Pending => {
                if quiet && self.buffer.is_empty() && self.buffer.capacity() > QUIET_BYTES {
                    self.buffer = Vec::new();
                }
                Poll::Pending
            }
        }
    }

    fn line_in_buffer(&mut self) -> Option<Line> {
        let found = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|offset| self.searched + offset);
        if let Some((head, mut tail)) = self.discarding.take() {
            let end = found.unwrap_or(self.buffer.len());
            tail.extend_from_slice(&self.buffer[self.done..end]);
            tail.drain(..tail.len().saturating_sub(END_BYTES));
            #[expect(clippy::cast_precision_loss, reason = "a budget, not an account")]
            self.noise.count((end - self.done) as f64 / NOISE_BYTES);
            self.done = found.map_or(end, |end| end + 1);
            self.searched = self.done;
            if found.is_some() {
                return Some(Line::TooLong { head, tail });
            }
            self.discarding = Some((head, tail));
            return None;
        }
        if let Some(end) = found {
            let start = self.done;
            self.done = end + 1;
            self.searched = self.done;
            return Some(Line::Whole(start, end));
        }
        self.searched = self.buffer.len();
        if self.searched - self.done > LINE_BYTES {
            let line = &self.buffer[self.done..];
            let head = line[..END_BYTES].to_vec();
            let tail = line[line.len() - END_BYTES..].to_vec();
            self.discarding = Some((head, tail));
            self.done = self.searched;
        }
        None
    }

    /// Makes room of what is done with; the buffer is only large while it is needed.
    fn forget(&mut self) {
        if self.done > 0 {
            self.buffer.drain(..self.done);
            self.searched -= self.done;
            self.done = 0;
        }
        if self.buffer.capacity() > KEEP_BYTES && self.buffer.len() < READ_BYTES {
            self.buffer.shrink_to(READ_BYTES);
        }
    }
}
