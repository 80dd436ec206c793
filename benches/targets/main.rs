//! `cargo bench`: the promises about speed and memory, measured and held against their floors.
//!
//! The harness is our own and not criterion, since a target here is a ratio to a floor of the same run: the floor and the
//! subject take turns within each round, so that a machine that slows down slows both. Criterion measures one function
//! after the other. Figures are medians over the rounds, with the 99th percentile beside them.
//!
//! `cargo bench -- [--quick] [--gate] [SECTION…]`: `--quick` takes fewer rounds (and 10,000 folders for 100,000), `--gate`
//! exits with 1 when a target is missed or could not be measured, and a section is named by a part of its name, or whole. Without
//! cargo's own `--bench` (as `cargo test --benches` runs it) the harness checks itself and measures nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a bench prints, is nobody's data folder, and measures the bare spawn"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]

mod calls;
mod cold;
mod everything;
mod floor;
mod load;
mod memory;
mod packages;
mod process;
mod raw;
mod reload;
mod sample;
mod sandbox;
mod server;
mod startup;
mod table;
mod web;
mod web_server;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use server::FastServer;
use table::Row;

const SECTIONS: [(&str, &str); 12] = [
    ("floor", "the server and the system alone"),
    ("reload", "(a) rename of mcp.json until the tools are there"),
    ("burst", "(a) many writes at once"),
    ("everything", "(a) a realistic server"),
    (
        "cold",
        "(a) first word in a thread until the tools are there",
    ),
    ("calls", "(b) calls, against a bare rmcp client"),
    ("startup", "(c) start and memory by folders on disk"),
    ("memory", "(d) memory by running servers"),
    (
        "sandbox",
        "(g) start of a server under each tier, against none",
    ),
    (
        "packages",
        "(h) a package pinned and installed once, against it run bare",
    ),
    ("web", "(e) servers over HTTP, against a bare rmcp client"),
    (
        "load",
        "(f) fifty threads through the gate while ten servers hang",
    ),
];

/// No section takes this long on a slow machine; one that does hangs.
const HANGS: Duration = Duration::from_mins(15);

/// What is measured and with what.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// The bot's real binary, which is the launcher too.
    pub(crate) binary: PathBuf,
    pub(crate) fast: FastServer,
}

impl Plan {
    /// How many rounds instead of so many.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick {
            full.div_ceil(10).max(3)
        } else {
            full
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let [flag, binary, server, count] = &args[..]
        && flag == memory::PROBE
    {
        let (binary, server) = (Path::new(binary), Path::new(server));
        runtime.block_on(memory::probe(binary, server, count.parse()?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse(&args)?;
    if !options.bench {
        check()?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Arc::new(Plan {
        quick: options.quick,
        binary: PathBuf::from(env!("CARGO_BIN_EXE_switchboard")),
        fast: FastServer::compile()?,
    });
    let mut kept = true;
    for (name, title) in options.sections {
        println!("\n{name}: {title}");
        let done = watch_over(name);
        let rows = runtime.block_on(async { tokio::spawn(section(name, plan.clone())).await? });
        drop(done);
        kept &= match rows {
            Ok(rows) => {
                print!(
                    "{}",
                    if rows.is_empty() {
                        String::new()
                    } else {
                        table::render(&rows)
                    }
                );
                rows.iter().all(|row| row.verdict() != Some(false))
            }
            Err(error) => {
                println!("  not measured: {error:#}");
                false
            }
        };
    }
    Ok(ExitCode::from(u8::from(options.gate && !kept)))
}

/// Runs as a task, as everything in the bot does; so the waker of a measured wait crosses no more threads than there.
async fn section(name: &'static str, plan: Arc<Plan>) -> Result<Vec<Row>> {
    match name {
        "floor" => floor::run(&plan).await,
        "reload" => reload::run(&plan).await,
        "burst" => reload::burst(&plan).await,
        "everything" => everything::run(&plan).await,
        "cold" => cold::run(&plan).await,
        "calls" => calls::run(&plan).await,
        "startup" => tokio::task::block_in_place(|| startup::run(&plan)),
        "sandbox" => sandbox::run(&plan).await,
        "load" => load::run(&plan).await,
        "packages" => packages::run(&plan).await,
        "web" => web::run(&plan).await,
        "memory" => tokio::task::block_in_place(|| memory::run(&plan)),
        other => bail!("there is no section {other}"),
    }
}

#[derive(Debug)]
struct Options {
    bench: bool,
    quick: bool,
    gate: bool,
    sections: Vec<(&'static str, &'static str)>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let (flags, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with('-'));
        let known = ["--bench", "--quick", "--gate", "--test"];
        if let Some(unknown) = flags.iter().find(|flag| !known.contains(&flag.as_str())) {
            bail!("there is no {unknown}; there are --quick, --gate and names of sections");
        }
        let has = |flag: &str| flags.iter().any(|given| *given == flag);
        let is_whole = |name: &str| SECTIONS.iter().any(|(section, _)| *section == name);
        let wanted = |section: &str| {
            let is_meant =
                |name: &str| name == section || (!is_whole(name) && section.contains(name));
            names.is_empty() || names.iter().any(|name| is_meant(name))
        };
        let sections: Vec<_> = SECTIONS
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .collect();
        if sections.is_empty() {
            let all = SECTIONS.map(|(name, _)| name).join(", ");
            bail!("no section is named so; there are {all}");
        }
        Ok(Self {
            bench: has("--bench"),
            quick: has("--quick"),
            gate: has("--gate"),
            sections,
        })
    }
}

/// Ends the process if a section hangs; a blocking read of the floor has no deadline of its own.
fn watch_over(section: &'static str) -> std::sync::mpsc::Sender<()> {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(HANGS) {
            eprintln!("{section} hangs");
            std::process::exit(2);
        }
    });
    done
}

/// What `cargo test --benches` runs: the figures, the verdicts, the arguments and the fast server itself.
fn check() -> Result<()> {
    sample::check();
    table::check();
    let parse = |line: &str| {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args).ok().map(|options| {
            let names = options.sections.iter().map(|(name, _)| *name);
            (options.quick, options.gate, names.collect::<Vec<_>>())
        })
    };
    assert_eq!(
        parse("--bench --quick cold"),
        Some((true, false, vec!["cold"]))
    );
    assert_eq!(
        parse("--gate reload burst"),
        Some((false, true, vec!["reload", "burst"]))
    );
    assert_eq!(parse("load"), Some((false, false, vec!["load"])));
    assert_eq!(parse("").map(|all| all.2.len()), Some(SECTIONS.len()));
    assert_eq!((parse("--fast"), parse("nothing")), (None, None));
    let began = Instant::now();
    let fast = FastServer::compile().context("the fast server")?;
    floor::raw_start(&fast.command("tool"))?;
    floor::raw_starts(&fast.command("tool"), 3)?;
    floor::Limit::new(3)?.change(None)?;
    println!(
        "the bench's harness checked itself in {:.1?}; `cargo bench` measures",
        began.elapsed()
    );
    Ok(())
}
