//! One secret of every kind goes through the bot, by every way there is; nothing that it writes or sends has any of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use switchboard::actor::Standing;
use switchboard::settings::{Flags, Settings};
use switchboard::thread::ThreadId;

use super::remote::idp::{Idp, through_our_page};
use super::remote::{LOCAL, open, token};
use super::secrets::{FORM, ask, with_pages_and};
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners, Wants};
use crate::support::world::{Person, World, misbehave};

const IN_A_LINE: &str = "line-Tq83/Wren+Vx";
const IN_AN_ARGUMENT: &str = "argument-Tq83-Wren-Vx";
const IN_A_FILE: &str = "file-Tq83-Wren-Vx";
const ANSWERED: &str = "answered-Tq83-Wren-Vx";
const EDITED: &str = "edited-Tq83-Wren-Vx";
const SET: &str = "set-Tq83/Wren+Vx";
const ON_A_PAGE: &str = "page-Tq83-Wren-Vx";
const BEARER: &str = "bearer-Tq83-Wren-Vx";
const HEADER: &str = "header-Tq83-Wren-Vx";
const ACCESS: &str = "access-Tq83-Wren-Vx";
const REFRESH: &str = "refresh-Tq83-Wren-Vx";
const CODE: &str = "code-Tq83-Wren-Vx";
const CLIENT_SECRET: &str = "client-Tq83-Wren-Vx";
const ID_TOKEN: &str = "id-Tq83-Wren-Vx";
const CALLED: &str = "called-Tq83-Wren-Vx";

const ALL: [&str; 15] = [
    IN_A_LINE,
    IN_AN_ARGUMENT,
    IN_A_FILE,
    ANSWERED,
    EDITED,
    SET,
    ON_A_PAGE,
    BEARER,
    HEADER,
    ACCESS,
    REFRESH,
    CODE,
    CLIENT_SECRET,
    ID_TOKEN,
    CALLED,
];

/// Each as it is, and as a server or a library may write it.
fn forms(word: &str) -> Vec<String> {
    let encoded: String = url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
    let mut forms = vec![
        word.to_owned(),
        word.to_uppercase(),
        encoded.to_lowercase(),
        encoded.replace('-', "%2D"),
        encoded,
    ];
    // In the middle of something that is encoded, from each of its three places.
    for before in ["", "x", "xx"] {
        let skip = before.len().div_ceil(3) * 4;
        for encoded in [
            STANDARD.encode(format!("{before}{word}")),
            URL_SAFE_NO_PAD.encode(format!("{before}{word}")),
        ] {
            let whole = encoded.trim_end_matches('=');
            forms.push(whole[skip..whole.len() - 2].to_owned());
        }
    }
    forms
}

/// All forms of all of them.
static FORMS: LazyLock<Vec<String>> = LazyLock::new(|| ALL.into_iter().flat_map(forms).collect());

/// What was logged and should not have been, by the whole process.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reads the log, and keeps what has a canary in it.
#[derive(Default)]
struct Reader;

impl Write for Reader {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        // The others of this process log as well; what every form has in it is unlikely enough elsewhere.
        if FORMS.iter().any(|form| text.contains(form)) || text.contains("log begins") {
            LOGGED.lock().unwrap().push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As an operator who wants to know everything.
fn read_the_log() {
    let environment = [("SWITCHBOARD_LOG".into(), "trace".into())];
    let settings = Settings::read(&Flags::default(), environment).unwrap();
    settings.log_to(Reader::default);
    tracing::trace!(target: "switchboard", "log begins");
    let begun = LOGGED.lock().unwrap().drain(..).count();
    assert_eq!(begun, 1, "the log is not read");
}

/// No file below the folder has any of it, whatever it is for, and neither has its name.
fn look_through(folder: &Path) {
    look_for(folder, &FORMS);
}

fn look_for(folder: &Path, forms: &[String]) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_folder = path.symlink_metadata().is_ok_and(|kind| kind.is_dir());
            let bytes = if is_folder {
                folders.push(path.clone());
                Vec::new()
            } else {
                // A temporary file may be gone meanwhile.
                std::fs::read(&path).unwrap_or_default()
            };
            let text = format!("{}\n{}", path.display(), String::from_utf8_lossy(&bytes));
            let found = |line: &&str| forms.iter().any(|form| line.contains(form));
            let lines: Vec<&str> = text.lines().filter(found).collect();
            assert_eq!(lines, [""; 0], "in {}", path.display());
        }
    }
}

/// Nor has a command line, but for what somebody wrote into the arguments of their own server: there it is given.
fn look_at_command_lines() {
    let given = [IN_AN_ARGUMENT, ANSWERED].map(forms).concat();
    for process in std::fs::read_dir("/proc").unwrap() {
        // One that has ended meanwhile has none.
        let line = std::fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let found = FORMS.iter().find(|form| line.contains(*form));
        let found = found.filter(|form| !given.contains(form));
        assert_eq!(found, None, "{line}");
    }
}

struct Scene<'a> {
    world: &'a World,
    ann: Person<'a>,
}

impl Scene<'_> {
    async fn says(&self, text: &str) -> String {
        let seen = self.ann.says(text).await;
        look_through(&self.world.data());
        look_at_command_lines();
        seen
    }

    async fn presses(&self, label: &str) -> String {
        let seen = self.ann.presses(label).await;
        look_through(&self.world.data());
        seen
    }

    async fn sees(&self, words: &str) {
        let told = |text: &str| text.contains(words);
        self.world
            .sees(LOCAL, |shown| told(&plain(&shown.view)))
            .await;
        look_through(&self.world.data());
    }

    /// Servers on the bot's machine.
    async fn local(&self) {
        let program = misbehave();
        let program = program.display();
        self.says(&format!(
            "/mcp add line -e API_TOKEN={IN_A_LINE} -- {program} --api-key {IN_AN_ARGUMENT} 'say=password: {IN_AN_ARGUMENT}'"
        ))
        .await;
        self.presses("Apply").await;
        let file = json!({"mcpServers": {"file": {"command": program.to_string(), "env": {"API_TOKEN": IN_A_FILE}}}});
        let bytes = serde_json::to_vec(&file).unwrap();
        self.ann
            .sends("claude_desktop_config.json", &bytes, "")
            .await;
        look_through(&self.world.data());
        self.presses("Apply").await;
        for answer in [
            "/mcp add answered",
            &format!("{program} --token={ANSWERED}"),
            &format!("API_TOKEN={ANSWERED}"),
        ] {
            self.says(answer).await;
        }
        self.presses("Skip").await;
        self.presses("Apply").await;
        self.says(&format!("/mcp edit answered env.API_TOKEN={EDITED}"))
            .await;
        self.presses("Apply").await;
        self.says(&format!("/mcp secrets set SET_TOKEN {SET}"))
            .await;
        self.says("/mcp edit file 'env.MORE=a${secret:SET_TOKEN}b'")
            .await;
        self.presses("Apply").await;
        // What servers tell of them, in each form.
        for server in ["line", "file", "answered"] {
            let told = self.says(&format!("/mcp call {server} env")).await;
            assert!(told.contains("••••"), "{told}");
            for word in [IN_A_LINE, IN_AN_ARGUMENT, IN_A_FILE, EDITED, SET] {
                let encoded = STANDARD.encode(format!("user:{word}"));
                let in_a_url: String =
                    url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
                for text in [word, &encoded, &in_a_url] {
                    self.says(&format!("/mcp call {server} echo text={text}"))
                        .await;
                }
            }
        }
        // One that was never kept, given to a tool by its name.
        self.says(&format!("/mcp call line echo token={CALLED}"))
            .await;
        self.says(&format!(
            "/mcp call line error token={CALLED} password={SET}"
        ))
        .await;
    }

    /// Servers on the network.
    async fn remote(&self, far: &Far, guarded: &Far, idp: &Idp) {
        self.says(&format!(
            "/mcp connect bearer {} --bearer {BEARER}",
            far.url()
        ))
        .await;
        self.presses("Apply").await;
        self.says(&format!("/mcp edit bearer 'headers.X-Key={HEADER}'"))
            .await;
        self.presses("Apply").await;
        self.says("/mcp call bearer echo text=x").await;
        {
            let mut seen = idp.seen.lock().unwrap();
            (seen.gives, seen.refreshes_by) = (Some(ACCESS), Some(REFRESH));
            (seen.client_secret, seen.id_token) = (Some(CLIENT_SECRET), Some(ID_TOKEN));
        }
        self.says(&format!("/mcp connect hub {}", guarded.url()))
            .await;
        self.presses("Apply").await;
        through_our_page(self.world, LOCAL, &format!("code={CODE}")).await;
        self.sees("[Finish]").await;
        self.presses("Finish").await;
        self.sees("Logged in to *hub*").await;
        let called = self.says("/mcp call hub echo text=x").await;
        assert!(called.contains('x'), "{called}");
    }

    async fn page(&self, at: std::net::SocketAddr) {
        self.says("/mcp secrets set PAGE_TOKEN").await;
        let link = self.world.chat.newest(LOCAL).view.links.remove(0).url;
        let path = link.strip_prefix(&format!("http://{at}/base")).unwrap();
        let form = format!("{FORM}Sec-Fetch-Site: same-origin\r\n");
        let answer = ask(at, "POST", path, &form, &format!("value={ON_A_PAGE}")).await;
        assert!(
            answer.contains("Thank you") && !answer.contains("Tq83"),
            "{answer}"
        );
        self.sees("is kept").await;
    }

    /// Every screen there is about them, and every file that is sent.
    async fn looks(&self) {
        for line in [
            "/mcp",
            "/mcp list",
            "/mcp secrets",
            "/mcp status",
            "/mcp history",
            "/mcp audit",
            "/mcp audit 100",
            "/mcp audit line",
            "/mcp audit file",
            "/mcp audit verify",
            "/mcp download",
            "/mcp download remote",
            "/admin",
            "/mcp undo",
        ] {
            self.says(line).await;
        }
        for server in ["line", "file", "answered", "bearer", "hub"] {
            for command in ["show", "test", "logs", "tools", "restart"] {
                self.says(&format!("/mcp {command} {server}")).await;
            }
        }
        for server in ["line", "bearer", "hub"] {
            self.says(&format!("/mcp remove {server}")).await;
            self.presses("Apply").await;
            self.presses("Undo").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d33_nothing_that_is_written_or_sent_has_a_secret_in_it() {
    read_the_log();
    let idp = Idp::start().await;
    let wants = Wants::Token {
        tokens: vec![ACCESS.to_owned()],
        challenge: Some(idp.challenge()),
        metadata: false,
    };
    let guarded = Far::start(Manners::default().wanting(wants)).await;
    let far = Far::start(Manners::default().wanting(token(BEARER))).await;
    idp.seen.lock().unwrap().resource = guarded.url();
    let (world, at) = with_pages_and(open).await;
    world.chat.forbid(FORMS.iter().cloned());
    let scene = Scene {
        world: &world,
        ann: world.ann(),
    };
    scene.local().await;
    scene.page(at).await;
    scene.remote(&far, &guarded, &idp).await;
    scene.looks().await;
    // They were really there, each where it belongs.
    let seen = format!("{:?}{:?}", far.seen(), guarded.seen());
    for word in [BEARER, HEADER, ACCESS] {
        assert!(seen.contains(word), "{word} was never sent");
    }
    {
        let seen = idp.seen.lock().unwrap();
        assert!(seen.codes.contains(&CODE.to_owned()));
        assert!(seen.client_secrets.contains(&CLIENT_SECRET.to_owned()));
        // Made by the bot, so known only now: not one byte of them was shown or stands in a file.
        let verifiers: Vec<String> = seen.verifiers.iter().flat_map(|word| forms(word)).collect();
        assert!(!verifiers.is_empty());
        let shown = world.transcript(LOCAL);
        for form in &verifiers {
            assert!(!shown.contains(form.as_str()), "{shown}");
        }
        look_for(&world.data(), &verifiers);
    }
    let data = world.data();
    let kept = world.chat.leaks();
    assert_eq!(kept, [""; 0]);
    let world = world.restarted_with(open).await;
    let again = world.ann().says("/mcp call file env").await;
    assert!(again.contains("••••"), "{again}");
    assert_eq!(world.chat.leaks(), [""; 0]);
    world.chat.forbid([]);
    look_through(&data);
    assert_eq!(*LOGGED.lock().unwrap(), [""; 0]);
    world.close().await;
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a program of the tests, and no server"
)]
fn d33_a_panic_does_not_say_what_it_was_about() {
    // None of the others, which are looked for on command lines meanwhile.
    const TYPED: &str = "typed-Zk41-Wren-Vx";
    let output = Command::new(misbehave())
        .arg(format!("panics={TYPED}"))
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("misbehave.rs:") && told.contains("withheld"),
        "{told}"
    );
    for form in forms(TYPED) {
        assert!(!told.contains(&form), "{told}");
    }
}

/// What a careless hand may paste in the place of a name, and the part that is a key.
const PASTED: [(&str, &str); 3] = [
    (
        "http://h.example/?apiKey=leakSECRETkey08",
        "leakSECRETkey08",
    ),
    (
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "0123456789abcdefghij",
    ),
    (
        "github_pat_11ABCDEFG0abcdefghijkl_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR",
        "11ABCDEFG0abcdefghijkl",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_typed_in_the_place_of_a_name_is_not_repeated() {
    let group = ThreadId::telegram(-100_700, None);
    let world = World::open_with(open);
    let ann = world.person("ann", group, false);
    world.chat.set_standing(&ann.id(), Standing::Administrator);
    ann.says("/mcp add demo -- switchboard demo-server").await;
    ann.presses("Apply").await;
    let lower = PASTED.map(|(_, key)| key.to_lowercase());
    let keys = PASTED.map(|(_, key)| key.to_owned());
    world.chat.forbid(keys.into_iter().chain(lower));
    let mut lines = vec![
        "/mcp KEY".to_owned(),
        "/mcp KEY demo".to_owned(),
        "/mcp help KEY".to_owned(),
        "/help KEY".to_owned(),
        "/mcp secrets KEY".to_owned(),
        "/mcp secrets set KEY".to_owned(),
        "/mcp secrets set KEY for demo".to_owned(),
        "/mcp secrets set NAME for KEY".to_owned(),
        "/mcp secrets remove KEY".to_owned(),
        "/mcp audit KEY".to_owned(),
        "/mcp add-json KEY {}".to_owned(),
        r#"/mcp add-json {"mcpServers": {"KEY": {"command": "x"}}}"#.to_owned(),
        r#"/mcp add-json {"mcpServers": {"x": {"command": "x", "KEY": 1}}}"#.to_owned(),
        "/mcp add KEY -- switchboard demo-server".to_owned(),
        "/mcp add 'KEY".to_owned(),
        "/mcp add x --KEY y".to_owned(),
        "/mcp call demo__KEY".to_owned(),
        "/mcp call demo echo KEY".to_owned(),
        "/mcp call demo echo KEY=1".to_owned(),
        r#"/mcp call demo echo {"KEY": 1}"#.to_owned(),
        "/mcp call demo echo {\"text\": \"KEY\"".to_owned(),
        "/mcp edit demo KEY=1".to_owned(),
        "/mcp edit demo env.KEY=".to_owned(),
        "/mcp tools demo echo mode=KEY".to_owned(),
        "/mcp rename demo KEY".to_owned(),
        "/admin KEY".to_owned(),
        "/admin allow KEY".to_owned(),
        "/start KEY".to_owned(),
        "/settings KEY".to_owned(),
        "/mcp connect x KEY".to_owned(),
    ];
    for entry in switchboard::command::TABLE {
        lines.push(format!("/mcp {} KEY", entry.name));
        lines.push(format!("/mcp {} demo KEY", entry.name));
        lines.push(format!("/mcp {} KEY KEY", entry.name));
    }
    for (pasted, _) in PASTED {
        for line in &lines {
            let said = line.replace("KEY", pasted);
            let before = world.chat.deleted().len();
            ann.says(&said).await;
            assert_eq!(world.chat.leaks(), [""; 0], "after {line}");
            assert!(
                world.chat.deleted().len() > before,
                "{line} stands there still"
            );
            ann.says("/cancel").await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_no_name_of_a_secret() {
    const KEY: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let world = World::open();
    let ann = world.ann();
    for line in [
        "/mcp secrets set KEY",
        "/mcp secrets set KEY value",
        "/mcp secrets set KEY for demo",
        "/mcp secrets set NAME for KEY",
        "/mcp secrets remove KEY",
    ] {
        let said = ann.says(&line.replace("KEY", KEY)).await;
        assert!(said.contains("looks like a key itself"), "{line}: {said}");
    }
    assert!(!ann.says("/mcp secrets").await.contains("ghp_"));
    ann.says(&format!("/mcp add {KEY} -- switchboard demo-server"))
        .await;
    let named = world.transcript(LOCAL);
    assert!(
        named.contains("call it `server`") && named.contains("Add server?"),
        "{named}"
    );
    world.close().await;
}

/// A secret so short that it is not looked for in free text.
const SHORT: &str = "q7z";

#[tokio::test(flavor = "multi_thread")]
async fn a_short_secret_that_is_just_typed_is_not_repeated() {
    let far = Far::start(Manners::default().wanting(Wants::Token {
        tokens: vec!["another".to_owned()],
        challenge: Some(
            "Bearer error=\"invalid_token\", error_description=\"{token} is no token\"",
        ),
        metadata: false,
    }))
    .await;
    let group = ThreadId::telegram(-100_700, None);
    for thread in [LOCAL, group] {
        let world = World::open_with(open);
        let ann = world.person("ann", thread, thread == LOCAL);
        world.chat.set_standing(&ann.id(), Standing::Administrator);
        ann.says("/mcp add demo -- switchboard demo-server").await;
        ann.presses("Apply").await;
        world.chat.forbid([SHORT.to_owned()]);
        let lines = [
            "/mcp secrets set TOKEN KEY",
            "/mcp secrets set TOKEN for demo KEY",
            "/mcp secrets set TOKEN for nobody KEY",
            "/mcp secrets set TO/KEN KEY",
            "/mcp secrets set TOKEN=KEY",
            "/mcp secrets set TOKEN \"KEY",
            "/mcp secrets set TOKEN KEY KEY",
            "/mcp secrets put TOKEN KEY",
            "/mcp connect x URL --bearer KEY",
            "/mcp connect x URL --bearer=KEY",
            "/mcp connect x URL --bearer KEY KEY",
            "/mcp connect x URL --bearer KEY --none",
            "/mcp connect x URL --bearer KEY --bearer KEY",
            "/mcp connect x URL --bearer KEY --nonsense",
            "/mcp connect x URL --bearer \"KEY",
            "/mcp connect x/y URL --bearer KEY",
            "/mcp connect demo URL --bearer KEY",
            "/mcp connect x nothing --bearer KEY",
            "/mcp connect x URL --api-key X-Key=KEY",
            "/mcp connect x URL --api-key X-Key KEY",
            "/mcp connect x URL --api-key KEY",
            "/mcp connect x URL --api-key 'X Key=KEY'",
            "/mcp connect x URL --header 'X-Api-Key: KEY'",
            "/mcp connect x URL --header 'Authorization: Bearer KEY'",
            "/mcp connect x URL --header 'X Api Key: KEY'",
            "/mcp connect x URL?apiKey=KEY",
            "/mcp connect x URL?apiKey=KEY --nonsense",
            "/mcp add x -e TOKEN=KEY -- switchboard demo-server",
            "/mcp add x -e TOKEN=KEY",
            "/mcp add x -e TOKEN=KEY --nonsense -- switchboard demo-server",
            "/mcp add x -e TOKEN=\"KEY -- switchboard demo-server",
            "/mcp add x -- switchboard demo-server --token KEY",
            "/mcp add x -- switchboard demo-server --api-key=KEY",
            "/mcp add-json x {\"command\":\"switchboard\",\"args\":[\"demo-server\"],\"env\":{\"TOKEN\":\"KEY\"}}",
            "/mcp add-json x {\"command\":1,\"env\":{\"TOKEN\":\"KEY\"}}",
            "/mcp add-json x {\"command\":\"x\",\"env\":{\"TOKEN\":\"KEY\"}",
            "/mcp add-json x {\"url\":\"URL\",\"headers\":{\"Authorization\":\"Bearer KEY\"}}",
            "/mcp edit demo env.TOKEN=KEY",
            "/mcp edit demo env.TOKEN=KEY nonsense=1",
            "/mcp edit demo env.TOKEN=\"KEY",
        ];
        let mut leaks = Vec::new();
        // What asks, and its answer.
        let answered = [
            ["/mcp secrets set TOKEN", "KEY"],
            ["/mcp connect x URL --bearer", "KEY"],
            ["/mcp connect x URL --bearer", "two KEY"],
            ["/mcp edit demo", "env TOKEN=KEY"],
        ];
        for line in answered.into_iter().flatten().chain(lines) {
            let said = line.replace("URL", &far.url()).replace("KEY", SHORT);
            ann.says(&said).await;
            for leak in world.chat.leaks() {
                leaks.push(format!("{line}: {leak}"));
            }
            if line.contains("KEY") {
                ann.says("/cancel").await;
            }
        }
        assert_eq!(leaks, [""; 0]);
        world.close().await;
    }
}
