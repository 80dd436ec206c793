//! (b) What a call costs beyond a bare rmcp client that calls the same server.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use rmcp::model::{CallToolRequestParams, CallToolResponse};
use rmcp::service::{Peer, RoleClient};
use serde_json::{Map, Value};
use switchboard::registry::{CallRequest, Registry};
use switchboard::thread::ThreadId;

use crate::Plan;
use crate::floor::Bare;
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};
use crate::world::{World, thread};

/// Calls of one round, one after another.
const IN_TURN: usize = 200;
/// Calls of one round and of each of the callers that call at a time.
const EACH: usize = 100;
const CALLERS: usize = 16;

/// One at a time and 16 at a time, the bot and the bare client by turns.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let world = World::start(&plan.binary)?;
    let rows = measure(plan, &world).await;
    world.stop().await;
    rows
}

async fn measure(plan: &Plan, world: &World) -> Result<Vec<Row>> {
    let command = plan.fast.command("tool");
    let thread = thread(1);
    world
        .load(thread, &[("fast".to_owned(), command.clone())])
        .await?;
    let bare = Bare::start_apart(&command).await?;
    let callers = [
        Caller::bare(bare.service.peer(), &TOOL),
        Caller::bot(&world.registry, thread, &TOOL),
    ];
    let [[bare_took, took], [bare_rate, rate]] = compare(plan, &callers).await?;
    bare.stop().await;
    Ok(vec![
        Row::new("a call, 1 at a time", Unit::Seconds, took)
            .floor(bare_took.median())
            .limit(Limit::MoreOr {
                more: 0.000_010,
                floors: 1.26,
            }),
        Row::new("calls, 16 at a time", Unit::PerSecond, rate)
            .floor(bare_rate.median())
            .limit(Limit::LeastFloors(0.85)),
    ])
}

/// The times of single calls and the rates of many at a time, of both callers by turns.
pub(crate) async fn compare(plan: &Plan, callers: &[Caller; 2]) -> Result<[[Samples; 2]; 2]> {
    let mut took = [const { Samples::new() }; 2];
    let mut rates = took.clone();
    for caller in callers {
        in_turn(caller, &mut Samples::new()).await?;
    }
    for round in 0..plan.rounds(50) {
        for place in 0..2 {
            let which = (round + place) % 2;
            in_turn(&callers[which], &mut took[which]).await?;
        }
        for place in 0..2 {
            let which = (round + place) % 2;
            rates[which].add_value(at_a_time(&callers[which]).await?);
        }
    }
    Ok([took, rates])
}

async fn in_turn(caller: &Caller, took: &mut Samples) -> Result<()> {
    for _ in 0..IN_TURN {
        let began = Instant::now();
        caller.call().await?;
        took.add(began.elapsed());
    }
    Ok(())
}

async fn at_a_time(caller: &Caller) -> Result<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    caller.call().await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok((CALLERS * EACH) as f64 / began.elapsed().as_secs_f64())
}

/// What is called, and with which argument.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) tool: &'static str,
    pub(crate) argument: &'static str,
}

const TOOL: Called = Called {
    tool: "tool_0",
    argument: "text",
};

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    who: Who,
    called: &'static Called,
}

#[derive(Debug, Clone)]
enum Who {
    Bare(Peer<RoleClient>),
    Bot(Registry, ThreadId),
}

impl Caller {
    pub(crate) fn bare(peer: &Peer<RoleClient>, called: &'static Called) -> Self {
        Self {
            who: Who::Bare(peer.clone()),
            called,
        }
    }

    /// The bot, at the server `fast` of the thread.
    pub(crate) fn bot(registry: &Registry, thread: ThreadId, called: &'static Called) -> Self {
        Self {
            who: Who::Bot(registry.clone(), thread),
            called,
        }
    }

    async fn call(&self) -> Result<()> {
        let mut arguments = Map::new();
        arguments.insert(self.called.argument.to_owned(), Value::from("hello"));
        match &self.who {
            Who::Bare(peer) => {
                let params = CallToolRequestParams::new(self.called.tool).with_arguments(arguments);
                match peer.call_tool_once(params).await? {
                    CallToolResponse::Complete(result) => {
                        ensure!(result.content.len() == 1, "no text came");
                    }
                    other => return Err(anyhow!("not a result: {other:?}")),
                }
            }
            Who::Bot(registry, thread) => {
                let request = CallRequest {
                    thread: *thread,
                    server: "fast".to_owned(),
                    tool: self.called.tool.to_owned(),
                    arguments,
                    progress: None,
                    waited: Duration::ZERO,
                };
                let outcome = registry.call(request).await?;
                ensure!(
                    outcome.content.len() == 1 && !outcome.is_error,
                    "no text came"
                );
            }
        }
        Ok(())
    }
}
