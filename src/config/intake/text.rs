//! A pasted text → the JSON in it, with what phones, editors and chat do to JSON forgiven.
//!
//! A text that parses as it stands is taken as it stands. Each repair replaces a character by one character, so that a
//! place that cannot be mended is told in the line and column of what was pasted.

use serde_json::Value;

use super::super::parse::{self, Failure, looks_like_json};
use super::super::{ConfigError, Problem};

/// Fences looked into.
const MOST_FENCES: usize = 8;

/// Reads the JSON value in a text.
pub(super) fn read(text: &str, notes: &mut Vec<String>) -> Result<Value, ConfigError> {
    let mut candidates = vec![text.to_owned()];
    candidates.extend(fenced(text));
    let fences = candidates.len() - 1;
    candidates.extend(braced(text));
    let mut broken = None;
    for (at, candidate) in candidates.iter().enumerate() {
        match attempt(candidate) {
            Ok((value, repairs)) => {
                notes.extend(repairs.into_iter().map(str::to_owned));
                if at > fences {
                    notes.push("The text around the JSON was left out.".to_owned());
                }
                return Ok(value);
            }
            Err(Broken::Problems(problems)) => return Err(ConfigError::Invalid(problems)),
            // What stands within a fence is what was meant; the first of those is told about.
            Err(Broken::Syntax(error))
                if looks_like_json(candidate) && (at <= fences || opens(candidate)) =>
            {
                if broken.is_none() {
                    broken = Some(error);
                }
            }
            Err(Broken::Syntax(_)) => {}
        }
    }
    if let Some(problem) = foreign(text) {
        return Err(ConfigError::Invalid(vec![problem]));
    }
    Err(broken.map_or(ConfigError::NotJson, |error| ConfigError::Syntax(*error)))
}

/// Whether braces in some text open an object of JSON and not a block of a script or a style sheet.
fn opens(text: &str) -> bool {
    let inside = text.trim_start().trim_start_matches('{').trim_start();
    inside.starts_with(is_quote) || inside.starts_with("//")
}

enum Broken {
    Syntax(Box<super::super::SyntaxError>),
    Problems(Vec<Problem>),
}

type Read = (Value, Vec<&'static str>);

fn attempt(text: &str) -> Result<Read, Broken> {
    match parse::value(text) {
        Ok(value) => return Ok((value, Vec::new())),
        Err(Failure::Problems(problems)) => return Err(Broken::Problems(problems)),
        Err(Failure::Syntax(_)) => {}
    }
    let mut repaired = repair(text);
    // `"github": {…}`, copied without the braces around it, maybe with the comma behind it.
    let shift = usize::from(repaired.text.trim_start().starts_with('"'));
    if shift == 1 {
        let body = repaired.text.trim_end();
        let body = body.strip_suffix(',').unwrap_or(body);
        repaired.text = format!("{{{body}}}");
        repaired.notes.push("The braces around it were added.");
    }
    match parse::value(&repaired.text) {
        Ok(mut value) => {
            if repaired.quotes {
                straighten_dashes(&mut value, false);
            }
            Ok((value, repaired.notes))
        }
        Err(Failure::Problems(problems)) => Err(Broken::Problems(problems)),
        Err(Failure::Syntax(error)) => Err(Broken::Syntax(Box::new(parse::syntax_error(
            &error,
            &repaired.text,
            text,
            shift,
        )))),
    }
}

struct Repaired {
    text: String,
    quotes: bool,
    notes: Vec<&'static str>,
}

fn repair(text: &str) -> Repaired {
    let mut out: Vec<char> = text.chars().collect();
    let (mut quotes, mut blanks, mut comments, mut commas) = (false, false, false, false);
    let mut last_comma = None;
    let mut at = 0;
    while at < out.len() {
        match out[at] {
            open if is_quote(open) => {
                quotes |= open != '"';
                out[at] = '"';
                at = end_of_string(&mut out, at + 1, open == '"', &mut quotes);
                last_comma = None;
            }
            '/' if matches!(out.get(at + 1), Some('/' | '*')) => {
                comments = true;
                at = blank_comment(&mut out, at);
                continue;
            }
            ',' => last_comma = Some(at),
            '}' | ']' => {
                if let Some(comma) = last_comma.take() {
                    out[comma] = ' ';
                    commas = true;
                }
            }
            c if c.is_ascii_whitespace() => {}
            c if c.is_whitespace()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}') =>
            {
                blanks = true;
                out[at] = ' ';
            }
            _ => last_comma = None,
        }
        at += 1;
    }
    let mut notes = Vec::new();
    for (done, note) in [
        (quotes, "Quotes of a phone's keyboard were made straight."),
        (blanks, "Unusual blanks were made plain ones."),
        (comments, "Comments were taken away."),
        (commas, "Commas before a closing bracket were taken away."),
    ] {
        if done {
            notes.push(note);
        }
    }
    Repaired {
        text: out.into_iter().collect(),
        quotes,
        notes,
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '‟' | '″' | '＂')
}

/// The place of the string's closing quote, made straight. A string opened by a straight quote has smart ones as content,
/// unless the straight one that would close it is missing on its line.
fn end_of_string(out: &mut [char], from: usize, straight: bool, quotes: &mut bool) -> usize {
    let find = |accept: fn(char) -> bool| {
        let mut at = from;
        while at < out.len() && out[at] != '\n' {
            if out[at] == '\\' {
                at += 1;
            } else if accept(out[at]) {
                return Some(at);
            }
            at += 1;
        }
        None
    };
    let close = if straight { find(|c| c == '"') } else { None };
    match close.or_else(|| find(is_quote)) {
        Some(at) => {
            *quotes |= out[at] != '"';
            out[at] = '"';
            at
        }
        // Left open: the rest of the line belongs to it.
        None => out[from..]
            .iter()
            .position(|c| *c == '\n')
            .map_or(out.len(), |len| from + len),
    }
}

/// Blanks the comment that begins at `from`, keeping line ends; the place behind it.
fn blank_comment(out: &mut [char], from: usize) -> usize {
    let rest = &out[from..];
    let len = if rest[1] == '/' {
        rest.iter().position(|c| *c == '\n')
    } else {
        rest[2..]
            .windows(2)
            .position(|pair| pair == ['*', '/'])
            .map(|at| at + 4)
    };
    let end = len.map_or(out.len(), |len| from + len);
    for c in &mut out[from..end] {
        if *c != '\n' {
            *c = ' ';
        }
    }
    end
}

/// Phones turn `--` into a dash; only arguments are mended, where a leading dash has a meaning.
fn straighten_dashes(value: &mut Value, is_args: bool) {
    match value {
        Value::String(text) if is_args => {
            if let Some(rest) = text.strip_prefix('—') {
                *text = format!("--{rest}");
            } else if let Some(rest) = text.strip_prefix('–') {
                let dashes = if rest.chars().count() == 1 { "-" } else { "--" };
                *text = format!("{dashes}{rest}");
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| straighten_dashes(item, is_args)),
        Value::Object(map) => {
            for (key, value) in map {
                straighten_dashes(value, key == "args");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The insides of code fences, each with everything else blanked.
fn fenced(text: &str) -> Vec<String> {
    let marks: Vec<usize> = text.match_indices("```").map(|(at, _)| at).collect();
    let mut all = Vec::new();
    for (index, open) in marks.iter().enumerate().step_by(2).take(MOST_FENCES) {
        let end = marks.get(index + 1).copied().unwrap_or(text.len());
        let mut start = open + 3;
        // The language after the opening: a word that ends at the first brace, quote or line end.
        let head = &text[start..end];
        let word = head.find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '-');
        start += word.unwrap_or(0);
        all.push(only(text, start, end));
    }
    all
}

/// From the first brace to the last, everything else blanked.
fn braced(text: &str) -> Option<String> {
    let start = text.find('{')?;
    let end = text.rfind('}')? + 1;
    (start < end).then(|| only(text, start, end))
}

fn only(text: &str, start: usize, end: usize) -> String {
    let blank = |part: &str| -> String {
        part.chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect()
    };
    format!(
        "{}{}{}",
        blank(&text[..start]),
        &text[start..end],
        blank(&text[end..])
    )
}

/// Configurations that are no JSON but that we recognise, with what to do.
fn foreign(text: &str) -> Option<Problem> {
    const INSTEAD: &str = "add the server with `/mcp add NAME -- COMMAND ARG…`, or send it as JSON";
    let starts = |starts: &[&str]| {
        text.lines().any(|line| {
            let line = line.trim_start();
            starts.iter().any(|start| line.starts_with(start))
        })
    };
    if starts(&["[mcp_servers.", "[mcp_servers]"]) {
        return Some(Problem::whole(format!("this is Codex's TOML; {INSTEAD}")));
    }
    if starts(&["mcp_servers:", "mcpServers:", "extensions:"]) {
        return Some(Problem::whole(format!("this is YAML; {INSTEAD}")));
    }
    let first = text
        .trim_start()
        .trim_start_matches(['$', '`'])
        .trim_start();
    let commands = [
        "claude mcp add",
        "codex mcp add",
        "gemini mcp add",
        "npx ",
        "uvx ",
        "docker run ",
    ];
    if commands.iter().any(|command| first.starts_with(command)) {
        return Some(Problem::whole(
            "this is a command line; send it as `/mcp add NAME -- COMMAND ARG…`",
        ));
    }
    None
}
