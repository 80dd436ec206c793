//! What a hostile server uses up is its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use serde_json::json;
use switchboard::config::ServerName;
use switchboard::policy::Tier;
use switchboard::registry::{CallError, ServerState};
use switchboard::sandbox::Sandbox;
use switchboard::thread::ThreadId;

use super::scene::{A, B, MIB, Scene, copy, gone, open, program, tagged, tiers};
use crate::support::chat::plain;
use crate::support::world::{PATIENCE, misbehave};

/// Small, so that a test that fails does no harm.
fn scene(sandbox: &Sandbox) -> Scene {
    Scene::with(sandbox, |policy| {
        policy.quotas.memory_bytes = 256 * MIB;
        policy.quotas.processes = 40;
        policy.quotas.tmp_bytes = 16 * MIB;
        policy.quotas.home_bytes = 64 * MIB;
    })
}

/// So many of another chat's calls succeed at least.
const CALLS: usize = 20;

/// How another chat fared while something went on.
struct Others {
    /// Its calls that were answered before that ended.
    meanwhile: usize,
    /// The most processes of the hostile server that were seen at once.
    processes: usize,
}

/// Another chat's calls go on from before the harm until it ended, and each of them succeeds within its own deadline.
fn others_go_on<'a, T: 'a>(
    scene: &'a Scene,
    harm: impl Future<Output = T> + 'a,
) -> LocalBoxFuture<'a, (T, Others)> {
    let harm = Box::pin(harm);
    Box::pin(async move {
        scene.up(B, "good", scene.demo()).await;
        let echo = async |number: usize| {
            let text = number.to_string();
            let echo = scene.call(B, ("good", "echo"), json!({"text": text})).await;
            assert_eq!(echo, Ok(json!(number)), "call {number}");
        };
        echo(0).await;
        let is_over = &AtomicBool::new(false);
        let harm = async {
            let outcome = harm.await;
            is_over.store(true, Ordering::SeqCst);
            outcome
        };
        let others = async {
            let mut others = Others {
                meanwhile: 0,
                processes: 0,
            };
            for number in 1.. {
                echo(number).await;
                others.processes = others.processes.max(scene.processes());
                if !is_over.load(Ordering::SeqCst) {
                    others.meanwhile = number;
                } else if number >= CALLS {
                    break;
                }
                // It is not to be the one that keeps the processor busy.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            others
        };
        let (others, outcome) = futures::future::join(others, harm).await;
        (outcome, others)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_memory_is_bounded_and_the_reason_told() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let eats = scene.call(A, ("bad", "eat"), json!({"bytes": 2048 * MIB}));
        let (eaten, _) = others_go_on(&scene, eats).await;
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
        let keeps = scene.call(A, ("bad", "keep"), json!({"what": what}));
        let (kept, _) = others_go_on(&scene, keeps).await;
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

/// The most processes and threads that the kernel lets the user of this scene's server have, as it stands there.
fn most_of_the_kernel(scene: &Scene) -> u64 {
    let server = tagged(&scene.tag).pop().unwrap();
    let limits = std::fs::read_to_string(server.join("limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max processes"))
        .unwrap();
    let most = line.split_ascii_whitespace().next().unwrap();
    most.parse().unwrap()
}

/// Each of its processes starts two others, 1023 in all if nothing held it.
#[tokio::test(flavor = "multi_thread")]
async fn d10_a_fork_bomb_is_bounded_and_swept() {
    const MOST: u64 = 40;
    // Not a chat of another test: where the bot is root, a chat's user is the same in all of them, and what it may have of
    // processes as well.
    const BOMBER: ThreadId = ThreadId::Telegram {
        chat: 66,
        topic: None,
    };
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        assert_eq!(scene.policy.now().quotas.processes, MOST);
        scene.up(BOMBER, "bad", scene.hostile(&[])).await;
        // Four servers of a thread may share its user; where it is the bot's own, that has others, too.
        let by_kernel = most_of_the_kernel(&scene);
        let is_root = rustix::process::getuid().is_root();
        match (is_root, tier) {
            (true, _) => assert_eq!(by_kernel, 4 * MOST, "{tier:?}"),
            (false, Tier::Strong) => assert_eq!(by_kernel, MOST),
            (false, _) => assert!(by_kernel >= 4 * MOST, "{by_kernel}"),
        }
        let bursts = async {
            let began = scene.call(BOMBER, ("bad", "bomb"), json!({"generations": 9}));
            // It may be ended before it has answered.
            if let Ok(began) = began.await {
                assert_eq!(began, json!(true), "{tier:?}");
            }
            if by_kernel > MOST {
                let reason = scene.reason(BOMBER, "bad").await;
                assert!(
                    reason.contains("ran more than 40 processes and threads"),
                    "{tier:?}: {reason}"
                );
                assert!(reason.contains("raise `quotas.processes`"), "{reason}");
            } else {
                // Held for good; bubblewrap and what keeps the network take some of them.
                let held = usize::try_from(MOST / 2).unwrap();
                running(&scene.tag, held, *tier).await;
                scene.run(BOMBER, &[]).await;
            }
            scene.gone().await;
        };
        let ((), others) = others_go_on(&scene, bursts).await;
        let seen = others.processes as u64;
        assert!(seen <= by_kernel, "{tier:?}: {seen} of {by_kernel}");
        // It does not come back.
        scene.run(BOMBER, &[]).await;
        scene.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_tmp_is_bounded() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let fills = scene.call(
            A,
            ("bad", "fill"),
            json!({"at": "/tmp/x", "bytes": 200 * MIB}),
        );
        let (written, _) = others_go_on(&scene, fills).await;
        let most = if *tier == Tier::Strong { 16 * MIB } else { 0 };
        assert!(written.unwrap().as_u64().unwrap() <= most, "{tier:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_home_is_bounded_and_the_reason_told() {
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let fills = scene.call(A, ("bad", "fill"), json!({"at": "x", "bytes": 300 * MIB}));
        others_go_on(&scene, fills).await.0.ok();
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
        let keeps = scene.call(A, ("bad", "keep"), json!({"what": "unlinks"}));
        let (kept, _) = others_go_on(&scene, keeps).await;
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
    for (tier, sandbox) in tiers() {
        let scene = scene(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let spins = scene.call(A, ("bad", "spin"), json!({"threads": 8, "ms": 60_000}));
        let spins = async {
            tokio::select! {
                spun = spins => panic!("{tier:?}: it does not end: {spun:?}"),
                () = turning(&scene) => {}
            }
        };
        // As long as it keeps a processor busy for a second, and all in the middle of it.
        let ((), others) = others_go_on(&scene, spins).await;
        assert!(others.meanwhile > 0, "{tier:?}: all came after it");
        scene.run(A, &[]).await;
        scene.gone().await;
    }
}

/// Until the processes of a scene's hostile server have used a second of the processor's time.
async fn turning(scene: &Scene) {
    let used = |process: &PathBuf| {
        let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_ascii_whitespace().skip(11).take(4);
        ticks.filter_map(|it| it.parse::<u64>().ok()).sum::<u64>()
    };
    let until = Instant::now() + PATIENCE;
    while tagged(&scene.tag).iter().map(used).sum::<u64>() < 100 {
        assert!(Instant::now() < until, "it does not turn");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// In threads, and in processes of which each has ended before a second is over.
#[tokio::test(flavor = "multi_thread")]
async fn d10_time_of_the_processor_is_bounded_and_the_reason_told() {
    for (tier, sandbox) in tiers() {
        for (tool, arguments) in [
            ("spin", json!({"threads": 8, "ms": 300_000})),
            ("toil", json!({"ms": 300_000})),
        ] {
            let scene = Scene::with(sandbox, |policy| policy.quotas.cpu_seconds = 3);
            scene.up(A, "bad", scene.hostile(&[])).await;
            let (spun, others) =
                others_go_on(&scene, scene.call(A, ("bad", tool), arguments)).await;
            assert!(others.meanwhile > 0, "{tier:?} {tool}");
            let Err(CallError::Ended { why, advice }) = spun else {
                panic!("{tier:?} {tool}: {spun:?}")
            };
            assert!(
                why.contains("it used the processor for more than 3 seconds within ten minutes"),
                "{tier:?} {tool}: {why}"
            );
            for words in ["`/mcp restart`", "raise `quotas.cpu_seconds`"] {
                assert!(advice.contains(words), "{tier:?} {tool}: {advice}");
            }
            scene.gone().await;
            // By itself it would only spin again. The caller may hear of the end before the state does.
            scene
                .when(A, "bad", |state| {
                    !matches!(state, ServerState::Ready { .. })
                })
                .await;
            let state = scene.state(A, "bad");
            assert!(
                matches!(state, ServerState::Parked { over: true, .. }),
                "{tier:?} {tool}: {state:?}"
            );
            let name = ServerName::new("bad").unwrap();
            scene.registry.restart(A, &name).await.unwrap();
            scene
                .when(A, "bad", |state| matches!(state, ServerState::Ready { .. }))
                .await;
            assert!(scene.call(A, ("bad", "me"), json!({})).await.is_ok());
            scene.run(A, &[]).await;
            scene.gone().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_the_chat_is_told_of_a_server_that_used_too_much_and_restarts_it() {
    for (tier, _) in tiers() {
        let world = open(*tier);
        world.edit_policy(r#"{"quotas": {"cpu_seconds": 1}}"#).await;
        let (ann, program) = (world.ann(), copy(&world, "hostile"));
        ann.says(&format!("/mcp add bad -- {program}")).await;
        ann.presses("Apply").await;
        ann.says("/mcp call bad spin threads=8 ms=300000").await;
        let told = world
            .sees(ThreadId::Local, |shown| {
                plain(&shown.view).contains("used more than it may")
            })
            .await;
        let told = plain(&told.view);
        for words in [
            "*bad* used more than it may, so I ended it.",
            "more than 1 second within ten minutes",
            "`quotas.cpu_seconds`",
            "[Restart]",
        ] {
            assert!(told.contains(words), "{tier:?} {words}: {told}");
        }
        let listed = ann.says("/mcp list").await;
        assert!(
            listed.contains("was ended, waits for a restart"),
            "{tier:?}: {listed}"
        );
        ann.presses("Restart").await;
        let listed = ann.says("/mcp list").await;
        assert!(listed.contains("*bad* · 11 tools"), "{tier:?}: {listed}");
        world.close().await;
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
