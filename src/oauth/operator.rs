//! Clients that the operator registered beforehand, read from their file.

use serde_json::{Map, Value};
use url::Url;

use super::{GivenClient, OperatorClient};
use crate::secret::Secret;

/// Why the file cannot be used. No part of a value is told: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorClientsError {
    /// It is no JSON.
    #[error("it is no JSON (line {line}, column {column})")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is no object.
    #[error("it is no object of issuers")]
    NotAnObject,
    /// A key is no issuer.
    #[error("`{0}` is no issuer such as https://login.example.com")]
    Issuer(String),
    /// An issuer's client has not the form of one.
    #[error("the client of {issuer} {why}")]
    Client {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
}

impl OperatorClient {
    /// Reads `{issuer: {"client_id", "client_secret"?}}`.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>, OperatorClientsError> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| OperatorClientsError::Syntax {
                line: error.line(),
                column: error.column(),
            })?;
        let Value::Object(issuers) = value else {
            return Err(OperatorClientsError::NotAnObject);
        };
        issuers
            .into_iter()
            .map(|(issuer, client)| {
                if !is_issuer(&issuer) {
                    return Err(OperatorClientsError::Issuer(issuer));
                }
                match given(client) {
                    Ok(client) => Ok(Self { issuer, client }),
                    Err(why) => Err(OperatorClientsError::Client { issuer, why }),
                }
            })
            .collect()
    }
}

fn is_issuer(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn given(client: Value) -> Result<GivenClient, String> {
    let Value::Object(mut fields) = client else {
        return Err("is no object with `client_id`".to_owned());
    };
    let id = text(&mut fields, "client_id")?.ok_or("has no `client_id`")?;
    let secret = text(&mut fields, "client_secret")?.map(Secret::from);
    match fields.keys().next() {
        Some(other) => Err(format!(
            "has `{other}`, which is neither `client_id` nor `client_secret`"
        )),
        None => Ok(GivenClient { id, secret }),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("has a `{name}` that is no text, or empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, Option<String>)>, String> {
        match OperatorClient::read(text.as_bytes()) {
            Ok(clients) => Ok(clients
                .into_iter()
                .map(|client| {
                    let secret = client
                        .client
                        .secret
                        .map(|secret| secret.expose().to_owned());
                    (client.issuer, client.client.id, secret)
                })
                .collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn clients_are_read_with_and_without_a_secret() {
        let issuer = |name: &str| format!("https://{name}.example");
        assert_eq!(read("{}"), Ok(Vec::new()));
        assert_eq!(
            read(
                r#"{"https://a.example": {"client_id": "one"},
                    "https://b.example": {"client_id": "two", "client_secret": "hush"}}"#
            ),
            Ok(vec![
                (issuer("a"), "one".to_owned(), None),
                (issuer("b"), "two".to_owned(), Some("hush".to_owned())),
            ])
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_without_a_value() {
        for (text, expected) in [
            ("", "it is no JSON (line 1, column 0)"),
            (
                "{\"https://a.example\":\n \"canary",
                "it is no JSON (line 2, column 8)",
            ),
            ("[\"canary\"]", "it is no object of issuers"),
            (
                r#"{"a.example": {"client_id": "x"}}"#,
                "`a.example` is no issuer such as https://login.example.com",
            ),
            (
                r#"{"https://a.example": "canary"}"#,
                "the client of https://a.example is no object with `client_id`",
            ),
            (
                r#"{"https://a.example": {"client_secret": "canary"}}"#,
                "the client of https://a.example has no `client_id`",
            ),
            (
                r#"{"https://a.example": {"client_id": "x", "client_secret": ["canary"]}}"#,
                "the client of https://a.example has a `client_secret` that is no text, or empty",
            ),
            (
                r#"{"https://a.example": {"client_id": "x", "secret": "canary"}}"#,
                "the client of https://a.example has `secret`, which is neither `client_id` nor `client_secret`",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }
}
