//! What is written down, who may read it, and what does not happen while nothing can be written.

use std::time::Duration;

use switchboard::actor::Standing;
use switchboard::chat::{AttachmentKind, EventKind};
use switchboard::policy::HostPolicy;
use switchboard::store::Verdict;
use switchboard::thread::ThreadId;

use crate::support::chat::{plain, steady};
use crate::support::world::{World, within};

const THREAD: ThreadId = ThreadId::Local;

/// Ids of changes and times of calls differ from run to run.
fn without_ids(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen;
    while let Some((before, after)) = rest.split_once("(change ") {
        let (_, after) = after.split_once(')').unwrap();
        text = text + before + "(change ID)";
        rest = after;
    }
    in_order(&(text + rest))
}

/// The end of a process and the change that ends it are written down by two rooms, in either order.
fn in_order(screen: &str) -> String {
    let mut lines: Vec<String> = screen.lines().map(str::to_owned).collect();
    let place = |of: &str| lines.iter().position(|line| line.contains(of));
    if let (Some(change), Some(end)) = (place("(change ID)"), place(": stopped: "))
        && change.abs_diff(end) == 1
        && end < change
    {
        let number = |line: &str| {
            line.rsplit_once("no. ")
                .map(|(_, number)| number.to_owned())
        };
        let (first, second) = (number(&lines[end]), number(&lines[change]));
        let with = |line: &str, number: Option<String>| {
            let (text, _) = line.rsplit_once("no. ").unwrap();
            format!("{text}no. {}", number.unwrap())
        };
        let (end_line, change_line) = (with(&lines[end], second), with(&lines[change], first));
        lines[end] = change_line;
        lines[change] = end_line;
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told_in_words_as_files_and_verified() {
    let world = World::with_demo().await;
    let ann = world.ann();
    ann.says("/mcp call demo echo text=hello").await;
    ann.says("/mcp call demo echo text=ghp_0123456789abcdefghijklmnopqrstuvwxyz12")
        .await;
    ann.says("/mcp call demo fail").await;
    ann.says("/mcp disable demo").await;
    // The end of the server's process is written down when it has ended.
    let ended = async {
        while !ann.says("/mcp audit demo").await.contains("stopped") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::world::PATIENCE, ended)
        .await
        .unwrap();
    insta::assert_snapshot!("audit", without_ids(&steady(&ann.says("/mcp audit").await)));
    insta::assert_snapshot!(
        "audit_of_two",
        without_ids(&steady(&ann.says("/mcp audit 2").await))
    );
    insta::assert_snapshot!(
        "audit_of_nobody",
        steady(&ann.says("/mcp audit nobody").await)
    );
    insta::assert_snapshot!("audit_whole", steady(&ann.says("/mcp audit verify").await));
    ann.says("/mcp audit file").await;
    let shown = world.chat.newest(THREAD);
    let [file] = &shown.view.attachments[..] else {
        panic!("{:?}", shown.view);
    };
    assert_eq!(
        (file.kind, file.name.as_str()),
        (AttachmentKind::File, "audit.jsonl")
    );
    let text = String::from_utf8(file.bytes.to_vec()).unwrap();
    assert!(
        text.contains("\"arguments_sha256\"") && !text.contains("ghp_"),
        "{text}"
    );

    let path = world.data().join("state/local/audit.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    crate::support::world::write(&path, &text.replace("hello", "help!"));
    insta::assert_snapshot!("audit_broken", steady(&ann.says("/mcp audit verify").await));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_configures_reads_it() {
    let world = World::open();
    let group = ThreadId::telegram(-5, None);
    let bob = world.person("Bob", group, false);
    world.chat.set_standing(&bob.id(), Standing::Member);
    for line in ["/mcp audit", "/mcp audit file", "/mcp audit verify"] {
        let refused = bob.says(line).await;
        assert!(refused.contains("Only the creator"), "{line}: {refused}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d36_what_cannot_be_written_down_is_not_called_and_not_switched_on() {
    let world = World::with_demo().await;
    let path = world.data().join("state/local/audit.jsonl");
    let away = world.data().join("away.jsonl");
    let world = {
        let path = path.clone();
        let away = away.clone();
        world
            .restarted_with(move |_| {
                // Nobody can write into a folder: as a disk that refuses everything.
                std::fs::rename(&path, &away).unwrap();
                std::fs::create_dir(&path).unwrap();
            })
            .await
    };
    let ann = world.ann();
    insta::assert_snapshot!(
        "audit_closed",
        steady(&ann.says("/mcp call demo echo text=hi").await)
    );
    ann.says("/mcp add other -- switchboard demo-server").await;
    let refused = ann.presses("Apply").await;
    assert!(refused.contains("cannot write down"), "{refused}");
    assert!(!world.config(THREAD).unwrap().contains("other"));
    // Looking, switching off and removing go on.
    assert!(ann.says("/mcp list").await.contains("demo"));
    ann.says("/mcp disable demo").await;
    let config = world.config(THREAD).unwrap();
    assert!(config.contains("\"disabled\": true"), "{config}");
    ann.says("/mcp enable demo").await;
    let refused = ann.presses("Apply").await;
    assert!(refused.contains("cannot write down"), "{refused}");
    ann.says("/mcp remove demo").await;
    ann.presses("Apply").await;
    assert!(!world.config(THREAD).unwrap().contains("demo"));

    // A write works again: everything does, and what happened meanwhile is there.
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("6 tools"), "{applied}");
    assert!(ann.says("/mcp call demo echo text=hi").await.contains("hi"));
    let told = ann.says("/mcp audit 40").await;
    for part in [
        "could not be written",
        "disable demo",
        "remove demo",
        "add demo",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let verdict = world.house.store.verify_audit(THREAD).unwrap();
    assert!(matches!(verdict, Verdict::Whole { .. }), "{verdict:?}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_too_often_is_told_when_to_try_again() {
    let world = World::open();
    let mut policy = HostPolicy::clone(&world.house.rules.now());
    policy.quotas.calls_a_minute.person = 2;
    world.house.rules.set(policy);
    let ann = world.ann();
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    for _ in 0..2 {
        assert!(
            ann.says("/mcp call demo echo text=yes")
                .await
                .contains("yes")
        );
    }
    let busy = ann.says("/mcp call demo echo text=no").await;
    assert!(
        busy.contains("as many calls as you may within a minute. Try again in"),
        "{busy}"
    );
    assert!(ann.says("/mcp audit 1").await.contains("too many calls"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_that_fail_restarts_and_the_policy_are_told_without_secrets() {
    const CANARY: &str = "canary-Zx81-hush-hush";
    let world = World::open();
    let ann = world.ann();
    let entry = serde_json::json!({
        "command": crate::support::world::misbehave(),
        "args": [format!("say=it was given {CANARY}"), "exit=3"],
        "env": {"API_KEY": CANARY},
    });
    let config = serde_json::json!({"mcpServers": {"bad": entry}});
    world.edit_on_host(THREAD, &config.to_string());
    ann.says("/mcp list").await;
    let of = |what: &'static str| {
        move |lines: &[serde_json::Value]| {
            let found = lines.iter().filter(|line| line["what"] == what);
            let found: Vec<_> = found.cloned().collect();
            (!found.is_empty()).then_some(found)
        }
    };
    let failed = world.noted(THREAD, of("not_started")).await;
    assert_eq!(failed[0]["server"], "bad");
    let reason = failed[0]["reason"].as_str().unwrap();
    assert!(reason.contains("ended with"), "{reason}");
    // The same again is told once.
    ann.says("/mcp restart bad").await;
    let asked = world.noted(THREAD, of("decided")).await;
    assert_eq!(asked[0]["by"]["name"], "Ann");
    assert_eq!(asked[0]["decision"], "it was to be started again");
    assert_eq!(world.noted(THREAD, of("not_started")).await.len(), 1);
    world
        .edit_policy(r#"{"network": "none", "sandbox": "strong"}"#)
        .await;
    let policy = world.noted(THREAD, of("admin")).await;
    let deed = policy[0]["deed"].as_str().unwrap();
    assert!(
        deed.contains("network") && deed.contains("sandbox"),
        "{deed}"
    );
    // Another reason is told.
    world
        .noted(THREAD, |lines| {
            let all = of("not_started")(lines)?;
            let reason = all.get(1)?["reason"].as_str()?;
            assert!(reason.contains("demands the `strong` sandbox"), "{reason}");
            Some(())
        })
        .await;
    let audit = world.audit(THREAD);
    assert!(!serde_json::to_string(&audit).unwrap().contains(CANARY));
    let screen = ann.says("/mcp audit").await;
    assert!(!screen.contains(CANARY), "{screen}");
    // Two rooms write at the same time, so the order is not looked at.
    for told in [
        "*bad*: did not start",
        "*bad*: it was to be started again · Ann",
        "the operator's policy changed: network, sandbox",
    ] {
        assert!(screen.contains(told), "{told}: {screen}");
    }
    world.close().await;
}

/// The lines of calls, as they stand in the file.
fn of_calls(lines: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let is_call = |line: &&serde_json::Value| line["what"] == "calling" || line["what"] == "called";
    lines.iter().filter(is_call).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_written_down_before_it_is_made() {
    let world = World::with_demo().await;
    let ann = world.ann();
    ann.begins(
        None,
        EventKind::Text("/mcp call demo countdown from=100".to_owned()),
    );
    let begun = world.noted(THREAD, |lines| of_calls(lines).pop()).await;
    assert_eq!(begun["what"], "calling");
    assert_eq!(begun["by"]["name"], "Ann");
    assert_eq!(
        (&begun["server"], &begun["tool"]),
        (&"demo".into(), &"countdown".into())
    );
    let lines = world.house.store.audit(THREAD, 1, Some("demo")).unwrap();
    let told = serde_json::to_value(&lines[0].entry).unwrap();
    assert_eq!(told["what"], "calling", "nothing else tells of it yet");
    let is_live = async {
        while !plain(&world.chat.newest(THREAD).view).contains('%') {
            tokio::task::yield_now().await;
        }
    };
    within(is_live).await;
    ann.presses("Stop").await;
    let ended = world
        .noted(THREAD, |lines| of_calls(lines).get(1).cloned())
        .await;
    assert_eq!(ended["what"], "called");
    for same in ["call", "arguments_sha256", "by", "tool"] {
        assert_eq!(begun[same], ended[same], "{same}");
    }
    // Of one that ended, one line is told.
    let screen = ann.says("/mcp audit demo").await;
    assert_eq!(screen.matches("countdown").count(), 1, "{screen}");
    assert!(!screen.contains("a call began"), "{screen}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_what_is_off_or_never_called_is_written_down() {
    const CANARY: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz12";
    let world = World::with_demo().await;
    let ann = world.ann();
    ann.says("/mcp tools demo echo mode=never").await;
    ann.says("/mcp deny demo roll").await;
    ann.says(&format!("/mcp call demo echo text={CANARY}"))
        .await;
    ann.says("/mcp call demo roll sides=6").await;
    let refused = of_calls(&world.audit(THREAD));
    let told: Vec<_> = refused
        .iter()
        .map(|line| {
            (
                line["what"].as_str().unwrap(),
                line["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let never = "it is never called here; that was decided in this chat";
    assert_eq!(
        told,
        [
            ("called", never),
            ("called", "`roll` of `demo` is off here")
        ]
    );
    assert!(refused.iter().all(|line| line["by"]["name"] == "Ann"));
    assert!(!format!("{refused:?}").contains(CANARY));
    world.close().await;
}
