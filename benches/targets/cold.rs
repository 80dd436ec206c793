//! Cold start: the first word in a thread until the tools of all its servers are in the snapshot.

use std::time::Instant;

use anyhow::Result;

use crate::Plan;
use crate::floor;
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, pause, thread};

/// Servers, the target in seconds, and what it is in floors on the machine where it was set (4.25 and 21.8 ms).
const SIZES: [(usize, f64, f64); 2] = [(10, 0.010, 2.35), (50, 0.040, 1.83)];

/// Measures threads of 10 and of 50 servers against as many bare starts in parallel.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let world = World::start(&plan.binary)?;
    let rows = measure(plan, &world).await;
    world.stop().await;
    rows
}

async fn measure(plan: &Plan, world: &World) -> Result<Vec<Row>> {
    let command = plan.fast.command("tool");
    let mut took = [const { Samples::new() }; SIZES.len()];
    let mut floors = took.clone();
    for round in 0..plan.rounds(30) {
        for (size, (count, _, _)) in SIZES.into_iter().enumerate() {
            let bare = tokio::task::block_in_place(|| floor::raw_starts(&command, count))?;
            floors[size].add(bare);
            pause().await;
            // A thread that was never loaded, so that nothing is warm but the disk's cache.
            let thread = thread(1 + round * SIZES.len() + size);
            let entry = |n| (format!("server{n}"), command.clone());
            let servers: Vec<Entry> = (0..count).map(entry).collect();
            world.stage(thread, &servers)?.land()?;
            pause().await;
            let began = Instant::now();
            world.reload.touch(thread).await?;
            world.until_ready(thread, count).await?;
            took[size].add(began.elapsed());
            world.reload.release(thread).await;
            pause().await;
        }
    }
    let rows = SIZES.into_iter().zip(took).zip(floors);
    Ok(rows
        .map(|(((count, most, floors), took), floor)| {
            Row::new(
                format!("cold start of {count} servers"),
                Unit::Seconds,
                took,
            )
            .floor(floor.median())
            .limit(Limit::MostOr { most, floors })
        })
        .collect())
}
