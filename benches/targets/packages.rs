//! A package that `npx` names: installed once, pinned, and started from there, against the same installed package run bare.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{AddressRules, HostPolicy, Tier};
use switchboard::sandbox::{Choice, Sandbox};
use switchboard::thread::ThreadId;

use crate::Plan;
use crate::floor;
use crate::sample::Samples;
use crate::server;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, pause, thread};

/// The promise.
const TIMES: f64 = 1.1;

/// The package of the interop tests, as its lock file pins it.
const PACKAGE: &str = "@modelcontextprotocol/server-everything";
const PINNED: &str = include_str!("../../tests/interop/package.json");

/// Without confinement and in the best sandbox that this machine proves. Where the package cannot be installed, the rows
/// are not measured, which is a failure.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let homes = server::temporary_folder()?;
    let mut sandboxes = vec![("no sandbox", Sandbox::off())];
    match Sandbox::probe(Choice::Exactly(Tier::Strong), &plan.binary, homes.path()) {
        Ok(sandbox) => sandboxes.push(("strong sandbox", sandbox)),
        Err(why) => println!("  {why}: its row is left out"),
    }
    let mut rows = Vec::new();
    for (name, sandbox) in sandboxes {
        let net = Net::new(NetOptions {
            rules: AddressRules {
                allow_http: false,
                allow: registry().into_iter().map(Into::into).collect(),
            },
            ..NetOptions::default()
        });
        let world = World::start_over(&plan.binary, sandbox, HostPolicy::open(), net, true)?;
        let row = measure(plan, &world, name).await;
        world.stop().await;
        rows.push(row?);
    }
    Ok(rows)
}

/// The registry's addresses, where it is a mirror within a network that is not public.
fn registry() -> Vec<IpAddr> {
    let found = ("registry.npmjs.org", 443).to_socket_addrs();
    let addresses = found.into_iter().flatten();
    addresses.map(|address| address.ip()).collect()
}

async fn measure(plan: &Plan, world: &World, sandbox: &str) -> Result<Row> {
    let thread = thread(1);
    let servers: Vec<Entry> = vec![("package".to_owned(), line()?)];
    // The first start installs it.
    world
        .load(thread, &servers)
        .await
        .context("the package could not be installed from npm and started")?;
    let bare = installed(&world.packages(thread))?;
    let [mut floor, mut took] = [const { Samples::new() }; 2];
    for _ in 0..plan.rounds(21) {
        world.stage(thread, &[])?.land()?;
        world.until_ready(thread, 0).await?;
        // Node takes its time to end, and would end on the next figure's.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        floor.add(tokio::task::block_in_place(|| floor::raw_start(&bare))?);
        pause().await;
        let staged = world.stage(thread, &servers)?;
        let began = Instant::now();
        staged.land()?;
        world.until_ready(thread, servers.len()).await?;
        took.add(began.elapsed());
    }
    let name = format!("start of a pinned package, {sandbox}");
    Ok(Row::new(name, Unit::Seconds, took)
        .floor(floor.median())
        .limit(Limit::Floors(TIMES)))
}

/// The line that a person would write, with the version pinned.
fn line() -> Result<Vec<String>> {
    let pinned: Value = serde_json::from_str(PINNED)?;
    let version = ["dependencies", "devDependencies"]
        .iter()
        .find_map(|kind| pinned[kind][PACKAGE].as_str())
        .context("tests/interop/package.json does not have the package")?;
    let package = format!("{PACKAGE}@{version}");
    Ok(["npx", "-y", &package, "stdio"].map(str::to_owned).into())
}

/// What the bot starts of the package, as it is noted beside it.
fn installed(packages: &Path) -> Result<Vec<String>> {
    let note = note(packages).context("nothing is installed there")?;
    let note: Value = serde_json::from_slice(&std::fs::read(note)?)?;
    let programs = note["programs"].as_object().context("no program")?;
    let program = programs.values().next().context("no program")?;
    let mut line = vec![
        program["command"]
            .as_str()
            .context("no command")?
            .to_owned(),
    ];
    let before = program["before"].as_array().context("no arguments")?;
    line.extend(before.iter().filter_map(Value::as_str).map(str::to_owned));
    line.push("stdio".to_owned());
    Ok(line)
}

/// Two folders deep: of the thread, of its manager.
fn note(folder: &Path) -> Option<PathBuf> {
    let managers = std::fs::read_dir(folder).ok()?.flatten();
    let files = managers.filter_map(|manager| std::fs::read_dir(manager.path()).ok());
    let mut files = files.flatten().flatten().map(|file| file.path());
    files.find(|file| file.extension().is_some_and(|ending| ending == "json"))
}

/// The folder of a thread's packages, beside the homes.
pub(crate) fn of(folder: &Path, thread: ThreadId) -> PathBuf {
    folder.join("packages").join(thread.to_string())
}
