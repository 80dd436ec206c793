//! A live connection to a server of either kind: what calls hold, and what every handshake ends in.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rmcp::model::{ClientCapabilities, ClientConfig, ErrorData, Implementation, ProtocolVersion};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, Peer, RequestContext, RunningService, ServiceError,
};
use rmcp::{ClientHandler, RoleClient};

use super::Stage;
use super::listing::Listing;
use super::local::Process;
use super::remote::Link;
use super::text::masked_line;
use super::transport::{Events, UNREADABLE};
use super::trouble::{Mend, Trouble};
use crate::config::Masker;

const INFO_CHARS: usize = 120;
const MESSAGE_CHARS: usize = 300;

/// A live connection. Calls hold it while they wait, so its count says whether it is in use.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer<RoleClient>,
    pub(super) events: Arc<Events>,
    /// Knows the secrets that this connection was begun with, and tokens that came later; the server's newest definition
    /// may have others.
    pub(super) masker: Arc<ArcSwap<Masker>>,
    /// A call's deadline without progress, where the server has one of its own.
    pub(super) timeout: Option<Duration>,
    /// The server is a process here.
    pub(super) is_local: bool,
}

/// What a connection is made of besides its peer.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) events: Arc<Events>,
    pub(super) masker: Arc<ArcSwap<Masker>>,
    pub(super) timeout: Option<Duration>,
    pub(super) is_local: bool,
}

/// What a connection stands on; its drop ends it.
#[derive(Debug)]
pub(super) enum Backing {
    Process(Process),
    Link(Link),
}

/// A server that is up.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    pub(super) backing: Backing,
    pub(super) listing: Listing,
    pub(super) protocol: String,
    pub(super) server_info: String,
}

/// The bot as an MCP client: it offers nothing to servers and answers their requests with a refusal.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// What `initialize` asks for. Pinned: rmcp's default would offer a revision that has no `initialize`.
    pub(super) asks_for: ProtocolVersion,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            asks_for: ProtocolVersion::LATEST_WITH_INITIALIZE,
        }
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("switchboard", env!("CARGO_PKG_VERSION")),
        )
        .with_protocol_version(self.asks_for.clone())
    }

    /// rmcp would answer that there are none. Nothing was offered, so there is nothing to ask.
    #[expect(deprecated, reason = "servers of older revisions ask")]
    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::method_not_found::<
            rmcp::model::ListRootsRequestMethod,
        >())
    }
}

impl Backing {
    /// Waits until what runs here has ended; a link tells its end by its events alone.
    pub(super) async fn ended(&self) {
        match self {
            Self::Process(process) => process.ended().await,
            Self::Link(_) => std::future::pending().await,
        }
    }
}

impl Connection {
    /// After a handshake.
    pub(super) async fn over(
        service: &RunningService<RoleClient, Client>,
        parts: Parts,
    ) -> Arc<Self> {
        service
            .set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        let Parts {
            events,
            masker,
            timeout,
            is_local,
        } = parts;
        Arc::new(Self {
            peer: service.peer().clone(),
            events,
            masker,
            timeout,
            is_local,
        })
    }

    /// Whether the agreed revision has no `initialize`, no session and no `ping`.
    pub(super) fn is_modern(&self) -> bool {
        let info = self.peer.peer_info();
        info.is_some_and(|info| !info.protocol_version.has_initialize())
    }
}

/// What the server says of itself (untrusted, masked, bounded) and the revision agreed on; both stages are told.
pub(super) fn greeting(
    connection: &Connection,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<(String, String), Trouble> {
    let masker = connection.masker.load();
    let info = connection.peer.peer_info();
    let server_info = info
        .as_ref()
        .and_then(|info| info.server_info.as_ref())
        .map(|info| {
            let info = format!("{} {}", info.name, info.version);
            masked_line(&masker, &info, INFO_CHARS)
        })
        .unwrap_or_default();
    passed(Stage::Handshake, server_info.clone());
    let version = info.map(|info| info.protocol_version.clone());
    let protocol = speaks(version, &masker, connection.is_local)?;
    passed(Stage::Protocol, protocol.clone());
    Ok((server_info, protocol))
}

/// What a server answered to a handshake that it refused; `None` where it did not answer.
pub(super) fn handshake_words(error: &ClientInitializeError, masker: &Masker) -> Option<String> {
    match error {
        ClientInitializeError::JsonRpcError(error) if error.code.0 == UNREADABLE => Some(format!(
            "its answer to the handshake makes no sense: {}",
            error.message
        )),
        ClientInitializeError::JsonRpcError(error) => Some(format!(
            "it refused the handshake: {} (code {})",
            masked_line(masker, &error.message, MESSAGE_CHARS),
            error.code.0
        )),
        ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ExpectedInitResult(_)
        | ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. } => {
            Some("its answer to the handshake makes no sense".to_owned())
        }
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            Some("it speaks no protocol revision that this bot does".to_owned())
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            handshake_words(fallback, masker)
        }
        _ => None,
    }
}

/// What a server answered to `tools/list` instead of a list; `None` where it did not answer.
pub(super) fn list_words(error: &ServiceError, masker: &Masker) -> Option<String> {
    match error {
        ServiceError::McpError(error) if error.code.0 == UNREADABLE => Some(format!(
            "its answer to tools/list makes no sense: {}",
            error.message
        )),
        ServiceError::McpError(error) => Some(format!(
            "it answered tools/list with an error: {} (code {})",
            masked_line(masker, &error.message, MESSAGE_CHARS),
            error.code.0
        )),
        ServiceError::UnexpectedResponse => {
            Some("its answer to tools/list is no list of tools".to_owned())
        }
        _ => None,
    }
}

fn speaks(
    version: Option<ProtocolVersion>,
    masker: &Masker,
    is_local: bool,
) -> Result<String, Trouble> {
    let version = version
        .map(|version| version.to_string())
        .unwrap_or_default();
    let known: Vec<_> = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .filter(|known| !is_local || known.has_initialize())
        .map(ToString::to_string)
        .collect();
    if known.contains(&version) {
        return Ok(version);
    }
    Err(Trouble::new(
        Stage::Protocol,
        format!(
            "it speaks protocol revision `{}`, which this bot does not (it speaks {})",
            masked_line(masker, &version, 40),
            known.join(", ")
        ),
        "Use a version of the server for one of these revisions.",
        Mend::Change,
    ))
}
