//! The HTTP side: the pages that a login starts at and comes back to, pages to enter a secret, the client's metadata
//! document, health.
//!
//! Plain HTML that works on a phone, with no script and nothing fetched from elsewhere; every text is escaped, nothing is
//! cached, nobody may frame it. Strangers reach this: each connection is bounded in time and size, and their number too.

mod connections;
mod entry;
mod pages;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::oauth::OAuth;

pub use entry::{Entered, Entry};

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub struct Web {
    listener: tokio::net::TcpListener,
    entry: Option<Behind>,
}

/// What takes entered secrets.
#[derive(Clone)]
pub(crate) struct Behind(Arc<dyn Entry>);

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Web {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        Ok(Self {
            listener,
            entry: None,
        })
    }

    /// With pages where secrets are entered, at `/secret/<nonce>`.
    #[must_use]
    pub fn with_entry(mut self, entry: Arc<dyn Entry>) -> Self {
        self.entry = Some(Behind(entry));
        self
    }

    /// The address that it listens at; the port that was given where none was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is told to stop: `/oauth/start/<nonce>`, `/oauth/callback`, `/oauth/client.json`, `/healthz`, each
    /// also below the path of the public URL.
    pub async fn serve(self, oauth: OAuth, stop: CancellationToken) -> std::io::Result<()> {
        connections::serve(self.listener, routes::routes(oauth, self.entry), stop).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
