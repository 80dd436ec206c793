//! The client against real listeners on loopback.

mod names;
mod redirects;
mod vouched;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, Method, Request, StatusCode, header};

use super::*;

const LIMIT: usize = 64 * 1024;
/// No test waits for it: what ends by itself ends long before.
const LONG: Duration = Duration::from_mins(5);
/// Tests wait for it to pass.
const SHORT: Duration = Duration::from_millis(200);

fn net(allow: &[&str], allow_http: bool) -> Net {
    Net::new(options(allow, allow_http))
}

fn options(allow: &[&str], allow_http: bool) -> NetOptions {
    NetOptions {
        rules: AddressRules {
            allow_http,
            allow: allow.iter().map(|range| range.parse().unwrap()).collect(),
        },
        connect_timeout: LONG,
        read_timeout: LONG,
    }
}

fn open() -> Net {
    net(&["127.0.0.1/32"], true)
}

fn ask(method: Method, url: &str, body: &str) -> Request<Vec<u8>> {
    Request::builder()
        .method(method)
        .uri(url)
        .header(header::AUTHORIZATION, "Bearer canary")
        .header(header::COOKIE, "canary=1")
        .header("x-key", "canary")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(body.as_bytes().to_vec())
        .unwrap()
}

async fn fetched(net: &Net, url: &str, redirects: Redirects) -> Result<String, NetError> {
    fetched_by(net, ask(Method::GET, url, ""), redirects).await
}

async fn fetched_by(
    net: &Net,
    request: Request<Vec<u8>>,
    redirects: Redirects,
) -> Result<String, NetError> {
    let answer = net.fetch(request, redirects, LIMIT, LONG).await?;
    Ok(String::from_utf8(answer.into_body()).unwrap())
}

async fn served(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// `/echo` says what it got, `/to/307?at=…` sends on to there, and the rest misbehaves.
async fn server() -> SocketAddr {
    #[derive(serde::Deserialize)]
    struct To {
        at: String,
    }
    let send_on = |Path(status): Path<u16>, Query(to): Query<To>| async move {
        (
            StatusCode::from_u16(status).unwrap(),
            [(header::LOCATION, to.at)],
        )
    };
    let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024]));
    let endless = move || async move { Body::from_stream(futures::stream::repeat_with(chunk)) };
    let stalls = move || async move {
        let stream = futures::stream::once(async move { chunk() });
        Body::from_stream(futures::StreamExt::chain(
            stream,
            futures::stream::pending(),
        ))
    };
    let app = Router::new()
        .route("/echo", any(echo))
        .route("/to/{status}", any(send_on))
        .route("/nowhere", get(|| async { StatusCode::FOUND }))
        .route("/large", get(|| async { vec![b'x'; LIMIT + 1] }))
        .route("/fits", get(|| async { vec![b'x'; LIMIT] }))
        .route("/endless", get(endless))
        .route("/stalls", get(stalls))
        .route("/never", get(std::future::pending::<()>));
    served(app).await
}

async fn echo(method: Method, headers: HeaderMap, body: String) -> Response {
    let mut said: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !["host", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    said.sort();
    format!("{method} {body:?} {}", said.join(", ")).into_response()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

const AGENT: &str = concat!("user-agent: switchboard/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn a_fetch_brings_the_whole_answer() {
    let server = server().await;
    let request = ask(Method::POST, &format!("http://{server}/echo"), "hello");
    let answer = open()
        .fetch(request, Redirects::None, LIMIT, LONG)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key(header::CONTENT_TYPE));
    let expected = format!(
        "POST \"hello\" accept: application/json, authorization: Bearer canary, content-type: text/plain, \
         cookie: canary=1, {AGENT}, x-key: canary"
    );
    assert_eq!(String::from_utf8_lossy(answer.body()), expected);
}

#[tokio::test]
async fn nothing_but_public_addresses_is_spoken_to_unless_opened() {
    let server = server().await;
    let port = server.port();
    let closed = net(&[], true);
    let elsewhere = net(&["127.0.0.2/32", "10.0.0.0/8"], true);
    for net in [&closed, &elsewhere] {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "localhost",
            "[::ffff:127.0.0.1]",
        ] {
            let url = format!("http://{host}:{port}/echo");
            let refused = |result: Result<(), NetError>| {
                assert!(
                    matches!(result, Err(NetError::Address(AddressProblem::NotPublic(_)))),
                    "{host}: {result:?}"
                );
            };
            refused(fetched(net, &url, Redirects::None).await.map(drop));
            refused(net.resolve(&url.parse().unwrap()).await.map(drop));
        }
        // Names are judged at the connect as well, whoever sends the request.
        let error = net
            .client()
            .get(format!("http://localhost:{port}/echo?key=canary"))
            .send()
            .await
            .unwrap_err();
        assert!(matches!(
            Net::explain(&error),
            NetError::Address(AddressProblem::NotPublic(_))
        ));
    }
    let by_tls_alone = net(&["127.0.0.1/32"], false);
    let url = format!("http://{server}/echo");
    let scheme = NetError::Address(AddressProblem::Scheme("http".to_owned()));
    assert_eq!(
        fetched(&by_tls_alone, &url, Redirects::None).await,
        Err(scheme.clone())
    );
    let error = by_tls_alone.client().get(&url).send().await.unwrap_err();
    assert_eq!(Net::explain(&error), scheme);
}

#[tokio::test]
async fn a_host_is_resolved_through_the_filter() {
    let resolve = async |url: &str| open().resolve(&url.parse().unwrap()).await;
    let loopback = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(resolve("http://localhost:1/x?y").await, Ok(vec![loopback]));
    assert_eq!(resolve("http://127.1/").await, Ok(vec![loopback]));
    assert_eq!(
        resolve("http://10.0.0.1/").await,
        Err(AddressProblem::NotPublic(IpAddr::from([10, 0, 0, 1])).into())
    );
    let unknown = resolve("http://no-such-host.invalid/?key=canary").await;
    assert!(
        matches!(&unknown, Err(NetError::Dns { host, .. }) if host == "no-such-host.invalid"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn what_is_huge_slow_or_endless_ends() {
    let server = server().await;
    let fetched = async |net: &Net, path: &str, deadline: Duration| {
        let request = ask(Method::GET, &format!("http://{server}/{path}"), "");
        net.fetch(request, Redirects::None, LIMIT, deadline)
            .await
            .map(|answer| answer.into_body().len())
    };
    let host = server.to_string();
    let too_large = NetError::TooLarge {
        host: host.clone(),
        limit: LIMIT,
    };
    let timed_out = NetError::TimedOut { host };
    let impatient = Net::new(NetOptions {
        read_timeout: SHORT,
        ..options(&["127.0.0.1/32"], true)
    });
    assert_eq!(fetched(&open(), "fits", LONG).await, Ok(LIMIT));
    for path in ["large", "endless"] {
        assert_eq!(
            fetched(&open(), path, LONG).await,
            Err(too_large.clone()),
            "{path}"
        );
    }
    for path in ["never", "stalls"] {
        for (net, deadline) in [(&open(), SHORT), (&impatient, LONG)] {
            assert_eq!(
                fetched(net, path, deadline).await,
                Err(timed_out.clone()),
                "{path} {deadline:?}"
            );
        }
    }
}

/// What a connection that goes wrong is called, and that no query is told.
#[tokio::test]
async fn failures_are_told_in_words_without_secrets() {
    // Bound and not listening: nobody else gets the port meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = held.local_addr().unwrap();
    let garbage = raw(|stream| stream.write_all(b"220 mail.example ESMTP\r\n"));
    let closed = raw(|_| Ok(()));
    let torn =
        raw(|stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
    let cases = [
        (
            format!("http://{refused}/?key=canary"),
            format!("{refused} cannot be reached (connection refused)"),
        ),
        (
            format!("http://{garbage}/?key=canary"),
            format!(
                "the connection to {garbage} failed (it was closed without an answer, or it does not speak HTTP)"
            ),
        ),
        (
            format!("http://{closed}/?key=canary"),
            format!(
                "the connection to {closed} failed (it was closed without an answer, or it does not speak HTTP)"
            ),
        ),
        (
            format!("http://{torn}/?key=canary"),
            format!("the connection to {torn} failed (it broke off in the middle of the answer)"),
        ),
        (
            format!("https://{garbage}/?key=canary"),
            format!("no secure connection to {garbage} (it does not speak TLS there)"),
        ),
    ];
    for (url, expected) in cases {
        let told = fetched(&open(), &url, Redirects::None).await.unwrap_err();
        assert_eq!(told.to_string(), expected, "{url}");
    }
    let told = fetched(
        &open(),
        "https://no-such-host.invalid/?key=canary",
        Redirects::None,
    )
    .await
    .unwrap_err();
    assert!(matches!(told, NetError::Dns { .. }), "{told:?}");
    assert!(!format!("{told} {told:?}").contains("canary"));
}

/// This test runs itself in a process with every variable that names a proxy.
#[tokio::test]
async fn no_proxy_of_the_environment_is_used() {
    const INNER: &str = "NET_TEST_INNER";
    const NAMES: [&str; 6] = [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ];
    let server = server().await;
    let url = format!("http://{server}/echo");
    assert!(fetched(&open(), &url, Redirects::None).await.is_ok());
    if std::env::var_os(INNER).is_some() {
        assert!(NAMES.iter().all(|name| std::env::var_os(name).is_some()));
        return;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", proxy.local_addr().unwrap());
    proxy.set_nonblocking(true).unwrap();
    #[allow(clippy::disallowed_methods, reason = "no server, but this test")]
    let mut inner = std::process::Command::new(std::env::current_exe().unwrap());
    inner
        .args(["--exact", "net::tests::no_proxy_of_the_environment_is_used"])
        .env(INNER, "1")
        .envs(NAMES.map(|name| (name, &at)))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    let output = inner.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(
        proxy.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the proxy was asked"
    );
}

/// A listener that reads a bit, says what it says, and closes.
fn raw(
    say: impl Fn(&mut std::net::TcpStream) -> std::io::Result<()> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = say(&mut stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}
