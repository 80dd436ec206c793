//! What a hostile server does not reach.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use switchboard::config::{NetworkGrant, StdioServer};
use switchboard::policy::{FolderGrant, Quotas, Tier};
use switchboard::registry::ServerState;
use switchboard::sandbox::{Cage, Limits, Network, Run, make_home};

use crate::support::world::write;

use super::scene::{A, B, MIB, Scene, tiers};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;

#[tokio::test(flavor = "multi_thread")]
async fn d03_arguments_reach_a_server_as_they_are_written() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let words = [
            "; touch x",
            "$(id)",
            "`id`",
            "a\nb",
            "*",
            "",
            "--",
            "-c",
            "ä\"'\\",
        ];
        scene.up(A, "bad", scene.hostile(&words)).await;
        let me = scene.call(A, ("bad", "me"), json!({})).await.unwrap();
        let args: Vec<&str> = me["args"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(args[1..=words.len()], words, "{tier:?}");
        assert_eq!(args[0], scene.at("bin/hostile"), "{tier:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d05_a_server_works_in_its_chats_own_folder_or_not_at_all() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        scene.up(B, "other", scene.demo()).await;
        let home = scene.at("data/homes/tg1");
        std::os::unix::fs::symlink("/", format!("{home}/root")).unwrap();
        std::fs::create_dir_all(format!("{home}/deep")).unwrap();
        let beside = scene.at("data/homes/tg2");
        for (cwd, expected) in [
            ("../tg2", "leads out"),
            ("deep/../../tg2", "leads out"),
            ("root", "leads out"),
            ("root/etc", "leads out"),
            ("a\0b", "character"),
            ("/", "did not grant"),
            ("/tmp", "did not grant"),
            (&beside, "did not grant"),
        ] {
            let mut server = scene.hostile(&[]);
            server.cwd = Some(cwd.to_owned());
            scene.run(A, &[("bad", server)]).await;
            let reason = scene.reason(A, "bad").await;
            assert!(reason.contains(expected), "{tier:?} {cwd}: {reason}");
        }
        let inside = sandbox.home_inside(home.as_ref()).join("deep");
        for cwd in ["deep".to_owned(), format!("{home}/deep")] {
            let mut server = scene.hostile(&[]);
            server.cwd = Some(cwd.clone());
            scene.run(A, &[("fresh", server)]).await;
            let me = scene.call(A, ("fresh", "me"), json!({})).await.unwrap();
            let real = inside.canonicalize().unwrap_or_else(|_| inside.clone());
            assert_eq!(me["cwd"], json!(real), "{tier:?} {cwd}");
            scene.run(A, &[]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_no_secret_of_the_bot_or_of_another_chat_is_in_reach() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        // As the bot: the same user, with its token where a bot has it.
        #[expect(clippy::disallowed_methods, reason = "stands for the bot")]
        let mut bot = Command::new(scene.at("bin/hostile"))
            .arg("nap")
            .env("TELOXIDE_TOKEN", "canary-of-the-bot")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut other = scene.hostile(&["--key=canary-on-a-line"]);
        other.env = vec![("API_KEY".to_owned(), "canary-of-another-chat".to_owned())];
        scene.up(B, "other", other).await;
        scene.up(A, "bad", scene.hostile(&[])).await;
        let words =
            json!({"for": ["canary-of-the-bot", "canary-of-another-chat", "canary-on-a-line"]});
        let found = scene.call(A, ("bad", "search"), words).await.unwrap();
        assert_eq!(found["found"], json!([]), "{tier:?}");
        // It did look: at itself, at least, and at all that it finds.
        assert!(found["seen"].as_u64().unwrap() >= 2, "{tier:?}: {found}");
        let me = scene.call(A, ("bad", "me"), json!({})).await.unwrap();
        let environment = me["env"].to_string();
        for name in ["SWITCHBOARD_DATA", "CARGO", "TOKEN"] {
            assert!(
                !environment.contains(name),
                "{tier:?} {name}: {environment}"
            );
        }
        let home = scene.at("data/homes/tg1");
        assert_eq!(
            me["env"]["HOME"],
            json!(sandbox.home_inside(home.as_ref())),
            "{tier:?}"
        );
        // Nor in the way that it is started: on the host, too, what is secret stands on no command line.
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            assert!(!line.contains("canary-of"), "{tier:?}: {line}");
        }
        bot.kill().unwrap();
        bot.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d08_a_server_cannot_open_another_threads_file() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let other = scene.hostile(&[]);
        scene.up(B, "other", other).await;
        let theirs = json!({"what": "write", "at": "secret"});
        assert_eq!(
            scene.call(B, ("other", "try"), theirs).await.unwrap(),
            json!("ok")
        );
        scene.up(A, "bad", scene.hostile(&[])).await;
        let refusal = if *tier == Tier::Strong {
            ENOENT
        } else {
            EACCES
        };
        let file = scene.at("data/homes/tg2/secret");
        assert!(std::path::Path::new(&file).exists(), "{tier:?}");
        let outside = scene.at("data/users");
        std::fs::create_dir(&outside).unwrap();
        for (what, at) in [
            ("read", &*file),
            ("write", &file),
            ("list", &scene.at("data/homes/tg2")),
            ("list", &scene.at("data/homes")),
            ("list", &outside),
            ("list", "/root"),
            ("list", "/home/thread/.."),
        ] {
            let done = scene.tries(what, at).await;
            let is_held = done == json!(refusal)
                // What never was there is not there in either.
                || (done == json!(ENOENT) && !std::path::Path::new(at).exists())
                || (*tier == Tier::Strong && at.ends_with("thread/.."));
            assert!(is_held, "{tier:?} {what} {at}: {done}");
        }
        // Nothing of the host can be changed, and the bot's secrets are not read.
        for (what, at) in [
            ("write", "/usr/hostile"),
            ("write", "/etc/hostile"),
            ("write", "/hostile"),
            ("write", "/dev/hostile"),
            ("read", "/etc/shadow"),
            ("write", &scene.at("bin/hostile")),
            ("remove", &scene.at("bin/hostile")),
            ("write", "/proc/sys/kernel/core_pattern"),
        ] {
            assert_ne!(
                scene.tries(what, at).await,
                json!("ok"),
                "{tier:?} {what} {at}"
            );
        }
        // Its own folder is its own.
        assert_eq!(scene.tries("write", "mine").await, json!("ok"), "{tier:?}");
        assert!(
            scene.folder.path().join("data/homes/tg1/mine").exists(),
            "{tier:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_without_a_grant_there_is_no_network() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let name = format!("switchboard-{}", scene.tag);
        let listen = SocketAddr::from_abstract_name(&name).unwrap();
        let abstract_socket = UnixListener::bind_addr(&listen).unwrap();
        abstract_socket.set_nonblocking(true).unwrap();
        let path = scene.at("listens.sock");
        let unix = UnixListener::bind(&path).unwrap();
        unix.set_nonblocking(true).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        let none = StdioServer {
            network: NetworkGrant::None,
            ..scene.hostile(&[])
        };
        scene.up(A, "bad", none).await;
        for (what, at) in [
            ("tcp", tcp.local_addr().unwrap().to_string()),
            ("udp", udp.local_addr().unwrap().to_string()),
            ("tcp", "169.254.169.254:80".to_owned()),
            ("abstract", name),
            ("unix", path),
        ] {
            let done = scene.tries(what, &at).await;
            // A datagram on its own loopback arrives nowhere.
            let is_sent = what == "udp" && *tier == Tier::Strong;
            assert!(
                done != json!("ok") || is_sent,
                "{tier:?} {what} {at}: {done}"
            );
        }
        assert!(tcp.accept().is_err(), "{tier:?}: the canary was reached");
        assert!(
            udp.recv(&mut [0; 16]).is_err(),
            "{tier:?}: the canary was reached"
        );
        assert!(
            abstract_socket.accept().is_err(),
            "{tier:?}: the canary was reached"
        );
        assert!(unix.accept().is_err(), "{tier:?}: the canary was reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_no_rights_and_no_user_that_others_have() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        scene.up(A, "bad", scene.hostile(&[])).await;
        let me = scene.call(A, ("bad", "me"), json!({})).await.unwrap();
        let status = me["status"].as_str().unwrap();
        for line in [
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "{tier:?} {line}: {status}");
        }
        if rustix::process::geteuid().is_root() {
            assert!(!status.contains("Uid:\t0"), "{tier:?}: {status}");
        }
        // It ends no others: not the bot, not this test's own process.
        let pid = std::process::id().to_string();
        assert_ne!(scene.tries("kill", &pid).await, json!("ok"), "{tier:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_grants_folders() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        for (folder, mode) in [("read", 0o755), ("change", 0o777), ("theirs", 0o755)] {
            let path = scene.at(folder);
            std::fs::create_dir(&path).unwrap();
            write(format!("{path}/file").as_ref(), "text");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
        }
        let grant = |folder: &str, write, threads: &[_], everyone| FolderGrant {
            path: scene.at(folder).into(),
            write,
            threads: threads.to_vec(),
            everyone,
        };
        let mut policy = (*scene.policy.now()).clone();
        policy.folders = vec![
            grant("read", false, &[], true),
            grant("change", true, &[A], false),
            grant("theirs", true, &[B], false),
            grant("gone", true, &[], true),
        ];
        scene.policy.set(policy);
        let mut server = scene.hostile(&[]);
        server.cwd = Some(scene.at("change"));
        scene.up(A, "bad", server).await;
        for (what, at, is_granted) in [
            ("read", "read/file", true),
            ("write", "read/new", false),
            ("read", "change/file", true),
            ("write", "change/new", true),
            ("read", "theirs/file", false),
        ] {
            let done = scene.tries(what, &scene.at(at)).await;
            assert_eq!(
                done == json!("ok"),
                is_granted,
                "{tier:?} {what} {at}: {done}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_temporary_files_of_its_own() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::with(sandbox, |policy| policy.quotas.tmp_bytes = 8 * MIB);
        scene.up(A, "bad", scene.hostile(&[])).await;
        scene.up(B, "bad", scene.hostile(&[])).await;
        let me = scene.call(A, ("bad", "me"), json!({})).await.unwrap();
        let file = format!("{}/mine", me["env"]["TMPDIR"].as_str().unwrap());
        let tried = |what: &str| json!({"what": what, "at": file});
        assert_eq!(scene.tries("write", &file).await, json!("ok"), "{tier:?}");
        let theirs = scene.call(B, ("bad", "try"), tried("read")).await.unwrap();
        assert_ne!(theirs, json!("ok"), "{tier:?}");
        assert!(matches!(scene.state(A, "bad"), ServerState::Ready { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_network_is_there_where_it_is_granted() {
    for (tier, sandbox) in tiers() {
        let scene = Scene::new(sandbox);
        let canary = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = canary.local_addr().unwrap().to_string();
        for (network, is_reached) in [(Network::Host, true), (Network::None, false)] {
            let owner = sandbox.owner(A);
            let home = make_home(scene.at("data/homes/tg1").as_ref(), owner).unwrap();
            let cage = Cage {
                data: scene.at("data").into(),
                owner,
                folders: Vec::new(),
                network,
                limits: Limits::of(&Quotas::default()),
                home: home.clone(),
            };
            let run = Run {
                program: scene.at("bin/hostile").into(),
                arg0: "hostile".to_owned(),
                args: Vec::new(),
                env: BTreeMap::new(),
                cwd: home,
            };
            let mut wrapped = sandbox.wrap(&cage, run).unwrap();
            let call = json!({"method": "tools/call", "id": 1, "params":
                {"name": "try", "arguments": {"what": "tcp", "at": at}}});
            wrapped.preamble.extend(format!("{call}\n").into_bytes());
            #[expect(clippy::disallowed_methods, reason = "the launcher's part")]
            let mut child = Command::new(&wrapped.run.program)
                .args(&wrapped.run.args)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(&wrapped.preamble)
                .unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let is_ok = said.contains(r#""text":"\"ok\"""#);
            assert_eq!(is_ok, is_reached, "{tier:?}: {said}");
        }
    }
}
