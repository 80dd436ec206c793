//! What people see: views made from values, without IO.
//!
//! Each screen is plain, short and kind: what is, what happened, the next step. Dynamic text is never parsed for marks.

mod admin;
mod audit;
mod card;
mod change;
mod connect;
mod health;
mod home;
mod login;
mod masked;
mod network;
mod result;
mod rules;
mod secrets;
mod tools;

pub(super) use admin::{
    admin_panel, chat_settings, decided, paired, sentence_of, somebody_asked, stranger, you_are_in,
};
pub(super) use audit::{audit, audit_files, audit_verdict, not_noted};
pub(super) use card::server_card;
pub(super) use change::{
    agreed, agreed_and_tried, applying, cancelled, expired, host_change, nothing_to_change,
    proposal, restarted, settled, sound_again, there_already,
};
pub(super) use connect::{
    AUTH_CHOICES, KEY_HEADERS, broken_words, connect_elsewhere, connect_facts, connect_question,
    host_of, probe_broken, probe_done, probe_dropped, probing,
};
pub(super) use health::{Kind, history, judged, logs, parked, staged, status, test_running};
pub(super) use home::{command_help, examples, help, list, panel, welcome};
pub(super) use login::{
    arrived, denied, invitation, logged_in, logged_in_loading, logged_out, login_beginning,
    login_cancelled, login_dropped, login_expired, login_failed, login_replaced, no_login,
    oauth_words, wants_login, wants_rights,
};
pub(super) use masked::masked;
pub(super) use network::NetworkFacts;
pub(super) use result::{call_done, call_running, call_stopped, starting};
pub(super) use rules::{
    ask_allowed, ask_denied, ask_expired, ask_for_call, ask_overtaken, hides_arguments, ruled,
    tools_changed, unsaid,
};
pub(super) use secrets::{
    SecretLine, secret_elsewhere, secret_forgotten, secret_kept, secret_question,
    secret_still_used, secrets, with_page,
};
pub(super) use tools::{
    ToolFacts, all_tools, kind_words, required, server_tools, shape, tool_card,
};

use super::action::{Action, Key, ServerVerb};
use crate::chat::{Button, Text};
use crate::registry::{Ruling, ServerKind, ServerState, ServerView};

/// Rows of a list on one page (people read 6 to 8).
pub(super) const PAGE: usize = 8;

/// A sign for a state, the same on every screen.
pub(super) fn sign(state: &ServerState) -> &'static str {
    match state {
        ServerState::Ready { .. } => "🟢",
        ServerState::Asleep => "💤",
        ServerState::Starting { .. } => "⏳",
        ServerState::BackingOff { .. } => "🟠",
        ServerState::Failed { .. } | ServerState::Parked { .. } => "🔴",
        ServerState::Disabled => "⚪",
        ServerState::WaitingForApproval => "✋",
        ServerState::NeedsLogin { .. } => "🔑",
    }
}

/// A state in a few words, with the count of tools.
pub(super) fn state_words(server: &ServerView) -> String {
    let tools = count(server.tools.len(), "tool");
    let off = [
        (
            Ruling::Risky,
            "off until you allow them",
            "off until you allow it",
        ),
        (Ruling::Changed, "changed", "changed"),
        (Ruling::Denied, "denied", "denied"),
        (Ruling::Unknown, "off", "off"),
    ];
    let mut refused: String = off
        .into_iter()
        .filter_map(
            |(ruling, several, one)| match server.tools_that_are(ruling) {
                0 => None,
                1 => Some(format!(", 1 {one}")),
                number => Some(format!(", {number} {several}")),
            },
        )
        .collect();
    if !server.refused.is_empty() {
        refused = format!("{refused}, {} refused", server.refused.len());
    }
    match &server.state {
        ServerState::Ready { .. } => format!("{tools}{refused}"),
        ServerState::Asleep => {
            let wakes = match server.kind {
                ServerKind::Local => "starts",
                ServerKind::Remote => "connects",
            };
            format!("{tools}{refused} · asleep, {wakes} when called")
        }
        ServerState::Starting { doing, .. } => doing.as_ref().map_or_else(
            || "starting".to_owned(),
            |doing| format!("{} …", shortened(doing, 120)),
        ),
        ServerState::BackingOff { until, .. } if server.kind == ServerKind::Remote => {
            let wait = until.saturating_duration_since(std::time::Instant::now());
            match wait.as_secs() {
                0 => "failed, is tried again now".to_owned(),
                seconds @ 1..100 => format!("failed, tries again in {seconds} s"),
                seconds => format!("failed, tries again in {} min", seconds.div_ceil(60)),
            }
        }
        ServerState::BackingOff { attempt, .. } => {
            format!("ended, starts again by itself (try {attempt})")
        }
        ServerState::Failed { .. } => "failed".to_owned(),
        ServerState::Parked { over: true, .. } => "was ended, waits for a restart".to_owned(),
        ServerState::Parked { .. } => "ended too often, waits for a restart".to_owned(),
        ServerState::Disabled => "off".to_owned(),
        ServerState::WaitingForApproval => "waiting for approval".to_owned(),
        ServerState::NeedsLogin { .. } => "needs login".to_owned(),
    }
}

/// Why a server does not run, where it should.
pub(super) fn trouble(state: &ServerState) -> Option<&str> {
    match state {
        ServerState::Failed { reason }
        | ServerState::Parked { reason, .. }
        | ServerState::BackingOff { reason, .. } => Some(reason),
        ServerState::Starting { .. }
        | ServerState::Ready { .. }
        | ServerState::Asleep
        | ServerState::Disabled
        | ServerState::WaitingForApproval
        | ServerState::NeedsLogin { .. } => None,
    }
}

/// `github · 12 tools`.
pub(super) fn server_line(server: &ServerView) -> Text {
    Text::default()
        .plain(format!("{} ", sign(&server.state)))
        .bold(server.name.as_str())
        .plain(format!(
            " · {}{}",
            state_words(server),
            if server.is_admin {
                " · from the operator"
            } else {
                ""
            }
        ))
}

/// The same with why it does not run, where somebody has to do something about it.
pub(super) fn server_line_with_why(server: &ServerView) -> Text {
    let line = server_line(server);
    match &server.state {
        ServerState::Failed { reason } => {
            let first = reason.split_inclusive(". ").next().unwrap_or(reason);
            let first = first.trim().trim_end_matches('.');
            line.plain(format!(": {}. ", shortened(first, 120)))
                .code(format!("/mcp show {}", server.name))
                .plain(" says what to do.")
        }
        _ => line,
    }
}

/// What was taken out of what a server says of its tools.
pub(super) fn hidden_words(server: &ServerView) -> Option<String> {
    let hidden: usize = server.tools.iter().map(|tool| tool.hidden).sum();
    (hidden > 0).then(|| {
        format!(
            "⚠️ {} removed from what {} says of its tools.",
            were(hidden),
            server.name
        )
    })
}

/// `1 hidden character was`, `2 hidden characters were`.
pub(super) fn were(hidden: usize) -> String {
    let verb = if hidden == 1 { "was" } else { "were" };
    format!("{} {verb}", count(hidden, "hidden character"))
}

/// The button for what a server waits for a person to do.
pub(super) fn wanted_button(server: &ServerView) -> Option<Button> {
    let key = || Key::of(server.name.as_str());
    match &server.state {
        ServerState::WaitingForApproval => {
            Some(Action::Server(ServerVerb::Connect, key()).button("Review"))
        }
        ServerState::NeedsLogin { .. } => {
            Some(Action::Server(ServerVerb::Login, key()).button("Log in"))
        }
        ServerState::Starting { .. }
        | ServerState::Ready { .. }
        | ServerState::Asleep
        | ServerState::Failed { .. }
        | ServerState::BackingOff { .. }
        | ServerState::Parked { .. }
        | ServerState::Disabled => None,
    }
}

/// `1 tool`, `2 tools`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// At most `most` characters, with an ellipsis where something was left out.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A time between two moments, as people say it.
pub(super) fn duration(time: std::time::Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.as_millis());
    match seconds {
        0 if millis == 0 => "under 1 ms".to_owned(),
        0 => format!("{millis} ms"),
        1..60 => format!("{}.{} s", seconds, (millis % 1000) / 100),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
