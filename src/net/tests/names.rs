//! Names whose answers are somebody else's: what one says is judged each time that somebody connects.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const GOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PRIVATE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Names of a stranger. What is `rebound` leads to a good place when it is asked for first, and then to a private one.
#[expect(clippy::unnecessary_wraps, reason = "as the system answers")]
fn answers(name: &str) -> std::io::Result<Vec<IpAddr>> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    Ok(match name {
        "good.test" => vec![GOOD],
        "rebound.test" if ASKED.fetch_add(1, Ordering::SeqCst) == 0 => vec![GOOD],
        "both.test" => vec![PRIVATE, GOOD],
        _ => vec![PRIVATE],
    })
}

#[tokio::test]
async fn d21_a_name_that_leads_to_a_private_place_or_changes_its_mind_is_not_spoken_to() {
    let server = server().await;
    // At the same port, one address further.
    let canary = TcpListener::bind((PRIVATE, server.port())).unwrap();
    canary.set_nonblocking(true).unwrap();
    let mut net = open();
    net.resolver = net.resolver.asking(answers);
    net.client = client(&net.resolver, LONG, LONG).build().unwrap();
    let url = |name: &str| format!("http://{name}:{}/echo", server.port());
    let is_refused = |result: Result<String, NetError>| {
        matches!(
            result,
            Err(NetError::Address(AddressProblem::NotPublic(PRIVATE)))
        )
    };
    for name in ["good.test", "both.test"] {
        let said = fetched(&net, &url(name), Redirects::None).await;
        assert!(said.is_ok(), "{name}: {said:?}");
    }
    // Looked at first, as a probe does, and connected to then.
    let looked_at = net.resolve(&url("rebound.test").parse().unwrap()).await;
    assert_eq!(looked_at, Ok(vec![GOOD]));
    for name in ["rebound.test", "private.test", "PRIVATE.test."] {
        let said = fetched(&net, &url(name), Redirects::None).await;
        assert!(is_refused(said), "{name}");
        let on = format!("http://{server}/to/302?at={}", encoded(&url(name)));
        let said = fetched(&net, &on, Redirects::Follow(3)).await;
        assert!(is_refused(said), "a redirect to {name}");
        let sent = net.client().get(url(name)).send().await;
        assert!(sent.is_err(), "{name}");
    }
    assert_eq!(
        canary.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the canary was spoken to"
    );
}
