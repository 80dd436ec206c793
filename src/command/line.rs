//! What follows a known subcommand → its [`Request`], each by its own grammar.

use super::parse::{CommandError, help, unknown};
use super::table::{self, Entry};
use super::{Arguments, AuditWish, Request, add, connect, json, lex};
use crate::config::FileKind;

/// Pairs of one command: more is a mistake, and each may look for JSON in the rest of the line.
const MAX_PAIRS: usize = 256;
/// Words of one `/mcp allow`.
const MAX_TOOLS: usize = 21;
/// How calls of a tool are made.
const MODES: [&str; 3] = ["always", "ask", "never"];
/// A known subcommand and what follows it.
pub(super) struct Line<'a> {
    pub(super) entry: &'static Entry,
    pub(super) rest: &'a str,
}

impl Line<'_> {
    pub(super) fn read(&self) -> Result<Request, CommandError> {
        match self.entry.name {
            "add" => add::line(self.rest),
            "add-json" => add::json(self.rest),
            "upload" => self.alone(Request::Upload),
            "download" => self.download(),
            "list" => self.alone(Request::List),
            "show" => self.name().map(Request::Show),
            "edit" => self.edit(),
            "rename" => self.rename(),
            "remove" => self.name().map(Request::Remove),
            "enable" => self.name().map(Request::Enable),
            "disable" => self.name().map(Request::Disable),
            "tools" if self.rest.is_empty() => Ok(Request::Tools(None)),
            "tools" => self.tools(),
            "allow" => {
                let (server, tools) = self.server_and_tools()?;
                Ok(Request::Allow { server, tools })
            }
            "deny" => {
                let (server, tools) = self.server_and_tools()?;
                Ok(Request::Deny { server, tools })
            }
            "call" => self.call(),
            "test" => self.name().map(Request::Test),
            "status" => self.alone(Request::Status),
            "logs" => self.name().map(Request::Logs),
            "restart" => self.name().map(Request::Restart),
            "history" => self.alone(Request::History),
            "audit" => self.audit(),
            "undo" => self.alone(Request::Undo),
            "connect" => connect::line(self.rest),
            "login" => connect::login(self.rest),
            "logout" => self.name().map(Request::Logout),
            "secrets" => self.secrets(),
            "help" => Ok(help(self.rest)),
            other => Err(unknown(other, other)),
        }
    }

    fn audit(&self) -> Result<Request, CommandError> {
        if self.rest.is_empty() {
            return Ok(Request::Audit(AuditWish::Newest(None)));
        }
        let word = self.name()?;
        // A server may have any of these names; `/mcp audit file` is asked for more often than a server is called so.
        Ok(Request::Audit(match word.as_str() {
            "verify" => AuditWish::Verify,
            "file" | "files" => AuditWish::File,
            number => match number.parse() {
                Ok(count) => AuditWish::Newest(Some(count)),
                Err(_) => AuditWish::Of(word),
            },
        }))
    }

    fn alone(&self, request: Request) -> Result<Request, CommandError> {
        if self.rest.is_empty() {
            Ok(request)
        } else {
            Err(self.usage("nothing follows this command"))
        }
    }

    fn name(&self) -> Result<String, CommandError> {
        let words = lex::words(self.rest)?;
        match <[String; 1]>::try_from(words) {
            Ok([name]) if !name.is_empty() => Ok(name),
            Err(words) if words.len() > 1 => {
                Err(self.usage("only one name is expected, and names have no spaces"))
            }
            _ => Err(self.usage("the server's name is missing")),
        }
    }

    fn secrets(&self) -> Result<Request, CommandError> {
        let (verb, rest) = lex::split_word(self.rest);
        match verb.to_ascii_lowercase().as_str() {
            "" => Ok(Request::Secrets),
            "list" | "ls" | "show" if rest.is_empty() => Ok(Request::Secrets),
            "set" | "add" | "put" | "change" => self.set_secret(rest),
            "remove" | "rm" | "delete" | "del" | "forget" => {
                let (name, more) = lex::split_word(rest);
                if name.is_empty() || !more.is_empty() {
                    return Err(self.usage("one name is expected: the secret's"));
                }
                Ok(Request::RemoveSecret(name.to_owned()))
            }
            _ => Err(self.usage("`set NAME` or `remove NAME` may follow this command")),
        }
    }

    /// The value is whatever follows, verbatim but for one pair of quotes around it.
    fn set_secret(&self, rest: &str) -> Result<Request, CommandError> {
        let (first, mut rest) = lex::split_word(rest);
        let (name, begun) = match first.split_once('=') {
            Some((name, begun)) => (name, Some(begun)),
            None => (first, None),
        };
        if name.is_empty() {
            return Err(self.usage("the secret's name is missing"));
        }
        let mut server = None;
        let (word, after) = lex::split_word(rest);
        if begun.is_none() && word.eq_ignore_ascii_case("for") && !after.is_empty() {
            let (named, more) = lex::split_word(after);
            (server, rest) = (Some(named.to_owned()), more);
        }
        let value = match begun {
            Some(begun) if rest.is_empty() => begun.to_owned(),
            Some(begun) => format!("{begun} {rest}"),
            None => rest.to_owned(),
        };
        let value = value.trim();
        let quoted = ['"', '\'', '`'].iter().find_map(|quote| {
            let inner = value.strip_prefix(*quote)?.strip_suffix(*quote)?;
            (!inner.contains(*quote)).then_some(inner)
        });
        let value = quoted.unwrap_or(value);
        Ok(Request::SetSecret {
            name: name.to_owned(),
            server,
            value: (!value.is_empty()).then(|| value.to_owned()),
        })
    }

    fn tools(&self) -> Result<Request, CommandError> {
        let words = lex::words(self.rest)?;
        if words.iter().any(String::is_empty) {
            return Err(self.usage("a name is missing between the quotes"));
        }
        let (tool, mode) = match words.as_slice() {
            [_] => return self.name().map(|name| Request::Tools(Some(name))),
            [_, tool] => (tool, None),
            [_, tool, mode] => {
                let word = mode.strip_prefix("mode=").unwrap_or(mode);
                let mode = MODES
                    .into_iter()
                    .find(|known| known.eq_ignore_ascii_case(word));
                let wrong = || self.usage("the mode is one of always, ask and never");
                (tool, Some(mode.ok_or_else(wrong)?))
            }
            _ => return Err(self.usage("a server, a tool and a mode are expected, and no more")),
        };
        Ok(Request::Tool {
            server: words[0].clone(),
            tool: tool.clone(),
            mode,
        })
    }

    fn server_and_tools(&self) -> Result<(String, Vec<String>), CommandError> {
        let mut words = lex::words(self.rest)?;
        words.retain(|word| !word.is_empty());
        if words.len() < 2 {
            return Err(self.usage("the server's name and a tool or a pattern are expected"));
        }
        if words.len() > MAX_TOOLS {
            return Err(self.usage("these are too many tools for one command; a pattern such as `read_*` stands for several"));
        }
        let server = words.remove(0);
        Ok((server, words))
    }

    fn download(&self) -> Result<Request, CommandError> {
        match self.rest.trim_end().to_ascii_lowercase().as_str() {
            "" | "local" | "mcp.json" => Ok(Request::Download(FileKind::Local)),
            "remote" | "mcp_remote.json" => Ok(Request::Download(FileKind::Remote)),
            _ => Err(self.usage("only `remote` may follow this command")),
        }
    }

    fn rename(&self) -> Result<Request, CommandError> {
        let mut words = lex::words(self.rest)?;
        if words.len() == 3 && matches!(words[1].as_str(), "to" | "->" | "→" | "=>") {
            words.remove(1);
        }
        match <[String; 2]>::try_from(words) {
            Ok([from, to]) if !from.is_empty() && !to.is_empty() => {
                Ok(Request::Rename { from, to })
            }
            Err(words) if words.len() > 2 => {
                Err(self.usage("two names are expected, and names have no spaces"))
            }
            _ => Err(self.usage("two names are expected: the one it has and the one it gets")),
        }
    }

    fn edit(&self) -> Result<Request, CommandError> {
        let Some(name) = lex::word(self.rest, 0)?.filter(|word| !word.text.is_empty()) else {
            return Err(self.usage("the server's name is missing"));
        };
        let pairs = self.pairs(&self.rest[name.end..])?;
        let fields = pairs
            .into_iter()
            .map(|(key, value)| Ok((self.field(&key)?, value)))
            .collect::<Result<_, CommandError>>()?;
        Ok(Request::Edit {
            name: name.text,
            fields,
        })
    }

    /// A field of `/mcp edit` as it is written in the file; a variable's name keeps its capitals.
    fn field(&self, typed: &str) -> Result<String, CommandError> {
        let (field, variable) = match typed.split_once('.') {
            Some((field, variable)) => (field, Some(variable)),
            None => (typed, None),
        };
        let field = field.to_ascii_lowercase();
        match (field.as_str(), variable) {
            ("env", Some(variable)) if !variable.is_empty() => Ok(format!("env.{variable}")),
            ("headers" | "header", Some(name)) if !name.is_empty() => Ok(format!("headers.{name}")),
            ("command" | "args" | "cwd" | "env" | "network" | "url" | "timeout_ms", None) => Ok(field),
            ("auth" | "headers", _) => Err(self.usage(
                "one header is changed with headers.NAME=value, and the login with `/mcp connect NAME`",
            )),
            ("disabled" | "enabled", None) => Err(self
                .usage("whether a server runs is changed with `/mcp enable` and `/mcp disable`")),
            ("name", None) => Err(self.usage("the name is changed with `/mcp rename`")),
            _ => Err(self.usage("the fields are command, args, cwd, network, env and env.KEY, and of a remote server url, headers.NAME and timeout_ms")),
        }
    }

    fn call(&self) -> Result<Request, CommandError> {
        let Some(server) = lex::word(self.rest, 0)?.filter(|word| !word.text.is_empty()) else {
            return Err(self.usage("the server's name and the tool's name are missing"));
        };
        let rest = lex::trim_start(&self.rest[server.end..]);
        let (tool, rest) = if json::begins(rest) || lex::split_word(rest).0.contains('=') {
            (None, rest)
        } else {
            match lex::word(rest, 0)? {
                Some(tool) => (Some(tool.text), lex::trim_start(&rest[tool.end..])),
                None => (None, ""),
            }
        };
        Ok(Request::Call {
            server: server.text,
            tool,
            arguments: self.arguments(rest)?,
        })
    }

    fn arguments(&self, text: &str) -> Result<Arguments, CommandError> {
        if lex::trim_start(text).is_empty() {
            return Ok(Arguments::None);
        }
        if json::begins(text) {
            if json::bare(text).starts_with('[') {
                return Err(self.usage("the arguments are one JSON object, not a list"));
            }
            return json::object(text)
                .map(Arguments::Json)
                .map_err(CommandError::Json);
        }
        self.pairs(text).map(Arguments::Pairs)
    }

    /// `key=value …`; a value is a word, or JSON in brackets up to where it ends.
    fn pairs(&self, text: &str) -> Result<Vec<(String, String)>, CommandError> {
        let mut pairs = Vec::new();
        let mut rest = lex::trim_start(text);
        while !rest.is_empty() {
            if pairs.len() == MAX_PAIRS {
                return Err(self.usage("these are too many values for one command"));
            }
            let (key, after) = rest.split_once('=').unwrap_or_default();
            if !key.is_empty()
                && !key.contains(|c: char| lex::is_space(c) || matches!(c, '"' | '\'' | '\\'))
                && let Some((value, length)) = json::leading(after)
            {
                pairs.push((key.to_owned(), value));
                rest = lex::trim_start(&after[length..]);
                continue;
            }
            let Some(word) = lex::word(rest, 0)? else {
                break;
            };
            match word.text.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    pairs.push((key.to_owned(), value.to_owned()));
                }
                _ => {
                    return Err(self.usage(
                        "values are written key=value, with quotes around a value that has spaces",
                    ));
                }
            }
            rest = lex::trim_start(&rest[word.end..]);
        }
        Ok(pairs)
    }

    fn usage(&self, what: &str) -> CommandError {
        usage(self.entry.name, what)
    }
}

/// A usage error of a command of the table.
pub(super) fn usage(command: &str, what: &str) -> CommandError {
    CommandError::Usage {
        what: what.to_owned(),
        usage: table::help_for(command).map_or("/mcp help", |entry| entry.usage),
    }
}
