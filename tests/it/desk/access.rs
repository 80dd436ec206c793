//! Who may use the bot, who operates it, and what the operator's policy forbids.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use switchboard::actor::{ActorId, Standing};
use switchboard::app::{House, HouseOptions};
use switchboard::chat::{Answer, EventKind, MessageId};
use switchboard::policy::{Given, HostPolicy, Patterns, WhoAdds};
use switchboard::registry::ServerState;
use switchboard::thread::ThreadId;

use crate::support::chat::{Chat, plain, steady};
use crate::support::hostile::{Far, Manners};
use crate::support::world::{PROGRAM, Person, World, misbehave, within, write};

const GROUP: i64 = -100_500;
const HOUR: Duration = Duration::from_hours(1);

/// A bot with one operator, `tg:1`, and the careful defaults otherwise.
fn careful(policy: impl FnOnce(&mut HostPolicy)) -> World {
    World::open_with(|options| {
        options.policy = Given::default();
        options.policy.defaults.operators = vec![ActorId::telegram(1)];
        policy(&mut options.policy.defaults);
    })
}

fn somebody(world: &World, user: u64, chat: i64) -> Person<'_> {
    let names = ["Nobody", "Olga", "Ann", "Bob", "Eve"];
    let name = names.get(usize::try_from(user).unwrap()).unwrap_or(&"Zoe");
    let mut person = world.person(name, ThreadId::telegram(chat, None), chat > 0);
    person.becomes(ActorId::telegram(user));
    person
}

fn alone(world: &World, user: u64) -> Person<'_> {
    somebody(world, user, i64::try_from(user).unwrap())
}

fn own(user: u64) -> ThreadId {
    ThreadId::telegram(i64::try_from(user).unwrap(), None)
}

async fn types(person: &Person<'_>, text: &str) {
    person.does(None, EventKind::Text(text.to_owned())).await;
}

fn policy(world: &World) -> Value {
    let text = std::fs::read_to_string(world.data().join("admin/policy.json"));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

fn edit_policy(world: &World, text: &str) {
    let folder = world.data().join("admin");
    std::fs::create_dir_all(&folder).unwrap();
    write(&folder.join("new"), text);
    std::fs::rename(folder.join("new"), folder.join("policy.json")).unwrap();
}

/// Nothing is kept of a thread.
fn assert_untouched(world: &World, thread: ThreadId) {
    for part in ["users", "state", "homes"] {
        let folder = world.data().join(part).join(thread.to_string());
        assert!(!folder.exists(), "{} was made", folder.display());
    }
    assert!(world.house.registry.snapshot(thread).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_one_sentence_an_hour_and_nothing_runs() {
    let world = careful(|_| {});
    let bob = alone(&world, 3);
    let told = bob.says("/mcp add demo -- switchboard demo-server").await;
    insta::assert_snapshot!("stranger", told);
    for text in [
        "/start",
        "/mcp",
        "hello",
        "{\"mcpServers\": {}}",
        "/admin",
        "/settings",
    ] {
        types(&bob, text).await;
    }
    assert_eq!(world.chat.messages(own(3)).len(), 1);
    assert_untouched(&world, own(3));
    bob.forges("1:o:demo", world.chat.newest(own(3)).id).await;
    assert_eq!(world.chat.answers().last(), Some(&Answer::Silent));
    world.pass(HOUR);
    types(&bob, "hello").await;
    assert_eq!(world.chat.messages(own(3)).len(), 2);

    let group = ThreadId::telegram(GROUP, None);
    let (ann, eve) = (somebody(&world, 2, GROUP), somebody(&world, 4, GROUP));
    insta::assert_snapshot!("stranger_in_a_group", ann.says("/mcp").await);
    types(&eve, "/mcp").await;
    assert_eq!(world.chat.messages(group).len(), 1, "the chat was told");
    assert_untouched(&world, group);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_hear_of_who_asked_and_let_them_in() {
    let world = careful(|_| {});
    let (olga, bob) = (alone(&world, 1), alone(&world, 3));
    types(&bob, "/start").await;
    insta::assert_snapshot!("somebody_asked", olga.sees_now());
    insta::assert_snapshot!("admin_waiting", olga.says("/admin").await);
    let decided = olga.presses("Allow Bob").await;
    assert!(decided.contains("may use me now"), "{decided}");
    assert_eq!(policy(&world)["allow"]["people"], json!(["tg:3"]));
    assert!(bob.sees_now().contains("You may use me now"));
    assert!(bob.says("/mcp").await.contains("Servers in this chat"));
    let refused = bob.says("/admin allow tg:4").await;
    assert!(refused.contains("Only an operator"), "{refused}");
    insta::assert_snapshot!("admin", olga.says("/admin").await);

    // Of the next ones they hear a few times an hour.
    for user in 10..20 {
        types(&alone(&world, user), "hello").await;
    }
    let heard = world.transcript(own(1)).matches("wants to use me.").count();
    assert_eq!(heard, 3);
    let panel = olga.says("/admin").await;
    assert_eq!(panel.matches("for themselves").count(), 10, "{panel}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_let_in_with_its_topics_and_members() {
    let world = careful(|_| {});
    let olga = alone(&world, 1);
    let mut ann = world.person("Ann", ThreadId::telegram(GROUP, Some(7)), false);
    ann.becomes(ActorId::telegram(2));
    world.chat.set_standing(&ann.id(), Standing::Member);
    types(&ann, "/mcp").await;
    insta::assert_snapshot!("group_asked", olga.sees_now());
    olga.presses("Allow chat").await;
    assert_eq!(policy(&world)["allow"]["chats"], json!(["tg-100500"]));
    let eve = somebody(&world, 4, GROUP);
    world.chat.set_standing(&eve.id(), Standing::Member);
    assert!(eve.says("/mcp").await.contains("Servers in this chat"));
    assert!(ann.says("/mcp").await.contains("Servers in this chat"));
    // In private each of them is who they were.
    assert!(
        alone(&world, 4)
            .says("/mcp")
            .await
            .contains("not open to everybody")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_stops_what_runs_and_is_silent() {
    let world = careful(|policy| policy.allow.people = vec![ActorId::telegram(3)]);
    let (olga, bob) = (alone(&world, 1), alone(&world, 3));
    bob.says("/mcp add demo -- switchboard demo-server").await;
    bob.presses("Apply").await;
    assert!(world.house.registry.snapshot(own(3)).is_some());
    let blocked = olga.says("/admin block 3").await;
    assert!(blocked.contains("`tg:3` may not use me"), "{blocked}");
    assert!(world.house.registry.snapshot(own(3)).is_none());
    let before = world.chat.messages(own(3)).len();
    world.pass(2 * HOUR);
    types(&bob, "/mcp").await;
    assert_eq!(world.chat.messages(own(3)).len(), before);
    // What was allowed by the defaults is not forgotten by a block, and the file says both.
    olga.says("/admin allow 3").await;
    assert!(bob.says("/mcp").await.contains("demo"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_make_operators_and_the_last_one_stays() {
    let world = careful(|policy| policy.operators.clear());
    edit_policy(&world, r#"{"operators": ["tg:1"]}"#);
    let olga = alone(&world, 1);
    within(world.house.reload.heed_policy()).await;
    for (line, answer) in [
        ("/admin operator remove tg:1", "You are the last operator"),
        ("/admin operator add tg-5", "An operator is a person"),
        ("/admin operator add tg:2", "`tg:2` operates this bot now"),
        ("/admin block tg:2", "They operate this bot"),
        ("/admin operator remove tg:9", "does not operate"),
        ("/admin allow @bob", "cannot look names up"),
        ("/admin allow ../x", "That is no id"),
        ("/admin allow", "whom?"),
        ("/admin forget tg:7", "nothing was changed"),
        (
            "/admin operator remove tg:1",
            "does not operate this bot any more",
        ),
    ] {
        let answered = olga.says(line).await;
        assert!(
            answered.to_lowercase().contains(&answer.to_lowercase()),
            "{line}: {answered}"
        );
    }
    assert_eq!(policy(&world)["operators"], json!(["tg:2"]));
    assert!(alone(&world, 2).says("/admin").await.contains("(you)"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_the_console_makes_the_first_operator() {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let world = World::open_with(|options| {
        options.policy = Given::default();
        options.announce = Some(Arc::new(move |line| {
            heard.lock().unwrap().push(line.to_owned());
        }));
    });
    let code = || {
        let said = said.lock().unwrap();
        let code = said.last().unwrap().rsplit("/start ").next().unwrap();
        code.trim().to_owned()
    };
    let ann = alone(&world, 2);
    insta::assert_snapshot!("nobody_operates", ann.says("/start").await);
    let wrong = ann.says("/start AAAA-BBBB-CCCC").await;
    assert!(wrong.contains("That is not the code"), "{wrong}");
    let overheard = code();
    let in_group = somebody(&world, 2, GROUP)
        .says(&format!("/start {overheard}"))
        .await;
    assert!(in_group.contains("void"), "{in_group}");
    assert!(
        ann.says(&format!("/start {overheard}"))
            .await
            .contains("not the code")
    );
    insta::assert_snapshot!("paired", ann.says(&format!("/start {}", code())).await);
    assert_eq!(policy(&world)["operators"], json!(["tg:2"]));
    // Spent: for the next one it is a word like any other.
    let bob = alone(&world, 3);
    assert!(
        bob.says(&format!("/start {}", code()))
            .await
            .contains("`tg:3`")
    );
    assert!(ann.says("/mcp").await.contains("Servers in this chat"));
    // Who has an operator is not asked for one.
    let lines = said.lock().unwrap().len();
    let world = world.restarted_with(|options| {
        options.policy = Given::default();
        options.announce = Some(Arc::new(|line| panic!("announced {line}")));
    });
    let world = within(world).await;
    assert_eq!(said.lock().unwrap().len(), lines);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_servers_are_added_by_operators_and_whom_they_name() {
    let world = careful(|policy| {
        policy.allow.chats = vec![ThreadId::telegram(GROUP, None)];
        policy.quotas.servers = 2;
    });
    let (olga, ann) = (somebody(&world, 1, GROUP), somebody(&world, 2, GROUP));
    world.chat.set_standing(&ann.id(), Standing::Administrator);
    let group = ThreadId::telegram(GROUP, None);
    let node = "/mcp add tools -- node tools.js";
    insta::assert_snapshot!("local_refused", ann.says(node).await);
    for line in [
        "/mcp add",
        "/mcp add-json {\"mcpServers\": {\"x\": {\"command\": \"npx\", \"args\": [\"-y\", \"x\"]}}}",
    ] {
        let refused = ann.says(line).await;
        assert!(
            refused.contains("added by its operator"),
            "{line}: {refused}"
        );
    }
    // The demo server is our own program, and an operator need not administer the group.
    ann.says("/mcp add demo -- switchboard demo-server").await;
    assert!(ann.presses("Apply").await.contains("6 tools"));
    assert!(olga.says(node).await.contains("Add tools?"));
    olga.presses("Apply").await;
    for line in ["/mcp edit tools args=other.js", "/mcp edit tools env.A=1"] {
        let refused = ann.says(line).await;
        assert!(
            refused.contains("added by its operator"),
            "{line}: {refused}"
        );
    }
    ann.says("/mcp disable tools").await;
    assert!(
        ann.says("/mcp enable tools")
            .await
            .contains("added by its operator")
    );
    let full = olga.says("/mcp add third -- node third.js").await;
    let words = "This chat may have 2 servers and has 2. Remove one first, or ask the bot's operator for more.";
    assert!(full.contains(words), "{full}");
    let several = json!({"mcpServers": {"c": {"command": "node"}, "d": {"command": "node"}, "e": {"command": "node"}}});
    let full = olga.says(&format!("/mcp add-json {several}")).await;
    let words = "This chat may have 2 servers and has 2. Remove 3 first, or ask the bot's operator for more.";
    assert!(full.contains(words), "{full}");
    ann.says("/mcp remove tools").await;
    ann.presses("Apply").await;
    // Undo brings it back, so that is adding.
    assert!(
        ann.says("/mcp undo")
            .await
            .contains("added by its operator")
    );
    // Judged again when it is applied.
    edit_policy(&world, r#"{"local_servers": "everyone"}"#);
    within(world.house.reload.heed_policy()).await;
    assert!(ann.says(node).await.contains("Add tools?"));
    edit_policy(&world, "{}");
    within(world.house.reload.heed_policy()).await;
    ann.presses("Apply").await;
    assert!(!world.config(group).unwrap().contains("tools.js"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_a_shell_is_refused_when_it_is_proposed() {
    let world = careful(|policy| {
        policy.allow.people = vec![ActorId::telegram(3)];
        policy.local_servers = WhoAdds::Everyone;
    });
    let bob = alone(&world, 3);
    let link = world.data().join("innocent");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let links = link.display().to_string();
    for command in [
        "bash -c true",
        "/bin/../bin/sh x",
        "env node x",
        &links,
        "/usr/bin/env -S node",
    ] {
        let refused = bob.says(&format!("/mcp add x -- {command}")).await;
        assert!(
            refused.contains("runs whatever it is told"),
            "{command}: {refused}"
        );
    }
    insta::assert_snapshot!(
        "shell_refused",
        bob.says("/mcp add x -- bash -c true").await
    );
    assert_eq!(world.config(own(3)), None);
    assert!(bob.says("/mcp add x -- node x.js").await.contains("Add x?"));
    // An operator's own chat is theirs.
    assert!(
        alone(&world, 1)
            .says("/mcp add x -- bash -c true")
            .await
            .contains("Add x?")
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_a_shell_that_was_written_by_hand_does_not_start() {
    let world = careful(|policy| policy.allow.people = vec![ActorId::telegram(3)]);
    let bob = alone(&world, 3);
    let mark = world.data().join("ran");
    let link = world.data().join("innocent");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let touch = format!("touch {}", mark.display());
    world.edit_on_host(
        own(3),
        &json!({"mcpServers": {"x": {"command": link, "args": ["-c", touch]}}}).to_string(),
    );
    let reason = failed(&world, &bob, "x").await;
    assert!(reason.contains("runs whatever it is told"), "{reason}");
    assert!(!mark.exists(), "it ran");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_variables_that_change_what_runs_are_refused_and_named() {
    let world = careful(|policy| {
        policy.allow.people = vec![ActorId::telegram(3)];
        policy.local_servers = WhoAdds::Everyone;
    });
    let bob = alone(&world, 3);
    for name in [
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PATH",
        "HOME",
        "BASH_ENV",
        "npm_config_registry",
    ] {
        let line = format!("/mcp add demo -e {name}=x -- switchboard demo-server");
        let refused = bob.says(&line).await;
        assert!(
            refused.contains(name) && refused.contains("may not be set"),
            "{refused}"
        );
    }
    insta::assert_snapshot!(
        "variable_refused",
        bob.says("/mcp add x -e LD_PRELOAD=x -- node x").await
    );
    world.edit_on_host(
        own(3),
        &json!({"mcpServers": {"demo": {"command": "switchboard", "args": ["demo-server"], "env": {"NODE_OPTIONS": "--require x"}}}})
            .to_string(),
    );
    let reason = failed(&world, &bob, "demo").await;
    assert!(reason.contains("NODE_OPTIONS"), "{reason}");
    world.close().await;
}

/// Why a server of a private chat does not run.
async fn failed(world: &World, person: &Person<'_>, name: &str) -> String {
    types(person, "/mcp list").await;
    let ActorId(id) = person.id();
    let thread = own(id.trim_start_matches("tg:").parse().unwrap());
    let is_failed = |state: &ServerState| matches!(state, ServerState::Failed { .. });
    let settled = world.house.registry.wait(thread, |snapshot| {
        snapshot
            .server(name)
            .is_some_and(|server| is_failed(&server.state))
    });
    let snapshot = within(settled).await.unwrap();
    match &snapshot.server(name).unwrap().state {
        ServerState::Failed { reason } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tightened_policy_stops_what_runs_and_a_loosened_one_starts_it() {
    let world = careful(|policy| policy.allow.people = vec![ActorId::telegram(3)]);
    let bob = alone(&world, 3);
    world.edit_on_host(
        own(3),
        &json!({"mcpServers": {
            "steady": {"command": misbehave(), "args": []},
            "demo": {"command": "switchboard", "args": ["demo-server"]},
        }})
        .to_string(),
    );
    types(&bob, "/mcp list").await;
    let is_ready = |name: &'static str| {
        world.house.registry.wait(own(3), move |snapshot| {
            let server = snapshot.server(name);
            server.is_some_and(|server| matches!(server.state, ServerState::Ready { .. }))
        })
    };
    within(is_ready("steady")).await.unwrap();
    within(is_ready("demo")).await.unwrap();
    // By hand: the watcher sees it.
    edit_policy(&world, r#"{"launchers": {"deny": ["misbehave"]}}"#);
    let reason = failed(&world, &bob, "steady").await;
    assert!(reason.contains("does not allow"), "{reason}");
    within(is_ready("demo")).await.unwrap();
    // The chat is told once, of this server alone.
    let told = world
        .sees(own(3), |shown| {
            plain(&shown.view).contains("changed its policy")
        })
        .await;
    let told = plain(&told.view).replace(&misbehave().display().to_string(), "/opt/misbehave");
    insta::assert_snapshot!("policy_stopped", steady(&told));
    edit_policy(&world, "{}");
    within(is_ready("steady")).await.unwrap();
    let told = world
        .sees(own(3), |shown| plain(&shown.view).contains("starts anew"))
        .await;
    insta::assert_snapshot!("policy_starts", steady(&plain(&told.view)));
    let transcript = world.transcript(own(3));
    // The second change is told in the message of the first, unless that is closed already.
    let messages = transcript.matches("changed its policy").count();
    assert!((1..=2).contains(&messages), "{transcript}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_nothing_for_a_chat_is_not_told_there() {
    let world = careful(|policy| policy.allow.people = vec![ActorId::telegram(3)]);
    let bob = alone(&world, 3);
    world.edit_on_host(
        own(3),
        &json!({"mcpServers": {"demo": {"command": "switchboard", "args": ["demo-server"]}}})
            .to_string(),
    );
    types(&bob, "/mcp list").await;
    edit_policy(&world, r#"{"launchers": {"deny": ["misbehave"]}}"#);
    within(world.house.reload.heed_policy()).await;
    let list = bob.says("/mcp list").await;
    assert!(list.contains("demo"), "{list}");
    let transcript = world.transcript(own(3));
    assert!(!transcript.contains("changed its policy"), "{transcript}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_keeps_what_held_and_operators_hear_of_it() {
    let world = careful(|_| {});
    let olga = alone(&world, 1);
    olga.says("/admin allow 3").await;
    let bob = alone(&world, 3);
    edit_policy(&world, "{\"access\": \"ajar\"}");
    let told = world
        .sees(own(1), |shown| plain(&shown.view).contains("is broken"))
        .await;
    insta::assert_snapshot!("policy_broken", plain(&told.view));
    assert!(bob.says("/mcp").await.contains("Servers in this chat"));
    let refused = olga.says("/admin allow 4").await;
    assert!(refused.contains("mend it there first"), "{refused}");
    insta::assert_snapshot!("policy_broken_panel", steady(&olga.says("/admin").await));
    edit_policy(&world, "{}");
    world
        .sees(own(1), |shown| plain(&shown.view).contains("is good again"))
        .await;
    let panel = olga.says("/admin").await;
    assert!(!panel.contains("broken"), "{panel}");
    assert!(
        world.house.registry.snapshot(own(3)).is_none(),
        "nobody let them in any more"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_what_is_denied_runs_no_script_and_no_package_either() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = careful(|policy| {
        policy.allow.people = vec![ActorId::telegram(3)];
        policy.local_servers = WhoAdds::Everyone;
        policy.launchers.deny = vec!["node".to_owned()];
    });
    let bob = alone(&world, 3);
    let home = world.data().join("homes").join(own(3).to_string());
    std::fs::create_dir_all(&home).unwrap();
    for (name, line) in [
        ("tool", "#!/usr/bin/env node"),
        ("other", "#!/nowhere/python3"),
    ] {
        write(&home.join(name), &format!("{line}\n"));
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.join(name), open).unwrap();
    }
    for (command, stopped) in [
        ("npx -y @scope/server", Some("`npx` is run by it")),
        ("./tool", Some("`./tool` is run by it")),
        ("./other", None),
    ] {
        let said = bob.says(&format!("/mcp add x -- {command}")).await;
        match stopped {
            Some(words) => assert!(
                said.contains("does not allow `node`") && said.contains(words),
                "{command}: {said}"
            ),
            None => assert!(said.contains("[Apply]"), "{command}: {said}"),
        }
        bob.says("/cancel").await;
    }
    // What the file says is judged where it starts.
    let entry = json!({"mcpServers": {"tool": {"command": "./tool"}}});
    world.edit_on_host(own(3), &entry.to_string());
    types(&bob, "/mcp list").await;
    let reason = failed(&world, &bob, "tool").await;
    assert!(reason.contains("does not allow `node`"), "{reason}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_stops_the_start_with_its_place() {
    for (text, place) in [
        ("{\n  broken", "line 2"),
        (r#"{"operators": [5]}"#, "operators[0]"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("admin")).unwrap();
        write(&data.join("admin/policy.json"), text);
        let options = HouseOptions::new(data, PROGRAM.into());
        let error = House::open(options, Arc::new(Chat::default()), None).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("admin/policy.json") && error.contains(place),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_migrates_stays_let_in() {
    let world = careful(|_| {});
    let olga = somebody(&world, 1, GROUP);
    let here = olga.says("/admin allow here").await;
    assert!(here.contains("`tg-100500` may use me"), "{here}");
    let elsewhere = somebody(&world, 3, -200_900);
    world.chat.set_standing(&elsewhere.id(), Standing::Member);
    let from = ThreadId::telegram(GROUP, None);
    elsewhere.does(None, EventKind::Migrated { from }).await;
    assert_eq!(policy(&world)["allow"]["chats"], json!(["tg-200900"]));
    assert!(
        elsewhere
            .says("/mcp")
            .await
            .contains("Servers in this chat")
    );
    // One that nobody let in moves nothing and makes nothing.
    let stranger = somebody(&world, 4, -7);
    let from = ThreadId::telegram(-8, None);
    stranger.does(None, EventKind::Migrated { from }).await;
    stranger.does(None, EventKind::Left).await;
    assert_untouched(&world, ThreadId::telegram(-7, None));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_hosts_are_allowed_and_denied() {
    let world = careful(|policy| {
        policy.allow.people = vec![ActorId::telegram(3)];
        policy.remote_hosts = Patterns {
            allow: vec!["*.example.com".to_owned()],
            deny: vec!["old.example.com".to_owned()],
        };
    });
    let bob = alone(&world, 3);
    for url in [
        "https://mcp.elsewhere.test/mcp",
        "https://old.example.com/mcp",
    ] {
        let tried = bob.says(&format!("/mcp connect x {url} --none")).await;
        assert!(
            tried.contains("does not allow servers at"),
            "{url}: {tried}"
        );
    }
    // The question is asked again in another life of the bot, and still says why.
    let world = world.restarted().await;
    let again = alone(&world, 3).says("/start").await;
    assert!(again.contains("old.example.com does not work"), "{again}");
    assert!(
        again.contains("does not allow servers at") && again.contains("[Try again]"),
        "{again}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_creator_settles_who_may_do_what() {
    let world = World::open();
    let group = ThreadId::telegram(GROUP, Some(3));
    let people = [
        ("Cleo", Standing::Creator),
        ("Ann", Standing::Administrator),
        ("Bob", Standing::Member),
    ];
    let [cleo, ann, bob] = people.map(|(name, standing)| {
        let person = world.person(name, group, false);
        world.chat.set_standing(&person.id(), standing);
        person
    });
    cleo.says("/mcp add demo -- switchboard demo-server").await;
    cleo.presses("Apply").await;
    insta::assert_snapshot!("settings_for_a_member", bob.says("/settings").await);
    insta::assert_snapshot!("settings", cleo.says("/settings").await);
    bob.presses("Everybody").await;
    assert!(
        matches!(world.chat.answers().last(), Some(Answer::Alert(text)) if text.contains("Only the creator"))
    );
    ann.presses("Creator only").await;
    assert!(matches!(
        world.chat.answers().last(),
        Some(Answer::Alert(_))
    ));
    assert!(ann.says("/mcp disable demo").await.contains("demo"));

    cleo.says("/settings").await;
    cleo.presses("Creator only").await;
    let settled = cleo.presses("Administrators call").await;
    assert!(
        settled.contains("✓ Creator only") && settled.contains("✓ Administrators call"),
        "{settled}"
    );
    let refused = ann.says("/mcp remove demo").await;
    assert!(
        refused.contains("Only the creator of this chat"),
        "{refused}"
    );
    let refused = bob.says("/mcp call demo echo text=hi").await;
    assert!(refused.contains("call tools here"), "{refused}");
    // For the whole chat, and after a restart.
    let world = world.restarted().await;
    let elsewhere = world.person("Bob", ThreadId::telegram(GROUP, None), false);
    let refused = elsewhere
        .says("/mcp add x -- switchboard demo-server")
        .await;
    assert!(
        refused.contains("Only the creator of this chat"),
        "{refused}"
    );
    let cleo = world.person("Cleo", ThreadId::telegram(GROUP, None), false);
    cleo.says("/settings").await;
    cleo.presses("Everybody").await;
    let proposal = elsewhere
        .says("/mcp add x -- switchboard demo-server")
        .await;
    assert!(proposal.contains("Add x?"), "{proposal}");
    let alone = world.ann().says("/settings").await;
    assert!(alone.contains("yours alone"), "{alone}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d35_buttons_of_admissions_hold_random_ids_only() {
    let world = careful(|_| {});
    let olga = alone(&world, 1);
    types(&alone(&world, 3), "hello").await;
    types(&somebody(&world, 4, GROUP), "/mcp").await;
    olga.says("/admin").await;
    for shown in world.chat.messages(own(1)) {
        for button in shown.view.buttons.iter().flatten() {
            for secret in ["tg:", "100500", "Bob", "Eve"] {
                assert!(!button.data.contains(secret), "{button:?}");
            }
        }
    }
    // A forged one decides nothing.
    let on = world.chat.newest(own(1)).id;
    olga.forges("1:A:p:abcdefghijkl", on).await;
    assert!(matches!(
        world.chat.answers().last(),
        Some(Answer::Alert(_))
    ));
    let (on, allow) = world.chat.button(own(1), "Allow");
    alone(&world, 3).forges(&allow.data, on).await;
    assert_eq!(policy(&world), Value::Null);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_group_sends_for_a_secret_answers_that_and_nothing_else() {
    let far =
        Far::start(Manners::default().wanting(super::remote::token(super::remote::CANARY))).await;
    let world = World::open_with(|options| {
        super::remote::open(options);
        options.policy = Given::default();
        options.policy.defaults.allow.chats = vec![ThreadId::telegram(GROUP, None)];
    });
    let (ann, eve) = (somebody(&world, 2, GROUP), somebody(&world, 4, GROUP));
    for person in [&ann, &eve] {
        world
            .chat
            .set_standing(&person.id(), Standing::Administrator);
    }
    let group = ThreadId::telegram(GROUP, None);
    ann.says(&format!("/mcp connect hub {} --bearer", far.url()))
        .await;
    let start = format!("/start {}", world.chat.nonce(group));
    let other = alone(&world, 4).says(&start).await;
    assert!(other.contains("not open to everybody"), "{other}");
    let home = alone(&world, 2);
    assert!(home.says("/mcp").await.contains("not open to everybody"));
    assert!(home.says(&start).await.contains("hub"));
    let before = world.chat.messages(own(2)).len();
    types(&home, "/mcp add demo -- switchboard demo-server").await;
    assert_eq!(world.chat.messages(own(2)).len(), before);
    home.says(super::remote::CANARY).await;
    world
        .sees(group, |shown| plain(&shown.view).contains("# Connect hub?"))
        .await;
    let over = home
        .says(r#"{"demo": {"command": "switchboard", "args": ["demo-server"]}}"#)
        .await;
    assert!(over.contains("That question is over"), "{over}");
    assert_eq!(world.config(own(2)), None);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_command_goes_through_the_door_and_is_answered_once_in_a_while() {
    const KEY: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let world = careful(|policy| policy.allow.people = vec![ActorId::telegram(3)]);
    let edits = |text: &str| EventKind::Edited(text.to_owned());
    // A stranger is told what every stranger is told, once an hour.
    let eve = alone(&world, 4);
    for number in 0..20 {
        eve.does(Some(MessageId(number)), edits("/mcp list")).await;
    }
    let told = world.chat.messages(own(4));
    assert_eq!(told.len(), 1, "{}", world.transcript(own(4)));
    assert!(!plain(&told[0].view).contains("edited"));
    // Somebody who is let in hears once why nothing happens.
    let bob = alone(&world, 3);
    for number in 0..20 {
        bob.does(Some(MessageId(number)), edits("/mcp list")).await;
    }
    let told = world.chat.messages(own(3));
    assert_eq!(told.len(), 1, "{}", world.transcript(own(3)));
    assert!(plain(&told[0].view).contains("An edited command does not run"));
    // A key is taken away whenever it comes, and never repeated.
    world.chat.forbid([KEY.to_owned()]);
    for _ in 0..2 {
        bob.does(Some(MessageId(77)), edits(&format!("/mcp show {KEY}")))
            .await;
    }
    assert_eq!(world.chat.deleted(), [MessageId(77)]);
    assert!(bob.sees_now().contains("I deleted your message"));
    assert_eq!(world.chat.messages(own(3)).len(), 2);
    assert_eq!(world.chat.leaks(), [""; 0]);
    world.pass(HOUR);
    bob.does(Some(MessageId(78)), edits("/mcp list")).await;
    assert!(bob.sees_now().contains("An edited command does not run"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_policy_that_follow_each_other_are_told_in_one_message() {
    let world = careful(|policy| {
        policy.allow.people = vec![ActorId::telegram(3)];
        policy.local_servers = WhoAdds::Everyone;
    });
    let bob = alone(&world, 3);
    let file = json!({"mcpServers": {"steady": {"command": misbehave(), "args": []}}});
    world.edit_on_host(own(3), &file.to_string());
    types(&bob, "/mcp list").await;
    let ready = world.house.registry.wait(own(3), |snapshot| {
        let server = snapshot.server("steady");
        server.is_some_and(|server| matches!(server.state, ServerState::Ready { .. }))
    });
    within(ready).await.unwrap();
    let told = || {
        let shown = world.chat.messages(own(3)).into_iter();
        let screens = shown.map(|shown| plain(&shown.view));
        screens
            .filter(|screen| screen.contains("changed its policy"))
            .collect::<Vec<_>>()
    };
    let (open, closed) = ("{}", r#"{"launchers": {"deny": ["misbehave"]}}"#);
    for _ in 0..6 {
        for text in [closed, open, closed] {
            world.edit_policy(text).await;
            within(world.house.desk.quiet()).await;
        }
    }
    world
        .glimpses(own(3), |screen| screen.contains("does not run any more"))
        .await;
    assert_eq!(told().len(), 1, "{}", world.transcript(own(3)));
    world.edit_policy(open).await;
    world
        .glimpses(own(3), |screen| {
            screen.contains("changed its policy") && screen.contains("starts anew")
        })
        .await;
    assert_eq!(told().len(), 1, "{}", world.transcript(own(3)));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admission_button_from_before_a_restart_says_what_to_do() {
    let world = careful(|_| {});
    alone(&world, 3).says("/mcp").await;
    world
        .sees(own(1), |shown| {
            plain(&shown.view).contains("wants to use me")
        })
        .await;
    let world = world
        .restarted_with(|options| {
            options.policy = Given::default();
            options.policy.defaults.operators = vec![ActorId::telegram(1)];
        })
        .await;
    let olga = alone(&world, 1);
    olga.presses("Allow").await;
    let answers = world.chat.answers();
    let Some(Answer::Alert(text)) = answers.last() else {
        panic!("{answers:?}");
    };
    assert!(
        text.contains("started anew")
            && text.contains("/admin allow")
            && text.chars().count() <= 200,
        "{text}"
    );
    // What it says works, by the id that stands there still.
    let allowed = olga.says("/admin allow tg:3").await;
    assert!(allowed.contains("may use me now"), "{allowed}");
    assert!(
        alone(&world, 3)
            .says("/mcp")
            .await
            .contains("Servers in this chat")
    );
    world.close().await;
}
