//! Calling a tool: the tool that was meant, its arguments complete and right, missing ones asked for.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::Work;
use super::super::action::Key;
use super::super::live::LiveMessage;
use super::super::records::{CallFlow, FlowKind};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::arguments::{choices, property, typed, without_required};
use super::asked::Asked;
use super::look::server_in;
use super::{Done, running};
use crate::chat::{Answer, Button, Question, Text, View};
use crate::command::{self, Arguments};
use crate::config::{ServerName, check_arguments};
use crate::policy::Action;
use crate::registry::{ServerState, Snapshot, Tool};

impl Turn<'_> {
    /// `/mcp call SERVER TOOL …`.
    pub(super) async fn call(
        &mut self,
        server: &str,
        tool: Option<&str>,
        arguments: Arguments,
    ) -> Done {
        self.may(Action::Call, false).await?;
        if let Some(name) = self.is_starting(server).await? {
            self.call_when_ready(name);
            return Ok(());
        }
        let (server, tool) = self.wanted_tool(server, tool).await?;
        let schema = tool.input_schema.to_map();
        let arguments = match arguments {
            Arguments::None => Map::new(),
            Arguments::Json(object) => object,
            Arguments::Pairs(pairs) => pairs
                .into_iter()
                .map(|(name, text)| {
                    let value = typed(&schema, &name, &text);
                    (name, value)
                })
                .collect(),
        };
        self.call_with(server, tool, arguments).await
    }

    /// The Call button of a tool.
    pub(super) async fn call_pressed(&mut self, server: &str, key: &Key) -> Done {
        self.may(Action::Call, false).await?;
        let (server, tool) = self.tool_of(server, key).await?;
        // The card stays; what comes of the call is a message of its own.
        self.answer(Answer::Toast(format!(
            "Calling {}…",
            screens::shortened(&tool.name, 60)
        )))
        .await;
        self.pressed = None;
        self.call_with(server, tool, Map::new()).await
    }

    /// Calls if the arguments are complete and right; asks for what is missing.
    async fn call_with(
        &mut self,
        server: ServerName,
        tool: Tool,
        arguments: Map<String, Value>,
    ) -> Done {
        self.is_on(&server, &tool, &arguments)?;
        let schema = tool.input_schema.to_map();
        let missing: Vec<String> = screens::required(&schema)
            .into_iter()
            .filter(|name| !arguments.contains_key(*name))
            .map(str::to_owned)
            .collect();
        // What was given is judged at once, also when something is still missing.
        let problems = check_arguments(&without_required(&schema, !missing.is_empty()), &arguments);
        if !problems.is_empty() {
            return Err(Refusal::Arguments {
                server: server.to_string(),
                tool: tool.name,
                problems,
            });
        }
        if missing.is_empty() {
            return self.call_or_ask(server, tool, arguments).await;
        }
        let flow = CallFlow {
            server: server.to_string(),
            tool: tool.name.clone(),
            arguments,
            missing,
        };
        let view = question(&flow, &tool);
        self.begin_flow(FlowKind::Call(flow), view).await
    }

    /// An answer to the argument that is asked for.
    pub(super) async fn call_answered(
        &mut self,
        flow: CallFlow,
        text: &str,
    ) -> Result<Asked<CallFlow>, Refusal> {
        let (server, tool) = self.wanted_tool(&flow.server, Some(&flow.tool)).await?;
        let Some(name) = flow.missing.first().cloned() else {
            return Err(Refusal::Over("Nothing is missing any more."));
        };
        let value = typed(
            &tool.input_schema.to_map(),
            &name,
            text.trim_end_matches('\n'),
        );
        self.call_given(flow, server, tool, name, value).await
    }

    /// A choice for the argument that is asked for.
    pub(super) async fn call_chosen(
        &mut self,
        flow: CallFlow,
        index: usize,
    ) -> Result<Asked<CallFlow>, Refusal> {
        let (server, tool) = self.wanted_tool(&flow.server, Some(&flow.tool)).await?;
        let name = flow
            .missing
            .first()
            .cloned()
            .ok_or(Refusal::Over("Nothing is missing any more."))?;
        let value = choices(&tool.input_schema.to_map(), &name)
            .into_iter()
            .nth(index)
            .ok_or(Refusal::Over("There is no such choice."))?;
        self.call_given(flow, server, tool, name, value).await
    }

    async fn call_given(
        &mut self,
        mut flow: CallFlow,
        server: ServerName,
        tool: Tool,
        name: String,
        value: Value,
    ) -> Result<Asked<CallFlow>, Refusal> {
        flow.arguments.insert(name, value);
        let problems = check_arguments(
            &without_required(&tool.input_schema.to_map(), true),
            &flow.arguments,
        );
        if !problems.is_empty() {
            return Err(Refusal::Arguments {
                server: flow.server,
                tool: flow.tool,
                problems,
            });
        }
        flow.missing.remove(0);
        if !flow.missing.is_empty() {
            let view = question(&flow, &tool);
            return Ok(Asked::Next(flow, view));
        }
        let problems = check_arguments(&tool.input_schema.to_map(), &flow.arguments);
        if !problems.is_empty() {
            return Err(Refusal::Arguments {
                server: flow.server,
                tool: flow.tool,
                problems,
            });
        }
        self.call_or_ask(server, tool, flow.arguments).await?;
        Ok(Asked::Finished)
    }

    /// The question for the argument that is asked for, while the tool is there.
    pub(super) async fn call_question(&mut self, flow: &CallFlow) -> Option<View> {
        let (_, tool) = self
            .wanted_tool(&flow.server, Some(&flow.tool))
            .await
            .ok()?;
        Some(question(flow, &tool))
    }

    /// One argument back.
    pub(super) fn call_back(&mut self, mut flow: CallFlow) -> Result<Asked<CallFlow>, Refusal> {
        // `preserve_order` makes the last one given the last one in the map.
        let Some(name) = flow.arguments.keys().next_back().cloned() else {
            return Err(Refusal::Over("This is the first argument."));
        };
        flow.arguments.shift_remove(&name);
        flow.missing.insert(0, name);
        let snapshot = self.running();
        let tool = snapshot
            .server(&flow.server)
            .and_then(|server| server.tool(&flow.tool))
            .cloned();
        let tool = tool.ok_or(Refusal::Over("That tool is not there any more."))?;
        let view = question(&flow, &tool);
        Ok(Asked::Next(flow, view))
    }

    /// The server, where it is just starting: nobody should have to guess when it is ready.
    async fn is_starting(&mut self, server: &str) -> Result<Option<ServerName>, Refusal> {
        let (loaded, snapshot) = self.look().await?;
        let name = match snapshot.names.get(server) {
            Some((place, _)) => snapshot
                .servers
                .get(*place)
                .map(|server| server.name.clone()),
            None => Self::server_named(&loaded, server).ok(),
        };
        let state = |name: &ServerName| {
            snapshot
                .server(name.as_str())
                .map(|server| server.state.clone())
        };
        Ok(name.filter(|name| matches!(state(name), Some(ServerState::Starting { .. }))))
    }

    /// Handles what was typed again when the server has started, or failed to. Not here: the thread goes on meanwhile.
    fn call_when_ready(&self, name: ServerName) {
        let Some(mut event) = self.again.clone() else {
            return;
        };
        // A secret in it is dealt with now, once.
        event.message = None;
        let (hall, thread, by) = (Arc::clone(self.hall), self.thread, self.actor.id.clone());
        self.hall.spawn(async move {
            let Some(place) = hall.live.enter(thread, &by) else {
                hall.finish(thread, None, running::too_many()).await;
                return;
            };
            let mut live = LiveMessage::new(&hall, thread);
            live.show(screens::starting(name.as_str(), &place.id));
            let is_done = {
                let name = name.clone();
                move |snapshot: &Snapshot| {
                    let state = snapshot.server(name.as_str()).map(|server| &server.state);
                    !matches!(state, Some(ServerState::Starting { .. }))
                }
            };
            let view = tokio::select! {
                biased;
                () = place.stop.cancelled() => View::text(format!("⏹ Stopped. {name} goes on starting.")),
                snapshot = hall.parts.registry.wait(thread, is_done) => match snapshot {
                    Some(_) if hall.post(thread, Work::Event(event)).is_ok() => View::text(format!("{name} has started or given up; here is your call.")),
                    Some(_) => View::error("Too much waits here, so the call was left out. Send it again."),
                    None => View::error(format!("{name} is not there any more.")),
                },
                never = live.go_on() => match never {},
            };
            live.finish(view).await;
        });
    }

    /// The tool that was typed: `SERVER TOOL`, or a unique name alone.
    pub(super) async fn wanted_tool(
        &mut self,
        server: &str,
        tool: Option<&str>,
    ) -> Result<(ServerName, Tool), Refusal> {
        let (loaded, snapshot) = self.look().await?;
        let Some(tool) = tool else {
            return unique_tool(&snapshot, server).ok_or_else(|| Refusal::Plain(format!("Say which tool of {server}: `/mcp call {server} TOOL`. `/mcp tools {server}` lists them.")));
        };
        let name = Self::server_named(&loaded, server)?;
        let view = server_in(&snapshot, &name)?;
        if let Some(found) = view.tool(tool) {
            return Ok((name, found.clone()));
        }
        if let Some(reason) = screens::trouble(&view.state) {
            return Err(Refusal::Call(crate::registry::CallError::NotRunning {
                server: name.to_string(),
                reason: reason.to_owned(),
            }));
        }
        if view.state == ServerState::WaitingForApproval {
            return Err(Refusal::WaitsForApproval(name.to_string()));
        }
        if let ServerState::NeedsLogin { reason, challenge } = &view.state {
            return Err(Refusal::Call(crate::registry::CallError::NeedsLogin {
                server: name.to_string(),
                reason: reason.clone(),
                challenge: challenge.clone(),
            }));
        }
        if view.state == ServerState::Disabled {
            return Err(Refusal::Plain(format!(
                "{name} is switched off. Switch it on with `/mcp enable {name}`."
            )));
        }
        if view.tools.is_empty() {
            let reason = screens::state_words(view);
            return Err(Refusal::Call(crate::registry::CallError::NotRunning {
                server: name.to_string(),
                reason,
            }));
        }
        let nearest = command::nearest(tool, view.tools.iter().map(|tool| tool.name.as_str()))
            .map(str::to_owned);
        Err(Refusal::NoTool {
            server: name.to_string(),
            typed: tool.to_owned(),
            nearest,
        })
    }
}

fn unique_tool(snapshot: &Snapshot, name: &str) -> Option<(ServerName, Tool)> {
    let (server, tool) = snapshot.names.get(name)?;
    let server = snapshot.servers.get(*server)?;
    Some((server.name.clone(), server.tools.get(*tool)?.clone()))
}

/// The question for the next missing argument.
fn question(flow: &CallFlow, tool: &Tool) -> View {
    let Some(name) = flow.missing.first() else {
        return View::text("Nothing is missing.");
    };
    let schema = tool.input_schema.to_map();
    let property = property(&schema, name);
    let given = flow.arguments.len();
    let title = format!(
        "{} · {}/{}",
        tool.name,
        given + 1,
        given + flow.missing.len()
    );
    let kind = property.map_or_else(|| "any value".to_owned(), screens::kind_words);
    let about = property
        .and_then(|property| property.get("description"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut view = View::titled(title).line(
        Text::from("What is ")
            .code(name)
            .plain(format!("? ({kind})")),
    );
    if !about.is_empty() {
        view = view.line(screens::shortened(about, 400));
    }
    let is_nested = |kind: &Value| matches!(kind.as_str(), Some("array" | "object"));
    if let Some(property) = property.filter(|property| property.get("type").is_some_and(is_nested))
    {
        let example = screens::shape(property, 3).to_string();
        view = view.line(Text::from("For example: ").code(screens::shortened(&example, 300)));
    }
    let choices = choices(&schema, name);
    let buttons: Vec<Button> = choices
        .iter()
        .take(24)
        .enumerate()
        .map(|(index, choice)| {
            let label = choice
                .as_str()
                .map_or_else(|| choice.to_string(), str::to_owned);
            Button::new(screens::shortened(&label, 24), index.to_string())
        })
        .collect();
    let view = buttons
        .chunks(3)
        .fold(view, |view, row| view.row(row.to_vec()));
    view.asking(Question {
        placeholder: screens::shortened(name, 60),
        of: None,
        secret: false,
    })
}
