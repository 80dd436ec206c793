//! (a) Reload latency: the atomic rename of `mcp.json` until the new tools are in the thread's snapshot.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use switchboard::registry::{ServerState, Snapshot};
use switchboard::thread::ThreadId;

use crate::Plan;
use crate::floor::Limit as Floor;
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};
use crate::world::{Entry, World, pause, thread};

/// Servers present while one more is added, edited and removed.
const PRESENT: [usize; 3] = [1, 3, 50];

/// "At most a handful" of reloads for a burst, in figures.
const HANDFUL: f64 = 10.0;

/// Add, edit and remove, with few and with many servers present, interleaved with the floor.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let world = World::start(&plan.binary)?;
    let measured = measure(plan, &world).await;
    world.stop().await;
    Ok(measured?.rows())
}

/// 1,000 writes within a second.
pub(crate) async fn burst(plan: &Plan) -> Result<Vec<Row>> {
    let world = World::start(&plan.binary)?;
    let rows = bursts(plan, &world).await;
    world.stop().await;
    rows
}

async fn measure(plan: &Plan, world: &World) -> Result<Measured> {
    let floor = Floor::new(3)?;
    let floor_command = plan.fast.command("tool");
    let mut subjects = Vec::new();
    for (n, present) in PRESENT.into_iter().enumerate() {
        let subject = Subject::load(plan, world, thread(n + 1), present).await?;
        subjects.push(subject);
    }
    let mut measured = Measured::default();
    let rounds = plan.rounds(200);
    for round in 0..rounds {
        for step in Step::ALL {
            // The order turns from round to round, so that none always follows the same neighbour.
            for place in 0..=PRESENT.len() {
                match (round + place) % (PRESENT.len() + 1) {
                    0 => {
                        let start = (step != Step::Remove).then_some(&floor_command[..]);
                        let took = tokio::task::block_in_place(|| floor.change(start))?;
                        measured.floor[usize::from(step == Step::Remove)].add(took);
                    }
                    subject => {
                        let subject = subject - 1;
                        let took = subjects[subject].go(plan, world, step, round).await?;
                        measured.took[step as usize][subject].add(took);
                    }
                }
                pause().await;
            }
        }
    }
    for subject in &subjects {
        measured.restarted += subject.restarted(world)?;
    }
    Ok(measured)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Add,
    Edit,
    Remove,
}

impl Step {
    const ALL: [Self; 3] = [Self::Add, Self::Edit, Self::Remove];
}

/// A thread with servers that stay and one that comes, changes and goes.
#[derive(Debug)]
struct Subject {
    thread: ThreadId,
    present: Vec<Entry>,
    /// When each of those present became ready; a restart would show as another time.
    since: Vec<Option<Instant>>,
}

impl Subject {
    async fn load(plan: &Plan, world: &World, thread: ThreadId, present: usize) -> Result<Self> {
        let entry = |n| (format!("present{n}"), plan.fast.command("tool"));
        let present: Vec<Entry> = (0..present).map(entry).collect();
        world.load(thread, &present).await?;
        let mut subject = Self {
            thread,
            present,
            since: Vec::new(),
        };
        subject.since = subject.times(world)?;
        Ok(subject)
    }

    /// One measured step. Each has tools of a name that was never seen before, so that old ones cannot pass for new.
    async fn go(&self, plan: &Plan, world: &World, step: Step, round: usize) -> Result<Duration> {
        let prefix = format!("r{round}s{}", step as usize);
        let mut servers = self.present.clone();
        if step != Step::Remove {
            servers.push(("coming".to_owned(), plan.fast.command(&prefix)));
        }
        let staged = world.stage(self.thread, &servers)?;
        let last_tool = format!("{prefix}_9");
        let began = Instant::now();
        staged.land()?;
        world
            .until(self.thread, |snapshot| {
                let coming = snapshot.server("coming");
                match step {
                    Step::Remove => coming.is_none_or(|server| server.tools.is_empty()),
                    Step::Add | Step::Edit => coming.is_some_and(|server| {
                        matches!(server.state, ServerState::Ready { .. })
                            && server.tool(&last_tool).is_some()
                    }),
                }
            })
            .await?;
        Ok(began.elapsed())
    }

    fn restarted(&self, world: &World) -> Result<usize> {
        let now = self.times(world)?;
        Ok(self
            .since
            .iter()
            .zip(now)
            .filter(|(before, now)| *before != now)
            .count())
    }

    fn times(&self, world: &World) -> Result<Vec<Option<Instant>>> {
        let snapshot = world.registry.snapshot(self.thread);
        ensure!(snapshot.is_some(), "the thread was let go");
        let since = |snapshot: &Snapshot, name: &str| match snapshot.server(name)?.state {
            ServerState::Ready { since, .. } => Some(since),
            _ => None,
        };
        let names = self.present.iter().map(|(name, _)| name);
        Ok(names
            .map(|name| snapshot.as_ref().and_then(|snapshot| since(snapshot, name)))
            .collect())
    }
}

#[derive(Debug, Default)]
struct Measured {
    /// By step and by place in `PRESENT`.
    took: [[Samples; 3]; 3],
    /// Of add and edit, of remove.
    floor: [Samples; 2],
    restarted: usize,
}

impl Measured {
    fn rows(self) -> Vec<Row> {
        let [start_floor, remove_floor] = self.floor.map(|samples| samples.median());
        let mut rows = Vec::new();
        for (step, took) in Step::ALL.into_iter().zip(self.took) {
            let few = took[1].median();
            for (present, samples) in PRESENT.into_iter().zip(took) {
                let name = match (step, present) {
                    (Step::Add, 1) => "add, 1 server present".to_owned(),
                    (Step::Add, _) => format!("add, {present} present"),
                    (Step::Edit, _) => format!("edit, {present} present"),
                    (Step::Remove, _) => format!("remove, {present} present"),
                };
                let row = Row::new(name, Unit::Seconds, samples);
                rows.push(match (step, present) {
                    (Step::Remove, _) => row.floor(remove_floor).limit(Limit::MostOr {
                        most: 0.001,
                        floors: 28.0,
                    }),
                    // Against the figure with 3: what the others cost, not what a start costs.
                    (_, 50) => row.floor(few).limit(Limit::Floors(1.3)),
                    _ => row
                        .floor(start_floor)
                        .limit(Limit::Floors(3.0))
                        .limit(Limit::Tail {
                            most: 0.015,
                            floors: 18.0,
                        }),
                });
            }
        }
        let restarted = self.restarted as f64;
        rows.push(
            Row::single("other servers restarted", Unit::Count, restarted).limit(Limit::Most(0.0)),
        );
        rows
    }
}

async fn bursts(plan: &Plan, world: &World) -> Result<Vec<Row>> {
    const WRITES: usize = 1000;
    let thread = thread(1);
    let first = vec![("busy".to_owned(), plan.fast.command("first"))];
    world.load(thread, &first).await?;
    let [mut reloads, mut after] = [const { Samples::new() }; 2];
    for burst in 0..plan.rounds(5) {
        let mut writes = Vec::with_capacity(WRITES);
        for write in 0..WRITES {
            let command = plan.fast.command(&format!("b{burst}w{write}"));
            writes.push(world.stage(thread, &[("busy".to_owned(), command)])?);
        }
        let before = world.reloads();
        let landing = tokio::task::spawn_blocking(move || -> Result<Instant> {
            let began = Instant::now();
            for (n, write) in writes.into_iter().enumerate() {
                let due = Duration::from_millis(n as u64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                write.land()?;
            }
            Ok(Instant::now())
        });
        let written = landing.await??;
        let last_tool = format!("b{burst}w{}_9", WRITES - 1);
        world
            .until(thread, |snapshot| {
                let busy = snapshot.server("busy");
                busy.is_some_and(|server| server.tool(&last_tool).is_some())
            })
            .await?;
        after.add(written.elapsed());
        // A reload too many would still come; nothing later is concluded from this time.
        tokio::time::sleep(Duration::from_millis(300)).await;
        reloads.add_value((world.reloads() - before) as f64);
    }
    Ok(vec![
        Row::new("reloads for 1,000 writes in a second", Unit::Count, reloads)
            .limit(Limit::Most(HANDFUL)),
        Row::new("last write until its tools are there", Unit::Seconds, after),
    ])
}
