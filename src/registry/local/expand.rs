//! `${secret:NAME}` in what a server is started with: filled in from the thread's vault at launch, and never from the bot's
//! own environment. Every other `${…}` is text like any other, and no shell reads it.

use std::collections::BTreeMap;

use super::super::Stage;
use super::super::context::Context;
use super::super::handle::local_masker;
use super::super::trouble::{Mend, Trouble};
use crate::config::{Masker, SecretName, StdioServer, limits};
use crate::secret::Secret;
use crate::thread::ThreadId;

/// The server with its secrets in place, and a masker that knows them.
pub(super) async fn expanded(
    context: &Context,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<(StdioServer, Masker), Trouble> {
    let masker = local_masker(server);
    let mut secrets = BTreeMap::new();
    for name in server.secret_names() {
        let Some(secret) = context.outside.keys.local_secret(thread, &name).await else {
            return Err(Trouble::new(
                Stage::Command,
                format!("the secret `{name}` that it needs has no value here"),
                format!("Give it with `/mcp secrets set {name}`."),
                Mend::Change,
            ));
        };
        secrets.insert(name, secret);
    }
    let server = filled_in(server, &secrets);
    if launch_bytes(&server) > limits::LAUNCH_BYTES && !secrets.is_empty() {
        return Err(Trouble::new(
            Stage::Command,
            "its arguments and variables are too large together with its secrets".to_owned(),
            "Put the large one into a file, and give the server the file's name.",
            Mend::Change,
        ));
    }
    let values = secrets.values().map(|secret| secret.expose().to_owned());
    Ok((server, masker.and(values)))
}

fn filled_in(server: &StdioServer, secrets: &BTreeMap<SecretName, Secret>) -> StdioServer {
    let mut server = server.clone();
    let values = server.env.iter_mut().map(|(_, value)| value);
    for text in values.chain(&mut server.args) {
        *text = filled(text, secrets);
    }
    server
}

/// Once: what a secret's value looks like is no placeholder.
fn filled(text: &str, secrets: &BTreeMap<SecretName, Secret>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut from = 0;
    for (place, name) in SecretName::all_in(text) {
        if let Some(secret) = secrets.get(&name) {
            filled.push_str(&text[from..place.start]);
            filled.push_str(secret.expose());
            from = place.end;
        }
    }
    filled.push_str(&text[from..]);
    filled
}

fn launch_bytes(server: &StdioServer) -> usize {
    let args: usize = server.args.iter().map(String::len).sum();
    let env = server.env.iter();
    let env: usize = env.map(|(name, value)| name.len() + value.len()).sum();
    server.command.len() + args + env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_alone_are_filled_in_and_once() {
        let secret = |name: &str, value: &str| {
            let name = SecretName::new(name).unwrap();
            (name, Secret::from(value.to_owned()))
        };
        let secrets = BTreeMap::from([secret("A", "one"), secret("B", "${secret:A} $(id)")]);
        for (text, expected) in [
            ("${secret:A}", "one"),
            ("--key=${secret:A}:${secret:A}x", "--key=one:onex"),
            ("${secret:B}", "${secret:A} $(id)"),
            ("${secret:NONE}", "${secret:NONE}"),
            ("${secret:A", "${secret:A"),
            (
                "${HOME} $HOME ${env:TELOXIDE_TOKEN} ${input:a} ${A}",
                "${HOME} $HOME ${env:TELOXIDE_TOKEN} ${input:a} ${A}",
            ),
            ("$${secret:A}", "$one"),
        ] {
            assert_eq!(filled(text, &secrets), expected, "{text}");
        }
    }
}
