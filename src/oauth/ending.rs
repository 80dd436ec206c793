//! How logins end: by Finish, by a change of mind, by time.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::ActorId;
use crate::config::CredentialId;
use crate::thread::ThreadId;

use super::record::{Credential, Login, Stage};
use super::room::Room;
use super::{LoginId, LoginNews, OAuthError, clients, tokens};

/// The clock is looked at this often at least: it may jump while the computer sleeps.
const LOOK: Duration = Duration::from_mins(1);

pub(super) async fn finish(room: &Arc<Room>, id: &LoginId, by: &ActorId) -> Result<(), OAuthError> {
    room.loaded().await;
    let login = arrived(room, id, by)?;
    let thread = room.thread_now(login.thread).await;
    let (inside, id, by) = (Arc::clone(room), id.clone(), by.clone());
    // To the end also where whoever waits goes away.
    let work = async move {
        let credential = login.credential;
        let slot = tokens::slot(&inside, thread, &credential);
        let _turn = slot.gate.lock().await;
        // Once more, now that nobody else is at it: Finish may have been pressed twice.
        let login = arrived(&inside, &id, &by)?;
        let known = slot.load(&inside, thread, &credential).await?;
        let is_done = known.is_some_and(|known| known.login == id.0);
        if !is_done {
            let kept = taken_over(&id, login).ok_or(OAuthError::Over)?;
            slot.keep(&inside, thread, &credential, Some(kept)).await?;
        }
        inside.logins().remove(&id.0);
        // Where this fails the record is found again, and does nothing: the credential names its login.
        inside.write(&id.0).await;
        Ok(())
    };
    let work = room.tasks.spawn(work).await;
    work.unwrap_or(Err(OAuthError::Over))
}

/// A login that can be finished by this person.
fn arrived(room: &Room, id: &LoginId, by: &ActorId) -> Result<Login, OAuthError> {
    let logins = room.logins();
    let login = logins.get(&id.0).ok_or(OAuthError::Over)?;
    if login.by.id != *by && !login.by.id.is_shared() {
        return Err(OAuthError::NotYours);
    }
    if login.until_ms <= room.now_ms() || !matches!(login.stage, Stage::Arrived(_)) {
        return Err(OAuthError::Over);
    }
    Ok(login.clone())
}

fn taken_over(id: &LoginId, login: Login) -> Option<Credential> {
    let Stage::Arrived(tokens) = login.stage else {
        return None;
    };
    Some(Credential {
        login: id.0.clone(),
        url: login.url,
        authority: login.authority,
        tokens: Some(tokens),
        ended: None,
        asked: login.scopes,
        repeats: login.repeats,
        renewing: false,
    })
}

pub(super) async fn cancel(room: &Arc<Room>, id: &LoginId) {
    room.loaded().await;
    let Some(login) = room.logins().remove(&id.0) else {
        return;
    };
    room.write(&id.0).await;
    room.changed.notify_one();
    if let Stage::Arrived(tokens) = login.stage {
        room.throw_away(login.authority, tokens);
    }
}

/// Ends every login for a credential that nobody wants any more.
pub(super) async fn cancel_all(room: &Arc<Room>, thread: ThreadId, credential: &CredentialId) {
    room.loaded().await;
    let theirs: Vec<(String, ThreadId)> = room
        .logins()
        .iter()
        .filter(|(_, login)| login.credential == *credential)
        .map(|(id, login)| (id.clone(), login.thread))
        .collect();
    for (id, home) in theirs {
        if room.thread_now(home).await == thread {
            cancel(room, &LoginId(id)).await;
        }
    }
}

/// Ends logins when their time is over, those of an earlier life too.
pub(super) async fn clockwork(room: Arc<Room>) {
    room.loaded().await;
    loop {
        let next = expire(&room).await;
        let wait = next.map_or(LOOK, |until| {
            let left = until.saturating_sub(room.now_ms()).max(1);
            Duration::from_millis(left.unsigned_abs()).min(LOOK)
        });
        tokio::select! {
            () = room.stop.cancelled() => return,
            () = room.changed.notified() => (),
            () = tokio::time::sleep(wait) => (),
        }
    }
}

/// Ends what is over now; when the next one will be.
async fn expire(room: &Arc<Room>) -> Option<i64> {
    let now = room.now_ms();
    let over: Vec<(String, Login)> = {
        let mut logins = room.logins();
        logins
            // What is being exchanged ends by itself, within a deadline.
            .extract_if(.., |_, login| {
                login.until_ms <= now && !matches!(login.stage, Stage::Exchanging)
            })
            .collect()
    };
    for (id, login) in over {
        room.write(&id).await;
        room.tell(login.thread, &id, LoginNews::Expired).await;
        match login.stage {
            Stage::Arrived(tokens) => room.throw_away(login.authority, tokens),
            // An authorization server that forgot a client says so to the person, on a page of its own, and never to us.
            Stage::Open if login.reused => clients::forget(room, &login.authority).await,
            Stage::Open | Stage::Exchanging => (),
        }
    }
    let logins = room.logins();
    logins.values().map(|login| login.until_ms).min()
}
