//! From an address to a proposal, and what Apply writes.

use serde_json::json;
use switchboard::actor::Standing;
use switchboard::config::ServerName;
use switchboard::thread::ThreadId;

use super::{CANARY, LOCAL, nowhere, remote, screen, token, world};
use crate::support::hostile::{Far, Manners, Speaks, Wants};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn step_by_step_to_a_server_that_wants_nothing() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    let shown = |text: &str| screen(&far, text);
    insta::assert_snapshot!("ask_address", shown(&ann.says("/mcp connect").await));
    insta::assert_snapshot!("no_address", shown(&ann.says("what is that?").await));
    insta::assert_snapshot!("ask_name", shown(&ann.says(&far.url()).await));
    let back = ann.presses("Back").await;
    assert!(back.contains("What is its address?"), "{back}");
    ann.says(&far.url()).await;
    let number = ann.says("1").await;
    assert!(number.contains("meant for a button"), "{number}");
    insta::assert_snapshot!("proposal", shown(&ann.says("my hub").await));
    assert_eq!(remote(&world, LOCAL), json!(null), "written before Apply");
    let approved = || world.house.store.approvals(LOCAL).unwrap();
    assert!(approved().is_empty(), "agreed to before Apply");
    ann.presses("Apply").await;
    assert_eq!(
        remote(&world, LOCAL),
        json!({"mcpServers": {"my-hub": {"type": "http", "url": far.url()}}})
    );
    let name = ServerName::new("my-hub").unwrap();
    assert_eq!(approved()[&name].url, far.url());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_with_the_transport_that_was_found() {
    for (speaks, kind) in [(Speaks::Json, "http"), (Speaks::Legacy, "sse")] {
        let (world, far) = (world(), Far::start(Manners::speaking(speaks)).await);
        let ann = world.ann();
        let proposal = ann
            .says(&format!(
                "claude mcp add --transport http docs {}",
                far.url()
            ))
            .await;
        assert!(proposal.contains("# Connect docs?"), "{proposal}");
        ann.presses("Apply").await;
        assert_eq!(
            remote(&world, LOCAL)["mcpServers"]["docs"],
            json!({"type": kind, "url": far.url()})
        );
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_work_says_why_and_goes_on() {
    let (world, mut far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    let url = far.url();
    far.die().await;
    insta::assert_snapshot!(
        "nobody_there",
        screen(&far, &ann.says(&format!("/mcp connect hub {url}")).await)
    );
    far.rise().await;
    let proposal = ann.presses("Try again").await;
    assert!(proposal.contains("# Connect hub?"), "{proposal}");
    ann.says("/cancel").await;
    let refused = ann.says("/mcp connect x https://10.0.0.1/mcp").await;
    assert!(refused.contains("not a public address"), "{refused}");
    assert_eq!(remote(&world, LOCAL), json!(null));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_opened_by_itself() {
    let (world, far) = (World::open(), Far::start(Manners::default()).await);
    let refused = world
        .ann()
        .says(&format!("/mcp connect {}", far.url()))
        .await;
    assert!(refused.contains("https"), "{refused}");
    assert!(far.seen().is_empty());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_servers_name_is_not_taken_and_a_remote_ones_is_replaced() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let other = Far::start(Manners::default()).await;
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let refused = ann.says(&format!("/mcp connect demo {}", far.url())).await;
    assert!(refused.contains("Choose another name"), "{refused}");
    ann.says(&format!(
        "/mcp connect hub {} --header 'X-Team: blue'",
        far.url()
    ))
    .await;
    ann.presses("Apply").await;
    let proposal = ann
        .says(&format!("/mcp edit hub url={}", other.url()))
        .await;
    assert!(
        proposal.contains("# Connect hub?") && proposal.contains("not taken along"),
        "{proposal}"
    );
    assert!(
        other
            .seen()
            .iter()
            .all(|seen| seen.header("x-team").is_none())
    );
    ann.presses("Apply").await;
    assert_eq!(
        remote(&world, LOCAL)["mcpServers"]["hub"],
        json!({"type": "http", "url": other.url()})
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pasted_has_a_button_for_each_remote_server() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    let json =
        json!({"mcpServers": {"hub": {"url": far.url(), "headers": {"Authorization": CANARY}}}});
    insta::assert_snapshot!(
        "offer",
        screen(&far, &ann.says(&format!("/mcp add-json {json}")).await)
    );
    let proposal = ann.presses("Connect hub").await;
    assert!(proposal.contains("# Connect hub?"), "{proposal}");
    ann.presses("Apply").await;
    assert_eq!(
        remote(&world, LOCAL)["mcpServers"]["hub"],
        json!({"type": "http", "url": far.url()})
    );
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_written_entry_waits_and_gets_none_of_the_stored_keys_before_it_is_agreed_to() {
    let world = world();
    let good = Far::start(Manners::default().wanting(token(CANARY))).await;
    let evil = Far::start(Manners::default().wanting(token("other"))).await;
    let ann = world.ann();
    ann.says(&format!(
        "/mcp connect hub {} --bearer {CANARY}",
        good.url()
    ))
    .await;
    ann.presses("Apply").await;
    let entry = |far: &Far| json!({"type": "http", "url": far.url(), "auth": {"bearer": "${secret:HUB_TOKEN}"}, "headers": {"X-A": "${secret:HUB_TOKEN}"}});
    crate::support::world::write(
        &world.file(LOCAL, "mcp_remote.json"),
        &json!({"mcpServers": {"hub": entry(&good), "evil": entry(&evil)}}).to_string(),
    );
    let told = world
        .sees(LOCAL, |shown| {
            let text = crate::support::chat::plain(&shown.view);
            text.contains("*evil* · waiting for approval") && text.contains("[Review evil]")
        })
        .await;
    assert!(crate::support::chat::plain(&told.view).contains("changed on the bot's machine"));
    insta::assert_snapshot!(
        "waiting_show",
        screen(&evil, &ann.says("/mcp show evil").await)
    );
    insta::assert_snapshot!("waiting_call", ann.says("/mcp call evil echo").await);
    insta::assert_snapshot!(
        "waiting_edit",
        ann.says("/mcp edit evil headers.X-A=").await
    );
    insta::assert_snapshot!("waiting_test", ann.says("/mcp test evil").await);
    let refused = ann.presses("Review").await;
    assert!(refused.contains("was given for http://"), "{refused}");
    assert!(!evil.seen().is_empty(), "it was tried");
    for seen in evil.seen() {
        assert!(!format!("{seen:?}").contains(CANARY), "{seen:?}");
    }
    let approved = || world.house.store.approvals(LOCAL).unwrap();
    assert!(!approved().contains_key(&ServerName::new("evil").unwrap()));
    // What is as it was agreed to, but for one more header, is agreed to again.
    let hub = ServerName::new("hub").unwrap();
    assert!(approved()[&hub].secrets.is_empty());
    insta::assert_snapshot!("review", screen(&good, &ann.says("/mcp connect hub").await));
    let agreed = ann.presses("Apply").await;
    assert!(!approved()[&hub].secrets.is_empty(), "{agreed}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_only_those_who_configure_connect() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let group = ThreadId::telegram(-7, None);
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    world.chat.set_standing(&ann.id(), Standing::Creator);
    world.chat.set_standing(&bob.id(), Standing::Member);
    for line in [
        "/mcp connect".to_owned(),
        format!("/mcp connect {}", far.url()),
        "/mcp login hub".to_owned(),
        "/mcp logout hub".to_owned(),
    ] {
        let refused = bob.says(&line).await;
        assert!(refused.contains("Only the creator"), "{line}: {refused}");
    }
    assert!(far.seen().is_empty(), "a member made the bot fetch");
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    bob.presses("Apply").await;
    assert_eq!(remote(&world, group), json!(null));
    ann.presses("Apply").await;
    assert_eq!(remote(&world, group)["mcpServers"]["hub"]["type"], "http");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_login_is_proposed_before_it() {
    let wants = Wants::Token {
        tokens: Vec::new(),
        challenge: Some(
            "Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"",
        ),
        metadata: true,
    };
    let (world, far) = (world(), Far::start(Manners::default().wanting(wants)).await);
    let ann = world.ann();
    insta::assert_snapshot!(
        "login_proposal",
        screen(
            &far,
            &ann.says(&format!("/mcp connect hub {}", far.url())).await
        )
        .lines()
        .map(|line| if line.contains("\"oauth\"") {
            "+        \"oauth\": \"c-ID\""
        } else {
            line
        })
        .collect::<Vec<_>>()
        .join("\n")
    );
    world.close().await;
}
