//! `/admin …`: what operators decide about people and chats.

use super::{CommandError, lex};

/// How it is written.
pub(super) const USAGE: &str =
    "/admin [allow ID | block ID | forget ID | operator add ID | operator remove ID]";

/// What an operator wants. Ids are as they were typed: `tg:123`, `-100123`, `here`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminRequest {
    /// Who may use the bot, and who waits.
    Panel,
    /// Somebody may use it.
    Allow(String),
    /// Somebody may not.
    Block(String),
    /// Nothing is said of them any more.
    Forget(String),
    /// Somebody operates it.
    AddOperator(String),
    /// Somebody does not any more.
    RemoveOperator(String),
}

pub(super) fn line(rest: &str) -> Result<AdminRequest, CommandError> {
    let words = lex::words(rest)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let whom = |place: usize| match words.get(place..) {
        Some([id]) if !id.is_empty() => Ok((*id).to_owned()),
        Some([]) | None => Err(usage(
            "whom? Give the id that they were told (`tg:123`), `here` for this chat, or reply to a message of theirs",
        )),
        Some(_) => Err(usage("one id is expected")),
    };
    match lower.as_slice() {
        [] | ["list" | "panel"] => Ok(AdminRequest::Panel),
        ["allow" | "admit" | "add", ..] => whom(1).map(AdminRequest::Allow),
        ["block" | "ban" | "deny", ..] => whom(1).map(AdminRequest::Block),
        ["forget" | "remove" | "unblock", ..] => whom(1).map(AdminRequest::Forget),
        ["operator" | "operators", "add", ..] => whom(2).map(AdminRequest::AddOperator),
        ["operator" | "operators", "remove", ..] => whom(2).map(AdminRequest::RemoveOperator),
        ["operator" | "operators", ..] => Err(usage("`add` or `remove` follows here")),
        _ => Err(usage("that is nothing that can be decided")),
    }
}

fn usage(what: &str) -> CommandError {
    CommandError::Usage {
        what: what.to_owned(),
        usage: USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, read};
    use super::*;

    #[test]
    fn what_operators_write_is_read() {
        for (text, expected) in [
            ("/admin", AdminRequest::Panel),
            ("/Admin LIST", AdminRequest::Panel),
            ("/admin allow tg:5", AdminRequest::Allow("tg:5".to_owned())),
            (
                "/admin@Bot block -100123",
                AdminRequest::Block("-100123".to_owned()),
            ),
            (
                "/admin forget here",
                AdminRequest::Forget("here".to_owned()),
            ),
            (
                "/admin operator add 5",
                AdminRequest::AddOperator("5".to_owned()),
            ),
            (
                "/admin operator remove tg:5",
                AdminRequest::RemoveOperator("tg:5".to_owned()),
            ),
        ] {
            assert_eq!(
                read(text, Some("bot")),
                Ok(Request::Admin(expected)),
                "{text}"
            );
        }
        for text in [
            "/admin allow",
            "/admin allow 1 2",
            "/admin operator",
            "/admin dance",
            "/admin operator add",
        ] {
            assert!(read(text, None).is_err(), "{text}");
        }
        assert_eq!(read("/settings", None), Ok(Request::Settings));
    }
}
