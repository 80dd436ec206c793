//! A typed text → what is meant by it. No IO.

/// What a person typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// `:help`.
    Help,
    /// `:quit`.
    Quit,
    /// `:upload PATH [CAPTION]`.
    Upload {
        /// The path, without its quotes; `~` is not expanded yet.
        path: String,
        /// The rest of the line, verbatim.
        caption: String,
    },
    /// A `:command` that is written wrong or does not exist; a sentence that says so.
    Wrong(String),
    /// Anything else: a choice or text for the bot.
    Text(String),
}

/// The terminal's own commands.
pub(super) const COMMANDS: [&str; 3] = [":help", ":quit", ":upload"];

/// What `:help` shows.
pub(super) const HELP: &str = "\
/help            what the bot can do
1, 2, …          press the button of that number; its label works too
:1, :2, …        the same while the bot waits for an answer
:upload PATH     send a file; text after the path is its caption
:quit            end (also Ctrl-D, or Ctrl-C twice)
A pasted JSON may span lines: it is sent when its braces close, or at an empty line.";

/// Reads what was typed; choices are told apart later, because they depend on what was shown.
pub(super) fn read(text: &str) -> Typed {
    let line = text.trim();
    let Some(rest) = line.strip_prefix(':') else {
        return Typed::Text(text.to_owned());
    };
    let (word, rest) = match rest.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (rest, ""),
    };
    match word.to_ascii_lowercase().as_str() {
        "help" | "h" | "?" => Typed::Help,
        "quit" | "q" | "exit" => Typed::Quit,
        "upload" => match path_and_rest(rest) {
            Some((path, caption)) => Typed::Upload { path, caption },
            None => {
                Typed::Wrong("Write `:upload PATH`, for example `:upload ~/mcp.json`.".to_owned())
            }
        },
        word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            Typed::Text(line.to_owned())
        }
        word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Typed::Wrong(format!(
                "There is no `:{word}`; this terminal knows {} and `:1` for a choice.",
                COMMANDS.map(|command| format!("`{command}`")).join(", ")
            ))
        }
        // `:)` and the like are for the bot.
        _ => Typed::Text(text.to_owned()),
    }
}

/// Whether a text is the beginning of a longer one: JSON or a code fence that is open still. An empty last line always
/// ends it, so that nobody is caught in it.
pub(super) fn incomplete(text: &str) -> bool {
    let ended = text
        .rsplit_once('\n')
        .is_some_and(|(_, last)| last.trim().is_empty());
    !ended && takes_json(text) && is_open(text)
}

/// Commands with JSON arguments, and JSON or a fence alone.
fn takes_json(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    if first.starts_with(['{', '[']) || first.starts_with("```") {
        return true;
    }
    let command = first.split('@').next().unwrap_or_default();
    command.eq_ignore_ascii_case("/mcp")
        && words.next().is_some_and(|word| {
            word.eq_ignore_ascii_case("add-json") || word.eq_ignore_ascii_case("call")
        })
}

fn is_open(text: &str) -> bool {
    if text.matches("```").count() % 2 == 1 {
        return true;
    }
    let (mut depth, mut quoted, mut escaped) = (0_i64, false, false);
    for char in text.chars() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            // Quotes of `key="…"` before the JSON count as well: a brace within them opens nothing.
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            // No JSON string spans lines; an apostrophe or a stray quote must not swallow what follows.
            '\n' => quoted = false,
            _ => {}
        }
    }
    depth > 0
}

/// The first word, which may be quoted or have spaces after a backslash, and what follows it.
fn path_and_rest(text: &str) -> Option<(String, String)> {
    let mut path = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (None, '"' | '\'') => quote = Some(char),
            (None | Some('"'), '\\') => path.push(chars.next()?.1),
            (None, _) if char.is_whitespace() => {
                end = at;
                break;
            }
            _ => path.push(char),
        }
    }
    (quote.is_none() && !path.is_empty()).then(|| (path, text[end..].trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(path: &str, caption: &str) -> Typed {
        Typed::Upload {
            path: path.to_owned(),
            caption: caption.to_owned(),
        }
    }

    #[test]
    fn commands_of_the_terminal_are_read() {
        for (text, expected) in [
            (":help", Typed::Help),
            (" :Q ", Typed::Quit),
            (":upload a.json", upload("a.json", "")),
            (
                ":upload ~/a.json /mcp upload",
                upload("~/a.json", "/mcp upload"),
            ),
            (
                ":upload \"my file.json\" hello",
                upload("my file.json", "hello"),
            ),
            (":upload my\\ file.json", upload("my file.json", "")),
            (":upload 'it''s'.json", upload("its.json", "")),
            (":1", Typed::Text(":1".to_owned())),
            (":)", Typed::Text(":)".to_owned())),
            (" /mcp list", Typed::Text(" /mcp list".to_owned())),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        for text in [":upload", ":upload \"open", ":upload x\\", ":uplaod x"] {
            assert!(matches!(read(text), Typed::Wrong(_)), "{text:?}");
        }
    }

    #[test]
    fn open_json_waits_for_more_lines() {
        for (text, expected) in [
            ("/mcp add-json {", true),
            ("/MCP@OurBot add-json x {\n\"a\": [", true),
            ("/mcp add-json {\"a\": {}}", false),
            ("/mcp add-json {\"a\": \"{\"}", false),
            ("/mcp add-json {\"a\": \"\\\"{\"}", false),
            ("/mcp add-json {\n", false),
            ("/mcp add-json {\n  ", false),
            ("/mcp add-json ```json\n{}", true),
            ("/mcp add-json ```json\n{}\n```", false),
            ("/mcp add-json", false),
            ("/mcp call demo echo {\"text\":", true),
            ("/mcp call demo echo text=it's", false),
            ("/mcp add x -- sh -c '{'", false),
            ("{", true),
            ("{}}", false),
            ("hello {", false),
        ] {
            assert_eq!(incomplete(text), expected, "{text:?}");
        }
    }
}
