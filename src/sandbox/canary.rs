//! `switchboard canary`: tries to get out of the sandbox that it was started in, and says where it got.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SendFlags, SocketType};
use serde::{Deserialize, Serialize};

/// What it is to try.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    /// Another thread's file, and a folder that it lies in.
    pub(super) neighbour: PathBuf,
    /// Processes outside: the bot, and the first of the machine.
    pub(super) processes: Vec<Outsider>,
    /// Where somebody listens on the host's loopback.
    pub(super) loopback: SocketAddr,
    /// An abstract socket that somebody listens at.
    pub(super) abstract_socket: String,
    /// Folders that are not to be written to.
    pub(super) folders: Vec<PathBuf>,
    /// Whether the network around it is the host's.
    pub(super) amid_host: bool,
    /// Whether it is led to a proxy, which says [`WORD`].
    pub(super) led: bool,
}

/// What a proxy says at once to whoever comes.
pub(super) const WORD: &[u8] = b"led";

/// A process, by what is its own for good.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outsider {
    pub(super) pid: i32,
    /// In clock ticks since the machine started, as `/proc` has it.
    pub(super) born: String,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// What it reached and should not have, in words.
    pub(super) reached: Vec<String>,
    /// What it should have been able to do and was not.
    pub(super) missed: Vec<String>,
    /// Whether it could have signalled the bot.
    pub(super) signals: bool,
}

/// Tries, prints what it found as JSON, and ends.
pub fn canary_main() -> ExitCode {
    let mut task = String::new();
    let read = io::stdin().take(64 * 1024).read_to_string(&mut task);
    let Some(task) = read
        .ok()
        .and_then(|_| serde_json::from_str::<Task>(&task).ok())
    else {
        return ExitCode::FAILURE;
    };
    let found = serde_json::to_string(&tried(&task)).unwrap_or_default();
    match writeln!(io::stdout(), "{found}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tried(task: &Task) -> Found {
    let mut found = Found::default();
    let mut reached = |what: &str, is_reached: bool| {
        if is_reached {
            found.reached.push(what.to_owned());
        }
    };
    reached(
        "another chat's files",
        std::fs::read(&task.neighbour).is_ok(),
    );
    let beside = task.neighbour.parent().unwrap_or(Path::new("/"));
    reached("another chat's folder", std::fs::read_dir(beside).is_ok());
    for process in &task.processes {
        for (what, file) in [
            ("the environment of other programs", "environ"),
            ("the command lines of other programs", "cmdline"),
        ] {
            let read = std::fs::read(format!("/proc/{}/{file}", process.pid));
            let is_read = read.is_ok_and(|bytes| !bytes.is_empty());
            reached(what, is_read && may_be(process));
        }
    }
    let connected = TcpStream::connect_timeout(&task.loopback, Duration::from_millis(300));
    let led = task.led && connected.as_ref().is_ok_and(is_led);
    // One that is led is connected in any case; whether to them, they tell themselves.
    let is_refused = task.led || connected.is_err();
    reached("programs that listen on this host", !is_refused);
    let name = std::os::unix::net::SocketAddr::from_abstract_name(&task.abstract_socket);
    let connected = name.and_then(|name| UnixStream::connect_addr(&name));
    reached("abstract sockets of this host", connected.is_ok());
    if task.amid_host {
        for (what, is_there) in of_the_host(task) {
            reached(what, is_there);
        }
    }
    for folder in &task.folders {
        let file = folder.join(format!(".switchboard-canary-{}", std::process::id()));
        let made = std::fs::File::create_new(&file).is_ok();
        if made {
            let _ = std::fs::remove_file(&file);
        }
        reached(&format!("writing to {}", folder.display()), made);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let says = |name: &str, value: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.is_some_and(|line| line.trim() == value)
    };
    let no_rights = "0000000000000000";
    reached(
        "rights of its own",
        !says("CapEff", no_rights) || !says("CapPrm", no_rights),
    );
    reached("rights of other programs", !says("NoNewPrivs", "1"));
    reached("system calls that nobody filters", !says("Seccomp", "2"));
    found.signals = task.processes.iter().any(|process| {
        may_be(process)
            && rustix::process::Pid::from_raw(process.pid)
                .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    });
    for (what, works) in [
        (
            "its own folder",
            writes(&std::env::home_dir().unwrap_or_default()),
        ),
        ("temporary files", writes(&std::env::temp_dir())),
        (
            "the system's programs",
            std::fs::read_dir("/usr/bin").is_ok(),
        ),
        (
            "/dev/null",
            std::fs::File::options()
                .write(true)
                .open("/dev/null")
                .is_ok(),
        ),
        ("the bot's proxy", led || !task.led),
    ] {
        if !works {
            found.missed.push(what.to_owned());
        }
    }
    found
}

/// Whether a proxy is at the other end. It is said something first, as each client of one does.
fn is_led(mut proxy: &TcpStream) -> bool {
    let mut word = [0; WORD.len()];
    proxy.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && proxy.write_all(b"canary").is_ok()
        && proxy.read_exact(&mut word).is_ok()
        && word == WORD
}

/// What there is of a network that is not its own, by what it would be used for.
fn of_the_host(task: &Task) -> impl Iterator<Item = (&'static str, bool)> {
    let opens = |family, kind, protocol| net::socket(family, kind, protocol);
    let (stream, datagram) = (SocketType::STREAM, SocketType::DGRAM);
    let listens = || {
        let socket = opens(AddressFamily::INET, stream, None)?;
        net::listen(socket, 1)
    };
    let sends = || {
        let socket = opens(AddressFamily::INET, stream, None)?;
        // MSG_FASTOPEN, which connects.
        let opening = SendFlags::from_bits_retain(0x2000_0000);
        net::sendto(socket, b"canary", opening, &task.loopback)
    };
    [
        ("listening on this host", listens().is_ok()),
        (
            "a port of this host",
            TcpListener::bind(("127.0.0.1", 0)).is_ok(),
        ),
        ("this host by sending", sends().is_ok()),
        (
            "datagrams on this host",
            opens(AddressFamily::INET, datagram, None).is_ok(),
        ),
        (
            "the network by IPv6",
            opens(AddressFamily::INET6, stream, None).is_ok(),
        ),
        (
            "the network by several ways at once",
            opens(AddressFamily::INET, stream, Some(net::ipproto::MPTCP)).is_ok(),
        ),
        (
            "the kernel's own sockets",
            opens(AddressFamily::NETLINK, datagram, None).is_ok(),
        ),
        (
            "datagrams to programs of this host",
            UnixDatagram::pair().is_ok(),
        ),
    ]
    .into_iter()
}

/// Whether its number means it here too, as far as can be seen.
fn may_be(process: &Outsider) -> bool {
    born(process.pid).is_none_or(|born| born == process.born)
}

/// When a process was born; the number alone may mean another one here.
pub(super) fn born(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the 22nd field; the second may hold blanks and brackets.
    let fields = stat.get(stat.rfind(')')? + 1..)?;
    fields.split_ascii_whitespace().nth(19).map(str::to_owned)
}

fn writes(folder: &Path) -> bool {
    let file = folder.join(".switchboard-canary");
    let works = std::fs::File::create(&file)
        .is_ok_and(|mut file| file.write_all(b"canary").is_ok())
        && std::fs::read(&file).is_ok_and(|bytes| bytes == b"canary");
    let _ = std::fs::remove_file(&file);
    works
}
