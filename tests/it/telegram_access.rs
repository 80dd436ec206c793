//! Who may use the bot, on Telegram: the code, strangers, admissions, and who may do what in a group.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use switchboard::policy::Given;

use crate::support::bot_api::{BotApi, Role, TOKEN};
use crate::support::telegram::Bot;
use crate::support::world::{PROGRAM, within};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// A careful bot, the lines of its console, and its clock.
async fn careful() -> (Bot, Arc<Mutex<Vec<String>>>, Arc<AtomicI64>) {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let clock = Arc::new(AtomicI64::new(1_767_323_045_000));
    let (heard, time) = (Arc::clone(&said), Arc::clone(&clock));
    let bot = Bot::start_with(move |options| {
        options.policy = Given::default();
        options.announce = Some(Arc::new(move |line| {
            heard.lock().unwrap().push(line.to_owned());
        }));
        options.clock = Arc::new(move || time.load(Ordering::SeqCst));
    })
    .await;
    (bot, said, clock)
}

fn code(said: &Mutex<Vec<String>>) -> String {
    let said = said.lock().unwrap();
    let line = said.last().expect("no code was announced");
    line.rsplit("/start ").next().unwrap().trim().to_owned()
}

fn policy(bot: &Bot) -> Value {
    serde_json::from_str(&bot.file("admin/policy.json")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_code_to_an_admitted_stranger() {
    let (bot, said, clock) = careful().await;
    let (olga, bob) = (bot.api.private_chat("Olga"), bot.api.private_chat("Bob"));
    bot.says(&olga, "/start", "Nobody operates me yet").await;
    bot.says(
        &olga,
        &format!("/start {}", code(&said)),
        "You operate this bot now",
    )
    .await;
    assert_eq!(
        policy(&bot)["operators"],
        json!([format!("tg:{}", olga.id)])
    );

    // What the front says by itself it does not say to strangers.
    let late = json!({ "date": jiff::Timestamp::now().as_second() - 20 * 60 });
    let origin = json!({ "type": "user", "date": 1, "sender_user": { "id": 7, "is_bot": false, "first_name": "X" } });
    let forwarded = json!({ "forward_origin": origin, "forward_date": 1 });
    for extra in [&late, &forwarded] {
        bob.says_with("/mcp list", extra.clone());
    }
    bot.api.wait_for_confirmed().await;
    let id = format!("tg:{}", bob.id);
    bot.says(&bob, "/mcp", &id).await;
    assert_eq!(bot.api.messages(bob.place).len(), 1, "he was told more");
    bot.sees(olga.place, "wants to use me").await;
    // No more than once an hour, whatever comes.
    let told = bot.api.messages(bob.place).len();
    for text in ["/mcp", "/start", "please"] {
        bob.says(text);
    }
    bot.api.wait_for_confirmed().await;
    bot.house.desk.quiet().await;
    assert_eq!(
        bot.api.messages(bob.place).len(),
        told,
        "he was answered again"
    );
    assert!(bot.file(&format!("users/tg{}/mcp.json", bob.id)).is_empty());
    clock.fetch_add(HOUR_MS, Ordering::SeqCst);
    bot.says(&bob, "and now?", &id).await;

    bot.presses(&olga, "Allow", "may use me now").await;
    bot.sees(bob.place, "You may use me now").await;
    for (extra, told) in [(late, "20 minutes ago"), (forwarded, "does not run")] {
        bob.says_with("/mcp list", extra);
        bot.sees(bob.place, told).await;
    }
    bot.says(&bob, "/start", "There are no servers here yet")
        .await;
    bot.presses(&bob, "Try the demo server", "Add demo?").await;
    bot.presses(&bob, "Apply", "demo · 6 tools").await;
    bot.says(&bob, "/mcp add x -- npx -y x", "added by its operator")
        .await;
    bot.says(&olga, &format!("/admin block {}", bob.id), "may not use me")
        .await;
    let thread = switchboard::thread::ThreadId::telegram(bob.id, None);
    assert!(bot.house.registry.snapshot(thread).is_none());
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lets_a_group_in_and_names_people_by_reply() {
    let (bot, said, _) = careful().await;
    let olga = bot.api.private_chat("Olga");
    bot.says(
        &olga,
        &format!("/start {}", code(&said)),
        "You operate this bot now",
    )
    .await;
    let group = bot.api.supergroup("Workshop");
    let creator = group.member("Cleo", Role::Creator);
    let member = group.member("Mel", Role::Member);
    group.set_role(&olga, Role::Member);
    let there = olga.at(group.place());
    let chat = format!("tg{}", group.place().chat);
    bot.says(&member, "/mcp", &chat).await;

    // By a reply to what they wrote: the person, not the chat.
    let asked = member.says("/mcp list");
    there.replies(asked, "/admin allow");
    bot.sees(group.place(), &format!("tg:{} may use me now", member.id))
        .await;
    assert_eq!(
        policy(&bot)["allow"]["people"],
        json!([format!("tg:{}", member.id)])
    );
    bot.says(
        &there,
        "/admin allow here",
        &format!("{chat} may use me now"),
    )
    .await;
    assert_eq!(policy(&bot)["allow"]["chats"], json!([chat]));

    bot.says(
        &creator,
        "/mcp add demo -- switchboard demo-server",
        "Add demo?",
    )
    .await;
    bot.presses(&creator, "Apply", "demo · 6 tools").await;
    bot.says(
        &member,
        "/mcp remove demo",
        "Only the creator and the administrators",
    )
    .await;
    bot.says(&member, "/mcp call demo echo text=members", "members")
        .await;
    bot.says(&creator, "/settings", "Who may do what").await;
    bot.presses(&creator, "Administrators call", "Call tools: the creator")
        .await;
    bot.says(&member, "/mcp call demo echo text=again", "call tools here")
        .await;
    // The panel is for the private chat.
    bot.says(&there, "/admin", "in our private chat").await;
    bot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::disallowed_methods,
    reason = "the test starts the bot as an operator does"
)]
async fn the_program_prints_the_code_on_its_console() {
    let api = BotApi::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(PROGRAM)
        .args(["run", "--front", "telegram", "--data"])
        .arg(folder.path().join("data"))
        .env("TELOXIDE_TOKEN", TOKEN)
        .env("TELOXIDE_API_URL", api.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let console = BufReader::new(program.stderr.take().unwrap());
    let (sender, code) = tokio::sync::oneshot::channel();
    // Reads on to the end, so that the program never waits for a full pipe.
    let reading = std::thread::spawn(move || {
        let mut sender = Some(sender);
        for line in console.lines().map_while(Result::ok) {
            if let Some(code) = line.trim().strip_prefix("/start ")
                && let Some(sender) = sender.take()
            {
                let _ = sender.send(code.to_owned());
            }
        }
    });
    let code = within(code).await.expect("a code on the console");
    let ann = api.private_chat("Ann");
    ann.says(&format!("/start {code}"));
    api.wait_for_text(ann.place, "You operate this bot now")
        .await;
    let text = std::fs::read_to_string(folder.path().join("data/admin/policy.json")).unwrap();
    assert!(text.contains(&format!("tg:{}", ann.id)), "{text}");
    program.kill().unwrap();
    program.wait().unwrap();
    reading.join().unwrap();
}
