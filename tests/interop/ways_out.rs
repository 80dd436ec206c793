//! Local servers with a part of the network, in either sandbox: what Node and Python need to find the proxy, and packages
//! that are installed once and started offline.

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use switchboard::audit::What;
use switchboard::config::{
    HostPattern, NetworkGrant, Revision, ServerName, StdioServer, ThreadConfig,
};
use switchboard::net::egress::{Contact, Egress, Patience};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{AddressRules, Tier};
use switchboard::registry::{
    CallRequest, Content, NetworkBook, NoCache, NoKeys, Notice, Outside, Registry, RegistryOptions,
    ServerState, WaysOut,
};
use switchboard::sandbox::{self, Choice, Sandbox};
use switchboard::store::Store;
use switchboard::thread::ThreadId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchboard");
const THREAD: ThreadId = ThreadId::Local;
const TIERS: [Tier; 2] = [Tier::Strong, Tier::Restricted];
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, Default)]
struct Book(Mutex<BTreeSet<(String, bool)>>);

impl NetworkBook for Book {
    fn has_word(&self, _: ThreadId, _: &ServerName, _: &StdioServer) -> bool {
        false
    }

    fn contacted(&self, _: ThreadId, _: &ServerName, _: &StdioServer, news: Vec<(Contact, u64)>) {
        let news = news.into_iter();
        let news = news.map(|(contact, _)| (contact.host, contact.allowed));
        self.0.lock().expect("the book").extend(news);
    }
}

struct Room {
    registry: Registry,
    notices: mpsc::Receiver<Notice>,
    book: Arc<Book>,
    store: Store,
    revision: u8,
    _folder: tempfile::TempDir,
}

impl Room {
    /// In this sandbox; `opened` are addresses that the filter lets through.
    fn new(tier: Tier, opened: &[IpAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // In the restricted sandbox the thread's own user walks through it, where these tests run as root.
        let passable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), passable).expect("it is ours");
        let data = folder.path().canonicalize().expect("it is there");
        let homes = data.join("homes");
        std::fs::create_dir(&homes).expect("a folder can be made");
        let sandbox = Sandbox::probe(Choice::Exactly(tier), Path::new(PROGRAM), &homes)
            .unwrap_or_else(|error| {
                panic!("both sandboxes are needed here (bubblewrap, Landlock): {error}")
            });
        assert!(sandbox.takes_proxy(), "{sandbox:?}");
        let run = data.join("run");
        std::fs::create_dir(&run).expect("a folder can be made");
        let preload = std::fs::File::create(run.join(sandbox::NODE_PROXY));
        std::io::Write::write_all(
            &mut preload.expect("a file can be made"),
            sandbox::NODE_PROXY_TEXT.as_bytes(),
        )
        .expect("it can be written");
        let net = Net::new(NetOptions {
            rules: AddressRules {
                allow_http: true,
                allow: opened.iter().map(|address| (*address).into()).collect(),
            },
            ..NetOptions::default()
        });
        let store = Store::open(&data).expect("a store");
        let book = Arc::new(Book::default());
        let own: Arc<Book> = Arc::clone(&book);
        let outside = Outside {
            audit: Arc::new(store.ledger(Arc::new(|| 0))),
            sandbox,
            ways_out: Some(WaysOut {
                egress: Egress::new(net.clone(), &run, Patience::default()),
                book: own,
            }),
            ..Outside::bare(Arc::new(NoCache), net, Arc::new(NoKeys))
        };
        let options = RegistryOptions::new(PathBuf::from(PROGRAM), homes);
        let (registry, notices) = Registry::start(options, outside);
        Self {
            registry,
            notices,
            book,
            store,
            revision: 0,
            _folder: folder,
        }
    }

    /// Has one server, and waits until it is ready; why it is not, else.
    async fn has(&mut self, server: StdioServer) -> Result<(), String> {
        self.revision += 1;
        let wanted = Revision::of(Some(&[self.revision]), None);
        let name = ServerName::new("reach").expect("a name");
        let config = ThreadConfig {
            local: vec![(name, server)],
            ..ThreadConfig::default()
        };
        self.registry.apply(THREAD, Arc::new(config), wanted).await;
        loop {
            let notice = tokio::time::timeout(PATIENCE, self.notices.recv()).await;
            let notice = notice.expect("a notice in time");
            if let Some(Notice::Settled { revision, .. }) = notice
                && revision == wanted
            {
                break;
            }
        }
        let snapshot = self.registry.snapshot(THREAD).expect("it is loaded");
        match &snapshot.server("reach").expect("it is there").state {
            ServerState::Ready { .. } => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// What the audit has of the server's packages: which, and what became of it.
    fn installed(&self) -> Vec<(String, String)> {
        let lines = self.store.audit(THREAD, 100, Some("reach"));
        let lines = lines.expect("the audit can be read").into_iter();
        let each = lines.filter_map(|noted| match noted.entry.what {
            What::Installed {
                package, outcome, ..
            } => Some((package, outcome)),
            _ => None,
        });
        each.collect()
    }

    async fn text(&self, tool: &str, arguments: serde_json::Value) -> String {
        let serde_json::Value::Object(arguments) = arguments else {
            panic!("arguments are an object");
        };
        let call = CallRequest {
            thread: THREAD,
            server: "reach".to_owned(),
            tool: tool.to_owned(),
            arguments,
            progress: None,
            waited: Duration::ZERO,
        };
        let outcome = self.registry.call(call).await.expect("an answer");
        match outcome.content.first() {
            Some(Content::Text(text)) => text.clone(),
            other => panic!("no text: {other:?}"),
        }
    }

    async fn reach(&self, way: &str, url: &str) -> String {
        self.text("reach", json!({"way": way, "url": url})).await
    }
}

fn server(line: &[&str], network: NetworkGrant) -> StdioServer {
    StdioServer {
        command: line[0].to_owned(),
        args: line[1..].iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        cwd: None,
        network,
        disabled: false,
    }
}

fn hosts(hosts: &[&str]) -> NetworkGrant {
    let hosts = hosts.iter().map(|host| HostPattern::parse(host));
    NetworkGrant::Hosts(hosts.collect::<Result<_, _>>().expect("hosts"))
}

/// This machine by its name, which no program takes for its own loopback.
fn this_machine() -> (String, IpAddr) {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let name = name.trim().to_ascii_lowercase();
    let mut addresses = (name.as_str(), 0)
        .to_socket_addrs()
        .unwrap_or_else(|error| {
            panic!("this machine's name {name} must have an address (/etc/hosts): {error}")
        });
    let address = addresses.next().expect("an address").ip();
    (name, address)
}

/// Answers every request with `reached`; its port.
async fn listener(address: IpAddr) -> u16 {
    let listener = tokio::net::TcpListener::bind((address, 0)).await;
    let listener = listener.expect("an address of this machine");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = client.read(&mut head).await;
                let answer =
                    "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nreached";
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
            });
        }
    });
    port
}

/// The server's folder is not shown in the sandbox, so its text is its argument.
fn node(network: NetworkGrant) -> StdioServer {
    server(
        &["node", "-e", include_str!("ways_out/server.cjs")],
        network,
    )
}

fn python(network: NetworkGrant) -> StdioServer {
    server(
        &["/usr/bin/python3", "-c", include_str!("ways_out/server.py")],
        network,
    )
}

#[tokio::test]
async fn d09_node_and_python_reach_what_they_are_granted_and_nothing_else() {
    for tier in TIERS {
        reach_what_they_are_granted(tier).await;
    }
}

async fn reach_what_they_are_granted(tier: Tier) {
    let (name, address) = this_machine();
    let port = listener(address).await;
    let other = listener(address).await;
    let mut room = Room::new(tier, &[address]);
    let granted = format!("{name}:{port}");
    for (program, ways) in [
        (
            node as fn(NetworkGrant) -> StdioServer,
            &["fetch", "http", "agent"][..],
        ),
        (python, &["urllib"]),
    ] {
        room.has(program(hosts(&[&granted])))
            .await
            .expect("it is ready");
        for way in ways {
            let reached = room.reach(way, &format!("http://{name}:{port}/")).await;
            assert_eq!(reached, "reached", "{way}");
            let refused = room.reach(way, &format!("http://{name}:{other}/")).await;
            assert!(refused.starts_with("error: "), "{way}: {refused}");
            let words = format!("{name}:{other} is not among the hosts");
            assert!(refused.contains(&words), "{way}: {refused}");
            // Its own loopback is not the host's; where it has none, the proxy is there.
            let own = room.reach(way, &format!("http://127.0.0.1:{port}/")).await;
            let told = own.contains("This is a proxy for CONNECT requests");
            let is_held = own.starts_with("error: ") || (told && tier == Tier::Restricted);
            assert!(is_held, "{tier:?} {way}: {own}");
            let metadata = room.reach(way, "http://169.254.169.254/").await;
            assert!(metadata.starts_with("error: "), "{way}: {metadata}");
        }
        room.has(program(NetworkGrant::None))
            .await
            .expect("it is ready");
        for way in ways {
            let refused = room.reach(way, &format!("http://{name}:{port}/")).await;
            assert!(refused.starts_with("error: "), "{way}: {refused}");
        }
    }
    // What was reached is written down when the server has ended at the latest.
    room.registry.shutdown(Duration::from_secs(10)).await;
    let seen = room.book.0.lock().expect("the book").clone();
    assert!(seen.contains(&(name.clone(), true)) || seen.contains(&(name, false)));
    assert!(seen.contains(&("169.254.169.254".to_owned(), false)));
}

/// The addresses of the registries, where these are mirrors within a network that is not public.
pub fn registries() -> Vec<IpAddr> {
    ["registry.npmjs.org", "pypi.org", "files.pythonhosted.org"]
        .iter()
        .filter_map(|host| (*host, 443).to_socket_addrs().ok())
        .flatten()
        .map(|address| address.ip())
        .collect()
}

#[tokio::test]
async fn d11_a_package_is_pinned_installed_once_and_started_without_a_network() {
    for tier in TIERS {
        package_of_node(tier).await;
    }
}

async fn package_of_node(tier: Tier) {
    let mut room = Room::new(tier, &registries());
    let open = server(
        &["npx", "-y", "@modelcontextprotocol/server-everything"],
        NetworkGrant::None,
    );
    let pinned = room.registry.pin(THREAD, &open).await;
    let pinned = pinned
        .expect("an answer of the registry")
        .expect("a package");
    let version = pinned.package.rsplit('@').next().expect("a version");
    assert_eq!(version.split('.').count(), 3, "{pinned:?}");
    assert_eq!(pinned.args[1], pinned.package);
    assert!(!pinned.is_there);

    let exact = StdioServer {
        args: pinned.args.clone(),
        ..open.clone()
    };
    room.has(exact.clone())
        .await
        .expect("it is installed and ready");
    let told = (pinned.package.clone(), "installed".to_owned());
    assert_eq!(room.installed(), [told]);
    let again = room.registry.pin(THREAD, &exact).await;
    assert!(again.expect("no question").expect("a package").is_there);
    let said = room.text("echo", json!({"message": "hello"})).await;
    assert_eq!(said, "Echo: hello");

    // A name that nobody has, and a version.
    for (line, words) in [
        (
            &["npx", "-y", "@modelcontextprotocol/server-nobody-has-this"][..],
            "there is no package",
        ),
        (
            &["npx", "-y", "@modelcontextprotocol/server-everything@^9999"],
            "has no version that fits",
        ),
        (
            &[
                "npx",
                "-y",
                "@modelcontextprotocol/server-everything@99.99.99",
            ],
            "has no version that fits",
        ),
    ] {
        let refused = room
            .registry
            .pin(THREAD, &server(line, NetworkGrant::None))
            .await;
        let refused = refused.expect_err("there is none").words.to_lowercase();
        assert!(refused.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn d11_a_package_of_python_likewise() {
    for tier in TIERS {
        package_of_python(tier).await;
    }
}

async fn package_of_python(tier: Tier) {
    let mut room = Room::new(tier, &registries());
    let open = server(&["uvx", "mcp-server-time"], NetworkGrant::None);
    let pinned = room.registry.pin(THREAD, &open).await;
    let pinned = pinned.expect("an answer of the index").expect("a package");
    let missing = server(&["uvx", "mcp-server-time@9999.9.9"], NetworkGrant::None);
    let refused = room.registry.pin(THREAD, &missing).await;
    let refused = refused.expect_err("there is none").words;
    assert!(refused.contains("has no version that fits"), "{refused}");
    let exact = StdioServer {
        args: pinned.args.clone(),
        ..open
    };
    room.has(exact).await.expect("it is installed and ready");
    let time = room
        .text("get_current_time", json!({"timezone": "UTC"}))
        .await;
    assert!(time.contains("UTC"), "{time}");
}
