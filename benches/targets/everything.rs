//! A realistic server: server-everything by node, added to a thread with 3 others.

use std::time::Instant;

use anyhow::Result;

use crate::Plan;
use crate::floor;
use crate::sample::Samples;
use crate::server;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, pause, thread};

/// Its own start and at most 5 ms. Where it is not installed, that is said and there is no row.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let Some(command) = server::everything("stdio") else {
        println!(
            "  server-everything is not installed in tests/interop (npm ci), or node is not: row left out"
        );
        return Ok(Vec::new());
    };
    let world = World::start(&plan.binary)?;
    let row = measure(plan, &world, &command).await;
    world.stop().await;
    Ok(vec![row?])
}

async fn measure(plan: &Plan, world: &World, command: &[String]) -> Result<Row> {
    let thread = thread(1);
    let entry = |n| (format!("present{n}"), plan.fast.command("tool"));
    let present: Vec<Entry> = (0..3).map(entry).collect();
    let mut with = present.clone();
    with.push(("everything".to_owned(), command.to_vec()));
    world.load(thread, &present).await?;
    let [mut own, mut took] = [const { Samples::new() }; 2];
    for _ in 0..plan.rounds(21) {
        own.add(tokio::task::block_in_place(|| floor::raw_start(command))?);
        pause().await;
        let staged = world.stage(thread, &with)?;
        let began = Instant::now();
        staged.land()?;
        world.until_ready(thread, with.len()).await?;
        took.add(began.elapsed());
        world.stage(thread, &present)?.land()?;
        world.until_ready(thread, present.len()).await?;
        // Node takes about 350 ms to end, and would end on the next figure's time.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    Ok(Row::new("add server-everything", Unit::Seconds, took)
        .floor(own.median())
        .limit(Limit::More(0.005)))
}
