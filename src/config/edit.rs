//! Changes to documents as values: computed without IO, kept in proposals and in the history, turned round for undo.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::SERVERS;
use super::{Document, FileKind, Files};

mod between;

/// One change of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Adds a server or replaces it. A new one goes to place `at` (from 0) where given, else to the end; an existing one
    /// keeps its place.
    Put {
        /// Which file.
        file: FileKind,
        /// The server.
        name: String,
        /// Its whole raw entry.
        value: Value,
        /// The place of a new entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<usize>,
    },
    /// Removes a server.
    Remove {
        /// Which file.
        file: FileKind,
        /// The server.
        name: String,
    },
    /// Gives a server another name, in its place.
    Rename {
        /// Which file.
        file: FileKind,
        /// Its name now.
        from: String,
        /// Its name then.
        to: String,
    },
    /// Sets or removes a field beside `mcpServers`.
    Field {
        /// Which file.
        file: FileKind,
        /// The field.
        key: String,
        /// Its value, or `None` to remove it.
        value: Option<Value>,
    },
}

/// Changes that are applied together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Edit(pub Vec<Change>);

/// Why an edit does not fit the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The server to remove or rename is not there.
    #[error("there is no server `{0}`")]
    Missing(String),
    /// The new name is taken.
    #[error("there is already a server `{0}`")]
    Taken(String),
}

impl Edit {
    /// The files after the edit; the given ones are untouched.
    pub fn apply(&self, files: &Files) -> Result<Files, EditError> {
        let mut files = files.clone();
        for change in &self.0 {
            change.apply(&mut files)?;
        }
        Ok(files)
    }

    /// The edit that turns `old` into `new`, including the order of entries and fields beside `mcpServers`.
    pub fn between(old: &Files, new: &Files) -> Self {
        let mut changes = Vec::new();
        for file in [FileKind::Local, FileKind::Remote] {
            between::changes(file, old.get(file), new.get(file), &mut changes);
        }
        Self(changes)
    }

    /// The names of the servers it touches, each once, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for change in &self.0 {
            let touched = match change {
                Change::Put { name, .. } | Change::Remove { name, .. } => [Some(name), None],
                Change::Rename { from, to, .. } => [Some(from), Some(to)],
                Change::Field { .. } => [None, None],
            };
            for name in touched.into_iter().flatten() {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Change {
    fn apply(&self, files: &mut Files) -> Result<(), EditError> {
        match self {
            Self::Put {
                file,
                name,
                value,
                at,
            } => {
                let servers = servers_or_new(files.get_mut(*file));
                if let Some(existing) = servers.get_mut(name) {
                    *existing = value.clone();
                } else if let Some(at) = at.filter(|at| *at < servers.len()) {
                    servers.shift_insert(at, name.clone(), value.clone());
                } else {
                    servers.insert(name.clone(), value.clone());
                }
            }
            Self::Remove { file, name } => {
                servers(files.get_mut(*file))
                    .and_then(|servers| servers.shift_remove(name))
                    .ok_or_else(|| EditError::Missing(name.clone()))?;
            }
            Self::Rename { file, from, to } => {
                let servers = servers(files.get_mut(*file))
                    .filter(|servers| servers.contains_key(from))
                    .ok_or_else(|| EditError::Missing(from.clone()))?;
                if from != to && servers.contains_key(to) {
                    return Err(EditError::Taken(to.clone()));
                }
                let at = servers.keys().position(|name| name == from);
                if let (Some(at), Some(value)) = (at, servers.shift_remove(from)) {
                    servers.shift_insert(at, to.clone(), value);
                }
            }
            Self::Field { file, key, value } => {
                let fields = &mut files.get_mut(*file).0;
                match value {
                    Some(value) => {
                        fields.insert(key.clone(), value.clone());
                    }
                    None => {
                        fields.shift_remove(key);
                    }
                }
            }
        }
        Ok(())
    }
}

fn servers(document: &mut Document) -> Option<&mut Map<String, Value>> {
    document.0.get_mut(SERVERS)?.as_object_mut()
}

/// The document's servers, made where they are missing or no object.
fn servers_or_new(document: &mut Document) -> &mut Map<String, Value> {
    let field = document
        .0
        .entry(SERVERS)
        .and_modify(|field| {
            if !field.is_object() {
                *field = Value::Object(Map::new());
            }
        })
        .or_insert_with(|| Value::Object(Map::new()));
    match field {
        Value::Object(servers) => servers,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("made an object above")
        }
    }
}

#[cfg(test)]
mod tests;
