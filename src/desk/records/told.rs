//! What a thread was told, so that it is not told again and again.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::chat::MessageId;
use crate::config::ServerName;
use crate::registry::{ServerState, Snapshot};

/// What was said about edited commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::desk) struct ToldEdited {
    /// When it was said that they do not run, in milliseconds since the epoch.
    #[serde(default)]
    pub(in crate::desk) at_ms: Option<i64>,
    /// The messages whose secrets were seen to.
    #[serde(default)]
    pub(in crate::desk) warned: Vec<MessageId>,
}

/// The message that tells of changes of the operator's policy, while more of them may follow.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::desk) struct ToldPolicy {
    /// The message.
    pub(in crate::desk) message: MessageId,
    /// The servers that stopped, with why.
    pub(in crate::desk) stopped: Vec<(ServerName, String)>,
    /// Those that start anew.
    pub(in crate::desk) anew: Vec<ServerName>,
    /// Something came that the message does not say yet.
    pub(in crate::desk) is_behind: bool,
    /// When it said all there was.
    pub(in crate::desk) since: Instant,
}

impl ToldPolicy {
    /// One more change: for each server the last one counts.
    pub(in crate::desk) fn merge(
        &mut self,
        stopped: Vec<(ServerName, String)>,
        anew: Vec<ServerName>,
    ) {
        let is_new = |name: &ServerName| {
            anew.contains(name) || stopped.iter().any(|(other, _)| other == name)
        };
        self.stopped.retain(|(name, _)| !is_new(name));
        self.anew.retain(|name| !is_new(name));
        self.stopped.extend(stopped);
        self.anew.extend(anew);
        self.is_behind = true;
    }

    /// Takes up what became of the servers: one that was to start anew may have met yet another policy on its way. Whether
    /// any is on its way still.
    pub(in crate::desk) fn settle(&mut self, snapshot: &Snapshot) -> bool {
        let state = |name: &ServerName| snapshot.server(name.as_str()).map(|server| &server.state);
        let failed =
            |name: &mut ServerName| matches!(state(name), Some(ServerState::Failed { .. }));
        let runs = |(name, _): &mut (ServerName, String)| {
            matches!(state(name), Some(ServerState::Ready { .. }))
        };
        let failed: Vec<ServerName> = self.anew.extract_if(.., failed).collect();
        let up: Vec<_> = self.stopped.extract_if(.., runs).collect();
        self.is_behind |= !failed.is_empty() || !up.is_empty();
        for name in failed {
            if let Some(ServerState::Failed { reason }) = state(&name) {
                self.stopped.push((name, reason.clone()));
            }
        }
        self.anew.extend(up.into_iter().map(|(name, _)| name));
        let is_under_way =
            |name: &ServerName| matches!(state(name), Some(ServerState::Starting { .. }));
        self.anew.iter().any(is_under_way)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::{ServerKind, ServerView, Stats};

    #[test]
    fn of_each_server_the_last_is_told() {
        let name = |name: &str| ServerName::new(name).unwrap();
        let mut told = ToldPolicy {
            message: MessageId(1),
            stopped: vec![(name("a"), "No.".to_owned()), (name("b"), "No.".to_owned())],
            anew: vec![name("c")],
            is_behind: false,
            since: Instant::now(),
        };
        told.merge(vec![(name("c"), "Why.".to_owned())], vec![name("a")]);
        told.merge(vec![(name("b"), "Other.".to_owned())], vec![name("a")]);
        assert_eq!(
            told.stopped,
            [
                (name("c"), "Why.".to_owned()),
                (name("b"), "Other.".to_owned())
            ]
        );
        assert_eq!(told.anew, [name("a")]);
        assert!(told.is_behind);
    }

    #[test]
    fn what_became_of_a_server_is_what_is_told() {
        let name = |name: &str| ServerName::new(name).unwrap();
        let server = |of: &str, state: ServerState| ServerView {
            name: name(of),
            kind: ServerKind::Local,
            is_admin: false,
            state,
            tools: Arc::default(),
            refused: Arc::default(),
            stats: Stats::default(),
            ended: None,
        };
        let failed = ServerState::Failed {
            reason: "Not allowed.".to_owned(),
        };
        let ready = ServerState::Ready {
            since: Instant::now(),
            protocol: String::new(),
            server_info: String::new(),
        };
        let starting = ServerState::Starting {
            since: Instant::now(),
            doing: None,
        };
        let mut told = ToldPolicy {
            message: MessageId(1),
            stopped: vec![(name("b"), "No.".to_owned())],
            anew: vec![name("a"), name("c")],
            is_behind: false,
            since: Instant::now(),
        };
        let mut snapshot = Snapshot {
            servers: vec![
                server("a", failed),
                server("b", ready),
                server("c", starting),
            ],
            ..Snapshot::default()
        };
        assert!(told.settle(&snapshot), "one is on its way");
        assert!(told.is_behind);
        assert_eq!(told.stopped, [(name("a"), "Not allowed.".to_owned())]);
        assert_eq!(told.anew, [name("c"), name("b")]);
        told.is_behind = false;
        snapshot.servers.pop();
        assert!(!told.settle(&snapshot));
        assert!(!told.is_behind, "nothing is new");
    }
}
