//! Published servers reached over the network, by chat: connected, listed, called, stopped, killed and started again; and
//! one thread with a server of every kind.

use switchboard::registry::{ServerState, Snapshot};
use switchboard::store::Shelf;
use switchboard::thread::ThreadId;

use crate::guarded::{Guarded, Pages};
use crate::programs::{Published, loopback};
use crate::servers::EVERYTHING;
use crate::support::chat::plain;
use crate::support::world::{PROGRAM, World, within};
use crate::talk::{begins, presses, says};

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_by_streamable_http() {
    works("streamableHttp", "/mcp", "streamable HTTP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_by_http_and_sse() {
    works("sse", "/sse", "HTTP+SSE").await;
}

/// Connect, tools, call, progress, cancel; then the same while the server is killed and comes back.
async fn works(transport: &'static str, path: &str, spoken: &str) {
    let mut server = Published::start(EVERYTHING.path(), transport).await;
    let world = World::open_with(|options| options.net.rules = loopback());
    let proposal = says(
        &world,
        &format!("/mcp connect everything {}", server.url(path)),
        "What to know before you apply it",
    )
    .await;
    assert!(proposal.contains(spoken), "{proposal}");
    presses(&world, "Apply", "🟢 *everything* ·").await;
    for tool in EVERYTHING.tools {
        says(&world, "/mcp tools everything", tool).await;
    }
    says(
        &world,
        "/mcp call everything echo message=hello-there",
        "hello-there",
    )
    .await;
    says(
        &world,
        "/mcp call everything get-sum {\"a\": 2, \"b\": 40}",
        "42",
    )
    .await;

    // Progress in the message, and Stop reaches the server: the next call is not behind it.
    let long = "/mcp call everything trigger-long-running-operation duration=30 steps=300";
    begins(&world, long, "▱").await;
    presses(&world, "Stop", "Stopped").await;
    says(&world, "/mcp call everything echo message=and-on", "and-on").await;

    // Killed while a call runs: the call ends with words, and the others go on.
    world
        .ann()
        .says(&format!("/mcp add demo -- {PROGRAM} demo-server"))
        .await;
    presses(&world, "Apply", "🟢 *demo* ·").await;
    let call = begins(&world, long, "▱").await;
    server.kill().await;
    let ended = plain(&call.sees(&world, "before it answered").await);
    assert!(!ended.contains('▱'), "{ended}");
    until(&world, |state| !matches!(state, ServerState::Ready { .. })).await;
    says(&world, "/mcp call demo echo text=still-here", "still-here").await;
    says(&world, "/mcp list", "everything").await;

    // It comes back by itself, with its tools.
    server.start_again().await;
    until(&world, |state| matches!(state, ServerState::Ready { .. })).await;
    says(
        &world,
        "/mcp call everything echo message=back-again",
        "back-again",
    )
    .await;
    server.kill().await;
    server.start_again().await;
    // A call right after it, whatever the bot has noticed of it, ends in time and with an answer or a reason.
    says(
        &world,
        "/mcp call everything echo message=once-more",
        "everything",
    )
    .await;
    until(&world, |state| matches!(state, ServerState::Ready { .. })).await;
    says(
        &world,
        "/mcp call everything echo message=and-again",
        "and-again",
    )
    .await;
    says(&world, "/mcp test everything", "everything works").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thread_with_a_server_of_every_kind_shows_all_and_calls_each() {
    let http = Published::start(EVERYTHING.path(), "streamableHttp").await;
    let sse = Published::start(EVERYTHING.path(), "sse").await;
    let all = Guarded::start(Pages::Here).await;
    all.world
        .ann()
        .says(&format!("/mcp add local -- {PROGRAM} demo-server"))
        .await;
    all.presses("Apply", "🟢 *local* ·").await;
    for (name, url) in [("web", http.url("/mcp")), ("old", sse.url("/sse"))] {
        all.says(
            &format!("/mcp connect {name} {url}"),
            "What to know before you apply it",
        )
        .await;
        all.presses("Apply", &format!("🟢 *{name}* ·")).await;
    }
    let link = all.connects("").await;
    all.logs_in(&link).await;

    let panel = all.says("/mcp", "Servers in this chat").await;
    for name in ["local", "web", "old", "guarded"] {
        assert!(panel.contains(&format!("🟢 *{name}*")), "{panel}");
    }
    all.says("/mcp call local echo text=by-pipe", "by-pipe")
        .await;
    all.says("/mcp call web echo message=by-http", "by-http")
        .await;
    all.says("/mcp call old echo message=by-sse", "by-sse")
        .await;
    all.calls("whoami", "alice").await;
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_on_a_remote_server_and_removing_it_leaves_nothing() {
    let all = Guarded::start(Pages::Here).await;
    let link = all.connects("").await;
    all.logs_in(&link).await;
    let url = all.server.fact("url").to_owned();
    all.says("/mcp show guarded", &url).await;
    all.says("/mcp test guarded", "guarded works").await;
    all.says("/mcp tools guarded", "whoami").await;
    all.says("/mcp status", "guarded").await;
    let logs = all.says("/mcp logs guarded", "tools/list 200 in").await;
    assert!(!logs.contains("eyJ") && !logs.contains("Bearer"), "{logs}");
    all.says("/mcp restart guarded", "🟢 *guarded*").await;
    all.says("/mcp edit guarded timeout_ms=5000", "timeout_ms")
        .await;
    all.presses("Apply", "🟢 *guarded*").await;
    all.says("/mcp disable guarded", "off").await;
    all.says("/mcp enable guarded", "Enable guarded?").await;
    all.presses("Apply", "🟢 *guarded*").await;
    all.says("/mcp rename guarded other", "Rename guarded to other?")
        .await;
    all.presses("Apply", "🟢 *other*").await;
    all.says("/mcp call other whoami", "alice").await;
    all.says("/mcp download remote", "<file mcp_remote.json")
        .await;
    let all_sent = all.world.chat.messages(ThreadId::Local);
    let sent = all_sent.iter().flat_map(|shown| &shown.view.attachments);
    let sent: Vec<_> = sent
        .map(|file| String::from_utf8_lossy(&file.bytes))
        .collect();
    assert!(
        sent.len() == 1 && sent[0].contains(&url) && !sent[0].contains("eyJ"),
        "{sent:?}"
    );

    all.says("/mcp remove other", "Remove other?").await;
    all.presses("Apply", "gone").await;
    let store = &all.world.house.store;
    let left = || {
        let credentials = store.credentials(ThreadId::Local).unwrap().len();
        let approvals = store.approvals(ThreadId::Local).unwrap().len();
        let logins = store.shelf(Shelf::Logins).unwrap().len();
        credentials + approvals + logins + store.secret_names(ThreadId::Local).unwrap().len()
    };
    let forgotten = async {
        while left() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within(forgotten).await;
    let revoked = all.asked("/token/revocation").await;
    assert!(
        revoked.iter().any(|one| one["status"] == 200),
        "{revoked:?}"
    );
    // Every session that was opened on the way is told its end.
    let ended = async {
        loop {
            let calls = all.server.pull("GET /calls").await;
            let calls = calls.as_array().unwrap();
            let count = |method: &str| {
                let is_it =
                    |call: &&serde_json::Value| call["method"] == method && call["status"] == 200;
                calls.iter().filter(is_it).count()
            };
            if count("initialize") > 0 && count("initialize") == count("DELETE") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within(ended).await;
    all.close().await;
}

/// Waits until the server is in such a state.
async fn until(world: &World, is: impl Fn(&ServerState) -> bool + Send + Sync) {
    let is_there = |snapshot: &Snapshot| {
        let server = snapshot.server("everything");
        server.is_some_and(|server| is(&server.state))
    };
    let waited = within(world.house.registry.wait(ThreadId::Local, is_there)).await;
    assert!(waited.is_some(), "the thread was let go");
}
