//! The try of an address: a live message with its stages, and what follows from what was found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::super::live::LiveMessage;
use super::super::super::records::{
    AuthKind, ConnectFlow, ConnectStep, Flow, FlowKind, Found, Wants,
};
use super::super::super::refusal::Refusal;
use super::super::super::screens;
use super::super::super::turn::Turn;
use super::super::super::{Hall, Work};
use super::super::{Done, News, running};
use super::AUTHORIZATION;
use super::begin::remote_in;
use crate::actor::ActorId;
use crate::chat::{Answer, MessageId};
use crate::config::{RemoteAuth, SecretName};
use crate::registry::{AuthWanted, ProbeAsk, Probed};
use crate::thread::ThreadId;

/// How often a stage that takes long tells the time.
const TICK: Duration = Duration::from_secs(5);

impl Turn<'_> {
    /// Tries the address in a task of its own, in the given message or a new one.
    pub(super) async fn probe(
        &mut self,
        flow: &Flow,
        connect: &ConnectFlow,
        message: Option<MessageId>,
    ) -> Done {
        let ask = self.ask_of(connect).await?;
        self.answer(Answer::Silent).await;
        let (hall, thread) = (Arc::clone(self.hall), self.thread);
        let (by, id) = (self.actor.id.clone(), flow.id.clone());
        let title = format!("Trying {}", screens::host_of(&connect.url));
        self.hall
            .spawn(run(hall, thread, by, id, title, ask, message));
        Ok(())
    }

    /// What the server is sent. Secrets that somebody else wrote into an entry are not, before they are agreed to.
    async fn ask_of(&self, connect: &ConnectFlow) -> Result<ProbeAsk, Refusal> {
        let loaded = self.sound().await?;
        let entry = connect
            .name
            .as_deref()
            .and_then(|name| remote_in(&loaded, name));
        let mut headers = match entry {
            Some(entry) if connect.keeps_headers => entry.headers.clone(),
            _ => connect.headers.clone(),
        };
        if connect.unproved {
            headers.retain(|(_, value)| SecretName::all_in(value).is_empty());
        }
        let auth = match (connect.auth, &connect.secret) {
            (Some(AuthKind::Bearer), Some(secret)) if !connect.unproved => {
                RemoteAuth::Bearer(secret.clone())
            }
            (Some(AuthKind::ApiKey), Some(secret)) if !connect.unproved => RemoteAuth::ApiKey {
                header: connect
                    .header
                    .clone()
                    .unwrap_or_else(|| AUTHORIZATION.to_owned()),
                value: secret.clone(),
            },
            // A login that there is already tells more: the transport, the tools.
            (Some(AuthKind::OAuth), _) => match entry.map(|entry| &entry.auth) {
                Some(RemoteAuth::OAuth(id))
                    if connect.keeps_headers
                        && !connect.unproved
                        && self.hall.parts.oauth.has_login(self.thread, id).await =>
                {
                    RemoteAuth::OAuth(id.clone())
                }
                _ => RemoteAuth::None,
            },
            _ => RemoteAuth::None,
        };
        Ok(ProbeAsk {
            url: connect.url.clone(),
            headers,
            auth,
        })
    }

    /// The try has ended.
    pub(in crate::desk::handle) async fn probed(
        &mut self,
        id: &str,
        probed: Probed,
        message: Option<MessageId>,
    ) -> Done {
        let Some((mut flow, mut connect)) = self.probing(id) else {
            // Cancelled meanwhile.
            if message.is_some() {
                self.pressed = message;
                self.show(screens::probe_dropped()).await;
            }
            return Ok(());
        };
        self.pressed = message;
        let wants = match &probed.auth {
            AuthWanted::None => Wants::Nothing,
            AuthWanted::OAuth { .. } => Wants::OAuth,
            AuthWanted::Unknown => Wants::Unknown,
            AuthWanted::Refused => Wants::Refused,
        };
        let broken = probed
            .staged
            .results
            .iter()
            .any(|result| result.outcome.is_err());
        if broken && wants == Wants::Nothing {
            connect.step = ConnectStep::Broken;
            let words: Vec<String> = screens::broken_words(&probed.staged.results).collect();
            connect.broken = Some(words.join(" "));
            let view = screens::probe_broken(&connect.url, &probed.staged.results);
            self.keep_connect(&mut flow, connect);
            self.ask_on(flow, view).await;
            return Ok(());
        }
        connect.found = Some(Found {
            transport: probed
                .transport
                .map(|transport| transport.name().to_owned()),
            wants,
            with_secret: connect.secret.is_some() && !connect.unproved,
            info: screens::shortened(&probed.server_info, 80),
            tools: probed.tools,
        });
        if self.needs_a_new_message(&connect) {
            self.show(screens::probe_done(&connect.url, &probed.staged.results))
                .await;
            self.pressed = None;
        }
        self.connect_on(flow, connect).await
    }

    /// The person pressed Stop.
    pub(in crate::desk::handle) async fn probe_stopped(
        &mut self,
        id: &str,
        message: Option<MessageId>,
    ) -> Done {
        if self.probing(id).is_some() {
            self.records.flows.retain(|flow| flow.id != id);
        }
        self.pressed = message;
        self.show(screens::probe_dropped()).await;
        Ok(())
    }

    fn probing(&self, id: &str) -> Option<(Flow, ConnectFlow)> {
        let flow = self.records.flows.iter().find(|flow| flow.id == id)?;
        match &flow.kind {
            FlowKind::Connect(connect) if connect.step == ConnectStep::Probing => {
                Some((flow.clone(), (**connect).clone()))
            }
            _ => None,
        }
    }

    /// In a group a question is answered by a reply, and only a new message can ask for one.
    fn needs_a_new_message(&self, connect: &ConnectFlow) -> bool {
        !self.private
            && matches!(
                super::plan(connect),
                super::Plan::Ask(ConnectStep::Name | ConnectStep::Header)
            )
    }
}

async fn run(
    hall: Arc<Hall>,
    thread: ThreadId,
    by: ActorId,
    flow: String,
    title: String,
    ask: ProbeAsk,
    message: Option<MessageId>,
) {
    let Some(place) = hall.live.enter(thread, &by) else {
        hall.finish(thread, message, running::too_many()).await;
        return;
    };
    let mut live = LiveMessage::within(&hall, thread, message);
    live.show(screens::probing(&title, &[], Duration::ZERO, &place.id));
    let (send, mut stages) = mpsc::channel(16);
    let probe = hall.parts.registry.probe(thread, ask, send);
    tokio::pin!(probe);
    let began = Instant::now();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    let mut results = Vec::new();
    let probed = loop {
        tokio::select! {
            biased;
            () = place.stop.cancelled() => break None,
            Some(stage) = stages.recv() => results.push(stage),
            probed = &mut probe => break Some(probed),
            _ = tick.tick() => {}
            never = live.go_on() => match never {},
        }
        live.show(screens::probing(
            &title,
            &results,
            began.elapsed(),
            &place.id,
        ));
    };
    let message = live.end().await;
    let news = match probed {
        Some(probed) => News::Probed {
            flow,
            probed: Box::new(probed),
            message,
        },
        None => News::ProbeStopped { flow, message },
    };
    // Refused only at the end, when nobody is told anything any more.
    let _ = hall.post(thread, Work::News(news));
}
