//! The demo server: an MCP server on standard input and output, in this same program, with tools that show what the bot
//! can show. It reads and changes nothing of the machine but its clock.

mod picture;
mod tools;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde_json::{Map, Value};

/// The command of a server's definition that means this program, wherever it is installed.
pub const COMMAND: &str = "switchboard";
/// Its one argument.
pub const ARGUMENT: &str = "demo-server";

/// Whether a definition means the demo server. Nothing else of this program can be named that way: its other commands
/// act on all threads.
pub fn is_demo(command: &str, args: &[String]) -> bool {
    command == COMMAND && args == [ARGUMENT]
}

/// `switchboard demo-server`: serves until its input ends.
pub fn demo_server_main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let served = runtime.block_on(async {
        let running = Demo.serve(rmcp::transport::stdio()).await?;
        running.waiting().await?;
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    // A read of standard input cannot be ended from here and would hold the runtime.
    runtime.shutdown_background();
    if served.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Demo;

impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                "switchboard-demo",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions("Tools that show what the bot can show.")
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match &*request.name {
            "echo" => tools::echo(&arguments),
            "clock" => tools::clock(&arguments),
            "roll" => tools::roll(&arguments),
            "countdown" => countdown(&arguments, &context).await,
            "picture" => tools::picture(&arguments),
            "fail" => tools::fail(&arguments),
            other => {
                return Err(ErrorData::invalid_params(
                    format!("there is no tool {other:?}"),
                    None,
                ));
            }
        };
        let result =
            result.unwrap_or_else(|why| CallToolResult::error(vec![ContentBlock::text(why)]));
        Ok(result.into())
    }
}

/// Counts down and reports each step, until it is cancelled.
async fn countdown(
    arguments: &Map<String, Value>,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, String> {
    const STEP: Duration = Duration::from_millis(300);
    let from = tools::whole_number(arguments, "from", 5, 1..=1000)?;
    let token = context.meta.get_progress_token().map(Arc::new);
    for done in 0..=from {
        if let Some(token) = &token {
            #[allow(clippy::cast_precision_loss, reason = "at most 1000")]
            let progress = ProgressNotificationParam::new((**token).clone(), done as f64)
                .with_total(from as f64)
                .with_message(format!("{} to go", from - done));
            // Nobody listens: the call goes on, its result counts.
            let _ = context.peer.notify_progress(progress).await;
        }
        if done < from {
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                () = context.ct.cancelled() => return Err("cancelled".to_owned()),
            }
        }
    }
    Ok(CallToolResult::success(vec![ContentBlock::text(
        "Lift-off!",
    )]))
}
