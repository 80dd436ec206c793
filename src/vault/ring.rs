//! Keys, and the order that they are used in.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// XChaCha20-Poly1305.
pub(super) const KEY_BYTES: usize = 32;

/// More keys than this have no use.
const MOST_KEYS: usize = 16;

/// What a key is called: 1 to 32 characters of `[A-Za-z0-9_-]`. It stands in each sealed text.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// Keys by their ids; the first is the one that seals. `Debug` names the ids alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ring(Vec<(KeyId, Key)>);

/// A key, wiped from memory when it is dropped.
pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// Why keys cannot be used. Never repeats one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing is there.
    #[error("holds no key")]
    Empty,
    /// Not the form.
    #[error("has an entry (number {0}) that is not `id:key` with 32 random bytes in base64")]
    Malformed(usize),
    /// One id for two keys.
    #[error("gives two different keys the same id (entry number {0})")]
    Twice(usize),
    /// Too many.
    #[error("has more than 16 keys")]
    TooMany,
    /// The system gave no random bytes.
    #[error("cannot be made: the system gives no random bytes")]
    NoRandom,
}

impl Ring {
    /// Reads keys, separated by commas, spaces or lines: `k2:<base64>,k1:<base64>`, the first active. A key without an id
    /// is called after its fingerprint.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace());
        let entries = entries.filter(|entry| !entry.is_empty());
        let mut ring = Self::default();
        for (place, entry) in entries.enumerate() {
            let malformed = KeyError::Malformed(place + 1);
            let (id, key) = match entry.split_once(':') {
                Some((id, key)) => (Some(KeyId::new(id).ok_or(malformed)?), key),
                None => (None, entry),
            };
            let key = decoded(key).ok_or(malformed)?;
            let id = id.unwrap_or_else(|| KeyId::of(&key));
            ring.add(id, key).map_err(|()| KeyError::Twice(place + 1))?;
            if ring.0.len() > MOST_KEYS {
                return Err(KeyError::TooMany);
            }
        }
        if ring.0.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(ring)
    }

    /// Reads what a file of keys holds: text as in [`Ring::read`], or the 32 bytes themselves.
    pub fn read_file(bytes: &[u8]) -> Result<Self, KeyError> {
        let is_text = bytes
            .iter()
            .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
        if !is_text && let Ok(raw) = <[u8; KEY_BYTES]>::try_from(bytes) {
            let key = Zeroizing::new(raw);
            return Ok(Self(vec![(KeyId::of(&key), key)]));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Malformed(1))?;
        Self::read(text)
    }

    /// One fresh key.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Key::default();
        getrandom::fill(key.as_mut_slice()).map_err(|_| KeyError::NoRandom)?;
        Ok(Self(vec![(KeyId::of(&key), key)]))
    }

    /// These keys, and after them those of another ring. One id for two keys is refused.
    pub fn then(mut self, other: &Self) -> Result<Self, KeyError> {
        for (place, (id, key)) in other.0.iter().enumerate() {
            self.add(id.clone(), key.clone())
                .map_err(|()| KeyError::Twice(place + 1))?;
        }
        Ok(self)
    }

    /// The same without a key.
    #[must_use]
    pub fn without(mut self, id: &KeyId) -> Self {
        self.0.retain(|(other, _)| other != id);
        self
    }

    /// The ids, the active one first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.0.iter().map(|(id, _)| id)
    }

    /// The id of the key that seals.
    pub fn active(&self) -> Option<&KeyId> {
        self.ids().next()
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How it stands in a file of keys, which [`Ring::read`] reads.
    pub fn to_file(&self) -> Zeroizing<String> {
        // Long enough from the start: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 96));
        for (id, key) in &self.0 {
            text.push_str(&id.0);
            text.push(':');
            STANDARD.encode_string(key.as_slice(), &mut text);
            text.push('\n');
        }
        text
    }

    pub(super) fn first(&self) -> Option<(&KeyId, &Key)> {
        self.0.first().map(|(id, key)| (id, key))
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<&Key> {
        let mut keys = self.0.iter();
        keys.find(|(other, _)| other == id).map(|(_, key)| key)
    }

    fn add(&mut self, id: KeyId, key: Key) -> Result<(), ()> {
        match self.key(&id) {
            Some(known) if *known == key => Ok(()),
            Some(_) => Err(()),
            None => {
                self.0.push((id, key));
                Ok(())
            }
        }
    }
}

impl KeyId {
    /// Checks the form.
    pub fn new(text: &str) -> Option<Self> {
        let is_id = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_id.then(|| Self(text.to_owned()))
    }

    /// The fingerprint of a key: tells keys apart and says nothing of them.
    fn of(key: &Key) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"switchboard vault key id");
        hash.update(key.as_slice());
        let mut id = "f".to_owned();
        for byte in &hash.finalize()[..4] {
            use fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("no id of a key")
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// The 32 bytes of a key in any of the common alphabets, with padding or without.
fn decoded(text: &str) -> Option<Key> {
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    engines.iter().find_map(|engine| {
        let bytes = Zeroizing::new(engine.decode(text).ok()?);
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok()?;
        Some(Zeroizing::new(key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    #[test]
    fn keys_are_read_in_their_order_and_come_back_from_a_file() {
        let (one, two) = (encoded(1), encoded(2));
        for text in [
            format!("k2:{two},k1:{one}"),
            format!(" k2:{two}\n k1:{one}\n"),
            format!("k2:{},k1:{one},k2:{two}", two.trim_end_matches('=')),
        ] {
            let ring = Ring::read(&text).unwrap();
            let ids: Vec<_> = ring.ids().map(ToString::to_string).collect();
            assert_eq!(ids, ["k2", "k1"], "{text}");
            assert_eq!(Ring::read_file(ring.to_file().as_bytes()).unwrap(), ring);
        }
        let bare = Ring::read(&one).unwrap();
        let raw = Ring::read_file(&[1; KEY_BYTES]).unwrap();
        assert_eq!(bare, raw, "a key without an id is called after itself");
        assert_ne!(bare.active(), Ring::read(&two).unwrap().active());
    }

    #[test]
    fn bad_keys_are_told_by_their_place_and_never_shown() {
        let (one, two) = (encoded(1), encoded(2));
        let many: Vec<String> = (0..17).map(|n| format!("k{n}:{one}")).collect();
        let many = many.join(",");
        for (text, expected) in [
            (String::new(), KeyError::Empty),
            (" , ".to_owned(), KeyError::Empty),
            (format!("k1:{one},k1:{two}"), KeyError::Twice(2)),
            (format!("k1:{one},k 2:{two}"), KeyError::Malformed(2)),
            (format!("k1:{one},:{two}"), KeyError::Malformed(2)),
            (format!("k.1:{one}"), KeyError::Malformed(1)),
            ("k1:aHVzaA==".to_owned(), KeyError::Malformed(1)),
            ("k1:hush hush".to_owned(), KeyError::Malformed(1)),
            (format!("{one}="), KeyError::Malformed(1)),
            (many, KeyError::TooMany),
        ] {
            let error = Ring::read(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hush"));
        }
        for bytes in [
            &[0xff; 31][..],
            &[0xff; 33],
            b"not a key of the right size.....",
        ] {
            assert!(Ring::read_file(bytes).is_err());
        }
        let ring = Ring::read(&format!("k1:{one}")).unwrap();
        assert!(!format!("{ring:?}").contains(&one[..8]));
        assert!(
            ring.then(&Ring::read(&format!("k1:{two}")).unwrap())
                .is_err()
        );
    }

    #[test]
    fn each_fresh_key_is_another() {
        let (one, two) = (Ring::generate().unwrap(), Ring::generate().unwrap());
        assert_ne!(one, two);
        let both = two.clone().then(&one).unwrap();
        assert_eq!(both.active(), two.active());
        assert_eq!(both.without(two.active().unwrap()), one);
    }
}
