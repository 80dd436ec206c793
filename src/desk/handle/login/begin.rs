//! The beginning of a login: where it goes, the link, and the record of it.

use std::sync::Arc;

use url::Url;

use super::super::super::keeping::client_id_name;
use super::super::super::live::LiveMessage;
use super::super::super::records::{Grant, Login, LoginWish};
use super::super::super::refusal::Refusal;
use super::super::super::screens;
use super::super::super::turn::Turn;
use super::super::super::{Hall, Work, blocking, new_id};
use super::super::connect::any_remote;
use super::super::{Done, News, running};
use super::finish::noted;
use crate::chat::{Answer, MessageId};
use crate::config::{CredentialId, GivenFor, RemoteAuth, SecretName, ServerName, address_with};
use crate::oauth::{Begin, GivenClient, Invitation, Keyed, OAuthError};
use crate::policy::Action;
use crate::registry::ServerState;
use crate::secret::Secret;
use crate::store::Given;
use crate::thread::ThreadId;

impl Turn<'_> {
    /// `/mcp login NAME`, and its buttons.
    pub(in crate::desk::handle) async fn login(
        &mut self,
        name: &str,
        client_id: Option<String>,
    ) -> Done {
        self.may(Action::Configure, false).await?;
        let name = Self::server_named(&self.loaded().await?, name)?;
        let challenge = self.challenge_of(&name);
        self.begin_login(name, challenge, client_id).await
    }

    /// The button below something that wanted a login, or more rights.
    pub(in crate::desk::handle) async fn login_granted(&mut self, id: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let grant = self.records.grants.iter().find(|grant| grant.id == id);
        let Some(Grant {
            server, challenge, ..
        }) = grant.cloned()
        else {
            return Err(Refusal::Over(
                "This button is too old. Send /mcp login with the server's name.",
            ));
        };
        let name = Self::server_named(&self.loaded().await?, &server)?;
        // What the call told stays in the chat.
        self.pressed = None;
        self.begin_login(name, challenge, None).await
    }

    /// A server that was just connected wants the login that was announced.
    pub(in crate::desk::handle) async fn login_wanted(
        &mut self,
        wish: LoginWish,
        challenge: Option<String>,
        message: MessageId,
    ) -> Done {
        let name = Self::server_named(&self.loaded().await?, &wish.server)?;
        self.pressed = Some(message);
        self.begin_login(name, challenge, None).await
    }

    /// What the server said when it was last asked.
    fn challenge_of(&self, name: &ServerName) -> Option<String> {
        let snapshot = self.hall.parts.registry.snapshot(self.thread)?;
        match &snapshot.server(name.as_str())?.state {
            ServerState::NeedsLogin { challenge, .. } => challenge.clone(),
            _ => None,
        }
    }

    async fn begin_login(
        &mut self,
        name: ServerName,
        challenge: Option<String>,
        client_id: Option<String>,
    ) -> Done {
        if self.hall.parts.one_shot {
            return Err(Refusal::Plain(
                "A login needs somebody who comes back. Begin it in the chat, not with a single command."
                    .to_owned(),
            ));
        }
        let (url, credential, written) = self.place_of_login(&name).await?;
        let keyed = self.keyed(&name, &url, &written).await?;
        self.audit_is_open().await?;
        let thread = self.thread;
        if let Some(given) = client_id.clone() {
            keep_client_id(self.hall, thread, &credential, &url, given).await?;
        }
        let client = match client_id_name(&credential) {
            Some(kept) => {
                let place = GivenFor::at(&url);
                self.stored(move |store| store.secret(thread, &kept, &place))
                    .await?
            }
            None => None,
        };
        self.end_logins_of(&name).await;
        let login = Login {
            id: new_id(),
            login: None,
            by: self.actor.clone(),
            private: self.private,
            server: name.to_string(),
            message: self.pressed,
            at_ms: self.now_ms(),
        };
        let ask = Begin {
            thread,
            by: self.actor.clone(),
            place: place(thread, self.private).to_owned(),
            server: name,
            url,
            keyed,
            challenge,
            client: client.map(|id| GivenClient {
                id: id.expose().to_owned(),
                secret: None,
            }),
            credential,
        };
        self.answer(Answer::Silent).await;
        let (hall, id, message) = (Arc::clone(self.hall), login.id.clone(), self.pressed);
        self.records.logins.push(login);
        self.hall.spawn(begin(hall, id, ask, message));
        Ok(())
    }

    /// The address with the keys in it that it names; `None` where it names none.
    async fn keyed(
        &self,
        server: &ServerName,
        url: &Url,
        written: &str,
    ) -> Result<Option<Keyed>, Refusal> {
        let (thread, place) = (self.thread, GivenFor::at(url));
        let mut values = Vec::new();
        for (_, name) in SecretName::all_in(written) {
            let (wanted, place) = (name.clone(), place.clone());
            let value = self
                .stored(move |store| store.secret(thread, &wanted, &place))
                .await?;
            let Some(value) = value else {
                return Err(Refusal::Plain(format!(
                    "The key `{name}` in the address of {server} has no value here for that address. Give it with \
                     `/mcp secrets set {name} for {server}`, then log in."
                )));
            };
            values.push((name, value));
        }
        if values.is_empty() {
            return Ok(None);
        }
        let value_of = |name: &SecretName| {
            let mut values = values.iter();
            values
                .find(|(known, _)| known == name)
                .map(|(_, secret): &(SecretName, Secret)| secret.expose())
        };
        let url = Url::parse(&address_with(written, value_of)).map_err(|_| {
            Refusal::Plain(format!(
                "The address of {server} is no URL with its key in it. Give it another key with `/mcp secrets set`."
            ))
        })?;
        let keys = values.into_iter().map(|(_, value)| value).collect();
        Ok(Some(Keyed { url, keys }))
    }

    /// Where a login for this server goes, where one makes sense; and its address as it is written.
    async fn place_of_login(
        &self,
        name: &ServerName,
    ) -> Result<(Url, CredentialId, String), Refusal> {
        let loaded = self.loaded().await?;
        let Some(server) = any_remote(&loaded, name.as_str()) else {
            return Err(Refusal::Plain(format!(
                "{name} runs on the bot's machine and has no login."
            )));
        };
        let RemoteAuth::OAuth(credential) = &server.auth else {
            let how = match server.auth {
                RemoteAuth::None | RemoteAuth::OAuth(_) if server.secret_names().is_empty() => {
                    "without a login"
                }
                RemoteAuth::None | RemoteAuth::OAuth(_) => "with the key that you gave",
                RemoteAuth::Bearer(_) => "with a token",
                RemoteAuth::ApiKey { .. } => "with an API key",
            };
            if Self::is_the_threads(&loaded, name).is_err() {
                return Err(Refusal::Plain(format!(
                    "{name} is offered by who runs this bot, and is used {how}. There is nothing to log in to."
                )));
            }
            if let Some(secret) = server.secret_names().first()
                && server.auth == RemoteAuth::None
            {
                return Err(Refusal::Plain(format!(
                    "{name} is used {how} as `{secret}`. `/mcp secrets set {secret} for {name}` gives it another one."
                )));
            }
            return Err(Refusal::Plain(format!(
                "{name} is used {how}. To log in there instead, send `/mcp connect {name} {} --oauth`.",
                crate::config::masked_url(&server.url)
            )));
        };
        self.is_agreed_to(name)?;
        if server.disabled {
            return Err(Refusal::Plain(format!(
                "{name} is switched off. Switch it on with `/mcp enable {name}`, then log in."
            )));
        }
        let url = Url::parse(&server.url)
            .map_err(|_| Refusal::Plain(format!("The address of {name} is no URL.")))?;
        self.has_its_login(name, credential, &server.url, &loaded.config)
            .await?;
        Ok((url, credential.clone(), server.url.clone()))
    }

    /// The link was made, or could not be.
    pub(in crate::desk::handle) async fn begun(
        &mut self,
        id: &str,
        begun: Result<Invitation, OAuthError>,
        message: Option<MessageId>,
    ) -> Done {
        self.pressed = message;
        let Some(place) = self.records.logins.iter().position(|login| login.id == id) else {
            // Cancelled meanwhile.
            if let Ok(invitation) = begun {
                self.hall.parts.oauth.cancel(&invitation.id).await;
            }
            return self.say(screens::login_dropped()).await;
        };
        match begun {
            Ok(invitation) => {
                let login = &mut self.records.logins[place];
                login.login = Some(invitation.id.clone());
                login.message = message.or(login.message);
                let view = screens::invitation(login, &invitation);
                // The way back must find its record, also after a crash right here.
                self.keep_records().await;
                if let Some(login) = self.records.login(id) {
                    noted(self.hall, self.thread, login, "a login was begun").await;
                }
                let shown = self.show(view).await;
                if let Some(login) = self.records.logins.iter_mut().find(|login| login.id == id) {
                    login.message = shown.or(login.message);
                }
                Ok(())
            }
            Err(error) => {
                let login = self.records.logins.remove(place);
                noted(self.hall, self.thread, &login, "a login could not be begun").await;
                self.say(screens::no_login(&login.server, &error)).await
            }
        }
    }
}

/// The chat in words, as the page in the browser names it.
fn place(thread: ThreadId, private: bool) -> &'static str {
    match thread {
        ThreadId::Local => "the terminal",
        ThreadId::Telegram { .. } if private => "your private chat with the bot",
        ThreadId::Telegram { topic: Some(_), .. } => "a topic of the group",
        ThreadId::Telegram { topic: None, .. } => "the group",
    }
}

/// Asks the server who may let us in.
async fn begin(hall: Arc<Hall>, id: String, ask: Begin, message: Option<MessageId>) {
    let thread = ask.thread;
    let Some(place) = hall.live.enter(thread, &ask.by.id) else {
        hall.finish(thread, message, running::too_many()).await;
        return;
    };
    let mut live = LiveMessage::within(&hall, thread, message);
    live.show(screens::login_beginning(ask.server.as_str(), &place.id));
    let making = hall.parts.oauth.begin(ask);
    tokio::pin!(making);
    let made = tokio::select! {
        biased;
        () = place.stop.cancelled() => None,
        made = &mut making => Some(made),
        never = live.go_on() => match never {},
    };
    let message = live.end().await;
    let news = match made {
        Some(made) => News::Begun {
            id,
            begun: Box::new(made),
            message,
        },
        None => News::LoginStopped { id, message },
    };
    let _ = hall.post(thread, Work::News(news));
}

/// Keeps the client id that was given with a connect line, beside the login that it is for.
pub(in crate::desk) async fn keep_client_id(
    hall: &Hall,
    thread: ThreadId,
    credential: &CredentialId,
    url: &Url,
    client_id: String,
) -> Result<(), Refusal> {
    let Some(name) = client_id_name(credential) else {
        return Ok(());
    };
    let store = hall.parts.store.clone();
    let given = Given {
        secret: client_id.into(),
        given_for: GivenFor::at(url),
        at_ms: (hall.parts.clock)(),
    };
    blocking(move || store.keep_secrets(thread, &[(name, Some(given))]))
        .await
        .map_err(|error| Refusal::Store(error.to_string()))
}
