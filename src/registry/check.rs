//! `/mcp test`: a definition tried stage by stage, so that the first broken one says what to do.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::{Backing, Opened};
use super::context::Context;
use super::handle::masker;
use super::logs::Logs;
use super::text::{count, sentence};
use super::told::{Told, watched};
use super::trouble::{Mend, Trouble};
use super::{local, remote};
use crate::config::{Definition, Masker, ServerName, schema_problem};
use crate::thread::ThreadId;

/// Lines of stderr that are shown with a broken stage, and tools that are named.
const LINES: usize = 10;
const NAMED: usize = 5;
/// How long the process of a test may take to end in peace.
const GRACE: Duration = Duration::from_secs(1);

/// The stages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The address may be spoken to.
    Address,
    /// Its name has a public address.
    Dns,
    /// A connection with a valid certificate was made (for `http:`, a plain one).
    Tls,
    /// The server answered with an HTTP status.
    Http,
    /// It speaks streamable HTTP or HTTP+SSE.
    Transport,
    /// Whether it wants a login, and which.
    Auth,
    /// Its package is installed.
    Package,
    /// The command was found on the host.
    Command,
    /// The process started and did not end at once.
    Process,
    /// It answered `initialize`.
    Handshake,
    /// Its protocol revision is one that we speak.
    Protocol,
    /// It answered `tools/list`.
    ToolsList,
    /// Each tool has a name and a schema that compiles.
    Schemas,
}

/// One finished stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageResult {
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// What was seen (`/usr/bin/npx`, `2025-11-25`, `12 tools`), or why it broke and what to do.
    pub outcome: Result<String, Broken>,
}

/// Why a stage broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What happened, a sentence; secrets masked.
    pub what: String,
    /// What to do, a sentence; may be empty.
    pub advice: String,
    /// The last lines of stderr, secrets masked; may be empty.
    pub stderr: Vec<String>,
}

/// All stages that were tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// In order; the last may be broken.
    pub results: Vec<StageResult>,
}

/// Tries a definition; `stages` is told each finished stage as it ends.
pub(super) async fn check(
    context: &Arc<Context>,
    thread: ThreadId,
    name: &ServerName,
    server: &Definition,
    stages: mpsc::Sender<StageResult>,
) -> Staged {
    let trying = async move |told| {
        let mut check = Check {
            told,
            masker: masker(server),
        };
        let logs = Arc::new(Logs::default());
        if let Err(trouble) = tried(context, thread, name, server, &logs, &mut check).await {
            check.broken(&trouble, &logs);
        }
    };
    let ((), results) = watched(stages, trying).await;
    Staged { results }
}

/// A try whose words are masked.
struct Check {
    told: Told,
    masker: Masker,
}

impl Check {
    fn passed(&mut self, stage: Stage, seen: &str) {
        let seen = self.masker.mask(seen);
        self.told.tell(stage, Ok(seen));
    }

    fn broken(&mut self, trouble: &Trouble, logs: &Logs) {
        let masked = |text: &str| self.masker.mask(text);
        let broken = Broken {
            what: sentence(&masked(&trouble.what)),
            advice: sentence(&masked(&trouble.advice)),
            stderr: logs.last(LINES).iter().map(|line| masked(line)).collect(),
        };
        self.told.tell(trouble.stage, Err(broken));
    }
}

async fn tried(
    context: &Arc<Context>,
    thread: ThreadId,
    name: &ServerName,
    server: &Definition,
    logs: &Arc<Logs>,
    check: &mut Check,
) -> Result<(), Trouble> {
    let passed = &mut |stage, seen: String| check.passed(stage, &seen);
    let opened = match server {
        Definition::Local(server) => {
            let quiet = &mut |_| {};
            let whose = local::Whose {
                name,
                by_operator: false,
                policy: context.outside.policy.now(),
            };
            local::open(context, thread, whose, server, logs, passed, quiet).await?
        }
        Definition::Remote(server) => {
            remote::open_slowly(context, thread, name.as_str(), server, logs, passed).await?
        }
    };
    let verdict = judged(&opened);
    // Ended in the background: the answer does not wait for a server that takes its time to go.
    context.tasks.spawn(async move {
        match opened.backing {
            Backing::Process(mut process) => {
                let _ = tokio::time::timeout(GRACE, process.end_in_peace()).await;
                process.sweep().await;
            }
            Backing::Link(link) => link.end().await,
        }
    });
    check.passed(Stage::Schemas, &verdict?);
    Ok(())
}

/// Whether every tool can be used.
fn judged(opened: &Opened) -> Result<String, Trouble> {
    let listing = &opened.listing;
    let mut problems: Vec<_> = listing
        .refused
        .iter()
        .map(|refused| match refused.tool.as_str() {
            "" => refused.reason.clone(),
            tool => format!("`{tool}`: {}", refused.reason),
        })
        .collect();
    for tool in listing.tools.iter() {
        if let Some(problem) = schema_problem(&tool.input_schema.to_map()) {
            problems.push(format!(
                "`{}`: its inputSchema does not compile: {problem}",
                tool.name
            ));
        }
    }
    if problems.is_empty() {
        return Ok(format!(
            "all {} are sound",
            count(listing.tools.len(), "schema")
        ));
    }
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    let mut what = format!(
        "some tools cannot be used as they are: {}",
        problems.join("; ")
    );
    if more > 0 {
        let _ = write!(what, "; and {more} more");
    }
    Err(Trouble {
        stage: Stage::Schemas,
        what,
        advice: "The other tools work; tell the server's author, or try a newer version."
            .to_owned(),
        mend: Mend::Change,
        said: Vec::new(),
    })
}
