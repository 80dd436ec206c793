//! Keys in the address of a server that wants a login: it is asked by its whole address, and they go no further.
//!
//! What a person opens to log in is a link that stands in the chat, in a browser's history and in the logs of another
//! server. So nothing of a key is in it: a `resource` (RFC 8707) is what the server publishes, to the letter, and where that
//! is the whole address with the key, or where nothing is published, there is no login. The key is not cut out of it either:
//! tokens would be for a place of our own making.

use url::{Url, form_urlencoded};

use crate::config::Masker;
use crate::secret::Secret;

use super::discovery::Departure;
use super::http::host_of;
use super::record::Login;
use super::{Begin, OAuthError};

/// The keys of one address.
pub(super) struct Keys {
    keys: Vec<String>,
    masker: Masker,
}

impl Keys {
    /// Those of a login that begins. Refuses an address that leads elsewhere with them than without.
    pub(super) fn of(ask: &Begin) -> Result<Self, OAuthError> {
        let Some(keyed) = &ask.keyed else {
            return Ok(Self::known(&[]));
        };
        if keyed.url.origin() != ask.url.origin() {
            return Err(OAuthError::Discovery(format!(
                "the address of {} has a key where its host is",
                ask.server
            )));
        }
        Ok(Self::known(&keyed.keys))
    }

    /// Those of a login under way.
    pub(super) fn of_login(login: &Login) -> Self {
        Self::known(&login.keys)
    }

    fn known(keys: &[Secret]) -> Self {
        let given = keys.iter().map(|key| key.expose().trim().to_owned());
        let mut keys: Vec<String> = given.collect();
        let decoded: Vec<String> = keys.iter().map(|key| decoded(key)).collect();
        keys.extend(decoded);
        keys.retain(|key| !key.is_empty());
        let masker = Masker::default().and(keys.clone());
        Self { keys, masker }
    }

    /// Refuses a link that would carry a key. `asked` is the whole address.
    pub(super) fn stay(&self, departure: &Departure, asked: &Url) -> Result<(), OAuthError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let in_resource =
            Url::parse(&departure.resource).is_ok_and(|resource| self.are_in(&resource));
        let is_asked = departure.resource == asked.as_str();
        if !in_resource && !is_asked && !self.are_in(&departure.address) {
            return Ok(());
        }
        let host = host_of(asked);
        Err(OAuthError::Discovery(format!(
            "the address of this server has a key in it, and {host} names nothing without the key that a login would be for. \
             The link to log in would carry the key to others, so I did not make one. Connect the server by its address \
             without the key, or ask whoever runs it to publish a `resource` (RFC 9728) that has no key in it"
        )))
    }

    /// Whether a key is in an address: by its form, or, also a short one, as a whole part of it.
    fn are_in(&self, url: &Url) -> bool {
        // A blank is written as a plus, which may be meant as one.
        let is_key = |part: &str| {
            let part = decoded(part).replace('+', " ");
            let mut keys = self.keys.iter();
            keys.any(|key| decoded(key).replace('+', " ") == part)
        };
        self.masker.is_in(url.as_str())
            || url.query_pairs().any(|(_, value)| is_key(&value))
            || url
                .path_segments()
                .is_some_and(|mut parts| parts.any(is_key))
    }

    /// What must not come back in an answer.
    pub(super) fn hidden(&self) -> &[String] {
        &self.keys
    }

    /// A stranger's words without a key that they repeat; to be asked before they are cut.
    pub(super) fn hush(&self, text: &str) -> String {
        self.masker.mask_known(text)
    }
}

/// A part of an address as it is read there.
fn decoded(part: &str) -> String {
    let pair = format!("k={}", part.replace('&', "%26"));
    let value = form_urlencoded::parse(pair.as_bytes()).next();
    value.map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_an_address_carries_it() {
        // the key as it is kept, the address → whether it is in it
        for (key, url, expected) in [
            ("kV9x2Lm7Qw4p", "https://h.example/mcp", false),
            ("kV9x2Lm7Qw4p", "https://h.example/s/kV9x2Lm7Qw4p/mcp", true),
            (
                "kV9x2Lm7Qw4p",
                "https://a.example/?resource=https%3A%2F%2Fh%2F%3Fk%3DkV9x2Lm7Qw4p",
                true,
            ),
            (
                "kV9x%2Bab/y=",
                "https://h.example/?k=kV9x%2Bab%2Fy%3D",
                true,
            ),
            // Short ones are parts, and no mere piece of a word.
            ("abc", "https://h.example/mcp?k=abc", true),
            ("abc", "https://h.example/abc/mcp", true),
            ("abc", "https://abc.example/abcd?k=xabc", false),
        ] {
            let keys = Keys::known(&[Secret::from(key.to_owned())]);
            assert_eq!(
                keys.are_in(&Url::parse(url).unwrap()),
                expected,
                "{key} in {url}"
            );
        }
        assert!(!Keys::known(&[]).are_in(&Url::parse("https://h.example/").unwrap()));
    }
}
