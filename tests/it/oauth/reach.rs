//! Where a login may reach: each address that a stranger names, of each kind, is judged before anybody is spoken to.

use std::net::{SocketAddr, TcpListener};

use serde_json::json;
use switchboard::oauth::{Arrival, LoggedOut, NoToken, OAuthError};

use super::world::{HERE, World, credential};

/// A listener at an address that nobody opened. Nobody accepts, so whoever came waits in its queue.
struct Canary(TcpListener);

impl Canary {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn at(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn visits(&self) -> usize {
        std::iter::from_fn(|| self.0.accept().ok()).count()
    }
}

/// Which address leads to the canary.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Server,
    ResourceMetadata,
    ServerMetadata,
    Registration,
    Token,
    Refresh,
    Revocation,
    /// A path of a good server that sends on to it.
    Redirect(&'static str),
}

const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const SERVER: &str = "/.well-known/oauth-authorization-server";

/// Points one address at `to`, and goes as far as a login goes; what was told at its end.
async fn told(kind: Kind, to: &str) -> String {
    let mut world = World::walled().await;
    let mut ask = world.ask("");
    match kind {
        Kind::Server => {
            ask.url = format!("{to}/mcp").parse().unwrap();
            ask.challenge = None;
        }
        Kind::ResourceMetadata => {
            ask.challenge = Some(format!("Bearer resource_metadata=\"{to}{RESOURCE}\""));
            // Where the challenge is passed over, nothing else tells how to log in.
            world.stand.bent().silent = true;
        }
        Kind::ServerMetadata => {
            world.stand.bent().resource = json!({"authorization_servers": [to]});
        }
        Kind::Registration => {
            world.stand.bent().metadata =
                json!({"registration_endpoint": format!("{to}/register")});
        }
        Kind::Token => {
            world.stand.bent().metadata = json!({"token_endpoint": format!("{to}/token")});
        }
        Kind::Revocation => {
            world.stand.bent().metadata = json!({"revocation_endpoint": format!("{to}/revoke")});
        }
        Kind::Redirect(path) => {
            let mut bent = world.stand.bent();
            bent.sends_on.insert(path.to_owned(), format!("{to}{path}"));
        }
        // The address was good when the login was made.
        Kind::Refresh => {}
    }
    let made = match world.oauth.begin(ask).await {
        Ok(made) => made,
        Err(OAuthError::Discovery(why) | OAuthError::Refused(why)) => return why,
        Err(other) => panic!("{kind:?}: {other:?}"),
    };
    let (address, cookie) = world.leave(&made).await;
    let query = world.stand.consent(&address);
    match world.oauth.arrive(&query, cookie.as_deref()).await {
        Arrival::Failed { why, .. } => return why,
        Arrival::Welcome { .. } => {}
        other => panic!("{kind:?}: {other:?}"),
    }
    world.news(&made.id).await;
    world.finish(&made.id).await.unwrap();
    if matches!(kind, Kind::Refresh) {
        let mut kept = world.disk.credentials.lock().unwrap();
        for record in kept.values_mut() {
            record["authority"]["token_endpoint"] = json!(format!("{to}/token"));
        }
    }
    world.restart();
    world.later(3600);
    match world.token().await {
        Err(NoToken::Later(why)) => return why,
        Ok(_) => {}
        other => panic!("{kind:?}: {other:?}"),
    }
    let done = world.oauth.logout(HERE, &credential()).await;
    assert_eq!(done, LoggedOut::Forgotten, "{kind:?} {to}");
    "it could not be told".to_owned()
}

#[tokio::test]
async fn d21_no_address_of_a_login_leads_to_a_private_place() {
    let canary = Canary::listen();
    let port = canary.at().port();
    let private = "which is not a public address";
    let (elsewhere, forgotten) = ("non-same-origin", "it could not be told");
    let cases = [
        (Kind::Server, private),
        (Kind::ResourceMetadata, private),
        (Kind::ServerMetadata, private),
        (Kind::Registration, private),
        (Kind::Token, private),
        (Kind::Refresh, private),
        (Kind::Revocation, forgotten),
        (Kind::Redirect(RESOURCE), elsewhere),
        (Kind::Redirect(SERVER), elsewhere),
        (Kind::Redirect("/register"), "status 307"),
        (Kind::Redirect("/token"), "status 307"),
        (Kind::Redirect("/revoke"), forgotten),
    ];
    for (kind, expected) in cases {
        for host in ["127.0.0.1", "localhost", "2130706433"] {
            let told = told(kind, &format!("http://{host}:{port}")).await;
            assert!(told.contains(expected), "{kind:?} {host}: {told}");
            assert_eq!(canary.visits(), 0, "{kind:?}: {host} was spoken to");
        }
    }
    // It does count.
    drop(std::net::TcpStream::connect(canary.at()).unwrap());
    while canary.visits() == 0 {
        tokio::task::yield_now().await;
    }
}
