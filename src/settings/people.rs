//! The settings of who may use the bot: its operators, and whether it is open.

use super::{Environment, SettingsError, shown};
use crate::actor::ActorId;
use crate::policy::Access;

const OPERATORS: &str = "SWITCHBOARD_OPERATORS";
const ACCESS: &str = "SWITCHBOARD_ACCESS";

/// What was read.
pub(super) struct People {
    pub(super) operators: Vec<ActorId>,
    pub(super) access: Option<Access>,
}

impl People {
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingsError> {
        Ok(Self {
            operators: operators(environment)?,
            access: access(environment)?,
        })
    }

    /// What stands before the policy's file, said at every start.
    pub(super) fn warnings(&self) -> Vec<String> {
        let words = match self.access {
            None => return Vec::new(),
            Some(Access::Open) => {
                "opens the bot to everybody who is not blocked, whatever policy.json says."
            }
            Some(Access::Listed) => {
                "keeps the bot to operators and whom they allow, whatever policy.json says."
            }
        };
        vec![format!("{ACCESS} {words}")]
    }
}

fn operators(environment: &Environment) -> Result<Vec<ActorId>, SettingsError> {
    let mut operators = Vec::new();
    let words = environment.text(OPERATORS)?.unwrap_or_default();
    let words = words.split(|c: char| c == ',' || c.is_whitespace());
    for word in words.filter(|word| !word.is_empty()) {
        let bare = word.strip_prefix("tg:").unwrap_or(word);
        let operator = ActorId(format!("tg:{bare}"));
        if operator.user().is_none() {
            return Err(SettingsError::NotAPerson {
                name: OPERATORS,
                value: shown(word),
            });
        }
        if !operators.contains(&operator) {
            operators.push(operator);
        }
    }
    Ok(operators)
}

fn access(environment: &Environment) -> Result<Option<Access>, SettingsError> {
    let Some(value) = environment.text(ACCESS)? else {
        return Ok(None);
    };
    match value.to_ascii_lowercase().as_str() {
        "open" => Ok(Some(Access::Open)),
        "listed" => Ok(Some(Access::Listed)),
        _ => Err(SettingsError::NotAnAccess {
            name: ACCESS,
            value: shown(value),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::{Flags, Settings};

    fn read(name: &str, value: &str) -> Result<Settings, SettingsError> {
        let environment = [(OsString::from(name), OsString::from(value))];
        Settings::read(&Flags::default(), environment)
    }

    #[test]
    fn operators_are_people_by_their_ids() {
        for (value, expected) in [
            ("tg:1", &["tg:1"][..]),
            ("1, tg:2,, 1", &["tg:1", "tg:2"]),
            (" ", &[]),
        ] {
            let operators = read(OPERATORS, value).unwrap().operators;
            let operators: Vec<&str> = operators.iter().map(|id| id.0.as_str()).collect();
            assert_eq!(operators, expected, "{value}");
        }
        for value in ["@ann", "-100123", "tg:-1", "tg:1.2", "tg:01", "../1", "0"] {
            let error = read(OPERATORS, value).unwrap_err().to_string();
            assert!(
                error.contains(OPERATORS) && error.contains(value),
                "{error}"
            );
        }
    }

    #[test]
    fn access_stands_before_the_file_and_is_said() {
        for (value, expected) in [("open", Access::Open), ("LISTED", Access::Listed)] {
            let settings = read(ACCESS, value).unwrap();
            assert_eq!(settings.access, Some(expected));
            assert!(settings.warnings.iter().any(|line| line.contains(ACCESS)));
        }
        assert!(read(ACCESS, "ajar").is_err());
        assert_eq!(read("HOME", "/h").unwrap().access, None);
    }
}
