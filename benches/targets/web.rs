//! (e) Servers over the network: what a call and a connection cost beyond a bare rmcp client with a pool of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use switchboard::config::{
    CredentialId, RemoteAuth, RemoteServer, RemoteTransport, Revision, SecretName, ServerName,
    ThreadConfig,
};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::AddressRules;
use switchboard::registry::{
    Keys, NoCache, NoToken, Outside, Registry, RegistryOptions, ServerState,
};
use switchboard::secret::Secret;
use switchboard::thread::ThreadId;
use url::Url;

use crate::Plan;
use crate::calls::{Called, Caller, compare};
use crate::sample::Samples;
use crate::table::{Limit, Row, Unit};
use crate::web_server::{Everything, WebServer};
use crate::world::{pause, thread};

/// No connection takes this long; past it the rows are given up.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let server = WebServer::start()?;
    let folder = crate::server::temporary_folder()?;
    let bot = Bot::start(&plan.binary, folder.path())?;
    let rows = measure(plan, &bot, server.url()).await;
    let rows = match rows {
        Ok(rows) => everything(plan, &bot, rows).await,
        Err(error) => Err(error),
    };
    bot.registry.shutdown(Duration::from_secs(10)).await;
    rows
}

/// A realistic server. Where it is not installed, that is said and there is no row.
async fn everything(plan: &Plan, bot: &Bot, mut rows: Vec<Row>) -> Result<Vec<Row>> {
    const ECHO: Called = Called {
        tool: "echo",
        argument: "message",
    };
    let Some(command) = crate::server::everything("streamableHttp") else {
        println!(
            "  server-everything is not installed in tests/interop (npm ci), or node is not: row left out"
        );
        return Ok(rows);
    };
    let server = Everything::start(&command).await?;
    let bare = connect_bare(&pooled()?, server.url()).await?;
    bot.connect(thread(3), server.url()).await?;
    let callers = [
        Caller::bare(bare.peer(), &ECHO),
        Caller::bot(&bot.registry, thread(3), &ECHO),
    ];
    let [[floor, took], _] = compare(plan, &callers).await?;
    bare.cancel().await?;
    rows.push(
        Row::new("a call over HTTP of server-everything", Unit::Seconds, took)
            .floor(floor.median())
            .limit(Limit::Floors(1.1)),
    );
    Ok(rows)
}

fn pooled() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

async fn measure(plan: &Plan, bot: &Bot, url: &str) -> Result<Vec<Row>> {
    const TOOL: Called = Called {
        tool: "tool_0",
        argument: "text",
    };
    let client = pooled()?;
    // The first connection of each pays for what later ones find ready.
    let bare = connect_bare(&client, url).await?;
    bot.connect(thread(1), url).await?;
    let callers = [
        Caller::bare(bare.peer(), &TOOL),
        Caller::bot(&bot.registry, thread(1), &TOOL),
    ];
    let [[bare_took, took], [bare_rate, rate]] = compare(plan, &callers).await?;

    let mut connects = [const { Samples::new() }; 2];
    for round in 0..plan.rounds(100) {
        for place in 0..2 {
            let which = (round + place) % 2;
            let began = Instant::now();
            if which == 0 {
                let bare = connect_bare(&client, url).await?;
                connects[which].add(began.elapsed());
                bare.cancel().await?;
            } else {
                bot.connect(thread(2), url).await?;
                connects[which].add(began.elapsed());
                bot.registry.unload(thread(2)).await;
            }
            pause().await;
        }
    }
    bare.cancel().await?;
    let [bare_connects, connects] = connects;
    Ok(vec![
        Row::new("a call over HTTP, 1 at a time", Unit::Seconds, took)
            .floor(bare_took.median())
            // A tenth of a server that takes no time is less than any call of the bot may cost.
            .limit(Limit::MoreOr {
                more: 0.000_010,
                floors: 1.1,
            }),
        Row::new("calls over HTTP, 16 at a time", Unit::PerSecond, rate).floor(bare_rate.median()),
        Row::new("connect over HTTP until the tools", Unit::Seconds, connects)
            .floor(bare_connects.median()),
    ])
}

/// The bare client: handshake and tools.
async fn connect_bare(
    client: &reqwest::Client,
    url: &str,
) -> Result<RunningService<RoleClient, ClientConfig>> {
    let transport = StreamableHttpClientTransport::with_client(
        client.clone(),
        StreamableHttpClientTransportConfig::with_uri(url),
    );
    let us = Implementation::new("bench", "1");
    let config = ClientConfig::new(ClientCapabilities::default(), us)
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
    let service = tokio::time::timeout(DEADLINE, serve_client(config, transport)).await??;
    let listed = service.peer().list_tools(None).await?;
    anyhow::ensure!(listed.tools.len() >= 10, "not all tools came");
    Ok(service)
}

/// The registry, which may speak to loopback.
struct Bot {
    registry: Registry,
}

impl Bot {
    fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let net = Net::new(NetOptions {
            rules: AddressRules {
                allow_http: true,
                allow: vec!["127.0.0.1/32".parse()?],
            },
            ..NetOptions::default()
        });
        let options = RegistryOptions::new(binary.to_owned(), folder.to_owned());
        let (registry, mut notices) = Registry::start(
            options,
            Outside::bare(Arc::new(NoCache), net, Arc::new(Agreed)),
        );
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        Ok(Self { registry })
    }

    /// Makes a thread have the server, until its tools are there.
    async fn connect(&self, thread: ThreadId, url: &str) -> Result<()> {
        let server = RemoteServer {
            transport: RemoteTransport::Http,
            url: url.to_owned(),
            headers: Vec::new(),
            auth: RemoteAuth::None,
            timeout_ms: None,
            disabled: false,
        };
        let config = ThreadConfig {
            remote: vec![(ServerName::new("fast")?, server)],
            ..ThreadConfig::default()
        };
        self.registry
            .apply(thread, Arc::new(config), Revision::of(None, Some(b"1")))
            .await;
        let mut state = None;
        let ready = self.registry.wait(thread, |snapshot| {
            let server = snapshot.server("fast");
            state = server.map(|server| server.state.clone());
            server.is_some_and(|server| {
                matches!(server.state, ServerState::Ready { .. }) && server.tools.len() >= 10
            })
        });
        match tokio::time::timeout(DEADLINE, ready).await {
            Ok(ready) => ready.context("the thread was let go").map(drop),
            Err(_) => Err(anyhow::anyhow!("not connected: {state:?}")),
        }
    }
}

/// Somebody agreed to everything, and nothing is secret.
#[derive(Debug)]
struct Agreed;

#[async_trait]
impl Keys for Agreed {
    async fn is_approved(&self, _: ThreadId, _: &ServerName, _: &RemoteServer) -> bool {
        true
    }

    async fn secret(&self, _: ThreadId, _: &SecretName, _: &Url) -> Option<Secret> {
        None
    }

    async fn local_secret(&self, _: ThreadId, _: &SecretName) -> Option<Secret> {
        None
    }

    async fn token(&self, _: ThreadId, _: &CredentialId, _: &Url) -> Result<Secret, NoToken> {
        Err(NoToken::NeedsLogin("nobody logged in".to_owned()))
    }

    async fn refused(
        &self,
        _: ThreadId,
        _: &CredentialId,
        _: &Url,
        _: &Secret,
    ) -> Result<Secret, NoToken> {
        Err(NoToken::NeedsLogin("nobody logged in".to_owned()))
    }
}
