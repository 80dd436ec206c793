//! Who runs a program that is a script: the interpreter that its first line names (execve(2)).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// As much of a first line as the kernel reads (Linux: `BINPRM_BUF_SIZE`).
const LINE_BYTES: u64 = 256;
/// The interpreter of a script: a path, or the name that `env` looks up; none where it is no script. Blocks.
pub fn interpreter_of(script: &Path) -> Option<String> {
    first_line(script).as_deref().and_then(named)
}

/// The program that a first line names, as it is written or as `env` is told it.
fn named(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("#!")?.split_ascii_whitespace();
    let interpreter = words.next()?;
    if interpreter.rsplit('/').next() != Some("env") {
        return Some(interpreter.to_owned());
    }
    // `env -S VAR=1 node --flag`; what follows `-S` may stand against it.
    let looked_up = words
        .map(|word| word.strip_prefix("-S").unwrap_or(word))
        .find(|word| !word.is_empty() && !word.starts_with('-') && !word.contains('='));
    Some(looked_up.unwrap_or(interpreter).to_owned())
}

/// The first line of a plain file. Who wrote it may have put something else there: a pipe that nobody writes to is not
/// waited for.
fn first_line(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut begin = Vec::new();
    file.take(LINE_BYTES).read_to_end(&mut begin).ok()?;
    let line = begin.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}
