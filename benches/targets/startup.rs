//! (c) Start-up time and memory of the real binary, with none and with 100,000 thread folders on disk.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Plan;
use crate::process;
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};

const DEADLINE: Duration = Duration::from_secs(20);

/// Measures both by turns.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let count: u32 = if plan.quick { 10_000 } else { 100_000 };
    let base = crate::server::temporary_folder()?;
    let folders = [base.path().join("none"), base.path().join("many")];
    std::fs::create_dir(&folders[0])?;
    fill(&folders[1], count)?;

    let [mut first, mut ended, mut resident] = [const { [const { Samples::new() }; 2] }; 3];
    let mut launcher = Samples::new();
    for round in 0..plan.rounds(30) {
        for place in 0..2 {
            let which = (round + place) % 2;
            let started = start_to_end(plan, &folders[which])?;
            first[which].add(started.first_line);
            ended[which].add(started.end);
        }
    }
    for _ in 0..plan.rounds(7) {
        for which in 0..2 {
            let memory = at_rest(plan, &folders[which])?;
            resident[which].add_value(memory.bot);
            launcher.add_value(memory.children);
        }
    }
    let [first_none, first_many] = first;
    let [ended_none, ended_many] = ended;
    let [resident_none, resident_many] = resident;
    let (first_floor, ended_floor) = (first_none.median(), ended_none.median());
    let each = (resident_many.median() - resident_none.median()) / f64::from(count);
    let many = thousands(count);
    Ok(vec![
        Row::new("start to first line, no folders", Unit::Seconds, first_none),
        Row::new(
            format!("the same, {many} folders"),
            Unit::Seconds,
            first_many,
        )
        .floor(first_floor)
        .limit(Limit::More(0.010)),
        Row::new(
            "start to end of input, no folders",
            Unit::Seconds,
            ended_none,
        ),
        Row::new(
            format!("the same, {many} folders"),
            Unit::Seconds,
            ended_many,
        )
        .floor(ended_floor)
        .limit(Limit::More(0.010)),
        Row::new("memory at rest, no folders", Unit::Bytes, resident_none)
            .limit(Limit::Most(16.0 * 1024.0 * 1024.0)),
        Row::new(
            format!("memory at rest, {many} folders"),
            Unit::Bytes,
            resident_many,
        ),
        Row::new("its launcher's", Unit::Bytes, launcher),
        // Less with folders than without is the noise of a page or two.
        Row::single("an idle thread's", Unit::Bytes, each.max(0.0)).limit(Limit::Most(100.0)),
    ])
}

#[derive(Debug)]
struct Started {
    first_line: Duration,
    end: Duration,
}

#[derive(Debug)]
struct Memory {
    bot: f64,
    children: f64,
}

/// With nothing to read: prints its first screen and ends.
fn start_to_end(plan: &Plan, data: &Path) -> Result<Started> {
    let began = Instant::now();
    let (mut child, lines) = start(plan, data, Stdio::null())?;
    let first_line = lines
        .recv_timeout(DEADLINE)
        .context("nothing was printed")?;
    let ended = lines.recv_timeout(DEADLINE);
    let end = began.elapsed();
    stop(&mut child)?;
    ended.context("it does not end when its input does")?;
    Ok(Started {
        first_line: first_line - began,
        end,
    })
}

/// With a person who has typed nothing yet.
fn at_rest(plan: &Plan, data: &Path) -> Result<Memory> {
    let (mut child, lines) = start(plan, data, Stdio::piped())?;
    let printed = lines.recv_timeout(DEADLINE).context("nothing was printed");
    // What it still allocates after its first line belongs to it; nothing is concluded from this time.
    thread::sleep(Duration::from_millis(300));
    let memory = process::resident(child.id()).and_then(|bot| {
        let children = process::children(child.id())?;
        let children = children
            .into_iter()
            .map(process::resident)
            .sum::<Result<f64>>()?;
        Ok(Memory { bot, children })
    });
    drop(child.stdin.take());
    let ended = lines.recv_timeout(DEADLINE);
    stop(&mut child)?;
    printed?;
    ended.context("it does not end when its input does")?;
    memory
}

/// The instants of the first line and of the end of output come through the receiver.
fn start(plan: &Plan, data: &Path, input: Stdio) -> Result<(Child, mpsc::Receiver<Instant>)> {
    let mut child = Command::new(&plan.binary)
        .args(["run", "--front", "terminal", "--data"])
        .arg(data)
        .env_remove("TELOXIDE_TOKEN")
        .env_remove("RUST_LOG")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start switchboard")?;
    let mut output = BufReader::new(child.stdout.take().context("no stdout")?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut rest = Vec::new();
        if output
            .read_until(b'\n', &mut rest)
            .is_ok_and(|read| read > 0)
        {
            let _ = sender.send(Instant::now());
            if output.read_to_end(&mut rest).is_ok() {
                let _ = sender.send(Instant::now());
            }
        }
    });
    Ok((child, receiver))
}

fn stop(child: &mut Child) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "switchboard ended with {status}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    anyhow::bail!("switchboard had to be killed")
}

fn fill(data: &Path, count: u32) -> Result<()> {
    let text =
        br#"{"mcpServers": {"fast": {"type": "stdio", "command": "fast-server", "args": []}}}"#;
    let users = data.join("users");
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700);
    private.recursive(true).create(&users)?;
    private.recursive(false);
    for n in 1..=count {
        let folder = users.join(crate::world::thread(n as usize).to_string());
        private.create(&folder)?;
        std::fs::write(folder.join("mcp.json"), text)?;
    }
    Ok(())
}

fn thousands(count: u32) -> String {
    format!("{},{:03}", count / 1000, count % 1000)
}
