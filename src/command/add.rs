//! `/mcp add` and `/mcp add-json`, also as the READMEs of other clients write them.

use super::line::usage;
use super::parse::CommandError;
use super::{AddLine, Request, connect, json as json_text, lex};
use crate::config::is_env_name;

/// What follows `/mcp add`.
pub(super) fn line(rest: &str) -> Result<Request, CommandError> {
    if let Some(request) = foreign(rest) {
        return request;
    }
    if json_text::begins(rest) || json_text::begins(lex::split_word(rest).1) {
        return json(rest);
    }
    add(lex::words(rest)?, false)
}

/// What follows `/mcp add-json`.
pub(super) fn json(rest: &str) -> Result<Request, CommandError> {
    if let Some(request) = foreign(rest) {
        return request;
    }
    named_json(rest)
}

/// A line as another client takes it: `claude mcp add …`, `claude mcp add-json …`, `code --add-mcp '…'`; `None` where it
/// is not one.
pub(super) fn foreign(text: &str) -> Option<Result<Request, CommandError>> {
    let (verb, rest) = verb(text)?;
    Some(match verb {
        Verb::Json => named_json(rest),
        Verb::Add { second_dashes } => lex::words(rest)
            .map_err(CommandError::from)
            .and_then(|words| add(words, second_dashes)),
    })
}

/// Whether [`foreign`] takes the text, right or wrong.
pub(super) fn is_foreign(text: &str) -> bool {
    verb(text).is_some()
}

enum Verb {
    Json,
    Add { second_dashes: bool },
}

/// What another client is told to do, and what follows.
fn verb(text: &str) -> Option<(Verb, &str)> {
    // A prompt that was copied too.
    let text = match lex::split_word(text) {
        ("$" | ">" | "%", rest) => rest,
        _ => text,
    };
    let (client, rest) = lex::split_word(text);
    let (second, rest) = lex::split_word(rest);
    match client.to_ascii_lowercase().as_str() {
        "code" if lex::plain_dashes(second) == "--add-mcp" => Some((Verb::Json, rest)),
        client @ ("claude" | "codex" | "gemini") if second.eq_ignore_ascii_case("mcp") => {
            let (verb, rest) = lex::split_word(rest);
            let second_dashes = client == "gemini";
            match verb.to_ascii_lowercase().as_str() {
                "add-json" => Some((Verb::Json, rest)),
                "add" => Some((Verb::Add { second_dashes }, rest)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `[-s SCOPE] [NAME] JSON`.
fn named_json(text: &str) -> Result<Request, CommandError> {
    let mut rest = lex::trim_start(text);
    let mut name = None;
    while !rest.is_empty() && !json_text::begins(rest) {
        let (raw, after) = lex::split_word(rest);
        match lex::plain_dashes(raw).as_str() {
            "-s" | "--scope" => rest = lex::split_word(after).1,
            option if option.starts_with("--scope=") => rest = after,
            _ if name.is_some() => break,
            _ => {
                // A name may touch the JSON (`NAME{…}`) and may be written as a key (`"NAME": {…}`).
                let touching = rest.find('{').unwrap_or(rest.len());
                let word = lex::word(&rest[..touching], 0)?;
                let (text, end) = word.map_or((String::new(), touching), |w| (w.text, w.end));
                name = Some(text.trim_end_matches(':').to_owned());
                rest = lex::trim_start(&rest[end..]);
                if let Some(after) = rest.strip_prefix(':') {
                    rest = lex::trim_start(after);
                }
            }
        }
    }
    let json = json_text::bare(rest);
    if json.is_empty() && name.is_some() {
        return Err(usage("add-json", "the server's JSON is missing"));
    }
    Ok(Request::AddJson {
        name: name.filter(|name| !name.is_empty()),
        json: json.into_owned(),
    })
}

/// The words of an add line, or of one that adds a remote server. `second_dashes`: the client takes a `--` out of the
/// command's arguments too.
fn add(words: Vec<String>, second_dashes: bool) -> Result<Request, CommandError> {
    if is_remote(&words) {
        return connect::words(words);
    }
    let mut words = words.into_iter().peekable();
    let (mut name, mut env, mut cwd, mut network) = (None, Vec::new(), None, None);
    let mut command: Vec<String> = Vec::new();
    let (mut options, mut dashes) = (false, false);
    while let Some(word) = words.next() {
        if word == "--" {
            dashes = true;
            command.extend(words);
            break;
        }
        if !word.starts_with('-') || word == "-" {
            if variable(&word).is_some() {
                env.extend(variable(&word));
            } else if name.is_none() {
                name = Some(word);
            } else {
                command.push(word);
                command.extend(words);
                break;
            }
            continue;
        }
        options = true;
        let (option, attached) = option(&word);
        let mut value = || attached.map(str::to_owned).or_else(|| words.next());
        match option {
            "-e" | "--env" => {
                let given = value();
                let pair = given
                    .as_deref()
                    .and_then(|pair| pair.split_once('='))
                    .filter(|(key, _)| is_env_name(key))
                    .map(|(key, value)| (key.to_owned(), value.to_owned()));
                env.push(
                    pair.ok_or_else(|| {
                        fault("after `-e` comes KEY=value, as in `-e API_KEY=abc`")
                    })?,
                );
            }
            "--cwd" => {
                let folder = value().filter(|folder| !folder.is_empty());
                cwd = Some(folder.ok_or_else(|| fault("after `--cwd` comes a folder"))?);
            }
            "--network" => {
                let grant = value().filter(|grant| !grant.is_empty());
                network = Some(grant.ok_or_else(|| {
                    fault("after `--network` comes none, public, host, or hosts with commas between them")
                })?);
            }
            "-s" | "--scope" => {
                value().ok_or_else(|| fault("after `--scope` comes a word"))?;
            }
            "-t" | "--transport" => {
                value().ok_or_else(|| fault("after `--transport` comes a word"))?;
            }
            _ => {
                // What is attached to a letter may be a secret.
                let shown = if option.starts_with("--") { 32 } else { 2 };
                // Masked before it is cut: half a key does not look like one.
                let option = crate::config::Masker::default().mask(option);
                let option: String = option.chars().take(shown).collect();
                return Err(fault(&format!(
                    "the option `{option}` is not known here; if it belongs to the server's command, \
                     put `--` before that command"
                )));
            }
        }
    }
    if second_dashes
        && !dashes
        && let Some(at) = command.iter().position(|word| word == "--")
    {
        command.remove(at);
    }
    let bare = !options && !dashes && env.is_empty();
    let mut command = command.into_iter();
    match (name, command.next()) {
        (name, None) if bare => Ok(Request::AddGuided(name)),
        (None, _) => Err(fault(
            "the server's name is missing; it comes before the command",
        )),
        (Some(_), None) => Err(fault("the command that starts the server is missing")),
        (Some(name), Some(program)) => Ok(Request::Add(AddLine {
            name,
            command: program,
            args: command.collect(),
            env,
            cwd,
            network,
        })),
    }
}

/// An option and what is attached to it: `--env=K=V`, `-eK=V`.
fn option(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        };
    }
    match word.char_indices().nth(2) {
        Some((at, _))
            if word.starts_with("-e") || word.starts_with("-s") || word.starts_with("-t") =>
        {
            (&word[..at], Some(word[at..].trim_start_matches('=')))
        }
        _ => (word, None),
    }
}

/// `KEY=value` without `-e` before it, where the key looks like a usual one.
fn variable(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && key.chars().all(allowed)).then(|| (key.to_owned(), value.to_owned()))
}

/// Whether the line adds a server that is reached by an address: it names one in place of a program, or has an option
/// that only such a server takes.
fn is_remote(words: &[String]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--").peekable();
    let mut named = 0;
    while let Some(word) = words.next() {
        match word.as_str() {
            "-H" | "--header" | "--url" | "--bearer-token-env-var" => return true,
            "-t" | "--transport" => {
                if words.next().is_some_and(|kind| kind != "stdio") {
                    return true;
                }
            }
            "-e" | "--env" | "-s" | "--scope" | "--cwd" | "--network" => {
                words.next();
            }
            option if option.starts_with("--header=") || option.starts_with("--url=") => {
                return true;
            }
            option if option.starts_with("--transport=") => {
                if option != "--transport=stdio" {
                    return true;
                }
            }
            option if option.starts_with('-') => {}
            _ if is_url(word) => return true,
            // A name, and then a program, whose arguments say nothing here.
            _ if named == 1 => return false,
            _ => named += 1,
        }
    }
    false
}

fn is_url(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.starts_with("http://") || word.starts_with("https://")
}

fn fault(what: &str) -> CommandError {
    usage("add", what)
}
