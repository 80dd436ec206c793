//! How logins end: Finish, a change of mind, time, and the death of the bot.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use switchboard::oauth::{Arrival, LIFETIME_MS, LoginNews, OAuthError};

use super::world::{HERE, THERE, World, credential, nonce, person};

#[tokio::test]
async fn only_who_began_finishes_and_once() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    assert_eq!(world.finish(&made.id).await, Err(OAuthError::Over));
    world.arrive(&made).await;
    let eve = person("tg:2").id;
    assert_eq!(
        world.oauth.finish(&made.id, &eve).await,
        Err(OAuthError::NotYours)
    );
    assert!(world.token().await.is_err());
    assert_eq!(world.finish(&made.id).await, Ok(()));
    assert_eq!(world.finish(&made.id).await, Err(OAuthError::Over));
    assert!(world.token().await.is_ok());
    assert!(world.disk.logins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_nameless_administrators_began_anybody_may_finish() {
    let world = World::public().await;
    let mut ask = world.ask("");
    ask.by = person("tg:anon:7");
    let made = world.oauth.begin(ask).await.unwrap();
    let (address, cookie) = world.leave(&made).await;
    let query = world.stand.consent(&address);
    let arrival = world.oauth.arrive(&query, cookie.as_deref()).await;
    let Arrival::Welcome { who, .. } = arrival else {
        panic!("nobody is welcome: {arrival:?}");
    };
    assert_eq!(who, "an administrator");
    let another = person("tg:5").id;
    world.oauth.finish(&made.id, &another).await.unwrap();
}

#[tokio::test]
async fn finish_that_the_disk_does_not_take_can_be_pressed_again() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    world.arrive(&made).await;
    world.disk.full.store(true, Ordering::SeqCst);
    assert!(matches!(
        world.finish(&made.id).await,
        Err(OAuthError::Keep(_))
    ));
    assert!(world.token().await.is_err());
    world.disk.full.store(false, Ordering::SeqCst);
    world.finish(&made.id).await.unwrap();
    assert!(world.token().await.is_ok());
}

#[tokio::test]
async fn a_new_login_takes_the_place_of_the_old_one() {
    let mut world = World::public().await;
    world.log_in().await;
    let old = world.token().await.unwrap();
    world.log_in().await;
    assert_ne!(world.token().await.unwrap(), old);
}

#[tokio::test]
async fn each_step_survives_a_restart() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    world.restart();
    assert!(world.oauth.start_page(nonce(&made)).await.is_some());
    let (address, cookie) = world.leave(&made).await;
    world.restart();
    let query = world.stand.consent(&address);
    let arrival = world.oauth.arrive(&query, cookie.as_deref()).await;
    assert!(matches!(arrival, Arrival::Welcome { .. }));
    world.restart();
    assert_eq!(
        world.oauth.arrive(&query, cookie.as_deref()).await,
        Arrival::Unknown
    );
    world.finish(&made.id).await.unwrap();
    let token = world.token().await.unwrap();
    world.restart();
    assert_eq!(world.token().await.unwrap(), token);
    assert!(world.oauth.has_login(HERE, &credential()).await);
}

#[tokio::test]
async fn death_in_the_exchange_is_told_and_death_after_finish_brings_nothing_old_back() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    let id = made.id.clone();
    // As the record stands while the code is away.
    world.disk.logins.lock().unwrap().get_mut(&id.0).unwrap()["stage"] = json!("exchanging");
    world.restart();
    assert!(matches!(world.news(&id).await, LoginNews::Failed(why) if why.contains("restarted")));
    assert!(world.disk.logins.lock().unwrap().is_empty());

    let made = world.begin().await.unwrap();
    world.arrive(&made).await;
    let record = world.disk.logins.lock().unwrap()[&made.id.0].clone();
    world.finish(&made.id).await.unwrap();
    let first = world.token().await.unwrap();
    let renewed = world.refused(&first).await.unwrap();
    // As if the bot had died before the login's record was removed.
    world
        .disk
        .logins
        .lock()
        .unwrap()
        .insert(made.id.0.clone(), record);
    world.restart();
    world.finish(&made.id).await.unwrap();
    assert_eq!(world.token().await.unwrap(), renewed);
}

#[tokio::test]
async fn time_ends_a_login_with_a_word_and_nothing_of_it_works_any_more() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    let (address, cookie) = world.leave(&made).await;
    let query = world.stand.consent(&address);
    assert_eq!(
        made.until_ms,
        world.clock.load(Ordering::SeqCst) + LIFETIME_MS
    );
    world.later(10 * 60);
    assert_eq!(
        world.oauth.arrive(&query, cookie.as_deref()).await,
        Arrival::Unknown
    );
    assert!(world.oauth.start_page(nonce(&made)).await.is_none());
    assert!(world.oauth.leave(nonce(&made)).await.is_none());
    // Another login wakes the clockwork, which sees by its clock that time is up.
    let mut other = world.ask("");
    other.by = person("tg:2");
    world.oauth.begin(other).await.unwrap();
    assert_eq!(world.news(&made.id).await, LoginNews::Expired);
    assert!(world.stand.seen("/token").is_empty());
}

#[tokio::test]
async fn d24_a_state_is_good_for_ten_minutes_and_no_second_longer() {
    for (seconds, is_taken) in [(10 * 60 - 1, true), (10 * 60 + 1, false)] {
        for is_public in [true, false] {
            let world = if is_public {
                World::public().await
            } else {
                World::bare().await
            };
            let made = world.begin().await.unwrap();
            let (address, cookie) = world.leave(&made).await;
            let query = world.stand.consent(&address);
            world.later(seconds);
            let arrived = if is_public {
                let arrival = world.oauth.arrive(&query, cookie.as_deref()).await;
                assert!(
                    is_taken || arrival == Arrival::Unknown,
                    "{seconds}: {arrival:?}"
                );
                matches!(arrival, Arrival::Welcome { .. })
            } else {
                let pasted = world.oauth.pasted(HERE, &person("tg:1").id, &query).await;
                assert!(
                    is_taken || pasted == Err(OAuthError::Over),
                    "{seconds}: {pasted:?}"
                );
                pasted.is_ok()
            };
            assert_eq!(arrived, is_taken, "{seconds} {is_public}");
            assert_eq!(
                world.stand.seen("/token").len(),
                usize::from(is_taken),
                "{seconds} {is_public}: the code went on"
            );
        }
    }
}

#[tokio::test]
async fn time_passes_by_itself() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    tokio::time::pause();
    world.later(10 * 60);
    // The clock of the computer may jump: it is looked at every minute.
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let notice = world.notices.recv().await.unwrap();
    assert_eq!((notice.id, notice.news), (made.id, LoginNews::Expired));
}

#[tokio::test]
async fn what_ended_while_the_bot_was_away_is_told_at_start() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    world.later(11 * 60);
    world.restart();
    assert_eq!(world.news(&made.id).await, LoginNews::Expired);
    assert!(world.disk.logins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn tokens_that_nobody_fetches_are_revoked() {
    for by_time in [true, false] {
        let mut world = World::public().await;
        let made = world.begin().await.unwrap();
        world.arrive(&made).await;
        if by_time {
            world.later(11 * 60);
            world.restart();
            assert_eq!(world.news(&made.id).await, LoginNews::Expired);
        } else {
            world.oauth.cancel(&made.id).await;
            world.oauth.cancel(&made.id).await;
        }
        assert_eq!(world.finish(&made.id).await, Err(OAuthError::Over));
        // The end of the room waits for what is under way.
        world.oauth.shutdown().await;
        let told = world.stand.seen("/revoke");
        let told: Vec<&Value> = told.iter().map(|form| &form["token_type_hint"]).collect();
        assert_eq!(told, ["refresh_token", "access_token"]);
        assert!(world.disk.logins.lock().unwrap().is_empty());
        world.no_news();
    }
}

#[tokio::test]
async fn a_reused_client_that_nobody_comes_back_with_is_registered_anew() {
    let mut world = World::public().await;
    world.log_in().await;
    let made = world.begin().await.unwrap();
    world.later(11 * 60);
    world.restart();
    assert_eq!(world.news(&made.id).await, LoginNews::Expired);
    world.oauth.shutdown().await;
    world.restart();
    world.begin().await.unwrap();
    assert_eq!(world.stand.seen("/register").len(), 2);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_dropped_and_hurts_no_other() {
    let mut world = World::public().await;
    let made = world.begin().await.unwrap();
    world
        .disk
        .logins
        .lock()
        .unwrap()
        .insert("0bad".to_owned(), json!({"stage": 7}));
    world.restart();
    assert!(world.oauth.start_page(nonce(&made)).await.is_some());
    assert_eq!(world.disk.logins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_that_gets_a_new_id_takes_its_logins_along() {
    let mut world = World::bare().await;
    world.log_in().await;
    world.later(3600 - 30);
    let made = world.begin().await.unwrap();
    // What the store does with the files of a group.
    let there = format!("{THERE}/{}", credential());
    {
        let mut all = world.disk.credentials.lock().unwrap();
        let moved = all.pop_first().unwrap().1;
        all.insert(there.clone(), moved);
    }
    world.disk.moved.store(true, Ordering::SeqCst);

    for thread in [HERE, THERE] {
        let (id, url) = (credential(), world.stand.url());
        assert!(world.oauth.token(thread, &id, &url).await.is_ok());
    }
    assert_eq!(world.stand.seen("/token").len(), 2, "it was renewed twice");
    let query = world.stand.consent(&made.link);
    let ann = person("tg:1").id;
    world.oauth.pasted(THERE, &ann, &query).await.unwrap();
    let notice = world.notices.recv().await.unwrap();
    assert_eq!((notice.thread, &notice.id), (THERE, &made.id));
    world.finish(&made.id).await.unwrap();
    let keys: Vec<String> = world
        .disk
        .credentials
        .lock()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, [there]);
}

#[tokio::test]
async fn shutdown_ends_what_runs() {
    let world = World::public().await;
    world.begin().await.unwrap();
    world.oauth.shutdown().await;
    world.oauth.shutdown().await;
}

#[tokio::test]
async fn nobody_keeps_all_others_from_logging_in() {
    let mut world = World::public().await;
    let eve = || {
        let mut ask = world.ask("");
        (ask.by, ask.thread) = (person("tg:666"), THERE);
        ask
    };
    let made = world.oauth.begin(eve()).await.unwrap();
    {
        let mut logins = world.disk.logins.lock().unwrap();
        let record = logins.remove(&made.id.0).unwrap();
        for number in 0..1000 {
            logins.insert(format!("eve-{number}"), record.clone());
        }
    }
    world.restart();
    let made = world.begin().await.unwrap();
    assert!(world.oauth.start_page(nonce(&made)).await.is_some());
    let notice = world.notices.recv().await.unwrap();
    assert!(notice.id.0.starts_with("eve-"), "{notice:?}");
    assert!(matches!(notice.news, LoginNews::Failed(_)), "{notice:?}");
    assert_eq!(world.disk.logins.lock().unwrap().len(), 1000);
    // Not for herself.
    let mut ask = world.ask("");
    (ask.by, ask.thread) = (person("tg:666"), switchboard::thread::ThreadId::Local);
    assert!(matches!(
        world.oauth.begin(ask).await,
        Err(OAuthError::Refused(_))
    ));
}
