//! (d) Memory of the bot for each running stdio server, its launcher's included, the child's not.
//!
//! Each figure comes from a fresh process of this bench that holds the ring with so many servers: memory that earlier
//! work has freed would otherwise hide what is asked for anew.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Map;
use switchboard::registry::CallRequest;

use crate::Plan;
use crate::process;
use crate::sample::Samples;
use crate::server::command_of;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, thread};

/// The argument by which this bench starts itself to be measured.
pub(crate) const PROBE: &str = "--memory-probe";

const FEW: usize = 1;
const MANY: usize = 51;

/// The difference between 1 and 51 servers.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let [mut few, mut many, mut each] = [const { Samples::new() }; 3];
    for _ in 0..plan.rounds(9) {
        let (little, much) = (measure(plan, FEW)?, measure(plan, MANY)?);
        few.add_value(little);
        many.add_value(much);
        each.add_value((much - little) / (MANY - FEW) as f64);
    }
    Ok(vec![
        Row::new("ring with 1 server, launcher included", Unit::Bytes, few),
        Row::new("ring with 51 servers", Unit::Bytes, many),
        Row::new("each running server", Unit::Bytes, each).limit(Limit::Most(64.0 * 1024.0)),
    ])
}

/// In the fresh process: starts the servers, calls each once, and prints the bytes.
pub(crate) async fn probe(binary: &Path, server: &Path, count: usize) -> Result<()> {
    let world = World::start(binary)?;
    let bytes = hold(&world, server, count).await;
    world.stop().await;
    println!("{}", bytes?);
    Ok(())
}

async fn hold(world: &World, server: &Path, count: usize) -> Result<f64> {
    let thread = thread(1);
    let entry = |n| (format!("server{n}"), command_of(server, "tool"));
    let servers: Vec<Entry> = (0..count).map(entry).collect();
    world.load(thread, &servers).await?;
    for (name, _) in servers {
        let request = CallRequest {
            thread,
            server: name,
            tool: "tool_0".to_owned(),
            arguments: Map::from_iter([("text".to_owned(), "hello".into())]),
            progress: None,
            waited: Duration::ZERO,
        };
        world.registry.call(request).await?;
    }
    // What is freed late should not count; nothing is concluded from this time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let us = std::process::id();
    let launchers = process::children(us)?;
    ensure!(!launchers.is_empty(), "there is no launcher");
    let launchers = launchers
        .into_iter()
        .map(process::resident)
        .sum::<Result<f64>>()?;
    Ok(process::resident(us)? + launchers)
}

fn measure(plan: &Plan, count: usize) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .arg(PROBE)
        .args([&*plan.binary, plan.fast.program()])
        .arg(count.to_string())
        .stdin(Stdio::null())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the probe failed: {}",
        error.trim()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("the probe printed {text:?}"))
}
