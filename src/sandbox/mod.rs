//! How programs that chat users name are kept from the host and from each other.
//!
//! Three tiers, decided by a self-test at start ([`Sandbox::probe`]) and never by what the machine claims to have. What a
//! server may reach is worked out here ([`Cage`], [`Sandbox::wrap`]); the registry's launcher starts it so. In either
//! tier the last step is a small program of our own, [`confined_main`], that takes away what is left and then becomes the
//! server: `strong` starts it within bubblewrap's namespaces, `restricted` by itself, with Landlock. What the bot's proxy
//! lets through reaches a server by [`relay_main`] in the first, and by [`usher_main`] in the second.

mod bubblewrap;
mod cage;
mod canary;
mod confined;
mod filter;
mod home;
mod owner;
mod probe;
mod relay;
mod script;
mod shown;
mod spec;
mod usher;
mod view;
mod walls;

use std::path::PathBuf;

use crate::policy::Tier;

pub use cage::{Cage, Granted, Limits, Network, Run, Wrapped};
pub use canary::canary_main;
pub use confined::confined_main;
pub use home::{HomeError, Usage, make_home, measure, working_folder};
pub use owner::Owner;
pub use probe::NotProved;
pub use relay::relay_main;
pub use script::interpreter_of;
pub use shown::{Shown, Sight};
pub use usher::usher_main;

/// Where a thread's home is in the strong tier, whichever thread it is.
pub const HOME_INSIDE: &str = "/home/thread";

/// Where the bot's proxy is reached inside, where a server is granted a part of the network.
pub const PROXY_INSIDE: &str = "/run/switchboard/proxy.sock";

/// Where the relay listens inside; what `HTTP_PROXY` names.
pub const RELAY_LISTENS: &str = "127.0.0.1:3128";

/// What is to lie beside the proxy's socket, and its text: without it, Node before 22.21 does not find the proxy.
pub const NODE_PROXY: &str = "node_proxy.cjs";
/// See [`NODE_PROXY`].
pub const NODE_PROXY_TEXT: &str = include_str!("node_proxy.cjs");

/// Where Node finds it inside.
const NODE_PROXY_INSIDE: &str = "/run/switchboard/node_proxy.cjs";

/// The variable by which a server's descendants are known to the launcher, handed on by [`confined_main`].
pub const LAUNCH_MARK: &str = "SWITCHBOARD_LAUNCH";

/// What the operator wants (`SWITCHBOARD_SANDBOX`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best tier that the self-test proves; where it proves none, local servers are refused.
    #[default]
    Auto,
    /// This tier; where it is not proved, the bot does not start.
    Exactly(Tier),
}

/// What the self-test proved and the operator chose. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The tier that servers are started in; `None` where local servers are refused.
    pub tier: Option<Tier>,
    /// Why it is not a better one, a sentence for the log and the panel; empty where it is the best.
    pub why: String,
    /// What it takes.
    means: Means,
}

/// What the tiers are made with on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Means {
    /// The bot's own program, which confines.
    program: PathBuf,
    /// The program of bubblewrap; there in the strong tier.
    bubblewrap: Option<bubblewrap::Bubblewrap>,
    /// Whether what servers connect to is led to the proxy; in the restricted tier, where that is proved.
    ushers: bool,
}

impl Sandbox {
    /// No confinement, by the operator's explicit word (and in tests of other things).
    pub fn off() -> Self {
        Self {
            tier: Some(Tier::None),
            why: "the operator switched it off".to_owned(),
            means: Means::default(),
        }
    }

    /// Local servers are refused, for this reason.
    pub fn refused(why: impl Into<String>) -> Self {
        Self {
            tier: None,
            why: why.into(),
            means: Means::default(),
        }
    }

    /// Whether servers are kept from anything.
    pub fn confines(&self) -> bool {
        matches!(self.tier, Some(Tier::Restricted | Tier::Strong))
    }

    /// Whether a part of the network can be granted through the bot's proxy: only where a server has a network of its own
    /// that nothing but the proxy leads out of, or where each of its connections is made for it.
    pub fn takes_proxy(&self) -> bool {
        match self.tier {
            Some(Tier::Strong) => true,
            Some(Tier::Restricted) => self.means.ushers,
            Some(Tier::None) | None => false,
        }
    }

    /// What it is for local servers, a sentence for the log and for people.
    pub fn in_words(&self) -> String {
        let why = match self.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        match self.tier {
            Some(Tier::Strong) => format!(
                "Servers that run here are in the strong sandbox: of the host they see this chat's own folder and the system's \
                 programs{why}."
            ),
            Some(Tier::Restricted) => format!(
                "Servers that run here are in the restricted sandbox: they open this chat's own folder and the system's \
                 programs{}{why}.",
                if self.means.ushers {
                    ""
                } else {
                    ", without network"
                }
            ),
            Some(Tier::None) => {
                "Servers that run here are in no sandbox, since the operator switched it off: they read and change whatever \
                 the bot can."
                    .to_owned()
            }
            None => format!("Servers that run on this host are refused, since no sandbox works here{why}."),
        }
    }

    /// Who a thread's servers run as; `None` where they run as the bot's own user.
    pub fn owner(&self, thread: crate::thread::ThreadId) -> Option<Owner> {
        self.confines().then(|| Owner::of(thread)).flatten()
    }
}
