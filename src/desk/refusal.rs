//! Every "no" that a person reads, made in one place: what happened, why, the next step.

use super::action::{Action as Press, Key, Screen, ServerVerb};
use crate::audit::Closed;
use crate::chat::{Block, Text, View};
use crate::command::CommandError;
use crate::config::{ConfigError, EditError, NameError, Problem, SyntaxError};
use crate::gate::{GateError, Whose};
use crate::policy::{Action, Call, ChatSettings, Configure, Denied};
use crate::registry::{CallError, Ruling};
use crate::reload::{Broken, BrokenWhy};

/// Why something asked for is not done.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// The person may not do this here.
    NotAllowed(Action, ChatSettings),
    /// Only operators decide that.
    NotAnOperator,
    /// Servers that run on the host are for operators and those they name.
    LocalServers,
    /// The operator does not allow what a server would run or reach.
    Denied {
        /// The server.
        server: String,
        /// What, and why.
        why: Denied,
    },
    /// The thread would have more servers than it may.
    TooManyServers {
        /// So many it may have.
        most: usize,
        /// So many it has.
        has: usize,
        /// So many must go first.
        over: usize,
    },
    /// Whether they may could not be found out.
    StandingUnknown(String),
    /// The line is no command.
    Command(CommandError),
    /// No such server.
    NoServer {
        /// What was typed.
        typed: String,
        /// The nearest name.
        nearest: Option<String>,
        /// Whether there is any server.
        any: bool,
    },
    /// No such tool.
    NoTool {
        /// The server.
        server: String,
        /// What was typed.
        typed: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// A name is not of the form.
    Name(NameError),
    /// A text is no configuration.
    Config(ConfigError),
    /// An edit does not fit.
    Edit(EditError),
    /// The file on disk is broken.
    Broken(Broken),
    /// Arguments of a call do not fit the tool's schema.
    Arguments {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// A call came to nothing.
    Call(CallError),
    /// Too much at once, or within a minute.
    Busy(GateError),
    /// What would happen could not be written into the audit.
    Audit(Closed),
    /// The data folder could not be read or written.
    Store(String),
    /// The operator offers the server; this chat cannot change it.
    FromOperator(String),
    /// Nobody agreed to the remote server yet.
    WaitsForApproval(String),
    /// A few words over the message.
    Alert(String),
    /// The button belongs to something that is over.
    Over(&'static str),
    /// The button is another person's.
    NotYours(String),
    /// Anything with words of its own: one sentence and one next step.
    Plain(String),
}

impl Refusal {
    /// Whether it is short enough to be an alert over the message (Bot API: 200 characters).
    pub(super) fn fits_alert(&self) -> bool {
        match self {
            Self::NotAllowed(..)
            | Self::NotAnOperator
            | Self::LocalServers
            | Self::TooManyServers { .. }
            | Self::NotYours(_)
            | Self::Over(_)
            | Self::FromOperator(_)
            | Self::Alert(_) => true,
            Self::NoServer { .. }
            | Self::NoTool { .. }
            | Self::StandingUnknown(_)
            | Self::Command(_)
            | Self::Name(_)
            | Self::Config(_)
            | Self::Edit(_)
            | Self::Broken(_)
            | Self::Arguments { .. }
            | Self::Call(_)
            | Self::Busy(_)
            | Self::Audit(_)
            | Self::Store(_)
            | Self::WaitsForApproval(_)
            | Self::Denied { .. }
            | Self::Plain(_) => false,
        }
    }

    /// The refusal as plain words.
    pub(super) fn sentence(&self) -> String {
        let view = self.view();
        let words = view.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.to_plain()),
            Block::Heading(text) => Some(text.clone()),
            Block::List(_) | Block::Code { .. } | Block::Diff(_) | Block::Pairs(_) => None,
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// What is wrong with a file on disk, one sentence.
    pub(super) fn brief(broken: &Broken) -> String {
        let name = file_of(broken);
        match &broken.why {
            BrokenWhy::Config(ConfigError::Syntax(error)) => format!(
                "{name} on disk is broken at line {}, column {}: {}.",
                error.line, error.column, error.message
            ),
            BrokenWhy::Config(ConfigError::Invalid(problems)) if !problems.is_empty() => {
                let more = match problems.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                let first = self::problem(&problems[0]).to_plain();
                format!("{name} on disk is broken: {}{more}.", sentence(&first))
            }
            BrokenWhy::Config(_) => format!("{name} on disk is broken."),
            BrokenWhy::Unreadable(why) => format!("{name} on disk cannot be read: {why}."),
        }
    }

    /// The refusal as a message.
    pub(super) fn view(&self) -> View {
        match self {
            Self::NotAllowed(action, settings) => not_allowed(*action, *settings),
            Self::NotAnOperator => View::error("Only an operator of this bot can do that."),
            Self::LocalServers => View::error(
                "Servers that run on the bot's own machine are added by its operator: ask them to. You can connect servers elsewhere with `/mcp connect`.",
            ),
            Self::TooManyServers { most, has, over } => View::error(format!(
                "This chat may have {most} servers and has {has}. Remove {} first, or ask the bot's operator for more.",
                if *over == 1 { "one".to_owned() } else { over.to_string() }
            )),
            Self::Denied { server, why } => View::error(
                Text::default()
                    .bold(server)
                    .plain(format!(" cannot be added like that: {why}. {}", why.advice())),
            ),
            Self::StandingUnknown(why) => View::error(format!(
                "I could not ask whether you administer this chat ({why}), so I changed nothing. Make me a member who may see the administrators, then try again."
            )),
            Self::Command(error) => command(error),
            Self::NoServer { typed, nearest, any } => no_server(typed, nearest.as_deref(), *any),
            Self::NoTool { server, typed, nearest } => {
                let text = Text::default().code(server).plain(" has no tool ").code(typed).plain(".");
                let next = match nearest {
                    Some(nearest) => Text::from(" Did you mean ").code(nearest).plain("?"),
                    None => Text::from(" See what it has with ").code(format!("/mcp tools {server}")).plain("."),
                };
                View::error(Text([text.0, next.0].concat()))
            }
            Self::Name(error) => View::error(format!("That name does not work: {error}.")),
            Self::Config(error) => config(error),
            Self::Edit(EditError::Missing(name)) => View::error(Text::from("There is no server ").code(name).plain(" any more. See ").code("/mcp list").plain(".")),
            Self::Edit(EditError::Taken(name)) => {
                View::error(Text::from("There is already a server ").code(name).plain(". Choose another name, or remove that one first."))
            }
            Self::Broken(broken) => broken_file(broken)
                .line("Servers keep running as they were. Mend the file where the bot runs, or replace it with the last good one:")
                .row([Press::Open(Screen::Repair).button("Use last good"), Press::Open(Screen::Close).button("Later")]),
            Self::Arguments { server, tool, problems } => {
                let title = Text::from("The arguments do not fit ").code(tool).plain(" of ").code(server).plain(":");
                View::error(title).with(list(problems)).line(Text::from("See what it takes with ").code(format!("/mcp tools {server}")).plain("."))
            }
            Self::Call(error) => call(error),
            Self::Busy(error) => busy(error),
            Self::Audit(Closed(why)) => View::error(format!(
                "I cannot write down what happens here ({why}), so nothing is called or switched on until I can. Please tell who runs this bot. Looking, disabling and removing are not held up."
            )),
            Self::Store(why) => View::error(format!("The bot's own storage failed ({why}). Nothing was changed; please tell who runs this bot.")),
            Self::FromOperator(name) => View::error(Text::default().code(name).plain(
                " is offered by who runs this bot, so it cannot be changed here. A server of your own with the same name hides it in this chat.",
            )),
            Self::WaitsForApproval(name) => View::error(Text::default().bold(name).plain(
                " was written into the file by hand, and nobody agreed to it yet. Look at what it is first:",
            ))
            .row([Press::Server(ServerVerb::Connect, Key::of(name)).button("Review")]),
            Self::Over(what) => View::error(*what),
            Self::NotYours(name) => View::error(format!("Only {name} can do that; it is their request.")),
            Self::Alert(words) => View::error(words.clone()),
            Self::Plain(words) => View::error(words.as_str()),
        }
    }
}

/// What is wrong with a file on disk.
fn broken_file(broken: &Broken) -> View {
    let name = file_of(broken);
    match &broken.why {
        BrokenWhy::Config(error) => {
            let mut view = what_is_wrong(error);
            view.blocks
                .insert(0, Block::Heading(format!("{name} on disk is broken")));
            view
        }
        BrokenWhy::Unreadable(why) => View::error(format!("{name} on disk cannot be read: {why}.")),
    }
}

fn not_allowed(action: Action, settings: ChatSettings) -> View {
    match (action, settings.configure, settings.call) {
        (Action::Configure, Configure::Creator, _) => View::error(
            "Only the creator of this chat can change its servers. You can look with `/mcp list` and call tools.",
        ),
        (Action::Configure, Configure::Administrators, Call::Everybody) => View::error(
            "Only the creator and the administrators of this chat can change its servers. You can look with `/mcp list` and call tools.",
        ),
        (Action::Configure, Configure::Administrators, Call::Administrators) => View::error(
            "Only the creator and the administrators of this chat can change its servers. You can look with `/mcp list`.",
        ),
        (Action::Call, _, Call::Administrators) => View::error(
            "Only the creator and the administrators of this chat call tools here. You can look with `/mcp list`.",
        ),
        (Action::Configure, Configure::Everybody, _)
        | (Action::Call, _, Call::Everybody)
        | (Action::Read, ..) => View::error("Only members of this chat can use its servers."),
    }
}

fn file_of(broken: &Broken) -> &'static str {
    broken
        .file
        .map_or("The configuration", crate::config::FileKind::file_name)
}

fn no_server(typed: &str, nearest: Option<&str>, any: bool) -> View {
    let text = Text::from("There is no server ")
        .code(typed)
        .plain(" in this thread.");
    match nearest {
        Some(nearest) => View::error(text.plain(" Did you mean ").code(nearest).plain("?")),
        None if any => View::error(text.plain(" See ").code("/mcp list").plain(".")),
        None => View::error(
            text.plain(" There are none yet: add one with ")
                .code("/mcp add")
                .plain("."),
        ),
    }
}

fn command(error: &CommandError) -> View {
    match error {
        CommandError::Unknown {
            typed,
            nearest: Some(nearest),
        } => View::error(
            Text::from("I do not know ")
                .code(typed)
                .plain(". Did you mean ")
                .code(*nearest)
                .plain("?"),
        ),
        CommandError::Unknown {
            typed,
            nearest: None,
        } => View::error(
            Text::from("I do not know ")
                .code(typed)
                .plain(". See ")
                .code("/help")
                .plain("."),
        ),
        CommandError::Usage { what, usage } => View::error(format!("{}.", capital(what)))
            .line(Text::from("Write it like this: ").code(*usage)),
        CommandError::OpenQuote(word) => View::error(
            Text::from("A quote is opened at ")
                .code(word)
                .plain(" and not closed. Close it, or leave it out."),
        ),
        CommandError::Json(error) => syntax(error).line("Mend it and send it again."),
    }
}

/// A text that somebody sent is no configuration.
fn config(error: &ConfigError) -> View {
    let view = what_is_wrong(error);
    match error {
        ConfigError::TooLarge { .. } => {
            view.line("Nothing was changed. Send only the part with the servers.")
        }
        ConfigError::NotUtf8 => view.line("Save the file as UTF-8 and send it again."),
        ConfigError::NotJson => {
            view.line("Send the part with `mcpServers`, beginning with { and ending with }.")
        }
        ConfigError::Syntax(_) | ConfigError::Invalid(_) => {
            view.line("Nothing was changed. Mend it and send it again.")
        }
    }
}

fn what_is_wrong(error: &ConfigError) -> View {
    match error {
        ConfigError::TooLarge { bytes } => View::error(format!(
            "That is {} KiB; at most {} KiB are taken.",
            bytes.div_ceil(1024),
            crate::config::limits::FILE_BYTES / 1024
        )),
        ConfigError::NotUtf8 => View::error("That is not UTF-8 text."),
        ConfigError::NotJson => View::error("That is not JSON."),
        ConfigError::Syntax(error) => syntax(error),
        ConfigError::Invalid(problems) => {
            let title = if problems.len() == 1 {
                "One thing is wrong:"
            } else {
                "These things are wrong:"
            };
            View::error(title).with(list(problems))
        }
    }
}

fn syntax(error: &SyntaxError) -> View {
    let caret = format!("{}^", " ".repeat(error.caret));
    let words = format!(
        "The JSON does not parse: line {}, column {}: {}.",
        error.line, error.column, error.message
    );
    View::error(words).with(Block::Code {
        language: "",
        text: format!("{}\n{caret}", error.text),
    })
}

fn call(error: &CallError) -> View {
    match error {
        CallError::NoServer(name) => no_server(name, None, true),
        CallError::NoTool { server, tool } => Refusal::NoTool {
            server: server.clone(),
            typed: tool.clone(),
            nearest: None,
        }
        .view(),
        CallError::Off {
            server,
            tool,
            ruling,
        } => off(server, tool, *ruling),
        CallError::NotRunning { server, reason } => {
            View::error(Text::default().code(server).plain(format!(
                " cannot be called now. {}.",
                capital(sentence(reason))
            )))
            .line(
                Text::from("Find out more with ")
                    .code(format!("/mcp test {server}"))
                    .plain("."),
            )
        }
        CallError::TimedOut(after) => View::error(format!(
            "There was no answer within {} s, so the call was given up.",
            after.as_secs()
        )),
        CallError::Ended { why, advice } => View::error(format!(
            "The server ended before it answered: {}.",
            sentence(why)
        ))
        .line(if advice.is_empty() {
            "It starts again by itself; try once more.".to_owned()
        } else {
            format!("{advice} It starts again by itself.")
        }),
        CallError::Stopped { .. } | CallError::MoreRights { .. } => {
            View::error(format!("{error}."))
        }
        CallError::Refused { code, message } => View::error(format!(
            "The server refused the call: {message} (code {code})."
        )),
        CallError::Malformed(why) => View::error(format!(
            "The server's answer makes no sense: {}.",
            sentence(why)
        )),
        CallError::NeedsLogin { server, reason, .. } => {
            View::error(Text::from("🔑 ").bold(server).plain(format!(
                " wants a login before it answers. {}.",
                capital(sentence(reason))
            )))
            .row([Press::Server(ServerVerb::Login, Key::of(server)).button("Log in")])
        }
        CallError::Unsupported(what) => View::error(format!(
            "The tool asks for something that this bot does not offer yet: {what}."
        )),
    }
}

/// A tool that is switched off.
fn off(server: &str, tool: &str, ruling: Ruling) -> View {
    let text = Text::default().code(tool).plain(" of ").bold(server);
    let (text, label) = match ruling {
        Ruling::On => (text.plain(" is being switched on."), "Look at it"),
        Ruling::Risky => (
            text.plain(" looks risky, so it is off until somebody who configures here allows it: ")
                .code(format!("/mcp allow {server} {tool}"))
                .plain("."),
            "Look at it",
        ),
        Ruling::Denied => (
            text.plain(" was switched off here. Its card shows by what."),
            "Look at it",
        ),
        Ruling::Changed => (
            text.plain(" is not what it was: its server defines it otherwise now, so it is off until somebody who configures here approved the difference."),
            "Review",
        ),
        Ruling::Unknown => (
            text.plain(" is off, because what was decided about it cannot be read from the bot's storage. Please tell who runs this bot."),
            "Look at it",
        ),
    };
    View::error(text).row([Press::Tool(Key::of(server), Key::of(tool)).button(label)])
}

/// Too much of something: whose, and when to come back.
fn busy(error: &GateError) -> View {
    let what = match error {
        GateError::TooOften { whose, .. } => match whose {
            Whose::Thread => "This chat has made as many calls as it may within a minute.",
            Whose::Person => "You have made as many calls as you may within a minute.",
            Whose::Server => "This server has been called as often as it may within a minute.",
        },
        _ => "Many calls are under way here already, and more wait for their turn.",
    };
    let again = error.again_secs().unwrap_or(1);
    View::error(format!("{what} Try again in {again} s."))
}

fn list(problems: &[Problem]) -> Block {
    const MOST: usize = 20;
    let mut lines: Vec<Text> = problems.iter().take(MOST).map(problem).collect();
    if problems.len() > MOST {
        lines.push(format!("and {} more", problems.len() - MOST).into());
    }
    Block::List(lines)
}

fn problem(problem: &Problem) -> Text {
    if problem.path.is_empty() {
        Text::default().plain(&problem.message)
    } else {
        Text::default()
            .code(&problem.path)
            .plain(format!(": {}", problem.message))
    }
}

/// Words of another room as the end of a sentence of ours.
fn sentence(words: &str) -> &str {
    words.trim_end_matches('.')
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<EditError> for Refusal {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Call(error) => Self::Call(error),
            GateError::Closed(closed) => Self::Audit(closed),
            busy => Self::Busy(busy),
        }
    }
}

impl From<Closed> for Refusal {
    fn from(error: Closed) -> Self {
        Self::Audit(error)
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
