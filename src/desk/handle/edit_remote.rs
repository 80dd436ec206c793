//! Editing a remote server: headers and the time limit as fields; another address or login goes through the steps of
//! connecting, since it is agreed to anew.

use std::time::Duration;

use serde_json::Value;

use super::super::new_id;
use super::super::propose::Draft;
use super::super::records::{EditField, EditFlow, FlowKind, Records};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use super::connect::is_secret;
use super::edit::set_field;
use super::switch::raw_entry;
use crate::chat::{Block, Button, Text, View};
use crate::config::{Change, Edit, GivenFor, SecretName, ServerName, masked_url};
use crate::reload::Loaded;
use crate::secret::Secret;

impl Turn<'_> {
    /// `/mcp edit NAME field=value …` of a remote server.
    pub(super) async fn edit_remote(
        &mut self,
        loaded: &Loaded,
        name: &ServerName,
        fields: &[(String, String)],
    ) -> Done {
        let timeout = fields.iter().rfind(|(field, _)| field == "timeout_ms");
        if let Some((_, url)) = fields.iter().rfind(|(field, _)| field == "url") {
            if fields
                .iter()
                .any(|(field, _)| !matches!(field.as_str(), "url" | "timeout_ms"))
            {
                return Err(Refusal::Plain(
                    "Another address is tried and agreed to by itself. Change `url` alone first, then the rest."
                        .to_owned(),
                ));
            }
            let timeout = timeout.and_then(|(_, text)| text.trim().parse().ok());
            return self.connect_elsewhere(name.as_str(), url, timeout).await;
        }
        self.is_approved(loaded, name).await?;
        let (file, mut value) = raw_entry(loaded, name);
        let mut draft = Draft {
            title: format!("edit {name}"),
            ..Draft::default()
        };
        let holds_secret = |(field, text): &(String, String)| {
            let header = field.strip_prefix("headers.");
            header.is_some_and(|header| is_secret(header, text))
        };
        if fields.iter().any(holds_secret) {
            draft.notes.extend(self.hide_what_was_said().await);
        }
        // A flow of this person holds the secrets until the proposal does, or nothing comes of it.
        let holder = new_id();
        for (field, text) in fields {
            let text = match field.strip_prefix("headers.") {
                Some(header) if is_secret(header, text) => {
                    self.hold(&holder, name.as_str());
                    let secret = self
                        .keep_header(&holder, name.as_str(), header, text)
                        .await?;
                    draft.secrets.push(secret.clone());
                    secret.placeholder()
                }
                _ => text.clone(),
            };
            set_field(&mut value, file, field, &text)?;
        }
        draft.edit = Edit(vec![Change::Put {
            file,
            name: name.to_string(),
            value,
            at: None,
        }]);
        let done = self.propose(draft).await;
        self.records.flows.retain(|flow| flow.id != holder);
        done
    }

    /// Refuses where nobody agreed to the entry as it stands: what is shown of a change is not all of it.
    pub(super) async fn is_approved(&self, loaded: &Loaded, name: &ServerName) -> Done {
        let found = loaded.config.remote.iter().find(|(other, _)| other == name);
        let Some((_, server)) = found else {
            return Ok(());
        };
        if self.is_agreed(name.as_str(), server).await? {
            Ok(())
        } else {
            Err(Refusal::WaitsForApproval(name.to_string()))
        }
    }

    /// What was answered for a field of a remote server, as fields to be set.
    pub(super) async fn remote_field_answered(
        &mut self,
        flow: &mut EditFlow,
        field: EditField,
        text: &str,
    ) -> Result<Vec<(String, String)>, Refusal> {
        if field == EditField::Timeout {
            return Ok(vec![("timeout_ms".to_owned(), millis(text)?)]);
        }
        let lines = header_lines(text)?;
        if lines.iter().any(|(name, value)| is_secret(name, value))
            && let Some(note) = self.hide_what_was_said().await
        {
            self.send(View::text(note)).await;
        }
        let mut set = Vec::new();
        for (name, value) in lines {
            let value = if is_secret(&name, &value) {
                let id = self
                    .records
                    .flow_of(&self.actor.id)
                    .map(|flow| flow.id.clone());
                let holder = id.unwrap_or_default();
                let secret = self
                    .keep_header(&holder, &flow.server, &name, &value)
                    .await?;
                flow.secrets.push(secret.clone());
                secret.placeholder()
            } else {
                value
            };
            set.push((format!("headers.{name}"), value));
        }
        Ok(set)
    }

    /// Address and Login of the menu.
    pub(super) async fn edit_connects(&mut self, flow: &EditFlow, index: usize) -> Done {
        match index {
            2 | 3 => self.reconnect_from(&flow.server, index == 2).await,
            _ => Err(Refusal::Over("There is no such choice.")),
        }
    }

    /// Stores a header's value; the flow with that id notes its name.
    async fn keep_header(
        &mut self,
        holder: &str,
        server: &str,
        header: &str,
        value: &str,
    ) -> Result<SecretName, Refusal> {
        let wanted = super::connect::secret_name_of(server, header);
        let note = |records: &mut Records, name: SecretName| {
            let of_this = records.flows.iter_mut().find(|flow| flow.id == holder);
            if let Some(FlowKind::Edit(edit)) = of_this.map(|flow| &mut flow.kind) {
                edit.secrets.push(name);
            }
        };
        let loaded = self.sound().await?;
        let Some(entry) = super::connect::remote_in(&loaded, server) else {
            return Err(Refusal::Over("That server is not there any more."));
        };
        let place = GivenFor::place_of(&entry.url);
        self.keep_secret(&wanted, Secret::from(value.to_owned()), place, note)
            .await
    }

    fn hold(&mut self, holder: &str, server: &str) {
        if self.records.flows.iter().any(|flow| flow.id == holder) {
            return;
        }
        let flow = super::super::records::Flow {
            id: holder.to_owned(),
            by: self.actor.clone(),
            message: None,
            kind: FlowKind::Edit(EditFlow {
                server: server.to_owned(),
                remote: true,
                secrets: Vec::new(),
                field: None,
                value: Value::Null,
                set: Vec::new(),
            }),
            at_ms: self.now_ms(),
        };
        self.records.put_flow(flow);
    }
}

/// The fields of a remote server as they are now, with a button for each.
pub(super) fn remote_menu(flow: &EditFlow) -> View {
    let text = |key: &str| {
        flow.value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let headers = flow.value.get("headers").and_then(Value::as_object);
    let headers: Vec<&str> = headers
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let timeout = flow.value.get("timeout_ms").and_then(Value::as_u64);
    let choice = |index: usize, label: &str| Button::new(label, index.to_string());
    View::titled(format!("Edit {}", flow.server))
        .with(Block::Pairs(vec![
            (
                "Address".to_owned(),
                Text::default().code(masked_url(text("url"))),
            ),
            (
                "Headers".to_owned(),
                Text::default().plain(if headers.is_empty() {
                    "none".to_owned()
                } else {
                    headers.join(", ")
                }),
            ),
            (
                "Time limit".to_owned(),
                Text::default().plain(timeout.map_or_else(
                    || "the usual one".to_owned(),
                    |millis| screens::duration(Duration::from_millis(millis)),
                )),
            ),
        ]))
        .line(
            "Press what you want to change; Done shows the difference before anything is written.",
        )
        .row([choice(0, "Headers"), choice(1, "Time limit")])
        .row([choice(2, "Address"), choice(3, "Login or key")])
        .row([Button::new("Done", "done")])
}

/// `Name: value`, one a line; an empty value takes one away.
fn header_lines(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~".contains(&b);
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        is_name.then(|| (name.to_owned(), value.to_owned()))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let all: Option<Vec<_>> = lines.map(line).collect();
    // A line may be a secret: none is repeated.
    all.filter(|all| !all.is_empty()).ok_or_else(|| {
        Refusal::Plain(
            "Write each header as `Name: value`, one a line, for example `X-Team: blue`."
                .to_owned(),
        )
    })
}

/// Seconds as they are typed → milliseconds as they are written; empty for the usual time.
fn millis(text: &str) -> Result<String, Refusal> {
    let text = text.trim().trim_end_matches(['s', 'S']).trim();
    if text == "-" {
        return Ok(String::new());
    }
    match text.parse::<u64>() {
        Ok(seconds) if (1..=3600).contains(&seconds) => Ok((seconds * 1000).to_string()),
        _ => Err(Refusal::Plain(
            "Send a number of seconds from 1 to 3600, for example `120`.".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_times_are_read_as_people_write_them() {
        let lines = header_lines("X-Team: blue\n\nX-Old:\n").unwrap();
        assert_eq!(
            lines,
            [("X-Team", "blue"), ("X-Old", "")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        for text in ["", "hush", "two words: hush"] {
            let refusal = header_lines(text).unwrap_err();
            assert!(!refusal.sentence().contains("hush"));
        }
        for (text, expected) in [
            ("120", Some("120000")),
            ("5 s", Some("5000")),
            ("-", Some("")),
            ("0", None),
            ("x", None),
        ] {
            assert_eq!(millis(text).ok().as_deref(), expected, "{text}");
        }
    }
}
