//! Who logged in, by an id token's own word. It is not verified and nothing depends on it: it is shown to the person
//! before they press Finish, so that a stranger's account is noticed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::http::words;

/// Claims, the most telling first (section 5.1 of OIDC Core).
const CLAIMS: [&str; 4] = ["email", "preferred_username", "name", "sub"];

/// The account that an id token names.
pub(super) fn account(id_token: &str) -> Option<String> {
    let body = id_token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    CLAIMS
        .iter()
        .filter_map(|claim| claims.get(claim)?.as_str())
        .map(|text| words(text, 100))
        .find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_claim_is_shown_and_nothing_odd_breaks_it() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        let cases = [
            (
                token(r#"{"sub":"42","email":"ann@example.com"}"#),
                Some("ann@example.com"),
            ),
            (token(r#"{"sub":"42"}"#), Some("42")),
            (token(r#"{"email":"","sub":"a\u202eb"}"#), Some("ab")),
            (token(r#"{"sub":7}"#), None),
            (token("nonsense"), None),
            ("nonsense".to_owned(), None),
            ("a.%%%.c".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(account(&text).as_deref(), expected, "{text}");
        }
    }
}
