//! Tokens for requests: read once, renewed before they end, one renewal at a time for each credential.
//!
//! The order of a renewal, so that a crash anywhere leaves the truth on disk: *renewing* is written, the server is asked,
//! the new tokens are written, and only then used. Found at start, *renewing* means that the refresh token may be used up:
//! it is tried, since many servers allow a replay for a while, and where the server refuses it the person hears why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::Url;

use crate::config::CredentialId;
use crate::secret::Secret;
use crate::thread::ThreadId;

use super::grant::{self, Grant, NotGranted};
use super::http::host_of;
use super::record::{self, Credential, Tokens};
use super::room::Room;
use super::{KeepError, LoggedOut, NoToken, clients, ending};

/// Tokens are renewed this long before their end, or halfway through where they live shorter than twice that.
const MARGIN_MS: i64 = 60 * 1000;

/// After a renewal that did not come through, the server is left alone for this long, doubling up to the last.
const PAUSE_MS: i64 = 5 * 1000;
const LONGEST_PAUSE_MS: i64 = 60 * 1000;

/// A credential in memory.
pub(super) struct Slot {
    /// Held by whoever changes the credential, over the whole change: an async lock, since a change asks the server.
    pub(super) gate: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// `None`: not read yet, or there was none; then the disk is asked.
    known: Option<Arc<Credential>>,
    /// New tokens that the disk did not take yet; they are not used before it does.
    unsaved: bool,
    /// Until when the server is left alone, how long that was, and why.
    pause: Option<(i64, i64, String)>,
}

/// What a credential is good for now.
enum Verdict {
    Use(Secret),
    Renew,
    No(NoToken),
}

/// The slot of a credential. `thread` is the thread as it is called now.
pub(super) fn slot(room: &Room, thread: ThreadId, id: &CredentialId) -> Arc<Slot> {
    let mut slots = room.slots.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = slots.entry((thread, id.clone())).or_insert_with(|| {
        Arc::new(Slot {
            gate: tokio::sync::Mutex::default(),
            held: Mutex::default(),
        })
    });
    Arc::clone(slot)
}

/// Reads a credential.
pub(super) async fn read(
    room: &Room,
    thread: ThreadId,
    id: &CredentialId,
) -> Result<Option<Arc<Credential>>, KeepError> {
    let slot = slot(room, thread, id);
    let known = slot.held().known.clone();
    if known.is_some() {
        return Ok(known);
    }
    let _turn = slot.gate.lock().await;
    slot.load(room, thread, id).await
}

/// A token for a request to `url`; `refused` is one that the server did not take.
pub(super) async fn token(
    room: &Arc<Room>,
    thread: ThreadId,
    id: &CredentialId,
    url: &Url,
    refused: Option<&Secret>,
) -> Result<Secret, NoToken> {
    let slot_of = |thread| slot(room, thread, id);
    // Most requests end here: no disk, no waiting.
    if let Some(known) = slot_of(thread).usable()
        && let Verdict::Use(token) = judge(Some(&known), url, refused, room.now_ms())
    {
        return Ok(token);
    }
    let thread = room.thread_now(thread).await;
    let slot = slot_of(thread);
    if let Some(known) = slot.usable() {
        match judge(Some(&known), url, refused, room.now_ms()) {
            Verdict::Use(token) => return Ok(token),
            Verdict::No(no) => return Err(no),
            // Somebody renews it already, and the old one lasts until they are done.
            Verdict::Renew if slot.gate.try_lock().is_err() => {
                if let Some(token) = still_good(&known, refused, room.now_ms()) {
                    return Ok(token);
                }
            }
            Verdict::Renew => (),
        }
    }
    let (inside, id, url) = (Arc::clone(room), id.clone(), url.clone());
    let refused = refused.cloned();
    // To the end also where whoever waits goes away: the answer may hold the only refresh token there is.
    let work = room.tasks.spawn(async move {
        let _turn = slot.gate.lock().await;
        renewed(&inside, &slot, thread, &id, &url, refused.as_ref()).await
    });
    work.await
        .unwrap_or_else(|_| Err(NoToken::Later("the login could not be renewed".to_owned())))
}

/// The token as it is after everybody before us is done. The gate is held.
async fn renewed(
    room: &Room,
    slot: &Slot,
    thread: ThreadId,
    id: &CredentialId,
    url: &Url,
    refused: Option<&Secret>,
) -> Result<Secret, NoToken> {
    let disk = |error: KeepError| NoToken::Later(format!("the login cannot be kept: {error}"));
    let known = slot.load(room, thread, id).await.map_err(disk)?;
    if slot.held().unsaved {
        let kept = known.as_deref().cloned();
        slot.keep(room, thread, id, kept).await.map_err(disk)?;
    }
    let now = room.now_ms();
    match judge(known.as_deref(), url, refused, now) {
        Verdict::Use(token) => return Ok(token),
        Verdict::No(no) => return Err(no),
        Verdict::Renew => (),
    }
    let Some(mut credential) = known.as_deref().cloned() else {
        return Err(nobody());
    };
    let old = still_good(&credential, refused, now);
    let later = |why: String| old.clone().ok_or(NoToken::Later(why));
    let pause = slot.held().pause.clone();
    if let Some((_, _, why)) = pause.filter(|(until, ..)| *until > now) {
        return later(why);
    }
    let Some(tokens) = credential.tokens.take() else {
        return Err(nobody());
    };
    let Some(refresh) = tokens.refresh.clone() else {
        return Err(NoToken::NeedsLogin("the login has ended".to_owned()));
    };
    let was_renewing = credential.renewing;
    if !was_renewing {
        credential.renewing = true;
        credential.tokens = Some(tokens.clone());
        let kept = slot.keep(room, thread, id, Some(credential.clone())).await;
        if let Err(error) = kept {
            return later(disk(error).to_string());
        }
    }
    let grant = Grant::Refresh(&refresh);
    let authority = credential.authority.clone();
    let asked = grant::ask(
        &room.parts.net,
        &authority,
        &grant,
        &tokens.scopes,
        &[],
        now,
    )
    .await;
    match asked {
        Ok(granted) => {
            let access = granted.tokens.access.clone();
            credential.tokens = Some(Tokens {
                // RFC 6749, 6: where no new one comes the old one stays.
                refresh: granted.tokens.refresh.or(Some(refresh)),
                ..granted.tokens
            });
            credential.renewing = false;
            slot.held().pause = None;
            slot.hold(credential.clone());
            slot.keep(room, thread, id, Some(credential))
                .await
                .map_err(disk)?;
            Ok(access)
        }
        Err(NotGranted::Refused { code, words }) => {
            let host = &authority.host;
            let why = match &*code {
                "invalid_client" | "unauthorized_client" => {
                    clients::forget(room, &authority).await;
                    format!("{host} does not know me any more ({words})")
                }
                _ if was_renewing => format!(
                    "I was interrupted while I renewed the login, and {host} does not take the old one any more"
                ),
                _ => format!("{host} does not renew the login any more ({words})"),
            };
            credential.tokens = None;
            credential.ended = Some(why.clone());
            credential.renewing = false;
            slot.hold(credential.clone());
            if let Err(error) = slot.keep(room, thread, id, Some(credential)).await {
                tracing::warn!(%thread, %error, "the end of a login cannot be written.");
            }
            Err(NoToken::NeedsLogin(why))
        }
        Err(NotGranted::Trouble(why)) => {
            let why = format!("the login could not be renewed: {why}");
            let mut held = slot.held();
            let length = held.pause.as_ref().map_or(PAUSE_MS, |(_, length, _)| {
                (length * 2).min(LONGEST_PAUSE_MS)
            });
            held.pause = Some((now.saturating_add(length), length, why.clone()));
            drop(held);
            later(why)
        }
    }
}

pub(super) async fn has_login(room: &Room, thread: ThreadId, id: &CredentialId) -> bool {
    let thread = room.thread_now(thread).await;
    match read(room, thread, id).await {
        Ok(known) => known.is_some_and(|credential| credential.tokens.is_some()),
        Err(error) => {
            tracing::warn!(%thread, %error, "a login cannot be read.");
            false
        }
    }
}

/// What its tokens are for; they go to that origin alone.
pub(super) async fn address(room: &Room, thread: ThreadId, id: &CredentialId) -> Option<Url> {
    let thread = room.thread_now(thread).await;
    let known = read(room, thread, id).await.ok().flatten();
    known.map(|credential| credential.url.clone())
}

pub(super) async fn logout(room: &Arc<Room>, thread: ThreadId, id: &CredentialId) -> LoggedOut {
    let thread = room.thread_now(thread).await;
    ending::cancel_all(room, thread, id).await;
    let (inside, id) = (Arc::clone(room), id.clone());
    let work = room.tasks.spawn(async move {
        let slot = slot(&inside, thread, &id);
        let _turn = slot.gate.lock().await;
        let known = slot.load(&inside, thread, &id).await;
        let known = known.unwrap_or_else(|error| {
            tracing::warn!(%thread, %error, "a login cannot be read; it is forgotten unread.");
            None
        });
        let done = match known.as_deref() {
            Some(Credential {
                authority,
                tokens: Some(tokens),
                ..
            }) if grant::revoke_all(&inside.parts.net, authority, tokens).await => {
                LoggedOut::Revoked
            }
            Some(_) => LoggedOut::Forgotten,
            None => LoggedOut::Nothing,
        };
        if let Err(error) = slot.keep(&inside, thread, &id, None).await {
            tracing::error!(%thread, %error, "a login that was ended cannot be removed from disk.");
        }
        done
    });
    work.await.unwrap_or(LoggedOut::Forgotten)
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, where it may be used without the gate.
    fn usable(&self) -> Option<Arc<Credential>> {
        let held = self.held();
        held.known.clone().filter(|_| !held.unsaved)
    }

    /// New tokens, before the disk has them.
    fn hold(&self, credential: Credential) {
        let mut held = self.held();
        held.known = Some(Arc::new(credential));
        held.unsaved = true;
    }

    /// What is known; read where nothing is. The gate is held.
    pub(super) async fn load(
        &self,
        room: &Room,
        thread: ThreadId,
        id: &CredentialId,
    ) -> Result<Option<Arc<Credential>>, KeepError> {
        let known = self.held().known.clone();
        if known.is_some() {
            return Ok(known);
        }
        let id = id.clone();
        let value = room
            .disk(move |keeper| keeper.credential(thread, &id))
            .await?;
        let known = value
            .and_then(|value| record::read("credential", value))
            .map(Arc::new);
        self.held().known.clone_from(&known);
        Ok(known)
    }

    /// Keeps a credential durably, or forgets it. The gate is held.
    pub(super) async fn keep(
        &self,
        room: &Room,
        thread: ThreadId,
        id: &CredentialId,
        credential: Option<Credential>,
    ) -> Result<(), KeepError> {
        let value = credential.as_ref().map(record::write);
        let id = id.clone();
        room.disk(move |keeper| {
            // A group may have got its new id while the server was asked.
            keeper.keep_credential(keeper.thread_now(thread), &id, value.as_ref())
        })
        .await?;
        let mut held = self.held();
        held.known = credential.map(Arc::new);
        held.unsaved = false;
        Ok(())
    }
}

fn judge(known: Option<&Credential>, url: &Url, refused: Option<&Secret>, now_ms: i64) -> Verdict {
    let Some(credential) = known else {
        return Verdict::No(nobody());
    };
    if credential.url.origin() != url.origin() {
        return Verdict::No(NoToken::NeedsLogin(format!(
            "the login was made for {} and is not sent to {}",
            host_of(&credential.url),
            host_of(url)
        )));
    }
    let Some(tokens) = &credential.tokens else {
        let why = credential.ended.clone();
        return Verdict::No(why.map_or_else(nobody, NoToken::NeedsLogin));
    };
    let is_refused = refused == Some(&tokens.access);
    let is_fresh = tokens.expires_ms.is_none_or(|end| {
        let life = end.saturating_sub(tokens.received_ms);
        now_ms < end.saturating_sub(MARGIN_MS.min(life / 2))
    });
    let is_over = tokens.expires_ms.is_some_and(|end| now_ms >= end);
    match (&tokens.refresh, is_refused) {
        (_, false) if is_fresh => Verdict::Use(tokens.access.clone()),
        (Some(_), _) => Verdict::Renew,
        (None, true) => Verdict::No(NoToken::NeedsLogin(format!(
            "{} does not take the login any more",
            host_of(&credential.url)
        ))),
        (None, false) if is_over => Verdict::No(NoToken::NeedsLogin(format!(
            "the login has ended, and {} gave nothing to renew it with",
            credential.authority.host
        ))),
        (None, false) => Verdict::Use(tokens.access.clone()),
    }
}

/// The token that there is, where it has not ended and was not refused.
fn still_good(known: &Credential, refused: Option<&Secret>, now_ms: i64) -> Option<Secret> {
    let tokens = known.tokens.as_ref()?;
    let is_good =
        refused != Some(&tokens.access) && tokens.expires_ms.is_none_or(|end| now_ms < end);
    is_good.then(|| tokens.access.clone())
}

fn nobody() -> NoToken {
    NoToken::NeedsLogin("nobody is logged in".to_owned())
}
