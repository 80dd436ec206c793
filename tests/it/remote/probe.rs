//! An address that nobody has connected yet, tried stage by stage.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use switchboard::config::{RemoteAuth, RemoteTransport, SecretName};
use switchboard::registry::{AuthWanted, ProbeAsk, Probed, Stage};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Far, Manners, Room, START, THREAD, far, side_by_side};
use crate::support::hostile::{Get, On, Speaks, Trouble, Wants};

const RESOURCE: &str =
    "Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"";

const ALL: [Stage; 9] = [
    Stage::Address,
    Stage::Dns,
    Stage::Tls,
    Stage::Http,
    Stage::Transport,
    Stage::Auth,
    Stage::Handshake,
    Stage::Protocol,
    Stage::ToolsList,
];

async fn probe(room: &Room, url: &str, auth: RemoteAuth) -> Probed {
    let (sender, mut receiver) = mpsc::channel(16);
    let ask = ProbeAsk {
        url: url.to_owned(),
        headers: Vec::new(),
        auth,
    };
    let probed = room.registry.probe(THREAD, ask, sender).await;
    let told: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    assert_eq!(told, probed.staged.results, "each is told as it ends");
    for (result, stage) in probed.staged.results.iter().zip(ALL) {
        assert_eq!(result.stage, stage, "{probed:?}");
    }
    let broken = probed
        .staged
        .results
        .iter()
        .position(|one| one.outcome.is_err());
    assert!(
        broken.is_none_or(|at| at + 1 == probed.staged.results.len()),
        "{probed:?}"
    );
    probed
}

/// A listener that speaks no HTTP: it says this to whoever connects, and keeps the connection.
async fn banner(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, words).await;
            kept.push(stream);
        }
    });
    address
}

/// What was broken and what to do, as one text.
fn broken(probed: &Probed) -> (Stage, String) {
    let last = probed.staged.results.last().unwrap();
    let broken = last.outcome.as_ref().expect_err("something is broken");
    (last.stage, format!("{} {}", broken.what, broken.advice))
}

fn seen(probed: &Probed, stage: Stage) -> &str {
    let found = probed.staged.results.iter().find(|one| one.stage == stage);
    found.unwrap().outcome.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_server_is_found_and_named() {
    let room = Room::new();
    side_by_side(
        [
            (
                Speaks::Json,
                RemoteTransport::Http,
                "streamable HTTP, 2025-11-25",
            ),
            (
                Speaks::Events,
                RemoteTransport::Http,
                "streamable HTTP, 2025-11-25",
            ),
            (
                Speaks::Modern,
                RemoteTransport::Http,
                "streamable HTTP, 2026-07-28",
            ),
            (
                Speaks::Legacy,
                RemoteTransport::Sse,
                "HTTP+SSE, the way of 2024",
            ),
        ],
        async |(speaks, transport, says)| {
            let far = far(Manners::speaking(speaks)).await;
            let probed = probe(&room, &far.url(), RemoteAuth::None).await;
            assert_eq!(probed.staged.results.len(), ALL.len(), "{probed:?}");
            assert_eq!(probed.transport, Some(transport));
            assert_eq!(seen(&probed, Stage::Transport), says);
            assert_eq!(
                (probed.auth, probed.server_info.as_str(), probed.tools),
                (AuthWanted::None, "far 1", Some(8))
            );
            far.until("nothing is left open", |far| far.streams() == 0)
                .await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_old_is_asked_for_only_where_the_specification_says_so() {
    let room = Room::new();
    side_by_side([400, 404, 405], async |status| {
        let far = far(Manners {
            legacy_post: status,
            ..Manners::speaking(Speaks::Legacy)
        })
        .await;
        let probed = probe(&room, &far.url(), RemoteAuth::None).await;
        assert_eq!(probed.transport, Some(RemoteTransport::Sse), "{status}");
    })
    .await;
    side_by_side([402, 406, 410, 418, 500, 501, 503], async |status| {
        let far = far(Manners {
            legacy_post: status,
            ..Manners::speaking(Speaks::Legacy)
        })
        .await;
        let probed = probe(&room, &far.url(), RemoteAuth::None).await;
        assert_eq!((probed.transport, far.gets()), (None, 0), "{status}");
        assert!(
            broken(&probed).1.contains(&status.to_string()),
            "{probed:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_no_server_of_mcp_is_told_in_words_for_everybody() {
    let room = Room::with(|options| options.start_timeout = START);
    let html = || Manners::default().with(On::All, Trouble::Html);
    let status = |status| Manners::default().with(On::Post, Trouble::Status(status, None));
    side_by_side([
        (
            Manners::speaking(Speaks::Web),
            Stage::Transport,
            "This address answers with a web page, not with an MCP server (to the question of MCP it said HTTP 404, Not \
             Found). Often the address ends in /mcp or /sse: look at the server's documentation.",
        ),
        (
            html(),
            Stage::Transport,
            "This address answers with a web page, not with an MCP server. Often",
        ),
        (
            status(404).get(Get::Fails),
            Stage::Transport,
            "There is nothing at this address (HTTP 404, Not Found). Often",
        ),
        (
            status(405).get(Get::None),
            Stage::Transport,
            "takes no messages of MCP (HTTP 405, Method Not Allowed). Often",
        ),
        (
            status(500),
            Stage::Transport,
            "made a mistake of its own (HTTP 500",
        ),
        (
            status(503),
            Stage::Http,
            "out of order now (HTTP 503, Service Unavailable). Try again later",
        ),
        (
            status(429),
            Stage::Http,
            "asked too often (HTTP 429). Wait a few minutes",
        ),
        (
            Manners::default().with(On::All, Trouble::Silence),
            Stage::Http,
            "takes the connection, but does not answer",
        ),
        (
            Manners::default().with(On::All, Trouble::Drip),
            Stage::Transport,
            "begins and does not come to an end",
        ),
        (
            Manners::default().with(On::All, Trouble::Headers),
            Stage::Transport,
            "begins and does not come to an end",
        ),
        (
            Manners::default().with(On::All, Trouble::HugeBody),
            Stage::Transport,
            "larger than 4 MiB",
        ),
        (
            Manners::default().with(On::All, Trouble::HugeEvent),
            Stage::Transport,
            "ends without an answer",
        ),
        (
            Manners::default().with(On::All, Trouble::Flood),
            Stage::Transport,
            "ends without an answer",
        ),
        (
            Manners::default().with(On::All, Trouble::Cut),
            Stage::Transport,
            "ends without an answer",
        ),
        (
            Manners::default().with(On::All, Trouble::Broken),
            Stage::Transport,
            "broke off",
        ),
        (
            Manners::default().with(On::All, Trouble::Nonsense),
            Stage::Transport,
            "no JSON",
        ),
        (
            Manners::default().with(On::All, Trouble::WrongType),
            Stage::Transport,
            "`text/plain`",
        ),
        (
            Manners {
                protocol: Some("1999-01-01"),
                ..Manners::default()
            },
            Stage::Protocol,
            "1999-01-01",
        ),
        (
            Manners::default().with(On::Rpc("tools/list"), Trouble::Silence),
            Stage::ToolsList,
            "in time",
        ),
        (
            Manners {
                endpoint: Some(""),
                ..Manners::speaking(Speaks::Legacy)
            },
            Stage::Transport,
            "",
        ),
        (
            Manners {
                endpoint: Some("http://127.0.0.1:9/messages"),
                ..Manners::speaking(Speaks::Legacy)
            },
            Stage::Transport,
            "",
        ),
    ], async |(manners, stage, part)| {
        let what = format!("{manners:?}");
        let far = far(manners).await;
        let probed = probe(&room, &far.url(), RemoteAuth::None).await;
        let (at, said) = broken(&probed);
        assert_eq!(at, stage, "{said}; {what}");
        assert!(said.contains(part), "{said}; {what}");
        assert!(
            far.sent() < 64 * 1024 * 1024,
            "{} bytes; {what}",
            far.sent()
        );
        far.until("nothing is read on", |far| {
            far.endless() + far.streams() == 0
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_one_is_refused_before_anything_is_sent() {
    let room = Room::new();
    let private = Far::start_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), Manners::default()).await;
    let closed = {
        let mut far = far(Manners::default()).await;
        far.die().await;
        far
    };
    let nonsense = banner(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let plain = far(Manners::default()).await;
    for (url, stage, part) in [
        ("hello".to_owned(), Stage::Address, "not a URL"),
        ("ftp://example.com/mcp".to_owned(), Stage::Address, "`ftp:`"),
        (
            "http://ann:secret@127.0.0.1/mcp".to_owned(),
            Stage::Address,
            "has a login in it",
        ),
        (
            "http://10.0.0.1/mcp".to_owned(),
            Stage::Address,
            "10.0.0.1, which is not a public address",
        ),
        (private.url(), Stage::Address, "127.0.0.2"),
        (
            "http://no-such-name.invalid/mcp".to_owned(),
            Stage::Dns,
            "cannot be found",
        ),
        (closed.url(), Stage::Tls, "connection refused"),
        (
            plain.url().replace("http:", "https:"),
            Stage::Tls,
            "no secure connection",
        ),
        (
            format!("http://{nonsense}/mcp"),
            Stage::Http,
            "no web server",
        ),
    ] {
        let probed = probe(&room, &url, RemoteAuth::None).await;
        let (at, said) = broken(&probed);
        assert_eq!(at, stage, "{url}: {said}");
        assert!(
            said.to_lowercase().contains(&part.to_lowercase()),
            "{url}: {said}"
        );
        assert!(!said.contains("secret"), "{said}");
        assert_eq!((probed.transport, probed.tools), (None, None));
    }
    assert_eq!(private.seen().len() + private.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere_else() {
    let room = Room::new();
    let private = Far::start_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), Manners::default()).await;
    let other = far(Manners::default()).await;
    room.keys
        .held()
        .secrets
        .insert("KEY".to_owned(), "the-key-itself".to_owned());
    let auth = RemoteAuth::Bearer(SecretName::new("KEY").unwrap());
    for to in [&private, &other] {
        let far = far(Manners::default().with(On::All, Trouble::Redirect(to.url()))).await;
        let probed = probe(&room, &far.url(), auth.clone()).await;
        let (at, said) = broken(&probed);
        assert_eq!(at, Stage::Http);
        assert!(
            said.contains(&format!("sends on to another place: {}", to.base())),
            "{said}"
        );
        assert_eq!(to.seen().len(), 0);
        assert_eq!(
            far.seen()[0].header("authorization"),
            Some("Bearer the-key-itself")
        );
        assert!(!format!("{probed:?}").contains("the-key-itself"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d21_metadata_that_is_said_to_be_at_a_private_place_is_not_fetched_there() {
    let room = Room::new();
    let private = Far::start_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), Manners::default()).await;
    let wants = |tokens: &[&str]| Wants::Token {
        tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
        challenge: None,
        metadata: true,
    };
    private.change(|manners| manners.wants = wants(&[]));
    let other = far(Manners::default().wanting(wants(&[]))).await;
    for (to, expected) in [
        (&private, AuthWanted::Unknown),
        // That redirects are followed at all.
        (&other, AuthWanted::OAuth { challenge: None }),
    ] {
        let far = far(Manners {
            metadata_at: Some(format!(
                "{}/.well-known/oauth-protected-resource",
                to.base()
            )),
            ..Manners::default().wanting(wants(&["good"]))
        })
        .await;
        let probed = probe(&room, &far.url(), RemoteAuth::None).await;
        assert_eq!(probed.auth, expected, "{probed:?}");
    }
    assert_eq!((private.seen().len(), private.accepted()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_a_server_wants_to_know_is_found_out() {
    let token = |challenge, metadata| Wants::Token {
        tokens: vec!["good".to_owned()],
        challenge,
        metadata,
    };
    let bearer = || RemoteAuth::Bearer(SecretName::new("KEY").unwrap());
    let key = || RemoteAuth::ApiKey {
        header: "X-Key".to_owned(),
        value: SecretName::new("KEY").unwrap(),
    };
    let oauth = |challenge: Option<&str>| AuthWanted::OAuth {
        challenge: challenge.map(str::to_owned),
    };
    side_by_side(
        [
            (Wants::Nothing, RemoteAuth::None, "", AuthWanted::None),
            (
                token(Some(RESOURCE), true),
                RemoteAuth::None,
                "",
                oauth(Some(RESOURCE)),
            ),
            (
                token(Some("Bearer"), false),
                RemoteAuth::None,
                "",
                oauth(Some("Bearer")),
            ),
            // It does not say so, and has metadata.
            (token(None, true), RemoteAuth::None, "", oauth(None)),
            (
                token(Some("Basic realm=\"x\""), true),
                RemoteAuth::None,
                "",
                oauth(Some("Basic realm=\"x\"")),
            ),
            (
                token(None, false),
                RemoteAuth::None,
                "",
                AuthWanted::Unknown,
            ),
            (
                token(Some("Basic realm=\"x\""), false),
                RemoteAuth::None,
                "",
                AuthWanted::Unknown,
            ),
            (
                Wants::Header("x-key", "good".to_owned()),
                RemoteAuth::None,
                "",
                AuthWanted::Unknown,
            ),
            (Wants::Nobody, RemoteAuth::None, "", AuthWanted::Unknown),
            (
                Wants::Header("x-key", "good".to_owned()),
                key(),
                "good",
                AuthWanted::None,
            ),
            (
                Wants::Header("x-key", "good".to_owned()),
                key(),
                "bad",
                AuthWanted::Refused,
            ),
            (
                token(Some(RESOURCE), true),
                bearer(),
                "good",
                AuthWanted::None,
            ),
            (
                token(Some(RESOURCE), true),
                bearer(),
                "bad",
                AuthWanted::Refused,
            ),
            (Wants::Nobody, bearer(), "good", AuthWanted::Refused),
        ],
        async |(wants, auth, secret, expected)| {
            for speaks in [Speaks::Events, Speaks::Legacy, Speaks::Modern] {
                let room = Room::new();
                room.keys
                    .held()
                    .secrets
                    .insert("KEY".to_owned(), secret.to_owned());
                let far = far(Manners::speaking(speaks).wanting(wants.clone())).await;
                let what = format!("{speaks:?} {wants:?} {auth:?}");
                let probed = probe(&room, &far.url(), auth.clone()).await;
                let expected = match &expected {
                    AuthWanted::OAuth {
                        challenge: Some(challenge),
                    } => oauth(Some(&challenge.replace("{base}", &far.base()))),
                    other => other.clone(),
                };
                assert_eq!(probed.auth, expected, "{what}");
                let last = probed.staged.results.last().unwrap();
                match expected {
                    AuthWanted::None => {
                        assert_eq!(probed.tools, Some(8), "{what}: {probed:?}");
                    }
                    AuthWanted::Refused => {
                        assert_eq!(broken(&probed).0, Stage::Auth, "{what}");
                        assert!(
                            broken(&probed).1.contains("does not take the key"),
                            "{what}"
                        );
                    }
                    AuthWanted::OAuth { .. } | AuthWanted::Unknown => {
                        assert_eq!(
                            (last.stage, last.outcome.is_ok()),
                            (Stage::Auth, true),
                            "{what}"
                        );
                        assert_eq!(probed.transport, Some(RemoteTransport::Http), "{what}");
                        assert_eq!(probed.tools, None);
                    }
                }
            }
        },
    )
    .await;
}
