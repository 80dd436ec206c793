//! The floors: what the system and the server alone cost, without the bot.
//!
//! `Limit` is the least that the ring has to do for a change: see the rename, read and parse the file, and (for add and
//! edit) bring the server up. The other sections measure it again in their own rounds, between their own figures.

use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService, serve_client};
use rmcp::transport::async_rw::AsyncRwTransport;
use rustix::fs::inotify;

use crate::Plan;
use crate::raw::Raw;
use crate::sample::Samples;
use crate::table::{Row, Unit};
use crate::world::{Entry, Staged, pause};

/// Measures the floors by themselves.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let command = plan.fast.command("tool");
    let limit = Limit::new(3)?;
    let [mut raw, mut by_rmcp, mut add, mut remove] = [const { Samples::new() }; 4];
    for _ in 0..plan.rounds(200) {
        raw.add(tokio::task::block_in_place(|| raw_start(&command))?);
        pause().await;
        let began = Instant::now();
        let bare = Bare::start(&command).await?;
        by_rmcp.add(began.elapsed());
        bare.stop().await;
        pause().await;
        add.add(tokio::task::block_in_place(|| {
            limit.change(Some(&command))
        })?);
        pause().await;
        remove.add(tokio::task::block_in_place(|| limit.change(None))?);
        pause().await;
    }
    let floor = raw.median();
    let mut rows = vec![
        Row::new("spawn, initialize, tools/list", Unit::Seconds, raw),
        Row::new("the same by rmcp", Unit::Seconds, by_rmcp).floor(floor),
        Row::new("limit of add and edit", Unit::Seconds, add).floor(floor),
        Row::new("limit of remove", Unit::Seconds, remove),
    ];
    for count in [10, 50] {
        let mut samples = Samples::new();
        for _ in 0..plan.rounds(30) {
            samples.add(tokio::task::block_in_place(|| raw_starts(&command, count))?);
            pause().await;
        }
        let name = format!("{count} servers in parallel");
        rows.push(Row::new(name, Unit::Seconds, samples).floor(floor));
    }
    Ok(rows)
}

/// Spawn → initialize → tools/list of one server.
pub(crate) fn raw_start(command: &[String]) -> Result<Duration> {
    let began = Instant::now();
    let raw = Raw::with_tools(command)?;
    let took = began.elapsed();
    drop(raw);
    Ok(took)
}

/// The same of many, shared out over the cores; each core starts its share before it waits for the first of them.
pub(crate) fn raw_starts(command: &[String], count: usize) -> Result<Duration> {
    let cores = thread::available_parallelism()?.get().min(count);
    let share = |core: usize| -> Result<Vec<Raw>> {
        let mut servers = (core..count)
            .step_by(cores)
            .map(|_| {
                let mut raw = Raw::spawn(command)?;
                raw.ask_initialize()?;
                Ok(raw)
            })
            .collect::<Result<Vec<Raw>>>()?;
        servers.iter_mut().try_for_each(Raw::ask_tools)?;
        servers.iter_mut().try_for_each(Raw::take_tools)?;
        Ok(servers)
    };
    let began = Instant::now();
    let shares: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || share(core)))
            .collect();
        workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let took = began.elapsed();
    for servers in shares {
        servers.ok().context("a floor's thread panicked")??;
    }
    Ok(took)
}

/// A watched folder with a configuration file, and nothing of the bot.
#[derive(Debug)]
pub(crate) struct Limit {
    folder: tempfile::TempDir,
    file: PathBuf,
    servers: Vec<Entry>,
    inotify: rustix::fd::OwnedFd,
}

impl Limit {
    /// A file with so many servers, none of them started.
    pub(crate) fn new(servers: usize) -> Result<Self> {
        let folder = crate::server::temporary_folder()?;
        let watched = folder.path().join("watched");
        std::fs::create_dir(&watched)?;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, &watched, inotify::WatchFlags::MOVED_TO)?;
        let server = |n| {
            (
                format!("server{n}"),
                vec!["program".to_owned(), "tool".to_owned()],
            )
        };
        Ok(Self {
            file: watched.join("mcp.json"),
            servers: (0..servers).map(server).collect(),
            inotify,
            folder,
        })
    }

    /// Rename → event → read and parse → tools of the started server, where there is one.
    pub(crate) fn change(&self, start: Option<&[String]>) -> Result<Duration> {
        let staged = Staged::write(self.folder.path(), self.file.clone(), &self.servers)?;
        let mut space = [MaybeUninit::uninit(); 4096];
        let began = Instant::now();
        staged.land()?;
        inotify::Reader::new(&self.inotify, &mut space).next()?;
        let parsed: serde_json::Value = serde_json::from_slice(&std::fs::read(&self.file)?)?;
        let raw = start.map(Raw::with_tools).transpose()?;
        let took = began.elapsed();
        drop(raw);
        ensure!(
            parsed["mcpServers"].is_object(),
            "the file does not say what was written"
        );
        Ok(took)
    }
}

/// The server behind a bare rmcp client: the peer of the bot's own calls.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) service: RunningService<RoleClient, ClientConfig>,
    child: tokio::process::Child,
}

impl Bare {
    /// Spawn → initialize → tools/list.
    pub(crate) async fn start(command: &[String]) -> Result<Self> {
        let mut server = tokio::process::Command::new(&command[0]);
        server.args(&command[1..]).process_group(0);
        Self::with(server).await
    }

    /// The same with the server in a session of its own, where the bot's launcher puts servers. The kernel shares a core
    /// between sessions before it shares it within one (`sched_autogroup_enabled`), so a server in the session of its client
    /// waits longer for its turn, answers more at once, and costs its client fewer wake-ups: up to half as many calls again in
    /// a second, which says nothing of either client.
    pub(crate) async fn start_apart(command: &[String]) -> Result<Self> {
        // It is no leader of a group, so `setsid` becomes the server and does not start another process.
        let mut server = tokio::process::Command::new("setsid");
        server.args(command);
        Self::with(server).await
    }

    async fn with(mut server: tokio::process::Command) -> Result<Self> {
        let mut child = server
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", server.as_std().get_program().display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let us = Implementation::new("bench", "1");
        let client = ClientConfig::new(ClientCapabilities::default(), us)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let service = serve_client(client, AsyncRwTransport::new_client(stdout, stdin)).await?;
        let listed = service.peer().list_tools(None).await?;
        ensure!(!listed.tools.is_empty(), "no tools came");
        Ok(Self { service, child })
    }

    pub(crate) async fn stop(mut self) {
        // The bench has its figure by now; a server that is gone already is as good.
        let _ = self.child.kill().await;
        let _ = self.service.cancel().await;
    }
}
