//! Both pipes of a process as one rmcp transport.

use std::io;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::net::unix::pipe;

use super::Events;
use super::incoming::{Incoming, Line};
use super::outgoing::{Outgoing, Started};
use super::unreadable::{END_BYTES, id_of_answer, request_id, unreadable};

/// Both directions. `rmcp` owns it; [`Events`] and [`Outgoing`] are what the registry keeps.
#[derive(Debug)]
pub(in crate::registry) struct PipeTransport {
    incoming: Incoming,
    outgoing: Arc<Outgoing>,
    events: Arc<Events>,
    /// Requests that were sent and not answered; answers beyond them are noise.
    unanswered: usize,
}

impl PipeTransport {
    pub(in crate::registry) fn new(
        stdin: pipe::Sender,
        stdout: pipe::Receiver,
    ) -> (Self, Arc<Outgoing>, Arc<Events>) {
        let outgoing = Arc::new(Outgoing::new(stdin));
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
                    .answered_badly(request_id(&head, &tail), "the answer is larger than 4 MiB");
            }
        };
        let bytes = self.incoming.buffer[start..end].trim_ascii();
        if bytes.is_empty() {
            return None;
        }
        let Ok(message) = serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(bytes) else {
            // Text that is no JSON is common (a banner on stdout) and harmless. An answer in a wrong form is not: its
            // request would wait for ever.
            let id = if bytes.first() == Some(&b'{') {
                id_of_answer(bytes)
            } else {
                // Kept long enough to be masked before it is cut.
                self.events.astray(&bytes[..bytes.len().min(END_BYTES)]);
                None
            };
            return self.answered_badly(id, "the answer is not in the form of JSON-RPC");
        };
        match message {
            JsonRpcMessage::Notification(notification) => {
                self.incoming.noise.count(1.0);
                self.events.notice(notification.notification);
                None
            }
            JsonRpcMessage::Request(_) => {
                self.incoming.noise.count(1.0);
                Some(message)
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {
                self.count_answer();
                Some(message)
            }
        }
    }

    fn answered_badly(
        &mut self,
        id: Option<RequestId>,
        why: &'static str,
    ) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.count_answer();
        id.map(|id| unreadable(id, why))
    }

    fn count_answer(&mut self) {
        if self.unanswered == 0 {
            self.incoming.noise.count(1.0);
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
            match self.incoming.next(self.unanswered == 0).await {
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

#[cfg(test)]
mod tests;
