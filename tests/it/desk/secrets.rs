//! `/mcp secrets`: values that are given in private, kept sealed, and filled in where a server needs them.

use std::net::SocketAddr;

use base64::Engine as _;
use serde_json::json;
use switchboard::actor::Standing;
use switchboard::app::HouseOptions;
use switchboard::config::{GivenFor, SecretName};
use switchboard::registry::ServerState;
use switchboard::thread::ThreadId;
use switchboard::web::Web;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::remote::{CANARY, LOCAL, nowhere, open, remote};
use crate::support::chat::{Deletes, steady};
use crate::support::hostile::{Far, Manners};
use crate::support::world::{World, misbehave, within, write};

const GROUP: ThreadId = ThreadId::Telegram {
    chat: -7,
    topic: None,
};

fn stored(world: &World, thread: ThreadId) -> Vec<String> {
    let names = world.house.store.secret_names(thread).unwrap();
    names.iter().map(ToString::to_string).collect()
}

fn value(world: &World, thread: ThreadId, name: &str, to: &GivenFor) -> Option<String> {
    let name = SecretName::new(name).unwrap();
    let secret = world.house.store.secret(thread, &name, to).unwrap();
    secret.map(|secret| secret.expose().to_owned())
}

/// Adds a server that tells its environment.
async fn add(world: &World, name: &str, env: &str) -> String {
    let ann = world.ann();
    ann.says(&format!(
        "/mcp add {name} -e '{env}' -- {}",
        misbehave().display()
    ))
    .await;
    ann.presses("Apply").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_server_gets_its_secret_at_launch_and_nobody_sees_it() {
    let world = World::open();
    let ann = world.ann();
    add(&world, "env", "GH=x${secret:GH_TOKEN}y").await;
    let shown = ann.says("/mcp show env").await;
    assert!(
        shown.contains("`GH_TOKEN`") || shown.contains("GH_TOKEN"),
        "{shown}"
    );
    assert!(shown.contains("/mcp secrets set GH_TOKEN"), "{shown}");
    insta::assert_snapshot!("unset", steady(&ann.says("/mcp secrets").await));
    insta::assert_snapshot!("ask", steady(&ann.says("/mcp secrets set GH_TOKEN").await));
    let kept = ann.says(CANARY).await;
    insta::assert_snapshot!("kept", steady(&kept));
    assert_eq!(world.chat.deleted().len(), 1);
    assert_eq!(
        value(&world, LOCAL, "GH_TOKEN", &GivenFor::Local).as_deref(),
        Some(CANARY)
    );
    // It was filled in: what the server tells has it, and the answer masks it; raw and in base64.
    let told = ann.says("/mcp call env env").await;
    assert!(
        told.contains("x••••y") && !told.contains("${secret"),
        "{told}"
    );
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{CANARY}"));
    let told = ann
        .says(&format!("/mcp call env echo text={encoded}"))
        .await;
    assert!(!told.contains(&encoded), "{told}");
    insta::assert_snapshot!("list", steady(&ann.says("/mcp secrets").await));
    // Another value starts the server anew.
    let before = world.chat.deleted().len();
    let other = "another-Zx81-hush-hush";
    ann.says(&format!("/mcp secrets set GH_TOKEN {other}"))
        .await;
    assert_eq!(world.chat.deleted().len(), before + 1);
    assert_eq!(
        value(&world, LOCAL, "GH_TOKEN", &GivenFor::Local).as_deref(),
        Some(other)
    );
    let told = ann.says("/mcp call env env").await;
    assert!(told.contains("x••••y"), "{told}");
    nowhere(&world, LOCAL);
    // Forgotten, after a question.
    insta::assert_snapshot!(
        "forget",
        steady(&ann.says("/mcp secrets remove GH_TOKEN").await)
    );
    insta::assert_snapshot!("forgotten", steady(&ann.presses("Forget it").await));
    assert_eq!(stored(&world, LOCAL), [""; 0]);
    let told = ann.says("/mcp call env env").await;
    assert!(told.contains("/mcp secrets set GH_TOKEN"), "{told}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lacks_a_secret_says_so_after_a_restart_and_does_not_seem_asleep() {
    let world = World::open();
    let ann = world.ann();
    ann.says(&format!("/mcp secrets set GH_TOKEN {CANARY}"))
        .await;
    add(&world, "env", "GH=${secret:GH_TOKEN}").await;
    add(&world, "other", "LEVEL=1").await;
    ann.says("/mcp secrets remove GH_TOKEN").await;
    ann.presses("Forget it").await;
    let world = world.restarted().await;
    world.ann().says("/mcp list").await;
    let settled = world.house.registry.wait(LOCAL, |snapshot| {
        let server = snapshot.server("env");
        server.is_some_and(|server| matches!(server.state, ServerState::Failed { .. }))
    });
    within(settled).await.unwrap();
    insta::assert_snapshot!(
        "lacks_a_secret",
        steady(&world.ann().says("/mcp list").await)
    );
    let shown = world.ann().says("/mcp show env").await;
    assert!(shown.contains("/mcp secrets set GH_TOKEN"), "{shown}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_secrets_is_filled_in_and_a_remote_ones_key_is_none_of_a_local_server() {
    let world = World::open_with(open);
    let far = Far::start(Manners::default().wanting(super::remote::token(CANARY))).await;
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {} --bearer {CANARY}", far.url()))
        .await;
    ann.presses("Apply").await;
    // Through a screen.
    let refused = ann
        .says(&format!(
            "/mcp add thief -e 'K=${{secret:HUB_TOKEN}}' -- {}",
            misbehave().display()
        ))
        .await;
    assert!(refused.contains("was given for http://"), "{refused}");
    // By hand.
    let env = json!({"K": "${secret:HUB_TOKEN}"});
    let entry = json!({"command": misbehave(), "env": env});
    let told = world.chat.messages(LOCAL).len();
    write(
        &world.file(LOCAL, "mcp.json"),
        &json!({"mcpServers": {"thief": entry}}).to_string(),
    );
    world
        .sees(LOCAL, |_| world.chat.messages(LOCAL).len() > told)
        .await;
    let called = ann.says("/mcp call thief env").await;
    assert!(
        called.contains("HUB_TOKEN") && !called.contains(CANARY),
        "{called}"
    );
    // The other way round: a local server's value, asked for by a remote entry.
    ann.says("/mcp secrets set MINE value-of-mine-12345").await;
    let refused = ann
        .says(&format!(
            "/mcp connect odd {} --header 'X-K: ${{secret:MINE}}'",
            far.url()
        ))
        .await;
    assert!(
        refused.contains("was given for the servers on the bot's machine"),
        "{refused}"
    );
    let mut file = remote(&world, LOCAL);
    file["mcpServers"]["hub"]["headers"] = json!({"X-K": "${secret:MINE}"});
    let told = world.chat.messages(LOCAL).len();
    write(&world.file(LOCAL, "mcp_remote.json"), &file.to_string());
    world
        .sees(LOCAL, |_| world.chat.messages(LOCAL).len() > told)
        .await;
    let refused = ann.says("/mcp connect hub").await;
    assert!(refused.contains("was given for"), "{refused}");
    for seen in far.seen() {
        assert!(!format!("{seen:?}").contains("value-of-mine"), "{seen:?}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d29_nothing_of_the_bots_own_is_filled_in() {
    // Set in this very process, by whoever runs the tests.
    let own = "${HOME} ${env:HOME} ${PATH} ${env:CARGO_MANIFEST_DIR} ${input:x} $(id)";
    assert!(std::env::var_os("HOME").is_some() && std::env::var_os("PATH").is_some());
    let world = World::open();
    add(&world, "env", &format!("A={own}")).await;
    let ann = world.ann();
    let told = ann.says("/mcp call env env").await;
    assert!(told.contains(own), "{told}");
    let said = format!("/mcp add said -- {} 'say={own}'", misbehave().display());
    ann.says(&said).await;
    ann.presses("Apply").await;
    let told = ann.says("/mcp logs said").await;
    assert!(told.contains(own), "{told}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_a_value_is_taken_in_private_alone() {
    let world = World::open();
    let (ann, bob) = (
        world.person("Ann", GROUP, false),
        world.person("Bob", GROUP, false),
    );
    world.chat.set_standing(&ann.id(), Standing::Administrator);
    world.chat.set_standing(&bob.id(), Standing::Member);
    for line in [
        "/mcp secrets",
        "/mcp secrets set A",
        "/mcp secrets remove A",
    ] {
        let refused = bob.says(line).await;
        assert!(!refused.contains("value of A"), "{refused}");
    }
    // Pasted where others read along: deleted and not taken.
    ann.says(&format!("/mcp secrets set TOKEN {CANARY}")).await;
    assert_eq!(world.chat.deleted().len(), 1);
    assert_eq!(stored(&world, GROUP), [""; 0]);
    ann.says(CANARY).await;
    assert_eq!(stored(&world, GROUP), [""; 0]);
    let moved = ann.says("/mcp secrets set TOKEN").await;
    let nonce = world.chat.nonce(GROUP);
    insta::assert_snapshot!("moved", steady(&moved).replace(&nonce, "NONCE"));
    let home = world.person("Ann", ThreadId::telegram(9, None), true);
    insta::assert_snapshot!(
        "at_home",
        steady(&home.says(&format!("/start {nonce}")).await)
    );
    home.says(CANARY).await;
    world
        .sees(GROUP, |shown| {
            crate::support::chat::plain(&shown.view).contains("is kept")
        })
        .await;
    assert_eq!(
        value(&world, GROUP, "TOKEN", &GivenFor::Local).as_deref(),
        Some(CANARY)
    );
    assert_eq!(stored(&world, ThreadId::telegram(9, None)), [""; 0]);
    for thread in [GROUP, ThreadId::telegram(9, None)] {
        nowhere(&world, thread);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_given_for_the_server_that_was_named() {
    let world = World::open_with(open);
    let far = Far::start(Manners::default()).await;
    let ann = world.ann();
    ann.says(&format!(
        "/mcp connect hub {} --header 'X-Team: blue'",
        far.url()
    ))
    .await;
    ann.presses("Apply").await;
    let asked = ann.says("/mcp secrets set KEY for hub").await;
    assert!(
        asked.contains(&format!("kept for {}", far.base())),
        "{asked}"
    );
    ann.says(CANARY).await;
    let place = GivenFor::place_of(&far.url());
    assert_eq!(value(&world, LOCAL, "KEY", &place).as_deref(), Some(CANARY));
    assert_eq!(value(&world, LOCAL, "KEY", &GivenFor::Local), None);
    ann.says("/mcp edit hub 'headers.X-K=${secret:KEY}'").await;
    ann.presses("Apply").await;
    assert!(
        far.seen()
            .iter()
            .any(|seen| format!("{seen:?}").contains(CANARY))
    );
    for (line, why) in [
        ("set KEY for nobody", "There is no server `nobody`"),
        ("set", "name is missing"),
        ("set a/b", "has 1 to 64 letters"),
        ("remove OTHER", "Nothing is kept under the name `OTHER`"),
        ("dance", "`set NAME` or `remove NAME`"),
    ] {
        let refused = ann.says(&format!("/mcp secrets {line}")).await;
        assert!(refused.contains(why), "{line}: {refused}");
    }
    assert_eq!(stored(&world, LOCAL), ["KEY"]);
    nowhere(&world, LOCAL);
    world.close().await;
}

/// A world whose pages people can reach.
async fn with_pages() -> (World, SocketAddr) {
    with_pages_and(|_| {}).await
}

pub(super) async fn with_pages_and(set: impl FnOnce(&mut HouseOptions)) -> (World, SocketAddr) {
    let web = Web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = web.address().unwrap();
    let mut world = World::open_with(|options| {
        options.public_url = Some(format!("http://{at}/base/").parse().unwrap());
        set(options);
    });
    world.house.serve(web);
    (world, at)
}

pub(super) async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> String {
    within(async {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(request.as_bytes()).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    })
    .await
}

pub(super) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_entered_on_a_page_once_and_never_passes_the_chat() {
    let (world, at) = with_pages().await;
    let ann = world.ann();
    let path = async || {
        ann.says("/mcp secrets set TOKEN").await;
        let link = world.chat.newest(LOCAL).view.links.remove(0).url;
        let path = link.strip_prefix(&format!("http://{at}/base")).unwrap();
        path.to_owned()
    };
    let page = path().await;
    assert!(page.strip_prefix("/secret/").unwrap().len() >= 26, "{page}");
    let shown = steady(&ann.sees_now());
    let shown = shown.replace(&page, "/secret/NONCE");
    insta::assert_snapshot!(
        "page_offered",
        shown.replace(&at.to_string(), "bot.example")
    );
    // A look, a link preview, a form of another site and one that is none change nothing.
    for (method, headers, body) in [
        ("GET", "", ""),
        ("HEAD", "", ""),
        (
            "POST",
            &*format!("{FORM}Sec-Fetch-Site: cross-site\r\n"),
            "value=evil",
        ),
        (
            "POST",
            &*format!("{FORM}Origin: http://evil.example\r\n"),
            "value=evil",
        ),
        ("POST", "", "value=evil"),
        ("POST", FORM, "value="),
        ("POST", FORM, "other=evil"),
    ] {
        let answer = ask(at, method, &page, headers, body).await;
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "{method} {body}: {answer}"
        );
        for header in [
            "no-store",
            "same-origin",
            "nosniff",
            "DENY",
            "form-action 'self'",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        assert!(!answer.contains("<script"));
        assert_eq!(stored(&world, LOCAL), [""; 0], "{method} {body}");
    }
    let long = format!("value={}", "x".repeat(70_000));
    let answer = ask(at, "POST", &page, FORM, &long).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Below the path that a proxy kept, too.
    let form = format!("{FORM}Sec-Fetch-Site: same-origin\r\n");
    let body = format!("value={CANARY}%20%2B+%C3%BC");
    let answer = ask(at, "POST", &format!("/base{page}"), &form, &body).await;
    assert!(
        answer.contains("Thank you") && !answer.contains(CANARY),
        "{answer}"
    );
    world
        .sees(LOCAL, |shown| {
            crate::support::chat::plain(&shown.view).contains("is kept")
        })
        .await;
    let kept = value(&world, LOCAL, "TOKEN", &GivenFor::Local);
    assert_eq!(kept, Some(format!("{CANARY} + ü")));
    for method in ["GET", "POST"] {
        let over = ask(at, method, &page, FORM, "value=again").await;
        assert!(over.starts_with("HTTP/1.1 404"), "{over}");
    }
    assert_eq!(value(&world, LOCAL, "TOKEN", &GivenFor::Local), kept);
    // Another one is over by its time, and one that was made up never was.
    let old = path().await;
    world.pass(std::time::Duration::from_mins(16));
    for page in [old.as_str(), "/secret/made-up", "/secret/"] {
        let over = ask(at, "POST", page, FORM, "value=late").await;
        assert!(over.starts_with("HTTP/1.1 404"), "{page}: {over}");
    }
    assert_eq!(value(&world, LOCAL, "TOKEN", &GivenFor::Local), kept);
    nowhere(&world, LOCAL);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d34_a_message_with_a_secret_goes_or_its_staying_is_said() {
    for (deletes, told) in [
        (Deletes::Done, "I deleted your message"),
        (Deletes::Refused, "please delete it yourself"),
        (Deletes::Unknown, "stays where you wrote it"),
    ] {
        let world = World::open();
        let ann = world.ann();
        world.chat.deletes(deletes);
        for line in [
            "/mcp secrets set A_TOKEN ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "/mcp add demo -e A_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012346 -- switchboard demo-server",
        ] {
            let before = world.transcript(ThreadId::Local).len();
            ann.says(line).await;
            let shown = world.transcript(ThreadId::Local);
            assert!(
                shown[before..].contains(told),
                "{deletes:?}, {line}: {shown}"
            );
            assert_eq!(!world.chat.deleted().is_empty(), deletes == Deletes::Done);
        }
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_a_secret_is_cancelled_and_what_comes_then_is_none() {
    let world = World::open();
    let ann = world.ann();
    ann.says("/mcp secrets set GH_TOKEN").await;
    let over = ann.says("/cancel").await;
    assert!(
        over.contains("Cancelled asking for the value of GH_TOKEN"),
        "{over}"
    );
    ann.says("good morning").await;
    assert_eq!(stored(&world, LOCAL), [""; 0]);
    assert!(world.chat.deleted().is_empty());
    world.close().await;
}
