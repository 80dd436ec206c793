//! Programs that the tests start beside the bot: the servers of `authorization/`, published servers, a browser. Each ends
//! with its handle, and none is waited for without a deadline.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use switchboard::net::{Net, NetOptions, Redirects};
use switchboard::policy::AddressRules;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// A program that is not ready, or a browser that has not arrived, after so long is hung.
const DEADLINE: Duration = Duration::from_mins(2);

/// The folder of these tests.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// What is open for everything on loopback.
pub(crate) fn loopback() -> AddressRules {
    AddressRules {
        allow_http: true,
        allow: vec!["127.0.0.1/32".parse().expect("a range")],
    }
}

/// One of the servers of `authorization/`, with what it said of itself and its levers.
pub(crate) struct Server {
    facts: Value,
    net: Net,
    /// Open, so that the program never meets a closed pipe.
    _stdout: BufReader<ChildStdout>,
    /// Killed when dropped.
    _child: Child,
}

impl Server {
    /// Starts it and waits for the line that says that it is ready.
    pub(crate) async fn start(script: &str, arguments: &[&str]) -> Self {
        let mut child = node(&format!("authorization/{script}"))
            .args(arguments)
            .stderr(log(script))
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        tokio::time::timeout(DEADLINE, stdout.read_line(&mut line))
            .await
            .unwrap_or_else(|_| panic!("{script} says nothing"))
            .expect("its output is read");
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{script} said {line:?}; its errors are in .work/interop/logs")
        });
        Self {
            facts,
            net: Net::new(NetOptions {
                rules: loopback(),
                ..NetOptions::default()
            }),
            _stdout: stdout,
            _child: child,
        }
    }

    /// What it said of itself.
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().expect("it says so")
    }

    /// Pulls a lever: `POST /revoke`.
    pub(crate) async fn pull(&self, lever: &str) -> Value {
        let (method, path) = lever.split_once(' ').expect("a method and a path");
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.fact("levers")))
            .body(Vec::new())
            .expect("a request");
        let answer = self
            .net
            .fetch(request, Redirects::None, 1 << 22, DEADLINE)
            .await
            .expect("the levers answer");
        assert!(answer.status().is_success(), "{lever}: {answer:?}");
        serde_json::from_slice(answer.body()).expect("levers speak JSON")
    }
}

/// A published server that is reached over the network, at a port that stays its own.
pub(crate) struct Published {
    program: PathBuf,
    transport: &'static str,
    at: SocketAddr,
    child: Option<Child>,
}

impl Published {
    /// Starts it and waits until it takes connections.
    pub(crate) async fn start(program: PathBuf, transport: &'static str) -> Self {
        // The port is free for the moment that the program needs to take it.
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let at = free.local_addr().expect("its address");
        drop(free);
        let mut server = Self {
            program,
            transport,
            at,
            child: None,
        };
        server.start_again().await;
        server
    }

    /// Starts it at the port that it had.
    pub(crate) async fn start_again(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "no server of the bot's")]
        let child = Command::new(&self.program)
            .arg(self.transport)
            .env("PORT", self.at.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(self.transport))
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        let up = async {
            while tokio::net::TcpStream::connect(self.at).await.is_err() {
                let ended = self.child.as_mut().map(Child::try_wait);
                assert!(
                    matches!(ended, Some(Ok(None))),
                    "it ended; its errors are in .work/interop/logs"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let up = tokio::time::timeout(DEADLINE, up).await;
        assert!(up.is_ok(), "nothing listens at {}", self.at);
    }

    /// Ends it without a word, as a crash does.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it can be killed");
    }

    /// Its address with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

/// Where a browser ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Walk {
    /// The last address.
    pub(crate) final_url: String,
    /// The title of its page.
    pub(crate) title: String,
    /// What stands on it.
    pub(crate) text: String,
    /// Pictures of our pages, in order.
    shots: Vec<PathBuf>,
    /// Our pages that a telephone cannot show in its width.
    too_wide: Vec<String>,
    /// Where the pictures are, until they are kept.
    #[serde(skip)]
    folder: Option<tempfile::TempDir>,
}

/// Follows a link in headless Chromium as `alice`, who agrees unless the options say otherwise.
pub(crate) async fn browse(link: &str, options: &[&str]) -> Walk {
    let folder = tempfile::tempdir().expect("a folder");
    let running = node("authorization/browser.mjs")
        .arg(link)
        .arg("--shots")
        .arg(folder.path())
        .args(options)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output();
    let output = tokio::time::timeout(DEADLINE, running)
        .await
        .expect("the browser hangs")
        .expect("node starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the browser, from {link}: {said}");
    let mut walk: Walk = serde_json::from_slice(&output.stdout).expect("it says where it is");
    walk.folder = Some(folder);
    assert!(
        walk.too_wide.is_empty(),
        "too wide for a telephone: {walk:?}"
    );
    walk
}

impl Walk {
    /// Keeps the pictures of our pages under these names in `.work/interop/shots`, and in `tests/interop/shots`, which the
    /// README shows, where `SWITCHBOARD_UPDATE_SHOTS=1` says so. One without a name is not kept.
    pub(crate) fn keep(&self, names: &[&str]) {
        assert_eq!(self.shots.len(), names.len(), "{self:?}");
        let pairs = self.shots.iter().zip(names);
        for (shot, name) in pairs.filter(|(_, name)| !name.is_empty()) {
            let file = format!("{name}.png");
            let bytes = std::fs::metadata(shot).expect("the picture").len();
            assert!(
                (5_000..500_000).contains(&bytes),
                "{file} has {bytes} bytes"
            );
            std::fs::copy(shot, work("shots").join(&file)).expect("a picture is kept");
            if std::env::var_os("SWITCHBOARD_UPDATE_SHOTS").is_some_and(|value| value == "1") {
                let committed = here().join("shots");
                std::fs::create_dir_all(&committed).expect("a folder");
                std::fs::copy(shot, committed.join(&file)).expect("a picture is kept");
            }
        }
    }
}

/// A script, to be run by the Node that was installed with it.
fn node(script: &str) -> Command {
    let program = here().join("node_modules/.bin/node");
    assert!(
        program.exists(),
        "Node is not installed; run tests/interop/run, or `npm ci` in tests/interop"
    );
    #[allow(clippy::disallowed_methods, reason = "no server of the bot's")]
    let mut command = Command::new(program);
    command
        .arg(here().join(script))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A folder for what is looked at after the tests.
fn work(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".work/interop")
        .join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Where a program's standard error goes.
fn log(name: &str) -> Stdio {
    let path = work("logs").join(format!("{name}-{}.log", unique()));
    std::fs::File::create(path).expect("a log").into()
}

/// A name that no other test of this process or another has at this time.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
