//! The words around the servers: the first screen, help, cancel, close.

use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::{Done, flow};
use crate::chat::View;
use crate::command::{self, CommandError};

impl Turn<'_> {
    /// `/start`: the first screen, and below it what still waits for this person.
    pub(super) async fn start(&mut self) -> Done {
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

    pub(super) async fn help_for(&mut self, name: String) -> Done {
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
    pub(super) async fn cancel(&mut self) -> Done {
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
        while let Some(login) = self.records.take_login(|login| login.by.id == by) {
            if let Some(id) = login.login {
                self.hall.parts.oauth.cancel(&id).await;
            }
            ended.push(format!("the login to {}", login.server));
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
    pub(super) async fn close(&mut self) -> Done {
        self.say(View::text("Closed. `/mcp` opens it again.")).await
    }
}
