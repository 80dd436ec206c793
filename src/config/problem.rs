//! What can be wrong with a configuration, told so that a person can mend it.

use std::fmt;

use super::FileKind;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place: `mcpServers.github.args[1]`; empty for the whole document.
    pub path: String,
    /// What is wrong there: `expected a string`. Holds no value that could be a secret.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// A problem of the whole text.
    pub fn whole(message: impl Into<String>) -> Self {
        Self::new("", message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}`: {}", self.path, self.message)
        }
    }
}

/// Where JSON stopped making sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line itself, shortened around the column where it is long, values that look secret masked.
    pub text: String,
    /// Where in `text` the column is, in characters from 0, for a `^` under it.
    pub caret: usize,
    /// What is wrong there, in plain words: ``a `,` or the closing `}` is expected here``.
    pub message: String,
}

/// Why a text is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Larger than 256 KiB.
    #[error("{bytes} bytes; at most {} are allowed", super::limits::FILE_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not text.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Does not look like JSON at all (a picture, a web page, a shell script).
    #[error("not JSON")]
    NotJson,
    /// JSON that does not parse.
    #[error("line {}, column {}: {}", .0.line, .0.column, .0.message)]
    Syntax(SyntaxError),
    /// JSON that is not a configuration; every problem at once, at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// Of an error of [`super::Files::check`]: the file that is to blame alone, `None` where both are.
    pub fn file(&self) -> Option<FileKind> {
        let Self::Invalid(problems) = self else {
            return None;
        };
        let remote = FileKind::Remote.file_name();
        let of_remote = problems
            .iter()
            .filter(|problem| problem.path.starts_with(remote))
            .count();
        match of_remote {
            0 => Some(FileKind::Local),
            all if all == problems.len() => Some(FileKind::Remote),
            _ => None,
        }
    }
}
