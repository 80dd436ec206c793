//! Servers that behave, in every language that there is: what works with one works with all.

use std::sync::Arc;

use serde_json::json;
use switchboard::registry::{CallError, Notice, ServerKind, ServerState};
use tokio::sync::mpsc;

use super::{
    Far, Manners, Room, THREAD, far, is_ready, name_of, request, server, side_by_side, text_of,
};
use crate::support::hostile::{Get, On, Pages, Sessions, Speaks, Trouble};

const ALL: [Speaks; 4] = [Speaks::Json, Speaks::Events, Speaks::Legacy, Speaks::Modern];

/// Tools that the server has without more.
const OWN: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_and_called() {
    side_by_side(
        ALL.into_iter()
            .zip(["2025-11-25", "2025-11-25", "2024-11-05", "2026-07-28"]),
        async |(speaks, protocol)| {
            let far = far(Manners {
                pages: Pages::Of(3),
                ..Manners::speaking(speaks)
            })
            .await;
            let mut room = Room::new();
            let touched = room.settled(&[("far", server(&far))]).await;
            assert!(
                matches!(&touched[0].state, ServerState::Ready { protocol: agreed, server_info, .. }
                if agreed == protocol && server_info == "far 1"),
                "{speaks:?}: {:?}",
                touched[0].state
            );
            assert_eq!(
                (touched[0].kind, touched[0].tools.len()),
                (ServerKind::Remote, OWN)
            );
            room.echoes("far").await;
            assert_eq!(room.text("far", "far__life", json!({})).await, "1");
            let failed = room.call("far", "fail", json!({})).await.unwrap();
            assert!(failed.is_error);
            assert!(matches!(
                room.call("far", "nothing", json!({})).await,
                Err(CallError::NoTool { .. })
            ));
            let bytes = 1_000_000;
            let big = room.text("far", "big", json!({"bytes": bytes})).await;
            assert!(!big.is_empty() && big.len() <= bytes, "{}", big.len());
            assert_eq!(room.view("far").stats.answered, 4);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_arrives_while_a_call_runs() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        // A JSON answer has no room for it: then it comes by the stream of the session.
        if speaks == Speaks::Json {
            far.until("the stream is open", |far| far.streams() == 1)
                .await;
        }
        let (sender, mut receiver) = mpsc::channel(16);
        let mut ask = request("far", "wait", json!({}));
        ask.progress = Some(sender);
        let registry = room.registry.clone();
        let call = tokio::spawn(async move { registry.call(ask).await });
        let report = receiver.recv().await.expect("a report before the answer");
        assert_eq!(
            (report.done, report.total, report.message.as_str()),
            (1.0, Some(2.0), "step 1"),
            "{speaks:?}"
        );
        far.open_gate();
        assert_eq!(text_of(call.await.unwrap()), "waited", "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_is_cancelled_at_the_server() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        let registry = room.registry.clone();
        let call =
            tokio::spawn(async move { registry.call(request("far", "wait", json!({}))).await });
        far.until("it waits", |far| far.waiting() == 1).await;
        call.abort();
        far.until("it was told", |far| far.waiting() == 0).await;
        // The connection goes on.
        room.echoes("far").await;
        assert!(is_ready(&room.registry.snapshot(THREAD).unwrap(), "far"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_side_by_side() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        let registry = room.registry.clone();
        let call =
            tokio::spawn(async move { registry.call(request("far", "wait", json!({}))).await });
        far.until("it waits", |far| far.waiting() == 1).await;
        for _ in 0..20 {
            room.echoes("far").await;
        }
        far.open_gate();
        assert_eq!(text_of(call.await.unwrap()), "waited", "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tools_are_told_and_listed() {
    for speaks in ALL {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        far.until("the stream is open", |far| far.streams() == 1)
            .await;
        far.grow();
        loop {
            if let Notice::ToolsChanged { server, .. } = room.notice().await
                && server.tools.len() == OWN + 1
            {
                break;
            }
        }
        assert_eq!(
            room.text("far", "grown0", json!({})).await,
            "grown0",
            "{speaks:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_is_connected_again() {
    side_by_side(ALL, async |speaks| {
        let mut far = far(Manners::speaking(speaks)).await;
        let neighbour = super::far(Manners::default()).await;
        let mut room = Room::new();
        room.settled(&[("far", server(&far)), ("other", server(&neighbour))])
            .await;
        assert_eq!(room.text("far", "life", json!({})).await, "1");
        let registry = room.registry.clone();
        let call =
            tokio::spawn(async move { registry.call(request("far", "wait", json!({}))).await });
        far.until("it waits", |far| far.waiting() == 1).await;
        far.die().await;
        let error = call.await.unwrap().expect_err("no answer");
        assert!(
            matches!(
                error,
                CallError::Ended { .. } | CallError::NotRunning { .. }
            ),
            "{speaks:?}: {error:?}"
        );
        // Without it: told at once, and nobody else is hurt.
        let error = room.call("far", "echo", json!({})).await;
        assert!(error.is_err(), "{speaks:?}");
        room.echoes("other").await;
        room.when("it is known to be down", |now| !is_ready(now, "far"))
            .await;
        far.rise().await;
        room.when("it is back", |now| is_ready(now, "far")).await;
        assert_eq!(room.text("far", "life", json!({})).await, "2", "{speaks:?}");
        // It is met as a stranger: listed again.
        let listed = far.count(|seen| seen.life == 2 && seen.rpc() == "tools/list");
        assert_eq!(listed, 1, "{speaks:?}");
        assert_eq!(
            neighbour.rpcs("tools/list"),
            1,
            "the other one was left alone"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_at_first_is_connected_when_it_comes() {
    side_by_side(ALL, async |speaks| {
        let mut far = far(Manners::speaking(speaks)).await;
        far.die().await;
        let mut room = Room::new();
        let touched = room.settled(&[("far", server(&far))]).await;
        assert!(
            matches!(&touched[0].state, ServerState::BackingOff { reason, .. }
                if reason.contains("connection refused")),
            "{speaks:?}: {:?}",
            touched[0].state
        );
        far.rise().await;
        room.when("it is there", |now| is_ready(now, "far")).await;
        room.echoes("far").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_forgotten_is_opened_and_listed_again() {
    side_by_side([Speaks::Json, Speaks::Events], async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        let first = room.text("far", "session", json!({})).await;
        far.forget_sessions();
        // The call itself may be lost: whether it ran is not known.
        let _ = room.call("far", "echo", json!({})).await;
        far.until("it is opened again", |far| far.rpcs("tools/list") == 2)
            .await;
        room.when("it is ready", |now| is_ready(now, "far")).await;
        let second = room.text("far", "session", json!({})).await;
        assert_ne!(first, second, "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_change_or_are_short_hurt_nobody() {
    let changing = far(Manners {
        sessions: Sessions::Changing,
        ..Manners::default()
    })
    .await;
    let without = far(Manners {
        sessions: Sessions::None,
        ..Manners::default()
    })
    .await;
    let short = far(Manners {
        sessions: Sessions::ForgottenAfter(8),
        ..Manners::default()
    })
    .await;
    let mut room = Room::new();
    room.settled(&[
        ("changing", server(&changing)),
        ("without", server(&without)),
        ("short", server(&short)),
    ])
    .await;
    let mut answered = 0;
    for _ in 0..30 {
        room.echoes("changing").await;
        room.echoes("without").await;
        if room.call("short", "echo", json!({})).await.is_ok() {
            answered += 1;
        }
    }
    assert!(answered > 0);
    for far in [&changing, &without] {
        assert_eq!(far.rpcs("tools/list"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_thread_that_is_let_go() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        far.until("the stream is open", |far| far.streams() == 1)
            .await;
        let registry = room.registry.clone();
        let call =
            tokio::spawn(async move { registry.call(request("far", "wait", json!({}))).await });
        far.until("it waits", |far| far.waiting() == 1).await;
        room.registry.unload(THREAD).await;
        far.until("nothing is open", |far| far.streams() + far.waiting() == 0)
            .await;
        assert!(call.await.unwrap().is_err(), "{speaks:?}");
        if matches!(speaks, Speaks::Json | Speaks::Events) {
            far.until("the session was ended", |far| {
                far.count(|seen| seen.method == "DELETE") == 1
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_sessions() {
    let far = far(Manners::default()).await;
    let mut room = Room::new();
    room.ready(&far).await;
    room.registry
        .shutdown(std::time::Duration::from_secs(10))
        .await;
    far.until("all is over", |far| {
        far.streams() == 0 && far.count(|seen| seen.method == "DELETE") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farewell_that_is_not_answered_holds_nobody_up() {
    let far = far(Manners::default().with(On::Delete, Trouble::Silence)).await;
    let mut room = Room::new();
    room.ready(&far).await;
    let ending = room.registry.shutdown(std::time::Duration::from_secs(2));
    tokio::time::timeout(super::SOON, ending).await.unwrap();
    drop(room);
    far.until("nothing is open", |far| far.connections() == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_nobody_agreed_to_or_that_is_off_is_not_connected() {
    let far = far(Manners::default()).await;
    let mut room = Room::new();
    room.keys.held().strange.insert("strange".to_owned());
    let off = switchboard::config::RemoteServer {
        disabled: true,
        ..server(&far)
    };
    let touched = room
        .settled(&[("strange", server(&far)), ("off", off)])
        .await;
    assert_eq!(
        (&touched[0].state, &touched[1].state),
        (&ServerState::WaitingForApproval, &ServerState::Disabled)
    );
    side_by_side(["strange", "off"], async |name| {
        assert!(matches!(
            room.call(name, "echo", json!({})).await,
            Err(CallError::NotRunning { .. })
        ));
    })
    .await;
    assert_eq!((far.seen().len(), far.accepted()), (0, 0));
    // Once somebody agrees, a restart is all it takes.
    room.keys.held().strange.clear();
    let view = room.registry.restart(THREAD, &name_of("strange")).await;
    assert!(matches!(view.unwrap().state, ServerState::Ready { .. }));
    room.echoes("strange").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_wrong_kind_says_so_and_recovers() {
    let far = far(Manners::speaking(Speaks::Legacy)).await;
    let mut room = Room::new();
    let wrong = switchboard::config::RemoteServer {
        transport: switchboard::config::RemoteTransport::Http,
        ..server(&far)
    };
    let touched = room.settled(&[("far", wrong)]).await;
    assert!(!matches!(touched[0].state, ServerState::Ready { .. }));
    room.ready(&far).await;
    room.echoes("far").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again() {
    side_by_side(
        [Speaks::Json, Speaks::Events, Speaks::Legacy],
        async |speaks| {
            let far = far(Manners::speaking(speaks).get(Get::Open)).await;
            let mut room = Room::new();
            room.ready(&far).await;
            for _ in 0..50 {
                room.echoes("far").await;
            }
            // One for the stream, one for the calls, and a few that the start needed at once.
            assert!(far.accepted() <= 6, "{speaks:?}: {}", far.accepted());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rooms_share_one_server() {
    let far: Arc<Far> = Arc::new(far(Manners::default()).await);
    let mut rooms = Vec::new();
    for _ in 0..10 {
        let mut room = Room::new();
        room.ready(&far).await;
        rooms.push(room);
    }
    futures::future::join_all(rooms.iter().map(|room| room.echoes("far"))).await;
    assert_eq!(far.rpcs("initialize"), 10);
    drop(rooms);
    far.until("all are gone", |far| far.streams() == 0).await;
}
