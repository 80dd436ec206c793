//! What a remote server means for those who use it: where what they write goes, and as whom it acts there.

use url::Url;

use crate::config::{
    RemoteAuth, RemoteServer, SecretName, ServerName, ThreadConfig, masked_url, visible,
};

/// Adds a sentence for each risk that is new.
pub(super) fn tell(old: &ThreadConfig, new: &ThreadConfig, sentences: &mut Vec<String>) {
    for (name, server) in new.remote.iter().filter(|(_, server)| !server.disabled) {
        let before = connected(old, name);
        let is_renamed = before.is_none()
            && old.remote.iter().any(|(was, other)| {
                same(other, server) && !new.remote.iter().any(|(n, _)| n == was)
            });
        if !is_renamed && before.is_none_or(|was| !same(was, server)) {
            let mut words = Words {
                name,
                server,
                before,
                sentences,
            };
            words.address();
            words.identity();
            words.headers();
            words.shared(new);
        }
    }
}

/// What differs between it and what was agreed to before.
struct Words<'a> {
    name: &'a ServerName,
    server: &'a RemoteServer,
    before: Option<&'a RemoteServer>,
    sentences: &'a mut Vec<String>,
}

impl Words<'_> {
    fn say(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    fn address(&mut self) {
        let (name, server) = (self.name, self.server);
        let place = place(&server.url);
        match self.before {
            None => self.say(format!(
                "`{name}` is on the network at {place}: what its tools are given goes there."
            )),
            Some(was) if was.url == server.url => return,
            Some(was) if self::place(&was.url) == place => {
                let address = visible(&masked_url(&server.url));
                self.say(format!("`{name}` has a new address at {place}: {address}"));
            }
            Some(was) => {
                let before = self::place(&was.url);
                self.say(format!(
                    "`{name}` moves from {before} to {place}: what its tools are given goes there from now on."
                ));
            }
        }
        let is_plain = |url: &str| {
            url.split_once(':')
                .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
        };
        if is_plain(&server.url) {
            self.say(format!(
                "The connection to {place} is not encrypted (http): others on the way can read and change it."
            ));
        }
    }

    /// Told again where the address changed: the same key for somebody else is another matter.
    fn identity(&mut self) {
        let (name, server) = (self.name, self.server);
        let place = place(&server.url);
        let keys = keys_in_address(server);
        let is_known = self.before.is_some_and(|was| {
            was.auth == server.auth
                && self::place(&was.url) == place
                && keys_in_address(was) == keys
        });
        if is_known {
            return;
        }
        let now = if self.before.is_some() { " now" } else { "" };
        let sentence = match &server.auth {
            RemoteAuth::None if !keys.is_empty() => format!(
                "`{name}` acts with {keys} in its address{now}: whoever calls its tools in this chat may do what that key allows."
            ),
            // With a key in its headers it is somebody; they are told of below.
            RemoteAuth::None if brings_secrets(server) => return,
            RemoteAuth::None => {
                format!("`{name}` acts in nobody's name{now}: it is asked without a login.")
            }
            RemoteAuth::OAuth(_) => format!(
                "`{name}` acts with your login at {place}{now}: whoever calls its tools in this chat does so in your name."
            ),
            RemoteAuth::Bearer(secret) => format!(
                "`{name}` acts with the key you gave as `{secret}`{now}: whoever calls its tools in this chat may do what that key allows."
            ),
            RemoteAuth::ApiKey { header, value } => format!(
                "`{name}` acts with the key you gave as `{value}`{now}, in the header {}: whoever calls its tools in this chat may do what that key allows.",
                visible(header)
            ),
        };
        self.say(sentence);
    }

    fn headers(&mut self) {
        let (name, server) = (self.name, self.server);
        let is_moved = self
            .before
            .is_some_and(|was| place(&was.url) != place(&server.url));
        let is_known = |header: &(String, String)| {
            !is_moved
                && self.before.is_some_and(|was| {
                    let alike = |(name, value): &(String, String)| {
                        name.eq_ignore_ascii_case(&header.0) && *value == header.1
                    };
                    was.headers.iter().any(alike)
                })
        };
        let fresh: Vec<&(String, String)> = server
            .headers
            .iter()
            .filter(|header| !is_known(header))
            .collect();
        if fresh.is_empty() {
            return;
        }
        let names: Vec<&str> = fresh.iter().map(|(name, _)| name.as_str()).collect();
        let mut secrets: Vec<String> = fresh
            .iter()
            .flat_map(|(_, value)| SecretName::all_in(value))
            .map(|(_, secret)| format!("`{secret}`"))
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        let with = match secrets.as_slice() {
            [] => String::new(),
            [one] => format!(", with the key you gave as {one}"),
            all => format!(", with the keys you gave as {}", all.join(", ")),
        };
        let these = if names.len() == 1 {
            "this header"
        } else {
            "these headers"
        };
        let sentence = format!(
            "`{name}` gets {these} with each request{with}: {}.",
            visible(&names.join(", "))
        );
        self.say(sentence);
    }

    /// A key or a login that goes to another place as well.
    fn shared(&mut self, new: &ThreadConfig) {
        let (name, server) = (self.name, self.server);
        let here = place(&server.url);
        let others = || {
            new.remote
                .iter()
                .filter(|(other, at)| other != name && place(&at.url) != here)
        };
        for secret in server.secret_names() {
            if let Some((other, _)) = others().find(|(_, at)| at.secret_names().contains(&secret)) {
                self.say(format!(
                    "The key `{secret}` goes to {here} as well, not to that of `{other}` alone."
                ));
            }
        }
        let login =
            |at: &RemoteServer| matches!(at.auth, RemoteAuth::OAuth(_)) && at.auth == server.auth;
        if let Some((other, _)) = others().find(|(_, at)| login(at)) {
            self.say(format!("`{name}` shares the login of `{other}`."));
        }
    }
}

fn connected<'a>(config: &'a ThreadConfig, name: &ServerName) -> Option<&'a RemoteServer> {
    config
        .remote
        .iter()
        .find(|(other, server)| other == name && !server.disabled)
        .map(|(_, server)| server)
}

/// Whether nothing that matters here differs.
fn same(one: &RemoteServer, other: &RemoteServer) -> bool {
    !one.disabled && one.url == other.url && one.headers == other.headers && one.auth == other.auth
}

/// `the key you gave as HUB_KEY`; nothing where the address has none.
fn keys_in_address(server: &RemoteServer) -> String {
    let names = SecretName::all_in(&server.url).into_iter();
    let names: Vec<String> = names.map(|(_, name)| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("the key you gave as {one}"),
        all => format!("the keys you gave as {}", all.join(", ")),
    }
}

fn brings_secrets(server: &RemoteServer) -> bool {
    server.headers.iter().any(|(name, value)| {
        crate::config::is_secret_name(name) || !SecretName::all_in(value).is_empty()
    })
}

/// The host with its port, as the network knows it: letters that only look like others are written out (`xn--…`).
fn place(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    });
    host.unwrap_or_else(|| visible(&masked_url(url)))
}
