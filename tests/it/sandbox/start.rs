//! Which servers are started, and which are refused with a reason.

use serde_json::json;
use switchboard::policy::Tier;
use switchboard::registry::ServerState;
use switchboard::sandbox::Sandbox;

use crate::support::world::write;

use super::scene::{A, Scene, tiers};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_only_our_own_demo_server_runs() {
    let scene = Scene::new(&Sandbox::refused("bubblewrap is not installed"));
    scene.up(A, "demo", scene.demo()).await;
    scene.run(A, &[("bad", scene.hostile(&[]))]).await;
    let reason = scene.reason(A, "bad").await;
    assert!(reason.contains("are refused here"), "{reason}");
    assert!(reason.contains("bubblewrap is not installed"), "{reason}");
    assert_eq!(scene.processes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_demands_a_tier() {
    let off = Scene::with(&Sandbox::off(), |policy| {
        policy.sandbox = Some(Tier::Restricted);
    });
    off.run(A, &[("bad", off.hostile(&[]))]).await;
    let reason = off.reason(A, "bad").await;
    assert!(
        reason.contains("demands the `restricted` sandbox"),
        "{reason}"
    );
    off.up(A, "demo", off.demo()).await;
    for (tier, sandbox) in tiers() {
        let scene = Scene::with(sandbox, |policy| policy.sandbox = Some(Tier::Strong));
        scene.run(A, &[("bad", scene.hostile(&[]))]).await;
        let is_up = matches!(scene.state(A, "bad"), ServerState::Ready { .. });
        assert_eq!(is_up, *tier == Tier::Strong, "{:?}", scene.state(A, "bad"));
    }
}

/// A package names addresses that it fetches from, as `"dep": "http://127.0.0.1:9303/x.tgz"`.
#[tokio::test(flavor = "multi_thread")]
async fn d11_no_package_is_fetched_with_the_hosts_network() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::without_ways_out(sandbox);
        for line in ["npx -y hostile@1.0.0", "npx hostile", "uvx hostile@1.0.0"] {
            let mut words = line.split(' ').map(str::to_owned);
            let mut server = scene.program(&words.next().unwrap());
            server.args = words.collect();
            scene.run(A, &[("bad", server)]).await;
            let reason = scene.reason(A, "bad").await;
            assert!(
                reason.contains("could fetch from the host's own network"),
                "{tier:?} {line}: {reason}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_what_cannot_run_behave_as_without_a_sandbox() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let script = |name: &str, text: &str| {
            let path = scene.at(&format!("bin/{name}"));
            write(path.as_ref(), text);
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            scene.program(&path)
        };
        let passes_on = format!("#!/bin/sh\nexec {} \"$@\"\n", scene.at("bin/hostile"));
        scene.up(A, "script", script("script", &passes_on)).await;
        let by_env = format!("#!/usr/bin/env sh\nexec {}\n", scene.at("bin/hostile"));
        scene.up(A, "env", script("by-env", &by_env)).await;
        for (name, text, expected) in [
            (
                "lost",
                "#!/nowhere/interpreter\n",
                "the system refused to start it",
            ),
            (
                "ends",
                "#!/bin/sh\necho broken >&2\nexit 7\n",
                "exit code 7",
            ),
            ("killed", "#!/bin/sh\nkill -9 $$\n", "signal 9"),
        ] {
            scene.run(A, &[(name, script(name, text))]).await;
            let reason = scene.reason(A, name).await;
            assert!(reason.contains(expected), "{tier:?} {name}: {reason}");
        }
        // A link in the home to a program outside brings nothing of that place along.
        let home = scene.at("data/homes/tg1");
        let own = format!("{home}/own.sh");
        write(
            own.as_ref(),
            &format!("#!/bin/sh\nexec {}\n", scene.at("bin/hostile")),
        );
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        std::os::unix::fs::symlink(scene.at("bin/hostile"), format!("{home}/link")).unwrap();
        scene.run(A, &[("link", scene.program("./link"))]).await;
        assert!(
            !matches!(scene.state(A, "link"), ServerState::Ready { .. }),
            "{tier:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_a_server_does_not_steer_what_confines_it() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let mut server = scene.hostile(&[]);
        // A loader that cannot find it complains on stderr, of each program that it starts.
        let lost = "/nowhere/hostile.so".to_owned();
        server.env = vec![("LD_PRELOAD".to_owned(), lost)];
        scene.up(A, "bad", server).await;
        let me = scene.call(A, ("bad", "me"), json!({})).await.unwrap();
        assert_eq!(me["env"]["LD_PRELOAD"], "/nowhere/hostile.so", "{tier:?}");
        let name = switchboard::config::ServerName::new("bad").unwrap();
        let complaints = scene.registry.logs(A, &name).unwrap();
        let complaints = complaints
            .iter()
            .filter(|line| line.contains("hostile.so"))
            .count();
        assert_eq!(complaints, 1, "{tier:?}: once, of the server itself");
    }
}
