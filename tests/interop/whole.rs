//! The program itself, as an operator starts it for Telegram, killed in the midst of logins: nothing is lost but what was
//! not done, and the person is told.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::guarded::NAME;
use crate::programs::{Server, Walk, browse};
use crate::support::bot_api::{BotApi, Person, Shown, TOKEN};
use crate::support::world::{PATIENCE, PROGRAM, within};

/// The program with its settings; killed when dropped.
struct Program {
    settings: Vec<(&'static str, String)>,
    said: std::path::PathBuf,
    child: Child,
}

impl Program {
    fn start(settings: Vec<(&'static str, String)>, folder: &Path) -> Self {
        let said = folder.join("said.log");
        let child = spawn(&settings, &said);
        Self {
            settings,
            said,
            child,
        }
    }

    /// Ends without a word, and starts again.
    async fn crash(&mut self) {
        self.child.kill().await.expect("it can be killed");
        self.child = spawn(&self.settings, &self.said);
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("what it said")
    }
}

fn spawn(settings: &[(&'static str, String)], said: &Path) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(said)
        .expect("a file");
    #[allow(clippy::disallowed_methods, reason = "started as an operator does")]
    Command::new(PROGRAM)
        .arg("run")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the bot starts")
}

/// Ann's chat with the bot. She waits longer than the stand-in would: the bot may have to start first.
struct Talk {
    api: BotApi,
    ann: Person,
}

impl Talk {
    /// Does something, and waits for a message with this in it that came or changed after it.
    async fn sees_after(&self, act: impl FnOnce(&Person), expected: &str) -> String {
        let before = self.api.messages(self.ann.place);
        act(&self.ann);
        let is_new = |shown: &Shown| {
            let same = |old: &Shown| old.id == shown.id && old.edits == shown.edits;
            !before.iter().any(same)
        };
        let look = async {
            loop {
                let all = self.api.messages(self.ann.place);
                let mut newest = all.into_iter().rev().filter(is_new);
                if let Some(shown) = newest.find(|shown| shown.plain.contains(expected)) {
                    return shown.plain;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, look).await;
        seen.unwrap_or_else(|_| {
            panic!(
                "no {expected:?} in {:#?}",
                self.api.messages(self.ann.place)
            )
        })
    }

    async fn says(&self, text: &str, expected: &str) -> String {
        let act = |ann: &Person| {
            ann.says(text);
        };
        self.sees_after(act, expected).await
    }

    async fn presses(&self, label: &str, expected: &str) -> String {
        let act = |ann: &Person| {
            ann.presses(label);
        };
        self.sees_after(act, expected).await
    }

    /// Follows a link, agrees there, and waits until the chat knows.
    async fn agrees(&self, invitation: &str) -> Walk {
        let mut words = invitation.split_whitespace();
        let link = words.find(|word| word.contains("/oauth/start/"));
        let link = link.unwrap_or_else(|| panic!("no link in {invitation}"));
        // It serves its pages once it is up.
        let up = async {
            let (host, _) = link["http://".len()..].split_once('/').expect("a path");
            while tokio::net::TcpStream::connect(host).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(up).await;
        let before = self.api.messages(self.ann.place).len();
        let walk = browse(link, &[]).await;
        assert!(walk.title.starts_with("Welcome back"), "{walk:?}");
        self.api
            .wait_for_text(self.ann.place, "You agreed there")
            .await;
        assert_eq!(
            self.api.messages(self.ann.place).len(),
            before,
            "it is told in place"
        );
        walk
    }

    /// Kills the bot when nothing that Ann did is on its way to it any more, and starts it again.
    async fn crash(&self, bot: &mut Program) {
        self.api.wait_for_confirmed().await;
        bot.crash().await;
    }
}

/// Waits until the provider answered a refresh, or would have.
async fn refreshed(provider: &Server) {
    let is_refresh = |one: &Value| one["grant_type"] == "refresh_token";
    loop {
        let all = provider.pull("GET /requests").await;
        if all.as_array().expect("a list").iter().any(is_refresh) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_killed_in_a_login_and_in_a_renewal_goes_on() {
    let api = BotApi::start().await;
    let ann = api.private_chat("Ann");
    let talk = Talk { api, ann };
    let provider = Server::start("provider.mjs", &[]).await;
    let server = Server::start("protected.mjs", &["--issuer", provider.fact("issuer")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = free.local_addr().expect("its address").to_string();
    drop(free);
    let settings = vec![
        ("TELOXIDE_TOKEN", TOKEN.to_owned()),
        ("TELOXIDE_API_URL", talk.api.url()),
        (
            "SWITCHBOARD_DATA",
            folder.path().join("data").display().to_string(),
        ),
        ("SWITCHBOARD_ALLOW_HTTP", "1".to_owned()),
        ("SWITCHBOARD_ALLOW_CIDRS", "127.0.0.1/32".to_owned()),
        ("SWITCHBOARD_PUBLIC_URL", format!("http://{listen}")),
        ("SWITCHBOARD_LISTEN", listen),
        ("SWITCHBOARD_OPERATORS", talk.ann.id.to_string()),
    ];
    let mut bot = Program::start(settings, folder.path());

    // Killed between the link and the page.
    let line = format!("/mcp connect {NAME} {}", server.fact("url"));
    talk.says(&line, "What to know before you apply it").await;
    let invitation = talk.presses("Apply", "Open this link").await;
    talk.crash(&mut bot).await;
    let walk = talk.agrees(&invitation).await;
    assert!(walk.text.contains("your private chat"), "{walk:?}");
    walk.keep(&["start", "welcome"]);
    let said = bot.said();
    for opened in ["SWITCHBOARD_ALLOW_HTTP", "127.0.0.1/32"] {
        assert!(said.contains(opened), "nothing is said of {opened}: {said}");
    }

    // Killed between the page and Finish.
    talk.crash(&mut bot).await;
    talk.presses("Finish", "2 tools").await;
    let whoami = format!("/mcp call {NAME} whoami");
    talk.says(&whoami, "alice").await;

    // Killed after the server took the refresh token and before the new one was saved.
    server.pull("POST /forget-tokens").await;
    provider.pull("POST /hold").await;
    talk.ann.says(&whoami);
    within(refreshed(&provider)).await;
    talk.crash(&mut bot).await;
    provider.pull("POST /release").await;
    let told = talk
        .says(&whoami, "I was interrupted while I renewed the login")
        .await;
    assert!(told.contains("wants a login"), "{told}");
    let file = std::fs::read_dir(folder.path().join("data/users"))
        .expect("the threads")
        .map(|thread| thread.expect("a thread").path().join("mcp_remote.json"))
        .find(|file| file.exists())
        .expect("the entry is still there");
    let kept = std::fs::read_to_string(file).expect("the file");
    assert!(kept.contains(server.fact("url")), "{kept}");

    // And with a new login all is well.
    let invitation = talk.presses("Log in", "Open this link").await;
    talk.agrees(&invitation).await;
    talk.presses("Finish", "2 tools").await;
    talk.says(&whoami, "alice").await;
    let said = bot.said();
    for secret in [TOKEN, "code=", "eyJ"] {
        assert!(!said.contains(secret), "{secret} is in the log: {said}");
    }
}
