//! Secrets as people see them: their names, where they are used, and never more than four characters of one.

use super::super::action::{Action, Screen};
use super::health::when;
use crate::chat::{Button, Question, Text, View};
use crate::config::{GivenFor, SecretName, ServerName};
use crate::store::KeptSecret;

/// A secret and who uses it.
pub(in crate::desk) struct SecretLine {
    /// What is kept.
    pub(in crate::desk) kept: KeptSecret,
    /// The servers that name it.
    pub(in crate::desk) used_by: Vec<ServerName>,
}

/// `/mcp secrets`.
pub(in crate::desk) fn secrets(
    lines: &[SecretLine],
    unset: &[(SecretName, Vec<ServerName>)],
    written_out: &[&str],
    now_ms: i64,
) -> View {
    let mut view = View::titled("Secrets");
    if lines.is_empty() && unset.is_empty() && written_out.is_empty() {
        view = view.line("Nothing is kept here yet.");
    }
    for SecretLine { kept, used_by } in lines {
        let mut text = Text::from("• ").code(kept.name.as_str());
        if let Some(ending) = &kept.ending {
            text = text.plain(" · ends in ").code(ending);
        }
        text = if kept.is_readable {
            text.plain(format!(" · {}", by(used_by)))
        } else {
            text.plain(" · cannot be read any more; give it anew")
        };
        text = text.plain(format!(" · for {}", kept.given_for));
        text = match kept.set_at_ms {
            0 => text,
            at_ms => text.plain(format!(" · since {}", when(at_ms, now_ms))),
        };
        view = view.line(text);
    }
    for (name, used_by) in unset {
        let text = Text::from("• ").code(name.as_str());
        view = view.line(text.plain(format!(" · has no value here yet · {}", by(used_by))));
    }
    let view = view.line(
        Text::from("Keep one with ")
            .code("/mcp secrets set NAME")
            .plain(", and write ")
            .code("${secret:NAME}")
            .plain(" where a server needs it."),
    );
    if written_out.is_empty() {
        return view;
    }
    view.line(format!(
        "⚠️ What looks like a secret stands in the file itself: {}. Keep it sealed, and the file only names it.",
        by_name(written_out)
    ))
    .row([Action::Open(Screen::Seal).button("Keep it sealed")])
}

fn by_name(servers: &[&str]) -> String {
    let names: Vec<String> = servers.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The question for a value, where nobody reads along.
pub(in crate::desk) fn secret_question(
    name: &SecretName,
    given_for: &GivenFor,
    page: Option<&str>,
) -> View {
    let view = View::titled(format!("The value of {name}"))
        .line(format!(
            "It is kept for {given_for}, and goes nowhere else."
        ))
        .asking(Question {
            placeholder: "the value itself".to_owned(),
            of: None,
            secret: true,
        });
    with_page(view, page)
}

/// Adds the way around the chat, where there is one.
pub(in crate::desk) fn with_page(mut view: View, page: Option<&str>) -> View {
    let Some(page) = page else {
        return view.line("Send it here. I delete your message, and keep it where nobody sees it.");
    };
    view = view.line(
        "Open the page and enter it there, so that it never passes this chat; the page works once, for 15 minutes. Sending it \
         here works too: I delete your message.",
    );
    view = view.link("Enter it on a page", page);
    // Telegram shows no button for an address that is not public; it can be copied all the same.
    view.line(Text::default().code(page))
}

/// In a group: the way to where nobody reads along.
pub(in crate::desk) fn secret_elsewhere(
    name: &SecretName,
    given_for: &GivenFor,
    link: String,
) -> View {
    let mut view = View::titled(format!("The value of {name}"))
        .line(format!("It is kept for {given_for}, and goes nowhere else."))
        .line("Others read along here: press the button, and send it to me alone. It works once, for 15 minutes.");
    view = view.link("Give it in private", link);
    view
}

/// A value was given.
pub(in crate::desk) fn secret_kept(
    name: &SecretName,
    given_for: &GivenFor,
    used_by: &[ServerName],
) -> View {
    let view = View::text(
        Text::from("✅ ")
            .code(name.as_str())
            .plain(format!(" is kept, for {given_for}.")),
    );
    match used_by {
        [] => view.line(
            Text::from("No server uses it yet: write ")
                .code(name.placeholder())
                .plain(" where one needs it."),
        ),
        used_by => view.line(format!("{} starts anew with it.", names(used_by))),
    }
}

/// A value is to be forgotten that something uses.
pub(in crate::desk) fn secret_still_used(name: &SecretName, used_by: &[ServerName]) -> View {
    let what = match used_by {
        [] => "Something that is not decided yet needs it.".to_owned(),
        used_by => format!("{} does not work without it.", names(used_by)),
    };
    View::titled(format!("Forget {name}?"))
        .line(what)
        .line("It cannot be brought back; you would have to give it anew.")
        .row([Button::new("Forget it", "done")])
}

/// A value is forgotten.
pub(in crate::desk) fn secret_forgotten(name: &SecretName, used_by: &[ServerName]) -> View {
    let view = View::text(Text::default().code(name.as_str()).plain(" is forgotten."));
    match used_by {
        [] => view,
        used_by => view.line(format!(
            "{} waits for a new one: `/mcp secrets set {name}`.",
            names(used_by)
        )),
    }
}

fn by(used_by: &[ServerName]) -> String {
    match used_by {
        [] => "used by nothing".to_owned(),
        used_by => format!("used by {}", names(used_by)),
    }
}

fn names(servers: &[ServerName]) -> String {
    let names: Vec<&str> = servers.iter().map(ServerName::as_str).collect();
    names.join(", ")
}
