//! Logins at remote servers: what is pressed while one is under way, its news, and the end of one.
//!
//! What is under way is a record, so it survives a restart. Only who began finishes; what takes long runs in a task.

mod begin;
mod finish;
mod pasted;

use std::sync::Arc;

use super::super::Hall;
use super::super::action::LoginVerb;
use super::super::records::{Login, Records};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use super::connect::any_remote;
use crate::audit::What;
use crate::chat::Answer;
use crate::config::{RemoteAuth, ServerName};
use crate::oauth::{LoginNews, LoginNotice};
use crate::policy::Action;

use finish::{finish, noted};

pub(in crate::desk) use begin::keep_client_id;
pub(in crate::desk) use finish::Spoken;
pub(super) use pasted::is_callback;

impl Turn<'_> {
    /// One login at a time for a server: what was begun before ends.
    pub(super) async fn end_logins_of(&mut self, name: &ServerName) {
        while let Some(login) = self
            .records
            .take_login(|login| login.server == name.as_str())
        {
            if let Some(id) = &login.login {
                self.hall.parts.oauth.cancel(id).await;
                noted(self.hall, self.thread, &login, "a login was given up").await;
            }
            if let Some(message) = login.message
                && Some(message) != self.pressed
            {
                let view = screens::login_replaced(&login.server);
                let _ = self.hall.edit(self.thread, message, view).await;
            }
        }
    }

    /// Finish or Cancel.
    pub(super) async fn login_pressed(&mut self, verb: LoginVerb, id: &str) -> Done {
        let Some(login) = self.records.login(id).cloned() else {
            return Err(Refusal::Over(
                "This login is over. Send /mcp login with the server's name for another.",
            ));
        };
        match (self.may_go_on(&login.by).await, verb) {
            (Ok(()), _) => {}
            (Err(Refusal::NotYours(name)), LoginVerb::Finish) => {
                return Err(Refusal::Alert(format!(
                    "Only {name} can finish this login; it is their account."
                )));
            }
            (Err(other), _) => return Err(other),
        }
        if verb == LoginVerb::Finish {
            // Rights may have gone since the login was begun: asked anew.
            self.may(Action::Configure, true).await?;
            self.audit_is_open().await?;
        }
        self.records.take_login(|login| login.id == id);
        self.pressed = login.message.or(self.pressed);
        let Some(oauth) = login.login.clone() else {
            return self.say(screens::login_cancelled(&login.server)).await;
        };
        match verb {
            LoginVerb::Cancel => {
                self.hall.parts.oauth.cancel(&oauth).await;
                noted(self.hall, self.thread, &login, "a login was given up").await;
                self.say(screens::login_cancelled(&login.server)).await
            }
            LoginVerb::Finish => {
                self.answer(Answer::Toast("Finishing…".to_owned())).await;
                let name = Self::server_named(&self.loaded().await?, &login.server)?;
                let login = Login {
                    message: self.pressed,
                    login: None,
                    ..login
                };
                let (hall, thread) = (Arc::clone(self.hall), self.thread);
                self.hall.spawn(finish(hall, thread, name, oauth, login));
                Ok(())
            }
        }
    }

    /// `/mcp logout NAME`.
    pub(super) async fn logout(&mut self, name: &str) -> Done {
        self.may(Action::Configure, true).await?;
        let loaded = self.loaded().await?;
        let name = Self::server_named(&loaded, name)?;
        let credential = match any_remote(&loaded, name.as_str()).map(|server| &server.auth) {
            Some(RemoteAuth::OAuth(id)) => id.clone(),
            Some(RemoteAuth::Bearer(_) | RemoteAuth::ApiKey { .. }) => {
                return Err(Refusal::Plain(format!(
                    "{name} has no login but a key. `/mcp remove {name}` forgets it, `/mcp connect {name}` sets another."
                )));
            }
            Some(RemoteAuth::None) | None => {
                return Err(Refusal::Plain(format!("{name} has no login.")));
            }
        };
        self.end_logins_of(&name).await;
        self.answer(Answer::Toast(format!("Logging out of {name}…")))
            .await;
        let (hall, thread) = (Arc::clone(self.hall), self.thread);
        let (message, by) = (self.pressed, self.actor.clone());
        self.hall.spawn(async move {
            let done = hall.parts.oauth.logout(thread, &credential).await;
            let what = What::Login {
                server: name.to_string(),
                outcome: "logged out".to_owned(),
            };
            if let Err(error) = hall.note(thread, Some(&by), what).await {
                tracing::warn!(%thread, server = %name, %error, "a logout is not in the audit yet.");
            }
            // It finds itself without a token.
            let _ = hall.parts.registry.restart(thread, &name).await;
            let view = screens::logged_out(name.as_str(), done);
            hall.finish(thread, message, view).await;
        });
        Ok(())
    }
}

/// A login under way has news.
pub(in crate::desk) async fn login_news(
    hall: &Arc<Hall>,
    notice: LoginNotice,
    records: &mut Records,
) {
    let is_it = |login: &Login| login.login.as_ref() == Some(&notice.id);
    let Some(login) = records.logins.iter().find(|login| is_it(login)).cloned() else {
        tracing::debug!(thread = %notice.thread, "news of a login that nobody waits for.");
        return;
    };
    let view = match &notice.news {
        LoginNews::Arrived { account, scopes } => {
            screens::arrived(&login, account.as_deref(), scopes)
        }
        LoginNews::Denied => screens::denied(&login.server),
        LoginNews::Failed(why) => screens::login_failed(&login.server, why),
        LoginNews::Expired => screens::login_expired(&login.server),
    };
    let ended = match &notice.news {
        LoginNews::Arrived { .. } => None,
        LoginNews::Denied => Some("the login was refused"),
        LoginNews::Failed(_) => Some("the login failed"),
        LoginNews::Expired => Some("the login took too long"),
    };
    if let Some(ended) = ended {
        records.take_login(is_it);
        noted(hall, notice.thread, &login, ended).await;
    }
    let mut turn = Turn::of_task(
        hall,
        records,
        notice.thread,
        login.by.clone(),
        login.private,
    );
    turn.pressed = login.message;
    let shown = turn.show(view).await;
    if let Some(login) = records.logins.iter_mut().find(|login| is_it(login)) {
        login.message = shown.or(login.message);
    }
}
