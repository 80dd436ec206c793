//! One request of a fetch, and what becomes of it when the answer sends it elsewhere.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use url::Url;

use super::{AddressProblem, NetError, host_of};

/// What a request keeps when it leaves its origin; anything else may be a key or tell who asks.
const HARMLESS: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::USER_AGENT];

/// What only says how a body is to be read or sent.
const OF_THE_BODY: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
];

/// What belongs to one connection, and is written by the client.
const OF_THE_CONNECTION: [HeaderName; 4] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

/// A request on its way.
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Hop {
    /// The request as it was asked for; its URL has been judged.
    pub(super) fn first(url: Url, request: http::Request<Vec<u8>>) -> Self {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        for name in OF_THE_CONNECTION {
            headers.remove(name);
        }
        Self {
            url,
            method: parts.method,
            headers,
            body,
        }
    }

    /// Where the answer sends it; `None` where it is no redirect, or one that names no place.
    pub(super) fn sent_on_to(
        &self,
        status: StatusCode,
        answer: &HeaderMap,
    ) -> Result<Option<Url>, NetError> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = answer.get(header::LOCATION) else {
            return Ok(None);
        };
        let mut to = std::str::from_utf8(location.as_bytes())
            .ok()
            .and_then(|location| self.url.join(location).ok())
            .ok_or_else(|| self.lost())?;
        to.set_fragment(None);
        if self.url.scheme() == "https" && to.scheme() == "http" {
            return Err(AddressProblem::Scheme("http".to_owned()).into());
        }
        Ok(Some(to))
    }

    /// The request for the next place, which has been judged.
    pub(super) fn next(mut self, status: StatusCode, to: Url) -> Result<Self, NetError> {
        let is_read = matches!(self.method, Method::GET | Method::HEAD);
        let stays = self.url.origin() == to.origin();
        if matches!(status.as_u16(), 307 | 308) {
            if !stays && (!is_read || !self.body.is_empty()) {
                return Err(self.lost());
            }
        } else {
            if !is_read {
                self.method = Method::GET;
            }
            self.body.clear();
            for name in OF_THE_BODY {
                self.headers.remove(name);
            }
        }
        if !stays {
            self.headers = std::mem::take(&mut self.headers)
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .filter(|(name, _)| HARMLESS.contains(name))
                .collect();
        }
        self.url = to;
        Ok(self)
    }

    /// That it cannot be followed from here.
    pub(super) fn lost(&self) -> NetError {
        NetError::Redirects {
            host: host_of(&self.url),
        }
    }
}
