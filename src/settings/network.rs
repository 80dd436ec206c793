//! The settings of the network: what may be spoken to, and where people reach us.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::{AdminServers, Environment, SettingsError, shown};
use crate::config::ServerName;
use crate::policy::AddressRules;

const ALLOW_HTTP: &str = "SWITCHBOARD_ALLOW_HTTP";
const ALLOW_CIDRS: &str = "SWITCHBOARD_ALLOW_CIDRS";
const PUBLIC_URL: &str = "SWITCHBOARD_PUBLIC_URL";
const LISTEN: &str = "SWITCHBOARD_LISTEN";
const ADMIN_SERVERS: &str = "SWITCHBOARD_ADMIN_SERVERS";

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);

/// What was read.
pub(super) struct Network {
    pub(super) rules: AddressRules,
    pub(super) public_url: Option<Url>,
    pub(super) listen: SocketAddr,
    pub(super) listen_chosen: bool,
    pub(super) admin_servers: AdminServers,
}

impl Network {
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let rules = AddressRules {
            allow_http: allow_http(environment)?,
            allow: allow_cidrs(environment)?,
        };
        let listen = listen(environment)?;
        Ok(Self {
            public_url: public_url(environment, rules.allow_http)?,
            rules,
            listen: listen.unwrap_or(LISTEN_DEFAULT),
            listen_chosen: listen.is_some(),
            admin_servers: admin_servers(environment)?,
        })
    }

    /// What is open that would be closed by itself, said at every start.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.rules.allow_http {
            warnings.push(format!(
                "{ALLOW_HTTP} opens plain http: keys and answers can be read and changed on their way."
            ));
        }
        if !self.rules.allow.is_empty() {
            let ranges: Vec<String> = self.rules.allow.iter().map(ToString::to_string).collect();
            warnings.push(format!(
                "{ALLOW_CIDRS} opens {}: whoever configures a chat reaches through me what listens there.",
                ranges.join(", ")
            ));
        }
        warnings
    }
}

fn allow_http(environment: &Environment) -> Result<bool, SettingsError> {
    let Some(value) = environment.text(ALLOW_HTTP)? else {
        return Ok(false);
    };
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(SettingsError::NotASwitch {
            name: ALLOW_HTTP,
            value: shown(value),
        }),
    }
}

fn allow_cidrs(environment: &Environment) -> Result<Vec<IpNet>, SettingsError> {
    listed(environment.text(ALLOW_CIDRS)?.unwrap_or_default())
        .map(|word| {
            let range = match word.parse::<IpAddr>() {
                Ok(address) => Ok(IpNet::from(address)),
                Err(_) => word.parse::<IpNet>().map(|range| range.trunc()),
            };
            range.map_err(|_| SettingsError::NotARange {
                name: ALLOW_CIDRS,
                value: shown(word),
            })
        })
        .collect()
}

/// With a slash at its end, so that pages are joined below its path.
fn public_url(environment: &Environment, allow_http: bool) -> Result<Option<Url>, SettingsError> {
    let Some(value) = environment.text(PUBLIC_URL)? else {
        return Ok(None);
    };
    let refused = |why| SettingsError::NotAPublicUrl {
        // What stands before an @ may be a password, and a query a key.
        value: shown(
            value
                .rsplit_once('@')
                .map_or(value, |(_, host)| host)
                .split(['?', '#'])
                .next()
                .unwrap_or_default(),
        ),
        why,
    };
    let mut url = Url::parse(value).map_err(|_| refused("is not an address"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Err(refused(
                "is plain http, which only SWITCHBOARD_ALLOW_HTTP=1 allows",
            ));
        }
        _ => return Err(refused("is not an https address")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("has a login in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("has a query or a fragment"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(Some(url))
}

fn listen(environment: &Environment) -> Result<Option<SocketAddr>, SettingsError> {
    let Some(value) = environment.text(LISTEN)? else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|_| SettingsError::NotASocket {
            name: LISTEN,
            value: shown(value),
        })
}

fn admin_servers(environment: &Environment) -> Result<AdminServers, SettingsError> {
    let value = environment.text(ADMIN_SERVERS)?.unwrap_or_default();
    match value.to_ascii_lowercase().as_str() {
        "" | "none" => return Ok(AdminServers::None),
        "all" => return Ok(AdminServers::All),
        _ => {}
    }
    listed(value)
        .map(|word| {
            ServerName::new(word).map_err(|error| SettingsError::NotAServer {
                name: ADMIN_SERVERS,
                value: shown(word),
                why: error.to_string(),
            })
        })
        .collect::<Result<_, _>>()
        .map(AdminServers::Listed)
}

fn listed(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::{Flags, Settings};

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Settings::read(&Flags::default(), environment)
    }

    fn one(name: &str, value: &str) -> Settings {
        read(&[(name, value)]).unwrap()
    }

    #[test]
    fn what_may_be_spoken_to_is_read() {
        for (value, expected) in [("1", true), ("TRUE", true), ("0", false), ("false", false)] {
            assert_eq!(
                one(ALLOW_HTTP, value).address_rules.allow_http,
                expected,
                "{value}"
            );
        }
        for (value, expected) in [
            ("127.0.0.1", &["127.0.0.1/32"][..]),
            ("::1", &["::1/128"]),
            ("127.0.0.1/8", &["127.0.0.0/8"]),
            (
                " 10.1.0.0/16 ,fd00::/8,, 127.0.0.1/32 ",
                &["10.1.0.0/16", "fd00::/8", "127.0.0.1/32"],
            ),
            (",", &[]),
        ] {
            let expected: Vec<IpNet> = expected
                .iter()
                .map(|range| range.parse().unwrap())
                .collect();
            assert_eq!(
                one(ALLOW_CIDRS, value).address_rules.allow,
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn what_is_opened_is_said() {
        let settings = read(&[
            (ALLOW_HTTP, "1"),
            (ALLOW_CIDRS, "127.0.0.1,10.0.0.0/8"),
            ("SWITCHBOARD_FAVOURITE_COLOUR", "1"),
        ])
        .unwrap();
        assert_eq!(
            settings.warnings,
            [
                "SWITCHBOARD_FAVOURITE_COLOUR is no setting and does nothing.",
                "SWITCHBOARD_ALLOW_HTTP opens plain http: keys and answers can be read and changed on their way.",
                "SWITCHBOARD_ALLOW_CIDRS opens 127.0.0.1/32, 10.0.0.0/8: whoever configures a chat reaches through me \
                 what listens there.",
            ]
        );
        assert!(one(ALLOW_HTTP, "0").warnings.is_empty());
    }

    #[test]
    fn pages_are_joined_below_the_public_address() {
        for (value, allow_http, expected) in [
            (
                "https://bot.example",
                "0",
                "https://bot.example/oauth/callback",
            ),
            (
                "https://bot.example/",
                "0",
                "https://bot.example/oauth/callback",
            ),
            (
                " https://bot.example:8443/chat/bot ",
                "0",
                "https://bot.example:8443/chat/bot/oauth/callback",
            ),
            (
                "https://bot.example/chat/",
                "0",
                "https://bot.example/chat/oauth/callback",
            ),
            (
                "http://127.0.0.1:8787",
                "1",
                "http://127.0.0.1:8787/oauth/callback",
            ),
        ] {
            let settings = read(&[(PUBLIC_URL, value), (ALLOW_HTTP, allow_http)]).unwrap();
            let page = settings.public_url.unwrap().join("oauth/callback").unwrap();
            assert_eq!(page.as_str(), expected, "{value}");
        }
    }

    #[test]
    fn where_we_listen_and_what_is_offered_is_read() {
        let settings = one(LISTEN, "0.0.0.0:80");
        assert_eq!(
            (settings.listen.to_string().as_str(), settings.listen_chosen),
            ("0.0.0.0:80", true)
        );
        assert_eq!(one(LISTEN, "[::1]:0").listen.to_string(), "[::1]:0");
        let name = |text| ServerName::new(text).unwrap();
        for (value, expected) in [
            ("none", AdminServers::None),
            ("All", AdminServers::All),
            ("a, b.c", AdminServers::Listed(vec![name("a"), name("b.c")])),
        ] {
            assert_eq!(one(ADMIN_SERVERS, value).admin_servers, expected, "{value}");
        }
    }

    #[test]
    fn nonsense_stops_the_start_and_names_the_setting() {
        for (name, value, expected) in [
            (
                ALLOW_HTTP,
                "yes please",
                "SWITCHBOARD_ALLOW_HTTP is `yes please`",
            ),
            (
                ALLOW_CIDRS,
                "localhost",
                "SWITCHBOARD_ALLOW_CIDRS has `localhost`",
            ),
            (
                ALLOW_CIDRS,
                "127.0.0.1,10.0.0.0/33",
                "SWITCHBOARD_ALLOW_CIDRS has `10.0.0.0/33`",
            ),
            (LISTEN, "8787", "SWITCHBOARD_LISTEN is `8787`"),
            (
                LISTEN,
                "localhost:8787",
                "SWITCHBOARD_LISTEN is `localhost:8787`",
            ),
            (
                ADMIN_SERVERS,
                "a,b c",
                "SWITCHBOARD_ADMIN_SERVERS has `b c`",
            ),
            (
                PUBLIC_URL,
                "bot.example",
                "SWITCHBOARD_PUBLIC_URL `bot.example` is not an address",
            ),
            (
                PUBLIC_URL,
                "http://bot.example",
                "SWITCHBOARD_PUBLIC_URL `http://bot.example` is plain http",
            ),
            (
                PUBLIC_URL,
                "ftp://bot.example",
                "SWITCHBOARD_PUBLIC_URL `ftp://bot.example` is not an https address",
            ),
            (
                PUBLIC_URL,
                "https://me:secret@bot.example/?secret#secret",
                "SWITCHBOARD_PUBLIC_URL `bot.example/` has a login in it",
            ),
            (
                PUBLIC_URL,
                "https://bot.example/?secret",
                "SWITCHBOARD_PUBLIC_URL `https://bot.example/` has a query or a fragment",
            ),
            (
                PUBLIC_URL,
                "https://bot.example#x",
                "SWITCHBOARD_PUBLIC_URL `https://bot.example` has a query or a fragment",
            ),
        ] {
            let refused = read(&[(name, value)]).unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{name}={value}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
