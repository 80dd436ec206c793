//! What the operator decides for the whole host: `data/admin/policy.json`, typed. Operators win on policy.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::thread::ThreadId;

use super::{PolicyFile, Tier};

/// The operator's decisions. What is left out of the file has its default, which is the careful one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostPolicy {
    /// Who may use the bot at all.
    pub access: Access,
    /// Who operates the bot; the person at its terminal always does.
    pub operators: Vec<ActorId>,
    /// People and chats that may use the bot where access is listed.
    pub allow: Listed,
    /// People and chats that may not, whatever else is said.
    pub block: Listed,
    /// Who may add servers that run here.
    pub local_servers: WhoAdds,
    /// Which programs a local server may be: names (`npx`) and paths (`/opt/tools/*`). Shells and programs that run
    /// other programs are denied unless `allow` has them, but not in threads that are an operator's own.
    pub launchers: Patterns,
    /// Which variables a local server's `env` may set. Those that change what a program loads or runs are denied unless
    /// `allow` has them.
    pub env: Patterns,
    /// Which hosts remote servers may be at.
    pub remote_hosts: Patterns,
    /// The most of the network that a local server gets without an operator's word.
    pub network: NetworkMost,
    /// Chats whose servers get more of it.
    pub network_grants: Vec<NetworkFor>,
    /// How much is too much.
    pub quotas: Quotas,
    /// The least confinement that local servers are run in; less, and they are refused.
    pub sandbox: Option<Tier>,
    /// Tools that start switched off, by name (`*` stands for anything); `None` for the built-in list.
    pub risky_tools: Option<Vec<String>>,
    /// Folders of the host that local servers are shown besides their own.
    pub folders: Vec<FolderGrant>,
}

/// A folder of the host that local servers are shown, at its own path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderGrant {
    /// Its full path.
    pub path: PathBuf,
    /// Whether they can change it.
    #[serde(default)]
    pub write: bool,
    /// Whose servers: of these chats, a chat with all its topics.
    #[serde(default)]
    pub threads: Vec<ThreadId>,
    /// Of every chat.
    #[serde(default)]
    pub everyone: bool,
}

impl FolderGrant {
    /// Whether the servers of this thread are shown it.
    pub fn is_for(&self, thread: ThreadId) -> bool {
        self.everyone || has(&self.threads, thread)
    }
}

/// The most of the network for the servers of some chats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFor {
    /// The most.
    pub network: NetworkMost,
    /// Whose servers: of these chats, a chat with all its topics.
    pub threads: Vec<ThreadId>,
}

impl HostPolicy {
    /// The most of the network that a thread's servers get without an operator's word.
    pub fn network_of(&self, thread: ThreadId) -> NetworkMost {
        let grants = self.network_grants.iter();
        grants
            .filter(|grant| has(&grant.threads, thread))
            .map(|grant| grant.network)
            .fold(self.network, NetworkMost::max)
    }
}

/// Whether a thread is among these, itself or with its chat.
fn has(threads: &[ThreadId], thread: ThreadId) -> bool {
    let chat = match thread {
        ThreadId::Local => thread,
        ThreadId::Telegram { chat, .. } => ThreadId::telegram(chat, None),
    };
    threads.contains(&thread) || threads.contains(&chat)
}

/// Who may use the bot at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Operators, and whom they allow.
    #[default]
    Listed,
    /// Everybody who is not blocked.
    Open,
}

/// People and chats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listed {
    /// People (`tg:123`), in whatever chat.
    pub people: Vec<ActorId>,
    /// Chats (`tg-100123`), with all their topics and whoever is in them.
    pub chats: Vec<ThreadId>,
}

/// Who may add local servers, which run programs on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhoAdds {
    /// Operators alone.
    #[default]
    Operators,
    /// Operators and these.
    Listed(Listed),
    /// Whoever configures a chat.
    Everyone,
}

/// What is allowed and what is denied; deny wins, and an empty `allow` allows what is not denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patterns {
    /// `*` stands for anything.
    pub allow: Vec<String>,
    /// Likewise.
    pub deny: Vec<String>,
}

/// The most of the network that a local server gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMost {
    /// Nothing.
    None,
    /// The hosts that its entry names.
    Hosts,
    /// Any public address.
    #[default]
    Public,
    /// The host's own network, raw; only ever for chats that are named.
    Host,
}

/// How much is too much; each is answered with a polite word and nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Servers of a thread, over both files (at most 64).
    pub servers: usize,
    /// Calls in a minute, of a thread, of a person, of a server.
    pub calls_a_minute: CallsAMinute,
    /// Calls of a thread that are under way at once; 16 more wait.
    pub calls_at_once: usize,
    /// Calls of all threads that are under way at once.
    pub calls_at_once_in_all: usize,
    /// Local servers that run at once, of a thread and of the host.
    pub running: Running,
    /// Bytes of a thread's home folder, and of all packages that are installed for it.
    pub home_bytes: u64,
    /// Bytes of memory of one local server with all its processes.
    pub memory_bytes: u64,
    /// Processes and threads of one local server.
    pub processes: u64,
    /// Seconds of the processor's time that all its processes together use within any ten minutes.
    pub cpu_seconds: u64,
    /// Open files of each of its processes.
    pub open_files: u64,
    /// Bytes of its `/tmp`.
    pub tmp_bytes: u64,
}

/// Calls in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallsAMinute {
    /// Of a thread.
    pub thread: u32,
    /// Of a person.
    pub person: u32,
    /// Of one server of a thread.
    pub server: u32,
}

/// Local servers that run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Running {
    /// Of a thread.
    pub thread: usize,
    /// Of all threads.
    pub host: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            servers: 64,
            calls_a_minute: CallsAMinute::default(),
            calls_at_once: 4,
            calls_at_once_in_all: 64,
            running: Running::default(),
            home_bytes: 2048 * MIB,
            memory_bytes: 1024 * MIB,
            processes: 128,
            // Half a core all the time, or a whole one for five minutes. A server waits most of its life (its start takes
            // a fraction of a second), and no call of ten minutes at most needs more of it; one that spins is ended
            // before it costs the host an evening.
            cpu_seconds: 300,
            open_files: 1024,
            tmp_bytes: 256 * MIB,
        }
    }
}

impl Default for CallsAMinute {
    fn default() -> Self {
        Self {
            thread: 120,
            person: 60,
            server: 120,
        }
    }
}

impl Default for Running {
    fn default() -> Self {
        Self {
            thread: 64,
            host: 512,
        }
    }
}

impl HostPolicy {
    /// Nothing is closed: for one room's tests and for the benches, which measure other things.
    pub fn open() -> Self {
        let most = CallsAMinute {
            thread: u32::MAX,
            person: u32::MAX,
            server: u32::MAX,
        };
        let anything = Patterns {
            allow: vec!["*".to_owned()],
            deny: Vec::new(),
        };
        Self {
            access: Access::Open,
            local_servers: WhoAdds::Everyone,
            launchers: anything.clone(),
            env: anything,
            risky_tools: Some(Vec::new()),
            quotas: Quotas {
                calls_a_minute: most,
                ..Quotas::default()
            },
            ..Self::default()
        }
    }
}

/// What the start says beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// What holds for each field that the file does not have.
    pub defaults: HostPolicy,
    /// Operators beside those of the file.
    pub operators: Vec<ActorId>,
    /// Stands before what the file says.
    pub access: Option<Access>,
}

impl Given {
    /// The policy that the file and this come to.
    pub fn over(&self, file: &PolicyFile) -> HostPolicy {
        let mut policy = file.over(&self.defaults);
        for operator in &self.operators {
            if !policy.operators.contains(operator) {
                policy.operators.push(operator.clone());
            }
        }
        policy.access = self.access.unwrap_or(policy.access);
        policy
    }
}

/// The policy that holds now. Cheap to clone; every clone sees the newest one.
#[derive(Debug, Clone)]
pub struct Rules {
    now: Arc<ArcSwap<HostPolicy>>,
    given: Arc<Given>,
}

impl Rules {
    /// Begins with this policy.
    pub fn new(policy: HostPolicy) -> Self {
        Self {
            now: Arc::new(ArcSwap::from_pointee(policy)),
            given: Arc::default(),
        }
    }

    /// Begins with a file and what the start says beside it.
    pub fn of(given: Given, file: &PolicyFile) -> Self {
        Self {
            now: Arc::new(ArcSwap::from_pointee(given.over(file))),
            given: Arc::new(given),
        }
    }

    /// What holds now.
    pub fn now(&self) -> Arc<HostPolicy> {
        self.now.load_full()
    }

    /// Whether the start itself named this operator, so that no file takes them away.
    pub fn is_given(&self, operator: &ActorId) -> bool {
        self.given.operators.contains(operator)
    }

    /// The file is this one now. What held before and what holds from now on, where that differs. Called by `reload` and
    /// at start alone.
    pub fn take_up(&self, file: &PolicyFile) -> Option<(Arc<HostPolicy>, Arc<HostPolicy>)> {
        let (before, new) = (self.now(), Arc::new(self.given.over(file)));
        if before == new {
            return None;
        }
        self.now.store(Arc::clone(&new));
        Some((before, new))
    }

    /// This from now on: for tests of one room.
    pub fn set(&self, policy: HostPolicy) {
        self.now.store(Arc::new(policy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_of_the_chats_that_it_names_with_their_topics() {
        let (chat, topic) = (
            ThreadId::telegram(-5, None),
            ThreadId::telegram(-5, Some(7)),
        );
        let grant = |network, thread| NetworkFor {
            network,
            threads: vec![thread],
        };
        let policy = HostPolicy {
            network: NetworkMost::Hosts,
            network_grants: vec![
                grant(NetworkMost::Public, chat),
                grant(NetworkMost::Host, topic),
                grant(NetworkMost::None, ThreadId::Local),
            ],
            ..HostPolicy::default()
        };
        for (thread, most) in [
            (chat, NetworkMost::Public),
            (topic, NetworkMost::Host),
            (ThreadId::telegram(-5, Some(8)), NetworkMost::Public),
            (ThreadId::telegram(-6, Some(7)), NetworkMost::Hosts),
            (ThreadId::Local, NetworkMost::Hosts),
        ] {
            assert_eq!(policy.network_of(thread), most, "{thread}");
        }
    }
}
