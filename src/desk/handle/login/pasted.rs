//! The way back without a public address: the person pastes where their browser was sent.

use std::sync::Arc;

use super::super::super::Work;
use super::super::super::refusal::Refusal;
use super::super::super::screens;
use super::super::super::turn::Turn;
use super::super::{Done, News};
use crate::chat::View;
use crate::oauth::{LoginId, OAuthError};
use crate::policy::Action;

impl Turn<'_> {
    /// The person pasted the address that their browser was sent to. It has a code in it, so the message goes.
    pub(in crate::desk::handle) async fn pasted_address(&mut self, address: &str) -> Done {
        let note = self.hide_what_was_said().await;
        if let Some(note) = note {
            self.send(View::text(note)).await;
        }
        let own = self
            .records
            .logins
            .iter()
            .any(|login| login.by.id == self.actor.id || login.by.id.is_shared());
        if !own {
            return Err(Refusal::Plain(
                "No login of yours waits here. Begin one with `/mcp login NAME`.".to_owned(),
            ));
        }
        let shared = self
            .records
            .logins
            .iter()
            .find(|login| login.by.id == self.actor.id)
            .or_else(|| {
                self.records
                    .logins
                    .iter()
                    .find(|login| login.by.id.is_shared())
            });
        let by = match shared {
            Some(login) => {
                let by = login.by.clone();
                self.may_go_on(&by).await?;
                self.may(Action::Configure, true).await?;
                by
            }
            None => self.actor.clone(),
        };
        let (hall, thread, address) = (Arc::clone(self.hall), self.thread, address.to_owned());
        self.hall.spawn(async move {
            let pasted = hall.parts.oauth.pasted(thread, &by.id, &address).await;
            let news = News::Pasted { by, pasted };
            let _ = hall.post(thread, Work::News(news));
        });
        Ok(())
    }

    /// The pasted address was taken, or not.
    pub(in crate::desk::handle) fn pasted(&self, pasted: Result<LoginId, OAuthError>) -> Done {
        match pasted {
            Ok(id) => {
                let mut logins = self.records.logins.iter();
                if !logins.any(|login| login.login.as_ref() == Some(&id)) {
                    return Err(Refusal::Plain("This login is over.".to_owned()));
                }
                // No cookie says whose browser it was, so the account is shown first: it comes as news, above Finish.
                Ok(())
            }
            Err(error) => Err(Refusal::Plain(screens::oauth_words(&error))),
        }
    }
}

/// Whether a text is the address that a browser was sent back to.
pub(in crate::desk::handle) fn is_callback(text: &str) -> bool {
    let text = text.trim();
    let Some((path, query)) = text.split_once('?') else {
        return false;
    };
    let has = |key: &str| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(key))
    };
    !text.contains(char::is_whitespace)
        && path.ends_with("/oauth/callback")
        && has("state")
        && (has("code") || has("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_known_when_it_is_pasted() {
        for (text, expected) in [
            ("http://127.0.0.1:8787/oauth/callback?code=a&state=b", true),
            (
                " https://bot.example/oauth/callback?state=b&code=a&iss=c\n",
                true,
            ),
            (
                "https://bot.example/oauth/callback?error=access_denied&state=b",
                true,
            ),
            ("https://bot.example/oauth/callback?code=a", false),
            ("https://bot.example/oauth/callback", false),
            ("https://bot.example/?code=a&state=b", false),
            (
                "see https://bot.example/oauth/callback?code=a&state=b",
                false,
            ),
        ] {
            assert_eq!(is_callback(text), expected, "{text}");
        }
    }
}
