use super::*;

#[tokio::test]
async fn progress_reaches_its_call_even_when_it_comes_first() {
    let events = Arc::new(Events::default());
    let token = ProgressToken(NumberOrString::Number(4));
    let report = |done: f64| {
        ServerNotification::ProgressNotification(rmcp::model::ProgressNotification::new(
            ProgressNotificationParam::new(token.clone(), done),
        ))
    };
    events.notice(report(1.0));
    let (sender, mut receiver) = mpsc::channel(8);
    let limits = Limits {
        timeout: Duration::from_secs(1),
        cap: Duration::from_secs(2),
    };
    let progress = Some((sender, Arc::default()));
    let slot = events.follow(&token, progress, Instant::now(), limits);
    events.notice(report(2.0));
    events.unfollow(&token);
    events.notice(report(3.0));
    let mut done = Vec::new();
    while let Ok(report) = receiver.try_recv() {
        done.push(report.done);
    }
    assert_eq!(format!("{done:?}"), "[1.0, 2.0]");
    assert_eq!(slot.reports.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn each_call_is_given_up_at_its_own_time() {
    let limits = Limits {
        timeout: Duration::from_secs(10),
        cap: Duration::from_secs(25),
    };
    let events = Arc::new(Events::default());
    let begun = Instant::now();
    let mut calls = Vec::new();
    // Begins after so many seconds, reports every 4, and how long it may go on then.
    for (id, (begins, reports, lasts)) in [
        (0, false, 10),
        (3, true, 25),
        (3, false, 10),
        (30, false, 10),
    ]
    .into_iter()
    .enumerate()
    {
        let events = events.clone();
        calls.push(tokio::spawn(async move {
            let token = ProgressToken(NumberOrString::Number(i64::try_from(id).unwrap()));
            tokio::time::sleep_until(begun + Duration::from_secs(begins)).await;
            let slot = events.follow(&token, None, Instant::now(), limits);
            let reporting = async {
                for _ in 0..if reports { 10 } else { 0 } {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    let report = ProgressNotificationParam::new(token.clone(), 1.0);
                    events.notice(ServerNotification::ProgressNotification(
                        rmcp::model::ProgressNotification::new(report),
                    ));
                }
                std::future::pending::<()>().await;
            };
            let mut never = std::future::pending::<()>();
            tokio::select! {
                verdict = slot.answer(&mut never) => {
                    assert_eq!(verdict, Err(Verdict::Late));
                }
                () = reporting => {}
            }
            events.unfollow(&token);
            let took = begun.elapsed().as_secs();
            assert_eq!(took, begins + lasts, "call {id}");
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    tokio::time::sleep(limits.timeout).await;
    assert!(!events.calls().watched, "a task looks at no call");
}

#[tokio::test]
async fn the_end_is_told_to_those_who_wait_and_to_those_who_come_later() {
    let limits = Limits {
        timeout: Duration::from_hours(1),
        cap: Duration::from_hours(1),
    };
    let events = Arc::new(Events::default());
    let follow = |id| {
        let token = ProgressToken(NumberOrString::Number(id));
        events.follow(&token, None, Instant::now(), limits)
    };
    let early = follow(1);
    let mut never = std::future::pending::<()>();
    let mut waiting = Box::pin(early.answer(&mut never));
    assert!(futures::poll!(&mut waiting).is_pending());
    events.close();
    assert_eq!(waiting.await, Err(Verdict::Ended));
    let late = follow(2);
    let mut never = std::future::pending::<()>();
    assert_eq!(late.answer(&mut never).await, Err(Verdict::Ended));
}
