//! What changes in a thread while it runs: tools, definitions, sleep and revisions.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn changed_tools_are_followed() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    room.text("one", "more", json!({})).await;
    let server = loop {
        if let Notice::ToolsChanged { server, .. } = room.notice().await {
            break server;
        }
    };
    assert!(server.tool("one__tool1").is_some());
    room.text("one", "tool1", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_swaps_without_a_gap_and_drains_the_old_one() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    let before = room.text("one", "pid", json!({})).await;
    let under_way = tokio::spawn({
        let registry = room.registry.clone();
        async move {
            registry
                .call(Room::request("one", "sleep", json!({"ms": 500})))
                .await
        }
    });
    tokio::task::yield_now().await;
    let servers = [("one", room.server("tools=2 slow=200"))];
    let revision = room.apply(&servers).await;
    // While the new one starts, the old tools are there.
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert!(snapshot.server("one").unwrap().tool("tool0").is_some());
    let touched = room.report(revision).await;
    assert!(touched[0].tool("tool1").is_some());
    assert_ne!(room.text("one", "pid", json!({})).await, before);
    let outcome = under_way.await.unwrap().unwrap();
    assert_eq!(outcome.content, [Content::Text("slept".to_owned())]);
    let until = Instant::now() + SOON;
    while room.processes().len() > 1 {
        assert!(Instant::now() < until, "the old one still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_while_a_start_is_under_way_are_reported_with_their_own_tools() {
    let mut room = Room::new();
    room.settled(&[("one", "tools=1")]).await;
    for number in 2..12 {
        // The first edit is just coming up, or not yet, or since a moment, when the second one lands.
        let first = room.server(&format!("tools={} slow={}", number + 20, number * 4));
        room.apply(&[("one", first)]).await;
        tokio::time::sleep(Duration::from_millis(number * 5)).await;
        let touched = room.settled(&[("one", &format!("tools={number}"))]).await;
        let shown = touched[0].tools.iter();
        let numbered = shown.filter(|tool| tool.name.starts_with("tool")).count();
        assert_eq!(numbered as u64, number, "the tools of another edit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_fails_ends_the_old_one_and_says_why() {
    let mut room = Room::with(slowly);
    room.settled(&[("one", "")]).await;
    let touched = room.settled(&[("one", "exit=2")]).await;
    assert!(matches!(touched[0].state, ServerState::BackingOff { .. }));
    assert!(touched[0].tools.is_empty());
    room.gone().await;
    let touched = room.settled(&[("one", "tools=2")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_and_enabling_keeps_counts() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    room.text("one", "echo", json!({})).await;
    let mut off = room.server("");
    off.disabled = true;
    let servers = [("one", off)];
    room.apply(&servers).await;
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    let view = snapshot.server("one").unwrap();
    assert_eq!(view.state, ServerState::Disabled);
    assert_eq!((view.tools.len(), snapshot.names.len()), (0, 0));
    assert_eq!(view.stats.answered, 1);
    // At once back on: the old process does not hold it up, nor take the new one along.
    let touched = room.settled(&[("one", "")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
    room.text("one", "echo", json!({})).await;
    assert_eq!(
        room.registry.snapshot(THREAD).unwrap().servers[0]
            .stats
            .answered,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_server_sleeps_and_one_start_wakes_it_for_all() {
    let mut room = Room::with(|options| options.server_idle = Duration::from_millis(100));
    room.settled(&[("one", "tools=2")]).await;
    let snapshot = room
        .when("it sleeps", |snapshot| {
            snapshot.server("one").unwrap().state == ServerState::Asleep
        })
        .await;
    assert!(snapshot.names.contains_key("one__tool1"));
    room.gone().await;
    let texts =
        futures::future::join_all((0..8).map(|_| room.text("one", "one__pid", json!({})))).await;
    assert!(texts.iter().all(|pid| *pid == texts[0]), "{texts:?}");
    assert_eq!(
        room.registry.snapshot(THREAD).unwrap().servers[0]
            .stats
            .restarts,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_loaded_from_the_cache_without_a_process() {
    let cache: Arc<Cache> = Arc::default();
    let mut first = Room::with_cache(cache.clone(), |_| {});
    first.settled(&[("one", "tools=2 bad-tool")]).await;
    let tag = first.tag.clone();
    first.registry.shutdown(Duration::from_secs(10)).await;
    assert_eq!(cache.0.lock().unwrap().len(), 1);

    let mut second = Room::with_cache(cache, |_| {});
    second.tag = tag;
    let touched = second
        .settled(&[("one", "tools=2 bad-tool"), ("new", "")])
        .await;
    assert_eq!(touched[0].state, ServerState::Asleep);
    assert_eq!(touched[0].refused.len(), 1);
    assert!(matches!(touched[1].state, ServerState::Ready { .. }));
    assert_eq!(second.processes().len(), 1);
    // No process is started to find out that there is no such tool.
    assert!(matches!(
        second.call("one", "nothing", json!({})).await,
        Err(CallError::NoTool { .. })
    ));
    assert_eq!(second.text("one", "tool1", json!({})).await, "tool1");
    // An edit in the loaded thread starts at once.
    let touched = second.settled(&[("one", "tools=3"), ("new", "")]).await;
    assert!(matches!(touched[0].state, ServerState::Ready { .. }));
    second.registry.shutdown(Duration::from_secs(10)).await;
    assert_eq!(second.cache.0.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_a_new_process() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let before = room.text("one", "pid", json!({})).await;
    let view = room
        .registry
        .restart(THREAD, &name_of("one"))
        .await
        .unwrap();
    assert!(matches!(view.state, ServerState::Ready { .. }));
    assert_ne!(room.text("one", "pid", json!({})).await, before);
    assert!(
        room.registry
            .restart(THREAD, &name_of("none"))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_thread_leaves_nothing() {
    let mut room = Room::new();
    room.settled(&[("one", "child=daemon"), ("two", "mute")][..1])
        .await;
    room.registry.unload(THREAD).await;
    assert!(room.registry.snapshot(THREAD).is_none());
    room.gone().await;
    let touched = room.settled(&[("one", "")]).await;
    assert_eq!(touched.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_is_reported_once_also_when_nothing_changed() {
    let mut room = Room::new();
    let servers = [("one", room.server("slow=200"))];
    let first = room.apply(&servers).await;
    let second = room.apply(&servers).await;
    let third = room.apply(&[]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        if let Notice::Settled { revision, .. } = room.notice().await {
            seen.push(revision);
        }
    }
    assert_eq!(seen.len(), 3);
    for revision in [first, second, third] {
        assert_eq!(seen.iter().filter(|other| **other == revision).count(), 1);
    }
    assert!(room.notices.try_recv().is_err());
}
