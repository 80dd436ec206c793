//! An operator's policy that is edited on disk takes effect on what runs.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use switchboard::config::ServerName;
use switchboard::policy::{AddressRules, Tier};
use switchboard::registry::{CallError, CallRequest, Content, ServerState, Snapshot};
use switchboard::thread::ThreadId;

use super::scene::{MIB, copy, open, tiers};
use crate::support::hostile::{Far, Manners};
use crate::support::world::{World, within};

const THREAD: ThreadId = ThreadId::Local;

/// What becomes of a running server.
#[derive(Debug, Clone, Copy)]
enum Fate {
    GoesOn,
    /// Launched anew, and up again.
    Restarts,
    /// Stopped, and what its reason has in it.
    Stops(&'static str),
}
use Fate::{GoesOn, Restarts, Stops};

fn state<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a ServerState> {
    snapshot.server(name).map(|server| &server.state)
}

fn since(snapshot: &Snapshot, name: &str) -> Option<Instant> {
    match state(snapshot, name)? {
        ServerState::Ready { since, .. } => Some(*since),
        _ => None,
    }
}

async fn when(world: &World, is: impl FnMut(&Snapshot) -> bool + Send) {
    let seen = world.house.registry.wait(THREAD, is);
    within(seen).await.unwrap();
}

async fn has(world: &World, servers: Value) {
    let names: Vec<String> = servers.as_object().unwrap().keys().cloned().collect();
    world.edit_on_host(THREAD, &json!({"mcpServers": servers}).to_string());
    world.ann().says("/mcp list").await;
    when(world, |snapshot| {
        names.iter().all(|name| since(snapshot, name).is_some())
    })
    .await;
}

async fn call(world: &World, server: &str, tool: &str) -> Result<Value, CallError> {
    let request = CallRequest {
        thread: THREAD,
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments: Map::new(),
        progress: None,
        waited: Duration::ZERO,
    };
    let outcome = world.house.registry.call(request).await?;
    match &outcome.content[..] {
        [Content::Text(text)] => Ok(serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
        other => panic!("not one text: {other:?}"),
    }
}

/// Why the server of that name stopped first, as the audit has it.
async fn why_it_stopped(world: &World, name: &str) -> String {
    world
        .noted(THREAD, |lines| {
            let mut stops = lines.iter().filter(|line| line["what"] == "stopped");
            let first = stops.find(|line| line["server"] == name)?;
            Some(first["reason"].as_str()?.to_owned())
        })
        .await
}

/// A server that runs with this in its entry under one policy, and another policy that is written to the disk.
async fn edited(tier: Tier, entry: Value, before: Value, after: Value, fate: Fate) {
    let told = format!("{tier:?}: {entry} under {before}, then {after}");
    let world = open(tier);
    world.edit_policy(&before.to_string()).await;
    let mut server = json!({"command": copy(&world, "hostile")});
    server
        .as_object_mut()
        .unwrap()
        .extend(entry.as_object().unwrap().clone());
    has(&world, json!({"bad": server})).await;
    let began = since(&world.house.registry.snapshot(THREAD).unwrap(), "bad");
    world.edit_policy(&after.to_string()).await;
    let by_policy = "the operator's policy changed";
    match fate {
        Restarts => {
            let again =
                |found: &Snapshot| since(found, "bad").is_some() && since(found, "bad") != began;
            when(&world, again).await;
            assert!(call(&world, "bad", "me").await.is_ok(), "{told}");
            assert_eq!(why_it_stopped(&world, "bad").await, by_policy, "{told}");
        }
        Stops(words) => {
            let failed = |found: &Snapshot| matches!(state(found, "bad"), Some(ServerState::Failed { reason }) if reason.contains(words));
            when(&world, failed).await;
            assert!(call(&world, "bad", "me").await.is_err(), "{told}");
            assert_eq!(why_it_stopped(&world, "bad").await, by_policy, "{told}");
            // And it comes back with the policy.
            world.edit_policy(&before.to_string()).await;
            when(&world, |found| since(found, "bad").is_some()).await;
        }
        GoesOn => {
            // An order that the edit led to comes before this one, and would be the end of what runs now.
            let name = ServerName::new("bad").unwrap();
            within(world.house.registry.restart(THREAD, &name))
                .await
                .unwrap();
            let why = why_it_stopped(&world, "bad").await;
            assert_eq!(why, "somebody had it started again", "{told}");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_limits_that_change_hold_for_what_runs() {
    for (tier, _) in tiers() {
        for (before, after, fate) in [
            (json!({}), json!({"memory_bytes": 512 * MIB}), Restarts),
            (json!({}), json!({"processes": 60}), Restarts),
            (json!({}), json!({"cpu_seconds": 60}), Restarts),
            (json!({}), json!({"open_files": 200}), Restarts),
            (json!({}), json!({"tmp_bytes": 16 * MIB}), Restarts),
            (json!({}), json!({"home_bytes": 64 * MIB}), Restarts),
            (json!({"processes": 60}), json!({}), Restarts),
            (
                json!({}),
                json!({"calls_a_minute": {"thread": 5}, "servers": 9}),
                GoesOn,
            ),
        ] {
            let (before, after) = (json!({"quotas": before}), json!({"quotas": after}));
            edited(*tier, json!({}), before, after, fate).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_a_narrower_grant_of_the_network_holds_for_what_runs() {
    for (tier, sandbox) in tiers() {
        // Without the proxy nobody had any of it.
        let restarts = if sandbox.takes_proxy() {
            Restarts
        } else {
            GoesOn
        };
        let hosts = json!({"network": ["a.example"]});
        for (entry, before, after, fate) in [
            (json!({}), "public", "none", restarts),
            (json!({}), "public", "hosts", restarts),
            (json!({}), "none", "public", restarts),
            (json!({"network": "none"}), "public", "none", GoesOn),
            (json!({}), "none", "granted", restarts),
            // The one at the terminal is the operator: an entry that says it has their word.
            (hosts, "public", "none", GoesOn),
        ] {
            let policy = |network: &str| match network {
                "granted" => {
                    json!({"network": "none", "network_grants": [{"network": "public", "threads": ["local"]}]})
                }
                network => json!({"network": network}),
            };
            let (before, after) = (policy(before), policy(after));
            edited(*tier, entry, before, after, fate).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_who_lost_the_network_has_no_way_out_any_more() {
    for (tier, _) in tiers().iter().filter(|(_, it)| it.takes_proxy()) {
        let world = open(*tier);
        has(&world, json!({"bad": {"command": copy(&world, "hostile")}})).await;
        let proxy = |me: &Value| me["env"]["HTTPS_PROXY"].is_string();
        assert!(proxy(&call(&world, "bad", "me").await.unwrap()));
        world.edit_policy(r#"{"network": "none"}"#).await;
        assert_eq!(
            why_it_stopped(&world, "bad").await,
            "the operator's policy changed"
        );
        assert!(!proxy(&call(&world, "bad", "me").await.unwrap()));
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_a_program_and_a_folder_hold_for_what_runs() {
    for (tier, _) in tiers() {
        let demanded = match tier {
            Tier::Strong => GoesOn,
            _ => Stops("demands the `strong` sandbox"),
        };
        let folder = |threads: Value| json!({"folders": [{"path": "/opt", "threads": threads}]});
        for (before, after, fate) in [
            (json!({}), json!({"sandbox": "strong"}), demanded),
            (json!({"sandbox": "restricted"}), json!({}), GoesOn),
            (
                json!({}),
                json!({"launchers": {"deny": ["hostile"]}}),
                Stops("does not allow"),
            ),
            (json!({}), folder(json!(["local"])), Restarts),
            (folder(json!(["local"])), json!({}), Restarts),
            (json!({}), folder(json!(["tg-100500"])), GoesOn),
            (
                json!({}),
                json!({"operators": ["tg:1"], "risky_tools": ["x*"], "local_servers": "operators"}),
                GoesOn,
            ),
        ] {
            edited(*tier, json!({}), before, after, fate).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_limits_change_nothing_and_a_demanded_tier_stops() {
    for (after, fate) in [
        (json!({"quotas": {"memory_bytes": 512 * MIB}}), GoesOn),
        (json!({"network": "none"}), GoesOn),
        (
            json!({"sandbox": "restricted"}),
            Stops("demands the `restricted` sandbox"),
        ),
        (
            json!({"env": {"deny": ["WORD"]}}),
            Stops("`WORD` may not be set"),
        ),
    ] {
        let entry = json!({"env": {"WORD": "x"}});
        edited(Tier::None, entry, json!({}), after, fate).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_run_go_to_sleep_the_longest_unused_first() {
    let world = open(Tier::None);
    let server = json!({"command": copy(&world, "misbehave")});
    has(&world, json!({"a": server, "b": server, "c": server})).await;
    for name in ["b", "c", "a"] {
        call(&world, name, "echo").await.unwrap();
        // The use of each is told apart by the clock.
        let called = Instant::now();
        while called.elapsed() < Duration::from_millis(3) {
            tokio::task::yield_now().await;
        }
    }
    let asleep = |found: &Snapshot, name: &str| state(found, name) == Some(&ServerState::Asleep);
    world
        .edit_policy(r#"{"quotas": {"running": {"thread": 2}}}"#)
        .await;
    when(&world, |found| asleep(found, "b")).await;
    let found = world.house.registry.snapshot(THREAD).unwrap();
    assert!(since(&found, "a").is_some() && since(&found, "c").is_some());
    let why = why_it_stopped(&world, "b").await;
    assert!(why.starts_with("no more servers may run at once"), "{why}");
    // One that is in use goes on until its call ends, however long the other was used.
    let mut hangs = Box::pin(call(&world, "c", "hang"));
    let tightened = async {
        when(&world, |found| {
            let server = found.server("c").unwrap();
            matches!(server.state, ServerState::Ready { .. })
        })
        .await;
        world
            .edit_policy(r#"{"quotas": {"running": {"thread": 1, "host": 9}}}"#)
            .await;
        when(&world, |found| asleep(found, "a")).await;
    };
    tokio::select! {
        biased;
        ended = &mut hangs => panic!("it hangs: {ended:?}"),
        () = tightened => {}
    }
    let found = world.house.registry.snapshot(THREAD).unwrap();
    assert!(since(&found, "c").is_some());
    drop(hangs);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_in_use_sleeps_when_its_calls_end() {
    let world = open(Tier::None);
    let server = json!({"command": copy(&world, "misbehave")});
    has(&world, json!({"a": server, "b": server})).await;
    let asleep =
        |found: &Snapshot| ["a", "b"].map(|name| state(found, name) == Some(&ServerState::Asleep));
    {
        let both = futures::future::join(call(&world, "a", "hang"), call(&world, "b", "hang"));
        tokio::pin!(both);
        let tightened = world.edit_policy(r#"{"quotas": {"running": {"host": 1}}}"#);
        tokio::select! {
            biased;
            ended = &mut both => panic!("they hang: {ended:?}"),
            () = tightened => {}
        }
        let found = world.house.registry.snapshot(THREAD).unwrap();
        assert_eq!(asleep(&found), [false, false]);
    }
    when(&world, |found| asleep(found).contains(&true)).await;
    let found = world.house.registry.snapshot(THREAD).unwrap();
    assert!(asleep(&found).contains(&false), "one may run");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_host_that_is_denied_is_left() {
    let far = Far::start(Manners::default()).await;
    let world = World::open_with(|options| {
        options.net.rules = AddressRules {
            allow_http: true,
            allow: vec!["127.0.0.0/8".parse().unwrap()],
        };
    });
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    ann.presses("Apply").await;
    when(&world, |found| since(found, "hub").is_some()).await;
    world
        .edit_policy(r#"{"remote_hosts": {"deny": ["127.0.0.1"]}}"#)
        .await;
    when(&world, |found| {
        matches!(state(found, "hub"), Some(ServerState::Failed { reason }) if reason.contains("does not allow servers at"))
    })
    .await;
    assert_eq!(
        why_it_stopped(&world, "hub").await,
        "the operator's policy changed"
    );
    let asked = far.seen().len();
    assert!(call(&world, "hub", "echo").await.is_err());
    assert_eq!(far.seen().len(), asked, "nothing is sent there");
    world.edit_policy("{}").await;
    when(&world, |found| since(found, "hub").is_some()).await;
    world.close().await;
}

/// What ran before an edit goes on until what the edit says is up; also then it runs by what the policy says now.
#[tokio::test(flavor = "multi_thread")]
async fn what_still_runs_while_its_changed_entry_opens_is_judged_as_what_it_is() {
    let world = open(Tier::None);
    let server = json!({"command": copy(&world, "misbehave"), "env": {"WORD": "x"}});
    has(&world, json!({"bad": server})).await;
    let never = json!({"mcpServers": {"bad": {"command": "sleep", "args": ["600"]}}});
    world.edit_on_host(THREAD, &never.to_string());
    // No command: the chat hears of the edit when the start has ended, and this one does not.
    let opens =
        |found: &Snapshot| matches!(state(found, "bad"), Some(ServerState::Starting { .. }));
    when(&world, opens).await;
    world.edit_policy(r#"{"env": {"deny": ["WORD"]}}"#).await;
    let why = why_it_stopped(&world, "bad").await;
    assert_eq!(why, "the operator's policy changed");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_no_server_may_work_in_is_refused_before_it_is_proposed() {
    for (tier, _) in tiers() {
        let world = open(*tier);
        let ann = world.ann();
        for folder in ["/srv/nobody-granted-this", "/etc", "../elsewhere"] {
            let line = format!("/mcp add x --cwd {folder} -- switchboard demo-server");
            let told = ann.says(&line).await;
            assert!(
                told.contains("Nothing was changed, because of") && told.contains("`folders`"),
                "{tier:?} {folder}: {told}"
            );
        }
        // The example of the guided add: made inside the chat's own folder.
        let line = "/mcp add x --cwd files -- switchboard demo-server";
        let asked = ann.says(line).await;
        assert!(asked.contains("# Add x?"), "{tier:?}: {asked}");
        let applied = ann.presses("Apply").await;
        assert!(applied.contains("*x* · 6 tools"), "{tier:?}: {applied}");
        world.close().await;
    }
}
