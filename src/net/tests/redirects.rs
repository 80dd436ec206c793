//! Redirects keep to what they may.

use super::*;

#[tokio::test]
async fn d28_redirects_keep_to_what_they_may_and_own_headers_stay_at_their_origin() {
    let (server, other) = (server().await, server().await);
    let all = "accept: application/json, authorization: Bearer canary, content-type: text/plain, cookie: canary=1";
    let kept = format!("{all}, {AGENT}, x-key: canary");
    let read = kept.replace("content-type: text/plain, ", "");
    let bare = format!("accept: application/json, {AGENT}");
    let away = format!("http://{other}/echo");
    let cases = [
        (Method::GET, 302, "/echo", Some(format!("GET \"\" {read}"))),
        (
            Method::GET,
            307,
            "../echo#part",
            Some(format!("GET \"\" {kept}")),
        ),
        (Method::POST, 301, "/echo", Some(format!("GET \"\" {read}"))),
        (Method::POST, 302, "/echo", Some(format!("GET \"\" {read}"))),
        (Method::PUT, 303, "/echo", Some(format!("GET \"\" {read}"))),
        (
            Method::POST,
            307,
            "/echo",
            Some(format!("POST \"body\" {kept}")),
        ),
        (
            Method::POST,
            308,
            "/echo",
            Some(format!("POST \"body\" {kept}")),
        ),
        (Method::GET, 302, &away, Some(format!("GET \"\" {bare}"))),
        (Method::GET, 308, &away, Some(format!("GET \"\" {bare}"))),
        (Method::POST, 303, &away, Some(format!("GET \"\" {bare}"))),
        (Method::POST, 300, "/echo", None),
    ];
    for (method, status, at, expected) in cases {
        let body = if method == Method::GET { "" } else { "body" };
        let url = format!("http://{server}/to/{status}?at={}", encoded(at));
        let said = fetched_by(
            &open(),
            ask(method.clone(), &url, body),
            Redirects::Follow(3),
        )
        .await;
        assert_eq!(
            said.as_deref(),
            Ok(expected.as_deref().unwrap_or_default()),
            "{method} {status} {at}"
        );
    }
    let lost = NetError::Redirects {
        host: server.to_string(),
    };
    for status in [307, 308] {
        let url = format!("http://{server}/to/{status}?at={}", encoded(&away));
        let request = ask(Method::POST, &url, "body");
        let said = fetched_by(&open(), request, Redirects::Follow(3)).await;
        assert_eq!(said, Err(lost.clone()), "a body left its origin");
    }
    // Not asked to follow, or nowhere to go: the redirect is the answer.
    for (path, redirects) in [
        ("to/302?at=/echo", Redirects::None),
        ("nowhere", Redirects::Follow(3)),
    ] {
        let request = ask(Method::GET, &format!("http://{server}/{path}"), "");
        let answer = open().fetch(request, redirects, LIMIT, LONG).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND, "{path}");
    }
}

#[tokio::test]
async fn d21_redirects_are_judged_and_counted() {
    let server = server().await;
    let sent_to = async |at: &str| {
        let url = format!("http://{server}/to/302?at={}", encoded(at));
        fetched(&open(), &url, Redirects::Follow(5)).await
    };
    for host in [
        "10.0.0.1",
        "169.254.169.254",
        "127.0.0.2",
        "[::1]",
        "2130706434",
    ] {
        let refused = sent_to(&format!("http://{host}/")).await;
        assert!(
            matches!(
                refused,
                Err(NetError::Address(AddressProblem::NotPublic(_)))
            ),
            "{host}: {refused:?}"
        );
    }
    for (at, expected) in [
        (
            "file:///etc/passwd",
            AddressProblem::Scheme("file".to_owned()),
        ),
        ("data:,x", AddressProblem::Scheme("data".to_owned())),
        (
            &format!("http://me:secret@{server}/echo"),
            AddressProblem::Credentials,
        ),
    ] {
        assert_eq!(sent_to(at).await, Err(expected.into()), "{at}");
    }
    let lost = NetError::Redirects {
        host: server.to_string(),
    };
    assert_eq!(sent_to("http://[").await, Err(lost.clone()));
    // A place that sends on to itself.
    let app = Router::new().route(
        "/",
        get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/")]) }),
    );
    let turning = served(app).await;
    assert_eq!(
        fetched(&open(), &format!("http://{turning}/"), Redirects::Follow(5)).await,
        Err(NetError::Redirects {
            host: turning.to_string()
        })
    );
}

#[test]
fn https_never_goes_down_to_http() {
    let hop = |url: &str| Hop::first(url.parse().unwrap(), ask(Method::GET, url, ""));
    let to = |hop: &Hop, at: &str| {
        let headers = HeaderMap::from_iter([(header::LOCATION, at.parse().unwrap())]);
        hop.sent_on_to(StatusCode::FOUND, &headers)
    };
    let (secure, plain) = (hop("https://a.example/x"), hop("http://a.example/x"));
    let down = NetError::Address(AddressProblem::Scheme("http".to_owned()));
    assert_eq!(to(&secure, "http://a.example/y"), Err(down));
    for (hop, at, expected) in [
        (&secure, "//b.example/y", "https://b.example/y"),
        (&plain, "//b.example/y", "http://b.example/y"),
        (&plain, "https://a.example/y", "https://a.example/y"),
    ] {
        assert_eq!(to(hop, at), Ok(Some(expected.parse().unwrap())), "{at}");
    }
    // Another scheme or port is another origin.
    for at in ["https://a.example/y", "http://a.example:81/y"] {
        let next = hop("http://a.example/x")
            .next(StatusCode::FOUND, at.parse().unwrap())
            .unwrap();
        assert!(!next.headers.contains_key(header::AUTHORIZATION), "{at}");
    }
}
