//! The one HTTP client: everything that the bot fetches for a thread goes through here, and so through the address filter.
//!
//! Addresses are judged three times: literals when a URL is read, names at each connect (so that a second DNS answer
//! changes nothing), and redirects one by one, since none is followed by the client itself. No proxy from the environment
//! is used: it would pass it all by. (Telegram's Bot API is spoken to by teloxide's own client: its address is the
//! operator's, not a thread's.)

pub mod egress;
mod explain;
mod judge;
mod redirect;
mod resolve;
mod roots;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::policy::{AddressProblem, AddressRules, literal};
use explain::host_of;
use judge::Judge;
use redirect::Hop;
use resolve::Resolver;

/// How often a silent connection is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How the client works.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// What may be spoken to.
    pub rules: AddressRules,
    /// The deadline of a connect: DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// An answer or a body that brings nothing for this long has failed, streams too: who listens for longer asks anew.
    pub read_timeout: Duration,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            rules: AddressRules::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(5),
        }
    }
}

/// The handle of the room. Cheap to clone; clones share the pool of connections.
#[derive(Debug, Clone)]
pub struct Net {
    judge: Arc<Judge>,
    resolver: Resolver,
    client: reqwest::Client,
    patience: Duration,
}

/// Where a fetch may be sent on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Nowhere: a redirect is the answer.
    None,
    /// Up to this many, each judged, and none from https to http. 301, 302 and 303 become a GET without a body; 307 and 308
    /// keep the method and the body, within the origin alone. Headers of our own leave the origin never.
    Follow(usize),
}

/// Why a fetch brought no answer. The words hold no secret and no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The address may not be spoken to.
    #[error("the address {0}")]
    Address(#[from] AddressProblem),
    /// The name has no address.
    #[error("the name {host} cannot be found ({why})")]
    Dns {
        /// The name.
        host: String,
        /// Why, in a few words.
        why: String,
    },
    /// Nobody answers there.
    #[error("{host} cannot be reached ({why})")]
    Connect {
        /// Host and port.
        host: String,
        /// Why: `connection refused`.
        why: String,
    },
    /// The certificate or the TLS handshake is wrong.
    #[error("no secure connection to {host} ({why})")]
    Tls {
        /// Host and port.
        host: String,
        /// Why: `certificate expired`.
        why: String,
    },
    /// It took too long.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// Host and port.
        host: String,
    },
    /// It sends on too often, or to somewhere that makes no sense.
    #[error("{host} sends on to elsewhere too often, or to where I cannot follow")]
    Redirects {
        /// Host and port.
        host: String,
    },
    /// The answer is larger than was allowed.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// Bytes.
        limit: usize,
    },
    /// Anything else.
    #[error("the connection to {host} failed ({why})")]
    Other {
        /// Host and port.
        host: String,
        /// Why.
        why: String,
    },
}

impl Net {
    /// Builds the client. Where the host has no certificates of authorities, what needs TLS fails by a sentence that says
    /// so, and everything else works.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "the default client that could stand in has no filter"
    )]
    pub fn new(options: NetOptions) -> Self {
        // Another part of the process may have installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let NetOptions {
            rules,
            connect_timeout,
            read_timeout,
        } = options;
        let judge = Arc::new(Judge::new(rules));
        let resolver = Resolver::new(Arc::clone(&judge));
        let builder = || client(&resolver, connect_timeout, read_timeout);
        let client = builder().build().unwrap_or_else(|_| {
            tracing::warn!(
                "this host has no certificates of authorities (Debian's package is ca-certificates), so no https address \
                 can be reached."
            );
            builder()
                .tls_backend_preconfigured(roots::none())
                .build()
                .expect("a client that trusts nobody asks nothing of the host")
        });
        Self {
            judge,
            resolver,
            client,
            patience: connect_timeout,
        }
    }

    /// What may be spoken to.
    pub fn rules(&self) -> &AddressRules {
        self.judge.rules()
    }

    /// [`AddressRules::judge_url`], and not this host itself by one of its public addresses.
    pub fn judge_url(&self, text: &str) -> Result<Url, AddressProblem> {
        let url = self.rules().judge_url(text)?;
        if let Some(address) = literal(&url) {
            self.judge.judge(address)?;
        }
        Ok(url)
    }

    /// The client itself, for streams: it follows no redirect, uses no proxy, resolves names through the filter, and has
    /// a connect and a read timeout. Whoever sends a request has judged its URL by [`Net::judge_url`] first, since a
    /// literal IP is never resolved.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The public addresses of a host as the filter sees them; for a probe's first stage.
    pub async fn resolve(&self, url: &Url) -> Result<Vec<IpAddr>, NetError> {
        let url = self.judge_url(url.as_str())?;
        if let Some(address) = literal(&url) {
            return Ok(vec![address]);
        }
        let name = url.host_str().unwrap_or_default().to_owned();
        let looked_up = tokio::time::timeout(self.patience, self.resolver.look_up(&name));
        match looked_up.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(explain::lookup(&name, error.as_ref())),
            Err(_) => Err(NetError::Dns {
                host: name,
                why: "no answer in time".to_owned(),
            }),
        }
    }

    /// One request with its whole answer, at most `limit` bytes, within `deadline`. The URL and each redirect are judged.
    pub async fn fetch(
        &self,
        request: http::Request<Vec<u8>>,
        redirects: Redirects,
        limit: usize,
        deadline: Duration,
    ) -> Result<http::Response<Vec<u8>>, NetError> {
        let url = self.judge_url(&request.uri().to_string())?;
        let host = host_of(&url);
        let whole = self.follow(Hop::first(url, request), redirects, limit);
        match tokio::time::timeout(deadline, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(NetError::TimedOut { host }),
        }
    }

    /// What a failure of the client means, in words without a query or a secret.
    pub fn explain(error: &reqwest::Error) -> NetError {
        explain::explain(error)
    }

    async fn follow(
        &self,
        mut hop: Hop,
        redirects: Redirects,
        limit: usize,
    ) -> Result<http::Response<Vec<u8>>, NetError> {
        let mut left = match redirects {
            Redirects::None => return bounded(self.send(&hop).await?, &hop.url, limit).await,
            Redirects::Follow(most) => most,
        };
        loop {
            let answer = self.send(&hop).await?;
            let Some(to) = hop.sent_on_to(answer.status(), answer.headers())? else {
                return bounded(answer, &hop.url, limit).await;
            };
            let url = self.judge_url(to.as_str())?;
            left = left.checked_sub(1).ok_or_else(|| hop.lost())?;
            hop = hop.next(answer.status(), url)?;
        }
    }

    async fn send(&self, hop: &Hop) -> Result<reqwest::Response, NetError> {
        let mut request = self
            .client
            .request(hop.method.clone(), hop.url.clone())
            .headers(hop.headers.clone());
        if !hop.body.is_empty() {
            request = request.body(hop.body.clone());
        }
        request.send().await.map_err(|error| Self::explain(&error))
    }
}

fn client(
    resolver: &Resolver,
    connect_timeout: Duration,
    read_timeout: Duration,
) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(resolver.clone())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .https_only(!resolver.rules().allow_http)
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .read_timeout(read_timeout)
        // A peer that vanished is noticed, also where nothing is said for long.
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .tcp_keepalive_retries(3)
        .http2_keep_alive_interval(KEEPALIVE)
        .http2_keep_alive_timeout(KEEPALIVE)
}

/// Reads an answer to its end, or to the limit.
async fn bounded(
    mut answer: reqwest::Response,
    url: &Url,
    limit: usize,
) -> Result<http::Response<Vec<u8>>, NetError> {
    let too_large = || NetError::TooLarge {
        host: host_of(url),
        limit,
    };
    // What it says of its size may be a lie, so it can only refuse early.
    if answer
        .content_length()
        .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit))
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        // An error in the body does not know where it is from.
        .map_err(|error| Net::explain(&error.with_url(url.clone())))?
    {
        if chunk.len() > limit - body.len() {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let mut whole = http::Response::new(body);
    *whole.status_mut() = answer.status();
    *whole.version_mut() = answer.version();
    *whole.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(whole)
}
