//! Tool results as what they are: parts that the protocol knows become [`Content`], everything else is kept as JSON.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents, ServerResult};
use serde_json::Value;

use super::hidden::{strip, strip_strings};
use super::text::{clip, one_line};
use super::{CallError, Content};
use crate::config::Masker;

/// Parts of one result that are kept.
const PARTS: usize = 1000;
/// Characters of an address, a name and a media type.
const URI_CHARS: usize = 2048;
const NAME_CHARS: usize = 256;
const MIME_CHARS: usize = 128;
const DESCRIPTION_CHARS: usize = 4096;

/// Standard alphabet, padding or none: servers do both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a result holds.
#[derive(Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) content: Vec<Content>,
    pub(super) structured: Option<Value>,
    pub(super) is_error: bool,
    /// Characters that cannot be seen, which were taken out of the parts.
    pub(super) hidden: usize,
}

/// Reads the answer to `tools/call`, the server's known secrets masked. Its size is bounded by the transport's line limit.
///
/// Only known ones: a result may be about things that look like a secret and are none.
pub(super) fn parts(result: ServerResult, masker: &Masker) -> Result<Parts, CallError> {
    let mut parts = read(result)?;
    // Before the masks: a secret with something unseen in it is one all the same.
    parts.hidden = parts.content.iter_mut().map(clean_part).sum();
    // Most servers were given none, and nothing is copied then.
    if !masker.knows_none() {
        for part in &mut parts.content {
            mask_part(masker, part);
        }
        if let Some(structured) = &mut parts.structured {
            mask_strings(masker, structured);
        }
    }
    for part in &mut parts.content {
        bound_part(part);
    }
    Ok(parts)
}

/// Takes out what cannot be seen, where a part is shown as text; how many characters that were. What is for programs
/// (structured content) stays as it is.
fn clean_part(part: &mut Content) -> usize {
    match part {
        Content::Text(text) | Content::TextResource { text, .. } => strip(text),
        Content::Link {
            name, description, ..
        } => strip(name) + strip(description),
        Content::Unknown(value) => strip_strings(value),
        Content::Image { .. } | Content::Audio { .. } | Content::BlobResource { .. } => 0,
    }
}

/// Takes known secrets out of every text in a JSON value, the names of its fields included.
pub(super) fn mask_strings(masker: &Masker, value: &mut Value) {
    match value {
        // A word of JSON Schema is none, whatever somebody chose as a secret.
        Value::String(text) if TYPE_NAMES.contains(&text.as_str()) => {}
        Value::String(text) => mask_text(masker, text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_strings(masker, item)),
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| mask_strings(masker, field));
            if fields.keys().any(|name| masker.mask_known(name) != *name) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, field)| (masker.without_known(name), field))
                    .collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

const TYPE_NAMES: [&str; 5] = ["object", "string", "number", "integer", "boolean"];

fn mask_text(masker: &Masker, text: &mut String) {
    *text = masker.without_known(std::mem::take(text));
}

fn mask_part(masker: &Masker, part: &mut Content) {
    match part {
        Content::Text(text) => mask_text(masker, text),
        Content::Image { mime, .. } | Content::Audio { mime, .. } => mask_text(masker, mime),
        Content::TextResource { uri, mime, text } => {
            for text in [uri, mime, text] {
                mask_text(masker, text);
            }
        }
        Content::BlobResource { uri, mime, .. } => {
            for text in [uri, mime] {
                mask_text(masker, text);
            }
        }
        Content::Link {
            uri,
            name,
            description,
        } => {
            for text in [uri, name, description] {
                mask_text(masker, text);
            }
        }
        Content::Unknown(value) => mask_strings(masker, value),
    }
}

/// After the masks, so that no limit cuts a secret.
fn bound_part(part: &mut Content) {
    let line = |text: &mut String, most| *text = one_line(text, most);
    match part {
        Content::Image { mime, .. } | Content::Audio { mime, .. } => line(mime, MIME_CHARS),
        Content::TextResource { uri, mime, .. } | Content::BlobResource { uri, mime, .. } => {
            line(uri, URI_CHARS);
            line(mime, MIME_CHARS);
        }
        Content::Link {
            uri,
            name,
            description,
        } => {
            line(uri, URI_CHARS);
            line(name, NAME_CHARS);
            *description = clip(description, DESCRIPTION_CHARS);
        }
        Content::Text(_) | Content::Unknown(_) => {}
    }
}

fn read(result: ServerResult) -> Result<Parts, CallError> {
    match result {
        ServerResult::CallToolResult(result) => Ok(strict(result)),
        ServerResult::InputRequiredResult(_) => Err(CallError::Unsupported(
            "it asks for more input while it works".to_owned(),
        )),
        ServerResult::CreateTaskResult(_) => Err(CallError::Unsupported(
            "it goes on as a task in the background".to_owned(),
        )),
        ServerResult::CustomResult(raw) => salvage(raw.0),
        other => salvage(serde_json::to_value(other).unwrap_or_default()),
    }
}

fn strict(result: CallToolResult) -> Parts {
    let mut content: Vec<_> = result
        .content
        .into_iter()
        .take(PARTS + 1)
        .map(part)
        .collect();
    bound(&mut content);
    Parts {
        content,
        structured: result.structured_content,
        is_error: result.is_error.unwrap_or(false),
        hidden: 0,
    }
}

/// rmcp refuses a result whole for one part that it does not know; this takes it part by part.
fn salvage(mut raw: Value) -> Result<Parts, CallError> {
    let Some(result) = raw.as_object_mut() else {
        return Err(CallError::Malformed("it is not an object".to_owned()));
    };
    if !["content", "structuredContent", "isError"]
        .iter()
        .any(|key| result.contains_key(*key))
    {
        return Err(CallError::Malformed("it is no tool result".to_owned()));
    }
    let raw_parts = match result.remove("content") {
        Some(Value::Array(parts)) => parts,
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![other],
    };
    let mut content: Vec<_> = raw_parts
        .into_iter()
        .take(PARTS + 1)
        .map(|raw| match ContentBlock::deserialize_lenient(&raw) {
            Some(block) => part(block),
            None => Content::Unknown(raw),
        })
        .collect();
    bound(&mut content);
    Ok(Parts {
        content,
        structured: result.remove("structuredContent"),
        is_error: result
            .get("isError")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        hidden: 0,
    })
}

trait Lenient: Sized {
    fn deserialize_lenient(raw: &Value) -> Option<Self>;
}

impl Lenient for ContentBlock {
    fn deserialize_lenient(raw: &Value) -> Option<Self> {
        serde::Deserialize::deserialize(raw).ok()
    }
}

fn bound(content: &mut Vec<Content>) {
    if content.len() > PARTS {
        content.truncate(PARTS);
        content.push(Content::Text(
            "(The result has more than 1000 parts; the rest is left out.)".to_owned(),
        ));
    }
}

fn part(block: ContentBlock) -> Content {
    match block {
        ContentBlock::Text(text) => Content::Text(text.text),
        ContentBlock::Image(image) => match decode(&image.data) {
            Some(bytes) => Content::Image {
                mime: image.mime_type,
                bytes,
            },
            None => undecodable("image", &image.mime_type),
        },
        ContentBlock::Audio(audio) => match decode(&audio.data) {
            Some(bytes) => Content::Audio {
                mime: audio.mime_type,
                bytes,
            },
            None => undecodable("audio", &audio.mime_type),
        },
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents {
                uri,
                mime_type,
                text,
                ..
            } => Content::TextResource {
                uri,
                mime: mime_type.unwrap_or_default(),
                text,
            },
            ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob,
                ..
            } => match decode(&blob) {
                Some(bytes) => Content::BlobResource {
                    uri,
                    mime: mime_type.unwrap_or_default(),
                    bytes,
                },
                None => undecodable("resource", mime_type.as_deref().unwrap_or_default()),
            },
            other => unknown(&other),
        },
        ContentBlock::ResourceLink(link) => Content::Link {
            uri: link.uri,
            name: link.name,
            description: link.description.unwrap_or_default(),
        },
        other => unknown(&other),
    }
}

/// Line breaks inside are forgiven, as MIME writes them. What comes out is smaller than what came in, and that is bounded.
fn decode(data: &str) -> Option<Vec<u8>> {
    if data.contains(|c: char| c.is_ascii_whitespace()) {
        let packed: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return BASE64.decode(packed).ok();
    }
    BASE64.decode(data).ok()
}

fn undecodable(kind: &str, mime_type: &str) -> Content {
    Content::Unknown(serde_json::json!({
        "type": kind,
        "mimeType": mime_type,
        "problem": "its data is not base64",
    }))
}

fn unknown(part: &impl serde::Serialize) -> Content {
    Content::Unknown(serde_json::to_value(part).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(result: Value) -> Result<Parts, CallError> {
        parts(serde_json::from_value(result).unwrap(), &Masker::default())
    }

    #[test]
    fn parts_come_as_what_they_are() {
        for (raw, expected) in [
            (
                json!({"type": "text", "text": "hi"}),
                Content::Text("hi".into()),
            ),
            (
                json!({"type": "image", "data": "AQI=", "mimeType": "image/png"}),
                Content::Image {
                    mime: "image/png".into(),
                    bytes: vec![1, 2],
                },
            ),
            (
                json!({"type": "audio", "data": "AQ\nI", "mimeType": "audio/wav"}),
                Content::Audio {
                    mime: "audio/wav".into(),
                    bytes: vec![1, 2],
                },
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "text": "t"}}),
                Content::TextResource {
                    uri: "a:b".into(),
                    mime: String::new(),
                    text: "t".into(),
                },
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "blob": "AQI=", "mimeType": "x/y"}}),
                Content::BlobResource {
                    uri: "a:b".into(),
                    mime: "x/y".into(),
                    bytes: vec![1, 2],
                },
            ),
            (
                json!({"type": "resource_link", "uri": "a:b", "name": "n"}),
                Content::Link {
                    uri: "a:b".into(),
                    name: "n".into(),
                    description: String::new(),
                },
            ),
            (
                json!({"type": "hologram", "depth": 3}),
                Content::Unknown(json!({"type": "hologram", "depth": 3})),
            ),
            (
                json!({"type": "image", "data": "AQI="}),
                Content::Unknown(json!({"type": "image", "data": "AQI="})),
            ),
            (json!(7), Content::Unknown(json!(7))),
            (
                json!({"type": "image", "data": "%%%", "mimeType": "image/png"}),
                undecodable("image", "image/png"),
            ),
        ] {
            let text = json!({"type": "text", "text": "beside"});
            let parts = read(json!({"content": [text, raw], "isError": true})).unwrap();
            assert_eq!(parts.content, [Content::Text("beside".into()), expected]);
            assert!(parts.is_error);
        }
    }

    #[test]
    fn d13_hidden_text_of_a_result_is_taken_out_where_it_is_shown() {
        let evil = "a\u{202e}b\u{e0041}\u{1b}[2J";
        let parts = read(json!({
            "content": [
                {"type": "text", "text": evil},
                {"type": "resource", "resource": {"uri": "a:b", "text": evil}},
                {"type": "resource_link", "uri": "a:b", "name": evil, "description": evil},
                {"type": "hologram", "of": [evil]},
            ],
            "structuredContent": {"a": evil},
        }))
        .unwrap();
        assert_eq!(parts.hidden, 5 * 3);
        let shown = format!("{:?}", parts.content);
        assert!(!shown.contains("\\u{"), "{shown}");
        assert_eq!(parts.structured, Some(json!({"a": evil})));
    }

    #[test]
    fn structured_content_alone_is_a_result() {
        let parts = read(json!({"structuredContent": {"a": 1}})).unwrap();
        assert_eq!(parts.structured, Some(json!({"a": 1})));
        assert!(parts.content.is_empty() && !parts.is_error);
    }

    #[test]
    fn what_is_no_result_is_told() {
        for raw in [json!({}), json!([1]), json!({"foo": 1}), json!("text")] {
            assert!(
                matches!(read(raw.clone()), Err(CallError::Malformed(_))),
                "{raw} was taken"
            );
        }
    }

    #[test]
    fn requests_for_more_are_unsupported() {
        let asked = read(json!({"resultType": "input_required", "inputRequests": {}}));
        assert!(matches!(asked, Err(CallError::Unsupported(_))), "{asked:?}");
    }

    #[test]
    fn too_many_parts_are_cut() {
        let parts = read(json!({"content": vec![json!({"type": "text", "text": ""}); 1500]}));
        assert_eq!(parts.unwrap().content.len(), PARTS + 1);
    }

    #[test]
    fn no_part_holds_a_secret_of_the_server() {
        let masker = Masker::of_env(&[("A_TOKEN".to_owned(), "hunter22".to_owned())]);
        let secret = "see hunter22";
        let long = format!("{}hunter22", "x".repeat(250));
        let result = json!({
            "content": [
                {"type": "text", "text": secret},
                {"type": "image", "data": "AQI=", "mimeType": secret},
                {"type": "resource", "resource": {"uri": secret, "text": secret, "mimeType": secret}},
                {"type": "resource", "resource": {"uri": secret, "blob": "AQI=", "mimeType": secret}},
                {"type": "resource_link", "uri": secret, "name": long, "description": secret},
                {"type": "hologram", "of": [secret]},
                {"type": "text", "text": "ghp_16C7e42F292c6912E7710c838347Ae178B4a"},
            ],
            "structuredContent": {secret: [{"a": secret}], "b": 1},
        });
        let parts = parts(serde_json::from_value(result).unwrap(), &masker).unwrap();
        let shown = format!("{parts:?}");
        assert!(!shown.contains("hunt"), "{shown}");
        assert!(
            shown.contains("ghp_16C7"),
            "what only looks like a secret stays: {shown}"
        );
        assert_eq!(
            parts.structured,
            Some(json!({"see ••••": [{"a": "see ••••"}], "b": 1}))
        );
    }
}
