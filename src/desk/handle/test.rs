//! `/mcp test NAME`: the stages ticked off in one live message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::Hall;
use super::super::live::LiveMessage;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::{Done, running};
use crate::actor::ActorId;
use crate::chat::{Answer, View};
use crate::config::{Definition, ServerName};
use crate::policy::Action;
use crate::thread::ThreadId;

/// How often a stage that takes long tells the time.
const TICK: Duration = Duration::from_secs(5);

impl Turn<'_> {
    pub(super) async fn test(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.loaded().await?;
        let name = Self::server_named(&loaded, name)?;
        let Some(server) = loaded.config.definition(&name) else {
            return Err(Refusal::Over(
                "That server is not there any more. See /mcp list.",
            ));
        };
        self.is_agreed_to(&name)?;
        self.answer(Answer::Toast(format!("Testing {name}…"))).await;
        let (hall, thread, by) = (Arc::clone(self.hall), self.thread, self.actor.id.clone());
        self.hall.spawn(run(hall, thread, by, name, server));
        Ok(())
    }
}

async fn run(hall: Arc<Hall>, thread: ThreadId, by: ActorId, name: ServerName, server: Definition) {
    let Some(place) = hall.live.enter(thread, &by) else {
        hall.finish(thread, None, running::too_many()).await;
        return;
    };
    let kind = screens::Kind::of(&server);
    let mut live = LiveMessage::new(&hall, thread);
    live.show(screens::test_running(
        name.as_str(),
        kind,
        &[],
        Duration::ZERO,
        &place.id,
    ));
    let (send, mut stages) = mpsc::channel(8);
    let check = hall.parts.registry.check(thread, &name, &server, send);
    tokio::pin!(check);
    let began = Instant::now();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    let mut results = Vec::new();
    let view = loop {
        tokio::select! {
            biased;
            () = place.stop.cancelled() => break View::text(format!("⏹ Stopped testing {name}.")),
            Some(stage) = stages.recv() => results.push(stage),
            all = &mut check => break screens::staged(name.as_str(), kind, &all.results),
            _ = tick.tick() => {}
            never = live.go_on() => match never {},
        }
        // The last stage is shown with the verdict, a moment later.
        live.show(screens::test_running(
            name.as_str(),
            kind,
            &results,
            began.elapsed(),
            &place.id,
        ));
    };
    live.finish(view).await;
}
