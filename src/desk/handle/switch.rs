//! On, off, away, another name, and again: changes of a whole server.

use std::sync::Arc;

use super::super::propose::Draft;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::add::safe_name;
use super::{Done, running};
use crate::audit::{Entry, What};
use crate::chat::{Answer, View};
use crate::config::{Change, Edit, FileKind, ServerName};
use crate::policy::Action;
use crate::reload::Loaded;

impl Turn<'_> {
    pub(super) async fn switch_on(&mut self, name: &str) -> Done {
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let definition = loaded.config.definition(&name);
        if definition.is_some_and(|definition| !definition.is_disabled()) {
            self.is_approved(&loaded, &name).await?;
            return Err(Refusal::Plain(format!("{name} is switched on already.")));
        }
        let edit = switched(&loaded, &name, false);
        let title = format!("enable {name}");
        self.propose(Draft {
            title,
            edit,
            ..Draft::default()
        })
        .await
    }

    pub(super) async fn switch_off(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let edit = |loaded: &Loaded| {
            let name = Self::server_named(loaded, name.as_str())?;
            Ok(switched(loaded, &name, true))
        };
        self.apply_now(&format!("disable {name}"), edit).await
    }

    pub(super) async fn remove(&mut self, name: &str) -> Done {
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let (file, _) = raw_entry(&loaded, &name);
        let edit = Edit(vec![Change::Remove {
            file,
            name: name.to_string(),
        }]);
        self.propose(Draft {
            title: format!("remove {name}"),
            edit,
            ..Default::default()
        })
        .await
    }

    pub(super) async fn rename(&mut self, from: &str, to: &str) -> Done {
        let loaded = self.sound().await?;
        let from = Self::server_named(&loaded, from)?;
        Self::is_the_threads(&loaded, &from)?;
        let (to, note) = safe_name(to.trim());
        let (file, _) = raw_entry(&loaded, &from);
        let edit = Edit(vec![Change::Rename {
            file,
            from: from.to_string(),
            to: to.clone(),
        }]);
        self.propose(Draft {
            title: format!("rename {from} to {to}"),
            notes: note.into_iter().collect(),
            edit,
            ..Default::default()
        })
        .await
    }

    pub(super) async fn restart(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.loaded().await?;
        let name = Self::server_named(&loaded, name)?;
        let definition = loaded.config.definition(&name);
        if definition.is_some_and(|definition| definition.is_disabled()) {
            return Err(Refusal::Plain(format!(
                "{name} is switched off. Switch it on with `/mcp enable {name}`."
            )));
        }
        self.answer(Answer::Toast(format!("Restarting {name}…")))
            .await;
        let message = self
            .send(View::text(format!("⏳ Restarting {name}…")))
            .await;
        let hall = Arc::clone(self.hall);
        let thread = self.thread;
        let by = self.actor.clone();
        self.hall.spawn(async move {
            let Some(place) = hall.live.enter(thread, &by.id) else {
                hall.finish(thread, message, running::too_many()).await;
                return;
            };
            let what = What::Decided {
                server: name.to_string(),
                decision: "it was to be started again".to_owned(),
            };
            hall.parts.audit.note(thread, Entry { by: Some(by), what });
            let restarted = tokio::select! {
                restarted = hall.parts.registry.restart(thread, &name) => restarted,
                () = place.stop.cancelled() => {
                    hall.finish(thread, message, View::text(format!("{name} goes on restarting; /mcp list shows how it does."))).await;
                    return;
                }
            };
            let view = match restarted {
                Ok(server) => screens::restarted(&server),
                Err(_) => View::error(format!("{name} is not there any more.")),
            };
            hall.finish(thread, message, view).await;
        });
        Ok(())
    }
}

/// The edit that switches a server off or on.
fn switched(loaded: &Loaded, name: &ServerName, off: bool) -> Edit {
    let (file, mut value) = raw_entry(loaded, name);
    if let Some(entry) = value.as_object_mut() {
        if off {
            entry.insert("disabled".to_owned(), true.into());
        } else {
            // `shift_remove` keeps the order of the other fields.
            entry.shift_remove("disabled");
        }
    }
    Edit(vec![Change::Put {
        file,
        name: name.to_string(),
        value,
        at: None,
    }])
}

/// A server's raw entry and the file it is in. The name comes from the same checked configuration, so it is there; an
/// entry that is not becomes an empty object, which no schema lets through.
pub(super) fn raw_entry(loaded: &Loaded, name: &ServerName) -> (FileKind, serde_json::Value) {
    let local = loaded.files.local.server(name.as_str());
    let (file, entry) = match local {
        Some(entry) => (FileKind::Local, Some(entry)),
        None => (FileKind::Remote, loaded.files.remote.server(name.as_str())),
    };
    (
        file,
        entry.cloned().unwrap_or_else(|| serde_json::json!({})),
    )
}
