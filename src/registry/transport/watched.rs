//! A transport to a remote server with the bounds of a local one: notifications never become tasks, a flood is slowed down
//! and then cut off, and its end is told.

use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

use super::Events;
use super::noise::{Flood, Noise};

/// A transport that is watched.
#[derive(Debug)]
pub(in crate::registry) struct Watched<T> {
    inner: T,
    events: Arc<Events>,
    noise: Noise,
    /// Requests that were sent and not answered; answers beyond them are noise.
    unanswered: usize,
}

impl<T> Watched<T> {
    pub(in crate::registry) fn new(inner: T, events: Arc<Events>, noise: Noise) -> Self {
        Self {
            inner,
            events,
            noise,
            unanswered: 0,
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Watched<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if matches!(item, JsonRpcMessage::Request(_)) {
            self.unanswered += 1;
        }
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            if let Err(Flood) = self.noise.pause().await {
                let why = "it floods its connection with messages that nobody asked for";
                self.events.end(Some(why));
                return None;
            }
            let Some(message) = self.inner.receive().await else {
                self.events.end(None);
                return None;
            };
            match message {
                JsonRpcMessage::Notification(notification) => {
                    self.noise.count(1.0);
                    self.events.notice(notification.notification);
                }
                JsonRpcMessage::Request(_) => {
                    self.noise.count(1.0);
                    return Some(message);
                }
                JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {
                    if self.unanswered == 0 {
                        self.noise.count(1.0);
                    }
                    self.unanswered = self.unanswered.saturating_sub(1);
                    return Some(message);
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.events.end(None);
        self.inner.close().await
    }
}
