//! Where the published servers are, and the proof that they work when nobody but a client stands before them.

use std::path::{Path, PathBuf};

use crate::direct;

/// A published server, and tools that it is known to have.
pub(crate) struct Published {
    /// The name of its program.
    pub(crate) program: &'static str,
    /// It is told on its command line which folder is its own.
    pub(crate) takes_folder: bool,
    /// Tools that are there whatever else changes.
    pub(crate) tools: &'static [&'static str],
}

/// The server that shows every part of the protocol.
pub(crate) const EVERYTHING: Published = Published {
    program: "mcp-server-everything",
    takes_folder: false,
    tools: &["echo", "get-sum", "get-tiny-image"],
};
/// Files below the folders that it is given as arguments.
pub(crate) const FILESYSTEM: Published = Published {
    program: "mcp-server-filesystem",
    takes_folder: true,
    tools: &["list_directory", "read_text_file", "write_file"],
};
/// A graph of facts, kept in the file that `MEMORY_FILE_PATH` names.
pub(crate) const MEMORY: Published = Published {
    program: "mcp-server-memory",
    takes_folder: false,
    tools: &["create_entities", "read_graph"],
};

impl Published {
    /// Its program, as `npm ci` installed it.
    pub(crate) fn path(&self) -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let path = here.join("node_modules/.bin").join(self.program);
        assert!(
            path.exists(),
            "{} is not installed; run tests/interop/run, or `npm ci` in tests/interop",
            self.program
        );
        path
    }
}

/// The server answers `initialize` and lists the tools that are counted on.
async fn works(server: &Published) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tools = direct::tool_names(server, folder.path()).await;
    for tool in server.tools {
        assert!(
            tools.iter().any(|name| name == tool),
            "{} has no tool {tool}: {tools:?}",
            server.program
        );
    }
}

#[tokio::test]
async fn server_everything_is_installed_and_answers() {
    works(&EVERYTHING).await;
}

#[tokio::test]
async fn server_filesystem_is_installed_and_answers() {
    works(&FILESYSTEM).await;
}

#[tokio::test]
async fn server_memory_is_installed_and_answers() {
    works(&MEMORY).await;
}
