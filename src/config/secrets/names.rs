//! Which names hold secrets.

/// Names that usually hold a secret (`GITHUB_TOKEN`, `apiKey`, `Authorization`).
pub(in super::super) fn is_secret_name(name: &str) -> bool {
    let words = words_of(name);
    let Some(last) = words.last() else {
        return false;
    };
    // `TOKEN_FILE`, `AUTH_URL`, `MAX_TOKENS`: about a secret, not one.
    if words.len() > 1 && ABOUT.contains(&last.as_str()) {
        return false;
    }
    words.iter().any(|word| {
        SECRET_WORDS.contains(&word.as_str()) || SECRET_PARTS.iter().any(|part| word.contains(part))
    })
}

const SECRET_WORDS: [&str; 26] = [
    "token",
    "tokens",
    "key",
    "keys",
    "secret",
    "secrets",
    "pass",
    "pwd",
    "pw",
    "passphrase",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "cred",
    "creds",
    "cookie",
    "cookies",
    "bearer",
    "pat",
    "sig",
    "signature",
    "jwt",
    "otp",
    "pin",
    "dsn",
];
const SECRET_PARTS: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "authtoken",
    "accesstoken",
    "refreshtoken",
];
const ABOUT: [&str; 28] = [
    "file", "path", "dir", "url", "uri", "endpoint", "host", "port", "name", "type", "mode",
    "method", "limit", "count", "length", "size", "ttl", "expiry", "timeout", "enabled",
    "disabled", "provider", "server", "tokens", "format", "scheme", "issuer", "ms",
];

/// `GITHUB_TOKEN`, `apiKey`, `X-Api-Key` as words in small letters.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars().take(200) {
        if c.is_ascii_alphanumeric() {
            let new_word = words.is_empty()
                || !before.is_ascii_alphanumeric()
                || (c.is_ascii_uppercase() && !before.is_ascii_uppercase());
            if new_word {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(c.to_ascii_lowercase());
            }
        }
        before = c;
    }
    words
}
