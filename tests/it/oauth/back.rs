//! The way back: a browser at the callback, or an address in the chat.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use switchboard::config::CredentialId;
use switchboard::oauth::{Arrival, LoginNews, OAuthError};

use super::stand::Stand;
use super::world::{HERE, THERE, World, person};

#[tokio::test]
async fn who_logged_in_and_what_was_granted_is_told() {
    let mut world = World::public().await;
    let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"42","email":"ann@example.com"}"#);
    world.stand.bent().token = json!({"id_token": format!("e30.{claims}.x"), "scope": "read"});
    let made = world.begin().await.unwrap();
    let news = world.arrive(&made).await;
    let account = Some("ann@example.com".to_owned());
    let scopes = vec!["read".to_owned()];
    assert_eq!(news, LoginNews::Arrived { account, scopes });
}

#[tokio::test]
async fn d24_a_state_is_good_once() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    let (address, cookie) = world.leave(&made).await;
    let (one, two) = (world.stand.consent(&address), world.stand.consent(&address));
    let first = world.oauth.arrive(&one, cookie.as_deref()).await;
    assert!(matches!(first, Arrival::Welcome { .. }));
    for query in [&one, &two] {
        assert_eq!(
            world.oauth.arrive(query, cookie.as_deref()).await,
            Arrival::Unknown
        );
    }
    assert_eq!(world.stand.seen("/token").len(), 1);
    assert!(matches!(
        world.news(&made.id).await,
        LoginNews::Arrived { .. }
    ));
    world.no_news();
    world.finish(&made.id).await.unwrap();
}

#[tokio::test]
async fn two_that_come_at_once_make_one_exchange() {
    let world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = world.stand.consent(&made.link);
    let all = (0..20).map(|_| world.oauth.arrive(&query, None));
    let all = futures::future::join_all(all).await;
    let welcome = all
        .iter()
        .filter(|one| matches!(one, Arrival::Welcome { .. }));
    assert_eq!(welcome.count(), 1);
    assert_eq!(world.stand.seen("/token").len(), 1);
}

#[tokio::test]
async fn what_was_never_ours_is_unknown() {
    let world = World::public().await;
    let made = world.begin().await.unwrap();
    let (address, cookie) = world.leave(&made).await;
    let query = world.stand.consent(&address);
    let long = format!("{query}&x={}", "x".repeat(20_000));
    let cases = [
        "",
        "code=1",
        "state=",
        "state=x&code=1",
        "%00",
        &format!("{query}&state=x"),
        &format!("{query}&code=x"),
        &long,
    ];
    for query in cases {
        assert_eq!(
            world.oauth.arrive(query, cookie.as_deref()).await,
            Arrival::Unknown,
            "{query}"
        );
    }
    assert!(world.stand.seen("/token").is_empty());
    assert!(matches!(
        world.oauth.arrive(&query, cookie.as_deref()).await,
        Arrival::Welcome { .. }
    ));
}

#[tokio::test]
async fn d25_another_browser_is_turned_away_and_spoils_nothing() {
    let world = World::public().await;
    let made = world.begin().await.unwrap();
    let (address, cookie) = world.leave(&made).await;
    let cookie = cookie.unwrap();
    let query = world.stand.consent(&address);
    let name = cookie.split('=').next().unwrap();
    for other in [
        None,
        Some(""),
        Some("a=b"),
        Some(&*format!("{name}=stranger")),
        Some(&*format!("x{cookie}")),
    ] {
        assert_eq!(
            world.oauth.arrive(&query, other).await,
            Arrival::WrongBrowser,
            "{other:?}"
        );
    }
    let among = format!("a=b; {cookie}; c=d");
    assert!(matches!(
        world.oauth.arrive(&query, Some(&among)).await,
        Arrival::Welcome { .. }
    ));
}

#[tokio::test]
async fn whoever_never_left_through_our_page_is_another_browser() {
    let world = World::public().await;
    let made = world.begin().await.unwrap();
    let record = world.disk.logins.lock().unwrap()[&made.id.0].clone();
    let address = record["address"].as_str().unwrap().parse().unwrap();
    let query = world.stand.consent(&address);
    assert_eq!(
        world.oauth.arrive(&query, None).await,
        Arrival::WrongBrowser
    );
}

#[tokio::test]
async fn d26_answers_of_somebody_else_are_not_used() {
    // advertised, the `iss` that comes → whether it goes on
    let cases = [
        (true, Some(""), false),
        (true, None, false),
        (true, Some("https://evil.example"), false),
        (false, Some("https://evil.example"), false),
        (false, None, true),
    ];
    for (advertised, iss, goes_on) in cases {
        let mut world = World::bare().await;
        world.stand.bent().metadata =
            json!({"authorization_response_iss_parameter_supported": advertised});
        let made = world.begin().await.unwrap();
        let query = world.stand.consent(&made.link);
        let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        pairs.retain(|(name, _)| name != "iss");
        if let Some(iss) = iss {
            pairs.push(("iss".to_owned(), iss.to_owned()));
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let arrival = world.oauth.arrive(&query, None).await;
        if goes_on {
            assert!(matches!(arrival, Arrival::Welcome { .. }), "{arrival:?}");
        } else {
            assert!(matches!(arrival, Arrival::Failed { .. }), "{arrival:?}");
            assert!(world.stand.seen("/token").is_empty(), "the code was sent");
            assert!(matches!(world.news(&made.id).await, LoginNews::Failed(_)));
        }
    }
}

#[tokio::test]
async fn d26_a_slash_at_the_end_makes_another_issuer() {
    let world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = world.stand.consent(&made.link);
    let slash = format!(
        "{}{}",
        query,
        url::form_urlencoded::byte_serialize(b"/").collect::<String>()
    );
    assert!(
        query.ends_with(&world.stand.origin.rsplit(':').next().unwrap()),
        "{query}"
    );
    assert!(matches!(
        world.oauth.arrive(&slash, None).await,
        Arrival::Failed { .. }
    ));
    assert!(world.stand.seen("/token").is_empty());
}

#[tokio::test]
async fn denial_and_errors_have_their_own_words() {
    let mut world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = Stand::answer(&made.link, &[("error", "access_denied")]);
    let arrival = world.oauth.arrive(&query, None);
    assert!(matches!(arrival.await, Arrival::Denied { .. }));
    assert_eq!(world.news(&made.id).await, LoginNews::Denied);
    assert_eq!(world.finish(&made.id).await, Err(OAuthError::Over));

    let long = "<b>\n".repeat(1000);
    let made = world.begin().await.unwrap();
    let query = Stand::answer(
        &made.link,
        &[("error", "invalid_scope"), ("error_description", &long)],
    );
    let Arrival::Failed { why, .. } = world.oauth.arrive(&query, None).await else {
        panic!("it did not fail");
    };
    assert!(
        why.contains("invalid_scope") && !why.contains('\n') && why.len() < 500,
        "{why}"
    );
    assert_eq!(world.news(&made.id).await, LoginNews::Failed(why));
    assert!(world.disk.logins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_code_that_brings_nothing_is_a_failure() {
    let cases = [
        (
            400,
            json!({"error": "invalid_grant", "error_description": "expired"}),
            "expired",
        ),
        (500, json!({}), "status 500"),
        (
            200,
            json!({"access_token": "x", "token_type": "DPoP"}),
            "kind",
        ),
        (302, json!({}), "status 302"),
    ];
    for (status, body, expected) in cases {
        let mut world = World::bare().await;
        let made = world.begin().await.unwrap();
        world.stand.bent().token_status = Some((status, body));
        let query = world.stand.consent(&made.link);
        let Arrival::Failed { why, .. } = world.oauth.arrive(&query, None).await else {
            panic!("{expected}");
        };
        assert!(why.contains(expected), "{why}");
        assert_eq!(world.news(&made.id).await, LoginNews::Failed(why));
    }
}

#[tokio::test]
async fn a_client_that_the_server_forgot_is_registered_anew() {
    let mut world = World::bare().await;
    let made = world.begin().await.unwrap();
    world.stand.bent().clients = vec!["another".to_owned()];
    let query = world.stand.consent(&made.link);
    assert!(matches!(
        world.oauth.arrive(&query, None).await,
        Arrival::Failed { .. }
    ));
    assert!(world.disk.clients.lock().unwrap().is_empty());
    world.news(&made.id).await;
    world.log_in().await;
    assert_eq!(world.stand.seen("/register").len(), 2);
}

#[tokio::test]
async fn d25_a_pasted_address_is_taken_from_who_began_and_where_and_for_its_server() {
    let mut world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = world.stand.consent(&made.link);
    let address = format!(" http://127.0.0.1:8787/oauth/callback?{query}#x\n");
    let (ann, eve) = (person("tg:1").id, person("tg:2").id);

    assert_eq!(
        world.oauth.pasted(HERE, &ann, "hello").await,
        Err(OAuthError::Over)
    );
    assert_eq!(
        world.oauth.pasted(HERE, &eve, &address).await,
        Err(OAuthError::NotYours)
    );
    assert_eq!(
        world.oauth.pasted(THERE, &ann, &address).await,
        Err(OAuthError::NotYours)
    );
    assert_eq!(
        world.oauth.pasted(HERE, &ann, &address).await,
        Ok(made.id.clone())
    );
    assert!(matches!(
        world.news(&made.id).await,
        LoginNews::Arrived { .. }
    ));
    // Again it says nothing new.
    assert_eq!(
        world.oauth.pasted(HERE, &ann, &address).await,
        Err(OAuthError::Waits)
    );
    assert_eq!(world.stand.seen("/token").len(), 1);
    assert!(world.token().await.is_err(), "it is used before Finish");
    assert_eq!(
        world.oauth.finish(&made.id, &eve).await,
        Err(OAuthError::NotYours)
    );
    // Another server of hers has a login under way, which is none the wiser.
    let mut other = world.ask("");
    other.credential = CredentialId::new("other-1").unwrap();
    let other = world.oauth.begin(other).await.unwrap();
    assert_eq!(world.finish(&other.id).await, Err(OAuthError::Over));
    world.finish(&made.id).await.unwrap();
    assert!(world.token().await.is_ok());
    let id = CredentialId::new("other-1").unwrap();
    assert!(!world.oauth.has_login(HERE, &id).await);
    assert_eq!(
        world.oauth.pasted(HERE, &ann, &address).await,
        Err(OAuthError::Over)
    );
}

#[tokio::test]
async fn a_pasted_refusal_is_the_answer_and_no_notice_beside() {
    let mut world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = Stand::answer(&made.link, &[("error", "access_denied")]);
    let said = world.oauth.pasted(HERE, &person("tg:1").id, &query).await;
    assert!(matches!(said, Err(OAuthError::Refused(_))), "{said:?}");
    world.no_news();
}

#[tokio::test]
async fn a_browser_that_goes_away_does_not_stop_the_exchange() {
    let mut world = World::bare().await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    world.stand.bent().gate = Some(gate.clone());
    let made = world.begin().await.unwrap();
    let query = world.stand.consent(&made.link);
    let oauth = world.oauth.clone();
    let browser = tokio::spawn(async move { oauth.arrive(&query, None).await });
    while world.stand.seen("/token").is_empty() {
        tokio::task::yield_now().await;
    }
    browser.abort();
    gate.add_permits(1);
    assert!(matches!(
        world.news(&made.id).await,
        LoginNews::Arrived { .. }
    ));
    world.finish(&made.id).await.unwrap();
}
