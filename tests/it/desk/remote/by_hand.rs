//! Entries that go from the file by a hand on the host: what they had goes too, when that is sure.

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::config::SecretName;

use super::idp::Protected;
use super::{CANARY, LOCAL, remote, token, world};
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners};
use crate::support::world::{World, write};

/// A server with a login, and one with a token.
struct Two {
    world: World,
    hub: Protected,
    _key: Far,
}

async fn two() -> Two {
    let (world, hub) = (world(), Protected::start().await);
    let key = Far::start(Manners::default().wanting(token(CANARY))).await;
    let ann = world.ann();
    hub.connected_and_logged_in(&world).await;
    ann.says(&format!("/mcp connect key {} --bearer {CANARY}", key.url()))
        .await;
    ann.presses("Apply").await;
    let two = Two {
        world,
        hub,
        _key: key,
    };
    assert_eq!(two.kept(), (1, true, 2));
    two
}

impl Two {
    /// Logins, whether the token is stored, and agreements.
    fn kept(&self) -> (usize, bool, usize) {
        let store = &self.world.house.store;
        let name = SecretName::new("KEY_TOKEN").unwrap();
        (
            store.credentials(LOCAL).unwrap().len(),
            store.secret_given_for(LOCAL, &name).unwrap().is_some(),
            store.approvals(LOCAL).unwrap().len(),
        )
    }

    /// Edits the servers by hand, and waits until the chat is told.
    async fn edits(&self, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        let mut document = remote(&self.world, LOCAL);
        edit(document["mcpServers"].as_object_mut().unwrap());
        self.writes(Some(&document.to_string())).await;
    }

    async fn writes(&self, text: Option<&str>) {
        let told = self.world.chat.messages(LOCAL).len();
        let path = self.world.file(LOCAL, "mcp_remote.json");
        match text {
            Some(text) => {
                let temporary = path.with_extension("tmp-of-editor");
                write(&temporary, text);
                std::fs::rename(temporary, path).unwrap();
            }
            None => std::fs::remove_file(path).unwrap(),
        }
        self.world
            .sees(LOCAL, |_| self.world.chat.messages(LOCAL).len() > told)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_taken_out_by_hand_leaves_nothing_behind() {
    let two = two().await;
    two.edits(|servers| {
        servers.shift_remove("key");
    })
    .await;
    assert_eq!(two.kept(), (1, false, 1));
    two.edits(|servers| {
        servers.shift_remove("hub");
    })
    .await;
    assert_eq!(two.kept(), (0, false, 0));
    assert!(!two.hub.idp.seen.lock().unwrap().revoked.is_empty());
    two.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_by_hand_keeps_the_login_and_asks_for_agreement() {
    let two = two().await;
    two.edits(|servers| {
        let hub = servers.shift_remove("hub").unwrap();
        servers.insert("far".to_owned(), hub);
    })
    .await;
    assert_eq!(two.kept(), (1, true, 1));
    assert_eq!(two.hub.idp.seen.lock().unwrap().revoked, [""; 0]);
    let ann = two.world.ann();
    let shown = ann.says("/mcp show far").await;
    assert!(shown.contains("approval"), "{shown}");
    ann.says("/mcp connect far").await;
    ann.presses("Apply").await;
    let called = ann.says("/mcp call far echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    two.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_broken_or_missing_for_a_while_costs_nothing() {
    let two = two().await;
    let ann = two.world.ann();
    let whole = remote(&two.world, LOCAL).to_string();
    two.writes(Some("{\"mcpServers\": {")).await;
    assert_eq!(two.kept(), (1, true, 2));
    two.writes(Some(
        &json!({"mcpServers": {}}).to_string().replace("{}", "{,}"),
    ))
    .await;
    assert_eq!(two.kept(), (1, true, 2));
    two.writes(Some(&whole)).await;
    two.writes(None).await;
    two.world.pass(Duration::from_mins(14));
    ann.says("/mcp").await;
    assert_eq!(two.kept(), (1, true, 2));
    two.writes(Some(&whole)).await;
    two.world.pass(Duration::from_mins(2));
    ann.says("/mcp").await;
    assert_eq!(two.kept(), (1, true, 2));
    let called = ann.says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    // Gone for good.
    two.writes(None).await;
    two.world.pass(Duration::from_mins(16));
    ann.says("/mcp").await;
    two.world
        .sees(LOCAL, |shown| {
            !plain(&shown.view).is_empty() && two.kept() == (0, false, 0)
        })
        .await;
    two.world.close().await;
}

/// A person does all that the screens let them do with an entry, up to Apply, and calls it.
async fn pushes(world: &World, name: &str) -> String {
    let ann = world.ann();
    let mut shown = ann.says(&format!("/mcp connect {name}")).await;
    if ann.sees_now().contains("Apply") {
        shown += &ann.presses("Apply").await;
    }
    shown += &ann.says(&format!("/mcp test {name}")).await;
    shown += &ann.says(&format!("/mcp call {name} echo text=hello")).await;
    shown
}

fn never_seen(evil: &Far) {
    assert!(!evil.seen().is_empty(), "nothing was tried");
    for seen in evil.seen() {
        assert!(!format!("{seen:?}").contains(CANARY), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_a_rename_and_another_address_by_hand_do_not_carry_a_key_off() {
    for in_two_steps in [false, true] {
        let two = two().await;
        let evil = Far::start(Manners::default()).await;
        let moved = |two: &Two| {
            let mut entry = remote(&two.world, LOCAL)["mcpServers"]["key"].clone();
            if entry.is_null() {
                entry = remote(&two.world, LOCAL)["mcpServers"]["loot"].clone();
            }
            entry
        };
        let mut entry = moved(&two);
        if in_two_steps {
            two.edits(|servers| {
                servers.shift_remove("key");
                servers.insert("loot".to_owned(), entry.clone());
            })
            .await;
            entry = moved(&two);
        }
        entry["url"] = json!(evil.url());
        two.edits(|servers| {
            servers.shift_remove("key");
            servers.insert("loot".to_owned(), entry);
        })
        .await;
        // The key is there still, and the agreement that told whose it is has gone with the name.
        assert_eq!(two.kept(), (1, true, 1));
        let shown = pushes(&two.world, "loot").await;
        assert!(shown.contains("was given for"), "{shown}");
        // A header by hand, in an entry that is agreed to.
        let ann = two.world.ann();
        ann.says(&format!(
            "/mcp connect fine {} --header 'X-Team: blue'",
            evil.url()
        ))
        .await;
        ann.presses("Apply").await;
        two.edits(|servers| {
            servers.shift_remove("loot");
            servers["fine"]["headers"]["X-Team"] = json!("${secret:KEY_TOKEN}");
        })
        .await;
        pushes(&two.world, "fine").await;
        never_seen(&evil);
        two.world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_a_login_is_not_carried_off_by_a_rename_and_another_address() {
    let two = two().await;
    let evil = Far::start(Manners::default()).await;
    let mut entry = remote(&two.world, LOCAL)["mcpServers"]["hub"].clone();
    entry["url"] = json!(evil.url());
    two.edits(|servers| {
        servers.shift_remove("hub");
        servers.insert("loot".to_owned(), entry);
    })
    .await;
    let shown = pushes(&two.world, "loot").await;
    assert!(shown.contains("with the login for"), "{shown}");
    let login = two.world.ann().says("/mcp login loot").await;
    assert!(!login.contains("Log in"), "{login}");
    for seen in evil.seen() {
        let text = format!("{seen:?}").to_ascii_lowercase();
        assert!(!text.contains("bearer"), "{text}");
    }
    assert_eq!(two.kept().0, 1, "the login is not ended by it");
    two.world.close().await;
}
