//! The one way to the screen: a thread that writes texts one after another.
//!
//! A thread and not a task, because a terminal whose output is held (Ctrl-S) blocks the writer, and must not block a
//! runtime's worker.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::transcript::{Size, Transcript};

/// A line editor is between two lines for microseconds.
const GATE_DEADLINE: Duration = Duration::from_secs(1);

/// What the thread is asked.
pub(super) enum Job {
    /// Write this.
    Text(String),
    /// Say when everything before this is written; `false` where the reader of the output has gone away.
    Written(oneshot::Sender<bool>),
    /// Look again when the next waiting change is due.
    Wake,
    /// The terminal is gone.
    End,
}

/// Open while the line editor is at its prompt, or there is none. The editor's printer decides by itself whether it
/// writes beside the editor or through it; it decides wrongly while the editor is just starting or ending a line, so
/// nothing is written then.
pub(super) struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

/// Writes through the line editor, which keeps a half-typed line whole.
type Printer = Box<dyn rustyline::ExternalPrinter + Send>;

struct State {
    open: bool,
    /// Left here by the editor for the writer, which must have it before its first text.
    printer: Option<Printer>,
}

impl Gate {
    pub(super) fn new(open: bool) -> Self {
        Self {
            state: Mutex::new(State {
                open,
                printer: None,
            }),
            opened: Condvar::new(),
        }
    }

    /// Opens or closes it.
    pub(super) fn set(&self, open: bool) {
        self.lock().open = open;
        self.opened.notify_all();
    }

    /// Write through this from now on.
    pub(super) fn through(&self, printer: Printer) {
        self.lock().printer = Some(printer);
    }

    /// Waits until it is open, at most for [`GATE_DEADLINE`]: rather a torn line than no output. Returns a new printer
    /// where there is one.
    fn pass(&self) -> Option<Printer> {
        let passed = self
            .opened
            .wait_timeout_while(self.lock(), GATE_DEADLINE, |state| !state.open);
        let (mut state, _) = passed.unwrap_or_else(PoisonError::into_inner);
        state.printer.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until [`Job::End`]. `jobs` is the sending end of `queue`.
pub(super) fn pump(
    queue: &Receiver<Job>,
    jobs: &Sender<Job>,
    transcript: &Arc<Mutex<Transcript>>,
    mut writer: Box<dyn Write + Send>,
    size: impl Fn() -> Size,
    gate: &Gate,
) {
    let mut printer: Option<Printer> = None;
    let mut alive = true;
    loop {
        let due = transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .due();
        let job = match due {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(Job::Text(text)) => {
                if let Some(new) = gate.pass() {
                    printer = Some(new);
                }
                let through = match &mut printer {
                    Some(printer) => printer.print(text.clone()).is_ok(),
                    None => false,
                };
                if !through {
                    // Also the way when the line editor has ended and took its printer along.
                    printer = None;
                    alive = writer
                        .write_all(text.as_bytes())
                        .and_then(|()| writer.flush())
                        .is_ok();
                }
            }
            Ok(Job::Written(done)) => drop(done.send(alive)),
            Ok(Job::Wake) => {}
            Err(RecvTimeoutError::Timeout) => {
                // Through the queue and under the lock, like every text, so that texts keep their order.
                let mut transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner);
                let text = transcript.flush_due(size(), Instant::now());
                if !text.is_empty() {
                    drop(jobs.send(Job::Text(text)));
                }
            }
            Ok(Job::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
