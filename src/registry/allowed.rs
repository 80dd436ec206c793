//! Whether the operator allows what a definition would run or reach: asked before it is proposed, before it starts, and
//! again of everything that runs when the policy changes.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::ServerState;
use super::Stage;
use super::context::Context;
use super::handle::Order;
use super::launch::find_program;
use super::local::look_within;
use super::thread::Thread;
use super::trouble::{Mend, Trouble};
use crate::config::{Definition, RemoteServer, StdioServer};
use crate::demo;
use crate::policy::{Denied, HostPolicy, Launcher};
use crate::thread::ThreadId;

/// Whether a local server may run, by the names of its variables, its command, and the file that is found for it.
pub(super) fn local(
    policy: &HostPolicy,
    thread: ThreadId,
    server: &StdioServer,
    found: Option<&Path>,
) -> Result<(), Denied> {
    policy.may_set(server.env.iter().map(|(name, _)| name.as_str()))?;
    if demo::is_demo(&server.command, &server.args) {
        return Ok(());
    }
    // What cannot be followed to its end is judged by the name that it has.
    let real = found.map(|found| found.canonicalize().unwrap_or_else(|_| found.to_owned()));
    let launcher = Launcher {
        command: &server.command,
        found: found.zip(real.as_deref()),
    };
    policy.may_launch(thread, launcher)
}

/// Whether a remote server may be where it is.
pub(super) fn remote(policy: &HostPolicy, server: &RemoteServer) -> Result<(), Denied> {
    // An address that is none is refused elsewhere.
    match url::Url::parse(&server.url)
        .ok()
        .as_ref()
        .and_then(url::Url::host_str)
    {
        Some(host) => policy.may_reach(host),
        None => Ok(()),
    }
}

/// A refusal as the reason why a server does not run.
pub(super) fn trouble(stage: Stage, denied: &Denied) -> Trouble {
    Trouble::new(stage, denied.to_string(), denied.advice(), Mend::Change)
}

/// Whether a definition is allowed, with a look at what its command is on this machine. Blocks.
fn judge(
    context: &Context,
    policy: &HostPolicy,
    thread: ThreadId,
    definition: &Definition,
) -> Result<(), Denied> {
    match definition {
        Definition::Remote(server) => remote(policy, server),
        Definition::Local(server) => {
            let home = context.options.homes.join(thread.to_string());
            let cwd = home.join(server.cwd.as_deref().unwrap_or_default());
            let env = context.environment.for_server(&home, &server.env);
            let path = env.get("PATH").map_or("", String::as_str);
            let found = find_program(&server.command, &cwd, path).ok();
            local(policy, thread, server, found.as_deref())
        }
    }
}

/// The same for one that somebody wants. Where the file system does not answer, its names decide: it is looked at again
/// before it starts.
pub(super) async fn wanted(
    context: &Arc<Context>,
    thread: ThreadId,
    definition: &Definition,
) -> Result<(), Denied> {
    let policy = context.outside.policy.now();
    let (own, wanted) = (context.clone(), definition.clone());
    let rules = policy.clone();
    let look = move || judge(&own, &rules, thread, &wanted);
    match look_within(&context.looks, look).await {
        Some(judged) => judged,
        None => match definition {
            Definition::Local(server) => local(&policy, thread, server, None),
            Definition::Remote(server) => remote(&policy, server),
        },
    }
}

/// The policy was `before`: servers that are not allowed any more stop with the reason, and those that were refused for it
/// start.
pub(super) async fn again(thread: Arc<Thread>, before: Arc<HostPolicy>) {
    let context = thread.context.clone();
    let now = context.outside.policy.now();
    for (handle, definition, state) in thread.definitions() {
        if state == ServerState::Disabled {
            continue;
        }
        let (own, before, now, id) = (context.clone(), before.clone(), now.clone(), thread.id);
        let look = move || {
            let was = judge(&own, &before, id, &definition);
            (was, judge(&own, &now, id, &definition))
        };
        let is_stopped = matches!(state, ServerState::Failed { .. });
        let starts_anew = match look_within(&context.looks, look).await {
            Some((was, now)) => now.is_err() && !is_stopped || was.is_err() && now.is_ok(),
            None => false,
        };
        if starts_anew {
            // Nobody waits: its start is refused with the reason, or works.
            let (settled, _) = oneshot::channel();
            handle.order(Order::Restart(settled));
        }
    }
}
