//! Tools: of all servers, of one, and one by itself.

use serde_json::{Map, Value};

use super::super::action::{Action, Key, RuleVerb, ServerVerb};
use super::home::pager;
use super::{PAGE, count, hidden_words, server_line, shortened, state_words, were};
use crate::chat::{Block, Text, View};
use crate::config::text_diff;
use crate::policy::{Label, Mode, labels};
use crate::registry::{Ruling, ServerState, ServerView, Snapshot, Tool};

/// Tools of all servers.
pub(in crate::desk) fn all_tools(snapshot: &Snapshot) -> View {
    let total: usize = snapshot
        .servers
        .iter()
        .map(|server| server.tools.len())
        .sum();
    if total == 0 && !snapshot.servers.is_empty() {
        return View::text("None of the servers here has tools right now:")
            .with(Block::List(
                snapshot.servers.iter().map(server_line).collect(),
            ))
            .row([Action::Panel(0).button("My servers")]);
    }
    if total == 0 {
        return View::text("There are no tools here yet. Add a server with `/mcp add`, or connect one with `/mcp connect`.")
            .row([Action::Panel(0).button("My servers")]);
    }
    let mut view = View::titled(format!("{} in this chat", count(total, "tool")));
    for server in snapshot
        .servers
        .iter()
        .filter(|server| !server.tools.is_empty())
    {
        let names = server
            .tools
            .iter()
            .map(|tool| match tool.ruling {
                Ruling::On => tool.name.clone(),
                Ruling::Risky | Ruling::Denied | Ruling::Changed | Ruling::Unknown => {
                    format!("{} (off)", tool.name)
                }
            })
            .collect::<Vec<_>>()
            .join(", ");
        view = view.line(Text::default().bold(server.name.as_str()).plain(format!(
            " · {}: {}",
            state_words(server),
            shortened(&names, 300)
        )));
    }
    let buttons = snapshot
        .servers
        .iter()
        .filter(|server| !server.tools.is_empty())
        .take(PAGE);
    let row: Vec<_> = buttons
        .map(|server| {
            Action::Tools(Key::of(server.name.as_str()), 0)
                .button(shortened(server.name.as_str(), 20))
        })
        .collect();
    row.chunks(3).fold(view, |view, row| view.row(row.to_vec()))
}

/// A page of a server's tools.
pub(in crate::desk) fn server_tools(server: &ServerView, page: usize) -> View {
    let name = server.name.as_str();
    if server.tools.is_empty() {
        return View::titled(format!("Tools of {name}"))
            .line(match &server.state {
                ServerState::Disabled => Text::from("It is switched off. Switch it on with ")
                    .code(format!("/mcp enable {name}"))
                    .plain("."),
                _ => format!("It has none right now: {}.", state_words(server)).into(),
            })
            .row([Action::Server(ServerVerb::Show, Key::of(name)).button("Back")]);
    }
    let pages = server.tools.len().div_ceil(PAGE);
    let page = page.min(pages - 1);
    let shown = &server.tools[page * PAGE..server.tools.len().min((page + 1) * PAGE)];
    let lines = shown.iter().map(|tool| {
        let about = if tool.description.is_empty() {
            &tool.title
        } else {
            &tool.description
        };
        let about = shortened(about.lines().next().unwrap_or_default(), 90);
        let about = if about.is_empty() {
            about
        } else {
            format!(": {about}")
        };
        let off = off_words(tool.ruling).map_or_else(String::new, |off| format!(" · {off}"));
        let labels = label_words(&labels(&tool.hints()));
        Text::default()
            .code(&tool.name)
            .plain(format!(" ({labels}){off}{about}"))
    });
    let mut view = View::titled(format!("Tools of {name} ({})", server.tools.len()))
        .with(Block::List(lines.collect()));
    if let Some(words) = hidden_words(server) {
        view = view.line(words);
    }
    if pages > 1 {
        view = view.line(format!("Page {} of {pages}.", page + 1));
    }
    for tool in shown {
        let (server, key) = (Key::of(name), Key::of(&tool.name));
        let switch = match tool.ruling {
            Ruling::On => {
                Action::Rule(RuleVerb::Off, server.clone(), key.clone()).button("Switch off")
            }
            Ruling::Risky | Ruling::Denied => {
                Action::Rule(RuleVerb::On, server.clone(), key.clone()).button("Switch on")
            }
            Ruling::Changed => Action::Tool(server.clone(), key.clone()).button("Review"),
            Ruling::Unknown => Action::Tool(server.clone(), key.clone()).button("Why"),
        };
        view = view.row([
            Action::Tool(server, key).button(shortened(&tool.name, 28)),
            switch,
        ]);
    }
    view.row(pager(page, pages, |page| {
        Action::Tools(Key::of(name), page)
    }))
    .row([Action::Server(ServerVerb::Show, Key::of(name)).button("Back")])
}

/// What is known of a tool beside what its server says.
pub(in crate::desk) struct ToolFacts<'a> {
    /// What it looks like it does.
    pub(in crate::desk) labels: Vec<Label>,
    /// How its calls are made.
    pub(in crate::desk) mode: Mode,
    /// The pattern that denies it.
    pub(in crate::desk) denied_by: Option<&'a str>,
    /// The definition that was pinned, as far as it was kept.
    pub(in crate::desk) before: Option<&'a str>,
    /// What the button that approves the change carries.
    pub(in crate::desk) approve: String,
    /// What just happened.
    pub(in crate::desk) lead: Option<&'a str>,
}

/// One tool: what it does and takes, whether it is on and how it is called, with the buttons for all of it.
pub(in crate::desk) fn tool_card(server: &str, tool: &Tool, facts: &ToolFacts<'_>) -> View {
    let mut view = View::titled(if tool.title.is_empty() {
        tool.name.clone()
    } else {
        tool.title.clone()
    });
    if let Some(lead) = facts.lead {
        view = view.line(lead);
    }
    if tool.ruling == Ruling::Changed {
        return changed(view, server, tool, facts.before, &facts.approve);
    }
    if !tool.description.is_empty() {
        view = view.line(shortened(&tool.description, 1200));
    }
    let arguments = arguments(&tool.input_schema.to_map());
    view = if arguments.is_empty() {
        view.line("It takes no arguments.")
    } else {
        view.line("It takes:").with(Block::List(arguments))
    };
    if tool.hidden > 0 {
        view = view.line(format!("⚠️ {} removed from its texts.", were(tool.hidden)));
    }
    let hints = [
        (tool.read_only == Some(true)).then_some("changes nothing"),
        (tool.destructive == Some(true)).then_some("may destroy something"),
    ];
    let hints: Vec<&str> = hints.into_iter().flatten().collect();
    let says = match hints.as_slice() {
        [] => String::new(),
        hints => format!(" The server says that it {}.", hints.join(" and ")),
    };
    view = view.with(Block::Pairs(vec![
        (
            "Looks like it".to_owned(),
            Text::default().plain(format!("{}.{says}", label_words(&facts.labels))),
        ),
        ("Is".to_owned(), is_words(server, tool, facts)),
        ("Calls".to_owned(), Text::from(mode_words(facts.mode))),
    ]));
    if tool.ruling == Ruling::On {
        view = view.line(Text::from("Call it: ").code(example_call(server, tool)));
    }
    with_switches(view, server, tool, facts)
}

fn with_switches(view: View, server: &str, tool: &Tool, facts: &ToolFacts<'_>) -> View {
    let rule = |verb: RuleVerb, label: &str| {
        Action::Rule(verb, Key::of(server), Key::of(&tool.name)).button(label)
    };
    let is_on = tool.ruling == Ruling::On;
    let call = is_on.then(|| Action::Call(Key::of(server), Key::of(&tool.name)).button("Call it"));
    let switch = match tool.ruling {
        Ruling::On => Some(rule(RuleVerb::CardOff, "Switch off")),
        Ruling::Risky | Ruling::Denied => Some(rule(RuleVerb::CardOn, "Switch on")),
        Ruling::Changed | Ruling::Unknown => None,
    };
    let modes = [
        (Mode::Always, RuleVerb::Always, "Call always"),
        (Mode::Ask, RuleVerb::Ask, "Ask first"),
        (Mode::Never, RuleVerb::Never, "Never call"),
    ];
    let others = modes
        .into_iter()
        .filter(|(mode, ..)| is_on && *mode != facts.mode);
    view.row([call, switch].into_iter().flatten())
        .row(others.map(|(_, verb, label)| rule(verb, label)))
        .row([Action::Tools(Key::of(server), 0).button("Back")])
}

/// A tool whose definition is not the one that was pinned.
fn changed(view: View, server: &str, tool: &Tool, before: Option<&str>, approve: &str) -> View {
    let view = view.line(
        Text::from("⚠️ ").bold(server).plain(" defines ").code(&tool.name).plain(
            " otherwise than when it was looked at last, so it is off. Read what changed, and approve it if that is what it should be.",
        ),
    );
    let now = tool.definition();
    let diff = before.map(|before| text_diff(&tool.name, before, &now));
    let view = match diff {
        None => view
            .line("The former definition was too long to keep. This is the one of now:")
            .with(Block::Code { language: "", text: now }),
        Some(diff) if diff.is_empty() => {
            view.line("What changed is beyond what is kept of so long a definition, or in what cannot be shown.")
        }
        Some(diff) => view.with(Block::Diff(diff)),
    };
    view.row([
        Action::Approve(approve.to_owned()).button("Approve"),
        Action::Rule(RuleVerb::CardOff, Key::of(server), Key::of(&tool.name)).button("Deny it"),
        Action::Tools(Key::of(server), 0).button("Back"),
    ])
}

fn is_words(server: &str, tool: &Tool, facts: &ToolFacts<'_>) -> Text {
    match tool.ruling {
        Ruling::On => Text::from("on"),
        Ruling::Risky => Text::from("off until somebody allows it, because it looks risky"),
        Ruling::Denied => match facts.denied_by {
            Some(pattern) if pattern != tool.name => Text::from("off, denied by ")
                .code(pattern)
                .plain("; ")
                .code(format!("/mcp allow {server} {pattern}"))
                .plain(" takes that back"),
            _ => Text::from("off, denied by name"),
        },
        Ruling::Changed => Text::from("off until its change is approved"),
        Ruling::Unknown => Text::from("off, because what was decided of it cannot be read"),
    }
}

fn mode_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Always => "are made at once",
        Mode::Ask => "ask first, unless who calls configures this chat",
        Mode::Never => "are never made",
    }
}

/// Why a tool is off, in a few words.
fn off_words(ruling: Ruling) -> Option<&'static str> {
    match ruling {
        Ruling::On => None,
        Ruling::Risky => Some("off until allowed"),
        Ruling::Denied => Some("off"),
        Ruling::Changed => Some("⚠️ changed, off until approved"),
        Ruling::Unknown => Some("off, cannot be decided"),
    }
}

fn label_words(labels: &[Label]) -> String {
    let words: Vec<&str> = labels.iter().map(|label| label.words()).collect();
    words.join(", ")
}

fn arguments(schema: &Map<String, Value>) -> Vec<Text> {
    const MOST: usize = 20;
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let required = required(schema);
    let mut lines: Vec<Text> = properties
        .iter()
        .take(MOST)
        .map(|(name, property)| {
            let kind = kind_words(property);
            let need = if required.contains(&name.as_str()) {
                ""
            } else {
                ", optional"
            };
            let about = property
                .get("description")
                .and_then(Value::as_str)
                .map(|about| format!(": {}", shortened(about, 160)));
            Text::default()
                .code(shortened(name, 64))
                .plain(format!(" ({kind}{need}){}", about.unwrap_or_default()))
        })
        .collect();
    if properties.len() > MOST {
        lines.push(format!("and {} more", properties.len() - MOST).into());
    }
    lines
}

/// The required arguments that a schema names.
pub(in crate::desk) fn required(schema: &Map<String, Value>) -> Vec<&str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// A property's type in a word or its choices.
pub(in crate::desk) fn kind_words(property: &Value) -> String {
    if let Some(choices) = property.get("enum").and_then(Value::as_array) {
        let names: Vec<String> = choices.iter().take(6).map(plain).collect();
        let more = if choices.len() > 6 { " or others" } else { "" };
        return format!("{}{more}", names.join(" or "));
    }
    match property.get("type").and_then(Value::as_str) {
        Some("string") => "text",
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("boolean") => "true or false",
        Some("array") => "list",
        Some("object") => "object",
        _ => "any value",
    }
    .to_owned()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The form of a value that a schema asks for: `[{"name": "…"}]`.
pub(in crate::desk) fn shape(schema: &Value, depth: usize) -> Value {
    let kind = schema.get("type").and_then(Value::as_str);
    let first = |key: &str| {
        schema
            .get(key)
            .and_then(Value::as_array)
            .and_then(|list| list.first())
    };
    if let Some(value) = schema
        .get("default")
        .or_else(|| first("examples"))
        .or_else(|| first("enum"))
    {
        return value.clone();
    }
    match kind {
        Some("array") => match schema.get("items").filter(|_| depth > 0) {
            Some(items) => Value::Array(vec![shape(items, depth - 1)]),
            None => Value::Array(Vec::new()),
        },
        Some("object") => {
            let properties = schema
                .get("properties")
                .and_then(Value::as_object)
                .filter(|_| depth > 0);
            let fields = properties.into_iter().flatten().take(6);
            Value::Object(
                fields
                    .map(|(name, field)| (name.clone(), shape(field, depth - 1)))
                    .collect(),
            )
        }
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        _ => "…".into(),
    }
}

fn example_call(server: &str, tool: &Tool) -> String {
    let schema = tool.input_schema.to_map();
    let properties = schema.get("properties").and_then(Value::as_object);
    let arguments = required(&schema).into_iter().take(4).map(|name| {
        let property = properties.and_then(|properties| properties.get(name));
        let choice = property
            .and_then(|property| property.get("enum"))
            .and_then(Value::as_array)
            .and_then(|choices| choices.first())
            .map(plain);
        let value = choice.unwrap_or_else(|| {
            match property
                .and_then(|property| property.get("type"))
                .and_then(Value::as_str)
            {
                Some("integer" | "number") => "1".to_owned(),
                Some("boolean") => "true".to_owned(),
                Some("array") => "[]".to_owned(),
                Some("object") => "{}".to_owned(),
                _ => "…".to_owned(),
            }
        });
        format!(" {name}={value}")
    });
    format!(
        "/mcp call {server} {}{}",
        tool.name,
        arguments.collect::<String>()
    )
}
