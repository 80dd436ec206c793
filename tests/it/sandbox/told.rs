//! A server that ends over what the sandbox keeps from it is told of with the sandbox's name, and no other one is.

use switchboard::config::{Definition, ServerName};
use switchboard::policy::{FolderGrant, Tier};
use tokio::sync::mpsc;

use super::scene::{A, Scene, tiers};

/// Why a program does not run that looks for this path, and what `/mcp test` advises.
async fn looks_for(scene: &Scene, path: &str) -> (String, String) {
    let mut server = scene.program("cat");
    server.args = vec![path.to_owned()];
    scene.run(A, &[("looks", server.clone())]).await;
    let reason = scene.reason(A, "looks").await;
    let (send, _stages) = mpsc::channel(16);
    let name = ServerName::new("looks").unwrap();
    let definition = Definition::Local(server);
    let tested = scene.registry.check(A, &name, &definition, send).await;
    let broken = tested.results.into_iter().find_map(|it| it.outcome.err());
    (reason, broken.unwrap().advice)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sandbox_hides_is_told_with_how_it_could_be_given() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        for said in <[String; 2]>::from(looks_for(&scene, "/etc/shadow").await) {
            assert!(
                said.contains("does not show it `/etc/shadow`") && said.contains("`folders`"),
                "{tier:?}: {said}"
            );
        }
        // Where names are hidden, whether it is on the host at all is nobody's to learn.
        let (_, missing) = looks_for(&scene, "/srv/nothing-is-there").await;
        let is_told = missing.contains("does not show it");
        assert_eq!(is_told, *tier == Tier::Strong, "{tier:?}: {missing}");
        // What it is shown, it does not find for another reason.
        let (_, shown) = looks_for(&scene, "/usr/share/nothing-is-there").await;
        assert!(!shown.contains("sandbox"), "{tier:?}: {shown}");
        scene.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_folder_and_a_tmp_of_its_own_are_told_apart() {
    for (tier, sandbox) in tiers() {
        let granted = tempfile::tempdir_in("/var/tmp").unwrap();
        let scene = Scene::with(sandbox, |policy| {
            policy.folders = vec![FolderGrant {
                path: granted.path().to_owned(),
                everyone: true,
                ..FolderGrant::default()
            }];
        });
        let path = granted.path().join("missing").display().to_string();
        let (_, said) = looks_for(&scene, &path).await;
        assert!(!said.contains("sandbox"), "{tier:?}: {said}");
        let (_, said) = looks_for(&scene, "/tmp/missing").await;
        let is_told = said.contains("a `/tmp` of its own");
        assert_eq!(is_told, *tier == Tier::Strong, "{tier:?}: {said}");
        scene.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_it_will_not_find_is_told_before_it_starts() {
    for (tier, sandbox) in tiers() {
        let granted = tempfile::tempdir_in("/var/tmp").unwrap();
        let there = tempfile::tempdir_in("/var/lib").unwrap();
        let scene = Scene::with(sandbox, |policy| {
            policy.folders = vec![FolderGrant {
                path: granted.path().to_owned(),
                everyone: true,
                ..FolderGrant::default()
            }];
        });
        let told = async |path: &str| {
            let mut server = scene.program("cat");
            server.args = vec![path.to_owned()];
            scene.registry.out_of_sight(A, &server).await
        };
        // Whether it is on the host makes no difference.
        let is_there = there.path().display().to_string();
        for path in [is_there.as_str(), "/var/lib/nothing-is-there"] {
            let said = told(path).await.unwrap_or_default();
            let expected = format!("`{path}`, which the sandbox does not show it: it sees");
            assert!(said.starts_with(&expected), "{tier:?}: {said}");
        }
        for path in [
            granted.path().join("missing").display().to_string(),
            scene.program("cat").command,
            "/usr/share/x".to_owned(),
            "notes/x".to_owned(),
        ] {
            assert_eq!(told(&path).await, None, "{tier:?}: {path}");
        }
        scene.gone().await;
    }
}
