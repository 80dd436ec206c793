//! What people see: views made from values, without IO.
//!
//! Each screen is plain, short and kind: what is, what happened, the next step. Dynamic text is never parsed for marks.

mod change;
mod health;
mod home;
mod result;
mod tools;

pub(super) use change::{
    applying, cancelled, expired, host_change, nothing_to_change, proposal, restarted, settled,
    sound_again,
};
pub(super) use health::{history, logs, parked, staged, status, test_running};
pub(super) use home::{
    Definition, command_help, examples, help, list, panel, server_card, welcome,
};
pub(super) use result::{call_done, call_running, call_stopped, starting};
pub(super) use tools::{all_tools, kind_words, required, server_tools, shape, tool_card};

use crate::chat::Text;
use crate::registry::{ServerState, ServerView};

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
        ServerState::NotServed => "🌐",
    }
}

/// A state in a few words, with the count of tools.
pub(super) fn state_words(server: &ServerView) -> String {
    let tools = count(server.tools.len(), "tool");
    let refused = match server.refused.len() {
        0 => String::new(),
        refused => format!(", {refused} refused"),
    };
    match &server.state {
        ServerState::Ready { .. } => format!("{tools}{refused}"),
        ServerState::Asleep => format!("{tools}{refused} · asleep, starts when called"),
        ServerState::Starting { .. } => "starting".to_owned(),
        ServerState::BackingOff { attempt, .. } => {
            format!("ended, starts again by itself (try {attempt})")
        }
        ServerState::Failed { .. } => "failed".to_owned(),
        ServerState::Parked { .. } => "ended too often, waits for a restart".to_owned(),
        ServerState::Disabled => "off".to_owned(),
        ServerState::NotServed => "remote, not connected by this version".to_owned(),
    }
}

/// Why a server does not run, where it should.
pub(super) fn trouble(state: &ServerState) -> Option<&str> {
    match state {
        ServerState::Failed { reason }
        | ServerState::Parked { reason }
        | ServerState::BackingOff { reason, .. } => Some(reason),
        ServerState::Starting { .. }
        | ServerState::Ready { .. }
        | ServerState::Asleep
        | ServerState::Disabled
        | ServerState::NotServed => None,
    }
}

/// `github · 12 tools`.
pub(super) fn server_line(server: &ServerView) -> Text {
    Text::default()
        .plain(format!("{} ", sign(&server.state)))
        .bold(server.name.as_str())
        .plain(format!(" · {}", state_words(server)))
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
