//! Tokens: renewed in time, once for all who ask, durable before use; and their end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use serde_json::json;
use switchboard::oauth::{LoggedOut, NoToken, OAuthError};
use tokio::sync::Semaphore;

use super::world::{HERE, THERE, World, credential};

/// Refresh requests that were made.
fn renewals(world: &World) -> usize {
    let seen = world.stand.seen("/token");
    seen.iter()
        .filter(|form| form["grant_type"] == "refresh_token")
        .count()
}

fn needs_login(token: Result<String, NoToken>) -> String {
    match token {
        Err(NoToken::NeedsLogin(why)) => why,
        other => panic!("no login was asked for: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_renewed_a_minute_before_its_end_and_not_sooner() {
    let mut world = World::public().await;
    world.log_in().await;
    let first = world.token().await.unwrap();
    world.later(3600 - 61);
    assert_eq!(world.token().await.unwrap(), first);
    world.later(2);
    let second = world.token().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(world.token().await.unwrap(), second);
    assert_eq!(renewals(&world), 1);
    let form = &world.stand.seen("/token")[1];
    assert_eq!(form["resource"], world.stand.url().as_str());

    // The new refresh token is the one that is used next, also by the next life of the bot.
    world.restart();
    world.later(3600);
    world.token().await.unwrap();
    assert_eq!(renewals(&world), 2);
}

#[tokio::test]
async fn d31_twenty_at_once_make_one_token_request() {
    for by_refusal in [false, true] {
        let mut world = World::public().await;
        world.log_in().await;
        let first = world.token().await.unwrap();
        if !by_refusal {
            world.later(3600);
        }
        let all = (0..20).map(|_| async {
            if by_refusal {
                world.refused(&first).await
            } else {
                world.token().await
            }
        });
        let all: Vec<String> = join_all(all)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert!(all.iter().all(|token| *token == all[0] && *token != first));
        assert_eq!(renewals(&world), 1);
        // Late with the same old one: it was renewed already.
        assert_eq!(world.refused(&first).await.unwrap(), all[0]);
        assert_eq!(renewals(&world), 1);
    }
}

#[tokio::test]
async fn whoever_goes_away_in_a_renewal_takes_nothing_along() {
    let mut world = World::public().await;
    world.log_in().await;
    world.later(3600);
    let gate = Arc::new(Semaphore::new(0));
    world.stand.bent().gate = Some(gate.clone());
    let oauth = world.oauth.clone();
    let url = world.stand.url();
    let caller = tokio::spawn(async move { oauth.token(HERE, &credential(), &url).await });
    while renewals(&world) == 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    gate.add_permits(1);
    assert!(world.token().await.is_ok());
    assert_eq!(renewals(&world), 1);
}

#[tokio::test]
async fn while_one_renews_others_go_on_with_what_still_lasts() {
    let mut world = World::public().await;
    world.log_in().await;
    let first = world.token().await.unwrap();
    world.later(3600 - 30);
    let gate = Arc::new(Semaphore::new(0));
    world.stand.bent().gate = Some(gate.clone());
    let renewing = world.token();
    let mut renewing = std::pin::pin!(renewing);
    while renewals(&world) == 0 {
        tokio::select! {
            biased;
            _ = &mut renewing => panic!("it came through the gate"),
            () = tokio::task::yield_now() => (),
        }
    }
    assert_eq!(world.token().await.unwrap(), first);
    gate.add_permits(1);
    assert_ne!(renewing.await.unwrap(), first);
}

#[tokio::test]
async fn new_tokens_are_on_disk_before_anybody_has_them() {
    let mut world = World::public().await;
    world.log_in().await;
    let first = world.token().await.unwrap();
    world.later(3600);
    let gate = Arc::new(Semaphore::new(0));
    world.stand.bent().gate = Some(gate.clone());
    {
        let renewing = world.token();
        let mut renewing = std::pin::pin!(renewing);
        while renewals(&world) == 0 {
            tokio::select! {
                biased;
                _ = &mut renewing => panic!("it came through the gate"),
                () = tokio::task::yield_now() => (),
            }
        }
        // What a crash here would find.
        let kept = world
            .disk
            .credentials
            .lock()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        assert_eq!(
            (&kept["renewing"], &kept["tokens"]["access"]),
            (&json!(true), &json!(first))
        );
        world.disk.full.store(true, Ordering::SeqCst);
        gate.add_permits(10);
        assert!(matches!(renewing.await, Err(NoToken::Later(_))));
    }
    assert!(matches!(world.token().await, Err(NoToken::Later(_))));
    world.disk.full.store(false, Ordering::SeqCst);
    let new = world.token().await.unwrap();
    assert_ne!(new, first);
    assert_eq!(
        renewals(&world),
        1,
        "the tokens that were there already were asked for again"
    );
    let kept = world
        .disk
        .credentials
        .lock()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    assert_eq!(
        (&kept["renewing"], &kept["tokens"]["access"]),
        (&json!(false), &json!(new))
    );
}

#[tokio::test]
async fn a_crash_between_renewal_and_save_is_survived_or_told() {
    for grace in [1, 0] {
        let mut world = World::public().await;
        world.log_in().await;
        world.stand.bent().grace = grace;
        world.later(3600);
        // The server renews; the bot dies with the answer in its hands.
        let before = world.disk.credentials.lock().unwrap().clone();
        world.token().await.unwrap();
        let mut crashed = before;
        for record in crashed.values_mut() {
            record["renewing"] = json!(true);
        }
        *world.disk.credentials.lock().unwrap() = crashed;
        world.restart();
        if grace == 1 {
            world.token().await.unwrap();
        } else {
            let why = needs_login(world.token().await);
            assert!(why.contains("interrupted"), "{why}");
            world.restart();
            assert_eq!(needs_login(world.token().await), why, "it forgot why");
            assert!(!world.oauth.has_login(HERE, &credential()).await);
            world.log_in().await;
            world.token().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_refused_renewal_asks_for_a_login_and_keeps_the_entry() {
    let mut world = World::public().await;
    world.stand.bent().resource = json!({"scopes_supported": ["read"]});
    world.log_in().await;
    world.stand.bent().token_status = Some((400, json!({"error": "invalid_grant"})));
    world.later(3600);
    let why = needs_login(world.token().await);
    assert!(why.contains("invalid_grant"), "{why}");
    for _ in 0..3 {
        assert_eq!(needs_login(world.token().await), why);
    }
    let asked = world.stand.seen("/token").len();
    world.restart();
    assert_eq!(needs_login(world.token().await), why);
    assert_eq!(
        world.stand.seen("/token").len(),
        asked,
        "it was asked again"
    );
    let kept = world
        .disk
        .credentials
        .lock()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    assert_eq!(
        (&kept["tokens"], &kept["asked"]),
        (&json!(null), &json!(["read"]))
    );
}

#[tokio::test]
async fn a_server_that_forgot_us_is_registered_at_anew() {
    let mut world = World::public().await;
    world.log_in().await;
    world.stand.bent().clients = vec!["another".to_owned()];
    world.later(3600);
    let why = needs_login(world.token().await);
    assert!(why.contains("does not know me"), "{why}");
    world.log_in().await;
    assert_eq!(world.stand.seen("/register").len(), 2);
}

#[tokio::test]
async fn trouble_is_waited_out_with_the_old_token_while_it_lasts() {
    for answer in [
        (503, json!({})),
        (429, json!({"error": "slow_down"})),
        (200, json!("odd")),
    ] {
        let mut world = World::public().await;
        world.log_in().await;
        let first = world.token().await.unwrap();
        world.stand.bent().token_status = Some(answer);
        world.later(3600 - 30);
        for _ in 0..5 {
            assert_eq!(world.token().await.unwrap(), first);
        }
        assert_eq!(renewals(&world), 1, "a server in trouble is not left alone");
        assert!(matches!(
            world.refused(&first).await,
            Err(NoToken::Later(_))
        ));
        world.later(31);
        assert!(matches!(world.token().await, Err(NoToken::Later(_))));
        assert_eq!(renewals(&world), 2);
        world.stand.bent().token_status = None;
        world.later(60);
        assert_ne!(world.token().await.unwrap(), first);
    }
}

#[tokio::test]
async fn a_server_that_rotates_nothing_keeps_its_refresh_token() {
    let mut world = World::public().await;
    world.log_in().await;
    world.stand.bent().token = json!({"refresh_token": null});
    world.stand.bent().grace = 10;
    for _ in 0..3 {
        world.later(3600);
        world.token().await.unwrap();
    }
    assert_eq!(renewals(&world), 3);
}

#[tokio::test]
async fn without_a_refresh_token_a_login_lasts_as_long_as_it_lasts() {
    let mut world = World::public().await;
    world.stand.bent().token = json!({"refresh_token": null});
    world.log_in().await;
    let first = world.token().await.unwrap();
    world.later(3599);
    assert_eq!(world.token().await.unwrap(), first);
    needs_login(world.refused(&first).await);
    world.later(1);
    needs_login(world.token().await);
    assert_eq!(renewals(&world), 0);

    // One that names no end lasts until it is refused.
    world.stand.bent().token = json!({"refresh_token": null, "expires_in": null});
    world.log_in().await;
    world.later(1_000_000);
    assert!(world.token().await.is_ok());
}

#[tokio::test]
async fn short_lives_are_renewed_halfway() {
    let mut world = World::public().await;
    world.stand.bent().token = json!({"expires_in": 10});
    world.log_in().await;
    let first = world.token().await.unwrap();
    world.later(4);
    assert_eq!(world.token().await.unwrap(), first);
    world.later(2);
    assert_ne!(world.token().await.unwrap(), first);
}

#[tokio::test]
async fn d28_a_token_goes_to_its_origin_and_thread_alone() {
    let mut world = World::public().await;
    world.log_in().await;
    let mut url = world.stand.url();
    url.set_path("/elsewhere");
    assert!(world.oauth.token(HERE, &credential(), &url).await.is_ok());
    url.set_port(Some(1)).unwrap();
    let other = world.oauth.token(HERE, &credential(), &url).await;
    let why = needs_login(other.map(|token| token.expose().to_owned()));
    assert!(why.contains("is not sent to 127.0.0.1:1"), "{why}");
    let there = world
        .oauth
        .token(THERE, &credential(), &world.stand.url())
        .await;
    assert!(matches!(there, Err(NoToken::NeedsLogin(_))));
    assert!(!world.oauth.has_login(THERE, &credential()).await);
}

#[tokio::test]
async fn logout_revokes_and_forgets() {
    let mut world = World::public().await;
    assert_eq!(
        world.oauth.logout(HERE, &credential()).await,
        LoggedOut::Nothing
    );
    world.log_in().await;
    let access = world.token().await.unwrap();
    assert_eq!(
        world.oauth.logout(HERE, &credential()).await,
        LoggedOut::Revoked
    );
    let told = world.stand.seen("/revoke");
    assert_eq!((told.len(), &told[1]["token"]), (2, &json!(access)));
    assert_eq!(told[0]["token_type_hint"], "refresh_token");
    needs_login(world.token().await);
    assert!(world.disk.credentials.lock().unwrap().is_empty());
    assert_eq!(
        world.oauth.logout(HERE, &credential()).await,
        LoggedOut::Nothing
    );
}

#[tokio::test]
async fn logout_forgets_where_nobody_can_be_told_and_ends_what_is_under_way() {
    let mut world = World::public().await;
    world.stand.bent().metadata = json!({"revocation_endpoint": null});
    world.log_in().await;
    let made = world.begin().await.unwrap();
    world.arrive(&made).await;
    assert_eq!(
        world.oauth.logout(HERE, &credential()).await,
        LoggedOut::Forgotten
    );
    assert_eq!(world.finish(&made.id).await, Err(OAuthError::Over));
    assert!(world.disk.credentials.lock().unwrap().is_empty());
    assert!(world.disk.logins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn logout_in_the_middle_of_a_renewal_leaves_nothing() {
    let mut world = World::public().await;
    world.log_in().await;
    world.later(3600);
    let gate = Arc::new(Semaphore::new(0));
    world.stand.bent().gate = Some(gate.clone());
    let (oauth, url) = (world.oauth.clone(), world.stand.url());
    let caller = tokio::spawn(async move { oauth.token(HERE, &credential(), &url).await });
    while renewals(&world) == 0 {
        tokio::task::yield_now().await;
    }
    let oauth = world.oauth.clone();
    let logout = tokio::spawn(async move { oauth.logout(HERE, &credential()).await });
    gate.add_permits(1);
    let new = caller.await.unwrap().unwrap();
    assert_eq!(logout.await.unwrap(), LoggedOut::Revoked);
    assert!(world.disk.credentials.lock().unwrap().is_empty());
    let told = world.stand.seen("/revoke");
    assert_eq!(told[1]["token"], new.expose(), "older tokens were revoked");
}

#[tokio::test]
async fn what_the_server_repeats_of_a_secret_is_told_to_nobody() {
    let echo = json!({"error": "invalid_grant", "error_description": "no {code}{code_verifier}{refresh_token}."});
    let mut world = World::bare().await;
    let made = world.begin().await.unwrap();
    let query = world.stand.consent(&made.link);
    world.stand.bent().token_status = Some((400, echo.clone()));
    let arrival = format!("{:?}", world.oauth.arrive(&query, None).await);
    let news = format!("{:?}", world.news(&made.id).await);
    let sent = world.stand.seen("/token").remove(0);
    for told in [&arrival, &news] {
        assert!(told.contains("invalid_grant"), "{told}");
        for name in ["code", "code_verifier"] {
            assert!(!told.contains(sent[name].as_str().unwrap()), "{told}");
        }
    }

    world.stand.bent().token_status = None;
    let mut world = World::public().await;
    world.log_in().await;
    world.stand.bent().token_status = Some((400, echo));
    world.later(3600);
    let why = needs_login(world.token().await);
    let sent = world.stand.seen("/token").pop().unwrap();
    assert!(why.contains("invalid_grant"), "{why}");
    let refresh = sent["refresh_token"].as_str().unwrap();
    assert!(!why.contains(refresh), "{why}");
    let kept = format!("{:?}", world.disk.credentials.lock().unwrap());
    assert!(!kept.contains(refresh), "it is kept in the reason: {kept}");
}
