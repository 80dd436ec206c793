//! The address of a server that is connected: read as people send it, and without the secrets in it.

use url::Url;

use super::super::super::records::{ConnectFlow, Flow};
use super::super::super::refusal::Refusal;
use super::super::super::turn::Turn;
use crate::config::{GivenFor, SecretName, limits, secrets_in_address};
use crate::secret::Secret;

impl Turn<'_> {
    /// Takes the keys out of the address that was just given, into the store; it has their names from here on, also in the
    /// file.
    pub(super) async fn seal_address(
        &mut self,
        flow: &mut Flow,
        connect: &mut ConnectFlow,
    ) -> Result<(), Refusal> {
        // A longer one is no entry's, and nothing in it would be known as a key: not even the flow has it.
        if connect.url.len() > limits::VALUE_BYTES {
            return Err(Refusal::Plain(format!(
                "That address is longer than {} bytes, which no server's may be. Send a shorter one, or `/cancel`.",
                limits::VALUE_BYTES
            )));
        }
        for (_, secret) in SecretName::all_in(&connect.url) {
            if let Some(server) = &connect.name
                && !self.is_stored(&secret).await?
            {
                return Err(Refusal::Plain(format!(
                    "The key `{secret}` in the address has no value here. Give it with `/mcp secrets set {secret} for {server}`, \
                     or connect the server with the key itself in the address: I delete the message and seal it."
                )));
            }
            self.is_theirs(connect, &secret).await?;
        }
        let address = std::mem::take(&mut connect.url);
        let parts = secrets_in_address(&address);
        let Some((first, _)) = parts.first() else {
            connect.url = address;
            return Ok(());
        };
        // The flow is written down with each secret, and must not have the next one in it.
        address[..first.start].clone_into(&mut connect.url);
        let (mut sealed, mut from, mut names) = (String::new(), 0, Vec::new());
        for (part, what) in parts {
            let what = if what.is_empty() { "key" } else { &what };
            let value = Secret::from(address[part.clone()].to_owned());
            let name = self.keep_for_connect(flow, connect, what, value).await?;
            sealed.push_str(&address[from..part.start]);
            sealed.push_str(&name.placeholder());
            names.push(format!("`{name}`"));
            from = part.end;
        }
        sealed.push_str(&address[from..]);
        connect.url = sealed;
        connect.notes.push(match names.as_slice() {
            [one] => format!(
                "The key in the address is sealed as {one}; the file has this name instead."
            ),
            all => format!(
                "The keys in the address are sealed as {}; the file has these names instead.",
                all.join(", ")
            ),
        });
        Ok(())
    }

    /// Refuses a stored key that was not given for this place. The try sends it already, before anybody has agreed to
    /// anything.
    pub(super) async fn is_theirs(
        &mut self,
        connect: &ConnectFlow,
        secret: &SecretName,
    ) -> Result<(), Refusal> {
        let server = connect.name.clone().unwrap_or_default();
        let place = GivenFor::place_of(&connect.url);
        self.may_have(&server, secret, &place, false).await?;
        if self.is_given_for(secret, &connect.url).await? {
            return Ok(());
        }
        Err(Refusal::Plain(format!(
            "No server here is sent the key `{secret}` at that address, so it is not taken from the line. Write the key \
             itself: I delete the message and keep it where nobody sees it."
        )))
    }
}

/// The address in what somebody typed; a scheme that is left out is https.
pub(super) fn address_in(text: &str) -> Result<String, Refusal> {
    let text = text.trim().trim_matches(['<', '>', '"', '`']);
    let words = || {
        Refusal::Plain(
            "That is no address. One looks like `https://mcp.example.com/mcp`; send it, or `/cancel`."
                .to_owned(),
        )
    };
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(words());
    }
    let host = text.split(['/', ':']).next().unwrap_or_default();
    if !text.contains("://") && !host.contains('.') && host != "localhost" {
        // A word of small talk.
        return Err(words());
    }
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    match Url::parse(&whole) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => Ok(whole),
        _ => Err(words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_send_it() {
        for (text, url) in [
            (
                " https://mcp.linear.app/mcp\n",
                Some("https://mcp.linear.app/mcp"),
            ),
            ("mcp.linear.app/mcp", Some("https://mcp.linear.app/mcp")),
            ("<http://localhost:1/mcp>", Some("http://localhost:1/mcp")),
            ("what is an address?", None),
            ("hello", None),
            ("ftp://x.example", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(address_in(text).ok().as_deref(), url, "{text}");
        }
    }
}
