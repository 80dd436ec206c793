//! What is posted, as far as its way and its answer depend on it.

use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, JsonRpcMessage, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;

use super::super::WireError;

/// What is posted.
pub(super) struct Posted<'a> {
    /// For the log.
    pub(super) what: &'a str,
    /// Of a request.
    pub(super) id: Option<RequestId>,
    /// Nothing happens at the server by it.
    pub(super) harmless: bool,
    /// It is `server/discover`, which older servers do not know.
    pub(super) discovers: bool,
    /// It is `initialize`: the answer's session is ours.
    pub(super) begins: bool,
}

impl<'a> Posted<'a> {
    pub(super) fn new(message: &'a ClientJsonRpcMessage) -> Self {
        let (what, id) = match message {
            JsonRpcMessage::Request(request) => (request.request.method(), Some(&request.id)),
            JsonRpcMessage::Notification(notification) => (
                match &notification.notification {
                    ClientNotification::InitializedNotification(_) => "notifications/initialized",
                    ClientNotification::CancelledNotification(_) => "notifications/cancelled",
                    _ => "notification",
                },
                None,
            ),
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => ("answer", None),
        };
        let request = match message {
            JsonRpcMessage::Request(request) => Some(&request.request),
            _ => None,
        };
        Self {
            what,
            id: id.cloned(),
            harmless: matches!(
                what,
                "initialize" | "server/discover" | "ping" | "tools/list"
            ),
            discovers: matches!(request, Some(ClientRequest::DiscoverRequest(_))),
            begins: matches!(request, Some(ClientRequest::InitializeRequest(_))),
        }
    }

    /// The answer to `server/discover` if it is one, and else that the server is an older one.
    pub(super) async fn discovered(
        &self,
        response: StreamableHttpPostResponse,
        limit: Duration,
    ) -> StreamableHttpPostResponse {
        let first = response.expect_initialized::<WireError>();
        match tokio::time::timeout(limit, first).await {
            Ok(Ok((message, session))) => match &message {
                JsonRpcMessage::Response(response)
                    if matches!(response.result, ServerResult::DiscoverResult(_)) =>
                {
                    StreamableHttpPostResponse::Json(message, session)
                }
                JsonRpcMessage::Error(_) => StreamableHttpPostResponse::Json(message, session),
                _ => self.is_older(),
            },
            _ => self.is_older(),
        }
    }

    /// The answer of a server that does not know the newest revision.
    pub(super) fn is_older(&self) -> StreamableHttpPostResponse {
        let error = ErrorData::invalid_request("the server does not know server/discover", None);
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(error, self.id.clone()), None)
    }
}
