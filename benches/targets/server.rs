//! The servers that are measured: the fast one, compiled on the spot, and server-everything where it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/targets/fast_server.rs"
);
const EVERYTHING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/interop/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
);

/// The compiled fast server; its program lives as long as this.
#[derive(Debug)]
pub(crate) struct FastServer {
    program: PathBuf,
    _folder: tempfile::TempDir,
}

impl FastServer {
    /// Compiles it into a small static program, so that its start is nearly nothing.
    pub(crate) fn compile() -> Result<Self> {
        let folder = temporary_folder()?;
        let program = folder.path().join("fast-server");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc)
            .args([
                "--edition",
                "2024",
                "-C",
                "opt-level=3",
                "-C",
                "panic=abort",
            ])
            .args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"])
            .arg(SOURCE)
            .arg("-o")
            .arg(&program)
            .output()
            .with_context(|| format!("cannot run {}", rustc.display()))?;
        ensure!(
            output.status.success(),
            "the fast server does not compile: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            program,
            _folder: folder,
        })
    }

    /// The line that starts it, its tools named `<prefix>_0` to `<prefix>_9`.
    pub(crate) fn command(&self, prefix: &str) -> Vec<String> {
        command_of(&self.program, prefix)
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

/// The line that starts the fast server at that path.
pub(crate) fn command_of(program: &Path, prefix: &str) -> Vec<String> {
    vec![program.to_string_lossy().into_owned(), prefix.to_owned()]
}

/// The line that starts server-everything by node to speak this way, where both are installed.
pub(crate) fn everything(transport: &str) -> Option<Vec<String>> {
    let node = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("node"))
        .find(|path| path.is_file())?;
    Path::new(EVERYTHING).is_file().then(|| {
        vec![
            node.to_string_lossy().into_owned(),
            EVERYTHING.to_owned(),
            transport.to_owned(),
        ]
    })
}

/// A folder on the disk of the build, gone when dropped. Not the system's temporary folder, which may be in memory.
pub(crate) fn temporary_folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}
