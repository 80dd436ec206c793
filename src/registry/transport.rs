//! The wire to a server's process: lines of JSON over two pipes, with every bound that the bot needs.
//!
//! It stands in for `rmcp`'s own line transport because a hostile or broken peer has to be bounded here: a line over the
//! limit answers the request that waits for it instead of leaving it to its deadline, a flood is slowed down to a
//! trickle and then cut off, writes to a peer that does not read are counted, buffers shrink again, and notifications
//! (of which the registry wants two kinds) never become tasks.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ErrorCode, ErrorData, JsonRpcError, JsonRpcMessage, NumberOrString, ProgressNotificationParam,
    ProgressToken, RequestId, ServerNotification,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Progress;
use super::text::{clip, plain_line};
use crate::config::Masker;

/// The longest line that is read: one message.
pub(super) const LINE_BYTES: usize = 4 * 1024 * 1024;
/// The code of the error that answers a request whose answer could not be read; not one that a server may use (JSON-RPC
/// reserves nothing below -32768 for it).
pub(super) const UNREADABLE: i32 = -39_999;

/// Bytes that may wait for a peer that does not read, and messages.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;
const QUEUED_MESSAGES: usize = 2048;
/// Messages a second that nobody asked for, and how many may come at once.
const NOISE_PER_SECOND: f64 = 1000.0;
const NOISE_BURST: f64 = 5000.0;
/// Bytes of a line that is thrown away that count as one message.
const NOISE_BYTES: f64 = 4096.0;
/// A peer that floods for this long is cut off.
const FLOOD_LIMIT: Duration = Duration::from_secs(10);
/// What one read asks for, and what a buffer may keep between messages.
const READ_BYTES: usize = 8 * 1024;
const KEEP_BYTES: usize = 64 * 1024;
/// How much of both ends of a line that is thrown away is kept, to see which request it answers.
const END_BYTES: usize = 512;

/// Both directions. `rmcp` owns it; [`Events`] and [`Outgoing`] are what the registry keeps.
#[derive(Debug)]
pub(super) struct PipeTransport {
    incoming: Incoming,
    outgoing: Arc<Outgoing>,
    events: Arc<Events>,
    /// Requests that were sent and not answered; answers beyond them are noise.
    unanswered: usize,
}

/// What the transport sees besides answers.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The server says that its tools changed.
    pub(super) tools_changed: Notify,
    /// Cancelled when nothing more will come.
    pub(super) ended: CancellationToken,
    why: OnceLock<&'static str>,
    /// The first line that was not JSON.
    stray: OnceLock<String>,
    progress: Mutex<ProgressTable>,
}

/// The reports of one call.
#[derive(Debug)]
pub(super) struct ProgressSlot {
    sender: Option<mpsc::Sender<Progress>>,
    masker: Arc<Masker>,
    /// Milliseconds since `Events` does not matter; any change means a report came.
    reports: AtomicU64,
}

#[derive(Debug, Default)]
struct ProgressTable {
    slots: HashMap<NumberOrString, Arc<ProgressSlot>>,
    /// Reports that overtook the registration of their call; the newest few.
    early: VecDeque<ProgressNotificationParam>,
}

const EARLY_REPORTS: usize = 32;
const PROGRESS_CHARS: usize = 500;

impl Events {
    /// Why the connection ended, where it was for a reason of ours.
    pub(super) fn why(&self) -> Option<&'static str> {
        self.why.get().copied()
    }

    /// The first line on its output that was no message at all; not masked.
    pub(super) fn stray(&self) -> Option<&str> {
        self.stray.get().map(String::as_str)
    }

    /// Takes the reports for a call's token from now on, and the ones that came before.
    pub(super) fn follow(
        &self,
        token: &ProgressToken,
        sender: Option<mpsc::Sender<Progress>>,
        masker: Arc<Masker>,
    ) -> Arc<ProgressSlot> {
        let slot = Arc::new(ProgressSlot {
            sender,
            masker,
            reports: AtomicU64::new(0),
        });
        let mut table = self.table();
        if !table.early.is_empty() {
            for report in &table.early {
                if report.progress_token == *token {
                    slot.report(report);
                }
            }
            table.early.retain(|report| report.progress_token != *token);
        }
        table.slots.insert(token.0.clone(), slot.clone());
        slot
    }

    /// Forgets a call.
    pub(super) fn unfollow(&self, token: &ProgressToken) {
        self.table().slots.remove(&token.0);
    }

    /// The server does not read what it is sent.
    pub(super) fn stuck(&self) {
        self.end(Some("it stopped reading its input"));
    }

    fn notice(&self, notification: ServerNotification) {
        match notification {
            ServerNotification::ToolListChangedNotification(_) => self.tools_changed.notify_one(),
            ServerNotification::ProgressNotification(notification) => {
                let report = notification.params;
                let mut table = self.table();
                if let Some(slot) = table.slots.get(&report.progress_token.0) {
                    slot.report(&report);
                } else {
                    if table.early.len() == EARLY_REPORTS {
                        table.early.pop_front();
                    }
                    table.early.push_back(report);
                }
            }
            // Log messages and resource changes concern nobody here.
            _ => {}
        }
    }

    fn end(&self, why: Option<&'static str>) {
        if let Some(why) = why {
            let _ = self.why.set(why);
        }
        self.ended.cancel();
    }

    fn table(&self) -> std::sync::MutexGuard<'_, ProgressTable> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSlot {
    /// How many reports came so far.
    pub(super) fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    fn report(&self, report: &ProgressNotificationParam) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        if let Some(sender) = &self.sender {
            // What does not fit is dropped: the next report says more.
            let _ = sender.try_send(Progress {
                done: report.progress,
                total: report.total,
                message: clip(
                    &self
                        .masker
                        .mask_known(report.message.as_deref().unwrap_or("")),
                    PROGRESS_CHARS,
                ),
            });
        }
    }
}

impl PipeTransport {
    pub(super) fn new(
        stdin: pipe::Sender,
        stdout: pipe::Receiver,
    ) -> (Self, Arc<Outgoing>, Arc<Events>) {
        let outgoing = Arc::new(Outgoing {
            pipe: Arc::new(tokio::sync::Mutex::new(Some(stdin))),
            closed: CancellationToken::new(),
            bytes: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
        });
        let events = Arc::new(Events::default());
        let transport = Self {
            incoming: Incoming::new(stdout),
            outgoing: outgoing.clone(),
            events: events.clone(),
            unanswered: 0,
        };
        (transport, outgoing, events)
    }

    /// What to do with a line; `None` goes on reading.
    fn take(&mut self, line: Line) -> Option<RxJsonRpcMessage<RoleClient>> {
        let (start, end) = match line {
            Line::Whole(start, end) => (start, end),
            Line::TooLong { head, tail } => {
                return self
                    .unreadable(request_id(&head, &tail), "the answer is larger than 4 MiB");
            }
        };
        let bytes = self.incoming.buffer[start..end].trim_ascii();
        if bytes.is_empty() {
            return None;
        }
        let Ok(message) = serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(bytes) else {
            // Text that is no JSON is common (a banner on stdout) and harmless. An answer in a wrong form is not: its
            // request would wait for ever.
            let ends = (
                &bytes[..bytes.len().min(END_BYTES)],
                &bytes[bytes.len().saturating_sub(END_BYTES)..],
            );
            let id = if bytes.first() == Some(&b'{') {
                whole_request_id(bytes).or_else(|| request_id(ends.0, ends.1))
            } else {
                // Kept long enough to be masked before it is cut.
                let line = || plain_line(&bytes[..bytes.len().min(END_BYTES)]);
                self.events.stray.get_or_init(line);
                None
            };
            return self.unreadable(id, "the answer is not in the form of JSON-RPC");
        };
        match message {
            JsonRpcMessage::Notification(notification) => {
                self.incoming.noise(1.0);
                self.events.notice(notification.notification);
                None
            }
            JsonRpcMessage::Request(_) => {
                self.incoming.noise(1.0);
                Some(message)
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {
                self.count_answer();
                Some(message)
            }
        }
    }

    fn unreadable(
        &mut self,
        id: Option<RequestId>,
        why: &'static str,
    ) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.count_answer();
        let id = id?;
        Some(JsonRpcMessage::Error(JsonRpcError {
            jsonrpc: rmcp::model::JsonRpcVersion2_0,
            id: Some(id),
            error: ErrorData::new(ErrorCode(UNREADABLE), why, None),
        }))
    }

    fn count_answer(&mut self) {
        if self.unanswered == 0 {
            self.incoming.noise(1.0);
        }
        self.unanswered = self.unanswered.saturating_sub(1);
    }
}

impl Transport<RoleClient> for PipeTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        if matches!(item, JsonRpcMessage::Request(_)) {
            self.unanswered += 1;
        }
        // All of the work is in the future: rmcp's loop, which every call goes through, only makes it.
        let outgoing = self.outgoing.clone();
        async move {
            match outgoing.start(&item) {
                Started::Done(result) => result,
                Started::Waiting(write) => outgoing.finish(write).await,
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            match self.incoming.next().await {
                Ok(line) => {
                    if let Some(message) = self.take(line) {
                        return Some(message);
                    }
                }
                Err(why) => {
                    self.events.end(why);
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.outgoing.close().await;
        self.events.end(None);
        Ok(())
    }
}

/// The server's stdin. Writes that the pipe takes at once are done on the spot.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// A tokio lock because a write may have to wait for the pipe; whoever closes asks waiting writers to let go first.
    pipe: Arc<tokio::sync::Mutex<Option<pipe::Sender>>>,
    closed: CancellationToken,
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

enum Started {
    Done(io::Result<()>),
    Waiting(Write),
}

struct Write {
    bytes: Vec<u8>,
    written: usize,
    turn: Option<tokio::sync::OwnedMutexGuard<Option<pipe::Sender>>>,
}

impl Outgoing {
    /// Closes the server's stdin, which asks it to end.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.pipe.lock().await.take();
    }

    fn start(&self, item: &TxJsonRpcMessage<RoleClient>) -> Started {
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

    async fn finish(&self, mut write: Write) -> io::Result<()> {
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

/// The server's stdout, line by line. Everything survives a cancelled read.
#[derive(Debug)]
struct Incoming {
    pipe: pipe::Receiver,
    buffer: Vec<u8>,
    /// Up to here the buffer is done with, and up to there it holds no line end.
    done: usize,
    searched: usize,
    discarding: Option<(Vec<u8>, Vec<u8>)>,
    /// How much noise is still allowed.
    allowance: f64,
    counted: Instant,
    flooding_since: Option<Instant>,
    pause_until: Option<Instant>,
}

enum Line {
    /// From where to where in the buffer.
    Whole(usize, usize),
    /// Both ends of a line that was thrown away.
    TooLong { head: Vec<u8>, tail: Vec<u8> },
}

impl Incoming {
    fn new(pipe: pipe::Receiver) -> Self {
        Self {
            pipe,
            buffer: Vec::new(),
            done: 0,
            searched: 0,
            discarding: None,
            allowance: NOISE_BURST,
            counted: Instant::now(),
            flooding_since: None,
            pause_until: None,
        }
    }

    /// The next line, or why there is none any more.
    async fn next(&mut self) -> Result<Line, Option<&'static str>> {
        loop {
            if let Some(until) = self.pause_until {
                if self
                    .flooding_since
                    .is_some_and(|since| since.elapsed() > FLOOD_LIMIT)
                {
                    return Err(Some(if self.discarding.is_some() {
                        "it prints one line that does not end"
                    } else {
                        "it floods its output with messages that nobody asked for"
                    }));
                }
                tokio::time::sleep_until(until).await;
                self.pause_until = None;
            }
            if let Some(line) = self.line_in_buffer() {
                return Ok(line);
            }
            if self.pause_until.is_some() {
                continue;
            }
            self.make_room();
            match self.pipe.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.pipe.readable().await.is_err() {
                        return Err(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(None),
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
            self.noise((end - self.done) as f64 / NOISE_BYTES);
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

    fn make_room(&mut self) {
        if self.done > 0 {
            self.buffer.drain(..self.done);
            self.searched -= self.done;
            self.done = 0;
        }
        if self.buffer.capacity() > KEEP_BYTES && self.buffer.len() < READ_BYTES {
            self.buffer.shrink_to(READ_BYTES);
        }
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 2 {
            // `reserve` doubles, so a long line costs no more than its length twice.
            self.buffer.reserve(READ_BYTES);
        }
    }

    /// Counts what nobody asked for; beyond the allowance reading pauses, and the peer waits on its full pipe.
    fn noise(&mut self, cost: f64) {
        let now = Instant::now();
        let refill = now.duration_since(self.counted).as_secs_f64() * NOISE_PER_SECOND;
        self.counted = now;
        self.allowance = (self.allowance + refill).min(NOISE_BURST) - cost;
        if self.allowance >= NOISE_BURST / 2.0 {
            self.flooding_since = None;
        } else if self.allowance < 0.0 {
            self.flooding_since.get_or_insert(now);
            self.pause_until =
                Some(now + Duration::from_secs_f64(-self.allowance / NOISE_PER_SECOND));
        }
    }
}

/// The id in a whole message that does not have the form of one.
fn whole_request_id(line: &[u8]) -> Option<RequestId> {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: Value,
        #[serde(default)]
        method: Option<serde::de::IgnoredAny>,
    }
    let message: OnlyId = serde_json::from_slice(line).ok()?;
    if message.method.is_some() {
        return None;
    }
    id_of(message.id)
}

/// The id of a response of which only both ends are known: it stands before or after the result.
fn request_id(head: &[u8], tail: &[u8]) -> Option<RequestId> {
    let parse = |text: String| {
        let object: serde_json::Map<String, Value> = serde_json::from_str(&text).ok()?;
        if object.keys().any(|key| key != "id" && key != "jsonrpc") {
            return None;
        }
        id_of(object.get("id")?.clone())
    };
    let head = String::from_utf8_lossy(head);
    let before = ["\"result\"", "\"error\""]
        .iter()
        .filter_map(|key| head.find(key))
        .min()
        .and_then(|end| {
            let start = head[..end].trim_end().trim_end_matches(',');
            parse(format!("{start}}}"))
        });
    before.or_else(|| {
        let tail = String::from_utf8_lossy(tail);
        // The last fields: `,"id":7}` or `,"id":7,"jsonrpc":"2.0"}`, in any order.
        ["\"id\"", "\"jsonrpc\""]
            .iter()
            .filter_map(|key| tail.rfind(key))
            .find_map(|start| parse(format!("{{{}", tail[start..].trim_end())))
    })
}

fn id_of(value: Value) -> Option<RequestId> {
    match value {
        Value::Number(number) => number.as_i64().map(NumberOrString::Number),
        Value::String(text) => Some(NumberOrString::String(text.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn pair() -> (PipeTransport, std::fs::File, std::fs::File) {
        let (theirs_in, stdin) = rustix::pipe::pipe().unwrap();
        let (stdout, theirs_out) = rustix::pipe::pipe().unwrap();
        let (transport, _, _) = PipeTransport::new(
            pipe::Sender::from_owned_fd(stdin).unwrap(),
            pipe::Receiver::from_owned_fd(stdout).unwrap(),
        );
        (transport, theirs_in.into(), theirs_out.into())
    }

    fn described(message: Option<RxJsonRpcMessage<RoleClient>>) -> String {
        match message {
            None => "end".to_owned(),
            Some(message) => serde_json::to_string(&message).unwrap(),
        }
    }

    #[tokio::test]
    async fn noise_is_passed_over_and_answers_come_through() {
        let (mut transport, _stdin, mut out) = pair();
        out.write_all(b"hello, I am a server\n\n[1,2]\n{\"a\":1}\n")
            .unwrap();
        out.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n")
            .unwrap();
        out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\r\n{\"jsonrpc\"")
            .unwrap();
        drop(out);
        let answer = described(transport.receive().await);
        assert!(answer.contains("\"id\":3"), "{answer}");
        assert_eq!(described(transport.receive().await), "end");
        assert!(transport.events.ended.is_cancelled());
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_answers_its_request() {
        for (before, after) in [
            (
                "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"t\":\"",
                "\"}}\n",
            ),
            (
                "{\"result\":{\"t\":\"",
                "\"},\"jsonrpc\":\"2.0\",\"id\":7}\n",
            ),
            (
                "{\"result\":{\"t\":\"",
                "\"},\"id\":7,\"jsonrpc\":\"2.0\"}\n",
            ),
        ] {
            let (mut transport, _stdin, mut out) = pair();
            let writer = std::thread::spawn(move || {
                out.write_all(before.as_bytes()).unwrap();
                let piece = vec![b'x'; 64 * 1024];
                for _ in 0..(LINE_BYTES / piece.len() + 2) {
                    out.write_all(&piece).unwrap();
                }
                out.write_all(after.as_bytes()).unwrap();
                out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n")
                    .unwrap();
            });
            transport.unanswered = 2;
            let answer = described(transport.receive().await);
            assert!(
                answer.contains("\"id\":7") && answer.contains("4 MiB"),
                "{answer}"
            );
            assert!(described(transport.receive().await).contains("\"id\":8"));
            assert_eq!(described(transport.receive().await), "end");
            assert!(transport.incoming.buffer.capacity() <= KEEP_BYTES);
            writer.join().unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_in_a_wrong_form_answers_its_request() {
        let (mut transport, _stdin, mut out) = pair();
        out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":\"broken\"}\n")
            .unwrap();
        let answer = described(transport.receive().await);
        assert!(
            answer.contains("\"id\":5") && answer.contains("form of JSON-RPC"),
            "{answer}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_slowed_down_and_then_cut_off() {
        let (mut transport, _stdin, mut out) = pair();
        let writer = std::thread::spawn(move || {
            let line = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n".repeat(100);
            let mut lines = 0_u32;
            while out.write_all(&line).is_ok() {
                lines += 100;
            }
            lines
        });
        assert_eq!(described(transport.receive().await), "end");
        assert!(transport.events.why().unwrap().contains("floods"));
        drop(transport);
        assert!(writer.join().unwrap() < 40_000, "the peer was slowed down");
    }

    #[tokio::test]
    async fn progress_reaches_its_call_even_when_it_comes_first() {
        let events = Events::default();
        let token = ProgressToken(NumberOrString::Number(4));
        let report = |done: f64| {
            ServerNotification::ProgressNotification(rmcp::model::ProgressNotification::new(
                ProgressNotificationParam::new(token.clone(), done),
            ))
        };
        events.notice(report(1.0));
        let (sender, mut receiver) = mpsc::channel(8);
        let slot = events.follow(&token, Some(sender), Arc::default());
        events.notice(report(2.0));
        events.unfollow(&token);
        events.notice(report(3.0));
        let mut done = Vec::new();
        while let Ok(report) = receiver.try_recv() {
            done.push(report.done);
        }
        assert_eq!(format!("{done:?}"), "[1.0, 2.0]");
        assert_eq!(slot.reports(), 2);
    }

    #[tokio::test]
    async fn what_is_printed_for_people_is_remembered() {
        let (mut transport, _stdin, mut out) = pair();
        out.write_all(
            b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\nlistening on `:80`\nmore\n",
        )
        .unwrap();
        drop(out);
        while transport.receive().await.is_some() {}
        assert_eq!(transport.events.stray(), Some("listening on `:80`"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_line_and_a_flood_are_told_apart() {
        for (piece, expected) in [
            (vec![b'x'; 1 << 16], "it prints one line that does not end"),
            (
                b"[1]\n".repeat(1 << 12),
                "it floods its output with messages that nobody asked for",
            ),
        ] {
            let (mut transport, _stdin, mut out) = pair();
            let writer = std::thread::spawn(move || while out.write_all(&piece).is_ok() {});
            assert!(transport.receive().await.is_none());
            assert_eq!(transport.events.why(), Some(expected));
            drop(transport);
            writer.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_bounded() {
        let (mut transport, _stdin, _out) = pair();
        let mut waiting = Vec::new();
        let mut refused = 0;
        for id in 0..4000 {
            let big = serde_json::from_value(serde_json::json!({
                "jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": {"name": "x".repeat(16 * 1024)},
            }))
            .unwrap();
            let mut send = Box::pin(transport.send(big));
            match futures::poll!(&mut send) {
                std::task::Poll::Ready(Err(_)) => refused += 1,
                std::task::Poll::Ready(Ok(())) => {}
                std::task::Poll::Pending => waiting.push(send),
            }
        }
        assert!(refused > 1000, "only {refused} were refused");
        // Closing is not held up by those that wait.
        let outgoing = transport.outgoing.clone();
        let (closed, results) =
            futures::future::join(outgoing.close(), futures::future::join_all(waiting)).await;
        let () = closed;
        // A pipe takes 64 KiB before its reader must read: the first few may have gone out before the end.
        let sent = results.iter().filter(|result| result.is_ok()).count();
        assert!(sent <= 4, "{sent} went out to a peer that does not read");
    }
}
