//! Random texts and the names that are made of them: what is secret is random, what names a file is its hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::LoginId;

/// 256 random bits, fit for a URL and a cookie. `None` where the system has no randomness: then nothing may go on.
pub(super) fn token() -> Option<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// The login that a `state` belongs to. The id stands in buttons and in file names and does not lead back.
pub(super) fn login_of(state: &str) -> LoginId {
    LoginId(hash("login", &[state]))
}

/// 128 bits of a hash in hexadecimal: a name for a file on any disk, or what is kept in place of a secret that is only
/// ever compared.
pub(super) fn hash(purpose: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(purpose);
    for part in parts {
        // The length keeps two lists of parts apart that join to the same text.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .take(16)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_tell_purposes_and_parts_apart() {
        let names = [
            hash("a", &["bc"]),
            hash("a", &["b", "c"]),
            hash("ab", &["c"]),
            hash("b", &["bc"]),
        ];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 32);
            assert!(name.bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(!names[..at].contains(name), "{name} came twice");
        }
    }

    #[test]
    fn tokens_have_256_bits_and_differ() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert_eq!(URL_SAFE_NO_PAD.decode(&one).unwrap().len(), 32);
        assert_ne!(one, two);
    }
}
