//! An address that nobody has connected yet, tried stage by stage: is it one, who answers there, in which language, and what
//! does it want to know of us.
//!
//! How a server is spoken to is found in the order of the specification ("Backwards Compatibility" of MCP 2025-11-25 and
//! 2026-07-28): the newest revision, then `initialize`, then a stream of HTTP+SSE where `initialize` was answered with 400,
//! 404 or 405. Each is tried on a wire of its own, and the way that answers is then connected as any server is. Of the ways
//! that do not, the first one's words are shown: the last one's tell of a language that hardly anybody speaks any more.

mod login;
mod question;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::context::Context;
use super::super::logs::Logs;
use super::super::text::sentence;
use super::super::told::{Told, watched};
use super::super::trouble::Trouble;
use super::super::{AuthWanted, Broken, ProbeAsk, Probed, Stage, StageResult, Staged};
use super::{Wire, WireError, open, sse};
use crate::config::{RemoteServer, RemoteTransport};
use crate::thread::ThreadId;

use question::{Answer, Question};

/// What the server is called while it has no name.
const NAME: &str = "server";

/// Tries an address; `stages` is told each finished stage as it ends.
pub(in crate::registry) async fn probe(
    context: &Arc<Context>,
    thread: ThreadId,
    ask: ProbeAsk,
    stages: mpsc::Sender<StageResult>,
) -> Probed {
    let trying = async move |told| {
        let mut probe = Probe {
            context,
            thread,
            server: RemoteServer {
                transport: RemoteTransport::Http,
                url: ask.url,
                headers: ask.headers,
                auth: ask.auth,
                timeout_ms: None,
                disabled: false,
            },
            logs: Arc::default(),
            told,
            found: Found::default(),
        };
        if let Err(trouble) = probe.run().await {
            probe.told.broken(&trouble);
        }
        probe.found
    };
    let (found, results) = watched(stages, trying).await;
    Probed {
        staged: Staged { results },
        transport: found.transport,
        auth: found.auth.unwrap_or(AuthWanted::None),
        server_info: found.server_info,
        tools: found.tools,
    }
}

struct Probe<'a> {
    context: &'a Arc<Context>,
    thread: ThreadId,
    server: RemoteServer,
    logs: Arc<Logs>,
    told: Told,
    found: Found,
}

#[derive(Default)]
struct Found {
    transport: Option<RemoteTransport>,
    auth: Option<AuthWanted>,
    server_info: String,
    tools: Option<usize>,
}

/// What the ways of speaking came to.
enum Spoken {
    /// It speaks so, in a revision or a form to be shown.
    Way(RemoteTransport, String),
    /// It says nothing before it knows who asks.
    Guarded(Answer),
}

impl Probe<'_> {
    async fn run(&mut self) -> Result<(), Trouble> {
        let wire = self.look_up().await?;
        let first = self.first_answer(&wire).await?;
        match self.language(&wire, first).await? {
            Spoken::Guarded(answer) => self.guarded(&wire, &answer).await,
            Spoken::Way(transport, seen) => {
                self.found.transport = Some(transport);
                self.told.passed(Stage::Transport, &seen);
                self.found.auth = Some(AuthWanted::None);
                let seen = match wire.auth() {
                    "none" => "no login wanted".to_owned(),
                    sent => format!("{sent} was accepted, or is not needed"),
                };
                self.told.passed(Stage::Auth, &seen);
                self.connect(transport).await
            }
        }
    }

    async fn look_up(&mut self) -> Result<Arc<Wire>, Trouble> {
        let net = &self.context.outside.net;
        if let Err(problem) = net.judge_url(&self.server.url) {
            return Err(words::bad_address(&problem));
        }
        let wire = self.wire().await?;
        self.told.passed(Stage::Address, &wire.host());
        let addresses = net
            .resolve(wire.url())
            .await
            .map_err(|error| words::no_name(&error))?;
        self.told.passed(Stage::Dns, &words::some_of(&addresses));
        Ok(wire)
    }

    /// The newest revision's question. Whatever comes back tells whether anybody is there.
    async fn first_answer(&mut self, wire: &Arc<Wire>) -> Result<Answer, Trouble> {
        let limit = self.limit();
        let begun = Instant::now();
        let mut answer = question::ask(wire, Question::Discover, limit).await;
        if words::is_connection(&answer, begun.elapsed() < limit) {
            return Err(words::no_connection(&answer));
        }
        let secure = wire.url().scheme() == "https";
        self.told.passed(
            Stage::Tls,
            if secure {
                "its certificate is valid"
            } else {
                "a plain connection, without encryption"
            },
        );
        if answer.timed_out() {
            // A server of old that waits for ever for what it does not know?
            let fresh = self.wire().await?;
            answer = question::ask(&fresh, Question::Initialize, limit).await;
        }
        match words::of_http(&answer) {
            Ok(seen) => self.told.passed(Stage::Http, &seen),
            Err(trouble) => return Err(trouble),
        }
        Ok(answer)
    }

    async fn language(&mut self, wire: &Arc<Wire>, first: Answer) -> Result<Spoken, Trouble> {
        if first.is_guarded() {
            return Ok(Spoken::Guarded(first));
        }
        if let Some(seen) = first.understood() {
            return Ok(Spoken::Way(RemoteTransport::Http, seen));
        }
        let second = if first.question == Question::Initialize {
            first
        } else {
            let fresh = self.wire().await?;
            question::ask(&fresh, Question::Initialize, self.limit()).await
        };
        self.say_goodbye(&second).await;
        if second.is_guarded() {
            return Ok(Spoken::Guarded(second));
        }
        if let Some(seen) = second.understood() {
            return Ok(Spoken::Way(RemoteTransport::Http, seen));
        }
        if !second.asks_for_a_stream() {
            return Err(words::no_language(wire, &second, None));
        }
        let fresh = self.wire().await?;
        let streaming = sse::connect(&fresh, self.limit()).await;
        fresh.closed().cancel();
        match streaming {
            Ok(_) => Ok(Spoken::Way(
                RemoteTransport::Sse,
                "HTTP+SSE, the way of 2024".to_owned(),
            )),
            Err(error) => {
                let third = Answer::of_stream(error);
                if third.is_guarded() {
                    return Ok(Spoken::Guarded(third));
                }
                Err(words::no_language(wire, &second, Some(&third)))
            }
        }
    }

    /// A login is wanted first; that is no fault, unless one was shown.
    async fn guarded(&mut self, wire: &Wire, answer: &Answer) -> Result<(), Trouble> {
        // The stream of old was guarded only where nothing else is there.
        let transport = if answer.question == Question::Stream {
            RemoteTransport::Sse
        } else {
            RemoteTransport::Http
        };
        self.found.transport = Some(transport);
        let wanted = login::wanted(self.context, &self.server, wire, answer).await;
        self.told.passed(
            Stage::Transport,
            match transport {
                RemoteTransport::Http => "streamable HTTP, as far as it tells before a login",
                RemoteTransport::Sse => "HTTP+SSE, as far as it tells before a login",
            },
        );
        let seen = words::of_login(&wanted);
        self.found.auth = Some(wanted);
        self.told.passed(Stage::Auth, &seen?);
        Ok(())
    }

    /// As any server is connected; its connection ends in the background.
    async fn connect(&mut self, transport: RemoteTransport) -> Result<(), Trouble> {
        self.server.transport = transport;
        let Self {
            context,
            thread,
            server,
            logs,
            told,
            found,
        } = self;
        let opened = open(context, *thread, NAME, server, logs, &mut |stage, seen| {
            // The stages before were told.
            if matches!(stage, Stage::Handshake | Stage::Protocol | Stage::ToolsList) {
                told.passed(stage, &seen);
            }
        })
        .await?;
        found.server_info.clone_from(&opened.server_info);
        found.tools = Some(opened.listing.tools.len());
        Ok(())
    }

    async fn wire(&self) -> Result<Arc<Wire>, Trouble> {
        Wire::lay(self.context, self.thread, &self.server, &self.logs).await
    }

    fn limit(&self) -> Duration {
        let options = &self.context.options;
        // By default more than a connect may take, so that the two are told apart.
        options.remote.question_limit.min(options.start_timeout / 2)
    }

    /// The session that the question opened, if any, ends; nobody waits for that.
    async fn say_goodbye(&self, answer: &Answer) {
        let Some(session) = answer.session.clone() else {
            return;
        };
        if let Ok(wire) = self.wire().await {
            self.context
                .tasks
                .spawn(async move { question::end_session(&wire, session).await });
        }
    }
}

impl Told {
    fn passed(&mut self, stage: Stage, seen: &str) {
        self.tell(stage, Ok(seen.to_owned()));
    }

    fn broken(&mut self, trouble: &Trouble) {
        let broken = Broken {
            what: sentence(&trouble.what),
            advice: sentence(&trouble.advice),
            stderr: Vec::new(),
        };
        self.tell(trouble.stage, Err(broken));
    }
}

impl Answer {
    /// What a stream that could not be opened says.
    fn of_stream(error: WireError) -> Self {
        Self::failed(Question::Stream, error)
    }
}
