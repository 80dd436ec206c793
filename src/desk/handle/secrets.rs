//! `/mcp secrets`: which values are kept, giving one in private, forgetting one.

use std::sync::Arc;

use serde_json::Value;

use super::super::new_id;
use super::super::propose::Draft;
use super::super::records::{Flow, FlowKind, SecretFlow};
use super::super::refusal::Refusal;
use super::super::screens::{self, SecretLine};
use super::super::turn::Turn;
use super::Done;
use crate::audit::{Entry, What};
use crate::chat::View;
use crate::config::{
    Change, Definition, Edit, FileKind, GivenFor, SecretName, ServerName, ThreadConfig,
    has_literals, is_secret_value,
};
use crate::policy::Action;
use crate::reload::Loaded;
use crate::secret::Secret;
use crate::store::{Given, KeptSecret};

/// Of one value.
const MOST_BYTES: usize = 16 * 1024;

impl Turn<'_> {
    /// `/mcp secrets`.
    pub(super) async fn secrets(&mut self) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.loaded().await?;
        let thread = self.thread;
        let kept = self.stored(move |store| store.secrets(thread)).await?;
        let kept: Vec<KeptSecret> = kept
            .into_iter()
            .filter(|kept| is_shown(&kept.name))
            .collect();
        let mut lines: Vec<SecretLine> = Vec::with_capacity(kept.len());
        for kept in kept {
            let used_by = users(&loaded.config, &kept.name);
            lines.push(SecretLine { kept, used_by });
        }
        let unset = named(&loaded.config).into_iter();
        let unset = unset.filter(|name| lines.iter().all(|line| line.kept.name != *name));
        let unset: Vec<_> = unset
            .map(|name| {
                let used_by = users(&loaded.config, &name);
                (name, used_by)
            })
            .collect();
        let written_out: Vec<&str> = written_out(&loaded).map(|(name, _)| name).collect();
        let view = screens::secrets(&lines, &unset, &written_out, self.now_ms());
        self.say(view).await
    }

    /// Proposes the entries whose secrets stand in the file, so that they are kept sealed instead.
    pub(super) async fn seal_written_out(&mut self) -> Done {
        let loaded = self.sound().await?;
        let puts = written_out(&loaded).map(|(name, value)| Change::Put {
            file: FileKind::Local,
            name: name.to_owned(),
            value: value.clone(),
            at: None,
        });
        let edit = Edit(puts.collect());
        if edit.is_empty() {
            return Err(Refusal::Over(
                "No secret stands written out in the file any more.",
            ));
        }
        self.propose(Draft {
            title: "keep secrets sealed".to_owned(),
            edit,
            ..Draft::default()
        })
        .await
    }

    /// `/mcp secrets set NAME [for SERVER]`, perhaps with the value in the line.
    pub(super) async fn set_secret(
        &mut self,
        typed: &str,
        server: Option<&str>,
        value: Option<String>,
    ) -> Done {
        if is_secret_value(typed) || server.is_some_and(is_secret_value) {
            return Err(self.key_as_name().await);
        }
        let note = match &value {
            Some(value) => {
                self.hush(value);
                self.hide_what_was_said().await
            }
            None => None,
        };
        self.may(Action::Configure, false).await?;
        let name = name_of(typed)?;
        let given_for = self.for_what(&name, server).await?;
        let secret = SecretFlow {
            name,
            given_for,
            private: self.private,
            nonce: None,
        };
        if let (Some(value), true) = (&value, self.private) {
            if let Some(note) = note {
                self.send(View::text(note)).await;
            }
            let value = plain_secret(value)?;
            return self.keep_given(&secret, value).await;
        }
        if value.is_some() {
            self.send(View::error(
                "Others here may have read that value, so I did not take it. Get a new one where it comes from, and give \
                 it where nobody reads along:",
            ))
            .await;
        }
        let mut flow = Flow {
            id: new_id(),
            by: self.actor.clone(),
            message: None,
            kind: FlowKind::Secret(secret.clone()),
            at_ms: self.now_ms(),
        };
        let view = self.secret_question(&mut flow, secret).await?;
        self.ask_on(flow, view).await;
        Ok(())
    }

    /// The open question: itself where nobody reads along, else the way to where nobody does.
    pub(super) async fn secret_question(
        &mut self,
        flow: &mut Flow,
        mut secret: SecretFlow,
    ) -> Result<View, Refusal> {
        let what = format!("the value of {}", secret.name);
        if self.private {
            let page = self
                .entry_page(flow, &what, super::handoff::Kind::Plain)
                .await?;
            return Ok(screens::secret_question(
                &secret.name,
                &secret.given_for,
                page.as_deref(),
            ));
        }
        self.drop_handoff(&mut secret.nonce).await;
        let (nonce, link) = self
            .handoff_link(flow, what, super::handoff::Kind::Plain)
            .await?;
        secret.nonce = Some(nonce);
        let view = screens::secret_elsewhere(&secret.name, &secret.given_for, link);
        flow.kind = FlowKind::Secret(secret);
        Ok(view)
    }

    /// The value was typed here.
    pub(super) async fn secret_answered(&mut self, secret: &SecretFlow, text: &str) -> Done {
        self.hush(text);
        let note = self.hide_what_was_said().await;
        if !self.private {
            return Err(Refusal::Plain(
                "Others here may have read that, so I did not take it. Get a new one where it comes from, and press the \
                 button above to give it where nobody reads along."
                    .to_owned(),
            ));
        }
        if let Some(note) = note {
            self.send(View::text(note)).await;
        }
        let value = plain_secret(text)?;
        self.keep_given(secret, value).await
    }

    /// Keeps a value, and starts the servers anew that use it.
    pub(super) async fn keep_given(&mut self, secret: &SecretFlow, value: Secret) -> Done {
        // Rights may have gone since it was asked for.
        let standing = self.private;
        self.private = secret.private;
        let may = self.may(Action::Configure, true).await;
        self.private = standing;
        may?;
        let given = Given {
            secret: value,
            given_for: secret.given_for.clone(),
            at_ms: self.now_ms(),
        };
        self.change_secret(&secret.name, Some(given)).await?;
        let used_by = self.start_anew(&secret.name).await?;
        self.say(screens::secret_kept(
            &secret.name,
            &secret.given_for,
            &used_by,
        ))
        .await
    }

    /// `/mcp secrets remove NAME`: asked once more where something uses it.
    pub(super) async fn remove_secret(&mut self, typed: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let name = name_of(typed)?;
        if !self.is_stored(&name).await? {
            if is_secret_value(typed) {
                return Err(self.key_as_name().await);
            }
            return Err(Refusal::Plain(format!(
                "Nothing is kept under the name `{name}`. `/mcp secrets` shows what is."
            )));
        }
        let loaded = self.loaded().await?;
        let used_by = users(&loaded.config, &name);
        if used_by.is_empty() && !self.records.holds(&name) {
            return self.forget_secret(&name).await;
        }
        let view = screens::secret_still_used(&name, &used_by);
        self.begin_flow(FlowKind::Forget { name }, view).await
    }

    /// A key stands where a name is expected: names are shown to everybody who configures here, so it is not taken.
    async fn key_as_name(&mut self) -> Refusal {
        if let Some(note) = self.hide_what_was_said().await {
            self.send(View::text(note)).await;
        }
        let next = if self.private {
            "I ask for the value then."
        } else {
            "Others here may have read this key, so get a new one where it comes from."
        };
        Refusal::Plain(format!(
            "That looks like a key itself, and a name stands in lists that others read, so I did not take it. Send \
             `/mcp secrets set` with a name such as `GITHUB_TOKEN`. {next}"
        ))
    }

    /// The question before one is forgotten that something uses.
    pub(super) async fn forget_question(&self, name: &SecretName) -> Result<View, Refusal> {
        let loaded = self.loaded().await?;
        Ok(screens::secret_still_used(
            name,
            &users(&loaded.config, name),
        ))
    }

    /// Forgets it, also where something uses it.
    pub(super) async fn forget_secret(&mut self, name: &SecretName) -> Done {
        self.may(Action::Configure, true).await?;
        self.change_secret(name, None).await?;
        let used_by = self.start_anew(name).await?;
        self.say(screens::secret_forgotten(name, &used_by)).await
    }

    /// Keeps or forgets one, and writes down that it was done. What cannot be written down is not done.
    async fn change_secret(&self, name: &SecretName, given: Option<Given>) -> Done {
        let audit = &self.hall.parts.audit;
        audit
            .is_open(self.thread)
            .map_err(|closed| Refusal::Store(closed.to_string()))?;
        let outcome = if given.is_some() { "set" } else { "removed" };
        let (thread, changes) = (self.thread, [(name.clone(), given)]);
        self.stored(move |store| store.keep_secrets(thread, &changes))
            .await?;
        let what = What::Secret {
            name: name.to_string(),
            outcome: outcome.to_owned(),
        };
        audit.note(thread, Entry::by(&self.actor, what));
        Ok(())
    }

    /// What a value is given for: the server that was named; else what it was given for before; else whatever names it.
    async fn for_what(&self, name: &SecretName, server: Option<&str>) -> Result<GivenFor, Refusal> {
        let loaded = self.loaded().await?;
        if let Some(server) = server {
            let server = Self::server_named(&loaded, server)?;
            let found = loaded.config.definition(&server);
            return match found.as_ref().map(place_of) {
                Some(place) if place != GivenFor::Unknown => Ok(place),
                Some(_) | None => Err(Refusal::Plain(format!(
                    "The address of {server} is no place that a key could be sent to."
                ))),
            };
        }
        let (thread, own) = (self.thread, name.clone());
        let before = self.stored(move |store| store.secret_given_for(thread, &own));
        if let Some(before) = before.await?
            && before != GivenFor::Unknown
        {
            return Ok(before);
        }
        let mut places: Vec<GivenFor> = loaded
            .config
            .all()
            .filter(|(_, definition)| definition.secret_names().contains(name))
            .map(|(_, definition)| place_of(&definition))
            .collect();
        places.sort_unstable();
        places.dedup();
        match places.as_slice() {
            [] => Ok(GivenFor::Local),
            [place] if *place != GivenFor::Unknown => Ok(place.clone()),
            _ => Err(Refusal::Plain(format!(
                "Several servers name `{name}`, and a key goes to one place alone. Say which: `/mcp secrets set {name} for` \
                 and the server's name."
            ))),
        }
    }

    /// Starts the servers anew that use it; their names.
    async fn start_anew(&self, name: &SecretName) -> Result<Vec<ServerName>, Refusal> {
        let loaded = self.loaded().await?;
        let used_by = users(&loaded.config, name);
        for server in used_by.clone() {
            let (hall, thread) = (Arc::clone(self.hall), self.thread);
            self.hall.spawn(async move {
                // One that is switched off, or gone meanwhile, has nothing to start.
                let _ = hall.parts.registry.restart(thread, &server).await;
            });
        }
        Ok(used_by)
    }
}

/// The name as it is typed, or as it stands in a file.
fn name_of(typed: &str) -> Result<SecretName, Refusal> {
    let name = SecretName::of_placeholder(typed).or_else(|| SecretName::new(typed).ok());
    name.ok_or_else(|| {
        Refusal::Plain(
            "The name of a secret has 1 to 64 letters, digits, `.`, `_` and `-`, for example `GITHUB_TOKEN`. The value \
             comes after it, or when I ask."
                .to_owned(),
        )
    })
}

/// A value that is kept as it is, but for blanks around it. The words of a refusal hold none of it.
pub(super) fn plain_secret(text: &str) -> Result<Secret, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.len() > MOST_BYTES || text.contains('\0') {
        return Err(Refusal::Plain(
            "That cannot be kept: a value has between 1 and 16,384 bytes, and no NUL in it. Send it once more, alone."
                .to_owned(),
        ));
    }
    Ok(Secret::from(text.to_owned()))
}

/// The local entries with a secret that stands in the file itself.
fn written_out(loaded: &Loaded) -> impl Iterator<Item = (&str, &Value)> {
    let servers = loaded.files.local.servers();
    servers.filter(|(_, entry)| has_literals(entry))
}

/// The client ids of logins are kept beside them and are the login's affair.
fn is_shown(name: &SecretName) -> bool {
    !(name.as_str().starts_with("oauth.") && name.as_str().ends_with(".client"))
}

fn place_of(definition: &Definition) -> GivenFor {
    match definition {
        Definition::Local(_) => GivenFor::Local,
        Definition::Remote(server) => GivenFor::place_of(&server.url),
    }
}

/// The servers that use a secret.
fn users(config: &ThreadConfig, name: &SecretName) -> Vec<ServerName> {
    config
        .all()
        .filter(|(_, definition)| definition.secret_names().contains(name))
        .map(|(server, _)| server.clone())
        .collect()
}

/// The secrets that any server uses, each once.
fn named(config: &ThreadConfig) -> Vec<SecretName> {
    let mut names: Vec<SecretName> = config
        .all()
        .flat_map(|(_, definition)| definition.secret_names())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_as_it_is_and_a_refusal_has_none_of_it() {
        for (text, expected) in [
            (" abc def \n", Some("abc def")),
            (
                "-----BEGIN KEY-----\nhush\n-----END KEY-----\n",
                Some("-----BEGIN KEY-----\nhush\n-----END KEY-----"),
            ),
            ("ü`x`", Some("ü`x`")),
            ("  ", None),
            ("hush\0", None),
        ] {
            match plain_secret(text) {
                Ok(secret) => assert_eq!(Some(secret.expose()), expected, "{text}"),
                Err(refusal) => {
                    assert_eq!(expected, None, "{text}");
                    assert!(!refusal.sentence().contains("hush"));
                }
            }
        }
        assert!(plain_secret(&"x".repeat(MOST_BYTES + 1)).is_err());
        for (typed, name) in [
            ("A_1.b-c", Some("A_1.b-c")),
            ("${secret:A}", Some("A")),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(
                name_of(typed).ok().map(|name| name.to_string()).as_deref(),
                name,
                "{typed}"
            );
        }
    }
}
