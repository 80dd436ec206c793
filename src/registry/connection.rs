//! From a definition to a connection with tools: find the program, start it, shake hands, ask for the tools.
//!
//! One path for servers that start and for `/mcp test`: each stage that is passed is told, and a broken one is a
//! [`Trouble`] with what happened and what to do.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientInitializeError, Peer, RunningService, ServiceError, serve_client};
use rmcp::{ClientHandler, RoleClient};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::Stage;
use super::context::Context;
use super::handle::masker;
use super::launch::{Child, Lost, Spawn, advice_for, find_program};
use super::listing::{Listing, list_tools};
use super::logs::{Drained, Logs};
use super::text::{masked_line, sentence};
use super::transport::{Events, Outgoing, PipeTransport, UNREADABLE};
use crate::config::{Masker, StdioServer};
use crate::demo;
use crate::thread::ThreadId;

/// A process that lives this long did not end at once; what ends it later is told where it happens.
const NOT_AT_ONCE: Duration = Duration::from_millis(500);
/// How long the last words of a process that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Between the end of a process's output and its own end.
const END_TOGETHER: Duration = Duration::from_millis(500);
/// How long a program and a folder are looked for.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
const INFO_CHARS: usize = 120;
const MESSAGE_CHARS: usize = 300;

/// A live connection. Calls hold it while they wait, so its count says whether it is in use.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer<RoleClient>,
    pub(super) events: Arc<Events>,
    pub(super) outgoing: Arc<Outgoing>,
    /// Knows the secrets that this process was started with; the server's newest definition may have others.
    pub(super) masker: Arc<Masker>,
    /// Its drop ends rmcp's task.
    _service: RunningService<RoleClient, Client>,
}

/// The process behind a connection. Its drop ends it and what it started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) drained: Drained,
}

/// A server that is up.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    pub(super) process: Process,
    pub(super) listing: Listing,
    pub(super) protocol: String,
    pub(super) server_info: String,
}

/// Why a server could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) stage: Stage,
    /// What happened: a sentence without its full stop.
    pub(super) what: String,
    /// What to do, a sentence; may be empty.
    pub(super) advice: String,
    /// Trying again will not mend it.
    pub(super) lasting: bool,
    /// The last lines of stderr say more.
    pub(super) said: Vec<String>,
}

/// The bot as an MCP client: it offers nothing to servers and answers their requests with a refusal.
#[derive(Debug, Clone)]
pub(super) struct Client;

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        // Pinned: the default would offer a revision that has no `initialize`.
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("switchboard", env!("CARGO_PKG_VERSION")),
        )
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

/// What a definition means on this machine.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) program: PathBuf,
    cwd: PathBuf,
    env: BTreeMap<String, String>,
}

/// Finds the program and the folder. They may be on a mount that does not answer, so it is done on a thread that nobody
/// needs, and given up after a while.
pub(super) async fn locate(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<Located, Trouble> {
    let (own, definition) = (context.clone(), server.clone());
    let look = move || locate_now(&own, thread, &definition);
    look_within(LOOK_LIMIT, &context.looks, look)
        .await
        .unwrap_or_else(|| {
            Err(Trouble {
                stage: Stage::Command,
                what: "its program or working folder is on a file system that does not answer"
                    .to_owned(),
                advice: "Look at the host's mounts, or set another folder with /mcp edit."
                    .to_owned(),
                lasting: false,
                said: Vec::new(),
            })
        })
}

/// What `look` finds; `None` where it takes longer. Its thread is of its own and not of a pool, so that one that hangs holds
/// up neither others nor the end of the bot.
async fn look_within<T: Send + 'static>(
    limit: Duration,
    looks: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(limit, async {
        let turn = looks.clone().acquire_owned().await.ok()?;
        let (sender, found) = oneshot::channel();
        std::thread::Builder::new()
            .name("look".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                let found = look();
                drop(turn);
                let _ = sender.send(found);
            })
            .ok()?;
        found.await.ok()
    })
    .await
    .ok()
    .flatten()
}

fn locate_now(
    context: &Context,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<Located, Trouble> {
    let trouble = |what: String, advice: &str| Trouble {
        stage: Stage::Command,
        what,
        advice: advice.to_owned(),
        lasting: true,
        said: Vec::new(),
    };
    let texts = [&server.command]
        .into_iter()
        .chain(&server.args)
        .chain(&server.cwd)
        .chain(server.env.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().any(|text| text.contains('\0'))
        || server
            .env
            .iter()
            .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return Err(trouble(
            "the definition has a character in it that no program can be given".to_owned(),
            "Take it out of the command, the arguments, the environment or the folder.",
        ));
    }
    let home = context.options.homes.join(thread.to_string());
    let home = make_home(&home).map_err(|error| {
        trouble(
            format!("the thread's own folder cannot be made: {error}"),
            "Ask whoever runs the bot to look at its data folder.",
        )
    })?;
    let cwd = match &server.cwd {
        Some(folder) => home.join(folder),
        None => home.clone(),
    };
    if !cwd.is_dir() {
        let folder = server.cwd.as_deref().unwrap_or_default();
        return Err(if folder.starts_with('/') {
            trouble(
                format!("the working folder `{folder}` does not exist on this machine"),
                "Make it there, or set another one with `/mcp edit`.",
            )
        } else {
            trouble(
                format!(
                    "the working folder `{folder}` does not exist inside this chat's own folder"
                ),
                "Give a full path that begins with `/`, or take it away with `/mcp edit`; without it the server works in this \
                 chat's own folder.",
            )
        });
    }
    let env = context.environment.for_server(&home, &server.env);
    let path = env.get("PATH").map_or("", String::as_str);
    let program = if demo::is_demo(&server.command, &server.args) {
        // Our own program, wherever it is installed; its name need not be on the path.
        context.options.launcher.clone()
    } else {
        find_program(&server.command, &cwd, path)
            .map_err(|error| trouble(error.to_string(), &advice_for(&error)))?
    };
    Ok(Located { program, cwd, env })
}

/// Starts the program and brings the connection up; `passed` is told each stage from [`Stage::Process`] on.
pub(super) async fn open(
    context: &Context,
    name: &str,
    server: &StdioServer,
    located: Located,
    logs: &Arc<Logs>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let masker = Arc::new(masker(server));
    let deadline = Instant::now() + context.options.start_timeout;
    let cannot_start = |error: std::io::Error| Trouble {
        stage: Stage::Process,
        what: format!("its process could not be started: {error}"),
        advice: "Try again; if it stays so, ask whoever runs the bot.".to_owned(),
        lasting: false,
        said: Vec::new(),
    };
    let launcher = context.launcher().map_err(cannot_start)?;
    let (child, pipes) = launcher
        .spawn(Spawn {
            program: &located.program,
            arg0: &server.command,
            args: &server.args,
            env: located.env,
            cwd: &located.cwd,
        })
        .await
        .map_err(cannot_start)?;
    let mut process = Process {
        child,
        drained: logs.drain(pipes.stderr, masker.clone()),
    };
    let (transport, outgoing, events) = PipeTransport::new(pipes.stdin, pipes.stdout);

    // Nothing waits for the launcher's word: `initialize` is in the pipe before the program runs.
    let service = shake_hands(
        &mut process,
        (logs, &masker),
        transport,
        &events,
        deadline,
        passed,
    )
    .await?;
    service
        .set_response_cache_config(rmcp::service::ClientCacheConfig::disabled())
        .await;
    let connection = Arc::new(Connection {
        peer: service.peer().clone(),
        events,
        outgoing,
        masker,
        _service: service,
    });
    let info = connection.peer.peer_info();
    let server_info = info
        .as_ref()
        .and_then(|info| info.server_info.as_ref())
        .map(|info| {
            let info = format!("{} {}", info.name, info.version);
            masked_line(&connection.masker, &info, INFO_CHARS)
        })
        .unwrap_or_default();
    passed(Stage::Handshake, server_info.clone());
    let protocol = speaks(
        info.map(|info| info.protocol_version.clone()),
        &connection.masker,
    )?;
    passed(Stage::Protocol, protocol.clone());
    let listing = ask_for_tools(&mut process, logs, &connection, name, deadline).await?;
    passed(Stage::ToolsList, count(listing.tools.len(), "tool"));
    Ok(Opened {
        connection,
        process,
        listing,
        protocol,
        server_info,
    })
}

/// "1 tool", "2 tools".
pub(super) fn count(number: usize, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

impl Trouble {
    /// All of it in whole sentences. Each part is masked by itself, before it has punctuation of ours.
    pub(super) fn in_words(&self, mask: impl Fn(&str) -> String) -> String {
        let mut words = vec![sentence(&mask(&self.what))];
        if !self.said.is_empty() {
            let said: Vec<_> = self.said.iter().map(|line| mask(line)).collect();
            words.push(sentence(&format!("It said: {}", said.join(" / "))));
        }
        if !self.advice.is_empty() {
            words.push(sentence(&mask(&self.advice)));
        }
        words.join(" ")
    }
}

impl Process {
    /// How it ended, in words, with its last lines, once it has; `None` where it goes on running.
    pub(super) async fn last_words(&mut self, logs: &Logs) -> (Option<String>, Vec<String>) {
        let ended = tokio::time::timeout(END_TOGETHER, self.child.ended()).await;
        self.drained.wait(LAST_WORDS).await;
        let how = match ended {
            Ok(Ok(ended)) => Some(format!("it ended with {ended}")),
            Ok(Err(Lost)) => Some("the bot's launcher process ended".to_owned()),
            Err(_) => None,
        };
        (how, logs.telling())
    }
}

fn make_home(home: &Path) -> std::io::Result<PathBuf> {
    if !home.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home)?;
    }
    std::path::absolute(home)
}

async fn shake_hands(
    process: &mut Process,
    (logs, masker): (&Arc<Logs>, &Masker),
    transport: PipeTransport,
    events: &Arc<Events>,
    deadline: Instant,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<RunningService<RoleClient, Client>, Trouble> {
    let mut handshake = Box::pin(serve_client(Client, transport));
    let (mut pid, mut told) = (None, false);
    let result = loop {
        let settled = tokio::time::sleep(NOT_AT_ONCE);
        tokio::select! {
            biased;
            result = &mut handshake => break Some(result),
            started = process.child.started(), if pid.is_none() => match started {
                Ok(Ok(number)) => pid = Some(number),
                Ok(Err(error)) => return Err(refused(&error)),
                Err(Lost) => break None,
            },
            _ = process.child.ended() => break None,
            () = settled, if pid.is_some() && !told => {
                told = true;
                passed(Stage::Process, RUNNING.to_owned());
            }
            () = tokio::time::sleep_until(deadline) => {
                return Err(Trouble {
                    stage: Stage::Handshake,
                    what: format!(
                        "it did not answer the handshake (initialize) in time{}",
                        strayed(events, masker)
                    ),
                    advice: "Is it an MCP server that speaks over stdin and stdout? A first start that downloads may take longer: try again.".to_owned(),
                    lasting: false,
                    said: logs.telling(),
                });
            }
        }
    };
    let error = match result {
        Some(Ok(service)) => {
            if !told {
                passed(Stage::Process, RUNNING.to_owned());
            }
            return Ok(service);
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    drop(handshake);
    let mut trouble = Trouble {
        stage: Stage::Handshake,
        what: String::new(),
        advice: String::new(),
        lasting: false,
        said: Vec::new(),
    };
    match error {
        Some(ClientInitializeError::JsonRpcError(error)) if error.code.0 == UNREADABLE => {
            trouble.what = format!(
                "its answer to the handshake makes no sense: {}",
                error.message
            );
        }
        Some(ClientInitializeError::JsonRpcError(error)) => {
            trouble.what = format!(
                "it refused the handshake: {} (code {})",
                masked_line(masker, &error.message, MESSAGE_CHARS),
                error.code.0
            );
        }
        Some(
            ClientInitializeError::ExpectedInitResponse(_)
            | ClientInitializeError::ExpectedInitResult(_)
            | ClientInitializeError::ConflictInitResponseId(..)
            | ClientInitializeError::UncorrelatedErrorResponse { .. },
        ) => "its answer to the handshake makes no sense".clone_into(&mut trouble.what),
        _ => {
            let (ended, said) = process.last_words(logs).await;
            trouble.said = said;
            if ended.is_some() && !told {
                trouble.stage = Stage::Process;
            }
            trouble.what = match (ended, events.why()) {
                (_, Some(why)) => why.to_owned(),
                (Some(ended), None) => format!("{ended} before it answered the handshake"),
                (None, None) => "it closed its output before it answered the handshake".to_owned(),
            } + &strayed(events, masker);
            "Run the command by hand on the host to see what it needs: arguments, variables, a login."
                .clone_into(&mut trouble.advice);
            return Err(trouble);
        }
    }
    "It may not be an MCP server, or be a broken one: look at its own documentation."
        .clone_into(&mut trouble.advice);
    Err(trouble)
}

async fn ask_for_tools(
    process: &mut Process,
    logs: &Arc<Logs>,
    connection: &Arc<Connection>,
    name: &str,
    deadline: Instant,
) -> Result<Listing, Trouble> {
    let mut trouble = Trouble {
        stage: Stage::ToolsList,
        what: String::new(),
        advice: String::new(),
        lasting: false,
        said: Vec::new(),
    };
    let result = tokio::select! {
        biased;
        result = list_tools(&connection.peer, name, &connection.masker) => Some(result),
        () = connection.events.ended.cancelled() => Some(Err(ServiceError::TransportClosed)),
        _ = process.child.ended() => Some(Err(ServiceError::TransportClosed)),
        () = tokio::time::sleep_until(deadline) => None,
    };
    match result {
        Some(Ok(listing)) => return Ok(listing),
        None => {
            "it did not answer tools/list in time".clone_into(&mut trouble.what);
            trouble.said = logs.telling();
        }
        Some(Err(ServiceError::McpError(error))) => {
            trouble.what = format!(
                "it answered tools/list with an error: {} (code {})",
                masked_line(&connection.masker, &error.message, MESSAGE_CHARS),
                error.code.0
            );
        }
        Some(Err(ServiceError::UnexpectedResponse)) => {
            "its answer to tools/list is no list of tools".clone_into(&mut trouble.what);
        }
        Some(Err(_)) => {
            let (ended, said) = process.last_words(logs).await;
            trouble.said = said;
            trouble.what = match (ended, connection.events.why()) {
                (_, Some(why)) => why.to_owned(),
                (Some(ended), None) => format!("{ended} before it answered tools/list"),
                (None, None) => "it closed its output before it answered tools/list".to_owned(),
            };
        }
    }
    "Look at /mcp logs, and at the server's own documentation.".clone_into(&mut trouble.advice);
    Err(trouble)
}

/// A server that talks to people on its stdout is often none, or one with a log in the wrong place.
fn strayed(events: &Events, masker: &Masker) -> String {
    /// As much of the line as tells what it is.
    const MOST: usize = 100;
    events.stray().map_or_else(String::new, |line| {
        let line = masked_line(masker, line, MOST).replace('`', "'");
        format!("; it printed something that is not MCP: `{line}`")
    })
}

fn speaks(version: Option<ProtocolVersion>, masker: &Masker) -> Result<String, Trouble> {
    let version = version
        .map(|version| version.to_string())
        .unwrap_or_default();
    let known: Vec<_> = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .filter(|known| known.has_initialize())
        .map(ToString::to_string)
        .collect();
    if known.contains(&version) {
        return Ok(version);
    }
    Err(Trouble {
        stage: Stage::Protocol,
        what: format!(
            "it speaks protocol revision `{}`, which this bot does not (it speaks {})",
            masked_line(masker, &version, 40),
            known.join(", ")
        ),
        advice: "Use a version of the server for one of these revisions.".to_owned(),
        lasting: true,
        said: Vec::new(),
    })
}

fn refused(error: &std::io::Error) -> Trouble {
    let advice = match error.raw_os_error() {
        Some(2) => {
            "The program is there, but what its first line (#!) or its loader names is not: install that."
        }
        Some(8) => {
            "The file is no program for this machine: a script needs a first line such as #!/bin/sh."
        }
        Some(7) => "Its arguments and environment are too large together: make them shorter.",
        Some(13) => {
            "The bot's user may not run it: look at the rights of the file and its folders."
        }
        _ => "",
    };
    Trouble {
        stage: Stage::Process,
        what: format!("the system refused to start it: {error}"),
        advice: advice.to_owned(),
        lasting: !advice.is_empty(),
        said: Vec::new(),
    }
}

/// What is told of a process that started: no number, which the launcher may tell after the first answer.
const RUNNING: &str = "running";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_holds_nobody_up() {
        let looks = Arc::new(Semaphore::new(1));
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let hung = look_within(Duration::from_millis(1), &looks, move || hangs.recv());
        assert!(hung.await.is_none());
        let other = look_within(Duration::from_millis(1), &looks, || 1);
        assert_eq!(other.await, None, "no more than the limit hang at once");
        release.send(()).unwrap();
        let again = look_within(Duration::from_secs(30), &looks, || 2);
        assert_eq!(again.await, Some(2));
    }
}
