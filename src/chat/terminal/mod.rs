//! The chat in a terminal: the thread `local`.
//!
//! Interactive where both ends are a terminal: a line editor keeps what is half typed whole while messages come in, and
//! a message that changes is written over where it is still the last on the screen. Else plain lines, one after another,
//! for scripts and tests. Owns what a terminal shows; knows nothing of what the bot does.

mod choices;
mod clean;
mod editor;
mod files;
mod front;
mod input;
mod line;
mod log_writer;
mod output;
mod progress;
mod render;
mod run;
mod transcript;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::termios::Termios;
use tokio::sync::oneshot;

pub use log_writer::LogWriter;
pub use run::Idle;

use self::clean::clean;
use self::line::{Line, Style};
use self::output::{Gate, Job};

use self::transcript::{Gap, Look, Size, Transcript};
use super::{Button, FrontError, MessageId};
use crate::actor::{Actor, ActorId};

/// The actor id of the person at this terminal.
pub const LOCAL_ACTOR: &str = "local";

/// A terminal whose output is held for this long (Ctrl-S) fails the message instead of the bot.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// How a terminal chat works.
pub struct TerminalOptions {
    /// Where files from the bot are written; made where it is missing.
    pub downloads: PathBuf,
    /// The person's home folder, for `~` in paths.
    pub home: Option<PathBuf>,
    /// What the person is called.
    pub name: String,
    /// Colours may be written where the output is a terminal (`NO_COLOR` is not set).
    pub color: bool,
    /// The first line.
    pub banner: Option<String>,
    /// Handed over as if it were typed first, so that the first screen is there without asking: `/start`.
    pub opening: Option<String>,
    /// Where lines come from and go to.
    pub streams: Streams,
}

/// Where lines come from and go to.
pub enum Streams {
    /// Standard input and output of the process.
    Process,
    /// Others, taken for plain lines.
    Given {
        /// Lines of the person.
        input: Box<dyn Read + Send>,
        /// What is shown.
        output: Box<dyn Write + Send>,
    },
}

/// The front of the thread `local`.
pub struct Terminal {
    mode: Mode,
    color: bool,
    /// The output is a terminal, so lines break at its width.
    screen: Screen,
    actor: Actor,
    downloads: PathBuf,
    home: Option<PathBuf>,
    banner: Option<String>,
    opening: Mutex<Option<String>>,
    /// Taken by the one run.
    input: Mutex<Option<Box<dyn Read + Send>>>,
    /// Shared by the front's callers, the editor's thread and the writer's; held for the time of a rendering, never over
    /// an await. Texts are queued under it, so that they are written in the order in which they were made.
    transcript: Arc<Mutex<Transcript>>,
    jobs: Sender<Job>,
    gate: Arc<Gate>,
    saved: Mutex<VecDeque<(MessageId, u64)>>,
    /// How the terminal was before the line editor, put back at the end.
    before: Option<Termios>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A person at a terminal.
    Interactive,
    /// Lines from a pipe.
    Plain,
    /// No lines at all: one command of `switchboard do`, for any thread.
    Script,
}

/// What the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Screen {
    /// A terminal, on which a message can be written over.
    Whole,
    /// A terminal of whose screen nothing is known but its width.
    Columns,
    /// A pipe or a file.
    None,
}

impl Terminal {
    /// A chat. Nothing is read before [`Terminal::run`].
    pub fn start(options: TerminalOptions) -> Arc<Self> {
        let given = matches!(options.streams, Streams::Given { .. });
        let (mode, input, output): (_, Box<dyn Read + Send>, Box<dyn Write + Send>) =
            match options.streams {
                Streams::Given { input, output } => (Mode::Plain, input, output),
                Streams::Process if is_interactive() => (
                    Mode::Interactive,
                    Box::new(io::empty()),
                    Box::new(io::stdout()),
                ),
                Streams::Process => (Mode::Plain, Box::new(io::stdin()), Box::new(io::stdout())),
            };
        let interactive = mode == Mode::Interactive;
        let look = Look {
            color: options.color && interactive,
            gap: if interactive { Gap::After } else { Gap::Before },
            buttons: true,
        };
        let screen = match mode {
            Mode::Interactive => Screen::Whole,
            Mode::Plain | Mode::Script if given => Screen::None,
            Mode::Plain | Mode::Script => Screen::of_process(),
        };
        let (transcript, jobs, gate) = start_output(look, output, screen);
        Arc::new(Self {
            mode,
            color: look.color,
            screen,
            actor: Actor {
                id: ActorId(LOCAL_ACTOR.to_owned()),
                name: options.name,
            },
            downloads: options.downloads,
            home: options.home,
            banner: options.banner,
            opening: Mutex::new(options.opening),
            input: Mutex::new(Some(input)),
            transcript,
            jobs,
            gate,
            saved: Mutex::default(),
            before: interactive
                .then(|| rustix::termios::tcgetattr(io::stdin()).ok())
                .flatten(),
        })
    }

    /// A front for one command from a shell, in whatever thread: views become plain text on `output`, one below the
    /// other, each message in its last state. Nothing is written before [`Terminal::flush`]; call it before the process
    /// ends.
    pub fn script(output: Box<dyn Write + Send>, downloads: PathBuf) -> Arc<Self> {
        let look = Look {
            color: false,
            gap: Gap::None,
            buttons: false,
        };
        // Such a front writes to the process's output, wherever that is not captured.
        let screen = Screen::of_process();
        let (transcript, jobs, gate) = start_output(look, output, screen);
        let front = Self {
            mode: Mode::Script,
            color: false,
            screen,
            actor: Actor {
                id: ActorId(LOCAL_ACTOR.to_owned()),
                name: LOCAL_ACTOR.to_owned(),
            },
            downloads,
            home: None,
            banner: None,
            opening: Mutex::default(),
            input: Mutex::default(),
            transcript,
            jobs,
            gate,
            saved: Mutex::default(),
            before: None,
        };
        front.lock().hold();
        Arc::new(front)
    }

    /// The newest message that has buttons, and these from left to right and top to bottom.
    pub fn last_buttons(&self) -> Option<(MessageId, Vec<Button>)> {
        self.lock().newest_buttons()
    }

    /// Whether anything that was shown said that something was refused or failed.
    pub fn saw_error(&self) -> bool {
        self.lock().saw_error()
    }

    /// Shows the changes that still wait and returns when all is written; `false` where nobody reads the output any more.
    pub async fn flush(&self) -> bool {
        self.show(Transcript::flush);
        self.written().await.unwrap_or(true)
    }

    /// Puts the terminal back as it was before the line editor. For an exit that does not wait for [`Terminal::run`].
    pub fn restore(&self) {
        let Some(before) = &self.before else { return };
        let now = rustix::termios::tcgetattr(io::stdin());
        let raw = now.is_ok_and(|now| now.local_modes != before.local_modes);
        if raw {
            // Nothing is left to do where the terminal has gone away.
            let _ = rustix::termios::tcsetattr(
                io::stdin(),
                rustix::termios::OptionalActions::Now,
                before,
            );
            // Ends bracketed paste, which the line editor had asked for.
            let _ = io::stdout().write_all(b"\x1b[?2004l\r\n");
            let _ = io::stdout().flush();
        }
    }

    /// Computes a text and queues it, in one breath.
    fn show(&self, text: impl FnOnce(&mut Transcript, Size) -> String) {
        let mut transcript = self.lock();
        let text = text(&mut transcript, self.size());
        self.queue(text);
    }

    /// Shows lines of the terminal's own.
    fn note(&self, style: Style, text: &str) {
        let note: Vec<Line> = clean(text)
            .lines()
            .map(|line| Line::quoted(style, line, self.color))
            .collect();
        self.show(|transcript, size| transcript.note(&note, size));
    }

    fn queue(&self, text: String) {
        // The writer lives as long as this front.
        drop(self.jobs.send(if text.is_empty() {
            Job::Wake
        } else {
            Job::Text(text)
        }));
    }

    /// Waits until everything so far is written.
    async fn written(&self) -> Result<bool, FrontError> {
        let (done, written) = oneshot::channel();
        drop(self.jobs.send(Job::Written(done)));
        match tokio::time::timeout(WRITE_DEADLINE, written).await {
            Ok(alive) => Ok(alive.unwrap_or(false)),
            Err(_) => Err(FrontError::Other(
                "the terminal takes no output (is it held by Ctrl-S?)".to_owned(),
            )),
        }
    }

    fn size(&self) -> Size {
        self.screen.size()
    }

    fn lock(&self) -> MutexGuard<'_, Transcript> {
        self.transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
        drop(self.jobs.send(Job::End));
    }
}

fn start_output(
    look: Look,
    output: Box<dyn Write + Send>,
    screen: Screen,
) -> (Arc<Mutex<Transcript>>, Sender<Job>, Arc<Gate>) {
    // Ids go on where any earlier run can have stopped.
    let first = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| i64::try_from(since.as_millis()).unwrap_or(1));
    let transcript = Arc::new(Mutex::new(Transcript::new(look, first)));
    let (jobs, queue) = channel();
    let (kept, back) = (Arc::clone(&transcript), jobs.clone());
    let gate = Arc::new(Gate::new(screen != Screen::Whole));
    let passed = Arc::clone(&gate);
    let size = move || screen.size();
    thread::spawn(move || output::pump(&queue, &back, &kept, output, size, &passed));
    (transcript, jobs, gate)
}

fn is_interactive() -> bool {
    let dumb = std::env::var("TERM")
        .is_ok_and(|term| matches!(term.as_str(), "dumb" | "cons25" | "emacs"));
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

impl Screen {
    /// Of a process that only writes lines.
    fn of_process() -> Self {
        if io::stdout().is_terminal() {
            Self::Columns
        } else {
            Self::None
        }
    }

    fn size(self) -> Size {
        if self == Self::None {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
        let rows = if self == Self::Whole { rows } else { 0 };
        (columns > 0).then_some((columns, rows))
    }
}
