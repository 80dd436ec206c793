//! The end of a login: the tokens are taken, the server is started with them, and where it then turns out to speak
//! otherwise than was guessed, the change to that is proposed.
//!
//! A server that says nothing before a login is written down as streamable HTTP, which nearly all speak. One that does not
//! is tried once more with the login. The change is proposed and not made: what a server answers is no reason to write a
//! file without a person who has seen the difference, and it costs them one press.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::super::super::propose::Draft;
use super::super::super::records::Login;
use super::super::super::screens;
use super::super::super::turn::Turn;
use super::super::super::{Hall, Work};
use super::super::connect::remote_in;
use super::super::switch::raw_entry;
use super::super::{Done, News};
use crate::audit::What;
use crate::chat::View;
use crate::config::{Change, Edit, FileKind, RemoteTransport, ServerName};
use crate::oauth::LoginId;
use crate::registry::{ProbeAsk, ServerView};
use crate::thread::ThreadId;

/// The second try has so long; somebody waits for it.
const TRY: Duration = Duration::from_mins(1);

/// What a server was found to speak after its login.
#[derive(Debug, Clone)]
pub(in crate::desk) struct Spoken {
    /// The login that it was found with.
    pub(in crate::desk) login: Login,
    pub(super) name: ServerName,
    pub(super) transport: RemoteTransport,
    /// What is told of the login where nothing can be proposed.
    pub(super) view: View,
}

/// Takes the tokens and has the server use them. Runs in a task.
pub(super) async fn finish(
    hall: Arc<Hall>,
    thread: ThreadId,
    name: ServerName,
    id: LoginId,
    login: Login,
) {
    let message = login.message;
    let view = match hall.parts.oauth.finish(&id, &login.by.id).await {
        Ok(()) => {
            noted(&hall, thread, &login, "logged in").await;
            if let Some(message) = message {
                let _ = hall
                    .edit(thread, message, screens::logged_in_loading(name.as_str()))
                    .await;
            }
            match hall.parts.registry.restart(thread, &name).await {
                Ok(server) => {
                    let view = screens::logged_in(&server);
                    if let Some(transport) = other_way(&hall, thread, &server).await {
                        let spoken = Spoken {
                            login,
                            name,
                            transport,
                            view,
                        };
                        let _ = hall.post(thread, Work::News(News::Spoken(Box::new(spoken))));
                        return;
                    }
                    view
                }
                Err(_) => View::error(format!("{name} is not there any more.")),
            }
        }
        Err(error) => {
            noted(&hall, thread, &login, "the login failed").await;
            screens::no_login(name.as_str(), &error)
        }
    };
    hall.finish(thread, message, view).await;
}

/// Writes down how a login ended, before anybody is told.
pub(super) async fn noted(hall: &Hall, thread: ThreadId, login: &Login, outcome: &str) {
    let what = What::Login {
        server: login.server.clone(),
        outcome: outcome.to_owned(),
    };
    if let Err(error) = hall.note(thread, Some(&login.by), what).await {
        tracing::warn!(%thread, server = %login.server, %error, "a login is not in the audit yet.");
    }
}

/// What the thread's own server speaks, where it is down and that is not what its entry says.
async fn other_way(hall: &Hall, thread: ThreadId, server: &ServerView) -> Option<RemoteTransport> {
    screens::trouble(&server.state)?;
    let loaded = hall.parts.reload.touch(thread).await.ok()?;
    let entry = remote_in(&loaded, server.name.as_str())?;
    let ask = ProbeAsk {
        url: entry.url.clone(),
        headers: entry.headers.clone(),
        auth: entry.auth.clone(),
    };
    // Nobody looks at the stages.
    let (stages, _) = mpsc::channel(1);
    let probe = hall.parts.registry.probe(thread, ask, stages);
    let probed = tokio::select! {
        () = hall.stop.cancelled() => return None,
        probed = tokio::time::timeout(TRY, probe) => probed.ok()?,
    };
    probed.transport.filter(|found| *found != entry.transport)
}

impl Turn<'_> {
    /// A server speaks otherwise than its entry says.
    pub(in crate::desk::handle) async fn speaks_otherwise(&mut self, spoken: Spoken) -> Done {
        let Spoken {
            login,
            name,
            transport,
            view,
        } = spoken;
        self.pressed = login.message;
        let loaded = self.loaded().await?;
        let (file, mut value) = raw_entry(&loaded, &name);
        let Some(entry) = value.as_object_mut().filter(|entry| !entry.is_empty()) else {
            return self.say(view).await;
        };
        if file != FileKind::Remote || loaded.broken.is_some() {
            return self.say(view).await;
        }
        entry.insert("type".to_owned(), json!(transport.name()));
        self.propose(Draft {
            title: format!("change how {name} is spoken to"),
            edit: Edit(vec![Change::Put {
                file,
                name: name.to_string(),
                value,
                at: None,
            }]),
            notes: vec![format!(
                "You are logged in to `{name}`. Only now it told how it is spoken to, which is not what I had guessed."
            )],
            ..Draft::default()
        })
        .await
    }
}
