//! A server's name: `[A-Za-z0-9._-]`, 1 to 64 characters.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits;

/// A server's name that has the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

/// The text is not a name; [`ServerName::made_safe`] offers one that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a server's name is empty")]
    Empty,
    /// More than 64 characters.
    #[error("the name has {0} characters; at most 64 are allowed")]
    TooLong(usize),
    /// A character outside the form.
    #[error("the name has {0:?} in it; letters, digits, `.`, `_` and `-` are allowed")]
    Character(char),
}

impl ServerName {
    /// Takes a name of the allowed form.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let count = text.chars().count();
        match text.chars().find(|c| !is_name_char(*c)) {
            _ if count == 0 => Err(NameError::Empty),
            _ if count > limits::NAME_CHARS => Err(NameError::TooLong(count)),
            Some(other) => Err(NameError::Character(other)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The nearest name of the allowed form: "My Weather Server" becomes `My-Weather-Server`.
    pub fn made_safe(text: &str) -> Self {
        let mut safe = String::new();
        for c in text.trim().chars().take(4 * limits::NAME_CHARS) {
            if is_name_char(c) {
                safe.push(c);
            } else if !safe.is_empty() && !safe.ends_with('-') {
                safe.push('-');
            }
            if safe.len() == limits::NAME_CHARS {
                break;
            }
        }
        let safe = safe.trim_matches('-');
        Self(if safe.is_empty() {
            "server".to_owned()
        } else {
            safe.to_owned()
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}
