//! A change before it is written, while tools appear, and after.

use super::super::action::{Action, Key, ProposalVerb, Screen, ServerVerb};
use super::super::propose::Worked;
use super::super::records::{HostChange, Proposal, Wait};
use super::{hidden_words, server_line, shortened, trouble, wanted_button};
use crate::chat::{Block, Button, Text, View};
use crate::config::{Change, Files};
use crate::registry::{Ruling, ServerView, Snapshot};

/// A change with what it does, what it risks, its diff, and Apply and Cancel. `reach` is what may be reached by it, `losses`
/// what is missing or goes with it.
pub(in crate::desk) fn proposal(
    proposal: &Proposal,
    old: &Files,
    worked: &Worked,
    reach: &[String],
    losses: &[String],
    lead: Option<&str>,
) -> View {
    let id = &proposal.id;
    let mut view = View::titled(format!("{}?", capital(&proposal.title())));
    if let Some(lead) = lead {
        view = view.line(lead);
    }
    if proposal.repairs {
        view = view.line("The broken file is replaced by the last configuration that worked. Its text is kept in the bot's data folder. The two cannot be compared, since the broken one does not parse.");
        let names: Vec<&str> = old
            .local
            .servers()
            .chain(old.remote.servers())
            .map(|(name, _)| name)
            .collect();
        let names = if names.is_empty() {
            "no server".to_owned()
        } else {
            names.join(", ")
        };
        view = view.line(format!("It will have: {names}."));
    }
    if proposal.replaces {
        view = view.line("This replaces everything that is there now.");
    }
    let words: Vec<Text> = worked
        .edit
        .0
        .iter()
        .filter_map(|change| in_words(change, old, proposal.undoes.is_some()))
        .collect();
    if !words.is_empty() {
        view = view.with(Block::List(words));
    }
    if !proposal.about.is_empty() {
        let facts = proposal.about.iter();
        view = view.with(Block::Pairs(
            facts
                .map(|(name, value)| (name.clone(), Text::default().plain(value)))
                .collect(),
        ));
    }
    if !worked.risks.is_empty() || !reach.is_empty() {
        view = view
            .line("What to know before you apply it:")
            .with(Block::List(
                worked
                    .risks
                    .iter()
                    .chain(reach)
                    .map(|risk| Text::from(risk.as_str()))
                    .collect(),
            ));
    }
    if !proposal.notes.is_empty() || !losses.is_empty() {
        view = view.line("Notes:").with(Block::List(
            proposal
                .notes
                .iter()
                .chain(losses)
                .map(|note| Text::from(note.as_str()))
                .collect(),
        ));
    }
    if !worked.diff.is_empty() {
        view = view.with(Block::Diff(worked.diff.clone()));
    }
    let switch = proposal.can_replace.then(|| {
        let label = if proposal.replaces {
            "Only add"
        } else {
            "Replace all"
        };
        Action::Proposal(ProposalVerb::Switch, id.clone()).button(label)
    });
    view.row([
        Action::Proposal(ProposalVerb::Apply, id.clone()).button("Apply"),
        Action::Proposal(ProposalVerb::Cancel, id.clone()).button("Cancel"),
    ])
    .row(switch)
}

/// An upload that holds nothing new, where others are there besides: only the other way to take it changes anything.
pub(in crate::desk) fn there_already(proposal: &Proposal, lead: Option<&str>) -> View {
    let words = match proposal.edit.names().len() {
        1 => "There is nothing to change: this server is there already.",
        _ => "There is nothing to change: these servers are there already.",
    };
    let mut view = View::default();
    if let Some(lead) = lead {
        view = view.line(lead);
    }
    view = view
        .line(words)
        .line("This chat has others besides. Replace all shows what goes with them; nothing is removed before you apply that.");
    if !proposal.notes.is_empty() {
        let notes = proposal.notes.iter();
        view = view.with(Block::List(
            notes.map(|note| Text::from(note.as_str())).collect(),
        ));
    }
    let id = &proposal.id;
    view.row([
        Action::Proposal(ProposalVerb::Switch, id.clone()).button("Replace all"),
        Action::Proposal(ProposalVerb::Cancel, id.clone()).button("Cancel"),
    ])
}

/// `back` says that it turns an earlier change round.
fn in_words(change: &Change, old: &Files, back: bool) -> Option<Text> {
    let words = match change {
        Change::Put {
            file, name, value, ..
        } => {
            let verb = match old.get(*file).server(name) {
                None if back => "brings back ",
                None => "adds ",
                Some(before) if is_off(before) && !is_off(value) => "switches on ",
                Some(before) if !is_off(before) && is_off(value) => "switches off ",
                Some(before) if before == value => return None,
                Some(_) if back => "changes back ",
                Some(_) => "changes ",
            };
            Text::from(verb).bold(name)
        }
        Change::Remove { name, .. } => Text::from("removes ").bold(name),
        Change::Rename { from, to, .. } => Text::from("renames ")
            .bold(from)
            .plain(" to ")
            .bold(to)
            .plain("; its tools' names change too"),
        Change::Field {
            key,
            value: Some(_),
            ..
        } => Text::from("sets the field ")
            .code(key)
            .plain(" beside the servers"),
        Change::Field {
            key, value: None, ..
        } => Text::from("removes the field ")
            .code(key)
            .plain(" beside the servers"),
    };
    Some(words)
}

fn is_off(entry: &serde_json::Value) -> bool {
    entry
        .get("disabled")
        .and_then(serde_json::Value::as_bool)
        .unwrap_or(false)
}

/// Written; tools are on their way.
pub(in crate::desk) fn applying(title: &str, entry: &str) -> View {
    View::text(format!("✅ Applied: {title}. ⏳ Loading tools…"))
        .row([Action::Undo(entry.to_owned()).button("Undo")])
}

/// An entry that was in the file already is agreed to.
pub(in crate::desk) fn agreed(server: &str) -> View {
    View::text(
        Text::from("✅ You agreed to ")
            .bold(server)
            .plain(". ⏳ Loading tools…"),
    )
}

/// Agreed to, and what came of it.
pub(in crate::desk) fn agreed_and_tried(server: &ServerView) -> View {
    let mut view = restarted(server);
    let words = Text::from("✅ You agreed to ")
        .bold(server.name.as_str())
        .plain(".");
    view.blocks.insert(0, Block::Text(words));
    view
}

/// Written, and what came of it so far; `done` when every server has settled.
pub(in crate::desk) fn settled(wait: &Wait, snapshot: Option<&Snapshot>, done: bool) -> View {
    const MOST: usize = 20;
    let server = |name: &String| snapshot.and_then(|snapshot| snapshot.server(name));
    let touched: Vec<&ServerView> = wait.names.iter().filter_map(server).collect();
    let troubled = || touched.iter().filter_map(|server| trouble(&server.state));
    let title = &wait.title;
    let mut view = match &wait.host {
        Some(host) => host_change(host),
        None if !done => View::text(format!("✅ Applied: {title}. ⏳ Loading tools…")),
        None if troubled().next().is_some() => {
            View::error(format!("⚠️ Applied: {title}. Not everything runs:"))
        }
        None => View::text(format!("✅ Applied: {title}.")),
    };
    let mut lines: Vec<Text> = touched.iter().map(|server| server_line(server)).collect();
    let gone = wait
        .names
        .iter()
        .filter(|name| snapshot.is_some() && server(name).is_none());
    lines.extend(gone.map(|name| Text::from("🗑 ").bold(name).plain(" · gone, with its tools")));
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("and {more} more").into());
    }
    if !lines.is_empty() {
        view = view.with(Block::List(lines));
    }
    for words in touched
        .iter()
        .filter_map(|server| hidden_words(server))
        .take(MOST)
    {
        view = view.line(words);
    }
    for reason in troubled().take(MOST) {
        let text = reason.to_owned();
        view = view.with(Block::Code { language: "", text });
    }
    let mut row = Vec::new();
    let waiting = touched.iter().filter_map(|server| {
        let wanted = wanted_button(server)?;
        // One of several says which.
        let label = match touched.as_slice() {
            [_] => wanted.label,
            _ => format!("{} {}", wanted.label, shortened(server.name.as_str(), 16)),
        };
        Some(Button::new(label, wanted.data))
    });
    row.extend(waiting.take(3));
    if let [server] = touched.as_slice() {
        let key = Key::of(server.name.as_str());
        if trouble(&server.state).is_some() {
            row.push(Action::Server(ServerVerb::Test, key).button("Test"));
        } else if !server.tools.is_empty() {
            row.push(Action::Tools(key, 0).button(tools_label(server)));
        }
    } else {
        let waiting = touched
            .iter()
            .filter(|server| server.tools_that_are(Ruling::Risky) > 0);
        row.extend(waiting.take(2).map(|server| {
            let name = server.name.as_str();
            Action::Tools(Key::of(name), 0).button(format!("Tools of {}", shortened(name, 16)))
        }));
    }
    row.push(Action::Panel(0).button("My servers"));
    if let Some(entry) = &wait.entry {
        row.push(Action::Undo(entry.clone()).button("Undo"));
    }
    view.row(row)
}

/// What the button to the tools is for.
fn tools_label(server: &ServerView) -> &'static str {
    if server.tools_that_are(Ruling::Risky) > 0 {
        "Choose tools"
    } else {
        "Tools"
    }
}

/// A broken file was mended.
pub(in crate::desk) fn sound_again() -> View {
    View::text("✅ The configuration on disk is sound again, and in force.")
}

/// Somebody changed the file outside this chat.
pub(in crate::desk) fn host_change(change: &HostChange) -> View {
    let names: Vec<&str> = change.files.iter().map(|kind| kind.file_name()).collect();
    let (names, were) = match names.as_slice() {
        [] => ("The configuration".to_owned(), "was"),
        [name] => ((*name).to_owned(), "was"),
        several => (several.join(" and "), "were"),
    };
    let how = match &change.by {
        Some(name) => format!("by {name} from a shell"),
        None => "on the bot's machine".to_owned(),
    };
    View::titled(format!("{names} {were} changed {how}")).with(Block::Diff(change.diff.clone()))
}

/// Dropped by its owner.
pub(in crate::desk) fn cancelled(title: &str) -> View {
    View::text(format!("Cancelled: {title}. Nothing was changed."))
}

/// Too old to be applied.
pub(in crate::desk) fn expired(title: &str) -> View {
    View { is_error: true, ..View::text(format!("This proposal ({title}) is older than 15 minutes, so it was not applied. Ask for it again.")) }
        .row([Action::Panel(0).button("My servers")])
}

/// The change would leave everything as it is.
pub(in crate::desk) fn nothing_to_change(notes: &[String]) -> View {
    let view = View::text("There is nothing to change: it is already so.");
    let view = if notes.is_empty() {
        view
    } else {
        view.with(Block::List(
            notes.iter().map(|note| Text::from(note.as_str())).collect(),
        ))
    };
    view.row([
        Action::Panel(0).button("My servers"),
        Action::Open(Screen::Close).button("Close"),
    ])
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

/// Stopped and started on request.
pub(in crate::desk) fn restarted(server: &ServerView) -> View {
    let view = View::text(server_line(server)).row(wanted_button(server));
    let view = match trouble(&server.state) {
        Some(reason) => View {
            is_error: true,
            ..view
        }
        .with(Block::Code {
            language: "",
            text: reason.to_owned(),
        }),
        None => view,
    };
    let key = || Key::of(server.name.as_str());
    let tools = (!server.tools.is_empty()).then(|| Action::Tools(key(), 0).button("Tools"));
    let others = [
        Action::Server(ServerVerb::Logs, key()).button("Logs"),
        Action::Panel(0).button("My servers"),
    ];
    view.row(tools.into_iter().chain(others))
}
