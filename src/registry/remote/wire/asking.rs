//! How one request is brought through: its own headers and token, a token that is refused once, redirects.
//!
//! Every address but the server's own is judged before it is asked (that one was when the wire was laid), and what is the
//! server's own leaves its origin never.

use http::header::{AUTHORIZATION, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use tokio_util::bytes::Bytes;
use url::Url;

use super::challenge::parameter;
use super::{Ask, Failing as _, Wire, WireError};
use crate::config::CredentialId;
use crate::net::NetError;
use crate::registry::NoToken;
use crate::registry::text::one_line;
use crate::secret::Secret;

/// Redirects within the origin that are followed.
const HOPS: usize = 3;

impl Wire {
    /// Asks, with the login that there is; an answer that its caller judges.
    pub(super) async fn negotiate(
        &self,
        ask: &Ask<'_>,
        body: &Bytes,
    ) -> Result<reqwest::Response, WireError> {
        let Some(credential) = &self.credential else {
            let response = self.follow(ask, body, None).await?;
            return match response.status() {
                StatusCode::UNAUTHORIZED => Err(WireError::NeedsLogin {
                    reason: match self.auth {
                        "none" => "it wants a login or a key, and has none here",
                        _ => "it refused the key or token that it was sent",
                    }
                    .to_owned(),
                    challenge: self.challenge(&response),
                }),
                _ => self.rights(response),
            };
        };
        // What is rare is in boxes, so that no other request carries room for it.
        let token = match self.keys.token(self.thread, credential, &self.url).await {
            Ok(token) => token,
            Err(no) => return Err(Box::pin(self.without_token(no, ask, body)).await),
        };
        let response = self.follow(ask, body, Some(&token)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.rights(response);
        }
        let refused = self.challenge(&response);
        drop(response);
        Box::pin(self.renewed(credential, &token, refused, ask, body)).await
    }

    /// The token was refused: once more with a new one.
    async fn renewed(
        &self,
        credential: &CredentialId,
        token: &Secret,
        refused: Option<String>,
        ask: &Ask<'_>,
        body: &Bytes,
    ) -> Result<reqwest::Response, WireError> {
        let renewed = self.keys.refused(self.thread, credential, &self.url, token);
        let renewed = match renewed.await {
            Ok(token) => token,
            Err(NoToken::NeedsLogin(reason)) => {
                return Err(WireError::NeedsLogin {
                    reason,
                    challenge: refused,
                });
            }
            Err(NoToken::Later(reason)) => return Err(WireError::Later(reason)),
        };
        let response = self.follow(ask, body, Some(&renewed)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(WireError::NeedsLogin {
                reason: "it refuses the login that there is".to_owned(),
                challenge: self.challenge(&response).or(refused),
            });
        }
        self.rights(response)
    }

    /// There is no token. How a login begins is in the server's challenge, so it is asked for one where that does nothing.
    async fn without_token(&self, no: NoToken, ask: &Ask<'_>, body: &Bytes) -> WireError {
        let reason = match no {
            NoToken::Later(reason) => return WireError::Later(reason),
            NoToken::NeedsLogin(reason) => reason,
        };
        let challenge = if ask.harmless {
            match self.follow(ask, body, None).await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.challenge(&response)
                }
                Ok(_) => None,
                Err(error) => return error,
            }
        } else {
            None
        };
        WireError::NeedsLogin { reason, challenge }
    }

    /// Follows redirects within the origin; the method and the body stay, since nothing was done yet.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        body: &Bytes,
        token: Option<&Secret>,
    ) -> Result<reqwest::Response, WireError> {
        let mut sent_on: Option<Url> = None;
        for _ in 0..HOPS {
            let request = self.request(ask, sent_on.as_ref().or(ask.url), body, token)?;
            let response = self.net.client().execute(request).await.failing()?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok(response);
            }
            let at = sent_on.as_ref().or(ask.url).unwrap_or(&self.url);
            sent_on = Some(self.next_hop(&response, at, &ask.method)?);
        }
        Err(WireError::Net(NetError::Redirects { host: self.host() }))
    }

    /// Where a redirect leads, if it may be followed; it is judged before it is asked.
    fn next_hop(
        &self,
        response: &reqwest::Response,
        at: &Url,
        method: &Method,
    ) -> Result<Url, WireError> {
        let to = response
            .headers()
            .get(LOCATION)
            .and_then(|value| at.join(value.to_str().ok()?).ok());
        let Some(to) = to else {
            return Err(Self::status_error(response));
        };
        let keeps = response.status() != StatusCode::SEE_OTHER;
        if to.origin() != self.url.origin() || !(keeps || *method == Method::GET) {
            return Err(self.hushed(WireError::Redirect {
                to: one_line(&to.origin().ascii_serialization(), 200),
            }));
        }
        Ok(to)
    }

    /// A request to `elsewhere`, or to the server's own address, which was judged when the wire was laid. What is the
    /// server's own (its headers, its key or token) goes to its origin alone.
    fn request(
        &self,
        ask: &Ask<'_>,
        elsewhere: Option<&Url>,
        body: &Bytes,
        token: Option<&Secret>,
    ) -> Result<reqwest::Request, WireError> {
        let is_own = match elsewhere {
            None => true,
            Some(url) => {
                self.judge(url)?;
                url.origin() == self.url.origin()
            }
        };
        let url = elsewhere.unwrap_or(&self.url).clone();
        let mut request = reqwest::Request::new(ask.method.clone(), url);
        let headers = request.headers_mut();
        if is_own && !self.headers.is_empty() {
            headers.clone_from(&self.headers);
            for (name, value) in &ask.headers {
                headers.insert(name, value.clone());
            }
        } else {
            headers.clone_from(&ask.headers);
        }
        if let Some(token) = token.filter(|_| is_own) {
            headers.insert(AUTHORIZATION, self.bearer(token)?);
        }
        if !body.is_empty() {
            *request.body_mut() = Some(body.clone().into());
        }
        Ok(request)
    }

    fn bearer(&self, token: &Secret) -> Result<HeaderValue, WireError> {
        self.know(token);
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| WireError::NeedsLogin {
            reason: "the token of the login has characters that no header can carry".to_owned(),
            challenge: None,
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn judge(&self, url: &Url) -> Result<(), WireError> {
        self.net
            .judge_url(url.as_str())
            .map_err(NetError::Address)?;
        Ok(())
    }

    fn rights(&self, response: reqwest::Response) -> Result<reqwest::Response, WireError> {
        if response.status() == StatusCode::FORBIDDEN
            && let Some(challenge) = self.challenge(&response)
            && challenge.contains("insufficient_scope")
        {
            return Err(WireError::MoreRights {
                scope: parameter(&challenge, "scope"),
                challenge,
            });
        }
        Ok(response)
    }
}
