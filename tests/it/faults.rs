//! The bot dies by SIGKILL in the middle of its work: nothing half-written, nothing acknowledged lost, nothing left running.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::world::{PATIENCE, PROGRAM, write};

/// Writes in all.
const WRITES: usize = 200;
/// Writes a bot gets to see before it is killed somewhere in the next ones.
const ROUND: usize = 10;

struct Bot {
    child: Child,
    stdin: std::process::ChildStdin,
    stdout: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Bot {
    #[allow(
        clippy::disallowed_methods,
        reason = "the test starts the bot as an operator does"
    )]
    fn start(data: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--front", "terminal", "--data"])
            .arg(data)
            .env_remove("TELOXIDE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn says(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Reads until a line has this in it.
    fn sees(&mut self, wanted: &str) {
        loop {
            let line = self
                .stdout
                .next()
                .unwrap_or_else(|| panic!("the bot ended before {wanted:?}"))
                .unwrap();
            if line.contains(wanted) {
                return;
            }
        }
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn kill_nine_during_two_hundred_writes_tears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let thread = data.join("users/local");
    std::fs::create_dir_all(&thread).unwrap();
    let demo = json!({"mcpServers": {"demo": {"type": "stdio", "command": "switchboard", "args": ["demo-server"]}}});
    write(&thread.join("mcp.json"), &demo.to_string());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut written = 0;
    while written < WRITES {
        let mut bot = Bot::start(&data);
        bot.says("/mcp call demo echo text=alive");
        bot.sees("alive");
        let mut acknowledged = Vec::new();
        for number in 0..ROUND {
            // One name, written again and again: the file stays small and each write changes it.
            let value = written + number;
            bot.says(&format!("/mcp add-json turning {{\"command\": \"true\", \"args\": [\"{value}\"], \"disabled\": true}}"));
            bot.says("apply");
            bot.sees("turning · off");
            acknowledged.push(value);
        }
        // Into the middle of the next write, at another moment each time.
        bot.says(&format!("/mcp add-json turning {{\"command\": \"true\", \"args\": [\"{}\"], \"disabled\": true}}", written + ROUND));
        bot.says("apply");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 6000));
        bot.child.kill().unwrap();
        bot.child.wait().unwrap();

        let text = std::fs::read_to_string(thread.join("mcp.json")).unwrap();
        let config: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("torn: {error}\n{text}"));
        let value: usize = config["mcpServers"]["turning"]["args"][0]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let newest = *acknowledged.last().unwrap();
        assert!(
            value == newest || value == newest + 1,
            "{value} is on disk, {newest} was acknowledged"
        );
        assert_eq!(config["mcpServers"]["demo"], demo["mcpServers"]["demo"]);
        nothing_runs_for(&data);
        written = value + 1;
    }
    // The history tells the same truth as the file.
    let mut bot = Bot::start(&data);
    bot.says("/mcp undo");
    bot.says("apply");
    bot.sees("Applied: undo");
    let text = std::fs::read_to_string(thread.join("mcp.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        config["mcpServers"]["turning"]["args"][0],
        (written - 2).to_string()
    );
}

/// Waits until no process works in this data folder any more; the launcher ends them when the bot has gone.
pub fn nothing_runs_for(data: &Path) {
    let until = Instant::now() + PATIENCE;
    let mark = data.join("homes").into_os_string().into_string().unwrap();
    loop {
        let left: Vec<String> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let environ = std::fs::read(entry.path().join("environ")).ok()?;
                let ours = environ
                    .windows(mark.len())
                    .any(|window| window == mark.as_bytes());
                ours.then(|| entry.file_name().to_string_lossy().into_owned())
            })
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < until,
            "processes {left:?} were left running"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
