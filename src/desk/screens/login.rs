//! Logins at remote servers: the link, what came of it, and the end of a login.

use super::super::action::{Action, Key, LoginVerb, ServerVerb};
use super::super::records::Login;
use super::{server_line, shortened, trouble};
use crate::chat::{Block, Button, Text, View};
use crate::oauth::{ClientKind, Invitation, LoggedOut, OAuthError, scope_words};
use crate::registry::{ServerState, ServerView};

/// Scopes that are named one by one.
const SCOPES: usize = 12;

/// The server is asked who may let us in.
pub(in crate::desk) fn login_beginning(server: &str, stop: &str) -> View {
    View::text(
        Text::from("⏳ Asking ")
            .bold(server)
            .plain(" how to log in…"),
    )
    .row([Action::Stop(stop.to_owned()).button("Stop")])
}

/// The link, with what will be asked for.
pub(in crate::desk) fn invitation(login: &Login, invitation: &Invitation) -> View {
    let server = &login.server;
    let mut pairs = vec![(
        "You log in at".to_owned(),
        Text::default().code(&invitation.issuer),
    )];
    pairs.push(("It asks for".to_owned(), scopes(&invitation.scopes)));
    let known_as = match invitation.client {
        ClientKind::Given => "the client id that was registered there",
        ClientKind::Document => "this bot, by the address of its own page",
        ClientKind::Registered => "this bot, which just registered itself",
    };
    pairs.push(("It knows me as".to_owned(), Text::default().plain(known_as)));
    let whose = if login.private {
        "Its tools will act with your account."
    } else {
        "Its tools will act with your account for everybody in this chat."
    };
    let mut view = View::titled(format!("Log in to {server}"))
        .with(Block::Pairs(pairs))
        .line(whose);
    let link = invitation.link.as_str();
    if can_be_pressed(invitation) {
        view = view.link("Log in", link);
    } else {
        view = view.line(Text::from("Open this link: ").code(link));
    }
    let back = if invitation.through_us {
        "When you have agreed there, come back here and press Finish. The link is good for 10 minutes, for you alone."
    } else {
        "After you agree, your browser may show an error page; copy its address, send it here, and press Finish. The link is good for 10 minutes, for you alone."
    };
    view.line(back)
        .row([login_button(login, LoginVerb::Cancel, "Cancel")])
}

/// A button that leads out needs an address that everybody can open (Bot API: a host with a dot).
fn can_be_pressed(invitation: &Invitation) -> bool {
    let host = invitation.link.host_str().unwrap_or_default();
    invitation.link.scheme() == "https" && host.contains('.')
}

/// Rights in words, as far as they are known; untrusted.
fn scopes(scopes: &[String]) -> Text {
    if scopes.is_empty() {
        return Text::default().plain("it does not say; you will see it there");
    }
    let mut text = Text::default();
    for (place, scope) in scopes.iter().take(SCOPES).enumerate() {
        if place > 0 {
            text = text.plain(", ");
        }
        text = match scope_words(scope) {
            Some(words) => text.plain(words),
            None => text.code(shortened(scope, 60)),
        };
    }
    match scopes.len().saturating_sub(SCOPES) {
        0 => text,
        more => text.plain(format!(" and {more} more")),
    }
}

/// The browser came back: what was granted, and Finish for who began.
pub(in crate::desk) fn arrived(login: &Login, account: Option<&str>, granted: &[String]) -> View {
    // Somebody else may have opened the link: whoever finishes must see whose account it is, or that nobody says.
    let whose = match account {
        Some(account) => Text::default().code(shortened(account, 80)),
        None => Text::from("it does not say whose"),
    };
    let mut pairs = vec![("Account".to_owned(), whose)];
    if !granted.is_empty() {
        pairs.push(("Granted".to_owned(), scopes(granted)));
    }
    View::titled(format!("Log in to {}", login.server))
        .line("✅ You agreed there. One press, and its tools are here:")
        .with(Block::Pairs(pairs))
        .line(
            Text::from("Only ")
                .bold(&login.by.name)
                .plain(" can finish. Was it not you who agreed just now? Press Cancel."),
        )
        .row([
            login_button(login, LoginVerb::Finish, "Finish"),
            login_button(login, LoginVerb::Cancel, "Cancel"),
        ])
}

fn login_button(login: &Login, verb: LoginVerb, label: &str) -> Button {
    Action::Login(verb, login.id.clone()).button(label)
}

fn again(server: &str) -> Vec<Button> {
    vec![
        Action::Server(ServerVerb::Login, Key::of(server)).button("Log in again"),
        Action::Panel(0).button("My servers"),
    ]
}

/// The person said no there.
pub(in crate::desk) fn denied(server: &str) -> View {
    View::error(
        Text::from("You said no there, so nothing was changed. ")
            .bold(server)
            .plain(" still waits for a login."),
    )
    .row(again(server))
}

/// It went wrong there.
pub(in crate::desk) fn login_failed(server: &str, why: &str) -> View {
    View::error(Text::from("The login to ").bold(server).plain(format!(
        " failed: {}.",
        shortened(why.trim_end_matches('.'), 400)
    )))
    .line("Nothing was changed.")
    .row(again(server))
}

/// Nobody came back in time.
pub(in crate::desk) fn login_expired(server: &str) -> View {
    View::error(
        Text::from("Nobody came back from the login to ")
            .bold(server)
            .plain(" within 10 minutes, so its link is over. Nothing was changed."),
    )
    .row(again(server))
}

/// Ended by who began.
pub(in crate::desk) fn login_cancelled(server: &str) -> View {
    View::text(
        Text::from("Cancelled the login to ")
            .bold(server)
            .plain(". Nothing was changed."),
    )
    .row([
        Action::Server(ServerVerb::Login, Key::of(server)).button("Log in"),
        Action::Panel(0).button("My servers"),
    ])
}

/// Ended before there was a link.
pub(in crate::desk) fn login_dropped() -> View {
    View::text("⏹ Stopped. Nothing was changed.").row([Action::Panel(0).button("My servers")])
}

/// A newer one took its place.
pub(in crate::desk) fn login_replaced(server: &str) -> View {
    View::text(
        Text::from("This login to ")
            .bold(server)
            .plain(" is over: another one was begun below, or the server is gone."),
    )
}

/// There is no link, or no token.
pub(in crate::desk) fn no_login(server: &str, error: &OAuthError) -> View {
    if let OAuthError::NeedsClientId { issuer, redirect } = error {
        return View::error(
            Text::default().code(issuer).plain(
                " takes no programs that it does not know, so this bot must be registered there by hand, once:",
            ),
        )
        .with(Block::List(vec![
            Text::from(
                "Register an application there (often under Developer settings, OAuth apps).",
            ),
            Text::from("As its redirect or callback address give ").code(redirect),
            Text::from("Then send me its client id: ")
                .code(format!("/mcp login {server} --client-id ID")),
        ]))
        .row([Action::Panel(0).button("My servers")]);
    }
    let view = View::error(
        Text::from("I could not begin a login to ")
            .bold(server)
            .plain(format!(". {}", oauth_words(error))),
    );
    // Many servers challenge as for a login and mean a key from their settings.
    let key = matches!(error, OAuthError::Discovery(_))
        .then(|| Action::Server(ServerVerb::Auth, Key::of(server)).button("Use a key or token"));
    view.row(key).row(again(server))
}

/// Why, as a sentence.
pub(in crate::desk) fn oauth_words(error: &OAuthError) -> String {
    match error {
        OAuthError::Over => {
            "This login is over. Begin another with /mcp login and the server's name.".to_owned()
        }
        OAuthError::NotYours => {
            "This login is somebody else's; who began it must finish it.".to_owned()
        }
        OAuthError::Discovery(_)
        | OAuthError::NeedsClientId { .. }
        | OAuthError::Waits
        | OAuthError::Refused(_)
        | OAuthError::Keep(_) => {
            let words = shortened(error.to_string().trim_end_matches('.'), 400);
            let mut letters = words.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string());
            format!("{}{}.", first.unwrap_or_default(), letters.as_str())
        }
    }
}

/// The tokens are here; tools are on their way.
pub(in crate::desk) fn logged_in_loading(server: &str) -> View {
    View::text(
        Text::from("✅ Logged in to ")
            .bold(server)
            .plain(". ⏳ Loading tools…"),
    )
}

/// The tokens are here, and what the server does with them.
pub(in crate::desk) fn logged_in(server: &ServerView) -> View {
    let name = server.name.as_str();
    let key = || Key::of(name);
    let mut view = View::text(Text::from("✅ Logged in to ").bold(name).plain("."))
        .with(Block::List(vec![server_line(server)]));
    let mut row = Vec::new();
    if let Some(reason) = trouble(&server.state) {
        view.is_error = true;
        view = view.with(Block::Code {
            language: "",
            text: reason.to_owned(),
        });
        row.push(Action::Server(ServerVerb::Test, key()).button("Test"));
        // What it speaks may have been a guess before the login.
        row.push(Action::Server(ServerVerb::Connect, key()).button("Connect anew"));
    } else if matches!(server.state, ServerState::NeedsLogin { .. }) {
        view.is_error = true;
        row.push(Action::Server(ServerVerb::Login, key()).button("Log in again"));
    } else if !server.tools.is_empty() {
        row.push(Action::Tools(key(), 0).button("Tools"));
    }
    row.push(Action::Panel(0).button("My servers"));
    view.row(row)
}

/// A login that was forgotten.
pub(in crate::desk) fn logged_out(server: &str, done: LoggedOut) -> View {
    let words = match done {
        LoggedOut::Revoked => {
            "The server was told and took the login back; nothing of it is kept here."
        }
        LoggedOut::Forgotten => {
            "Nothing of the login is kept here. The server could not be told, so you may want to end it in your settings there, too."
        }
        LoggedOut::Nothing => "There was no login.",
    };
    View::text(Text::from("🌐 ").bold(server).plain(format!(" · {words}"))).row([
        Action::Server(ServerVerb::Login, Key::of(server)).button("Log in"),
        Action::Panel(0).button("My servers"),
    ])
}

/// A call that a server does not answer without a login.
pub(in crate::desk) fn wants_login(server: &str, reason: &str, grant: &str) -> View {
    View::error(Text::from("🔑 ").bold(server).plain(format!(
        " wants a login before it answers. {}.",
        shortened(reason.trim_end_matches('.'), 300)
    )))
    .row([
        Action::Grant(grant.to_owned()).button("Log in"),
        Action::Panel(0).button("My servers"),
    ])
}

/// A call that the login does not reach for.
pub(in crate::desk) fn wants_rights(server: &str, scope: Option<&str>, grant: &str) -> View {
    let text = Text::from("🔑 ").bold(server).plain(" wants more rights");
    let text = match scope {
        Some(scope) => {
            let all: Vec<String> = scope.split_whitespace().map(str::to_owned).collect();
            Text([text.plain(": ").0, scopes(&all).0].concat())
        }
        None => text.plain(" for this than your login gave"),
    };
    View::error(text.plain("."))
        .line(
            "Log in once more to give them, then call again; until then all else works as before.",
        )
        .row([
            Action::Grant(grant.to_owned()).button("Log in"),
            Action::Panel(0).button("My servers"),
        ])
}
