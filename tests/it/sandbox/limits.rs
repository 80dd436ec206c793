//! What a hostile server uses up is its own.

use std::time::{Duration, Instant};

use serde_json::json;
use switchboard::config::ServerName;
use switchboard::policy::Tier;
use switchboard::registry::{CallError, ServerState};
use switchboard::sandbox::Sandbox;

use super::scene::program;
use crate::support::world::{PATIENCE, misbehave};

use super::scene::{A, B, MIB, Scene, gone, tagged, tiers};

/// Small, so that a test that fails does no harm.
fn scene(sandbox: &Sandbox) -> Scene {
    Scene::with(sandbox, |policy| {
        policy.quotas.memory_bytes = 256 * MIB;
        policy.quotas.processes = 40;
        policy.quotas.tmp_bytes = 16 * MIB;
        policy.quotas.home_bytes = 64 * MIB;
    })
}

/// Another chat's calls succeed while `bad` does what it does.
async fn others_go_on(scene: &Scene) {
    for number in 0..20 {
        let echo = scene
            .call(B, ("good", "echo"), json!({"text": number.to_string()}))
            .await;
        assert!(echo.is_ok(), "{echo:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_memory_is_bounded_and_the_reason_told() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(B, "good", scene.demo()).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let eats = scene.call(A, ("bad", "eat"), json!({"bytes": 2048 * MIB}));
        let (eaten, ()) = futures::future::join(eats, others_go_on(&scene)).await;
        // Whoever called is told, and not only whoever looks.
        let Err(CallError::Ended { why, advice }) = eaten else {
            panic!("{tier:?}: {eaten:?}")
        };
        assert!(
            why.contains("it used more than 256 MiB of memory"),
            "{tier:?}: {why}"
        );
        assert!(
            advice.contains("raise `quotas.memory_bytes`"),
            "{tier:?}: {advice}"
        );
        let reason = scene.reason(A, "bad").await;
        assert!(
            reason.contains("it was ended because it used more than 256 MiB of memory")
                || reason.contains("It was ended because it used more than 256 MiB of memory"),
            "{tier:?}: {reason}"
        );
        assert!(reason.contains("raise `quotas.memory_bytes`"), "{reason}");
        // Until somebody starts it anew.
        let ended = || {
            let snapshot = scene.registry.snapshot(A).unwrap();
            snapshot.server("bad").unwrap().ended.clone()
        };
        assert_eq!(ended().map(|end| end.reason.clone()), Some(reason));
        let name = ServerName::new("bad").unwrap();
        let logs = scene.registry.logs(A, &name).unwrap().join("\n");
        assert!(logs.contains("more than 256 MiB of memory"), "{logs}");
        scene.registry.restart(A, &name).await.unwrap();
        assert_eq!(ended(), None, "{tier:?}");
        scene.run(A, &[]).await;
        scene.gone().await;
    }
}

/// A server that keeps this is ended for it under each tier, and nothing of it stays; what was told each time.
async fn ended_for(what: &str, words: &str) -> Vec<String> {
    let mut told = Vec::new();
    for (tier, sandbox) in tiers() {
        let scene = Scene::with(sandbox, |policy| policy.quotas.memory_bytes = 128 * MIB);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let kept = scene.call(A, ("bad", "keep"), json!({"what": what})).await;
        assert!(kept.is_err(), "{tier:?}: {kept:?}");
        let reason = scene.reason(A, "bad").await;
        assert!(reason.contains(words), "{tier:?}: {reason}");
        scene.gone().await;
        told.push(reason);
    }
    assert!(!told.is_empty(), "no tier was tried");
    told
}

/// Memory of a process whose first thread ended, so that it looks like one that is dead.
#[tokio::test(flavor = "multi_thread")]
async fn d10_a_process_without_its_first_thread_counts() {
    ended_for("hides", "used more than 128 MiB of memory").await;
}

/// Memory that no counter of a process shows once it gave it up; a little more than it may have.
#[tokio::test(flavor = "multi_thread")]
async fn d10_memory_that_is_shared_and_given_up_counts() {
    ended_for("shares", "used more than 128 MiB of memory").await;
}

/// Sockets that hold nothing, a few more than one server may have, in several processes.
#[tokio::test(flavor = "multi_thread")]
async fn d10_sockets_are_bounded_and_the_reason_told() {
    let told = ended_for("joins", "had more than 1000 sockets").await;
    assert!(
        told.iter()
            .all(|reason| reason.contains("less to do at once")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_fork_bomb_is_bounded_and_swept() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(B, "good", scene.demo()).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let bombs = scene.call(A, ("bad", "bomb"), json!({"most": 400}));
        let (started, ()) = futures::future::join(bombs, others_go_on(&scene)).await;
        // Either the kernel held it back, or it was ended while it went on.
        if let Ok(started) = started {
            assert!(started.as_u64().unwrap() < 400, "{tier:?}: {started}");
        }
        assert!(scene.processes() < 400, "{tier:?}");
        scene.run(A, &[]).await;
        scene.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_tmp_is_bounded() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(B, "good", scene.demo()).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let fills = scene.call(
            A,
            ("bad", "fill"),
            json!({"at": "/tmp/x", "bytes": 200 * MIB}),
        );
        let (written, ()) = futures::future::join(fills, others_go_on(&scene)).await;
        let most = if *tier == Tier::Strong { 16 * MIB } else { 0 };
        assert!(written.unwrap().as_u64().unwrap() <= most, "{tier:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_home_is_bounded_and_the_reason_told() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(B, "good", scene.demo()).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let fills = scene.call(A, ("bad", "fill"), json!({"at": "x", "bytes": 300 * MIB}));
        let (_, ()) = futures::future::join(fills, others_go_on(&scene)).await;
        let reason = scene.reason(A, "bad").await;
        assert!(
            reason.contains("this chat's own folder on the host holds more than 64 MiB"),
            "{tier:?}: {reason}"
        );
        // And nothing is started there before it is smaller.
        scene.run(A, &[("next", scene.hostile(&[]))]).await;
        let reason = scene.reason(A, "next").await;
        assert!(
            reason.contains("holds more than 64 MiB"),
            "{tier:?}: {reason}"
        );
        assert!(reason.contains("Remove files"), "{tier:?}: {reason}");
    }
}

/// Files that no walk through the home finds: two that are open, and two that are only mapped.
#[tokio::test(flavor = "multi_thread")]
async fn d10_a_home_is_bounded_also_by_files_without_a_name() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let kept = scene.call(A, ("bad", "keep"), json!({"what": "unlinks"}));
        let kept = kept.await;
        assert!(kept.is_err(), "{tier:?}: {kept:?}");
        let reason = scene.reason(A, "bad").await;
        assert!(
            reason.contains("this chat's own folder on the host holds more than 64 MiB"),
            "{tier:?}: {reason}"
        );
        // They went with it.
        scene.gone().await;
        scene.run(A, &[("next", scene.hostile(&[]))]).await;
        let state = scene.state(A, "next");
        assert!(
            matches!(state, ServerState::Ready { .. }),
            "{tier:?}: {state:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_whoever_spins_leaves_time_for_others() {
    for (_, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(B, "good", scene.demo()).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let spins = scene.call(A, ("bad", "spin"), json!({"threads": 8, "ms": 1500}));
        let (spun, ()) = futures::future::join(spins, others_go_on(&scene)).await;
        assert_eq!(spun.unwrap(), json!(8));
    }
}

/// Waits for so many processes: a command line is there a moment after its program.
async fn running(tag: &str, number: usize, tier: Tier) {
    let until = Instant::now() + PATIENCE;
    while tagged(tag).len() < number {
        assert!(Instant::now() < until, "{tier:?}: {:?}", tagged(tag));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_started_goes_with_it() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        for _ in 0..3 {
            scene.call(A, ("bad", "start"), json!({})).await.unwrap();
        }
        running(&scene.tag, 4, *tier).await;
        scene.run(A, &[]).await;
        scene.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_bot_that_is_killed_in_any_tier() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let bin = scene.at("bin/misbehave");
        std::fs::copy(misbehave(), &bin).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the bot under test")]
        let mut bot = std::process::Command::new(&bin)
            .arg("host")
            .arg(program())
            .arg(scene.at("data/homes"))
            .arg(tier.word())
            .args([
                "--",
                "stubborn",
                "child=plain",
                "child=setsid",
                "child=daemon",
                &scene.tag,
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(bot.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line, "ready\n", "{tier:?}");
        // The server, its three, and the bot itself, which has the word too.
        running(&scene.tag, 5, *tier).await;
        bot.kill().unwrap();
        bot.wait().unwrap();
        gone(&scene.tag).await;
    }
}
