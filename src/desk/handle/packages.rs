//! Packages in a proposal: an open version is looked up and pinned, and what applying it installs is said.

use std::time::Duration;

use serde_json::json;

use super::super::propose::Draft;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::chat::View;
use crate::config::{Change, FileKind};
use crate::registry::Pinned;
use crate::reload::Loaded;

/// After this long a person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(2);

impl Turn<'_> {
    /// Pins the packages that a draft's servers run.
    pub(in crate::desk) async fn pin_packages(
        &self,
        loaded: &Loaded,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        // What was is put back as it was.
        if draft.undoes.is_some() || draft.repairs {
            return Ok(());
        }
        let Ok(config) = draft.edit.apply(&loaded.files)?.check() else {
            // Told with the whole of it, a little later.
            return Ok(());
        };
        // Nobody's registry is asked for what may not be run.
        self.is_allowed(&loaded.config, &config).await?;
        let mut notes = Vec::new();
        for change in &mut draft.edit.0 {
            let Change::Put {
                file: FileKind::Local,
                name,
                value,
                ..
            } = change
            else {
                continue;
            };
            let mut local = config.local.iter();
            let found = local.find(|(other, server)| other.as_str() == name && !server.disabled);
            let Some((name, server)) = found else {
                continue;
            };
            let is_as_before = loaded.config.local.iter().any(|(other, was)| {
                other == name && was.command == server.command && was.args == server.args
            });
            if is_as_before {
                continue;
            }
            let pinning = self.hall.parts.registry.pin(self.thread, server);
            tokio::pin!(pinning);
            let pinned = tokio::select! {
                pinned = &mut pinning => pinned,
                () = tokio::time::sleep(TELL_AFTER) => {
                    let words = format!("⏳ Asking for the version of what {name} runs…");
                    self.send(View::text(words)).await;
                    pinning.await
                }
            };
            let Some(pinned) = pinned.map_err(Refusal::Plain)? else {
                continue;
            };
            if pinned.args != server.args
                && let Some(entry) = value.as_object_mut()
            {
                entry.insert("args".to_owned(), json!(pinned.args));
            }
            notes.push(note(name.as_str(), &pinned));
        }
        draft.notes.extend(notes);
        Ok(())
    }
}

fn note(name: &str, pinned: &Pinned) -> String {
    let Pinned { package, from, .. } = pinned;
    if pinned.is_there {
        return format!(
            "`{name}` runs the package {package}, which is installed for this chat already."
        );
    }
    let from = match from.as_slice() {
        [] => String::new(),
        hosts => format!(" from {},", hosts.join(" and ")),
    };
    format!(
        "Applying this installs the package {package} for `{name}`, once,{from} into a folder for this chat alone on the \
         bot's machine. From then on it starts from there, in exactly this version."
    )
}
