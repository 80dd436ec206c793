//! The proxy over its socket, with listeners on loopback in the place of the Internet.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::net::NetOptions;
use crate::policy::AddressRules;
use crate::thread::ThreadId;

/// No test waits for it.
const LONG: Duration = Duration::from_mins(1);

const CHAT: ThreadId = ThreadId::Local;

/// Eight chats with a few connections each fit.
const FILES: usize = 16 * 16;

/// Of one chat, with so many files.
const CONNECTIONS: usize = 6;

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl Witness for Seen {
    fn saw(&self, contact: Contact) {
        let Contact {
            host,
            port,
            allowed,
        } = contact;
        let word = if allowed { "to" } else { "not to" };
        self.0.lock().unwrap().push(format!("{word} {host} {port}"));
    }
}

impl Seen {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct World {
    folder: tempfile::TempDir,
    seen: Arc<Seen>,
    rules: AddressRules,
    patience: Patience,
}

impl World {
    fn new(allow: &[&str], allow_http: bool) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            seen: Arc::default(),
            rules: AddressRules {
                allow_http,
                allow: allow.iter().map(|range| range.parse().unwrap()).collect(),
            },
            patience: Patience {
                place: LONG,
                head: LONG,
                connect: LONG,
                idle: LONG,
            },
        }
    }

    /// With as many places as a process has that may open so many files.
    fn egress(&self, files: usize) -> Egress {
        let net = Net::new(NetOptions {
            rules: self.rules.clone(),
            ..NetOptions::default()
        });
        Egress {
            places: Arc::new(Places::with_files(files)),
            ..Egress::new(net, self.folder.path(), self.patience)
        }
    }

    fn gate(&self, reach: Reach) -> Gate {
        self.gate_of(&self.egress(FILES), Purpose::Server(CHAT), reach)
    }

    fn gate_of(&self, egress: &Egress, purpose: Purpose, reach: Reach) -> Gate {
        let witness: Arc<Seen> = Arc::clone(&self.seen);
        egress.open(purpose, "files", reach, witness).unwrap()
    }
}

fn hosts(hosts: &[&str]) -> Reach {
    let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap());
    Reach::Hosts(hosts.collect())
}

/// A host that answers each connection with all that it was sent; its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

/// A listener that must not be spoken to; fails the test where it is.
async fn canary() -> (u16, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

async fn untouched(canary: TcpListener) {
    // Whoever connected is in the queue already: refusals are answered after the fact.
    let touched = tokio::time::timeout(Duration::from_millis(20), canary.accept()).await;
    assert!(touched.is_err(), "the canary was spoken to");
}

/// What is answered to `said`, after which the client ends.
async fn answer(gate: &Gate, said: &str) -> String {
    let mut client = UnixStream::connect(gate.socket()).await.unwrap();
    client.write_all(said.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    heard
}

async fn connect(gate: &Gate, to: &str) -> String {
    answer(
        gate,
        &format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\nhello"),
    )
    .await
}

const THROUGH: &str = "HTTP/1.1 200 Connection established\r\n\r\nhello";

#[tokio::test]
async fn d09_a_granted_host_is_reached_and_any_other_is_refused_with_words() {
    let world = World::new(&["127.0.0.1/32"], false);
    let port = echo().await;
    let gate = world.gate(hosts(&[&format!("localhost:{port}"), "api.example.com"]));
    assert_eq!(connect(&gate, &format!("LOCALHOST.:{port}")).await, THROUGH);
    assert_eq!(gate.moved(), (5, 5));

    for other in [
        format!("localhost:{}", port ^ 1),
        format!("evil.example:{port}"),
        format!("127.0.0.1:{port}"),
        format!("xlocalhost:{port}"),
    ] {
        let refused = connect(&gate, &other).await;
        assert!(
            refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
            "{refused}"
        );
        let words = format!(
            "{other} is not among the hosts that the MCP server files was granted (localhost:{port}, api.example.com). To \
             grant it, add it in the chat: /mcp edit files network=...\n"
        );
        assert_eq!(refused.split("\r\n\r\n").nth(1), Some(words.as_str()));
    }
    assert_eq!(
        world.seen.all(),
        [
            format!("to localhost {port}"),
            format!("not to localhost {}", port ^ 1),
            format!("not to evil.example {port}"),
            format!("not to 127.0.0.1 {port}"),
            format!("not to xlocalhost {port}"),
        ]
    );
}

/// Whatever the grant says, and however the address is written: names that lead to private addresses, metadata services of
/// clouds, loopback.
#[tokio::test]
async fn d09_private_addresses_are_refused_under_every_grant() {
    let (port, canary) = canary().await;
    let world = World::new(&[], false);
    let name = format!("localhost:{port}");
    for reach in [Reach::Public, hosts(&[&name])] {
        let is_public = reach == Reach::Public;
        let gate = world.gate(reach);
        let refused = connect(&gate, &name).await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
        assert!(
            refused.contains("which is not a public address"),
            "{refused}"
        );
        if !is_public {
            continue;
        }
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "168.63.129.16",
            "10.0.0.1",
            "[fe80::1]",
        ] {
            let refused = connect(&gate, &format!("{host}:{port}")).await;
            assert!(refused.starts_with("HTTP/1.1 403 "), "{host}: {refused}");
        }
    }
    assert!(world.seen.all().iter().all(|seen| seen.starts_with("not")));
    untouched(canary).await;
}

/// The proxy's verdict is the filter's, for each address, whatever the operator opened.
#[tokio::test]
async fn d21_the_proxy_judges_by_the_filter_of_every_other_fetch() {
    for allow in [&[][..], &["127.0.0.1/32"], &["127.0.0.0/8", "::1/128"]] {
        let world = World::new(allow, false);
        let net = Net::new(NetOptions {
            rules: world.rules.clone(),
            ..NetOptions::default()
        });
        let gate = world.gate(Reach::Public);
        // Nobody listens there, so what is let through fails after it was judged.
        for host in [
            "127.0.0.1",
            "127.0.0.2",
            "[::1]",
            "10.255.0.1",
            "[::ffff:127.0.0.1]",
        ] {
            let is_fine = net.judge_url(&format!("https://{host}:1/")).is_ok();
            let answered = connect(&gate, &format!("{host}:1")).await;
            let is_let_through = !answered.starts_with("HTTP/1.1 403 ");
            assert_eq!(is_let_through, is_fine, "{allow:?} {host}: {answered}");
        }
    }
}

#[tokio::test]
async fn d22_plain_http_is_for_those_whose_operator_allows_it() {
    let port = echo().await;
    let said = format!("GET http://localhost:{port}/x HTTP/1.1\r\nHost: evil\r\n\r\n");
    let closed = World::new(&["127.0.0.1/32"], false);
    let gate = closed.gate(Reach::Public);
    let refused = answer(&gate, &said).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(
        refused.ends_with("without encryption (http:), which is not allowed here; use https:.\n")
    );

    let open = World::new(&["127.0.0.1/32"], true);
    let gate = open.gate(Reach::Public);
    assert_eq!(
        answer(&gate, &said).await,
        format!("GET /x HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n")
    );
    drop(gate);
    let gate = open.gate(hosts(&["localhost"]));
    assert!(answer(&gate, &said).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_what_is_nobody_is_not_noted() {
    let world = World::new(&[], false);
    let gate = world.gate(Reach::Public);
    let long = format!("GET {} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024));
    for (said, status) in [
        ("hello\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        (long.as_str(), "431"),
    ] {
        let mut client = UnixStream::connect(gate.socket()).await.unwrap();
        // The proxy may have heard enough before all is said.
        let _ = client.write_all(said.as_bytes()).await;
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard).await;
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
    }
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let mut world = World::new(&["127.0.0.1/32"], false);
    let short = Duration::from_millis(50);
    world.patience = Patience {
        place: LONG,
        head: short,
        connect: LONG,
        idle: short,
    };
    let gate = world.gate(Reach::Public);
    let mut client = UnixStream::connect(gate.socket()).await.unwrap();
    client.write_all(b"CONNECT a").await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");

    let port = echo().await;
    let mut client = UnixStream::connect(gate.socket()).await.unwrap();
    let said = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\nhello");
    client.write_all(said.as_bytes()).await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, THROUGH);
}

#[tokio::test]
async fn a_gate_closes_with_its_connections() {
    let world = World::new(&["127.0.0.1/32"], false);
    let gate = world.gate(Reach::Public);
    let port = echo().await;
    let mut client = UnixStream::connect(gate.socket()).await.unwrap();
    let said = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n");
    client.write_all(said.as_bytes()).await.unwrap();
    let mut heard = [0; 39];
    client.read_exact(&mut heard).await.unwrap();
    let socket = gate.socket().to_owned();
    drop(gate);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    assert!(UnixStream::connect(&socket).await.is_err());
    assert!(!socket.exists());
}

/// A connection that is through and stays.
async fn hold(gate: &Gate, port: u16) -> UnixStream {
    let mut client = UnixStream::connect(gate.socket()).await.unwrap();
    let said = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n");
    client.write_all(said.as_bytes()).await.unwrap();
    let mut heard = [0; 39];
    client.read_exact(&mut heard).await.unwrap();
    client
}

#[tokio::test]
async fn a_chat_that_holds_all_it_can_takes_the_way_out_from_nobody_else() {
    let mut world = World::new(&["127.0.0.1/32"], false);
    world.patience.place = Duration::ZERO;
    let egress = world.egress(FILES);
    let port = echo().await;
    let to = format!("localhost:{port}");
    let server = |thread| world.gate_of(&egress, Purpose::Server(thread), Reach::Public);
    let install = |thread| world.gate_of(&egress, Purpose::Install(thread), Reach::Public);
    let chats = (1..=7).map(|chat| ThreadId::telegram(chat, None));
    // Whatever it has of servers, and while it installs a package.
    let greedy = [server(CHAT), server(CHAT)];
    let mut held = Vec::new();
    for nth in 0..CONNECTIONS {
        held.push(hold(&greedy[nth % 2], port).await);
    }
    for gate in &greedy {
        let refused = connect(gate, &to).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(
            refused.contains("this chat's servers may have"),
            "{refused}"
        );
    }
    let installs = install(CHAT);
    for _ in 0..4 {
        held.push(hold(&installs, port).await);
    }
    for chat in chats {
        assert_eq!(connect(&install(chat), &to).await, THROUGH);
        let gate = server(chat);
        assert_eq!(connect(&gate, &to).await, THROUGH);
        for _ in 1..CONNECTIONS {
            held.push(hold(&gate, port).await);
        }
    }
}

#[tokio::test]
async fn more_connections_than_there_are_places_wait_their_turn() {
    let world = World::new(&["127.0.0.1/32"], false);
    let gate = world.gate(Reach::Public);
    let port = echo().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(hold(&gate, port).await);
    }
    let to = format!("localhost:{port}");
    let waiting = connect(&gate, &to);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(world.seen.all().len(), CONNECTIONS);
    held.pop();
    assert_eq!(waiting.await, THROUGH);
}

#[tokio::test]
async fn a_socket_far_down_is_bound_all_the_same() {
    let world = World::new(&[], false);
    let deep = world.folder.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let net = Net::new(NetOptions::default());
    let egress = Egress::new(net, &deep, world.patience);
    let witness: Arc<Seen> = Arc::clone(&world.seen);
    let gate = egress
        .open(Purpose::Server(CHAT), "files", Reach::Public, witness)
        .unwrap();
    assert!(gate.socket().exists());
    drop(gate);
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
}
