//! On what terms a local server is started: all that the operator's policy makes of its launch, worked out in one place.
//! The launch goes by it, and whether a newer policy asks for another launch is whether its terms differ.

use super::super::Stage;
use super::super::context::Context;
use super::super::network::WaysOut;
use super::super::trouble::{Mend, Trouble};
use super::cage::allowed;
use crate::config::{NetworkGrant, ServerName, StdioServer};
use crate::demo;
use crate::policy::{FolderGrant, HostPolicy, Less, Ways};
use crate::sandbox::{Limits, Sandbox};
use crate::thread::ThreadId;

/// What the policy makes of a launch. Two that are equal are the same launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Terms {
    /// How it is confined.
    pub(super) sandbox: Sandbox,
    /// What it gets of the network.
    pub(super) grant: NetworkGrant,
    /// The folders that it is shown besides, as they are written.
    pub(super) folders: Vec<FolderGrant>,
    /// How much it may use, in an empty home; nothing where it is not confined, since nothing would hold it to that.
    pub(super) limits: Limits,
}

impl Terms {
    /// The terms of a server under a policy, and why it gets less of the network than its entry asks for; or why it is not
    /// started at all. `word` is whether an operator gave their word for the entry.
    pub(in crate::registry) fn of(
        context: &Context,
        policy: &HostPolicy,
        thread: ThreadId,
        server: &StdioServer,
        word: bool,
    ) -> Result<(Self, Option<Less>), Trouble> {
        let is_demo = demo::is_demo(&server.command, &server.args);
        let sandbox =
            allowed(&context.outside.sandbox, policy.sandbox, is_demo).map_err(|why| {
                Trouble::new(
                    Stage::Command,
                    why,
                    "Ask whoever runs the bot.",
                    Mend::Change,
                )
            })?;
        let (grant, less) = if is_demo {
            (NetworkGrant::None, None)
        } else {
            let granted = ways(context, policy, thread).granted(&server.network, word);
            (granted.grant, granted.less)
        };
        let is_confined = sandbox.confines();
        let folders = policy.folders.iter();
        let terms = Self {
            sandbox,
            grant,
            folders: folders
                .filter(|folder| is_confined && folder.is_for(thread))
                .cloned()
                .collect(),
            limits: if is_confined {
                Limits::of(&policy.quotas)
            } else {
                Limits::default()
            },
        };
        Ok((terms, less))
    }
}

/// What can be granted to a thread's servers here under a policy.
pub(super) fn ways(context: &Context, policy: &HostPolicy, thread: ThreadId) -> Ways {
    let sandbox = &context.outside.sandbox;
    Ways {
        most: policy.network_of(thread),
        confined: sandbox.confines(),
        proxy: sandbox.takes_proxy() && context.outside.ways_out.is_some(),
    }
}

/// Whether a server needs an operator's word under any of these policies, and has it. `by_operator` is whether the operator
/// wrote the entry.
pub(in crate::registry) async fn has_word(
    context: &Context,
    policies: &[&HostPolicy],
    thread: ThreadId,
    (name, by_operator): (&ServerName, bool),
    server: &StdioServer,
) -> bool {
    let needs = |policy: &&HostPolicy| ways(context, policy, thread).needs_word(&server.network);
    if !policies.iter().any(needs) {
        return false;
    }
    if by_operator {
        return true;
    }
    let Some(WaysOut { book, .. }) = &context.outside.ways_out else {
        return false;
    };
    let (book, name, server) = (book.clone(), name.clone(), server.clone());
    let look = move || book.has_word(thread, &name, &server);
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}
