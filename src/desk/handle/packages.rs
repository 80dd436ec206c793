//! Packages in a proposal: an open version is looked up and pinned, and what applying it installs is said.

use std::time::Duration;

use serde_json::json;

use super::super::propose::Draft;
use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::chat::View;
use crate::config::{Change, FileKind};
use crate::registry::{NotPinned, Pinned};
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
        let several = draft.edit.names().len() > 1;
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
            let pinned = match pinned {
                Ok(Some(pinned)) => pinned,
                Ok(None) => continue,
                Err(not) if not.no_manager && several => {
                    notes.push(unpinned(name.as_str(), &not));
                    continue;
                }
                Err(not) => return Err(refused(name.as_str(), several, &not)),
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

/// One of several that cannot start here yet; the others can.
fn unpinned(name: &str, not: &NotPinned) -> String {
    format!(
        "`{name}` stays as it is written, without a fixed version, and cannot start before that is mended: {}",
        not.words
    )
}

fn refused(name: &str, several: bool, not: &NotPinned) -> Refusal {
    let next = match (several, not.no_manager) {
        (true, _) => format!(" The others can be added without `{name}`: leave it out."),
        (false, true) => " Send this again then.".to_owned(),
        (false, false) => String::new(),
    };
    Refusal::Plain(format!(
        "Nothing was changed, because of `{name}`. {}{next}",
        not.words
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pinned_is_named_with_what_to_do() {
        let not = |no_manager| NotPinned {
            words: "It is so. Do that.".to_owned(),
            no_manager,
        };
        let note = unpinned("fetch", &not(true));
        assert!(note.starts_with("`fetch` stays as it is written"), "{note}");
        for (several, no_manager, expected) in [
            (
                false,
                false,
                "Nothing was changed, because of fetch. It is so. Do that.",
            ),
            (
                false,
                true,
                "Nothing was changed, because of fetch. It is so. Do that. Send this again then.",
            ),
            (
                true,
                false,
                "Nothing was changed, because of fetch. It is so. Do that. The others can be added without fetch: leave it out.",
            ),
        ] {
            let words = refused("fetch", several, &not(no_manager)).sentence();
            assert_eq!(words, expected);
        }
    }
}
