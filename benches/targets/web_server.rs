//! Servers over streamable HTTP: the fast one, with the same ten tools, by axum on a thread of its own, with no SDK and no
//! session, so that its own time is nearly nothing; and server-everything.

use std::time::Duration;

use anyhow::{Context, Result};
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct WebServer {
    url: String,
    _stop: oneshot::Sender<()>,
}

impl WebServer {
    /// Starts it on a free port of loopback.
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("web server".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    // GET and DELETE are answered with 405, as the specification allows.
                    let router = Router::new().route("/mcp", post(answer));
                    let serve = std::future::IntoFuture::into_future(axum::serve(listener, router));
                    tokio::select! {
                        served = serve => served,
                        _ = stopped => Ok(()),
                    }
                })
            })
            .context("the web server's thread")?;
        Ok(Self { url, _stop: stop })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// server-everything by node over streamable HTTP; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Everything {
    url: String,
    _child: tokio::process::Child,
}

impl Everything {
    /// Starts it with this line, at a free port, and waits until it takes connections.
    pub(crate) async fn start(command: &[String]) -> Result<Self> {
        let at = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .env("PORT", at.port().to_string())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let up = async {
            while tokio::net::TcpStream::connect(at).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), up)
            .await
            .context("server-everything does not listen")?;
        Ok(Self {
            url: format!("http://{at}/mcp"),
            _child: child,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

async fn answer(Json(asked): Json<Value>) -> Response {
    let Some(id) = asked.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result = match asked["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "fast", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": (0..10).map(tool).collect::<Vec<_>>()}),
        Some("tools/call") => {
            json!({"content": [{"type": "text", "text": "done"}], "isError": false})
        }
        Some("ping") => json!({}),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            return Json(json!({"jsonrpc": "2.0", "id": id, "error": error})).into_response();
        }
    };
    Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response()
}

fn tool(n: usize) -> Value {
    json!({
        "name": format!("tool_{n}"),
        "description": "Says that it is done",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    })
}
