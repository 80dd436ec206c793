//! Which use case a text or a button means.

use super::super::action::{Action as Press, Key, Screen, ServerVerb};
use super::super::live::Stopped;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::{Done, login};
use crate::chat::{Answer, Text, View};
use crate::command::{self, CommandError, Request};
use crate::config::{FileKind, ServerName};
use crate::policy::Action;

impl Turn<'_> {
    pub(super) async fn text(&mut self, text: &str) -> Done {
        let trimmed = text.trim_start();
        let comes_by_link = trimmed.starts_with("/start ");
        if self.guest && !self.is_asked() && !comes_by_link {
            return Err(Refusal::Plain(
                "That question is over. Go on in the group, please.".to_owned(),
            ));
        }
        if login::is_callback(trimmed) {
            return self.pasted_address(trimmed.trim_end()).await;
        }
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
                None if is_link(trimmed) && self.has_login() => View::error(
                    "That is not where a login ends: that address has `/oauth/callback?` in it. Copy all of it from the browser's address bar when you have agreed there, and send it here.",
                ),
                None if is_link(trimmed) => View::error(
                    "Is that the address of an MCP server? Then send `/mcp connect` and the address.",
                )
                .row([Press::Open(Screen::Connect).button("Connect a URL")]),
                None => View::error(
                    "I understand commands. `/mcp` shows your servers, `/help` shows everything else.",
                ),
            };
            self.show(view).await;
        }
        Ok(())
    }

    /// Whether a login of this person is under way.
    fn has_login(&self) -> bool {
        let mut logins = self.records.logins.iter();
        logins.any(|login| login.by.id == self.actor.id || login.by.id.is_shared())
    }

    async fn request(&mut self, request: Request) -> Done {
        match request {
            Request::NotForUs => Ok(()),
            Request::Start(Some(nonce)) if self.private => self.take_handoff(&nonce).await,
            Request::Start(_) => self.start().await,
            Request::Help | Request::HelpFor(None) => self.say(screens::help()).await,
            Request::HelpFor(Some(name)) => self.help_for(name).await,
            Request::Cancel => self.cancel().await,
            Request::Admin(asked) => self.admin(asked).await,
            Request::Settings => self.settings().await,
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
            Request::Tool { server, tool, mode } => self.tool_named(&server, &tool, mode).await,
            Request::Allow { server, tools } => self.rule(&server, &tools, true).await,
            Request::Deny { server, tools } => self.rule(&server, &tools, false).await,
            Request::Call {
                server,
                tool,
                arguments,
            } => self.call(&server, tool.as_deref(), arguments).await,
            Request::Test(name) => self.test(&name).await,
            Request::Status => self.status().await,
            Request::Logs(name) => self.logs(&name).await,
            Request::Restart(name) => self.restart(&name).await,
            Request::History => self.history().await,
            Request::Audit(wish) => self.audit(wish).await,
            Request::Undo => self.undo(None).await,
            Request::ConnectGuided(name) => self.begin_connect(name).await,
            Request::Connect(line) => self.connect(line).await,
            Request::Login { name, client_id } => self.login(&name, client_id).await,
            Request::Logout(name) => self.logout(&name).await,
            Request::Secrets => self.secrets().await,
            Request::SetSecret {
                name,
                server,
                value,
            } => self.set_secret(&name, server.as_deref(), value).await,
            Request::RemoveSecret(name) => self.remove_secret(&name).await,
        }
    }

    pub(super) async fn pressed(&mut self, press: Press) -> Done {
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
                    ServerVerb::Narrow => self.narrow(name).await,
                    ServerVerb::Login => self.login(name, None).await,
                    ServerVerb::Logout => self.logout(name).await,
                    ServerVerb::Connect => self.reconnect(name).await,
                    ServerVerb::Auth => self.reconnect_from(name, false).await,
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
            Press::Login(verb, id) => self.login_pressed(verb, &id).await,
            Press::Grant(id) => self.login_granted(&id).await,
            Press::Offer(id) => self.take_offer(&id).await,
            Press::Rule(verb, server, tool) => {
                let name = self.server_of(&server).await?;
                self.rule_pressed(verb, &name, &tool).await
            }
            Press::Approve(what) => self.approve_changed(&what).await,
            Press::Unsay(id) => self.unsay(&id).await,
            Press::Asked(verb, id) => self.asked_pressed(verb, &id).await,
            Press::Admit(verb, id) => self.admit(verb, &id).await,
            Press::Set(verb) => self.set(verb).await,
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
            Screen::Connect => self.begin_connect(None).await,
            Screen::PasteJson => self.begin_json(None).await,
            Screen::Upload => self.begin_upload().await,
            Screen::Download => self.download(FileKind::Local).await,
            Screen::Status => self.status().await,
            Screen::History => self.history().await,
            Screen::Help => self.say(screens::help()).await,
            Screen::Examples => self.say(screens::examples()).await,
            Screen::Demo => self.add_demo().await,
            Screen::Repair => self.repair().await,
            Screen::Seal => self.seal_written_out().await,
            Screen::Admin => self.admin_panel().await,
            Screen::Settings => self.settings().await,
            Screen::Close => self.close().await,
        }
    }

    /// Whether a question to this person is open.
    fn is_asked(&self) -> bool {
        self.records.flow_of(&self.actor.id).is_some()
    }

    /// The name of the server that a button means.
    async fn server_of(&mut self, key: &Key) -> Result<ServerName, Refusal> {
        let loaded = self.loaded().await?;
        let mut names = loaded.config.names();
        let found = names.find(|name| key.is(name.as_str())).cloned();
        found.ok_or(Refusal::Over(
            "That server is not there any more. See /mcp list.",
        ))
    }
}

fn is_link(text: &str) -> bool {
    let text = text.trim();
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    is_web && !text.contains(char::is_whitespace)
}

/// Whether a line begins with the one command that is ours alone.
fn is_ours(line: &str) -> bool {
    line.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("/mcp"))
}
