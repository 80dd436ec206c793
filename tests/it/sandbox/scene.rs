//! A bot's registry with a sandbox, hostile servers in it, and another chat beside them.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
};
use serde_json::{Value, json};
use switchboard::config::{NetworkGrant, Revision, ServerName, StdioServer, ThreadConfig};
use switchboard::net::egress::{Contact, Egress, Patience};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{HostPolicy, Rules, Tier};
use switchboard::registry::{
    CallError, CallRequest, Content, NetworkBook, NoCache, NoKeys, Outside, Registry,
    RegistryOptions, ServerState, WaysOut,
};
use switchboard::sandbox::{Choice, Sandbox};
use switchboard::thread::ThreadId;

use crate::support::world::{PATIENCE, PROGRAM, World, misbehave};

/// The chat of the hostile servers.
pub const A: ThreadId = ThreadId::Telegram {
    chat: 1,
    topic: None,
};
/// Another chat.
pub const B: ThreadId = ThreadId::Telegram {
    chat: 2,
    topic: None,
};

pub const MIB: u64 = 1024 * 1024;

/// The tiers that the self-test proves on this machine. Fails where the machine has what a tier needs and it is not
/// proved all the same.
pub fn tiers() -> &'static [(Tier, Sandbox)] {
    static TIERS: OnceLock<Vec<(Tier, Sandbox)>> = OnceLock::new();
    TIERS.get_or_init(|| {
        let folder = passable();
        let mut proved = Vec::new();
        for (tier, is_promised) in [
            (Tier::Strong, has_bubblewrap()),
            (Tier::Restricted, has_landlock()),
        ] {
            let homes = folder.path().join("homes");
            match Sandbox::probe(Choice::Exactly(tier), program(), &homes) {
                Ok(sandbox) => {
                    say(&format!(
                        "the {} sandbox is proved here and tested",
                        tier.word()
                    ));
                    proved.push((tier, sandbox));
                }
                Err(why) => {
                    say(&format!("NOT TESTED: {why}"));
                    assert!(!is_promised, "this machine has what it needs: {why}");
                }
            }
        }
        proved
    })
}

/// Past what keeps the output of a test that passes: what was not tested is to be seen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "sandbox tests: {line}");
}

/// By a call of its own, and not by what the bot makes of it.
#[expect(clippy::disallowed_methods, reason = "asks the machine")]
fn has_bubblewrap() -> bool {
    let mut command = Command::new("/usr/bin/bwrap");
    command.args([
        "--unshare-all",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "/bin/true",
    ]);
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

fn has_landlock() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))
        .and_then(Ruleset::create)
        .is_ok()
}

/// One that the users of the threads can pass through, where the tests run as root.
pub fn passable() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// Nobody's word, and nobody to tell.
#[derive(Debug)]
struct NoBook;

impl NetworkBook for NoBook {
    fn has_word(&self, _: ThreadId, _: &ServerName, _: &StdioServer) -> bool {
        false
    }

    fn contacted(&self, _: ThreadId, _: &ServerName, _: &StdioServer, _: Vec<(Contact, u64)>) {}
}

pub struct Scene {
    pub registry: Registry,
    pub policy: Rules,
    pub tag: String,
    pub folder: tempfile::TempDir,
    revision: AtomicU8,
}

impl Scene {
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::with(sandbox, |_| {})
    }

    /// Without the bot's proxy.
    pub fn without_ways_out(sandbox: &Sandbox) -> Self {
        Self::made(sandbox, |_| {}, false)
    }

    /// Under another policy.
    pub fn with(sandbox: &Sandbox, change: impl FnOnce(&mut HostPolicy)) -> Self {
        Self::made(sandbox, change, true)
    }

    fn made(sandbox: &Sandbox, change: impl FnOnce(&mut HostPolicy), ways_out: bool) -> Self {
        let folder = passable();
        let mut policy = HostPolicy::open();
        change(&mut policy);
        let policy = Rules::new(policy);
        let homes = folder.path().join("data/homes");
        let mut options = RegistryOptions::new(program().to_owned(), homes);
        // A server that was ended stays so for the test to see.
        options.backoff = vec![Duration::from_hours(1)];
        let net = Net::new(NetOptions::default());
        let run = folder.path().join("data/run");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&run)
            .unwrap();
        let ways_out = ways_out.then(|| WaysOut {
            egress: Egress::new(net.clone(), &run, Patience::default()),
            book: Arc::new(NoBook),
        });
        let (registry, _) = Registry::start(
            options,
            Outside {
                sandbox: sandbox.clone(),
                policy: policy.clone(),
                ways_out,
                ..Outside::bare(Arc::new(NoCache), net, Arc::new(NoKeys))
            },
        );
        // Where the threads' users can run it, wherever the tests were built.
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy(misbehave().with_file_name("hostile"), bin.join("hostile")).unwrap();
        std::fs::copy(built("keeps"), bin.join("keeps")).unwrap();
        let tag = format!("tag={}", folder.path().display());
        Self {
            registry,
            policy,
            tag,
            folder,
            revision: AtomicU8::new(0),
        }
    }

    pub fn at(&self, path: &str) -> String {
        self.folder.path().join(path).display().to_string()
    }

    /// The hostile server, with these words.
    pub fn hostile(&self, words: &[&str]) -> StdioServer {
        let mut args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        args.push(self.tag.clone());
        StdioServer {
            args,
            ..self.program(&self.at("bin/hostile"))
        }
    }

    pub fn demo(&self) -> StdioServer {
        StdioServer {
            args: vec!["demo-server".to_owned()],
            ..self.program("switchboard")
        }
    }

    #[expect(clippy::unused_self, reason = "beside the others")]
    pub fn program(&self, command: &str) -> StdioServer {
        StdioServer {
            command: command.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            network: NetworkGrant::Unsaid,
            disabled: false,
        }
    }

    /// Makes a thread run these, and waits until each has settled.
    pub async fn run(&self, thread: ThreadId, servers: &[(&str, StdioServer)]) {
        let number = self.revision.fetch_add(1, Ordering::Relaxed);
        let named =
            |(name, server): &(&str, StdioServer)| (ServerName::new(name).unwrap(), server.clone());
        let config = ThreadConfig {
            local: servers.iter().map(named).collect(),
            ..ThreadConfig::default()
        };
        let revision = Revision::of(Some(&[number]), None);
        self.registry
            .apply(thread, Arc::new(config), revision)
            .await;
        for (name, _) in servers {
            self.when(thread, name, |state| {
                !matches!(state, ServerState::Starting { .. })
            })
            .await;
        }
    }

    /// The same, with one that has to come up.
    pub async fn up(&self, thread: ThreadId, name: &str, server: StdioServer) {
        self.run(thread, &[(name, server)]).await;
        let state = self.state(thread, name);
        assert!(matches!(state, ServerState::Ready { .. }), "{state:?}");
    }

    pub fn state(&self, thread: ThreadId, name: &str) -> ServerState {
        let snapshot = self.registry.snapshot(thread).unwrap();
        snapshot.server(name).unwrap().state.clone()
    }

    /// Waits for a state.
    pub async fn when(
        &self,
        thread: ThreadId,
        name: &str,
        is: impl Fn(&ServerState) -> bool + Send + Sync,
    ) -> ServerState {
        let found = self.registry.wait(thread, |snapshot| {
            snapshot
                .server(name)
                .is_some_and(|server| is(&server.state))
        });
        let found = tokio::time::timeout(PATIENCE, found).await;
        let Ok(Some(snapshot)) = found else {
            panic!("never so: {:?}", self.state(thread, name));
        };
        snapshot.server(name).unwrap().state.clone()
    }

    /// Why it does not run.
    pub async fn reason(&self, thread: ThreadId, name: &str) -> String {
        let is_down = |state: &ServerState| {
            matches!(
                state,
                ServerState::Failed { .. }
                    | ServerState::BackingOff { .. }
                    | ServerState::Parked { .. }
            )
        };
        match self.when(thread, name, is_down).await {
            ServerState::Failed { reason }
            | ServerState::BackingOff { reason, .. }
            | ServerState::Parked { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    pub async fn call(
        &self,
        thread: ThreadId,
        (server, tool): (&str, &str),
        arguments: Value,
    ) -> Result<Value, CallError> {
        let request = CallRequest {
            thread,
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: serde_json::from_value(arguments).unwrap(),
            progress: None,
            waited: std::time::Duration::ZERO,
        };
        let call = tokio::time::timeout(PATIENCE, self.registry.call(request));
        let outcome = call.await.expect("an end in time")?;
        match &outcome.content[..] {
            [Content::Text(text)] => Ok(serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
            other => panic!("not one text: {other:?}"),
        }
    }

    /// What came of an attempt of the hostile server `bad` in [`A`].
    pub async fn tries(&self, what: &str, at: &str) -> Value {
        let arguments = json!({"what": what, "at": at});
        self.call(A, ("bad", "try"), arguments).await.unwrap()
    }

    /// The processes that bear this scene's tag.
    pub fn processes(&self) -> usize {
        tagged(&self.tag).len()
    }

    pub async fn gone(&self) {
        gone(&self.tag).await;
    }
}

/// A bot in a tier.
pub fn open(tier: Tier) -> World {
    World::open_passable(|options| {
        options.sandbox = Choice::Exactly(tier);
        program().clone_into(&mut options.registry.launcher);
    })
}

/// A copy of a program of the tests where the threads' users can run it.
pub fn copy(world: &World, name: &str) -> String {
    let bin = world.data().with_file_name("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let path = bin.join(name);
    std::fs::copy(misbehave().with_file_name(name), &path).unwrap();
    path.display().to_string()
}

pub fn tagged(tag: &str) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| process.path())
        .filter(|process| {
            let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
            command
                .split(|byte| *byte == 0)
                .any(|word| word == tag.as_bytes())
        })
        .collect()
}

pub async fn gone(tag: &str) {
    let until = Instant::now() + PATIENCE;
    while !tagged(tag).is_empty() {
        assert!(Instant::now() < until, "still running: {:?}", tagged(tag));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Our own program where every user may run it: below a private folder, a copy. A bot that is root confines as another user.
pub fn program() -> &'static Path {
    static PLACE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    PLACE.get_or_init(|| {
        let open = |folder: &Path| {
            let mode = std::fs::metadata(folder).unwrap().permissions().mode();
            mode & 0o001 != 0
        };
        let path = Path::new(PROGRAM);
        if path.ancestors().skip(1).all(open) {
            return path.to_owned();
        }
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let copy = folder.join("switchboard");
        std::fs::copy(path, &copy).unwrap();
        copy
    })
}

/// A program in C, which every machine with Rust has a compiler for; built once.
#[expect(clippy::disallowed_methods, reason = "a test's tool")]
pub fn built(name: &str) -> &'static Path {
    type Built = (tempfile::TempDir, Vec<PathBuf>);
    static BUILT: OnceLock<Built> = OnceLock::new();
    let (_, programs) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let programs = ["keeps", "reaches"].map(|name| {
            let program = folder.path().join(name);
            let source = sources.join(name).with_extension("c");
            let built = Command::new(&cc)
                .args(["-O1", "-pthread", "-o"])
                .args([program.as_path(), source.as_path()])
                .status();
            assert!(built.unwrap().success(), "{name}.c cannot be compiled");
            program
        });
        (folder, programs.to_vec())
    });
    programs.iter().find(|it| it.ends_with(name)).unwrap()
}
