//! People and groups, as a test moves them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::state::{Chat, ChatKind, File, Message, Shown, now};
use super::{BOT_ID, Place, Shared};

/// What somebody is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Creator,
    Administrator,
    Member,
    Restricted { is_member: bool },
    Left,
    Kicked,
}

impl Role {
    /// A `ChatMember` object of the Bot API.
    pub(crate) fn json(self, user: &Value) -> Value {
        const RIGHTS: [&str; 15] = [
            "can_be_edited",
            "can_manage_chat",
            "can_delete_messages",
            "can_manage_video_chats",
            "can_restrict_members",
            "can_promote_members",
            "can_change_info",
            "can_invite_users",
            "can_post_stories",
            "can_edit_stories",
            "can_delete_stories",
            "can_pin_messages",
            "can_manage_topics",
            "can_post_messages",
            "can_edit_messages",
        ];
        const PERMISSIONS: [&str; 14] = [
            "can_send_messages",
            "can_send_audios",
            "can_send_documents",
            "can_send_photos",
            "can_send_videos",
            "can_send_video_notes",
            "can_send_voice_notes",
            "can_send_polls",
            "can_send_other_messages",
            "can_add_web_page_previews",
            "can_change_info",
            "can_invite_users",
            "can_pin_messages",
            "can_manage_topics",
        ];
        let mut json = json!({ "user": user });
        match self {
            Self::Creator => {
                json["status"] = "creator".into();
                json["is_anonymous"] = false.into();
            }
            Self::Administrator => {
                json["status"] = "administrator".into();
                json["is_anonymous"] = false.into();
                for right in RIGHTS {
                    json[right] = true.into();
                }
            }
            Self::Member => json["status"] = "member".into(),
            Self::Restricted { is_member } => {
                json["status"] = "restricted".into();
                json["is_member"] = is_member.into();
                json["until_date"] = 0.into();
                for permission in PERMISSIONS {
                    json[permission] = true.into();
                }
            }
            Self::Left => json["status"] = "left".into(),
            Self::Kicked => {
                json["status"] = "kicked".into();
                json["until_date"] = 0.into();
            }
        }
        json
    }
}

/// A person in a place.
#[derive(Clone)]
pub(crate) struct Person {
    shared: Arc<Shared>,
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl Person {
    pub(crate) fn new(shared: &Arc<Shared>, id: i64, name: &str, place: Place) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            name: name.to_owned(),
            place,
        }
    }

    /// The same person somewhere else.
    pub(crate) fn at(&self, place: Place) -> Self {
        Self {
            place,
            ..self.clone()
        }
    }

    /// Writes a text; returns the message's id.
    pub(crate) fn says(&self, text: &str) -> i64 {
        self.says_with(text, json!({}))
    }

    /// Writes a text in a message with more fields, or others.
    pub(crate) fn says_with(&self, text: &str, extra: Value) -> i64 {
        self.sends(text, None, None, extra)
    }

    /// Answers a message.
    pub(crate) fn replies(&self, to: i64, text: &str) -> i64 {
        self.sends(text, None, Some(to), json!({}))
    }

    /// Sends a file.
    pub(crate) fn sends_file(&self, name: &str, bytes: &[u8], caption: &str) -> i64 {
        self.sends_file_with(name, bytes, caption, json!({}))
    }

    pub(crate) fn sends_file_with(
        &self,
        name: &str,
        bytes: &[u8],
        caption: &str,
        extra: Value,
    ) -> i64 {
        let file = File {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
        };
        self.sends(caption, Some(file), None, extra)
    }

    fn sends(&self, text: &str, file: Option<File>, reply_to: Option<i64>, extra: Value) -> i64 {
        let mut state = self.shared.lock();
        let id = state.fresh_id();
        let message = Message {
            shown: Shown {
                id,
                plain: text.to_owned(),
                html: text.to_owned(),
                buttons: Vec::new(),
                document: file.clone(),
                photo: None,
                audio: None,
                reply_to,
                force_reply: None,
                edits: 0,
            },
            place: self.place,
            from: self.id,
            deleted: false,
            date: now(),
        };
        if let Some(file) = file {
            state.files.insert(format!("sent-{id}"), file);
        }
        let mut json = state.message_json(&message);
        if text.starts_with('/') && json.get("text").is_some() {
            let length = text
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .encode_utf16()
                .count();
            json["entities"] = json!([{ "type": "bot_command", "offset": 0, "length": length }]);
        }
        merge(&mut json, extra);
        state.messages.push(message);
        state.push_update(json!({ "message": json }));
        drop(state);
        self.shared.changed();
        id
    }

    /// Edits an own message.
    pub(crate) fn edits(&self, id: i64, text: &str) {
        let mut state = self.shared.lock();
        let message = state.message(self.place.chat, id).expect("the message");
        text.clone_into(&mut message.shown.plain);
        let message = message.clone();
        let mut json = state.message_json(&message);
        json["edit_date"] = now().into();
        state.push_update(json!({ "edited_message": json }));
        drop(state);
        self.shared.changed();
    }

    /// Presses the newest button with a label; returns the press's id.
    pub(crate) fn presses(&self, label: &str) -> String {
        let state = self.shared.lock();
        let found = state.shown(self.place).into_iter().rev().find_map(|shown| {
            let button = shown
                .buttons
                .iter()
                .flatten()
                .find(|(text, _)| text == label)?;
            Some((shown.id, button.1.clone()))
        });
        let Some((message, data)) = found else {
            let shown = state.shown(self.place);
            drop(state);
            panic!("nothing to press with the label `{label}`; the chat shows {shown:#?}");
        };
        drop(state);
        self.presses_data(message, &data)
    }

    /// Presses with any data, as a forger can.
    pub(crate) fn presses_data(&self, message: i64, data: &str) -> String {
        let mut state = self.shared.lock();
        let query = format!("press-{}", state.fresh_id());
        let on = state
            .message(self.place.chat, message)
            .expect("the message")
            .clone();
        let json = json!({
            "id": query,
            "from": state.user_json(self.id),
            "message": state.message_json(&on),
            "chat_instance": format!("{}", self.place.chat.unsigned_abs()),
            "data": data,
        });
        state.pressed.insert(query.clone());
        state.push_update(json!({ "callback_query": json }));
        drop(state);
        self.shared.changed();
        query
    }

    /// Blocks the bot.
    pub(crate) fn blocks(&self) {
        let closed = "Forbidden: bot was blocked by the user";
        membership(
            &self.shared,
            self.place.chat,
            self.id,
            Role::Member,
            Role::Kicked,
            Some(closed),
        );
    }
}

/// A group.
#[derive(Clone)]
pub(crate) struct Group {
    shared: Arc<Shared>,
    pub(crate) id: i64,
}

impl Group {
    pub(crate) fn new(shared: &Arc<Shared>, id: i64) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
        }
    }

    /// The group itself; in a forum, its General topic.
    pub(crate) fn place(&self) -> Place {
        Place {
            chat: self.id,
            topic: None,
        }
    }

    /// A new person in the group.
    pub(crate) fn member(&self, name: &str, role: Role) -> Person {
        let mut state = self.shared.lock();
        let id = state.new_user(name);
        state
            .chats
            .get_mut(&self.id)
            .expect("the group")
            .members
            .insert(id, role);
        drop(state);
        Person::new(&self.shared, id, name, self.place())
    }

    /// Changes what somebody is.
    pub(crate) fn set_role(&self, person: &Person, role: Role) {
        self.change(|chat| {
            chat.members.insert(person.id, role);
        });
    }

    /// A new topic.
    pub(crate) fn topic(&self) -> Place {
        let topic = self.shared.lock().fresh_id();
        self.change(|chat| {
            chat.topics.insert(topic);
        });
        Place {
            chat: self.id,
            topic: Some(topic),
        }
    }

    /// Deletes a topic; Telegram tells nobody.
    pub(crate) fn delete_topic(&self, place: Place) {
        self.change(|chat| {
            chat.topics.remove(&place.topic.expect("a topic"));
        });
    }

    /// `getChatMember` is refused from now on.
    pub(crate) fn hide_members(&self) {
        self.change(|chat| chat.members_hidden = true);
    }

    /// The bot may not delete what others wrote.
    pub(crate) fn forbid_deleting(&self) {
        self.change(|chat| chat.bot_may_delete = false);
    }

    /// The bot is added by somebody.
    pub(crate) fn adds_bot(&self, by: &Person) {
        membership(&self.shared, self.id, by.id, Role::Left, Role::Member, None);
    }

    /// The bot is put out.
    pub(crate) fn kicks_bot(&self, by: &Person) {
        let closed = "Forbidden: bot was kicked from the supergroup chat";
        membership(
            &self.shared,
            self.id,
            by.id,
            Role::Member,
            Role::Kicked,
            Some(closed),
        );
    }

    /// The group becomes a supergroup; `announced` says whether updates tell of it.
    pub(crate) fn migrates(&self, announced: bool) -> Self {
        let mut state = self.shared.lock();
        let new = state.new_group_id(ChatKind::Supergroup);
        let old = state.chats.get_mut(&self.id).expect("the group");
        old.migrated_to = Some(new);
        let members: HashMap<i64, Role> = old.members.clone();
        let mut chat = Chat::new(ChatKind::Supergroup, old.title.clone());
        chat.members = members;
        state.chats.insert(new, chat);
        if announced {
            let anonymous = json!({
                "id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot",
            });
            for (here, key, there) in [
                (self.id, "migrate_to_chat_id", new),
                (new, "migrate_from_chat_id", self.id),
            ] {
                let mut message = json!({
                    "message_id": state.fresh_id(), "from": anonymous, "chat": state.chat_json(here),
                    "sender_chat": state.chat_json(here), "date": now(),
                });
                message[key] = there.into();
                state.push_update(json!({ "message": message }));
            }
        }
        drop(state);
        self.shared.changed();
        Self::new(&self.shared, new)
    }

    fn change(&self, change: impl FnOnce(&mut Chat)) {
        change(
            self.shared
                .lock()
                .chats
                .get_mut(&self.id)
                .expect("the group"),
        );
    }
}

fn membership(shared: &Shared, chat: i64, by: i64, old: Role, new: Role, closed: Option<&str>) {
    let mut state = shared.lock();
    state.chats.get_mut(&chat).expect("the chat").closed = closed.map(str::to_owned);
    let bot = state.user_json(BOT_ID);
    let update = json!({ "my_chat_member": {
        "chat": state.chat_json(chat), "from": state.user_json(by), "date": now(),
        "old_chat_member": old.json(&bot), "new_chat_member": new.json(&bot),
    }});
    state.push_update(update);
    drop(state);
    shared.changed();
}

/// Puts the fields of one object over those of another; `null` takes a field away.
fn merge(json: &mut Value, extra: Value) {
    let (Value::Object(json), Value::Object(extra)) = (json, extra) else {
        panic!("extra fields must be an object");
    };
    for (key, value) in extra {
        if value.is_null() {
            json.remove(&key);
        } else {
            json.insert(key, value);
        }
    }
}
