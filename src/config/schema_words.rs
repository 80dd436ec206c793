//! What a schema's verdict means in plain words, and where, as people write places. Tells no value of the checked text.

use std::fmt::Write as _;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::{Problem, ServerName};

/// Longest piece of a schema's own text (a pattern, a choice) that is repeated in a message.
const LONGEST_QUOTE: usize = 60;

/// How a bot may prove who it is.
const WAYS: &str = "exactly one of `oauth`, `bearer` and `api_key` is expected";

/// The problems behind one error of the validator.
pub(super) fn problems_of(error: &ValidationError<'_>, root: &Value) -> Vec<Problem> {
    let place = place_of(error.instance_path().as_str(), root);
    let at = |message: String| Problem {
        path: place.clone(),
        message,
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Problem {
                path: joined(&place, name),
                message: "missing".to_owned(),
            }]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|name| Problem {
                path: joined(&place, name),
                message: if is_ours(&place, "auth") {
                    format!("not known here; {WAYS}")
                } else {
                    "not known here".to_owned()
                },
            })
            .collect(),
        ValidationErrorKind::PropertyNames { error } => {
            let name = error.instance().as_str().unwrap_or_default();
            vec![Problem {
                path: joined(&place, name),
                message: about_name(&place, name, error),
            }]
        }
        ValidationErrorKind::OneOfNotValid { .. } if is_ours(&place, "network") => vec![at(
            "expected \"none\", \"public\", \"host\" or a list of 1 to 64 hosts such as api.example.com"
                .to_owned(),
        )],
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            vec![at(about_choices(context, error.instance_path().as_str()))]
        }
        // The engine gave up; that says nothing about the value.
        ValidationErrorKind::BacktrackLimitExceeded { .. }
        | ValidationErrorKind::RegexEngineFailure { .. }
        | ValidationErrorKind::Referencing(_) => Vec::new(),
        kind => vec![at(about_login(kind, &place)
            .or_else(|| about_header_value(kind, &place))
            .map_or_else(|| words(kind, &place), str::to_owned))],
    }
}

/// A path with one more name: `mcpServers.github`, `mcpServers["a b"]`.
pub(super) fn joined(path: &str, name: &str) -> String {
    let plain = (1..=80).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{}]", Value::from(shortened(name))),
    }
}

fn place_of(pointer: &str, root: &Value) -> String {
    let mut path = String::new();
    let mut here = Some(root);
    for raw in pointer.split('/').skip(1) {
        let name = raw.replace("~1", "/").replace("~0", "~");
        // A number is an index only where the value is an array: `{"1": …}` has it as a name.
        let index = name
            .parse::<usize>()
            .ok()
            .filter(|_| here.is_some_and(Value::is_array));
        if let Some(index) = index {
            let _ = write!(path, "[{index}]");
            here = here.and_then(|value| value.get(index));
        } else {
            path = joined(&path, &name);
            here = here.and_then(|value| value.get(&name));
        }
    }
    path
}

fn about_name(place: &str, name: &str, error: &ValidationError<'_>) -> String {
    if place == "mcpServers"
        && let Err(why) = ServerName::new(name)
    {
        return why.to_string();
    }
    if is_ours(place, "env") {
        return "a variable's name must not be empty or have white space, `=` or a control character in it".to_owned();
    }
    if is_ours(place, "headers") {
        return about_header_name(error.kind()).to_owned();
    }
    format!("the name {}", words(error.kind(), place))
}

fn about_header_name(kind: &ValidationErrorKind) -> &'static str {
    match kind {
        ValidationErrorKind::Not { .. } => "is set by the connection itself; leave it out",
        _ => "is not a header's name",
    }
}

/// The values of `headers`, in our own files.
fn about_header_value(kind: &ValidationErrorKind, place: &str) -> Option<&'static str> {
    if !place.starts_with("mcpServers") || is_ours(place, "url") {
        return None;
    }
    if !place.contains(".headers.") && !place.contains(".headers[") {
        return None;
    }
    match kind {
        ValidationErrorKind::Pattern { .. } => Some(
            "has a character that a header cannot carry; printable ASCII is allowed, on one line",
        ),
        ValidationErrorKind::Not { .. } => Some(
            "has a `${secret:…}` that is not whole; its name has 1 to 64 letters, digits, `.`, `_` and `-`",
        ),
        _ => None,
    }
}

/// What stands below `auth`, in our own files: what is no reference there may be a secret, and its place is elsewhere.
fn about_login(kind: &ValidationErrorKind, place: &str) -> Option<&'static str> {
    if !place.starts_with("mcpServers") {
        return None;
    }
    let is_text = matches!(
        kind,
        ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Type { .. }
    );
    if is_text && (place.ends_with(".auth.bearer") || place.ends_with(".auth.api_key.value")) {
        return Some(
            "expected a reference like `${secret:NAME}`; secrets are kept elsewhere, and `/mcp connect` asks for them",
        );
    }
    if is_text && place.ends_with(".auth.oauth") {
        return Some(
            "expected the id of a login, which `/mcp connect` makes; tokens are kept elsewhere",
        );
    }
    if matches!(kind, ValidationErrorKind::Type { .. }) && place.ends_with(".auth.api_key") {
        return Some(
            "expected an object with `header` and `value`; the key itself is kept elsewhere, and `/mcp connect` asks for it",
        );
    }
    if place.ends_with(".auth.api_key.header") && !matches!(kind, ValidationErrorKind::Type { .. })
    {
        return Some(about_header_name(kind));
    }
    let is_count = matches!(
        kind,
        ValidationErrorKind::MinProperties { .. } | ValidationErrorKind::MaxProperties { .. }
    );
    (is_count && is_ours(place, "auth")).then_some(WAYS)
}

/// Whether the place is this field of a server in our own files, not of some tool's arguments.
fn is_ours(place: &str, field: &str) -> bool {
    place.starts_with("mcpServers") && place.rsplit('.').next() == Some(field)
}

fn about_choices(context: &[Vec<ValidationError<'static>>], here: &str) -> String {
    let mut kinds = Vec::new();
    for branch in context {
        match branch.as_slice() {
            [error] if error.instance_path().as_str() == here => match error.kind() {
                ValidationErrorKind::Type { kind } => kinds.extend(type_names(kind)),
                _ => return "fits none of the allowed forms".to_owned(),
            },
            _ => return "fits none of the allowed forms".to_owned(),
        }
    }
    kinds.dedup();
    if kinds.is_empty() {
        "fits none of the allowed forms".to_owned()
    } else {
        format!("expected {}", kinds.join(" or "))
    }
}

fn words(kind: &ValidationErrorKind, place: &str) -> String {
    match kind {
        ValidationErrorKind::Type { kind } => {
            format!("expected {}", type_names(kind).join(" or "))
        }
        ValidationErrorKind::Constant { expected_value } => {
            format!("expected {}", quoted(expected_value))
        }
        ValidationErrorKind::Enum { options } => format!("expected {}", choices(options)),
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("needs at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => {
            format!("has more than {limit} characters")
        }
        ValidationErrorKind::MinItems { limit } => format!("needs at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("has more than {limit} items"),
        ValidationErrorKind::AdditionalItems { limit } => format!("has more than {limit} items"),
        ValidationErrorKind::MinProperties { limit } => format!("needs at least {limit} fields"),
        ValidationErrorKind::MaxProperties { limit } if place == "mcpServers" => {
            format!("has more than {limit} servers")
        }
        ValidationErrorKind::MaxProperties { limit } => format!("has more than {limit} entries"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            format!("must be a multiple of {multiple_of}")
        }
        ValidationErrorKind::Pattern { .. } if is_ours(place, "url") => {
            "expected an address that begins with http:// or https://".to_owned()
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("does not have the form `{}`", shortened(pattern))
        }
        ValidationErrorKind::Format { format } => format!("is no {}", shortened(format)),
        ValidationErrorKind::UniqueItems => "has the same item twice".to_owned(),
        ValidationErrorKind::Contains => "lacks an item of the needed form".to_owned(),
        ValidationErrorKind::UnevaluatedItems { .. } => "has items that are not known".to_owned(),
        ValidationErrorKind::FalseSchema => "is not allowed".to_owned(),
        ValidationErrorKind::Not { .. } => "has a form that is not allowed".to_owned(),
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "fits more than one of the allowed forms".to_owned()
        }
        other => format!("does not satisfy `{}`", shortened(other.keyword())),
    }
}

fn type_names(kind: &TypeKind) -> Vec<&'static str> {
    match kind {
        TypeKind::Single(one) => vec![type_name(*one)],
        TypeKind::Multiple(many) => {
            let mut kinds: Vec<_> = many.iter().collect();
            kinds.sort_by_key(|kind| *kind == JsonType::Null);
            kinds.into_iter().map(type_name).collect()
        }
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "`null`",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn choices(options: &Value) -> String {
    let all: Vec<String> = options
        .as_array()
        .map(|all| all.iter().take(11).map(quoted).collect())
        .unwrap_or_default();
    match all.as_slice() {
        [] => "another value".to_owned(),
        [one] => one.clone(),
        [head @ .., last] if all.len() <= 10 => format!("{} or {last}", head.join(", ")),
        _ => format!("one of {}, …", all[..10].join(", ")),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", shortened(text)),
        other => format!("`{}`", shortened(&other.to_string())),
    }
}

fn shortened(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= LONGEST_QUOTE {
        clean.collect()
    } else {
        clean.take(LONGEST_QUOTE - 1).chain(['…']).collect()
    }
}
