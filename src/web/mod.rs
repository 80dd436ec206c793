//! The HTTP side: the pages that a login starts at and comes back to, the client's metadata document, health.
//!
//! Plain HTML that works on a phone, with no script and nothing fetched from elsewhere; every text is escaped, nothing is
//! cached, nobody may frame it. Strangers reach this: each connection is bounded in time and size, and their number too.

mod connections;
mod pages;
mod routes;

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::oauth::OAuth;

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub struct Web {
    listener: tokio::net::TcpListener,
}

impl Web {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        Ok(Self { listener })
    }

    /// The address that it listens at; the port that was given where none was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is told to stop: `/oauth/start/<nonce>`, `/oauth/callback`, `/oauth/client.json`, `/healthz`, each
    /// also below the path of the public URL.
    pub async fn serve(self, oauth: OAuth, stop: CancellationToken) -> std::io::Result<()> {
        connections::serve(self.listener, routes::routes(oauth), stop).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
