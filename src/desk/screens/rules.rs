//! What was decided of tools, and calls that ask first.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::action::{Action, AskVerb, Key};
use super::super::handle::StillDenied;
use super::super::records::AskedCall;
use super::shortened;
use crate::actor::Actor;
use crate::chat::{Attachment, AttachmentKind, Block, Text, View};
use crate::config::{Masker, visible};
use crate::policy::is_pattern;
use crate::registry::{Ruling, Tool};

/// Characters of arguments that stand in the message; longer ones are a file, whole.
const SHOWN: usize = 2500;
/// Names that are listed.
const NAMES: usize = 30;

/// Tools were allowed or denied.
pub(in crate::desk) fn ruled(
    server: &str,
    patterns: &[String],
    allow: bool,
    matching: &[&Tool],
    still: &[StillDenied],
    undo: &str,
) -> View {
    // Where nothing came of it, that is said first.
    let is_vain = !still.is_empty() && still.len() >= matching.len();
    let mut lead = Text::from(match (allow, is_vain) {
        (true, true) => "⛔ Still off: ",
        (true, false) => "✅ Allowed ",
        (false, _) => "⛔ Denied ",
    });
    for (place, pattern) in patterns.iter().enumerate() {
        if place > 0 {
            lead = lead.plain(", ");
        }
        lead = lead.code(visible(pattern));
    }
    let mut view = View::text(lead.plain(" of ").bold(server).plain("."));
    if matching.is_empty() {
        let several = patterns.iter().any(|pattern| is_pattern(pattern));
        view = view.line(if several {
            "Nothing that it has now matches; what comes later will."
        } else {
            "It has no tools right now; it holds when they are back."
        });
    }
    let is_off = |tool: &&&Tool| tool.ruling != Ruling::On;
    let (off, on): (Vec<&&Tool>, Vec<&&Tool>) = matching.iter().partition(|tool| is_off(tool));
    if !on.is_empty() {
        view = view.line(names("On now: ", &on));
    }
    let (denied, other): (Vec<&&Tool>, Vec<&&Tool>) = off
        .into_iter()
        .partition(|tool| tool.ruling == Ruling::Denied);
    if !denied.is_empty() && !allow {
        view = view.line(names("Off now: ", &denied));
    }
    if allow {
        for one in still.iter().take(NAMES) {
            let line = Text::default()
                .code(visible(&one.tool))
                .plain(" stays off, since ");
            let line = match &one.by {
                Some(by) => line
                    .bold(shortened(by, 40))
                    .plain(" denied ")
                    .code(visible(&one.pattern)),
                None => line.code(visible(&one.pattern)).plain(" is denied"),
            };
            view = view.line(
                line.plain("; ")
                    .code(format!("/mcp allow {server} {}", visible(&one.pattern)))
                    .plain(" takes that back."),
            );
        }
    }
    if !other.is_empty() {
        view = view.line(names("Off until their change is approved: ", &other));
    }
    view.row([
        Action::Unsay(undo.to_owned()).button("Undo"),
        Action::Tools(Key::of(server), 0).button("Tools"),
    ])
}

fn names(lead: &str, tools: &[&&Tool]) -> Text {
    let mut text = Text::from(lead);
    for (place, tool) in tools.iter().take(NAMES).enumerate() {
        if place > 0 {
            text = text.plain(", ");
        }
        text = text.code(&tool.name);
    }
    match tools.len().saturating_sub(NAMES) {
        0 => text.plain("."),
        more => text.plain(format!(" and {more} more.")),
    }
}

/// A decision about tools was taken back.
pub(in crate::desk) fn unsaid(title: &str, server: &str) -> View {
    View::text(
        Text::from("↩️ Undone: ")
            .plain(title)
            .plain(" (")
            .bold(server)
            .plain(")."),
    )
    .row([Action::Tools(Key::of(server), 0).button("Tools")])
}

/// Tools are off because their definitions changed.
pub(in crate::desk) fn tools_changed(server: &str, changed: &[&Tool]) -> View {
    let what = match changed.len() {
        1 => " defines one of its tools otherwise than before, so that tool is off until somebody who configures here approved the difference: ".to_owned(),
        number => format!(" defines {number} of its tools otherwise than before, so they are off until somebody who configures here approved the differences: "),
    };
    let all: Vec<&&Tool> = changed.iter().collect();
    let list = names("", &all);
    let lead = Text::from("⚠️ ").bold(server).plain(what);
    let buttons = changed.iter().take(6).map(|tool| {
        let key = Key::of(&tool.name);
        Action::Tool(Key::of(server), key).button(shortened(&tool.name, 24))
    });
    let buttons: Vec<_> = buttons.collect();
    let view = View::text(Text([lead.0, list.0].concat()));
    buttons
        .chunks(2)
        .fold(view, |view, row| view.row(row.to_vec()))
        .row([Action::Tools(Key::of(server), 0).button("All its tools")])
}

/// A call that waits for permission, with every argument, whole; `is_own` where who wants it may give it.
pub(in crate::desk) fn ask_for_call(call: &AskedCall, tool: &Tool, is_own: bool) -> View {
    let lead = Text::default()
        .code(&call.tool)
        .plain(" of ")
        .bold(&call.server)
        .plain(", wanted by ")
        .bold(&call.by.name)
        .plain(if is_own {
            ". Calls of it ask first."
        } else {
            ". Somebody who configures here must allow it."
        });
    let mut view = View::titled("May this be called?").line(lead);
    let about = if tool.description.is_empty() {
        &tool.title
    } else {
        &tool.description
    };
    if !about.is_empty() {
        view = view.line(shortened(about, 300));
    }
    let whole = shown(&call.arguments);
    let length = whole.chars().count();
    view = if call.arguments.is_empty() {
        view.line("It takes no arguments.")
    } else if length <= SHOWN {
        view.line("With:").with(Block::Code {
            language: "json",
            text: whole,
        })
    } else {
        view.line(format!(
            "With these arguments; all {length} characters are in the file:"
        ))
        .with(Block::Code {
            language: "json",
            text: shortened(&whole, 600),
        })
        .attach(Attachment {
            kind: AttachmentKind::File,
            name: "arguments.json".to_owned(),
            bytes: Arc::from(whole.into_bytes()),
            caption: String::new(),
        })
    };
    let button = |verb: AskVerb, label: &str| Action::Asked(verb, call.id.clone()).button(label);
    view.row([
        button(AskVerb::Once, "Allow once"),
        button(AskVerb::Hour, "Allow for 1 hour"),
    ])
    .row([
        button(AskVerb::Always, "Always"),
        button(AskVerb::Deny, "Deny"),
    ])
}

/// Whether a part of them is not shown, since it looks like a secret.
pub(in crate::desk) fn hides_arguments(arguments: &Map<String, Value>) -> bool {
    shown(arguments) != written(arguments)
}

fn shown(arguments: &Map<String, Value>) -> String {
    Masker::default().mask(&written(arguments))
}

fn written(arguments: &Map<String, Value>) -> String {
    let whole = serde_json::to_string_pretty(&Value::Object(arguments.clone()));
    let lines: Vec<String> = whole.unwrap_or_default().lines().map(visible).collect();
    lines.join("\n")
}

/// Allowed, and on its way.
pub(in crate::desk) fn ask_allowed(call: &AskedCall, by: &Actor, told: &str) -> View {
    View::text(
        of(Text::from("✅ "), call)
            .plain(format!(", {told} by "))
            .bold(&by.name)
            .plain("."),
    )
}

/// Denied, or taken back.
pub(in crate::desk) fn ask_denied(call: &AskedCall, by: &Actor) -> View {
    let text = of(Text::from("⛔ "), call);
    View::text(if by.id == call.by.id {
        text.plain(", taken back. Nothing was called.")
    } else {
        text.plain(", denied by ")
            .bold(&by.name)
            .plain(". Nothing was called.")
    })
}

/// Too old.
pub(in crate::desk) fn ask_expired(call: &AskedCall) -> View {
    View {
        is_error: true,
        ..View::text(of(Text::default(), call).plain(
            ": this was asked more than 15 minutes ago, so nothing was called. Call it again.",
        ))
    }
}

/// The tool is not what it was when the question was asked.
pub(in crate::desk) fn ask_overtaken(call: &AskedCall) -> View {
    View {
        is_error: true,
        ..View::text(
            of(Text::default(), call)
                .plain(": the tool is not what it was when this was asked, so nothing was called. Look at it with /mcp tools."),
        )
    }
}

fn of(text: Text, call: &AskedCall) -> Text {
    text.code(&call.tool)
        .plain(" of ")
        .bold(&call.server)
        .plain(" for ")
        .bold(&call.by.name)
}
