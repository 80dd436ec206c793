//! What people paste and upload, in the dialects of other clients, brought to our form.
//!
//! Reads a bare server object, a map of them, `mcpServers`, `servers` (VS Code); forgives code fences, smart quotes and
//! trailing commas; knows the field names of other clients. Field names that are not ours stay verbatim unless they are
//! a known other spelling of one of ours.

use serde_json::{Map, Value};

use super::document::SERVERS;
use super::schema_words::joined;
use super::{ConfigError, Document, Problem, ServerName, parse};

mod entry;
mod link;
mod naming;
mod remote;
mod text;
mod words;

/// What was read from a pasted text or an uploaded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// Local servers in our form (`type: stdio`), under safe names, in their order.
    pub local: Vec<(String, Value)>,
    /// Remote servers, which are named with the command that adds them and never taken over.
    pub remote: Vec<RemoteOffer>,
    /// Fields beside `mcpServers` (kept verbatim on upload), only where the text was a whole document.
    pub rest: Document,
    /// The text was a whole document with a root key, so it can replace the file.
    pub whole: bool,
    /// What was changed while reading, a sentence each: a name made safe, a dialect's field renamed, quotes repaired.
    pub notes: Vec<String>,
}

/// A remote entry found in what somebody pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOffer {
    /// Its name, made safe.
    pub name: String,
    /// The line that will add it: `/mcp connect NAME URL`, never with header values.
    pub connect: String,
}

/// Reads a text. `name` names a bare server object; without it a bare object is named after its command or package.
/// Problems of all entries come at once with their paths. Not more than 256 KiB are read.
pub fn intake(name: Option<&str>, text: &[u8]) -> Result<Intake, ConfigError> {
    let text = parse::text_of(text)?;
    let mut notes = Vec::new();
    let (linked, value) = match link::read(text)? {
        Some((linked, value)) => (linked, value),
        None => (None, text::read(text, &mut notes)?),
    };
    let Value::Object(object) = value else {
        return Err(invalid(Problem::whole(
            "expected an object with a server or with servers in it",
        )));
    };
    let shape = shape_of(object, name.or(linked.as_deref()), &mut notes)?;
    let inputs = inputs_of(&shape);
    if shape.rest.contains_key("inputs") {
        notes.push(
            "`inputs` does nothing here, nobody is asked; give the values themselves in `env` or `args`."
                .to_owned(),
        );
    }
    let mut taken = naming::Taken::default();
    let mut problems = Vec::new();
    let mut intake = Intake {
        local: Vec::new(),
        remote: Vec::new(),
        rest: Document(shape.rest),
        whole: shape.whole,
        notes,
    };
    for (written, path, value) in shape.entries {
        let safe = taken.take(&written, &mut intake.notes);
        let Value::Object(fields) = value else {
            problems.push(Problem::new(path, "expected an object"));
            continue;
        };
        if remote::is_remote(&fields) {
            match remote::offer(&safe, &fields, &path, &mut intake.notes) {
                Ok(offer) => intake.remote.push(offer),
                Err(problem) => problems.push(problem),
            }
            continue;
        }
        match entry::stdio(&safe, fields, &path, &mut intake.notes) {
            Ok(value) => {
                note_inputs(&safe, &value, &inputs, &mut intake.notes);
                intake.local.push((safe, value));
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(intake)
    } else {
        problems.truncate(super::schema::MOST_PROBLEMS);
        Err(ConfigError::Invalid(problems))
    }
}

fn invalid(problem: Problem) -> ConfigError {
    ConfigError::Invalid(vec![problem])
}

/// What the object is: its entries (name as written, path in the text, value), and what stands beside them.
struct Shape {
    entries: Vec<(String, String, Value)>,
    rest: Map<String, Value>,
    whole: bool,
}

fn shape_of(
    mut object: Map<String, Value>,
    name: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Shape, ConfigError> {
    for root in [SERVERS, "servers", "mcp_servers", "context_servers"] {
        // A server may be called `servers`, too.
        let is_root = |value: &Value| value.as_object().is_some_and(|map| !looks_like_server(map));
        if root != SERVERS && !object.get(root).is_some_and(is_root) {
            continue;
        }
        let Some(found) = object.shift_remove(root) else {
            continue;
        };
        let Value::Object(servers) = found else {
            return Err(invalid(Problem::new(root, "expected an object")));
        };
        if root != SERVERS {
            notes.push(format!("`{root}` was read as `{SERVERS}`."));
        }
        // Settings of another program's editor are no business of this file.
        if root == "context_servers" {
            leave_out(&mut object, notes);
        }
        return Ok(Shape {
            entries: listed(servers, root),
            rest: object,
            whole: true,
        });
    }
    if let Some(Value::Object(mut mcp)) = object.get("mcp").cloned()
        && !looks_like_server(&mcp)
    {
        // VS Code's settings have `mcp.servers`, opencode's the servers below `mcp` themselves.
        let (servers, root) = match mcp.shift_remove("servers") {
            Some(Value::Object(servers)) => (servers, "mcp.servers"),
            Some(_) => return Err(invalid(Problem::new("mcp.servers", "expected an object"))),
            None => (std::mem::take(&mut mcp), "mcp"),
        };
        object.shift_remove("mcp");
        leave_out(&mut object, notes);
        object.extend(
            mcp.shift_remove("inputs")
                .map(|inputs| ("inputs".to_owned(), inputs)),
        );
        notes.push(format!("`{root}` was read as `{SERVERS}`."));
        return Ok(Shape {
            entries: listed(servers, root),
            rest: object,
            whole: true,
        });
    }
    if looks_like_server(&object) {
        let written = bare_name(&mut object, name, notes);
        return Ok(Shape {
            entries: vec![(written, String::new(), Value::Object(object))],
            rest: Map::new(),
            whole: false,
        });
    }
    if object.contains_key("packages") || object.contains_key("remotes") {
        return Err(invalid(Problem::whole(
            "this is a registry's server.json; paste the server's `command` and `args` instead",
        )));
    }
    if object.is_empty() {
        return Err(invalid(Problem::whole("there is no server in it")));
    }
    let is_map = object
        .values()
        .any(|value| value.as_object().is_some_and(looks_like_server));
    if !is_map {
        let names_one = object.values().any(Value::is_object);
        let missing = if names_one { "" } else { "command" };
        return Err(invalid(if missing.is_empty() {
            Problem::whole("no entry has a `command` or a `url`, so there is no server in it")
        } else {
            Problem::new(missing, "missing")
        }));
    }
    let mut entries = listed(object, "");
    if let Some(name) = name {
        match entries.as_mut_slice() {
            [(written, ..)] if written != name => {
                notes.push(format!(
                    "`{}` is named `{}` here.",
                    shown(written),
                    shown(name)
                ));
                name.clone_into(written);
            }
            [_] => {}
            _ => notes.push(format!(
                "The name `{}` was not used: there are several servers with names of their own.",
                shown(name)
            )),
        }
    }
    Ok(Shape {
        entries,
        rest: Map::new(),
        whole: false,
    })
}

fn listed(servers: Map<String, Value>, root: &str) -> Vec<(String, String, Value)> {
    servers
        .into_iter()
        .map(|(name, value)| {
            let path = joined(root, &name);
            (name, path, value)
        })
        .collect()
}

fn leave_out(object: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let inputs = object.shift_remove("inputs");
    if !object.is_empty() {
        notes.push(format!(
            "{} other settings of the file were left out.",
            object.len()
        ));
    }
    object.clear();
    object.extend(inputs.map(|inputs| ("inputs".to_owned(), inputs)));
}

/// A server itself, not a map in which one is called `command`.
fn looks_like_server(object: &Map<String, Value>) -> bool {
    let text_or_list = |key: &str| {
        object
            .get(key)
            .is_some_and(|value| value.is_string() || value.is_array())
    };
    let zed = object
        .get("command")
        .and_then(Value::as_object)
        .is_some_and(|command| command.get("path").is_some_and(Value::is_string));
    zed || text_or_list("command")
        || text_or_list("cmd")
        || ["url", "httpUrl", "serverUrl"]
            .iter()
            .any(|key| object.get(*key).is_some_and(Value::is_string))
        || object.get("type").is_some_and(Value::is_string)
        || object.get("args").is_some_and(Value::is_array)
}

fn bare_name(
    object: &mut Map<String, Value>,
    name: Option<&str>,
    notes: &mut Vec<String>,
) -> String {
    let own = match object.get("name") {
        Some(Value::String(own)) if !own.trim().is_empty() => Some(own.clone()),
        _ => None,
    };
    if own.is_some() {
        object.shift_remove("name");
    }
    if let Some(name) = name {
        return name.to_owned();
    }
    if let Some(own) = own {
        return own;
    }
    let derived = naming::derived(object);
    notes.push(format!("It had no name; it is named `{derived}`."));
    derived
}

/// VS Code's `inputs`: id → what it asks for.
fn inputs_of(shape: &Shape) -> Vec<(String, String)> {
    let inputs = shape.rest.get("inputs").and_then(Value::as_array);
    inputs
        .into_iter()
        .flatten()
        .filter_map(|input| {
            let id = input.get("id")?.as_str()?;
            let about = input
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or(id);
            Some((id.to_owned(), shown(about)))
        })
        .collect()
}

fn note_inputs(name: &str, value: &Value, inputs: &[(String, String)], notes: &mut Vec<String>) {
    let text = value.to_string();
    for (at, _) in text.match_indices("${env:").take(16) {
        let Some((id, _)) = text[at + 6..].split_once('}') else {
            continue;
        };
        let id = shown(id);
        let note = format!(
            "`{name}` needs a value in place of `${{env:{id}}}`: nothing is taken from the bot's own environment. Write the \
             value there, or `${{secret:{id}}}` and send `/mcp secrets set {id}`."
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    for (at, _) in text.match_indices("${input:").take(16) {
        let rest = &text[at + 8..];
        let Some(end) = rest.find('}') else {
            continue;
        };
        let id = &rest[..end];
        let about = inputs.iter().find(|(known, _)| known == id);
        let about = about.map_or_else(|| shown(id), |(_, about)| about.clone());
        let note = format!(
            "`{name}` needs a value in place of `${{input:{}}}`: {about}.",
            shown(id)
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// Somebody else's words within a note: one line, bounded.
fn shown(text: &str) -> String {
    let clean = text
        .chars()
        .map(|c| if c.is_control() || c == '`' { ' ' } else { c });
    let short: String = clean.take(80).collect();
    super::secrets::mask_around(short.trim(), 0).0
}

/// A safe name for any text; one that begins with a dash would be an option in every line that it is typed in.
fn safe(text: &str) -> String {
    match ServerName::new(text) {
        Ok(name) if !text.starts_with('-') => name.to_string(),
        Ok(_) | Err(_) => ServerName::made_safe(text).to_string(),
    }
}

#[cfg(test)]
mod tests;
