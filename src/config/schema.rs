//! JSON Schema: the two published schemas decide what is valid, and a tool's own schema what it may be called with.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::schema_words::problems_of;
use super::{FileKind, Problem};

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
    let instance = Value::Object(document.clone());
    let mut problems = Vec::new();
    for error in validator.iter_errors(&instance) {
        problems.extend(problems_of(&error, &instance));
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
    let schema: Value =
        serde_json::from_str(schema_text(kind)).map_err(|error| error.to_string())?;
    jsonschema::options()
        .offline()
        .build(&schema)
        .map_err(|error| error.to_string())
}
