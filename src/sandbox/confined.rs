//! `switchboard confined`: takes away from itself what a server is not to have, then becomes the server.
//!
//! One thread, no runtime, no logging. What it is to do stands at the beginning of its standard input; the rest of it is
//! the server's.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, setrlimit};

use super::spec::Spec;
use super::{LAUNCH_MARK, Owner, PROXY_INSIDE, RELAY_LISTENS, filter, usher, walls};

/// How much a server steps back behind the bot and the rest of the host: the kernel weighs it at a ninth of a program that
/// does not (at 5 it is a third, so that four threads that spin leave the bot less than half of a core). Not at the least:
/// where the host itself is busy, its calls are still to end in time.
pub(super) const NICE: i32 = 10;
/// Where memory runs out, the kernel ends a server before the bot.
const FIRST_TO_GO: &str = "500";

/// Becomes what its standard input says; returns only where that cannot be.
pub fn confined_main() -> ExitCode {
    let Err(error) = become_it();
    let _ = writeln!(io::stderr(), "switchboard: {error}");
    ExitCode::from(126)
}

fn become_it() -> Result<std::convert::Infallible, String> {
    let cannot = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    // Unbuffered: not one byte of the server's may be taken.
    let spec = Spec::read(&mut Unbuffered)
        .map_err(|error| cannot("it is not told what to run", &error))?;
    go_first();
    if let Some(owner) = spec.owner {
        become_owner(owner)
            .map_err(|error| cannot("the thread's own user cannot be taken", &error))?;
    }
    let _ = rustix::process::nice(NICE);
    limit(&spec).map_err(|error| cannot("its limits cannot be set", &error))?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| cannot("its rights cannot be frozen", &error))?;
    if spec.relay {
        relay().map_err(|error| cannot("the way to the network cannot be opened", &error))?;
    }
    if let Some(allowed) = &spec.walls {
        // There already, or not to be made: then it has none.
        let tmp = spec.env.get("TMPDIR").map_or("", String::as_str);
        let _ = std::fs::DirBuilder::new().mode(0o700).create(tmp);
        walls::raise(allowed).map_err(|error| cannot("files cannot be confined", &error))?;
        // The launcher's first thread starts us, or the usher's, and lives as long as it does.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    }
    let asked = filter::apply(spec.sockets, spec.walls.is_some())
        .map_err(|error| cannot("system calls cannot be confined", &error))?;
    if let Some(asked) = asked {
        // Fails where the usher is gone already, who could not have told us.
        usher::hand_over(asked)
            .map_err(|error| cannot("the way to the network cannot be opened", &error))?;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this process becomes it; the launcher started us"
    )]
    let error = Command::new(&spec.program)
        .arg0(&spec.arg0)
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .envs(std::env::var_os(LAUNCH_MARK).map(|mark| (LAUNCH_MARK, mark)))
        .current_dir(&spec.cwd)
        .exec();
    let hint = if error.kind() == io::ErrorKind::PermissionDenied && spec.walls.is_some() {
        // Below /root, say: the strong tier shows it there, this one cannot.
        "; in this sandbox a program must lie where every user may read it, or bubblewrap be installed"
    } else {
        ""
    };
    Err(format!("the system refused to start it: {error}{hint}"))
}

pub(super) fn go_first() {
    // Opened for writing and never made: it is there.
    if let Ok(mut file) = std::fs::File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
    {
        let _ = file.write_all(FIRST_TO_GO.as_bytes());
    }
}

pub(super) fn become_owner(owner: Owner) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    // One thread, so the thread's are the process's. Capabilities go with user 0.
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn limit(spec: &Spec) -> rustix::io::Result<()> {
    let limits = &spec.limits;
    // What is only reserved counts here (each thread's stack), so this is far above what the launcher ends a server for, and
    // says why; a single leap is held here.
    let memory = limits.memory_bytes.saturating_mul(4);
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Data, memory),
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, processes(spec)),
        (Resource::Fsize, limits.file_bytes),
    ] {
        let now = rustix::process::getrlimit(resource);
        let most = now.maximum.map_or(most, |maximum| most.min(maximum));
        let both = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, both)?;
    }
    Ok(())
}

/// The kernel counts the processes and threads of a user, so what is allowed of them depends on who else is that user. The
/// launcher counts a server's own; this is what a fork bomb meets before it looks.
fn processes(spec: &Spec) -> u64 {
    /// Servers of a thread that share its user, or time that others of ours take.
    const ROOM: u64 = 4;
    let own = spec.limits.processes;
    match (&spec.owner, &spec.walls) {
        // A user namespace of its own counts for itself.
        (None, None) => own,
        (Some(_), _) => own.saturating_mul(ROOM),
        (None, Some(_)) => own
            .saturating_mul(ROOM)
            .saturating_add(threads_of_this_user()),
    }
}

fn threads_of_this_user() -> u64 {
    let uid = rustix::process::getuid().as_raw();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders
        .filter(|folder| folder.metadata().is_ok_and(|found| found.uid() == uid))
        .filter_map(|folder| std::fs::read_to_string(folder.path().join("status")).ok())
        .filter_map(|status| {
            let threads = status
                .lines()
                .find_map(|line| line.strip_prefix("Threads:"))?;
            threads.trim().parse::<u64>().ok()
        })
        .sum()
}

/// Starts the relay and waits for the line by which it says that it listens.
fn relay() -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "within what the launcher started"
    )]
    let mut relay = Command::new("/proc/self/exe")
        .args(["relay", "--listen", RELAY_LISTENS, "--to", PROXY_INSIDE])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // The server's is drained until all who hold it have ended.
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    if let Some(said) = relay.stdout.take() {
        BufReader::new(said).read_line(&mut line)?;
    }
    if line.is_empty() {
        return Err(io::Error::other("the relay did not start"));
    }
    Ok(())
}

struct Unbuffered;

impl io::Read for Unbuffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::io::read(io::stdin().as_fd(), buffer).map_err(Into::into)
    }
}
