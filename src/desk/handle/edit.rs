//! Editing a server: `field=value` in one line, or field by field.

use serde_json::{Map, Value, json};

use super::super::propose::Draft;
use super::super::records::{EditField, EditFlow, FlowKind};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use super::add::variables;
use super::asked::{Asked, ask};
use super::switch::raw_entry;
use crate::chat::{Block, Button, Text, View};
use crate::command;
use crate::config::{Change, Edit, FileKind, StdioServer, command_line, masked_env};
use crate::policy::Action;

impl Turn<'_> {
    /// `/mcp edit NAME field=value …`.
    pub(super) async fn edit(&mut self, name: &str, fields: &[(String, String)]) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        let (file, mut value) = raw_entry(&loaded, &name);
        let mut secret = Vec::new();
        for (field, text) in fields {
            set_field(&mut value, file, field, text)?;
            let variable = field.strip_prefix("env.").unwrap_or(field);
            secret.push((variable.to_owned(), text.clone()));
        }
        let notes = self.hide_secrets_in(&secret).await.into_iter().collect();
        let edit = Edit(vec![Change::Put {
            file,
            name: name.to_string(),
            value,
            at: None,
        }]);
        self.propose(Draft {
            title: format!("edit {name}"),
            edit,
            notes,
            ..Draft::default()
        })
        .await
    }

    /// `/mcp edit NAME` alone.
    pub(super) async fn begin_edit(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        let (file, value) = raw_entry(&loaded, &name);
        if file == FileKind::Remote {
            return Err(Refusal::RemoteNotServed(name.to_string()));
        }
        let flow = EditFlow {
            server: name.to_string(),
            field: None,
            value,
            set: Vec::new(),
        };
        let view = menu(&flow);
        self.begin_flow(FlowKind::Edit(flow), view).await
    }

    /// The flow that asks for a new name.
    pub(super) async fn begin_rename(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        let view = rename_question(name.as_str());
        self.begin_flow(
            FlowKind::Rename {
                server: name.to_string(),
            },
            view,
        )
        .await
    }

    /// An answer to the field that is asked for.
    pub(super) async fn edit_answered(
        &mut self,
        mut flow: EditFlow,
        text: &str,
    ) -> Result<Asked<EditFlow>, Refusal> {
        let Some(field) = flow.field else {
            return Err(Refusal::Plain(
                "Press the field that you want to change, or Done, or `/cancel`.".to_owned(),
            ));
        };
        let set: Vec<(String, String)> = match field {
            EditField::Command => {
                let words = command::words(text)?;
                let [program, args @ ..] = words.as_slice() else {
                    return Err(Refusal::Plain(
                        "A command is needed here. Back keeps the one there is.".to_owned(),
                    ));
                };
                vec![
                    ("command".to_owned(), program.clone()),
                    ("args".to_owned(), json!(args).to_string()),
                ]
            }
            EditField::Env => {
                let variables = variables(text)?;
                if let Some(note) = self.hide_secrets_in(&variables).await {
                    self.send(View::text(note)).await;
                }
                variables
                    .into_iter()
                    .map(|(name, value)| (format!("env.{name}"), value))
                    .collect()
            }
            EditField::Cwd => {
                let folder = text.trim();
                vec![(
                    "cwd".to_owned(),
                    if folder == "-" {
                        String::new()
                    } else {
                        folder.to_owned()
                    },
                )]
            }
        };
        for (field, text) in &set {
            set_field(&mut flow.value, FileKind::Local, field, text)?;
        }
        flow.set.extend(set);
        flow.field = None;
        let view = menu(&flow);
        Ok(Asked::Next(flow, view))
    }

    /// Proposes what was edited.
    pub(super) async fn finish_edit(&mut self, flow: EditFlow) -> Done {
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, &flow.server)?;
        let (file, mut value) = raw_entry(&loaded, &name);
        for (field, text) in &flow.set {
            set_field(&mut value, file, field, text)?;
        }
        let change = Change::Put {
            file,
            name: name.to_string(),
            value,
            at: None,
        };
        self.propose(Draft {
            title: format!("edit {}", flow.server),
            edit: Edit(vec![change]),
            ..Draft::default()
        })
        .await
    }
}

/// The fields as they are now, with a button for each.
pub(super) fn menu(flow: &EditFlow) -> View {
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
        ])
        .row([Button::new("Done", "done")])
}

/// The question for a new name.
pub(super) fn rename_question(server: &str) -> View {
    ask(
        &format!("Rename {server}"),
        "What should it be called?",
        "files",
    )
}

/// The question for the field that is asked for.
pub(super) fn question(flow: &EditFlow) -> View {
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
            "Which folder on the bot's machine should it work in?",
            "/srv/files",
        )
        .row([Button::new("Chat's own folder", "0")]),
    }
}

/// Sets one field of a raw entry; an empty text takes it away.
fn set_field(value: &mut Value, file: FileKind, field: &str, text: &str) -> Result<(), Refusal> {
    let clear = text.is_empty();
    match (file, field) {
        (FileKind::Local, "command") if clear => return Err(Refusal::Plain("A server needs a command. To take the server away use `/mcp remove`.".to_owned())),
        (FileKind::Local, "command") => put(value, "command", json!(text)),
        (FileKind::Local, "args") => {
            let args = if text.trim_start().starts_with('[') {
                serde_json::from_str(text).map_err(|_| Refusal::Plain("`args` looks like a JSON list but does not parse. Write `args=\"one two\"` or `args=[\"one\", \"two\"]`.".to_owned()))?
            } else {
                json!(command::words(text)?)
            };
            put(value, "args", args);
        }
        (FileKind::Local, "cwd") if clear => take(value, "cwd"),
        (FileKind::Local, "cwd") => put(value, "cwd", json!(text)),
        (FileKind::Local, "env") if clear => take(value, "env"),
        (FileKind::Local, "env") => {
            for (name, text) in variables(text)? {
                set_field(value, file, &format!("env.{name}"), &text)?;
            }
        }
        (FileKind::Local, field) if field.starts_with("env.") && field.len() > 4 => set_variable(value, &field[4..], text),
        (FileKind::Remote, "url") if !clear => {
            return Err(Refusal::Plain("The address of a remote server cannot be edited here. Remove it and connect it anew.".to_owned()));
        }
        (FileKind::Local, other) => {
            return Err(Refusal::Plain(format!("There is no field {other:?} to edit. Use command, args, cwd, env.KEY or env.")));
        }
        (FileKind::Remote, _) => return Err(Refusal::Plain("Remote servers cannot be edited by this version. They can be renamed, disabled and removed.".to_owned())),
    }
    Ok(())
}

fn set_variable(value: &mut Value, name: &str, text: &str) {
    let Some(entry) = value.as_object_mut() else {
        return;
    };
    let env = entry
        .entry("env")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(env) = env.as_object_mut() else {
        return;
    };
    if text.is_empty() {
        env.shift_remove(name);
    } else {
        env.insert(name.to_owned(), json!(text));
    }
    if env.is_empty() {
        take(value, "env");
    }
}

fn put(value: &mut Value, key: &str, field: Value) {
    if let Some(entry) = value.as_object_mut() {
        entry.insert(key.to_owned(), field);
    }
}

fn take(value: &mut Value, key: &str) {
    if let Some(entry) = value.as_object_mut() {
        entry.shift_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(field: &str, text: &str) -> Value {
        let mut value = json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true});
        set_field(&mut value, FileKind::Local, field, text).unwrap();
        value
    }

    #[test]
    fn a_field_changes_and_nothing_else() {
        let cases = [
            (
                "command",
                "deno",
                json!({"type": "stdio", "command": "deno", "args": ["a"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "b 'c d'",
                json!({"type": "stdio", "command": "node", "args": ["b", "c d"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "[\"b\"]",
                json!({"type": "stdio", "command": "node", "args": ["b"], "env": {"A": "1"}, "x": true}),
            ),
            (
                "args",
                "",
                json!({"type": "stdio", "command": "node", "args": [], "env": {"A": "1"}, "x": true}),
            ),
            (
                "env.B",
                "2",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1", "B": "2"}, "x": true}),
            ),
            (
                "env.A",
                "",
                json!({"type": "stdio", "command": "node", "args": ["a"], "x": true}),
            ),
            (
                "env",
                "",
                json!({"type": "stdio", "command": "node", "args": ["a"], "x": true}),
            ),
            (
                "cwd",
                "/srv",
                json!({"type": "stdio", "command": "node", "args": ["a"], "env": {"A": "1"}, "x": true, "cwd": "/srv"}),
            ),
        ];
        for (field, text, expected) in cases {
            assert_eq!(edited(field, text), expected, "{field}={text}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for (field, text) in [
            ("command", ""),
            ("colour", "red"),
            ("env.", "x"),
            ("args", "[1,"),
        ] {
            let mut value = json!({"command": "node"});
            assert!(
                set_field(&mut value, FileKind::Local, field, text).is_err(),
                "{field}={text}"
            );
            assert_eq!(value, json!({"command": "node"}));
        }
    }
}
