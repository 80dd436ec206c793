//! What came of something that ran in a task of its own, and what is done about it.

use std::sync::Arc;

use super::super::Hall;
use super::super::records::{FlowKind, Forget, Grant, LoginWish, Records};
use super::super::screens;
use super::super::turn::Turn;
use super::Spoken;
use crate::actor::{Actor, ActorId};
use crate::audit::What;
use crate::chat::MessageId;
use crate::config::CredentialId;
use crate::oauth::{Invitation, LoginId, OAuthError};
use crate::registry::Probed;
use crate::secret::Secret;
use crate::thread::ThreadId;

/// What came of something that ran in a task of its own. Handled by the thread's worker like everything else.
pub(in crate::desk) enum News {
    /// The try of an address has ended.
    Probed {
        flow: String,
        probed: Box<Probed>,
        message: Option<MessageId>,
    },
    /// Somebody stopped it.
    ProbeStopped {
        flow: String,
        message: Option<MessageId>,
    },
    /// A secret came from a person's private chat.
    Secret {
        flow: String,
        by: Actor,
        value: Secret,
    },
    /// A login's link was made, or could not be.
    Begun {
        id: String,
        begun: Box<Result<Invitation, OAuthError>>,
        message: Option<MessageId>,
    },
    /// Somebody stopped that.
    LoginStopped {
        id: String,
        message: Option<MessageId>,
    },
    /// The address that somebody pasted was taken, or not.
    Pasted {
        by: Actor,
        pasted: Result<LoginId, OAuthError>,
    },
    /// A server that was just connected wants the login that was announced.
    LoginWanted {
        wish: LoginWish,
        challenge: Option<String>,
        message: MessageId,
    },
    /// A server that somebody logged in to speaks otherwise than its entry says.
    Spoken(Box<Spoken>),
    /// A server wanted a login for a call.
    Wanted(Grant),
    /// A login of a removed server is forgotten.
    Forgotten(CredentialId),
}

/// Handles what came of a task.
pub(in crate::desk) async fn news(
    hall: &Arc<Hall>,
    thread: ThreadId,
    news: News,
    records: &mut Records,
) {
    let who = |records: &Records, id: &str| {
        let flow = records.flows.iter().find(|flow| flow.id == id);
        let login = records.login(id);
        flow.map(|flow| flow.by.clone())
            .or_else(|| login.map(|login| login.by.clone()))
    };
    let nobody = || Actor {
        id: ActorId(String::new()),
        name: String::new(),
    };
    let begun_by = match &news {
        News::Probed { flow, .. } | News::ProbeStopped { flow, .. } => who(records, flow),
        News::Begun { id, .. } | News::LoginStopped { id, .. } => who(records, id),
        News::Secret { by, .. } | News::Pasted { by, .. } => Some(by.clone()),
        News::LoginWanted { wish, .. } => Some(wish.by.clone()),
        News::Spoken(spoken) => Some(spoken.login.by.clone()),
        News::Wanted(_) | News::Forgotten(_) => None,
    };
    let private = match &news {
        News::LoginWanted { wish, .. } => wish.private,
        News::Spoken(spoken) => spoken.login.private,
        News::Begun { id, .. } | News::LoginStopped { id, .. } => {
            records.login(id).is_none_or(|login| login.private)
        }
        News::Probed { flow, .. } | News::ProbeStopped { flow, .. } | News::Secret { flow, .. } => {
            let flow = records.flows.iter().find(|other| other.id == *flow);
            flow.is_none_or(|flow| match &flow.kind {
                FlowKind::Connect(connect) => connect.private,
                FlowKind::Secret(secret) => secret.private,
                _ => true,
            })
        }
        News::Pasted { .. } | News::Wanted(_) | News::Forgotten(_) => false,
    };
    let actor = begun_by.unwrap_or_else(nobody);
    let mut turn = Turn::of_task(hall, records, thread, actor, private);
    let done = match news {
        News::Probed {
            flow,
            probed,
            message,
        } => turn.probed(&flow, *probed, message).await,
        News::ProbeStopped { flow, message } => turn.probe_stopped(&flow, message).await,
        News::Secret { flow, value, .. } => turn.handed(&flow, value).await,
        News::Begun { id, begun, message } => turn.begun(&id, *begun, message).await,
        News::LoginStopped { id, message } => {
            turn.records.take_login(|login| login.id == id);
            turn.pressed = message;
            turn.say(screens::login_dropped()).await
        }
        News::Pasted { pasted, .. } => turn.pasted(pasted),
        News::LoginWanted {
            wish,
            challenge,
            message,
        } => turn.login_wanted(wish, challenge, message).await,
        News::Spoken(spoken) => turn.speaks_otherwise(*spoken).await,
        News::Wanted(grant) => {
            turn.records.grants.push(grant);
            Ok(())
        }
        News::Forgotten(id) => {
            hall.end_forgetting(thread, &id);
            let what = What::Login {
                server: id.to_string(),
                outcome: "the login of a removed server was forgotten".to_owned(),
            };
            if let Err(error) = hall.note(thread, None, what).await {
                tracing::warn!(%thread, %error, "a forgotten login is not in the audit yet.");
            }
            turn.records
                .forget
                .retain(|what| *what != Forget::Credential(id.clone()));
            Ok(())
        }
    };
    if let Err(refusal) = done {
        turn.refuse(refusal).await;
    }
}
