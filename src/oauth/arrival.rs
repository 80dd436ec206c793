//! The way back: a browser at the callback, or the address that it was sent to, pasted into the chat. The `state` is good
//! once; the code becomes tokens at once, since codes live for seconds, and the tokens wait for Finish.

use std::collections::HashMap;
use std::sync::Arc;

use url::form_urlencoded;

use crate::actor::ActorId;
use crate::thread::ThreadId;

use super::grant::{self, Grant, NotGranted};
use super::http::words;
use super::keyed::Keys;
use super::login::is_same_browser;
use super::record::{Login, Stage};
use super::room::Room;
use super::{Arrival, LoginId, LoginNews, OAuthError, clients, random};

/// Longer than any way back; codes of some servers are a kilobyte.
const QUERY: usize = 16 * 1024;

/// What came back, by name; each at most once.
struct Back(HashMap<String, String>);

/// How it came back.
#[derive(Clone, Copy)]
enum Way {
    Browser,
    Pasted,
}

/// Why a login that came back is over.
enum Bad {
    /// The person said no.
    Denied,
    /// A sentence for people.
    Failed(String),
}

pub(super) async fn arrive(room: &Arc<Room>, query: &str, cookies: Option<&str>) -> Arrival {
    room.loaded().await;
    let Some((id, back)) = Back::read(query) else {
        return Arrival::Unknown;
    };
    let step = take(room, &id, |login| {
        is_same_browser(&id.0, login, cookies)
            .then_some(())
            .ok_or(Arrival::WrongBrowser)
    });
    let login = match step {
        Some(Ok(login)) => login,
        Some(Err(page)) => return page,
        None => return Arrival::Unknown,
    };
    let (server, place) = (login.server.to_string(), login.place.clone());
    let who = if login.by.id.is_shared() {
        "an administrator".to_owned()
    } else {
        login.by.name.clone()
    };
    match arrived(room, &id, login, back, Way::Browser).await {
        Ok(()) => Arrival::Welcome { server, place, who },
        Err(Bad::Denied) => Arrival::Denied { server, place },
        Err(Bad::Failed(why)) => Arrival::Failed { server, place, why },
    }
}

pub(super) async fn pasted(
    room: &Arc<Room>,
    thread: ThreadId,
    by: &ActorId,
    address: &str,
) -> Result<LoginId, OAuthError> {
    room.loaded().await;
    let address = address.trim();
    let query = address.split_once('?').map_or(address, |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let (id, back) = Back::read(query).ok_or(OAuthError::Over)?;
    let home = room.logins().get(&id.0).map(|login| login.thread);
    let home = home.ok_or(OAuthError::Over)?;
    let is_here = room.thread_now(home).await == room.thread_now(thread).await;
    let is_theirs = |login: &Login| {
        let is_by_them = login.by.id == *by || login.by.id.is_shared();
        (is_here && is_by_them)
            .then_some(())
            .ok_or(OAuthError::NotYours)
    };
    let Some(step) = take(room, &id, is_theirs) else {
        // The browser came through to us after all, and the paste says nothing new.
        let logins = room.logins();
        let login = logins.get(&id.0).ok_or(OAuthError::Over)?;
        is_theirs(login)?;
        return match login.stage {
            Stage::Arrived(_) if login.until_ms > room.now_ms() => Err(OAuthError::Waits),
            _ => Err(OAuthError::Over),
        };
    };
    let login = step?;
    let host = login.authority.host.clone();
    match arrived(room, &id, login, back, Way::Pasted).await {
        Ok(()) => Ok(id),
        Err(Bad::Denied) => Err(OAuthError::Refused(format!(
            "the login was declined at {host}"
        ))),
        Err(Bad::Failed(why)) => Err(OAuthError::Refused(why)),
    }
}

impl Back {
    /// Reads what came back and finds whose it is. A parameter that comes twice makes it nobody's (RFC 6749, 3.1).
    fn read(query: &str) -> Option<(LoginId, Self)> {
        if query.len() > QUERY {
            return None;
        }
        let mut named = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_twice = named
                .insert(name.clone().into_owned(), value.into_owned())
                .is_some();
            if is_twice && ["state", "code", "iss", "error"].contains(&&*name) {
                return None;
            }
        }
        let id = random::login_of(named.get("state")?);
        Some((id, Self(named)))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name).map(String::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// The code, where all is well (RFC 9207 and RFC 6749, 4.1.2).
    fn code(&self, login: &Login, keys: &Keys) -> Result<&str, Bad> {
        let words = |text: &str, most| words(&keys.hush(text), most);
        let host = &login.authority.host;
        match self.0.get("iss") {
            Some(iss) if *iss == login.authority.issuer => (),
            None if !login.names_itself => (),
            Some(_) | None => {
                return Err(Bad::Failed(format!(
                    "the answer does not come from {host}, where the login was begun; it was not used"
                )));
            }
        }
        match (self.text("error"), self.text("code")) {
            (Some("access_denied"), _) => Err(Bad::Denied),
            (Some(error), _) => {
                let said = self.text("error_description").map_or_else(
                    || words(error, 60),
                    |text| format!("{} ({})", words(text, 300), words(error, 60)),
                );
                Err(Bad::Failed(format!("{host} says: {said}")))
            }
            (None, Some(code)) => Ok(code),
            (None, None) => Err(Bad::Failed(format!("{host} sent no code back"))),
        }
    }
}

/// Takes the one step that a `state` is good for, where `may` allows it. `None`: there is no such step any more.
fn take<E>(
    room: &Room,
    id: &LoginId,
    may: impl FnOnce(&Login) -> Result<(), E>,
) -> Option<Result<Login, E>> {
    let now = room.now_ms();
    let mut logins = room.logins();
    let login = logins.get_mut(&id.0)?;
    if login.until_ms <= now || !matches!(login.stage, Stage::Open) {
        return None;
    }
    if let Err(no) = may(login) {
        return Some(Err(no));
    }
    login.stage = Stage::Exchanging;
    Some(Ok(login.clone()))
}

/// Goes on with a login whose step was taken, to its end also where whoever waits goes away.
async fn arrived(
    room: &Arc<Room>,
    id: &LoginId,
    login: Login,
    back: Back,
    way: Way,
) -> Result<(), Bad> {
    let (inside, id) = (Arc::clone(room), id.clone());
    let work = async move {
        let keys = Keys::of_login(&login);
        let done = exchange(&inside, &id, &login, &back, &keys).await;
        if let Err(bad) = &done {
            inside.logins().remove(&id.0);
            inside.write(&id.0).await;
            match (way, bad) {
                // Whoever pasted hears it as the answer.
                (Way::Pasted, _) => (),
                (Way::Browser, Bad::Denied) => {
                    inside.tell(login.thread, &id.0, LoginNews::Denied).await;
                }
                (Way::Browser, Bad::Failed(why)) => {
                    let news = LoginNews::Failed(why.clone());
                    inside.tell(login.thread, &id.0, news).await;
                }
            }
        }
        done
    };
    let work = room.tasks.spawn(work).await;
    work.unwrap_or_else(|_| Err(Bad::Failed("I stopped in the middle of it".to_owned())))
}

/// The code becomes tokens, and the tokens wait.
async fn exchange(
    room: &Arc<Room>,
    id: &LoginId,
    login: &Login,
    back: &Back,
    keys: &Keys,
) -> Result<(), Bad> {
    let authority = &login.authority;
    let code = match back.code(login, keys) {
        Ok(code) => code,
        Err(bad) => {
            if matches!(
                back.text("error"),
                Some("invalid_client" | "unauthorized_client")
            ) {
                clients::forget(room, authority).await;
            }
            return Err(bad);
        }
    };
    // Whoever dies in the exchange finds at start that the code may be used up.
    room.write(&id.0).await;
    let grant = Grant::Code(code, &login.verifier);
    let net = &room.parts.net;
    let hidden = keys.hidden();
    let granted = grant::ask(net, authority, &grant, &login.scopes, hidden, room.now_ms()).await;
    let granted = match granted {
        Ok(granted) => granted,
        Err(NotGranted::Refused { code, words }) => {
            if matches!(&*code, "invalid_client" | "unauthorized_client") {
                clients::forget(room, authority).await;
            }
            return Err(Bad::Failed(format!(
                "{} gave no token: {words}",
                authority.host
            )));
        }
        Err(NotGranted::Trouble(why)) => {
            return Err(Bad::Failed(format!(
                "{} could not be asked for a token: {why}",
                authority.host
            )));
        }
    };
    let scopes = granted.tokens.scopes.clone();
    let is_wanted = {
        let mut logins = room.logins();
        match logins.get_mut(&id.0) {
            Some(login) => {
                login.stage = Stage::Arrived(granted.tokens.clone());
                true
            }
            None => false,
        }
    };
    if !is_wanted {
        // It was cancelled meanwhile.
        room.throw_away(authority.clone(), granted.tokens);
        return Err(Bad::Failed("the login was cancelled meanwhile".to_owned()));
    }
    if let Err(error) = room.save(&id.0).await {
        room.throw_away(authority.clone(), granted.tokens);
        return Err(Bad::Failed(format!("I could not keep the login: {error}")));
    }
    let account = granted.account;
    let news = LoginNews::Arrived { account, scopes };
    room.tell(login.thread, &id.0, news).await;
    Ok(())
}
