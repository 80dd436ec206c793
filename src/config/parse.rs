//! Bytes → a JSON object, or where and why not.
//!
//! Stricter than plain JSON where leniency would lose something silently: a name that stands twice in one object is a
//! problem, and so is nesting that our own writing could not read back.

mod numbers;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::schema::MOST_PROBLEMS;
use super::schema_words::joined;
use super::{ConfigError, Problem, SyntaxError, limits, secrets};

/// How deep values may be nested in a file.
pub(super) const DEPTH: usize = 16;
/// How much of a line is shown on either side of the place where JSON stopped making sense.
const AROUND: usize = 48;

/// The text of a file's bytes, without a byte order mark.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, ConfigError> {
    if bytes.len() > limits::FILE_BYTES {
        return Err(ConfigError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a text that must be one JSON object.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, ConfigError> {
    match value(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ConfigError::Invalid(vec![Problem::whole(
            "expected an object",
        )])),
        Err(Failure::Syntax(error)) if looks_like_json(text) => {
            Err(ConfigError::Syntax(syntax_error(&error, text, text, 0)))
        }
        Err(Failure::Syntax(_)) => Err(ConfigError::NotJson),
        Err(Failure::Problems(problems)) => Err(ConfigError::Invalid(problems)),
    }
}

/// Why a text is not a JSON value that we take.
pub(super) enum Failure {
    /// It does not parse.
    Syntax(serde_json::Error),
    /// It parses, and says something twice or nests too deep.
    Problems(Vec<Problem>),
}

/// Reads a text as one JSON value.
pub(super) fn value(text: &str) -> Result<Value, Failure> {
    let mut problems = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Node {
        at: &Place::Root,
        depth: 0,
        problems: &mut problems,
    };
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(Failure::Syntax)?;
    if let Some((line, number)) = numbers::lost(text) {
        let shown: String = number.chars().take(AROUND).collect();
        problems.push(Problem::new(
            format!("line {line}"),
            format!("the number {shown} has more digits than can be kept; put it in quotes"),
        ));
    }
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(Failure::Problems(problems))
    }
}

/// Whether somebody meant this text as JSON, so that showing where it breaks helps.
pub(super) fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    let commented = text.starts_with("//") || text.starts_with("/*");
    text.starts_with(['{', '[', '"', '“', '”', '„']) || (commented && text.contains('{'))
}

/// Where `parsed` broke, shown on the lines of `shown`, which has the same characters line by line but for `shift`
/// characters that were put before its first line.
pub(super) fn syntax_error(
    error: &serde_json::Error,
    parsed: &str,
    shown: &str,
    shift: usize,
) -> SyntaxError {
    let line = error.line().max(1);
    let line_of = |text: &str| -> String {
        let line = text.split('\n').nth(line - 1).unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line).to_owned()
    };
    let parsed_line = line_of(parsed);
    // The parser counts bytes; people count characters.
    let before = secrets::char_start(&parsed_line, error.column().saturating_sub(1));
    let mut at = parsed_line[..before].chars().count();
    if line == 1 {
        at = at.saturating_sub(shift);
    }
    let shown_line = line_of(shown);
    at = at.min(shown_line.chars().count());
    let (text, caret) = window(&shown_line, at);
    SyntaxError {
        line,
        column: at + 1,
        text,
        caret,
        message: syntax_words(error),
    }
}

/// What the parser found wrong, in plain words, without the place.
pub fn syntax_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let said = text
        .rfind(" at line ")
        .map_or(text.as_str(), |end| &text[..end]);
    let plain = WORDS.iter().find(|(theirs, _)| said.starts_with(theirs));
    plain.map_or(said, |(_, ours)| ours).to_owned()
}

const VALUE_EXPECTED: &str = "a value is expected here: a text in double quotes, a number, `true`, `false`, `null`, \
                              or something in `{…}` or `[…]`";
/// What the parser's messages begin with, and what is said instead.
const WORDS: [(&str, &str); 21] = [
    (
        "EOF while parsing a list",
        "it ends too early; a `]` is missing",
    ),
    (
        "EOF while parsing an object",
        "it ends too early; a `}` is missing",
    ),
    (
        "EOF while parsing a string",
        "it ends within a text; a closing `\"` is missing",
    ),
    ("EOF while parsing", "it ends too early; a value is missing"),
    (
        "key must be a string",
        "a name in double quotes is expected here (is there one comma too many?)",
    ),
    (
        "trailing comma",
        "there is one comma too many before this place",
    ),
    (
        "trailing characters",
        "there is more text behind the end of the JSON",
    ),
    ("expected value", VALUE_EXPECTED),
    ("expected ident", VALUE_EXPECTED),
    (
        "expected `:`",
        "a `:` is expected here, between a name and its value",
    ),
    (
        "expected `,` or `]`",
        "a `,` or the closing `]` is expected here",
    ),
    (
        "expected `,` or `}`",
        "a `,` or the closing `}` is expected here",
    ),
    ("expected `\"`", "a text in double quotes is expected here"),
    (
        "control character",
        "a text must not have a line end or control character in it (is a closing `\"` missing?)",
    ),
    (
        "invalid escape",
        "a backslash in a text is written twice: `\\\\`",
    ),
    ("invalid number", "this is not a number as JSON writes it"),
    ("number out of range", "this number is too large"),
    (
        "invalid unicode code point",
        "this `\\u` code is not a character",
    ),
    (
        "lone leading surrogate",
        "this `\\u` code is half of a character",
    ),
    (
        "unexpected end of hex escape",
        "this `\\u` code is half of a character",
    ),
    ("invalid type", "an object in `{…}` is expected"),
];

/// The line around character `at`, secrets masked, with the place of `at` in it.
fn window(line: &str, at: usize) -> (String, usize) {
    let byte = line.char_indices().nth(at).map_or(line.len(), |(i, _)| i);
    let (masked, byte) = secrets::mask_around(line, byte);
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let before: Vec<char> = masked[..byte].chars().map(clean).collect();
    let after: Vec<char> = masked[byte..].chars().map(clean).collect();
    let mut text = String::new();
    let from = before.len().saturating_sub(AROUND);
    if from > 0 {
        text.push('…');
    }
    text.extend(&before[from..]);
    let caret = text.chars().count();
    text.extend(after.iter().take(AROUND));
    if after.len() > AROUND {
        text.push('…');
    }
    (text, caret)
}

/// The way to a value, kept on the stack and written out only where there is a problem.
enum Place<'a> {
    Root,
    Name(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Name(parent, name) => joined(&parent.path(), name),
            Self::Index(parent, index) => format!("{}[{index}]", parent.path()),
        }
    }
}

struct Node<'a, 'p> {
    at: &'a Place<'a>,
    depth: usize,
    problems: &'p mut Vec<Problem>,
}

impl Node<'_, '_> {
    fn tell(&mut self, path: String, message: &str) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem::new(path, message));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth::<A::Error>()?;
        let mut all = Vec::new();
        while let Some(value) = items.next_element_seed(Node {
            at: &Place::Index(self.at, all.len()),
            depth: self.depth + 1,
            problems: self.problems,
        })? {
            all.push(value);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        self.check_depth::<A::Error>()?;
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Node {
                at: &Place::Name(self.at, &name),
                depth: self.depth + 1,
                problems: self.problems,
            })?;
            if name.starts_with("$serde_json::private") {
                // The JSON library would take it for a mark of its own when the bot reads back what it keeps.
                self.tell(Place::Name(self.at, &name).path(), "is not a usable name");
            }
            if map.contains_key(&name) {
                self.tell(
                    Place::Name(self.at, &name).path(),
                    "is there twice; only one of them can be meant",
                );
            } else {
                map.insert(name, value);
            }
        }
        Ok(Value::Object(map))
    }
}

impl Node<'_, '_> {
    fn check_depth<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth < DEPTH {
            return Ok(());
        }
        Err(E::custom(format_args!(
            "nested too deep; at most {DEPTH} levels are read"
        )))
    }
}
