//! Secrets that are known, taken out of free text.

use std::ops::Range;

use serde_json::Value;

use super::RemoteServer;
use super::mask::{
    HEADER, is_headers, is_secret_name, masked_json, name_below, secret_parts, secret_parts_of_arg,
};
use super::secrets::{self, merged, spans, spans_in_prose, without};

/// Known secrets shorter than this are not searched for in free text: they would mask half of it.
const SHORTEST: usize = 6;

/// Takes the secrets of a configuration out of free text (logs, errors, tool output shown to others).
#[derive(Clone, Default)]
pub struct Masker {
    /// As they were given: each form is made of these, and none of another form.
    given: Vec<String>,
    // Longest first, so that a secret within a longer one does not leave the rest of the longer one readable.
    secrets: Vec<String>,
}

impl Masker {
    /// A masker that knows the secret values of these raw entries (env, headers, args that look secret).
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut secrets = Vec::new();
        for entry in entries {
            collect(None, entry, &mut secrets);
        }
        Self::knowing(secrets)
    }

    /// A masker for these environment values.
    pub fn of_env(env: &[(String, String)]) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in env {
            keep(value, &secret_parts(Some(name), value), &mut secrets);
        }
        Self::knowing(secrets)
    }

    /// A masker for a remote server: what is secret in its address and in its headers.
    pub fn of_remote(server: &RemoteServer) -> Self {
        let mut secrets = Vec::new();
        keep(&server.url, &spans(&server.url), &mut secrets);
        for (_, value) in &server.headers {
            keep(value, &secret_parts(Some(HEADER), value), &mut secrets);
        }
        Self::knowing(secrets)
    }

    /// The same masker that knows these secrets too (tokens, the values of placeholders).
    #[must_use]
    pub fn and(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.given.extend(secrets);
        Self::knowing(self.given)
    }

    /// Whether there is no secret to look for.
    pub fn knows_none(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Whether a known secret stands in the text, in capitals or not: hosts and media types are written small.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| text.contains(&secret.to_ascii_lowercase()))
    }

    /// The text with known secrets masked, and nothing else.
    pub fn mask_known(&self, text: &str) -> String {
        without(text, &merged(self.known(text)))
    }

    /// The same for a text that is not needed any more: without a secret in it it is not copied.
    pub fn without_known(&self, text: String) -> String {
        if self.knows_none() {
            return text;
        }
        let found = self.known(&text);
        if found.is_empty() {
            text
        } else {
            without(&text, &merged(found))
        }
    }

    /// Like [`Masker::mask`] for the beginning of a longer text, which may be cut within a secret: that piece is masked too.
    pub fn mask_beginning(&self, text: &str) -> String {
        let mut found = spans(text);
        found.extend(self.known(text));
        let begun = self.secrets.iter().filter_map(|secret| {
            // A shorter piece tells nothing, and ends many a word.
            let mut lengths = (SHORTEST / 2..secret.len().min(text.len() + 1)).rev();
            lengths.find(|len| text.as_bytes().ends_with(&secret.as_bytes()[..*len]))
        });
        if let Some(length) = begun.max() {
            let start = secrets::char_start(text, text.len() - length);
            found.push(start..text.len());
        }
        without(text, &merged(found))
    }

    /// The text with known secrets, and pieces that look like one, masked.
    pub fn mask(&self, text: &str) -> String {
        let mut found = spans_in_prose(text);
        found.extend(self.known(text));
        without(text, &merged(found))
    }

    /// A JSON value with the texts masked that are known secrets, look like one, or stand under a name of one.
    pub fn mask_json(&self, value: &Value) -> Value {
        self.masked_texts(masked_json(None, value))
    }

    fn masked_texts(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.masked_texts(item))
                .collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| (self.mask(&name), self.masked_texts(member)))
                .collect(),
            other => other,
        }
    }

    fn known(&self, text: &str) -> Vec<Range<usize>> {
        let hits = self
            .secrets
            .iter()
            .flat_map(|secret| text.match_indices(secret.as_str()));
        hits.map(|(at, hit)| at..at + hit.len()).collect()
    }

    fn knowing(given: Vec<String>) -> Self {
        let mut all = Vec::new();
        for secret in &given {
            // A log has a key of many lines one line at a time.
            all.extend(
                secret
                    .lines()
                    .skip(1)
                    .chain(secret.lines().take(1))
                    .map(|l| l.trim().to_owned()),
            );
            for text in [secret.as_str(), secret.trim()] {
                all.extend(percent_encoded(text));
                all.extend(base64_forms(text));
            }
            let json = Value::from(secret.as_str()).to_string();
            all.push(json[1..json.len() - 1].to_owned());
            all.push(secret.clone());
        }
        all.retain(|secret| secret.len() >= SHORTEST);
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self {
            given,
            secrets: all,
        }
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker([redacted])")
    }
}

fn collect(name: Option<&str>, value: &Value, secrets: &mut Vec<String>) {
    let name = if is_headers(name) && !value.is_object() {
        Some(HEADER)
    } else {
        name
    };
    match value {
        Value::String(text) => keep(text, &secret_parts(name, text), secrets),
        Value::Array(items) => {
            let mut before = None;
            for item in items {
                if let Value::String(text) = item {
                    keep(text, &secret_parts(name, text), secrets);
                    keep(text, &secret_parts_of_arg(before, text), secrets);
                    before = Some(text.as_str());
                } else {
                    before = None;
                    collect(name, item, secrets);
                }
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                collect(Some(name_below(name, key, map)), value, secrets);
            }
        }
        Value::Number(number) if name.is_some_and(is_secret_name) => {
            secrets.push(number.to_string());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn keep(text: &str, parts: &[Range<usize>], secrets: &mut Vec<String>) {
    for part in parts {
        let secret = text[part.clone()].trim();
        secrets.push(secret.to_owned());
        // `Bearer x` is written with and without its scheme.
        if let Some((_, token)) = secret.split_once(' ') {
            secrets.push(token.trim().to_owned());
        }
    }
}

/// As it stands in an address or a form: with what must be encoded, and as browsers and common libraries do it.
fn percent_encoded(text: &str) -> Vec<String> {
    let encoded = |plain: &[u8], blank: &str, small: bool| {
        use std::fmt::Write as _;
        let mut encoded = String::with_capacity(text.len());
        for b in text.bytes() {
            if b.is_ascii_alphanumeric() || plain.contains(&b) {
                encoded.push(char::from(b));
            } else if b == b' ' && !blank.is_empty() {
                encoded.push_str(blank);
            } else if small {
                let _ = write!(encoded, "%{b:02x}");
            } else {
                let _ = write!(encoded, "%{b:02X}");
            }
        }
        encoded
    };
    // RFC 3986; `encodeURIComponent`; `encodeURI`; Python's `quote`; forms (WHATWG).
    let sets: [(&[u8], &str); 5] = [
        (b"-_.~", ""),
        (b"-_.~!*'()", ""),
        (b"-_.~!*'();,/?:@&=+$#", ""),
        (b"-_.~/", ""),
        (b"-_.*", "+"),
    ];
    let forms = sets
        .iter()
        .flat_map(|(plain, blank)| [false, true].map(|small| encoded(plain, blank, small)));
    forms.collect()
}

/// In base64, by itself and within something longer (`user:token`): there it stands in one of three ways, after how many
/// bytes are before it, and what its first and last characters share with its neighbours is left out.
fn base64_forms(text: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let mut forms = vec![STANDARD.encode(text)];
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(text));
        for before in 0..3 {
            let bytes = [&[0; 3][..before], text.as_bytes()].concat();
            let encoded = engine.encode(&bytes);
            // Six bits a character: those that are its own alone.
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            forms.extend(encoded.get(own).map(str::to_owned));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RemoteAuth, RemoteTransport};

    #[test]
    fn what_a_remote_server_is_sent_is_known_and_names_of_secrets_are_not() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let server = RemoteServer {
            transport: RemoteTransport::Http,
            url: "https://h.example/mcp?token=in-the-url".to_owned(),
            headers: vec![
                header("X-Tenant", "acme-corp-7"),
                header("Authorization", "Bearer in-a-header"),
                header("X-Key", "prefix-${secret:KEY}"),
            ],
            auth: RemoteAuth::None,
            timeout_ms: None,
            disabled: false,
        };
        let masker = Masker::of_remote(&server).and(["its true value".to_owned()]);
        let text =
            "in-the-url acme-corp-7 in-a-header prefix- its true value ${secret:KEY} h.example";
        assert_eq!(
            masker.mask_known(text),
            "•••• •••• •••• •••• •••• ${secret:KEY} h.example"
        );
        // A value without its scheme, and one that was sent within an address.
        assert_eq!(masker.mask_known("got its%20true%20value"), "got ••••");
    }

    #[test]
    fn d33_a_known_secret_is_found_in_base64_and_percent_encoded() {
        use base64::Engine as _;
        use base64::engine::general_purpose as engines;
        let secret = "s3cr/t~+ ü?&=canary>>";
        let masker = Masker::default().and([secret.to_owned()]);
        let gone = |text: &str| {
            let shown = masker.mask_known(text);
            assert!(shown.contains("••••"), "{text}: {shown}");
            shown
        };
        for before in ["", "u", "me", "user:", "a longer one: "] {
            for after in ["", "!", "\"}", " and more"] {
                let whole = format!("{before}{secret}{after}");
                for encoded in [
                    engines::STANDARD.encode(&whole),
                    engines::STANDARD_NO_PAD.encode(&whole),
                    engines::URL_SAFE.encode(&whole),
                    engines::URL_SAFE_NO_PAD.encode(&whole),
                ] {
                    let shown = gone(&format!("got {encoded} back"));
                    // What is left shares its bits with what stands around the secret.
                    let left = shown.replace("••••", "");
                    let around = before.len() + after.len() + 2;
                    assert!(
                        left.len() <= "got  back".len() + around * 4 / 3 + 4,
                        "{shown}"
                    );
                }
            }
        }
        for encoded in [
            "s3cr%2Ft~%2B%20%C3%BC%3F%26%3Dcanary%3E%3E",
            "s3cr%2ft~%2b%20%c3%bc%3f%26%3dcanary%3e%3e",
            "s3cr%2Ft%7E%2B+%C3%BC%3F%26%3Dcanary%3E%3E",
            "s3cr/t~+%20%C3%BC?&=canary%3E%3E",
            "s3cr/t~%2B%20%C3%BC%3F%26%3Dcanary%3E%3E",
        ] {
            assert_eq!(gone(&format!("a={encoded}&b")), "a=••••&b");
        }
    }
}
