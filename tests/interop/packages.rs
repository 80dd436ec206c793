//! A package of npm in a chat: what people are told before it is installed, while it is, and that it is installed once.

use std::net::IpAddr;

use switchboard::policy::AddressRules;
use switchboard::sandbox::Choice;
use switchboard::thread::ThreadId;

use crate::support::chat::plain;
use crate::support::world::World;
use crate::ways_out::registries;

const LINE: &str = "/mcp add every -- npx -y @modelcontextprotocol/server-everything";

fn open() -> World {
    World::open_with(|options| {
        options.registry.packages = true;
        options.sandbox = Choice::Auto;
        options.net.rules = AddressRules {
            allow: registries().into_iter().map(IpAddr::into).collect(),
            ..AddressRules::default()
        };
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_an_installation_is_announced_shown_and_made_once() {
    let world = open();
    let ann = world.ann();
    let proposal = ann.says(LINE).await;
    let package = proposal
        .split("Applying this installs the package ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("it is not announced:\n{proposal}"))
        .trim_matches('`')
        .to_owned();
    let version = package.rsplit('@').next().unwrap();
    assert!(
        version.split('.').count() == 3 && version.starts_with(|c: char| c.is_ascii_digit()),
        "{package}"
    );
    assert!(
        proposal.contains(&format!("+        \"{package}\"")),
        "{proposal}"
    );
    let installing = world.glimpses(ThreadId::Local, |text| {
        text.contains("installing") && text.contains(&package)
    });
    let (applied, _) = tokio::join!(ann.presses("Apply"), installing);
    assert!(applied.contains("✅ Applied"), "{applied}");
    world
        .sees(ThreadId::Local, |message| {
            plain(&message.view).contains("*every* · 13 tools")
        })
        .await;

    // From now on without the registry: in this bot and after its restart.
    ann.says("/mcp restart every").await;
    let called = ann.says("/mcp call every echo message=again").await;
    assert!(called.contains("Echo: again"), "{called}");
    let world = world
        .restarted_with(|options| {
            options.registry.packages = true;
            options.sandbox = Choice::Auto;
        })
        .await;
    let called = world.ann().says("/mcp call every echo message=later").await;
    assert!(called.contains("Echo: later"), "{called}");
    let audit = world.data().join("state/local/audit.jsonl");
    let audit = std::fs::read_to_string(audit).unwrap();
    let installed = audit.lines().filter(|line| line.contains("\"installed\""));
    assert_eq!(installed.count(), 1, "{audit}");
    let started = audit.lines().filter(|line| line.contains("\"started\""));
    assert!(started.count() >= 3, "{audit}");
    world.close().await;
}
