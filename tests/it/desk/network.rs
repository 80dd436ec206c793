//! What a local server may reach: granted in a proposal, shown on its card, narrowed by a button. In the strong sandbox,
//! where a part of the network can be granted.

use serde_json::{Value, json};
use switchboard::actor::ActorId;
use switchboard::config::{Definition, ServerName, ThreadConfig, program_key};
use switchboard::policy::Tier;
use switchboard::sandbox::Choice;
use switchboard::store::Contacted;
use switchboard::thread::ThreadId;

use crate::support::world::{World, misbehave};

fn network(world: &World) -> Value {
    let config: Value = serde_json::from_str(&world.config(ThreadId::Local).unwrap()).unwrap();
    config["mcpServers"]["files"]["network"].clone()
}

/// Puts into the store what the running server would have reached.
fn reached(world: &World, hosts: &[(&str, u16, bool)]) {
    let text = world.config(ThreadId::Local).unwrap();
    let files = switchboard::config::Files {
        local: switchboard::config::Document::parse(text.as_bytes()).unwrap(),
        ..Default::default()
    };
    let ThreadConfig { local, .. } = files.check().unwrap();
    let key = program_key(&Definition::Local(local[0].1.clone()));
    let contacts: Vec<_> = hosts
        .iter()
        .map(|(host, port, allowed)| Contacted {
            host: (*host).to_owned(),
            port: *port,
            allowed: *allowed,
            at_ms: 1_767_323_045_000,
            times: 3,
        })
        .collect();
    let name = ServerName::new("files").unwrap();
    let store = &world.house.store;
    store
        .note_contacts(ThreadId::Local, &name, &key, &contacts)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_a_grant_is_proposed_shown_and_narrowed() {
    let world = World::open_with(|options| options.sandbox = Choice::Exactly(Tier::Strong));
    let mut ann = world.ann();
    let program = misbehave();
    let program = program.display();

    // What it will not find is told before anybody presses Apply.
    let blind = ann
        .says(&format!(
            "/mcp add files -- {program} steady /srv/nothing-is-there"
        ))
        .await;
    let words = "`files` is given `/srv/nothing-is-there`, which the sandbox does not show it";
    assert!(blind.contains(words), "{blind}");
    ann.says("/cancel").await;

    let refused = ann
        .says(&format!("/mcp add files --network host -- {program}"))
        .await;
    assert!(
        refused.contains("which only an operator of this bot can grant"),
        "{refused}"
    );
    let invalid = ann
        .says(&format!("/mcp add files --network 10.0.0.1 -- {program}"))
        .await;
    assert!(invalid.contains("is no public address"), "{invalid}");

    let proposal = ann
        .says(&format!(
            "/mcp add files --network API.GitHub.com,*.x.example:8443 -- {program}"
        ))
        .await;
    let words = "files may reach only api.github.com, *.x.example:8443.";
    assert!(proposal.replace('`', "").contains(words), "{proposal}");
    ann.presses("Apply").await;
    assert_eq!(
        network(&world),
        json!(["API.GitHub.com", "*.x.example:8443"])
    );

    let proposal = ann.says("/mcp edit files network=public").await;
    let words = "files may reach any public address now.";
    assert!(proposal.replace('`', "").contains(words), "{proposal}");
    ann.presses("Apply").await;

    let card = ann.says("/mcp show files").await;
    assert!(card.contains("any public address"), "{card}");
    assert!(!card.contains("Only these hosts"), "{card}");
    reached(
        &world,
        &[
            ("api.github.com", 443, true),
            ("169.254.169.254", 80, false),
        ],
    );
    let card = ann.says("/mcp show files").await;
    assert!(card.contains("api.github.com:443"), "{card}");
    assert!(card.contains("169.254.169.254:80"), "{card}");
    let proposal = ann.presses("Only these hosts").await;
    let words = "files may reach only api.github.com now.";
    assert!(proposal.replace('`', "").contains(words), "{proposal}");
    ann.presses("Apply").await;
    assert_eq!(network(&world), json!(["api.github.com"]));
    let card = ann.says("/mcp show files").await;
    assert!(
        !card.contains("Only these hosts"),
        "nothing is left to narrow: {card}"
    );

    // Whoever is at the terminal operates the bot.
    ann.becomes(ActorId("local".to_owned()));
    let proposal = ann.says("/mcp edit files network=host").await;
    assert!(
        proposal.contains("the host's own network, raw"),
        "{proposal}"
    );
    ann.presses("Apply").await;
    assert_eq!(network(&world), json!("host"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guided_edit_offers_the_network() {
    let world = World::open_with(|options| options.sandbox = Choice::Exactly(Tier::Strong));
    let ann = world.ann();
    ann.says(&format!("/mcp add files -- {}", misbehave().display()))
        .await;
    ann.presses("Apply").await;
    ann.says("/mcp edit files").await;
    ann.presses("Network").await;
    ann.says("a.example, b.example:8443").await;
    ann.presses("Network").await;
    let menu = ann.presses("Nothing").await;
    assert!(menu.contains("nothing on the network"), "{menu}");
    ann.presses("Done").await;
    ann.presses("Apply").await;
    assert_eq!(network(&world), json!("none"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_server_is_shown_without_a_network_which_it_has_not() {
    let world = World::open_with(|options| options.sandbox = Choice::Exactly(Tier::Strong));
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let card = ann.says("/mcp show demo").await;
    assert!(card.contains("nothing on the network"), "{card}");
    assert!(!card.contains("any public address"), "{card}");
    world.close().await;
}
