//! Answers that cannot be read: whose request they answer, and what it is told instead of waiting for its deadline.

use rmcp::RoleClient;
use rmcp::model::{
    ErrorCode, ErrorData, JsonRpcError, JsonRpcMessage, JsonRpcVersion2_0, NumberOrString,
    RequestId,
};
use rmcp::service::RxJsonRpcMessage;
use serde_json::Value;

/// The code of the error that answers a request whose answer could not be read; not one that a server may use (JSON-RPC
/// reserves nothing below -32768 for it).
pub(in crate::registry) const UNREADABLE: i32 = -39_999;
/// How much of both ends of a line that is thrown away is kept, to see which request it answers.
pub(super) const END_BYTES: usize = 512;

/// The error that a request is answered with.
pub(in crate::registry) fn unreadable(
    id: RequestId,
    why: &'static str,
) -> RxJsonRpcMessage<RoleClient> {
    JsonRpcMessage::Error(JsonRpcError {
        jsonrpc: JsonRpcVersion2_0,
        id: Some(id),
        error: ErrorData::new(ErrorCode(UNREADABLE), why, None),
    })
}

/// The id of the request that an object in a wrong form answers.
pub(in crate::registry) fn id_of_answer(bytes: &[u8]) -> Option<RequestId> {
    let ends = (
        &bytes[..bytes.len().min(END_BYTES)],
        &bytes[bytes.len().saturating_sub(END_BYTES)..],
    );
    whole_request_id(bytes).or_else(|| request_id(ends.0, ends.1))
}

/// The id in a whole message that does not have the form of one.
fn whole_request_id(line: &[u8]) -> Option<RequestId> {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: Value,
        #[serde(default)]
        method: Option<serde::de::IgnoredAny>,
    }
    let message: OnlyId = serde_json::from_slice(line).ok()?;
    if message.method.is_some() {
        return None;
    }
    id_of(message.id)
}

/// The id of a response of which only both ends are known: it stands before or after the result.
pub(super) fn request_id(head: &[u8], tail: &[u8]) -> Option<RequestId> {
    let parse = |text: String| {
        let object: serde_json::Map<String, Value> = serde_json::from_str(&text).ok()?;
        if object.keys().any(|key| key != "id" && key != "jsonrpc") {
            return None;
        }
        id_of(object.get("id")?.clone())
    };
    let head = String::from_utf8_lossy(head);
    let before = ["\"result\"", "\"error\""]
        .iter()
        .filter_map(|key| head.find(key))
        .min()
        .and_then(|end| {
            let start = head[..end].trim_end().trim_end_matches(',');
            parse(format!("{start}}}"))
        });
    before.or_else(|| {
        let tail = String::from_utf8_lossy(tail);
        // The last fields: `,"id":7}` or `,"id":7,"jsonrpc":"2.0"}`, in any order.
        ["\"id\"", "\"jsonrpc\""]
            .iter()
            .filter_map(|key| tail.rfind(key))
            .find_map(|start| parse(format!("{{{}", tail[start..].trim_end())))
    })
}

fn id_of(value: Value) -> Option<RequestId> {
    match value {
        Value::Number(number) => number.as_i64().map(NumberOrString::Number),
        Value::String(text) => Some(NumberOrString::String(text.into())),
        _ => None,
    }
}
