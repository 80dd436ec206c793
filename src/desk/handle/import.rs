//! JSON from people: pasted, or in a file; and the repair of a broken file.

use super::super::propose::Draft;
use super::super::records::FlowKind;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use super::asked::ask;
use crate::chat::{Block, FileRef, FrontError, Text, View};
use crate::command::{self, Request};
use crate::config::{
    Change, ConfigError, Edit, FileKind, Files, Intake, Masker, Problem, has_literals, has_secret,
    intake, is_secret_value, limits, restore_masked,
};
use crate::policy::Action;

impl Turn<'_> {
    /// `/mcp add-json` alone.
    pub(super) async fn begin_json(&mut self, name: Option<String>) -> Done {
        self.may(Action::Configure, false).await?;
        let view = json_question();
        self.begin_flow(FlowKind::Json { name }, view).await
    }

    /// `/mcp upload`.
    pub(super) async fn begin_upload(&mut self) -> Done {
        self.may(Action::Configure, false).await?;
        let view = upload_question();
        self.begin_flow(FlowKind::Upload, view).await
    }

    /// A file came.
    pub(super) async fn file(&mut self, file: &FileRef, caption: &str) -> Done {
        let awaited = matches!(
            self.records.flow_of(&self.actor.id).map(|flow| &flow.kind),
            Some(FlowKind::Upload | FlowKind::Json { .. })
        );
        let captioned = caption.trim_start().starts_with('/');
        if captioned {
            match command::read(caption.trim_start(), self.hall.parts.our_name.as_deref())? {
                Request::NotForUs => return Ok(()),
                Request::Upload | Request::AddJson { .. } => {}
                _ => {
                    return Err(Refusal::Plain(
                        "With a file I know only `/mcp upload` as its caption.".to_owned(),
                    ));
                }
            }
        }
        let is_json = std::path::Path::new(&file.name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if !captioned && !awaited && !is_json {
            if self.private {
                return Err(Refusal::Plain("I take JSON files with MCP servers. Send one that ends in .json, or any file after `/mcp upload`.".to_owned()));
            }
            return Ok(());
        }
        self.may(Action::Configure, false).await?;
        let too_large = |bytes: usize| Refusal::Config(ConfigError::TooLarge { bytes });
        if let Some(size) = file
            .size
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size > limits::FILE_BYTES)
        {
            return Err(too_large(size));
        }
        let bytes = match self.hall.parts.front.fetch(file, limits::FILE_BYTES).await {
            Ok(bytes) => bytes,
            Err(FrontError::TooLarge { .. }) => {
                return Err(too_large(
                    file.size
                        .and_then(|size| usize::try_from(size).ok())
                        .unwrap_or(limits::FILE_BYTES + 1),
                ));
            }
            Err(error) => {
                return Err(Refusal::Plain(format!(
                    "The file could not be fetched ({error}). Send it again."
                )));
            }
        };
        self.import(None, &bytes).await?;
        if awaited {
            self.records.take_flow_of(&self.actor.id);
        }
        Ok(())
    }

    /// Proposes what a text holds: its local servers; remote ones are named with the line that will add them.
    pub(super) async fn import(&mut self, name: Option<&str>, text: &[u8]) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let mut read = intake(name, text)?;
        let mut names = read.local.iter().map(|(name, _)| name.as_str());
        let mut remotes = read.remote.iter().map(|remote| remote.name.as_str());
        if names.any(is_secret_value) || remotes.any(is_secret_value) {
            return Err(Refusal::Plain(
                "A server in it has a name that looks like a key itself, and names stand in lists that others read. Give \
                 it another name and send it again."
                    .to_owned(),
            ));
        }
        restore(&mut read, &loaded.files)?;
        let mut notes = read.notes.clone();
        let said = String::from_utf8_lossy(text);
        if read.local.iter().any(|(_, value)| has_literals(value))
            || Masker::default().mask(&said) != said
        {
            notes.extend(self.hide_what_was_said().await);
        }
        notes.extend(stays_written_out(&read));
        if read.local.is_empty() {
            return self.only_remotes(&read, text).await;
        }
        let edit = adding(&read);
        let kept = |name: &str| read.local.iter().any(|(other, _)| other == name);
        let can_replace = read.whole && loaded.files.local.servers().any(|(name, _)| !kept(name));
        let is_new = |name: &str| loaded.files.local.server(name).is_none();
        let title = match read.local.as_slice() {
            [(name, _)] if is_new(name) => format!("add {name}"),
            [(name, _)] => format!("replace {name}"),
            several => format!("add {} servers", several.len()),
        };
        let proposed = self
            .propose(Draft {
                title,
                edit,
                can_replace,
                notes,
                ..Draft::default()
            })
            .await;
        match proposed {
            // The remote ones may be connected all the same.
            Err(refusal @ (Refusal::LocalServers | Refusal::Plain(_)))
                if !read.remote.is_empty() =>
            {
                self.refuse(refusal).await;
            }
            proposed => proposed?,
        }
        if !read.remote.is_empty() {
            let view = self.offer(
                &read.remote,
                "These are reached by a URL, so each is tried and agreed to by itself:",
            );
            self.send(view).await;
        }
        Ok(())
    }

    async fn only_remotes(&mut self, read: &Intake, text: &[u8]) -> Done {
        if read.remote.is_empty() {
            return Err(Refusal::Plain(
                "There is no server in it. Send the part with `mcpServers`.".to_owned(),
            ));
        }
        let mut view = self.offer(
            &read.remote,
            "They are reached by a URL. Press one, and I try it; keys are asked for then.",
        );
        if !read.notes.is_empty() {
            let notes = read.notes.iter();
            view = view.with(Block::List(
                notes.map(|note| Text::from(note.as_str())).collect(),
            ));
        }
        let text = String::from_utf8_lossy(text);
        if Masker::default().mask(&text) != text
            && let Some(note) = self.hide_what_was_said().await
        {
            view = view.line(note);
        }
        self.say(view).await
    }

    /// Proposes the last good configuration in place of a broken file.
    pub(super) async fn repair(&mut self) -> Done {
        let loaded = self.loaded().await?;
        if loaded.broken.is_none() {
            return Err(Refusal::Over("The files are not broken any more."));
        }
        self.propose(Draft {
            title: "repair the configuration".to_owned(),
            repairs: true,
            ..Draft::default()
        })
        .await
    }
}

/// The request for JSON.
pub(super) fn json_question() -> View {
    ask(
        "Paste JSON",
        "Send the JSON of one server, of several, or a whole file with `mcpServers`.",
        r#"{"memory": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"]}}"#,
    )
}

/// The request for a file.
pub(super) fn upload_question() -> View {
    View::titled("Upload a file").line(
        "Send me the JSON file: from Claude Desktop, VS Code, Cursor, or downloaded here. You will see what it changes before anything is written.",
    )
}

/// Adds and changes by name, removes nothing.
fn adding(read: &Intake) -> Edit {
    let puts = read.local.iter().map(|(name, value)| Change::Put {
        file: FileKind::Local,
        name: name.clone(),
        value: value.clone(),
        at: None,
    });
    let fields = read.rest.fields().map(|(key, value)| Change::Field {
        file: FileKind::Local,
        key: key.to_owned(),
        value: Some(value.clone()),
    });
    Edit(puts.chain(fields).collect())
}

/// Masked values of a file that was downloaded here get the stored ones back.
fn restore(read: &mut Intake, files: &Files) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    for (name, value) in &mut read.local {
        for path in restore_masked(value, files.local.server(name)) {
            problems.push(masked_problem(format!("mcpServers.{name}.{path}")));
        }
    }
    for (key, value) in read.rest.fields_mut() {
        let mut fields = files.local.fields();
        let stored = fields
            .find(|(other, _)| *other == key)
            .map(|(_, value)| value);
        for path in restore_masked(value, stored) {
            let path = if path.is_empty() {
                key.to_owned()
            } else {
                format!("{key}.{path}")
            };
            problems.push(masked_problem(path));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Config(ConfigError::Invalid(problems)))
    }
}

/// What is told where a secret stands in a place that nothing is filled into.
fn stays_written_out(read: &Intake) -> Option<String> {
    let mut places: Vec<String> = Vec::new();
    for (name, value) in &read.local {
        let fields = value.as_object().into_iter().flatten();
        let others = fields.filter(|(field, _)| !["env", "args"].contains(&field.as_str()));
        let secret = others.filter(|(field, value)| has_secret(field, value));
        places.extend(secret.map(|(field, _)| format!("`{name}.{field}`")));
    }
    let rest = read.rest.fields();
    let secret = rest.filter(|(field, value)| has_secret(field, value));
    places.extend(secret.map(|(field, _)| format!("`{field}`")));
    if places.is_empty() {
        return None;
    }
    Some(format!(
        "What looks like a secret in {} stays in the file as it is, masked where it is shown: only `env` and `args` are filled \
         from what is kept sealed.",
        places.join(", ")
    ))
}

fn masked_problem(path: String) -> Problem {
    let message =
        "is masked (••••) and there is no stored value to keep; write the value".to_owned();
    Problem { path, message }
}
