//! How much of the network a local server gets in the end: what its entry asks for, what the operator allows, and what can
//! be granted on this machine.

use crate::config::{NetworkGrant, ServerName, StdioServer, ThreadConfig};

use super::NetworkMost;

/// What can be granted on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// The most that anybody but an operator grants.
    pub most: NetworkMost,
    /// Local servers are kept from the network; where they are not, each has all of the host's.
    pub confined: bool,
    /// The bot's proxy works, so that a part of the network can be granted.
    pub proxy: bool,
}

/// What a server gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// As much of the network; never [`NetworkGrant::Unsaid`].
    pub grant: NetworkGrant,
    /// Why it is less than its entry asks for.
    pub less: Option<Less>,
}

/// Why a server gets less than its entry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Less {
    /// An operator allows no more, and gave no word for this entry.
    Most,
    /// Nothing leads servers to the bot's proxy here, so there are no parts of the network to grant.
    NoProxy,
}

impl Ways {
    /// What an entry's grant comes to. `word` is whether an operator gave their word for this very entry; without it
    /// nothing passes what they allow.
    pub fn granted(self, asked: &NetworkGrant, word: bool) -> Granted {
        if !self.confined {
            return Granted {
                grant: NetworkGrant::Host,
                less: None,
            };
        }
        let allowed = match asked {
            NetworkGrant::Unsaid if self.most >= NetworkMost::Public => NetworkGrant::Public,
            NetworkGrant::Unsaid => NetworkGrant::None,
            asked if word || !self.needs_word(asked) => asked.clone(),
            NetworkGrant::Host if self.most == NetworkMost::Public => NetworkGrant::Public,
            NetworkGrant::None
            | NetworkGrant::Hosts(_)
            | NetworkGrant::Public
            | NetworkGrant::Host => NetworkGrant::None,
        };
        let through_proxy = matches!(allowed, NetworkGrant::Hosts(_) | NetworkGrant::Public);
        let no_way = through_proxy && !self.proxy;
        // Who does not ask is not refused anything.
        let less = match asked {
            NetworkGrant::Unsaid => None,
            asked if allowed != *asked => Some(Less::Most),
            _ => no_way.then_some(Less::NoProxy),
        };
        let grant = if no_way { NetworkGrant::None } else { allowed };
        Granted { grant, less }
    }

    /// Whether a grant is more than anybody but an operator can give.
    pub fn needs_word(self, asked: &NetworkGrant) -> bool {
        self.confined
            && match asked {
                NetworkGrant::Unsaid | NetworkGrant::None => false,
                NetworkGrant::Hosts(_) => self.most < NetworkMost::Hosts,
                NetworkGrant::Public => self.most < NetworkMost::Public,
                NetworkGrant::Host => self.most < NetworkMost::Host,
            }
    }

    /// A sentence for each local server that may reach something else than before. Empty where nothing confines them:
    /// then that is told with the program itself.
    pub fn risks(self, old: &ThreadConfig, new: &ThreadConfig, word: bool) -> Vec<String> {
        let running = |config: &ThreadConfig, name: &ServerName| -> Option<StdioServer> {
            let mut local = config.local.iter();
            let found = local.find(|(other, server)| other == name && !server.disabled);
            found.map(|(_, server)| server.clone())
        };
        let fresh = new.local.iter().filter(|(_, server)| !server.disabled);
        fresh
            .filter_map(|(name, server)| {
                let before = running(old, name);
                let changed = before
                    .as_ref()
                    .is_none_or(|was| was.network != server.network);
                (self.confined && changed)
                    .then(|| self.sentence(name, server, before.is_some(), word))
            })
            .collect()
    }

    fn sentence(self, name: &ServerName, server: &StdioServer, before: bool, word: bool) -> String {
        let now = if before { " now" } else { "" };
        let Granted { grant, less } = self.granted(&server.network, word);
        let why = less.map_or_else(String::new, |less| format!(" {}", less.words()));
        format!("`{name}` may reach {}{now}.{why}", reach_words(&grant))
    }
}

impl Less {
    /// A sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Most => {
                "Its entry asks for more, which only an operator of this bot can grant, by applying it in the chat."
            }
            Self::NoProxy => {
                "Its entry asks for more, and no part of the network can be granted by the sandbox of this host."
            }
        }
    }
}

/// A grant in a few words, which go on from "it may reach".
pub fn reach_words(grant: &NetworkGrant) -> String {
    match grant {
        NetworkGrant::None => "nothing on the network".to_owned(),
        NetworkGrant::Hosts(hosts) => format!("only {}", NetworkGrant::listed(hosts)),
        NetworkGrant::Unsaid | NetworkGrant::Public => "any public address".to_owned(),
        NetworkGrant::Host => {
            "the host's own network, raw: all that listens on this machine and around it".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Document, Files, HostPattern};

    fn ways(most: NetworkMost) -> Ways {
        Ways {
            most,
            confined: true,
            proxy: true,
        }
    }

    #[test]
    fn d09_nothing_passes_the_operators_most_without_their_word() {
        use NetworkGrant::{Host, Public, Unsaid};
        let no = NetworkGrant::None;
        let hosts = NetworkGrant::Hosts(vec![HostPattern::parse("a.example").unwrap()]);
        let all = [&Unsaid, &no, &hosts, &Public, &Host];
        for (most, expected) in [
            (NetworkMost::None, [&no, &no, &no, &no, &no]),
            (NetworkMost::Hosts, [&no, &no, &hosts, &no, &no]),
            (
                NetworkMost::Public,
                [&Public, &no, &hosts, &Public, &Public],
            ),
            (NetworkMost::Host, [&Public, &no, &hosts, &Public, &Host]),
        ] {
            let ways = ways(most);
            for (asked, grant) in all.into_iter().zip(expected) {
                let got = ways.granted(asked, false);
                assert_eq!(&got.grant, grant, "{asked:?} under {most:?}");
                let is_less = asked != grant && asked != &Unsaid;
                assert_eq!(got.less, is_less.then_some(Less::Most));
                assert_eq!(got.less.is_some(), ways.needs_word(asked));
                let without_proxy = Ways {
                    proxy: false,
                    ..ways
                };
                let kept = without_proxy.granted(asked, false).grant;
                let left = if *grant == Host { &Host } else { &no };
                assert_eq!(&kept, left, "{asked:?} without a proxy");
                if asked != &Unsaid {
                    let by_word = ways.granted(asked, true);
                    assert_eq!((&by_word.grant, by_word.less), (asked, None));
                }
            }
        }
    }

    #[test]
    fn what_may_be_reached_is_told() {
        let config = |entry: Value| {
            let text = json!({"mcpServers": {"a": entry}}).to_string();
            let local = Document::parse(text.as_bytes()).unwrap();
            Files {
                local,
                ..Files::default()
            }
            .check()
            .unwrap()
        };
        let plain = json!({"command": "x"});
        let with = |network: Value| json!({"command": "x", "network": network});
        for (old, new, expected) in [
            (None, plain.clone(), "`a` may reach any public address."),
            (
                None,
                with(json!(["b.example", "*.c.example:80"])),
                "`a` may reach only b.example, *.c.example:80.",
            ),
            (
                Some(plain.clone()),
                with(json!("none")),
                "`a` may reach nothing on the network now.",
            ),
            (
                Some(plain.clone()),
                with(json!("host")),
                "`a` may reach any public address now. Its entry asks for more, which only an operator of this bot can \
                 grant, by applying it in the chat.",
            ),
            (Some(plain.clone()), plain.clone(), ""),
            (Some(plain), json!({"command": "y"}), ""),
            (None, json!({"command": "x", "disabled": true}), ""),
        ] {
            let old = old.map(config).unwrap_or_default();
            let told = ways(NetworkMost::Public).risks(&old, &config(new), false);
            assert_eq!(told.join(" "), expected);
        }
        let raw = config(with(json!("host")));
        assert_eq!(
            ways(NetworkMost::Public).risks(&ThreadConfig::default(), &raw, true),
            [
                "`a` may reach the host's own network, raw: all that listens on this machine and around it."
            ]
        );
        let open = Ways {
            confined: false,
            ..ways(NetworkMost::Public)
        };
        assert_eq!(open.risks(&ThreadConfig::default(), &raw, false), [""; 0]);
    }
}
