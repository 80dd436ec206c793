//! What a failure of the client means. Its own words hold whole addresses, with queries; ours name host and port alone.

use std::error::Error;
use std::io;

use rustls::{CertificateError, Error as TlsError};
use url::Url;

use super::{AddressProblem, NetError, roots::NoRoots};

type Source<'a> = &'a (dyn Error + 'static);

/// Host and port, as it stands in a sentence.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

pub(super) fn explain(error: &reqwest::Error) -> NetError {
    let host = error.url().map_or_else(|| "the server".to_owned(), host_of);
    let sources = || chain(error);
    if let Some(problem) = sources().find_map(|source| source.downcast_ref::<AddressProblem>()) {
        return problem.clone().into();
    }
    if error.is_builder()
        && let Some(url) = error.url().filter(|url| url.scheme() != "https")
    {
        return AddressProblem::Scheme(url.scheme().to_owned()).into();
    }
    if let Some(tls) = sources().find_map(|source| source.downcast_ref::<TlsError>()) {
        let why = tls_words(tls).to_owned();
        return NetError::Tls { host, why };
    }
    if error.is_timeout() {
        return NetError::TimedOut { host };
    }
    let io = sources().find_map(|source| source.downcast_ref::<io::Error>());
    if error.is_dns() {
        let name = error
            .url()
            .and_then(Url::host_str)
            .unwrap_or("of the server");
        return unknown_name(name, io);
    }
    if !error.is_connect() {
        let why = if error.is_body() || error.is_decode() {
            "it broke off in the middle of the answer"
        } else {
            io.and_then(io_words)
                .unwrap_or("it was closed without an answer, or it does not speak HTTP")
        };
        let why = why.to_owned();
        return NetError::Other { host, why };
    }
    let over_tls = error.url().is_some_and(|url| url.scheme() == "https");
    if over_tls && io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
        let why = "it ended the handshake".to_owned();
        return NetError::Tls { host, why };
    }
    let why = io.and_then(io_words).unwrap_or("no connection").to_owned();
    NetError::Connect { host, why }
}

/// What a failure of the resolver means.
pub(super) fn lookup(name: &str, error: &(dyn Error + Send + Sync + 'static)) -> NetError {
    match error.downcast_ref::<AddressProblem>() {
        Some(problem) => problem.clone().into(),
        None => unknown_name(name, error.downcast_ref()),
    }
}

/// What a failure of a plain connect means.
pub(super) fn connecting(host: &str, error: Option<&io::Error>) -> NetError {
    NetError::Connect {
        host: host.to_owned(),
        why: error
            .and_then(io_words)
            .unwrap_or("no connection")
            .to_owned(),
    }
}

fn unknown_name(name: &str, error: Option<&io::Error>) -> NetError {
    // The standard library says "failed to lookup address information: Name or service not known".
    let words = error.map(ToString::to_string).unwrap_or_default();
    let why = words.rsplit(": ").next().unwrap_or_default();
    NetError::Dns {
        host: name.to_owned(),
        why: if why.is_empty() { "no answer" } else { why }.to_owned(),
    }
}

/// An error and what caused it. An [`io::Error`] made of another error passes over it in `source()`.
fn chain<'a>(error: Source<'a>) -> impl Iterator<Item = Source<'a>> {
    std::iter::successors(Some(error), |&error: &Source<'a>| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as Source<'a>),
            None => error.source(),
        }
    })
}

fn io_words(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    Some(match error.kind() {
        Kind::ConnectionRefused => "connection refused",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => "connection reset",
        Kind::NetworkUnreachable => "no way to that network",
        Kind::HostUnreachable => "no way to that host",
        Kind::NetworkDown => "the network is down",
        Kind::AddrNotAvailable => "no address of this host fits",
        Kind::PermissionDenied => "forbidden by this host",
        Kind::UnexpectedEof => "connection closed",
        _ => return None,
    })
}

fn tls_words(error: &TlsError) -> &'static str {
    use CertificateError as Bad;
    match error {
        TlsError::Other(other) if other.0.is::<NoRoots>() => {
            "this host has no certificates of authorities to check it by; its operator installs ca-certificates"
        }
        TlsError::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate is not valid yet",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            Bad::UnknownIssuer => "its certificate is from nobody who is trusted here",
            Bad::Revoked => "its certificate was revoked",
            _ => "its certificate is not valid",
        },
        TlsError::InvalidMessage(_) => "it does not speak TLS there",
        TlsError::AlertReceived(_) => "it refused the handshake",
        _ => "the handshake failed",
    }
}
