//! What a local server may reach: who may grant it, what it reached, and the button that narrows the one to the other.

use super::super::propose::Draft;
use super::super::refusal::Refusal;
use super::super::screens::NetworkFacts;
use super::super::turn::Turn;
use super::Done;
use super::switch::raw_entry;
use crate::audit::What;
use crate::config::{
    Change, Definition, Edit, HostPattern, NetworkGrant, ServerName, StdioServer, ThreadConfig,
    definition_key, limits, program_key,
};
use crate::demo;
use crate::policy::{Action, Granted};
use crate::reload::Loaded;

impl Turn<'_> {
    /// Refuses a change by which a server would get more of the network than this person can grant. Returns the entries
    /// that need an operator's word, which this person then gives by applying it.
    pub(in crate::desk) fn may_grant(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Result<Vec<(ServerName, String)>, Refusal> {
        let ways = self.hall.parts.registry.network_ways(self.thread);
        let mut words = Vec::new();
        for (name, server) in &new.local {
            let is_as_before = old.local.iter().any(|(other, was)| {
                other == name && was.network == server.network && was.means_the_same(server)
            });
            if is_as_before || !ways.needs_word(&server.network) {
                continue;
            }
            if !self.is_operator() {
                return Err(Refusal::Plain(format!(
                    "`{name}` asks for {}, which only an operator of this bot can grant. Ask them to apply it here, or \
                     leave `network` out.",
                    crate::policy::reach_words(&server.network)
                )));
            }
            let key = definition_key(&Definition::Local(server.clone()));
            words.push((name.clone(), key));
        }
        Ok(words)
    }

    /// Remembers an operator's word; before the entry is written, so that the server finds it when it starts.
    pub(in crate::desk) async fn give_word(
        &self,
        words: Vec<(ServerName, String)>,
    ) -> Result<(), Refusal> {
        if words.is_empty() {
            return Ok(());
        }
        let thread = self.thread;
        let names: Vec<ServerName> = words.iter().map(|(name, _)| name.clone()).collect();
        self.stored(move |store| store.give_word(thread, &words))
            .await?;
        for name in names {
            self.note(What::Decided {
                server: name.to_string(),
                decision: "an operator's word for what its entry asks of the network".to_owned(),
            })
            .await;
        }
        Ok(())
    }

    /// What each server that is new or changed may reach, in sentences.
    pub(in crate::desk) fn network_risks(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Vec<String> {
        let ways = self.hall.parts.registry.network_ways(self.thread);
        // The demo server is given no network, whatever its entry says.
        let mut told = new.clone();
        told.local
            .retain(|(_, server)| !demo::is_demo(&server.command, &server.args));
        ways.risks(old, &told, self.is_operator())
    }

    /// What a local server may reach and did reach, where that is not everything; for its card.
    pub(super) async fn network_facts(
        &self,
        loaded: &Loaded,
        name: &ServerName,
    ) -> Result<Option<NetworkFacts>, Refusal> {
        let Some(Definition::Local(server)) = loaded.config.definition(name) else {
            return Ok(None);
        };
        let ways = self.hall.parts.registry.network_ways(self.thread);
        if !ways.confined {
            // It has all that the host has, which is told with the sandbox.
            return Ok(None);
        }
        let is_own = loaded.config.local.iter().any(|(own, _)| own == name);
        let (thread, known, key) = (
            self.thread,
            name.clone(),
            program_key(&Definition::Local(server.clone())),
        );
        let word = definition_key(&Definition::Local(server.clone()));
        let (contacts, word) = self
            .stored(move |store| {
                let contacts = store.contacts(thread, &known, &key);
                Ok((contacts, store.has_word(thread, &known, &word)))
            })
            .await?;
        let word = word || !is_own || thread == crate::thread::ThreadId::Local;
        let is_demo = demo::is_demo(&server.command, &server.args);
        let granted = if is_demo {
            // It is given none, whatever its entry says.
            Granted {
                grant: NetworkGrant::None,
                less: None,
            }
        } else {
            ways.granted(&server.network, word)
        };
        Ok(Some(NetworkFacts {
            granted,
            can_narrow: !is_demo && is_own && ways.proxy && narrowed(&server, &contacts).is_some(),
            contacts,
            now_ms: self.now_ms(),
        }))
    }

    /// Proposes to grant a server the hosts that it reached, and no others.
    pub(super) async fn narrow(&mut self, name: &str) -> Done {
        self.may(Action::Configure, false).await?;
        let loaded = self.sound().await?;
        let name = Self::server_named(&loaded, name)?;
        Self::is_the_threads(&loaded, &name)?;
        let Some(Definition::Local(server)) = loaded.config.definition(&name) else {
            return Err(Refusal::Over("This is no server that runs here."));
        };
        let (thread, known, key) = (
            self.thread,
            name.clone(),
            program_key(&Definition::Local(server.clone())),
        );
        let contacts = self
            .stored(move |store| Ok(store.contacts(thread, &known, &key)))
            .await?;
        let Some(hosts) = narrowed(&server, &contacts) else {
            return Err(Refusal::Over(
                "There is nothing to narrow: it reached no other hosts than it is granted.",
            ));
        };
        let (file, mut value) = raw_entry(&loaded, &name);
        if let (Some(entry), Some(field)) =
            (value.as_object_mut(), NetworkGrant::Hosts(hosts).to_field())
        {
            entry.insert("network".to_owned(), field);
        }
        self.propose(Draft {
            title: format!("narrow {name}"),
            edit: Edit(vec![Change::Put {
                file,
                name: name.to_string(),
                value,
                at: None,
            }]),
            notes: vec![
                "These are the hosts that it reached so far. What it needs later and is not among them is refused, and \
                 `/mcp show` tells of it."
                    .to_owned(),
            ],
            ..Draft::default()
        })
        .await
    }
}

/// The grant of the hosts that were reached; `None` where there are none, or it is that already.
fn narrowed(
    server: &StdioServer,
    contacts: &[crate::store::Contacted],
) -> Option<Vec<HostPattern>> {
    let reached = contacts.iter().filter(|contact| contact.allowed);
    let mut hosts: Vec<HostPattern> = reached
        .filter_map(|contact| HostPattern::exactly(&contact.host, contact.port))
        .collect();
    hosts.sort();
    hosts.dedup();
    let is_that_already = match &server.network {
        NetworkGrant::Hosts(granted) => {
            let mut granted = granted.clone();
            granted.sort();
            granted == hosts
        }
        NetworkGrant::Unsaid | NetworkGrant::None | NetworkGrant::Public | NetworkGrant::Host => {
            false
        }
    };
    let fits = (1..=limits::HOSTS).contains(&hosts.len());
    (fits && !is_that_already).then_some(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Contacted;

    #[test]
    fn what_was_reached_is_what_is_left() {
        let contact = |host: &str, port, allowed| Contacted {
            host: host.to_owned(),
            port,
            allowed,
            at_ms: 0,
            times: 1,
        };
        let contacts = [
            contact("b.example", 443, true),
            contact("a.example", 8443, true),
            contact("2606:4700::1111", 443, true),
            contact("evil.example", 443, false),
            contact("127.0.0.1", 443, true),
        ];
        let server = |network| StdioServer {
            command: "x".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            network,
            disabled: false,
        };
        let hosts = narrowed(&server(NetworkGrant::Unsaid), &contacts).unwrap();
        let listed = "[2606:4700::1111], a.example:8443, b.example";
        assert_eq!(NetworkGrant::listed(&hosts), listed);
        let already = server(NetworkGrant::Hosts(hosts));
        assert_eq!(narrowed(&already, &contacts), None);
        assert_eq!(narrowed(&already, &[]), None);
    }
}
