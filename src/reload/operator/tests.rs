use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{Reload, ReloadNotice, ReloadOptions, Runs};
use super::*;
use crate::config::Revision;
use crate::thread::ThreadId;

const ONE: ThreadId = ThreadId::Local;
const TWO: ThreadId = ThreadId::Telegram {
    chat: 2,
    topic: None,
};
/// Longer than any test; what waits for it has failed.
const NEVER: Duration = Duration::from_mins(5);

type Applied = (ThreadId, Arc<ThreadConfig>, Revision);

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Fake(watch::Sender<Vec<Applied>>);

#[async_trait]
impl Runs for Fake {
    async fn apply(&self, thread: ThreadId, config: Arc<ThreadConfig>, revision: Revision) {
        self.0
            .send_modify(|all| all.push((thread, config, revision)));
    }

    async fn unload(&self, _: ThreadId) {}

    async fn judge_again(&self, _: Arc<crate::policy::HostPolicy>) {}
}

struct Scene {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    reload: Reload,
    notices: mpsc::Receiver<ReloadNotice>,
}

impl Scene {
    /// With these files of the operator, and what threads are offered.
    fn new(local: Option<&Value>, remote: Option<&Value>, admin: AdminServers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (name, text) in [("mcp.json", local), ("mcp_remote.json", remote)] {
            if let Some(text) = text {
                put(&dir.path().join("admin"), name, &text.to_string());
            }
        }
        let fake = Arc::new(Fake::default());
        let options = ReloadOptions {
            second_look: Duration::from_millis(1),
            admin,
            ..ReloadOptions::default()
        };
        let runs = Arc::clone(&fake);
        let (reload, notices) = Reload::start_with(store, runs, options).unwrap();
        Self {
            dir,
            fake,
            reload,
            notices,
        }
    }

    fn put(&self, name: &str, text: &str) {
        put(&self.dir.path().join("admin"), name, text);
    }

    fn put_own(&self, thread: ThreadId, text: &str) {
        let folder = self.dir.path().join("users").join(thread.to_string());
        put(&folder, "mcp.json", text);
    }

    async fn touch(&self, thread: ThreadId) -> super::super::Loaded {
        let touched = tokio::time::timeout(NEVER, self.reload.touch(thread)).await;
        touched.expect("touch hangs").unwrap()
    }

    /// Waits until a thread runs these: its own, the operator's, those hidden.
    async fn runs(&self, thread: ThreadId, own: &str, admin: &str, hidden: &str) -> Applied {
        let wanted = [own, admin, hidden].map(str::to_owned);
        let is_there = |all: &Vec<Applied>| {
            let last = all.iter().rev().find(|(of, ..)| *of == thread);
            last.is_some_and(|(_, config, _)| shape(config) == wanted)
        };
        let mut calls = self.fake.0.subscribe();
        let found = tokio::time::timeout(NEVER, calls.wait_for(is_there)).await;
        // What was found holds a lock that `apply` waits for.
        let is_found = found.is_ok_and(|found| found.is_ok());
        assert!(is_found, "{:?} and not {wanted:?}", self.shapes());
        let all = self.fake.0.borrow();
        all.iter()
            .rev()
            .find(|(of, ..)| *of == thread)
            .unwrap()
            .clone()
    }

    fn shapes(&self) -> Vec<[String; 3]> {
        self.fake
            .0
            .borrow()
            .iter()
            .map(|(_, config, _)| shape(config))
            .collect()
    }
}

fn shape(config: &ThreadConfig) -> [String; 3] {
    let joined = |names: Vec<&str>| names.join(" ");
    let local = config.local.iter().map(|(name, _)| name.as_str());
    let remote = config.remote.iter().map(|(name, _)| name.as_str());
    [
        joined(local.chain(remote).collect()),
        joined(config.admin.iter().map(|(name, _)| name.as_str()).collect()),
        joined(config.hidden.iter().map(ServerName::as_str).collect()),
    ]
}

fn put(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    let temporary = folder.join("put.new");
    let mut file = fs::File::create(&temporary).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    fs::rename(temporary, folder.join(name)).unwrap();
}

fn local(names: &[&str]) -> Value {
    let servers: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"command": "run"})))
        .collect();
    json!({"mcpServers": servers})
}

fn remote(names: &[&str]) -> Value {
    let servers: serde_json::Map<_, _> = names
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({"type": "http", "url": "https://a.example"}),
            )
        })
        .collect();
    json!({"mcpServers": servers})
}

fn listed(names: &[&str]) -> AdminServers {
    AdminServers::Listed(
        names
            .iter()
            .map(|name| ServerName::new(name).unwrap())
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_offered_what_the_operator_says() {
    for (offers, expected) in [
        (AdminServers::All, "b a r"),
        (listed(&["r", "missing", "a"]), "a r"),
        (AdminServers::None, ""),
    ] {
        let scene = Scene::new(Some(&local(&["b", "a"])), Some(&remote(&["r"])), offers);
        let loaded = scene.touch(ONE).await;
        assert_eq!(shape(&loaded.config), ["", expected, ""]);
        assert_eq!(scene.shapes(), [shape(&loaded.config)]);
    }
    let scene = Scene::new(None, None, AdminServers::None);
    scene.touch(ONE).await;
    assert!(!scene.dir.path().join("admin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threads_own_name_hides_the_operators() {
    let scene = Scene::new(Some(&local(&["a", "b", "c"])), None, AdminServers::All);
    scene.put_own(ONE, &local(&["b", "z"]).to_string());
    scene.touch(ONE).await;
    scene.runs(ONE, "b z", "a c", "b").await;
    scene.put_own(ONE, &local(&["a", "c"]).to_string());
    scene.runs(ONE, "a c", "b", "a c").await;
    // What is the thread's own counts alone for its limit.
    let many: Vec<String> = (0..64).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    scene.put_own(ONE, &local(&many).to_string());
    scene.runs(ONE, &many.join(" "), "a b c", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_every_loaded_thread_with_its_own_revision_and_no_other() {
    let mut scene = Scene::new(None, None, AdminServers::All);
    scene.put_own(TWO, &local(&["a"]).to_string());
    let (one, two) = (scene.touch(ONE).await, scene.touch(TWO).await);
    for _ in 0..2 {
        scene.notices.recv().await.unwrap();
    }
    scene.put("mcp_remote.json", &remote(&["a"]).to_string());
    assert_eq!(scene.runs(ONE, "", "a", "").await.2, one.revision);
    assert_eq!(scene.runs(TWO, "a", "", "a").await.2, two.revision);
    // The desk sees it too, and no file of the thread changed.
    while shape(&scene.touch(ONE).await.config) != ["", "a", ""] {
        tokio::task::yield_now().await;
    }
    scene.put("mcp.json", &local(&["b"]).to_string());
    scene.runs(TWO, "a", "b", "a").await;
    scene.runs(ONE, "", "b a", "").await;
    assert!(scene.notices.try_recv().is_err());
    let count = scene.shapes().len();
    // The same again, and what means the same, changes nothing.
    scene.put("mcp.json", &format!("{} \n", local(&["b"])));
    scene.put("mcp.json", &local(&["b", "c"]).to_string());
    scene.runs(ONE, "", "b c a", "").await;
    scene.runs(TWO, "a", "b c", "a").await;
    assert_eq!(scene.shapes().len(), count + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_with_a_broken_file_keeps_its_revision_in_force() {
    let mut scene = Scene::new(None, None, AdminServers::All);
    scene.put_own(ONE, &local(&["a"]).to_string());
    let good = scene.touch(ONE).await;
    scene.put_own(ONE, "{");
    loop {
        if let ReloadNotice::Broken { now, .. } = scene.notices.recv().await.unwrap() {
            assert_ne!(now.revision, good.revision);
            break;
        }
    }
    scene.put("mcp.json", &local(&["b"]).to_string());
    assert_eq!(scene.runs(ONE, "a", "b", "").await.2, good.revision);
    assert!(scene.touch(ONE).await.broken.is_some());
}

/// Collects the log of this thread, on which such a test's tasks run.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_broken_file_keeps_what_was_offered_and_is_told_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let lines = || -> Vec<String> {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("ERROR"));
        lines.map(str::to_owned).collect()
    };
    let scene = Scene::new(Some(&local(&["a"])), None, AdminServers::All);
    scene.touch(ONE).await;
    let broken =
        r#"{"mcpServers": {"a": {"command": "run", "env": {"TOKEN": "hush-hush"}, "args": 1}}}"#;
    for text in [broken, broken] {
        scene.put("mcp.json", text);
        // Whoever is loaded meanwhile has what was good.
        while scene.reload.shared.operator.last().broken.is_none() {
            tokio::task::yield_now().await;
        }
        let loaded = scene.touch(TWO).await;
        assert_eq!(shape(&loaded.config), ["", "a", ""]);
    }
    scene.put("mcp.json", &local(&["a", "b"]).to_string());
    scene.runs(ONE, "", "a b", "").await;
    scene.runs(TWO, "", "a b", "").await;
    scene.put("mcp_remote.json", "{\"mcpServers\": {\"r\": ");
    while scene.reload.shared.operator.last().broken.is_none() {
        tokio::task::yield_now().await;
    }
    let told = lines();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("admin/mcp.json") && told[0].contains("mcpServers.a.args"));
    assert!(told[1].contains("admin/mcp_remote.json") && told[1].contains("line 1"));
    assert!(!told.concat().contains("hush"));
    scene.touch(ONE).await;
    assert_eq!(scene.shapes().last().unwrap()[1], "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_at_the_start_nobody_is_held_up_and_it_is_mended_later() {
    let scene = Scene::new(Some(&json!([1])), None, AdminServers::All);
    assert_eq!(shape(&scene.touch(ONE).await.config), ["", "", ""]);
    scene.put("mcp.json", &local(&["a"]).to_string());
    scene.runs(ONE, "", "a", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_changed_for_another_is_read_again() {
    let scene = Scene::new(Some(&local(&["a"])), None, AdminServers::All);
    scene.touch(ONE).await;
    let folder = scene.dir.path().join("admin");
    let other = scene.dir.path().join("admin.new");
    put(&other, "mcp.json", &local(&["b"]).to_string());
    fs::rename(&folder, scene.dir.path().join("admin.old")).unwrap();
    scene.runs(ONE, "", "", "").await;
    assert!(!folder.exists());
    fs::rename(&other, &folder).unwrap();
    scene.runs(ONE, "", "b", "").await;
    // It is watched again.
    scene.put("mcp.json", &local(&["c"]).to_string());
    scene.runs(ONE, "", "c", "").await;
    // A symlink is not followed; what was offered stays.
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "mcp.json", &local(&["evil"]).to_string());
    fs::remove_file(folder.join("mcp.json")).unwrap();
    symlink(elsewhere.path().join("mcp.json"), folder.join("mcp.json")).unwrap();
    while scene.reload.shared.operator.last().broken.is_none() {
        tokio::task::yield_now().await;
    }
    scene.touch(TWO).await;
    assert!(!scene.shapes().concat().contains(&"evil".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_of_the_operator_end_in_the_last() {
    let scene = Scene::new(None, None, AdminServers::All);
    for chat in 10..20 {
        scene.touch(ThreadId::telegram(chat, None)).await;
    }
    for nth in 0..300 {
        scene.put("mcp.json", &local(&[&format!("s{nth}")]).to_string());
    }
    for chat in 10..20 {
        let thread = ThreadId::telegram(chat, None);
        scene.runs(thread, "", "s299", "").await;
    }
    tokio::time::timeout(NEVER, scene.reload.shutdown())
        .await
        .unwrap();
}
