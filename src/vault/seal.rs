//! Sealing and opening.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::ring::{Key, KeyId, Ring};

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;
/// Poly1305.
const TAG_BYTES: usize = 16;

/// What a sealed text is and where it belongs; it opens with just this.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a>(&'a [&'a str]);

impl<'a> Binding<'a> {
    /// Of these words, in this order: what it is, whose, its name.
    pub const fn new(words: &'a [&'a str]) -> Self {
        Self(words)
    }

    /// The additional data: version, key id and the words, each with its length, so that no two bindings are alike.
    fn data(self, id: &KeyId) -> Vec<u8> {
        let id = id.to_string();
        let head = ["switchboard vault", VERSION, &id];
        let mut data = Vec::new();
        for word in head.iter().chain(self.0) {
            data.extend_from_slice(&(word.len() as u64).to_be_bytes());
            data.extend_from_slice(word.as_bytes());
        }
        data
    }
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The ring is empty.
    #[error("there is no key to seal with")]
    NoKey,
    /// The system gave no random bytes, or the text is too long to be sealed.
    #[error("it cannot be sealed")]
    Failed,
}

/// Why a sealed text does not open. Never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It has not the form.
    #[error("it is not sealed as this version seals")]
    Malformed,
    /// Its key is not in the ring.
    #[error("it is sealed with the key `{0}`, which is not given")]
    UnknownKey(KeyId),
    /// It was changed, or belongs elsewhere.
    #[error("its seal is broken: it was changed, or moved from another place")]
    Broken,
}

impl Ring {
    /// Seals with the active key.
    pub fn seal(&self, binding: Binding<'_>, plain: &[u8]) -> Result<String, SealError> {
        let (id, key) = self.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Failed)?;
        // Long enough from the start: a buffer that grows leaves the plain text behind.
        let mut sealed = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_BYTES));
        sealed.extend_from_slice(plain);
        cipher(key)
            .encrypt_in_place(&XNonce::from(nonce), &binding.data(id), &mut *sealed)
            .map_err(|_| SealError::Failed)?;
        let mut text = format!("{VERSION}.{id}.");
        let bytes = [&nonce[..], &sealed].concat();
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        Ok(text)
    }

    /// Opens with whichever key it was sealed.
    pub fn open(
        &self,
        binding: Binding<'_>,
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (id, bytes) = parts(sealed).ok_or(OpenError::Malformed)?;
        let Some(key) = self.key(&id) else {
            return Err(OpenError::UnknownKey(id));
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(bytes)
            .map_err(|_| OpenError::Malformed)?;
        let Some((nonce, sealed)) = bytes.split_first_chunk::<NONCE_BYTES>() else {
            return Err(OpenError::Malformed);
        };
        let mut plain = Zeroizing::new(sealed.to_vec());
        cipher(key)
            .decrypt_in_place(&XNonce::from(*nonce), &binding.data(&id), &mut *plain)
            .map_err(|_| OpenError::Broken)?;
        Ok(plain)
    }

    /// Whether the active key sealed it; else it is to be sealed anew.
    pub fn is_fresh(&self, sealed: &str) -> bool {
        key_of(sealed).as_ref() == self.active()
    }
}

/// Which key a text was sealed with; `None` where it is no sealed text.
pub fn key_of(sealed: &str) -> Option<KeyId> {
    parts(sealed).map(|(id, _)| id)
}

fn parts(sealed: &str) -> Option<(KeyId, &str)> {
    let rest = sealed.strip_prefix(VERSION)?.strip_prefix('.')?;
    let (id, bytes) = rest.split_once('.')?;
    Some((KeyId::new(id)?, bytes))
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(**key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Binding<'static> = Binding::new(&["secret", "tg5", "TOKEN"]);

    fn ring() -> Ring {
        let (two, one) = (Ring::generate().unwrap(), Ring::generate().unwrap());
        two.then(&one).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place() {
        let ring = ring();
        for plain in [&b""[..], b"hush", &vec![0; 100_000]] {
            let sealed = ring.seal(HERE, plain).unwrap();
            assert!(!sealed.contains("hush"));
            assert_eq!(*ring.open(HERE, &sealed).unwrap(), plain);
            assert_eq!(key_of(&sealed).as_ref(), ring.active());
            assert_ne!(
                sealed,
                ring.seal(HERE, plain).unwrap(),
                "a nonce is used once"
            );
        }
    }

    #[test]
    fn d28_what_was_moved_or_changed_by_one_character_is_refused() {
        let ring = ring();
        let sealed = ring.seal(HERE, b"hush-hush").unwrap();
        for words in [
            &["secret", "tg6", "TOKEN"][..],
            &["secret", "tg5", "TOKEN2"],
            &["credential", "tg5", "TOKEN"],
            &["secret", "tg5T", "OKEN"],
            &["secret", "tg5", "TOKEN", ""],
            &["secret", "tg5"],
            &[],
        ] {
            let elsewhere = ring.open(Binding::new(words), &sealed);
            assert_eq!(elsewhere.unwrap_err(), OpenError::Broken, "{words:?}");
        }
        for at in 0..sealed.len() {
            for with in ["A", "B", ".", "=", ""] {
                let mut changed = sealed.clone();
                changed.replace_range(at..=at, with);
                if changed != sealed {
                    assert!(ring.open(HERE, &changed).is_err(), "{at} {with}");
                }
            }
            assert!(ring.open(HERE, &sealed[..at]).is_err());
        }
        for text in ["", "v1", "v1..", "v1.k1.", "v2.k1.AAAA", "hush-hush"] {
            assert!(ring.open(HERE, text).is_err(), "{text}");
        }
    }

    #[test]
    fn old_keys_open_and_the_first_one_seals() {
        let old = Ring::generate().unwrap();
        let sealed = old.seal(HERE, b"hush").unwrap();
        let new = Ring::generate().unwrap().then(&old).unwrap();
        assert_eq!(*new.open(HERE, &sealed).unwrap(), b"hush");
        assert!(!new.is_fresh(&sealed));
        assert!(new.is_fresh(&new.seal(HERE, b"hush").unwrap()));
        let gone = new.without(old.active().unwrap());
        let id = old.active().unwrap().clone();
        assert_eq!(gone.open(HERE, &sealed), Err(OpenError::UnknownKey(id)));
        assert_eq!(Ring::default().seal(HERE, b""), Err(SealError::NoKey));
        // The id of another key that is in the ring does not help.
        let named = sealed.replace(
            &old.active().unwrap().to_string(),
            &gone.active().unwrap().to_string(),
        );
        assert_eq!(gone.open(HERE, &named), Err(OpenError::Broken));
    }
}
