//! (f) Many threads through the gate while some servers never answer: healthy threads' calls against the same calls in a
//! quiet house, and the bot's memory before and after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use switchboard::gate::{Caller, Gate, GateParts, ticks};
use switchboard::policy::{HostPolicy, Rules};
use switchboard::registry::CallRequest;
use switchboard::thread::ThreadId;

use crate::Plan;
use crate::process::resident;
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};
use crate::world::{World, thread};

const THREADS: usize = 50;
const HUNG: usize = 10;
const CALLS: usize = 20;

/// Rounds in a quiet house and rounds while ten servers hang take turns.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let world = World::start(&plan.binary)?;
    for n in 1..=THREADS {
        let prefix = if n <= HUNG { "hangs" } else { "tool" };
        let entry = ("fast".to_owned(), plan.fast.command(prefix));
        world.load(thread(n), &[entry]).await?;
    }
    let gate = Gate::new(GateParts {
        registry: world.registry.clone(),
        audit: Arc::new(world.ledger()),
        rules: Rules::new(HostPolicy::open()),
        ticks: ticks(),
    });
    let [mut quiet, mut loaded, mut grown] = [const { Samples::new() }; 3];
    round(&gate, &mut Samples::new()).await?;
    for _ in 0..plan.rounds(20) {
        round(&gate, &mut quiet).await?;
        let before = resident(std::process::id())?;
        let hung: Vec<_> = (1..=HUNG)
            .flat_map(|n| (0..CALLS).map(move |_| n))
            .map(|n| tokio::spawn(call(gate.clone(), thread(n), "hangs_0")))
            .collect();
        round(&gate, &mut loaded).await?;
        for call in hung {
            ensure!(!call.is_finished(), "a call that hangs was answered");
            call.abort();
            let _ = call.await;
        }
        grown.add_value((resident(std::process::id())? - before).max(0.0));
    }
    world.stop().await;
    let floor = quiet.p99();
    let tail = Limit::Tail {
        most: 0.0,
        floors: 2.0,
    };
    Ok(vec![
        Row::new("40 threads × 20 calls, quiet", Unit::Seconds, quiet),
        Row::new(
            "the same while 10 servers hang (p99)",
            Unit::Seconds,
            loaded,
        )
        .floor(floor)
        .limit(tail),
        Row::new("memory that a loaded round adds", Unit::Bytes, grown)
            .limit(Limit::Most(2.0 * 1024.0 * 1024.0)),
    ])
}

/// Each healthy thread makes its calls in turn; how long each took.
async fn round(gate: &Gate, took: &mut Samples) -> Result<()> {
    let tasks: Vec<_> = (HUNG + 1..=THREADS)
        .map(|n| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(CALLS);
                for _ in 0..CALLS {
                    times.push(call(gate.clone(), thread(n), "tool_0").await?);
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    for task in tasks {
        for time in task.await?? {
            took.add(time);
        }
    }
    Ok(())
}

async fn call(gate: Gate, thread: ThreadId, tool: &'static str) -> Result<Duration> {
    let mut arguments = Map::new();
    arguments.insert("text".to_owned(), Value::from("hello"));
    let request = CallRequest {
        thread,
        server: "fast".to_owned(),
        tool: tool.to_owned(),
        arguments,
        progress: None,
        waited: Duration::ZERO,
    };
    let began = Instant::now();
    let outcome = gate.call(Caller { by: None }, request).await;
    let outcome = outcome.context("a healthy thread's call")?;
    ensure!(!outcome.is_error, "no text came");
    Ok(began.elapsed())
}
