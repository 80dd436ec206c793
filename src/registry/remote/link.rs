//! A connection to a remote server from its beginning to its end: handshake, tools, health, farewell.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ClientRequest, ListToolsRequest, PingRequest, ProtocolVersion, SubscriptionFilter,
    SubscriptionsListenRequest, SubscriptionsListenRequestParams,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RunningService,
    ServiceError, serve_client_with_lifecycle,
};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::http::{self, Session, Waits};
use super::pace::Pace;
use super::{Mend, Trouble, Wire, WireError, sse};
use crate::config::{RemoteServer, RemoteTransport};
use crate::registry::Stage;
use crate::registry::connection::{
    Backing, Client, Connection, Opened, Parts, greeting, handshake_words, list_words,
};
use crate::registry::context::Context;
use crate::registry::listing::{Listing, list_tools};
use crate::registry::text::count;
use crate::registry::transport::{Events, Noise, UNREADABLE, Watched};

/// What a call's own deadline may be passed by before its request is given up below it.
const CALL_SLACK: Duration = Duration::from_secs(5);
/// How long a request that is no call may take to be answered.
const OTHER_LIMIT: Duration = Duration::from_mins(1);

/// What a connection to a remote server stands on.
#[derive(Debug)]
pub(in crate::registry) struct Link {
    wire: Arc<Wire>,
    service: Option<RunningService<RoleClient, Client>>,
    session: Session,
    /// Listens for changes where the revision has no stream of its own for them.
    listening: Option<AbortHandle>,
}

impl Link {
    fn new(wire: Arc<Wire>) -> Self {
        Self {
            wire,
            service: None,
            session: Session::default(),
            listening: None,
        }
    }

    /// What went wrong last on the way to the server.
    pub(in crate::registry) fn failure(&self) -> Option<WireError> {
        self.wire.failure()
    }

    /// Ends the session and everything that belongs to the connection.
    pub(in crate::registry) async fn end(mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        // First, so that no socket waits for a server, or a task of rmcp, that is stuck; the farewell goes out all the same.
        self.wire.closed().cancel();
        if let Some(mut service) = self.service.take() {
            let limit = self.wire.options().end_limit;
            let _ = service.close_with_timeout(limit).await;
        }
        self.session.end(&self.wire).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        self.wire.closed().cancel();
        if self.session.is_open()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (session, wire) = (self.session.clone(), self.wire.clone());
            // Bounded, and of a few bytes.
            runtime.spawn(async move { session.end(&wire).await });
        }
    }
}

/// Connects over streamable HTTP: the newest revision first, then by `initialize`.
pub(super) async fn over_http(
    context: &Context,
    name: &str,
    server: &RemoteServer,
    wire: Arc<Wire>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let newest = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    };
    let deadline = Instant::now() + context.options.start_timeout;
    let waits = Waits {
        call: context.options.call_cap + CALL_SLACK,
        other: OTHER_LIMIT.min(context.options.start_timeout),
    };
    // Whatever ends this early ends the session that may have begun.
    let mut link = Link::new(wire.clone());
    let mut lifecycle = newest;
    loop {
        let is_last = lifecycle == ClientLifecycleMode::Initialize;
        let events = Arc::new(Events::default());
        let transport = http::transport(&wire, &events, &link.session, waits);
        let parts = (transport, Client::default());
        match begin(&wire, parts, &events, lifecycle, deadline).await {
            Ok(service) => {
                link.service = Some(service);
                return settle(name, server, (link, events), deadline, passed).await;
            }
            // What is no answer of the newest revision at all is asked again on a fresh transport, as servers of old are.
            Err(NotBegun::Odd(_)) if !is_last => {
                link.session.end(&wire).await;
                lifecycle = ClientLifecycleMode::Initialize;
            }
            Err(NotBegun::Odd(trouble) | NotBegun::Down(trouble)) => {
                link.end().await;
                return Err(trouble);
            }
        }
    }
}

/// Connects over HTTP+SSE, which has no other revision.
pub(super) async fn over_sse(
    context: &Context,
    name: &str,
    server: &RemoteServer,
    wire: Arc<Wire>,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let limit = context.options.start_timeout;
    let deadline = Instant::now() + limit;
    let mut link = Link::new(wire.clone());
    let connected = sse::connect(&wire, limit).await;
    let transport = connected.map_err(|error| error.trouble(Stage::Transport))?;
    let events = Arc::new(Events::default());
    let client = Client {
        asks_for: ProtocolVersion::V_2024_11_05,
    };
    let parts = (transport, client);
    match begin(
        &wire,
        parts,
        &events,
        ClientLifecycleMode::Initialize,
        deadline,
    )
    .await
    {
        Ok(service) => {
            link.service = Some(service);
            settle(name, server, (link, events), deadline, passed).await
        }
        Err(NotBegun::Odd(trouble) | NotBegun::Down(trouble)) => Err(trouble),
    }
}

enum NotBegun {
    /// It answered something that is no handshake.
    Odd(Trouble),
    Down(Trouble),
}

async fn begin<T: Transport<RoleClient> + 'static>(
    wire: &Wire,
    (transport, client): (T, Client),
    events: &Arc<Events>,
    lifecycle: ClientLifecycleMode,
    deadline: Instant,
) -> Result<RunningService<RoleClient, Client>, NotBegun> {
    let noise = Noise::until(wire.options().flood_limit);
    let watched = Watched::new(transport, events.clone(), noise);
    let serving = serve_client_with_lifecycle(client, watched, lifecycle);
    let error = match tokio::time::timeout_at(deadline, serving).await {
        Ok(Ok(service)) => return Ok(service),
        Ok(Err(error)) => error,
        Err(_) => {
            return Err(NotBegun::Down(Trouble::new(
                Stage::Handshake,
                "it did not answer the handshake (initialize) in time",
                "Is it an MCP server? Look at /mcp logs.",
                Mend::Again,
            )));
        }
    };
    if let Some(error) = of_handshake(&error).or_else(|| wire.failure()) {
        return Err(NotBegun::Down(error.trouble(Stage::Handshake)));
    }
    let advice = "It may not be an MCP server, or be a broken one: look at its own documentation.";
    let masker = wire.masker().load();
    Err(match handshake_words(&error, &masker) {
        Some(words) => NotBegun::Odd(Trouble::new(Stage::Handshake, words, advice, Mend::Again)),
        None => NotBegun::Odd(Trouble::new(
            Stage::Handshake,
            "it closed the connection before it answered the handshake",
            advice,
            Mend::Again,
        )),
    })
}

/// What follows a handshake: the revision, the tools, an ear for changes.
async fn settle(
    name: &str,
    server: &RemoteServer,
    (mut link, events): (Link, Arc<Events>),
    deadline: Instant,
    passed: &mut (dyn FnMut(Stage, String) + Send),
) -> Result<Opened, Trouble> {
    let settled = async {
        let Some(service) = &link.service else {
            return Err(unanswering());
        };
        let scheme = link.wire.url().scheme();
        passed(
            Stage::Tls,
            if scheme == "https" {
                "https"
            } else {
                "plain http"
            }
            .to_owned(),
        );
        let transport = match server.transport {
            RemoteTransport::Http => "streamable HTTP",
            RemoteTransport::Sse => "HTTP+SSE",
        };
        passed(Stage::Transport, transport.to_owned());
        passed(Stage::Auth, link.wire.auth().to_owned());
        let parts = Parts {
            events: events.clone(),
            masker: link.wire.masker().clone(),
            timeout: server.timeout_ms.map(Duration::from_millis),
            is_local: false,
        };
        let connection = Connection::over(service, parts).await;
        let (server_info, protocol) = greeting(&connection, passed)?;
        let listing = tools(name, &link.wire, &connection, deadline).await?;
        passed(Stage::ToolsList, count(listing.tools.len(), "tool"));
        Ok((connection, server_info, protocol, listing))
    };
    match settled.await {
        Ok((connection, server_info, protocol, listing)) => {
            if connection.is_modern() {
                let listening = listen(connection.peer.clone(), events, link.wire.clone());
                link.listening = Some(tokio::spawn(listening).abort_handle());
            }
            Ok(Opened {
                connection,
                backing: Backing::Link(link),
                listing,
                protocol,
                server_info,
            })
        }
        Err(trouble) => {
            link.end().await;
            Err(trouble)
        }
    }
}

async fn tools(
    name: &str,
    wire: &Wire,
    connection: &Connection,
    deadline: Instant,
) -> Result<Listing, Trouble> {
    let masker = wire.masker().load_full();
    let listing = tokio::select! {
        biased;
        listing = list_tools(&connection.peer, name, &masker) => listing,
        () = connection.events.ended.cancelled() => Err(ServiceError::TransportClosed),
        () = tokio::time::sleep_until(deadline) => {
            let what = "it did not answer tools/list in time";
            return Err(Trouble::new(Stage::ToolsList, what, "Look at /mcp logs.", Mend::Again));
        }
    };
    listing.map_err(|error| {
        if let Some(error) = of_service(&error) {
            return error.trouble(Stage::ToolsList);
        }
        let advice = "Look at /mcp logs, and at the server's own documentation.";
        let words = list_words(&error, &masker)
            .or_else(|| wire.failure().map(|error| error.to_string()))
            .unwrap_or_else(|| connection.events.trouble().what);
        Trouble::new(Stage::ToolsList, words, advice, Mend::Again)
    })
}

/// Hears of changed tools where the revision wants to be asked for them.
async fn listen(peer: Peer<RoleClient>, events: Arc<Events>, wire: Arc<Wire>) {
    let pace = Pace::new(wire.options());
    loop {
        pace.wait(wire.closed()).await;
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let request =
            SubscriptionsListenRequest::new(SubscriptionsListenRequestParams::new(filter));
        let request = ClientRequest::SubscriptionsListenRequest(request);
        let sent = peer.send_cancellable_request(request, PeerRequestOptions::no_options());
        let ended = match sent.await {
            // What comes on it is a notification like any other; its answer is its end.
            Ok(handle) => handle.rx.await,
            Err(_) => return,
        };
        if events.ended.is_cancelled() || wire.closed().is_cancelled() {
            return;
        }
        match ended {
            // It does not know this.
            Ok(Err(ServiceError::McpError(error))) if error.code.0 != UNREADABLE => return,
            Err(_) => return,
            _ => {}
        }
    }
}

/// What became of a check.
#[derive(Debug)]
pub(in crate::registry) struct Checked {
    pub(in crate::registry) took: Duration,
    /// `Err(None)`: no answer in time, which may mean that it is busy.
    pub(in crate::registry) outcome: Result<(), Option<Trouble>>,
}

/// Asks a server whether it is there. Any answer to that is a yes.
pub(in crate::registry) async fn check(
    peer: Peer<RoleClient>,
    is_modern: bool,
    limit: Duration,
) -> Checked {
    let request = if is_modern {
        ClientRequest::ListToolsRequest(ListToolsRequest::default())
    } else {
        ClientRequest::PingRequest(PingRequest::default())
    };
    let began = Instant::now();
    let asked = tokio::time::timeout(limit, peer.send_request(request)).await;
    let outcome = match asked {
        Err(_) => Err(None),
        Ok(Ok(_) | Err(ServiceError::McpError(_) | ServiceError::UnexpectedResponse)) => Ok(()),
        Ok(Err(error)) => match of_service(&error) {
            Some(WireError::Net(crate::net::NetError::TimedOut { .. })) => Err(None),
            Some(error) => Err(Some(error.trouble(Stage::Http))),
            None => Err(Some(unanswering())),
        },
    };
    Checked {
        took: began.elapsed(),
        outcome,
    }
}

/// A server that says nothing any more.
pub(in crate::registry) fn unanswering() -> Trouble {
    Trouble::new(Stage::Http, "it does not answer any more", "", Mend::Again)
}

/// What happened on the wire to a request.
pub(in crate::registry) fn of_service(error: &ServiceError) -> Option<WireError> {
    match error {
        ServiceError::TransportSend(error) => of_any(error.error.as_ref()),
        _ => None,
    }
}

fn of_handshake(error: &ClientInitializeError) -> Option<WireError> {
    match error {
        ClientInitializeError::TransportError { error, .. } => of_any(error.error.as_ref()),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_handshake(fallback),
        _ => None,
    }
}

fn of_any(error: &(dyn Error + 'static)) -> Option<WireError> {
    if let Some(error) = error.downcast_ref::<WireError>() {
        return Some(error.clone());
    }
    match error.downcast_ref::<StreamableHttpError<WireError>>()? {
        StreamableHttpError::Client(error) => Some(error.clone()),
        _ => None,
    }
}
