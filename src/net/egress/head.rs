//! The head of a request to the proxy: bounded, and read no further than needed to know who is wanted.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use url::{Host, Url};

use crate::config::read_host;

/// Bytes of a head; real ones have a few hundred.
const MOST_BYTES: usize = 16 * 1024;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// What to send on at once: the rewritten head of plain HTTP, and what came after the head.
    pub(super) first: Vec<u8>,
    /// It is plain HTTP, and not a tunnel.
    pub(super) plain: bool,
}

/// Why a head is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    /// The client ended, or the system failed: nobody is there to be answered.
    Gone,
    /// Longer than a head may be.
    TooLong,
    /// No request to a proxy.
    Nonsense,
}

/// Reads one.
pub(super) async fn read(client: &mut (impl AsyncRead + Unpin)) -> Result<Asked, BadHead> {
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        // The end may lie across two reads.
        let from = bytes.len().saturating_sub(3);
        match read_some(client, &mut bytes).await {
            Ok(0) | Err(_) => return Err(BadHead::Gone),
            Ok(_) => {}
        }
        if let Some(at) = end_of(&bytes[from..]) {
            break from + at;
        }
        if bytes.len() >= MOST_BYTES {
            return Err(BadHead::TooLong);
        }
    };
    let rest = bytes.split_off(end);
    let head = std::str::from_utf8(&bytes).map_err(|_| BadHead::Nonsense)?;
    asked(head, &rest).ok_or(BadHead::Nonsense)
}

async fn read_some(
    client: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    let left = MOST_BYTES.saturating_sub(bytes.len()) as u64;
    client.take(left).read_buf(bytes).await
}

fn end_of(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

fn asked(head: &str, rest: &[u8]) -> Option<Asked> {
    let (line, headers) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let is_digits = target.ends_with(|c: char| c.is_ascii_digit()) && !target.contains(":+");
        return is_digits.then_some(Asked {
            host: read_host(host)?,
            port,
            first: rest.to_vec(),
            plain: false,
        });
    }
    plain(method, target, headers, rest)
}

/// The absolute form of plain HTTP (RFC 9112, 3.2.2), to be sent on in the form that origins are spoken to.
fn plain(method: &str, target: &str, headers: &str, rest: &[u8]) -> Option<Asked> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+.^_`|~-".contains(c);
    if method.is_empty() || !method.chars().all(is_token) {
        return None;
    }
    let url = Url::parse(target).ok()?;
    if url.scheme() != "http" || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let host = read_host(url.host_str()?)?;
    let mut first = format!("{method} {}", url.path());
    if let Some(query) = url.query() {
        first.push('?');
        first.push_str(query);
    }
    first.push_str(" HTTP/1.1\r\n");
    // The host is what was judged, whatever the header says; the connection is for this one request.
    first.push_str("Host: ");
    first.push_str(&url[url::Position::BeforeHost..url::Position::AfterPort]);
    first.push_str("\r\n");
    for header in headers.split("\r\n").filter(|header| !header.is_empty()) {
        let (name, _) = header.split_once(':')?;
        let hop = [
            "host",
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "upgrade",
        ];
        if header.contains(['\r', '\n']) || name.is_empty() || !name.chars().all(is_token) {
            return None;
        }
        if !hop.iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
            first.push_str(header);
            first.push_str("\r\n");
        }
    }
    first.push_str("Connection: close\r\n\r\n");
    let mut first = first.into_bytes();
    first.extend_from_slice(rest);
    Some(Asked {
        host,
        port: url.port_or_known_default()?,
        first,
        plain: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(text: &str) -> Result<(String, u16, String), BadHead> {
        let asked = read(&mut text.as_bytes()).await?;
        let first = String::from_utf8(asked.first).unwrap();
        Ok((asked.host.to_string(), asked.port, first))
    }

    #[tokio::test]
    async fn heads_are_read_or_refused() {
        use BadHead::{Gone, Nonsense, TooLong};
        let yes = |host: &str, port, first: &str| Ok((host.to_owned(), port, first.to_owned()));
        let long = format!(
            "CONNECT a.example:443 HTTP/1.1\r\nA: {}\r\n\r\n",
            "a".repeat(MOST_BYTES)
        );
        for (text, expected) in [
            (
                "CONNECT a.example:443 HTTP/1.1\r\nHost: b\r\n\r\nrest",
                yes("a.example", 443, "rest"),
            ),
            (
                "CONNECT A.Example.:8443 HTTP/1.0\r\n\r\n",
                yes("a.example", 8443, ""),
            ),
            ("CONNECT [::1]:443 HTTP/1.1\r\n\r\n", yes("[::1]", 443, "")),
            (
                "CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n",
                yes("127.0.0.1", 443, ""),
            ),
            ("CONNECT a.example HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:0 HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:+1 HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:70000 HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT me@a.example:443 HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:443\r\n\r\n", Err(Nonsense)),
            ("CONNECT  a.example:443 HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:443 HTTP/2\r\n\r\n", Err(Nonsense)),
            ("CONNECT a.example:443 HTTP/1.1\r\n", Err(Gone)),
            ("", Err(Gone)),
            ("\u{16}\u{3}\u{1}\r\n\r\n", Err(Nonsense)),
            (
                "GET http://a.example/x?y=1#z HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: Basic eA==\r\nX-A: b\r\n\r\n",
                yes(
                    "a.example",
                    80,
                    "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\nConnection: close\r\n\r\n",
                ),
            ),
            (
                "POST http://a.example:8080 HTTP/1.1\r\nContent-Length: 1\r\n\r\nz",
                yes(
                    "a.example",
                    8080,
                    "POST / HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 1\r\nConnection: close\r\n\r\nz",
                ),
            ),
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", Err(Nonsense)),
            ("GET https://a.example/ HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("GET http://me:x@a.example/ HTTP/1.1\r\n\r\n", Err(Nonsense)),
            ("GET file:///etc/passwd HTTP/1.1\r\n\r\n", Err(Nonsense)),
            (
                "GET http://a.example/ HTTP/1.1\r\nno header\r\n\r\n",
                Err(Nonsense),
            ),
            (
                "GET http://a.example/ HTTP/1.1\r\nA: b\nHost: c\r\n\r\n",
                Err(Nonsense),
            ),
            (&long, Err(TooLong)),
        ] {
            assert_eq!(of(text).await, expected, "{text:.80}");
        }
    }
}
