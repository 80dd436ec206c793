//! Starts: with which environment, and what becomes of those that fail.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn children_get_their_own_environment_and_nothing_of_the_bots() {
    let mut room = Room::new();
    let mut server = room.server("");
    server.env = [("GREETING", "hello"), ("API_KEY", "sesame")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let servers = [("one", server)];
    let revision = room.apply(&servers).await;
    room.report(revision).await;
    let text = room.text("one", "env", json!({})).await;
    let seen: Value = serde_json::from_str(&text).unwrap();
    let home = room.folder.path().join("homes/local");
    assert_eq!(seen["cwd"], json!(home));
    assert_eq!(seen["env"]["HOME"], json!(home));
    assert_eq!(seen["env"]["GREETING"], "hello");
    // It got it, and what it says of it is masked.
    assert_eq!(seen["env"]["API_KEY"], "••••");
    for name in seen["env"].as_object().unwrap().keys() {
        assert!(
            matches!(
                name.as_str(),
                "API_KEY"
                    | "GREETING"
                    | "HOME"
                    | "PATH"
                    | "LANG"
                    | "LANGUAGE"
                    | "TZ"
                    | "TMPDIR"
                    | "USER"
                    | "LOGNAME"
                    | "SWITCHBOARD_LAUNCH"
            ) || name.starts_with("LC_"),
            "{name} leaked"
        );
    }
    let mode = std::fs::metadata(&home).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_fails_with_a_reason_and_does_not_hold_up_others() {
    let mut room = Room::new();
    let odd = |command: &str, cwd: Option<&str>| StdioServer {
        command: command.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: cwd.map(str::to_owned),
        network: NetworkGrant::Unsaid,
        disabled: false,
    };
    let mut off = room.server("");
    off.disabled = true;
    let servers = [
        ("npx", odd("npx-that-is-not-there", None)),
        ("dir", odd("/tmp", None)),
        ("cwd", odd("/bin/sh", Some("/nowhere-at-all"))),
        ("nul", odd("a\0b", None)),
        ("off", off),
        ("old", room.server("protocol=2019-01-01")),
        ("new", room.server("protocol=2026-07-28")),
        ("good", room.server("")),
    ];
    let revision = room.apply(&servers).await;
    let touched = room.report(revision).await;
    let reason = |name: &str| {
        let view = touched.iter().find(|view| view.name.as_str() == name);
        match &view.unwrap().state {
            ServerState::Failed { reason } => reason.clone(),
            other => format!("{other:?}"),
        }
    };
    for (name, part) in [
        ("npx", "`npx-that-is-not-there` was not found"),
        ("dir", "`/tmp` is a folder"),
        (
            "cwd",
            "The working folder `/nowhere-at-all` does not exist on",
        ),
        ("nul", "no program can be given"),
        ("off", "Disabled"),
        ("old", "2019-01-01"),
        ("new", "2026-07-28"),
        ("good", "Ready"),
    ] {
        let reason = reason(name);
        assert!(reason.contains(part), "{name}: {reason}");
        if !matches!(name, "off" | "good") {
            let begins = reason.starts_with(|c: char| c.is_uppercase() || c == '`');
            assert!(begins && reason.ends_with('.'), "{name}: {reason}");
            assert!(!reason.contains(".."), "{name}: {reason}");
        }
    }
    for name in ["npx", "off", "old"] {
        assert!(
            matches!(
                room.call(name, "x", json!({})).await,
                Err(CallError::NotRunning { .. })
            ),
            "{name}"
        );
    }
    let off = room.call("off", "x", json!({})).await.unwrap_err();
    assert_eq!(
        off.to_string(),
        "`off` is not running: it is switched off; switch it on with `/mcp enable off`"
    );
    assert!(matches!(
        room.call("nobody", "x", json!({})).await,
        Err(CallError::NoServer(_))
    ));
    assert_eq!(
        room.call("good", "nothing", json!({})).await,
        Err(CallError::NoTool {
            server: "good".to_owned(),
            tool: "nothing".to_owned()
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_at_once_backs_off_with_its_last_words() {
    let mut room = Room::with(slowly);
    let mut server = room.server("exit=4 say=bad_key_sesame-1234567");
    server.env = vec![("API_KEY".to_owned(), "sesame-1234567".to_owned())];
    let revision = room.apply(&[("one", server)]).await;
    let servers = room.report(revision).await;
    assert!(
        matches!(&servers[0].state, ServerState::BackingOff { attempt: 1, reason, .. }
            if reason.contains("exit code 4") && reason.contains("bad_key_") && !reason.contains("sesame")),
        "{:?}",
        servers[0].state
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_ending_is_parked_with_its_last_words() {
    let mut room = Room::new();
    let mut server = room.server("exit=4 say=bad_key_sesame-1234567");
    server.env = vec![("API_KEY".to_owned(), "sesame-1234567".to_owned())];
    let servers = [("one", server)];
    room.apply(&servers).await;
    let parked = loop {
        if let Notice::Parked { server, .. } = room.notice().await {
            break server;
        }
    };
    let ServerState::Parked { reason, .. } = &parked.state else {
        panic!("{:?}", parked.state)
    };
    assert!(
        reason.contains("exit code 4") && !reason.contains("sesame"),
        "{reason}"
    );
    assert_eq!(parked.stats.restarts, 2);
    let logs = room.registry.logs(THREAD, &name_of("one")).unwrap();
    assert_eq!(logs.len(), 3);
    assert!(!logs[0].contains("sesame"), "{logs:?}");
    room.gone().await;
    // Asked, it tries again.
    let view = room
        .registry
        .restart(THREAD, &name_of("one"))
        .await
        .unwrap();
    assert!(matches!(
        view.state,
        ServerState::BackingOff { attempt: 1, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_comes_back_by_itself() {
    let mut room = Room::new();
    room.settled(&[("one", "child=setsid"), ("two", "")]).await;
    let other = room.text("two", "pid", json!({})).await;
    // The grandchild holds the pipes: the end is noticed all the same.
    let ended = room.call("one", "exit", json!({"code": 5})).await;
    let Err(CallError::Ended { why, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert!(why.contains("exit code 5"), "{why}");
    room.when("it runs again", |snapshot| {
        is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == 1
    })
    .await;
    room.text("one", "echo", json!({})).await;
    assert_eq!(room.text("two", "pid", json!({})).await, other);
    // What happened is still told, until somebody starts it anew.
    let end = || {
        let snapshot = room.registry.snapshot(THREAD).unwrap();
        let end = snapshot.server("one").unwrap().ended.clone();
        end.map(|end| end.reason.clone())
    };
    assert!(end().unwrap().contains("exit code 5"), "{:?}", end());
    let logs = room.registry.logs(THREAD, &name_of("one")).unwrap();
    assert!(logs.join("\n").contains("exit code 5"), "{logs:?}");
    let stats = room
        .registry
        .snapshot(THREAD)
        .unwrap()
        .server("one")
        .unwrap()
        .stats;
    assert_eq!((stats.answered, stats.unanswered), (1, 1));
    let _ = room.registry.restart(THREAD, &name_of("one")).await;
    assert_eq!(end(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn good_time_makes_crashes_forgotten() {
    let mut room = Room::with(|options| options.good_after = Duration::ZERO);
    room.settled(&[("one", "")]).await;
    for round in 1..=4 {
        let _ = room.call("one", "exit", json!({})).await;
        room.when("it runs again", |snapshot| {
            is_ready(snapshot, "one") && snapshot.server("one").unwrap().stats.restarts == round
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_given_up_in_time() {
    let mut room = Room::with(|options| {
        options.start_timeout = Duration::from_millis(300);
        slowly(options);
    });
    let touched = room
        .settled(&[
            ("mute", "mute"),
            ("slow", "slow=60000"),
            ("flood", "flood-stdout=blob"),
        ])
        .await;
    for view in touched {
        assert!(
            matches!(&view.state, ServerState::BackingOff { reason, .. } if reason.contains("in time")),
            "{:?}",
            view.state
        );
    }
    room.settled(&[]).await;
    room.gone().await;
}
