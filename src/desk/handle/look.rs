//! Looking: panel, list, show, tools, status, logs, history, download.

use std::sync::Arc;

use super::super::action::Key;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use crate::chat::{Attachment, AttachmentKind, Text, View};
use crate::config::{Definition, FileKind, SecretName, ServerName};
use crate::policy::Action;
use crate::registry::{ServerState, ServerView, Snapshot, Tool};

/// Changes on one page of the history.
const HISTORY: usize = 5;

impl Turn<'_> {
    pub(super) async fn panel(&mut self, page: usize) -> Done {
        let (loaded, snapshot) = self.look().await?;
        let broken = loaded.broken.as_ref().map(Refusal::brief);
        self.say(screens::panel(
            &snapshot,
            self.hall.parts.registry.sandbox(),
            page,
            broken.as_deref(),
        ))
        .await
    }

    pub(super) async fn list(&mut self) -> Done {
        let (_, snapshot) = self.look().await?;
        self.say(screens::list(&snapshot)).await
    }

    pub(super) async fn show_server(&mut self, name: &str) -> Done {
        let (loaded, snapshot) = self.look().await?;
        let name = Self::server_named(&loaded, name)?;
        let server = server_in(&snapshot, &name)?;
        let definition = loaded.config.definition(&name).ok_or_else(|| gone(&name))?;
        let network = self.network_facts(&loaded, &name).await?;
        let tier = self.hall.parts.registry.sandbox().tier;
        let card = screens::server_card(server, &definition, tier, network.as_ref());
        self.say(card).await
    }

    pub(super) async fn all_tools(&mut self) -> Done {
        let (_, snapshot) = self.look().await?;
        self.say(screens::all_tools(&snapshot)).await
    }

    pub(super) async fn tools_of(&mut self, name: &str, page: usize) -> Done {
        let (loaded, snapshot) = self.look().await?;
        let name = Self::server_named(&loaded, name)?;
        let server = server_in(&snapshot, &name)?;
        self.say(screens::server_tools(server, page)).await
    }

    pub(super) async fn show_tool(&mut self, name: &str, key: &Key) -> Done {
        let (server, tool) = self.tool_of(name, key).await?;
        self.tool_card(&server, &tool, None).await
    }

    /// The tool that a button means.
    pub(super) async fn tool_of(
        &mut self,
        name: &str,
        key: &Key,
    ) -> Result<(ServerName, Tool), Refusal> {
        let (loaded, snapshot) = self.look().await?;
        let name = Self::server_named(&loaded, name)?;
        let server = server_in(&snapshot, &name)?;
        let tool = server.tools.iter().find(|tool| key.is(&tool.name)).cloned();
        tool.map(|tool| (name, tool)).ok_or(Refusal::Over(
            "That tool is not there any more. See /mcp tools.",
        ))
    }

    pub(super) async fn status(&mut self) -> Done {
        let (_, snapshot) = self.look().await?;
        self.say(screens::status(&snapshot)).await
    }

    pub(super) async fn logs(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.loaded().await?;
        let name = Self::server_named(&loaded, name)?;
        let lines = self
            .hall
            .parts
            .registry
            .logs(self.thread, &name)
            .map_err(|_| gone(&name))?;
        let is_remote = matches!(loaded.config.definition(&name), Some(Definition::Remote(_)));
        self.say(screens::logs(name.as_str(), is_remote, &lines))
            .await
    }

    pub(super) async fn history(&mut self) -> Done {
        self.may(Action::Read, false).await?;
        let thread = self.thread;
        let entries = self
            .stored(move |store| store.history(thread, HISTORY))
            .await?;
        self.say(screens::history(&entries, self.now_ms())).await
    }

    pub(super) async fn download(&mut self, kind: FileKind) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.loaded().await?;
        let (document, masked) = loaded.files.get(kind).masked();
        let mut text = Text::from("Here is ").code(kind.file_name()).plain(".");
        if loaded.broken.is_some() {
            text = text.plain(" The file on disk is broken; this is the last good one.");
        }
        let document = document.to_text();
        if masked > 0 {
            let values = screens::count(masked, "secret value");
            let are = if masked == 1 { "is" } else { "are" };
            text = text.plain(format!(" {values} {are} masked (••••) in it."));
        }
        let named = SecretName::all_in(&document).into_iter().next();
        if let Some((_, name)) = &named {
            text = text
                .plain(" Secrets are only named in it, like ")
                .code(name.placeholder())
                .plain(".");
        }
        if masked > 0 || named.is_some() {
            text = text.plain(
                " Sent back here, it works as it is; to use it elsewhere, put the values there.",
            );
        }
        let attachment = Attachment {
            kind: AttachmentKind::File,
            name: kind.file_name().to_owned(),
            bytes: Arc::from(document.into_bytes()),
            caption: String::new(),
        };
        self.answer(crate::chat::Answer::Silent).await;
        self.send(View::text(text).attach(attachment)).await;
        Ok(())
    }

    /// What anybody in the chat may look at: the configuration and what runs of it.
    pub(super) async fn look(&mut self) -> Result<(crate::reload::Loaded, Arc<Snapshot>), Refusal> {
        self.may(Action::Read, false).await?;
        let loaded = self.loaded().await?;
        Ok((loaded, self.running()))
    }

    /// What runs of it; nothing where the thread is not loaded.
    pub(super) fn running(&self) -> Arc<Snapshot> {
        let snapshot = self.hall.parts.registry.snapshot(self.thread);
        snapshot.unwrap_or_default()
    }

    /// Refuses where nobody agreed to the server as it stands in the file: its stored secrets and its login go only where
    /// somebody did.
    pub(super) fn is_agreed_to(&self, name: &ServerName) -> Done {
        let running = self.running();
        let state = running.server(name.as_str()).map(|server| &server.state);
        if state == Some(&ServerState::WaitingForApproval) {
            return Err(Refusal::WaitsForApproval(name.to_string()));
        }
        Ok(())
    }
}

/// The server in the snapshot; a moment after a change it may not be there yet.
pub(super) fn server_in<'a>(
    snapshot: &'a Snapshot,
    name: &ServerName,
) -> Result<&'a ServerView, Refusal> {
    snapshot.server(name.as_str()).ok_or_else(|| gone(name))
}

fn gone(name: &ServerName) -> Refusal {
    Refusal::Plain(format!(
        "{name} is just being loaded. Try again in a moment."
    ))
}
