//! The bot's side of the launcher: starts it, gives it orders, and hands each child its reports.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::process_table::{ProcessTable, is_marked, kill};
use super::wire::{Ended, MARKER, Order, Over, Report, SOCKET_BUFFER, Watch};
use crate::sandbox::Wrapped;

/// A connection to a running launcher.
pub(in crate::registry) struct Launcher {
    /// Of packets, although tokio's type speaks of a stream: only its readiness is used.
    socket: UnixStream,
    /// A std lock: held for a map operation, never over an await.
    children: Mutex<HashMap<u64, watch::Sender<Status>>>,
    next: AtomicU64,
    /// What its children's marks begin with; random, so that it names this launcher alone on the machine.
    mark: String,
    lost: AtomicBool,
    closing: CancellationToken,
    process: Mutex<Option<std::process::Child>>,
}

/// What to start.
pub(in crate::registry) struct Spawn<'a> {
    /// The file to run.
    pub(in crate::registry) program: &'a Path,
    /// The name that it is called by.
    pub(in crate::registry) arg0: &'a str,
    /// Its arguments.
    pub(in crate::registry) args: &'a [String],
    /// Its whole environment.
    pub(in crate::registry) env: BTreeMap<String, String>,
    /// Its working folder.
    pub(in crate::registry) cwd: &'a Path,
    /// What it is watched for.
    pub(in crate::registry) watch: Option<Watch>,
}

impl<'a> Spawn<'a> {
    /// What is confined as `wrapped` says, which gives its environment away. `server` is whose it is, the same at each start.
    pub(in crate::registry) fn of(wrapped: &'a mut Wrapped, server: impl Hash) -> Self {
        // The launcher only tells servers apart by it.
        let mut hasher = DefaultHasher::new();
        server.hash(&mut hasher);
        let Wrapped {
            run,
            is_keeper,
            limits,
            ..
        } = wrapped;
        Self {
            program: &run.program,
            arg0: &run.arg0,
            args: &run.args,
            env: std::mem::take(&mut run.env),
            cwd: &run.cwd,
            watch: limits.map(|limits| Watch {
                server: hasher.finish(),
                memory: limits.memory_bytes,
                processes: limits.processes,
                processor: limits.cpu_seconds,
                is_keeper: *is_keeper,
            }),
        }
    }
}

/// Our ends of a child's pipes.
#[derive(Debug)]
pub(in crate::registry) struct Pipes {
    pub(in crate::registry) stdin: pipe::Sender,
    pub(in crate::registry) stdout: pipe::Receiver,
    pub(in crate::registry) stderr: pipe::Receiver,
}

/// A child of the launcher. Dropping it ends it and all it started.
#[derive(Debug)]
pub(in crate::registry) struct Child {
    id: u64,
    launcher: Arc<Launcher>,
    status: watch::Receiver<Status>,
    swept: bool,
}

/// Ends a child, whoever holds it.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Ender {
    id: u64,
    launcher: Arc<Launcher>,
}

impl PartialEq for Ender {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.launcher, &other.launcher)
    }
}

impl Ender {
    /// Ends it and all it started, for this reason.
    pub(in crate::registry) async fn end(&self, over: Over) {
        if let Some(status) = self.launcher.children().get(&self.id) {
            status.send_modify(|status| status.over = Some(over));
        }
        let _ = self.launcher.send(&Order::Sweep { id: self.id }, &[]).await;
    }

    /// The processes of these, and those of the user that they run as, if it is theirs alone. Reads `/proc`, so not on a
    /// task's thread.
    pub(in crate::registry) fn processes(of: &[Self], user: Option<u32>) -> Vec<i32> {
        let table = ProcessTable::read();
        let is_user = |pid: i32| {
            let file = std::fs::metadata(format!("/proc/{pid}"));
            user.is_some() && file.is_ok_and(|file| Some(file.uid()) == user)
        };
        let mut ours = HashSet::new();
        for ender in of {
            let launcher = &ender.launcher;
            let status = launcher.children().get(&ender.id).map(|it| *it.borrow());
            let Some(Ok(leader)) = status.and_then(|status| status.spawned) else {
                continue;
            };
            let below = table.descendants(leader);
            let mark = format!("{}.{}", launcher.mark, ender.id);
            let process = launcher.process.lock();
            let process = process.unwrap_or_else(PoisonError::into_inner);
            let host = process.as_ref().map(std::process::Child::id);
            drop(process);
            let host = host.and_then(|host| i32::try_from(host).ok());
            let all = host.map_or_else(HashSet::new, |host| table.descendants(host));
            let members = table.living.iter().filter(|process| {
                process.pid == leader
                    || process.group == leader
                    || below.contains(&process.pid)
                    || (all.contains(&process.pid) && is_marked(process.pid, |it| it == mark))
            });
            ours.extend(members.map(|process| process.pid));
        }
        let users = table.living.iter().map(|process| process.pid);
        ours.extend(users.filter(|pid| is_user(*pid)));
        ours.into_iter().collect()
    }
}

/// The launcher itself ended; what it owned is being cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) struct Lost;

#[derive(Debug, Clone, Copy, Default)]
struct Status {
    spawned: Option<Result<i32, i32>>,
    ended: Option<Ended>,
    over: Option<Over>,
    left: Option<usize>,
    lost: bool,
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launcher").finish_non_exhaustive()
    }
}

impl Launcher {
    /// Starts a launcher; returns before it is up, its first orders wait in the socket. Needs a tokio runtime.
    pub(in crate::registry) fn start(program: &Path) -> io::Result<Arc<Self>> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&ours, SOCKET_BUFFER);
        rustix::io::ioctl_fionbio(&ours, true)?;
        let random = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        let mark = format!("{:016x}{:016x}", random()?, random()?);

        #[expect(clippy::disallowed_methods, reason = "this is the one launch path")]
        let mut command = Command::new(program);
        // Nothing of the bot's environment goes there, so nothing can leak from there.
        let process = command
            .arg("launcher")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let launcher = Arc::new(Self {
            socket: UnixStream::from_std(ours.into())?,
            children: Mutex::default(),
            next: AtomicU64::new(1),
            mark,
            lost: AtomicBool::new(false),
            closing: CancellationToken::new(),
            process: Mutex::new(Some(process)),
        });
        tokio::spawn(launcher.clone().listen());
        Ok(launcher)
    }

    /// Whether it is gone.
    pub(in crate::registry) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Orders a start. Returns once the order is sent: what is written to the child's stdin meanwhile waits in the pipe.
    pub(in crate::registry) async fn spawn(
        self: &Arc<Self>,
        spawn: Spawn<'_>,
    ) -> io::Result<(Child, Pipes)> {
        let (child_stdin, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let pipes = Pipes {
            stdin: pipe::Sender::from_owned_fd(stdin)?,
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let Spawn {
            program,
            arg0,
            args,
            mut env,
            cwd,
            watch,
        } = spawn;
        env.insert(MARKER.to_owned(), format!("{}.{id}", self.mark));
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| io::Error::other("the path is not Unicode"))
        };
        let order = Order::Spawn {
            id,
            program: text(program)?,
            arg0: arg0.to_owned(),
            args: args.to_vec(),
            env,
            cwd: text(cwd)?,
            watch,
        };
        let (sender, status) = watch::channel(Status::default());
        self.children().insert(id, sender);
        // From here on dropping it cleans up.
        let child = Child {
            id,
            launcher: self.clone(),
            status,
            swept: false,
        };
        if self.is_lost() {
            self.children().remove(&id);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let fds = [
            child_stdin.as_fd(),
            child_stdout.as_fd(),
            child_stderr.as_fd(),
        ];
        self.send(&order, &fds).await?;
        Ok((child, pipes))
    }

    /// Lets it end, with everything it owns; waits for nothing.
    pub(in crate::registry) fn release(&self) {
        if let Some(mut process) = self.hang_up()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || process.wait());
        }
    }

    /// Ends it and everything it owns; `false` if it is not gone within the limit.
    pub(in crate::registry) async fn end(&self, limit: Duration) -> bool {
        let Some(mut process) = self.hang_up() else {
            return true;
        };
        let until = tokio::time::Instant::now() + limit;
        loop {
            match process.try_wait() {
                Ok(None) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }

    fn hang_up(&self) -> Option<std::process::Child> {
        self.closing.cancel();
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        self.process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Hands reports to whom they concern, until the launcher is gone.
    async fn listen(self: Arc<Self>) {
        let mut packet = [0; 4096];
        loop {
            let received = self.socket.async_io(Interest::READABLE, || {
                recv(&self.socket, packet.as_mut_slice(), RecvFlags::empty())
                    .map(|(_, bytes)| bytes)
                    .map_err(io::Error::from)
            });
            let bytes = tokio::select! {
                received = received => received,
                () = self.closing.cancelled() => break,
            };
            match bytes {
                Ok(0) => break,
                Ok(bytes) => {
                    if let Ok(report) = serde_json::from_slice(&packet[..bytes]) {
                        self.deliver(report);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.lost.store(true, Ordering::Release);
        let mut leaders = Vec::new();
        for (_, status) in self.children().drain() {
            status.send_modify(|status| {
                status.lost = true;
                if let (Some(Ok(pid)), None) = (status.spawned, status.ended) {
                    leaders.push(pid);
                }
            });
        }
        if !self.closing.is_cancelled() {
            let mark = self.mark.clone();
            let process = self
                .process
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let _ = tokio::task::spawn_blocking(move || {
                if let Some(mut process) = process {
                    let _ = process.kill();
                    let _ = process.wait();
                }
                end_marked(&mark, &leaders);
            })
            .await;
        }
    }

    fn deliver(&self, report: Report) {
        let (id, last) = match report {
            Report::Spawned { id, .. } | Report::Over { id, .. } | Report::Ended { id, .. } => {
                (id, false)
            }
            Report::Refused { id, .. } | Report::Swept { id, .. } => (id, true),
        };
        let mut children = self.children();
        let Some(status) = children.get(&id) else {
            return;
        };
        status.send_modify(|status| match report {
            Report::Spawned { pid, .. } => status.spawned = Some(Ok(pid)),
            Report::Refused { errno, .. } => {
                status.spawned = Some(Err(errno));
                status.left = Some(0);
            }
            Report::Over { over, .. } => status.over = Some(over),
            Report::Ended { ended, .. } => status.ended = Some(ended),
            Report::Swept { left, .. } => status.left = Some(left),
        });
        if last {
            children.remove(&id);
        }
    }

    async fn send(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = serde_json::to_vec(order)?;
        match send_packet(&self.socket, &packet, fds) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket
                    .async_io(Interest::WRITABLE, || {
                        send_packet(&self.socket, &packet, fds)
                    })
                    .await
            }
            done => done,
        }
    }

    fn children(&self) -> std::sync::MutexGuard<'_, HashMap<u64, watch::Sender<Status>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    /// Its process number, or why the system refused to start it.
    pub(in crate::registry) async fn started(&self) -> Result<io::Result<i32>, Lost> {
        let status = self.when(|status| status.spawned.is_some()).await?;
        Ok(match status.spawned {
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Ok(pid)) => Ok(pid),
            None => return Err(Lost),
        })
    }

    /// How it ended, once it has; a grandchild that holds its pipes does not hide it.
    pub(in crate::registry) async fn ended(&self) -> Result<Ended, Lost> {
        let status = self.when(|status| status.ended.is_some()).await?;
        status.ended.ok_or(Lost)
    }

    /// By which others end it.
    pub(in crate::registry) fn ender(&self) -> Ender {
        Ender {
            id: self.id,
            launcher: self.launcher.clone(),
        }
    }

    /// What it was ended for, if it was.
    pub(in crate::registry) fn over(&self) -> Option<Over> {
        self.status.borrow().over
    }

    /// Asks it and all it started to end (SIGTERM).
    pub(in crate::registry) async fn terminate(&self) {
        let _ = self
            .launcher
            .send(&Order::Terminate { id: self.id }, &[])
            .await;
    }

    /// Ends whatever is left of it (SIGKILL) and returns how many processes could not be ended.
    pub(in crate::registry) async fn sweep(&mut self) -> usize {
        self.swept = true;
        let _ = self.launcher.send(&Order::Sweep { id: self.id }, &[]).await;
        match self.when(|status| status.left.is_some()).await {
            Ok(status) => status.left.unwrap_or(0),
            Err(Lost) => 0,
        }
    }

    async fn when(&self, reached: impl Fn(&Status) -> bool) -> Result<Status, Lost> {
        let mut status = self.status.clone();
        let status = status
            .wait_for(|status| status.lost || reached(status))
            .await
            .map(|status| *status);
        match status {
            Ok(status) if reached(&status) => Ok(status),
            Ok(_) | Err(_) => Err(Lost),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.swept {
            return;
        }
        let Ok(packet) = serde_json::to_vec(&Order::Sweep { id: self.id }) else {
            return;
        };
        // A full socket is left to a task; without a runtime the launcher's own end does it.
        if send_packet(&self.launcher.socket, &packet, &[])
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (launcher, id) = (self.launcher.clone(), self.id);
            runtime.spawn(async move { launcher.send(&Order::Sweep { id }, &[]).await });
        }
    }
}

fn send_packet(socket: &UnixStream, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(packet)],
        &mut ancillary,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?;
    Ok(())
}

/// Without the launcher nobody is the subreaper any more; the mark still tells what was its own, and so do the groups and
/// descendants of the children that ran.
fn end_marked(mark: &str, leaders: &[i32]) {
    let first = ProcessTable::read();
    let below: HashSet<i32> = leaders
        .iter()
        .flat_map(|leader| first.descendants(*leader))
        .collect();
    let known: Vec<_> = first
        .living
        .iter()
        .filter(|process| leaders.contains(&process.group) || below.contains(&process.pid))
        .collect();
    for _ in 0..50 {
        let mut any = false;
        for process in known.iter().filter(|process| process.is_still()) {
            any = true;
            kill(process.pid);
        }
        for process in ProcessTable::read().living {
            if is_marked(process.pid, |value| {
                value
                    .split_once('.')
                    .is_some_and(|(launcher, _)| launcher == mark)
            }) {
                any = true;
                kill(process.pid);
            }
        }
        if !any {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
