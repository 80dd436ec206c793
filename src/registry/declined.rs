//! What a server asks in the middle of a call (2026-07-28: multi-round requests). Nobody is here to answer, so each question
//! is declined, as rmcp declines it on the older wire, and the tool goes on without: it knows best what that means.

use std::collections::BTreeMap;

use rmcp::model::{CallToolRequestParams, InputRequest, ServerResult};
use serde_json::json;

/// A server that is never content ends after so many questions in a row.
pub(super) const ROUNDS: usize = 4;

/// The parameters of the same call once more, with every question declined and the server's state as it came. `None` where
/// this is no question, or one that has no "no": of models and folders the bot offers none, and never said so.
pub(super) fn declined(
    result: &ServerResult,
    call: CallToolRequestParams,
) -> Option<CallToolRequestParams> {
    let ServerResult::InputRequiredResult(asked) = result else {
        return None;
    };
    let questions = asked.input_requests.iter().flatten();
    let answers: BTreeMap<_, _> = questions
        .map(|(key, question)| match question {
            InputRequest::Elicitation(_) => Some((key.clone(), json!({ "action": "decline" }))),
            _ => None,
        })
        .collect::<Option<_>>()?;
    // With nothing to answer it only wants to be asked later, which a call does not wait for.
    if answers.is_empty() {
        return None;
    }
    let call = call.with_input_responses(answers);
    Some(match &asked.request_state {
        Some(state) => call.with_request_state(state.clone()),
        None => call,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn questions_are_declined_and_everything_else_is_left() {
        let question = json!({"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}});
        let roots = json!({"method": "roots/list"});
        let no = json!({"action": "decline"});
        for (requests, state, expected) in [
            (
                json!({"a": question}),
                Some("s"),
                Some((json!({"a": no}), Some("s"))),
            ),
            (
                json!({"a": question, "b": question}),
                None,
                Some((json!({"a": no, "b": no}), None)),
            ),
            (json!({"a": question, "b": roots}), Some("s"), None),
            (json!({}), Some("s"), None),
        ] {
            let mut asked = json!({"resultType": "input_required", "inputRequests": requests});
            if let Some(state) = state {
                asked["requestState"] = json!(state);
            }
            let asked: ServerResult = serde_json::from_value(asked).unwrap();
            let again = declined(&asked, CallToolRequestParams::new("tool"));
            let again = again.map(|again| serde_json::to_value(again).unwrap());
            let seen = again.as_ref().map(|again| {
                let state = again.get("requestState").and_then(Value::as_str);
                (again["inputResponses"].clone(), state)
            });
            assert_eq!(seen, expected, "{requests}");
        }
        let answer = json!({"content": []});
        let answer: ServerResult = serde_json::from_value(answer).unwrap();
        assert!(declined(&answer, CallToolRequestParams::new("tool")).is_none());
    }
}
