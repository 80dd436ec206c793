//! An MCP client without an SDK: the least that spawn → initialize → tools/list can cost.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

const INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}
"#;
const LIST: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}
"#;

/// A server's process and its pipes. Ends with its whole group when dropped, outside of what is measured.
#[derive(Debug)]
pub(crate) struct Raw {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Raw {
    /// Starts it in a group of its own, as the bot does; that keeps std's fast spawn, a `pre_exec` hook would not.
    pub(crate) fn spawn(command: &[String]) -> Result<Self> {
        let (program, args) = command.split_first().context("no command")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::with_capacity(16 * 1024, child.stdout.take().context("no stdout")?);
        let line = Vec::with_capacity(16 * 1024);
        Ok(Self {
            child,
            stdin,
            stdout,
            line,
        })
    }

    /// Spawn, initialize and tools/list, one after another.
    pub(crate) fn with_tools(command: &[String]) -> Result<Self> {
        let mut raw = Self::spawn(command)?;
        raw.ask_initialize()?;
        raw.ask_tools()?;
        raw.take_tools()?;
        Ok(raw)
    }

    pub(crate) fn ask_initialize(&mut self) -> Result<()> {
        Ok(self.stdin.write_all(INITIALIZE)?)
    }

    /// Takes the answer to initialize and asks for the tools.
    pub(crate) fn ask_tools(&mut self) -> Result<()> {
        self.take(b"\"id\":1")?;
        Ok(self.stdin.write_all(LIST)?)
    }

    pub(crate) fn take_tools(&mut self) -> Result<()> {
        self.take(b"\"id\":2")?;
        ensure!(contains(&self.line, b"\"inputSchema\""), "no tools came");
        Ok(())
    }

    /// Reads on to the answer with that id; requests and notifications of the server are passed over.
    fn take(&mut self, id: &[u8]) -> Result<()> {
        loop {
            self.line.clear();
            let read = self.stdout.read_until(b'\n', &mut self.line)?;
            ensure!(read > 0, "the server ended before it answered");
            if contains(&self.line, id) && contains(&self.line, b"\"result\"") {
                return Ok(());
            }
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Only the process itself is ours to reap; the servers measured here start no others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}
