//! Processes: whatever they start and however the bot ends, nothing of them is left.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn servers_start_answer_and_are_gone_after_shutdown() {
    let mut room = Room::new();
    let touched = room
        .settled(&[("one", "tools=3 banner"), ("two", "")])
        .await;
    assert_eq!(touched.len(), 2);
    assert!(
        matches!(&touched[0].state, ServerState::Ready { protocol, server_info, .. }
            if protocol == "2025-06-18" && server_info == "misbehave 1"),
        "{:?}",
        touched[0].state
    );
    assert_eq!(
        room.text("one", "echo", json!({"text": "hi"})).await,
        "\"hi\""
    );
    assert_eq!(room.text("two", "two__tool0", json!({})).await, "tool0");
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert_eq!(snapshot.names.len(), 13 + 3 + 13 + 1);
    let (server, tool) = snapshot.names["one__tool2"];
    assert_eq!(snapshot.servers[server].tools[tool].name, "tool2");
    assert_eq!(snapshot.server("one").unwrap().stats.answered, 1);
    assert_eq!(room.processes().len(), 2);

    assert_eq!(room.registry.shutdown(Duration::from_secs(10)).await, []);
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_servers_tools_are_gone_when_apply_returns_and_its_process_soon_after() {
    let mut room = Room::new();
    room.settled(&[
        ("one", "child=plain child=setsid child=daemon stubborn"),
        ("two", ""),
    ])
    .await;
    let pid = room.text("two", "pid", json!({})).await;
    let servers = [("two", room.server(""))];
    let revision = room.apply(&servers).await;
    let snapshot = room.registry.snapshot(THREAD).unwrap();
    assert!(snapshot.server("one").is_none());
    assert!(snapshot.names.keys().all(|name| name.starts_with("two__")));
    room.report(revision).await;
    // The other one was not touched.
    assert_eq!(room.text("two", "pid", json!({})).await, pid);
    let until = Instant::now() + SOON;
    while room.processes().len() > 1 {
        assert!(
            Instant::now() < until,
            "still there: {:?}",
            room.processes()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_grandchild_is_gone_after_shutdown() {
    for kind in ["plain", "setsid", "daemon"] {
        let mut room = Room::new();
        room.settled(&[("one", &format!("child={kind}"))]).await;
        // The grandchild may be a moment behind the server's first answer.
        let until = Instant::now() + SOON;
        while room.processes().len() < 2 {
            assert!(Instant::now() < until, "{kind}: {:?}", room.processes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        room.registry.shutdown(Duration::from_secs(10)).await;
        assert!(room.processes().is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_that_hides_all_its_traces_goes_with_its_server() {
    let mut room = Room::new();
    let other = Room::server(&room, "");
    // Told by its pipes, although another server runs.
    let hiding = room.server("child=wiped");
    room.apply(&[("one", hiding), ("two", other.clone())]).await;
    room.when("both run", |now| {
        is_ready(now, "one") && is_ready(now, "two")
    })
    .await;
    until_number(&room, 3).await;
    room.apply(&[("two", other)]).await;
    until_number(&room, 1).await;
    // Told by nothing but that nobody else could have started it.
    let hiding = room.server("child=closed");
    room.apply(&[]).await;
    until_number(&room, 0).await;
    room.apply(&[("one", hiding)]).await;
    room.when("it runs", |now| is_ready(now, "one")).await;
    until_number(&room, 2).await;
    room.apply(&[]).await;
    room.gone().await;
}

/// Until so many processes run.
async fn until_number(room: &Room, number: usize) {
    let until = Instant::now() + SOON;
    while room.processes().len() != number {
        assert!(Instant::now() < until, "{:?}", room.processes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_is_killed_at_shutdown_and_named() {
    let mut room = Room::new();
    room.settled(&[("good", ""), ("bad", "stubborn"), ("polite", "no-eof")])
        .await;
    let killed = room.registry.shutdown(Duration::from_secs(9)).await;
    assert_eq!(killed, [(THREAD, name_of("bad"))]);
    assert!(room.processes().is_empty());
    // The room is closed for good.
    assert!(matches!(
        room.call("good", "echo", json!({})).await,
        Err(CallError::NoServer(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_deadline_is_kept() {
    let mut room = Room::new();
    room.settled(&[("bad", "stubborn child=daemon")]).await;
    let killed = room.registry.shutdown(Duration::from_millis(600)).await;
    assert_eq!(killed, [(THREAD, name_of("bad"))]);
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_bot_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let tag = format!("tag={}", folder.path().display());
    #[expect(clippy::disallowed_methods, reason = "the bot under test")]
    let mut bot = std::process::Command::new(misbehave())
        .arg("host")
        .arg(binary())
        .arg(folder.path())
        .args(["--", "stubborn", "child=plain", "child=setsid", &tag])
        .args(["--", "child=daemon", &tag])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(bot.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "ready\n");
    // Two servers, two naps, a daemon, and the bot itself, which has the word too.
    let until = Instant::now() + SOON;
    while processes_with(&tag).len() < 6 {
        assert!(Instant::now() < until, "{:?}", processes_with(&tag));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bot.kill().unwrap();
    bot.wait().unwrap();
    all_gone(&tag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_is_killed_takes_its_servers_along_and_is_replaced() {
    let mut room = Room::new();
    room.settled(&[("one", "child=daemon child=setsid"), ("two", "")])
        .await;
    let first = room.processes();
    let server: i32 = room.text("one", "pid", json!({})).await.parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let launcher: i32 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let launcher = rustix::process::Pid::from_raw(launcher).unwrap();
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    room.when("both run again", |snapshot| {
        snapshot
            .servers
            .iter()
            .all(|server| server.stats.restarts == 1)
            && is_ready(snapshot, "one")
            && is_ready(snapshot, "two")
    })
    .await;
    let until = Instant::now() + SOON;
    while first.iter().any(|pid| room.processes().contains(pid)) {
        assert!(Instant::now() < until, "the first ones still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    room.text("one", "echo", json!({})).await;
    room.registry.shutdown(Duration::from_secs(10)).await;
    assert!(room.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_to_the_launcher_does_not_end_it() {
    let mut room = Room::new();
    room.settled(&[("one", "")]).await;
    let server: i32 = room.text("one", "pid", json!({})).await.parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let launcher = stat.rsplit(')').next().unwrap().split_whitespace().nth(1);
    let launcher = rustix::process::Pid::from_raw(launcher.unwrap().parse().unwrap()).unwrap();
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ] {
        rustix::process::kill_process(launcher, signal).unwrap();
    }
    let servers = [("one", room.server("")), ("two", room.server(""))];
    let revision = room.apply(&servers).await;
    room.report(revision).await;
    room.text("two", "echo", json!({})).await;
    assert_eq!(room.text("one", "pid", json!({})).await, server.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_takes_garbage_and_ends_with_its_socket() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the launcher under test")]
    let mut launcher = std::process::Command::new(binary())
        .arg("launcher")
        .stdin(theirs)
        .spawn()
        .unwrap();
    for packet in [
        b"garbage".as_slice(),
        b"{}",
        br#"{"order":"sweep","id":7}"#,
        br#"{"order":"terminate","id":7}"#,
        br#"{"order":"spawn","id":8,"program":"/bin/sh","arg0":"sh","args":[],"env":{},"cwd":"/"}"#,
        &vec![0; 100_000],
    ] {
        send(&ours, packet, SendFlags::NOSIGNAL).unwrap();
    }
    // It still answers: nothing was ever there to sweep, and a start without pipes is refused.
    let mut answers = String::new();
    while !answers.contains("refused") || !answers.contains("swept") {
        let mut packet = [0; 4096];
        let (bytes, _) =
            rustix::net::recv(&ours, &mut packet, rustix::net::RecvFlags::empty()).unwrap();
        assert!(bytes > 0, "it ended: {answers}");
        answers.push_str(std::str::from_utf8(&packet[..bytes]).unwrap());
    }
    drop(ours);
    assert!(launcher.wait().unwrap().success());
}
