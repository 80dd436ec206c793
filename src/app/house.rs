//! All rooms behind a front: opened in order, closed in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::chat::Front;
use crate::desk::{Announce, Clock, Desk, DeskParts};
use crate::gate::{Gate, GateParts};
use crate::net::egress::{Egress, Patience};
use crate::net::{Net, NetOptions};
use crate::oauth::{OAuth, OAuthParts, OperatorClient};
use crate::policy::{Given, PolicyFile, Rules, Tier};
use crate::registry::{Outside, Registry, RegistryOptions, WaysOut};
use crate::reload::{Policing, Reload, ReloadOptions};
use crate::sandbox::{self, Choice, Sandbox};
use crate::settings::{AdminServers, Settings};
use crate::store::{Claim, Store};
use crate::vault::Ring;
use crate::web::Web;

use super::seen::{Kept, Pasted, StoredKeys, StoredNetwork, StoredRules, StoredTools};

/// How a house is built.
#[derive(Clone)]
pub struct HouseOptions {
    /// The data folder.
    pub data: PathBuf,
    /// How the registry works; its paths are set by [`House::open`].
    pub registry: RegistryOptions,
    /// How reload works.
    pub reload: ReloadOptions,
    /// What may be spoken to over the network, and how.
    pub net: NetOptions,
    /// Where people reach our pages.
    pub public_url: Option<url::Url>,
    /// Where our pages are served.
    pub listen: SocketAddr,
    /// Where our client metadata document is, when that is not below the public URL.
    pub client_document: Option<url::Url>,
    /// Which of the operator's servers threads are offered.
    pub admin_servers: AdminServers,
    /// The time.
    pub clock: Clock,
    /// One command and the end: nothing is kept that waits for a person.
    pub one_shot: bool,
    /// The keys that the operator gives for what is kept secret; without any, the store makes one.
    pub vault: Ring,
    /// What the operator decided, as far as `data/admin/policy.json` does not say.
    pub policy: Given,
    /// Shows a line on the console, by which a bot on Telegram comes to its first operator.
    pub announce: Option<Announce>,
    /// How local servers are confined.
    pub sandbox: Choice,
}

/// All rooms behind a front, running.
#[derive(Debug)]
pub struct House {
    /// Where events go.
    pub desk: Desk,
    /// What loads threads.
    pub reload: Reload,
    /// What runs servers.
    pub registry: Registry,
    /// What is on disk.
    pub store: Store,
    /// Logins at remote servers; what [`Web`] serves.
    pub oauth: OAuth,
    /// What the operator decided, as it holds now.
    pub rules: Rules,
    notices: JoinHandle<()>,
    pages: Option<Pages>,
    _claim: Option<Claim>,
}

/// The pages of logins, being served.
#[derive(Debug)]
struct Pages {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl HouseOptions {
    /// The defaults for a data folder, with our own program.
    pub fn new(data: PathBuf, program: PathBuf) -> Self {
        let registry = RegistryOptions::new(program, data.join("homes"));
        Self {
            data,
            registry,
            reload: ReloadOptions::default(),
            net: NetOptions::default(),
            public_url: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            client_document: None,
            admin_servers: AdminServers::None,
            clock: Arc::new(now_ms),
            one_shot: false,
            vault: Ring::default(),
            policy: Given::default(),
            announce: None,
            sandbox: Choice::Exactly(Tier::None),
        }
    }

    pub(super) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the bot's own program cannot be found")?;
        let mut options = Self::new(settings.data.clone(), program);
        options.registry.server_idle = settings.server_idle;
        options.registry.call_timeout = settings.call_timeout;
        options.reload.thread_idle = settings.thread_idle;
        options.net.rules = settings.address_rules.clone();
        options.public_url.clone_from(&settings.public_url);
        options.listen = settings.listen;
        options.admin_servers = settings.admin_servers.clone();
        options.sandbox = settings.sandbox;
        options.policy.operators.clone_from(&settings.operators);
        options.policy.access = settings.access;
        options.vault = settings.vault.clone();
        Ok(options)
    }
}

impl House {
    /// Opens the rooms behind a front. Nothing is loaded and no process is started before somebody speaks.
    pub fn open(
        options: HouseOptions,
        front: Arc<dyn Front>,
        our_name: Option<String>,
    ) -> anyhow::Result<Self> {
        let store = Store::open_with(&options.data, options.vault).with_context(|| {
            format!("the data folder {} cannot be used", options.data.display())
        })?;
        // A single command may work beside a bot; two bots would answer everything twice.
        let claim = (!options.one_shot)
            .then(|| store.claim_for_bot())
            .transpose()
            .context("no bot can start here while another one uses the folder")?;
        let sandbox = confined(options.sandbox, &options.registry)?;
        let policy = operators_policy(&store, options.policy)?;
        let net = Net::new(options.net);
        let public_url = options.public_url.clone();
        let logins_at = OAuthParts {
            net: net.clone(),
            keeper: Arc::new(Kept(store.clone())),
            clock: Arc::clone(&options.clock),
            public_url: options.public_url,
            listen: options.listen,
            clients: operator_clients(&store)?,
        };
        let (oauth, logins) = match options.client_document {
            Some(document) => OAuth::start_as(logins_at, Some(document)),
            None => OAuth::start(logins_at),
        };
        // Without it, a full disk for one, servers that run here have no network; everything else goes on.
        let audit: Arc<dyn Audit> = Arc::new(store.ledger(Arc::clone(&options.clock)));
        let ways_out = ways_out(&store, &net, &options.clock, &audit)
            .inspect_err(|error| tracing::error!(%error, "Servers that run here get no network."))
            .ok();
        let outside = Outside {
            rules: Arc::new(StoredRules {
                store: store.clone(),
                policy: policy.clone(),
            }),
            audit: Arc::clone(&audit),
            policy: policy.clone(),
            sandbox,
            ways_out,
            ..Outside::bare(
                Arc::new(StoredTools(store.clone())),
                net,
                Arc::new(StoredKeys {
                    store: store.clone(),
                    oauth: oauth.clone(),
                }),
            )
        };
        let (registry, reports) = Registry::start(options.registry, outside);
        let gate = Gate::new(GateParts {
            registry: registry.clone(),
            audit: Arc::clone(&audit),
            rules: policy.clone(),
            ticks: crate::gate::ticks(),
        });
        let (told, policy_news) = tokio::sync::mpsc::unbounded_channel();
        let reload = ReloadOptions {
            admin: options.admin_servers,
            policy: Some(Policing {
                rules: policy.clone(),
                told,
            }),
            ..options.reload
        };
        let (reload, changes) = Reload::start(store.clone(), registry.clone(), reload)
            .context("the data folder cannot be watched")?;
        let desk = Desk::new(DeskParts {
            front,
            store: store.clone(),
            registry: registry.clone(),
            reload: reload.clone(),
            oauth: oauth.clone(),
            clock: options.clock,
            our_name,
            one_shot: options.one_shot,
            public_url,
            gate,
            audit,
            policy: policy.clone(),
            announce: options.announce,
        });
        let notices = tokio::spawn({
            let desk = desk.clone();
            async move {
                let follow = desk.follow(changes, reports, logins);
                futures::future::join(follow, desk.follow_policy(policy_news)).await;
            }
        });
        Ok(Self {
            desk,
            reload,
            registry,
            store,
            oauth,
            rules: policy.clone(),
            notices,
            pages: None,
            _claim: claim,
        })
    }

    /// Serves the pages of logins until the house is closed.
    pub fn serve(&mut self, web: Web) {
        let stop = CancellationToken::new();
        let web = web.with_entry(Arc::new(Pasted(self.desk.clone())));
        let serving = web.serve(self.oauth.clone(), stop.clone());
        let served = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the pages for logins are not served any more.");
            }
        });
        self.pages = Some(Pages { stop, served });
    }

    /// Ends everything, in order, within the deadline; what does not end in time is named in the log.
    pub async fn close(self, deadline: Duration) {
        // The desk first: what was taken is answered while everything it needs still works.
        if tokio::time::timeout(deadline / 3, self.desk.drain())
            .await
            .is_err()
        {
            tracing::warn!("what was being handled did not end in time and is dropped.");
        }
        if let Some(pages) = &self.pages {
            pages.stop.cancel();
        }
        let rest = async {
            self.reload.shutdown().await;
            self.desk.shutdown().await;
            self.oauth.shutdown().await;
            if let Some(pages) = self.pages {
                let _ = pages.served.await;
            }
        };
        if tokio::time::timeout(deadline / 6, rest).await.is_err() {
            tracing::warn!("a reload or a task of the desk did not end in time and is dropped.");
        }
        for (thread, server) in self.registry.shutdown(deadline / 2).await {
            tracing::warn!(%thread, %server, "the server did not end by itself and was killed.");
        }
        self.notices.abort();
        self.store.leave_run_folder(&[sandbox::NODE_PROXY]);
    }
}

/// How local servers reach the network, and where it is kept what they reached.
fn ways_out(
    store: &Store,
    net: &Net,
    clock: &Clock,
    audit: &Arc<dyn Audit>,
) -> anyhow::Result<WaysOut> {
    let run = store.run_folder()?;
    store.put_in_run(sandbox::NODE_PROXY, sandbox::NODE_PROXY_TEXT)?;
    Ok(WaysOut {
        egress: Egress::new(net.clone(), &run, Patience::default()),
        book: Arc::new(StoredNetwork {
            store: store.clone(),
            clock: Arc::clone(clock),
            audit: Arc::clone(audit),
        }),
    })
}

/// Which sandbox holds on this machine; blocks for some milliseconds.
fn confined(choice: Choice, options: &RegistryOptions) -> anyhow::Result<Sandbox> {
    let sandbox = Sandbox::probe(choice, &options.launcher, &options.homes)?;
    match sandbox.tier {
        Some(Tier::None) => tracing::warn!("{}", sandbox.in_words()),
        Some(tier) => tracing::info!(tier = tier.word(), "{}", sandbox.in_words()),
        None => tracing::error!("{}", sandbox.in_words()),
    }
    Ok(sandbox)
}

/// What the operator decided. A file that says nothing sound stops the start: the careful default in its place would shut
/// out everybody whom it lets in, and an older state of it might let in whom it shuts out.
fn operators_policy(store: &Store, given: Given) -> anyhow::Result<Rules> {
    let bytes = store.policy()?;
    let file = PolicyFile::read(bytes.as_deref())
        .context("the policy in admin/policy.json cannot be used; mend the file or move it away")?;
    Ok(Rules::of(given, &file))
}

/// The clients that the operator registered beforehand.
fn operator_clients(store: &Store) -> anyhow::Result<Vec<OperatorClient>> {
    let Some(bytes) = store.operator_clients()? else {
        return Ok(Vec::new());
    };
    OperatorClient::read(&bytes)
        .context("the operator's clients in admin/oauth_clients.json cannot be used; mend the file or move it away")
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
