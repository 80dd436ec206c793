//! Install links of Cursor and VS Code: a server's JSON within an address.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::super::parse;
use super::super::{ConfigError, Problem};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// The name and the JSON of an install link; `None` where the text is no such link.
pub(super) fn read(text: &str) -> Result<Option<(Option<String>, Value)>, ConfigError> {
    let link = text.trim().trim_matches(['<', '>', '`']);
    let lower: String = link
        .chars()
        .take(24)
        .collect::<String>()
        .to_ascii_lowercase();
    let ours = [
        "cursor:",
        "vscode:",
        "vscode-insiders:",
        "https://",
        "http://",
    ];
    if link.contains(char::is_whitespace) || !ours.iter().any(|start| lower.starts_with(start)) {
        return Ok(None);
    }
    read_link(link, 0)
}

fn read_link(link: &str, depth: usize) -> Result<Option<(Option<String>, Value)>, ConfigError> {
    let Some((_, query)) = link.split_once('?') else {
        return Ok(None);
    };
    let query = query.split('#').next().unwrap_or(query);
    // VS Code: the query is the JSON.
    let whole = decoded(query);
    if whole.trim_start().starts_with('{') {
        return json(&whole).map(|value| Some((None, value)));
    }
    let field = |name: &str| {
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| decoded(value))
        })
    };
    if let Some(config) = field("config") {
        let text = if config.trim_start().starts_with('{') {
            config
        } else {
            from_base64(&config).ok_or_else(unreadable)?
        };
        return json(&text).map(|value| Some((field("name"), value)));
    }
    match field("url") {
        // A redirect to the link proper.
        Some(inner) if depth == 0 => read_link(&inner, 1),
        _ => Ok(None),
    }
}

fn json(text: &str) -> Result<Value, ConfigError> {
    match parse::value(text) {
        Ok(value) => Ok(value),
        Err(parse::Failure::Problems(problems)) => Err(ConfigError::Invalid(problems)),
        Err(parse::Failure::Syntax(_)) => Err(unreadable()),
    }
}

fn unreadable() -> ConfigError {
    ConfigError::Invalid(vec![Problem::whole(
        "the install link holds no readable server; paste the server's JSON instead",
    )])
}

fn from_base64(text: &str) -> Option<String> {
    // A `+` of base64 that somebody took for a blank.
    let text = text.trim().replace(' ', "+");
    let alphabet = if text.contains(['-', '_']) {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    let bytes = GeneralPurpose::new(&alphabet, LENIENT).decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

/// `%7B` → `{`; what is no such code stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
