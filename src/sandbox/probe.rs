//! The self-test: a canary is started as a server would be, tries to get out, and the tier is what held it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bubblewrap::Bubblewrap;
use super::cage::{Cage, Limits, Network, Run};
use super::canary::{Found, Outsider, Task, WORD, born};
use super::{Choice, Means, Owner, Sandbox, home};
use crate::policy::{Quotas, Tier};

/// How long a canary has; it takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// Its name among the homes.
const PLACE: &str = ".self-test";
/// What stands for the bot's proxy.
const PROXY: &str = "proxy.sock";

/// A tier was demanded that the self-test does not prove.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SWITCHBOARD_SANDBOX is `{}`, and that is not possible here: {why}", .tier.word())]
pub struct NotProved {
    /// Which.
    pub tier: Tier,
    /// Why it is not.
    pub why: String,
}

impl Sandbox {
    /// Tries which tier holds on this machine, with the bot's own program, where the homes will be. Blocks for some
    /// milliseconds.
    pub fn probe(choice: Choice, program: &Path, homes: &Path) -> Result<Self, NotProved> {
        match choice {
            Choice::Exactly(Tier::None) => Ok(Self::off()),
            Choice::Exactly(tier) => {
                Self::proved(tier, program, homes).map_err(|why| NotProved { tier, why })
            }
            Choice::Auto => Ok(Self::best(program, homes)),
        }
    }

    fn best(program: &Path, homes: &Path) -> Self {
        let not_strong = match Self::proved(Tier::Strong, program, homes) {
            Ok(strong) => return strong,
            Err(why) => why,
        };
        match Self::proved(Tier::Restricted, program, homes) {
            Ok(restricted) => {
                let why = match restricted.why.as_str() {
                    "" => not_strong,
                    more => format!("{not_strong}; {more}"),
                };
                Self { why, ..restricted }
            }
            Err(not_restricted) => Self::refused(format!("{not_strong}; {not_restricted}")),
        }
    }

    /// One tier, if it holds here; else why it does not, in a part of a sentence.
    fn proved(tier: Tier, program: &Path, homes: &Path) -> Result<Self, String> {
        // As the programs of servers are compared with it.
        let program = program.canonicalize().map_err(|error| error.to_string())?;
        let with = |bubblewrap| Self {
            tier: Some(tier),
            why: String::new(),
            means: Means {
                program: program.clone(),
                bubblewrap,
                ushers: false,
            },
        };
        match tier {
            Tier::None => Ok(Self::off()),
            Tier::Restricted => {
                let mut sandbox = with(None);
                let mut why = Vec::new();
                if sandbox.holds(homes)? {
                    why.push("servers could end programs of the bot's own user".to_owned());
                }
                // Proved by itself: without it, servers have no network and are as well confined.
                sandbox.means.ushers = true;
                if let Err(no_way) = sandbox.holds(homes) {
                    sandbox.means.ushers = false;
                    why.push(format!("servers cannot be given a network: {no_way}"));
                }
                sandbox.why = why.join("; ");
                Ok(sandbox)
            }
            Tier::Strong => {
                let bwrap = Bubblewrap::find().ok_or("bubblewrap is not installed")?;
                let of = |ends_user_namespaces| {
                    with(Some(Bubblewrap {
                        program: bwrap.clone(),
                        ends_user_namespaces,
                    }))
                };
                // As root there is no user namespace to end.
                let needs_none = Owner::named(PLACE).is_some();
                let sandbox = of(!needs_none);
                match sandbox.holds(homes) {
                    Ok(_) => Ok(sandbox),
                    Err(why) if needs_none => Err(why),
                    // An older bubblewrap does not know how; seccomp refuses them as well.
                    Err(_) => of(false).holds(homes).map(|_| of(false)),
                }
            }
        }
    }

    /// Whether it holds; and if it does, whether the canary could still signal others.
    fn holds(&self, homes: &Path) -> Result<bool, String> {
        let cannot = |error: std::io::Error| format!("the self-test cannot be made: {error}");
        let mut scene = Scene::set(homes).map_err(cannot)?;
        scene.task.amid_host = self.tier == Some(Tier::Restricted);
        scene.task.led = self.means.ushers;
        let found = scene.run(self)?;
        if scene.was_visited() {
            return Err("the self-test reached a program that listens on this host".to_owned());
        }
        if let Some(reached) = found.reached.first() {
            return Err(format!("the self-test reached {reached}"));
        }
        if let Some(missed) = found.missed.first() {
            return Err(format!("the self-test could not use {missed}"));
        }
        Ok(found.signals)
    }
}

/// What the canary is set among.
struct Scene {
    /// Two homes; removed with this.
    place: PathBuf,
    home: PathBuf,
    owner: Option<Owner>,
    homes: PathBuf,
    tcp: TcpListener,
    unix: UnixListener,
    proxy: UnixListener,
    task: Task,
}

impl Scene {
    fn set(homes: &Path) -> std::io::Result<Self> {
        let random = || getrandom::u64().map_err(|error| std::io::Error::other(error.to_string()));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(homes)?;
        let homes = homes.canonicalize()?;
        sweep(&homes);
        let place = homes.join(format!("{PLACE}-{:016x}", random()?));
        let owner = Owner::named(PLACE);
        let home = home::make_home(&place.join("own"), owner)?;
        // What everybody may read, so that the sandbox alone keeps it away.
        let other = place.join("other");
        std::fs::DirBuilder::new().mode(0o755).create(&other)?;
        let neighbour = other.join("file");
        std::fs::File::create_new(&neighbour)?.write_all(b"another chat's")?;
        let tcp = TcpListener::bind(("127.0.0.1", 0))?;
        tcp.set_nonblocking(true)?;
        let abstract_socket = format!("switchboard-self-test-{:016x}", random()?);
        let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_socket)?)?;
        unix.set_nonblocking(true)?;
        let proxy = UnixListener::bind(place.join(PROXY))?;
        proxy.set_nonblocking(true)?;
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let outsider = |pid| {
            Some(Outsider {
                pid,
                born: born(pid)?,
            })
        };
        let task = Task {
            neighbour,
            processes: [own, 1].into_iter().filter_map(outsider).collect(),
            loopback: tcp.local_addr()?,
            abstract_socket,
            folders: ["/usr", "/etc", "/", "/dev"].map(PathBuf::from).to_vec(),
            amid_host: false,
            led: false,
        };
        Ok(Self {
            place,
            home,
            owner,
            homes,
            tcp,
            unix,
            proxy,
            task,
        })
    }

    /// Whether anybody came to what listens here.
    fn was_visited(&self) -> bool {
        self.tcp.accept().is_ok() || self.unix.accept().is_ok()
    }

    /// What stands for the bot's proxy: says its word to whoever comes. Who hung up at once would not have been heard.
    fn attend(&self) -> Option<UnixStream> {
        let (mut client, _) = self.proxy.accept().ok()?;
        client.write_all(WORD).ok().map(|()| client)
    }

    fn run(&self, sandbox: &Sandbox) -> Result<Found, String> {
        let cannot = |error: std::io::Error| format!("the self-test cannot be made: {error}");
        let program = sandbox.means.program.clone();
        let cage = Cage {
            home: self.home.clone(),
            data: self.homes.parent().unwrap_or(&self.homes).to_owned(),
            owner: self.owner,
            folders: Vec::new(),
            network: if self.task.led {
                Network::Proxy(self.place.join(PROXY))
            } else {
                Network::None
            },
            limits: Limits::of(&Quotas::default()),
        };
        let inside = sandbox
            .home_inside(&self.home)
            .to_string_lossy()
            .into_owned();
        let run = Run {
            program,
            arg0: "switchboard".to_owned(),
            args: vec!["canary".to_owned()],
            env: BTreeMap::from([("HOME".to_owned(), inside)]),
            cwd: self.home.clone(),
        };
        let mut wrapped = sandbox.wrap(&cage, run).map_err(cannot)?;
        serde_json::to_writer(&mut wrapped.preamble, &self.task)
            .map_err(|error| cannot(error.into()))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "before there is a launcher, and not a server"
        )]
        let mut child = Command::new(&wrapped.run.program)
            .arg0(&wrapped.run.arg0)
            .args(&wrapped.run.args)
            .env_clear()
            .current_dir(&wrapped.run.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Less than a pipe holds; one that is closed already is told by what the child says.
            let _ = stdin.write_all(&wrapped.preamble);
        }
        let began = Instant::now();
        let mut attended = Vec::new();
        // It says little, so its pipes do not fill; a wait for the end alone can be given up.
        let ended = loop {
            attended.extend(self.attend());
            match child.try_wait() {
                Ok(None) if began.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(status)) => break status.success(),
                Ok(None) | Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err("the self-test does not end".to_owned());
                }
            }
        };
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = stdout.take(64 * 1024).read_to_string(&mut said);
        }
        if let (true, Ok(found)) = (ended, serde_json::from_str(&said)) {
            return Ok(found);
        }
        let mut complaint = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(4096).read_to_string(&mut complaint);
        }
        let complaint = complaint.lines().next().unwrap_or("it says nothing").trim();
        Err(format!("its self-test fails ({complaint})"))
    }
}

/// Takes away what a test left behind that was killed. One that is under way is younger.
fn sweep(homes: &Path) {
    for entry in std::fs::read_dir(homes).into_iter().flatten().flatten() {
        let is_old = || {
            let made = entry.metadata().and_then(|found| found.modified()).ok();
            made.and_then(|made| made.elapsed().ok())
                .is_some_and(|age| age > 6 * LIMIT)
        };
        if entry.file_name().to_string_lossy().starts_with(PLACE) && is_old() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}
