//! The command line: what can be asked of the program, and the help that says so.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use switchboard::settings::{Flags, FrontKind, VARIABLES};
use switchboard::thread::ThreadId;

/// A chat bot through which each chat thread plugs in its own MCP servers.
///
/// Without a command it runs the bot: on Telegram where `TELOXIDE_TOKEN` is set, else as a chat in this terminal.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, after_help = variables())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
    /// The folder that everything is kept in; made where it is missing [default: `SWITCHBOARD_DATA`, else `data`]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

/// What is asked of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the bot (the default)
    #[command(after_help = variables())]
    Run(RunArgs),
    /// Run one chat command from this shell and exit: 0, or 1 when the answer is an error
    #[command(
        after_help = "Examples:\n  switchboard do --thread local -- /mcp list\n  \
        switchboard do --thread tg123 --yes -- /mcp add clock -- switchboard demo-server"
    )]
    Do(DoArgs),
    /// Look after the keys that seal what is kept secret
    Secrets(SecretsArgs),
    /// Look after what was written down of everything that happened
    Audit(AuditArgs),
    /// Be the demo server: an MCP server on standard input and output, with tools that show what the bot can show
    DemoServer,
    /// Own the processes of servers for a running bot
    #[command(hide = true)]
    Launcher,
    /// Join a sandbox's loopback to the bot's proxy
    #[command(hide = true)]
    Relay {
        /// The address on the sandbox's loopback
        #[arg(long)]
        listen: std::net::SocketAddr,
        /// The proxy's socket, as it is seen in the sandbox
        #[arg(long)]
        to: PathBuf,
    },
    /// Start a server and lead its connections to the bot's proxy
    #[command(hide = true)]
    Usher {
        /// The proxy's socket
        #[arg(long)]
        to: PathBuf,
        /// The user and the group to become, by number
        #[arg(long, num_args = 2, value_names = ["UID", "GID"])]
        owner: Vec<u32>,
    },
    /// Become a server, with what is left of one's rights
    #[command(hide = true)]
    Confined,
    /// Try to get out of the sandbox that it is started in
    #[command(hide = true)]
    Canary,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where the bot talks: `telegram` or `terminal`
    ///
    /// Where it is not given: Telegram when `TELOXIDE_TOKEN` is set, else this terminal.
    #[arg(long, value_name = "FRONT")]
    front: Option<FrontKind>,
    /// `--data`, which stands before or after the command.
    #[arg(skip)]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SecretsArgs {
    #[command(subcommand)]
    pub(crate) verb: SecretsVerb,
    #[arg(skip)]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsVerb {
    /// Seal everything anew: with a fresh key, or with the first of the keys that are given
    #[command(
        after_help = "Keys of your own: put the new one before the old ones (SWITCHBOARD_VAULT_KEYS=k2:…,k1:…), stop the \
        bot, run this, and start it. The old key may go when this says so.\nWithout any, a fresh one is made in DATA/keys, \
        and the bot may go on running."
    )]
    Rotate,
    /// Go on without a key that is lost: what it sealed is out of reach, and a start is not refused for it any more
    GiveUp {
        /// The id of the key, as the refused start names it
        key: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoArgs {
    /// The thread to do it in: `local`, `tg<chat id>` or `tg<chat id>.<topic>`
    #[arg(long, value_name = "ID")]
    pub(crate) thread: ThreadId,
    /// Press Apply on the proposal that the command makes, or Allow once on a call that asks
    #[arg(long)]
    pub(crate) yes: bool,
    #[arg(skip)]
    data: Option<PathBuf>,
    /// The command, as in the chat: `/mcp list`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
    #[arg(skip)]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Say for each thread whether its audit is whole; exit with 1 where one is not
    Verify {
        /// Only this thread: `local`, `tg<chat id>` or `tg<chat id>.<topic>`
        #[arg(long, value_name = "ID")]
        thread: Option<ThreadId>,
    },
}

impl Cli {
    /// The command; running the bot where none is given. Ends the process where what is given makes no sense together.
    pub(crate) fn chosen(self) -> Command {
        self.decided().unwrap_or_else(|error| error.exit())
    }

    fn decided(self) -> Result<Command, clap::Error> {
        if self.command.is_some() && self.run.front.is_some() {
            return Err(Self::command().error(
                clap::error::ErrorKind::ArgumentConflict,
                "`--front` belongs behind `run`: `switchboard run --front terminal`",
            ));
        }
        let mut command = self.command.unwrap_or(Command::Run(self.run));
        match &mut command {
            Command::Run(args) => args.data = self.data,
            Command::Do(args) => args.data = self.data,
            Command::Secrets(args) => args.data = self.data,
            Command::Audit(args) => args.data = self.data,
            Command::DemoServer
            | Command::Launcher
            | Command::Confined
            | Command::Canary
            | Command::Relay { .. }
            | Command::Usher { .. } => {}
        }
        Ok(command)
    }
}

impl RunArgs {
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            front: self.front,
            data: self.data.clone(),
        }
    }
}

impl SecretsArgs {
    /// Keys need no token.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            front: Some(FrontKind::Terminal),
            data: self.data.clone(),
        }
    }
}

impl AuditArgs {
    /// Reading needs no token.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            front: Some(FrontKind::Terminal),
            data: self.data.clone(),
        }
    }
}

impl DoArgs {
    /// One command needs no token, whatever the thread.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            front: Some(FrontKind::Terminal),
            data: self.data.clone(),
        }
    }

    /// The words as one line of chat. The shell has taken their quotes away, so words with spaces get new ones; JSON
    /// stays as it is where the command takes JSON, and one word alone is the whole line.
    pub(crate) fn line(&self) -> String {
        if let [line] = self.words.as_slice() {
            return line.clone();
        }
        let takes_json = matches!(
            self.words.get(1).map(String::as_str),
            Some("add-json" | "call")
        );
        let words: Vec<String> = self
            .words
            .iter()
            .map(|word| match word.as_str() {
                json if takes_json && json.trim_start().starts_with(['{', '[']) => json.to_owned(),
                word => quoted(word),
            })
            .collect();
        words.join(" ")
    }
}

fn quoted(word: &str) -> String {
    let plain = |char: char| !char.is_whitespace() && !matches!(char, '"' | '\'' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains('\'') {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("'{word}'")
    }
}

fn variables() -> String {
    let mut help =
        "Environment:\n  TELOXIDE_TOKEN            the Telegram bot's token, from @BotFather\n  \
        TELOXIDE_API_URL          another Bot API server than Telegram's\n"
            .to_owned();
    for (name, what) in VARIABLES {
        // Writing to a `String` does not fail.
        let _ = writeln!(help, "  {name:<25} {what}");
    }
    help.push_str("  NO_COLOR                  no colours");
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        let words = ["switchboard", "do", "--thread", "tg-100.5", "--"]
            .iter()
            .chain(words);
        match Cli::try_parse_from(words).unwrap().chosen() {
            Command::Do(args) => args.line(),
            other => panic!("{other:?} is not `do`"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_become_the_line_that_was_meant() {
        for (words, expected) in [
            (&["/mcp", "list"][..], "/mcp list"),
            (&["/mcp add x -- sh -c 'a b'"], "/mcp add x -- sh -c 'a b'"),
            (
                &["/mcp", "add", "x", "--", "sh", "-c", "echo hi"],
                "/mcp add x -- sh -c 'echo hi'",
            ),
            (
                &["/mcp", "add", "x", "--", "sh", "-c", "echo \"it's\" \\"],
                r#"/mcp add x -- sh -c "echo \"it's\" \\""#,
            ),
            (
                &["/mcp", "call", "demo", "echo", r#"{"text": "a b"}"#],
                r#"/mcp call demo echo {"text": "a b"}"#,
            ),
            (
                &["/mcp", "add", "x", "--", "srv", r#"{"a":1}"#],
                r#"/mcp add x -- srv '{"a":1}'"#,
            ),
            (&["/mcp", "edit", "x", "cwd="], "/mcp edit x cwd="),
            (&["/mcp", "edit", ""], "/mcp edit ''"),
        ] {
            assert_eq!(line(words), expected, "{words:?}");
        }
    }

    #[test]
    fn flags_are_read_with_and_without_run() {
        for words in [
            &["switchboard", "--front", "terminal", "--data", "d"][..],
            &["switchboard", "run", "--front", "Terminal", "--data", "d"],
        ] {
            let Command::Run(args) = Cli::try_parse_from(words).unwrap().chosen() else {
                panic!("{words:?} is not `run`");
            };
            let flags = args.flags();
            assert_eq!(flags.front, Some(FrontKind::Terminal), "{words:?}");
            assert_eq!(flags.data, Some(PathBuf::from("d")), "{words:?}");
        }
    }

    #[test]
    fn the_data_folder_may_stand_before_and_after_a_command() {
        for words in [
            &["--data", "d", "do", "--thread", "local", "--", "/mcp"][..],
            &["do", "--data", "d", "--thread", "local", "--", "/mcp"],
        ] {
            let words = ["switchboard"].iter().chain(words);
            let Command::Do(args) = Cli::try_parse_from(words).unwrap().chosen() else {
                panic!("it is not `do`");
            };
            assert_eq!(args.flags().data, Some(PathBuf::from("d")));
        }
        let front = [
            "switchboard",
            "--front",
            "terminal",
            "do",
            "--thread",
            "local",
            "--",
            "x",
        ];
        assert!(Cli::try_parse_from(front).unwrap().decided().is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["switchboard", "--front", "slack"][..],
            &["switchboard", "do", "--thread", "../x", "--", "/mcp"],
            &["switchboard", "do", "--thread", "local"],
            &["switchboard", "do", "--", "/mcp"],
            &["switchboard", "dance"],
            &["switchboard", "audit"],
            &["switchboard", "audit", "verify", "--thread", "../x"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
