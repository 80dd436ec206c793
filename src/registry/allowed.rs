//! Whether the operator allows what a definition would run or reach: asked before it is proposed, before it starts, and
//! again of everything that runs when the policy changes.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::context::Context;
use super::handle::{Handle, Launched, Launches, Order};
use super::interpreter::interpreters;
use super::launch::find_program;
use super::local::{Terms, has_word, look_within};
use super::thread::Thread;
use super::trouble::{Mend, Trouble};
use super::{Notice, ServerState, Stage};
use crate::config::{Definition, RemoteServer, StdioServer};
use crate::demo;
use crate::policy::{Denied, HostPolicy, Launcher};
use crate::thread::ThreadId;

/// The file that was found for a command, and where its interpreter is looked up: its folder and its `PATH`.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) program: &'a Path,
    pub(super) cwd: &'a Path,
    pub(super) path: &'a str,
}

/// Whether a local server may run, by the names of its variables, its command, and the file that is found for it with what
/// runs that. Blocks where something was found.
pub(super) fn local(
    policy: &HostPolicy,
    thread: ThreadId,
    server: &StdioServer,
    found: Option<Found<'_>>,
) -> Result<(), Denied> {
    policy.may_set(server.env.iter().map(|(name, _)| name.as_str()))?;
    if demo::is_demo(&server.command, &server.args) {
        return Ok(());
    }
    // What cannot be followed to its end is judged by the name that it has.
    let program = found.map(|found| found.program);
    let real = program.map(|found| found.canonicalize().unwrap_or_else(|_| found.to_owned()));
    let runners = found
        .as_ref()
        .map(|found| interpreters(found.program, found.cwd, found.path));
    let launcher = Launcher {
        command: &server.command,
        found: program.zip(real.as_deref()),
        runners: runners.as_deref().unwrap_or_default(),
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
            let found = found.as_deref().map(|program| Found {
                program,
                cwd: &cwd,
                path,
            });
            local(policy, thread, server, found)
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
    let [judged] = judged(context, [policy], thread, definition).await;
    judged
}

/// The same under several policies, with one look.
async fn judged<const N: usize>(
    context: &Arc<Context>,
    policies: [Arc<HostPolicy>; N],
    thread: ThreadId,
    definition: &Definition,
) -> [Result<(), Denied>; N] {
    let (own, wanted, rules) = (context.clone(), definition.clone(), policies.clone());
    let look = move || rules.map(|policy| judge(&own, &policy, thread, &wanted));
    match look_within(&context.looks, look).await {
        Some(judged) => judged,
        None => policies.map(|policy| match definition {
            Definition::Local(server) => local(&policy, thread, server, None),
            Definition::Remote(server) => remote(&policy, server),
        }),
    }
}

/// Another policy holds: a server that it has launched in another way than it was is launched anew, one that it refuses
/// stops with the reason, and one that it refuses no more is tried again. One that sleeps is judged when it wakes, unless
/// it is refused. What still runs while its changed entry opens is judged as what it is, not as what it will be.
pub(super) async fn again(thread: Arc<Thread>) {
    let now = thread.context.outside.policy.now();
    let (mut stopped, mut anew) = (Vec::new(), Vec::new());
    for (handle, definition, state) in thread.definitions() {
        if state == ServerState::Disabled {
            continue;
        }
        let Launches { newest, running } = handle.launches();
        let others = [running, newest.clone()].into_iter().flatten();
        let others = others.filter(|launched| *launched.definition != definition);
        if state != ServerState::Asleep && any_otherwise(&thread, others, &now).await {
            handle.order(Order::Relaunch);
            anew.push(handle.name.clone());
            continue;
        }
        let then = newest.map(|newest| newest.policy);
        // One that starts reads the policy and says so in one step: it is this one, or is compared with it.
        if then.as_ref().is_some_and(|then| Arc::ptr_eq(then, &now)) {
            continue;
        }
        let then = then.unwrap_or_else(|| now.clone());
        let policies = [then, now.clone()];
        let word = word(&thread, &handle, &definition, &policies).await;
        let [was, is] = standings(&thread, &definition, policies, word).await;
        if state == ServerState::Asleep {
            if is.is_err() {
                // Its start is refused with the reason. Nobody waits.
                handle.order(Order::Restart(oneshot::channel().0));
            }
        } else if was != is {
            handle.order(Order::Relaunch);
        }
        match is {
            Err(trouble) if was.is_ok() || state == ServerState::Asleep => {
                let why = trouble.in_words(|text| handle.mask(text));
                stopped.push((handle.name.clone(), why));
            }
            Ok(_) if was != is && state != ServerState::Asleep => {
                anew.push(handle.name.clone());
            }
            _ => {}
        }
    }
    if !(stopped.is_empty() && anew.is_empty()) {
        thread.context.tell(Notice::Judged {
            thread: thread.id,
            stopped,
            anew,
        });
    }
}

/// Whether a policy has one of these launched otherwise. Its entry is not the server's any more, and whether it had an
/// operator's word may be forgotten: it is judged with and without.
async fn any_otherwise(
    thread: &Thread,
    all: impl Iterator<Item = Launched> + Send,
    now: &Arc<HostPolicy>,
) -> bool {
    for launched in all {
        if Arc::ptr_eq(&launched.policy, now) {
            continue;
        }
        for word in [false, true] {
            let policies = [launched.policy.clone(), now.clone()];
            let [was, is] = standings(thread, &launched.definition, policies, word).await;
            if was != is {
                return true;
            }
        }
    }
    false
}

/// Whether an entry has an operator's word, where one of two policies asks for it.
async fn word(
    thread: &Thread,
    handle: &Handle,
    definition: &Definition,
    policies: &[Arc<HostPolicy>; 2],
) -> bool {
    let Definition::Local(server) = definition else {
        return false;
    };
    let policies = policies.each_ref().map(|policy| &**policy);
    let whose = (&handle.name, handle.is_admin);
    has_word(&thread.context, &policies, thread.id, whose, server).await
}

/// How a server is launched under each of two policies, or why it is not; a remote one has no terms.
async fn standings(
    thread: &Thread,
    definition: &Definition,
    policies: [Arc<HostPolicy>; 2],
    word: bool,
) -> [Result<Option<Terms>, Trouble>; 2] {
    let context = &thread.context;
    let judged = judged(context, policies.clone(), thread.id, definition).await;
    let Definition::Local(server) = definition else {
        return judged.map(|judged| match judged {
            Ok(()) => Ok(None),
            Err(denied) => Err(trouble(Stage::Address, &denied)),
        });
    };
    let mut judged = judged.into_iter();
    policies.each_ref().map(|policy| match judged.next() {
        Some(Err(denied)) => Err(trouble(Stage::Command, &denied)),
        _ => Terms::of(context, policy, thread.id, server, word).map(|(terms, _)| Some(terms)),
    })
}
