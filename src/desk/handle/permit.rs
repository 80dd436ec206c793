//! Calls that ask: who may configure sees what would be called with what, and says once, for an hour, always, or no.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::action::AskVerb;
use super::super::new_id;
use super::super::records::AskedCall;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::rules::seen;
use super::{Done, running};
use crate::actor::Actor;
use crate::audit::{Entry, What};
use crate::config::ServerName;
use crate::gate;
use crate::policy::{Action, Mode, Ruling, Verdict};
use crate::registry::{CallError, CallRequest, Tool};

/// How long "for 1 hour" is.
const HOUR_MS: i64 = 60 * 60 * 1000;

impl Turn<'_> {
    /// Makes a call whose arguments are complete and right, or asks somebody who may allow it.
    pub(super) async fn call_or_ask(
        &mut self,
        server: ServerName,
        tool: Tool,
        arguments: Map<String, Value>,
    ) -> Done {
        self.is_on(&server, &tool, &arguments)?;
        let said = self.decisions(&server).await?;
        let risky = self.is_risky(&tool);
        match said.judge(&seen(&tool, risky), self.now_ms()) {
            Verdict::Go => {
                self.run_call(self.actor.clone(), server, tool, arguments);
                Ok(())
            }
            Verdict::Refuse => {
                let why = "it is never called here; that was decided in this chat";
                self.note_refused(&server, &tool, &arguments, &why);
                Err(Refusal::Plain(format!(
                    "`{}` of {server} is never called here; that was decided in this chat. `/mcp tools {server} {} mode=ask` changes it.",
                    tool.name, tool.name
                )))
            }
            Verdict::Ask => self.ask_for_call(server, tool, arguments).await,
        }
    }

    /// A button of a call that waits for permission.
    pub(super) async fn asked_pressed(&mut self, verb: AskVerb, id: &str) -> Done {
        let mut all = self.records.calls.iter();
        let Some(call) = all.find(|call| call.id == id).cloned() else {
            return Err(Refusal::Over(
                "This call was already decided, or is too old. Nothing is called now.",
            ));
        };
        // Who asked may take it back; only who configures allows.
        if verb != AskVerb::Deny || call.by.id != self.actor.id {
            self.may(Action::Configure, true).await?;
        }
        self.pressed = call.message.or(self.pressed);
        if !call.is_open(self.now_ms()) {
            self.forget_asked(id).await;
            return self.say(screens::ask_expired(&call)).await;
        }
        if verb == AskVerb::Deny {
            self.forget_asked(id).await;
            self.note_asked(&call, "denied");
            return self.say(screens::ask_denied(&call, &self.actor)).await;
        }
        let (server, tool) = self.wanted_tool(&call.server, Some(&call.tool)).await?;
        if tool.pin != call.pin || tool.ruling != Ruling::On {
            self.forget_asked(id).await;
            return self.say(screens::ask_overtaken(&call)).await;
        }
        let (pin, name) = (tool.pin, tool.name.clone());
        let told = match verb {
            AskVerb::Once | AskVerb::Deny => "allowed once",
            AskVerb::Hour => {
                let until = self.now_ms().saturating_add(HOUR_MS);
                let title = format!("calls of {name}: without a question for 1 hour");
                self.decided(&server, &title, move |said| {
                    said.open_until(&name, pin, until);
                    Ok(())
                })
                .await?;
                "allowed for 1 hour"
            }
            AskVerb::Always => {
                let title = format!("calls of {name}: always");
                self.decided(&server, &title, move |said| {
                    said.choose(&name, pin, Mode::Always);
                    Ok(())
                })
                .await?;
                "allowed always"
            }
        };
        // Before it is made: whatever happens now, this question makes no second call.
        self.forget_asked(id).await;
        self.note_asked(&call, told);
        self.show(screens::ask_allowed(&call, &self.actor, told))
            .await;
        self.run_call(call.by, server, tool, call.arguments);
        Ok(())
    }

    /// Refuses a tool that is off, before anything is asked for it.
    pub(super) fn is_on(
        &self,
        server: &ServerName,
        tool: &Tool,
        arguments: &Map<String, Value>,
    ) -> Done {
        if tool.ruling == Ruling::On {
            return Ok(());
        }
        let off = CallError::Off {
            server: server.to_string(),
            tool: tool.name.clone(),
            ruling: tool.ruling,
        };
        self.note_refused(server, tool, arguments, &off);
        Err(Refusal::Call(off))
    }

    /// The audit has it that somebody wanted this and did not get it.
    fn note_refused(
        &self,
        server: &ServerName,
        tool: &Tool,
        arguments: &Map<String, Value>,
        why: &impl std::fmt::Display,
    ) {
        let request = CallRequest {
            thread: self.thread,
            server: server.to_string(),
            tool: tool.name.clone(),
            arguments: arguments.clone(),
            progress: None,
            waited: Duration::ZERO,
        };
        let by = Some(self.actor.clone());
        self.hall
            .parts
            .gate
            .refused(&gate::Caller { by }, &request, why);
    }

    fn run_call(&self, by: Actor, server: ServerName, tool: Tool, arguments: Map<String, Value>) {
        let (hall, thread) = (Arc::clone(self.hall), self.thread);
        self.hall
            .spawn(running::run(hall, thread, by, server, tool, arguments));
    }

    async fn ask_for_call(
        &mut self,
        server: ServerName,
        tool: Tool,
        arguments: Map<String, Value>,
    ) -> Done {
        let is_own = self.may(Action::Configure, false).await.is_ok();
        // What they cannot be shown they cannot allow: a command may stand where a key is taken to be.
        if !is_own && screens::hides_arguments(&arguments) {
            let why = "a part of its arguments looks like a secret and cannot be shown to whoever would allow it";
            self.note_refused(&server, &tool, &arguments, &why);
            return Err(Refusal::Plain(format!(
                "`{}` of {server} asks before it is called, and a part of these arguments looks like a secret, which is not \
                 shown in a chat: nobody could see what they allow. Leave it out, or ask somebody who configures here to make \
                 the call.",
                tool.name
            )));
        }
        let id = new_id();
        let call = AskedCall {
            id: id.clone(),
            by: self.actor.clone(),
            message: None,
            server: server.to_string(),
            tool: tool.name.clone(),
            pin: tool.pin,
            shown: AskedCall::hash(&arguments),
            arguments,
            at_ms: self.now_ms(),
        };
        let view = screens::ask_for_call(&call, &tool, is_own);
        self.records.calls.push(call);
        // Kept before it is shown: a button that is seen can be pressed, also after a crash right here.
        self.keep_records().await;
        self.pressed = None;
        let message = self.show(view).await;
        if let Some(call) = self.records.calls.iter_mut().find(|call| call.id == id) {
            call.message = message;
        }
        Ok(())
    }

    async fn forget_asked(&mut self, id: &str) {
        self.records.calls.retain(|call| call.id != id);
        self.keep_records().await;
    }

    fn note_asked(&self, call: &AskedCall, told: &str) {
        let decision = format!(
            "{told}: a call of {} that {} wanted, with arguments {}",
            call.tool, call.by.name, call.shown
        );
        let what = What::Decided {
            server: call.server.clone(),
            decision,
        };
        let by = Some(self.actor.clone());
        self.hall.parts.audit.note(self.thread, Entry { by, what });
    }
}
