//! Logins at a real authorization server, in a real browser, from the chat to the tools and to their end.

use std::time::Duration;

use serde_json::json;
use switchboard::thread::ThreadId;

use crate::guarded::{Guarded, Known, NAME, PUBLIC, Pages};
use crate::programs::browse;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_made_used_renewed_and_ended() {
    let all = Guarded::start(Pages::Here).await;

    // Discovery, registration, consent, the page, Finish.
    let link = all.connects("").await;
    assert!(
        link.starts_with(&format!("{}/oauth/start/", all.ours)),
        "{link}"
    );
    let invitation = all.sees("You log in at").await;
    assert!(invitation.contains("mcp:tools"), "{invitation}");
    let walk = all.agrees(&link).await;
    assert!(
        walk.text.contains(NAME) && walk.text.contains("Ann"),
        "{walk:?}"
    );
    all.sees("You agreed there").await;
    let nobody_yet = all.calls("whoami", "wants a login").await;
    assert!(!nobody_yet.contains("alice"), "{nobody_yet}");
    let bob = all.world.person("Bob", ThreadId::Local, true);
    bob.presses("Finish").await;
    let answers = format!("{:?}", all.world.chat.answers());
    assert!(answers.contains("Only Ann can finish"), "{answers}");
    assert_eq!(all.token_requests("authorization_code").await, [200]);
    let done = all.presses("Finish", "Logged in to").await;
    assert!(done.contains("2 tools"), "{done}");
    let known = all.asked("/reg").await;
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(
        (&known[0]["status"], &known[0]["scope"]),
        (&json!(201), &json!(null))
    );
    let left = all.asked("/auth").await;
    assert_eq!(left[0]["code_challenge_method"], "S256");
    assert_eq!(left[0]["resource"], all.server.fact("url"));
    assert_eq!(
        left[0]["redirect_uri"],
        format!("{}/oauth/callback", all.ours)
    );

    // A call as alice.
    let whoami = all.calls("whoami", "alice").await;
    assert!(whoami.contains("mcp:tools"), "{whoami}");
    assert_eq!(all.token_requests("refresh_token").await, Vec::<u64>::new());

    // The token ends, as our clock has it: renewed before the call, by a refresh token that is good once.
    all.world.pass(Duration::from_hours(2));
    all.calls("whoami", "alice").await;
    assert_eq!(all.token_requests("refresh_token").await, [200]);
    // The server does not take it any more: renewed after its 401, by the rotated one.
    all.server.pull("POST /forget-tokens").await;
    all.calls("whoami", "alice").await;
    assert_eq!(all.token_requests("refresh_token").await, [200, 200]);

    // A refresh that is refused: a login is wanted, with a button, and the entry stays.
    all.provider.pull("POST /refuse-refresh?times=1").await;
    all.world.pass(Duration::from_hours(2));
    let entry = all.entry();
    let refused = all.calls("whoami", "wants a login").await;
    assert!(refused.contains("[Log in]"), "{refused}");
    assert_eq!(all.token_requests("refresh_token").await, [200, 200, 400]);
    let panel = all.says("/mcp", "Servers in this chat").await;
    assert!(panel.contains(NAME), "{panel}");
    assert_eq!(all.entry(), entry);
    all.says(&format!("/mcp login {NAME}"), "You log in at")
        .await;
    let link = all.link().await;
    all.logs_in(&link).await;
    all.calls("whoami", "alice").await;
    assert_eq!(all.asked("/reg").await.len(), 1, "the registration is kept");

    // Logout: the provider hears of it, and nothing stays here.
    all.says(&format!("/mcp logout {NAME}"), "took the login back")
        .await;
    let revoked = all.asked("/token/revocation").await;
    // The refresh token and what came of it; of a token that is a JWT this provider says that nobody can take it back.
    let statuses: Vec<_> = revoked
        .iter()
        .map(|one| (&one["status"], &one["error"]))
        .collect();
    let (ok, jwt) = (
        (&json!(200), &json!(null)),
        (&json!(400), &json!("unsupported_token_type")),
    );
    assert_eq!(statuses, [ok, jwt]);
    assert_eq!(all.entry(), entry);
    let store = &all.world.house.store;
    assert_eq!(store.credentials(ThreadId::Local).unwrap(), []);
    all.calls("whoami", "wants a login").await;
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rights_are_asked_for_when_a_tool_needs_them() {
    let all = Guarded::start(Pages::Here).await;
    let link = all.connects("").await;
    all.logs_in(&link).await;
    let wants = all.calls("admin", "wants more rights").await;
    assert!(
        wants.contains("mcp:admin") && wants.contains("[Log in]"),
        "{wants}"
    );
    // All else works as before.
    all.calls("whoami", "alice").await;
    all.presses("Log in", "You log in at").await;
    let link = all.link().await;
    all.logs_in(&link).await;
    all.calls("admin", "done as an administrator").await;
    let whoami = all.calls("whoami", "mcp:admin").await;
    assert!(whoami.contains("mcp:tools"), "no right was lost: {whoami}");
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_is_a_page_of_its_own_and_a_link_is_good_once() {
    let all = Guarded::start(Pages::Here).await;
    let link = all.connects("").await;
    let walk = browse(&link, &["--deny"]).await;
    assert!(walk.title.starts_with("Not connected"), "{walk:?}");
    walk.keep(&["", "not-connected"]);
    let no = all.sees("You said no there").await;
    assert!(no.contains("[Log in again]"), "{no}");
    assert_eq!(all.asked("/token").await, Vec::<serde_json::Value>::new());
    for old in [&link, &walk.final_url] {
        let walk = browse(old, &[]).await;
        assert!(walk.title.starts_with("This link is old"), "{walk:?}");
        walk.keep(&["old-link"]);
    }
    all.presses("Log in again", "You log in at").await;
    let link = all.link().await;
    all.logs_in(&link).await;
    all.calls("whoami", "alice").await;
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_has_pages_of_its_own() {
    let all = Guarded::start(Pages::Here).await;

    // The way back is taken by another browser than the one that left: whoever was sent a link did not begin.
    let link = all.connects("").await;
    let callback = format!("{}/oauth/callback", all.ours);
    let stopped = browse(&link, &["--stop-at", &callback]).await;
    let walk = browse(&stopped.final_url, &[]).await;
    assert!(walk.title.starts_with("Another browser"), "{walk:?}");
    walk.keep(&["another-browser"]);
    assert_eq!(all.asked("/token").await, Vec::<serde_json::Value>::new());
    assert!(!all.sees("You log in at").await.contains("[Finish]"));

    // The authorization server gives no token.
    all.provider.pull("POST /unavailable?times=20").await;
    let walk = browse(&link, &[]).await;
    assert!(walk.title.starts_with("The login failed"), "{walk:?}");
    walk.keep(&["", "failed"]);
    let failed = all.sees("failed").await;
    assert!(failed.contains("[Log in again]"), "{failed}");
    all.provider.pull("POST /unavailable?times=0").await;
    all.presses("Log in again", "You log in at").await;
    let link = all.link().await;
    all.logs_in(&link).await;
    all.calls("whoami", "alice").await;
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_public_url_the_address_is_pasted_back() {
    let all = Guarded::start(Pages::Nowhere).await;
    let link = all.connects("").await;
    assert!(link.starts_with(all.provider.fact("issuer")), "{link}");
    let callback = format!("{}/oauth/callback", all.ours);
    let walk = browse(&link, &["--stop-at", &callback]).await;
    assert!(walk.final_url.starts_with(&callback), "{walk:?}");
    let before = all.world.chat.deleted().len();
    let arrived = all.says(&walk.final_url, "[Finish]").await;
    assert!(arrived.contains("Account"), "{arrived}");
    let done = all.presses("Finish", "Logged in to").await;
    assert!(done.contains("2 tools"), "{done}");
    // There is a code in it.
    assert_eq!(all.world.chat.deleted().len(), before + 1);
    all.calls("whoami", "alice").await;
    all.says(&walk.final_url, "No login of yours waits here")
        .await;
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_metadata_document_stands_for_a_registration() {
    let all = Guarded::start(Pages::Public).await;
    let link = all.connects("").await;
    assert!(
        link.starts_with(&format!("{PUBLIC}/oauth/start/")),
        "{link}"
    );
    all.logs_in(&link).await;
    all.calls("whoami", "alice").await;
    assert_eq!(all.asked("/reg").await, Vec::<serde_json::Value>::new());
    let left = all.asked("/auth").await;
    assert_eq!(left[0]["client_id"], format!("{PUBLIC}/oauth/client.json"));
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_registered_beforehand_is_used() {
    let by_person = Known {
        id: "switchboard-of-ann",
        secret: None,
        by_operator: false,
    };
    let by_operator = Known {
        id: "switchboard-of-the-operator",
        secret: Some("a-secret-of-the-operator-that-is-long-enough"),
        by_operator: true,
    };
    for (known, line) in [
        (by_person, " --client-id switchboard-of-ann"),
        (by_operator, ""),
    ] {
        let all = Guarded::start_with(Pages::Here, Some(known)).await;
        let link = all.connects(line).await;
        all.logs_in(&link).await;
        all.calls("whoami", "alice").await;
        assert_eq!(all.asked("/auth").await[0]["client_id"], known.id);
        all.world.pass(Duration::from_hours(2));
        all.calls("whoami", "alice").await;
        assert_eq!(all.token_requests("refresh_token").await, [200]);
        all.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_restarts_of_the_bot() {
    let all = Guarded::start(Pages::Here).await;
    let link = all.connects("").await;
    // Between the link and the page.
    let all = all.restarted().await;
    all.agrees(&link).await;
    all.sees("You agreed there").await;
    // Between the page and Finish.
    let all = all.restarted().await;
    let done = all.presses("Finish", "Logged in to").await;
    assert!(done.contains("2 tools"), "{done}");
    // And after it.
    let all = all.restarted().await;
    all.calls("whoami", "alice").await;
    assert_eq!(all.token_requests("authorization_code").await, [200]);
    assert_eq!(all.asked("/reg").await.len(), 1);
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_forgot_is_opened_again() {
    let all = Guarded::start(Pages::Here).await;
    let link = all.connects("").await;
    all.logs_in(&link).await;
    all.calls("whoami", "alice").await;
    all.server.pull("POST /forget-sessions").await;
    all.calls("whoami", "alice").await;
    all.close().await;
}
