//! The audit in words: a line for each thing that happened.

use super::super::action::Action;
use super::health::when;
use super::{count, shortened};
use crate::audit::{Closed, Entry, What};
use crate::chat::{Block, Text, View};
use crate::policy::Tier;
use crate::store::{Flaw, Noted, Verdict};

/// Characters of a call's arguments, and of what anybody said.
const ARGUMENTS: usize = 80;
const WORDS: usize = 120;

/// The newest lines, of one server or of all.
pub(in crate::desk) fn audit(lines: &[Noted], server: Option<&str>, now_ms: i64) -> View {
    if lines.is_empty() {
        let of = server.map_or_else(String::new, |name| format!(" of {}", shortened(name, 64)));
        return View::text(format!("Nothing{of} was written down here yet."))
            .row([Action::Panel(0).button("My servers")]);
    }
    let title = match server {
        Some(name) => format!("What happened with {}, newest first", shortened(name, 64)),
        None => "What happened here, newest first".to_owned(),
    };
    let rows = lines.iter().rev().map(|noted| row(noted, now_ms));
    View::titled(title)
        .with(Block::List(rows.collect()))
        .line(
            Text::from("All of it as a file: ")
                .code("/mcp audit file")
                .plain(". Whether it is whole: ")
                .code("/mcp audit verify")
                .plain("."),
        )
        .row([Action::Panel(0).button("My servers")])
}

fn row(noted: &Noted, now_ms: i64) -> Text {
    let Entry { by, what } = &noted.entry;
    let who = by
        .as_ref()
        .map_or_else(|| "the bot".to_owned(), |actor| shortened(&actor.name, 40));
    words(what).plain(format!(
        " · {who} · {} · no. {}",
        when(noted.at_ms, now_ms),
        noted.n
    ))
}

fn words(what: &What) -> Text {
    let about = |server: &str, said: &str| {
        Text::default()
            .bold(shortened(server, 64))
            .plain(format!(": {}", shortened(said, WORDS)))
    };
    match what {
        What::Changed { title, history, .. } => {
            let text = Text::default().bold(shortened(title, WORDS));
            match history {
                Some(id) => text.plain(format!(" (change {})", shortened(id, 16))),
                None => text,
            }
        }
        What::Decided { server, decision } => about(server, decision),
        What::Login { server, outcome } => about(server, outcome),
        What::Secret { name, outcome } => Text::from("secret ")
            .code(shortened(name, 64))
            .plain(format!(" {}", shortened(outcome, WORDS))),
        What::Started { server, tier } => about(server, &format!("started{}", confined(*tier))),
        What::NotStarted {
            server,
            reason,
            tier,
        } => about(
            server,
            &format!("did not start{}: {reason}", confined(*tier)),
        ),
        What::Stopped { server, reason } => about(server, &format!("stopped: {reason}")),
        What::Installed {
            server,
            package,
            outcome,
        } => about(server, &format!("package {package}: {outcome}")),
        What::Reached {
            server,
            host,
            port,
            allowed,
        } => {
            let did = if *allowed { "reached" } else { "was kept from" };
            about(server, &format!("{did} {host}:{port} for the first time"))
        }
        What::Calling { server, tool, .. } => Text::default()
            .bold(shortened(server, 64))
            .plain(" ")
            .code(shortened(tool, 64))
            .plain(": a call began, and its end is not written down"),
        What::Called {
            server,
            tool,
            arguments,
            took_ms,
            outcome,
            ..
        } => {
            let arguments = match arguments {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Text::default()
                .bold(shortened(server, 64))
                .plain(" ")
                .code(shortened(tool, 64))
                .plain(" ")
                .code(shortened(&arguments, ARGUMENTS))
                .plain(format!(" → {}, {took_ms} ms", shortened(outcome, WORDS)))
        }
        What::Admin { deed } => Text::default().plain(shortened(deed, WORDS)),
        What::Mended { told } => Text::default().plain(shortened(told, WORDS)),
    }
}

fn confined(tier: Option<Tier>) -> String {
    tier.map_or_else(String::new, |tier| format!(" (confined: {})", tier.word()))
}

/// Whether the audit is whole, and what that says.
pub(in crate::desk) fn audit_verdict(verdict: &Verdict) -> View {
    match verdict {
        Verdict::Nothing => View::text("Nothing was written down here yet."),
        Verdict::Whole { lines, last } => View::text(format!(
            "✅ The audit is whole: {}, the last is no. {last}. No line was edited, removed, inserted or cut off.",
            super::count(usize::try_from(*lines).unwrap_or(usize::MAX), "line")
        ))
        .line(
            "Somebody with the bot's own rights on its machine could still write a new one from the beginning; keep a copy elsewhere if that matters.",
        ),
        Verdict::Broken { n, flaw } => {
            let line = match flaw {
                Flaw::NoHead => format!("⚠️ The audit cannot be trusted: {flaw}."),
                _ => format!("⚠️ The audit cannot be trusted from line no. {n} on: {flaw}."),
            };
            View::error(line).line("Somebody changed it on the bot's machine. Tell who runs the bot.")
        }
    }
}

/// The words above the files.
pub(in crate::desk) fn audit_files(files: usize) -> String {
    format!(
        "Here is the audit of this chat, {}; a line of JSON for each thing that happened. Secrets are masked in it.",
        count(files, "file")
    )
}

/// Something happened and could not be written down.
pub(in crate::desk) fn not_noted(closed: &Closed) -> View {
    View::error(format!(
        "That is done, but I could not write it down ({}). I keep it in mind and write it as soon as I can. Please tell who runs this bot.",
        closed.0
    ))
}
