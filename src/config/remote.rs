//! Servers reached over the network: what the schema and the limits let through, typed, and what somebody agreed to.
//!
//! A secret never stands here, only its name; what it is is kept outside the files.

use std::fmt;

use super::secrets::{spans, without};

/// How a remote server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteTransport {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of MCP 2024-11-05.
    Sse,
}

/// A server reached over the network.
///
/// `Debug` masks the address and leaves out the headers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteServer {
    /// How.
    pub transport: RemoteTransport,
    /// Where; its path and its query may have `${secret:NAME}` in them.
    pub url: String,
    /// Headers of each request; a value may have `${secret:NAME}` in it.
    pub headers: Vec<(String, String)>,
    /// How the bot proves who it is.
    pub auth: RemoteAuth,
    /// A call's deadline without progress, in milliseconds; the bot's own where `None`.
    pub timeout_ms: Option<u64>,
    /// It is kept but not connected.
    pub disabled: bool,
}

/// How the bot proves who it is; a reference and never the secret itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum RemoteAuth {
    /// Not at all.
    #[default]
    None,
    /// By a login; the tokens are kept under this id.
    OAuth(CredentialId),
    /// By `Authorization: Bearer …`, with the value of a secret of this name.
    Bearer(SecretName),
    /// By a header of its own.
    ApiKey {
        /// The header.
        header: String,
        /// The name of the secret that is its value.
        value: SecretName,
    },
}

/// Under which tokens are kept: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialId(String);

/// The name of a secret of the thread: 1 to 64 characters of `[A-Za-z0-9._-]`. In the files it is `${secret:NAME}`.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// The text has not the form of such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has 1 to 64 letters, digits, `.`, `_` and `-`")]
pub struct BadId;

/// What somebody agreed to when a remote server was connected; kept outside the files. An entry that says something else
/// is not connected.
///
/// `Debug` masks the address.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Approval {
    /// The address, as it stands in the file.
    pub url: String,
    /// `http` or `sse`.
    pub transport: String,
    /// Names of the headers, in lower case, sorted.
    pub headers: Vec<String>,
    /// Names of the secrets in the address and in the headers' values, sorted: another value is no other agreement, another
    /// secret is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// The way of login with its reference: `none`, `oauth:ID`, `bearer:NAME`, `api_key:HEADER:NAME`.
    pub auth: String,
}

impl RemoteServer {
    /// What is agreed to when this server is connected.
    pub fn approval(&self) -> Approval {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        headers.sort_unstable();
        let mut secrets = self.written_secrets();
        secrets.sort_unstable();
        secrets.dedup();
        Approval {
            url: self.url.clone(),
            transport: self.transport.name().to_owned(),
            headers,
            secrets,
            auth: match &self.auth {
                RemoteAuth::None => "none".to_owned(),
                RemoteAuth::OAuth(id) => format!("oauth:{id}"),
                RemoteAuth::Bearer(name) => format!("bearer:{name}"),
                RemoteAuth::ApiKey { header, value } => {
                    format!("api_key:{}:{value}", header.to_ascii_lowercase())
                }
            },
        }
    }

    /// The names of the secrets that it needs, in its address, in its headers and for its login, each once.
    pub fn secret_names(&self) -> Vec<SecretName> {
        let mut names = self.named_secrets();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same as they stand there, one perhaps twice: those of its address and its headers, then the login's.
    pub fn named_secrets(&self) -> Vec<SecretName> {
        let mut names = self.written_secrets();
        names.extend(self.auth.secret().cloned());
        names
    }

    /// The placeholders in the address and in the headers' values.
    fn written_secrets(&self) -> Vec<SecretName> {
        let values = self.headers.iter().map(|(_, value)| value);
        let texts = std::iter::once(&self.url).chain(values);
        let all = texts.flat_map(|text| SecretName::all_in(text));
        all.map(|(_, name)| name).collect()
    }
}

impl RemoteAuth {
    /// The secret that proves who the bot is, where it is one that a person gave.
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Bearer(name) | Self::ApiKey { value: name, .. } => Some(name),
            Self::None | Self::OAuth(_) => None,
        }
    }
}

impl Approval {
    /// Whether it was agreed that this secret is sent there.
    pub fn sends(&self, secret: &SecretName) -> bool {
        let of_login = match self.auth.split_once(':') {
            Some(("bearer", name)) => Some(name),
            // A header's name has no colon.
            Some(("api_key", rest)) => rest.split_once(':').map(|(_, name)| name),
            _ => None,
        };
        of_login == Some(secret.as_str()) || self.secrets.contains(secret)
    }
}

impl RemoteTransport {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
        }
    }
}

impl CredentialId {
    /// Checks the form.
    pub fn new(text: &str) -> Result<Self, BadId> {
        let is_id = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_id.then(|| Self(text.to_owned())).ok_or(BadId)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SecretName {
    /// How a placeholder begins.
    const BEGINS: &str = "${secret:";

    /// Checks the form.
    pub fn new(text: &str) -> Result<Self, BadId> {
        let is_name = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        is_name.then(|| Self(text.to_owned())).ok_or(BadId)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How it stands in the files: `${secret:NAME}`.
    pub fn placeholder(&self) -> String {
        format!("{}{}}}", Self::BEGINS, self.0)
    }

    /// The name in a text that is one placeholder and nothing else.
    pub fn of_placeholder(text: &str) -> Option<Self> {
        let name = text.strip_prefix(Self::BEGINS)?.strip_suffix('}')?;
        Self::new(name).ok()
    }

    /// The placeholders in a text, with their places.
    pub fn all_in(text: &str) -> Vec<(std::ops::Range<usize>, Self)> {
        let begins = text.match_indices(Self::BEGINS);
        let found = begins.filter_map(|(at, _)| {
            let end = at + text[at..].find('}')? + 1;
            Some((at..end, Self::of_placeholder(&text[at..end])?))
        });
        found.collect()
    }

    /// Whether each placeholder that begins in the text is a whole one.
    pub(super) fn are_whole_in(text: &str) -> bool {
        Self::all_in(text).len() == text.matches(Self::BEGINS).count()
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CredentialId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        Self::new(&text)
    }
}

impl TryFrom<String> for SecretName {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        Self::new(&text)
    }
}

impl From<CredentialId> for String {
    fn from(id: CredentialId) -> Self {
        id.0
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServer")
            .field("url", &without(&self.url, &spans(&self.url)))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approval")
            .field("url", &without(&self.url, &spans(&self.url)))
            .field("transport", &self.transport)
            .field("headers", &self.headers)
            .field("secrets", &self.secrets)
            .field("auth", &self.auth)
            .finish()
    }
}

/// Whether the connection itself sets a header of this name, so that nobody else can.
pub(super) fn is_transport_header(name: &str) -> bool {
    TRANSPORT_HEADERS
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Of HTTP (RFC 9110, RFC 9112) and of MCP's transports; the published schema has them too, and a test holds both together.
pub(super) const TRANSPORT_HEADERS: [&str; 19] = [
    "Host",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Accept",
    "Accept-Encoding",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Transfer-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Last-Event-ID",
    "Mcp-Session-Id",
    "Mcp-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_where_they_are_whole() {
        for (text, names, whole) in [
            ("plain", &[][..], true),
            ("${secret:A}", &["A"], true),
            (
                "Bearer ${secret:a.b-c} x ${secret:D}",
                &["a.b-c", "D"],
                true,
            ),
            ("${secret:A B} ${secret:C}", &["C"], false),
            ("${secret:}", &[], false),
            ("${secret:A", &[], false),
            ("${secret:${secret:A}}", &["A"], false),
            ("${other:A} $secret:A", &[], true),
        ] {
            let found = SecretName::all_in(text);
            let found: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
            assert_eq!(found, names, "{text}");
            assert_eq!(SecretName::are_whole_in(text), whole, "{text}");
        }
    }

    type Deed = fn(&mut RemoteServer);

    #[test]
    fn an_agreement_ends_with_each_change_that_matters() {
        let base = RemoteServer {
            transport: RemoteTransport::Http,
            url: "https://a.example/mcp".to_owned(),
            headers: vec![("X-Team".to_owned(), "blue".to_owned())],
            auth: RemoteAuth::None,
            timeout_ms: None,
            disabled: false,
        };
        let deeds: [(Deed, bool); 10] = [
            (|s| s.url.push('/'), false),
            (|s| s.transport = RemoteTransport::Sse, false),
            (|s| s.headers.clear(), false),
            (|s| s.headers[0].0 = "X-Other".to_owned(), false),
            (
                |s| s.auth = RemoteAuth::OAuth(CredentialId::new("a").unwrap()),
                false,
            ),
            (|s| s.headers[0].0 = "x-team".to_owned(), true),
            (|s| s.headers[0].1 = "red".to_owned(), true),
            (
                |s| s.headers[0].1 = "${secret:OTHER_TOKEN}".to_owned(),
                false,
            ),
            (|s| s.timeout_ms = Some(5), true),
            (|s| s.disabled = true, true),
        ];
        for (nth, (deed, stays)) in deeds.into_iter().enumerate() {
            let mut other = base.clone();
            deed(&mut other);
            assert_eq!(other.approval() == base.approval(), stays, "{nth}");
        }
    }
}
