//! Both files → checked servers, or every problem at once.
//!
//! The published schemas are the judge. Most files are valid, and a reload waits for this verdict, so a typed reading
//! decides the common case first: an entry that [`stdio`] or [`remote`] takes is valid by schema too (a test holds both to
//! one verdict). Only when an entry is not taken do the schemas speak, for their words.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::document::SERVERS;
use super::remote::is_transport_header;
use super::schema_words::joined;
use super::{
    ConfigError, CredentialId, Document, FileKind, Files, NetworkGrant, Problem, RemoteAuth,
    RemoteServer, RemoteTransport, SecretName, ServerName, StdioServer, ThreadConfig, limits,
    schema,
};

mod bounds;

use bounds::{limits_of, too_deep};

/// Checks both files against schemas and limits, and against each other.
pub(super) fn check(files: &Files) -> Result<ThreadConfig, ConfigError> {
    let local = servers(&files.local, stdio);
    let remote = servers(&files.remote, self::remote);
    let mut problems = Vec::new();
    for kind in [FileKind::Local, FileKind::Remote] {
        let document = files.get(kind);
        let taken = match kind {
            FileKind::Local => local.is_some(),
            FileKind::Remote => remote.is_some(),
        };
        let mut own = Vec::new();
        if !taken {
            own = problems_of(kind, document);
        }
        if own.is_empty() && too_large(document) {
            own.push(Problem::whole(format!(
                "has more than {} bytes when it is written",
                limits::FILE_BYTES
            )));
        }
        if kind == FileKind::Remote {
            own.iter_mut().for_each(name_remote);
        }
        problems.append(&mut own);
    }
    problems.extend(across(files));
    match (local, remote) {
        (Some(local), Some(remote)) if problems.is_empty() => Ok(ThreadConfig {
            local,
            remote,
            ..ThreadConfig::default()
        }),
        _ => Err(ConfigError::Invalid(problems)),
    }
}

/// What is wrong with one local entry, with paths below `path`; for entries that are in no file yet.
pub(super) fn problems_of_entry(name: &str, entry: &Value, path: &str) -> Vec<Problem> {
    if stdio(entry).is_some() {
        return Vec::new();
    }
    let mut servers = Map::new();
    servers.insert(name.to_owned(), entry.clone());
    let mut document = Map::new();
    document.insert(SERVERS.to_owned(), Value::Object(servers));
    let own = joined(SERVERS, name);
    let mut problems = problems_of(FileKind::Local, &Document(document));
    for problem in &mut problems {
        if let Some(rest) = problem.path.strip_prefix(&own) {
            let rest = if path.is_empty() {
                rest.trim_start_matches('.')
            } else {
                rest
            };
            problem.path = format!("{path}{rest}");
        }
    }
    problems
}

/// The checked servers of a document, `None` where any entry is not certainly valid.
fn servers<T>(
    document: &Document,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<Vec<(ServerName, T)>> {
    if document.0.get("$schema").is_some_and(|v| !v.is_string()) {
        return None;
    }
    let Some(entries) = document.0.get(SERVERS) else {
        return Some(Vec::new());
    };
    let entries = entries.as_object()?;
    if entries.len() > limits::SERVERS {
        return None;
    }
    entries
        .iter()
        .map(|(name, entry)| Some((ServerName::new(name).ok()?, read(entry)?)))
        .collect()
}

fn stdio(entry: &Value) -> Option<StdioServer> {
    let entry = entry.as_object()?;
    if entry.get("type").is_some_and(|kind| kind != "stdio") {
        return None;
    }
    let server = StdioServer {
        command: bounded(entry.get("command")?)?,
        args: match entry.get("args") {
            None => Vec::new(),
            Some(args) => args
                .as_array()
                .filter(|args| args.len() <= limits::ARGS)?
                .iter()
                .map(bounded)
                .collect::<Option<_>>()?,
        },
        env: match entry.get("env") {
            None => Vec::new(),
            Some(env) => env
                .as_object()
                .filter(|env| env.len() <= limits::ENV_VARS)?
                .iter()
                .map(|(name, value)| Some((env_name(name)?, bounded(value)?)))
                .collect::<Option<_>>()?,
        },
        cwd: match entry.get("cwd") {
            None => None,
            Some(cwd) => Some(bounded(cwd)?),
        },
        network: match entry.get("network") {
            None => NetworkGrant::Unsaid,
            Some(network) => NetworkGrant::of(network)?,
        },
        disabled: flag(entry)?,
    };
    let fits = launch_bytes(&server) <= limits::LAUNCH_BYTES
        && !server.command.is_empty()
        && server.cwd.as_deref() != Some("")
        && !too_deep(entry);
    fits.then_some(server)
}

fn remote(entry: &Value) -> Option<RemoteServer> {
    let entry = entry.as_object()?;
    let transport = match entry.get("type")?.as_str()? {
        "http" => RemoteTransport::Http,
        "sse" => RemoteTransport::Sse,
        _ => return None,
    };
    let url = bounded(entry.get("url")?).filter(|url| is_http_url(url))?;
    let headers = match entry.get("headers") {
        None => Vec::new(),
        Some(headers) => headers
            .as_object()
            .filter(|headers| headers.len() <= limits::ENV_VARS)?
            .iter()
            .map(|(name, value)| Some((header_name(name)?, header_value(value)?)))
            .collect::<Option<_>>()?,
    };
    (!too_deep(entry)).then_some(RemoteServer {
        transport,
        url,
        headers,
        auth: entry.get("auth").map_or(Some(RemoteAuth::None), auth)?,
        timeout_ms: entry.get("timeout_ms").map_or(Some(None), timeout)?,
        disabled: flag(entry)?,
    })
}

/// Exactly one way, with a reference.
fn auth(auth: &Value) -> Option<RemoteAuth> {
    let auth = auth.as_object().filter(|auth| auth.len() == 1)?;
    let (way, value) = auth.iter().next()?;
    match way.as_str() {
        "oauth" => CredentialId::new(value.as_str()?)
            .ok()
            .map(RemoteAuth::OAuth),
        "bearer" => secret(value).map(RemoteAuth::Bearer),
        "api_key" => {
            let value = value.as_object().filter(|fields| fields.len() == 2)?;
            Some(RemoteAuth::ApiKey {
                header: header_name(value.get("header")?.as_str()?)?,
                value: secret(value.get("value")?)?,
            })
        }
        _ => None,
    }
}

fn secret(value: &Value) -> Option<SecretName> {
    SecretName::of_placeholder(value.as_str()?)
}

/// By schema 30000.0 is a whole number too.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number within the limits"
)]
#[expect(clippy::option_option, reason = "no limit is a limit that was read")]
fn timeout(limit: &Value) -> Option<Option<u64>> {
    let limit = limit.as_f64()?;
    (limit.fract() == 0.0 && (1.0..=3_600_000.0).contains(&limit)).then_some(Some(limit as u64))
}

fn flag(entry: &Map<String, Value>) -> Option<bool> {
    match entry.get("disabled") {
        None => Some(false),
        Some(value) => value.as_bool(),
    }
}

fn bounded(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (text.len() <= limits::VALUE_BYTES && !text.contains('\0')).then(|| text.to_owned())
}

/// Whether an environment variable may have this name: no white space, no `=`, no control character.
pub fn is_env_name(name: &str) -> bool {
    let refused = |c: char| c == '=' || c == '\u{feff}' || c.is_whitespace() || c.is_control();
    !name.is_empty() && !name.contains(refused)
}

fn env_name(name: &str) -> Option<String> {
    (is_env_name(name) && name.len() <= limits::VALUE_BYTES).then(|| name.to_owned())
}

fn header_name(name: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b);
    let is_name =
        !name.is_empty() && name.len() <= limits::VALUE_BYTES && name.bytes().all(allowed);
    (is_name && !is_transport_header(name)).then(|| name.to_owned())
}

/// What a header can carry, with whole placeholders.
fn header_value(value: &Value) -> Option<String> {
    let allowed = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
    bounded(value).filter(|text| text.bytes().all(allowed) && SecretName::are_whole_in(text))
}

fn is_http_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !rest.is_empty()
        && !rest.starts_with(['/', '?', '#'])
        && rest.chars().all(|c| c > ' ')
}

/// Bytes of one packet to the launcher: each text with its end.
fn launch_bytes(server: &StdioServer) -> usize {
    let args = server.args.iter().map(|arg| arg.len() + 1);
    let env = server.env.iter().map(|(k, v)| k.len() + v.len() + 2);
    server.command.len() + 1 + args.chain(env).sum::<usize>()
}

/// Whether the file would pass the limit when written. Counts without building the text.
fn too_large(document: &Document) -> bool {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(1);
    serde_json::to_writer(&mut count, &document.0).is_err() || count.0 > limits::FILE_BYTES
}

fn across(files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (local, remote) = (
        files.local.servers().count(),
        files.remote.servers().count(),
    );
    // One file alone is counted by its schema.
    if local <= limits::SERVERS && remote <= limits::SERVERS && local + remote > limits::SERVERS {
        problems.push(Problem::new(
            SERVERS,
            format!(
                "{local} servers here and {remote} in {}; at most {} are allowed together",
                FileKind::Remote.file_name(),
                limits::SERVERS
            ),
        ));
    }
    if remote > 0 {
        for (name, _) in files.local.servers() {
            if files.remote.server(name).is_some() && problems.len() < schema::MOST_PROBLEMS {
                problems.push(Problem::new(
                    joined(SERVERS, name),
                    format!(
                        "is also in {}; a name can be in one of the two files only",
                        FileKind::Remote.file_name()
                    ),
                ));
            }
        }
    }
    problems
}

fn name_remote(problem: &mut Problem) {
    let file = FileKind::Remote.file_name();
    problem.path = if problem.path.is_empty() {
        file.to_owned()
    } else {
        format!("{file}: {}", problem.path)
    };
}

fn problems_of(kind: FileKind, document: &Document) -> Vec<Problem> {
    let mut problems = schema::problems(kind, &document.0);
    let mut told: HashSet<String> = problems.iter().map(|p| p.path.clone()).collect();
    for (name, entry) in document.servers() {
        let path = joined(SERVERS, name);
        let Some(entry) = entry.as_object() else {
            continue;
        };
        if kind == FileKind::Local && entry.contains_key("url") && !entry.contains_key("command") {
            problems.retain(|problem| !problem.path.starts_with(&format!("{path}.")));
            told.insert(path.clone());
            problems.push(Problem::new(
                path.clone(),
                format!(
                    "is a remote server (it has `url`); these belong in {}",
                    FileKind::Remote.file_name()
                ),
            ));
        }
        for problem in limits_of(kind, &path, entry) {
            // The schema can only say that the list as a whole fits no form.
            if problem.path.starts_with(&format!("{path}.network[")) {
                problems.retain(|other| other.path != format!("{path}.network"));
            }
            if problems.len() < schema::MOST_PROBLEMS && told.insert(problem.path.clone()) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() {
        // Unreachable while typed reading and schema agree, which a test holds; never accept what was not read.
        problems.push(Problem::new(SERVERS, "has an entry that cannot be read"));
    }
    problems
}

#[cfg(test)]
mod tests;
