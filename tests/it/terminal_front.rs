//! The terminal front from the outside: lines of a script, one command, and a person at a pseudo-terminal.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use switchboard::actor::ActorId;
use switchboard::chat::terminal::{Idle, Streams, Terminal, TerminalOptions};
use switchboard::chat::{
    Answer, Attachment, AttachmentKind, Busy, Button, Event, EventKind, EventSink, Front,
    FrontError, MessageId, PressId, Question, View,
};
use switchboard::thread::ThreadId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What a test's bot does with an event.
type Handler = Arc<dyn Fn(Arc<Terminal>, Event) -> BoxFuture<'static, ()> + Send + Sync>;

/// Events in a queue, and barriers between them.
enum Handed {
    Event(Box<Event>),
    Barrier(oneshot::Sender<()>),
}

struct Sink(mpsc::UnboundedSender<Handed>);

impl EventSink for Sink {
    fn deliver(&self, event: Event) -> Result<(), Busy> {
        if matches!(&event.kind, EventKind::Text(text) if text == "flood") {
            return Err(Busy);
        }
        self.0
            .send(Handed::Event(Box::new(event)))
            .map_err(|_| Busy)
    }

    fn lets_in(&self, _thread: ThreadId, _actor: &ActorId) -> bool {
        true
    }
}

/// Runs a chat to its end with a bot of one handler.
async fn run(terminal: &Arc<Terminal>, handler: Handler, stop: CancellationToken) {
    let (sender, mut queue) = mpsc::unbounded_channel();
    let bot = Arc::clone(terminal);
    let handling = tokio::spawn(async move {
        while let Some(handed) = queue.recv().await {
            match handed {
                Handed::Event(event) => handler(Arc::clone(&bot), *event).await,
                Handed::Barrier(done) => drop(done.send(())),
            }
        }
    });
    let barriers = sender.clone();
    let idle: Idle = Arc::new(move || {
        let (done, reached) = oneshot::channel();
        drop(barriers.send(Handed::Barrier(done)));
        Box::pin(async move { drop(reached.await) })
    });
    terminal.run(Arc::new(Sink(sender)), idle, stop).await;
    handling.abort();
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(input: Box<dyn Read + Send>, output: Shared, downloads: &Path) -> TerminalOptions {
    TerminalOptions {
        downloads: downloads.to_owned(),
        home: None,
        name: "ada".to_owned(),
        color: true,
        banner: Some("This is a chat.".to_owned()),
        opening: Some("/start".to_owned()),
        streams: Streams::Given {
            input,
            output: Box::new(output),
        },
    }
}

/// What a script's lines are answered with by a handler.
async fn script(lines: &str, downloads: &Path, handler: Handler) -> String {
    let output = Shared::default();
    let input = Box::new(io::Cursor::new(lines.to_owned().into_bytes()));
    let terminal = Terminal::start(options(input, output.clone(), downloads));
    run(&terminal, handler, CancellationToken::new()).await;
    output.text()
}

/// Shows buttons at `/start`, else says what came.
fn parrot() -> Handler {
    Arc::new(|terminal, event| {
        Box::pin(async move {
            assert_eq!(event.thread, ThreadId::Local);
            assert_eq!(
                (event.actor.id.0.as_str(), event.actor.name.as_str()),
                ("local", "ada")
            );
            assert!(event.private && event.message.is_none());
            let view = match event.kind {
                EventKind::Text(text) if text == "/start" => View::titled("Welcome")
                    .row([Button::new("Try it", "try"), Button::new("Help", "help")]),
                EventKind::Text(text) => View::text(format!("text {text:?}")),
                EventKind::Press { data, .. } => View::text(format!("press {data}")),
                EventKind::File { file, caption } => {
                    let bytes = terminal.fetch(&file, 10).await;
                    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    View::text(format!(
                        "file {} {:?} {caption:?} {text:?}",
                        file.name, file.size
                    ))
                }
                EventKind::Edited(_) | EventKind::Migrated { .. } | EventKind::Left => {
                    View::error("not from a terminal")
                }
            };
            // Yielding in between shows that a script waits for the answer and not for the delivery.
            tokio::task::yield_now().await;
            terminal.send(event.thread, view).await.unwrap();
        })
    })
}

#[tokio::test]
async fn a_script_is_answered_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small one.json");
    let large = dir.path().join("large.json");
    for (path, text) in [(&small, "{}"), (&large, "more than ten bytes")] {
        std::fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    let lines = format!(
        "hello\n1\nhelp\n3\nhepl\n\n/mcp add-json {{\n \"a\": {{}}\n}}\n:upload \"{}\" /mcp upload\n:upload {}\n:upload {}\n\
         :upload {}/none\n:bogus\nflood\n  /mcp list  \nlast",
        small.display(),
        large.display(),
        dir.path().display(),
        dir.path().display(),
    );
    let shown = script(&lines, dir.path(), parrot()).await;
    let shown = shown.replace(dir.path().to_str().unwrap(), "[dir]");
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn quit_ends_a_script_and_what_follows_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let shown = script("one\n:quit\ntwo\n", dir.path(), parrot()).await;
    assert!(shown.ends_with("text \"one\"\n"), "{shown}");
}

#[tokio::test]
async fn a_question_takes_numbers_as_answers() {
    let handler: Handler = Arc::new(|terminal, event| {
        Box::pin(async move {
            let view = View::text(format!("{:?}", event.kind)).asking(Question {
                placeholder: String::new(),
                of: None,
                secret: false,
            });
            let view = view.row([Button::new("Skip", "skip")]);
            terminal.send(event.thread, view).await.unwrap();
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let shown = script("1\n:1\n", dir.path(), handler).await;
    assert!(shown.contains("Text(\"1\")\n[:1] Skip\n"), "{shown}");
    assert!(shown.contains("Press { data: \"skip\""), "{shown}");
}

#[tokio::test]
async fn the_last_change_alone_is_shown_and_before_the_next_line_is_read() {
    let handler: Handler = Arc::new(|terminal, event| {
        Box::pin(async move {
            let EventKind::Text(text) = event.kind else {
                return;
            };
            let view = |step: &str| View::titled(text.clone()).line(step.to_owned());
            let id = terminal.send(event.thread, view("0")).await.unwrap();
            for step in ["1", "2", "3", "last"] {
                terminal.edit(event.thread, id, view(step)).await.unwrap();
            }
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let shown = script("next\n", dir.path(), handler).await;
    assert_eq!(shown, "This is a chat.\n\n/start\nlast\n\nnext\nlast\n");
}

#[tokio::test]
async fn stopping_ends_a_chat_whose_input_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let output = Shared::default();
    // The writing end is held open, as by a terminal nobody types at.
    let (input, _held) = io::pipe().unwrap();
    let terminal = Terminal::start(options(Box::new(input), output.clone(), dir.path()));
    let stop = CancellationToken::new();
    let handler: Handler = {
        let stop = stop.clone();
        Arc::new(move |_, _| {
            stop.cancel();
            Box::pin(async {})
        })
    };
    run(&terminal, handler, stop).await;
    assert_eq!(output.text(), "This is a chat.\n");
}

#[tokio::test]
async fn one_command_prints_plain_text_in_any_thread() {
    let dir = tempfile::tempdir().unwrap();
    let output = Shared::default();
    let terminal = Terminal::script(Box::new(output.clone()), dir.path().join("files"));
    let thread = ThreadId::telegram(-100, Some(5));
    let proposal =
        View::titled("Add x").row([Button::new("Apply", "a"), Button::new("Cancel", "c")]);
    let id = terminal.send(thread, proposal).await.unwrap();
    let (on, buttons) = terminal.last_buttons().unwrap();
    assert_eq!((on, buttons[0].data.as_str()), (id, "a"));
    assert!(!terminal.saw_error());

    let attachment = Attachment {
        kind: AttachmentKind::Picture,
        name: "../../pic\u{1b}[2J.png".to_owned(),
        bytes: Arc::from(*b"png"),
        caption: "a\npicture".to_owned(),
    };
    let applied = View::titled("Add x")
        .line("Applied.")
        .attach(attachment.clone());
    terminal.edit(thread, id, applied.clone()).await.unwrap();
    // The same picture in a later change is the same file.
    terminal
        .edit(thread, id, applied.line("x · 2 tools"))
        .await
        .unwrap();
    terminal
        .answer(&PressId(String::new()), Answer::Alert("No.".to_owned()))
        .await
        .unwrap();
    assert!(terminal.flush().await && terminal.saw_error() && terminal.last_buttons().is_none());
    let saved = dir.path().join("files/pic.png");
    assert_eq!(
        output.text(),
        format!(
            "Add x\nApplied.\nx · 2 tools\nSaved ../../pic.png (3 bytes) to {}\n  a picture\nNo.\n",
            saved.display()
        )
    );
    assert_eq!(std::fs::read(saved).unwrap(), b"png");
    assert_eq!(
        std::fs::read_dir(dir.path().join("files")).unwrap().count(),
        1
    );
}

#[tokio::test]
async fn a_chat_speaks_in_its_own_thread_alone() {
    let dir = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(options(
        Box::new(io::empty()),
        Shared::default(),
        dir.path(),
    ));
    let elsewhere = terminal
        .send(ThreadId::telegram(5, None), View::text("x"))
        .await;
    assert!(
        matches!(elsewhere, Err(FrontError::Gone(_))),
        "{elsewhere:?}"
    );
    let unknown = terminal
        .edit(ThreadId::Local, MessageId(1), View::text("x"))
        .await;
    assert!(
        matches!(unknown, Err(FrontError::NotEditable(_))),
        "{unknown:?}"
    );
    let theirs = terminal.delete(ThreadId::Local, MessageId(1)).await;
    assert!(
        matches!(theirs, Err(FrontError::NotEditable(_))),
        "{theirs:?}"
    );
    for (actor, expected) in [("local", "Own"), ("tg:5", "Outsider")] {
        let standing = terminal
            .standing(ThreadId::Local, &ActorId(actor.to_owned()), true)
            .await;
        assert_eq!(format!("{:?}", standing.unwrap()), expected, "{actor}");
    }
}

/// The variable that makes this test's process the one at the pseudo-terminal; its value is where it is told what to do.
const AT_THE_PTY: &str = "TERMINAL_FRONT_AT_THE_PTY";

/// Starts this very test again with a pseudo-terminal for its input and output, and is the person at it.
#[test]
fn a_half_typed_line_is_kept_while_the_bot_speaks() {
    if let Ok(address) = std::env::var(AT_THE_PTY) {
        return at_the_pty(&address);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (person, slave) = open_pty();
    let before = tcgetattr(&person).unwrap();
    #[allow(
        clippy::disallowed_methods,
        reason = "the test itself, at a pseudo-terminal"
    )]
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "terminal_front::a_half_typed_line_is_kept_while_the_bot_speaks",
        ])
        .arg("--nocapture")
        .env(AT_THE_PTY, listener.local_addr().unwrap().to_string())
        .env("TERM", "xterm")
        .stdin(slave.try_clone().unwrap())
        .stdout(slave)
        .spawn()
        .unwrap();
    let (mut bot, _) = listener.accept().unwrap();
    let mut screen = Screen::of(person);

    screen.wait_for("> ");
    screen.write("half typed");
    screen.wait_for("half typed");
    bot.write_all(b"s").unwrap();
    screen.wait_for("from the bot");
    // The line is whole again below the message, and the cursor stands behind it.
    screen.wait_for("> half typed");
    bot.write_all(b"e").unwrap();
    // Up to the message and away with it: the text, its buttons, the empty line.
    screen.wait_for("\u{1b}[3A\r\u{1b}[J");
    screen.wait_for("changed by the bot");
    screen.wait_for("> half typed");
    bot.write_all(b"l").unwrap();
    screen.wait_for("something logged");
    screen.wait_for("> half typed");
    screen.write(" and more\r");
    screen.wait_for("got \"half typed and more\"");
    // Between two lines the terminal echoes by itself, so each is begun at its prompt.
    screen.wait_for("> ");

    // A paste is one text, and open JSON waits for its end.
    screen.write("\u{1b}[200~/mcp add-json {\r\"a\":\u{1b}[201~\r1}\r");
    screen.wait_for(r#"got "/mcp add-json {\n\"a\":\n1}""#);
    screen.wait_for("> ");

    // A number that was begun before the bot put another choice under it.
    screen.write(":1");
    screen.wait_for(":1");
    bot.write_all(b"s").unwrap();
    screen.wait_for("from the bot");
    screen.write("\r");
    screen.wait_for("The choices changed while you typed");
    screen.wait_for("> ");
    screen.write("1\r");
    screen.wait_for("pressed stop");
    screen.wait_for("> ");

    // The answer to a question for a secret is dots, from the first key on, also when the bot speaks meanwhile.
    bot.write_all(b"q").unwrap();
    screen.wait_for("Your key?");
    screen.wait_for("> ");
    screen.write("canary");
    screen.wait_for("••••••");
    bot.write_all(b"l").unwrap();
    screen.wait_for("something logged");
    screen.wait_for("> ••••••");
    screen.write("-key\r");
    screen.wait_for("got the secret");
    screen.wait_for("> ");
    // It is not among the lines that come back, and the next line is no secret.
    screen.write("\u{1b}[A");
    screen.wait_for("> 1");
    screen.write("\u{15}open\r");
    screen.wait_for("got \"open\"");
    screen.wait_for("> ");
    // A question for a secret can be cancelled: the word arrives as one, and the next line is open again.
    bot.write_all(b"q").unwrap();
    screen.wait_for("Your key?");
    screen.wait_for("> ");
    screen.write("/cancel\r");
    screen.wait_for("got \"/cancel\"");
    screen.wait_for("> ");
    screen.write("after it\r");
    screen.wait_for("after it");
    screen.wait_for("got \"after it\"");
    screen.wait_for("> ");
    assert!(!screen.seen.contains("canary"), "{}", screen.seen);

    // Ctrl-C throws the line away; Ctrl-D ends, and the terminal is as it was.
    screen.write("nothing\u{3}");
    screen.wait_for("Ctrl-C again or Ctrl-D ends the chat.");
    screen.wait_for("> ");
    screen.write("\u{4}");
    assert!(child.wait().unwrap().success(), "{}", screen.seen);
    let after = tcgetattr(&screen.person).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert!(!screen.seen.contains("got \"nothing"), "{}", screen.seen);
}

/// The chat at the pseudo-terminal: each byte from the test makes the bot do something of its own accord.
fn at_the_pty(address: &str) {
    let mut told = std::net::TcpStream::connect(address).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(TerminalOptions {
        opening: None,
        streams: Streams::Process,
        ..options(Box::new(io::empty()), Shared::default(), dir.path())
    });
    tracing_subscriber::fmt()
        .with_writer(switchboard::chat::terminal::LogWriter::default)
        .init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bot = Arc::clone(&terminal);
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        let view = |text: &str| View::text(text.to_owned()).row([Button::new("Stop", "stop")]);
        let mut last = None;
        let mut what = [0];
        while told.read_exact(&mut what).is_ok() {
            match what[0] {
                b's' => {
                    let sent = handle.block_on(bot.send(ThreadId::Local, view("from the bot")));
                    last = Some(sent.unwrap());
                }
                b'q' => {
                    let question = View::text("Your key?").asking(Question {
                        placeholder: String::new(),
                        of: None,
                        secret: true,
                    });
                    handle
                        .block_on(bot.send(ThreadId::Local, question))
                        .unwrap();
                }
                b'e' => handle
                    .block_on(bot.edit(ThreadId::Local, last.unwrap(), view("changed by the bot")))
                    .unwrap(),
                _ => tracing::warn!("something logged"),
            }
        }
    });
    let handler: Handler = Arc::new(|terminal, event| {
        Box::pin(async move {
            let view = match event.kind {
                EventKind::Text(text) if text == "canary-key" => View::text("got the secret"),
                EventKind::Text(text) => View::text(format!("got {text:?}")),
                EventKind::Press { data, .. } => View::text(format!("pressed {data}")),
                other => panic!("{other:?}"),
            };
            terminal.send(event.thread, view).await.unwrap();
        })
    });
    runtime.block_on(run(&terminal, handler, CancellationToken::new()));
    runtime.shutdown_background();
}

fn open_pty() -> (OwnedFd, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let path = ptsname(&person, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    let size = Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&person, size).unwrap();
    (person, slave)
}

/// What the person sees: everything that was written, in order.
struct Screen {
    person: OwnedFd,
    seen: String,
    /// Where the next thing is looked for.
    from: usize,
    bytes: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Screen {
    fn of(person: OwnedFd) -> Self {
        let (sender, bytes) = std::sync::mpsc::channel();
        let reading = person.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut reading = std::fs::File::from(reading);
            let mut buffer = [0; 4096];
            // The end of a pseudo-terminal is an error (EIO).
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            person,
            seen: String::new(),
            from: 0,
            bytes,
        }
    }

    fn write(&mut self, text: &str) {
        let written = rustix::io::write(&self.person, text.as_bytes()).unwrap();
        assert_eq!(written, text.len());
    }

    /// Waits until this is written after what was waited for before.
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen[self.from..].find(text) {
                self.from += at + text.len();
                return;
            }
            // Only a broken front comes to the end of this; it is no measure of anything.
            match self.bytes.recv_timeout(std::time::Duration::from_mins(5)) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{text:?} never came ({error}) in {:?}", self.seen),
            }
        }
    }
}
