//! A tool's own `inputSchema`: whether it can be used, and whether a call's arguments fit it.
//!
//! The schema is somebody else's text, so the work that it may cause is bounded before a validator sees it: its size, what
//! its `$ref`s unfold to, and how far a pattern may search. What is over a bound is not checked here; the server, which is
//! the last judge, still checks it. Nothing is ever fetched.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::Problem;
use super::schema_words::problems_of;

/// A larger schema, serialised, is not compiled.
const SCHEMA_BYTES: usize = 256 * 1024;
/// A schema that unfolds to more nodes than this is not compiled: validation time follows this figure.
const UNFOLDED_NODES: usize = 20_000;
/// How deep a schema may unfold; a schema that refers to itself always passes this.
const UNFOLDED_DEPTH: usize = 96;
/// Problems told at once.
const MOST_PROBLEMS: usize = 20;

/// Checks a tool call's arguments against the tool's `inputSchema` (MCP: JSON Schema 2020-12 by default, the dialect of
/// `$schema` where given). All problems at once, paths as people write them (`repos[0].name`). A schema that does not
/// compile, or is too large or too tangled to be checked in bounded time, checks nothing but that arguments are an
/// object: the server is the last judge.
pub fn check_arguments(
    schema: &Map<String, Value>,
    arguments: &Map<String, Value>,
) -> Vec<Problem> {
    let Some(Ok(validator)) = compiled(schema) else {
        return Vec::new();
    };
    let instance = Value::Object(arguments.clone());
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

/// Why a tool's `inputSchema` cannot be used, in a few words, or `None` where it can.
///
/// Most tools have schemas of plain keywords only, whose form [`is_plain`] decides in one pass; only the others are
/// compiled, so listing hundreds of tools stays cheap. A schema that is too large or too tangled to be checked is usable:
/// its arguments are just not checked here.
pub fn schema_problem(schema: &Map<String, Value>) -> Option<String> {
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(_) => return Some("the schema's `type` is not `object`".to_owned()),
        None => return Some("the schema has no `type`; it must be `object`".to_owned()),
    }
    if is_plain(schema, 0) {
        return None;
    }
    match compiled(schema) {
        Some(Err(why)) => Some(why),
        Some(Ok(_)) | None => None,
    }
}

/// The compiled schema, `None` where it is over a bound.
fn compiled(schema: &Map<String, Value>) -> Option<Result<Validator, String>> {
    let mut budget = Budget {
        root: schema,
        nodes: UNFOLDED_NODES,
        bytes: SCHEMA_BYTES,
    };
    if !budget.allows_object(schema, 0) {
        return None;
    }
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(20_000)
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20);
    let built = jsonschema::options()
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(patterns)
        .build(&Value::Object(schema.clone()));
    Some(built.map_err(|error| {
        let place = error.instance_path().as_str();
        if place.is_empty() {
            "the schema does not compile".to_owned()
        } else {
            let place: String = place.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("the schema does not compile at `{place}`")
        }
    }))
}

/// What is left to spend while a schema is unfolded: every `$ref` is followed wherever it stands, as validation would.
struct Budget<'a> {
    root: &'a Map<String, Value>,
    nodes: usize,
    bytes: usize,
}

impl Budget<'_> {
    fn allows(&mut self, value: &Value, depth: usize) -> bool {
        match value {
            Value::Object(map) => self.allows_object(map, depth),
            Value::Array(items) => {
                self.spend(items.len()) && items.iter().all(|item| self.allows(item, depth + 1))
            }
            Value::String(text) => self.spend(text.len()),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.spend(8),
        }
    }

    fn allows_object(&mut self, map: &Map<String, Value>, depth: usize) -> bool {
        if depth > UNFOLDED_DEPTH || self.nodes == 0 {
            return false;
        }
        self.nodes -= 1;
        for (key, value) in map {
            let allowed = match (key.as_str(), value) {
                ("$ref", Value::String(pointer)) => {
                    let root = self.root;
                    match target(root, pointer) {
                        Some(Target::Root) => self.allows_object(root, depth + 1),
                        Some(Target::Within(value)) => self.allows(value, depth + 1),
                        // It does not compile either; the compiler says so.
                        None => pointer.starts_with("#/"),
                    }
                }
                // These change what a `$ref` means, so what it unfolds to would be a guess.
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => false,
                ("$id" | "id", Value::String(_)) if depth > 0 => false,
                _ => self.allows(value, depth + 1),
            };
            if !allowed || !self.spend(key.len()) {
                return false;
            }
        }
        true
    }

    fn spend(&mut self, bytes: usize) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                true
            }
            None => false,
        }
    }
}

enum Target<'a> {
    Root,
    Within(&'a Value),
}

fn target<'a>(root: &'a Map<String, Value>, reference: &str) -> Option<Target<'a>> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(Target::Root);
    }
    let mut names = pointer.strip_prefix('/')?.split('/');
    let unescape = |raw: &str| raw.replace("~1", "/").replace("~0", "~");
    let mut here = root.get(&unescape(names.next()?))?;
    for raw in names {
        let name = unescape(raw);
        here = match here {
            Value::Object(map) => map.get(&name)?,
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(Target::Within(here))
}

/// Whether a schema uses plain keywords only, each in a form that every draft allows; such a schema always compiles.
/// `false` means "not certain", never "broken".
fn is_plain(schema: &Map<String, Value>, depth: usize) -> bool {
    depth < 32
        && schema
            .iter()
            .all(|(key, value)| is_plain_keyword(key, value, depth))
}

fn is_plain_keyword(key: &str, value: &Value, depth: usize) -> bool {
    let is_schema = |value: &Value| {
        value.is_boolean()
            || value
                .as_object()
                .is_some_and(|map| is_plain(map, depth + 1))
    };
    match key {
        "type" => value.as_str().is_some_and(|kind| {
            matches!(
                kind,
                "object" | "string" | "number" | "integer" | "boolean" | "array" | "null"
            )
        }),
        "properties" => value
            .as_object()
            .is_some_and(|fields| fields.values().all(is_schema)),
        "items" | "additionalProperties" => is_schema(value),
        "required" => value.as_array().is_some_and(|names| {
            let distinct = |(at, name): (usize, &Value)| {
                name.is_string() && !names.iter().take(at).any(|earlier| earlier == name)
            };
            names.len() <= 64 && names.iter().enumerate().all(distinct)
        }),
        "anyOf" | "oneOf" | "allOf" => value
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(is_schema)),
        "enum" => value.as_array().is_some_and(|all| {
            !all.is_empty() && all.iter().all(Value::is_string) && {
                let mut seen: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
                seen.sort_unstable();
                seen.windows(2).all(|pair| pair[0] != pair[1])
            }
        }),
        "minimum" | "maximum" => value.is_number(),
        "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
        "title" | "description" | "format" => value.is_string(),
        "default" | "const" => true,
        "$schema" => value.as_str().is_some_and(|dialect| {
            matches!(
                dialect.trim_end_matches('#'),
                "https://json-schema.org/draft/2020-12/schema"
                    | "http://json-schema.org/draft-07/schema"
            )
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
