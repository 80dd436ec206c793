//! Servers that run here: find the program, start it, shake hands, ask for the tools.

mod cage;
mod expand;
mod folder;
mod hindered;
mod locate;
mod packages;
mod process;
mod quota;
mod sight;
mod terms;
mod way_out;

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::{RunningService, ServiceError, serve_client};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::Stage;
use super::connection::{
    Backing, Client, Connection, Opened, Parts, greeting, handshake_words, list_words,
};
use super::context::Context;
use super::launch::{Lost, Spawn};
use super::listing::{Listing, list_tools};
use super::logs::Logs;
use super::text::masked_line;
use super::transport::{Events, PipeTransport};
use super::trouble::{Mend, Trouble};
use crate::config::{Masker, ServerName, StdioServer};
use crate::policy::HostPolicy;
use crate::thread::ThreadId;

pub(super) use folder::may_work_in;
use hindered::Held;
use locate::Launch;
pub(super) use locate::look_within;
pub(super) use packages::{Claims, Sources, pin};
pub use packages::{NotPinned, Pinned};
pub(super) use process::Process;
pub(super) use quota::Homes;
pub(super) use sight::out_of_sight;
pub(super) use terms::{Terms, has_word};

/// A process that lives this long did not end at once; what ends it later is told where it happens.
const NOT_AT_ONCE: Duration = Duration::from_millis(500);

/// Whose start it is.
pub(super) struct Whose<'a> {
    pub(super) name: &'a ServerName,
    /// The entry is the operator's own.
    pub(super) by_operator: bool,
    /// What it is started under, whatever the policy becomes meanwhile.
    pub(super) policy: Arc<HostPolicy>,
}

/// Finds the program, starts it and brings the connection up; `passed` is told each stage that is passed, and `doing`
/// what takes a while before the process.
pub(super) async fn open(
    context: &Arc<Context>,
    thread: ThreadId,
    Whose {
        name,
        by_operator,
        policy,
    }: Whose<'_>,
    server: &StdioServer,
    logs: &Arc<Logs>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
    doing: &mut (dyn FnMut(String) + Send),
) -> Result<Opened, Trouble> {
    let word = has_word(context, &[&*policy], thread, (name, by_operator), server).await;
    let (terms, less) = Terms::of(context, &policy, thread, server, word)?;
    if let Some(less) = less {
        logs.note(less.words().to_owned());
    }
    let way_out = way_out::open(context, thread, name, server, &terms.grant)?;
    // The word and the grant are for the entry as it stands in the file.
    let (server, masker) = expand::expanded(context, thread, server).await?;
    let (server, masker) = (&server, Arc::new(masker));
    let installed = packages::installed(context, thread, name, server, doing).await?;
    let direct;
    let (server, folder, claim) = match installed {
        Some(installed) => {
            passed(Stage::Package, installed.package);
            direct = installed.server;
            (&direct, Some(installed.folder), Some(installed.claim))
        }
        None => (server, None, None),
    };
    let launch = Launch {
        policy,
        terms,
        network: way_out.network(),
        package: folder,
    };
    let located = locate::locate(context, thread, server, launch).await?;
    passed(Stage::Command, located.program.display().to_string());
    let deadline = Instant::now() + context.options.start_timeout;
    let cannot_start = |error: std::io::Error| Trouble {
        stage: Stage::Process,
        what: format!("its process could not be started: {error}"),
        advice: "Try again; if it stays so, ask whoever runs the bot.".to_owned(),
        mend: Mend::Again,
        said: Vec::new(),
    };
    let launcher = context.launcher().map_err(cannot_start)?;
    let (mut wrapped, home) = (located.wrapped, located.home);
    let (child, mut pipes) = launcher
        .spawn(Spawn::of(&mut wrapped, (thread, name)))
        .await
        .map_err(cannot_start)?;
    if !wrapped.preamble.is_empty() {
        // One that ends before it read this is told by its end.
        let _ = tokio::time::timeout_at(deadline, pipes.stdin.write_all(&wrapped.preamble)).await;
    }
    let (transport, outgoing, events) = PipeTransport::new(pipes.stdin, pipes.stdout);
    let watched = wrapped
        .limits
        .map(|_| quota::watch(context, thread, (&home.0, home.1), child.ender()));
    let mut process = Process {
        child,
        held: Box::new(Held {
            shown: wrapped.shown.take(),
            limits: wrapped.limits,
        }),
        watched,
        drained: logs.drain(pipes.stderr, masker.clone()),
        outgoing,
        service: None,
        _way_out: way_out,
        _package: claim,
    };

    // Nothing waits for the launcher's word: `initialize` is in the pipe before the program runs.
    let service = shake_hands(
        &mut process,
        (logs, &masker),
        transport,
        &events,
        (deadline, context.options.start_timeout),
        passed,
        doing,
    )
    .await?;
    let connection = Connection::over(
        &service,
        Parts {
            events,
            masker: Arc::new(masker.into()),
            timeout: None,
            is_local: true,
        },
    )
    .await;
    process.service = Some(service);
    let (server_info, protocol) = greeting(&connection, passed)?;
    let listing = ask_for_tools(&mut process, logs, &connection, name.as_str(), deadline).await?;
    passed(
        Stage::ToolsList,
        super::text::count(listing.tools.len(), "tool"),
    );
    Ok(Opened {
        connection,
        backing: Backing::Process(process),
        listing,
        protocol,
        server_info,
    })
}

async fn shake_hands(
    process: &mut Process,
    (logs, masker): (&Arc<Logs>, &Masker),
    transport: PipeTransport,
    events: &Arc<Events>,
    (deadline, limit): (Instant, Duration),
    passed: &mut (dyn FnMut(Stage, String) + Send),
    doing: &mut (dyn FnMut(String) + Send),
) -> Result<RunningService<RoleClient, Client>, Trouble> {
    let mut handshake = Box::pin(serve_client(Client::default(), transport));
    let (mut pid, mut told, mut strayed_told) = (None, false, false);
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
            // One that greets people and then speaks MCP is through before this.
            line = events.strayed(), if told && !strayed_told => {
                strayed_told = true;
                doing(no_mcp_yet(line, masker, limit));
            }
            () = tokio::time::sleep_until(deadline) => {
                return Err(Trouble {
                    stage: Stage::Handshake,
                    what: format!(
                        "it did not answer the handshake (initialize) in time{}",
                        strayed(events, masker)
                    ),
                    advice: "Is it an MCP server that speaks over stdin and stdout? A first start that downloads may take longer: try again.".to_owned(),
                    mend: Mend::Again,
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
        mend: Mend::Again,
        said: Vec::new(),
    };
    if let Some(words) = error.and_then(|error| handshake_words(&error, masker)) {
        trouble.what = words;
        "It may not be an MCP server, or be a broken one: look at its own documentation."
            .clone_into(&mut trouble.advice);
        return Err(trouble);
    }
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
    trouble.advice = process.advice(logs).await.unwrap_or_else(|| {
        "`/mcp logs` shows what it printed. Often an argument, a variable or a login is missing, or a file that is not in \
         this chat's own folder: `/mcp edit` changes what it is started with."
            .to_owned()
    });
    trouble.mend = process.mend();
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
        mend: Mend::Again,
        said: Vec::new(),
    };
    let masker = connection.masker.load_full();
    let result = tokio::select! {
        biased;
        result = list_tools(&connection.peer, name, &masker) => Some(result),
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
        Some(Err(error)) => {
            if let Some(words) = list_words(&error, &connection.masker.load()) {
                trouble.what = words;
            } else {
                let (ended, said) = process.last_words(logs).await;
                trouble.said = said;
                trouble.what = match (ended, connection.events.why()) {
                    (_, Some(why)) => why.to_owned(),
                    (Some(ended), None) => format!("{ended} before it answered tools/list"),
                    (None, None) => "it closed its output before it answered tools/list".to_owned(),
                };
            }
        }
    }
    trouble.advice = process
        .advice(logs)
        .await
        .unwrap_or_else(|| "Look at /mcp logs, and at the server's own documentation.".to_owned());
    trouble.mend = process.mend();
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

/// What is told of such a server while it is waited for.
fn no_mcp_yet(line: &str, masker: &Masker, limit: Duration) -> String {
    /// As much of the line as fits beside the rest.
    const MOST: usize = 40;
    let line = masked_line(masker, line, MOST).replace('"', "'");
    let limit = match limit.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    };
    format!("it printed something that is not MCP (\"{line}\"); waiting up to {limit}")
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
        mend: if advice.is_empty() {
            Mend::Again
        } else {
            Mend::Change
        },
        said: Vec::new(),
    }
}

/// What is told of a process that started: no number, which the launcher may tell after the first answer.
const RUNNING: &str = "running";
