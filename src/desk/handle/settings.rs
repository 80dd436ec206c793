//! `/settings`: who may do what in a chat, decided by its creator.

use super::super::action::SettingVerb;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use crate::actor::Standing;
use crate::chat::Answer;
use crate::policy::{Action, Call, ChatSettings, Configure, WhoAdds};

impl Turn<'_> {
    /// Shows them; everybody in the chat may look.
    pub(super) async fn settings(&mut self) -> Done {
        self.is_for_many()?;
        self.may(Action::Read, false).await?;
        let settings = self.chat_settings().await?;
        // An anonymous administrator may be the creator: their press comes under their own name.
        let may_change = self.actor.id.is_shared() || self.may_set(false).await?;
        self.say(screens::chat_settings(
            settings,
            self.who_adds(),
            may_change,
        ))
        .await
    }

    /// A button of theirs.
    pub(super) async fn set(&mut self, verb: SettingVerb) -> Done {
        self.is_for_many()?;
        if !self.may_set(true).await? {
            return Err(Refusal::Over(
                "Only the creator of this chat can change who may do what in it.",
            ));
        }
        let deed = match verb {
            SettingVerb::ByAdministrators => "administrators change servers",
            SettingVerb::ByCreator => "the creator alone changes servers",
            SettingVerb::ByEverybody => "everybody changes servers",
            SettingVerb::CallsEverybody => "everybody calls tools",
            SettingVerb::CallsAdministrators => "administrators call tools",
        };
        let set = move |settings: &mut ChatSettings| match verb {
            SettingVerb::ByAdministrators => settings.configure = Configure::Administrators,
            SettingVerb::ByCreator => settings.configure = Configure::Creator,
            SettingVerb::ByEverybody => settings.configure = Configure::Everybody,
            SettingVerb::CallsEverybody => settings.call = Call::Everybody,
            SettingVerb::CallsAdministrators => settings.call = Call::Administrators,
        };
        let chat = self.thread.chat();
        let settings = self
            .stored(move |store| store.change_chat_settings(chat, set))
            .await?;
        self.hall.note_admin(
            self.thread,
            self.actor.clone(),
            format!("from now on, {deed}"),
        );
        self.answer(Answer::Toast(format!("From now on, {deed}.")))
            .await;
        self.say(screens::chat_settings(settings, self.who_adds(), true))
            .await
    }

    /// Who adds servers that run on the host to this chat, in words.
    fn who_adds(&self) -> &'static str {
        match &self.hall.parts.policy.now().local_servers {
            WhoAdds::Operators => "its operators alone",
            WhoAdds::Listed(listed) if !listed.has_chat(self.thread) => {
                "its operators and people whom they named"
            }
            WhoAdds::Listed(_) | WhoAdds::Everyone => "whoever changes servers here",
        }
    }

    fn is_for_many(&self) -> Done {
        if self.private {
            Err(Refusal::Plain(
                "This chat is yours alone, so there is nothing to settle. In a group, `/settings` says who may do what."
                    .to_owned(),
            ))
        } else {
            Ok(())
        }
    }

    async fn may_set(&self, fresh: bool) -> Result<bool, Refusal> {
        if self.is_operator() {
            return Ok(true);
        }
        let standing = self.standing(fresh).await?;
        Ok(matches!(standing, Standing::Creator | Standing::Own))
    }
}
