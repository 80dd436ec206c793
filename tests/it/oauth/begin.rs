//! How logins begin: who is asked, as whom, for what.

use serde_json::{Value, json};
use switchboard::oauth::{ClientKind, GivenClient, Keyed, OAuthError, OperatorClient};
use switchboard::secret::Secret;

use super::stand::Stand;
use super::world::{PUBLIC, World, nonce};

#[tokio::test]
async fn d27_a_login_goes_from_the_link_to_a_token_for_the_resource_as_published() {
    let mut world = World::public().await;
    world.stand.bent().resource = json!({"scopes_supported": ["read", "write"]});
    let invitation = world.begin().await.unwrap();

    assert!(invitation.through_us);
    let link = invitation.link.as_str();
    assert!(
        link.starts_with(&format!("{PUBLIC}/oauth/start/")),
        "{link}"
    );
    assert_eq!(invitation.issuer, world.stand.origin["http://".len()..]);
    assert_eq!(invitation.scopes, ["read", "write"]);
    assert_eq!(invitation.client, ClientKind::Registered);
    let page = world.oauth.start_page(nonce(&invitation)).await.unwrap();
    assert_eq!(
        (page.server.as_str(), page.place.as_str()),
        ("notes", "the group")
    );
    assert_eq!((page.who.as_str(), page.scopes.len()), ("Ann", 2));
    assert_eq!(page.leads_to, world.stand.origin);

    let (address, _) = world.leave(&invitation).await;
    let asked: std::collections::HashMap<_, _> = address.query_pairs().into_owned().collect();
    assert_eq!(asked["scope"], "read write");
    assert_eq!(asked["resource"], world.stand.url().as_str());
    assert_eq!(asked["redirect_uri"], format!("{PUBLIC}/oauth/callback"));
    assert!(asked["state"].len() >= 22, "128 bits are 22 characters");

    world.arrive(&invitation).await;
    assert!(
        world.token().await.is_err(),
        "there is a token before Finish"
    );
    world.finish(&invitation.id).await.unwrap();
    assert!(world.token().await.unwrap().starts_with("access-"));

    let sent = &world.stand.seen("/token")[0];
    assert_eq!(sent["resource"], world.stand.url().as_str());
    assert_eq!(sent["redirect_uri"], format!("{PUBLIC}/oauth/callback"));
}

#[tokio::test]
async fn without_a_public_url_the_link_leads_straight_there() {
    let world = World::bare().await;
    let invitation = world.begin().await.unwrap();
    assert!(!invitation.through_us);
    let asked: std::collections::HashMap<_, _> =
        invitation.link.query_pairs().into_owned().collect();
    assert!(invitation.link.as_str().starts_with(&world.stand.origin));
    assert_eq!(
        asked["redirect_uri"],
        "http://127.0.0.1:8787/oauth/callback"
    );
    let registered = &world.stand.seen("/register")[0];
    assert_eq!(registered["application_type"], "native");
}

#[tokio::test]
async fn d23_what_is_published_oddly_is_refused_before_anybody_leaves() {
    type Bend = fn(&Stand);
    let cases: [(&str, Bend); 9] = [
        ("does not publish how to log in", |s| s.bent().silent = true),
        ("PKCE", |s| {
            s.bent().metadata = json!({"code_challenge_methods_supported": ["plain"]});
        }),
        ("PKCE", |s| {
            s.bent().metadata = json!({"code_challenge_methods_supported": null});
        }),
        ("calls itself https://evil.example", |s| {
            s.bent().metadata = json!({"issuer": "https://evil.example"});
        }),
        ("does not say its own name", |s| {
            s.bent().metadata = json!({"issuer": null});
        }),
        ("something else than this address", |s| {
            s.bent().resource = json!({"resource": "https://evil.example/mcp"});
        }),
        ("login page", |s| {
            s.bent().metadata = json!({"authorization_endpoint": "javascript:alert(1)"});
        }),
        ("token endpoint", |s| {
            s.bent().metadata = json!({"token_endpoint": "http://10.0.0.1/token"});
        }),
        ("registration endpoint", |s| {
            s.bent().metadata = json!({"registration_endpoint": "data:text/plain,x"});
        }),
    ];
    for (expected, bend) in cases {
        let world = World::public().await;
        bend(&world.stand);
        let error = world.begin().await.unwrap_err();
        let OAuthError::Discovery(why) = &error else {
            panic!("{expected}: {error:?}");
        };
        assert!(why.contains(expected), "{why}");
        assert!(world.disk.logins.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_is_its_own_authorization_server_may_name_a_part_of_itself() {
    // what the resource publishes, the issuer → whether it is taken
    let cases = [
        (true, "/oauth", true),
        (true, "", true),
        (false, "/oauth", false),
        (true, "https://evil.example", false),
        (true, "http://127.0.0.1:1/oauth", false),
    ];
    for (unguarded, issuer, is_taken) in cases {
        let mut world = World::bare().await;
        let own = if issuer.starts_with("http") {
            ""
        } else {
            &world.stand.origin
        };
        let issuer = format!("{own}{issuer}");
        world.stand.bent().unguarded = unguarded;
        world.stand.bent().metadata = json!({"issuer": issuer});
        let mut ask = world.ask("");
        ask.challenge = Some("Bearer".to_owned());
        match world.oauth.begin(ask).await {
            Ok(made) => {
                assert!(is_taken, "{issuer} was taken");
                let query = Stand::answer(&made.link, &[("code", "x"), ("iss", &issuer)]);
                world.oauth.arrive(&query, None).await;
                assert_eq!(
                    world.stand.seen("/token").len(),
                    1,
                    "{issuer} is not itself"
                );
                world.news(&made.id).await;
            }
            Err(error) => {
                assert!(!is_taken, "{issuer}: {error}");
                assert!(matches!(error, OAuthError::Discovery(_)), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let world = World::public().await;
    let mut ask = world.ask("");
    // Bound and not listening: nobody else gets the port meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = held.local_addr().unwrap();
    ask.url = format!("http://{at}/mcp").parse().unwrap();
    ask.challenge = None;
    let error = world.oauth.begin(ask).await.unwrap_err();
    assert!(error.to_string().contains(&at.to_string()), "{error}");
}

#[tokio::test]
async fn client_ids_are_taken_in_their_order() {
    type Case<'a> = (bool, bool, bool, bool, Option<(ClientKind, &'a str)>);
    let given = |id: &str| GivenClient {
        id: id.to_owned(),
        secret: Some(Secret::from("s3cret".to_owned())),
    };
    let documents = json!({"client_id_metadata_document_supported": true});
    // given by the person, by the operator, documents read there, registration there → kind and id
    let document = format!("{PUBLIC}/oauth/client.json");
    let cases: [Case<'_>; 6] = [
        (
            true,
            true,
            true,
            true,
            Some((ClientKind::Given, "person's")),
        ),
        (
            false,
            true,
            true,
            true,
            Some((ClientKind::Given, "operator's")),
        ),
        (
            false,
            false,
            true,
            true,
            Some((ClientKind::Document, &document)),
        ),
        (
            false,
            false,
            false,
            true,
            Some((ClientKind::Registered, "client-1")),
        ),
        (
            false,
            false,
            true,
            false,
            Some((ClientKind::Document, &document)),
        ),
        (false, false, false, false, None),
    ];
    for (person, operator, reads, registers, expected) in cases {
        let mut world = World::public().await;
        if operator {
            let issuer = world.stand.origin.clone();
            let client = given("operator's");
            world.operator = vec![OperatorClient { issuer, client }];
            world.restart();
        }
        if reads {
            world.stand.bent().metadata = documents.clone();
        }
        if !registers {
            world.stand.bent().metadata["registration_endpoint"] = Value::Null;
        }
        let mut ask = world.ask("");
        ask.client = person.then(|| given("person's"));
        let made = world.oauth.begin(ask).await;
        let Some((kind, id)) = expected else {
            let Err(OAuthError::NeedsClientId { redirect, .. }) = made else {
                panic!("{made:?}");
            };
            assert_eq!(redirect, format!("{PUBLIC}/oauth/callback"));
            continue;
        };
        let made = made.unwrap();
        assert_eq!(made.client, kind);
        let (address, _) = world.leave(&made).await;
        let asked: Vec<_> = address.query_pairs().into_owned().collect();
        assert!(asked.contains(&("client_id".to_owned(), id.to_owned())));
    }
}

#[tokio::test]
async fn the_secret_of_a_client_is_sent_as_the_server_takes_it() {
    let cases = [
        (json!(null), true),
        (json!(["client_secret_post", "client_secret_basic"]), true),
        (json!(["client_secret_post"]), false),
    ];
    for (methods, is_basic) in cases {
        let mut world = World::public().await;
        world.stand.bent().metadata = json!({"token_endpoint_auth_methods_supported": methods});
        let mut ask = world.ask("");
        ask.client = Some(GivenClient {
            id: "me".to_owned(),
            secret: Some(Secret::from("s3cret".to_owned())),
        });
        let made = world.oauth.begin(ask).await.unwrap();
        world.arrive(&made).await;
        let bent = world.stand.bent();
        let sent = bent.seen.iter().find(|seen| seen.path == "/token").unwrap();
        if is_basic {
            assert_eq!(sent.basic.as_deref(), Some("me:s3cret"));
            assert!(sent.body.get("client_secret").is_none());
        } else {
            assert_eq!(
                (sent.basic.as_deref(), &sent.body["client_secret"]),
                (None, &json!("s3cret"))
            );
        }
    }
}

#[tokio::test]
async fn a_given_client_is_used_again_when_its_login_is_over() {
    let mut world = World::public().await;
    world.stand.bent().metadata = json!({"registration_endpoint": null});
    let mut ask = world.ask("");
    ask.client = Some(GivenClient {
        id: "me".to_owned(),
        secret: None,
    });
    let made = world.oauth.begin(ask).await.unwrap();
    world.arrive(&made).await;
    world.finish(&made.id).await.unwrap();
    assert_eq!(world.begin().await.unwrap().client, ClientKind::Given);
}

#[tokio::test]
async fn a_registered_client_is_kept_and_reused() {
    let mut world = World::public().await;
    world.log_in().await;
    world.restart();
    world.log_in().await;
    assert_eq!(
        world.stand.seen("/register").len(),
        1,
        "it registered again"
    );

    // At another redirect address it is another client.
    world.public = Some("https://other.example".parse().unwrap());
    world.restart();
    world.begin().await.unwrap();
    let registered = world.stand.seen("/register");
    assert_eq!(registered.len(), 2);
    assert_eq!(
        registered[1]["redirect_uris"],
        json!(["https://other.example/oauth/callback"])
    );
    assert_eq!(registered[1]["application_type"], "web");
    assert_eq!(
        registered[1]["grant_types"],
        json!(["authorization_code", "refresh_token"])
    );
}

#[tokio::test]
async fn a_registered_secret_that_ends_is_not_begun_with() {
    let mut world = World::public().await;
    world.stand.bent().metadata =
        json!({"token_endpoint_auth_methods_supported": ["client_secret_basic"]});
    world.stand.bent().registration =
        json!({"client_secret": "s", "client_secret_expires_at": 1_700_003_600});
    world.log_in().await;
    assert_eq!(
        world.stand.seen("/register")[0]["token_endpoint_auth_method"],
        "client_secret_basic"
    );
    world.later(3000);
    world.begin().await.unwrap();
    assert_eq!(world.stand.seen("/register").len(), 2);
}

#[tokio::test]
async fn a_registration_that_is_refused_says_what_to_do() {
    let cases = [
        (401, json!({}), "needs a client id"),
        (403, json!({}), "needs a client id"),
        (
            400,
            json!({"error": "invalid_redirect_uri", "error_description": "not\nallowed"}),
            "not allowed",
        ),
        (200, json!({}), "in a way that I cannot use"),
        (500, json!("oops"), "status 500"),
    ];
    for (status, body, expected) in cases {
        let world = World::public().await;
        world.stand.bent().registration_status = Some((status, body));
        let error = world.begin().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn scopes_come_from_the_challenge_then_the_resource_and_never_from_the_whole_server() {
    let offline = json!({"scopes_supported": ["a", "b", "z", "offline_access"]});
    let all = json!({"scopes_supported": ["a", "b", "z"]});
    let cases = [
        (
            r#", scope="a""#,
            json!({"scopes_supported": ["a", "b"]}),
            &all,
            vec!["a"],
        ),
        (
            "",
            json!({"scopes_supported": ["a", "b"]}),
            &all,
            vec!["a", "b"],
        ),
        ("", json!({}), &all, vec![]),
        ("", json!({}), &offline, vec![]),
        (
            "",
            json!({"scopes_supported": ["a"]}),
            &offline,
            vec!["a", "offline_access"],
        ),
        (
            "",
            json!({"scopes_supported": ["a", "b\u{202e}c", ""]}),
            &all,
            vec!["a"],
        ),
    ];
    for (challenge, resource, metadata, expected) in cases {
        let world = World::bare().await;
        world.stand.bent().resource = resource;
        world.stand.bent().metadata = metadata.clone();
        let made = world.oauth.begin(world.ask(challenge)).await.unwrap();
        assert_eq!(made.scopes, expected, "{challenge}");
        let query: Vec<_> = made.link.query_pairs().into_owned().collect();
        let scope = query.iter().find(|(name, _)| name == "scope");
        assert_eq!(
            scope.map(|(_, value)| value.clone()),
            (!expected.is_empty()).then(|| expected.join(" "))
        );
        let consent = query.contains(&("prompt".to_owned(), "consent".to_owned()));
        assert_eq!(consent, expected.contains(&"offline_access"));
    }
}

#[tokio::test]
async fn d30_more_rights_are_asked_for_beside_those_there_are_and_not_for_ever() {
    let mut world = World::bare().await;
    let missing = r#", error="insufficient_scope", scope="write""#;
    world.log_in_with(r#", scope="read""#).await;

    let made = world.oauth.begin(world.ask(missing)).await.unwrap();
    assert_eq!(made.scopes, ["read", "write"]);
    world.arrive(&made).await;
    world.finish(&made.id).await.unwrap();
    // It asks for the same again: once may be a mishap, twice is a server that never has enough.
    world.log_in_with(missing).await;
    let error = world.oauth.begin(world.ask(missing)).await.unwrap_err();
    assert!(
        error.to_string().contains("asks again for rights"),
        "{error}"
    );

    // Something new may be asked for, and whoever logs in of their own will may always.
    world
        .log_in_with(r#", error="insufficient_scope", scope="admin""#)
        .await;
    world.log_in().await;
}

#[tokio::test]
async fn nothing_that_names_a_record_is_secret() {
    let world = World::public().await;
    let made = world.begin().await.unwrap();
    let (address, _) = world.leave(&made).await;
    let state = address
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1;
    let logins = world.disk.logins.lock().unwrap();
    let names: Vec<&String> = logins.keys().collect();
    assert_eq!(names, [&made.id.0]);
    assert!(names[0].bytes().all(|b| b.is_ascii_hexdigit()) && names[0].len() <= 40);
    assert!(!state.contains(names[0].as_str()) && !made.link.as_str().contains(names[0].as_str()));
    // Who reads the record cannot make the link or the cookie of it.
    assert!(!logins[&made.id.0].to_string().contains(nonce(&made)));
}

#[tokio::test]
async fn a_person_has_one_login_for_a_server_at_a_time() {
    let world = World::public().await;
    let one = world.begin().await.unwrap();
    let two = world.begin().await.unwrap();
    assert!(world.oauth.start_page(nonce(&one)).await.is_none());
    assert!(world.oauth.start_page(nonce(&two)).await.is_some());
    assert_eq!(world.disk.logins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn logins_are_not_begun_without_end() {
    let world = World::bare().await;
    let begin = |n: usize| {
        let mut ask = world.ask("");
        ask.by = super::world::person(&format!("tg:{n}"));
        world.oauth.begin(ask)
    };
    for n in 0..50 {
        begin(n).await.unwrap();
    }
    let error = begin(50).await.unwrap_err();
    assert!(error.to_string().contains("too many logins"), "{error}");
    // Who has one already may begin it again.
    begin(7).await.unwrap();
    assert_eq!(world.disk.logins.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn a_login_that_the_disk_does_not_take_is_none() {
    let world = World::public().await;
    world
        .disk
        .full
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let error = world.begin().await.unwrap_err();
    assert!(matches!(error, OAuthError::Keep(_)), "{error:?}");
}

#[tokio::test]
async fn the_start_page_shows_no_key_that_stands_in_the_address() {
    let world = World::public().await;
    let mut ask = world.ask("");
    ask.url
        .set_query(Some("api_key=canary-Zx81-hush-hush&team=blue"));
    let made = world.oauth.begin(ask).await.unwrap();
    let page = world.oauth.start_page(nonce(&made)).await.unwrap();
    assert!(page.url.starts_with(world.stand.url().as_str()), "{page:?}");
    assert!(!page.url.contains("canary"), "{page:?}");
}

/// A key that stands in an address, and the address as the file has it.
const KEY: &str = "canary-Zx81%2Bhush/hush=";

#[tokio::test]
async fn d27_an_address_with_a_key_is_asked_as_it_is_and_the_key_goes_no_further() {
    // the address, where metadata is, the resource that is published (`None`: nothing is) → whether there is a login
    let cases = [
        ("/mcp?v=2&apiKey=KEY", "/mcp", Some("/mcp"), true),
        ("/mcp?v=2&apiKey=KEY", "/mcp", Some("/mcp?v=2"), true),
        ("/mcp?v=2&apiKey=KEY", "/mcp", Some(""), true),
        (
            "/mcp?v=2&apiKey=KEY",
            "/mcp",
            Some("/mcp?apiKey=KEY"),
            false,
        ),
        (
            "/mcp?v=2&apiKey=KEY",
            "/mcp",
            Some("/mcp?apiKey=canary-Zx81+hush%2Fhush%3D"),
            false,
        ),
        ("/mcp?v=2&apiKey=KEY", "/mcp", None, false),
        ("/s/SHORT/mcp", "/s/SHORT/mcp", Some("/s"), true),
        ("/s/SHORT/mcp", "/s/SHORT/mcp", Some("/s/SHORT/mcp"), false),
        ("/s/SHORT/mcp", "/s/SHORT/mcp", None, false),
        (
            "/mcp?apiKey=SHORT",
            "/mcp",
            Some("/mcp?apiKey=SHORT"),
            false,
        ),
    ];
    for (address, place, resource, is_begun) in cases {
        let with = |text: &str| text.replace("KEY", KEY).replace("SHORT", "x7q");
        let mut world = World::bare().await;
        let origin = world.stand.origin.clone();
        let published = resource.map(|resource| format!("{origin}{}", with(resource)));
        world.stand.bent().place = with(place);
        world.stand.bent().unguarded = resource.is_none();
        world.stand.bent().resource = json!({"resource": published});
        let mut ask = world.ask("");
        let named = address
            .replace("KEY", "${secret:K}")
            .replace("SHORT", "${secret:K}");
        let key = if address.contains("KEY") { KEY } else { "x7q" };
        ask.url = format!("{origin}{named}").parse().unwrap();
        ask.keyed = Some(Keyed {
            url: format!("{origin}{}", with(address)).parse().unwrap(),
            keys: vec![Secret::from(key.to_owned())],
        });
        ask.challenge = None;
        let debugged = format!("{ask:?}");
        assert!(!debugged.contains(key), "{debugged}");

        let begun = world.oauth.begin(ask).await;
        let (path, query) = with(address)
            .split_once('?')
            .map_or((with(address), String::new()), |(path, query)| {
                (path.to_owned(), query.to_owned())
            });
        let asked = world.stand.bent().seen[0].clone();
        assert_eq!(
            (asked.path, asked.query),
            (path, query),
            "not by its address"
        );
        match begun {
            Ok(invitation) => {
                assert!(is_begun, "{address} with {resource:?}");
                let link = invitation.link.as_str();
                assert!(!link.contains("canary") && !link.contains("x7q"), "{link}");
                world.arrive(&invitation).await;
                world.finish(&invitation.id).await.unwrap();
                // To the letter, also on the way to the token.
                let sent = &world.stand.seen("/token")[0];
                assert_eq!(sent["resource"], published.unwrap());
                assert!(world.token().await.is_ok());
            }
            Err(error) => {
                assert!(!is_begun, "{address} with {resource:?}: {error}");
                let told = error.to_string();
                assert!(told.contains("has a key in it"), "{told}");
                assert!(!told.contains("canary") && !told.contains("x7q"), "{told}");
                assert!(world.disk.logins.lock().unwrap().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_key_of_the_address_that_comes_back_in_an_answer_is_not_told() {
    const HUSH: &str = "canary-Zx81-hush-hush";
    type Bend = fn(&Stand);
    let keyed = |world: &World, challenge: Option<String>| {
        let mut ask = world.ask("");
        let url = format!("{}?k={HUSH}", ask.url).parse().unwrap();
        let keys = vec![Secret::from(HUSH.to_owned())];
        ask.keyed = Some(Keyed { url, keys });
        ask.challenge = challenge;
        ask
    };
    let cases: [(&str, Bend); 2] = [
        ("calls itself", |s| {
            s.bent().metadata =
                json!({"issuer": format!("https://{}.example/{HUSH}", "e".repeat(80))});
        }),
        ("did not register me", |s| {
            let body = json!({"error": format!("{} {HUSH}", "e".repeat(185))});
            s.bent().registration_status = Some((400, body));
        }),
    ];
    for (expected, bend) in cases {
        let world = World::bare().await;
        bend(&world.stand);
        let told = world
            .oauth
            .begin(keyed(&world, None))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains(expected) && !told.contains("canary"),
            "{told}"
        );
    }
    // On the way back, also after a restart.
    let mut world = World::bare().await;
    let invitation = world.oauth.begin(keyed(&world, None)).await.unwrap();
    world.restart();
    let body = json!({"error": "invalid_grant", "error_description": format!("no {HUSH}")});
    world.stand.bent().token_status = Some((400, body));
    let query = world.stand.consent(&invitation.link);
    let arrival = format!("{:?}", world.oauth.arrive(&query, None).await);
    assert!(
        arrival.contains("gave no token") && !arrival.contains("canary"),
        "{arrival}"
    );
    let news = format!("{:?}", world.news(&invitation.id).await);
    assert!(
        news.contains("gave no token") && !news.contains("canary"),
        "{news}"
    );
}

#[tokio::test]
async fn a_key_does_not_lead_a_login_to_another_host() {
    let world = World::bare().await;
    let mut ask = world.ask("");
    let keys = vec![Secret::from("h.example".to_owned())];
    ask.keyed = Some(Keyed {
        url: "https://h.example/mcp".parse().unwrap(),
        keys,
    });
    let told = world.oauth.begin(ask).await.unwrap_err().to_string();
    assert!(told.contains("where its host is"), "{told}");
    assert!(world.stand.bent().seen.is_empty());
}
