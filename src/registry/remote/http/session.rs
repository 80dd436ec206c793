//! The session at a server, and its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use http::header::HeaderMap;
use rmcp::transport::common::http_header::HEADER_SESSION_ID;

use super::super::{Ask, Wire};
use super::set;

/// The end of a session is told for this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// The session that the server gave us last, if it is not ended.
#[derive(Debug, Clone, Default)]
pub(in crate::registry::remote) struct Session(Arc<Mutex<Option<String>>>);

impl Session {
    /// Tells the server that it is over, where rmcp did not.
    pub(in crate::registry::remote) async fn end(&self, wire: &Wire) {
        if let Some(session) = self.take() {
            farewell(wire, &session, HeaderMap::new()).await;
        }
    }

    /// Whether there is one.
    pub(in crate::registry::remote) fn is_open(&self) -> bool {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        session.is_some()
    }

    /// The server began one.
    pub(super) fn begun(&self, session: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.to_owned());
    }

    /// Whoever takes it tells the server.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Tells the server that a session is over.
pub(super) async fn farewell(wire: &Wire, session: &str, mut headers: HeaderMap) {
    set(&mut headers, HEADER_SESSION_ID, Some(session));
    // A server that does not take it forgets the session by itself.
    let _ = wire
        .send(Ask {
            method: Method::DELETE,
            url: None,
            headers,
            body: Vec::new(),
            what: "session",
            limit: FAREWELL,
            harmless: false,
            farewell: true,
        })
        .await;
}
