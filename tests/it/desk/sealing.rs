//! Secrets that people write out in lines, JSON and files: kept sealed, and the files only name them.

use serde_json::{Value, json};
use switchboard::config::{GivenFor, SecretName};

use super::remote::{CANARY, LOCAL, nowhere};
use crate::support::chat::steady;
use crate::support::world::{World, misbehave, write};

const OTHER: &str = "other-Qy27-hush-hush";

fn value(world: &World, name: &str) -> Option<String> {
    let name = SecretName::new(name).unwrap();
    let kept = world.house.store.secret(LOCAL, &name, &GivenFor::Local);
    kept.unwrap().map(|secret| secret.expose().to_owned())
}

fn stored(world: &World) -> Vec<String> {
    let names = world.house.store.secret_names(LOCAL).unwrap();
    names.iter().map(ToString::to_string).collect()
}

fn entry(world: &World, name: &str) -> Value {
    let text = world.config(LOCAL).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["mcpServers"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_with_secrets_leaves_their_names_in_the_file() {
    let world = World::open();
    let ann = world.ann();
    let program = misbehave();
    let line = format!(
        "/mcp add env -e MODE=fast -e API_TOKEN={CANARY} -- {} --api-key {OTHER}",
        program.display()
    );
    let proposal = ann.says(&line).await;
    let shown = steady(&proposal).replace(&program.display().to_string(), "PROGRAM");
    insta::assert_snapshot!("line", shown);
    assert_eq!(world.chat.deleted().len(), 1);
    // Nothing waits in the clear, also before anybody decided.
    nowhere(&world, LOCAL);
    ann.presses("Apply").await;
    let written = entry(&world, "env");
    assert_eq!(
        written["env"],
        json!({"MODE": "fast", "API_TOKEN": "${secret:API_TOKEN}"})
    );
    assert_eq!(written["args"], json!(["--api-key", "${secret:API_KEY}"]));
    assert_eq!(value(&world, "API_TOKEN").as_deref(), Some(CANARY));
    assert_eq!(value(&world, "API_KEY").as_deref(), Some(OTHER));
    // The program has it.
    let told = ann.says("/mcp call env env").await;
    assert!(
        told.contains(r#""API_TOKEN":"••••""#) && !told.contains("${secret"),
        "{told}"
    );
    let world = world.restarted().await;
    let told = world.ann().says("/mcp call env env").await;
    assert!(told.contains(r#""API_TOKEN":"••••""#), "{told}");
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_applied_is_forgotten() {
    let world = World::open();
    let ann = world.ann();
    let line = format!("/mcp add one -e API_TOKEN={CANARY} -- switchboard demo-server");
    ann.says(&line).await;
    assert_eq!(stored(&world), ["API_TOKEN"]);
    ann.presses("Cancel").await;
    assert_eq!(stored(&world), [""; 0]);
    // What is refused was never kept.
    let huge = "x".repeat(9000);
    let line = format!("/mcp add one -e API_TOKEN={CANARY} -e HUGE={huge} -- run");
    let refused = ann.says(&line).await;
    assert!(!refused.contains("Apply"), "{refused}");
    assert_eq!(stored(&world), [""; 0]);
    // A flow that is left, too.
    ann.says("/mcp add one").await;
    ann.says(&format!("switchboard demo-server --token={OTHER}"))
        .await;
    ann.says(&format!("API_TOKEN={CANARY}")).await;
    assert_eq!(world.chat.deleted().len(), 4);
    assert_eq!(stored(&world), ["API_TOKEN", "TOKEN"]);
    nowhere(&world, LOCAL);
    ann.says("/cancel").await;
    assert_eq!(stored(&world), [""; 0]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guided_answers_wait_without_their_secrets() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add demo").await;
    ann.says("switchboard demo-server").await;
    ann.says(&format!("API_TOKEN={CANARY}\nMODE=fast")).await;
    nowhere(&world, LOCAL);
    let proposal = ann.presses("Skip").await;
    assert!(
        proposal.contains("`API_TOKEN` looks like a secret"),
        "{proposal}"
    );
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "demo")["env"],
        json!({"API_TOKEN": "${secret:API_TOKEN}", "MODE": "fast"})
    );
    // Another value gets another name, and the former one is forgotten when it is applied.
    ann.says("/mcp edit demo").await;
    ann.presses("Environment").await;
    let world = world.restarted().await;
    let ann = world.ann();
    ann.says(&format!("API_TOKEN={OTHER}")).await;
    ann.presses("Done").await;
    assert_eq!(stored(&world), ["API_TOKEN", "API_TOKEN_2"]);
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "demo")["env"]["API_TOKEN"],
        "${secret:API_TOKEN_2}"
    );
    assert_eq!(stored(&world), ["API_TOKEN_2"]);
    assert_eq!(value(&world, "API_TOKEN_2").as_deref(), Some(OTHER));
    // In one line, the same.
    ann.says(&format!("/mcp edit demo env.API_TOKEN={CANARY}"))
        .await;
    ann.presses("Apply").await;
    // The first name may be undone to, and stays that of the first value.
    assert_eq!(stored(&world), ["API_TOKEN_3"]);
    assert_eq!(value(&world, "API_TOKEN_3").as_deref(), Some(CANARY));
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_once_more_changes_nothing() {
    let world = World::open();
    let ann = world.ann();
    let server = |token: &str| json!({"command": "switchboard", "args": ["demo-server"], "env": {"API_TOKEN": token}});
    let file =
        json!({"mcpServers": {"a": server(CANARY), "b": server(CANARY), "c": server(OTHER)}});
    let bytes = serde_json::to_vec(&file).unwrap();
    ann.sends("claude_desktop_config.json", &bytes, "").await;
    ann.presses("Apply").await;
    let names = ["a", "b", "c"].map(|name| entry(&world, name)["env"]["API_TOKEN"].clone());
    assert_eq!(
        names,
        [
            "${secret:API_TOKEN}",
            "${secret:API_TOKEN}",
            "${secret:API_TOKEN_2}"
        ]
    );
    let again = ann.sends("claude_desktop_config.json", &bytes, "").await;
    assert!(again.contains("nothing to change"), "{again}");
    assert_eq!(stored(&world), ["API_TOKEN", "API_TOKEN_2"]);
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_takes_away_is_told_with_its_secrets() {
    let world = World::open();
    let ann = world.ann();
    ann.says(&format!(
        "/mcp add old -e API_TOKEN={CANARY} -- switchboard demo-server"
    ))
    .await;
    ann.presses("Apply").await;
    let file = json!({"mcpServers": {"new": {"command": "switchboard", "args": ["demo-server"]}}});
    let bytes = serde_json::to_vec(&file).unwrap();
    let added = ann.sends("mcp.json", &bytes, "").await;
    assert!(
        added.contains("# Add new?") && !added.contains("forgotten"),
        "{added}"
    );
    let replaced = ann.presses("Replace all").await;
    let lost = "The value of `API_TOKEN` is forgotten, too, and does not come back with Undo.";
    assert!(
        replaced.contains("# Replace all servers?") && replaced.contains(lost),
        "{replaced}"
    );
    let added = ann.presses("Only add").await;
    assert!(
        added.contains("# Add new?") && !added.contains("forgotten"),
        "{added}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_value_is_not_said_to_lose_one() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add one -e 'API_TOKEN=${secret:API_TOKEN}' -- switchboard demo-server")
        .await;
    ann.presses("Apply").await;
    let proposal = ann
        .says(&format!("/mcp edit one env.API_TOKEN={CANARY}"))
        .await;
    assert!(
        proposal.contains("nothing to change") || !proposal.contains("forgotten"),
        "{proposal}"
    );
    assert_eq!(stored(&world), ["API_TOKEN_2"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_value_does_not_come_to_mean_another_servers_secret() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp add one -e 'K=${secret:API_TOKEN}' -- switchboard demo-server")
        .await;
    ann.presses("Apply").await;
    ann.says(&format!(
        "/mcp add two -e API_TOKEN={CANARY} -- switchboard demo-server"
    ))
    .await;
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "two")["env"]["API_TOKEN"],
        "${secret:API_TOKEN_2}"
    );
    assert_eq!(stored(&world), ["API_TOKEN_2"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_file_is_offered_to_be_sealed() {
    let world = World::open();
    let ann = world.ann();
    let server =
        json!({"command": "switchboard", "args": ["demo-server"], "env": {"API_TOKEN": CANARY}});
    ann.says("/mcp").await;
    let told = world.chat.messages(LOCAL).len();
    write(
        &world.file(LOCAL, "mcp.json"),
        &json!({"mcpServers": {"demo": server, "plain": {"command": "x", "disabled": true}}})
            .to_string(),
    );
    world
        .sees(LOCAL, |_| world.chat.messages(LOCAL).len() > told)
        .await;
    insta::assert_snapshot!("offered", steady(&ann.says("/mcp secrets").await));
    insta::assert_snapshot!("to_seal", steady(&ann.presses("Keep it sealed").await));
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "demo")["env"]["API_TOKEN"],
        "${secret:API_TOKEN}"
    );
    assert_eq!(value(&world, "API_TOKEN").as_deref(), Some(CANARY));
    let listed = ann.says("/mcp secrets").await;
    assert!(!listed.contains("stands in the file itself"), "{listed}");
    // Nor in the history; and to undo it would be to do nothing, so undo goes on to what was before.
    nowhere(&world, LOCAL);
    let undone = ann.says("/mcp undo").await;
    assert!(undone.contains("removes *demo*"), "{undone}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proposal_shares_is_kept_for_it_and_is_never_another_ones() {
    let world = World::open();
    let ann = world.ann();
    let line = |name: &str, variable: &str, value: &str| {
        format!("/mcp add {name} -e {variable}={value} -- switchboard demo-server")
    };
    ann.says(&line("alpha", "GITHUB_TOKEN", CANARY)).await;
    ann.presses("Apply").await;
    // The same value: it is named, and not kept twice.
    ann.says(&line("beta", "HUB_TOKEN", CANARY)).await;
    let (on, apply) = world.chat.button(LOCAL, "Apply");
    assert_eq!(stored(&world), ["GITHUB_TOKEN"]);
    ann.says("/mcp remove alpha").await;
    ann.presses("Apply").await;
    assert_eq!(value(&world, "GITHUB_TOKEN").as_deref(), Some(CANARY));
    ann.says(&line("gamma", "GITHUB_TOKEN", OTHER)).await;
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "gamma")["env"]["GITHUB_TOKEN"],
        "${secret:GITHUB_TOKEN_2}"
    );
    // The files changed meanwhile: it is shown once more, and then applied.
    ann.forges(&apply.data, on).await;
    ann.presses("Apply").await;
    assert_eq!(
        entry(&world, "beta")["env"]["HUB_TOKEN"],
        "${secret:GITHUB_TOKEN}"
    );
    assert_eq!(value(&world, "GITHUB_TOKEN").as_deref(), Some(CANARY));
    // Also a name that nothing has any more stays that of the value it had, as long as something may be undone to it.
    ann.says("/mcp remove beta").await;
    ann.presses("Apply").await;
    assert_eq!(stored(&world), ["GITHUB_TOKEN_2"]);
    ann.says(&line("delta", "GITHUB_TOKEN", "third-Zx81-hush-hush"))
        .await;
    ann.presses("Apply").await;
    assert_eq!(stored(&world), ["GITHUB_TOKEN_2", "GITHUB_TOKEN_3"]);
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_away_for_a_moment_loses_no_secret() {
    let world = World::open();
    let ann = world.ann();
    ann.says(&format!(
        "/mcp add demo -e API_TOKEN={CANARY} -- switchboard demo-server"
    ))
    .await;
    ann.presses("Apply").await;
    // The other file is there all the time.
    write(
        &world.file(LOCAL, "mcp_remote.json"),
        &json!({"mcpServers": {"r": {"type": "http", "url": "https://r.example/mcp"}}}).to_string(),
    );
    let (file, away) = (
        world.file(LOCAL, "mcp.json"),
        world.data().join("away.json"),
    );
    let told = world.chat.messages(LOCAL).len();
    std::fs::rename(&file, &away).unwrap();
    world
        .sees(LOCAL, |_| {
            let snapshot = world.house.registry.snapshot(LOCAL);
            world.chat.messages(LOCAL).len() > told
                && snapshot.is_none_or(|all| all.server("demo").is_none())
        })
        .await;
    assert_eq!(value(&world, "API_TOKEN").as_deref(), Some(CANARY));
    std::fs::rename(&away, &file).unwrap();
    world
        .sees(LOCAL, |_| {
            let snapshot = world.house.registry.snapshot(LOCAL);
            snapshot.is_some_and(|all| all.server("demo").is_some())
        })
        .await;
    assert_eq!(value(&world, "API_TOKEN").as_deref(), Some(CANARY));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_another_field_is_told_of_and_its_message_is_deleted() {
    let world = World::open();
    let ann = world.ann();
    let entry = json!({"command": "switchboard", "args": ["demo-server"], "apiKey": CANARY});
    let file = json!({"globalToken": CANARY, "mcpServers": {"demo": entry}});
    let proposal = ann.says(&format!("/mcp add-json {file}")).await;
    assert!(
        proposal.contains("in `demo.apiKey`, `globalToken` stays in the file"),
        "{proposal}"
    );
    assert!(!proposal.contains(CANARY) && world.chat.deleted().len() == 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_secrets_than_may_be_kept_are_refused_whole() {
    let world = World::open();
    let ann = world.ann();
    let servers: serde_json::Map<String, Value> = (0..60)
        .map(|server| {
            let env: serde_json::Map<String, Value> = (0..5)
                .map(|nth| {
                    (
                        format!("API_TOKEN_{nth}"),
                        json!(format!("{CANARY}-{server}-{nth}")),
                    )
                })
                .collect();
            (
                format!("s{server}"),
                json!({"command": "x", "disabled": true, "env": env}),
            )
        })
        .collect();
    let bytes = serde_json::to_vec(&json!({"mcpServers": servers})).unwrap();
    let refused = ann.sends("all.json", &bytes, "").await;
    assert!(refused.contains("256"), "{refused}");
    assert_eq!(stored(&world), [""; 0]);
    assert_eq!(world.config(LOCAL), None);
    nowhere(&world, LOCAL);
    world.close().await;
}
