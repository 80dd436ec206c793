//! How a flow begins: step by step, in one line, or from an entry that is there.

use url::Url;

use super::super::super::new_id;
use super::super::super::records::{AuthKind, ConnectFlow, Flow, FlowKind};
use super::super::super::refusal::Refusal;
use super::super::super::turn::Turn;
use super::super::Done;
use super::address::address_in;
use super::{AUTHORIZATION, header_name, secret_in};
use crate::command::{ConnectAuth, ConnectLine};
use crate::config::{
    Definition, RemoteAuth, RemoteServer, SecretName, is_secret_name, is_secret_value, mask_value,
};
use crate::policy::Action;
use crate::reload::Loaded;
use crate::secret::Secret;

impl Turn<'_> {
    /// `/mcp connect` alone, or with a name: a server that is there is connected anew.
    pub(in crate::desk::handle) async fn begin_connect(&mut self, name: Option<String>) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let mut connect = ConnectFlow {
            guided: true,
            private: self.private,
            ..ConnectFlow::default()
        };
        if let Some(name) = name {
            if let Ok(known) = Self::server_named(&loaded, &name) {
                return self.reconnect(known.as_str()).await;
            }
            Self::take_server_name(&loaded, &mut connect, &name)?;
        }
        let flow = self.new_connect();
        self.connect_on(flow, connect).await
    }

    /// An entry that is there goes through the same steps again: one that nobody agreed to, or one whose login is to be set
    /// anew.
    pub(in crate::desk::handle) async fn reconnect(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let found = loaded
            .config
            .remote
            .iter()
            .find(|(other, _)| *other == name);
        let Some((_, server)) = found else {
            return Err(Refusal::Plain(format!(
                "{name} runs on the bot's machine, so there is nothing to connect. Change it with `/mcp edit {name}`."
            )));
        };
        let mut connect = ConnectFlow {
            name: Some(name.to_string()),
            private: self.private,
            ..ConnectFlow::default()
        };
        self.move_to(&mut connect, server.url.clone()).await?;
        let mut flow = self.new_connect();
        self.seal_address(&mut flow, &mut connect).await?;
        self.connect_on(flow, connect).await
    }

    /// Another address, or another way of login, for a server that is there.
    pub(in crate::desk::handle) async fn reconnect_from(
        &mut self,
        name: &str,
        asks_address: bool,
    ) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        let Some(server) = remote_in(&loaded, name.as_str()) else {
            return Err(Refusal::Over("That server is not there any more."));
        };
        let mut connect = ConnectFlow {
            name: Some(name.to_string()),
            private: self.private,
            ..ConnectFlow::default()
        };
        let mut flow = self.new_connect();
        if !asks_address {
            self.move_to(&mut connect, server.url.clone()).await?;
            self.seal_address(&mut flow, &mut connect).await?;
            (connect.auth, connect.secret) = (None, None);
            connect.asks_auth = true;
        }
        self.connect_on(flow, connect).await
    }

    /// The address of a server that is there becomes another.
    pub(in crate::desk::handle) async fn connect_elsewhere(
        &mut self,
        name: &str,
        url: &str,
        timeout_ms: Option<u64>,
    ) -> Done {
        let url = address_in(url)?;
        let mut connect = ConnectFlow {
            name: Some(name.to_owned()),
            private: self.private,
            timeout_ms,
            ..ConnectFlow::default()
        };
        self.move_to(&mut connect, url).await?;
        let mut flow = self.new_connect();
        self.seal_address(&mut flow, &mut connect).await?;
        self.connect_on(flow, connect).await
    }

    /// `/mcp connect [NAME] URL …`.
    pub(in crate::desk::handle) async fn connect(&mut self, line: ConnectLine) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let mut connect = ConnectFlow {
            private: self.private,
            ..ConnectFlow::default()
        };
        if line.holds_secret() {
            connect.notes.extend(self.hide_what_was_said().await);
        }
        match &line.name {
            Some(name) => Self::take_server_name(&loaded, &mut connect, name)?,
            None => connect.name = Some(Self::free_server_name(&loaded, &line.url)),
        }
        self.move_to(&mut connect, line.url).await?;
        let mut flow = self.new_connect();
        self.seal_address(&mut flow, &mut connect).await?;
        if !line.headers.is_empty() {
            connect.keeps_headers = false;
        }
        let mut auth = line.auth;
        for (name, value) in line.headers {
            match bearer_of(&name, &value) {
                // The token of `Authorization: Bearer …` is a token like any other.
                Some(token) if matches!(auth, ConnectAuth::Ask) => {
                    auth = ConnectAuth::Bearer(Some(token.to_owned()));
                }
                _ => {
                    self.add_header(&mut flow, &mut connect, name, value)
                        .await?;
                }
            }
        }
        let pasted = match auth {
            ConnectAuth::Ask => None,
            ConnectAuth::None => {
                choose(&mut connect, AuthKind::None);
                None
            }
            ConnectAuth::OAuth => {
                choose(&mut connect, AuthKind::OAuth);
                None
            }
            ConnectAuth::Bearer(token) => {
                choose(&mut connect, AuthKind::Bearer);
                token
            }
            ConnectAuth::ApiKey { header, key } => {
                choose(&mut connect, AuthKind::ApiKey);
                let header = header.unwrap_or_else(|| AUTHORIZATION.to_owned());
                connect.header = Some(header_name(&header)?);
                key
            }
        };
        connect.client_id = line.client_id;
        if let Some(pasted) = pasted {
            let value = secret_in(&pasted, connect.auth)?;
            return self.connect_with_secret(flow, connect, value).await;
        }
        self.connect_on(flow, connect).await
    }

    /// A header of each request; a secret value is stored and referred to.
    async fn add_header(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
        name: String,
        value: String,
    ) -> Result<(), Refusal> {
        let value = if is_secret(&name, &value) {
            let secret = Secret::from(value);
            let stored = self.keep_for_connect(flow, connect, &name, secret).await?;
            stored.placeholder()
        } else {
            for (_, secret) in SecretName::all_in(&value) {
                self.is_theirs(connect, &secret).await?;
            }
            value
        };
        connect.headers.push((name, value));
        Ok(())
    }

    /// Sets the address. Where the server has an entry at the same place, its headers and its way of login go on; to any
    /// other place nothing of it is sent.
    pub(super) async fn move_to(
        &mut self,
        connect: &mut ConnectFlow,
        url: String,
    ) -> Result<(), Refusal> {
        connect.found = None;
        if !connect.url.is_empty() && !same_place(&connect.url, &url) {
            drop_secrets(connect);
        }
        connect.url = url;
        let loaded = self.sound().await?;
        let entry = connect
            .name
            .as_deref()
            .and_then(|name| remote_in(&loaded, name));
        let Some(entry) = entry else {
            return Ok(());
        };
        if !same_place(&entry.url, &connect.url) {
            if !entry.headers.is_empty() || entry.auth != RemoteAuth::None {
                connect.notes.push(
                    "The address is at another place, so its headers and its login are not taken along."
                        .to_owned(),
                );
            }
            connect.keeps_headers = false;
            return Ok(());
        }
        connect.keeps_headers = true;
        connect.unproved = !self
            .is_agreed(connect.name.as_deref().unwrap_or_default(), entry)
            .await?;
        match &entry.auth {
            RemoteAuth::None => {}
            RemoteAuth::OAuth(_) => connect.auth = Some(AuthKind::OAuth),
            RemoteAuth::Bearer(secret) if self.is_stored(secret).await? => {
                connect.auth = Some(AuthKind::Bearer);
                connect.secret = Some(secret.clone());
            }
            RemoteAuth::Bearer(_) => connect.auth = Some(AuthKind::Bearer),
            RemoteAuth::ApiKey { header, value } => {
                connect.auth = Some(AuthKind::ApiKey);
                connect.header = Some(header.clone());
                if self.is_stored(value).await? {
                    connect.secret = Some(value.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether somebody agreed to just this entry.
    pub(in crate::desk::handle) async fn is_agreed(
        &self,
        name: &str,
        server: &RemoteServer,
    ) -> Result<bool, Refusal> {
        let thread = self.thread;
        let known = self.stored(move |store| store.approvals(thread)).await?;
        let approval = server.approval();
        Ok(known
            .iter()
            .any(|(other, agreed)| other.as_str() == name && *agreed == approval))
    }

    /// Whether there is a secret of that name.
    pub(in crate::desk) async fn is_stored(&self, name: &SecretName) -> Result<bool, Refusal> {
        let (thread, name) = (self.thread, name.clone());
        let names = self.stored(move |store| store.secret_names(thread)).await?;
        Ok(names.contains(&name))
    }

    fn new_connect(&self) -> Flow {
        Flow {
            id: new_id(),
            by: self.actor.clone(),
            message: None,
            kind: FlowKind::Connect(Box::default()),
            at_ms: self.now_ms(),
        }
    }
}

impl ConnectLine {
    /// Whether anything in it must not stay in the chat.
    pub(in crate::desk) fn holds_secret(&self) -> bool {
        let pasted = matches!(
            self.auth,
            ConnectAuth::Bearer(Some(_)) | ConnectAuth::ApiKey { key: Some(_), .. }
        );
        pasted
            || is_secret_value(&self.url)
            || self
                .headers
                .iter()
                .any(|(name, value)| is_secret(name, value))
    }
}

/// What was given for one place is not taken to another.
fn drop_secrets(connect: &mut ConnectFlow) {
    let before = connect.headers.len();
    connect
        .headers
        .retain(|(_, value)| SecretName::all_in(value).is_empty());
    if connect.secret.take().is_some() || connect.headers.len() < before {
        connect.notes.push(
            "The address is at another place, so the key that you gave for the former one is not sent there."
                .to_owned(),
        );
    }
}

/// Somebody chose: what an entry had is not taken along.
fn choose(connect: &mut ConnectFlow, kind: AuthKind) {
    connect.auth = Some(kind);
    connect.secret = None;
    connect.header = None;
}

/// A header's value that is stored and not written into the file. A reference stays one.
pub(in crate::desk) fn is_secret(name: &str, value: &str) -> bool {
    // The empty value is none.
    let is_reference = mask_value(value) == value;
    !is_reference && (is_secret_name(name) || is_secret_value(value))
}

/// The token of `Authorization: Bearer …`.
fn bearer_of<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let is_bearer =
        name.eq_ignore_ascii_case(AUTHORIZATION) && scheme.eq_ignore_ascii_case("bearer");
    (is_bearer && is_secret(name, value)).then(|| token.trim())
}

/// The thread's own remote server of that name.
pub(in crate::desk::handle) fn remote_in<'a>(
    loaded: &'a Loaded,
    name: &str,
) -> Option<&'a RemoteServer> {
    let mut remote = loaded.config.remote.iter();
    remote
        .find(|(other, _)| other.as_str() == name)
        .map(|(_, server)| server)
}

/// The remote server of that name, the thread's own or the operator's.
pub(in crate::desk) fn any_remote<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a RemoteServer> {
    let admin = || {
        let mut admin = loaded.config.admin.iter();
        match admin.find(|(other, _)| other.as_str() == name)? {
            (_, Definition::Remote(server)) => Some(server),
            (_, Definition::Local(_)) => None,
        }
    };
    remote_in(loaded, name).or_else(admin)
}

/// Whether two addresses are of the same scheme, host and port.
fn same_place(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_holds_a_secret_is_known() {
        for (name, value, expected) in [
            ("X-API-Key", "abc", true),
            ("Authorization", "Basic abc", true),
            (
                "X-Anything",
                "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
                true,
            ),
            ("X-Team", "blue", false),
            ("X-API-Key", "${secret:HUB_KEY}", false),
            ("X-API-Key", "", false),
            ("Authorization", "Bearer ${secret:HUB_KEY}", false),
        ] {
            assert_eq!(is_secret(name, value), expected, "{name}: {value}");
        }
        assert_eq!(bearer_of("authorization", "bearer abc"), Some("abc"));
        assert_eq!(bearer_of("Authorization", "Basic abc"), None);
        assert_eq!(bearer_of("Authorization", "Bearer ${secret:A}"), None);
    }

    #[test]
    fn places_are_told_apart() {
        for (one, other, same) in [
            ("https://a.example/mcp", "https://a.example/sse?x=1", true),
            ("https://a.example/mcp", "https://A.example:443/", true),
            ("https://a.example/mcp", "http://a.example/mcp", false),
            (
                "https://a.example/mcp",
                "https://a.example.evil.example/mcp",
                false,
            ),
            ("https://a.example/mcp", "https://a.example:8443/mcp", false),
            ("x", "x", false),
        ] {
            assert_eq!(same_place(one, other), same, "{one} {other}");
        }
    }
}
