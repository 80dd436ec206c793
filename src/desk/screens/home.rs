//! The first screen, the panel and help.

use super::super::action::{Action, Key, Screen, ServerVerb};
use super::{PAGE, server_line_with_why, shortened};
use crate::chat::{Block, Button, Text, View};
use crate::command::{Entry, TABLE};
use crate::policy::Tier;
use crate::registry::{ServerKind, Snapshot};
use crate::sandbox::Sandbox;

/// The first screen.
pub(in crate::desk) fn welcome(empty: bool, has_demo: bool) -> View {
    let view = View::titled("Switchboard").line(
        "Plug MCP servers into this chat and use their tools here. Each change is shown to you before it is made.",
    );
    let view = if empty {
        view.line("There are no servers here yet. The demo server needs nothing installed:")
    } else {
        view
    };
    let demo = (!has_demo).then(|| Action::Open(Screen::Demo).button("Try the demo server"));
    view.row(demo)
        .row([
            Action::Open(Screen::Add).button("Add a server"),
            Action::Open(Screen::Connect).button("Connect a URL"),
        ])
        .row([
            Action::Open(Screen::PasteJson).button("Paste JSON"),
            Action::Open(Screen::Upload).button("Upload file"),
        ])
        .row([
            Action::Panel(0).button("My servers"),
            Action::Open(Screen::Help).button("Help"),
        ])
}

/// All commands, a line each.
pub(in crate::desk) fn help() -> View {
    let lines = TABLE.iter().map(|entry| {
        Text::default()
            .code(entry.usage)
            .plain(format!(" {}", entry.summary))
    });
    View::titled("What you can type")
        .with(Block::List(lines.collect()))
        .line("`/cancel` ends what I am asking you. `/mcp help add` explains one command.")
        .line("`/settings` says who may do what in a group, and `/admin`, for operators, who may use me.")
        .row([
            Action::Panel(0).button("My servers"),
            Action::Open(Screen::Examples).button("Examples"),
        ])
}

/// One command explained.
pub(in crate::desk) fn command_help(entry: &Entry) -> View {
    let view = View::titled(format!("/mcp {}", entry.name))
        .line(entry.help)
        .line(Text::from("Write: ").code(entry.usage));
    match entry.examples {
        [] => view,
        examples => view.with(Block::Code {
            language: "",
            text: examples.join("\n"),
        }),
    }
}

/// Servers to begin with.
pub(in crate::desk) fn examples() -> View {
    let lines = [
        "/mcp add everything -- npx -y @modelcontextprotocol/server-everything",
        "/mcp add memory -- npx -y @modelcontextprotocol/server-memory",
        "/mcp add files -- npx -y @modelcontextprotocol/server-filesystem /tmp",
        "/mcp add git -- uvx mcp-server-git",
    ];
    View::titled("Servers to begin with")
        .line("Send one of these lines. `npx` needs Node.js on the bot's machine, `uvx` needs uv; the demo server needs nothing.")
        .with(Block::Code { language: "", text: lines.join("\n") })
        .row([Action::Open(Screen::Demo).button("Try the demo server"), Action::Panel(0).button("Back")])
}

/// The panel: servers with buttons for everything.
pub(in crate::desk) fn panel(
    snapshot: &Snapshot,
    sandbox: &Sandbox,
    page: usize,
    broken: Option<&str>,
) -> View {
    let servers = &snapshot.servers;
    let mut view = View::titled("Servers in this chat");
    if let Some(broken) = broken {
        view = view
            .line(format!("⚠️ {broken} What worked before still runs."))
            .row([Action::Open(Screen::Repair).button("Use last good")]);
    }
    if servers.is_empty() {
        return view
            .line("No servers here yet.")
            .row([Action::Open(Screen::Demo).button("Try the demo server")])
            .row([
                Action::Open(Screen::Add).button("Add a server"),
                Action::Open(Screen::Connect).button("Connect a URL"),
            ])
            .row([
                Action::Open(Screen::PasteJson).button("Paste JSON"),
                Action::Open(Screen::Upload).button("Upload file"),
            ])
            .row([
                Action::Open(Screen::Examples).button("Examples"),
                Action::Open(Screen::Help).button("Help"),
                Action::Open(Screen::Close).button("Close"),
            ]);
    }
    let pages = servers.len().div_ceil(PAGE);
    let page = page.min(pages - 1);
    let shown = &servers[page * PAGE..servers.len().min((page + 1) * PAGE)];
    view = view.with(Block::List(
        shown.iter().map(server_line_with_why).collect(),
    ));
    for pair in shown.chunks(2) {
        view = view.row(pair.iter().map(|server| {
            Action::Server(ServerVerb::Show, Key::of(server.name.as_str())).button(format!(
                "{} {}",
                super::sign(&server.state),
                shortened(server.name.as_str(), 24)
            ))
        }));
    }
    if !snapshot.hidden.is_empty() {
        view = view.line(hidden(snapshot));
    }
    if servers
        .iter()
        .any(|server| server.kind == ServerKind::Local)
    {
        view = view.line(tier(sandbox));
    }
    view.row(pager(page, pages, Action::Panel))
        .row([
            Action::Open(Screen::Add).button("Add"),
            Action::Open(Screen::Connect).button("Connect"),
            Action::Open(Screen::PasteJson).button("Paste JSON"),
        ])
        .row([
            Action::Open(Screen::Upload).button("Upload"),
            Action::Open(Screen::Download).button("Download"),
            Action::Open(Screen::Status).button("Status"),
        ])
        .row([
            Action::Open(Screen::History).button("History"),
            Action::Panel(page).button("Refresh"),
            Action::Open(Screen::Help).button("Help"),
            Action::Open(Screen::Close).button("Close"),
        ])
}

/// The servers as a plain list.
pub(in crate::desk) fn list(snapshot: &Snapshot) -> View {
    if snapshot.servers.is_empty() {
        return View::text("No servers here yet. Add one with `/mcp add`, or try the demo server.")
            .row([
                Action::Open(Screen::Demo).button("Try the demo server"),
                Action::Open(Screen::Add).button("Add a server"),
            ])
            .row([Action::Open(Screen::Connect).button("Connect a URL")]);
    }
    let view = View::titled("Servers in this chat").with(Block::List(
        snapshot.servers.iter().map(server_line_with_why).collect(),
    ));
    if snapshot.hidden.is_empty() {
        view
    } else {
        view.line(hidden(snapshot))
    }
}

/// How servers that run here are confined, in a few words.
fn tier(sandbox: &Sandbox) -> String {
    match (sandbox.tier, sandbox.why.as_str()) {
        (Some(Tier::None), _) => "🔓 The sandbox for servers that run here is off.".to_owned(),
        (Some(tier), "") => format!(
            "🔒 Servers that run here are in the {} sandbox.",
            tier.word()
        ),
        (Some(tier), why) => {
            format!(
                "🔒 Servers that run here are in the {} sandbox ({why}).",
                tier.word()
            )
        }
        (None, _) => format!("⛔ {}", sandbox.in_words()),
    }
}

/// The operator's servers that the chat's own ones stand before.
fn hidden(snapshot: &Snapshot) -> Text {
    let mut text = Text::default();
    for (place, name) in snapshot.hidden.iter().enumerate() {
        if place > 0 {
            text = text.plain(", ");
        }
        text = text.bold(name.as_str());
    }
    let whose = if snapshot.hidden.len() == 1 {
        ": yours hides the operator's server of that name."
    } else {
        ": yours hide the operator's servers of those names."
    };
    text.plain(whose)
}

/// Previous and next, where there is more than one page.
pub(super) fn pager(page: usize, pages: usize, action: impl Fn(usize) -> Action) -> Vec<Button> {
    let mut row = Vec::new();
    if page > 0 {
        row.push(action(page - 1).button("‹ Previous"));
    }
    if page + 1 < pages {
        row.push(action(page + 1).button("Next ›"));
    }
    row
}
