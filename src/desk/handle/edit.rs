//! Editing a server: `field=value` in one line, or field by field.

mod fields;
mod questions;

use serde_json::json;

use super::super::propose::Draft;
use super::super::records::{EditField, EditFlow, FlowKind};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use super::add::variables;
use super::asked::Asked;
use super::switch::raw_entry;
use crate::chat::View;
use crate::command;
use crate::config::{Change, Edit, FileKind, ServerName, StdioServer};
use crate::demo;
use crate::policy::Action;

pub(super) use fields::set_field;
pub(super) use questions::{menu, question, rename_question};

impl Turn<'_> {
    /// `/mcp edit NAME field=value …`.
    pub(super) async fn edit(&mut self, name: &str, fields: &[(String, String)]) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let (file, mut value) = raw_entry(&loaded, &name);
        if file == FileKind::Remote {
            return self.edit_remote(&loaded, &name, fields).await;
        }
        let mut typed = json!({});
        for (field, text) in fields {
            set_field(&mut value, file, field, text)?;
            set_field(&mut typed, file, field, text)?;
        }
        let notes = self.hide_secrets_in(&typed).await.into_iter().collect();
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
        Self::is_the_threads(&loaded, &name)?;
        let (file, value) = raw_entry(&loaded, &name);
        let remote = file == FileKind::Remote;
        if remote {
            self.is_approved(&loaded, &name).await?;
        }
        let mut local = loaded.config.local.iter();
        let is_program = |(other, server): &(ServerName, StdioServer)| {
            *other == name && !demo::is_demo(&server.command, &server.args)
        };
        if local.any(is_program) {
            // Told before the questions and not after them.
            self.may_add_local()?;
        }
        let flow = EditFlow {
            server: name.to_string(),
            remote,
            secrets: Vec::new(),
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
        let mut set: Vec<(String, String)> = match field {
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
                let variables = variables(text)?.into_iter();
                variables
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
            EditField::Network => vec![("network".to_owned(), text.trim().to_owned())],
            EditField::Headers | EditField::Timeout => {
                self.remote_field_answered(&mut flow, field, text).await?
            }
        };
        let file = if flow.remote {
            FileKind::Remote
        } else {
            FileKind::Local
        };
        if !flow.remote {
            let mut typed = json!({});
            for (field, text) in &set {
                set_field(&mut typed, file, field, text)?;
            }
            if let Some(note) = self.hide_secrets_in(&typed).await {
                self.send(View::text(note)).await;
            }
            flow.secrets.extend(self.seal_answers(&mut set).await?);
        }
        for (field, text) in &set {
            set_field(&mut flow.value, file, field, text)?;
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
            secrets: flow.secrets,
            ..Draft::default()
        })
        .await
    }
}
