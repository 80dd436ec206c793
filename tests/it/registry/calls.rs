//! Calls: whatever a server answers, and whenever.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn floods_and_storms_hold_nobody_up() {
    let mut room = Room::new();
    room.settled(&[
        ("stderr", "flood-stderr"),
        ("storm", "storm bad-tool"),
        ("good", ""),
    ])
    .await;
    for name in ["stderr", "storm", "good"] {
        room.text(name, "echo", json!({"text": 1})).await;
    }
    let storm = room.registry.snapshot(THREAD).unwrap();
    let refused = &storm.server("storm").unwrap().refused;
    assert_eq!(
        (&*refused[0].tool, &*refused[0].reason),
        ("bad", "inputSchema is missing")
    );
    let logs = room.registry.logs(THREAD, &name_of("stderr")).unwrap();
    assert!(logs.iter().all(|line| line.chars().count() <= 400));
    room.registry.shutdown(Duration::from_secs(10)).await;
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_go_in_a_circle_end() {
    let mut room = Room::new();
    let touched = room.settled(&[("one", "circle")]).await;
    assert_eq!(touched[0].tools.len(), 2);
    assert!(touched[0].refused[0].reason.contains("circle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_results_over_the_limit_are_told_and_the_connection_lives() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let over = room.call("one", "huge", json!({"bytes": 5_000_000})).await;
    assert!(
        matches!(&over, Err(CallError::Malformed(why)) if why.contains("4 MiB")),
        "{over:?}"
    );
    assert_eq!(
        room.text("one", "huge", json!({"bytes": 3_000_000}))
            .await
            .len(),
        3_000_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers_are_told_as_what_they_are() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let weird = room.call("one", "weird", json!({})).await.unwrap();
    assert_eq!(
        weird.content,
        [
            Content::Text("a".to_owned()),
            Content::Unknown(json!({"type": "smell", "of": "roses"}))
        ]
    );
    assert_eq!(
        room.call("one", "error", json!({})).await,
        Err(CallError::Refused {
            code: -32602,
            message: "no such thing".to_owned()
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_a_call_without_an_answer_ends_at_its_deadline_and_the_server_is_told() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(1));
    room.settled(&[("one", "")]).await;
    let timed_out = room.call("one", "hang", json!({})).await;
    assert!(
        matches!(timed_out, Err(CallError::TimedOut(_))),
        "{timed_out:?}"
    );
    until_cancelled(&room, 1).await;
    // The server is as good as before.
    assert!(matches!(room.state("one"), ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_an_answer_that_comes_late_is_dropped() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(1));
    room.settled(&[("one", "")]).await;
    // It answers after the deadline, and nobody takes that for the answer to something else.
    let late = room.call("one", "sleep", json!({"ms": 1500})).await;
    assert!(matches!(late, Err(CallError::TimedOut(_))), "{late:?}");
    let until = Instant::now() + SOON;
    let mut word = 0;
    loop {
        word += 1;
        match room.call("one", "echo", json!({"text": word})).await {
            Ok(outcome) => {
                assert_eq!(outcome.content, [Content::Text(word.to_string())]);
                break;
            }
            // It still sleeps.
            Err(CallError::TimedOut(_)) => assert!(Instant::now() < until, "it sleeps for ever"),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(matches!(room.state("one"), ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_the_time_that_a_call_waited_for_its_turn_is_part_of_its_deadline() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_hours(1));
    room.settled(&[("one", "")]).await;
    let mut request = Room::request("one", "hang", json!({}));
    request.waited = Duration::from_hours(1);
    let timed_out = tokio::time::timeout(SOON, room.registry.call(request)).await;
    assert!(
        matches!(timed_out, Ok(Err(CallError::TimedOut(_)))),
        "{timed_out:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_cancelled_at_the_server() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let (progress, mut reports) = mpsc::channel(4);
    let mut request = Room::request("one", "hang", json!({"half-way": "yes"}));
    request.progress = Some(progress);
    let call = tokio::spawn({
        let registry = room.registry.clone();
        async move { registry.call(request).await }
    });
    let under_way = tokio::time::timeout(SOON, reports.recv()).await;
    assert!(under_way.is_ok_and(|report| report.is_some()));
    call.abort();
    until_cancelled(&room, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_server_is_switched_off_is_told_so() {
    for remove in [true, false] {
        let mut room = Room::new();
        room.settled(&[("one", "")]).await;
        let registry = room.registry.clone();
        let (progress, mut reports) = mpsc::channel(4);
        let mut request = Room::request("one", "deaf", json!({}));
        request.progress = Some(progress);
        let call = tokio::spawn(async move { registry.call(request).await });
        let under_way = tokio::time::timeout(SOON, reports.recv()).await;
        assert!(under_way.is_ok_and(|report| report.is_some()));
        if remove {
            room.apply(&[]).await;
        } else {
            let mut off = room.server("");
            off.disabled = true;
            room.apply(&[("one", off)]).await;
        }
        let ended = tokio::time::timeout(SOON, call).await.unwrap().unwrap();
        let expected = CallError::Stopped {
            server: "one".to_owned(),
        };
        assert_eq!(ended, Err(expected), "removed: {remove}");
    }
}

async fn until_cancelled(room: &Room, number: usize) {
    let until = Instant::now() + SOON;
    let told = [Content::Text(number.to_string())];
    // With a short deadline for calls this one may be late as well.
    while !matches!(room.call("one", "cancelled", json!({})).await, Ok(outcome) if outcome.content == told)
    {
        assert!(Instant::now() < until, "the server was not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_passed_on_and_extends_the_deadline_up_to_the_cap() {
    let mut room = Room::with(|options| {
        options.call_timeout = Duration::from_secs(10);
        options.call_cap = Duration::from_secs(15);
    });
    room.settled(&[("one", "")]).await;
    let (sender, mut reports) = mpsc::channel(16);
    let mut request = Room::request("one", "steps", json!({"number": 6, "ms": 2000}));
    request.progress = Some(sender);
    let outcome = room.registry.call(request).await.unwrap();
    assert_eq!(outcome.content, [Content::Text("done".to_owned())]);
    let mut done = Vec::new();
    while let Ok(report) = reports.try_recv() {
        assert_eq!((report.total, &*report.message), (Some(6.0), "on it"));
        done.push(report.done);
    }
    assert_eq!(done, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Progress for ever does not make a call last for ever.
    let endless = room
        .call("one", "steps", json!({"number": 100, "ms": 1000}))
        .await;
    assert!(
        matches!(endless, Err(CallError::TimedOut(_))),
        "{endless:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_reading_is_ended_and_comes_back() {
    let mut room = Room::with(|options| options.call_timeout = Duration::from_secs(10));
    room.settled(&[("one", "stubborn"), ("two", "")]).await;
    let big = json!({"text": "x".repeat(300_000)});
    let (sender, mut reports) = mpsc::channel(1);
    let mut request = Room::request("one", "deaf", json!({}));
    request.progress = Some(sender);
    let deaf = room.registry.call(request);
    let others = async {
        reports.recv().await.expect("a report that it is deaf now");
        futures::future::join_all((0..20).map(|_| room.call("one", "echo", big.clone()))).await
    };
    let (deaf, calls) = futures::future::join(deaf, others).await;
    assert!(deaf.is_err());
    assert!(calls.iter().all(Result::is_err));
    room.text("two", "echo", json!({})).await;
    room.when("it runs again", |snapshot| {
        is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == 1
    })
    .await;
    room.text("one", "echo", json!({})).await;
}
