use std::io::Write as _;
use std::time::Duration;

use super::super::LINE_BYTES;
use super::super::incoming::{KEEP_BYTES, QUIET_BYTES, READ_BYTES};
use super::super::noise::Noise;
use super::*;

fn pair() -> (PipeTransport, std::fs::File, std::fs::File) {
    let (theirs_in, stdin) = rustix::pipe::pipe().unwrap();
    let (stdout, theirs_out) = rustix::pipe::pipe().unwrap();
    let (transport, _, _) = PipeTransport::new(
        pipe::Sender::from_owned_fd(stdin).unwrap(),
        pipe::Receiver::from_owned_fd(stdout).unwrap(),
    );
    (transport, theirs_in.into(), theirs_out.into())
}

fn described(message: Option<RxJsonRpcMessage<RoleClient>>) -> String {
    match message {
        None => "end".to_owned(),
        Some(message) => serde_json::to_string(&message).unwrap(),
    }
}

#[tokio::test]
async fn noise_is_passed_over_and_answers_come_through() {
    let (mut transport, _stdin, mut out) = pair();
    out.write_all(b"hello, I am a server\n\n[1,2]\n{\"a\":1}\n")
        .unwrap();
    out.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n")
        .unwrap();
    out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\r\n{\"jsonrpc\"")
        .unwrap();
    drop(out);
    let answer = described(transport.receive().await);
    assert!(answer.contains("\"id\":3"), "{answer}");
    assert_eq!(described(transport.receive().await), "end");
    assert!(transport.events.ended.is_cancelled());
}

#[tokio::test]
async fn an_answer_over_the_limit_answers_its_request() {
    for (before, after) in [
        (
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"t\":\"",
            "\"}}\n",
        ),
        (
            "{\"result\":{\"t\":\"",
            "\"},\"jsonrpc\":\"2.0\",\"id\":7}\n",
        ),
        (
            "{\"result\":{\"t\":\"",
            "\"},\"id\":7,\"jsonrpc\":\"2.0\"}\n",
        ),
    ] {
        let (mut transport, _stdin, mut out) = pair();
        let writer = std::thread::spawn(move || {
            out.write_all(before.as_bytes()).unwrap();
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..(LINE_BYTES / piece.len() + 2) {
                out.write_all(&piece).unwrap();
            }
            out.write_all(after.as_bytes()).unwrap();
            out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n")
                .unwrap();
        });
        transport.unanswered = 2;
        let answer = described(transport.receive().await);
        assert!(
            answer.contains("\"id\":7") && answer.contains("4 MiB"),
            "{answer}"
        );
        assert!(described(transport.receive().await).contains("\"id\":8"));
        assert_eq!(described(transport.receive().await), "end");
        assert!(transport.incoming.buffer.capacity() <= KEEP_BYTES);
        writer.join().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn d18_a_line_of_300_mb_leaves_memory_flat() {
    let (mut transport, _stdin, mut out) = pair();
    // A flood is slowed down and cut off after a while; here it may go on to its end, on a clock that jumps.
    transport.incoming.noise = Noise::until(Duration::from_hours(1));
    let writer = std::thread::spawn(move || {
        out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"t\":\"")
            .unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..300 {
            out.write_all(&piece).unwrap();
        }
        out.write_all(b"\"}}\n").unwrap();
    });
    transport.unanswered = 1;
    let answer = loop {
        // Given up now and then, only to look at what is held meanwhile.
        let some = Duration::from_millis(5);
        match tokio::time::timeout(some, transport.receive()).await {
            Ok(answer) => break described(answer),
            Err(_) => assert!(transport.incoming.buffer.capacity() <= 2 * LINE_BYTES),
        }
    };
    assert!(answer.contains("4 MiB"), "{answer}");
    assert_eq!(described(transport.receive().await), "end");
    assert!(transport.incoming.buffer.capacity() <= KEEP_BYTES);
    writer.join().unwrap();
}

#[tokio::test]
async fn a_quiet_server_holds_no_large_buffer() {
    let (mut transport, _stdin, mut out) = pair();
    transport.unanswered = 2;
    let text = "x".repeat(4 * READ_BYTES);
    for (id, is_large) in [(1, true), (2, false)] {
        writeln!(
            out,
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"t\":\"{text}\"}}}}"
        )
        .unwrap();
        assert!(transport.receive().await.is_some());
        assert!(futures::poll!(Box::pin(transport.receive())).is_pending());
        assert_eq!(transport.incoming.buffer.capacity() > QUIET_BYTES, is_large);
    }
}

#[tokio::test]
async fn an_answer_in_a_wrong_form_answers_its_request() {
    let (mut transport, _stdin, mut out) = pair();
    out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":\"broken\"}\n")
        .unwrap();
    let answer = described(transport.receive().await);
    assert!(
        answer.contains("\"id\":5") && answer.contains("form of JSON-RPC"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_slowed_down_and_then_cut_off() {
    let (mut transport, _stdin, mut out) = pair();
    let writer = std::thread::spawn(move || {
        let line = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n".repeat(100);
        let mut lines = 0_u32;
        while out.write_all(&line).is_ok() {
            lines += 100;
        }
        lines
    });
    assert_eq!(described(transport.receive().await), "end");
    assert!(transport.events.why().unwrap().contains("floods"));
    drop(transport);
    assert!(writer.join().unwrap() < 40_000, "the peer was slowed down");
}

#[tokio::test]
async fn what_is_printed_for_people_is_remembered() {
    let (mut transport, _stdin, mut out) = pair();
    out.write_all(b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\nlistening on `:80`\nmore\n")
        .unwrap();
    drop(out);
    while transport.receive().await.is_some() {}
    assert_eq!(transport.events.stray(), Some("listening on `:80`"));
}

#[tokio::test(start_paused = true)]
async fn an_endless_line_and_a_flood_are_told_apart() {
    for (piece, expected) in [
        (vec![b'x'; 1 << 16], "it prints one line that does not end"),
        (
            b"[1]\n".repeat(1 << 12),
            "it floods its output with messages that nobody asked for",
        ),
    ] {
        let (mut transport, _stdin, mut out) = pair();
        let writer = std::thread::spawn(move || while out.write_all(&piece).is_ok() {});
        assert!(transport.receive().await.is_none());
        assert_eq!(transport.events.why(), Some(expected));
        drop(transport);
        writer.join().unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_bounded() {
    let (mut transport, _stdin, _out) = pair();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for id in 0..4000 {
        let big = serde_json::from_value(serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "x".repeat(16 * 1024)},
        }))
        .unwrap();
        let mut send = Box::pin(transport.send(big));
        match futures::poll!(&mut send) {
            std::task::Poll::Ready(Err(_)) => refused += 1,
            std::task::Poll::Ready(Ok(())) => {}
            std::task::Poll::Pending => waiting.push(send),
        }
    }
    assert!(refused > 1000, "only {refused} were refused");
    // Closing is not held up by those that wait.
    let outgoing = transport.outgoing.clone();
    let (closed, results) =
        futures::future::join(outgoing.close(), futures::future::join_all(waiting)).await;
    let () = closed;
    // A pipe takes 64 KiB before its reader must read: the first few may have gone out before the end.
    let sent = results.iter().filter(|result| result.is_ok()).count();
    assert!(sent <= 4, "{sent} went out to a peer that does not read");
}
