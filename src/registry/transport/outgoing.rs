//! The way to a process: writes that the pipe takes at once are done on the spot, the rest waits within bounds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::RoleClient;
use rmcp::service::TxJsonRpcMessage;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// Bytes that may wait for a peer that does not read, and messages.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;
const QUEUED_MESSAGES: usize = 2048;

/// The server's stdin. Writes that the pipe takes at once are done on the spot.
#[derive(Debug)]
pub(in crate::registry) struct Outgoing {
    /// A tokio lock because a write may have to wait for the pipe; whoever closes asks waiting writers to let go first.
    pipe: Arc<tokio::sync::Mutex<Option<pipe::Sender>>>,
    closed: CancellationToken,
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

pub(super) enum Started {
    Done(io::Result<()>),
    Waiting(Write),
}

pub(super) struct Write {
    bytes: Vec<u8>,
    written: usize,
    turn: Option<tokio::sync::OwnedMutexGuard<Option<pipe::Sender>>>,
}

impl Outgoing {
    pub(super) fn new(stdin: pipe::Sender) -> Self {
        Self {
            pipe: Arc::new(tokio::sync::Mutex::new(Some(stdin))),
            closed: CancellationToken::new(),
            bytes: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
        }
    }

    /// Closes the server's stdin, which asks it to end.
    pub(in crate::registry) async fn close(&self) {
        self.closed.cancel();
        self.pipe.lock().await.take();
    }

    pub(super) fn start(&self, item: &TxJsonRpcMessage<RoleClient>) -> Started {
        let mut bytes = Vec::with_capacity(256);
        if let Err(error) = serde_json::to_writer(&mut bytes, item) {
            return Started::Done(Err(error.into()));
        }
        bytes.push(b'\n');
        let mut write = Write {
            bytes,
            written: 0,
            turn: None,
        };
        if let Ok(turn) = self.pipe.clone().try_lock_owned() {
            match turn.as_ref().map(|pipe| write.push(pipe)) {
                None => return Started::Done(Err(io::ErrorKind::NotConnected.into())),
                Some(Ok(true)) => return Started::Done(Ok(())),
                Some(Ok(false)) => write.turn = Some(turn),
                Some(Err(error)) => return Started::Done(Err(error)),
            }
        }
        let messages = self.messages.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(write.bytes.len(), Ordering::Relaxed);
        if write.turn.is_none() && (messages >= QUEUED_MESSAGES || bytes >= QUEUED_BYTES) {
            self.release(&write);
            return Started::Done(Err(io::Error::other(
                "the server does not read its input and too much is waiting",
            )));
        }
        Started::Waiting(write)
    }

    pub(super) async fn finish(&self, mut write: Write) -> io::Result<()> {
        // Once it is closed no other message is begun.
        let result = tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(io::ErrorKind::NotConnected.into()),
            result = self.write_rest(&mut write) => result,
        };
        self.release(&write);
        result
    }

    async fn write_rest(&self, write: &mut Write) -> io::Result<()> {
        if write.turn.is_none() {
            write.turn = Some(self.pipe.clone().lock_owned().await);
        }
        loop {
            let Some(turn) = write.turn.take() else {
                return Ok(());
            };
            let Some(pipe) = turn.as_ref() else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            if write.push(pipe)? {
                return Ok(());
            }
            pipe.writable().await?;
            write.turn = Some(turn);
        }
    }

    fn release(&self, write: &Write) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(write.bytes.len(), Ordering::Relaxed);
    }
}

impl Write {
    /// Writes what fits; whether that was all.
    fn push(&mut self, pipe: &pipe::Sender) -> io::Result<bool> {
        while self.written < self.bytes.len() {
            match pipe.try_write(&self.bytes[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
