//! Who may use the bot at all, who operates it, and who may add servers that run on its host.

use super::{Access, HostPolicy, Listed, WhoAdds};
use crate::actor::ActorId;
use crate::thread::ThreadId;

/// What somebody is to the bot, in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They operate it.
    Operator,
    /// They may use it.
    Admitted,
    /// They may not, by an operator's word.
    Blocked,
    /// Nobody said anything of them.
    Stranger,
}

/// A person or a chat, as an operator names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A person.
    Person(ActorId),
    /// A chat with all its topics.
    Chat(ThreadId),
}

impl HostPolicy {
    /// Whether this person operates the bot: the one at its terminal, and those who are listed.
    pub fn is_operator(&self, actor: &ActorId) -> bool {
        actor.0 == ActorId::LOCAL || self.operators.contains(actor)
    }

    /// What this person is to the bot in this thread. Operators always are; then a block wins; then people are admitted
    /// in whatever chat, and chats with whoever is in them.
    pub fn admission(&self, thread: ThreadId, actor: &ActorId) -> Admission {
        if self.is_operator(actor) {
            Admission::Operator
        } else if self.block.people.contains(actor) || self.block.has_chat(thread) {
            Admission::Blocked
        } else if self.access == Access::Open
            || self.allow.people.contains(actor)
            || self.allow.has_chat(thread)
        {
            Admission::Admitted
        } else {
            Admission::Stranger
        }
    }

    /// Whether this person may add or change servers that run on the bot's host.
    pub fn may_add_local(&self, thread: ThreadId, actor: &ActorId) -> bool {
        self.is_operator(actor)
            || match &self.local_servers {
                WhoAdds::Operators => false,
                WhoAdds::Listed(listed) => listed.people.contains(actor) || listed.has_chat(thread),
                WhoAdds::Everyone => true,
            }
    }

    /// Whether a thread has nobody in it but an operator, so that what its files say is an operator's word: the terminal,
    /// and an operator's private chat.
    pub fn is_an_operators(&self, thread: ThreadId) -> bool {
        match only_person(thread) {
            Some(person) => self.is_operator(&person),
            None => thread == ThreadId::Local,
        }
    }

    /// Whether nothing of the thread may go on running, although it could under `before`: it was blocked, or is not
    /// admitted any more. A group that an admitted person used in spite of its not being listed goes on.
    pub fn closes(&self, before: &Self, thread: ThreadId) -> bool {
        !self.opens(thread) && (before.opens(thread) || self.blocks(thread))
    }

    fn opens(&self, thread: ThreadId) -> bool {
        match only_person(thread) {
            Some(person) => matches!(
                self.admission(thread, &person),
                Admission::Operator | Admission::Admitted
            ),
            None if thread == ThreadId::Local => true,
            None => {
                !self.blocks(thread) && (self.access == Access::Open || self.allow.has_chat(thread))
            }
        }
    }

    fn blocks(&self, thread: ThreadId) -> bool {
        let is_blocked = |person: ActorId| self.block.people.contains(&person);
        self.block.has_chat(thread) || only_person(thread).is_some_and(is_blocked)
    }

    /// From now on they may use the bot.
    pub fn admit(&mut self, named: &Named) {
        self.block.forget(named);
        self.allow.add(named);
    }

    /// From now on they may not.
    pub fn shut_out(&mut self, named: &Named) {
        self.allow.forget(named);
        self.block.add(named);
    }

    /// Neither is said of them any more. Whether anything was.
    pub fn forget(&mut self, named: &Named) -> bool {
        let (allowed, blocked) = (self.allow.forget(named), self.block.forget(named));
        allowed || blocked
    }

    /// A group has another id now: what was said of it holds for that one. Whether anything was.
    pub fn move_chat(&mut self, from: i64, to: i64) -> bool {
        let (from, to) = (ThreadId::telegram(from, None), ThreadId::telegram(to, None));
        let mut lists = vec![&mut self.allow, &mut self.block];
        if let WhoAdds::Listed(listed) = &mut self.local_servers {
            lists.push(listed);
        }
        let mut moved = false;
        for list in lists {
            if list.forget(&Named::Chat(from)) {
                list.add(&Named::Chat(to));
                moved = true;
            }
        }
        moved
    }

    /// Whether anything is said of the chat of a thread.
    pub fn names_chat(&self, thread: ThreadId) -> bool {
        let adds =
            matches!(&self.local_servers, WhoAdds::Listed(listed) if listed.has_chat(thread));
        adds || self.allow.has_chat(thread) || self.block.has_chat(thread)
    }
}

impl Listed {
    /// Whether it has the chat that a thread is in.
    pub fn has_chat(&self, thread: ThreadId) -> bool {
        self.chats.contains(&thread.chat())
    }

    fn add(&mut self, named: &Named) {
        match named {
            Named::Person(person) if !self.people.contains(person) => {
                self.people.push(person.clone());
            }
            Named::Chat(chat) if !self.chats.contains(chat) => self.chats.push(*chat),
            Named::Person(_) | Named::Chat(_) => {}
        }
    }

    fn forget(&mut self, named: &Named) -> bool {
        let before = (self.people.len(), self.chats.len());
        match named {
            Named::Person(person) => self.people.retain(|other| other != person),
            Named::Chat(chat) => self.chats.retain(|other| other != chat),
        }
        (self.people.len(), self.chats.len()) != before
    }
}

impl Named {
    /// The chat of a thread: its person where only one is there.
    pub fn here(thread: ThreadId) -> Self {
        match only_person(thread) {
            Some(person) => Self::Person(person),
            None => Self::Chat(thread.chat()),
        }
    }

    /// `tg:123`, `tg-100123`, `tg123`, or the plain number, which Telegram makes negative for groups.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let person = ActorId(text.to_owned());
        if person.user().is_some() {
            return Some(Self::Person(person));
        }
        let number = text.strip_prefix("tg").unwrap_or(text);
        let thread = format!("tg{number}").parse().ok()?;
        match thread {
            ThreadId::Telegram { chat, topic: None } if chat != 0 => Some(Self::here(thread)),
            ThreadId::Telegram { .. } | ThreadId::Local => None,
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(person) => f.write_str(&person.0),
            Self::Chat(chat) => write!(f, "{chat}"),
        }
    }
}

/// The one person of a private chat, which has their id.
fn only_person(thread: ThreadId) -> Option<ActorId> {
    match thread {
        ThreadId::Telegram { chat, .. } => {
            let user = u64::try_from(chat).ok().filter(|user| *user > 0)?;
            Some(ActorId::telegram(user))
        }
        ThreadId::Local => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: i64 = -100_123;

    fn group(topic: Option<i32>) -> ThreadId {
        ThreadId::telegram(GROUP, topic)
    }

    fn policy(change: impl FnOnce(&mut HostPolicy)) -> HostPolicy {
        let mut policy = HostPolicy {
            operators: vec![ActorId::telegram(1)],
            ..HostPolicy::default()
        };
        change(&mut policy);
        policy
    }

    fn person(user: u64) -> Named {
        Named::Person(ActorId::telegram(user))
    }

    #[test]
    fn strangers_stay_out_until_somebody_lets_them_in() {
        use Admission::{Admitted, Blocked, Operator, Stranger};
        let chat = Named::Chat(group(None));
        let listed = policy(|_| {});
        let allowed = policy(|policy| policy.admit(&person(5)));
        let in_chat = policy(|policy| policy.admit(&chat));
        let open = policy(|policy| policy.access = Access::Open);
        let blocked = policy(|policy| {
            policy.access = Access::Open;
            policy.shut_out(&person(5));
        });
        let shut_chat = policy(|policy| {
            policy.admit(&person(5));
            policy.shut_out(&chat);
        });
        let alone = ThreadId::telegram(5, None);
        for (name, policy, thread, user, expected) in [
            ("an operator", &listed, alone, 1, Operator),
            (
                "an operator in a blocked chat",
                &shut_chat,
                group(None),
                1,
                Operator,
            ),
            ("a stranger", &listed, alone, 5, Stranger),
            ("a stranger's topic", &listed, group(Some(4)), 5, Stranger),
            ("somebody allowed", &allowed, alone, 5, Admitted),
            (
                "somebody allowed, in a group",
                &allowed,
                group(Some(4)),
                5,
                Admitted,
            ),
            (
                "somebody else in that group",
                &allowed,
                group(Some(4)),
                6,
                Stranger,
            ),
            (
                "a topic of an allowed group",
                &in_chat,
                group(Some(4)),
                6,
                Admitted,
            ),
            ("the same person in private", &in_chat, alone, 5, Stranger),
            ("anybody, when open", &open, alone, 9, Admitted),
            ("somebody blocked", &blocked, group(None), 5, Blocked),
            ("their neighbour", &blocked, group(None), 6, Admitted),
            (
                "an allowed person in a blocked chat",
                &shut_chat,
                group(Some(2)),
                5,
                Blocked,
            ),
        ] {
            let admission = policy.admission(thread, &ActorId::telegram(user));
            assert_eq!(admission, expected, "{name}");
        }
        let terminal = ActorId(ActorId::LOCAL.to_owned());
        assert_eq!(listed.admission(ThreadId::Local, &terminal), Operator);
        assert_eq!(listed.admission(group(None), &terminal), Operator);
        let anonymous = ActorId::anonymous(GROUP);
        assert_eq!(listed.admission(group(None), &anonymous), Stranger);
        assert_eq!(in_chat.admission(group(None), &anonymous), Admitted);
    }

    #[test]
    fn local_servers_are_for_operators_and_whom_they_name() {
        let named = Listed {
            people: vec![ActorId::telegram(5)],
            chats: vec![group(None)],
        };
        let named = policy(|policy| policy.local_servers = WhoAdds::Listed(named));
        let everyone = policy(|policy| policy.local_servers = WhoAdds::Everyone);
        let elsewhere = ThreadId::telegram(-9, None);
        for (policy, thread, user, expected) in [
            (&policy(|_| {}), group(None), 1, true),
            (&policy(|_| {}), group(None), 5, false),
            (&named, elsewhere, 5, true),
            (&named, group(Some(3)), 6, true),
            (&named, elsewhere, 6, false),
            (&everyone, elsewhere, 6, true),
        ] {
            let may = policy.may_add_local(thread, &ActorId::telegram(user));
            assert_eq!(may, expected, "{user} in {thread}");
        }
    }

    #[test]
    fn a_tightened_policy_closes_what_it_opened_and_what_it_blocks() {
        let chat = Named::Chat(group(None));
        let alone = ThreadId::telegram(5, None);
        let nothing = policy(|_| {});
        let with_chat = policy(|policy| policy.admit(&chat));
        let with_person = policy(|policy| policy.admit(&person(5)));
        let open = policy(|policy| policy.access = Access::Open);
        let shut = policy(|policy| policy.shut_out(&chat));
        for (name, before, after, thread, expected) in [
            (
                "a chat taken off",
                &with_chat,
                &nothing,
                group(Some(2)),
                true,
            ),
            ("a person taken off", &with_person, &nothing, alone, true),
            ("no longer open", &open, &nothing, alone, true),
            (
                "a group that was never listed",
                &nothing,
                &with_person,
                group(None),
                false,
            ),
            ("blocked", &nothing, &shut, group(Some(2)), true),
            ("let in", &nothing, &with_chat, group(None), false),
            ("the terminal", &open, &nothing, ThreadId::Local, false),
            (
                "an operator's own chat",
                &open,
                &nothing,
                ThreadId::telegram(1, None),
                false,
            ),
        ] {
            assert_eq!(after.closes(before, thread), expected, "{name}");
        }
    }

    #[test]
    fn a_group_that_moves_keeps_what_was_said_of_it() {
        let mut moved = policy(|policy| policy.admit(&Named::Chat(group(None))));
        assert!(moved.names_chat(group(Some(7))));
        assert!(moved.move_chat(GROUP, -200));
        assert!(!moved.move_chat(GROUP, -200));
        assert_eq!(moved.allow.chats, [ThreadId::telegram(-200, None)]);
    }

    #[test]
    fn d38_whom_an_operator_names_is_read_as_a_number_and_never_as_a_path() {
        for (text, expected) in [
            ("tg:5", Some(person(5))),
            (" 5 ", Some(person(5))),
            ("tg5", Some(person(5))),
            ("-100123", Some(Named::Chat(group(None)))),
            ("tg-100123", Some(Named::Chat(group(None)))),
            ("tg-100123.4", None),
            ("0", None),
            ("@bob", None),
            ("../5", None),
            ("tg:5/..", None),
            ("local", None),
            ("", None),
        ] {
            assert_eq!(Named::read(text), expected, "{text}");
        }
    }

    #[test]
    fn an_operators_own_threads_are_those_with_nobody_else_in_them() {
        let policy = policy(|_| {});
        assert!(policy.is_an_operators(ThreadId::Local));
        assert!(policy.is_an_operators(ThreadId::telegram(1, None)));
        assert!(!policy.is_an_operators(ThreadId::telegram(5, None)));
        assert!(!policy.is_an_operators(group(None)));
    }
}
