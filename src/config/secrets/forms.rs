//! Secrets told by their own form: private keys, tokens with a known prefix, long random pieces.

use std::ops::Range;

use super::char_start;

/// Adds what is found.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    private_keys(text, found);
    telegram_tokens(text, found);
    webhooks(text, found);
    runs(text, found);
}

fn private_keys(text: &str, found: &mut Vec<Range<usize>>) {
    let mut behind = 0;
    for (at, _) in text.match_indices("-----BEGIN ") {
        let rest = &text[at..];
        let label = &rest[..char_start(rest, 64)];
        if at < behind || !label.contains("PRIVATE KEY") {
            continue;
        }
        let end =
            rest.find("-----END ")
                .map_or(rest.len(), |end| match rest[end + 9..].find("-----") {
                    Some(dashes) => end + 9 + dashes + 5,
                    None => rest.len(),
                });
        behind = at + end;
        found.push(at..behind);
    }
}

/// A Telegram bot token: `123456789:AA…`.
fn telegram_tokens(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices(':') {
        let digits = bytes[..at]
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let body = bytes[at + 1..].iter().take_while(|b| is_body(**b)).count();
        if (6..=12).contains(&digits) && (30..=64).contains(&body) {
            found.push(at - digits..at + 1 + body);
        }
    }
}

/// Addresses whose path is the secret: whoever has a webhook's may write.
fn webhooks(text: &str, found: &mut Vec<Range<usize>>) {
    for place in [
        "hooks.slack.com/services/",
        "hooks.slack.com/workflows/",
        "hooks.slack.com/triggers/",
        "/api/webhooks/",
    ] {
        for (at, _) in text.match_indices(place) {
            let start = at + place.len();
            let path = text.as_bytes()[start..].iter();
            let len = path.take_while(|b| is_body(**b) || **b == b'/').count();
            found.push(start..start + len);
        }
    }
}

fn is_body(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

/// Prefixes of well-known tokens, and how much must follow.
const PREFIXES: [(&str, usize); 44] = [
    ("ghp_", 8),
    ("gho_", 8),
    ("ghu_", 8),
    ("ghs_", 8),
    ("ghr_", 8),
    ("github_pat_", 8),
    ("glpat-", 8),
    ("gldt-", 8),
    ("glsa_", 8),
    ("sk-", 12),
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("whsec_", 8),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("xoxa-", 8),
    ("xoxr-", 8),
    ("xoxs-", 8),
    ("xapp-", 8),
    ("AKIA", 12),
    ("ASIA", 12),
    ("AIza", 20),
    ("ya29.", 8),
    ("hf_", 16),
    ("npm_", 16),
    ("pypi-", 16),
    ("dop_v1_", 8),
    ("shpat_", 8),
    ("SG.", 16),
    ("eyJ", 20),
    ("figd_", 8),
    ("ntn_", 12),
    ("lin_api_", 8),
    ("tvly-", 8),
    ("gsk_", 12),
    ("xai-", 12),
    ("pplx-", 12),
    ("nvapi-", 8),
    ("dckr_pat_", 8),
    ("sntrys_", 8),
    ("ATATT", 16),
    ("r8_", 16),
    ("AGE-SECRET-KEY-1", 8),
];

/// Free-standing pieces: known prefixes, and runs that look random.
fn runs(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let in_run = |b: u8| is_body(b) || matches!(b, b'+' | b'/' | b'=' | b'.' | b'~');
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|b| in_run(**b)).count();
        if len >= 12 {
            let before = prefixed(text, at..at + len, found);
            if !before && !text[..at].ends_with("sha256:") && !text[..at].ends_with("sha512:") {
                random(text, at..at + len, found);
            }
        }
        at += len.max(1);
    }
}

fn prefixed(text: &str, run: Range<usize>, found: &mut Vec<Range<usize>>) -> bool {
    let bytes = text.as_bytes();
    let before = found.len();
    let mut at = run.start;
    while at < run.end {
        let starts_word = at == run.start || !is_body(bytes[at - 1]);
        let hit = starts_word
            .then(|| {
                PREFIXES
                    .iter()
                    .find(|(prefix, _)| text[at..run.end].starts_with(prefix))
            })
            .flatten();
        if let Some((prefix, least)) = hit {
            let in_body = |b: &&u8| is_body(**b) || matches!(b, b'.' | b'+' | b'~');
            let after = &bytes[at + prefix.len()..run.end];
            // Enough to judge by; `sk-sk-sk-…` is looked at again and again.
            let body = after.iter().take(256).take_while(in_body).count();
            let end = at + prefix.len() + body;
            // `sk-learn-contrib-tools` has the prefix of a key and no digit.
            let digits = text[at + prefix.len()..end]
                .bytes()
                .any(|b| b.is_ascii_digit());
            if body >= *least && (digits || prefix.len() > 3) {
                let more = bytes[end..run.end].iter().take_while(in_body).count();
                found.push(at..end + more);
                at = end + more;
                continue;
            }
        }
        at += 1;
    }
    found.len() > before
}

fn random(text: &str, run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let whole = &text[run.clone()];
    let is_path =
        whole.starts_with(['/', '.', '~']) || whole.contains("./") || whole.contains("//");
    if !is_path && is_base64(whole) {
        found.push(run);
        return;
    }
    let mut from = run.start;
    for piece in whole.split(['/', '=']) {
        let span = from..from + piece.len();
        from = span.end + 1;
        if is_random(piece) {
            if is_path || whole.contains('=') {
                found.push(span);
            } else {
                // Base64 has slashes inside.
                found.push(run);
                return;
            }
        }
    }
}

/// Random text changes between digits and letters again and again; words, versions, dates and UUIDs do not, within one
/// piece between separators.
fn is_random(piece: &str) -> bool {
    piece.len() >= 20 && piece.split(['-', '_', '+', '.', '~']).any(is_random_word)
}

fn is_random_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let count = |test: fn(&u8) -> bool| bytes.iter().filter(|b| test(b)).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let digit_runs = bytes
        .iter()
        .zip(std::iter::once(&b' ').chain(bytes))
        .filter(|(b, before)| b.is_ascii_digit() && !before.is_ascii_digit())
        .count();
    let mixed = bytes.len() >= 16 && upper >= 2 && lower >= 2 && digit_runs >= 2;
    let single = bytes.len() >= 20 && upper + lower >= 4 && digit_runs >= 3;
    (mixed || single) && distinct(bytes) >= 8
}

/// Long, with capitals everywhere: no path of words looks so, whatever slashes divide.
fn is_base64(run: &str) -> bool {
    let count = |test: fn(&u8) -> bool| run.as_bytes().iter().filter(|b| test(b)).count();
    run.len() >= 36
        && run
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
        && count(u8::is_ascii_uppercase) * 4 >= run.len()
        && count(u8::is_ascii_lowercase) * 5 >= run.len()
        && count(u8::is_ascii_digit) > 0
}

fn distinct(bytes: &[u8]) -> u32 {
    let seen = bytes.iter().fold(0_u128, |seen, b| seen | (1 << (b & 127)));
    seen.count_ones()
}
