//! The beginning of a login: what is asked for, the link, and the way out through our start page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use url::Url;

use crate::actor::ActorId;
use crate::config::masked_url;
use crate::thread::ThreadId;

use super::discovery::{Discovered, discover};
use super::keyed::Keys;
use super::record::{Authority, Credential, Login, Stage};
use super::room::{Room, below};
use super::{
    Begin, GivenClient, Invitation, LIFETIME_MS, LoginId, LoginNews, OAuthError, StartPage,
    clients, ending, random, tokens,
};

/// More logins at once than people can have in mind.
const IN_THREAD: usize = 50;
const IN_ALL: usize = 1000;

/// How often rights are asked for again that were given already and did not help.
const REPEATS: u32 = 1;

pub(super) async fn begin(room: &Arc<Room>, mut ask: Begin) -> Result<Invitation, OAuthError> {
    room.loaded().await;
    ask.thread = room.thread_now(ask.thread).await;
    let keys = Keys::of(&ask)?;
    let asked = ask.keyed.as_ref().map_or(&ask.url, |keyed| &keyed.url);
    let mut found = discover(&room.parts.net, asked, ask.challenge.as_deref(), &keys).await?;
    let earlier = tokens::read(room, ask.thread, &ask.credential).await?;
    // A client is its issuer's: what the other one was told by hand is kept, and is not said to this one.
    let is_others = |given: &GivenClient| {
        let earlier = earlier.as_ref().map(|credential| &credential.authority);
        earlier.is_some_and(|at| at.issuer != found.issuer && at.client.id == given.id)
    };
    ask.client = ask.client.filter(|given| !is_others(given));
    let earlier = earlier.filter(|credential| credential.authority.issuer == found.issuer);
    let (scopes, repeats) = wanted(&found, earlier.as_deref())?;
    let (client, reused) = clients::client(
        room,
        &found,
        &keys,
        ask.client.as_ref(),
        earlier
            .as_ref()
            .map(|credential| &credential.authority.client),
    )
    .await?;
    let departure = found.depart(&client, &room.redirect, &scopes).await?;
    keys.stay(&departure, asked)?;
    let random = || {
        random::token()
            .ok_or_else(|| OAuthError::Refused("this computer gives no random numbers".to_owned()))
    };
    let (nonce, link) = match &room.parts.public_url {
        Some(public) => {
            let nonce = random()?;
            let link = Url::parse(&below(public, &format!("oauth/start/{nonce}"))).ok();
            (Some(nonce), link)
        }
        None => (None, None),
    };
    let through_us = link.is_some();
    let id = random::login_of(&departure.state);
    let until_ms = room.now_ms().saturating_add(LIFETIME_MS);
    let kind = client.kind;
    let login = Login {
        thread: ask.thread,
        by: ask.by,
        place: ask.place,
        server: ask.server,
        url: ask.url,
        credential: ask.credential,
        nonce: nonce.map(|nonce| hashed("nonce", &nonce)),
        cookie: None,
        address: departure.address.clone(),
        verifier: departure.verifier,
        names_itself: found.names_itself,
        authority: Authority {
            issuer: found.issuer,
            host: found.host.clone(),
            token_endpoint: found.token_endpoint,
            revocation_endpoint: found.revocation_endpoint,
            resource: departure.resource,
            redirect: room.redirect.clone(),
            client,
        },
        keys: ask.keyed.map(|keyed| keyed.keys).unwrap_or_default(),
        scopes: scopes.clone(),
        repeats,
        reused,
        until_ms,
        stage: Stage::Open,
    };
    keep(room, &id, login).await?;
    Ok(Invitation {
        id,
        link: link.unwrap_or(departure.address),
        through_us,
        issuer: found.host,
        scopes,
        client: kind,
        until_ms,
    })
}

/// Keeps a login that was begun. One that the same person began for the same server before is over with it.
async fn keep(room: &Arc<Room>, id: &LoginId, login: Login) -> Result<(), OAuthError> {
    let mut crowding = None;
    let replaced: Vec<String> = {
        let mut logins = room.logins();
        let replaced: Vec<String> = logins
            .iter()
            .filter(|(_, other)| {
                other.by.id == login.by.id
                    && other.thread == login.thread
                    && other.credential == login.credential
                    && !matches!(other.stage, Stage::Exchanging)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let in_thread = logins.values().filter(|other| other.thread == login.thread);
        let mut is_full = in_thread.count() >= IN_THREAD + replaced.len();
        if !is_full && replaced.is_empty() && logins.len() >= IN_ALL {
            crowding = crowder(&logins, &login.by.id);
            is_full = crowding.is_none();
        }
        if is_full {
            return Err(OAuthError::Refused(
                "too many logins are under way; finish or cancel one, or wait ten minutes"
                    .to_owned(),
            ));
        }
        logins.insert(id.0.clone(), login);
        replaced
    };
    if let Err(error) = room.save(&id.0).await {
        room.logins().remove(&id.0);
        return Err(error.into());
    }
    if let Some((other, thread)) = crowding {
        let why = "too many logins of yours are under way, and others could not begin one; \
                   begin it again when you need it";
        let news = LoginNews::Failed(why.to_owned());
        room.tell(thread, &other, news).await;
        ending::cancel(room, &LoginId(other)).await;
    }
    for other in replaced {
        ending::cancel(room, &LoginId(other)).await;
    }
    room.changed.notify_one();
    Ok(())
}

/// The oldest login of whoever has the most under way, where that are more than `by` has with one more: nobody keeps all
/// others from logging in.
fn crowder(logins: &BTreeMap<String, Login>, by: &ActorId) -> Option<(String, ThreadId)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for login in logins.values() {
        *counts.entry(login.by.id.0.as_str()).or_default() += 1;
    }
    let own = counts.get(by.0.as_str()).copied().unwrap_or_default();
    let (most, _) = counts
        .into_iter()
        .filter(|(_, count)| *count > own + 1)
        .max_by_key(|(_, count)| *count)?;
    let theirs = logins
        .iter()
        .filter(|(_, login)| login.by.id.0 == most && !matches!(login.stage, Stage::Exchanging));
    let (id, login) = theirs.min_by_key(|(_, login)| login.until_ms)?;
    Some((id.clone(), login.thread))
}

/// What is asked for: what the server names, and what was asked for before, so that nobody loses rights (SEP-2350). Also
/// how many times in a row that is nothing new although rights are missing: some servers never have enough.
fn wanted(
    found: &Discovered,
    earlier: Option<&Credential>,
) -> Result<(Vec<String>, u32), OAuthError> {
    let Some(earlier) = earlier else {
        return Ok((found.scopes.clone(), 0));
    };
    let granted = earlier.tokens.iter().flat_map(|tokens| &tokens.scopes);
    let missing = found.missing.iter().flatten();
    let mut seen = BTreeSet::new();
    let scopes: Vec<String> = earlier
        .asked
        .iter()
        .chain(granted)
        .chain(missing)
        .chain(&found.scopes)
        .filter(|scope| seen.insert(scope.as_str()))
        .cloned()
        .collect();
    let is_repeat = found.missing.is_some() && scopes.iter().all(|s| earlier.asked.contains(s));
    if is_repeat && earlier.repeats >= REPEATS {
        return Err(OAuthError::Refused(format!(
            "{} asks again for rights that it was asked for already, so another login would not help; log out and in \
             again, or ask whoever runs the server",
            found.host
        )));
    }
    let repeats = if is_repeat { earlier.repeats + 1 } else { 0 };
    Ok((scopes, repeats))
}

pub(super) async fn start_page(room: &Arc<Room>, nonce: &str) -> Option<StartPage> {
    room.loaded().await;
    let (_, login) = of_nonce(room, nonce)?;
    Some(StartPage {
        server: login.server.to_string(),
        // A key may stand in it, and whoever has the link sees the page.
        url: masked_url(login.url.as_str()),
        place: login.place,
        who: login.by.name,
        issuer: login.authority.host,
        scopes: login.scopes,
        leads_to: login.address.origin().ascii_serialization(),
    })
}

pub(super) async fn leave(room: &Arc<Room>, nonce: &str) -> Option<(Url, String)> {
    room.loaded().await;
    let (id, login) = of_nonce(room, nonce)?;
    let value = random::token()?;
    {
        let mut logins = room.logins();
        let login = logins.get_mut(&id)?;
        login.cookie = Some(hashed("cookie", &value));
    }
    room.write(&id).await;
    Some((login.address, cookie(&room.redirect, &id, &value)))
}

fn of_nonce(room: &Room, nonce: &str) -> Option<(String, Login)> {
    let (nonce, now) = (hashed("nonce", nonce), room.now_ms());
    let logins = room.logins();
    let (id, login) = logins.iter().find(|(_, login)| {
        login.nonce.as_ref() == Some(&nonce)
            && login.until_ms > now
            && matches!(login.stage, Stage::Open)
    })?;
    Some((id.clone(), login.clone()))
}

/// Whether a browser that sends these cookies is the one that left through our page last.
pub(super) fn is_same_browser(id: &str, login: &Login, cookies: Option<&str>) -> bool {
    if login.nonce.is_none() {
        return true;
    }
    let Some(expected) = &login.cookie else {
        return false;
    };
    let name = cookie_name(id);
    cookies
        .unwrap_or_default()
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(key, value)| key == name && hashed("cookie", value) == *expected)
}

/// RFC 6265: sent back to the callback only, and on the way back from elsewhere (`Lax`).
fn cookie(redirect: &str, id: &str, value: &str) -> String {
    let path = Url::parse(redirect).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned());
    let secure = if redirect.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let name = cookie_name(id);
    let seconds = LIFETIME_MS / 1000;
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Each login has its own: two in one browser are no trouble.
fn cookie_name(id: &str) -> String {
    format!("switchboard-{}", id.get(..12).unwrap_or(id))
}

fn hashed(purpose: &str, secret: &str) -> String {
    random::hash(purpose, &[secret])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_to_the_callback_alone_and_over_https_where_there_is_https() {
        let id = "0123456789abcdef";
        assert_eq!(
            cookie("https://bot.example/base/oauth/callback", id, "v"),
            "switchboard-0123456789ab=v; Path=/base/oauth/callback; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            cookie("http://127.0.0.1:8787/oauth/callback", id, "v"),
            "switchboard-0123456789ab=v; Path=/oauth/callback; Max-Age=600; HttpOnly; SameSite=Lax"
        );
    }
}
