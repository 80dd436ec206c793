//! What the guided edit asks.

use serde_json::Value;

use super::super::super::records::{EditField, EditFlow};
use super::super::asked::ask;
use super::super::edit_remote::remote_menu;
use crate::chat::{Block, Button, Text, View};
use crate::config::{NetworkGrant, StdioServer, command_line, masked_env};
use crate::policy::reach_words;

/// The fields as they are now, with a button for each.
pub(in crate::desk::handle) fn menu(flow: &EditFlow) -> View {
    if flow.remote {
        return remote_menu(flow);
    }
    let words = |key: &str| {
        flow.value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let texts = |key: &str| {
        flow.value
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
    };
    let env = flow
        .value
        .get("env")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let server = StdioServer {
        command: words("command"),
        args: texts("args").collect(),
        env: env
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        cwd: None,
        network: flow
            .value
            .get("network")
            .and_then(NetworkGrant::of)
            .unwrap_or_default(),
        disabled: false,
    };
    let mut pairs = vec![(
        "Command".to_owned(),
        Text::default().code(command_line(&server)),
    )];
    for (name, value) in masked_env(&server.env) {
        pairs.push((format!("Env {name}"), Text::default().code(value)));
    }
    let folder = words("cwd");
    pairs.push((
        "Folder".to_owned(),
        if folder.is_empty() {
            Text::from("a folder of this chat's own")
        } else {
            Text::default().code(folder)
        },
    ));
    pairs.push((
        "Network".to_owned(),
        Text::default().plain(reach_words(&server.network)),
    ));
    let choice = |index: usize, label: &str| Button::new(label, index.to_string());
    View::titled(format!("Edit {}", flow.server))
        .with(Block::Pairs(pairs))
        .line(
            "Press what you want to change; Done shows the difference before anything is written.",
        )
        .row([
            choice(0, "Command"),
            choice(1, "Environment"),
            choice(2, "Folder"),
            choice(3, "Network"),
        ])
        .row([Button::new("Done", "done")])
}

/// The question for a new name.
pub(in crate::desk::handle) fn rename_question(server: &str) -> View {
    ask(
        &format!("Rename {server}"),
        "What should it be called?",
        "files",
    )
}

/// The question for the field that is asked for.
pub(in crate::desk::handle) fn question(flow: &EditFlow) -> View {
    let title = format!("Edit {}", flow.server);
    match flow.field {
        None => menu(flow),
        Some(EditField::Command) => ask(
            &title,
            "Which command should start it? Write it with its arguments.",
            "npx -y @modelcontextprotocol/server-memory",
        ),
        Some(EditField::Env) => ask(
            &title,
            "Which variables should change? One `KEY=value` a line; `KEY=` takes one away.",
            "LOG_LEVEL=debug",
        ),
        Some(EditField::Cwd) => ask(
            &title,
            "Which folder should it work in? A name alone is one inside this chat's own folder.",
            "files",
        )
        .row([Button::new("Chat's own folder", "0")]),
        Some(EditField::Network) => ask(
            &title,
            "What of the network may it reach? Send hosts with commas between them, or press a button. Names with `*.` in \
             front stand for every name below them.",
            "api.github.com, *.githubusercontent.com",
        )
        .row([
            Button::new("Any public address", "0"),
            Button::new("Nothing", "1"),
        ]),
        Some(EditField::Headers) => ask(
            &title,
            "Which headers should change? One `Name: value` a line; `Name:` takes one away. Secret values are kept where nobody sees them.",
            "X-Team: blue",
        ),
        Some(EditField::Timeout) => ask(
            &title,
            "How many seconds may a call take without a sign of life? `-` for the usual time.",
            "120",
        ),
    }
}
