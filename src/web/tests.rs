//! The pages as they are sent.

use crate::oauth::{Arrival, StartPage};

use super::pages::{self, Page};

/// The markup between the head, which is the same for all, and the end.
fn body(page: &Page) -> String {
    let html = page.html();
    let (_, body) = html.split_once("</style>").unwrap();
    body.to_owned()
}

fn begun() -> StartPage {
    StartPage {
        server: "notes".to_owned(),
        url: "https://mcp.notes.example/mcp".to_owned(),
        place: "the group Weekend".to_owned(),
        who: "Ann".to_owned(),
        issuer: "login.notes.example".to_owned(),
        scopes: vec!["notes:read".to_owned(), "notes:write".to_owned()],
        leads_to: "https://login.notes.example".to_owned(),
    }
}

fn arrivals() -> [(&'static str, Arrival); 5] {
    let (server, place) = ("notes".to_owned(), "the group Weekend".to_owned());
    let who = "Ann".to_owned();
    let why = "login.notes.example says: the moon is wrong (server_error)".to_owned();
    [
        (
            "welcome",
            Arrival::Welcome {
                server: server.clone(),
                place: place.clone(),
                who,
            },
        ),
        (
            "denied",
            Arrival::Denied {
                server: server.clone(),
                place: place.clone(),
            },
        ),
        ("failed", Arrival::Failed { server, place, why }),
        ("unknown", Arrival::Unknown),
        ("wrong_browser", Arrival::WrongBrowser),
    ]
}

#[test]
fn pages_say_which_server_which_chat_and_what_is_next() {
    insta::assert_snapshot!("whole", pages::arrival(&arrivals()[0].1).html());
    insta::assert_snapshot!("start", body(&pages::start(&begun())));
    let silent = StartPage {
        scopes: Vec::new(),
        ..begun()
    };
    insta::assert_snapshot!("start_without_scopes", body(&pages::start(&silent)));
    let alone = StartPage {
        place: "the terminal".to_owned(),
        who: "you".to_owned(),
        scopes: vec!["offline_access".to_owned(), "notes".to_owned()],
        ..begun()
    };
    insta::assert_snapshot!("start_in_a_terminal", body(&pages::start(&alone)));
    for (name, arrival) in arrivals() {
        insta::assert_snapshot!(name, body(&pages::arrival(&arrival)));
    }
    insta::assert_snapshot!("nothing_here", body(&pages::nothing_here()));
}

#[test]
fn d32_pages_with_a_form_name_their_origin_to_it_and_no_page_names_more() {
    let pages = arrivals().map(|(_, arrival)| pages::arrival(&arrival));
    let forms = [
        pages::start(&begun()),
        pages::entry("the token", None),
        pages::entry("the token", Some("It is too long.")),
    ];
    let others = [
        pages::entry_taken("the token"),
        pages::entry_over(),
        pages::nothing_here(),
    ];
    let all = pages.into_iter().chain(others).map(|page| (page, false));
    let all = all.chain(forms.into_iter().map(|page| (page, true)));
    for (page, has_form) in all {
        let html = page.html();
        assert_eq!(html.contains("<form"), has_form, "{html}");
        let response = page.into_response();
        let policy = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let expected = if has_form {
            "same-origin"
        } else {
            "no-referrer"
        };
        assert_eq!(policy("referrer-policy"), expected, "{html}");
        let nowhere = policy("content-security-policy").contains("form-action 'none'");
        assert_eq!(nowhere, !has_form, "{html}");
    }
}

#[test]
fn text_of_strangers_stays_text() {
    let evil = || "\"><script>alert('1')</script>&amp;\u{7}".to_owned();
    let start = pages::start(&StartPage {
        server: evil(),
        url: evil(),
        place: evil(),
        who: evil(),
        issuer: evil(),
        scopes: vec![evil()],
        leads_to: evil(),
    });
    let (server, place) = (evil(), evil());
    let (who, why) = (evil(), evil());
    let all = [
        start,
        pages::arrival(&Arrival::Welcome {
            server: server.clone(),
            place: place.clone(),
            who,
        }),
        pages::arrival(&Arrival::Denied {
            server: server.clone(),
            place: place.clone(),
        }),
        pages::arrival(&Arrival::Failed { server, place, why }),
    ];
    for page in all {
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains('\u{7}'));
        assert!(
            html.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;")
        );
    }
}
