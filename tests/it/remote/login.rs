//! Keys, tokens and logins on each request; and that they go nowhere else.

use serde_json::json;
use switchboard::config::{CredentialId, RemoteAuth, RemoteServer, SecretName};
use switchboard::registry::{CallError, ServerState};

use super::{Far, Manners, Room, THREAD, far, is_ready, name_of, server, side_by_side};
use crate::support::hostile::{On, Speaks, Trouble, Wants};

const CHALLENGE: &str = "Bearer resource_metadata=\"http://x/meta\"";
const CANARY: &str = "canary-Zx81-secret";
const ALL: [Speaks; 4] = [Speaks::Json, Speaks::Events, Speaks::Legacy, Speaks::Modern];

fn wants(tokens: &[&str]) -> Wants {
    Wants::Token {
        tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
        challenge: Some(CHALLENGE),
        metadata: true,
    }
}

fn secret_name() -> SecretName {
    SecretName::new("KEY").unwrap()
}

fn with_login(far: &Far) -> RemoteServer {
    RemoteServer {
        auth: RemoteAuth::OAuth(CredentialId::new("abc").unwrap()),
        ..server(far)
    }
}

fn needs_login(state: &ServerState) -> bool {
    matches!(state, ServerState::NeedsLogin { challenge: Some(challenge), .. } if challenge == CHALLENGE)
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_keys_and_headers_go_with_every_request_and_into_no_log_or_address() {
    side_by_side(ALL, async |speaks| {
        for auth in [
            RemoteAuth::Bearer(secret_name()),
            RemoteAuth::ApiKey {
                header: "X-Key".to_owned(),
                value: secret_name(),
            },
            RemoteAuth::None,
        ] {
            let (wants, header) = match auth {
                RemoteAuth::Bearer(_) => (
                    wants(&[CANARY]),
                    ("authorization", format!("Bearer {CANARY}")),
                ),
                _ => (
                    Wants::Header("x-key", CANARY.to_owned()),
                    ("x-key", CANARY.to_owned()),
                ),
            };
            let mut headers = vec![("X-Own".to_owned(), "my own".to_owned())];
            if auth == RemoteAuth::None {
                headers.push(("x-key".to_owned(), secret_name().placeholder()));
            }
            let far = far(Manners::speaking(speaks).wanting(wants)).await;
            let mut room = Room::new();
            room.keys
                .held()
                .secrets
                .insert("KEY".to_owned(), CANARY.to_owned());
            let entry = RemoteServer {
                headers,
                auth: auth.clone(),
                ..server(&far)
            };
            let touched = room.settled(&[("far", entry)]).await;
            assert!(
                matches!(touched[0].state, ServerState::Ready { .. }),
                "{speaks:?} {auth:?}: {:?}",
                touched[0].state
            );
            room.echoes("far").await;
            let said = room.text("far", "echo", json!({"text": CANARY})).await;
            assert!(!said.contains(CANARY), "a server may not repeat it: {said}");
            for seen in far.seen() {
                assert_eq!(seen.header("x-own"), Some("my own"), "{seen:?}");
                let address = format!("{}?{}", seen.path, seen.query);
                assert!(!address.contains(CANARY), "{address}");
                assert_eq!(seen.header(header.0), Some(header.1.as_str()), "{seen:?}");
            }
            let logs = room.registry.logs(THREAD, &name_of("far")).unwrap();
            assert!(
                logs.iter().any(|line| line.contains("tools/list")),
                "{logs:?}"
            );
            let all = format!("{logs:?} {:?}", room.registry.snapshot(THREAD));
            assert!(!all.contains(CANARY), "{all}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_or_wrong_is_told_and_sends_nothing_on() {
    let far = far(Manners::default().wanting(wants(&["good"]))).await;
    let mut room = Room::new();
    let entry = RemoteServer {
        auth: RemoteAuth::Bearer(secret_name()),
        ..server(&far)
    };
    let touched = room.settled(&[("far", entry)]).await;
    assert!(
        matches!(&touched[0].state, ServerState::NeedsLogin { reason, .. } | ServerState::Failed { reason }
            if reason.contains("KEY")),
        "{:?}",
        touched[0].state
    );
    assert_eq!(far.seen().len(), 0);
    room.keys
        .held()
        .secrets
        .insert("KEY".to_owned(), "bad".to_owned());
    let view = room.registry.restart(THREAD, &name_of("far")).await;
    assert!(needs_login(&view.unwrap().state));
    // It is not asked again and again with a key that it refused.
    let asked = far.seen().len();
    room.keys
        .held()
        .secrets
        .insert("KEY".to_owned(), "good".to_owned());
    assert_eq!(far.seen().len(), asked);
    let view = room.registry.restart(THREAD, &name_of("far")).await;
    assert!(matches!(view.unwrap().state, ServerState::Ready { .. }));
    room.echoes("far").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_challenge_is_kept_for_its_beginning() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks).wanting(wants(&["good"]))).await;
        let mut room = Room::new();
        let touched = room.settled(&[("far", with_login(&far))]).await;
        assert!(
            needs_login(&touched[0].state),
            "{speaks:?}: {:?}",
            touched[0].state
        );
        let refusal = room.call("far", "echo", json!({})).await;
        assert!(
            matches!(
                &refusal,
                Err(CallError::NeedsLogin { .. } | CallError::NotRunning { .. })
            ),
            "{refusal:?}"
        );
        room.keys.held().token = Some("good".to_owned());
        let view = room.registry.restart(THREAD, &name_of("far")).await;
        assert!(
            matches!(view.as_ref().unwrap().state, ServerState::Ready { .. }),
            "{speaks:?}: {view:?}"
        );
        room.echoes("far").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_once_and_the_call_succeeds() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks).wanting(wants(&["first"]))).await;
        let mut room = Room::new();
        {
            let mut held = room.keys.held();
            held.token = Some("first".to_owned());
            held.renewals.push_back("second".to_owned());
        }
        let touched = room.settled(&[("far", with_login(&far))]).await;
        assert!(
            matches!(touched[0].state, ServerState::Ready { .. }),
            "{:?}",
            touched[0].state
        );
        room.echoes("far").await;
        far.change(|manners| manners.wants = wants(&["second"]));
        let calls = (0..8).map(|_| room.echoes("far"));
        futures::future::join_all(calls).await;
        assert_eq!(room.keys.held().refused, ["first"], "{speaks:?}");
        // And when the login is over, it is told.
        far.change(|manners| manners.wants = wants(&["third"]));
        let refusal = room.call("far", "echo", json!({})).await;
        assert!(
            matches!(&refusal, Err(CallError::NeedsLogin { challenge: Some(challenge), .. }) if challenge == CHALLENGE),
            "{speaks:?}: {refusal:?}"
        );
        room.when("it waits for a login", |now| {
            now.server("far").is_some_and(|far| needs_login(&far.state))
        })
        .await;
        let asked = far.seen().len();
        room.keys.held().token = Some("third".to_owned());
        room.registry
            .restart(THREAD, &name_of("far"))
            .await
            .unwrap();
        assert!(far.seen().len() > asked);
        room.echoes("far").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_needs_more_rights_says_which_and_hurts_no_other() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners {
            more_rights: Some(("fail", "nobody has it")),
            ..Manners::speaking(speaks).wanting(wants(&["good"]))
        })
        .await;
        let mut room = Room::new();
        room.keys.held().token = Some("good".to_owned());
        room.settled(&[("far", with_login(&far))]).await;
        let refusal = room.call("far", "fail", json!({})).await;
        assert!(
            matches!(&refusal, Err(CallError::MoreRights { scope: Some(scope), challenge, .. })
                if scope == "more" && challenge.contains("insufficient_scope")),
            "{speaks:?}: {refusal:?}"
        );
        room.echoes("far").await;
        assert!(room.keys.held().refused.is_empty());
        assert!(is_ready(&room.registry.snapshot(THREAD).unwrap(), "far"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_keys_and_tokens_go_to_no_other_place() {
    let other = far(Manners::default()).await;
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.keys.held().token = Some("good".to_owned());
        room.settled(&[("far", with_login(&far))]).await;
        room.echoes("far").await;
        far.change(|manners| {
            *manners = manners
                .clone()
                .with(On::Post, Trouble::Redirect(other.url()));
        });
        let outcome = room.call("far", "echo", json!({})).await;
        assert!(outcome.is_err(), "{speaks:?}: {outcome:?}");
    })
    .await;
    let far = far(Manners {
        endpoint: Some("http://127.0.0.1:1/messages"),
        ..Manners::speaking(Speaks::Legacy)
    })
    .await;
    let mut room = Room::new();
    room.keys.held().token = Some("good".to_owned());
    let touched = room.settled(&[("far", with_login(&far))]).await;
    assert!(
        matches!(&touched[0].state, ServerState::BackingOff { reason, .. } | ServerState::Failed { reason }
            if reason.contains("http://127.0.0.1:1")),
        "{:?}",
        touched[0].state
    );
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_repeats_of_a_token_is_shown_nowhere() {
    for speaks in ALL {
        for (trouble, challenge) in [
            (
                None,
                "Bearer error=\"insufficient_scope\", scope=\"a {token} b\"",
            ),
            (None, "{token}"),
            (Some("http://{token}.example/x"), CHALLENGE),
        ] {
            let mut manners = Manners::speaking(speaks).wanting(Wants::Token {
                tokens: Vec::new(),
                challenge: Some(challenge),
                metadata: false,
            });
            if let Some(to) = trouble {
                manners.wants = Wants::Nothing;
                manners = manners.with(On::All, Trouble::Redirect(to.to_owned()));
            }
            let far = far(manners).await;
            let mut room = Room::new();
            room.keys.held().token = Some(CANARY.to_owned());
            let touched = room.settled(&[("far", with_login(&far))]).await;
            assert!(!far.seen().is_empty());
            let logs = room.registry.logs(THREAD, &name_of("far")).unwrap();
            let all = format!("{:?} {logs:?}", touched[0].state).to_lowercase();
            assert!(!all.contains(&CANARY.to_lowercase()), "{speaks:?}: {all}");
        }
    }
}
