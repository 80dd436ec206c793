//! What the way out of a local server needs from the other rooms: the proxy, an operator's word, and a place for what was
//! reached.

use std::sync::Arc;

use crate::config::{ServerName, StdioServer};
use crate::net::egress::{Contact, Egress};
use crate::thread::ThreadId;

/// The ways out of the sandbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WaysOut {
    /// The bot's proxy.
    pub egress: Egress,
    /// The store, seen from here.
    pub book: Arc<dyn NetworkBook>,
}

/// What is kept about local servers and the network. Both may read and write files.
pub trait NetworkBook: Send + Sync + std::fmt::Debug {
    /// Whether an operator gave their word for exactly this entry.
    fn has_word(&self, thread: ThreadId, name: &ServerName, server: &StdioServer) -> bool;
    /// What a server reached, or wanted to, since the last time, and how often each.
    fn contacted(
        &self,
        thread: ThreadId,
        name: &ServerName,
        server: &StdioServer,
        news: Vec<(Contact, u64)>,
    );
}
