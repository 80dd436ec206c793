//! What survives a restart, and who may press what.

use switchboard::actor::{ActorId, Standing};
use switchboard::chat::{Answer, EventKind};
use switchboard::thread::ThreadId;

use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn proposals_and_flows_survive_a_restart() {
    let world = World::open();
    world
        .ann()
        .says("/mcp add demo -- switchboard demo-server")
        .await;
    world
        .person("Bob", ThreadId::Local, true)
        .says("/mcp add")
        .await;
    let world = world.restarted().await;
    let step = world
        .person("Bob", ThreadId::Local, true)
        .says("bobs")
        .await;
    assert!(step.contains("2/4"), "{step}");
    let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
    world.ann().forges(&apply.data, on).await;
    let applied = world
        .chat
        .messages(ThreadId::Local)
        .into_iter()
        .find(|shown| shown.id == on)
        .unwrap();
    assert!(
        crate::support::chat::plain(&applied.view).contains("*demo* · 6 tools"),
        "{applied:?}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_shows_again_what_still_waits() {
    let world = World::open();
    world
        .ann()
        .says("/mcp add demo -- switchboard demo-server")
        .await;
    world.ann().says("/mcp add").await;
    let world = world.restarted().await;
    world.ann().says("/start").await;
    let transcript = world.transcript(ThreadId::Local);
    let again = transcript.rsplit("# Switchboard").next().unwrap();
    assert!(again.contains("This still waits for you"), "{again}");
    assert!(again.contains("1/4"), "{again}");
    world.ann().presses("Apply").await;
    assert!(world.config(ThreadId::Local).is_some());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_come_back_from_the_cache_and_the_server_starts_at_the_first_call() {
    let world = World::open();
    world
        .ann()
        .says("/mcp add demo -- switchboard demo-server")
        .await;
    world.ann().presses("Apply").await;
    let world = world.restarted().await;
    let list = world.ann().says("/mcp list").await;
    assert!(list.contains("*demo* · 6 tools · asleep"), "{list}");
    assert!(
        world
            .ann()
            .says("/mcp call demo echo text=awake")
            .await
            .contains("awake")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_only_who_began_applies_and_only_administrators_configure() {
    let world = World::open();
    let group = ThreadId::telegram(-100, Some(5));
    let (ann, bob, eve) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
        world.person("Eve", group, false),
    );
    world.chat.set_standing(&ann.id(), Standing::Administrator);
    world.chat.set_standing(&bob.id(), Standing::Member);
    let line = "/mcp add demo -- switchboard demo-server".to_string();
    let refused = bob.says(&line).await;
    assert!(refused.contains("administrators"), "{refused}");
    let unknown = eve.says(&line).await;
    assert!(unknown.contains("could not ask"), "{unknown}");
    ann.says(&line).await;
    let (on, apply) = world.chat.button(group, "Apply");
    bob.forges(&apply.data, on).await;
    assert!(
        matches!(world.chat.answers().last(), Some(Answer::Alert(text)) if text.contains("Only Ann"))
    );
    // Rights that went meanwhile count at Apply.
    world.chat.set_standing(&ann.id(), Standing::Member);
    ann.forges(&apply.data, on).await;
    assert_eq!(world.config(group), None);
    world.chat.set_standing(&ann.id(), Standing::Creator);
    ann.forges(&apply.data, on).await;
    assert!(world.config(group).is_some());
    let called = bob.says("/mcp call demo echo text=members-call").await;
    assert!(called.contains("members-call"), "{called}");
    assert!(bob.says("/mcp logs demo").await.contains("administrators"));
    assert!(bob.says("/mcp list").await.contains("*demo*"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_anonymous_administrator_began_any_administrator_applies() {
    let world = World::open();
    let group = ThreadId::telegram(-100, None);
    let mut nobody = world.person("Workshop", group, false);
    nobody.becomes(ActorId::anonymous(-100));
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    for (id, standing) in [
        (nobody.id(), Standing::Administrator),
        (ann.id(), Standing::Administrator),
        (bob.id(), Standing::Member),
    ] {
        world.chat.set_standing(&id, standing);
    }
    nobody
        .says("/mcp add demo -- switchboard demo-server")
        .await;
    bob.presses("Apply").await;
    assert_eq!(world.config(group), None, "a member applied it");
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*demo* · 6 tools"), "{applied}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_migrates_keeps_its_servers_and_one_that_is_left_stops_them() {
    let world = World::open();
    let (old, new) = (
        ThreadId::telegram(-5, None),
        ThreadId::telegram(-1005, None),
    );
    let ann = world.person("Ann", old, false);
    world.chat.set_standing(&ann.id(), Standing::Creator);
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let there = world.person("Ann", new, false);
    there.does(None, EventKind::Migrated { from: old }).await;
    there.does(None, EventKind::Migrated { from: old }).await;
    assert!(there.says("/mcp list").await.contains("*demo*"));
    assert!(world.config(old).is_none() && world.config(new).is_some());
    there.does(None, EventKind::Left).await;
    assert!(world.house.registry.snapshot(new).is_none());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d35_forged_presses_do_nothing() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp").await;
    let on = world.chat.newest(ThreadId::Local).id;
    for data in [
        "",
        "1:P:y:abc",
        "1:u:abc",
        "9:P:y:abc",
        "1:s:rm:nope",
        "1:x:abc",
        "1:f:s:abc",
        "garbage",
    ] {
        ann.forges(data, on).await;
        assert!(
            matches!(world.chat.answers().last(), Some(Answer::Alert(_))) || data == "1:u:abc",
            "{data}: {:?}",
            world.chat.answers().last()
        );
    }
    assert_eq!(world.config(ThreadId::Local), None);
    world.close().await;
}
