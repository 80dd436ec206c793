//! Finding a server's program before it is started, so that a missing one is told in words that help.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum ProgramError {
    /// Nothing of that name.
    #[error("`{0}` was not found on this machine")]
    NotFound(String),
    /// There, but not executable for the bot.
    #[error("`{0}` is there, but it is not executable")]
    NotExecutable(String),
    /// A folder.
    #[error("`{0}` is a folder, not a program")]
    Folder(String),
}

/// The file that `command` means: a path is taken relative to `cwd`, a bare name is looked up in `path` (`PATH`).
pub(in crate::registry) fn find_program(
    command: &str,
    cwd: &Path,
    path: &str,
) -> Result<PathBuf, ProgramError> {
    if command.contains('/') {
        return runnable(cwd.join(command), command);
    }
    // As a shell does: the first executable wins, and a file that is there but cannot be run is told only where no other is.
    let mut worst = ProgramError::NotFound(command.to_owned());
    for folder in path.split(':') {
        match runnable(cwd.join(folder).join(command), command) {
            Ok(found) => return Ok(found),
            Err(ProgramError::NotExecutable(_)) => {
                worst = ProgramError::NotExecutable(command.to_owned());
            }
            Err(ProgramError::NotFound(_) | ProgramError::Folder(_)) => {}
        }
    }
    Err(worst)
}

/// What to do about a program that is not there.
pub(in crate::registry) fn advice_for(error: &ProgramError) -> String {
    let command = match error {
        ProgramError::NotFound(command) => command,
        ProgramError::NotExecutable(command) => {
            return format!("Make it executable on the host: `chmod +x {command}`.");
        }
        ProgramError::Folder(_) => {
            return "Name the program inside the folder instead.".to_owned();
        }
    };
    let base = command.rsplit('/').next().unwrap_or(command);
    match base {
        "npx" | "npm" | "node" => {
            "Node.js is not installed on this machine (or not on the bot's PATH): install it from nodejs.org, then restart the server."
        }
        "uvx" | "uv" => {
            "uv, which brings `uvx`, is not installed on the bot's machine (or not on the PATH that the bot was started with): whoever runs the bot can install it as docs.astral.sh/uv says. Where it lands in a folder that is not on that PATH (mostly ~/.local/bin), the bot is started anew with it; else `/mcp restart` is enough."
        }
        "python" | "python3" | "pip" | "pipx" => {
            "Python is not installed on this machine under that name (try python3): install it, then restart the server."
        }
        "docker" | "podman" => {
            "No container engine is installed on this machine (or not on the bot's PATH): install it, then restart the server."
        }
        "bunx" | "bun" => {
            "Bun is not installed on this machine (or not on the bot's PATH): install it from bun.sh, then restart the server."
        }
        "deno" => {
            "Deno is not installed on this machine (or not on the bot's PATH): install it from deno.com, then restart the server."
        }
        _ if command.starts_with('/') => "Check the path, or install the program there.",
        _ if command.contains('/') => {
            "Check the path: relative ones start at the server's working folder, which is inside this chat's own folder unless it begins with `/`."
        }
        _ => "Check the spelling, install it on the host, or give its full path.",
    }
    .to_owned()
}

fn runnable(path: PathBuf, command: &str) -> Result<PathBuf, ProgramError> {
    let Ok(metadata) = std::fs::metadata(&path) else {
        return Err(ProgramError::NotFound(command.to_owned()));
    };
    if metadata.is_dir() {
        Err(ProgramError::Folder(command.to_owned()))
    } else if access(&path, Access::EXEC_OK).is_err() {
        Err(ProgramError::NotExecutable(command.to_owned()))
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    fn file(path: &Path, mode: u32) {
        std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(path)
            .unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_way_of_missing_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        std::fs::create_dir_all(here.join("sub")).unwrap();
        std::fs::create_dir_all(&there).unwrap();
        file(&here.join("run"), 0o755);
        file(&there.join("later"), 0o755);
        file(&here.join("plain"), 0o644);
        let path = format!("{}:{}", here.display(), there.display());
        let found = |command: &str| find_program(command, &here, &path);

        assert_eq!(found("run"), Ok(here.join("run")));
        assert_eq!(found("later"), Ok(there.join("later")));
        assert_eq!(found("./run"), Ok(here.join("./run")));
        assert_eq!(
            found("nothing"),
            Err(ProgramError::NotFound("nothing".into()))
        );
        assert_eq!(
            found("./nothing"),
            Err(ProgramError::NotFound("./nothing".into()))
        );
        assert_eq!(
            found("plain"),
            Err(ProgramError::NotExecutable("plain".into()))
        );
        assert_eq!(found("./sub"), Err(ProgramError::Folder("./sub".into())));
    }

    #[test]
    fn a_missing_npx_speaks_of_node() {
        let advice = advice_for(&ProgramError::NotFound("npx".into()));
        assert!(
            advice.starts_with("Node.js is not installed on this machine"),
            "{advice}"
        );
    }

    #[test]
    fn a_missing_uvx_says_who_installs_it_and_when_the_bot_is_started_anew() {
        let advice = advice_for(&ProgramError::NotFound("uvx".into()));
        for words in ["docs.astral.sh/uv", "~/.local/bin", "/mcp restart"] {
            assert!(advice.contains(words), "{advice}");
        }
    }
}
