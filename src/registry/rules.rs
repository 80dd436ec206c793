//! Which of a server's tools may be used: what the thread decided, seen from here.

use std::sync::Arc;

use super::Tool;
use super::context::Context;
use crate::config::{Definition, ServerName};
use crate::thread::ThreadId;

pub use crate::policy::Ruling;

/// Where rulings come from; the store and the policy, seen from here.
pub trait ToolRules: Send + Sync + std::fmt::Debug {
    /// A ruling for each tool of a server with this definition, in their order. Asked when a server's tools are listed or
    /// taken from the cache, and when [`super::Registry::rule_again`] says that something was decided. What was never seen
    /// is pinned by this. Blocks.
    fn rule(
        &self,
        thread: ThreadId,
        server: &ServerName,
        definition: &Definition,
        tools: &[Tool],
    ) -> Vec<Ruling>;
}

/// Everything is on: for one room's tests, and for the benches.
#[derive(Debug, Clone, Copy)]
pub struct NoRules;

impl ToolRules for NoRules {
    fn rule(&self, _: ThreadId, _: &ServerName, _: &Definition, tools: &[Tool]) -> Vec<Ruling> {
        vec![Ruling::On; tools.len()]
    }
}

/// A server's tools with what holds for them. Blocks. Where nothing else holds than before they are the same.
pub(super) fn ruled(
    rules: &dyn ToolRules,
    thread: ThreadId,
    server: &ServerName,
    definition: &Definition,
    tools: &Arc<[Tool]>,
) -> Arc<[Tool]> {
    if tools.is_empty() {
        return tools.clone();
    }
    let rulings = rules.rule(thread, server, definition, tools);
    with(tools, |place| {
        rulings.get(place).copied().unwrap_or(Ruling::Unknown)
    })
}

/// The same off the tasks' threads. Where it cannot be told what holds, nothing is on.
pub(super) async fn ruled_aside(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &ServerName,
    definition: &Definition,
    tools: &Arc<[Tool]>,
) -> Arc<[Tool]> {
    let rules = context.outside.rules.clone();
    let (server, definition, listed) = (server.clone(), definition.clone(), tools.clone());
    let asked = tokio::task::spawn_blocking(move || {
        ruled(rules.as_ref(), thread, &server, &definition, &listed)
    });
    asked
        .await
        .unwrap_or_else(|_| with(tools, |_| Ruling::Unknown))
}

fn with(tools: &Arc<[Tool]>, ruling: impl Fn(usize) -> Ruling) -> Arc<[Tool]> {
    let is_as_before = |(place, tool): (usize, &Tool)| tool.ruling == ruling(place);
    if tools.iter().enumerate().all(is_as_before) {
        return tools.clone();
    }
    let mut ruled = tools.to_vec();
    for (place, tool) in ruled.iter_mut().enumerate() {
        tool.ruling = ruling(place);
    }
    ruled.into()
}
