//! Logins: the link, the way back, Finish, and the end.

use std::time::Duration;

use switchboard::actor::Standing;
use switchboard::app::HouseOptions;
use switchboard::chat::Answer;
use switchboard::thread::ThreadId;

use super::idp::{Idp, Protected, TOKEN, link_in, pasted_and_finished, through_our_page, way_back};
use super::{CANARY, LOCAL, nowhere, open, remote, screen, world};
use crate::support::chat::plain;
use crate::support::hostile::{Far, Manners, Speaks, Wants};
use crate::support::world::World;

/// An access token with more rights.
const MORE: &str = "more-Zx81-hush-hush";

fn open_with_page(options: &mut HouseOptions) {
    open(options);
    options.public_url = Some(url::Url::parse("https://bot.example").unwrap());
}

async fn protected() -> (Idp, Far) {
    let Protected { idp, far } = Protected::start().await;
    (idp, far)
}

/// The same in every run.
fn steady(idp: &Idp, far: &Far, text: &str) -> String {
    let text = match link_in(text) {
        Some(link) => text.replace(&link, "LINK"),
        None => text.to_owned(),
    };
    let host = idp.base.replace("http://", "");
    screen(far, &text.replace(&host, "idp.example:2"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_public_url_is_pasted_back() {
    let (world, (idp, far)) = (world(), protected().await);
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    let invited = ann.presses("Apply").await;
    insta::assert_snapshot!("invitation", steady(&idp, &far, &invited));
    insta::assert_snapshot!(
        "needs_login",
        steady(&idp, &far, &ann.says("/mcp show hub").await)
    );
    insta::assert_snapshot!(
        "call_needs_login",
        steady(&idp, &far, &ann.says("/mcp call hub echo text=x").await)
    );
    let back = way_back(&invited);
    ann.says(&back).await;
    assert_eq!(world.chat.deleted().len(), 1, "the code stays in the chat");
    world
        .sees(LOCAL, |shown| plain(&shown.view).contains("[Finish]"))
        .await;
    // Twice it says nothing new.
    let again = ann.says(&back).await;
    assert!(again.contains("press Finish"), "{again}");
    ann.presses("Finish").await;
    let done = world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    insta::assert_snapshot!("logged_in", steady(&idp, &far, &plain(&done.view)));
    let called = ann.says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    // A login is no text of anybody's: neither code nor token is seen.
    let transcript = world.transcript(LOCAL);
    assert!(
        !transcript.contains(TOKEN) && !transcript.contains("c-1&"),
        "{transcript}"
    );
    insta::assert_snapshot!(
        "logged_out",
        steady(&idp, &far, &ann.says("/mcp logout hub").await)
    );
    assert!(!idp.seen.lock().unwrap().revoked.is_empty());
    let shown = ann.says("/mcp list").await;
    assert!(shown.contains("*hub* · needs login"), "{shown}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_is_logged_out_of_and_undo_asks_again() {
    let (world, (idp, far)) = (world(), protected().await);
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    let invited = ann.presses("Apply").await;
    pasted_and_finished(&world, &invited).await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    let id = remote(&world, LOCAL)["mcpServers"]["hub"]["auth"]["oauth"].clone();
    ann.says("/mcp remove hub").await;
    ann.presses("Apply").await;
    assert_eq!(world.house.store.credentials(LOCAL).unwrap(), []);
    assert!(!idp.seen.lock().unwrap().revoked.is_empty());
    let proposal = ann.presses("Undo").await;
    assert!(proposal.contains("Its login is forgotten"), "{proposal}");
    let back = ann.presses("Apply").await;
    assert!(
        back.contains("*hub* · needs login") && back.contains("[Log in]"),
        "{back}"
    );
    assert_eq!(
        remote(&world, LOCAL)["mcpServers"]["hub"]["auth"]["oauth"],
        id
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_a_restart_and_ends_with_a_word() {
    let (mut world, (_idp, far)) = (world(), protected().await);
    world
        .ann()
        .says(&format!("/mcp connect hub {}", far.url()))
        .await;
    let invited = world.ann().presses("Apply").await;
    world = world.restarted_with(open).await;
    pasted_and_finished(&world, &invited).await;
    let done = world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    assert!(
        plain(&done.view).contains("8 tools"),
        "{}",
        plain(&done.view)
    );
    world.ann().says("/mcp logout hub").await;
    world.ann().says("/mcp login hub").await;
    let cancelled = world.ann().presses("Cancel").await;
    assert!(cancelled.contains("Cancelled the login"), "{cancelled}");
    let over = world.ann().says(&way_back(&invited)).await;
    assert!(over.contains("No login of yours waits here"), "{over}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d25_what_is_pasted_is_its_beginners_and_shows_the_account_before_it_is_used() {
    for (email, shown_as) in [
        (Some("mallory@example.com"), "`mallory@example.com`"),
        (None, "it does not say whose"),
    ] {
        let (world, (idp, far)) = (world(), protected().await);
        idp.seen.lock().unwrap().email = email;
        let group = ThreadId::telegram(-7, None);
        let elsewhere = ThreadId::telegram(-8, None);
        let (ann, bob) = (
            world.person("Ann", group, false),
            world.person("Bob", group, false),
        );
        for person in [&ann, &bob] {
            world
                .chat
                .set_standing(&person.id(), Standing::Administrator);
        }
        ann.says(&format!("/mcp connect hub {}", far.url())).await;
        ann.presses("Apply").await;
        let invited = world
            .sees(group, |shown| link_in(&plain(&shown.view)).is_some())
            .await;
        let back = way_back(&plain(&invited.view));
        // Another's, and in another thread.
        let refused = bob.says(&back).await;
        assert!(refused.contains("No login of yours"), "{refused}");
        let there = world.person("Ann", elsewhere, false);
        let refused = there.says(&back).await;
        assert!(refused.contains("No login of yours"), "{refused}");
        let codes = || idp.seen.lock().unwrap().codes.len();
        assert_eq!(codes(), 0, "the code was used");

        ann.says(&back).await;
        let arrived = world
            .sees(group, |shown| plain(&shown.view).contains("[Finish]"))
            .await;
        let arrived = plain(&arrived.view);
        assert!(
            arrived.contains(&format!("Account: {shown_as}")) && arrived.contains("[Cancel]"),
            "{arrived}"
        );
        let credentials = || world.house.store.credentials(group).unwrap().len();
        let is_used = || far.count(|seen| seen.header("authorization").is_some()) > 0;
        assert_eq!((codes(), credentials(), is_used()), (1, 0, false));
        bob.presses("Finish").await;
        assert_eq!((credentials(), is_used()), (0, false), "Bob finished it");
        // It is not hers, so she does not want it.
        ann.presses("Cancel").await;
        world.house.desk.quiet().await;
        let over = ann.says(&back).await;
        assert!(over.contains("No login of yours"), "{over}");
        assert_eq!((codes(), credentials(), is_used()), (1, 0, false));
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_our_page_the_beginner_alone_finishes() {
    let world = World::open_with(open_with_page);
    let (idp, far) = protected().await;
    let group = ThreadId::telegram(-7, None);
    let (ann, bob) = (
        world.person("Ann", group, false),
        world.person("Bob", group, false),
    );
    for person in [&ann, &bob] {
        world
            .chat
            .set_standing(&person.id(), Standing::Administrator);
    }
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    ann.presses("Apply").await;
    let shown = world
        .sees(group, |shown| !shown.view.links.is_empty())
        .await;
    let link = url::Url::parse(&shown.view.links[0].url).unwrap();
    let text = plain(&shown.view).replace(link.as_str(), "LINK");
    insta::assert_snapshot!("invitation_group", steady(&idp, &far, &text));
    let arrival = through_our_page(&world, group, "code=c-1").await;
    let arrived = world
        .sees(group, |shown| plain(&shown.view).contains("[Finish]"))
        .await;
    insta::assert_snapshot!("arrived", steady(&idp, &far, &plain(&arrived.view)));
    bob.presses("Finish").await;
    let answer = world.chat.answers().pop();
    assert!(
        matches!(&answer, Some(Answer::Alert(text)) if text.contains("Only Ann")),
        "{answer:?} {arrival:?}"
    );
    // Nor does who may configure no more.
    world.chat.set_standing(&ann.id(), Standing::Member);
    ann.presses("Finish").await;
    let credentials = || world.house.store.credentials(group).unwrap();
    assert_eq!(credentials(), []);
    world.chat.set_standing(&ann.id(), Standing::Administrator);
    ann.presses("Finish").await;
    let done = world
        .sees(group, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    assert_eq!(credentials().len(), 1);
    assert!(
        plain(&done.view).contains("8 tools"),
        "{}",
        plain(&done.view)
    );
    assert_eq!(done.id, arrived.id, "another message");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_came_or_nobody_is_known() {
    let (world, (idp, far)) = (world(), protected().await);
    idp.seen.lock().unwrap().registers = false;
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    insta::assert_snapshot!(
        "needs_client_id",
        steady(&idp, &far, &ann.presses("Apply").await)
    );
    let invited = ann.says("/mcp login hub --client-id mine").await;
    let link = link_in(&invited).expect("no link");
    assert!(link.contains("client_id=mine"), "{link}");
    // The next one needs no client id.
    ann.presses("Cancel").await;
    let again = ann.says("/mcp login hub").await;
    assert!(
        link_in(&again).unwrap().contains("client_id=mine"),
        "{again}"
    );
    world.pass(Duration::from_mins(16));
    let over = ann.says(&way_back(&again)).await;
    assert!(over.contains("over"), "{over}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_login_and_means_a_key_is_given_one() {
    let wants = Wants::Token {
        tokens: vec![CANARY.to_owned()],
        challenge: Some("Bearer"),
        metadata: false,
    };
    let (world, far) = (world(), Far::start(Manners::default().wanting(wants)).await);
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    let none = ann.presses("Apply").await;
    assert!(none.contains("could not begin a login to *hub*"), "{none}");
    let asked = ann.presses("Use a key or token").await;
    assert!(asked.contains("[A token]"), "{asked}");
    ann.presses("A token").await;
    ann.says(CANARY).await;
    let applied = ann.presses("Apply").await;
    assert!(applied.contains("*hub* · 8 tools"), "{applied}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_the_way_back_is_answered() {
    let (world, (_idp, far)) = (world(), protected().await);
    let ann = world.ann();
    let nothing = ann.says("https://mcp.example.com/mcp").await;
    assert!(nothing.contains("/mcp connect"), "{nothing}");
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    let invited = ann.presses("Apply").await;
    let wrong = ann.says("http://127.0.0.1:8787/").await;
    assert!(wrong.contains("not where a login ends"), "{wrong}");
    pasted_and_finished(&world, &invited).await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_wants_more_rights_leads_to_a_login_for_them() {
    let (world, (idp, far)) = (world(), protected().await);
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", far.url())).await;
    let invited = ann.presses("Apply").await;
    pasted_and_finished(&world, &invited).await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    far.change(|manners| {
        manners.more_rights = Some(("echo", MORE));
        if let Wants::Token { tokens, .. } = &mut manners.wants {
            tokens.push(MORE.to_owned());
        }
    });
    insta::assert_snapshot!(
        "more_rights",
        steady(&idp, &far, &ann.says("/mcp call hub echo text=x").await)
    );
    idp.seen.lock().unwrap().gives = Some(MORE);
    let asked = ann.presses("Log in").await;
    // What was granted before is asked for again, beside the new.
    let link = link_in(&asked).expect("no link");
    let scope = url::Url::parse(&link).unwrap();
    let scope = scope.query_pairs().find(|(key, _)| key == "scope");
    let scope = scope.map(|(_, scope)| scope.into_owned());
    let scope = scope.unwrap_or_default();
    assert!(
        scope.split(' ').any(|one| one == "more") && scope.split(' ').any(|one| one == "read"),
        "{scope}"
    );
    let told = world.chat.messages(LOCAL).len();
    pasted_and_finished(&world, &asked).await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
                && world.chat.messages(LOCAL).len() >= told
        })
        .await;
    let called = ann.says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_comes_to_nothing_is_told_with_a_way_on() {
    for (answer, words) in [
        ("error=access_denied", "You said no there"),
        ("error=server_error&error_description=it+rains", "failed"),
        ("", "Nobody came back"),
    ] {
        let (world, hub) = (World::open_with(open_with_page), Protected::start().await);
        let ann = world.ann();
        ann.says(&format!("/mcp connect hub {}", hub.far.url()))
            .await;
        ann.presses("Apply").await;
        if answer.is_empty() {
            world.pass(Duration::from_mins(16));
            // The clock is looked at each minute, and whenever a login begins.
            let bob = world.person("Bob", ThreadId::telegram(5, None), true);
            bob.says(&format!("/mcp connect hub {}", hub.far.url()))
                .await;
            bob.presses("Apply").await;
        } else {
            through_our_page(&world, LOCAL, answer).await;
        }
        let told = world
            .sees(LOCAL, |shown| plain(&shown.view).contains(words))
            .await;
        let told = plain(&told.view);
        assert!(
            told.contains("[Log in again]") && told.contains("*hub*"),
            "{answer}: {told}"
        );
        // It is over, and the way on leads in.
        ann.presses("Log in again").await;
        through_our_page(&world, LOCAL, "code=c-1").await;
        world
            .sees(LOCAL, |shown| plain(&shown.view).contains("[Finish]"))
            .await;
        ann.presses("Finish").await;
        let called = ann.says("/mcp call hub echo text=hello").await;
        assert!(called.contains("hello"), "{answer}: {called}");
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_the_way_back_and_finish_loses_nothing() {
    let (world, hub) = (World::open_with(open_with_page), Protected::start().await);
    world
        .ann()
        .says(&format!("/mcp connect hub {}", hub.far.url()))
        .await;
    world.ann().presses("Apply").await;
    through_our_page(&world, LOCAL, "code=c-1").await;
    world
        .sees(LOCAL, |shown| plain(&shown.view).contains("[Finish]"))
        .await;
    let world = world.restarted_with(open_with_page).await;
    world.ann().presses("Finish").await;
    let done = world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    let done = plain(&done.view);
    assert!(done.contains("8 tools"), "{done}");
    assert_eq!(hub.idp.seen.lock().unwrap().codes, ["c-1"]);
    let called = world.ann().says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_at_what_a_server_speaks_is_corrected_after_the_login() {
    let (world, hub) = (world(), Protected::speaking(Speaks::Legacy).await);
    let ann = world.ann();
    ann.says(&format!("/mcp connect hub {}", hub.far.url()))
        .await;
    let invited = ann.presses("Apply").await;
    let kind = || remote(&world, LOCAL)["mcpServers"]["hub"]["type"].clone();
    assert_eq!(kind(), "http");
    pasted_and_finished(&world, &invited).await;
    let proposed = world
        .sees(LOCAL, |shown| plain(&shown.view).contains("[Apply]"))
        .await;
    insta::assert_snapshot!(
        "other_way",
        steady(&hub.idp, &hub.far, &plain(&proposed.view))
    );
    assert_eq!(kind(), "http", "nobody agreed to it yet");
    ann.presses("Apply").await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("*hub* · 8 tools")
        })
        .await;
    assert_eq!(kind(), "sse");
    let called = ann.says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d27_a_login_at_an_address_with_a_key_never_shows_the_key() {
    let (world, (idp, far)) = (world(), protected().await);
    let ann = world.ann();
    let keyed = format!("{}?apiKey={CANARY}", far.url());
    // The server names the whole address: no link carries that.
    idp.seen.lock().unwrap().resource = keyed.clone();
    ann.says(&format!("/mcp connect hub {keyed}")).await;
    let refused = ann.presses("Apply").await;
    insta::assert_snapshot!("login_with_a_key_refused", steady(&idp, &far, &refused));
    // It names itself without the key.
    idp.seen.lock().unwrap().resource = far.url();
    let invited = ann.says("/mcp login hub").await;
    let link = link_in(&invited).expect(&invited);
    let named = url::Url::parse(&link).unwrap();
    let mut named = named.query_pairs();
    let resource = named.find(|(name, _)| name == "resource").unwrap().1;
    assert_eq!(resource, far.url());
    pasted_and_finished(&world, &invited).await;
    world
        .sees(LOCAL, |shown| {
            plain(&shown.view).contains("Logged in to *hub*")
        })
        .await;
    let called = ann.says("/mcp call hub echo text=hello").await;
    assert!(called.contains("hello"), "{called}");
    let last = far.seen().into_iter().rfind(|seen| seen.path == "/mcp");
    assert_eq!(last.unwrap().query, format!("apiKey={CANARY}"));
    nowhere(&world, LOCAL);
    // Without a value for the key there is no address to ask.
    ann.says("/mcp secrets remove HUB_APIKEY").await;
    ann.presses("Forget it").await;
    let missing = ann.says("/mcp login hub").await;
    assert!(
        missing.contains("/mcp secrets set HUB_APIKEY for hub"),
        "{missing}"
    );
    world.close().await;
}
