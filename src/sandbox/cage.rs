//! What one server may reach, and the command that starts it so.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::{Sockets, Spec, Walls};
use super::{
    HOME_INSIDE, NODE_PROXY, NODE_PROXY_INSIDE, Owner, PROXY_INSIDE, RELAY_LISTENS, Sandbox, Shown,
    home, relay, view,
};
use crate::policy::{Quotas, Tier};

/// What one server may reach of the host.
#[derive(Debug, Clone)]
pub struct Cage {
    /// Its thread's home folder on the host, a full path; writable, shown as `$HOME`.
    pub home: PathBuf,
    /// The bot's data folder, which nothing but the home is shown of.
    pub data: PathBuf,
    /// Who it runs as.
    pub owner: Option<Owner>,
    /// What an operator granted besides, shown at the same path.
    pub folders: Vec<Granted>,
    /// What it has of the network.
    pub network: Network,
    /// How much it may use.
    pub limits: Limits,
}

/// A folder that an operator granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// A full path on the host.
    pub path: PathBuf,
    /// Whether it can be changed.
    pub write: bool,
}

/// What a server has of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// What the bot's proxy lets through, which listens at this Unix socket.
    Proxy(PathBuf),
    /// The host's own.
    Host,
}

/// How much one server may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, of all its processes together.
    pub memory_bytes: u64,
    /// Its processes and threads.
    pub processes: u64,
    /// Seconds of the processor's time within ten minutes, of all its processes together.
    pub cpu_seconds: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// Bytes of its largest file.
    pub file_bytes: u64,
    /// Bytes of its `/tmp`.
    pub tmp_bytes: u64,
}

/// What is to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The file.
    pub program: PathBuf,
    /// The name that it is called by.
    pub arg0: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment, but for what the sandbox itself sets.
    pub env: BTreeMap<String, String>,
    /// Its working folder on the host: in its home or in a granted folder.
    pub cwd: PathBuf,
}

/// What to start instead.
#[derive(Debug, Clone)]
pub struct Wrapped {
    /// What to start.
    pub run: Run,
    /// What to write to its standard input before anything else.
    pub preamble: Vec<u8>,
    /// What is started is not the server but keeps it: it passes on how the server ended, and polite signals are the
    /// server's alone, since bubblewrap dies of the first.
    pub is_keeper: bool,
    /// What the launcher watches over.
    pub limits: Option<Limits>,
    /// What the server finds of the host's files; `None` where nothing is hidden from it.
    pub shown: Option<Shown>,
}

impl Limits {
    /// The operator's quotas, with all of the home to fill.
    pub fn of(quotas: &Quotas) -> Self {
        Self {
            memory_bytes: quotas.memory_bytes,
            processes: quotas.processes,
            cpu_seconds: quotas.cpu_seconds,
            open_files: quotas.open_files,
            file_bytes: quotas.home_bytes,
            tmp_bytes: quotas.tmp_bytes,
        }
    }

    /// The same in a home that holds these bytes already.
    #[must_use]
    pub fn beside(self, used: u64) -> Self {
        /// So that a home that is nearly full can still be cleaned up.
        const ROOM: u64 = 1024 * 1024;
        Self {
            file_bytes: self.file_bytes.saturating_sub(used).max(ROOM),
            ..self
        }
    }
}

impl Sandbox {
    /// The path of a home as its servers see it.
    pub fn home_inside<'a>(&self, home: &'a Path) -> &'a Path {
        match self.tier {
            Some(Tier::Strong) => Path::new(HOME_INSIDE),
            _ => home,
        }
    }

    /// The command that runs this in this cage. Looks at the program's files, so not on a task's thread.
    pub fn wrap(&self, cage: &Cage, mut run: Run) -> io::Result<Wrapped> {
        if !self.confines() {
            return Ok(Wrapped {
                run,
                preamble: Vec::new(),
                is_keeper: false,
                limits: None,
                shown: None,
            });
        }
        let needed = view::needed(&run.program, run.env.get("PATH"), cage, &self.means.program);
        let inside = |path: &Path| match path.strip_prefix(&cage.home) {
            Ok(rest) if rest.as_os_str().is_empty() => self.home_inside(&cage.home).to_owned(),
            Ok(rest) => self.home_inside(&cage.home).join(rest),
            Err(_) => path.to_owned(),
        };
        let is_strong = self.tier == Some(Tier::Strong);
        let tmp = if is_strong {
            PathBuf::from("/tmp")
        } else {
            cage.home.join(home::TMP)
        };
        run.env
            .insert("TMPDIR".to_owned(), tmp.to_string_lossy().into_owned());
        if let (Some((socket, _)), Some(owner)) = (proxy(&cage.network), cage.owner) {
            // To connect is to write.
            std::os::unix::fs::chown(socket, Some(owner.uid), Some(owner.gid))?;
        }
        // Where it is not proved that a server can be led, it has nothing of the network, whatever it was granted.
        let way = proxy(&cage.network).filter(|_| self.takes_proxy());
        let preload = way.and_then(|_| node_proxy(&cage.network));
        if way.is_some() {
            run.env.extend(relay::variables(RELAY_LISTENS));
        }
        if let Some(file) = &preload {
            let file = if is_strong {
                Path::new(NODE_PROXY_INSIDE)
            } else {
                file
            };
            let options = format!("--require={}", quoted(&file.to_string_lossy()));
            run.env.insert("NODE_OPTIONS".to_owned(), options);
        }
        if !is_strong && cage.owner.is_some() {
            // Its own user walks there from the root, where the strong tier shows it another way.
            for place in [Some(&cage.home), preload.as_ref()].into_iter().flatten() {
                let above = place.ancestors().skip(1);
                for folder in above.take_while(|it| it.starts_with(&cage.data)) {
                    home::open_way(folder)?;
                }
            }
        }
        let program = if is_strong {
            self.means
                .bubblewrap
                .as_ref()
                .map_or_else(PathBuf::new, |it| it.program.clone())
        } else {
            self.means.program.clone()
        };
        let spec = Spec {
            program: if run.program.canonicalize().ok().as_ref() == Some(&self.means.program) {
                view::own_program(is_strong)
            } else {
                inside(&run.program)
            },
            arg0: run.arg0,
            args: run.args,
            env: run.env,
            cwd: inside(&run.cwd),
            owner: cage.owner,
            limits: cage.limits,
            walls: (!is_strong).then(|| walls(cage, needed.iter().chain(&preload))),
            sockets: match cage.network {
                Network::Host => Sockets::Host,
                Network::None | Network::Proxy(_) if is_strong => Sockets::Own,
                Network::None | Network::Proxy(_) if way.is_some() => Sockets::Led,
                Network::None | Network::Proxy(_) => Sockets::None,
            },
            relay: is_strong && way.is_some(),
        };
        let args = match &self.means.bubblewrap {
            Some(bubblewrap) if is_strong => {
                bubblewrap.arguments(cage, &needed, &self.means.program)
            }
            _ => match way {
                Some((socket, _)) => usher(socket, cage.owner),
                None => vec!["confined".to_owned()],
            },
        };
        Ok(Wrapped {
            preamble: spec.to_preamble()?,
            run: Run {
                arg0: program.to_string_lossy().into_owned(),
                program,
                args,
                // Nothing of the server's: a variable of its own could make the keeper load other code, outside.
                env: BTreeMap::new(),
                cwd: PathBuf::from("/"),
            },
            is_keeper: is_strong || way.is_some(),
            limits: Some(cage.limits),
            shown: Some(Shown::of(cage, &needed, is_strong)),
        })
    }
}

/// The usher of a server that is led to this socket.
fn usher(socket: &Path, owner: Option<Owner>) -> Vec<String> {
    let mut line = vec![
        "usher".to_owned(),
        format!("--to={}", socket.to_string_lossy()),
    ];
    if let Some(Owner { uid, gid }) = owner {
        line.extend(["--owner".to_owned(), uid.to_string(), gid.to_string()]);
    }
    line
}

/// As `NODE_OPTIONS` wants a path that may hold blanks.
fn quoted(path: &str) -> String {
    let path = path.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{path}\"")
}

fn walls<'a>(cage: &Cage, needed: impl Iterator<Item = &'a PathBuf>) -> Walls {
    let mut walls = Walls {
        read: view::system().chain(needed.cloned()).collect(),
        write: vec![cage.home.clone()],
        network: cage.network == Network::Host,
    };
    for folder in &cage.folders {
        let list = if folder.write {
            &mut walls.write
        } else {
            &mut walls.read
        };
        list.push(folder.path.clone());
    }
    walls
}

/// What the proxy's socket is called on both sides.
pub(super) fn proxy(network: &Network) -> Option<(&Path, &'static str)> {
    match network {
        Network::Proxy(socket) => Some((socket, PROXY_INSIDE)),
        Network::None | Network::Host => None,
    }
}

/// What Node loads first, which lies beside the proxy's socket, where it was written there.
pub(super) fn node_proxy(network: &Network) -> Option<PathBuf> {
    let (socket, _) = proxy(network)?;
    let file = socket.with_file_name(NODE_PROXY);
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::super::Means;
    use super::*;

    /// The command of a server that is granted the proxy, and what is told on its standard input.
    fn wrapped(ushers: bool, socket: &Path, home: &Path) -> (Wrapped, Spec) {
        let sandbox = Sandbox {
            tier: Some(Tier::Restricted),
            why: String::new(),
            means: Means {
                program: "/opt/switchboard".into(),
                ushers,
                ..Means::default()
            },
        };
        let cage = Cage {
            home: home.to_owned(),
            data: home.parent().unwrap().to_owned(),
            owner: None,
            folders: Vec::new(),
            network: Network::Proxy(socket.to_owned()),
            limits: Limits::default(),
        };
        let run = Run {
            program: "/bin/true".into(),
            arg0: "true".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: home.to_owned(),
        };
        let wrapped = sandbox.wrap(&cage, run).unwrap();
        let spec = Spec::read(&mut &wrapped.preamble[..]).unwrap();
        (wrapped, spec)
    }

    #[test]
    fn without_the_proof_a_grant_of_the_network_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        // As a folder of somebody may be called.
        let run = folder.path().join("r \"u\\n");
        std::fs::create_dir(&run).unwrap();
        std::fs::File::create(run.join(NODE_PROXY)).unwrap();
        let socket = run.join("1.sock");
        let (no, told) = wrapped(false, &socket, &home);
        assert_eq!(no.run.args, ["confined"]);
        assert!(!no.is_keeper);
        assert_eq!(told.sockets, Sockets::None);
        assert!(!told.env.contains_key("HTTPS_PROXY") && !told.env.contains_key("NODE_OPTIONS"));
        let (yes, told) = wrapped(true, &socket, &home);
        assert_eq!(
            yes.run.args,
            ["usher".to_owned(), format!("--to={}", socket.display())]
        );
        assert!(yes.is_keeper);
        assert_eq!(told.sockets, Sockets::Led);
        assert_eq!(told.env["HTTPS_PROXY"], "http://127.0.0.1:3128");
        let preload = told.env["NODE_OPTIONS"].strip_prefix("--require=").unwrap();
        let place = folder.path().display();
        let expected = format!(r#""{place}/r \"u\\n/{NODE_PROXY}""#);
        assert_eq!(preload, expected);
        let walls = told.walls.unwrap();
        assert!(walls.read.contains(&run.join(NODE_PROXY)) && !walls.network);
        assert!(!walls.read.contains(&run) && !walls.write.contains(&run));
    }
}
