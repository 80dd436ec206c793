//! JSON Schema: the published schemas decide what is valid, and a tool's own schema what it may be called with.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::schema_words::problems_of;
use super::{ConfigError, FileKind, Problem, parse};

/// Problems told at once; a file that has more is told again after these are mended.
pub(super) const MOST_PROBLEMS: usize = 40;

/// What the published schema of a file says against a document, at most [`MOST_PROBLEMS`]; empty means valid.
pub(super) fn problems(kind: FileKind, document: &Map<String, Value>) -> Vec<Problem> {
    let Ok(validator) = validator(kind) else {
        // A test compiles both schemas, so this cannot be reached in a build that passed.
        return vec![Problem::whole(
            "cannot be checked: our own schema is broken",
        )];
    };
    problems_by(validator, &Value::Object(document.clone()))
}

/// What the operator's policy is called, in `data/admin`.
pub const POLICY_FILE: &str = "policy.json";

/// The operator's `policy.json`: an object that parsed and that its published schema lets through.
pub fn policy_document(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    static POLICY: LazyLock<Result<Validator, String>> =
        LazyLock::new(|| compiled(policy_schema_text()));
    let document = parse::object(parse::text_of(bytes)?)?;
    let instance = Value::Object(document);
    let problems = match POLICY.as_ref() {
        Ok(validator) => problems_by(validator, &instance),
        // A test compiles it.
        Err(_) => vec![Problem::whole(
            "cannot be checked: our own schema is broken",
        )],
    };
    match instance {
        Value::Object(document) if problems.is_empty() => Ok(document),
        _ => Err(ConfigError::Invalid(problems)),
    }
}

/// The text of the published schema of `policy.json`.
pub fn policy_schema_text() -> &'static str {
    include_str!("../../schemas/policy.schema.json")
}

fn problems_by(validator: &Validator, instance: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for error in validator.iter_errors(instance) {
        problems.extend(problems_of(&error, instance));
        if problems.len() >= MOST_PROBLEMS {
            problems.truncate(MOST_PROBLEMS);
            break;
        }
    }
    problems
}

/// The published schema's text.
pub fn schema_text(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Local => include_str!("../../schemas/mcp.schema.json"),
        FileKind::Remote => include_str!("../../schemas/mcp_remote.schema.json"),
    }
}

// Compiled once and at first need: valid files, the usual case, are recognised without it (see `check`).
fn validator(kind: FileKind) -> Result<&'static Validator, &'static str> {
    static LOCAL: LazyLock<Result<Validator, String>> = LazyLock::new(|| build(FileKind::Local));
    static REMOTE: LazyLock<Result<Validator, String>> = LazyLock::new(|| build(FileKind::Remote));
    let compiled = match kind {
        FileKind::Local => LazyLock::force(&LOCAL),
        FileKind::Remote => LazyLock::force(&REMOTE),
    };
    compiled.as_ref().map_err(String::as_str)
}

fn build(kind: FileKind) -> Result<Validator, String> {
    compiled(schema_text(kind))
}

fn compiled(schema: &str) -> Result<Validator, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    jsonschema::options()
        .offline()
        .build(&schema)
        .map_err(|error| error.to_string())
}
