//! What the operator lets a thread have: how many servers, who may add those that run on the host, and which.

use super::super::refusal::Refusal;
use super::super::turn::Turn;
use crate::config::{Definition, ServerName, StdioServer, ThreadConfig};
use crate::demo;
use crate::policy::new_locals;

impl Turn<'_> {
    /// Refuses a change that the operator's policy does not let this person make here, before it is shown and again before
    /// it is written.
    pub(in crate::desk) async fn is_allowed(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Result<(), Refusal> {
        let most = self.hall.parts.policy.now().quotas.servers;
        let count = |config: &ThreadConfig| config.local.len() + config.remote.len();
        if count(new) > most && count(new) > count(old) {
            return Err(Refusal::TooManyServers {
                most,
                has: count(old),
                over: count(new) - most,
            });
        }
        for (name, server) in new_locals(old, new) {
            // The demo server is our own program, and reads and changes nothing.
            if !demo::is_demo(&server.command, &server.args) {
                self.may_add_local()?;
            }
            self.lets_have(name, Definition::Local(server.clone()))
                .await?;
        }
        for (name, server) in &new.remote {
            if !old.remote.iter().any(|(_, was)| was.url == server.url) {
                self.lets_have(name, Definition::Remote(server.clone()))
                    .await?;
            }
        }
        Ok(())
    }

    /// Refuses a working folder that no server would be started in. What was put back or was there already is told when it
    /// starts.
    pub(in crate::desk) async fn may_work_there(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Result<(), Refusal> {
        for (name, server) in new.local.iter().filter(|(_, server)| !server.disabled) {
            let is_as_before = |(_, was): &(ServerName, StdioServer)| was.cwd == server.cwd;
            if old.local.iter().any(is_as_before) {
                continue;
            }
            let judged = self.hall.parts.registry.may_work_in(self.thread, server);
            judged.await.map_err(|why| {
                Refusal::Plain(format!("Nothing was changed, because of `{name}`: {why}"))
            })?;
        }
        Ok(())
    }

    /// What the servers that would run newly are given and will not find.
    pub(in crate::desk) async fn out_of_sight(
        &self,
        old: &ThreadConfig,
        new: &ThreadConfig,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, server) in new_locals(old, new).filter(|(_, server)| !server.disabled) {
            let registry = &self.hall.parts.registry;
            if let Some(words) = registry.out_of_sight(self.thread, server).await {
                notes.push(format!("`{name}` is given {words}"));
            }
        }
        notes
    }

    async fn lets_have(&self, name: &ServerName, definition: Definition) -> Result<(), Refusal> {
        let allows = self.hall.parts.registry.allows(self.thread, &definition);
        allows.await.map_err(|why| Refusal::Denied {
            server: name.to_string(),
            why,
        })
    }
}
