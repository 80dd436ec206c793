//! Keys and tokens: asked for in private, kept out of sight, forgotten when nothing needs them.

use std::time::Duration;

use serde_json::json;
use switchboard::actor::Standing;
use switchboard::config::SecretName;
use switchboard::registry::ServerState;
use switchboard::thread::ThreadId;

use super::{CANARY, LOCAL, nowhere, remote, screen, token, world};
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners, Wants};
use crate::support::world::{World, within};

const OTHER: &str = "another-Zx81-hush-hush";

async fn far() -> Far {
    Far::start(Manners::default().wanting(token(CANARY))).await
}

fn stored(world: &World, thread: ThreadId) -> Vec<String> {
    let names = world.house.store.secret_names(thread).unwrap();
    names.iter().map(ToString::to_string).collect()
}

fn value(world: &World, thread: ThreadId, name: &str) -> Option<String> {
    let name = SecretName::new(name).unwrap();
    let store = &world.house.store;
    let given = store.secret_given_for(thread, &name).unwrap()?;
    let secret = store.secret(thread, &name, &given).unwrap();
    secret.map(|secret| secret.expose().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn d34_a_token_is_asked_for_tried_and_kept_out_of_sight() {
    let (world, far) = (world(), far().await);
    let ann = world.ann();
    let shown = |text: &str| screen(&far, text);
    insta::assert_snapshot!(
        "ask_auth",
        shown(&ann.says(&format!("/mcp connect hub {}", far.url())).await)
    );
    insta::assert_snapshot!("ask_token", shown(&ann.presses("A token").await));
    insta::assert_snapshot!("token_refused", shown(&ann.says(OTHER).await));
    insta::assert_snapshot!("token_proposal", shown(&ann.says(CANARY).await));
    assert_eq!(
        world.chat.deleted().len(),
        2,
        "the messages stay in the chat"
    );
    ann.presses("Apply").await;
    let name = remote(&world, LOCAL)["mcpServers"]["hub"]["auth"]["bearer"].clone();
    assert_eq!(name, "${secret:HUB_TOKEN_2}");
    assert_eq!(value(&world, LOCAL, "HUB_TOKEN_2").as_deref(), Some(CANARY));
    assert_eq!(
        stored(&world, LOCAL),
        ["HUB_TOKEN_2"],
        "the refused one is kept"
    );
    nowhere(&world, LOCAL);
    ann.says("/mcp download remote").await;
    let sent = world.chat.newest(LOCAL).view.attachments.remove(0);
    assert!(!String::from_utf8_lossy(&sent.bytes).contains(CANARY));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pasted_into_the_line_is_lifted_out() {
    for (line, wants, auth, headers) in [
        (
            format!("--bearer {CANARY}"),
            token(CANARY),
            json!({"bearer": "${secret:HUB_TOKEN}"}),
            json!(null),
        ),
        (
            format!("--header 'Authorization: Bearer {CANARY}'"),
            token(CANARY),
            json!({"bearer": "${secret:HUB_TOKEN}"}),
            json!(null),
        ),
        (
            format!("--api-key X-Key {CANARY}"),
            Wants::Header("x-key", CANARY.to_owned()),
            json!({"api_key": {"header": "X-Key", "value": "${secret:HUB_X_KEY}"}}),
            json!(null),
        ),
        (
            format!("--header 'X-API-Key: {CANARY}' --header 'X-Team: blue'"),
            Wants::Header("x-api-key", CANARY.to_owned()),
            json!(null),
            json!({"X-API-Key": "${secret:HUB_X_API_KEY}", "X-Team": "blue"}),
        ),
    ] {
        let (world, far) = (world(), Far::start(Manners::default().wanting(wants)).await);
        let ann = world.ann();
        let proposal = ann
            .says(&format!("/mcp connect hub {} {line}", far.url()))
            .await;
        assert!(proposal.contains("# Connect hub?"), "{line}: {proposal}");
        assert_eq!(world.chat.deleted().len(), 1, "{line}");
        ann.presses("Apply").await;
        let entry = &remote(&world, LOCAL)["mcpServers"]["hub"];
        assert_eq!(entry["auth"], auth, "{line}");
        assert_eq!(entry["headers"], headers, "{line}");
        nowhere(&world, LOCAL);
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_or_too_old_forgets_its_secrets() {
    let far = far().await;
    let connect = format!("/mcp connect hub {} --bearer {CANARY}", far.url());
    for end in ["Cancel", "/cancel", "expires", "restarts", "another"] {
        let mut world = world();
        world.ann().says(&connect).await;
        assert_eq!(stored(&world, LOCAL), ["HUB_TOKEN"]);
        match end {
            "Cancel" => {
                world.ann().presses("Cancel").await;
            }
            "/cancel" => {
                world.ann().says("/cancel").await;
            }
            "restarts" => {
                world.pass(Duration::from_mins(16));
                world = world.restarted_with(super::open).await;
                world.ann().says("/help").await;
            }
            "another" => {
                // A question that was open, and another flow after it.
                world.ann().presses("Cancel").await;
                world
                    .ann()
                    .says(&format!("/mcp connect hub {} --bearer {OTHER}", far.url()))
                    .await;
                assert_eq!(stored(&world, LOCAL), ["HUB_TOKEN"]);
                world.ann().says("/mcp add").await;
            }
            _ => {
                world.pass(Duration::from_mins(16));
                world.ann().says("/help").await;
            }
        }
        assert_eq!(stored(&world, LOCAL), [""; 0], "{end}");
        nowhere(&world, LOCAL);
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_takes_its_secrets_along_and_undo_says_so() {
    let (world, far) = (world(), far().await);
    let ann = world.ann();
    ann.says(&format!(
        "/mcp connect hub {} --bearer {CANARY} --header 'X-Secret: {OTHER}'",
        far.url()
    ))
    .await;
    ann.presses("Apply").await;
    assert_eq!(stored(&world, LOCAL).len(), 2);
    ann.says("/mcp rename hub far").await;
    ann.presses("Apply").await;
    let name = |text: &str| switchboard::config::ServerName::new(text).unwrap();
    let approved = || world.house.store.approvals(LOCAL).unwrap();
    assert!(approved().contains_key(&name("far")) && approved().len() == 1);
    assert_eq!(
        stored(&world, LOCAL).len(),
        2,
        "a new name is no reason to forget"
    );
    insta::assert_snapshot!(
        "remove_proposal",
        screen(&far, &ann.says("/mcp remove far").await)
    );
    ann.presses("Apply").await;
    assert!(approved().is_empty());
    assert_eq!(stored(&world, LOCAL), [""; 0]);
    assert_eq!(remote(&world, LOCAL)["mcpServers"], json!({}));
    insta::assert_snapshot!("undo_proposal", screen(&far, &ann.presses("Undo").await));
    ann.presses("Apply").await;
    assert!(approved().contains_key(&name("far")));
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_is_changed_and_a_secret_one_is_stored() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    ann.says(&format!(
        "/mcp connect hub {} --header 'X-Team: blue'",
        far.url()
    ))
    .await;
    ann.presses("Apply").await;
    ann.says(&format!(
        "/mcp edit hub headers.x-team=red headers.X-API-Key={CANARY} timeout_ms=9000"
    ))
    .await;
    ann.presses("Apply").await;
    let entry = || remote(&world, LOCAL)["mcpServers"]["hub"].clone();
    assert_eq!(
        entry(),
        json!({"type": "http", "url": far.url(), "headers": {"X-Team": "red", "X-API-Key": "${secret:HUB_X_API_KEY}"}, "timeout_ms": 9000})
    );
    insta::assert_snapshot!("edit_menu", screen(&far, &ann.says("/mcp edit hub").await));
    ann.presses("Headers").await;
    ann.says("X-API-Key:\nX-Team:").await;
    ann.presses("Time limit").await;
    ann.says("-").await;
    ann.presses("Done").await;
    ann.presses("Apply").await;
    assert_eq!(entry(), json!({"type": "http", "url": far.url()}));
    assert_eq!(stored(&world, LOCAL), [""; 0]);
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d34_in_a_group_the_question_moves_into_the_private_chat() {
    let (world, far) = (world(), far().await);
    let group = ThreadId::telegram(-7, None);
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    for person in [&ann, &bob] {
        world
            .chat
            .set_standing(&person.id(), Standing::Administrator);
    }
    let at_home = |name: &str, id| world.person(name, ThreadId::telegram(id, None), true);
    ann.says(&format!("/mcp connect hub {} --bearer", far.url()))
        .await;
    let nonce = world.chat.nonce(group);
    insta::assert_snapshot!(
        "moved",
        screen(&far, &ann.sees_now()).replace(&nonce, "NONCE")
    );
    let start = format!("/start {nonce}");
    let other = at_home("Bob", 8).says(&start).await;
    assert!(other.contains("for somebody else"), "{other}");
    insta::assert_snapshot!("asked_at_home", at_home("Ann", 9).says(&start).await);
    let twice = at_home("Ann", 9).says(&start).await;
    assert!(twice.contains("This link is over"), "{twice}");
    at_home("Ann", 9).says(CANARY).await;
    let proposal = world
        .sees(group, |shown| {
            crate::support::chat::plain(&shown.view).contains("# Connect hub?")
        })
        .await;
    assert!(proposal.view.links.is_empty());
    ann.presses("Apply").await;
    assert_eq!(value(&world, group, "HUB_TOKEN").as_deref(), Some(CANARY));
    assert_eq!(stored(&world, ThreadId::telegram(9, None)), [""; 0]);
    for thread in [group, ThreadId::telegram(9, None)] {
        nowhere(&world, thread);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_into_the_private_chat_ends() {
    let (world, far) = (world(), far().await);
    let group = ThreadId::telegram(-7, None);
    let ann = world.person("Ann", group, false);
    world.chat.set_standing(&ann.id(), Standing::Creator);
    let home = world.person("Ann", ThreadId::telegram(9, None), true);
    let connect = format!("/mcp connect hub {} --bearer", far.url());
    let nonce = async || {
        ann.says(&connect).await;
        world.chat.nonce(group)
    };
    let cancelled = nonce().await;
    ann.presses("Cancel").await;
    let old = nonce().await;
    world.pass(Duration::from_mins(16));
    for nonce in [cancelled.as_str(), old.as_str(), "made-up"] {
        let over = home.says(&format!("/start {nonce}")).await;
        assert!(over.contains("This link is over"), "{over}");
    }
    world.chat.forget_private_chats();
    let refused = ann.says(&connect).await;
    assert!(refused.contains("switchboard do"), "{refused}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_a_key_is_sent_to_no_other_place_than_it_was_given_for() {
    let (world, far) = (world(), far().await);
    let evil = Far::start(Manners::default()).await;
    let ann = world.ann();
    for line in [
        format!("/mcp connect hub {} --bearer {CANARY}", far.url()),
        format!("/mcp connect evil {} --header 'X-Team: blue'", evil.url()),
    ] {
        ann.says(&line).await;
        ann.presses("Apply").await;
    }
    let given = format!("was given for {} and", far.base());
    // By a line, by an edit.
    for line in [
        format!(
            "/mcp connect worse {} --header 'X-Team: ${{secret:HUB_TOKEN}}'",
            evil.url()
        ),
        format!(
            "/mcp connect evil {} --header 'X-Team: a ${{secret:HUB_TOKEN}} b'",
            evil.url()
        ),
        "/mcp edit evil headers.X-Team=${secret:HUB_TOKEN}".to_owned(),
    ] {
        let refused = ann.says(&line).await;
        assert!(refused.contains(&given), "{line}: {refused}");
    }
    // By hand: the names of the headers are as they were agreed to, and what is in them is not.
    let mut file = remote(&world, LOCAL);
    file["mcpServers"]["evil"]["headers"]["X-Team"] = json!("${secret:HUB_TOKEN}");
    crate::support::world::write(&world.file(LOCAL, "mcp_remote.json"), &file.to_string());
    world
        .sees(LOCAL, |shown| {
            crate::support::chat::plain(&shown.view).contains("*evil* · waiting for approval")
        })
        .await;
    let refused = ann.says("/mcp connect evil").await;
    assert!(refused.contains(&given), "{refused}");
    // One that no server has, for it may be on its way from one to another.
    let refused = ann
        .says(&format!(
            "/mcp connect odd {} --header 'X-Team: ${{secret:NOBODYS}}'",
            evil.url()
        ))
        .await;
    assert!(refused.contains("No server here is sent"), "{refused}");
    // At the place that it is for another server may use it too.
    let same = ann
        .says(&format!(
            "/mcp connect twin {} --header 'Authorization: Bearer ${{secret:HUB_TOKEN}}'",
            far.url()
        ))
        .await;
    assert!(same.contains("# Connect twin?"), "{same}");
    assert!(!evil.seen().is_empty());
    for seen in evil.seen() {
        assert!(!format!("{seen:?}").contains(CANARY), "{seen:?}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_is_just_giving_is_nobody_elses() {
    let (world, far) = (world(), far().await);
    let evil = Far::start(Manners::default()).await;
    let group = ThreadId::telegram(-7, None);
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    for person in [&ann, &bob] {
        world
            .chat
            .set_standing(&person.id(), Standing::Administrator);
    }
    ann.says(&format!("/mcp connect hub {} --bearer {CANARY}", far.url()))
        .await;
    assert_eq!(stored(&world, group), ["HUB_TOKEN"]);
    let refused = bob
        .says(&format!(
            "/mcp connect evil {} --header 'X-Team: ${{secret:HUB_TOKEN}}'",
            evil.url()
        ))
        .await;
    assert!(
        refused.contains(&format!("was given for {}", far.base())),
        "{refused}"
    );
    assert_eq!(evil.seen().len(), 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_not_shared_with_another_place() {
    let wants = || Wants::Token {
        tokens: Vec::new(),
        challenge: Some(
            "Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"",
        ),
        metadata: true,
    };
    let world = world();
    let far = Far::start(Manners::default().wanting(wants())).await;
    let evil = Far::start(Manners::default().wanting(wants())).await;
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {} --oauth", far.url()))
        .await;
    ann.presses("Apply").await;
    let mut file = remote(&world, LOCAL);
    let mut entry = file["mcpServers"]["hub"].clone();
    assert!(entry["auth"]["oauth"].is_string(), "{entry}");
    entry["url"] = json!(evil.url());
    file["mcpServers"]["evil"] = entry;
    crate::support::world::write(&world.file(LOCAL, "mcp_remote.json"), &file.to_string());
    world
        .sees(LOCAL, |shown| {
            crate::support::chat::plain(&shown.view).contains("*evil* · waiting for approval")
        })
        .await;
    let refused = ann.says("/mcp connect evil").await;
    assert!(refused.contains("with the login of `hub`"), "{refused}");
    world.close().await;
}

/// The queries of all that was asked of the server itself.
fn queries(far: &Far) -> Vec<String> {
    let seen = far.seen().into_iter().filter(|seen| seen.path == "/mcp");
    let mut queries: Vec<String> = seen.map(|seen| seen.query).collect();
    queries.dedup();
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_address_is_sealed_and_comes_back_when_it_is_asked() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    let key = format!("{CANARY}%2Bx/y=");
    let url = format!("{}?lang=en&apiKey={key}&v=2", far.url());
    let proposal = ann.says(&format!("/mcp connect hub {url}")).await;
    insta::assert_snapshot!("key_in_address", screen(&far, &proposal));
    assert_eq!(world.chat.deleted().len(), 1);
    ann.presses("Apply").await;
    let named = format!("{}?lang=en&apiKey=${{secret:HUB_APIKEY}}&v=2", far.url());
    assert_eq!(remote(&world, LOCAL)["mcpServers"]["hub"]["url"], named);
    assert_eq!(value(&world, LOCAL, "HUB_APIKEY"), Some(key.clone()));
    let said = ann.says("/mcp call hub echo text=hi").await;
    assert!(said.contains("✅"), "{said}");
    assert_eq!(queries(&far), [format!("lang=en&apiKey={key}&v=2")]);
    for line in [
        "/mcp show hub",
        "/mcp list",
        "/mcp logs hub",
        "/mcp test hub",
        "/mcp secrets",
    ] {
        ann.says(line).await;
    }
    nowhere(&world, LOCAL);
    // Guided, and by an edit of the address: another key, and the former one goes with its entry.
    ann.says(&format!("/mcp edit hub url={}?apiKey={CANARY}", far.url()))
        .await;
    assert_eq!(world.chat.deleted().len(), 2);
    ann.presses("Apply").await;
    assert_eq!(stored(&world, LOCAL), ["HUB_APIKEY_2"]);
    ann.says("/mcp connect").await;
    ann.says(&format!("{}?token={CANARY}", far.url())).await;
    assert_eq!(world.chat.deleted().len(), 3);
    ann.says("two").await;
    ann.presses("Apply").await;
    let last = queries(&far);
    assert_eq!(last.last(), Some(&format!("token={CANARY}")));
    nowhere(&world, LOCAL);
    let login = ann.says("/mcp login two").await;
    assert!(login.contains("/mcp secrets set TOKEN for two"), "{login}");
    for name in ["hub", "two"] {
        let removal = ann.says(&format!("/mcp remove {name}")).await;
        assert!(removal.contains("Its key is forgotten, too"), "{removal}");
        ann.presses("Apply").await;
    }
    assert_eq!(stored(&world, LOCAL), [""; 0]);
    // What undo says to do works.
    let undo = ann.says("/mcp undo").await;
    let step = "/mcp secrets set TOKEN for two";
    assert!(undo.contains(step), "{undo}");
    let broken = ann.presses("Apply").await;
    assert!(broken.contains("/mcp secrets set TOKEN for"), "{broken}");
    let again = ann.says("/mcp connect two").await;
    assert!(again.contains(step), "{again}");
    ann.says(step).await;
    ann.says(CANARY).await;
    let ready = world.house.registry.wait(LOCAL, |found| {
        matches!(
            found.server("two").unwrap().state,
            ServerState::Ready { .. }
        )
    });
    within(ready).await.unwrap();
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_place_is_not_put_into_the_address_of_another() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let other = Far::start(Manners::default()).await;
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}?key={CANARY}", far.url()))
        .await;
    ann.presses("Apply").await;
    let begged = format!("{}?key=${{secret:HUB_KEY}}", other.url());
    let refused = ann.says(&format!("/mcp connect thief {begged}")).await;
    assert!(refused.contains("was given for"), "{refused}");
    assert_eq!(other.seen().len(), 0);
    // Neither by hand.
    let mut document = remote(&world, LOCAL);
    document["mcpServers"]["hub"]["url"] = json!(begged);
    world.write_on_host(LOCAL, "mcp_remote.json", &document.to_string());
    world
        .sees(LOCAL, |shown| plain(&shown.view).contains("was changed on"))
        .await;
    let told = ann.says("/mcp connect hub").await;
    assert!(told.contains("was given for"), "{told}");
    assert_eq!(other.seen().len(), 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_host_wrote_into_an_address_is_sealed_when_it_is_agreed_to() {
    let (world, far) = (world(), Far::start(Manners::default()).await);
    let ann = world.ann();
    let server = json!({"type": "http", "url": format!("{}?key={CANARY}", far.url())});
    let document = json!({"mcpServers": {"hub": server}});
    world.write_on_host(LOCAL, "mcp_remote.json", &document.to_string());
    ann.says("/mcp list").await;
    ann.says("/mcp connect hub").await;
    ann.presses("Apply").await;
    let named = format!("{}?key=${{secret:HUB_KEY}}", far.url());
    assert_eq!(remote(&world, LOCAL)["mcpServers"]["hub"]["url"], named);
    let said = ann.says("/mcp call hub echo text=hi").await;
    assert!(said.contains("✅"), "{said}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_too_long_is_kept_nowhere() {
    let world = world();
    let ann = world.ann();
    let long = format!("https://h.example/{}?apiKey={CANARY}", "x/".repeat(4100));
    for line in [
        format!("/mcp connect hub {long}"),
        "/mcp connect".to_owned(),
    ] {
        ann.says(&line).await;
    }
    let refused = ann.says(&long).await;
    assert!(refused.contains("longer than 8192 bytes"), "{refused}");
    nowhere(&world, LOCAL);
    world.close().await;
}
