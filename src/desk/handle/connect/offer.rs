//! Remote servers in what somebody pasted: a button for each that begins its connection.

use super::super::super::action::Action as Press;
use super::super::super::new_id;
use super::super::super::records::Offer;
use super::super::super::refusal::Refusal;
use super::super::super::turn::Turn;
use super::super::Done;
use crate::chat::{Block, Button, Text, View};
use crate::command::{self, Request};
use crate::config::RemoteOffer;
use crate::policy::Action;

/// Buttons of one message.
const MOST: usize = 8;

impl Turn<'_> {
    /// The servers with their buttons.
    pub(in crate::desk::handle) fn offer(&mut self, remotes: &[RemoteOffer], lead: &str) -> View {
        let lines = remotes.iter().map(|remote| {
            Text::from("🌐 ")
                .bold(&remote.name)
                .plain(" ")
                .code(&remote.connect)
        });
        let mut view = View::titled("Remote servers")
            .line(lead)
            .with(Block::List(lines.take(20).collect()));
        let buttons: Vec<Button> = remotes
            .iter()
            .take(MOST)
            .map(|remote| {
                let id = new_id();
                self.records.offers.push(Offer {
                    id: id.clone(),
                    line: remote.connect.clone(),
                    at_ms: self.now_ms(),
                });
                let name = super::super::super::screens::shortened(&remote.name, 20);
                Press::Offer(id).button(format!("Connect {name}"))
            })
            .collect();
        for pair in buttons.chunks(2) {
            view = view.row(pair.to_vec());
        }
        view
    }

    /// A button of it was pressed. The message stays for the others.
    pub(in crate::desk::handle) async fn take_offer(&mut self, id: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let offer = self.records.offers.iter().find(|offer| offer.id == id);
        let Some(line) = offer.map(|offer| offer.line.clone()) else {
            return Err(Refusal::Over(
                "This offer is too old. Paste it again, or send /mcp connect.",
            ));
        };
        self.pressed = None;
        match command::read(&line, None)? {
            Request::Connect(line) => self.connect(line).await,
            _ => Err(Refusal::Over("This cannot be connected.")),
        }
    }
}
