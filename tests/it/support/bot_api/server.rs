//! The HTTP side: addresses, bodies, answers, and the long poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State as Shares};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::methods::{self, Refusal};
use super::state::{File, Request as Recorded};
use super::{Shared, TOKEN};

/// The parameters of one call.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) params: Map<String, Value>,
    pub(crate) files: HashMap<String, File>,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .fallback(serve)
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(shared)
}

async fn serve(Shares(shared): Shares<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().replace("%2F", "/").replace("%3A", ":");
    if let Some(rest) = path.strip_prefix("/file/bot") {
        return download(&shared, rest);
    }
    let Some((token, method)) = path
        .strip_prefix("/bot")
        .and_then(|rest| rest.split_once('/'))
    else {
        return answer(Err(Refusal::new(404, "Not Found")));
    };
    if token != TOKEN {
        return answer(Err(Refusal::new(401, "Unauthorized")));
    }
    let call = match read(request).await {
        Ok(call) => call,
        Err(why) => {
            shared.lock().violations.push(format!("{method}: {why}"));
            return answer(Err(Refusal::new(400, &format!("Bad Request: {why}"))));
        }
    };
    // Any case is legal; records carry the documented one.
    let Some(method) = methods::named(method) else {
        shared
            .lock()
            .violations
            .push(format!("unknown method `{method}`"));
        return answer(Err(Refusal::new(404, "Not Found: method not found")));
    };
    record(&shared, method, &call);
    if let Some(refusal) = planned_fault(&shared, method, &call) {
        shared.changed();
        return answer(Err(refusal));
    }
    let result = if method == "getUpdates" {
        get_updates(&shared, &call).await
    } else {
        methods::call(&mut shared.lock(), method, call)
    };
    shared.changed();
    answer(result)
}

async fn read(request: Request) -> Result<Call, String> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if kind.starts_with("multipart/form-data") {
        return read_multipart(request).await;
    }
    let bytes = to_bytes(request.into_body(), 1 << 20)
        .await
        .map_err(|error| error.to_string())?;
    let params = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(params)) => params,
        // A method without parameters may come with `null` or nothing.
        Ok(Value::Null) => Map::new(),
        _ if bytes.is_empty() => Map::new(),
        _ => return Err("can't parse request body as JSON".to_owned()),
    };
    Ok(Call {
        params,
        files: HashMap::new(),
    })
}

async fn read_multipart(request: Request) -> Result<Call, String> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| error.to_string())?;
    let mut call = Call::default();
    while let Some(field) = form.next_field().await.map_err(|error| error.to_string())? {
        let name = field.name().unwrap_or_default().to_owned();
        if let Some(file_name) = field.file_name().map(str::to_owned) {
            let bytes = field.bytes().await.map_err(|error| error.to_string())?;
            let file = File {
                name: file_name,
                bytes: bytes.to_vec(),
            };
            call.files.insert(name, file);
            continue;
        }
        let text = field.text().await.map_err(|error| error.to_string())?;
        // Objects come as JSON in a text field; plain texts stay texts.
        let value = match text.chars().next() {
            Some('{' | '[') => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            _ => Value::String(text),
        };
        call.params.insert(name, value);
    }
    Ok(call)
}

fn record(shared: &Shared, method: &str, call: &Call) {
    let files: Map<String, Value> = call
        .files
        .iter()
        .map(|(field, file)| {
            (
                field.clone(),
                json!({ "name": file.name, "size": file.bytes.len() }),
            )
        })
        .collect();
    shared.lock().requests.push(Recorded {
        method: method.to_owned(),
        params: Value::Object(call.params.clone()),
        files: Value::Object(files),
    });
}

fn planned_fault(shared: &Shared, method: &str, call: &Call) -> Option<Refusal> {
    let mut state = shared.lock();
    let chat = methods::int(&call.params, "chat_id");
    let at = state
        .faults
        .iter()
        .position(|fault| fault.method == method && (fault.chat.is_none() || fault.chat == chat))?;
    let fault = &mut state.faults[at];
    let refusal = Refusal {
        status: fault.status,
        description: fault.description.clone(),
        parameters: fault.parameters.clone(),
    };
    fault.times -= 1;
    if fault.times == 0 {
        state.faults.remove(at);
    }
    Some(refusal)
}

async fn get_updates(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let number = |name| methods::int(&call.params, name);
    let offset = number("offset").unwrap_or(0);
    let limit = usize::try_from(number("limit").unwrap_or(100).clamp(1, 100)).expect("small");
    let wait = u64::try_from(number("timeout").unwrap_or(0)).unwrap_or(0);
    let mut changes = shared.watch();
    let mine = {
        let mut state = shared.lock();
        methods::check_params(&mut state, "getUpdates", &call.params);
        if !state.webhook.is_empty() {
            return Err(Refusal::new(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            ));
        }
        state.poll += 1;
        let allowed = call
            .params
            .get("allowed_updates")
            .and_then(Value::as_array)
            .cloned();
        state.updates.retain(|update| {
            let id = update["update_id"].as_i64().unwrap_or(0);
            let kinds = update.as_object().expect("an object");
            let wanted = allowed.as_ref().is_none_or(|allowed| {
                let known = [
                    "message",
                    "edited_message",
                    "channel_post",
                    "callback_query",
                    "my_chat_member",
                ];
                // Kinds that no documentation names come through, as they do from a newer Telegram.
                kinds.keys().any(|key| {
                    key != "update_id"
                        && (allowed.contains(&json!(key)) || !known.contains(&key.as_str()))
                })
            });
            id >= offset && wanted
        });
        state.poll
    };
    shared.changed();
    let wait = tokio::time::sleep(Duration::from_secs(wait));
    tokio::pin!(wait);
    loop {
        changes.borrow_and_update();
        {
            let state = shared.lock();
            if state.poll != mine {
                return Err(Refusal::new(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                ));
            }
            if !state.updates.is_empty() {
                return Ok(state.updates.iter().take(limit).cloned().collect());
            }
        }
        tokio::select! {
            () = &mut wait => return Ok(json!([])),
            next = changes.changed() => next.expect("the stand-in lives"),
        }
    }
}

fn download(shared: &Shared, rest: &str) -> Response {
    let Some(id) = rest
        .strip_prefix(TOKEN)
        .and_then(|path| path.strip_prefix("/documents/"))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match shared.lock().files.get(id) {
        Some(file) => file.bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(result: Result<Value, Refusal>) -> Response {
    let (status, body) = match result {
        Ok(result) => (200, json!({ "ok": true, "result": result })),
        Err(refusal) => {
            let mut body = json!({
                "ok": false, "error_code": refusal.status, "description": refusal.description,
            });
            if let Some(parameters) = refusal.parameters {
                body["parameters"] = parameters;
            }
            (refusal.status, body)
        }
    };
    let status = StatusCode::from_u16(status).expect("a status");
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
