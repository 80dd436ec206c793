//! The command reader: any line is a request or an error in words, and a line that it offers instead can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::command::{self, CommandError, Request};

fuzz_target!(|text: &str| {
    let read = command::read(text, None);
    match &read {
        Ok(request) => {
            let shown = format!("{request:?}");
            assert_eq!(shown, format!("Request({})", request.command()));
            check(request);
        }
        Err(error) => told(error),
    }
    let in_group = command::read(text, Some("switchboard_bot"));
    if in_group != Ok(Request::NotForUs) {
        assert!(
            in_group == read,
            "{text:?} is read differently by a bot with a name"
        );
    }
    if let Some(meant) = command::meant(text) {
        assert!(command::looks_like_a_command(meant));
        is_known(meant);
    }
    if let Ok(words) = command::words(text) {
        assert!(words.iter().map(String::len).sum::<usize>() <= 2 * text.len());
    }
});

fn check(request: &Request) {
    match request {
        Request::Connect(line) => assert!(line.url.contains("://"), "an address has a scheme"),
        _ => {}
    }
}

/// What is wrong is said in a few words, of which few are the text's own.
fn told(error: &CommandError) {
    let said = error.to_string();
    assert!(!said.is_empty() && said.chars().count() < 500, "{said}");
    match error {
        CommandError::Unknown { typed, nearest } => {
            assert!(typed.chars().count() <= 64);
            nearest.map(is_known);
        }
        CommandError::Usage { usage, .. } => assert!(usage.starts_with('/')),
        CommandError::OpenQuote(_) => {}
        CommandError::Json(error) => assert!(error.caret <= error.text.chars().count()),
    }
}

/// A command that is offered is one, whatever more it wants to know.
fn is_known(line: &str) {
    let read = command::read(line, None);
    assert!(!matches!(read, Err(CommandError::Unknown { .. })), "{line}");
}
