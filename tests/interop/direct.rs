//! A server spoken to without the bot, as a yardstick: when this fails, the server or its installation is broken.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::transport::async_rw::AsyncRwTransport;

use crate::servers::Published;

/// A server that says nothing for so long is hung; the test ends and does not wait for it.
const DEADLINE: Duration = Duration::from_mins(1);

/// The names of the tools of a server that is started in a folder of its own.
pub(crate) async fn tool_names(server: &Published, folder: &Path) -> Vec<String> {
    // The one launch path of the bot is what the other tests try; this one goes round it on purpose.
    #[allow(clippy::disallowed_methods)]
    let mut child = tokio::process::Command::new(server.path())
        .args(server.takes_folder.then_some(folder))
        .current_dir(folder)
        .env("MEMORY_FILE_PATH", folder.join("memory.jsonl"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the server starts");
    let stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let implementation = Implementation::new("switchboard-interop", env!("CARGO_PKG_VERSION"));
    let client = ClientConfig::new(ClientCapabilities::default(), implementation)
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
    let tools = tokio::time::timeout(DEADLINE, async {
        let client = client
            .serve(AsyncRwTransport::new_client(stdout, stdin))
            .await
            .expect("the server answers initialize");
        let tools = client
            .list_all_tools()
            .await
            .expect("the server lists its tools");
        drop(client);
        tools
    })
    .await
    .expect("the server answers in time");
    child.kill().await.expect("the server can be ended");
    tools
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect()
}
