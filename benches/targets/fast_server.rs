//! The workload's server: MCP over stdio with ten tools and no SDK, so that its own time is nearly nothing.
//!
//! A program of its own, which the bench compiles with `rustc` into a small static executable; it is no module of the
//! bench. It is not a parser: it takes the first `"method"` and the first `"id"` of a line, which is enough for clients
//! that write the envelope before `params`. Its first argument is the prefix of its tools' names, so that an edit of the
//! arguments shows in the list.

use std::io::{self, BufRead, Write};

const TOOLS: usize = 10;

fn main() -> io::Result<()> {
    let prefix = std::env::args().nth(1).unwrap_or_else(|| "tool".to_owned());
    let tools = tools(&prefix);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let (mut line, mut answer) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // Without an id it is a notification, which is not answered.
        let Some(id) = value(&line, b"\"id\"") else {
            continue;
        };
        let result: &[u8] = match value(&line, b"\"method\"") {
            Some(b"\"initialize\"") => {
                br#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fast","version":"1"}}"#
            }
            Some(b"\"tools/list\"") => &tools,
            // It takes the call and says nothing more of it.
            Some(b"\"tools/call\"") if prefix == "hangs" => continue,
            Some(b"\"tools/call\"") => {
                br#""result":{"content":[{"type":"text","text":"done"}],"isError":false}"#
            }
            Some(b"\"ping\"") => br#""result":{}"#,
            _ => br#""error":{"code":-32601,"message":"no such method"}"#,
        };
        answer.clear();
        answer.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        answer.extend_from_slice(id);
        answer.push(b',');
        answer.extend_from_slice(result);
        answer.extend_from_slice(b"}\n");
        output.write_all(&answer)?;
        output.flush()?;
    }
}

fn tools(prefix: &str) -> Vec<u8> {
    let one = |n: usize| {
        format!(
            r#"{{"name":"{prefix}_{n}","description":"Answers a text; number {n}.","inputSchema":{{"type":"object","properties":{{"text":{{"type":"string","description":"What to say."}},"count":{{"type":"integer","minimum":0}}}},"required":["text"]}}}}"#
        )
    };
    let all: Vec<String> = (0..TOOLS).map(one).collect();
    format!(r#""result":{{"tools":[{}]}}"#, all.join(",")).into_bytes()
}

/// The number or string after the first such key, as it is written.
fn value<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(key.len()).position(|part| part == key)? + key.len();
    let rest = line[at..]
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start();
    let end = match rest.first()? {
        b'"' => rest[1..].iter().position(|c| *c == b'"')? + 2,
        _ => rest
            .iter()
            .position(|c| matches!(c, b',' | b'}' | b' ' | b'\r' | b'\n'))?,
    };
    Some(&rest[..end])
}
