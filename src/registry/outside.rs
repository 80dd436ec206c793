//! What the registry needs of the other rooms.

use std::sync::Arc;

use super::keys::Keys;
use super::network::WaysOut;
use super::rules::{NoRules, ToolRules};
use crate::audit::{Audit, NoAudit};
use crate::config::ServerName;
use crate::net::Net;
use crate::policy::{HostPolicy, Rules};
use crate::sandbox::Sandbox;
use crate::thread::ThreadId;

/// Where tool lists are kept between processes; the store, seen from here.
pub trait ToolCache: Send + Sync + std::fmt::Debug {
    /// The tools kept for a server with this definition.
    fn get(
        &self,
        thread: ThreadId,
        server: &ServerName,
        definition: &str,
    ) -> Option<serde_json::Value>;
    /// Keeps them; `None` forgets.
    fn put(&self, thread: ThreadId, server: &ServerName, tools: Option<(&str, &serde_json::Value)>);
}

/// Nothing is kept: for one room's tests and for the benches.
#[derive(Debug, Clone, Copy)]
pub struct NoCache;

impl ToolCache for NoCache {
    fn get(&self, _: ThreadId, _: &ServerName, _: &str) -> Option<serde_json::Value> {
        None
    }

    fn put(&self, _: ThreadId, _: &ServerName, _: Option<(&str, &serde_json::Value)>) {}
}

/// The other rooms, as the registry sees them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Where tool lists are kept.
    pub cache: Arc<dyn ToolCache>,
    /// The one HTTP client.
    pub net: Net,
    /// Agreements, secrets and tokens.
    pub keys: Arc<dyn Keys>,
    /// Which tools may be used.
    pub rules: Arc<dyn ToolRules>,
    /// What happens is written down here.
    pub audit: Arc<dyn Audit>,
    /// What the operator decided.
    pub policy: Rules,
    /// How local servers are confined.
    pub sandbox: Sandbox,
    /// What of the network they can be granted; `None` where that is nothing.
    pub ways_out: Option<WaysOut>,
}

impl Outside {
    /// Without confinement, rules and audit: for one room's tests and for the benches, which measure other things.
    pub fn bare(cache: Arc<dyn ToolCache>, net: Net, keys: Arc<dyn Keys>) -> Self {
        Self {
            cache,
            net,
            keys,
            rules: Arc::new(NoRules),
            audit: Arc::new(NoAudit),
            policy: Rules::new(HostPolicy::open()),
            sandbox: Sandbox::off(),
            ways_out: None,
        }
    }
}
