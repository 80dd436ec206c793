//! Lines in, events out.

use std::path::Path;
use std::sync::{Arc, PoisonError, Weak};
use std::thread;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::choices::Choice;
use super::editor::{self, Keyed};
use super::input::{self, Typed};
use super::line::Style;
use super::{Mode, Terminal, files, log_writer};
use crate::chat::{Event, EventKind, EventSink, FileRef, PressId};
use crate::thread::ThreadId;

/// Resolves when everything that was handed over so far has been handled.
pub type Idle = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// So many lines are read ahead of what the bot has taken.
const AHEAD: usize = 16;

/// Whether the chat goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Line,
    End,
}

impl Terminal {
    /// Hands over what is typed until the person ends it, the input ends, nobody reads the output any more, or `stop`.
    /// Plain lines wait for `idle` after each, so that a script's answers come in its order.
    pub async fn run(
        self: &Arc<Self>,
        sink: Arc<dyn EventSink>,
        idle: Idle,
        stop: CancellationToken,
    ) {
        if let Some(banner) = &self.banner {
            self.note(Style::Dim, banner);
        }
        if self.mode == Mode::Interactive {
            log_writer::through(Arc::downgrade(self));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.chat(&*sink, &idle) => {}
        }
        if self.mode == Mode::Interactive {
            log_writer::through(Weak::new());
        }
        self.flush().await;
        self.restore();
    }

    async fn chat(&self, sink: &dyn EventSink, idle: &Idle) {
        let opening = self
            .opening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(opening) = opening {
            self.hold();
            self.deliver(sink, EventKind::Text(opening));
            if self.settle(idle).await == Next::End {
                return;
            }
        }
        let mut texts = self.read();
        while let Some(keyed) = texts.recv().await {
            self.hold();
            let next = match keyed {
                Keyed::Text { text, begun } => self.typed(sink, &text, begun).await,
                Keyed::TooLong => {
                    self.note(
                        Style::Error,
                        "That is longer than 1 MiB; send it with :upload PATH.",
                    );
                    Next::Line
                }
                Keyed::Interrupted => {
                    self.note(Style::Dim, "Ctrl-C again or Ctrl-D ends the chat.");
                    Next::Line
                }
                Keyed::End => Next::End,
            };
            if next == Next::End || self.settle(idle).await == Next::End {
                return;
            }
        }
    }

    /// Starts the thread that reads.
    fn read(&self) -> mpsc::Receiver<Keyed> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let input = self
            .input
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if self.mode == Mode::Interactive {
            let (gate, transcript) = (Arc::clone(&self.gate), Arc::clone(&self.transcript));
            thread::spawn(move || {
                editor::read_interactive(&transcript, &gate, &sender);
                gate.set(true);
            });
        } else if let Some(input) = input {
            thread::spawn(move || editor::read_plain(input, &sender));
        }
        receiver
    }

    /// In a script, what a line leads to is shown when it is there: see [`Terminal::settle`].
    fn hold(&self) {
        if self.mode == Mode::Plain {
            self.lock().hold();
        }
    }

    /// In a script, waits until the bot is quiet and has shown everything.
    async fn settle(&self, idle: &Idle) -> Next {
        if self.mode == Mode::Interactive {
            return Next::Line;
        }
        idle().await;
        if self.flush().await {
            Next::Line
        } else {
            Next::End
        }
    }

    async fn typed(&self, sink: &dyn EventSink, text: &str, begun: Option<u64>) -> Next {
        match input::read(text) {
            Typed::Help => self.note(Style::Plain, input::HELP),
            Typed::Quit => return Next::End,
            Typed::Wrong(why) => self.note(Style::Error, &why),
            Typed::Upload { path, caption } => self.upload(sink, &path, caption).await,
            Typed::Text(text) => {
                let choice = self.lock().read(&text, begun);
                match choice {
                    Choice::Press { data, on } => {
                        self.lock().pressed(on);
                        let press = PressId(format!("{}", on.0));
                        self.deliver(sink, EventKind::Press { data, on, press });
                    }
                    Choice::Gone => {
                        self.note(Style::Error, "That choice is gone; `/mcp` shows what there is now.");
                    }
                    Choice::Changed => self.note(
                        Style::Error,
                        "The choices changed while you typed; type the number again if it is still right.",
                    ),
                    Choice::Beyond(number) => {
                        self.note(Style::Error, &format!("There is no choice {number}."));
                    }
                    Choice::Near(label) => {
                        self.note(Style::Error, &format!("Did you mean {label}?"));
                    }
                    Choice::Text if text.trim().is_empty() => {}
                    Choice::Text => {
                        self.lock().said(&text);
                        self.deliver(sink, EventKind::Text(text));
                    }
                }
            }
        }
        Next::Line
    }

    async fn upload(&self, sink: &dyn EventSink, path: &str, caption: String) {
        let path = files::expand_home(path, self.home.as_deref());
        let looked = path.clone();
        let found = tokio::task::spawn_blocking(move || {
            let size = files::look_at(&looked)?;
            // The handle is a `String`; a path that is none could not be found again.
            match std::path::absolute(&looked).map(|path| path.to_str().map(str::to_owned)) {
                Ok(Some(handle)) => Ok((handle, size)),
                _ => Err("That path is not valid UTF-8; rename the file.".to_owned()),
            }
        })
        .await
        .unwrap_or_else(|error| Err(error.to_string()));
        match found {
            Ok((handle, size)) => {
                let name = Path::new(&handle)
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                let file = FileRef {
                    name: name.unwrap_or_default(),
                    handle,
                    size: Some(size),
                };
                self.deliver(sink, EventKind::File { file, caption });
            }
            Err(why) => self.note(Style::Error, &why),
        }
    }

    fn deliver(&self, sink: &dyn EventSink, kind: EventKind) {
        let event = Event {
            thread: ThreadId::Local,
            actor: self.actor.clone(),
            private: true,
            message: None,
            kind,
        };
        if sink.deliver(event).is_err() {
            self.note(
                Style::Error,
                "Too much is waiting already; try that again in a moment.",
            );
        }
    }
}
