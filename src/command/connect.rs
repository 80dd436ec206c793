//! `/mcp connect`, `/mcp login`: a remote server in one line, also as the READMEs of other clients write it.

use super::line::usage;
use super::parse::CommandError;
use super::{ConnectAuth, ConnectLine, Request, lex};

/// Headers of one line; more is a mistake.
const MAX_HEADERS: usize = 32;

/// What follows `/mcp connect`.
pub(super) fn line(rest: &str) -> Result<Request, CommandError> {
    words(lex::words(rest)?)
}

/// The words of a connect line: name and address in any order, options between them.
pub(super) fn words(words: Vec<String>) -> Result<Request, CommandError> {
    let mut words = words.into_iter().peekable();
    let mut read = Read::default();
    while let Some(word) = words.next() {
        // A phone makes one dash of two.
        let plain = lex::plain_dashes(&word);
        let is_option = plain.starts_with('-') && plain.len() > 1;
        if !is_option {
            read.plain.push(word);
            continue;
        }
        let (option, attached) = match word.split_once('=') {
            Some((option, value)) => (lex::plain_dashes(option), Some(value.to_owned())),
            None => (plain, None),
        };
        let given = attached.is_some();
        let mut value = || attached.clone().or_else(|| words.next());
        match option.trim_start_matches('-').to_ascii_lowercase().as_str() {
            "header" | "h" => {
                let header = value().and_then(|text| header(&text)).ok_or_else(|| {
                    fault("after `--header` comes 'Name: value' in quotes, as in `--header 'X-Team: blue'`")
                })?;
                if read.headers.len() == MAX_HEADERS {
                    return Err(fault("those are too many headers"));
                }
                read.headers.push(header);
            }
            "bearer" | "token" => {
                read.choose(ConnectAuth::Bearer(
                    attached.filter(|token| !token.is_empty()),
                ))?;
            }
            "bearer-token-env-var" => {
                // The variable is one of another machine: the token is asked for.
                value();
                read.choose(ConnectAuth::Bearer(None))?;
            }
            "api-key" | "apikey" => {
                let follows = |next: &String| !next.starts_with('-') && is_header_name(next);
                let name = if given {
                    attached
                } else {
                    words.next_if(follows)
                };
                let name = name.filter(|name| !name.is_empty());
                if name.as_deref().is_some_and(|name| !is_header_name(name)) {
                    return Err(fault(
                        "after `--api-key` comes the header's name, as in `--api-key X-API-Key`; the key itself is asked for",
                    ));
                }
                read.choose(ConnectAuth::ApiKey {
                    header: name,
                    key: None,
                })?;
            }
            "oauth" => read.choose(ConnectAuth::OAuth)?,
            "none" | "no-auth" => read.choose(ConnectAuth::None)?,
            "client-id" => {
                let id = value().filter(|id| !id.is_empty());
                read.client_id = Some(id.ok_or_else(|| fault("after `--client-id` comes the id"))?);
            }
            "url" => {
                let url = value().filter(|url| !url.is_empty());
                read.plain
                    .push(url.ok_or_else(|| fault("after `--url` comes the address"))?);
            }
            // Both are found out by asking the server; other clients have them.
            "transport" | "t" | "scope" | "s" => {
                value().ok_or_else(|| fault("after this option comes a word"))?;
            }
            _ => {
                // What is attached to a letter may be a secret.
                let shown = if option.starts_with("--") { 32 } else { 2 };
                // Masked before it is cut: half a key does not look like one.
                let option = crate::config::Masker::default().mask(&option);
                let option: String = option.chars().take(shown).collect();
                return Err(fault(&format!(
                    "the option `{option}` is not known here; there are `--header`, `--bearer`, `--api-key`, `--oauth`, \
                     `--none` and `--client-id`"
                )));
            }
        }
    }
    read.finish()
}

/// `/mcp login NAME [--client-id ID]`.
pub(super) fn login(rest: &str) -> Result<Request, CommandError> {
    let fault = |what: &str| usage("login", what);
    let mut words = lex::words(rest)?.into_iter();
    let (mut name, mut client_id) = (None, None);
    while let Some(word) = words.next() {
        let plain = lex::plain_dashes(&word);
        let (option, attached) = match plain.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (plain.as_str(), None),
        };
        if option.trim_start_matches('-') == "client-id" && option.starts_with('-') {
            let id = attached
                .or_else(|| words.next())
                .filter(|id| !id.is_empty());
            client_id = Some(id.ok_or_else(|| fault("after `--client-id` comes the id"))?);
        } else if name.is_none() && !word.is_empty() {
            name = Some(word);
        } else {
            return Err(fault("only one name is expected, and names have no spaces"));
        }
    }
    let name = name.ok_or_else(|| fault("the server's name is missing"))?;
    Ok(Request::Login { name, client_id })
}

#[derive(Default)]
struct Read {
    /// Words that are no options.
    plain: Vec<String>,
    headers: Vec<(String, String)>,
    auth: Option<ConnectAuth>,
    client_id: Option<String>,
}

impl Read {
    fn choose(&mut self, auth: ConnectAuth) -> Result<(), CommandError> {
        if self.auth.is_some() {
            return Err(fault(
                "only one of `--bearer`, `--api-key`, `--oauth` and `--none` can be",
            ));
        }
        self.auth = Some(auth);
        Ok(())
    }

    fn finish(mut self) -> Result<Request, CommandError> {
        let bare = self.headers.is_empty() && self.auth.is_none() && self.client_id.is_none();
        let is_full = |word: &String| word.contains("://");
        // An address without its scheme is one, too: people copy it so from their browser. With a name before it, it is
        // the later word.
        let place = self
            .plain
            .iter()
            .position(is_full)
            .or_else(|| self.plain.iter().take(2).rposition(|word| is_address(word)));
        let Some(place) = place else {
            return match (self.plain.len(), bare) {
                (0, true) => Ok(Request::ConnectGuided(None)),
                (1, true) => Ok(Request::ConnectGuided(self.plain.pop())),
                _ => Err(fault(
                    "there is no address in it; one looks like https://mcp.example.com/mcp",
                )),
            };
        };
        let url = self.plain.remove(place);
        if self.plain.iter().any(is_full) {
            return Err(fault("only one address is expected"));
        }
        let url = if is_full(&url) {
            url
        } else {
            format!("https://{url}")
        };
        let mut rest = self.plain.into_iter();
        let mut name = rest.next();
        let mut auth = self.auth.unwrap_or_default();
        let mut secret = rest.next();
        // `URL --bearer TOKEN`: what looks like no name is the token.
        if let (None, Some(word)) = (&secret, &name)
            && auth.takes_secret()
            && crate::config::is_secret_value(word)
        {
            secret = name.take();
        }
        if let Some(secret) = secret {
            match &mut auth {
                ConnectAuth::Bearer(token @ None) => *token = Some(secret),
                ConnectAuth::ApiKey {
                    key: key @ None, ..
                } => *key = Some(secret),
                _ => {
                    return Err(fault(
                        "one name and one address are expected, and names have no spaces",
                    ));
                }
            }
        }
        if rest.next().is_some() {
            return Err(fault(
                "one name and one address are expected, and names have no spaces",
            ));
        }
        if self.client_id.is_some() {
            if !matches!(auth, ConnectAuth::Ask | ConnectAuth::OAuth) {
                return Err(fault("`--client-id` goes with `--oauth`"));
            }
            auth = ConnectAuth::OAuth;
        }
        Ok(Request::Connect(ConnectLine {
            name: name.filter(|name| !name.is_empty()),
            url,
            headers: self.headers,
            auth,
            client_id: self.client_id,
        }))
    }
}

impl ConnectAuth {
    fn takes_secret(&self) -> bool {
        matches!(self, Self::Bearer(None) | Self::ApiKey { key: None, .. })
    }
}

/// `Name: value`, also `Name=value`.
fn header(text: &str) -> Option<(String, String)> {
    let at = text.find([':', '='])?;
    let (name, value) = (text[..at].trim(), text[at + 1..].trim());
    let is_value = !value.is_empty() && !value.chars().any(char::is_control);
    (is_header_name(name) && is_value).then(|| (name.to_owned(), value.to_owned()))
}

/// RFC 9110: a token.
fn is_header_name(name: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(is_token)
}

/// Whether a word without `://` is an address all the same: `mcp.example.com/mcp`, `localhost:8000`.
fn is_address(word: &str) -> bool {
    let (host, path) = match word.find(['/', ':']) {
        Some(at) => (&word[..at], true),
        None => (word, false),
    };
    let ending = host.rsplit('.').next().unwrap_or_default();
    let is_host = host.split('.').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    let dotted = host.contains('.')
        && ending.len() >= 2
        && (path || ending.bytes().all(|b| b.is_ascii_alphabetic()));
    is_host && (dotted || (path && host.eq_ignore_ascii_case("localhost")))
}

fn fault(what: &str) -> CommandError {
    usage("connect", what)
}
