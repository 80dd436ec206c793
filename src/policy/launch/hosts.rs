//! Which hosts remote servers may be at.

use super::super::glob::matches;
use super::super::{HostPolicy, Patterns};
use super::Denied;

impl HostPolicy {
    /// Whether a remote server may be at this host (`mcp.example.com`, without port).
    pub fn may_reach(&self, host: &str) -> Result<(), Denied> {
        // `example.com.` is the same place.
        let host = host.trim_end_matches('.');
        if self.remote_hosts.lets(host) {
            Ok(())
        } else {
            Err(Denied::Host {
                host: host.to_owned(),
                denied: self.remote_hosts.denies(host),
            })
        }
    }
}

impl Patterns {
    fn lets(&self, text: &str) -> bool {
        let is_allowed = || self.allow.iter().any(|pattern| matches(pattern, text));
        !self.denies(text) && (self.allow.is_empty() || is_allowed())
    }

    fn denies(&self, text: &str) -> bool {
        self.deny.iter().any(|pattern| matches(pattern, text))
    }
}
