//! The methods of the Bot API that the bot may use, and what Telegram would refuse about them.

use serde_json::{Map, Value, json};

use super::markup::{parse, units};
use super::server::Call;
use super::state::{Answered, ChatKind, File, Message, Shown, State, now};
use super::{BOT_ID, BOT_NAME, Place};

/// An answer with `ok: false`.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) description: String,
    pub(crate) parameters: Option<Value>,
}

impl Refusal {
    pub(crate) fn new(status: u16, description: &str) -> Self {
        Self {
            status,
            description: description.to_owned(),
            parameters: None,
        }
    }

    fn bad(description: &str) -> Self {
        Self::new(400, &format!("Bad Request: {description}"))
    }
}

type Result<T = Value> = std::result::Result<T, Refusal>;

/// Every method with its parameters; anything else breaks a rule.
const METHODS: [(&str, &[&str]); 13] = [
    ("getMe", &[]),
    ("getWebhookInfo", &[]),
    ("setMyCommands", &["commands", "scope", "language_code"]),
    (
        "getUpdates",
        &["offset", "limit", "timeout", "allowed_updates"],
    ),
    (
        "sendMessage",
        &[
            "chat_id",
            "message_thread_id",
            "text",
            "parse_mode",
            "link_preview_options",
            "reply_parameters",
            "reply_markup",
        ],
    ),
    (
        "editMessageText",
        &[
            "chat_id",
            "message_id",
            "text",
            "parse_mode",
            "link_preview_options",
            "reply_markup",
        ],
    ),
    ("deleteMessage", &["chat_id", "message_id"]),
    (
        "answerCallbackQuery",
        &["callback_query_id", "text", "show_alert"],
    ),
    ("getChatMember", &["chat_id", "user_id"]),
    ("getFile", &["file_id"]),
    (
        "sendDocument",
        &[
            "chat_id",
            "message_thread_id",
            "document",
            "caption",
            "parse_mode",
            "disable_content_type_detection",
        ],
    ),
    (
        "sendPhoto",
        &[
            "chat_id",
            "message_thread_id",
            "photo",
            "caption",
            "parse_mode",
        ],
    ),
    (
        "sendAudio",
        &[
            "chat_id",
            "message_thread_id",
            "audio",
            "caption",
            "parse_mode",
        ],
    ),
];

/// The documented spelling of a method.
pub(crate) fn named(method: &str) -> Option<&'static str> {
    let found = METHODS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(method));
    found.map(|(name, _)| *name)
}

pub(crate) fn check_params(state: &mut State, method: &str, params: &Map<String, Value>) {
    let known = METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .map_or(&[][..], |(_, known)| known);
    for name in params.keys().filter(|name| !known.contains(&name.as_str())) {
        state
            .violations
            .push(format!("{method}: unknown parameter `{name}`"));
    }
    for (name, value) in params.iter().filter(|(_, value)| value.is_null()) {
        state
            .violations
            .push(format!("{method}: parameter `{name}` is {value}"));
    }
}

pub(crate) fn call(state: &mut State, method: &str, call: Call) -> Result {
    check_params(state, method, &call.params);
    let params = &call.params;
    match method {
        "getMe" => Ok(json!({
            "id": BOT_ID, "is_bot": true, "first_name": "Switchboard", "username": BOT_NAME,
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
            "can_connect_to_business": false, "has_main_web_app": false,
        })),
        "getWebhookInfo" => Ok(json!({
            "url": state.webhook, "has_custom_certificate": false, "pending_update_count": 0,
        })),
        "setMyCommands" => set_my_commands(state, params),
        "sendMessage" => send_message(state, params),
        "editMessageText" => edit_message(state, params),
        "deleteMessage" => delete_message(state, params),
        "answerCallbackQuery" => answer_callback(state, params),
        "getChatMember" => get_chat_member(state, params),
        "getFile" => get_file(state, params),
        "sendDocument" => send_file(state, call, "document"),
        "sendPhoto" => send_file(state, call, "photo"),
        "sendAudio" => send_file(state, call, "audio"),
        other => panic!("`{other}` is listed but not served"),
    }
}

/// A number, also where it came as text, as multipart fields do.
pub(crate) fn int(params: &Map<String, Value>, name: &str) -> Option<i64> {
    match params.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> &'a str {
    params.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Refuses what the bot must never send, and remembers it.
fn broken<T>(state: &mut State, description: &str) -> Result<T> {
    state.violations.push(description.to_owned());
    Err(Refusal::bad(description))
}

fn set_my_commands(state: &mut State, params: &Map<String, Value>) -> Result {
    let commands = params
        .get("commands")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for command in &commands {
        let name = command["command"].as_str().unwrap_or_default();
        let description = command["description"].as_str().unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            return broken(state, "BOT_COMMAND_INVALID");
        }
        if description.is_empty() || units(description) > 256 {
            return broken(state, "BOT_COMMAND_DESCRIPTION_INVALID");
        }
    }
    Ok(json!(true))
}

/// Where a message goes, if it can.
fn place(state: &mut State, params: &Map<String, Value>) -> Result<Place> {
    let Some(chat) = int(params, "chat_id") else {
        return broken(state, "chat_id is empty");
    };
    let topic = int(params, "message_thread_id");
    if topic.is_some_and(|topic| topic <= 1) {
        return broken(
            state,
            "message thread not found (the General topic must not be named)",
        );
    }
    let Some(found) = state.chats.get(&chat) else {
        return Err(Refusal::bad("chat not found"));
    };
    if let Some(new) = found.migrated_to {
        return Err(Refusal {
            parameters: Some(json!({ "migrate_to_chat_id": new })),
            ..Refusal::bad("group chat was upgraded to a supergroup chat")
        });
    }
    if let Some(closed) = &found.closed {
        return Err(Refusal::new(403, closed));
    }
    if let Some(topic) = topic {
        if found.kind != ChatKind::Forum {
            return broken(state, "message thread not found (the chat has no topics)");
        }
        if !found.topics.contains(&topic) {
            return Err(Refusal::bad("message thread not found"));
        }
    }
    Ok(Place { chat, topic })
}

/// A text without its marks, within its limits.
fn read_text(
    state: &mut State,
    params: &Map<String, Value>,
    name: &str,
    most: usize,
) -> Result<String> {
    let raw = text(params, name);
    let plain = match text(params, "parse_mode") {
        "" => raw.to_owned(),
        "HTML" => match parse(raw) {
            Ok(plain) => plain,
            Err(why) => return broken(state, &why),
        },
        other => return broken(state, &format!("unsupported parse_mode {other}")),
    };
    if units(&plain) > most {
        let what = if name == "caption" {
            "message caption is too long"
        } else {
            "message is too long"
        };
        return broken(state, what);
    }
    if name == "text" && plain.trim().is_empty() {
        return broken(state, "message text is empty");
    }
    // Telegram strips white space at both ends.
    Ok(plain.trim().to_owned())
}

type Buttons = Vec<Vec<(String, String)>>;

fn read_buttons(state: &mut State, markup: &Value) -> Result<Buttons> {
    let rows = markup["inline_keyboard"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut read = Vec::new();
    for row in &rows {
        let mut buttons = Vec::new();
        for button in row.as_array().into_iter().flatten() {
            let label = button["text"].as_str().unwrap_or_default();
            if label.trim().is_empty() {
                return broken(state, "can't parse inline keyboard button: text is empty");
            }
            if let Some(url) = button["url"].as_str() {
                let parsed = url::Url::parse(url).ok();
                let host = parsed.as_ref().and_then(url::Url::host_str);
                let is_web = parsed
                    .as_ref()
                    .is_some_and(|url| matches!(url.scheme(), "http" | "https"));
                if !is_web || !host.is_some_and(|host| host.trim_matches('.').contains('.')) {
                    let why =
                        format!("inline keyboard button URL '{url}' is invalid: Wrong HTTP URL");
                    return broken(state, &why);
                }
                if button.get("callback_data").is_some() {
                    return broken(state, "BUTTON_TYPE_INVALID");
                }
                buttons.push((label.to_owned(), url.to_owned()));
                continue;
            }
            let data = button["callback_data"].as_str().unwrap_or_default();
            if data.is_empty() || data.len() > 64 {
                return broken(state, "BUTTON_DATA_INVALID");
            }
            buttons.push((label.to_owned(), data.to_owned()));
        }
        if buttons.is_empty() || buttons.len() > 8 {
            return broken(state, "a row of buttons is empty or too long");
        }
        read.push(buttons);
    }
    if read.iter().map(Vec::len).sum::<usize>() > 100 {
        return broken(state, "REPLY_MARKUP_TOO_LONG");
    }
    Ok(read)
}

fn read_force_reply(state: &mut State, markup: &Value) -> Result<Option<(String, bool)>> {
    if markup["force_reply"] != json!(true) {
        return Ok(None);
    }
    let placeholder = markup["input_field_placeholder"].as_str();
    if placeholder.is_some_and(|text| text.is_empty() || units(text) > 64) {
        return broken(state, "input_field_placeholder must have 1-64 characters");
    }
    let selective = markup["selective"].as_bool().unwrap_or(false);
    Ok(Some((
        placeholder.unwrap_or_default().to_owned(),
        selective,
    )))
}

fn add(state: &mut State, place: Place, shown: impl FnOnce(i64) -> Shown) -> Value {
    let id = state.fresh_id();
    let message = Message {
        shown: shown(id),
        place,
        from: BOT_ID,
        deleted: false,
        date: now(),
    };
    let json = state.message_json(&message);
    state.messages.push(message);
    json
}

fn send_message(state: &mut State, params: &Map<String, Value>) -> Result {
    let place = place(state, params)?;
    let plain = read_text(state, params, "text", 4096)?;
    let markup = params.get("reply_markup").cloned().unwrap_or(Value::Null);
    let buttons = read_buttons(state, &markup)?;
    let force_reply = read_force_reply(state, &markup)?;
    let reply_to = match params.get("reply_parameters") {
        None => None,
        Some(reply) => {
            let to = reply["message_id"].as_i64().unwrap_or(0);
            let found = state.message(place.chat, to).is_some();
            if !found && reply["allow_sending_without_reply"] != json!(true) {
                return Err(Refusal::bad("message to be replied not found"));
            }
            found.then_some(to)
        }
    };
    if force_reply
        .as_ref()
        .is_some_and(|(_, selective)| *selective)
        && reply_to.is_none()
    {
        return broken(state, "a selective reply that asks nobody");
    }
    let html = text(params, "text").to_owned();
    Ok(add(state, place, |id| Shown {
        id,
        plain,
        html,
        buttons,
        document: None,
        photo: None,
        audio: None,
        reply_to,
        force_reply,
        edits: 0,
    }))
}

fn edit_message(state: &mut State, params: &Map<String, Value>) -> Result {
    let place = place(state, params)?;
    let plain = read_text(state, params, "text", 4096)?;
    let markup = params.get("reply_markup").cloned().unwrap_or(Value::Null);
    if markup.get("force_reply").is_some() {
        return broken(state, "an edit cannot force a reply");
    }
    let buttons = read_buttons(state, &markup)?;
    let html = text(params, "text").to_owned();
    let id = int(params, "message_id").unwrap_or(0);
    let Some(message) = state.message(place.chat, id) else {
        return Err(Refusal::bad("message to edit not found"));
    };
    let shown = &mut message.shown;
    let text_message = shown.document.is_none() && shown.photo.is_none() && shown.audio.is_none();
    if message.from != BOT_ID || shown.force_reply.is_some() {
        return Err(Refusal::bad("message can't be edited"));
    }
    if !text_message {
        return Err(Refusal::bad("there is no text in the message to edit"));
    }
    if shown.html == html && shown.buttons == buttons {
        return Err(Refusal::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current \
             content and reply markup of the message",
        ));
    }
    shown.html = html;
    shown.plain = plain;
    shown.buttons = buttons;
    shown.edits += 1;
    let message = message.clone();
    let mut json = state.message_json(&message);
    json["edit_date"] = now().into();
    Ok(json)
}

fn delete_message(state: &mut State, params: &Map<String, Value>) -> Result {
    let place = place(state, params)?;
    let id = int(params, "message_id").unwrap_or(0);
    let may = state.chats[&place.chat].bot_may_delete;
    match state.message(place.chat, id) {
        None => Err(Refusal::bad("message to delete not found")),
        Some(message) if message.from != BOT_ID && !may => {
            Err(Refusal::bad("message can't be deleted"))
        }
        Some(message) => {
            message.deleted = true;
            Ok(json!(true))
        }
    }
}

fn answer_callback(state: &mut State, params: &Map<String, Value>) -> Result {
    let query = text(params, "callback_query_id").to_owned();
    if !state.pressed.remove(&query) {
        return Err(Refusal::bad(
            "query is too old and response timeout expired or query ID is invalid",
        ));
    }
    let text = text(params, "text").to_owned();
    if units(&text) > 200 {
        return broken(state, "MESSAGE_TOO_LONG");
    }
    let alert = params
        .get("show_alert")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    state.answers.push(Answered { query, text, alert });
    Ok(json!(true))
}

fn get_chat_member(state: &mut State, params: &Map<String, Value>) -> Result {
    let place = place(state, params)?;
    let user = int(params, "user_id").unwrap_or(0);
    let chat = &state.chats[&place.chat];
    if chat.members_hidden {
        return Err(Refusal::bad("member list is inaccessible"));
    }
    match chat.members.get(&user) {
        Some(role) => Ok(role.json(&state.user_json(user))),
        None if state.users.contains_key(&user) => {
            Ok(super::Role::Left.json(&state.user_json(user)))
        }
        None => Err(Refusal::bad("user not found")),
    }
}

fn get_file(state: &mut State, params: &Map<String, Value>) -> Result {
    let id = text(params, "file_id");
    let Some(file) = state.files.get(id) else {
        return Err(Refusal::bad(
            "wrong file_id or the file is temporarily unavailable",
        ));
    };
    if file.bytes.len() > 20 * 1024 * 1024 {
        return Err(Refusal::bad("file is too big"));
    }
    Ok(json!({
        "file_id": id, "file_unique_id": format!("u-{id}"), "file_size": file.bytes.len(),
        "file_path": format!("documents/{id}"),
    }))
}

fn send_file(state: &mut State, mut call: Call, field: &str) -> Result {
    let place = place(state, &call.params)?;
    let plain = read_text(state, &call.params, "caption", 1024)?;
    let named = text(&call.params, field);
    let part = named.strip_prefix("attach://").unwrap_or(field).to_owned();
    let Some(file) = call.files.remove(&part) else {
        return broken(state, &format!("{field} is not in the request"));
    };
    if file.bytes.is_empty() {
        return broken(state, "file must be non-empty");
    }
    if file.bytes.len() > 50 * 1024 * 1024 {
        return Err(Refusal::new(413, "Request Entity Too Large"));
    }
    let is_picture = file.bytes.starts_with(b"\x89PNG") || file.bytes.starts_with(b"\xff\xd8");
    if field == "photo" && !is_picture {
        return Err(Refusal::bad("IMAGE_PROCESS_FAILED"));
    }
    let html = text(&call.params, "caption").to_owned();
    let of = |name: &str| (field == name).then(|| File::clone(&file));
    Ok(add(state, place, |id| Shown {
        id,
        plain,
        html,
        buttons: Vec::new(),
        document: of("document"),
        photo: of("photo"),
        audio: of("audio"),
        reply_to: None,
        force_reply: None,
        edits: 0,
    }))
}
