//! Secrets that somebody wrote out, kept sealed instead: an entry names them, and no file and no record holds one.
//!
//! They are kept before the change is decided, so that they wait nowhere in the clear; a flow or a proposal holds their
//! names, and what nothing holds and no file mentions is forgotten.

use serde_json::{Value, json};

use super::super::keeping::free_name;
use super::super::records::Forget;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::audit::{Entry, What};
use crate::config::{Change, Edit, FileKind, Files, GivenFor, Lifted, SecretName, lift};
use crate::secret::Secret;
use crate::store::{Given, Store, StoreError};
use crate::thread::ThreadId;

/// How far back the history is looked through for names.
const HISTORY: usize = 200;

impl Turn<'_> {
    /// Takes the secrets out of the local entries that a change puts. Nothing is kept yet: see [`Turn::seal`].
    pub(super) async fn take_out(
        &self,
        edit: &mut Edit,
        files: &Files,
    ) -> Result<Vec<Lifted>, Refusal> {
        let mut entries: Vec<&mut Value> = edit.0.iter_mut().filter_map(local_entry).collect();
        self.take_out_of(&mut entries, files).await
    }

    /// Takes the secrets out of settings of a local entry that were just answered (`env.KEY`, `args` as a JSON list), and
    /// keeps them sealed; their names.
    pub(in crate::desk) async fn seal_answers(
        &mut self,
        set: &mut [(String, String)],
    ) -> Result<Vec<SecretName>, Refusal> {
        let mut entry = json!({ "env": {}, "args": [] });
        for (field, text) in set.iter() {
            match field.strip_prefix("env.") {
                Some(name) => entry["env"][name] = json!(text),
                None if field == "args" => {
                    entry["args"] = serde_json::from_str(text).unwrap_or_default();
                }
                None => {}
            }
        }
        let names = self.seal_entry(&mut entry).await?;
        for (field, text) in set.iter_mut() {
            match field.strip_prefix("env.") {
                Some(name) => entry["env"][name]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(text),
                None if field == "args" => *text = entry["args"].to_string(),
                None => {}
            }
        }
        Ok(names)
    }

    /// Takes the secrets out of an entry that is being made, and keeps them sealed; their names.
    pub(in crate::desk) async fn seal_entry(
        &mut self,
        entry: &mut Value,
    ) -> Result<Vec<SecretName>, Refusal> {
        let loaded = self.loaded().await?;
        let lifted = self.take_out_of(&mut [entry], &loaded.files).await?;
        self.seal(lifted).await
    }

    async fn take_out_of(
        &self,
        entries: &mut [&mut Value],
        files: &Files,
    ) -> Result<Vec<Lifted>, Refusal> {
        let mut values = Vec::new();
        for entry in entries.iter() {
            lift(&mut Value::clone(entry), |value, _| {
                values.push(value.to_owned());
                None
            });
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let thread = self.thread;
        let known = self
            .stored(move |store| Known::read(store, thread, &values))
            .await?;
        let mut usable = known.usable;
        usable.retain(|(name, _)| !self.records.holds(name));
        // A name that stands somewhere without a value must not come to mean this one: in the files, in what is not decided
        // yet, in what may be undone to.
        let mut taken = known.names;
        taken.extend(self.records.shared());
        let files = [files.local.to_text(), files.remote.to_text()];
        let entries_text = entries.iter().map(ToString::to_string);
        for text in files.into_iter().chain(entries_text) {
            taken.extend(SecretName::all_in(&text).into_iter().map(|(_, name)| name));
        }
        let mut fresh: Vec<Lifted> = Vec::new();
        for entry in entries {
            let lifted = lift(entry, |value, wanted| {
                let kept = usable.iter().find(|(_, secret)| secret.expose() == value);
                let named = fresh.iter().find(|one| one.value == value);
                let known = kept.map(|(name, _)| name).or(named.map(|one| &one.name));
                Some(known.cloned().unwrap_or_else(|| {
                    let name = free_name(wanted, &taken);
                    taken.push(name.clone());
                    name
                }))
            });
            for one in lifted {
                let is_known = usable.iter().any(|(name, _)| *name == one.name)
                    || fresh.iter().any(|other| other.name == one.name);
                if !is_known {
                    fresh.push(one);
                }
            }
        }
        Ok(fresh)
    }

    /// What is kept sealed now stands in the history no more, as far as it did.
    pub(super) async fn seal_history(&self, names: &[SecretName]) {
        if names.is_empty() {
            return;
        }
        let (thread, names) = (self.thread, names.to_vec());
        let sealed = self
            .stored(move |store| {
                let mut secrets = Vec::with_capacity(names.len());
                for name in names {
                    let secret = store.secret(thread, &name, &GivenFor::Local)?;
                    secrets.extend(secret.map(|secret| (name, secret)));
                }
                store.seal_history(thread, &secrets)
            })
            .await;
        if sealed.is_err() {
            tracing::warn!(%thread, "what was sealed still stands in the history.");
        }
    }

    /// Keeps what was taken out, sealed, all of it or nothing; the names. Whoever calls this holds them in a record next.
    pub(super) async fn seal(&mut self, lifted: Vec<Lifted>) -> Result<Vec<SecretName>, Refusal> {
        if lifted.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<SecretName> = lifted.iter().map(|one| one.name.clone()).collect();
        // A record first, so that a crash right here leaves none that nobody knows of.
        for name in &names {
            self.records.note_to_forget(Forget::Secret(name.clone()));
        }
        self.keep_records().await;
        let at_ms = self.now_ms();
        let changes: Vec<(SecretName, Option<Given>)> = lifted
            .into_iter()
            .map(|one| {
                let given = Given {
                    secret: Secret::from(one.value),
                    given_for: GivenFor::Local,
                    at_ms,
                };
                (one.name, Some(given))
            })
            .collect();
        let thread = self.thread;
        self.stored(move |store| store.keep_secrets(thread, &changes))
            .await?;
        for name in &names {
            let what = What::Secret {
                name: name.to_string(),
                outcome: "set".to_owned(),
            };
            let audit = &self.hall.parts.audit;
            audit.note(thread, Entry::by(&self.actor, what));
        }
        Ok(names)
    }
}

/// The secrets that the local entries of a change name.
pub(super) fn named(edit: &Edit) -> Vec<SecretName> {
    named_in(edit, |entry| Some(entry))
}

/// The same, in a part of the entries.
fn named_in(edit: &Edit, part: impl Fn(&Value) -> Option<&Value>) -> Vec<SecretName> {
    let mut named = Vec::new();
    for change in &edit.0 {
        if let Change::Put {
            file: FileKind::Local,
            value,
            ..
        } = change
            && let Some(part) = part(value)
        {
            let found = SecretName::all_in(&part.to_string()).into_iter();
            named.extend(found.map(|(_, name)| name));
        }
    }
    named.sort_unstable();
    named.dedup();
    named
}

/// What is told of secrets that a change names and that were kept for it.
pub(super) fn note(edit: &Edit, secrets: &[SecretName]) -> Option<String> {
    let all = named(edit);
    let named: Vec<String> = secrets
        .iter()
        .filter(|name| all.contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    let mut told = match named.as_slice() {
        [] => return None,
        [one] => format!(
            "{one} looks like a secret: its value is kept sealed, and the file only names it. `/mcp secrets` lists it."
        ),
        [most @ .., last] => format!(
            "{} and {last} look like secrets: their values are kept sealed, and the file only names them. `/mcp secrets` \
             lists them.",
            most.join(", ")
        ),
    };
    let in_args = named_in(edit, |entry| entry.get("args"));
    if secrets.iter().any(|name| in_args.contains(name)) {
        told.push_str(
            " What stands in an argument is given on the program's command line, which other programs of the bot's machine \
             can read: where it takes a variable as well, use that.",
        );
    }
    Some(told)
}

fn local_entry(change: &mut Change) -> Option<&mut Value> {
    match change {
        Change::Put {
            file: FileKind::Local,
            value,
            ..
        } => Some(value),
        Change::Put { .. }
        | Change::Remove { .. }
        | Change::Rename { .. }
        | Change::Field { .. } => None,
    }
}

/// What a thread keeps already.
struct Known {
    names: Vec<SecretName>,
    /// Those for programs of its own that have one of the values: the same value needs no second name.
    usable: Vec<(SecretName, Secret)>,
}

impl Known {
    fn read(store: &Store, thread: ThreadId, values: &[String]) -> Result<Self, StoreError> {
        let kept = store.secrets(thread)?;
        let mut usable = Vec::new();
        for one in &kept {
            let may_be = one.ending.as_ref().is_none_or(|ending| {
                let mut values = values.iter();
                values.any(|value| value.ends_with(ending))
            });
            if one.is_readable && one.given_for == GivenFor::Local && may_be {
                let secret = store.secret(thread, &one.name, &GivenFor::Local)?;
                usable.extend(secret.map(|secret| (one.name.clone(), secret)));
            }
        }
        let mut names: Vec<SecretName> = kept.into_iter().map(|one| one.name).collect();
        for entry in store.history(thread, HISTORY)? {
            names.extend(named(&entry.edit));
            names.extend(named(&entry.inverse));
        }
        Ok(Self { names, usable })
    }
}
