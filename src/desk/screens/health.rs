//! How servers do: status, logs, tests, history, and what they report by themselves.

use std::time::Duration;

use super::super::action::{Action, Key, ServerVerb};
use super::{count, duration, state_words, trouble};
use crate::chat::{Block, Text, View};
use crate::config::{Definition, ServerName};
use crate::registry::{Broken, ServerState, ServerView, Snapshot, Stage, StageResult};
use crate::store::{HistoryEntry, Origin};

/// Numbers of a thread.
pub(in crate::desk) fn status(snapshot: &Snapshot) -> View {
    let servers = &snapshot.servers;
    let is = |test: fn(&ServerState) -> bool| {
        servers.iter().filter(|server| test(&server.state)).count()
    };
    let running = is(|state| matches!(state, ServerState::Ready { .. }));
    let asleep = is(|state| matches!(state, ServerState::Asleep));
    let failed = is(|state| trouble(state).is_some());
    let expected = is(|state| {
        !matches!(
            state,
            ServerState::Disabled | ServerState::WaitingForApproval | ServerState::Starting { .. }
        )
    });
    let starting = is(|state| matches!(state, ServerState::Starting { .. }));
    let tools: usize = servers.iter().map(|server| server.tools.len()).sum();
    let health = ((running + asleep) * 100)
        .checked_div(expected)
        .map_or_else(
            || match starting {
                0 => "no server is switched on".to_owned(),
                _ => "not known before they have started".to_owned(),
            },
            |share| format!("{share} %"),
        );
    let waiting = is(|state| {
        matches!(
            state,
            ServerState::WaitingForApproval | ServerState::NeedsLogin { .. }
        )
    });
    let restarts: u32 = servers.iter().map(|server| server.stats.restarts).sum();
    let pair = |name: &str, value: String| (name.to_owned(), Text::default().plain(value));
    let mut pairs = vec![
        pair("Servers", servers.len().to_string()),
        pair("Running", running.to_string()),
        pair("Asleep", asleep.to_string()),
        pair("Failed", failed.to_string()),
        pair("Tools", tools.to_string()),
        pair("Health", health),
        pair("Restarts", restarts.to_string()),
    ];
    if waiting > 0 {
        pairs.insert(4, pair("Waiting for you", waiting.to_string()));
    }
    if starting > 0 {
        pairs.insert(2, pair("Starting", starting.to_string()));
    }
    let mut view = View::titled("Status").with(Block::Pairs(pairs));
    if !servers.is_empty() {
        view = view.with(Block::List(servers.iter().map(numbers).collect()));
    }
    view.row([
        Action::Panel(0).button("My servers"),
        Action::Open(super::super::action::Screen::Status).button("Refresh"),
    ])
}

fn numbers(server: &ServerView) -> Text {
    let stats = &server.stats;
    let mut words = vec![state_words(server)];
    if let Some(start) = stats.start_time {
        words.push(format!("started in {}", duration(start)));
    }
    if let Some(median) = stats.median_call {
        words.push(format!("answers in {}", duration(median)));
    }
    if let Some(health) = stats.health {
        let took = duration(health.took);
        words.push(if health.is_well {
            format!("reached in {took}")
        } else {
            format!("not reached within {took}")
        });
    }
    let calls = stats.answered + stats.unanswered;
    if calls > 0 {
        words.push(format!("{} of {calls} calls answered", stats.answered));
    }
    // Where these are all calls there were, it is said already.
    if stats.recent_failed > 0 && calls > u64::from(stats.recent) {
        let share = (stats.recent_failed * 100).div_ceil(stats.recent.max(1));
        let of = count(stats.recent as usize, "call");
        words.push(format!("errors {share} % of the last {of}"));
    }
    if stats.restarts > 0 {
        words.push(count(stats.restarts as usize, "restart"));
    }
    Text::default()
        .bold(server.name.as_str())
        .plain(format!(" · {}", words.join(" · ")))
}

/// The tail of a server's stderr, or of what it was asked.
pub(in crate::desk) fn logs(server: &str, is_remote: bool, lines: &[String]) -> View {
    let view = View::titled(format!("Log of {server}"));
    let view = if lines.is_empty() {
        view.line(if is_remote {
            "Nothing was sent to it since it was loaded."
        } else {
            "It has written nothing to stderr since it was loaded."
        })
    } else {
        view.with(Block::Code {
            language: "",
            text: lines.join("\n"),
        })
    };
    let verb = |verb, label: &str| Action::Server(verb, Key::of(server)).button(label);
    view.row([
        verb(ServerVerb::Logs, "Refresh"),
        verb(ServerVerb::Restart, "Restart"),
        verb(ServerVerb::Show, "Back"),
    ])
}

/// What kind of server is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::desk) enum Kind {
    /// It runs here.
    Local,
    /// It is reached over the network.
    Remote,
}

impl Kind {
    /// The kind of a definition.
    pub(in crate::desk) fn of(definition: &Definition) -> Self {
        match definition {
            Definition::Local(_) => Self::Local,
            Definition::Remote(_) => Self::Remote,
        }
    }

    fn stages(self) -> &'static [Stage] {
        match self {
            Self::Local => &[
                Stage::Command,
                Stage::Process,
                Stage::Handshake,
                Stage::Protocol,
                Stage::ToolsList,
                Stage::Schemas,
            ],
            Self::Remote => &[
                Stage::Address,
                Stage::Dns,
                Stage::Tls,
                Stage::Http,
                Stage::Auth,
                Stage::Transport,
                Stage::Handshake,
                Stage::Protocol,
                Stage::ToolsList,
                Stage::Schemas,
            ],
        }
    }

    /// The stage that follows those that have ended.
    fn next(self, results: &[StageResult]) -> Option<Stage> {
        // Few servers have a package to be installed first.
        let Some(last) = results.last().filter(|last| last.stage != Stage::Package) else {
            return self.stages().first().copied();
        };
        let place = self
            .stages()
            .iter()
            .position(|stage| *stage == last.stage)?;
        let mut rest = self.stages()[place + 1..].iter();
        rest.find(|stage| results.iter().all(|result| result.stage != **stage))
            .copied()
    }
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Address => "address allowed",
        Stage::Dns => "name found",
        Stage::Tls => "connection",
        Stage::Http => "answer",
        Stage::Transport => "speaks MCP",
        Stage::Auth => "login",
        Stage::Package => "package installed",
        Stage::Command => "command found",
        Stage::Process => "process started",
        Stage::Handshake => "handshake",
        Stage::Protocol => "protocol version",
        Stage::ToolsList => "tools listed",
        Stage::Schemas => "tools' schemas",
    }
}

/// A test under way.
pub(in crate::desk) fn test_running(
    server: &str,
    kind: Kind,
    results: &[StageResult],
    elapsed: Duration,
    stop: &str,
) -> View {
    View::titled(format!("Testing {server}"))
        .with(Block::List(stage_lines(results, kind, Some(elapsed))))
        .row([Action::Stop(stop.to_owned()).button("Stop")])
}

/// The stages so far and, while it goes on (since `elapsed`), the one under way.
pub(super) fn stage_lines(
    results: &[StageResult],
    kind: Kind,
    elapsed: Option<Duration>,
) -> Vec<Text> {
    let mut lines: Vec<Text> = results.iter().map(stage_line).collect();
    let is_broken = results.iter().any(|result| result.outcome.is_err());
    if let Some(elapsed) = elapsed.filter(|_| !is_broken)
        && let Some(next) = kind.next(results)
    {
        let time = match elapsed.as_secs() {
            0..2 => String::new(),
            seconds => format!(" · for {seconds} s"),
        };
        lines.push(Text::from("⏳ ").plain(format!("{}{time}", stage_words(next))));
    }
    lines
}

/// A finished test.
pub(in crate::desk) fn staged(server: &str, kind: Kind, results: &[StageResult]) -> View {
    let broken = results
        .iter()
        .find_map(|result| result.outcome.as_ref().err());
    let title = if broken.is_some() {
        format!("{server} does not work")
    } else {
        format!("{server} works")
    };
    let mut view = View::titled(title).with(Block::List(results.iter().map(stage_line).collect()));
    if let Some(broken) = broken {
        view.is_error = true;
        view = view.line(broken.what.clone());
        if let Some(advice) = advice(broken) {
            view = view.line(advice);
        }
        if !broken.stderr.is_empty() {
            let words = match kind {
                Kind::Local => "Its last words on stderr:",
                Kind::Remote => "What it was asked last:",
            };
            view = view.line(words).with(Block::Code {
                language: "",
                text: broken.stderr.join("\n"),
            });
        }
    }
    let verb = |verb, label: &str| Action::Server(verb, Key::of(server)).button(label);
    view.row([
        verb(ServerVerb::Test, "Test again"),
        match kind {
            Kind::Local => verb(ServerVerb::Edit, "Edit"),
            Kind::Remote => verb(ServerVerb::Connect, "Connect anew"),
        },
        verb(ServerVerb::Show, "Back"),
    ])
}

/// What to do about it, a sentence; a question needs no full stop after it.
pub(super) fn advice(broken: &Broken) -> Option<String> {
    let words = broken.advice.replace("?.", "?");
    (!words.is_empty()).then_some(words)
}

fn stage_line(result: &StageResult) -> Text {
    let words = stage_words(result.stage);
    let took = match result.took {
        took if took < Duration::from_millis(10) => String::new(),
        took => format!(" · {}", duration(took)),
    };
    match &result.outcome {
        Ok(seen) => Text::from("✅ ")
            .plain(words)
            .plain(": ")
            .code(seen)
            .plain(took),
        Err(_) => Text::from("❌ ").bold(words).plain(took),
    }
}

/// A page of the history.
pub(in crate::desk) fn history(entries: &[HistoryEntry], now_ms: i64) -> View {
    if entries.is_empty() {
        return View::text("Nothing was changed here yet.")
            .row([Action::Panel(0).button("My servers")]);
    }
    let mut view = View::titled("Changes, newest first");
    for entry in entries {
        let who = match &entry.origin {
            Origin::Person(actor) => actor.name.clone(),
            Origin::Host => "somebody on the bot's machine".to_owned(),
        };
        let line = Text::default()
            .bold(&entry.title)
            .plain(format!(" · {who} · {}", when(entry.at_ms, now_ms)));
        view = view.line(line).with(Block::Diff(entry.diff.clone()));
    }
    view.row([
        Action::Undo(entries[0].id.clone()).button("Undo the newest"),
        Action::Panel(0).button("My servers"),
    ])
}

/// A moment as people say it, with the date in UTC.
pub(super) fn when(at_ms: i64, now_ms: i64) -> String {
    let ago = u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or_default();
    let date = jiff::Timestamp::from_millisecond(at_ms).map_or_else(
        |_| "an unknown time".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    );
    match ago / 60_000 {
        0 => format!("just now ({date})"),
        1..60 => format!("{} min ago ({date})", ago / 60_000),
        _ => date,
    }
}

/// A server ended too often, or was ended for what it used.
pub(in crate::desk) fn parked(server: &ServerView) -> View {
    let key = || Key::of(server.name.as_str());
    let reason = trouble(&server.state)
        .unwrap_or("it gave no reason")
        .to_owned();
    let what = match server.state {
        ServerState::Parked { over: true, .. } => {
            " used more than it may, so I ended it. Its tools are gone until somebody restarts it."
        }
        _ => " ended too often, so I stopped starting it. Its tools are gone until it runs again.",
    };
    View::text(Text::from("🔴 ").bold(server.name.as_str()).plain(what))
        .with(Block::Code {
            language: "",
            text: reason,
        })
        .row([
            Action::Server(ServerVerb::Restart, key()).button("Restart"),
            Action::Server(ServerVerb::Logs, key()).button("Logs"),
            Action::Server(ServerVerb::Test, key()).button("Test"),
        ])
}

/// So many servers of a list are told.
const TOLD: usize = 10;

/// The operator's policy changed, and these servers stop or start anew by it.
pub(in crate::desk) fn judged(stopped: &[(ServerName, String)], anew: &[ServerName]) -> View {
    let mut view = View::text("The operator of this bot changed its policy.");
    if !stopped.is_empty() {
        let lines = stopped.iter().take(TOLD).map(|(name, why)| {
            Text::from("🔴 ")
                .bold(name.as_str())
                .plain(format!(" does not run any more. {why}"))
        });
        view = view.with(Block::List(lines.collect()));
        if let Some(more @ 1..) = stopped.len().checked_sub(TOLD) {
            view = view.line(format!("And {more} more; `/mcp list` shows which."));
        }
    }
    if !anew.is_empty() {
        let mut line = Text::default();
        for (place, name) in anew.iter().take(TOLD).enumerate() {
            line = line
                .plain(if place == 0 { "" } else { ", " })
                .bold(name.as_str());
        }
        let more = match anew.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let verb = if anew.len() == 1 { "starts" } else { "start" };
        view = view.line(line.plain(format!(
            "{more} {verb} anew under the new policy; there is nothing for you to do."
        )));
    }
    view.row([Action::Panel(0).button("My servers")])
}
