//! Servers that do everything wrong: nothing hangs, nothing spins, memory stays bounded, and others keep working.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::json;
use switchboard::config::RemoteServer;
use switchboard::registry::{CallError, RemoteOptions, ServerState, Snapshot};

use super::{Far, Manners, Room, START, THREAD, far, is_ready, request, server, side_by_side};
use crate::support::hostile::{Get, On, Pages, Speaks, Trouble};

const STREAMABLE: [Speaks; 3] = [Speaks::Json, Speaks::Events, Speaks::Modern];
const ALL: [Speaks; 4] = [Speaks::Json, Speaks::Events, Speaks::Legacy, Speaks::Modern];
/// What a client may have taken of an endless answer: its limit, and what fits into buffers on the way.
const BOUND: u64 = 32 * 1024 * 1024;

fn troubles() -> Vec<Trouble> {
    vec![
        Trouble::Silence,
        Trouble::Headers,
        Trouble::Drip,
        Trouble::Slow,
        Trouble::Flood,
        Trouble::HugeBody,
        Trouble::HugeEvent,
        Trouble::Status(500, None),
        Trouble::Status(503, Some("1")),
        Trouble::Status(429, Some("1")),
        Trouble::Status(404, None),
        Trouble::Status(400, None),
        Trouble::Html,
        Trouble::WrongType,
        Trouble::Nonsense,
        Trouble::WrongId,
        Trouble::Cut,
        Trouble::Broken,
        Trouble::Redirect("http://10.0.0.1/mcp".to_owned()),
        Trouble::Redirect("nonsense://[".to_owned()),
        Trouble::Redirect("/mcp".to_owned()),
    ]
}

/// How often something that fails may be tried again while another server answers a hundred calls, on a machine on which
/// these take a minute: after a second, two, four and so on. What spins comes to hundreds.
const AGAIN: usize = 20;

/// The longest that a call waits for an answer that never comes.
const CALL: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_into_trouble_ends_and_the_server_is_well_again_after_it() {
    side_by_side(ALL, async |speaks| {
        let good = far(Manners::default()).await;
        let mut room = Room::new();
        let mut fars = Vec::new();
        for trouble in troubles() {
            fars.push((far(Manners::speaking(speaks)).await, trouble));
        }
        let names: Vec<_> = (0..fars.len()).map(|at| format!("bad{at}")).collect();
        let mut servers: Vec<_> = names
            .iter()
            .zip(&fars)
            .map(|(name, (far, trouble))| {
                let hangs = !matches!(trouble, Trouble::Slow | Trouble::WrongType);
                let server = RemoteServer {
                    timeout_ms: hangs.then_some(CALL.as_millis().try_into().unwrap()),
                    ..server(far)
                };
                (name.as_str(), server)
            })
            .collect();
        servers.push(("good", server(&good)));
        for view in room.settled(&servers).await {
            assert!(matches!(view.state, ServerState::Ready { .. }), "{view:?}");
        }
        for (far, trouble) in &fars {
            far.change(|manners| {
                *manners = manners.clone().with(On::Rpc("tools/call"), trouble.clone());
            });
        }
        let calls = names.iter().zip(&fars).map(|(name, (_, trouble))| {
            let room = &room;
            async move {
                let outcome = room.call(name, "echo", json!({"text": "hi"})).await;
                let fine = matches!(trouble, Trouble::Slow)
                    || speaks == Speaks::Legacy && matches!(trouble, Trouble::WrongType);
                assert_eq!(outcome.is_ok(), fine, "{speaks:?} {trouble:?}: {outcome:?}");
            }
        });
        let others = async {
            for _ in 0..20 {
                room.echoes("good").await;
            }
        };
        futures::future::join(futures::future::join_all(calls), others).await;
        let room = &room;
        side_by_side(names.iter().zip(&fars), async |(name, (far, trouble))| {
            far.change(|manners| manners.troubles.clear());
            far.until("nothing is read on", |far| far.endless() == 0)
                .await;
            assert!(far.sent() < BOUND, "{speaks:?} {trouble:?}: {}", far.sent());
            // What it does at once is its own matter; in the end it works.
            room.when("it is well", |now| is_ready(now, name)).await;
            let _ = room.call(name, "echo", json!({})).await;
            room.when("it is well", |now| is_ready(now, name)).await;
            room.echoes(name).await;
        })
        .await;
        assert_eq!(good.rpcs("tools/list"), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_into_trouble_ends_and_is_tried_again_by_itself() {
    side_by_side(ALL, async |speaks| {
        let good = far(Manners::default()).await;
        let mut room = Room::with(|options| {
            // Whoever does not come up in time is tried again.
            options.start_timeout = Duration::from_secs(2);
            options.remote.backoff = Duration::from_millis(500);
        });
        let mut fars = Vec::new();
        for trouble in troubles() {
            let fine = trouble == Trouble::Slow
                || speaks == Speaks::Legacy && trouble == Trouble::WrongType;
            if !fine {
                let on = [On::All, On::Rpc("tools/list")];
                for on in on {
                    let manners = Manners::speaking(speaks).with(on, trouble.clone());
                    fars.push((far(manners).await, (on, trouble.clone())));
                }
            }
        }
        let names: Vec<_> = (0..fars.len()).map(|at| format!("bad{at}")).collect();
        let mut servers: Vec<_> = names
            .iter()
            .zip(&fars)
            .map(|(name, (far, _))| (name.as_str(), server(far)))
            .collect();
        // First, and then left alone by what comes beside it.
        let beside = [("good", server(&good))];
        room.settled(&beside).await;
        room.when("the good one is up", |now| is_ready(now, "good"))
            .await;
        let listed = good.rpcs("tools/list");
        servers.extend(beside);
        room.settled(&servers).await;
        let room = &room;
        let rows = || names.iter().zip(&fars);
        side_by_side(rows(), async |(name, (_, trouble))| {
            // It may be starting again already.
            let is_told = |state: &ServerState| match state {
                ServerState::BackingOff { reason, .. } | ServerState::Failed { reason } => {
                    assert!(reason.ends_with('.') && reason.len() < 1000, "{reason}");
                    true
                }
                ServerState::Starting { .. } => false,
                other => panic!("{speaks:?} {trouble:?}: {other:?}"),
            };
            room.when("it is told", |now| {
                is_told(&now.server(name).unwrap().state)
            })
            .await;
        })
        .await;
        room.echoes("good").await;
        for (far, _) in &fars {
            far.change(|manners| manners.troubles.clear());
        }
        side_by_side(rows(), async |(name, (far, trouble))| {
            let what = format!("nothing is read on after {trouble:?}");
            far.until(&what, |far| far.endless() == 0).await;
            assert!(far.sent() < BOUND, "{speaks:?} {trouble:?}: {}", far.sent());
            // A start that was under way while the trouble ended may have met it still.
            let has_failed = |now: &Snapshot| {
                let state = &now.server(name).unwrap().state;
                matches!(state, ServerState::Failed { .. })
            };
            let now = room
                .when("it is well or needs a restart", |now| {
                    is_ready(now, name) || has_failed(now)
                })
                .await;
            if has_failed(&now) {
                let name = super::name_of(name);
                room.registry.restart(THREAD, &name).await.unwrap();
            }
            room.when("it is well", |now| is_ready(now, name)).await;
            room.echoes(name).await;
        })
        .await;
        assert_eq!(good.rpcs("tools/list"), listed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_misbehaves_neither_spins_nor_disturbs_the_calls() {
    side_by_side(
        [
            Get::None,
            Get::Closes(None),
            Get::Closes(Some(0)),
            Get::Closes(Some(u64::MAX)),
            Get::Breaks,
            Get::HugeEvent,
            Get::Silent,
            Get::Html,
            Get::Fails,
        ],
        async |get| {
            let far = far(Manners::default().get(get)).await;
            let mut room = Room::new();
            room.ready(&far).await;
            let before = far.gets();
            for number in 0..100 {
                let outcome = room.call("far", "echo", json!({})).await;
                assert!(outcome.is_ok(), "{get:?} {number}: {outcome:?}");
            }
            let gets = far.gets() - before;
            assert!(
                gets <= AGAIN,
                "{get:?}: {gets} streams were asked for in 100 calls"
            );
            assert!(far.sent() < BOUND, "{get:?}: {}", far.sent());
            assert!(is_ready(&room.registry.snapshot(THREAD).unwrap(), "far"));
            room.registry.unload(THREAD).await;
            far.until("nothing is open", |far| far.endless() + far.streams() == 0)
                .await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_slowed_down_and_cut_off_and_disturbs_no_other_server() {
    side_by_side([Speaks::Events, Speaks::Legacy], async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let good = super::far(Manners::default()).await;
        let mut room = Room::with(|options| {
            options.remote.flood_limit = Duration::from_secs(1);
            // Long enough to be seen while it is waited for.
            options.remote.backoff = Duration::from_secs(1);
        });
        room.settled(&[("far", server(&far)), ("good", server(&good))])
            .await;
        far.until("the stream is open", |far| far.streams() == 1)
            .await;
        let note = "data: {\"jsonrpc\": \"2.0\", \"method\": \"notifications/message\", \
                    \"params\": {\"level\": \"info\", \"data\": 1}}\n\n";
        far.say(&note.repeat(200_000));
        let others = async {
            for _ in 0..100 {
                room.echoes("good").await;
            }
        };
        let cut_off = room.when("it is cut off", |now| {
            matches!(
                now.server("far").unwrap().state,
                ServerState::BackingOff { .. }
            )
        });
        let (now, ()) = futures::future::join(cut_off, others).await;
        let state = &now.server("far").unwrap().state;
        assert!(
            matches!(state, ServerState::BackingOff { reason, .. } if reason.contains("floods")),
            "{speaks:?}: {state:?}"
        );
        room.when("it is tried again", |now| is_ready(now, "far"))
            .await;
        far.until("the old stream is closed", |far| far.streams() == 1)
            .await;
        room.echoes("far").await;
        assert_eq!(good.rpcs("tools/list"), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_stream_that_misbehaves_is_told_and_does_not_spin() {
    let good = far(Manners::default()).await;
    side_by_side(
        [
            (Manners::speaking(Speaks::Legacy).get(Get::None), "405"),
            (
                Manners::speaking(Speaks::Legacy).get(Get::Closes(Some(0))),
                "ended before",
            ),
            (Manners::speaking(Speaks::Legacy).get(Get::Breaks), ""),
            (
                Manners::speaking(Speaks::Legacy).get(Get::Floods),
                "not where messages go",
            ),
            (
                Manners::speaking(Speaks::Legacy).get(Get::HugeEvent),
                "larger than 4 MiB",
            ),
            (
                Manners::speaking(Speaks::Legacy).get(Get::Silent),
                "in time",
            ),
            (
                Manners::speaking(Speaks::Legacy).get(Get::Html),
                "a web page",
            ),
            (Manners::speaking(Speaks::Legacy).get(Get::Fails), "500"),
            (
                Manners {
                    endpoint: Some(""),
                    ..Manners::speaking(Speaks::Legacy)
                },
                "",
            ),
            (
                Manners {
                    endpoint: Some("http://["),
                    ..Manners::speaking(Speaks::Legacy)
                },
                "no address",
            ),
            (
                Manners {
                    endpoint: Some("//127.0.0.2/messages"),
                    ..Manners::speaking(Speaks::Legacy)
                },
                "sends on to http://127.0.0.2",
            ),
        ],
        async |(manners, part)| {
            let what = format!("{manners:?}");
            let far = far(manners).await;
            let mut room = Room::with(|options| {
                options.start_timeout = START;
                // The waits that the product has, to count the starts.
                options.remote = RemoteOptions::default();
            });
            room.settled(&[("good", server(&good))]).await;
            room.when("the good one is up", |now| is_ready(now, "good"))
                .await;
            let views = room
                .settled(&[("far", server(&far)), ("good", server(&good))])
                .await;
            let reason = match &views[0].state {
                ServerState::BackingOff { reason, .. } | ServerState::Failed { reason } => reason,
                other => panic!("{what}: {other:?}"),
            };
            assert!(reason.contains(part), "{what}: {reason}");
            let before = far.gets();
            for _ in 0..100 {
                room.echoes("good").await;
            }
            assert!(
                far.gets() - before <= AGAIN,
                "{what}: {}",
                far.gets() - before
            );
            assert!(far.sent() < BOUND, "{what}: {}", far.sent());
            room.registry.unload(THREAD).await;
            far.until("nothing is open", |far| far.endless() + far.streams() == 0)
                .await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_in_a_good_stream_is_passed_over() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        far.until("the stream is open", |far| far.streams() == 1)
            .await;
        far.say(": a comment\n\n");
        far.say("event: ping\ndata: {}\n\n");
        far.say("data: this is no JSON\n\n");
        far.say("data: {\"jsonrpc\": \"2.0\", \"id\": 99, \"result\": {}}\n\n");
        far.say("data: {\"id\": 98, \"result\": {}}\n\n");
        far.say("data: []\n\n");
        far.say("data:\n\n");
        for number in 0..2000 {
            far.push(&json!({"jsonrpc": "2.0", "method": "notifications/message",
                "params": {"level": "info", "data": number}}));
        }
        for _ in 0..10 {
            room.echoes("far").await;
        }
        assert_eq!(far.rpcs("tools/list"), 1, "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_in_the_middle_is_opened_again_without_spinning() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        for round in 1..=2 {
            far.until("the stream is open", |far| far.streams() == 1)
                .await;
            let opened = |far: &Far| far.gets() + far.rpcs("subscriptions/listen");
            let before = opened(&far);
            far.end_streams();
            far.until("it is opened again", |far| {
                opened(far) > before && far.streams() == 1
            })
            .await;
            room.when("it is ready", |now| is_ready(now, "far")).await;
            for _ in 0..20 {
                room.echoes("far").await;
            }
            assert!(opened(&far) - before <= 3, "{speaks:?} {round}");
        }
        let handshakes = if speaks == Speaks::Legacy { 3 } else { 1 };
        assert!(far.rpcs("initialize") <= handshakes, "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_event_in_a_good_stream_ends_the_stream_and_nothing_else() {
    let huge = format!("data: \"{}\"\n\n", "x".repeat(8 * 1024 * 1024));
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::new();
        room.ready(&far).await;
        far.until("the stream is open", |far| far.streams() == 1)
            .await;
        let opened = |far: &Far| far.gets() + far.rpcs("subscriptions/listen");
        let before = opened(&far);
        far.say(&huge);
        far.until("it is opened again", |far| {
            opened(far) > before && far.streams() == 1
        })
        .await;
        room.when("it is ready", |now| is_ready(now, "far")).await;
        room.echoes("far").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_server_may_name_another_place_and_no_other_host() {
    let far = far(Manners::speaking(Speaks::Legacy)).await;
    let mut room = Room::new();
    room.ready(&far).await;
    let session = room.text("far", "session", json!({})).await;
    far.say(&format!(
        "event: endpoint\ndata: {}/messages?session={session}&moved=1\n\n",
        far.base()
    ));
    room.echoes("far").await;
    assert_eq!(far.rpcs("initialize"), 1);
    far.say("event: endpoint\ndata: http://127.0.0.2/messages\n\n");
    let now = room.when("it is left", |now| !is_ready(now, "far")).await;
    let state = &now.server("far").unwrap().state;
    assert!(
        format!("{state:?}").contains("http://127.0.0.2"),
        "{state:?}"
    );
    far.until("nothing is open", |far| far.streams() == 0).await;
    let name = super::name_of("far");
    room.registry.restart(THREAD, &name).await.unwrap();
    room.echoes("far").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_and_round_ones_come_to_an_end() {
    side_by_side(ALL, async |speaks| {
        for (tools, pages) in [
            (2000, Pages::One),
            (2000, Pages::Of(100)),
            (2000, Pages::Of(1)),
            (0, Pages::Loop),
            (0, Pages::Endless),
        ] {
            let far = far(Manners {
                tools,
                pages,
                ..Manners::speaking(speaks)
            })
            .await;
            let mut room = Room::new();
            room.ready(&far).await;
            let view = room.view("far");
            assert!(
                (8..=512).contains(&view.tools.len()) && !view.refused.is_empty(),
                "{speaks:?} {pages:?}: {} tools, {:?}",
                view.tools.len(),
                view.refused
            );
            assert!(far.rpcs("tools/list") <= 64, "{}", far.rpcs("tools/list"));
            room.echoes("far").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d21_a_redirect_is_not_followed_to_a_private_address() {
    let private = Far::start_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), Manners::default()).await;
    side_by_side(ALL, async |speaks| {
        let to = Trouble::Redirect(private.url());
        let far = far(Manners::speaking(speaks).with(On::All, to.clone())).await;
        let mut room = Room::new();
        let views = room.settled(&[("far", server(&far))]).await;
        let reason = match &views[0].state {
            ServerState::BackingOff { reason, .. } | ServerState::Failed { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason.contains(&private.base()), "{speaks:?}: {reason}");
        // Nor later.
        far.change(|manners| manners.troubles.clear());
        let name = super::name_of("far");
        room.registry.restart(THREAD, &name).await.unwrap();
        room.echoes("far").await;
        far.change(|manners| *manners = manners.clone().with(On::All, to));
        assert!(room.call("far", "echo", json!({})).await.is_err());
    })
    .await;
    assert_eq!((private.seen().len(), private.accepted()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d21_a_server_at_a_private_address_is_not_spoken_to() {
    let private = Far::start_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), Manners::default()).await;
    let port = private.base().rsplit(':').next().unwrap().to_owned();
    // As it is written, and in the forms that mean the same.
    for host in ["127.0.0.2", "2130706434", "0x7f.2", "[::ffff:127.0.0.2]"] {
        side_by_side(ALL, async |speaks| {
            let mut entry = server(&far(Manners::speaking(speaks)).await);
            let path = entry.url.rsplit('/').next().unwrap().to_owned();
            entry.url = format!("http://{host}:{port}/{path}");
            let mut room = Room::new();
            let views = room.settled(&[("far", entry)]).await;
            let (ServerState::BackingOff { reason, .. } | ServerState::Failed { reason }) =
                &views[0].state
            else {
                panic!("{host} {speaks:?}: {:?}", views[0].state);
            };
            assert!(
                reason.contains("not a public address"),
                "{host} {speaks:?}: {reason}"
            );
            assert!(room.call("far", "echo", json!({})).await.is_err());
        })
        .await;
    }
    assert_eq!((private.seen().len(), private.accepted()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_cancelled_and_its_neighbours_are_not() {
    side_by_side(ALL, async |speaks| {
        let far = far(Manners::speaking(speaks)).await;
        let mut room = Room::with(|options| options.call_timeout = CALL);
        room.ready(&far).await;
        let outcome = room.call("far", "wait", json!({})).await;
        assert!(
            matches!(outcome, Err(CallError::TimedOut(_))),
            "{outcome:?}"
        );
        far.until("it was told", |far| far.waiting() == 0).await;
        room.echoes("far").await;
        assert_eq!(far.rpcs("tools/list"), 1, "{speaks:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_costs_its_own_call_alone() {
    side_by_side([Speaks::Json, Speaks::Events], async |speaks| {
        for trouble in [Trouble::Cut, Trouble::Broken, Trouble::Nonsense] {
            let far = far(Manners::speaking(speaks)).await;
            let mut room = Room::new();
            room.ready(&far).await;
            far.change(|manners| {
                *manners = manners
                    .clone()
                    .with(On::Once("tools/call"), trouble.clone());
            });
            let outcome = room.call("far", "echo", json!({})).await;
            assert!(outcome.is_err(), "{speaks:?} {trouble:?}: {outcome:?}");
            room.echoes("far").await;
            assert_eq!(far.rpcs("initialize"), 1, "{speaks:?} {trouble:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_let_go_in_the_middle_of_trouble_leaves_nothing() {
    side_by_side(STREAMABLE, async |speaks| {
        for trouble in [
            Trouble::Silence,
            Trouble::Headers,
            Trouble::Drip,
            Trouble::Flood,
        ] {
            let far = far(Manners::speaking(speaks)).await;
            let mut room = Room::new();
            room.ready(&far).await;
            far.change(|manners| {
                *manners = manners.clone().with(On::Rpc("tools/call"), trouble.clone());
            });
            let registry = room.registry.clone();
            let call =
                tokio::spawn(async move { registry.call(request("far", "echo", json!({}))).await });
            far.until("it was asked", |far| far.rpcs("tools/call") == 1)
                .await;
            room.registry.unload(THREAD).await;
            assert!(call.await.unwrap().is_err(), "{speaks:?} {trouble:?}");
            far.until("nothing is open", |far| far.endless() + far.streams() == 0)
                .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_not_asked_all_the_time() {
    let down = far(Manners::default().with(On::All, Trouble::Status(500, None))).await;
    let busy = far(Manners::default().with(On::All, Trouble::Status(429, Some("300")))).await;
    let good = far(Manners::default()).await;
    let mut room = Room::with(|options| options.remote = RemoteOptions::default());
    room.settled(&[
        ("down", server(&down)),
        ("busy", server(&busy)),
        ("good", server(&good)),
    ])
    .await;
    let before = (down.seen().len(), busy.seen().len());
    for _ in 0..100 {
        room.echoes("good").await;
    }
    assert!(down.seen().len() - before.0 <= AGAIN);
    // It said when to come back.
    assert_eq!(busy.seen().len(), before.1);
}
