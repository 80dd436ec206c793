//! One file, verbatim: JSON that parsed, with everything that its author wrote in its order.

use serde_json::{Map, Value};

use sha2::{Digest, Sha256};

use super::{ConfigError, ThreadConfig, check, limits, parse};

/// The field that holds the servers.
pub(super) const SERVERS: &str = "mcpServers";

/// Which of a thread's two files.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// `mcp.json`: servers that run here.
    Local,
    /// `mcp_remote.json`: servers reached over the network.
    Remote,
}

impl FileKind {
    /// The file's name in the thread's folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Local => "mcp.json",
            Self::Remote => "mcp_remote.json",
        }
    }
}

/// A configuration file that parsed as a JSON object; not yet checked. Keeps order and unknown fields.
///
/// `Debug` shows the names of the servers and no value.
#[derive(Clone, Default, PartialEq)]
pub struct Document(pub(super) Map<String, Value>);

impl Document {
    /// Reads a file's bytes. An empty or missing file is an empty document.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = parse::text_of(bytes)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        parse::object(text).map(Self)
    }

    /// The file's text: pretty-printed with two spaces and a final line end; a document without `mcpServers` is written
    /// with an empty one. Where that would pass the limit of a file, it is written without blanks.
    pub fn to_text(&self) -> String {
        let mut text = if self.0.contains_key(SERVERS) {
            pretty(&self.0)
        } else {
            let mut fields = self.0.clone();
            fields.insert(SERVERS.to_owned(), Value::Object(Map::new()));
            pretty(&fields)
        };
        if text.len() >= limits::FILE_BYTES
            && let Ok(compact) = serde_json::to_string(&self.0)
        {
            text = compact;
        }
        text.push('\n');
        text
    }

    /// The raw entries below `mcpServers`, in their order; none where it is missing or not an object.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .get(SERVERS)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The raw entry of a server.
    pub fn server(&self, name: &str) -> Option<&Value> {
        self.0.get(SERVERS)?.as_object()?.get(name)
    }

    /// The fields beside `mcpServers`, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .filter(|(name, _)| *name != SERVERS)
            .map(|(name, value)| (name.as_str(), value))
    }
}

/// Both files of a thread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Files {
    /// `mcp.json`.
    pub local: Document,
    /// `mcp_remote.json`.
    pub remote: Document,
}

impl Files {
    /// One of the two.
    pub fn get(&self, kind: FileKind) -> &Document {
        match kind {
            FileKind::Local => &self.local,
            FileKind::Remote => &self.remote,
        }
    }

    pub(super) fn get_mut(&mut self, kind: FileKind) -> &mut Document {
        match kind {
            FileKind::Local => &mut self.local,
            FileKind::Remote => &mut self.remote,
        }
    }

    /// Checks both against schemas and limits, and that no name is in both. Every problem at once, the paths of the
    /// second file prefixed with its name (`mcp_remote.json: mcpServers.x.url: …`).
    pub fn check(&self) -> Result<ThreadConfig, ConfigError> {
        check::check(self)
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.servers().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

fn pretty(fields: &Map<String, Value>) -> String {
    // Writing a map with text keys to memory cannot fail.
    serde_json::to_string_pretty(fields).unwrap_or_default()
}

/// A content hash of both files' bytes; it travels the whole ring from a commit to the tools' report.
///
/// Shown and stored as 32 hexadecimal digits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Revision([u8; 16]);

impl Revision {
    /// The revision of two files' bytes; a missing file is `None`, which differs from an empty one.
    pub fn of(local: Option<&[u8]>, remote: Option<&[u8]>) -> Self {
        let mut hash = Sha256::new();
        for file in [local, remote] {
            // Presence and length go first, so that no two pairs of files give the same input.
            match file {
                None => hash.update([0]),
                Some(bytes) => {
                    hash.update([1]);
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
            }
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Self(short)
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a revision")]
pub struct RevisionError;

impl TryFrom<String> for Revision {
    type Error = RevisionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(RevisionError);
        }
        let number = u128::from_str_radix(&text, 16).map_err(|_| RevisionError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}

#[cfg(test)]
mod tests;
