//! What a server says of how it wants to be asked (`WWW-Authenticate`); untrusted.

use http::header::WWW_AUTHENTICATE;

use crate::registry::text::one_line;

/// The one that is meant for us, of all that it offers.
pub(super) fn first_challenge(response: &reqwest::Response) -> Option<String> {
    let all = response.headers().get_all(WWW_AUTHENTICATE);
    let texts: Vec<_> = all.iter().filter_map(|value| value.to_str().ok()).collect();
    // A server may offer several schemes; ours is Bearer.
    let bearer = |text: &str| text.trim_start().to_ascii_lowercase().starts_with("bearer");
    let first = texts.iter().find(|text| bearer(text)).or(texts.first())?;
    Some((*first).to_owned())
}

/// A parameter of a challenge, quoted or not.
pub(super) fn parameter(challenge: &str, name: &str) -> Option<String> {
    let lower = challenge.to_ascii_lowercase();
    let mut from = 0;
    while let Some(found) = lower[from..].find(name) {
        let start = from + found;
        let after = &challenge[start + name.len()..];
        let stands_alone =
            !lower[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if let Some(value) = after
            .trim_start()
            .strip_prefix('=')
            .filter(|_| stands_alone)
        {
            let value = value.trim_start();
            let text = match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => value.split([',', ' ', ';']).next(),
            };
            return text
                .filter(|text| !text.is_empty())
                .map(|text| one_line(text, 500));
        }
        from = start + name.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_quoted_or_not() {
        for (challenge, expected) in [
            (
                r#"Bearer error="insufficient_scope", scope="a b""#,
                Some("a b"),
            ),
            ("Bearer scope=a, realm=x", Some("a")),
            (r#"Bearer error_scope="no", scope = "yes""#, Some("yes")),
            (r#"Bearer error="insufficient_scope""#, None),
            ("Bearer scope", None),
        ] {
            assert_eq!(
                parameter(challenge, "scope").as_deref(),
                expected,
                "{challenge}"
            );
        }
    }
}
