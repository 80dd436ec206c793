//! Guided flows: one question a step, each a record; answers come as text, buttons lead back, on, or out.

use super::super::action::{Action as Press, FlowVerb};
use super::super::new_id;
use super::super::records::{ConnectStep, EditField, Flow, FlowKind};
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use super::Done;
use super::asked::Asked;
use super::{add, edit, handoff, import};
use crate::chat::{MessageId, Text, View};
use crate::policy::Action;

impl Turn<'_> {
    /// Begins a flow with its first question; the person's former flow ends.
    pub(super) async fn begin_flow(&mut self, kind: FlowKind, view: View) -> Done {
        let flow = Flow {
            id: new_id(),
            by: self.actor.clone(),
            message: None,
            kind,
            at_ms: self.now_ms(),
        };
        self.ask_on(flow, view).await;
        Ok(())
    }

    /// Shows a flow's next question and keeps the flow.
    pub(super) async fn ask_on(&mut self, mut flow: Flow, view: View) {
        let mut view = dressed(&flow, view, self.private);
        if self.hall.parts.one_shot {
            // Nobody is there to answer.
            view.is_error = true;
            view = view.line(
                "A single command cannot be asked back: write all of it in one line, or do this in the chat. `/mcp help` and the command's name shows how.",
            );
        }
        flow.at_ms = self.now_ms();
        let id = flow.id.clone();
        self.records.put_flow(flow);
        self.keep_records().await;
        let message = self.show(view).await;
        self.set_message(&id, message);
    }

    fn set_message(&mut self, id: &str, message: Option<MessageId>) {
        if let Some(flow) = self.records.flows.iter_mut().find(|flow| flow.id == id) {
            flow.message = message.or(flow.message);
        }
    }

    /// Asks the open question of this person again, as a new message.
    pub(super) async fn ask_again(&mut self) {
        let Some(flow) = self.records.flow_of(&self.actor.id).cloned() else {
            return;
        };
        let view = match &flow.kind {
            FlowKind::Add(add) => add::question(add),
            FlowKind::Edit(edit) => edit::question(edit),
            FlowKind::Rename { server } => edit::rename_question(server),
            FlowKind::Json { .. } => import::json_question(),
            FlowKind::Upload => import::upload_question(),
            FlowKind::Handoff(handoff) => handoff::question(handoff, None),
            FlowKind::Secret(secret) => {
                let (mut flow, secret) = (flow.clone(), secret.clone());
                match self.secret_question(&mut flow, secret).await {
                    Ok(view) => self.ask_on(flow, view).await,
                    Err(refusal) => self.refuse(refusal).await,
                }
                return;
            }
            FlowKind::Forget { name } => match self.forget_question(&name.clone()).await {
                Ok(view) => view,
                Err(_) => return,
            },
            FlowKind::Connect(connect) => {
                let connect = (**connect).clone();
                if let Err(refusal) = self.connect_again(flow, connect).await {
                    self.refuse(refusal).await;
                }
                return;
            }
            FlowKind::Call(call) => match self.call_question(call).await {
                Some(view) => view,
                None => return,
            },
        };
        self.ask_on(flow, view).await;
    }

    /// Text from a person whose flow is open.
    pub(super) async fn flow_answer(&mut self, text: &str) -> Done {
        let Some(flow) = self.records.flow_of(&self.actor.id).cloned() else {
            return Ok(());
        };
        if let FlowKind::Connect(connect) = &flow.kind {
            let connect = (**connect).clone();
            return self.connect_answered(flow, connect, text).await;
        }
        // Groups have no Skip button: see `dressed`.
        let asked = if !self.private && text.trim() == "-" {
            self.skipped(flow.kind.clone()).await
        } else {
            self.answered(flow.kind.clone(), text).await
        };
        self.go_on(flow, asked).await
    }

    /// A button of a flow.
    pub(super) async fn flow_pressed(&mut self, verb: FlowVerb, id: &str) -> Done {
        let Some(flow) = self
            .records
            .flows
            .iter()
            .find(|flow| flow.id == id)
            .cloned()
        else {
            return Err(Refusal::Over("This question is over. Nothing was changed."));
        };
        self.may_go_on(&flow.by).await?;
        if let FlowKind::Connect(connect) = &flow.kind
            && verb != FlowVerb::Cancel
        {
            let connect = (**connect).clone();
            self.may(Action::Configure, false).await?;
            return self.connect_pressed(flow, connect, verb).await;
        }
        let asked = match verb {
            FlowVerb::Cancel => {
                let nonce = match &flow.kind {
                    FlowKind::Connect(connect) => connect.nonce.clone(),
                    FlowKind::Secret(secret) => secret.nonce.clone(),
                    _ => None,
                };
                self.drop_handoff(&mut nonce.clone()).await;
                self.records.take_flow_of(&flow.by.id);
                return self
                    .say(View::text(format!(
                        "Cancelled {}. Nothing was changed.",
                        name_of(&flow.kind)
                    )))
                    .await;
            }
            FlowVerb::Back => self.back(flow.kind.clone()),
            FlowVerb::Skip => self.skipped(flow.kind.clone()).await,
            FlowVerb::Done => self.done(flow.kind.clone()).await,
            FlowVerb::Choose(index) => self.chosen(flow.kind.clone(), index).await,
        };
        self.go_on(flow, asked).await
    }

    async fn go_on(&mut self, flow: Flow, asked: Result<Asked<FlowKind>, Refusal>) -> Done {
        match asked? {
            Asked::Next(kind, view) => {
                self.ask_on(Flow { kind, ..flow }, view).await;
            }
            Asked::Finished => {
                // A flow that began meanwhile (a call after its arguments) stays.
                self.records.flows.retain(|other| other.id != flow.id);
            }
        }
        Ok(())
    }

    async fn answered(&mut self, kind: FlowKind, text: &str) -> Result<Asked<FlowKind>, Refusal> {
        match kind {
            FlowKind::Add(flow) => Ok(self.add_answered(flow, text).await?.map(FlowKind::Add)),
            FlowKind::Edit(flow) => Ok(self.edit_answered(flow, text).await?.map(FlowKind::Edit)),
            FlowKind::Rename { server } => {
                self.rename(&server, text.trim()).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Json { name } => {
                self.import(name.as_deref(), text.as_bytes()).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Upload => Err(Refusal::Plain("I wait for a file here. Send it, or paste its text after `/mcp add-json`, or `/cancel`.".to_owned())),
            FlowKind::Call(flow) => Ok(self.call_answered(flow, text).await?.map(FlowKind::Call)),
            FlowKind::Handoff(handoff) => {
                self.handoff_answered(&handoff, text).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Secret(secret) => {
                self.secret_answered(&secret, text).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Connect(_) | FlowKind::Forget { .. } => {
                Err(Refusal::Over("There is nothing to answer here."))
            }
        }
    }

    async fn skipped(&mut self, kind: FlowKind) -> Result<Asked<FlowKind>, Refusal> {
        match kind {
            FlowKind::Add(flow) => Ok(self.add_skipped(flow).await?.map(FlowKind::Add)),
            FlowKind::Edit(_)
            | FlowKind::Rename { .. }
            | FlowKind::Json { .. }
            | FlowKind::Upload
            | FlowKind::Call(_)
            | FlowKind::Connect(_)
            | FlowKind::Handoff(_)
            | FlowKind::Secret(_)
            | FlowKind::Forget { .. } => Err(Refusal::Over("This step is needed.")),
        }
    }

    fn back(&mut self, kind: FlowKind) -> Result<Asked<FlowKind>, Refusal> {
        match kind {
            FlowKind::Add(mut flow) => {
                if !flow.step_back() {
                    return Err(Refusal::Over("This is the first step."));
                }
                let view = add::question(&flow);
                Ok(Asked::Next(FlowKind::Add(flow), view))
            }
            FlowKind::Edit(mut flow) => {
                flow.field = None;
                let view = edit::menu(&flow);
                Ok(Asked::Next(FlowKind::Edit(flow), view))
            }
            FlowKind::Call(flow) => Ok(self.call_back(flow)?.map(FlowKind::Call)),
            FlowKind::Rename { .. }
            | FlowKind::Json { .. }
            | FlowKind::Upload
            | FlowKind::Connect(_)
            | FlowKind::Handoff(_)
            | FlowKind::Secret(_)
            | FlowKind::Forget { .. } => Err(Refusal::Over("This is the first step.")),
        }
    }

    async fn done(&mut self, kind: FlowKind) -> Result<Asked<FlowKind>, Refusal> {
        match kind {
            FlowKind::Edit(flow) => {
                self.finish_edit(flow).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Forget { name } => {
                self.forget_secret(&name).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Add(_)
            | FlowKind::Rename { .. }
            | FlowKind::Json { .. }
            | FlowKind::Upload
            | FlowKind::Call(_)
            | FlowKind::Connect(_)
            | FlowKind::Handoff(_)
            | FlowKind::Secret(_) => Err(Refusal::Over("There is nothing to finish here yet.")),
        }
    }

    async fn chosen(&mut self, kind: FlowKind, index: usize) -> Result<Asked<FlowKind>, Refusal> {
        match kind {
            FlowKind::Edit(flow) if flow.field == Some(EditField::Cwd) => {
                // The one choice there: a folder of the chat's own.
                Ok(self.edit_answered(flow, "-").await?.map(FlowKind::Edit))
            }
            FlowKind::Edit(flow) if flow.field == Some(EditField::Network) => {
                let grant = match index {
                    0 => "public",
                    1 => "none",
                    _ => return Err(Refusal::Over("There is no such choice.")),
                };
                Ok(self.edit_answered(flow, grant).await?.map(FlowKind::Edit))
            }
            FlowKind::Edit(flow) if flow.remote && flow.field.is_none() && index >= 2 => {
                // The address and the login go through the steps of connecting.
                self.edit_connects(&flow, index).await?;
                Ok(Asked::Finished)
            }
            FlowKind::Edit(mut flow) => {
                let local = [
                    EditField::Command,
                    EditField::Env,
                    EditField::Cwd,
                    EditField::Network,
                ];
                let remote = [EditField::Headers, EditField::Timeout];
                let fields = if flow.remote { &remote[..] } else { &local[..] };
                let field = fields.get(index).copied();
                flow.field = Some(field.ok_or(Refusal::Over("There is no such choice."))?);
                let view = edit::question(&flow);
                Ok(Asked::Next(FlowKind::Edit(flow), view))
            }
            FlowKind::Call(flow) => Ok(self.call_chosen(flow, index).await?.map(FlowKind::Call)),
            FlowKind::Add(_)
            | FlowKind::Rename { .. }
            | FlowKind::Json { .. }
            | FlowKind::Upload
            | FlowKind::Connect(_)
            | FlowKind::Handoff(_)
            | FlowKind::Secret(_)
            | FlowKind::Forget { .. } => Err(Refusal::Over("There is no such choice.")),
        }
    }
}

/// A flow as `/cancel` names it.
pub(super) fn name_of(kind: &FlowKind) -> String {
    match kind {
        FlowKind::Add(_) => "adding a server".to_owned(),
        FlowKind::Edit(flow) => format!("editing {}", flow.server),
        FlowKind::Rename { server } => format!("renaming {server}"),
        FlowKind::Json { .. } => "pasting JSON".to_owned(),
        FlowKind::Upload => "the upload".to_owned(),
        FlowKind::Call(flow) => format!("calling {}", flow.tool),
        FlowKind::Connect(flow) => match &flow.name {
            Some(name) => format!("connecting {name}"),
            None => "connecting a server".to_owned(),
        },
        FlowKind::Handoff(handoff) => format!("asking for {}", handoff.what),
        FlowKind::Secret(secret) => format!("asking for the value of {}", secret.name),
        FlowKind::Forget { name } => format!("forgetting {name}"),
    }
}

/// The question with the buttons that fit its step. In a group the question must be answered by a reply, and a message
/// has either buttons or a reply field (Bot API: one `reply_markup`); there `/cancel` and `-` for skip stand in the text.
fn dressed(flow: &Flow, mut view: View, private: bool) -> View {
    let button = |verb: FlowVerb, label: &str| Press::Flow(verb, flow.id.clone()).button(label);
    let (can_skip, can_back, needs_text) = match &flow.kind {
        FlowKind::Add(add) => (add.may_skip(), add.may_back(), true),
        FlowKind::Edit(edit) => (false, edit.field.is_some(), edit.field.is_some()),
        FlowKind::Call(call) => (false, !call.arguments.is_empty(), true),
        FlowKind::Rename { .. } | FlowKind::Json { .. } | FlowKind::Handoff(_) => {
            (false, false, true)
        }
        FlowKind::Upload | FlowKind::Forget { .. } => (false, false, false),
        FlowKind::Secret(_) => (false, false, view.question.is_some()),
        FlowKind::Connect(connect) => (
            false,
            match connect.step {
                ConnectStep::Header | ConnectStep::Secret => true,
                ConnectStep::Name => connect.guided,
                ConnectStep::Address
                | ConnectStep::Probing
                | ConnectStep::Broken
                | ConnectStep::Auth => false,
            },
            view.question.is_some(),
        ),
    };
    if let Some(question) = &mut view.question {
        question.of = Some(flow.by.id.clone());
    }
    if !private && needs_text && view.buttons.is_empty() {
        let skip = if can_skip { " Answer `-` to skip." } else { "" };
        return view.line(Text::from(
            format!("Reply to this message.{skip} /cancel ends it.").as_str(),
        ));
    }
    for row in &mut view.buttons {
        for choice in row.iter_mut() {
            // Choices come as bare numbers; the flow's id makes them this flow's.
            if let Ok(index) = choice.data.parse() {
                *choice = button(FlowVerb::Choose(index), &choice.label);
            } else if choice.data == "done" {
                *choice = button(FlowVerb::Done, &choice.label);
            }
        }
    }
    let row = [
        can_skip.then(|| button(FlowVerb::Skip, "Skip")),
        can_back.then(|| button(FlowVerb::Back, "Back")),
        Some(button(FlowVerb::Cancel, "Cancel")),
    ];
    view.row(row.into_iter().flatten())
}
