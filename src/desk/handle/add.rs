//! Adding in one line, and the guided add: name, command, environment, folder.

use serde_json::{Map, Value, json};

use super::super::propose::Draft;
use super::super::records::{AddFlow, AddStep, FlowKind};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use super::asked::{Asked, ask};
use super::edit::set_field;
use crate::chat::{Text, View};
use crate::command::{self, AddLine};
use crate::config::{Change, Edit, FileKind, ServerName, has_literals, is_secret_value, limits};
use crate::demo;
use crate::policy::Action;
use crate::reload::Loaded;

impl Turn<'_> {
    /// `/mcp add NAME … -- COMMAND ARG…`.
    pub(super) async fn add(&mut self, line: AddLine) -> Done {
        self.may(Action::Configure, false).await?;
        let mut notes = Vec::new();
        let (name, note) = safe_name(&line.name);
        notes.extend(note);
        let flow = AddFlow {
            step: AddStep::Cwd,
            name,
            command: line.command,
            args: line.args,
            env: line.env,
            ..AddFlow::default()
        };
        notes.extend(self.hide_secrets_in(&entry(&flow, None)).await);
        self.propose_added(flow, line.cwd, line.network.as_deref(), notes)
            .await
    }

    /// The demo server of our own program.
    pub(super) async fn add_demo(&mut self) -> Done {
        let loaded = self.sound().await?;
        let name = free_name(&loaded, "demo");
        let flow = AddFlow {
            name,
            command: demo::COMMAND.to_owned(),
            args: vec![demo::ARGUMENT.to_owned()],
            ..AddFlow::default()
        };
        self.propose_added(
            flow,
            None,
            None,
            vec![
                "The demo server is this bot's own program; it reads and changes nothing."
                    .to_owned(),
            ],
        )
        .await
    }

    async fn propose_added(
        &mut self,
        flow: AddFlow,
        cwd: Option<String>,
        network: Option<&str>,
        notes: Vec<String>,
    ) -> Done {
        let loaded = self.sound().await?;
        let exists = loaded.files.local.server(&flow.name).is_some();
        let title = format!("{} {}", if exists { "replace" } else { "add" }, flow.name);
        let mut notes = notes;
        if exists {
            notes.push(format!(
                "There is a server `{}` already; applying this replaces it.",
                flow.name
            ));
        }
        let mut value = entry(&flow, cwd);
        if let Some(network) = network {
            set_field(&mut value, FileKind::Local, "network", network)?;
        }
        let change = Change::Put {
            file: FileKind::Local,
            value,
            name: flow.name,
            at: None,
        };
        self.propose(Draft {
            title,
            edit: Edit(vec![change]),
            notes,
            secrets: flow.secrets,
            ..Draft::default()
        })
        .await
    }

    /// `/mcp add`, perhaps with a name.
    pub(super) async fn begin_add(&mut self, name: Option<String>) -> Done {
        self.may(Action::Configure, false).await?;
        // Told before four questions and not after them.
        self.may_add_local()?;
        self.sound().await?;
        let mut flow = AddFlow::default();
        if let Some(name) = name {
            flow.take_name(&name);
        }
        let view = question(&flow);
        self.begin_flow(FlowKind::Add(flow), view).await
    }

    /// An answer to the open question of the guided add.
    pub(super) async fn add_answered(
        &mut self,
        mut flow: AddFlow,
        text: &str,
    ) -> Result<Asked<AddFlow>, Refusal> {
        match flow.step {
            AddStep::Name => flow.take_name(text),
            AddStep::Command => {
                let words = command::words(text)?;
                let [command, args @ ..] = words.as_slice() else {
                    return Err(Refusal::Plain("A command is needed here, for example `npx -y @modelcontextprotocol/server-memory`.".to_owned()));
                };
                (flow.command, flow.args) = (command.clone(), args.to_vec());
                self.seal_added(&mut flow).await?;
                flow.step = AddStep::Env;
            }
            AddStep::Env => {
                flow.env = variables(text)?;
                self.seal_added(&mut flow).await?;
                flow.step = AddStep::Cwd;
            }
            AddStep::Cwd => {
                let cwd = text.trim().to_owned();
                self.finish_add(flow, Some(cwd)).await?;
                return Ok(Asked::Finished);
            }
        }
        let view = question(&flow);
        Ok(Asked::Next(flow, view))
    }

    /// What was answered waits for the last step without its secrets.
    async fn seal_added(&mut self, flow: &mut AddFlow) -> Done {
        let mut entry = entry(flow, None);
        if let Some(note) = self.hide_secrets_in(&entry).await {
            self.send(View::text(note)).await;
        }
        flow.secrets.extend(self.seal_entry(&mut entry).await?);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(args) = entry["args"].as_array() {
            flow.args = args.iter().map(text).collect();
        }
        for (name, value) in &mut flow.env {
            *value = text(&entry["env"][name.as_str()]);
        }
        Ok(())
    }

    /// Leaves a step out.
    pub(super) async fn add_skipped(
        &mut self,
        mut flow: AddFlow,
    ) -> Result<Asked<AddFlow>, Refusal> {
        match flow.step {
            AddStep::Name | AddStep::Command => return Err(Refusal::Over("This step is needed.")),
            AddStep::Env => flow.step = AddStep::Cwd,
            AddStep::Cwd => {
                self.finish_add(flow, None).await?;
                return Ok(Asked::Finished);
            }
        }
        let view = question(&flow);
        Ok(Asked::Next(flow, view))
    }

    async fn finish_add(&mut self, flow: AddFlow, cwd: Option<String>) -> Done {
        let notes = flow.name_note.clone().into_iter().collect();
        self.propose_added(flow, cwd, None, notes).await
    }

    /// Deletes the person's message where an entry of it holds a secret; a sentence where that is not possible.
    pub(super) async fn hide_secrets_in(&mut self, entry: &Value) -> Option<String> {
        if has_literals(entry) {
            self.hide_what_was_said().await
        } else {
            None
        }
    }

    /// Deletes the person's own message; a sentence that says so, or that it stays.
    pub(super) async fn hide_what_was_said(&mut self) -> Option<String> {
        let said = self.said?;
        self.hidden = true;
        if !self.hall.parts.front.capabilities().delete_theirs {
            return Some("Your line has a secret in it and stays where you wrote it: clear the screen when you are done.".to_owned());
        }
        match self.hall.small(self.hall.parts.front.delete(self.thread, said)).await {
            Ok(()) => Some("I deleted your message because it has a secret in it.".to_owned()),
            Err(_) => Some("Your message has a secret in it and I could not delete it: please delete it yourself.".to_owned()),
        }
    }
}

impl AddFlow {
    fn take_name(&mut self, text: &str) {
        (self.name, self.name_note) = safe_name(text.trim());
        self.step = AddStep::Command;
    }

    /// Whether the open question may be left out.
    pub(super) fn may_skip(&self) -> bool {
        matches!(self.step, AddStep::Env | AddStep::Cwd)
    }

    /// Whether there is a question before it.
    pub(super) fn may_back(&self) -> bool {
        self.step != AddStep::Name
    }

    /// One step back; `false` at the first.
    pub(super) fn step_back(&mut self) -> bool {
        self.step = match self.step {
            AddStep::Name => return false,
            AddStep::Command => AddStep::Name,
            AddStep::Env => AddStep::Command,
            AddStep::Cwd => AddStep::Env,
        };
        true
    }
}

/// The open question of the guided add.
pub(super) fn question(flow: &AddFlow) -> View {
    match flow.step {
        AddStep::Name => ask("Add a server · 1/4", "What should it be called?", "files"),
        AddStep::Command => {
            let view = ask(
                "Add a server · 2/4",
                "Which command starts it? Write it with its arguments.",
                "npx -y @modelcontextprotocol/server-memory",
            );
            match &flow.name_note {
                Some(note) => view.line(Text::from(note.as_str())),
                None => view,
            }
        }
        AddStep::Env => ask(
            "Add a server · 3/4",
            "Which environment variables does it need? Write `KEY=value`, several with blanks between; Skip if none.",
            "LOG_LEVEL=info",
        ),
        AddStep::Cwd => ask(
            "Add a server · 4/4",
            "Which folder should it work in? A name alone is one inside this chat's own folder; Skip for that folder itself.",
            "files",
        ),
    }
}

/// `KEY=value`, one a line, or several in a line. A value with blanks is quoted, or has its line to itself.
pub(super) fn variables(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut all = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let words = command::words(line).unwrap_or_default();
        let pairs: Option<Vec<_>> = words.iter().map(|word| pair(word)).collect();
        match pairs.filter(|pairs| pairs.len() > 1) {
            Some(several) => all.extend(several),
            None if words.iter().skip(1).any(|word| pair(word).is_some()) => {
                return Err(Refusal::Plain(
                    "I cannot tell where one variable ends there. Write each on a line of its own, or put values with blanks into quotes.".to_owned(),
                ));
            }
            // The line itself may be a secret: it is not repeated.
            None => all.push(pair(line).map(|(name, value)| (name, unquoted(&value).to_owned())).ok_or_else(|| {
                Refusal::Plain("Write each variable as `KEY=value`, one a line, for example `LOG_LEVEL=info`.".to_owned())
            })?),
        }
    }
    Ok(all)
}

/// A variable's name and value, where the name has the form of one.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-');
    is_name.then(|| (name.to_owned(), value.trim().to_owned()))
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The raw entry of what was answered.
fn entry(flow: &AddFlow, cwd: Option<String>) -> Value {
    let mut entry = Map::new();
    entry.insert("type".to_owned(), json!("stdio"));
    entry.insert("command".to_owned(), json!(flow.command));
    entry.insert("args".to_owned(), json!(flow.args));
    if !flow.env.is_empty() {
        let env: Map<String, Value> = flow
            .env
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        entry.insert("env".to_owned(), Value::Object(env));
    }
    if let Some(cwd) = cwd {
        entry.insert("cwd".to_owned(), json!(cwd));
    }
    Value::Object(entry)
}

/// The name itself or one made safe, with a note that says so. A key that was given as the name is none: it would stand in
/// every list.
pub(super) fn safe_name(text: &str) -> (String, Option<String>) {
    if is_secret_value(text) {
        let note = "That name looks like a key itself, so I did not take it and call it `server`. Get a new key where it \
                    comes from if others read along here.";
        return ("server".to_owned(), Some(note.to_owned()));
    }
    if ServerName::new(text).is_ok() {
        return (text.to_owned(), None);
    }
    let safe = ServerName::made_safe(text);
    let note = format!("Names have letters, digits, `.`, `_` and `-`, so I call it `{safe}`.");
    (safe.to_string(), Some(note))
}

/// `demo`, or `demo-2` where that is taken by something else.
fn free_name(loaded: &Loaded, wanted: &str) -> String {
    let taken = |name: &str| {
        loaded
            .files
            .local
            .server(name)
            .or_else(|| loaded.files.remote.server(name))
            .is_some()
    };
    let is_demo = |name: &str| {
        let args = loaded
            .files
            .local
            .server(name)
            .and_then(|entry| entry.get("args"));
        args == Some(&json!([demo::ARGUMENT]))
    };
    if !taken(wanted) || is_demo(wanted) {
        return wanted.to_owned();
    }
    // One more name than a thread may have servers: one of them is free.
    (2..=limits::SERVERS + 2)
        .map(|number| format!("{wanted}-{number}"))
        .find(|name| !taken(name))
        .unwrap_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_one_a_line_or_several_in_one() {
        let cases: [(&str, &[(&str, &str)]); 6] = [
            ("A=1", &[("A", "1")]),
            (
                "A=1\nexport B=\"two words\"",
                &[("A", "1"), ("B", "two words")],
            ),
            ("A=1 B=2", &[("A", "1"), ("B", "2")]),
            ("A='x y' B=2", &[("A", "x y"), ("B", "2")]),
            ("A=x y z", &[("A", "x y z")]),
            ("A=", &[("A", "")]),
        ];
        for (text, expected) in cases {
            let read = variables(text).unwrap();
            let read: Vec<_> = read
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn what_is_unclear_is_asked_for_again() {
        for text in ["no equals sign", "=1", "PATH_A=/tmp/x y PASSWORD=hush z"] {
            let refusal = variables(text).unwrap_err();
            assert!(!refusal.sentence().contains("hush"), "{text}");
        }
    }
}
