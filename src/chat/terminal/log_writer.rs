//! Standard error for the log, beside a chat on the same screen.
//!
//! While an interactive chat runs, what is logged goes through it, so that it does not tear a half-typed line. Process-wide
//! as standard error is: logging is set up before there is a chat.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError, Weak};

use super::Terminal;
use super::line::Style;

/// The interactive chat that runs now. A lock of its own: held for a pointer's copy, and nothing is logged under it.
static RUNNING: Mutex<Weak<Terminal>> = Mutex::new(Weak::new());

/// Standard error, or the chat that owns the screen now.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogWriter;

/// Sends the log through this chat, or to standard error again.
pub(super) fn through(terminal: Weak<Terminal>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = terminal;
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let running = RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        match running {
            Some(terminal) => {
                terminal.note(Style::Dim, &String::from_utf8_lossy(bytes));
                Ok(bytes.len())
            }
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
