//! What confinement costs at the start of a server: under each tier that this machine proves, against none.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use switchboard::policy::{FolderGrant, HostPolicy, Tier};
use switchboard::sandbox::{Choice, Sandbox};

use crate::Plan;
use crate::sample::Samples;
use crate::server;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, pause, thread};

/// A fast program may take this much longer to start, in seconds; a slow one is held by its own time.
const MORE: f64 = 0.010;
const TIMES: f64 = 1.1;

/// The fast server, and server-everything where it is installed.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let folder = server::temporary_folder()?;
    let mut worlds = vec![("bare", World::start(&plan.binary)?)];
    for tier in [Tier::Restricted, Tier::Strong] {
        let homes = folder.path().join("homes");
        match Sandbox::probe(Choice::Exactly(tier), &plan.binary, &homes) {
            Ok(sandbox) => {
                worlds.push((
                    tier.word(),
                    World::start_in(&plan.binary, sandbox, policy())?,
                ));
            }
            Err(why) => println!("  {why}: rows left out"),
        }
    }
    let mut rows = Vec::new();
    // As one that is installed lies open to everybody.
    let program = plan.fast.program();
    for part in program.ancestors().take(2) {
        std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o755))?;
    }
    let fast = plan.fast.command("tool");
    rows.extend(
        measure(
            plan.rounds(100),
            "fast server",
            &fast,
            &worlds,
            Limit::More(MORE),
        )
        .await?,
    );
    if let Some(everything) = server::everything("stdio") {
        let limit = Limit::Floors(TIMES);
        rows.extend(
            measure(
                plan.rounds(10),
                "server-everything",
                &everything,
                &worlds,
                limit,
            )
            .await?,
        );
    }
    for (_, world) in worlds {
        world.stop().await;
    }
    Ok(rows)
}

/// The repository is no place that servers are shown, and server-everything is installed in it.
fn policy() -> HostPolicy {
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    HostPolicy {
        folders: vec![FolderGrant {
            path: interop,
            everyone: true,
            ..FolderGrant::default()
        }],
        ..HostPolicy::open()
    }
}

async fn measure(
    rounds: usize,
    name: &str,
    command: &[String],
    worlds: &[(&str, World)],
    limit: Limit,
) -> Result<Vec<Row>> {
    let thread = thread(1);
    let servers: Vec<Entry> = vec![("server".to_owned(), command.to_vec())];
    for (_, world) in worlds {
        world.load(thread, &[]).await?;
    }
    let mut took = vec![Samples::new(); worlds.len()];
    for _ in 0..rounds {
        for ((_, world), took) in worlds.iter().zip(&mut took) {
            let staged = world.stage(thread, &servers)?;
            let began = Instant::now();
            staged.land()?;
            world.until_ready(thread, servers.len()).await?;
            took.add(began.elapsed());
            world.stage(thread, &[])?.land()?;
            world.until_ready(thread, 0).await?;
            pause().await;
        }
    }
    let bare = took.first().map_or(0.0, Samples::median);
    let rows = worlds.iter().zip(took).map(|((tier, _), took)| {
        let row = Row::new(format!("start of {name}, {tier}"), Unit::Seconds, took);
        if *tier == "bare" {
            row
        } else {
            row.floor(bare).limit(limit)
        }
    });
    Ok(rows.collect())
}
