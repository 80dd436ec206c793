//! From an event to what is done about it.

mod add;
mod arguments;
mod asked;
mod call;
mod edit;
mod flow;
mod import;
mod look;
mod place;
mod running;
mod switch;
mod test;
mod undo;

use std::sync::Arc;

use super::Hall;
use super::action::{Action as Press, Screen, ServerVerb};
use super::live::Stopped;
use super::records::Records;
use super::refusal::Refusal;
use super::screens;
use super::turn::Turn;
use crate::chat::{Answer, Event, EventKind, MessageId, Text, View};
use crate::command::{self, CommandError, Request};
use crate::config::{FileKind, Masker, ServerName};
use crate::policy::Action;

type Done = Result<(), Refusal>;

/// Handles one event of a thread.
pub(super) async fn event(hall: &Arc<Hall>, event: Event, records: &mut Records) {
    let again = matches!(event.kind, EventKind::Text(_)).then(|| event.clone());
    let Event {
        thread,
        actor,
        private,
        message,
        kind,
    } = event;
    let mut turn = Turn {
        hall,
        records,
        thread,
        actor,
        private,
        said: message,
        pressed: None,
        again,
        hidden: false,
        press: None,
    };
    let done = match kind {
        EventKind::Text(text) => {
            let done = turn.text(&text).await;
            turn.hide_leftover_secret(&text).await;
            done
        }
        EventKind::File { file, caption } => turn.file(&file, &caption).await,
        EventKind::Press { data, on, press } => {
            turn.press = Some(press);
            match Press::decode(&data) {
                Some(press) => {
                    turn.pressed = turn.in_place(&press, on);
                    turn.pressed(press).await
                }
                None => Err(Refusal::Over(
                    "This button is from an older version. Ask again with /mcp.",
                )),
            }
        }
        EventKind::Migrated { from } => turn.migrated(from).await,
        EventKind::Left => turn.left().await,
    };
    if let Err(refusal) = done {
        turn.refuse(refusal).await;
    }
    // Whatever a handler forgot: a press without an answer spins on the person's screen.
    turn.answer(Answer::Silent).await;
}

impl Turn<'_> {
    async fn text(&mut self, text: &str) -> Done {
        let trimmed = text.trim_start();
        if command::looks_like_a_command(trimmed) {
            let request = match command::read(trimmed, self.hall.parts.our_name.as_deref()) {
                Err(CommandError::Unknown { .. }) if !is_ours(trimmed) && self.is_asked() => {
                    // A path, as the answer to "which folder?".
                    return self.flow_answer(text).await;
                }
                // In a group an unknown command is most likely another bot's.
                Err(CommandError::Unknown { nearest: None, .. })
                    if !self.private && !is_ours(trimmed) =>
                {
                    return Ok(());
                }
                read => read?,
            };
            return self.request(request).await;
        }
        if self.is_asked() {
            return self.flow_answer(text).await;
        }
        if self.private && trimmed.starts_with(['{', '`']) {
            // Pasted JSON without a command: what it is for is plain.
            return self.import(None, text.as_bytes()).await;
        }
        if self.private {
            let view = match command::meant(text) {
                Some(meant) => View::error(
                    Text::from("Did you mean ")
                        .code(meant)
                        .plain("? Commands begin with a slash."),
                ),
                None => View::error(
                    "I understand commands. `/mcp` shows your servers, `/help` shows everything else.",
                ),
            };
            self.show(view).await;
        }
        Ok(())
    }

    /// The message that a press may change: not one that carries somebody's open proposal, question or report, unless the
    /// press is about just that. Its number came with the press, and anybody can forge one.
    fn in_place(&self, press: &Press, on: MessageId) -> Option<MessageId> {
        let is_own = match press {
            Press::Proposal(_, id) => self
                .records
                .proposal(id)
                .is_none_or(|proposal| proposal.message == Some(on)),
            Press::Flow(_, id) => self
                .records
                .flows
                .iter()
                .any(|flow| flow.id == *id && flow.message == Some(on)),
            Press::Panel(_)
            | Press::Open(_)
            | Press::Server(..)
            | Press::Tools(..)
            | Press::Tool(..)
            | Press::Call(..)
            | Press::Undo(_)
            | Press::Stop(_) => {
                let proposals = self
                    .records
                    .proposals
                    .iter()
                    .map(|proposal| proposal.message);
                let flows = self.records.flows.iter().map(|flow| flow.message);
                let waits = self.records.waits.iter().map(|wait| Some(wait.message));
                !proposals
                    .chain(flows)
                    .chain(waits)
                    .any(|message| message == Some(on))
            }
        };
        is_own.then_some(on)
    }

    /// Deletes the person's message where a secret in it has not been dealt with: in a line that was refused, say.
    async fn hide_leftover_secret(&mut self, text: &str) {
        let has_secret = Masker::default().mask(text) != text;
        if has_secret
            && !self.hidden
            && let Some(note) = self.hide_what_was_said().await
        {
            self.send(View::text(note)).await;
        }
    }

    /// Whether a question to this person is open.
    fn is_asked(&self) -> bool {
        self.records.flow_of(&self.actor.id).is_some()
    }

    async fn request(&mut self, request: Request) -> Done {
        match request {
            Request::NotForUs => Ok(()),
            Request::Start(_) => self.start().await,
            Request::Help | Request::HelpFor(None) => self.say(screens::help()).await,
            Request::HelpFor(Some(name)) => self.help_for(name).await,
            Request::Cancel => self.cancel().await,
            Request::Panel => self.panel(0).await,
            Request::AddGuided(name) => self.begin_add(name).await,
            Request::Add(line) => self.add(line).await,
            Request::AddJson { name, json } => {
                if json.trim().is_empty() {
                    self.begin_json(name).await
                } else {
                    self.import(name.as_deref(), json.as_bytes()).await
                }
            }
            Request::Upload => self.begin_upload().await,
            Request::Download(kind) => self.download(kind).await,
            Request::List => self.list().await,
            Request::Show(name) => self.show_server(&name).await,
            Request::Edit { name, fields } if fields.is_empty() => self.begin_edit(&name).await,
            Request::Edit { name, fields } => self.edit(&name, &fields).await,
            Request::Rename { from, to } => self.rename(&from, &to).await,
            Request::Remove(name) => self.remove(&name).await,
            Request::Enable(name) => self.switch_on(&name).await,
            Request::Disable(name) => self.switch_off(&name).await,
            Request::Tools(None) => self.all_tools().await,
            Request::Tools(Some(name)) => self.tools_of(&name, 0).await,
            Request::Call { server, tool, arguments } => self.call(&server, tool.as_deref(), arguments).await,
            Request::Test(name) => self.test(&name).await,
            Request::Status => self.status().await,
            Request::Logs(name) => self.logs(&name).await,
            Request::Restart(name) => self.restart(&name).await,
            Request::History => self.history().await,
            Request::Undo => self.undo(None).await,
            Request::Connect(_) => Err(Refusal::Plain(
                "This version cannot connect remote servers yet. Servers that run on the bot's machine work: add one with `/mcp add`.".to_owned(),
            )),
        }
    }

    async fn pressed(&mut self, press: Press) -> Done {
        match press {
            Press::Panel(page) => self.panel(page).await,
            Press::Open(screen) => self.open(screen).await,
            Press::Server(verb, key) => {
                let name = self.server_of(&key).await?;
                let name = name.as_str();
                match verb {
                    ServerVerb::Show => self.show_server(name).await,
                    ServerVerb::Test => self.test(name).await,
                    ServerVerb::Logs => self.logs(name).await,
                    ServerVerb::Restart => self.restart(name).await,
                    ServerVerb::Edit => self.begin_edit(name).await,
                    ServerVerb::Rename => self.begin_rename(name).await,
                    ServerVerb::Enable => self.switch_on(name).await,
                    ServerVerb::Disable => self.switch_off(name).await,
                    ServerVerb::Remove => self.remove(name).await,
                }
            }
            Press::Tools(key, page) => {
                let name = self.server_of(&key).await?;
                self.tools_of(name.as_str(), page).await
            }
            Press::Tool(server, tool) => {
                let name = self.server_of(&server).await?;
                self.show_tool(name.as_str(), &tool).await
            }
            Press::Call(server, tool) => {
                let name = self.server_of(&server).await?;
                self.call_pressed(name.as_str(), &tool).await
            }
            Press::Proposal(verb, id) => self.decide(verb, &id).await,
            Press::Flow(verb, id) => self.flow_pressed(verb, &id).await,
            Press::Undo(id) => self.undo(Some(&id)).await,
            Press::Stop(id) => {
                let configures = self.may(Action::Configure, false).await.is_ok();
                match self
                    .hall
                    .live
                    .stop(&id, self.thread, &self.actor.id, configures)
                {
                    Stopped::Yes => self.answer(Answer::Toast("Stopping…".to_owned())).await,
                    Stopped::Over => return Err(Refusal::Over("It has ended already.")),
                    Stopped::NotYours => {
                        return Err(Refusal::Over(
                            "Only who began it, or an administrator, can stop it.",
                        ));
                    }
                }
                Ok(())
            }
        }
    }

    async fn open(&mut self, screen: Screen) -> Done {
        match screen {
            Screen::Add => self.begin_add(None).await,
            Screen::PasteJson => self.begin_json(None).await,
            Screen::Upload => self.begin_upload().await,
            Screen::Download => self.download(FileKind::Local).await,
            Screen::Status => self.status().await,
            Screen::History => self.history().await,
            Screen::Help => self.say(screens::help()).await,
            Screen::Examples => self.say(screens::examples()).await,
            Screen::Demo => self.add_demo().await,
            Screen::Repair => self.repair().await,
            Screen::Close => self.close().await,
        }
    }

    /// `/start`: the first screen, and below it what still waits for this person.
    async fn start(&mut self) -> Done {
        let loaded = self.loaded().await.ok();
        let servers = loaded.as_ref().map_or(0, |loaded| {
            loaded.config.local.len() + loaded.config.remote.len()
        });
        let has_demo = loaded.is_some_and(|loaded| {
            let mut local = loaded.config.local.iter();
            local.any(|(_, server)| crate::demo::is_demo(&server.command, &server.args))
        });
        self.say(screens::welcome(servers == 0, has_demo)).await?;
        self.pressed = None;
        self.show_open_proposals().await;
        self.ask_again().await;
        Ok(())
    }

    async fn help_for(&mut self, name: String) -> Done {
        if let Some(entry) = command::help_for(&name) {
            return self.say(screens::command_help(entry)).await;
        }
        let names = command::TABLE.iter().map(|entry| entry.name);
        let nearest = command::nearest(&name, names).and_then(command::help_for);
        Err(Refusal::Command(CommandError::Unknown {
            typed: name,
            nearest: nearest.map(command::Entry::typed),
        }))
    }

    /// `/cancel`: ends what waits for this person, and says what that was.
    async fn cancel(&mut self) -> Done {
        let mut ended = Vec::new();
        if let Some(flow) = self.records.take_flow_of(&self.actor.id) {
            ended.push(flow::name_of(&flow.kind));
        }
        let before = self.records.proposals.len();
        let by = self.actor.id.clone();
        self.records
            .proposals
            .retain(|proposal| proposal.by.id != by);
        match before - self.records.proposals.len() {
            0 => {}
            1 => ended.push("the open proposal".to_owned()),
            many => ended.push(format!("{many} open proposals")),
        }
        let stopped = self.hall.live.stop_of(self.thread, &by) > 0;
        let words = match (ended.is_empty(), stopped) {
            (true, false) => "There is nothing to cancel.".to_owned(),
            (true, true) => "Stopping what is running.".to_owned(),
            (false, false) => format!("Cancelled {}. Nothing was changed.", ended.join(" and ")),
            (false, true) => format!(
                "Cancelled {}, and stopping what is running.",
                ended.join(" and ")
            ),
        };
        self.say(View::text(words)).await
    }

    /// Takes the buttons of a message away.
    async fn close(&mut self) -> Done {
        self.say(View::text("Closed. `/mcp` opens it again.")).await
    }

    pub(super) async fn say(&mut self, view: View) -> Done {
        self.show(view).await;
        Ok(())
    }

    /// The name of the server that a button means.
    async fn server_of(&mut self, key: &super::action::Key) -> Result<ServerName, Refusal> {
        let loaded = self.loaded().await?;
        let mut names = loaded
            .config
            .local
            .iter()
            .map(|(name, _)| name)
            .chain(loaded.config.remote.iter().map(|(name, _)| name));
        let found = names.find(|name| key.is(name.as_str())).cloned();
        found.ok_or(Refusal::Over(
            "That server is not there any more. See /mcp list.",
        ))
    }
}

/// Whether a line begins with the one command that is ours alone.
fn is_ours(line: &str) -> bool {
    line.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("/mcp"))
}
