//! The way out in the restricted tier: whatever a server connects to, it is led to the bot's proxy.
//!
//! There a server has the host's own network namespace, so nothing in it may be a socket of its own making. It starts with a
//! filter ([`super::filter`]) that sets two calls aside, and this process ([`usher_main`]), which starts it and stays outside
//! of the filter, answers them:
//!
//! - `socket`, where it asks for TCP: with one end of a connection on loopback that was made here, the other end of which
//!   is joined to the proxy when the server first says something. It is connected already, so `bind`, `listen` and
//!   `connect` do nothing with it, and the last is never let through.
//! - `connect`: as done where it is about such a socket, as not permitted where not.
//!
//! The address that a server names is never read, so there is nothing to be changed after it was read. The usher has the
//! server's user, none of its secrets and none of its pipes; when it ends the server ends with it, and without it the two
//! calls fail.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{DumpableBehavior, Signal};
use switchboard_seccomp::{Call, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::confined::{NICE, become_owner, go_first};
use super::{Owner, relay};

/// As many as are joined to the proxy at once; more wait.
const JOINED: usize = relay::CONNECTIONS;
/// Sockets of one server that are not closed yet, joined or not.
const SOCKETS: usize = 4 * JOINED;
/// Sockets that one server is given in a minute.
const A_MINUTE: usize = 3000;
/// How long a connection on loopback may take to be made.
const LIMIT: Duration = Duration::from_secs(5);
/// Of the thread that takes calls in.
const STACK: usize = 256 * 1024;
/// Of what cannot be started; as [`super::confined_main`] ends.
const CANNOT: u8 = 126;

/// Starts a server, as its standard input says, and leads it to the proxy's socket until it ends; then ends as it did.
pub fn usher_main(to: &Path, owner: Option<Owner>) -> ExitCode {
    match usher(to, owner) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "switchboard: the way to the network cannot be opened: {error}"
            );
            ExitCode::from(CANNOT)
        }
    }
}

/// What the server's side does in the end ([`super::confined_main`]): hands over where its calls arrive, and gets its own
/// standard output in the place of the socket that it had until then.
pub(super) fn hand_over(listener: Listener) -> rustix::io::Result<()> {
    let stdout = rustix::stdio::stdout();
    send(stdout, listener.as_fd())?;
    drop(listener);
    let own = receive(stdout)?.ok_or(rustix::io::Errno::PIPE)?;
    rustix::stdio::dup2_stdout(own)
}

fn usher(to: &Path, owner: Option<Owner>) -> io::Result<ExitCode> {
    let door = Door::find(to)?;
    // On this thread, the process's first: with whose end the server ends. The rest is done while that one is loaded.
    let (server, ours) = start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(lead(server, ours, door, owner))
}

async fn lead(
    mut server: Child,
    ours: UnixStream,
    door: Door,
    owner: Option<Owner>,
) -> io::Result<ExitCode> {
    // A server's `kill 0` is not for us. A handler takes the default action away.
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        let _ = signal(kind)?;
    }
    let mut children = signal(SignalKind::child())?;
    // Its output comes last: it waits for that, and is what it is to be afterwards.
    let output = step_aside(owner)?;
    send(&ours, output)?;
    // What goes wrong from here on is told by how the server ends, which says itself what it was.
    let listener = receive(&ours);
    drop(ours);
    if let Ok(Some(listener)) = listener {
        let desk = Arc::new(Desk {
            listener: Listener::from(listener),
            door,
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            pairs: Pairs::new().await?,
            joined: Arc::new(Semaphore::new(JOINED)),
        });
        // In a thread of its own, since it waits in the kernel; it goes with the process.
        let here = tokio::runtime::Handle::current();
        let attending = std::thread::Builder::new().stack_size(STACK);
        if attending.spawn(move || desk.attend(&here)).is_err() {
            let _ = server.kill();
        }
    }
    let ended = loop {
        match server.try_wait() {
            Ok(None) => children.recv().await,
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(error),
        };
    };
    Ok(as_it_ended(ended))
}

/// Starts what becomes the server, with our standard input and errors. Its output is a socket to us until it is what it is
/// to be, so that no other file has to be inherited; the pipe goes the same way.
fn start() -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "within what the launcher started"
    )]
    let server = Command::new("/proc/self/exe")
        .arg("confined")
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    Ok((server, ours))
}

/// Keeps nothing of the server's, whose output is returned, and becomes nobody whom the server could look into.
fn step_aside(owner: Option<Owner>) -> rustix::io::Result<OwnedFd> {
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;

    go_first();
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    if let Some(owner) = owner {
        become_owner(owner)?;
    }
    // What a server makes it do is the server's work.
    let _ = rustix::process::nice(NICE);
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A change of the user takes it away, so after that. The launcher's first thread starts us and lives as long as it does.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(output)
}

/// As shells say it; the launcher knows (`is_keeper`).
fn as_it_ended(status: io::Result<ExitStatus>) -> ExitCode {
    let status = status.ok();
    let code = status.and_then(|status| status.code().or(status.signal().map(|it| 128 + it)));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The proxy's socket, held open: the server's user cannot walk to it.
#[derive(Debug)]
struct Door {
    path: PathBuf,
    _socket: OwnedFd,
}

impl Door {
    fn find(socket: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::open(socket, flags, Mode::empty())?;
        Ok(Self {
            path: format!("/proc/self/fd/{}", socket.as_raw_fd()).into(),
            _socket: socket,
        })
    }
}

/// Where the server's calls are answered.
#[derive(Debug)]
struct Desk {
    listener: Listener,
    door: Door,
    sockets: Arc<Semaphore>,
    pairs: Pairs,
    joined: Arc<Semaphore>,
}

impl Desk {
    /// Answers as long as there is anybody to ask; each call by itself, so that none waits for another.
    fn attend(self: &Arc<Self>, here: &tokio::runtime::Handle) {
        while let Ok(Some(call)) = self.listener.receive() {
            here.spawn(Arc::clone(self).answer(call));
        }
    }

    /// Where the caller is gone, so is the call, and there is nobody to tell.
    async fn answer(self: Arc<Self>, call: Call) {
        let listener = &self.listener;
        if call.number == libc::SYS_connect {
            let answer = led(listener, &call);
            let _ = listener.answer(&call, answer.map(|()| 0));
            return;
        }
        let made = match Arc::clone(&self.sockets).try_acquire_owned() {
            _ if call.number != libc::SYS_socket => Err(libc::ENOSYS),
            Err(_) => Err(libc::ENOBUFS),
            Ok(place) => match tokio::time::timeout(LIMIT, self.pairs.make()).await {
                Ok(Ok((theirs, ours))) => Ok((theirs, ours, place)),
                Ok(Err(_)) | Err(_) => Err(libc::ENOBUFS),
            },
        };
        match made {
            Err(error) => {
                let _ = listener.answer(&call, Err(error));
            }
            Ok((theirs, ours, place)) => {
                let asked = i32::try_from(call.arguments[1] & 0xffff_ffff).unwrap_or_default();
                let given = theirs.into_std().and_then(|theirs| {
                    theirs.set_nonblocking(asked & libc::SOCK_NONBLOCK != 0)?;
                    let close_on_exec = asked & libc::SOCK_CLOEXEC != 0;
                    listener.give(&call, theirs.as_fd(), close_on_exec)
                });
                match given {
                    Ok(()) => self.join(ours, place).await,
                    Err(error) => {
                        let number = error.raw_os_error().unwrap_or(libc::ENOBUFS);
                        let _ = listener.answer(&call, Err(number));
                    }
                }
            }
        }
    }

    /// Waits for the first word, as a proxy's client says it, and leaves one alone that ends without.
    async fn join(&self, ours: TcpStream, _place: OwnedSemaphorePermit) {
        if matches!(ours.peek(&mut [0]).await, Ok(read) if read > 0)
            && let Ok(_joined) = self.joined.acquire().await
        {
            relay::join(ours, &self.door.path).await;
        } else {
            // Nothing was said: a reset takes nothing away, and leaves no port waiting.
            let _ = ours.set_zero_linger();
        }
    }
}

/// Makes connections on loopback, of which both ends are ours. One listener for all of them, and only so many in a minute:
/// a port stays with a connection for a minute after its end, and the host has some ten thousand for everybody.
#[derive(Debug)]
struct Pairs {
    listener: TcpListener,
    /// Held while a connection is made, so that none takes another's; when the minute began, and how many were made in it.
    minute: tokio::sync::Mutex<(tokio::time::Instant, usize)>,
}

impl Pairs {
    async fn new() -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            minute: tokio::sync::Mutex::new((tokio::time::Instant::now(), 0)),
        })
    }

    /// The server's end and ours.
    async fn make(&self) -> io::Result<(TcpStream, TcpStream)> {
        let mut minute = self.minute.lock().await;
        if minute.0.elapsed() > Duration::from_mins(1) {
            *minute = (tokio::time::Instant::now(), 0);
        }
        if minute.1 == A_MINUTE {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        minute.1 += 1;
        let theirs = TcpStream::connect(self.listener.local_addr()?).await?;
        theirs.set_nodelay(true)?;
        let ours = accepted(&self.listener, theirs.local_addr()?).await?;
        Ok((theirs, ours))
    }
}

/// The connection of this address, which is nobody else's while it is taken. Whoever else finds the listener is sent away.
async fn accepted(listener: &TcpListener, own: SocketAddr) -> io::Result<TcpStream> {
    loop {
        let (ours, from) = listener.accept().await?;
        if from == own {
            return Ok(ours);
        }
    }
}

/// Whether what is to be connected is a TCP socket, of which a server has none but ours. What else becomes of that number
/// meanwhile is no matter: nothing is done with it.
fn led(listener: &Listener, call: &Call) -> Result<(), i32> {
    /// What the kernel calls the kind of a socket, beside its file.
    const KIND: &str = "system.sockprotoname";
    let fd = i32::try_from(call.arguments[0] & 0xffff_ffff).map_err(|_| libc::EBADF)?;
    let file = format!("/proc/{}/fd/{fd}", call.thread);
    let mut name = [0; 32];
    let kind = rustix::fs::getxattr(&file, KIND, &mut name);
    if !listener.is_waiting(call) {
        return Err(libc::EINTR);
    }
    match kind {
        Ok(length) if name[..length].strip_suffix(&[0]) == Some(b"TCP") => Ok(()),
        Ok(_) => Err(libc::EPERM),
        Err(rustix::io::Errno::NOENT) => Err(libc::EBADF),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NODATA) => Err(libc::ENOTSOCK),
        // It hides itself from its own user.
        Err(_) => Err(libc::EACCES),
    }
}

/// Sends a file.
fn send(to: impl AsFd, file: impl AsFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut files = SendAncillaryBuffer::new(&mut space);
    let file = [file.as_fd()];
    files.push(SendAncillaryMessage::ScmRights(&file));
    loop {
        match sendmsg(&to, &[IoSlice::new(b".")], &mut files, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// The file that the other side sends; `None` where it ended before.
fn receive(from: impl AsFd) -> rustix::io::Result<Option<OwnedFd>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut files = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        match recvmsg(&from, &mut bytes, &mut files, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let file = files.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut files) => files.next(),
                    _ => None,
                });
                return Ok(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stranger_who_finds_the_listener_is_sent_away() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut stranger = TcpStream::connect(address).await.unwrap();
        let theirs = TcpStream::connect(address).await.unwrap();
        let own = theirs.local_addr().unwrap();
        let ours = accepted(&listener, own).await.unwrap();
        assert_eq!(ours.peer_addr().unwrap(), own);
        let read = stranger.read(&mut [0]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }

    #[tokio::test]
    async fn both_ends_of_a_pair_are_of_one_connection() {
        let pairs = Pairs::new().await.unwrap();
        let (theirs, ours) = pairs.make().await.unwrap();
        assert_eq!(theirs.local_addr().unwrap(), ours.peer_addr().unwrap());
        assert_eq!(theirs.peer_addr().unwrap(), ours.local_addr().unwrap());
        assert!(ours.local_addr().unwrap().ip().is_loopback());
    }

    #[tokio::test]
    async fn only_so_many_are_made_in_a_minute() {
        let pairs = Pairs::new().await.unwrap();
        let at = tokio::time::Instant::now();
        *pairs.minute.lock().await = (at, A_MINUTE - 1);
        pairs.make().await.unwrap();
        let refused = pairs.make().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        pairs.make().await.unwrap();
    }

    #[test]
    fn files_and_the_end_of_the_other_side_arrive() {
        let (one, other) = UnixStream::pair().unwrap();
        let (reads, writes) = io::pipe().unwrap();
        send(&one, &writes).unwrap();
        drop(writes);
        let received = receive(&other).unwrap().unwrap();
        std::fs::File::from(received).write_all(b"arrived").unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut &reads, &mut text).unwrap();
        assert_eq!(text, "arrived");
        drop(one);
        assert!(receive(&other).unwrap().is_none());
        assert!(send(&other, &reads).is_err(), "and no signal");
    }

    #[test]
    fn an_end_is_passed_on_as_shells_do_it() {
        for (raw, expected) in [(0, 0), (7 << 8, 7), (9, 137), (15, 143)] {
            let code = as_it_ended(Ok(ExitStatus::from_raw(raw)));
            assert_eq!(code, ExitCode::from(expected), "{raw}");
        }
        assert_eq!(
            as_it_ended(Err(io::ErrorKind::Other.into())),
            ExitCode::from(1)
        );
    }
}
