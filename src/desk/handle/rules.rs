//! Which tools are on, and how their calls are made: small changes that are safe to make at once, by who may configure,
//! written down, and taken back by a button.

use super::super::action::{Key, RuleVerb};
use super::super::new_id;
use super::super::records::Unsaying;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use super::look::server_in;
use crate::audit::{Entry, What};
use crate::chat::{Answer, View};
use crate::command;
use crate::config::{ServerName, visible};
use crate::policy::{
    Action, Mode, Pin, Ruling, Said, Seen, ToolDecisions, is_pattern, is_risky, labels, matches,
};
use crate::registry::{ServerView, Tool};

/// Lines of the audit in which whoever denied something is looked for.
const LOOKED_THROUGH: usize = 200;

/// Characters of a pattern.
const PATTERN_CHARS: usize = 128;

/// Something that stays off although it was allowed.
pub(in crate::desk) struct StillDenied {
    /// Its name.
    pub(in crate::desk) tool: String,
    /// What was denied.
    pub(in crate::desk) pattern: String,
    /// Who denied it, where the audit still tells.
    pub(in crate::desk) by: Option<String>,
}

/// What was said before something was decided, and after.
type Change = (Said, Said);

impl Turn<'_> {
    /// `/mcp allow SERVER TOOL…` and `/mcp deny SERVER TOOL…`.
    pub(super) async fn rule(&mut self, server: &str, patterns: &[String], allow: bool) -> Done {
        self.may(Action::Configure, false).await?;
        let (loaded, snapshot) = self.look().await?;
        let server = Self::server_named(&loaded, server)?;
        let view = server_in(&snapshot, &server)?.clone();
        for pattern in patterns {
            Self::is_meant(&view, pattern)?;
        }
        let title = format!(
            "{} {}",
            if allow { "allow" } else { "deny" },
            visible(&patterns.join(" "))
        );
        let wanted = patterns.to_vec();
        let change = self
            .decided(&server, &title, move |said| {
                let turned = wanted.iter().all(|pattern| {
                    if allow {
                        said.allow(pattern)
                    } else {
                        said.deny(pattern)
                    }
                });
                turned.then_some(()).ok_or_else(too_many)
            })
            .await?;
        let undo = self.unsaying(&server, &title, change);
        self.keep_records().await;
        let said = self.decisions(&server).await?;
        let tools = self.server_now(&server)?.tools;
        let of = |tool: &&Tool| patterns.iter().any(|pattern| matches(pattern, &tool.name));
        let matching: Vec<&Tool> = tools.iter().filter(of).collect();
        let denied = if allow {
            self.still_denied(&server, patterns, &matching, &said).await
        } else {
            Vec::new()
        };
        self.say(screens::ruled(
            server.as_str(),
            patterns,
            allow,
            &matching,
            &denied,
            &undo,
        ))
        .await
    }

    /// What stays off although it was just allowed: the tools, and what was named of a server whose tools are not known.
    async fn still_denied(
        &self,
        server: &ServerName,
        patterns: &[String],
        matching: &[&Tool],
        said: &ToolDecisions,
    ) -> Vec<StillDenied> {
        let tools = matching.iter().map(|tool| tool.name.as_str());
        let unknown = patterns.iter().map(String::as_str).filter(|pattern| {
            !is_pattern(pattern) && matching.iter().all(|tool| tool.name != *pattern)
        });
        let mut denied: Vec<StillDenied> = tools
            .chain(unknown)
            .filter_map(|tool| {
                Some(StillDenied {
                    tool: tool.to_owned(),
                    pattern: said.denies(tool)?.to_owned(),
                    by: None,
                })
            })
            .collect();
        if denied.is_empty() {
            return denied;
        }
        let (thread, name) = (self.thread, server.to_string());
        // Only a name more: without the book it is said without it.
        let lines = self
            .stored(move |store| store.audit(thread, LOOKED_THROUGH, Some(&name)))
            .await
            .unwrap_or_default();
        for one in &mut denied {
            let theirs = lines.iter().find(|line| match &line.entry.what {
                What::Decided { decision, .. } => decision
                    .strip_prefix("deny ")
                    .is_some_and(|said| said.split(' ').any(|word| word == visible(&one.pattern))),
                _ => false,
            });
            let by = theirs.and_then(|line| line.entry.by.as_ref());
            one.by = by.map(|actor| actor.name.clone());
        }
        denied
    }

    /// A switch of a tool, in the list or on its card.
    pub(super) async fn rule_pressed(
        &mut self,
        verb: RuleVerb,
        server: &ServerName,
        key: &Key,
    ) -> Done {
        self.may(Action::Configure, true).await?;
        let (server, tool) = self.tool_of(server.as_str(), key).await?;
        match verb {
            RuleVerb::On | RuleVerb::CardOn => self.switch_tool(&server, &tool, true).await?,
            RuleVerb::Off | RuleVerb::CardOff => self.switch_tool(&server, &tool, false).await?,
            RuleVerb::Always => self.choose_mode(&server, &tool, Mode::Always).await?,
            RuleVerb::Ask => self.choose_mode(&server, &tool, Mode::Ask).await?,
            RuleVerb::Never => self.choose_mode(&server, &tool, Mode::Never).await?,
        }
        match verb {
            RuleVerb::On | RuleVerb::Off => {
                let view = self.server_now(&server)?;
                let place = view.tools.iter().position(|other| other.name == tool.name);
                self.tools_of(server.as_str(), place.unwrap_or_default() / screens::PAGE)
                    .await
            }
            RuleVerb::CardOn
            | RuleVerb::CardOff
            | RuleVerb::Always
            | RuleVerb::Ask
            | RuleVerb::Never => self.show_tool(server.as_str(), key).await,
        }
    }

    /// `/mcp tools SERVER TOOL [mode=…]`.
    pub(super) async fn tool_named(
        &mut self,
        server: &str,
        tool: &str,
        mode: Option<&str>,
    ) -> Done {
        let (server, tool) = self.wanted_tool(server, Some(tool)).await?;
        if let Some(mode) = mode.and_then(Mode::read) {
            self.may(Action::Configure, true).await?;
            self.choose_mode(&server, &tool, mode).await?;
        }
        self.tool_card(&server, &tool, None).await
    }

    /// A tool's card, with what was decided of it.
    pub(super) async fn tool_card(
        &mut self,
        server: &ServerName,
        tool: &Tool,
        lead: Option<&str>,
    ) -> Done {
        let said = self.decisions(server).await?;
        // It may be another one by now than the one that was looked up.
        let now = self.server_now(server)?;
        let tool = now.tool(&tool.name).unwrap_or(tool);
        let risky = self.is_risky(tool);
        let facts = screens::ToolFacts {
            labels: labels(&tool.hints()),
            mode: said.mode(&seen(tool, risky)),
            denied_by: said.denies(&tool.name),
            before: said.definition(&tool.name),
            approve: approval(server, tool),
            lead,
        };
        let view = screens::tool_card(server.as_str(), tool, &facts);
        self.say(view).await
    }

    /// The button below the difference of a definition.
    pub(super) async fn approve_changed(&mut self, what: &str) -> Done {
        self.may(Action::Configure, true).await?;
        let (_, snapshot) = self.look().await?;
        let found = snapshot.servers.iter().find_map(|server| {
            let mut tools = server.tools.iter();
            let tool = tools.find(|tool| approval(&server.name, tool) == what)?;
            Some((server.name.clone(), tool.clone()))
        });
        let Some((server, tool)) = found else {
            return Err(Refusal::Over(
                "That definition is not the one that the server gives now. Look at the tool again with /mcp tools.",
            ));
        };
        let title = format!("the changed definition of {} approved", tool.name);
        let (name, pin, definition) = (tool.name.clone(), tool.pin, tool.definition());
        self.decided(&server, &title, move |said| {
            said.approve(&name, pin, definition);
            Ok(())
        })
        .await?;
        self.tool_card(&server, &tool, Some("✅ You approved this definition."))
            .await
    }

    /// The Undo button of a decision about tools.
    pub(super) async fn unsay(&mut self, id: &str) -> Done {
        self.may(Action::Configure, true).await?;
        let over = "This is too old to be undone by its button. /mcp tools shows what is on.";
        let mut all = self.records.unsaying.iter();
        let record = all.find(|record| record.id == id).cloned();
        let record = record.ok_or(Refusal::Over(over))?;
        let server = ServerName::new(&record.server)?;
        let title = format!("undo “{}”", record.title);
        let (before, after) = (record.before, record.after);
        self.decided(&server, &title, move |said| {
            let taken = said.take_back(&before, &after);
            taken.then_some(()).ok_or(Refusal::Over(
                "Something else was decided of these tools since, so nothing was undone. See /mcp tools.",
            ))
        })
        .await?;
        self.records.unsaying.retain(|other| other.id != id);
        self.say(screens::unsaid(&record.title, record.server.as_str()))
            .await
    }

    /// What was decided of a server's tools.
    pub(in crate::desk) async fn decisions(
        &self,
        server: &ServerName,
    ) -> Result<ToolDecisions, Refusal> {
        let (thread, server) = (self.thread, server.clone());
        self.stored(move |store| store.tool_decisions(thread, &server))
            .await
    }

    /// Decides something, writes it down, and has the registry say what holds now.
    pub(super) async fn decided(
        &self,
        server: &ServerName,
        title: &str,
        decide: impl FnOnce(&mut ToolDecisions) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Change, Refusal> {
        let parts = &self.hall.parts;
        // What cannot be written down is not decided.
        parts
            .audit
            .is_open(self.thread)
            .map_err(|closed| Refusal::Store(closed.to_string()))?;
        let (thread, name) = (self.thread, server.clone());
        let change = self
            .stored(move |store| {
                store.decide_tools(thread, &name, |now| {
                    let mut next = now.clone();
                    decide(&mut next)?;
                    let change = (now.said(), next.said());
                    *now = next;
                    Ok::<_, Refusal>(change)
                })
            })
            .await??;
        parts.audit.note(
            self.thread,
            Entry {
                by: Some(self.actor.clone()),
                what: What::Decided {
                    server: server.to_string(),
                    decision: title.to_owned(),
                },
            },
        );
        parts.registry.rule_again(self.thread, server).await;
        Ok(change)
    }

    /// Whether a tool looks risky to the operator of now.
    pub(super) fn is_risky(&self, tool: &Tool) -> bool {
        let policy = self.hall.parts.policy.now();
        is_risky(&tool.hints(), policy.risky_tools.as_deref())
    }

    async fn switch_tool(&mut self, server: &ServerName, tool: &Tool, on: bool) -> Done {
        let name = tool.name.as_str();
        let title = format!("{} {}", if on { "allow" } else { "deny" }, visible(name));
        let (of, tool) = (server.clone(), tool.name.clone());
        self.decided(server, &title, move |said| {
            let name = tool.as_str();
            let fits = if on { said.allow(name) } else { said.deny(name) };
            if !fits {
                return Err(too_many());
            }
            match said.denies(name) {
                Some(pattern) if on => Err(Refusal::Plain(format!(
                    "`{name}` stays off: `{pattern}` is denied here. `/mcp allow {of} {pattern}` takes that back."
                ))),
                _ => Ok(()),
            }
        })
        .await?;
        self.answer(Answer::Toast(format!(
            "{} is {} now.",
            screens::shortened(name, 60),
            if on { "on" } else { "off" }
        )))
        .await;
        Ok(())
    }

    async fn choose_mode(&mut self, server: &ServerName, tool: &Tool, mode: Mode) -> Done {
        let title = format!("calls of {}: {}", visible(&tool.name), mode.word());
        let (name, pin) = (tool.name.clone(), tool.pin);
        self.decided(server, &title, move |said| {
            said.choose(&name, pin, mode);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Keeps how a decision is taken back; the id of that.
    fn unsaying(&mut self, server: &ServerName, title: &str, (before, after): Change) -> String {
        let id = new_id();
        self.records.unsaying.push(Unsaying {
            id: id.clone(),
            server: server.to_string(),
            title: title.to_owned(),
            before,
            after,
            at_ms: self.now_ms(),
        });
        id
    }

    /// A name must be one of a tool that there is, as far as the tools are known; a pattern may wait for what it matches.
    fn is_meant(server: &ServerView, pattern: &str) -> Done {
        let is_odd =
            pattern.chars().nth(PATTERN_CHARS).is_some() || pattern.chars().any(char::is_control);
        if is_odd {
            return Err(Refusal::Plain(
                "A tool's name has at most 128 characters, and no line breaks.".to_owned(),
            ));
        }
        let mut tools = server.tools.iter();
        if is_pattern(pattern)
            || server.tools.is_empty()
            || tools.any(|tool| matches(pattern, &tool.name))
        {
            return Ok(());
        }
        let names = server.tools.iter().map(|tool| tool.name.as_str());
        Err(Refusal::NoTool {
            server: server.name.to_string(),
            typed: pattern.to_owned(),
            nearest: command::nearest(pattern, names).map(str::to_owned),
        })
    }

    fn server_now(&self, server: &ServerName) -> Result<ServerView, Refusal> {
        server_in(&self.running(), server).cloned()
    }
}

/// A tool as the judgements want it.
pub(super) fn seen(tool: &Tool, is_risky: bool) -> Seen<'_> {
    Seen {
        name: &tool.name,
        pin: tool.pin,
        is_risky,
    }
}

/// What stands for a definition of a tool in a button: nobody can make another one of which it says the same.
fn approval(server: &ServerName, tool: &Tool) -> String {
    let whole = serde_json::json!([server.as_str(), tool.name, tool.pin]);
    Pin::of(&whole).to_string().chars().take(32).collect()
}

fn too_many() -> Refusal {
    Refusal::Plain(
        "There are too many names and patterns for this server already. One pattern such as `read_*` stands for several."
            .to_owned(),
    )
}

/// Tools that changed, as the message about them says it.
pub(in crate::desk) fn changed_tools(server: &ServerView) -> Vec<&Tool> {
    let tools = server.tools.iter();
    tools
        .filter(|tool| tool.ruling == Ruling::Changed)
        .collect()
}

/// The message about tools that changed.
pub(in crate::desk) fn changed_view(server: &ServerView) -> View {
    screens::tools_changed(server.name.as_str(), &changed_tools(server))
}
