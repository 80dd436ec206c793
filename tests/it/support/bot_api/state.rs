//! What the stand-in knows: chats, messages, updates, files, and what the bot asked for.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::people::Role;
use super::{BOT_ID, BOT_NAME, Place};

/// A file with its name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({:?}, {} bytes)", self.name, self.bytes.len())
    }
}

/// A message as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: i64,
    /// The text or caption without marks.
    pub(crate) plain: String,
    /// The text as it was sent.
    pub(crate) html: String,
    /// Rows of (label, data).
    pub(crate) buttons: Vec<Vec<(String, String)>>,
    pub(crate) document: Option<File>,
    pub(crate) photo: Option<File>,
    pub(crate) audio: Option<File>,
    pub(crate) reply_to: Option<i64>,
    /// The placeholder, and whether only one person is asked.
    pub(crate) force_reply: Option<(String, bool)>,
    pub(crate) edits: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) shown: Shown,
    pub(crate) place: Place,
    pub(crate) from: i64,
    pub(crate) deleted: bool,
    pub(crate) date: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChatKind {
    Private,
    Group,
    Supergroup,
    Forum,
}

#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) kind: ChatKind,
    pub(crate) title: String,
    pub(crate) members: HashMap<i64, Role>,
    pub(crate) topics: HashSet<i64>,
    /// Why nobody can write here, as Telegram says it.
    pub(crate) closed: Option<String>,
    pub(crate) migrated_to: Option<i64>,
    pub(crate) bot_may_delete: bool,
    /// Whether `getChatMember` is refused.
    pub(crate) members_hidden: bool,
}

impl Chat {
    pub(crate) fn new(kind: ChatKind, title: String) -> Self {
        Self {
            kind,
            title,
            members: HashMap::new(),
            topics: HashSet::new(),
            closed: None,
            migrated_to: None,
            bot_may_delete: true,
            members_hidden: false,
        }
    }
}

/// A call that will fail.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    pub(crate) chat: Option<i64>,
    pub(crate) status: u16,
    pub(crate) description: String,
    pub(crate) parameters: Option<Value>,
    pub(crate) times: usize,
}

impl Fault {
    pub(crate) fn new(method: &'static str, status: u16, description: &str) -> Self {
        Self {
            method,
            chat: None,
            status,
            description: description.to_owned(),
            parameters: None,
            times: 1,
        }
    }

    pub(crate) fn too_many(method: &'static str, chat: i64, retry_after: u32) -> Self {
        Self {
            chat: Some(chat),
            parameters: Some(json!({ "retry_after": retry_after })),
            ..Self::new(
                method,
                429,
                &format!("Too Many Requests: retry after {retry_after}"),
            )
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// As in the Bot API's documents: `sendMessage`.
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) files: Value,
}

/// An answer to a press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) query: String,
    pub(crate) text: String,
    pub(crate) alert: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) users: BTreeMap<i64, String>,
    pub(crate) chats: HashMap<i64, Chat>,
    pub(crate) messages: Vec<Message>,
    pub(crate) updates: VecDeque<Value>,
    pub(crate) files: HashMap<String, File>,
    pub(crate) requests: Vec<Request>,
    pub(crate) answers: Vec<Answered>,
    /// Presses that wait for their answer.
    pub(crate) pressed: HashSet<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) violations: Vec<String>,
    pub(crate) webhook: String,
    /// Which `getUpdates` is the newest; older ones are ended with 409.
    pub(crate) poll: u64,
    pub(crate) next_update: i64,
    next_id: i64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            chats: HashMap::new(),
            messages: Vec::new(),
            updates: VecDeque::new(),
            files: HashMap::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            pressed: HashSet::new(),
            faults: Vec::new(),
            violations: Vec::new(),
            webhook: String::new(),
            poll: 0,
            next_update: 700_000_001,
            next_id: 100,
        }
    }
}

impl State {
    pub(crate) fn fresh_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn new_user(&mut self, name: &str) -> i64 {
        let id = 5_000_000_000 + self.fresh_id();
        self.users.insert(id, name.to_owned());
        id
    }

    pub(crate) fn new_group_id(&mut self, kind: ChatKind) -> i64 {
        let id = self.fresh_id();
        match kind {
            ChatKind::Group => -4_000_000 - id,
            _ => -1_001_000_000_000 - id,
        }
    }

    pub(crate) fn push_update(&mut self, mut update: Value) {
        if update.get("update_id").is_none() {
            update["update_id"] = self.next_update.into();
            self.next_update += 1;
        }
        self.updates.push_back(update);
    }

    pub(crate) fn calls(&self, method: &str) -> usize {
        self.requests
            .iter()
            .filter(|one| one.method == method)
            .count()
    }

    pub(crate) fn shown(&self, place: Place) -> Vec<Shown> {
        self.messages
            .iter()
            .filter(|one| one.place == place && one.from == BOT_ID && !one.deleted)
            .map(|one| one.shown.clone())
            .collect()
    }

    pub(crate) fn message(&mut self, chat: i64, id: i64) -> Option<&mut Message> {
        self.messages
            .iter_mut()
            .find(|one| one.place.chat == chat && one.shown.id == id && !one.deleted)
    }

    pub(crate) fn user_json(&self, id: i64) -> Value {
        if id == BOT_ID {
            return json!({
                "id": BOT_ID, "is_bot": true, "first_name": "Switchboard", "username": BOT_NAME,
            });
        }
        let name = self
            .users
            .get(&id)
            .cloned()
            .unwrap_or_else(|| "Somebody".to_owned());
        json!({ "id": id, "is_bot": false, "first_name": name, "language_code": "en" })
    }

    pub(crate) fn chat_json(&self, id: i64) -> Value {
        match self.chats.get(&id) {
            None => json!({ "id": id, "type": "supergroup", "title": "?" }),
            Some(chat) => match chat.kind {
                ChatKind::Private => {
                    json!({ "id": id, "type": "private", "first_name": chat.title })
                }
                ChatKind::Group => json!({
                    "id": id, "type": "group", "title": chat.title, "all_members_are_administrators": false,
                }),
                ChatKind::Supergroup => {
                    json!({ "id": id, "type": "supergroup", "title": chat.title })
                }
                ChatKind::Forum => json!({
                    "id": id, "type": "supergroup", "title": chat.title, "is_forum": true,
                }),
            },
        }
    }

    /// A message as the Bot API writes it.
    pub(crate) fn message_json(&self, message: &Message) -> Value {
        let shown = &message.shown;
        let mut json = json!({
            "message_id": shown.id,
            "from": self.user_json(message.from),
            "chat": self.chat_json(message.place.chat),
            "date": message.date,
        });
        if let Some(topic) = message.place.topic {
            json["message_thread_id"] = topic.into();
            json["is_topic_message"] = true.into();
        }
        let file = |file: &File| {
            json!({
                "file_id": format!("sent-{}", shown.id), "file_unique_id": format!("u{}", shown.id),
                "file_name": file.name, "file_size": file.bytes.len(),
            })
        };
        if let Some(document) = &shown.document {
            json["document"] = file(document);
        } else if let Some(photo) = &shown.photo {
            let mut size = file(photo);
            size["width"] = 1.into();
            size["height"] = 1.into();
            json["photo"] = json!([size]);
        } else if let Some(audio) = &shown.audio {
            let mut sound = file(audio);
            sound["duration"] = 1.into();
            json["audio"] = sound;
        } else {
            json["text"] = shown.plain.clone().into();
        }
        if json.get("text").is_none() && !shown.plain.is_empty() {
            json["caption"] = shown.plain.clone().into();
        }
        if !shown.buttons.is_empty() {
            let rows: Vec<Vec<Value>> = shown
                .buttons
                .iter()
                .map(|row| {
                    row.iter()
                        .map(|(label, data)| {
                            let kind = if data.contains("://") {
                                "url"
                            } else {
                                "callback_data"
                            };
                            json!({ "text": label, kind: data })
                        })
                        .collect()
                })
                .collect();
            json["reply_markup"] = json!({ "inline_keyboard": rows });
        }
        if let Some(to) = shown.reply_to
            && let Some(original) = self.messages.iter().find(|one| one.shown.id == to)
        {
            json["reply_to_message"] = self.message_json(original);
        }
        json
    }
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}
