//! Connecting a remote server: its questions, the try of its address, and what a proposal says of it.

use std::time::Duration;

use url::Url;

use super::super::action::{Action, Screen};
use super::super::handle::secret_words;
use super::super::records::{AuthKind, ConnectFlow, ConnectStep, Wants};
use super::count;
use super::health::{Kind, advice, stage_lines};
use crate::chat::{Block, Button, Question, Text, View};
use crate::config::{SecretName, masked_url};
use crate::registry::StageResult;

/// What somebody can have, with the button that says it.
pub(in crate::desk) const AUTH_CHOICES: [(AuthKind, &str); 4] = [
    (AuthKind::Bearer, "A token"),
    (AuthKind::ApiKey, "An API key"),
    (AuthKind::OAuth, "A login"),
    (AuthKind::None, "Nothing"),
];

/// Headers that keys usually go into.
pub(in crate::desk) const KEY_HEADERS: [&str; 3] = ["X-API-Key", "Authorization", "Api-Key"];

/// The host of an address, for titles.
pub(in crate::desk) fn host_of(url: &str) -> String {
    let host = Url::parse(url).ok();
    let host = host.as_ref().and_then(Url::host_str);
    host.map_or_else(|| "the address".to_owned(), str::to_owned)
}

/// The open question. `offered` is the name on the button.
pub(in crate::desk) fn connect_question(connect: &ConnectFlow, offered: Option<&str>) -> View {
    let host = host_of(&connect.url);
    let view = match connect.step {
        ConnectStep::Address => View::titled("Connect a server")
            .line("What is its address? Its documentation calls it the MCP endpoint or the URL of the server.")
            .line(Text::from("For example: ").code("https://mcp.linear.app/mcp"))
            .asking(question("https://mcp.linear.app/mcp", false)),
        ConnectStep::Probing => View::text(format!("⏳ Trying {host}…")),
        ConnectStep::Broken => {
            let view = View::titled(format!("{host} does not work"));
            let view = match &connect.broken {
                Some(why) => view.line(why.clone()),
                None => view,
            };
            view.line("Try it once more, or send another address.")
                .row([Button::new("Try again", "0")])
        }
        ConnectStep::Name => {
            let offered = offered.unwrap_or("server");
            View::titled("What should it be called?")
                .line(found_words(connect))
                .line("Its tools will carry the name. Take the one on the button, or send another.")
                .row([Button::new(offered, "0")])
                .asking(question(offered, false))
        }
        ConnectStep::Auth => {
            let words = match (connect.auth, connect.found.as_ref().map(|found| found.wants)) {
                (Some(AuthKind::None), Some(Wants::OAuth)) => {
                    format!("{host} does not answer without a login. What do you have for it?")
                }
                _ if connect.asks_auth => {
                    format!("How do I prove to {host} who is there? Choose what you have for it.")
                }
                (Some(AuthKind::None), _) => format!(
                    "{host} does not answer without a key or a login. What do you have for it?"
                ),
                (_, Some(Wants::Refused)) => {
                    format!("{host} does not take what your headers say. What do you have for it?")
                }
                _ => format!(
                    "{host} wants to know who is there and does not say how. What do you have for it?"
                ),
            };
            let choices = AUTH_CHOICES.iter().enumerate();
            let buttons: Vec<Button> = choices
                .map(|(place, (_, label))| Button::new(*label, place.to_string()))
                .collect();
            let view = View::titled("Who is there?").line(words).with(Block::List(vec![
                Text::from("").bold("A token").plain(": most services make one in your settings there, called access token or PAT."),
                Text::from("").bold("An API key").plain(": like a token, for a header of its own."),
                Text::from("").bold("A login").plain(": in your browser, by OAuth."),
            ]));
            buttons.chunks(2).fold(view, |view, row| view.row(row.to_vec()))
        }
        ConnectStep::Header => {
            let buttons = KEY_HEADERS.iter().enumerate();
            View::titled("Which header does the key go into?")
                .line("The server's documentation names it. Press one, or send its name.")
                .row(buttons.map(|(place, header)| Button::new(*header, place.to_string())))
                .asking(question("X-API-Key", false))
        }
        ConnectStep::Secret => {
            let what = secret_words(connect);
            let refused = connect.found.as_ref().is_some_and(|found| found.with_secret);
            let view = View::titled(format!("Send {what}"));
            let view = if refused {
                view.line(format!(
                    "⚠️ {host} did not take the last one. It may be too old, cut short, or for something else."
                ))
            } else {
                view
            };
            view.line("I take your message out of the chat, keep what is in it where nobody sees it, and send it to this server alone.")
                .asking(question("the key or token itself", true))
        }
    };
    with_notes(view, connect)
}

/// The secret is asked for in the person's private chat, which the link leads to.
pub(in crate::desk) fn connect_elsewhere(connect: &ConnectFlow, link: String) -> View {
    let what = secret_words(connect);
    let refused = connect
        .found
        .as_ref()
        .is_some_and(|found| found.with_secret);
    let mut view = View::titled("In private, please");
    if refused {
        view = view.line("⚠️ The server did not take the last one.");
    }
    let mut view = view.line(format!(
        "I need {what}, and everybody here would read it. Press the button and send it to me in our own chat; it goes on here."
    ));
    view = view.link("Send it in private", link);
    with_notes(view, connect)
}

fn with_notes(view: View, connect: &ConnectFlow) -> View {
    connect
        .notes
        .iter()
        .fold(view, |view, note| view.line(Text::from(note.as_str())))
}

fn question(placeholder: &str, secret: bool) -> Question {
    Question {
        placeholder: placeholder.chars().take(64).collect(),
        of: None,
        secret,
    }
}

/// What a try found, a sentence.
fn found_words(connect: &ConnectFlow) -> Text {
    let host = host_of(&connect.url);
    let Some(found) = &connect.found else {
        return Text::from(host);
    };
    let mut text = Text::from("✅ ").bold(host).plain(" answers");
    if !found.info.is_empty() {
        text = text.plain(" and calls itself ").code(&found.info);
    }
    text.plain(match (found.wants, found.tools) {
        (Wants::Nothing, Some(tools)) => format!(". It has {}.", count(tools, "tool")),
        (Wants::Nothing, None) => ".".to_owned(),
        (Wants::OAuth, _) => ". It wants you to log in, which comes last.".to_owned(),
        (Wants::Unknown | Wants::Refused, _) => ". It wants a key or token.".to_owned(),
    })
}

/// A try under way.
pub(in crate::desk) fn probing(
    title: &str,
    results: &[StageResult],
    elapsed: Duration,
    stop: &str,
) -> View {
    View::titled(title)
        .with(Block::List(stage_lines(
            results,
            Kind::Remote,
            Some(elapsed),
        )))
        .row([Action::Stop(stop.to_owned()).button("Stop")])
}

/// A try that found somebody.
pub(in crate::desk) fn probe_done(url: &str, results: &[StageResult]) -> View {
    View::titled(format!("{} answers", host_of(url))).with(Block::List(stage_lines(
        results,
        Kind::Remote,
        None,
    )))
}

/// A try that found nobody, with what to do.
pub(in crate::desk) fn probe_broken(url: &str, results: &[StageResult]) -> View {
    let mut view = View::titled(format!("{} does not work", host_of(url)))
        .with(Block::List(stage_lines(results, Kind::Remote, None)));
    view.is_error = true;
    let view = broken_words(results).fold(view, View::line);
    view.line("Nothing was changed. Try again, or send another address.")
        .row([Button::new("Try again", "0")])
}

/// Why a try failed, and what to do.
pub(in crate::desk) fn broken_words(results: &[StageResult]) -> impl Iterator<Item = String> {
    let mut broken = results
        .iter()
        .filter_map(|result| result.outcome.as_ref().err());
    let words = broken
        .next()
        .map(|broken| [Some(broken.what.clone()), advice(broken)]);
    words.into_iter().flatten().flatten()
}

/// A try that somebody ended.
pub(in crate::desk) fn probe_dropped() -> View {
    View::text("⏹ Stopped. Nothing was changed.").row([
        Action::Open(Screen::Connect).button("Connect"),
        Action::Panel(0).button("My servers"),
    ])
}

/// What is known of a server before it is connected.
pub(in crate::desk) fn connect_facts(
    connect: &ConnectFlow,
    oauth: bool,
    headers: &[String],
) -> Vec<(String, String)> {
    let found = connect.found.as_ref();
    let mut facts = vec![("Address".to_owned(), masked_url(&connect.url))];
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(info) = found
        .map(|found| &found.info)
        .filter(|info| !info.is_empty())
    {
        fact("Calls itself", info.clone());
    }
    let transport = found.and_then(|found| found.transport.as_deref());
    fact(
        "Speaks",
        match transport {
            Some("sse") => "HTTP+SSE (the older way)".to_owned(),
            Some(_) => "streamable HTTP".to_owned(),
            None => "streamable HTTP, as far as it tells before a login".to_owned(),
        },
    );
    if let Some(tools) = found.and_then(|found| found.tools) {
        fact("Tools", tools.to_string());
    }
    if !headers.is_empty() {
        fact("Sends headers", headers.join(", "));
    }
    let login = match connect.auth {
        _ if oauth => "in your browser (OAuth), after Apply".to_owned(),
        Some(AuthKind::Bearer) => "a token, kept as ".to_owned() + &stored(connect),
        Some(AuthKind::ApiKey) => format!(
            "an API key in {}, kept as {}",
            connect.header.as_deref().unwrap_or("Authorization"),
            stored(connect)
        ),
        Some(AuthKind::None | AuthKind::OAuth) | None
            if !SecretName::all_in(&connect.url).is_empty() =>
        {
            "a key in the address".to_owned()
        }
        Some(AuthKind::None | AuthKind::OAuth) | None => "none".to_owned(),
    };
    fact("Login", login);
    facts
}

fn stored(connect: &ConnectFlow) -> String {
    let name = connect.secret.as_ref();
    name.map_or_else(|| "a secret".to_owned(), ToString::to_string)
}
