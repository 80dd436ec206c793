//! What requests to a server carry of its own: headers, with the secrets that they name in their places.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{Mend, TOKEN, Trouble};
use crate::config::{SecretName, address_with};
use crate::registry::text::one_line;
use crate::registry::{Keys, Stage};
use crate::secret::Secret;
use crate::thread::ThreadId;

/// What the headers of a server are gathered with.
pub(super) struct Gathering<'a> {
    pub(super) keys: &'a dyn Keys,
    pub(super) thread: ThreadId,
    pub(super) url: &'a Url,
    /// What is secret of it, by name, for a masker.
    pub(super) known: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl Gathering<'_> {
    /// The address with its secrets in place.
    pub(super) async fn address(&mut self, address: &str) -> Result<String, Trouble> {
        let mut values = Vec::new();
        for (_, name) in SecretName::all_in(address) {
            let secret = self.written(&name).await?;
            values.push((name, secret));
        }
        Ok(address_with(address, |name| exposed(&values, name)))
    }

    /// A header's value with its secrets in place.
    pub(super) async fn filled(&mut self, value: &str) -> Result<String, Trouble> {
        let mut filled = String::new();
        let mut rest = value;
        while let Some(start) = rest.find("${secret:") {
            let Some(length) = rest[start..].find('}') else {
                break;
            };
            filled.push_str(&rest[..start]);
            let placeholder = &rest[start..=start + length];
            match SecretName::of_placeholder(placeholder) {
                Some(name) => filled.push_str(self.written(&name).await?.expose().trim()),
                None => filled.push_str(placeholder),
            }
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The value of a secret that the address or a header names.
    async fn written(&mut self, name: &SecretName) -> Result<Secret, Trouble> {
        let advice = format!("Give it with `/mcp secrets set {name} for` and the server's name.");
        self.value(name, &advice).await
    }

    /// The value of the secret that proves who the bot is.
    pub(super) async fn secret(&mut self, name: &SecretName) -> Result<Secret, Trouble> {
        self.value(name, "Give it with `/mcp login` and the server's name.")
            .await
    }

    async fn value(&mut self, name: &SecretName, advice: &str) -> Result<Secret, Trouble> {
        let Some(secret) = self.keys.secret(self.thread, name, self.url).await else {
            return Err(Trouble::new(
                Stage::Auth,
                format!("the secret `{name}` that it needs is not set here for this address"),
                advice,
                Mend::Change,
            ));
        };
        self.known
            .push((TOKEN.to_owned(), secret.expose().trim().to_owned()));
        Ok(secret)
    }

    /// Takes a header.
    pub(super) fn header(&mut self, name: &str, value: &str) -> Result<(), Trouble> {
        let wrong = |part: &str| {
            Trouble::new(
                Stage::Auth,
                format!(
                    "{part} of its header `{}` has characters that no header can carry",
                    one_line(name, 60)
                ),
                "Give it another one with `/mcp edit` or `/mcp login`.",
                Mend::Change,
            )
        };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name"))?;
        let mut bytes = HeaderValue::from_str(value).map_err(|_| wrong("the value"))?;
        bytes.set_sensitive(true);
        self.known.push((name.to_owned(), value.to_owned()));
        self.headers.insert(header, bytes);
        Ok(())
    }
}

fn exposed<'a>(values: &'a [(SecretName, Secret)], name: &SecretName) -> Option<&'a str> {
    let mut values = values.iter();
    values
        .find(|(known, _)| known == name)
        .map(|(_, secret)| secret.expose())
}
