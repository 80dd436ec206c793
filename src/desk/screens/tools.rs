//! Tools: of all servers, of one, and one by itself.

use serde_json::{Map, Value};

use super::super::action::{Action, Key, ServerVerb};
use super::home::pager;
use super::{PAGE, count, server_line, shortened, state_words};
use crate::chat::{Block, Text, View};
use crate::registry::{ServerState, ServerView, Snapshot, Tool};

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
            .map(|tool| tool.name.as_str())
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
        Text::default().code(&tool.name).plain(format!(
            " {}",
            shortened(about.lines().next().unwrap_or_default(), 90)
        ))
    });
    let mut view = View::titled(format!("Tools of {name} ({})", server.tools.len()))
        .with(Block::List(lines.collect()));
    if pages > 1 {
        view = view.line(format!("Page {} of {pages}.", page + 1));
    }
    for pair in shown.chunks(2) {
        view = view.row(pair.iter().map(|tool| {
            Action::Tool(Key::of(name), Key::of(&tool.name)).button(shortened(&tool.name, 28))
        }));
    }
    view.row(pager(page, pages, |page| {
        Action::Tools(Key::of(name), page)
    }))
    .row([Action::Server(ServerVerb::Show, Key::of(name)).button("Back")])
}

/// One tool: what it does and takes, with Call.
pub(in crate::desk) fn tool_card(server: &str, tool: &Tool) -> View {
    let mut view = View::titled(if tool.title.is_empty() {
        tool.name.clone()
    } else {
        tool.title.clone()
    });
    if !tool.description.is_empty() {
        view = view.line(shortened(&tool.description, 1200));
    }
    let arguments = arguments(&tool.input_schema.to_map());
    view = if arguments.is_empty() {
        view.line("It takes no arguments.")
    } else {
        view.line("It takes:").with(Block::List(arguments))
    };
    let hints = [
        (tool.read_only == Some(true)).then_some("changes nothing"),
        (tool.destructive == Some(true)).then_some("may destroy something"),
    ];
    let hints: Vec<&str> = hints.into_iter().flatten().collect();
    if !hints.is_empty() {
        view = view.line(format!("The server says that it {}.", hints.join(" and ")));
    }
    view.line(Text::from("Call it: ").code(example_call(server, tool)))
        .row([
            Action::Call(Key::of(server), Key::of(&tool.name)).button("Call it"),
            Action::Tools(Key::of(server), 0).button("Back"),
        ])
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
