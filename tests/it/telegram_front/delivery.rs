//! Updates come once and in order, whatever Telegram or the desk does.

use super::*;

#[tokio::test]
async fn strange_updates_repeats_and_panics_do_not_stop_the_loop() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    it.api.push_update(json!({ "something_new": { "x": 1 } }));
    it.api.push_update(json!({ "message": { "no": "fields" } }));
    it.api.push_update(json!({ "message": 17 }));
    it.sink.moods.lock().unwrap().push(Mood::Panics);
    ann.says("this one panics");
    ann.says("this one does not");
    assert_eq!(it.text().await, "this one does not");
    it.nothing_before_marker(&ann).await;
    it.end().await;
}

#[tokio::test]
async fn an_update_that_comes_twice_runs_once() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let update = json!({ "update_id": 800_000_000, "message": {
        "message_id": 5, "date": jiff::Timestamp::now().as_second(), "text": "/mcp remove x",
        "from": { "id": ann.id, "is_bot": false, "first_name": "Ann" },
        "chat": { "id": ann.id, "type": "private", "first_name": "Ann" },
    }});
    it.api.push_update(update.clone());
    it.api.push_update(update);
    assert_eq!(it.text().await, "/mcp remove x");
    it.api
        .push_update(json!({ "update_id": 800_000_001, "message": {
            "message_id": 6, "date": jiff::Timestamp::now().as_second(), "text": "next",
            "from": { "id": ann.id, "is_bot": false, "first_name": "Ann" },
            "chat": { "id": ann.id, "type": "private", "first_name": "Ann" },
        }}));
    assert_eq!(it.text().await, "next");
    it.end().await;
}

#[tokio::test]
async fn a_busy_desk_is_said_once_and_kept_events_come_later() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    let message = it.sent(ann.place, View::text("x").row(buttons())).await;
    *it.sink.moods.lock().unwrap() = vec![Mood::Busy; 3];
    ann.says("one");
    ann.says("two");
    ann.presses_data(message.0, "v1:abc:apply");
    let answers = it.api.wait_for_answers(1).await;
    assert!(answers[0].text.contains("busy"), "{answers:?}");
    it.api.wait_for_text(ann.place, "busy").await;
    it.nothing_before_marker(&ann).await;
    let told = it
        .api
        .messages(ann.place)
        .iter()
        .filter(|one| one.plain.contains("busy"))
        .count();
    assert_eq!(told, 1);
    // That a thread is gone must not be lost.
    it.sink.moods.lock().unwrap().push(Mood::Busy);
    ann.blocks();
    it.api.wait_for_confirmed().await;
    let zoe = it.api.private_chat("Zoe");
    zoe.says("hi");
    let kinds = [it.event().await.kind, it.event().await.kind];
    assert!(
        kinds.iter().any(|kind| matches!(kind, EventKind::Left)),
        "{kinds:?}"
    );
    it.end().await;
}

#[tokio::test]
async fn trouble_with_telegram_passes() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    it.api
        .fail(Fault::new("getUpdates", 400, "Bad Request: try later"));
    it.api.fail(Fault::new(
        "getUpdates",
        409,
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    ));
    ann.says("after the storm");
    assert_eq!(it.text().await, "after the storm");
    ann.says("and on");
    assert_eq!(it.text().await, "and on");
    it.end().await;
}

#[tokio::test]
async fn a_revoked_token_ends_the_run() {
    let it = Running::start().await;
    it.api.fail(Fault::new("getUpdates", 401, "Unauthorized"));
    // Wakes the request that is open.
    it.api.private_chat("Ann").says("hi");
    let end = it.run.await.expect("no panic");
    assert!(matches!(end, Err(RunError::Token)));
}

#[tokio::test]
async fn a_stop_confirms_what_was_handed_over() {
    let mut it = Running::start().await;
    let ann = it.api.private_chat("Ann");
    ann.says("the last");
    assert_eq!(it.text().await, "the last");
    it.stop.cancel();
    (&mut it.run).await.expect("no panic").expect("a quiet end");
    it.api.wait_for_confirmed().await;
}
