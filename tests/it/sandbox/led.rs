//! A server of the restricted tier that is granted a part of the network: wherever it connects to, it is at the bot's proxy.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use switchboard::policy::{Quotas, Tier};
use switchboard::sandbox::{Cage, Limits, Network, Run, Sandbox, make_home};

use super::scene::{A, built, passable, tiers};

/// The restricted tier, where its self-test proves that servers can be led.
fn restricted() -> Option<&'static Sandbox> {
    let (_, sandbox) = tiers().iter().find(|(tier, _)| *tier == Tier::Restricted)?;
    assert!(sandbox.takes_proxy(), "this kernel has it: {sandbox:?}");
    Some(sandbox)
}

/// A folder of a bot, and what stands for its proxy.
struct Place {
    folder: tempfile::TempDir,
    socket: PathBuf,
    visits: Arc<AtomicUsize>,
}

impl Place {
    fn new() -> Self {
        let folder = passable();
        let socket = folder.path().join("proxy.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(&client));
            }
        });
        Self {
            folder,
            socket,
            visits,
        }
    }

    /// Starts a program so, as the launcher would.
    fn start(&self, sandbox: &Sandbox, program: &Path, args: &[&str]) -> Child {
        let copy = self.folder.path().join(program.file_name().unwrap());
        std::fs::copy(program, &copy).unwrap();
        let owner = sandbox.owner(A);
        let data = self.folder.path().join("data");
        let home = make_home(&data.join("homes/tg1"), owner).unwrap();
        let cage = Cage {
            data,
            owner,
            folders: Vec::new(),
            network: Network::Proxy(self.socket.clone()),
            limits: Limits::of(&Quotas::default()),
            home: home.clone(),
        };
        let run = Run {
            program: copy,
            arg0: "led".to_owned(),
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: home,
        };
        let wrapped = sandbox.wrap(&cage, run).unwrap();
        assert!(wrapped.is_keeper);
        #[expect(clippy::disallowed_methods, reason = "the launcher's part")]
        let mut child = Command::new(&wrapped.run.program)
            .args(&wrapped.run.args)
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(&wrapped.preamble).unwrap();
        child
    }

    /// The lines that it prints, as `what answer`, and how it ended.
    fn said(&self, sandbox: &Sandbox, program: &Path, args: &[&str]) -> BTreeMap<String, String> {
        let output = self.start(sandbox, program, args);
        let output = output.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", output.status);
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }
}

/// Says its word, and reads on until the client ends.
fn serve(mut client: &std::os::unix::net::UnixStream) {
    let _ = client.write_all(b"led");
    let mut rest = [0; 64];
    while matches!(client.read(&mut rest), Ok(read) if read > 0) {}
}

#[test]
fn d09_whatever_is_connected_to_is_the_proxy_and_nothing_else_is_reached() {
    const EPERM: &str = "1";
    const EBADF: &str = "9";
    const EACCES: &str = "13";
    const EINVAL: &str = "22";
    const ENOTSOCK: &str = "88";
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    udp.set_nonblocking(true).unwrap();
    let name = format!("switchboard-led-{}", std::process::id());
    let listen = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_socket = UnixListener::bind_addr(&listen).unwrap();
    abstract_socket.set_nonblocking(true).unwrap();
    let path = place.folder.path().join("listens.sock");
    let unix = UnixListener::bind(&path).unwrap();
    unix.set_nonblocking(true).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();

    let args = [&*port.to_string(), &name, path.to_str().unwrap()];
    let said = place.said(sandbox, built("reaches"), &args);

    for (what, expected) in [
        ("loopback", &["led"][..]),
        ("metadata", &["led"]),
        ("proxy", &["led"]),
        ("tcp-by-name", &["ok"]),
        ("udp", &[EPERM]),
        ("udp-lite", &[EPERM]),
        ("raw", &[EPERM]),
        ("seqpacket", &[EPERM]),
        ("mptcp", &[EPERM]),
        ("sctp", &[EPERM]),
        ("ipv6", &[EPERM]),
        ("netlink", &[EPERM]),
        ("packet", &[EPERM]),
        ("vsock", &[EPERM]),
        ("unix-datagram", &[EPERM]),
        ("unix-raw", &[EPERM]),
        ("unix-rdm", &[EPERM]),
        // Connected already, like each of its sockets.
        ("wide", &["ok"]),
        // By Landlock, or by the socket itself.
        ("bind", &[EACCES, EINVAL]),
        ("bind-led", &[EACCES, EINVAL]),
        ("listen", &[EINVAL]),
        ("listen-led", &[EINVAL]),
        ("accept", &[EINVAL]),
        ("accept-led", &[EINVAL]),
        ("dissolve", &[EINVAL]),
        ("shut", &[EINVAL]),
        ("open-sendto", &[EPERM]),
        ("open-sendmsg", &[EPERM]),
        ("open-sendmmsg", &[EPERM]),
        ("open-led", &[EPERM]),
        ("sendto", &["led"]),
        ("pair", &["ok"]),
        ("connect-pair", &[EPERM]),
        ("connect-file", &[ENOTSOCK]),
        ("connect-nothing", &[EBADF]),
        ("connect-closed", &[EBADF]),
        ("datagram-pair", &[EPERM]),
        ("raw-pair", &[EPERM]),
        ("group", &[EPERM]),
        ("limit", &[EPERM]),
        ("own-limit", &["ok"]),
        ("priority", &[EPERM]),
        ("priority-of-user", &[EPERM]),
        ("own-priority", &["ok"]),
        ("affinity", &[EPERM]),
        ("own-affinity", &["ok"]),
        ("schedule", &[EPERM]),
        ("io", &[EPERM]),
        ("abstract", &[EPERM]),
        ("unix", &[EPERM]),
        ("io-uring", &[EPERM]),
        ("flags-none", &["00"]),
        ("flags-nonblock", &["11"]),
        ("flags-cloexec", &["22"]),
        ("copy", &["led"]),
        ("option", &["ok"]),
        ("waits", &["ok"]),
        ("races", &["ok"]),
        ("interrupted", &["ok"]),
        ("many", &["bounded"]),
        ("afterwards", &["led"]),
        // What has left the server's group and lost its parents.
        ("orphan", &["led"]),
    ] {
        let found = said.get(what).map(String::as_str);
        assert!(
            found.is_some_and(|found| expected.contains(&found)),
            "{what}: {found:?} of {said:?}"
        );
    }
    assert!(tcp.accept().is_err(), "the canary was reached");
    assert!(udp.recv(&mut [0; 16]).is_err(), "the canary was reached");
    assert!(abstract_socket.accept().is_err(), "the canary was reached");
    assert!(unix.accept().is_err(), "the canary was reached");
    assert!(place.visits.load(Ordering::SeqCst) >= 6);
}

#[test]
fn a_server_that_is_led_ends_as_it_would_by_itself() {
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    let shell = Path::new("/bin/sh");
    for (script, expected) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -9 $$", 128 + 9),
        ("kill -15 $$", 128 + 15),
        // The whole group, in which its usher is.
        ("trap '' TERM; kill 0; exit 3", 3),
        // Its input is its own, from the first byte on, and so is what it says.
        ("read line; [ \"$line\" = hello ] && exit 5", 5),
    ] {
        let mut child = place.start(sandbox, shell, &["-c", script]);
        let mut stdin = child.stdin.take().unwrap();
        // One that reads nothing may be gone.
        let _ = stdin.write_all(b"hello\n");
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{script}: {complaint}"
        );
        assert_eq!(complaint, "", "{script}");
    }
}

#[test]
fn an_usher_holds_none_of_the_servers_pipes() {
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    let script = "exec >&- 2>&-; read line; exit 4";
    let mut child = place.start(sandbox, Path::new("/bin/sh"), &["-c", script]);
    let stdin = child.stdin.take().unwrap();
    let mut said = String::new();
    // Ends while the server lives on.
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "");
    assert!(child.try_wait().unwrap().is_none());
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_server_ends_with_its_usher_and_cannot_look_into_it() {
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    let script =
        "cat /proc/$PPID/environ; ls /proc/$PPID/fd; ls -l /proc/$$/fd; echo up; read line";
    let mut child = place.start(sandbox, Path::new("/bin/sh"), &["-c", script]);
    let mut stdout = child.stdout.take().unwrap();
    let mut said = String::new();
    while !said.contains("up\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    // Of its own it has three, and no socket among them.
    assert!(!said.contains("socket:"), "{said}");
    assert!(!said.contains("seccomp"), "{said}");
    child.kill().unwrap();
    // Closed by the end of the server, not by that of its usher.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert!(
        complaints.contains("environ") && complaints.contains("/fd"),
        "{complaints}"
    );
    child.wait().unwrap();
}

#[test]
fn an_usher_ends_with_the_thread_that_started_it() {
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    // As the launcher's first thread, whose end is the launcher's.
    let mut child = std::thread::scope(|scope| {
        let start = || {
            let mut child =
                place.start(sandbox, Path::new("/bin/sh"), &["-c", "echo up; read line"]);
            let mut said = [0; 3];
            child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut said)
                .unwrap();
            child
        };
        scope.spawn(start).join().unwrap()
    });
    // Its input stays open all the while.
    let _stdin = child.stdin.take().unwrap();
    let mut rest = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn what_cannot_be_started_is_told() {
    let Some(sandbox) = restricted() else { return };
    let place = Place::new();
    let text = place.folder.path().join("text");
    std::fs::File::create(&text).unwrap();
    let child = place.start(sandbox, &text.clone(), &[]);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(126), "{complaint}");
    assert!(
        complaint.contains("the system refused to start it"),
        "{complaint}"
    );
}
