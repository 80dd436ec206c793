//! The launcher's own side: a small program without a runtime that owns the servers' processes.
//!
//! Five threads share one table. The first takes orders from the socket and starts programs, the second reaps, the third
//! ends what it is told to end, the fourth remembers whose each descendant is, the fifth looks what confined servers use.
//! Signals are sent and processes reaped only under the table's lock, so a number that was given to somebody else meanwhile
//! is never hit.

mod table;

use std::collections::{BTreeMap, HashSet};
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions};

use super::lineage::newest_process;
use super::process_table::{ProcessTable, kill, signal, speaker};
use super::processor::{Processor, Times};
use super::watch::{Pace, Use, shared_on_machine};
use super::wire::{Ended, Order, Over, PACKET_BYTES, Report, SOCKET_BUFFER, Watch};
use table::{Owned, Sweep, Table};

/// How long what does not die is waited for when the bot is gone and nothing else is left to do.
const FAREWELL_LIMIT: Duration = Duration::from_secs(30);
/// How often descendants are looked at whose parents may go.
const LINEAGE_LOOK: Duration = Duration::from_secs(1);
/// How often the machine is asked whether it is time to look what confined servers use.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at `/proc`.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

/// Runs the launcher: orders come through a socket that is this process's stdin.
pub fn launcher_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "switchboard launcher is started by switchboard itself, with a socket as its stdin: {error}"
            );
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Host {
    table: Mutex<Table>,
    /// Told when there may be a child again to wait for.
    born: Condvar,
    /// Told when there is something to end.
    doomed: Condvar,
    /// Told when no child is left.
    empty: Condvar,
}

fn serve() -> Result<(), Errno> {
    rustix::net::sockopt::socket_type(rustix::stdio::stdin())?;
    ignore_polite_signals();
    let _ =
        rustix::net::sockopt::set_socket_send_buffer_size(rustix::stdio::stdin(), SOCKET_BUFFER);
    // A session of its own: Ctrl-C in the bot's terminal reaches neither it nor its children.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;

    let host = Arc::new(Host::default());
    for (name, work) in [
        ("reaper", Host::reap as fn(&Host)),
        ("sweeper", Host::sweep),
        ("lineage", Host::remember),
        ("watch", Host::watch),
    ] {
        let host = host.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(256 * 1024)
            .spawn(move || work(&host))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    }
    host.take_orders();
    host.farewell();
    Ok(())
}

/// The launcher ends with its socket and nothing else: a SIGTERM to all processes of a service must not take it away
/// before the bot has closed its servers in peace. Installing a handler is what switches the default action off.
fn ignore_polite_signals() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
    else {
        return;
    };
    let _guard = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        let _ = signal(kind);
    }
}

impl Host {
    /// Until the bot is gone. What makes no sense is passed over: the bot waits with a deadline for every answer.
    fn take_orders(&self) {
        let mut packet = vec![0; PACKET_BYTES];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                rustix::stdio::stdin(),
                &mut [IoSliceMut::new(&mut packet)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            let fds: Vec<OwnedFd> = ancillary
                .drain()
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                    _ => None,
                })
                .flatten()
                .collect();
            match received {
                Err(Errno::INTR) => {}
                Err(_) => return,
                Ok(message) if message.bytes == 0 => return,
                Ok(message) if message.flags.contains(ReturnFlags::TRUNC) => {}
                Ok(message) => {
                    if let Ok(order) = serde_json::from_slice(&packet[..message.bytes]) {
                        self.obey(order, fds);
                    }
                }
            }
        }
    }

    fn obey(&self, order: Order, fds: Vec<OwnedFd>) {
        let (id, kill) = match order {
            Order::Spawn {
                id,
                program,
                arg0,
                args,
                env,
                cwd,
                watch,
            } => {
                let pipes = fds.iter().filter_map(|fd| rustix::fs::fstat(fd).ok());
                let pipes = pipes.map(|stat| stat.st_ino).collect();
                let command = prepare(&program, &arg0, &args, &env, &cwd, fds);
                let mark = env.get(super::wire::MARKER).cloned().unwrap_or_default();
                let report = match command {
                    Some(command) => self.spawn(id, command, mark, pipes, watch),
                    None => Report::Refused {
                        id,
                        errno: Errno::BADF.raw_os_error(),
                    },
                };
                say(report);
                return;
            }
            Order::Terminate { id } => (id, false),
            Order::Sweep { id } => (id, true),
        };
        self.lock().sweeps.push(Sweep::new(id, kill));
        self.doomed.notify_one();
    }

    fn spawn(
        &self,
        id: u64,
        mut command: Command,
        mark: String,
        pipes: Vec<u64>,
        watch: Option<Watch>,
    ) -> Report {
        // Under the lock: the reaper must not see the child before the table does.
        let mut table = self.lock();
        match command.spawn() {
            Ok(child) => {
                let pid = i32::try_from(child.id()).unwrap_or(0);
                table.children.insert(
                    id,
                    Owned {
                        pid,
                        ended: false,
                        mark,
                        pipes,
                        watch,
                        is_over: false,
                    },
                );
                table.by_pid.insert(pid, id);
                table.births += 1;
                table.childless = false;
                self.born.notify_all();
                Report::Spawned { id, pid }
            }
            Err(error) => Report::Refused {
                id,
                errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
            },
        }
    }

    fn reap(&self) {
        loop {
            let births = self.lock().births;
            // Only looks: what is reaped is reaped under the lock below.
            match rustix::process::waitid(
                WaitId::All,
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            ) {
                Ok(_) => {
                    let mut table = self.lock();
                    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                        let Some(id) = table.by_pid.remove(&pid.as_raw_nonzero().get()) else {
                            continue; // a grandchild that came to us
                        };
                        let mut is_keeper = false;
                        if let Some(child) = table.children.get_mut(&id) {
                            child.ended = true;
                            is_keeper = child.watch.is_some_and(|watch| watch.is_keeper);
                        }
                        let ended = match (status.terminating_signal(), status.exit_status()) {
                            (Some(signal), _) => Ended::Signal(signal),
                            // As shells do it, and bubblewrap.
                            (None, Some(code @ 129..=192)) if is_keeper => {
                                Ended::Signal(code - 128)
                            }
                            (None, code) => Ended::Code(code.unwrap_or(-1)),
                        };
                        say(Report::Ended { id, ended });
                    }
                }
                Err(Errno::CHILD) => {
                    // An orphan comes to us before its parent is reaped, so nobody at all is left below us.
                    let mut table = self.lock();
                    table.childless = table.births == births;
                    self.empty.notify_all();
                    while table.births == births {
                        table = wait(&self.born, table);
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn sweep(&self) {
        let mut table = self.lock();
        loop {
            if table.sweeps.is_empty() {
                table = wait(&self.doomed, table);
                continue;
            }
            // A child that ended before the look can have started nobody that the look does not see.
            let ended: HashSet<u64> = table
                .sweeps
                .iter()
                .map(|sweep| sweep.id)
                .filter(|id| table.children.get(id).is_none_or(|child| child.ended))
                .collect();
            // The slow part, without the lock: new orders come first.
            drop(table);
            let processes = ProcessTable::read();
            table = self.lock();
            table.look(&processes);
            let sweeps = std::mem::take(&mut table.sweeps);
            let mut unfinished = Vec::new();
            for mut sweep in sweeps {
                let mut victims = table.victims(sweep.id, &processes);
                if !sweep.kill
                    && let Some(keeper) = table.keeper(sweep.id)
                {
                    victims.retain(|pid| *pid != keeper);
                }
                let how = sweep.signal(&victims);
                for pid in &victims {
                    signal(*pid, how);
                }
                if !sweep.kill {
                    // asked once
                } else if (victims.is_empty() && ended.contains(&sweep.id))
                    || Instant::now() > sweep.until
                {
                    table.children.remove(&sweep.id);
                    table.lineage.forget(sweep.id);
                    say(Report::Swept {
                        id: sweep.id,
                        left: victims.len(),
                    });
                } else {
                    unfinished.push(sweep);
                }
            }
            table.sweeps.append(&mut unfinished);
            // Also between two rounds, so that the reaper and new orders get their turn.
            drop(table);
            if !self.lock().sweeps.is_empty() {
                std::thread::sleep(LOOK_AGAIN);
            }
            table = self.lock();
        }
    }

    /// Looks while there are children, and only where a process was made since the last look.
    fn remember(&self) {
        let mut newest = None;
        let mut table = self.lock();
        loop {
            if table.children.is_empty() {
                table = wait(&self.born, table);
                continue;
            }
            drop(table);
            // Not at the birth itself: a start is not to be held up.
            std::thread::sleep(LINEAGE_LOOK);
            let now = newest_process();
            let processes = (now.is_none() || now != newest).then(ProcessTable::read);
            newest = now;
            table = self.lock();
            if let Some(processes) = processes {
                table.look(&processes);
            }
        }
    }

    /// Ends confined servers that use more than they may, and says why.
    fn watch(&self) {
        let mut pace = Pace::default();
        let began = Instant::now();
        let mut processor = Processor::new(rustix::param::clock_ticks_per_second());
        let mut table = self.lock();
        loop {
            if !table.children.values().any(Owned::is_watched) {
                table = wait(&self.born, table);
                continue;
            }
            drop(table);
            std::thread::sleep(ASK_EVERY);
            if !pace.is_due() {
                table = self.lock();
                continue;
            }
            let processes = ProcessTable::read();
            table = self.lock();
            let watched: Vec<_> = table
                .children
                .iter()
                .filter(|(_, child)| child.is_watched())
                .filter_map(|(id, child)| Some((*id, child.watch?, table.members(*id, &processes))))
                .collect();
            // The slow part, without the lock.
            drop(table);
            let now = began.elapsed();
            let shared = shared_on_machine();
            let over: Vec<_> = watched
                .iter()
                .filter_map(|(id, watch, members)| {
                    let names = processor.names(*id, members, &processes);
                    let spent = processor.look(*id, watch, &Times::of(&names), now);
                    let members: &Vec<i32> = &members.iter().copied().map(speaker).collect();
                    let used = Use::of(members)
                        .with_kept(members, watch, shared)
                        .with_sockets(members);
                    Some((*id, used.over(watch).or(spent)?))
                })
                .collect();
            for (id, watch, _) in &watched {
                // Whoever is ended for something else is started again by itself, and not with all its time anew.
                let is_spent =
                    |(over, why): &(u64, Over)| over == id && matches!(why, Over::Processor(_));
                if over.iter().any(is_spent) {
                    // It is for people to say when it goes on.
                    processor.forgive(watch);
                }
            }
            processor.keep(&watched.iter().map(|(id, _, _)| *id).collect(), now);
            table = self.lock();
            for (id, over) in over {
                if let Some(child) = table.children.get_mut(&id) {
                    child.is_over = true;
                    say(Report::Over { id, over });
                    table.sweeps.push(Sweep::new(id, true));
                    self.doomed.notify_one();
                }
            }
        }
    }

    /// The bot is gone: everything below this process ends, however often it comes back.
    fn farewell(&self) {
        let until = Instant::now() + FAREWELL_LIMIT;
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let mut table = self.lock();
        loop {
            for pid in ProcessTable::read().descendants(own) {
                kill(pid);
            }
            if table.childless || table.births == 0 || Instant::now() > until {
                return;
            }
            table = self
                .empty
                .wait_timeout(table, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(told: &Condvar, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
    told.wait(table).unwrap_or_else(PoisonError::into_inner)
}

fn prepare(
    program: &str,
    arg0: &str,
    arguments: &[String],
    env: &BTreeMap<String, String>,
    cwd: &str,
    fds: Vec<OwnedFd>,
) -> Option<Command> {
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds).ok()?;
    #[expect(clippy::disallowed_methods, reason = "this is the one launch path")]
    let mut command = Command::new(program);
    command
        .arg0(arg0)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(cwd)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        // No `pre_exec`: std then takes the fast path (posix_spawn), whatever the size of this process.
        .process_group(0);
    Some(command)
}

/// Reports go out one packet each; when the bot is gone, nobody is left to tell.
fn say(report: Report) {
    let Ok(packet) = serde_json::to_vec(&report) else {
        return;
    };
    while send(rustix::stdio::stdin().as_fd(), &packet, SendFlags::NOSIGNAL) == Err(Errno::INTR) {}
}
