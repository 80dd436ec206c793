//! What a login is bound to: the resource as it is published, and the authorization server that it was made at.

use serde_json::json;
use switchboard::oauth::{Arrival, ClientKind, GivenClient, OAuthError, OperatorClient};
use switchboard::secret::Secret;
use url::Url;

use super::stand::Stand;
use super::world::{HERE, World, credential};

#[tokio::test]
async fn d27_a_resource_is_named_byte_for_byte_as_it_is_published() {
    for published in [
        "HTTP://HOST/mcp",
        "http://HOST",
        "http://HOST/./mcp",
        "http://HOST/x/../mcp?",
        "http:\\\\HOST/mcp",
    ] {
        let mut world = World::public().await;
        let host = world.stand.origin.trim_start_matches("http://").to_owned();
        let published = published.replace("HOST", &host);
        assert_ne!(Url::parse(&published).unwrap().as_str(), published);
        world.stand.bent().resource = json!({"resource": published});
        let made = world.begin().await.unwrap();
        let (address, _) = world.leave(&made).await;
        let asked: Vec<_> = address.query_pairs().into_owned().collect();
        assert!(
            asked.contains(&("resource".to_owned(), published.clone())),
            "{published}: {address}"
        );
        world.arrive(&made).await;
        world.finish(&made.id).await.unwrap();
        // Nor does a record on disk, or the next life of the bot, make it prettier.
        world.restart();
        world.later(3600);
        world.token().await.unwrap();
        let sent = world.stand.seen("/token");
        let kinds: Vec<_> = sent.iter().map(|form| &form["grant_type"]).collect();
        assert_eq!(kinds, ["authorization_code", "refresh_token"]);
        for form in sent {
            assert_eq!(form["resource"], published);
        }
    }
}

/// Whose client it was at the first authorization server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Registered,
    /// By the person, who says it once.
    Person,
    /// By the person, and what they said is kept and said again.
    PersonKept,
    Operator,
}

#[tokio::test]
async fn d26_what_one_issuer_gave_does_not_go_to_the_next() {
    for known in [
        Known::Registered,
        Known::Person,
        Known::PersonKept,
        Known::Operator,
    ] {
        let mut world = World::public().await;
        let given = GivenClient {
            id: "client-of-the-first".to_owned(),
            secret: Some(Secret::from("secret-of-the-first".to_owned())),
        };
        {
            let mut bent = world.stand.bent();
            bent.metadata =
                json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
            bent.registration =
                json!({"client_id": given.id, "client_secret": "secret-of-the-first"});
            bent.clients = vec![given.id.clone()];
            bent.token = json!({
                "access_token": "access-of-the-first", "refresh_token": "refresh-of-the-first",
            });
        }
        if known == Known::Operator {
            world.operator = vec![OperatorClient {
                issuer: world.stand.origin.clone(),
                client: given.clone(),
            }];
            world.restart();
        }
        let is_persons = matches!(known, Known::Person | Known::PersonKept);
        let mut ask = world.ask("");
        ask.client = is_persons.then(|| given.clone());
        let made = world.oauth.begin(ask).await.unwrap();
        world.arrive(&made).await;
        world.finish(&made.id).await.unwrap();
        assert_eq!(world.token().await.unwrap(), "access-of-the-first");

        // The server sends people to another one from now on.
        let next = Stand::start().await;
        world.stand.bent().resource = json!({"authorization_servers": [next.origin]});
        let at_first = world.stand.seen("/token").len();
        let mut ask = world.ask("");
        ask.client = (known == Known::PersonKept).then(|| given.clone());
        let made = world.oauth.begin(ask).await.unwrap();
        assert_eq!(made.client, ClientKind::Registered, "{known:?}");
        let (address, cookie) = world.leave(&made).await;
        assert!(address.as_str().starts_with(&next.origin), "{address}");
        assert!(!address.as_str().contains("of-the-first"), "{address}");
        let query = next.consent(&address);
        let arrival = world.oauth.arrive(&query, cookie.as_deref()).await;
        assert!(matches!(arrival, Arrival::Welcome { .. }), "{arrival:?}");
        world.news(&made.id).await;
        world.finish(&made.id).await.unwrap();
        let first = world.token().await.unwrap();
        world.later(3600);
        assert_ne!(world.token().await.unwrap(), first, "it was not renewed");
        world.oauth.logout(HERE, &credential()).await;
        for path in ["/register", "/token", "/revoke"] {
            assert!(!next.seen(path).is_empty(), "{path}: nothing to look at");
        }
        for seen in &next.bent().seen {
            let text = format!("{seen:?}");
            assert!(!text.contains("of-the-first"), "{known:?}: {text}");
        }
        // And what the next one gave goes to it alone.
        assert_eq!(world.stand.seen("/token").len(), at_first, "{known:?}");
    }
}

#[tokio::test]
async fn d26_a_client_id_of_another_issuer_is_asked_for_anew_and_another_one_is_taken() {
    let mut world = World::public().await;
    let given = |id: &str| GivenClient {
        id: id.to_owned(),
        secret: None,
    };
    let ask = |world: &World, id: &str| {
        let mut ask = world.ask("");
        ask.client = Some(given(id));
        ask
    };
    let made = world.oauth.begin(ask(&world, "first")).await.unwrap();
    world.arrive(&made).await;
    world.finish(&made.id).await.unwrap();
    let next = Stand::start().await;
    next.bent().metadata = json!({"registration_endpoint": null});
    world.stand.bent().resource = json!({"authorization_servers": [next.origin]});
    let refused = world.oauth.begin(ask(&world, "first")).await;
    assert!(
        matches!(refused, Err(OAuthError::NeedsClientId { .. })),
        "{refused:?}"
    );
    let made = world.oauth.begin(ask(&world, "second")).await.unwrap();
    assert_eq!(made.client, ClientKind::Given);
}

#[tokio::test]
async fn d28_no_token_stands_in_an_address_that_is_asked_for() {
    let mut world = World::public().await;
    world.log_in().await;
    let first = world.token().await.unwrap();
    let second = world.refused(&first).await.unwrap();
    world.oauth.logout(HERE, &credential()).await;
    let asked = world.stand.bent().seen.clone();
    let sent = format!("{asked:?}");
    assert!(
        sent.contains(&second) && sent.contains("refresh-"),
        "no token was sent at all: {sent}"
    );
    for seen in asked {
        let address = format!("{}?{}", seen.path, seen.query);
        for name in ["access", "refresh", "token="] {
            assert!(!address.contains(name), "{address}");
        }
    }
}
