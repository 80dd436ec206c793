//! Answers as rmcp may have them: what it could not read answers its request all the same, and pauses are bounded.

use std::sync::Arc;

use futures::StreamExt as _;
use rmcp::model::{JsonRpcMessage, JsonRpcVersion2_0, RequestId, ServerJsonRpcMessage};
use sse_stream::Sse;

use super::super::{EVENT_BYTES, EventStream, Wire, WireError};
use crate::registry::transport::{id_of_answer, unreadable};

/// What a server may ask for as a pause before a stream is opened again.
const RETRY: std::ops::RangeInclusive<u64> = 250..=60_000;

/// The events of a stream as rmcp may have them; `of` is the request that the stream answers.
pub(super) fn answers(wire: &Arc<Wire>, stream: EventStream, of: Option<RequestId>) -> EventStream {
    let wire = wire.clone();
    stream
        .scan(false, move |over, event| {
            let event = match event {
                _ if *over => None,
                Ok(event) => Some(Ok(readable(event))),
                Err(error) => {
                    *over = true;
                    let too_large = is_too_large(&error);
                    if too_large {
                        wire.failed(&WireError::TooLarge { limit: EVENT_BYTES });
                    }
                    // The stream's end says the rest: rmcp opens it again or tells the request.
                    of.clone().filter(|_| too_large).and_then(|id| {
                        let answer = unreadable(id, "the answer is larger than 4 MiB");
                        let text = serde_json::to_string(&answer).ok()?;
                        Some(Ok(Sse::default().data(text)))
                    })
                }
            };
            futures::future::ready(event)
        })
        .boxed()
}

/// The answer in a body to the request of this id; one that cannot be read, or is to another request, says so.
pub(super) fn answer(id: &RequestId, body: &[u8]) -> ServerJsonRpcMessage {
    match serde_json::from_slice::<ServerJsonRpcMessage>(body) {
        Ok(JsonRpcMessage::Response(response))
            if response.id == *id || response.id.to_string() == id.to_string() =>
        {
            JsonRpcMessage::Response(response)
        }
        Ok(JsonRpcMessage::Error(error)) => {
            ServerJsonRpcMessage::error(error.error, Some(id.clone()))
        }
        Ok(_) => unreadable(id.clone(), "the answer is not to what was asked"),
        Err(_) => unreadable(id.clone(), "the answer is not in the form of JSON-RPC"),
    }
}

/// rmcp passes over what it cannot read, and a request would wait for its deadline: an answer that is none says so.
fn readable(mut event: Sse) -> Sse {
    event.retry = event
        .retry
        .map(|millis| millis.clamp(*RETRY.start(), *RETRY.end()));
    if let Some(data) = &event.data
        && data.len() > 2
        && !is_plain_result(data)
        && serde_json::from_str::<ServerJsonRpcMessage>(data).is_err()
        && let Some(id) = id_of_answer(data.as_bytes())
        && let Ok(text) =
            serde_json::to_string(&unreadable(id, "the answer is not in the form of JSON-RPC"))
    {
        event.data = Some(text);
    }
    event
}

/// Whether it is a result and nothing else, which rmcp reads whatever it holds. Most events are, and telling it costs a
/// fraction of what reading the message for good does, which rmcp does once more.
fn is_plain_result(data: &str) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        #[serde(rename = "jsonrpc")]
        _version: JsonRpcVersion2_0,
        #[serde(rename = "id")]
        _id: RequestId,
        #[serde(rename = "result")]
        _result: serde_json::Value,
    }
    serde_json::from_str::<Plain>(data).is_ok()
}

fn is_too_large(error: &sse_stream::Error) -> bool {
    let sse_stream::Error::Body(error) = error else {
        return false;
    };
    matches!(
        error.downcast_ref::<WireError>(),
        Some(WireError::TooLarge { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_answers_its_request() {
        let id = RequestId::Number(7);
        for (body, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, r#""result":{}"#),
            (
                r#"{"jsonrpc":"2.0","id":"7","result":{}}"#,
                r#""result":{}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
                "not to what was asked",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"ping","id":1}"#,
                "not to what was asked",
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#,
                r#""message":"m""#,
            ),
            ("[]", "not in the form"),
            ("", "not in the form"),
        ] {
            let text = serde_json::to_string(&answer(&id, body.as_bytes())).unwrap();
            assert!(text.contains(expected), "{body}: {text}");
        }
    }

    #[test]
    fn events_that_cannot_be_read_answer_their_request_and_pauses_are_bounded() {
        for (data, expected) in [
            (r#"{"jsonrpc":"2.0","id":3,"error":"x"}"#, "not in the form"),
            (r#"{"jsonrpc":"2.0","id":3,"result":{}}"#, r#""result":{}"#),
            ("hello", "hello"),
            ("", ""),
        ] {
            let event = readable(Sse::default().data(data));
            assert!(
                event.data.as_deref().unwrap_or("").contains(expected),
                "{data}"
            );
        }
        // What is taken for a plain result is never what rmcp cannot read.
        for result in [
            "{}",
            "null",
            "5",
            "[]",
            r#"{"content":5}"#,
            r#"{"tools":[{}]}"#,
            "1e999",
            r#""\ud800""#,
        ] {
            for id in ["1", r#""a""#, "null", "1.5"] {
                for rest in [
                    "",
                    r#","error":{"code":1,"message":""}"#,
                    r#","method":"x""#,
                ] {
                    let data = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}{rest}}}"#);
                    let is_read = serde_json::from_str::<ServerJsonRpcMessage>(&data).is_ok();
                    assert!(is_read || !is_plain_result(&data), "{data}");
                }
            }
        }
        assert!(is_plain_result(
            r#"{"jsonrpc":"2.0","id":3,"result":{"content":[]}}"#
        ));
        for (asked, kept) in [(0, 250), (500, 500), (u64::MAX, 60_000)] {
            assert_eq!(readable(Sse::default().retry(asked)).retry, Some(kept));
        }
    }
}
