//! One line of the audit, and what chains it to the one before.
//!
//! The hash is SHA-256 over the bytes of the line as it would stand without its hash, so whoever verifies needs no second
//! way of writing JSON: `{"n":…,"at_ms":…,"prev":…,…` and `}` are hashed, and `,"hash":"…"` is put before the brace.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::audit::Entry;

/// A line is shorter than this; of a longer one the texts are cut.
pub(super) const LINE_BYTES: usize = 16 * 1024;
/// Characters that the texts of such a line are cut to, and the members that its lists are.
const CUT_CHARS: usize = 200;
const CUT_MEMBERS: usize = 32;

/// What stands before the first line.
pub(super) const ORIGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its number, from 1.
    pub(super) n: u64,
    /// Its hash, hex.
    pub(super) hash: String,
}

/// A line as it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Noted {
    /// Its number, from 1.
    pub n: u64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Who, and what.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says of its place.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) n: u64,
    pub(super) prev: String,
    pub(super) hash: String,
}

#[derive(Serialize)]
struct Body<'a, T> {
    n: u64,
    at_ms: i64,
    prev: &'a str,
    #[serde(flatten)]
    entry: &'a T,
}

impl Mark {
    /// Where a chain begins.
    pub(super) fn origin() -> Self {
        Self {
            n: 0,
            hash: ORIGIN.to_owned(),
        }
    }

    /// The line that follows, appended to `text` with its newline; this mark is that line's then.
    pub(super) fn write(
        &mut self,
        at_ms: i64,
        entry: &Entry,
        text: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (n, prev) = (self.n + 1, self.hash.as_str());
        let mut body = serde_json::to_vec(&Body {
            n,
            at_ms,
            prev,
            entry,
        })?;
        if body.len() > LINE_BYTES {
            let entry = &cut(serde_json::to_value(entry)?);
            body = serde_json::to_vec(&Body {
                n,
                at_ms,
                prev,
                entry,
            })?;
        }
        let hash = hash(&body);
        body.pop();
        text.extend_from_slice(&body);
        text.extend_from_slice(format!(",\"hash\":\"{hash}\"}}\n").as_bytes());
        *self = Self { n, hash };
        Ok(())
    }
}

impl Place {
    /// Reads a line without its newline; `None` where it is none.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn mark(self) -> Mark {
        Mark {
            n: self.n,
            hash: self.hash,
        }
    }
}

/// Whether the line (without its newline) is what its hash was made of.
pub(super) fn is_unchanged(line: &[u8], told: &str) -> bool {
    let end = format!(",\"hash\":\"{told}\"}}");
    let Some(body) = line.strip_suffix(end.as_bytes()) else {
        return false;
    };
    let mut hasher = Sha256::new();
    hasher.update(body);
    hasher.update(b"}");
    hex(&hasher.finalize()) == told
}

/// SHA-256, hex.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The same with short texts and lists.
fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().nth(CUT_CHARS).is_some() => {
            let head: String = text.chars().take(CUT_CHARS).collect();
            Value::String(head + "…")
        }
        Value::Array(items) => items.into_iter().take(CUT_MEMBERS).map(cut).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, cut(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::{Actor, ActorId};
    use crate::audit::What;

    fn entry(title: &str) -> Entry {
        let ann = Actor {
            id: ActorId("tg:1".to_owned()),
            name: "Ann \"A\" ,\"hash\":\"x\"}".to_owned(),
        };
        Entry::by(
            &ann,
            What::Changed {
                title: title.to_owned(),
                servers: vec!["one".to_owned()],
                history: None,
            },
        )
    }

    #[test]
    fn a_line_says_what_it_was_and_each_changed_byte_of_it_is_noticed() {
        let (mut mark, mut text) = (Mark::origin(), Vec::new());
        mark.write(7, &entry("add one"), &mut text).unwrap();
        let line = text.strip_suffix(b"\n").unwrap();
        let place = Place::of(line).unwrap();
        assert_eq!((place.n, place.prev.as_str()), (1, ORIGIN));
        assert_eq!(place.hash, mark.hash);
        let noted: Noted = serde_json::from_slice(line).unwrap();
        assert_eq!((noted.at_ms, noted.entry), (7, entry("add one")));
        assert!(is_unchanged(line, &mark.hash));
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            let told = Place::of(&changed).map(|place| place.hash);
            assert!(
                told.is_none_or(|told| !is_unchanged(&changed, &told)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_line_is_bounded_whatever_it_is_about() {
        let (mut mark, mut text) = (Mark::origin(), Vec::new());
        mark.write(7, &entry(&"é".repeat(100_000)), &mut text)
            .unwrap();
        assert!(text.len() < LINE_BYTES);
        assert!(is_unchanged(text.strip_suffix(b"\n").unwrap(), &mark.hash));
    }
}
