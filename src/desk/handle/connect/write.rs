//! What is written for a connected server, as a proposal.

use serde_json::{Map, Value, json};

use super::super::super::new_id;
use super::super::super::propose::Draft;
use super::super::super::records::{AuthKind, ConnectFlow, Connects, Wants};
use super::super::super::refusal::Refusal;
use super::super::super::screens;
use super::super::super::turn::Turn;
use super::super::Done;
use super::AUTHORIZATION;
use super::begin::remote_in;
use crate::config::{Change, CredentialId, Edit, FileKind, RemoteAuth, SecretName};

impl Turn<'_> {
    /// Shows what would be written, and what it means.
    pub(super) async fn propose_connected(&mut self, connect: ConnectFlow) -> Done {
        let loaded = self.sound().await?;
        let Some(name) = connect.name.clone() else {
            return Err(Refusal::Over("The server has no name yet."));
        };
        let before = loaded.files.remote.server(&name);
        let entry = remote_in(&loaded, &name);
        // The same place keeps its login.
        let credential = match entry.map(|entry| &entry.auth) {
            Some(RemoteAuth::OAuth(id)) if connect.keeps_headers => Some(id.clone()),
            _ => None,
        };
        let auth = auth_of(&connect, credential)?;
        let oauth = auth
            .as_ref()
            .is_some_and(|auth| auth.get("oauth").is_some());
        let value = entry_of(&connect, before, auth);
        let headers: Vec<String> = match entry {
            Some(entry) if connect.keeps_headers => {
                entry.headers.iter().map(|(name, _)| name.clone()).collect()
            }
            _ => connect
                .headers
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let mut notes = connect.notes.clone();
        if before.is_some() && !connect.keeps_headers {
            notes.push(format!(
                "There is a server `{name}` already; applying this replaces it."
            ));
        }
        if loaded
            .config
            .admin
            .iter()
            .any(|(other, _)| other.as_str() == name)
            || loaded
                .config
                .hidden
                .iter()
                .any(|other| other.as_str() == name)
        {
            notes.push(format!(
                "The operator offers a server `{name}` too; yours will hide it in this chat."
            ));
        }
        if loaded.files.local.server(&name).is_some() {
            return Err(Refusal::Plain(format!(
                "There is already a server `{name}` here, which runs on the bot's machine. Choose another name."
            )));
        }
        if connect.unproved {
            notes.push(
                "It was written into the file by hand, and nobody agreed to it yet. Apply agrees to it, and only then is it sent what is stored."
                    .to_owned(),
            );
        }
        self.propose(Draft {
            title: format!("connect {name}"),
            edit: Edit(vec![Change::Put {
                file: FileKind::Remote,
                name: name.clone(),
                value,
                at: None,
            }]),
            notes,
            about: screens::connect_facts(&connect, oauth, &headers),
            secrets: connect.secrets,
            connects: Some(Connects {
                server: name,
                oauth,
                client_id: connect.client_id,
            }),
            ..Draft::default()
        })
        .await
    }
}

/// The login as it stands in the file: a reference, never the secret.
fn auth_of(
    connect: &ConnectFlow,
    credential: Option<CredentialId>,
) -> Result<Option<Value>, Refusal> {
    let wants = connect.found.as_ref().map(|found| found.wants);
    let kind = match connect.auth {
        None if wants == Some(Wants::OAuth) => AuthKind::OAuth,
        None => AuthKind::None,
        Some(kind) => kind,
    };
    let secret = || {
        let secret = connect.secret.as_ref().map(SecretName::placeholder);
        secret.ok_or(Refusal::Over("The key is missing."))
    };
    Ok(match kind {
        AuthKind::None => None,
        AuthKind::Bearer => Some(json!({ "bearer": secret()? })),
        AuthKind::ApiKey => {
            let header = connect.header.as_deref().unwrap_or(AUTHORIZATION);
            Some(json!({ "api_key": { "header": header, "value": secret()? } }))
        }
        AuthKind::OAuth => {
            let id = match credential {
                Some(id) => id,
                None => CredentialId::new(&format!("c-{}", new_id()))
                    .map_err(|error| Refusal::Plain(format!("The login has no id: {error}.")))?,
            };
            Some(json!({ "oauth": id.as_str() }))
        }
    })
}

/// The whole entry: the one that is there with what is ours set in it, so that its order and what is not ours stay; or a
/// new one.
fn entry_of(connect: &ConnectFlow, before: Option<&Value>, auth: Option<Value>) -> Value {
    let transport = connect
        .found
        .as_ref()
        .and_then(|found| found.transport.as_deref());
    let mut entry = before
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    entry.insert("type".to_owned(), json!(transport.unwrap_or("http")));
    entry.insert("url".to_owned(), json!(connect.url));
    entry.shift_remove("disabled");
    if !connect.keeps_headers {
        let headers: Map<String, Value> = connect
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        set_or_take(
            &mut entry,
            "headers",
            (!headers.is_empty()).then_some(Value::Object(headers)),
        );
    }
    set_or_take(&mut entry, "auth", auth);
    if let Some(timeout) = connect.timeout_ms {
        entry.insert("timeout_ms".to_owned(), json!(timeout));
    }
    Value::Object(entry)
}

fn set_or_take(entry: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            entry.insert(key.to_owned(), value);
        }
        None => {
            entry.shift_remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::records::Found;
    use super::*;

    fn connect(auth: Option<AuthKind>, transport: Option<&str>) -> ConnectFlow {
        ConnectFlow {
            name: Some("hub".into()),
            url: "https://hub.example/mcp".into(),
            auth,
            header: Some("X-Key".into()),
            secret: SecretName::new("HUB_TOKEN").ok(),
            found: Some(Found {
                transport: transport.map(str::to_owned),
                wants: Wants::OAuth,
                with_secret: false,
                info: String::new(),
                tools: None,
            }),
            ..ConnectFlow::default()
        }
    }

    fn written(connect: &ConnectFlow, before: Option<&Value>) -> Value {
        let auth = auth_of(connect, CredentialId::new("c-1").ok()).unwrap();
        entry_of(connect, before, auth)
    }

    #[test]
    fn the_type_is_written_and_a_login_is_a_reference() {
        let url = "https://hub.example/mcp";
        for (auth, transport, expected) in [
            (
                None,
                None,
                json!({"type": "http", "url": url, "auth": {"oauth": "c-1"}}),
            ),
            (
                Some(AuthKind::None),
                Some("sse"),
                json!({"type": "sse", "url": url}),
            ),
            (
                Some(AuthKind::Bearer),
                Some("http"),
                json!({"type": "http", "url": url, "auth": {"bearer": "${secret:HUB_TOKEN}"}}),
            ),
            (
                Some(AuthKind::ApiKey),
                Some("http"),
                json!({"type": "http", "url": url, "auth": {"api_key": {"header": "X-Key", "value": "${secret:HUB_TOKEN}"}}}),
            ),
        ] {
            assert_eq!(written(&connect(auth, transport), None), expected);
        }
    }

    #[test]
    fn an_entry_that_is_there_keeps_what_is_not_ours() {
        let before = json!({"type": "sse", "url": "https://old.example", "headers": {"X-A": "1"}, "x-note": [1], "disabled": true, "timeout_ms": 5});
        let mut flow = connect(Some(AuthKind::None), Some("http"));
        flow.headers = vec![("X-B".into(), "2".into())];
        assert_eq!(
            written(&flow, Some(&before)).to_string(),
            json!({"type": "http", "url": "https://hub.example/mcp", "headers": {"X-B": "2"}, "x-note": [1], "timeout_ms": 5}).to_string()
        );
        flow.keeps_headers = true;
        flow.timeout_ms = Some(9);
        assert_eq!(
            written(&flow, Some(&before)),
            json!({"type": "http", "url": "https://hub.example/mcp", "headers": {"X-A": "1"}, "x-note": [1], "timeout_ms": 9})
        );
    }
}
