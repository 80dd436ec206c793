//! A server's card: what it is, how it does, and what can be done with it.

use std::time::Duration;

use super::super::action::{Action, Key, Screen, ServerVerb};
use super::network::NetworkFacts;
use super::{PAGE, duration, shortened, state_words, trouble, wanted_button};
use crate::chat::{Block, Text, View};
use crate::config::{
    Definition, RemoteAuth, RemoteServer, RemoteTransport, SecretName, command_line, masked_env,
    masked_url,
};
use crate::policy::Tier;
use crate::registry::{ServerState, ServerView};

/// A server's card.
pub(in crate::desk) fn server_card(
    server: &ServerView,
    definition: &Definition,
    tier: Option<Tier>,
    network: Option<&NetworkFacts>,
) -> View {
    let mut pairs = facts(server, definition);
    // Where there is none at all, it does not run, and why says so. How the operator's run is theirs.
    if let (Definition::Local(_), Some(tier), false) = (definition, tier, server.is_admin) {
        let word = match tier {
            Tier::None => "off",
            Tier::Restricted | Tier::Strong => tier.word(),
        };
        pairs.push(("Sandbox".to_owned(), Text::from(word)));
    }
    if let Some(network) = network {
        pairs.push(("Network".to_owned(), network.words()));
    }
    let mut view = View::titled(server.name.as_str()).with(Block::Pairs(pairs));
    if let Some(reason) = trouble(&server.state) {
        view = view.with(Block::Code {
            language: "",
            text: reason.to_owned(),
        });
    }
    // Where it is down, the state says it.
    let is_up = trouble(&server.state).is_none() && server.state != ServerState::Disabled;
    if let Some(ended) = server.ended.as_ref().filter(|_| is_up) {
        view = view
            .line(format!(
                "It ended {} and was started again:",
                ago(ended.at.elapsed())
            ))
            .with(Block::Code {
                language: "",
                text: ended.reason.clone(),
            });
    }
    match &server.state {
        ServerState::WaitingForApproval => {
            view = view.line("It was written into the file by hand, so it is not connected before somebody here agreed to it. Press Review.");
        }
        ServerState::NeedsLogin { reason, .. } => {
            let reason = shortened(reason.trim_end_matches('.'), 300);
            view = view.line(format!("It lets nobody in without a login. {reason}."));
        }
        ServerState::Starting { .. }
        | ServerState::Ready { .. }
        | ServerState::Asleep
        | ServerState::Failed { .. }
        | ServerState::BackingOff { .. }
        | ServerState::Parked { .. }
        | ServerState::Disabled => {}
    }
    if let Some(words) = super::hidden_words(server) {
        view = view.line(words);
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
    let Some(network) = network else {
        return with_buttons(view, server, definition);
    };
    let narrow = Action::Server(ServerVerb::Narrow, Key::of(server.name.as_str()));
    let narrow = network
        .can_narrow
        .then(|| narrow.button("Only these hosts"));
    with_buttons(network.tell(view).row(narrow), server, definition)
}

fn facts(server: &ServerView, definition: &Definition) -> Vec<(String, Text)> {
    let mut pairs = vec![(
        "Status".to_owned(),
        Text::default().plain(state_words(server)),
    )];
    if server.is_admin {
        pairs.push((
            "From".to_owned(),
            Text::from("the operator, who offers it to all chats"),
        ));
    }
    define(&mut pairs, server, definition);
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
    pairs
}

/// What the file says of it.
fn define(pairs: &mut Vec<(String, Text)>, server: &ServerView, definition: &Definition) {
    match definition {
        // What it runs is the operator's business.
        Definition::Local(_) if server.is_admin => {}
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
            pairs.push(("Login".to_owned(), login_words(remote, server.is_admin)));
            if !remote.headers.is_empty() && !server.is_admin {
                let names: Vec<&str> = remote
                    .headers
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                pairs.push((
                    "Headers".to_owned(),
                    Text::default().plain(names.join(", ")),
                ));
            }
            if let Some(timeout) = remote.timeout_ms {
                pairs.push((
                    "Time limit".to_owned(),
                    Text::default().plain(duration(Duration::from_millis(timeout))),
                ));
            }
        }
    }
}

fn with_buttons(view: View, server: &ServerView, definition: &Definition) -> View {
    let key = || Key::of(server.name.as_str());
    let verb = |verb: ServerVerb, label: &str| Action::Server(verb, key()).button(label);
    let tools = (!server.tools.is_empty()).then(|| Action::Tools(key(), 0).button("Tools"));
    let wanted = wanted_button(server);
    let can_log_out = match definition {
        Definition::Remote(remote) => {
            matches!(remote.auth, RemoteAuth::OAuth(_)) && wanted.is_none()
        }
        Definition::Local(_) => false,
    };
    let logout = can_log_out.then(|| verb(ServerVerb::Logout, "Log out"));
    let view = view.row([wanted, tools, logout].into_iter().flatten());
    let is_waiting = server.state == ServerState::WaitingForApproval;
    let view = if is_waiting {
        view
    } else {
        view.row([
            verb(ServerVerb::Test, "Test"),
            verb(ServerVerb::Logs, "Logs"),
            verb(ServerVerb::Restart, "Restart"),
        ])
    };
    if server.is_admin {
        return view.row([
            Action::Panel(0).button("Back"),
            Action::Open(Screen::Close).button("Close"),
        ]);
    }
    view.row([
        verb(ServerVerb::Edit, "Edit"),
        verb(ServerVerb::Rename, "Rename"),
        if definition.is_disabled() {
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

fn ago(elapsed: Duration) -> String {
    match elapsed.as_secs() / 60 {
        0 => "just now".to_owned(),
        minutes @ 1..60 => format!("{minutes} min ago"),
        minutes => format!("{} h ago", minutes / 60),
    }
}

/// How the bot proves who it is, in words.
fn login_words(server: &RemoteServer, is_admin: bool) -> Text {
    match &server.auth {
        RemoteAuth::None if !SecretName::all_in(&server.url).is_empty() => {
            Text::from("a key in the address")
        }
        RemoteAuth::None => Text::from("none"),
        RemoteAuth::OAuth(_) => Text::from("in your browser (OAuth)"),
        RemoteAuth::Bearer(_) | RemoteAuth::ApiKey { .. } if is_admin => {
            Text::from("a key of the operator's")
        }
        RemoteAuth::Bearer(name) => Text::from("a token, kept as ").code(name.as_str()),
        RemoteAuth::ApiKey { header, value } => Text::from("an API key in ")
            .code(header)
            .plain(", kept as ")
            .code(value.as_str()),
    }
}
