//! One local entry of any dialect → our form, checked.

use serde_json::{Map, Value};

use super::super::{Problem, check};
use super::{remote, shown, words};

/// The entry in our form, or everything that is wrong with it, with paths below `path`.
pub(super) fn stdio(
    name: &str,
    fields: Map<String, Value>,
    path: &str,
    notes: &mut Vec<String>,
) -> Result<Value, Vec<Problem>> {
    let mut entry = Entry {
        name,
        fields,
        notes,
    };
    entry.rename_fields();
    entry.turn_switches();
    entry.drop_empty();
    entry.unpack_command();
    entry.write_type();
    entry.read_args();
    entry.read_env();
    entry.split_command();
    entry.write_args();
    entry.note_env_file();
    let value = Value::Object(entry.fields);
    let problems = check::problems_of_entry(name, &value, path);
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(problems)
    }
}

struct Entry<'a> {
    name: &'a str,
    fields: Map<String, Value>,
    notes: &'a mut Vec<String>,
}

impl Entry<'_> {
    fn note(&mut self, what: &str) {
        let note = format!("`{}`: {what}.", self.name);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn rename_fields(&mut self) {
        const SPELLINGS: [(&str, &str); 8] = [
            ("cmd", "command"),
            ("arguments", "args"),
            ("envs", "env"),
            ("environment", "env"),
            ("workingDirectory", "cwd"),
            ("working_directory", "cwd"),
            ("workingDir", "cwd"),
            ("workdir", "cwd"),
        ];
        for (theirs, ours) in SPELLINGS {
            if !self.fields.contains_key(theirs) || self.fields.contains_key(ours) {
                continue;
            }
            let renamed = std::mem::take(&mut self.fields).into_iter();
            self.fields = renamed
                .map(|(key, value)| (if key == theirs { ours.to_owned() } else { key }, value))
                .collect();
            self.note(&format!("`{theirs}` was read as `{ours}`"));
        }
    }

    /// `enabled`, `startup` and `isActive` of other clients say the opposite of `disabled`.
    fn turn_switches(&mut self) {
        for key in ["enabled", "startup", "isActive"] {
            let Some(on) = self.fields.get(key).and_then(Value::as_bool) else {
                continue;
            };
            self.fields.shift_remove(key);
            let already = self.fields.contains_key("disabled");
            if !on && !already {
                self.fields.insert("disabled".to_owned(), Value::Bool(true));
            }
            self.note(&if on || already {
                format!("`{key}: {on}` was left out")
            } else {
                format!("`{key}: false` was read as `disabled: true`")
            });
        }
    }

    fn drop_empty(&mut self) {
        for key in ["type", "args", "env", "cwd", "disabled"] {
            let nothing = self
                .fields
                .get(key)
                .is_some_and(|value| value.is_null() || (key == "cwd" && value == ""));
            if nothing {
                self.fields.shift_remove(key);
                self.note(&format!("the empty `{key}` was left out"));
            }
        }
    }

    /// A command given as a list (opencode) or as an object with its own args and env (Zed).
    fn unpack_command(&mut self) {
        match self.fields.get("command") {
            Some(Value::Array(items)) if !items.is_empty() => {
                let mut items = items.clone();
                let program = items.remove(0);
                if let Some(Value::Array(args)) = self.fields.get("args") {
                    items.extend(args.iter().cloned());
                }
                self.fields.insert("command".to_owned(), program);
                self.put_after_command("args", Value::Array(items));
                self.note("the list in `command` was read as a command and its `args`");
            }
            Some(Value::Object(zed)) if zed.contains_key("path") => {
                let zed = zed.clone();
                for key in ["env", "args"] {
                    if let Some(value) = zed.get(key).filter(|value| !value.is_null())
                        && !self.fields.contains_key(key)
                    {
                        self.put_after_command(key, value.clone());
                    }
                }
                let program = zed.get("path").cloned().unwrap_or_default();
                self.fields.insert("command".to_owned(), program);
                self.note(
                    "the object in `command` was read as a command with its `args` and `env`",
                );
            }
            _ => {}
        }
    }

    fn put_after_command(&mut self, key: &str, value: Value) {
        if let Some(existing) = self.fields.get_mut(key) {
            *existing = value;
            return;
        }
        let at = self.fields.keys().position(|key| key == "command");
        let at = at.map_or(self.fields.len(), |at| at + 1);
        self.fields.shift_insert(at, key.to_owned(), value);
    }

    fn write_type(&mut self) {
        match self.fields.get("type") {
            None => {
                self.fields
                    .shift_insert(0, "type".to_owned(), "stdio".into());
            }
            Some(Value::String(kind)) if kind != "stdio" => {
                let kind = kind.clone();
                self.fields.insert("type".to_owned(), "stdio".into());
                if remote::is_remote_kind(&kind) != Some(false) {
                    self.note(&format!("its type `{}` was read as `stdio`", shown(&kind)));
                }
            }
            Some(_) => {}
        }
    }

    fn read_args(&mut self) {
        match self.fields.get_mut("args") {
            Some(Value::Array(items)) => {
                let mut changed = false;
                for item in items {
                    changed |= to_text(item);
                }
                if changed {
                    self.note("numbers and switches in `args` were read as text");
                }
            }
            Some(Value::String(line)) => {
                if let Some(words) = words::split(line) {
                    self.fields.insert("args".to_owned(), words.into());
                    self.note("the text in `args` was split into single arguments");
                }
            }
            _ => {}
        }
    }

    /// So that one server has one form, whichever way it came.
    fn write_args(&mut self) {
        if self.fields.contains_key("command") && !self.fields.contains_key("args") {
            self.put_after_command("args", Value::Array(Vec::new()));
        }
    }

    fn note_env_file(&mut self) {
        if self.fields.contains_key("envFile") {
            self.note("`envFile` does nothing here; give its variables in `env`");
        }
    }

    fn read_env(&mut self) {
        if let Some(Value::Array(items)) = self.fields.get("env")
            && let Some(map) = env_of_list(items)
        {
            self.fields.insert("env".to_owned(), Value::Object(map));
            self.note("the list in `env` was read as names and values");
        }
        let Some(Value::Object(env)) = self.fields.get_mut("env") else {
            return;
        };
        let before = env.len();
        env.retain(|_, value| !value.is_null());
        let dropped = env.len() < before;
        let mut changed = false;
        for value in env.values_mut() {
            changed |= to_text(value);
        }
        if dropped {
            self.note("variables without a value were left out");
        }
        if changed {
            self.note("numbers and switches in `env` were read as text");
        }
    }

    /// `"command": "npx -y pkg"` without args means a command line.
    fn split_command(&mut self) {
        let no_args = self
            .fields
            .get("args")
            .is_none_or(|args| args.as_array().is_some_and(Vec::is_empty));
        let Some(line) = self.fields.get("command").and_then(Value::as_str) else {
            return;
        };
        let line = line.trim();
        // `C:\Program Files\…` is one path.
        let windows = line.get(1..3) == Some(":\\");
        if !no_args || windows || !line.contains(char::is_whitespace) {
            return;
        }
        if let Some(mut words) = words::split(line)
            && words.len() > 1
        {
            let program = words.remove(0);
            self.fields.insert("command".to_owned(), program.into());
            self.put_after_command("args", words.into());
            self.note("the text in `command` was split into a command and its `args`");
        }
    }
}

fn to_text(value: &mut Value) -> bool {
    if value.is_number() || value.is_boolean() {
        *value = Value::String(value.to_string());
        return true;
    }
    false
}

/// `["K=V", …]` (1mcp), `[{"name": "K", "value": "V"}, …]`; `None` where it is neither.
fn env_of_list(items: &[Value]) -> Option<Map<String, Value>> {
    let mut env = Map::new();
    for item in items {
        let (name, value) = match item {
            Value::String(pair) => {
                let (name, value) = pair.split_once('=')?;
                (name, Value::from(value))
            }
            Value::Object(pair) => {
                let name = ["name", "key"]
                    .iter()
                    .find_map(|key| pair.get(*key)?.as_str())?;
                (name, pair.get("value").cloned().unwrap_or_default())
            }
            _ => return None,
        };
        // Twice the same name: nobody can tell which is meant.
        if env.insert(name.to_owned(), value).is_some() {
            return None;
        }
    }
    Some(env)
}
