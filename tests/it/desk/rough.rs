//! What happens when things come at once, come from somebody else, or take for ever.

use std::time::Duration;

use switchboard::actor::Standing;
use switchboard::chat::{EventKind, PressId};
use switchboard::thread::ThreadId;

use crate::support::chat::plain;
use crate::support::world::{World, within};

fn three() -> String {
    let server =
        serde_json::json!({"type": "stdio", "command": "switchboard", "args": ["demo-server"]});
    serde_json::json!({"mcpServers": {"a": server, "b": server, "c": server}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_quick_succession_are_not_taken_for_the_hosts() {
    let world = World::open();
    let ann = world.ann();
    world.edit_on_host(ThreadId::Local, &three());
    ann.says("/mcp list").await;
    for name in ["a", "b", "c"] {
        ann.begins(None, EventKind::Text(format!("/mcp disable {name}")));
    }
    within(world.house.desk.quiet()).await;
    let transcript = world.transcript(ThreadId::Local);
    assert!(
        !transcript.contains("changed on the bot's machine"),
        "{transcript}"
    );
    let history = ann.says("/mcp history").await;
    assert!(
        !history.contains("somebody on the bot's machine"),
        "{history}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_or_goes_back_right_after_apply_leaves_nobody_waiting() {
    for text in ["{ broken", "{\"mcpServers\": {}}"] {
        let world = World::open();
        let ann = world.ann();
        ann.says("/mcp add demo -- switchboard demo-server").await;
        let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
        ann.begins(
            None,
            EventKind::Press {
                data: apply.data,
                on,
                press: PressId("press".to_owned()),
            },
        );
        while world.config(ThreadId::Local).is_none() {
            tokio::task::yield_now().await;
        }
        world.edit_on_host(ThreadId::Local, text);
        within(world.house.desk.quiet()).await;
        let shown = plain(
            &world
                .chat
                .messages(ThreadId::Local)
                .into_iter()
                .find(|shown| shown.id == on)
                .unwrap()
                .view,
        );
        assert!(!shown.contains("Loading tools"), "{shown}");
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_holds_nobody_up() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add deaf -- sleep 600").await;
    let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
    ann.begins(
        None,
        EventKind::Press {
            data: apply.data,
            on,
            press: PressId("press".to_owned()),
        },
    );
    ann.begins(
        None,
        EventKind::Text("/mcp call deaf echo text=x".to_owned()),
    );
    ann.begins(None, EventKind::Text("/help".to_owned()));
    world
        .glimpses(ThreadId::Local, |text| text.contains("What you can type"))
        .await;
    world
        .glimpses(ThreadId::Local, |text| text.contains("just starting"))
        .await;
    let (on, stop) = world.chat.button(ThreadId::Local, "Stop");
    ann.begins(
        None,
        EventKind::Press {
            data: stop.data,
            on,
            press: PressId("press".to_owned()),
        },
    );
    world
        .glimpses(ThreadId::Local, |text| text.contains("goes on starting"))
        .await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_changes_no_message_that_is_somebody_elses_business() {
    let world = World::open();
    let group = ThreadId::telegram(-7, None);
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    world.chat.set_standing(&ann.id(), Standing::Creator);
    world.chat.set_standing(&bob.id(), Standing::Member);
    ann.says("/mcp add demo -- switchboard demo-server").await;
    let (on, _) = world.chat.button(group, "Apply");
    for data in ["1:o:close", "1:p:0", "1:o:help"] {
        bob.forges(data, on).await;
    }
    let shown = world
        .chat
        .messages(group)
        .into_iter()
        .find(|shown| shown.id == on)
        .unwrap();
    assert!(
        plain(&shown.view).contains("[Apply] [Cancel]"),
        "{}",
        plain(&shown.view)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guided_edit_keeps_what_others_changed_meanwhile() {
    let world = World::open();
    let (ann, bob) = (world.ann(), world.person("Bob", ThreadId::Local, true));
    world.edit_on_host(ThreadId::Local, &three());
    ann.says("/mcp edit a").await;
    ann.presses("Environment").await;
    ann.says("MINE=1").await;
    bob.says("/mcp edit a env.THEIRS=2").await;
    bob.presses("Apply").await;
    ann.presses("Done").await;
    ann.presses("Apply").await;
    let config = world.config(ThreadId::Local).unwrap();
    assert!(
        config.contains("THEIRS") && config.contains("MINE"),
        "{config}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_the_end_is_answered() {
    let world = World::open();
    let ann = world.ann();
    for number in 0..10 {
        ann.begins(
            None,
            EventKind::Text(format!("/mcp help add{}", " ".repeat(number))),
        );
    }
    let chat = std::sync::Arc::clone(&world.chat);
    within(world.house.close(Duration::from_secs(10))).await;
    let answered = chat
        .messages(ThreadId::Local)
        .iter()
        .filter(|shown| plain(&shown.view).contains("Adds a server"))
        .count();
    assert_eq!(answered, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_refused_line_is_taken_out_of_the_chat() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add-json {\"x\": {\"env\": {\"API_TOKEN\": \"ghp_0123456789abcdefghijABCDEFGHIJ012345\"}}").await;
    assert_eq!(world.chat.deleted().len(), 1);
    assert!(!world.transcript(ThreadId::Local).contains("ghp_"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_puts_an_earlier_state_back_is_noticed() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let ours = world.config(ThreadId::Local).unwrap();
    for (text, expected) in [(three(), "+    \"a\""), (ours, "-    \"a\"")] {
        world.edit_on_host(ThreadId::Local, &text);
        world
            .sees(ThreadId::Local, |shown| {
                let text = plain(&shown.view);
                text.contains("changed on the bot's machine") && text.contains(expected)
            })
            .await;
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_left_starts_nothing_again() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add deaf -- sleep 600").await;
    let (on, apply) = world.chat.button(ThreadId::Local, "Apply");
    let press = EventKind::Press {
        data: apply.data,
        on,
        press: PressId("press".to_owned()),
    };
    ann.begins(None, press);
    ann.begins(None, EventKind::Text("/mcp call deaf echo".to_owned()));
    world
        .glimpses(ThreadId::Local, |text| text.contains("just starting"))
        .await;
    ann.begins(None, EventKind::Left);
    within(world.house.desk.quiet()).await;
    assert!(world.house.registry.snapshot(ThreadId::Local).is_none());
    world.close().await;
}
