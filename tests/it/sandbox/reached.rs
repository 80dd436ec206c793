//! What a server really reached through the bot's proxy is what its card shows and what it can be narrowed to.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use serde_json::{Value, json};
use switchboard::policy::{AddressRules, Tier};
use switchboard::sandbox::Choice;
use switchboard::thread::ThreadId;

use super::scene::{copy, program, tiers};
use crate::support::world::{PATIENCE, World};

/// Says one line to whoever comes; its port.
fn host() -> u16 {
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = host.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut guest in host.incoming().flatten() {
            let _ = guest.write_all(b"the host greets\n");
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_hosts_that_a_server_reached_are_shown_and_all_that_is_left_when_it_is_narrowed() {
    for (tier, _) in tiers().iter().filter(|(tier, _)| *tier == Tier::Strong) {
        let world = World::open_passable(|options| {
            options.sandbox = Choice::Exactly(*tier);
            program().clone_into(&mut options.registry.launcher);
            options.net.rules = AddressRules {
                allow: vec!["127.0.0.1/32".parse().unwrap()],
                ..AddressRules::default()
            };
        });
        let (ann, program) = (world.ann(), copy(&world, "hostile"));
        ann.says(&format!("/mcp add bad -- {program}")).await;
        ann.presses("Apply").await;
        let (near, far) = (format!("localhost:{}", host()), "169.254.169.254:80");
        let ask = async |at: &str| ann.says(&format!("/mcp call bad ask at={at}")).await;
        let said = ask(&near).await;
        assert!(said.contains("the host greets"), "{said}");
        let said = ask(far).await;
        assert!(said.contains("403"), "{said}");

        let card = async || {
            let until = Instant::now() + PATIENCE;
            loop {
                // It is written down by another task.
                let card = ann.says("/mcp show bad").await;
                if [near.as_str(), far].iter().all(|host| card.contains(host)) {
                    break card;
                }
                assert!(Instant::now() < until, "never shown: {card}");
            }
        };
        let shown = card().await;
        let (_, lists) = shown.split_once("It reached:").unwrap();
        let (reached, refused) = lists.split_once("It was not let through to:").unwrap();
        assert!(reached.contains(&near) && !reached.contains(far), "{shown}");
        assert!(refused.contains(far) && !refused.contains(&near), "{shown}");

        let proposal = ann.presses("Only these hosts").await;
        let words = format!("bad may reach only {near} now.");
        assert!(
            proposal.replace(['`', '*'], "").contains(&words),
            "{proposal}"
        );
        ann.presses("Apply").await;
        let config: Value = serde_json::from_str(&world.config(ThreadId::Local).unwrap()).unwrap();
        assert_eq!(config["mcpServers"]["bad"]["network"], json!([near]));
        // And that holds: the same host at another port was allowed before.
        let said = ask(&near).await;
        assert!(said.contains("the host greets"), "{said}");
        let other = format!("localhost:{}", host());
        let said = ask(&other).await;
        assert!(said.contains("403"), "{said}");
        world.close().await;
    }
}
