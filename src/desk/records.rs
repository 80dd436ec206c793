//! What waits for a person: proposals, guided flows, and messages to be edited when tools appear.
//!
//! Records, not suspended tasks: they are kept on disk after each change, so a restart of the bot loses none of them.
//! Bounded and with a lifetime: what is older than 15 minutes is no longer acted on.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::{Actor, ActorId};
use crate::chat::MessageId;
use crate::config::{Edit, FileKind, Revision};

/// How long a proposal or a flow can be acted on, in milliseconds.
pub(super) const LIFETIME_MS: i64 = 15 * 60 * 1000;

/// How many of each a thread keeps; the oldest go first.
const MOST: usize = 32;

/// A thread's records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Records {
    /// Changes that wait for Apply.
    #[serde(default)]
    pub(super) proposals: Vec<Proposal>,
    /// Guided flows, at most one a person.
    #[serde(default)]
    pub(super) flows: Vec<Flow>,
    /// Messages that will be edited when a revision's servers have settled.
    #[serde(default)]
    pub(super) waits: Vec<Wait>,
    /// The thread was told that a file on disk is broken, and not yet that it is sound again.
    #[serde(default)]
    pub(super) told_broken: bool,
}

/// A change that waits for Apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Proposal {
    /// Random, unguessable; in the buttons.
    pub(super) id: String,
    /// Who began, and alone may apply.
    pub(super) by: Actor,
    /// The message with the buttons.
    pub(super) message: Option<MessageId>,
    /// The revision that the shown diff is against.
    pub(super) base: Revision,
    /// What it does in a few words: `add github`.
    pub(super) title: String,
    /// The edit.
    pub(super) edit: Edit,
    /// It came as a whole file, so it can also replace everything.
    #[serde(default)]
    pub(super) can_replace: bool,
    /// It replaces everything: what it does not name goes.
    #[serde(default)]
    pub(super) replaces: bool,
    /// What was changed while reading, and remote entries with their connect lines.
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// The history entry that it turns round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undoes: Option<String>,
    /// It replaces a broken file by the last good configuration.
    #[serde(default)]
    pub(super) repairs: bool,
    /// When it was shown, in milliseconds since the epoch.
    pub(super) at_ms: i64,
}

/// A guided flow of one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Flow {
    /// Random; in the buttons.
    pub(super) id: String,
    /// Whose answers count.
    pub(super) by: Actor,
    /// The message that asks.
    pub(super) message: Option<MessageId>,
    /// What has been answered so far.
    pub(super) kind: FlowKind,
    /// When it was last acted on.
    pub(super) at_ms: i64,
}

/// The guided flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "flow")]
pub(super) enum FlowKind {
    /// `/mcp add`.
    Add(AddFlow),
    /// `/mcp edit NAME`.
    Edit(EditFlow),
    /// The new name of a server.
    Rename {
        /// Its name now.
        server: String,
    },
    /// JSON to paste.
    Json {
        /// The name for a bare server.
        name: Option<String>,
    },
    /// A file to send.
    Upload,
    /// Arguments of a call, one a step.
    Call(CallFlow),
}

/// The steps of the guided add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AddStep {
    /// What it is called.
    #[default]
    Name,
    /// The program and its arguments.
    Command,
    /// Its environment.
    Env,
    /// Its folder.
    Cwd,
}

/// Answers of the guided add.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AddFlow {
    /// The question that is open.
    pub(super) step: AddStep,
    /// The name, once given.
    pub(super) name: String,
    /// What was changed about the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name_note: Option<String>,
    /// The program.
    pub(super) command: String,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// Its environment.
    pub(super) env: Vec<(String, String)>,
}

/// A field of a server, as the guided edit offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EditField {
    /// Program and arguments.
    Command,
    /// Environment variables, one or more a message.
    Env,
    /// Working folder.
    Cwd,
}

/// State of the guided edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EditFlow {
    /// The server.
    pub(super) server: String,
    /// The field that is asked for; the menu where `None`.
    pub(super) field: Option<EditField>,
    /// The entry with what was changed so far, for showing.
    pub(super) value: Value,
    /// The fields that were set, which are applied to the entry as it is at the end.
    #[serde(default)]
    pub(super) set: Vec<(String, String)>,
}

/// State of a call that asks for its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CallFlow {
    /// The server.
    pub(super) server: String,
    /// The tool, as the server calls it.
    pub(super) tool: String,
    /// Arguments given so far.
    pub(super) arguments: Map<String, Value>,
    /// Arguments still to ask for, first one first.
    pub(super) missing: Vec<String>,
}

/// A message that will be edited when a revision's servers have settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wait {
    /// The revision that was written.
    pub(super) revision: Revision,
    /// The message.
    pub(super) message: MessageId,
    /// What was done: `add github`.
    pub(super) title: String,
    /// The servers that it touched, whose states are told.
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// The history entry, for Undo.
    pub(super) entry: Option<String>,
    /// What was shown of a change that was made on the host; it stays in the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<HostChange>,
    /// When it was written.
    pub(super) at_ms: i64,
    /// When this process made it; `None` from before a restart, which is reported at the first chance.
    #[serde(skip)]
    pub(super) since: Option<Instant>,
}

/// A change that was made on the bot's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HostChange {
    /// The files.
    pub(super) files: Vec<FileKind>,
    /// The masked difference.
    pub(super) diff: String,
    /// Who did it from a shell; `None` where somebody edited the file.
    #[serde(default)]
    pub(super) by: Option<String>,
}

impl Records {
    /// Drops what is too old to be acted on or too much to keep.
    pub(super) fn tidy(&mut self, now_ms: i64) {
        let fresh = |at_ms: i64| now_ms.saturating_sub(at_ms) <= LIFETIME_MS;
        self.flows.retain(|flow| fresh(flow.at_ms));
        self.waits.retain(|wait| fresh(wait.at_ms));
        // Proposals stay four times as long, so that a late Apply is told why it does nothing.
        self.proposals
            .retain(|proposal| now_ms.saturating_sub(proposal.at_ms) <= 4 * LIFETIME_MS);
        keep_newest(&mut self.proposals);
        // Calls are open to every member: their flows make room before anybody else's.
        while self.flows.len() > MOST {
            let call = self
                .flows
                .iter()
                .position(|flow| matches!(flow.kind, FlowKind::Call(_)));
            self.flows.remove(call.unwrap_or(0));
        }
        keep_newest(&mut self.waits);
    }

    /// How many changes of this process have not been reported yet.
    pub(super) fn open_waits(&self) -> usize {
        self.waits
            .iter()
            .filter(|wait| wait.since.is_some())
            .count()
    }

    /// Takes the waits that a settled revision ends: its own, older ones that it overtook, and those from before a
    /// restart.
    pub(super) fn take_settled(&mut self, revision: Revision) -> Vec<Wait> {
        let own = self
            .waits
            .iter()
            .rposition(|wait| wait.revision == revision);
        let mut place = 0;
        let taken = self.waits.extract_if(.., |wait| {
            let ends = wait.since.is_none() || own.is_some_and(|own| place <= own);
            place += 1;
            ends
        });
        taken.collect()
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
            && self.flows.is_empty()
            && self.waits.is_empty()
            && !self.told_broken
    }

    /// The flow that waits for this person.
    pub(super) fn flow_of(&self, actor: &ActorId) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.by.id == *actor)
    }

    /// Takes the flow that waits for this person.
    pub(super) fn take_flow_of(&mut self, actor: &ActorId) -> Option<Flow> {
        let place = self.flows.iter().position(|flow| flow.by.id == *actor)?;
        Some(self.flows.remove(place))
    }

    /// Begins a flow; the person's former one ends.
    pub(super) fn put_flow(&mut self, flow: Flow) {
        self.take_flow_of(&flow.by.id);
        self.flows.push(flow);
    }

    /// The proposal with that id.
    pub(super) fn proposal(&self, id: &str) -> Option<&Proposal> {
        self.proposals.iter().find(|proposal| proposal.id == id)
    }

    /// Takes the proposal with that id.
    pub(super) fn take_proposal(&mut self, id: &str) -> Option<Proposal> {
        let place = self
            .proposals
            .iter()
            .position(|proposal| proposal.id == id)?;
        Some(self.proposals.remove(place))
    }
}

impl Proposal {
    /// Whether it can still be applied.
    pub(super) fn is_open(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.at_ms) <= LIFETIME_MS
    }
}

fn keep_newest<T>(records: &mut Vec<T>) {
    let surplus = records.len().saturating_sub(MOST);
    records.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(id: usize, at_ms: i64) -> Proposal {
        Proposal {
            id: id.to_string(),
            by: Actor {
                id: ActorId("local".into()),
                name: "Ann".into(),
            },
            message: None,
            base: Revision::default(),
            title: "add x".into(),
            edit: Edit::default(),
            can_replace: false,
            replaces: false,
            notes: Vec::new(),
            undoes: None,
            repairs: false,
            at_ms,
        }
    }

    #[test]
    fn a_proposal_is_open_for_fifteen_minutes_and_known_for_an_hour() {
        let mut records = Records {
            proposals: vec![proposal(1, 0)],
            ..Records::default()
        };
        assert!(records.proposals[0].is_open(LIFETIME_MS));
        assert!(!records.proposals[0].is_open(LIFETIME_MS + 1));
        records.tidy(LIFETIME_MS + 1);
        assert!(records.proposal("1").is_some());
        records.tidy(4 * LIFETIME_MS + 1);
        assert!(records.is_empty());
    }

    #[test]
    fn the_oldest_records_go_first() {
        let mut records = Records {
            proposals: (0..MOST + 3).map(|id| proposal(id, 0)).collect(),
            ..Records::default()
        };
        records.tidy(0);
        assert_eq!(records.proposals.len(), MOST);
        assert!(records.proposal("2").is_none() && records.proposal("3").is_some());
    }

    #[test]
    fn records_come_back_from_disk_as_they_were() {
        let records = Records {
            proposals: vec![proposal(1, 5)],
            flows: vec![Flow {
                id: "f".into(),
                by: Actor {
                    id: ActorId("tg:1".into()),
                    name: "Ann".into(),
                },
                message: Some(MessageId(4)),
                kind: FlowKind::Add(AddFlow {
                    step: AddStep::Env,
                    name: "x".into(),
                    ..AddFlow::default()
                }),
                at_ms: 7,
            }],
            waits: Vec::new(),
            told_broken: false,
        };
        let text = serde_json::to_value(&records).unwrap();
        assert_eq!(serde_json::from_value::<Records>(text).unwrap(), records);
    }
}
