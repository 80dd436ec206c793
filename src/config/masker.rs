//! Secrets that are known, taken out of free text.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use self::finder::{Finder, SHORTEST};
use super::mask::{
    HEADER, is_headers, is_secret_name, masked_json, name_below, secret_parts, secret_parts_of_arg,
};
use super::secrets::{self, merged, spans_in_prose, without};

mod finder;

/// What the ways to write secrets down may take, each with something for itself: a vault of large ones has many.
const FORM_BYTES: usize = 2 * 1024 * 1024;
const FORM_ITSELF: usize = 64;

/// A shorter word is as likely one of ours: `a` stands in half of our sentences.
const TOLD_ALONE: usize = 3;

/// At least so much of the end of a text that is cut is not shown.
const LEAST_REACH: usize = 1024;

/// Takes the secrets of a configuration out of free text (logs, errors, tool output shown to others).
#[derive(Clone, Default)]
pub struct Masker {
    /// As they were given: each form is made of these, and none of another form.
    given: Vec<String>,
    /// Finds them and the forms they are written in. Known secrets shorter than [`SHORTEST`] are not searched for in free
    /// text: they would mask half of it.
    finder: Arc<Finder>,
}

impl Masker {
    /// A masker that knows what any of these knows.
    pub fn of_all<'a>(maskers: impl IntoIterator<Item = &'a Self>) -> Self {
        let given = maskers.into_iter().flat_map(|masker| masker.given.clone());
        let mut given: Vec<String> = given.collect();
        given.sort_unstable();
        given.dedup();
        Self::knowing(given)
    }

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

    /// The same masker that knows these secrets too (tokens, the values of placeholders).
    #[must_use]
    pub fn and(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.given.extend(secrets);
        Self::knowing(self.given)
    }

    /// Whether there is no secret to look for.
    pub fn knows_none(&self) -> bool {
        self.finder.longest() == 0
    }

    /// Whether a secret is known, also one that is too short to be looked for.
    pub fn knows_any(&self) -> bool {
        !self.given.is_empty()
    }

    /// Like [`Masker::mask_known`] for the answer to whoever just typed the secrets: also one that is too short to be looked
    /// for elsewhere is masked where it stands as a word, and one of one or two characters where something is quoted.
    pub fn mask_typed(&self, text: &str, is_quoted: bool) -> String {
        let mut found = self.known(text);
        let short = self.given.iter().map(|secret| secret.trim());
        for secret in short.filter(|secret| !secret.is_empty() && secret.len() < SHORTEST) {
            if is_quoted || secret.chars().count() >= TOLD_ALONE {
                found.extend(words_in(text, secret));
            }
        }
        without(text, &merged(found))
    }

    /// Whether a known secret stands in the text, in capitals or not: hosts and media types are written small.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut secrets = self.finder.patterns().filter(|s| s.len() <= text.len());
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

    /// Bytes before the end of a text that is cut in which a known secret may have begun: as many as the longest way to
    /// write one has, rounded up, for it tells of the secrets of others.
    pub fn reach(&self) -> usize {
        match self.finder.longest() {
            0 => 0,
            // A character that is cut may be written as a longer one.
            longest => (longest + 4).next_power_of_two().max(LEAST_REACH),
        }
    }

    /// Like [`Masker::mask`] for the beginning of a longer text, which may be cut within a secret: the last
    /// [`Masker::reach`] bytes are left out whatever they are. To hide them only where a secret begins there would tell
    /// whoever wrote the text whether a guess of that beginning is right.
    pub fn mask_beginning(&self, text: &str) -> String {
        let mut end = secrets::char_start(text, text.len().saturating_sub(self.reach()));
        let mut found = spans_in_prose(text);
        found.extend(self.known(text));
        let mut found = merged(found);
        found.retain(|span| span.start < end);
        if let Some(last) = found.last() {
            end = end.max(last.end);
        }
        without(&text[..end], &found)
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
        self.finder.find(text)
    }

    fn knowing(mut given: Vec<String>) -> Self {
        given.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        given.dedup();
        let mut all = given.clone();
        for secret in &given {
            // A log has a key of many lines one line at a time.
            all.extend(secret.lines().map(|line| line.trim().to_owned()));
        }
        // The large ones come last and may stay without a form: nobody else's has less for it.
        let mut left = FORM_BYTES;
        let mut take = |form: String| {
            let size = form.len() + FORM_ITSELF;
            left = left.saturating_sub(size);
            if left > 0 {
                all.push(form);
            }
            left > 0
        };
        let long_enough = |secret: &&String| secret.trim().len() >= SHORTEST / 2;
        let _ = given.iter().filter(long_enough).all(|secret| {
            let json = Value::from(secret.as_str()).to_string();
            let json = &json[1..json.len() - 1];
            json == secret || take(json.to_owned())
        }) && given.iter().filter(long_enough).all(|secret| {
            let trimmed = Some(secret.trim()).filter(|trimmed| trimmed != secret);
            let mut texts = [Some(secret.as_str()), trimmed].into_iter().flatten();
            texts.all(|text| {
                let mut forms = base64_forms(text);
                forms.extend(percent_encoded(text));
                forms.sort_unstable();
                forms.dedup();
                forms.into_iter().all(|form| form == text || take(form))
            })
        });
        Self {
            given,
            finder: Arc::new(Finder::new(all)),
        }
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker([redacted])")
    }
}

/// Where a text stands with no letter, digit or underscore beside it.
fn words_in<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).filter_map(move |(at, _)| {
        let end = at + word.len();
        let is_alone = !text[..at].ends_with(is_part) && !text[end..].starts_with(is_part);
        is_alone.then_some(at..end)
    })
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
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_remote_server_is_sent_is_known_and_names_of_secrets_are_not() {
        let entry = json!({
            "url": "https://h.example/mcp?token=in-the-url",
            "headers": {
                "X-Tenant": "acme-corp-7",
                "Authorization": "Bearer in-a-header",
                "X-Key": "prefix-${secret:KEY}",
            },
        });
        let masker = Masker::of([&entry]).and(["its true value".to_owned()]);
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
    fn what_was_just_typed_is_masked_at_any_length_and_our_own_words_are_not() {
        // the secret, the text, whether it is quoted → what is shown
        for (secret, text, is_quoted, shown) in [
            (
                "q7z",
                "opened at `\"q7z` and",
                false,
                "opened at `\"••••` and",
            ),
            ("q7z", "q7zz xq7z q7z_ q7z", false, "q7zz xq7z q7z_ ••••"),
            ("a", "send a key", false, "send a key"),
            ("a", "--bearer a", true, "--bearer ••••"),
            ("ü5", "ü5 ü5ü", true, "•••• ü5ü"),
            ("long-enough", "xlong-enoughx", false, "x••••x"),
            ("", "all of it", true, "all of it"),
        ] {
            let masker = Masker::default().and([secret.to_owned()]);
            assert_eq!(masker.mask_typed(text, is_quoted), shown, "{secret}");
        }
    }

    #[test]
    fn many_secrets_are_found_like_few() {
        let secrets: Vec<String> = (0..40).map(|nth| format!("hush-{nth:02}-hush")).collect();
        let each = |secret: &String| Masker::default().and([secret.clone()]);
        let alone: Vec<Masker> = secrets.iter().map(each).collect();
        let all = Masker::of_all(&alone);
        for text in [
            "x hush-00-hush y hush-39-hush z".to_owned(),
            "hush-01-hush-02-hush".to_owned(),
            "aHVzaC0wMy1odXNo".to_owned(),
            "nothing of it: hush-4".to_owned(),
        ] {
            let mut expected: Vec<_> = alone.iter().flat_map(|one| one.known(&text)).collect();
            expected = merged(expected);
            assert_eq!(all.mask_known(&text), without(&text, &expected), "{text}");
        }
    }

    fn looked_for(masker: &Masker) -> usize {
        masker.finder.patterns().map(String::len).sum()
    }

    #[test]
    fn large_secrets_take_bounded_memory_and_small_ones_keep_their_forms() {
        let large = |nth: u8| {
            char::from(b'!' + nth % 15)
                .to_string()
                .repeat(15_900 + usize::from(nth))
        };
        for count in [6, 255] {
            let secrets: Vec<String> = (0..count).map(large).collect();
            let given: usize = secrets.iter().map(String::len).sum();
            let masker =
                Masker::default().and(secrets.iter().cloned().chain(["small one".to_owned()]));
            let bytes = looked_for(&masker);
            assert!(
                bytes <= given + FORM_BYTES + 100,
                "{count}: {bytes} of {given}"
            );
            assert_eq!(masker.mask_known("a small%20one"), "a ••••");
            let last = secrets.last().unwrap();
            assert_eq!(
                masker.mask_known(&format!("see {last} now")),
                "see •••• now"
            );
        }
        // Nothing but short lines: many patterns, and no more bytes than the secrets have.
        let lines = |nth: usize| {
            let lines: Vec<_> = (0..2000)
                .map(|line| format!("{nth:03}{line:04}\n"))
                .collect();
            lines.concat()
        };
        let masker = Masker::default().and((0..256).map(lines));
        assert!(looked_for(&masker) <= 2 * 256 * 16_000 + FORM_BYTES);
        assert_eq!(masker.mask_known("see 2551999."), "see ••••.");
    }

    #[test]
    fn every_secret_of_many_servers_keeps_its_forms() {
        let secret = |nth: usize| format!("{nth:04}{}", "?b=/".repeat(9));
        let masker = Masker::default().and((0..256).map(secret));
        for nth in 0..256 {
            for form in percent_encoded(&secret(nth)) {
                assert_eq!(masker.mask_known(&form), "••••", "{form}");
            }
        }
        assert!(looked_for(&masker) < FORM_BYTES / 2);
    }

    #[test]
    fn a_key_of_many_lines_is_found_in_every_form() {
        use base64::Engine as _;
        let line = |nth: usize| format!("{nth:02}{}\n", "aB+/".repeat(15));
        let body: String = (0..52).map(line).collect();
        let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
        assert!(key.len() > 3300);
        let masker = Masker::default().and([key.clone()]);
        let json = Value::from(key.as_str()).to_string();
        for text in [
            key.clone(),
            json[1..json.len() - 1].to_owned(),
            base64::engine::general_purpose::STANDARD.encode(&key),
            percent_encoded(&key)[1].clone(),
            line(17).trim().to_owned(),
        ] {
            assert_eq!(
                masker.mask_known(&format!("see {text} now")),
                "see •••• now"
            );
        }
    }

    #[test]
    fn what_is_shown_of_a_cut_text_tells_nothing_of_a_part_of_a_secret() {
        let secret = "hunter22-and-more";
        let masker = Masker::default().and([secret.to_owned()]);
        let lead = "see this ".repeat(300);
        let expected = masker.mask_beginning(&format!("{lead}{}", "#".repeat(secret.len())));
        assert!(expected.starts_with("see this see"));
        for length in 0..secret.len() {
            let part = &secret[..length];
            let other = format!("{}{}", part, "#".repeat(secret.len() - length));
            let filled = format!("{}{}", "#".repeat(secret.len() - length), part);
            for guess in [other, filled] {
                assert_eq!(
                    masker.mask_beginning(&format!("{lead}{guess}")),
                    expected,
                    "{guess}"
                );
            }
        }
        // A whole one over the place where it ends is masked, and shows nothing behind it.
        let at = lead.len() - masker.reach() - 5;
        let text = format!("{}{secret}{lead}", &lead[..at]);
        let text = &text[..at + 5 + masker.reach()];
        assert_eq!(masker.mask_beginning(text), format!("{}••••", &lead[..at]));
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
