//! Connecting a remote server: its address, a try while the person watches, its name, what proves who is there, and then a
//! proposal like any other. Secrets go to the store as they come; a flow knows their names alone.

mod address;
mod begin;
mod naming;
mod offer;
mod plan;
mod probe;
mod write;

use super::super::action::FlowVerb;
use super::super::records::{AuthKind, ConnectFlow, ConnectStep, Flow, FlowKind, Records};
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use super::add::safe_name;
use super::handoff::Kind;
use crate::chat::View;
use crate::config::{FileKind, GivenFor, SecretName, is_secret_value};
use crate::policy::Action;
use crate::reload::Loaded;
use crate::secret::Secret;

use address::address_in;
use plan::{Plan, plan};

pub(super) use begin::remote_in;
pub(in crate::desk) use begin::{any_remote, is_secret};

impl Turn<'_> {
    /// Goes on as far as it can without the person.
    async fn connect_on(&mut self, mut flow: Flow, mut connect: ConnectFlow) -> Done {
        match plan(&connect) {
            Plan::Probe => {
                connect.step = ConnectStep::Probing;
                let message = self.pressed;
                flow.message = message;
                self.keep_connect(&mut flow, connect.clone());
                self.keep_records().await;
                self.probe(&flow, &connect, message).await
            }
            Plan::Ask(step) => {
                connect.step = step;
                if step == ConnectStep::Secret {
                    // The one that was refused, if there was one.
                    connect.secret = None;
                }
                self.keep_connect(&mut flow, connect.clone());
                let view = self.connect_question(&mut flow, &mut connect).await?;
                connect.notes.clear();
                self.keep_connect(&mut flow, connect);
                self.ask_on(flow, view).await;
                Ok(())
            }
            Plan::Propose => {
                let id = flow.id.clone();
                self.keep_connect(&mut flow, connect.clone());
                let done = self.propose_connected(connect).await;
                self.records.flows.retain(|flow| flow.id != id);
                done
            }
        }
    }

    /// The flow's record as it is now.
    fn keep_connect(&mut self, flow: &mut Flow, connect: ConnectFlow) {
        flow.kind = FlowKind::Connect(Box::new(connect));
        flow.at_ms = self.now_ms();
        self.records.put_flow(flow.clone());
    }

    /// Asks the open question again, as a new message.
    pub(super) async fn connect_again(&mut self, mut flow: Flow, mut connect: ConnectFlow) -> Done {
        if connect.step == ConnectStep::Probing {
            // The try ended with the process that made it.
            return self.connect_on(flow, connect).await;
        }
        let view = self.connect_question(&mut flow, &mut connect).await?;
        self.keep_connect(&mut flow, connect);
        self.ask_on(flow, view).await;
        Ok(())
    }

    /// The open question.
    async fn connect_question(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
    ) -> Result<View, Refusal> {
        let offered = match connect.step {
            ConnectStep::Name => Some(Self::offered_name(&self.sound().await?, connect)),
            _ => None,
        };
        if connect.step != ConnectStep::Secret {
            return Ok(screens::connect_question(connect, offered.as_deref()));
        }
        let kind = match connect.auth {
            Some(AuthKind::Bearer) => Kind::Bearer,
            _ => Kind::Key,
        };
        if !self.private {
            self.drop_handoff(&mut connect.nonce).await;
            let (nonce, link) = self.handoff_link(flow, secret_words(connect), kind).await?;
            connect.nonce = Some(nonce);
            return Ok(screens::connect_elsewhere(connect, link));
        }
        let page = self.entry_page(flow, &secret_words(connect), kind).await?;
        let view = screens::connect_question(connect, offered.as_deref());
        Ok(match page {
            Some(page) => screens::with_page(view, Some(&page)),
            None => view,
        })
    }

    /// Text from a person who connects a server.
    pub(super) async fn connect_answered(
        &mut self,
        mut flow: Flow,
        mut connect: ConnectFlow,
        text: &str,
    ) -> Done {
        self.may(Action::Configure, false).await?;
        match connect.step {
            ConnectStep::Address | ConnectStep::Broken => {
                let url = address_in(text)?;
                if is_secret_value(&url) {
                    connect.notes.extend(self.hide_what_was_said().await);
                }
                self.move_to(&mut connect, url).await?;
                self.seal_address(&mut flow, &mut connect).await?;
            }
            ConnectStep::Probing => {
                return Err(Refusal::Plain(
                    "I am still trying the address. Wait a moment, or press Stop.".to_owned(),
                ));
            }
            ConnectStep::Name => {
                let loaded = self.sound().await?;
                let typed = text.trim();
                if !typed.is_empty() && typed.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Refusal::Plain(
                        "Was that meant for a button? A name needs a letter; send one, or press the button with the name."
                            .to_owned(),
                    ));
                }
                Self::take_server_name(&loaded, &mut connect, text.trim())?;
            }
            ConnectStep::Auth => {
                return Err(Refusal::Plain(
                    "Press the button that says what you have, or `/cancel`.".to_owned(),
                ));
            }
            ConnectStep::Header => connect.header = Some(header_name(text)?),
            ConnectStep::Secret => {
                self.hush(text);
                let note = self.hide_what_was_said().await;
                let value = secret_in(text, connect.auth)?;
                if let Some(note) = note {
                    connect.notes.push(note);
                }
                return self.connect_with_secret(flow, connect, value).await;
            }
        }
        self.connect_on(flow, connect).await
    }

    /// Stores the key or token that was asked for and goes on.
    pub(super) async fn connect_with_secret(
        &mut self,
        mut flow: Flow,
        mut connect: ConnectFlow,
        value: Secret,
    ) -> Done {
        // What was found of the last one says nothing of this one.
        if let Some(found) = &mut connect.found {
            found.with_secret = false;
        }
        connect.secret = Some(
            self.keep_auth_secret(&mut flow, &mut connect, value)
                .await?,
        );
        self.connect_on(flow, connect).await
    }

    async fn keep_auth_secret(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
        value: Secret,
    ) -> Result<SecretName, Refusal> {
        let what = match (connect.auth, connect.header.as_deref()) {
            (Some(AuthKind::ApiKey), Some(header)) if header != AUTHORIZATION => header.to_owned(),
            (Some(AuthKind::ApiKey), _) => "key".to_owned(),
            _ => "token".to_owned(),
        };
        self.keep_for_connect(flow, connect, &what, value).await
    }

    /// Stores a secret for the flow.
    async fn keep_for_connect(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
        what: &str,
        value: Secret,
    ) -> Result<SecretName, Refusal> {
        self.hush(value.expose());
        let server = connect.name.clone().unwrap_or_default();
        let wanted = naming::of_secret(&server, what);
        let id = flow.id.clone();
        self.keep_connect(flow, connect.clone());
        let note = |records: &mut Records, name: SecretName| {
            let of_this = records.flows.iter_mut().find(|flow| flow.id == id);
            if let Some(FlowKind::Connect(connect)) = of_this.map(|flow| &mut flow.kind) {
                connect.secrets.push(name);
            }
        };
        let place = GivenFor::place_of(&connect.url);
        let name = self.keep_secret(&wanted, value, place, note).await?;
        connect.secrets.push(name.clone());
        Ok(name)
    }

    /// A button of the flow.
    pub(super) async fn connect_pressed(
        &mut self,
        flow: Flow,
        mut connect: ConnectFlow,
        verb: FlowVerb,
    ) -> Done {
        let nothing = || Err(Refusal::Over("There is no such choice."));
        match (connect.step, verb) {
            (ConnectStep::Broken, FlowVerb::Choose(0)) => {}
            (ConnectStep::Name, FlowVerb::Choose(0)) => {
                let loaded = self.sound().await?;
                connect.name = Some(Self::offered_name(&loaded, &connect));
            }
            (ConnectStep::Auth, FlowVerb::Choose(place)) => {
                let Some((kind, _)) = screens::AUTH_CHOICES.get(place) else {
                    return nothing();
                };
                connect.auth = Some(*kind);
                connect.secret = None;
            }
            (ConnectStep::Header, FlowVerb::Choose(place)) => {
                let Some(header) = screens::KEY_HEADERS.get(place) else {
                    return nothing();
                };
                connect.header = Some((*header).to_owned());
            }
            (ConnectStep::Name, FlowVerb::Back) if connect.guided => {
                (connect.url, connect.found) = (String::new(), None);
                connect.step = ConnectStep::Address;
                return self.connect_again(flow, connect).await;
            }
            (ConnectStep::Header, FlowVerb::Back) => {
                (connect.auth, connect.header) = (None, None);
                connect.step = ConnectStep::Auth;
                return self.connect_again(flow, connect).await;
            }
            (ConnectStep::Secret, FlowVerb::Back) => {
                (connect.auth, connect.header, connect.secret) = (None, None, None);
                connect.step = ConnectStep::Auth;
                return self.connect_again(flow, connect).await;
            }
            (
                ConnectStep::Address
                | ConnectStep::Probing
                | ConnectStep::Broken
                | ConnectStep::Name
                | ConnectStep::Auth
                | ConnectStep::Header
                | ConnectStep::Secret,
                FlowVerb::Skip
                | FlowVerb::Back
                | FlowVerb::Cancel
                | FlowVerb::Choose(_)
                | FlowVerb::Done,
            ) => return nothing(),
        }
        self.connect_on(flow, connect).await
    }

    /// The name on the button: after whose the address is, or after what the server calls itself where that says nothing.
    fn offered_name(loaded: &Loaded, connect: &ConnectFlow) -> String {
        let info = connect.found.as_ref().map_or("", |found| &found.info);
        naming::free(&naming::of_server(&connect.url, info), |name| {
            is_taken(loaded, name)
        })
    }

    /// A name for the server that nothing here has.
    fn free_server_name(loaded: &Loaded, url: &str) -> String {
        naming::free(&naming::of_address(url), |name| is_taken(loaded, name))
    }

    /// Takes a name as it was typed. One that a remote server has is its own: that server is connected anew.
    fn take_server_name(
        loaded: &Loaded,
        connect: &mut ConnectFlow,
        typed: &str,
    ) -> Result<(), Refusal> {
        let (name, note) = safe_name(typed);
        if loaded.files.local.server(&name).is_some() {
            return Err(Refusal::Plain(format!(
                "There is already a server `{name}` here, which runs on the bot's machine. Choose another name."
            )));
        }
        connect.notes.extend(note);
        connect.name = Some(name);
        Ok(())
    }
}

/// The header that is sent where no other is named.
pub(super) const AUTHORIZATION: &str = "Authorization";

/// The way to send what was asked for, as it is asked.
pub(in crate::desk) fn secret_words(connect: &ConnectFlow) -> String {
    let server = connect.name.as_deref().unwrap_or("the server");
    match connect.auth {
        Some(AuthKind::ApiKey) => format!("the API key for {server}"),
        _ => format!("the token for {server}"),
    }
}

/// What a secret of a server is called.
pub(super) fn secret_name_of(server: &str, what: &str) -> String {
    naming::of_secret(server, what)
}

fn is_taken(loaded: &Loaded, name: &str) -> bool {
    let is_own = |kind: FileKind| loaded.files.get(kind).server(name).is_some();
    let mut admin = loaded.config.admin.iter().map(|(name, _)| name);
    is_own(FileKind::Local) || is_own(FileKind::Remote) || admin.any(|other| other.as_str() == name)
}

/// RFC 9110: a token.
fn header_name(text: &str) -> Result<String, Refusal> {
    let name = text.trim().trim_end_matches(':');
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~".contains(&b);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_token) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::Plain(
            "A header's name has letters, digits and dashes, for example `X-API-Key`.".to_owned(),
        ))
    }
}

/// The key or token in what somebody typed. The words of a refusal hold none of it.
pub(super) fn secret_in(text: &str, auth: Option<AuthKind>) -> Result<Secret, Refusal> {
    let text = text.trim().trim_matches('`').trim();
    let token = match (auth, text.split_once(' ')) {
        (Some(AuthKind::Bearer), Some((scheme, token)))
            if scheme.trim_end_matches(':').eq_ignore_ascii_case("bearer") =>
        {
            token.trim()
        }
        _ => text,
    };
    let with_blanks = auth == Some(AuthKind::ApiKey);
    let fits = |c: char| c.is_ascii_graphic() || (with_blanks && c == ' ');
    if token.is_empty() || token.len() > 8000 || !token.chars().all(fits) {
        return Err(Refusal::Plain(
            "That cannot be sent as a key or token: it has blanks, line ends or letters beyond ASCII in it. Copy it once more and send it alone."
                .to_owned(),
        ));
    }
    Ok(Secret::from(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_repeated() {
        for (text, auth, value) in [
            ("abc\n", AuthKind::Bearer, Some("abc")),
            ("Bearer abc", AuthKind::Bearer, Some("abc")),
            ("`abc`", AuthKind::Bearer, Some("abc")),
            ("Token abc", AuthKind::ApiKey, Some("Token abc")),
            ("my hush hush", AuthKind::Bearer, None),
            ("hush\nhush", AuthKind::ApiKey, None),
            ("hüsh", AuthKind::Bearer, None),
            ("", AuthKind::Bearer, None),
        ] {
            match secret_in(text, Some(auth)) {
                Ok(secret) => assert_eq!(Some(secret.expose()), value, "{text}"),
                Err(refusal) => {
                    assert_eq!(value, None, "{text}");
                    assert!(!refusal.sentence().contains("hush"));
                }
            }
        }
    }
}
