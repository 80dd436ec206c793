//! The first screen, the panel, help, and a server's card.

use super::super::action::{Action, Key, Screen, ServerVerb};
use super::{PAGE, server_line, shortened, state_words, trouble};
use crate::chat::{Block, Button, Text, View};
use crate::command::{Entry, TABLE};
use crate::config::{
    RemoteServer, RemoteTransport, StdioServer, command_line, masked_env, masked_url,
};
use crate::registry::{ServerState, ServerView, Snapshot};

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
pub(in crate::desk) fn panel(snapshot: &Snapshot, page: usize, broken: Option<&str>) -> View {
    let servers = &snapshot.servers;
    let mut view = View::titled("Servers in this chat");
    if let Some(broken) = broken {
        view = view.line(format!("⚠️ {broken} What worked before still runs."));
    }
    if servers.is_empty() {
        return view
            .line("No servers here yet.")
            .row([Action::Open(Screen::Demo).button("Try the demo server")])
            .row([
                Action::Open(Screen::Add).button("Add a server"),
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
    view = view.with(Block::List(shown.iter().map(server_line).collect()));
    for pair in shown.chunks(2) {
        view = view.row(pair.iter().map(|server| {
            Action::Server(ServerVerb::Show, Key::of(server.name.as_str())).button(format!(
                "{} {}",
                super::sign(&server.state),
                shortened(server.name.as_str(), 24)
            ))
        }));
    }
    view.row(pager(page, pages, Action::Panel))
        .row([
            Action::Open(Screen::Add).button("Add"),
            Action::Open(Screen::PasteJson).button("Paste JSON"),
            Action::Open(Screen::Upload).button("Upload"),
        ])
        .row([
            Action::Open(Screen::Download).button("Download"),
            Action::Open(Screen::Status).button("Status"),
            Action::Open(Screen::History).button("History"),
        ])
        .row([
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
            ]);
    }
    View::titled("Servers in this chat").with(Block::List(
        snapshot.servers.iter().map(server_line).collect(),
    ))
}

/// What a server is, as the file says it.
pub(in crate::desk) enum Definition<'a> {
    /// It runs here.
    Local(&'a StdioServer),
    /// It is reached over the network.
    Remote(&'a RemoteServer),
}

/// A server's card.
pub(in crate::desk) fn server_card(server: &ServerView, definition: &Definition<'_>) -> View {
    let name = server.name.as_str();
    let key = || Key::of(name);
    let mut pairs = vec![(
        "Status".to_owned(),
        Text::default().plain(state_words(server)),
    )];
    match definition {
        Definition::Local(local) => {
            pairs.push((
                "Command".to_owned(),
                Text::default().code(command_line(local)),
            ));
            for (key, value) in masked_env(&local.env) {
                pairs.push((format!("Env {key}"), Text::default().code(value)));
            }
            if let Some(cwd) = &local.cwd {
                pairs.push(("Folder".to_owned(), Text::default().code(cwd)));
            }
        }
        Definition::Remote(remote) => {
            let kind = match remote.transport {
                RemoteTransport::Http => "streamable HTTP",
                RemoteTransport::Sse => "HTTP+SSE",
            };
            pairs.push((
                "Address".to_owned(),
                Text::default().code(masked_url(&remote.url)),
            ));
            pairs.push(("Transport".to_owned(), Text::default().plain(kind)));
            if !remote.header_names.is_empty() {
                pairs.push((
                    "Headers".to_owned(),
                    Text::default().plain(remote.header_names.join(", ")),
                ));
            }
        }
    }
    if let ServerState::Ready {
        protocol,
        server_info,
        ..
    } = &server.state
    {
        pairs.push((
            "Speaks".to_owned(),
            Text::default().plain(format!("MCP {protocol}")),
        ));
        if !server_info.is_empty() {
            pairs.push((
                "Calls itself".to_owned(),
                Text::default().plain(shortened(server_info, 80)),
            ));
        }
    }
    let mut view = View::titled(name).with(Block::Pairs(pairs));
    if let Some(reason) = trouble(&server.state) {
        view = view.with(Block::Code {
            language: "",
            text: reason.to_owned(),
        });
    }
    if !server.refused.is_empty() {
        let lines = server.refused.iter().take(PAGE).map(|refused| {
            Text::default()
                .code(shortened(&refused.tool, 64))
                .plain(format!(": {}", refused.reason))
        });
        view = view
            .line("Tools that were left out:")
            .with(Block::List(lines.collect()));
    }
    let Definition::Local(local) = definition else {
        return view.row([Action::Panel(0).button("Back")]);
    };
    let verb = |verb: ServerVerb, label: &str| Action::Server(verb, key()).button(label);
    view.row((!server.tools.is_empty()).then(|| Action::Tools(key(), 0).button("Tools")))
        .row([
            verb(ServerVerb::Test, "Test"),
            verb(ServerVerb::Logs, "Logs"),
            verb(ServerVerb::Restart, "Restart"),
        ])
        .row([
            verb(ServerVerb::Edit, "Edit"),
            verb(ServerVerb::Rename, "Rename"),
            if local.disabled {
                verb(ServerVerb::Enable, "Enable")
            } else {
                verb(ServerVerb::Disable, "Disable")
            },
        ])
        .row([
            verb(ServerVerb::Remove, "Remove"),
            Action::Panel(0).button("Back"),
            Action::Open(Screen::Close).button("Close"),
        ])
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
