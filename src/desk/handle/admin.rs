//! `/admin`: operators let people and chats in, keep them out, and name other operators.
//!
//! What is decided is written into the operator's policy and in force when the answer is sent.

use super::super::action::AdmitVerb;
use super::super::blocking;
use super::super::refusal::Refusal;
use super::super::screens;
use super::super::turn::Turn;
use super::Done;
use crate::chat::Text;
use crate::command::AdminRequest;
use crate::config::POLICY_FILE;
use crate::policy::{HostPolicy, Named};
use crate::store::PolicyError;

impl Turn<'_> {
    /// `/admin …`.
    pub(super) async fn admin(&mut self, asked: AdminRequest) -> Done {
        self.operates()?;
        match asked {
            AdminRequest::Panel => self.admin_panel().await,
            AdminRequest::Allow(id) => {
                let named = self.named(&id)?;
                let (whom, done) = (named.clone(), named.to_string());
                self.decree(format!("allowed {done}"), move |policy| policy.admit(&whom))
                    .await?;
                self.was_decided(&named, " may use me now.").await
            }
            AdminRequest::Block(id) => {
                let named = self.named(&id)?;
                self.block(&named).await?;
                self.was_decided(&named, " may not use me any more; what ran there stops.")
                    .await
            }
            AdminRequest::Forget(id) => {
                let named = self.named(&id)?;
                let policy = self.hall.parts.policy.now();
                if !HostPolicy::clone(&policy).forget(&named) {
                    return self
                        .was_decided(
                            &named,
                            " is neither allowed nor blocked; nothing was changed.",
                        )
                        .await;
                }
                let (whom, done) = (named.clone(), named.to_string());
                self.decree(format!("forgot {done}"), move |policy| {
                    policy.forget(&whom);
                })
                .await?;
                self.was_decided(&named, " is neither allowed nor blocked now.")
                    .await
            }
            AdminRequest::AddOperator(id) => self.add_operator(&id).await,
            AdminRequest::RemoveOperator(id) => self.remove_operator(&id).await,
        }
    }

    /// Who may use the bot, and who waits.
    pub(super) async fn admin_panel(&mut self) -> Done {
        self.operates()?;
        if !self.private {
            return Err(Refusal::Plain(
                "Others read along here: send me `/admin` in our private chat.".to_owned(),
            ));
        }
        let policy = self.hall.parts.policy.now();
        let waiting = self.hall.door.waiting(&policy);
        let broken = self.hall.parts.reload.policy_trouble();
        self.say(screens::admin_panel(
            &policy,
            broken.as_deref(),
            &self.actor.id,
            &waiting,
            self.now_ms(),
        ))
        .await
    }

    /// A button below "somebody asked".
    pub(super) async fn admit(&mut self, verb: AdmitVerb, id: &str) -> Done {
        self.operates()?;
        let Some(caller) = self.hall.door.take_caller(id) else {
            return Err(Refusal::Over(
                "That was decided already, or I was started anew since. If they still wait, send /admin allow and the id that stands here, or have them write to me once more.",
            ));
        };
        let chat = || caller.chat.map(Named::Chat);
        let person = || caller.person.clone().map(Named::Person);
        let named = match verb {
            AdmitVerb::Person => person(),
            AdmitVerb::Chat => chat(),
            AdmitVerb::Block => chat().or_else(person),
        };
        let Some(named) = named else {
            self.hall.door.put_back(caller);
            return Err(Refusal::Over(
                "An anonymous administrator has no id: allow the chat.",
            ));
        };
        let whom = named.clone();
        let written = match verb {
            AdmitVerb::Block => self.block(&named).await,
            AdmitVerb::Person | AdmitVerb::Chat => {
                self.decree(format!("allowed {named}"), move |policy| {
                    policy.admit(&whom);
                })
                .await
            }
        };
        if let Err(refusal) = written {
            self.hall.door.put_back(caller);
            return Err(refusal);
        }
        if verb != AdmitVerb::Block {
            let (hall, thread) = (std::sync::Arc::clone(self.hall), caller.thread);
            self.hall.spawn(async move {
                let _ = hall.send(thread, screens::you_are_in()).await;
            });
        }
        let text = Text::default()
            .bold(screens::shortened(&caller.name, 40))
            .plain(": ")
            .code(named.to_string());
        let text = match verb {
            AdmitVerb::Block => text.plain(" may not use me."),
            AdmitVerb::Person | AdmitVerb::Chat => text.plain(" may use me now."),
        };
        self.say(screens::decided(text)).await
    }

    /// Refuses whoever does not operate the bot.
    fn operates(&self) -> Done {
        if self.is_operator() {
            Ok(())
        } else {
            Err(Refusal::NotAnOperator)
        }
    }

    /// Whom an operator means.
    fn named(&self, id: &str) -> Result<Named, Refusal> {
        if matches!(id.to_lowercase().as_str(), "here" | "this") {
            return match Named::here(self.thread) {
                Named::Chat(crate::thread::ThreadId::Local) => Err(Refusal::Plain(
                    "The terminal is yours already; name a person or a chat.".to_owned(),
                )),
                named => Ok(named),
            };
        }
        Named::read(id).ok_or_else(|| {
            let words = if id.starts_with('@') {
                "I cannot look names up. Reply to a message of theirs with the command, or give the id that they were told (`tg:123`)."
            } else {
                "That is no id. People have ids like `tg:123`, chats like `tg-100123`; who asks me is told theirs."
            };
            Refusal::Plain(words.to_owned())
        })
    }

    async fn block(&self, named: &Named) -> Done {
        if let Named::Person(person) = named
            && self.hall.parts.policy.now().is_operator(person)
        {
            return Err(Refusal::Plain(
                "They operate this bot. Take that from them first: `/admin operator remove` and the id.".to_owned(),
            ));
        }
        let whom = named.clone();
        self.decree(format!("blocked {named}"), move |policy| {
            policy.shut_out(&whom);
        })
        .await
    }

    async fn add_operator(&mut self, id: &str) -> Done {
        let named = self.named(id)?;
        let Named::Person(person) = named.clone() else {
            return Err(Refusal::Plain(
                "An operator is a person: give an id like `tg:123`.".to_owned(),
            ));
        };
        let whom = named.clone();
        self.decree(
            format!("made {person} an operator", person = person.0),
            move |policy| {
                // Nothing is left of a block: it would come back when they operate no more.
                policy.forget(&whom);
                if !policy.operators.contains(&person) {
                    policy.operators.push(person.clone());
                }
            },
        )
        .await?;
        self.was_decided(&named, " operates this bot now, as you do.")
            .await
    }

    async fn remove_operator(&mut self, id: &str) -> Done {
        let named = self.named(id)?;
        let rules = &self.hall.parts.policy;
        let policy = rules.now();
        let person = match &named {
            Named::Person(person) if policy.operators.contains(person) => person.clone(),
            Named::Person(_) | Named::Chat(_) => {
                return Err(Refusal::Plain(format!(
                    "{named} does not operate this bot."
                )));
            }
        };
        if rules.is_given(&person) {
            return Err(Refusal::Plain(format!(
                "{named} is named by SWITCHBOARD_OPERATORS: take them out there and start me anew."
            )));
        }
        if policy.operators.len() == 1 && person == self.actor.id {
            return Err(Refusal::Plain(
                "You are the last operator. Make somebody else one first: `/admin operator add` and their id.".to_owned(),
            ));
        }
        let gone = person.clone();
        self.decree(
            format!("{} is no operator any more", person.0),
            move |policy| {
                policy.operators.retain(|operator| *operator != gone);
            },
        )
        .await?;
        self.was_decided(&named, " does not operate this bot any more.")
            .await
    }

    /// Writes something into the policy; it is in force when this returns.
    async fn decree(
        &self,
        deed: String,
        change: impl Fn(&mut HostPolicy) + Send + 'static,
    ) -> Done {
        let store = self.hall.parts.store.clone();
        let written = blocking(move || store.change_policy(change)).await;
        match written {
            Ok(_) => {}
            Err(PolicyError::Broken(error)) => {
                return Err(Refusal::Plain(format!(
                    "{POLICY_FILE} on the bot's machine is broken ({error}). Nothing was changed: mend it there first."
                )));
            }
            Err(PolicyError::Store(error)) => return Err(Refusal::Store(error.to_string())),
        }
        self.hall.parts.reload.heed_policy().await;
        tracing::info!(by = %self.actor.id.0, %deed, "an operator changed the policy.");
        self.hall.note_admin(self.thread, self.actor.clone(), deed);
        Ok(())
    }

    async fn was_decided(&mut self, named: &Named, words: &str) -> Done {
        let text = Text::default().code(named.to_string()).plain(words);
        self.say(screens::decided(text)).await
    }
}
