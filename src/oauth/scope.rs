//! Rights in words: what the common scopes mean.

/// What a scope lets a program do, where that is known.
#[must_use]
pub fn scope_words(scope: &str) -> Option<&'static str> {
    Some(match scope {
        "openid" => "who you are",
        "profile" => "your name and picture",
        "email" => "your email address",
        "offline_access" => "staying logged in",
        "read" => "reading",
        "write" => "writing",
        _ => return None,
    })
}
