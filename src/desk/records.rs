//! What waits for a person: proposals, guided flows, and messages to be edited when tools appear.
//!
//! Records, not suspended tasks: they are kept on disk after each change, so a restart of the bot loses none of them.
//! Bounded and with a lifetime: what is older than 15 minutes is no longer acted on.

mod change;
mod connecting;
mod flow;
mod login;
mod secret;
mod told;
mod tools;

use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::config::{CredentialId, Revision, SecretName, ServerName};

pub(super) use change::{Connects, HostChange, Proposal, Wait};
pub(super) use connecting::{AuthKind, ConnectFlow, ConnectStep, Found, Handoff, Offer, Wants};
pub(super) use flow::{AddFlow, AddStep, CallFlow, EditField, EditFlow, Flow, FlowKind};
pub(super) use login::{Grant, Login, LoginWish};
pub(super) use secret::SecretFlow;
pub(super) use told::{ToldEdited, ToldPolicy};
pub(super) use tools::{AskedCall, ToldChanged, Unsaying};

/// How long a proposal or a flow can be acted on, in milliseconds.
pub(super) const LIFETIME_MS: i64 = 15 * 60 * 1000;

/// How many of each a thread keeps; the oldest go first.
const MOST: usize = 32;

/// Whether something of then is at most so old. One from the future is as old as it is early: the clock was set back, and
/// nobody knows for how long it has waited.
fn is_within(now_ms: i64, at_ms: i64, most_ms: i64) -> bool {
    now_ms.saturating_sub(at_ms).saturating_abs() <= most_ms
}

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
    /// Logins at remote servers that are under way.
    #[serde(default)]
    pub(super) logins: Vec<Login>,
    /// What servers said when they wanted a login, for the button that begins one.
    #[serde(default)]
    pub(super) grants: Vec<Grant>,
    /// Remote servers that somebody pasted, for the buttons that connect them.
    #[serde(default)]
    pub(super) offers: Vec<Offer>,
    /// What nothing may need any more: forgotten as soon as no file mentions it.
    #[serde(default)]
    pub(super) forget: Vec<Forget>,
    /// The same, but not before some time has passed.
    #[serde(default)]
    pub(super) later: Vec<Later>,
    /// Calls that wait for somebody's permission.
    #[serde(default)]
    pub(super) calls: Vec<AskedCall>,
    /// Decisions about tools that can be taken back.
    #[serde(default)]
    pub(super) unsaying: Vec<Unsaying>,
    /// Changed tools that the thread was told of.
    #[serde(default)]
    pub(super) told_changed: Vec<ToldChanged>,
    /// What was said about edited commands.
    #[serde(default)]
    pub(super) told_edited: ToldEdited,
    /// The open message about changes of the operator's policy. Not kept: what it says is over in a moment.
    #[serde(skip)]
    pub(super) told_policy: Option<ToldPolicy>,
}

/// Something outside the files that an entry had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Forget {
    /// A secret.
    Secret(SecretName),
    /// A login.
    Credential(CredentialId),
    /// The agreement to it.
    Approval(ServerName),
}

/// Something to be forgotten unless a file mentions it by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Later {
    /// What.
    pub(super) what: Forget,
    /// When, in milliseconds since the epoch.
    pub(super) at_ms: i64,
}

impl Records {
    /// Drops what is too old to be acted on or too much to keep.
    pub(super) fn tidy(&mut self, now_ms: i64) {
        let fresh = |at_ms: i64| is_within(now_ms, at_ms, LIFETIME_MS);
        self.flows.retain(|flow| fresh(flow.at_ms));
        self.waits.retain(|wait| fresh(wait.at_ms));
        self.grants.retain(|grant| fresh(grant.at_ms));
        self.offers.retain(|offer| fresh(offer.at_ms));
        self.unsaying.retain(|said| fresh(said.at_ms));
        // Like proposals, so that a late press is told why it does nothing.
        self.calls
            .retain(|call| now_ms.saturating_sub(call.at_ms) <= 4 * LIFETIME_MS);
        // The oauth room tells when one is over; this is for one that it never told of.
        self.logins
            .retain(|login| now_ms.saturating_sub(login.at_ms) <= 2 * LIFETIME_MS);
        // Proposals stay four times as long, so that a late Apply is told why it does nothing.
        self.proposals
            .retain(|proposal| now_ms.saturating_sub(proposal.at_ms) <= 4 * LIFETIME_MS);
        // What cannot be applied any more needs no secret.
        for proposal in &mut self.proposals {
            if !proposal.is_open(now_ms) {
                proposal.secrets.clear();
                proposal.shares.clear();
            }
        }
        let due = self.later.extract_if(.., |later| later.at_ms <= now_ms);
        for later in due.collect::<Vec<_>>() {
            self.note_to_forget(later.what);
        }
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
        keep_newest(&mut self.logins);
        keep_newest(&mut self.grants);
        keep_newest(&mut self.offers);
        keep_newest(&mut self.calls);
        keep_newest(&mut self.unsaying);
        keep_newest(&mut self.told_changed);
    }

    /// The secrets that were stored for something that is not decided yet.
    fn held(&self) -> Vec<&SecretName> {
        let flows = self.flows.iter().flat_map(|flow| match &flow.kind {
            FlowKind::Connect(connect) => connect.secrets.as_slice(),
            FlowKind::Edit(edit) => edit.secrets.as_slice(),
            FlowKind::Add(add) => add.secrets.as_slice(),
            FlowKind::Rename { .. }
            | FlowKind::Json { .. }
            | FlowKind::Upload
            | FlowKind::Call(_)
            | FlowKind::Handoff(_)
            | FlowKind::Secret(_)
            | FlowKind::Forget { .. } => &[],
        });
        let proposals = self
            .proposals
            .iter()
            .filter(|proposal| !proposal.secrets.is_empty());
        flows
            .chain(proposals.flat_map(|proposal| &proposal.secrets))
            .collect()
    }

    /// Whether any secret was stored for something that is not decided yet.
    pub(super) fn holds_any(&self) -> bool {
        !self.held().is_empty() || !self.shared().is_empty()
    }

    /// Whether something that is not decided yet needs it: what was stored for that, or is named by it, too.
    pub(super) fn needs(&self, secret: &SecretName) -> bool {
        self.holds(secret) || self.shared().contains(secret)
    }

    /// The secrets that something undecided names.
    pub(super) fn shared(&self) -> Vec<SecretName> {
        let flows = self.flows.iter().flat_map(|flow| flow.kind.names());
        let proposals = self.proposals.iter();
        let proposals = proposals.flat_map(|proposal| proposal.shares.iter().cloned());
        flows.chain(proposals).collect()
    }

    /// Whether a secret was stored for something that is not decided yet.
    pub(super) fn holds(&self, secret: &SecretName) -> bool {
        self.held().contains(&secret)
    }

    /// What was held before and is not any more is to be forgotten, unless a file came to mention it.
    pub(super) fn let_go_since(&mut self, before: &Self) {
        let gone: Vec<SecretName> = before
            .held()
            .into_iter()
            .cloned()
            .chain(before.shared())
            .filter(|secret| !self.needs(secret))
            .collect();
        for secret in gone {
            self.note_to_forget(Forget::Secret(secret));
        }
    }

    /// Something that nothing may need any more.
    pub(super) fn note_to_forget(&mut self, what: Forget) {
        if !self.forget.contains(&what) {
            self.forget.push(what);
        }
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
            && self.logins.is_empty()
            && self.grants.is_empty()
            && self.offers.is_empty()
            && self.forget.is_empty()
            && self.later.is_empty()
            && self.calls.is_empty()
            && self.unsaying.is_empty()
            && self.told_changed.is_empty()
            && self.told_edited == ToldEdited::default()
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

    /// The login with that id of ours.
    pub(super) fn login(&self, id: &str) -> Option<&Login> {
        self.logins.iter().find(|login| login.id == id)
    }

    /// Takes the login that satisfies `is`.
    pub(super) fn take_login(&mut self, is: impl Fn(&Login) -> bool) -> Option<Login> {
        let place = self.logins.iter().position(is)?;
        Some(self.logins.remove(place))
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

fn keep_newest<T>(records: &mut Vec<T>) {
    let surplus = records.len().saturating_sub(MOST);
    records.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::chat::MessageId;
    use crate::config::Edit;

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
            about: Vec::new(),
            secrets: Vec::new(),
            shares: Vec::new(),
            connects: None,
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
            ..Records::default()
        };
        let text = serde_json::to_value(&records).unwrap();
        assert_eq!(serde_json::from_value::<Records>(text).unwrap(), records);
    }

    #[test]
    fn a_secret_that_nothing_holds_any_more_is_to_be_forgotten() {
        let secret = SecretName::new("HUB_TOKEN").unwrap();
        let flow = |kind| Flow {
            id: "f".into(),
            by: proposal(1, 0).by,
            message: None,
            kind,
            at_ms: 0,
        };
        let asking = Records {
            flows: vec![flow(FlowKind::Connect(Box::new(ConnectFlow {
                secrets: vec![secret.clone()],
                ..ConnectFlow::default()
            })))],
            ..Records::default()
        };
        let proposed = || Records {
            proposals: vec![Proposal {
                secrets: vec![secret.clone()],
                ..proposal(1, 0)
            }],
            ..Records::default()
        };
        let mut next = proposed();
        next.let_go_since(&asking);
        assert_eq!(next.forget, [], "the proposal holds it now");
        let mut expired = proposed();
        expired.tidy(LIFETIME_MS + 1);
        expired.let_go_since(&proposed());
        assert_eq!(expired.forget, [Forget::Secret(secret)]);
    }
}
