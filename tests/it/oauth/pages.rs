//! The pages over HTTP, as a browser and as a stranger meet them.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::web::Web;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::stand::Stand;
use super::world::{World, nonce};

struct Pages {
    at: SocketAddr,
    #[allow(dead_code, reason = "dropped at the end, and the pages with it")]
    stop: DropGuard,
}

/// An answer: its head in lines, its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }
}

impl Pages {
    async fn of(world: &World) -> Self {
        let web = Web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = web.address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(web.serve(world.oauth.clone(), stop.clone()));
        let stop = stop.drop_guard();
        Self { at, stop }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n");
        for (name, value) in headers {
            request.push_str(name);
            request.push_str(": ");
            request.push_str(value);
            request.push_str("\r\n");
        }
        self.raw(&format!("{request}\r\n")).await
    }

    async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        // A server that has heard enough closes while we still talk.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut text = Vec::new();
        let read = stream.read_to_end(&mut text);
        let _ = tokio::time::timeout(Duration::from_secs(40), read)
            .await
            .expect("it hangs");
        let text = String::from_utf8_lossy(&text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

#[tokio::test]
async fn a_browser_goes_all_the_way_whether_a_proxy_keeps_the_path_or_not() {
    for base in ["", "/base"] {
        let mut world = World::public().await;
        let pages = Pages::of(&world).await;
        let made = world.begin().await.unwrap();
        let path = format!("{base}/oauth/start/{}", nonce(&made));
        let start = pages.ask("GET", &path, &[]).await;
        assert_eq!(start.status, 200);
        assert!(start.body.contains("notes") && start.body.contains("the group"));
        assert!(start.body.contains("Continue to"));
        let policy = start.header("content-security-policy").unwrap();
        assert!(
            policy.contains("form-action 'self' https: http:"),
            "{policy}"
        );

        let left = pages
            .ask("POST", &path, &[("Sec-Fetch-Site", "same-origin")])
            .await;
        assert_eq!(left.status, 303);
        let cookie = left.header("set-cookie").unwrap();
        assert!(
            cookie.ends_with(
                "; Path=/base/oauth/callback; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
            )
        );
        let cookie = cookie.split(';').next().unwrap();
        let query = world
            .stand
            .consent(&left.header("location").unwrap().parse().unwrap());

        let callback = format!("{base}/oauth/callback?{query}");
        assert_eq!(
            pages
                .ask("HEAD", &callback, &[("Cookie", cookie)])
                .await
                .status,
            405
        );
        assert_eq!(pages.ask("GET", &callback, &[]).await.status, 403);
        let back = pages
            .ask("GET", &callback, &[("Cookie", "a=b"), ("Cookie", cookie)])
            .await;
        assert_eq!(back.status, 200);
        assert!(back.body.contains("press Finish"));
        assert_eq!(
            pages
                .ask("GET", &callback, &[("Cookie", cookie)])
                .await
                .status,
            404
        );
        assert_eq!(pages.ask("GET", &path, &[]).await.status, 404);
        assert_eq!(pages.ask("POST", &path, &[]).await.status, 404);
        world.news(&made.id).await;
        world.finish(&made.id).await.unwrap();
    }
}

#[tokio::test]
async fn denial_and_failure_have_pages() {
    let cases = [
        ("access_denied", 200, "You said no"),
        ("<i>bad</i>", 400, "&lt;i&gt;bad&lt;/i&gt;"),
    ];
    for (error, status, expected) in cases {
        let world = World::bare().await;
        let pages = Pages::of(&world).await;
        let made = world.begin().await.unwrap();
        let query = Stand::answer(&made.link, &[("error", error)]);
        let page = pages
            .ask("GET", &format!("/oauth/callback?{query}"), &[])
            .await;
        assert_eq!(page.status, status);
        assert!(page.body.contains(expected), "{}", page.body);
        assert!(!page.body.contains("<i>"));
    }
}

#[tokio::test]
async fn a_form_that_another_site_sends_shows_the_page_and_goes_nowhere() {
    let world = World::public().await;
    let pages = Pages::of(&world).await;
    let made = world.begin().await.unwrap();
    let path = format!("/oauth/start/{}", nonce(&made));
    for site in ["cross-site", "same-site", "none"] {
        let answer = pages.ask("POST", &path, &[("Sec-Fetch-Site", site)]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    }
}

#[tokio::test]
async fn d32_every_answer_has_the_headers_that_keep_it_safe() {
    let world = World::public().await;
    let pages = Pages::of(&world).await;
    let made = world.begin().await.unwrap();
    let start = format!("/oauth/start/{}", nonce(&made));
    let waiting = world.begin_for("tg:2").await.unwrap();
    let (address, cookie) = world.leave(&waiting).await;
    let (back, cookie) = (world.stand.consent(&address), cookie.unwrap());
    let back = format!("/oauth/callback?{back}");
    let (none, own) = ("no-referrer", "same-origin");
    let cases = [
        ("GET", "/healthz", 200, none),
        ("GET", "/base/healthz", 200, none),
        ("GET", "/oauth/client.json", 200, none),
        ("GET", "/base/oauth/client.json", 200, none),
        ("GET", "/oauth/callback", 404, none),
        (
            "GET",
            "/oauth/callback?error=access_denied&state=x",
            404,
            none,
        ),
        ("GET", "/oauth/start/", 404, none),
        ("GET", "/oauth/start/../../etc/passwd", 404, none),
        ("GET", "/secret/x", 404, none),
        ("GET", "/", 404, none),
        ("GET", "/%00", 404, none),
        ("POST", "/healthz", 405, none),
        ("DELETE", &start, 405, none),
        // The one page here with a form of ours, which is told by its origin.
        ("GET", &start, 200, own),
        ("POST", &start, 303, none),
        ("HEAD", &back, 405, none),
        ("GET", &back, 200, none),
        ("GET", &back, 404, none),
    ];
    for (method, path, status, referrer) in cases {
        let answer = pages.ask(method, path, &[("Cookie", &cookie)]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'")
        );
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(
            answer.header("referrer-policy"),
            Some(referrer),
            "{method} {path}"
        );
        assert_eq!(answer.body.contains("<form"), referrer == own, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.body.contains("<script"));
    }
}

#[tokio::test]
async fn the_client_document_names_itself_and_the_way_back() {
    let world = World::public().await;
    let document = Pages::of(&world)
        .await
        .ask("GET", "/oauth/client.json", &[])
        .await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let document: serde_json::Value = serde_json::from_str(&document.body).unwrap();
    assert_eq!(
        document["client_id"],
        "https://bot.example/base/oauth/client.json"
    );
    assert_eq!(
        document["redirect_uris"][0],
        "https://bot.example/base/oauth/callback"
    );
    assert_eq!(document["token_endpoint_auth_method"], "none");

    let bare = World::bare().await;
    assert_eq!(
        Pages::of(&bare)
            .await
            .ask("GET", "/oauth/client.json", &[])
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn strangers_who_are_huge_or_talk_nonsense_are_sent_away() {
    let world = World::public().await;
    let pages = Pages::of(&world).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let wide = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    for request in [&long, &wide, &many, "\0\0\0\0\r\n\r\n", "GET\r\n\r\n"] {
        let answer = pages.raw(request).await;
        assert!(
            matches!(answer.status, 0 | 400 | 414 | 431),
            "{}",
            answer.head
        );
    }
    assert_eq!(pages.ask("GET", "/healthz", &[]).await.body, "ok\n");
}

#[tokio::test]
async fn the_end_does_not_wait_for_strangers() {
    let world = World::public().await;
    let web = Web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = web.address().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(web.serve(world.oauth.clone(), stop.clone()));
    let mut slow = TcpStream::connect(at).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(8), served)
        .await
        .expect("it waits")
        .unwrap()
        .unwrap();
}
