//! What may run on the host and what may be reached from it: programs by the file that they really are, variables by name,
//! remote servers by host.
//!
//! A list of names stops what is plainly a shell, also behind a symlink; it stops neither a copy of one nor an interpreter,
//! which can run anything. That is the sandbox's work. What an operator denies is also denied as what another program is run
//! by: a script's interpreter, and what a package is started by.

mod denied;
mod hosts;
mod variables;

use std::path::{Path, PathBuf};

use super::HostPolicy;
use super::glob::matches;
use crate::config::{ServerName, StdioServer, ThreadConfig};
use crate::thread::ThreadId;

pub use denied::Denied;

/// Programs whose work is to run what they are told, so that the command says nothing of what runs.
const SHELLS: [&str; 62] = [
    "ash",
    "bash",
    "busybox",
    "chroot",
    "cmd.exe",
    "csh",
    "dash",
    "dbus-run-session",
    "doas",
    "elvish",
    "env",
    "eshell",
    "expect",
    "find",
    "fish",
    "flock",
    "ionice",
    "ksh",
    "ksh93",
    "ld.so",
    "lksh",
    "mksh",
    "nice",
    "nohup",
    "nsenter",
    "nu",
    "oksh",
    "osh",
    "parallel",
    "pdksh",
    "posh",
    "powershell",
    "powershell.exe",
    "pwsh",
    "rbash",
    "rc",
    "rksh",
    "run-parts",
    "runuser",
    "rzsh",
    "sash",
    "screen",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "sh",
    "ssh",
    "static-sh",
    "stdbuf",
    "su",
    "sudo",
    "systemd-run",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "toybox",
    "unshare",
    "xargs",
    "yash",
    "zsh",
];

/// A program that a local server would be.
#[derive(Debug, Clone, Copy)]
pub struct Launcher<'a> {
    /// As it was written.
    pub command: &'a str,
    /// The file that was found for it, and the file that this really is; `None` where it is not on this machine.
    pub found: Option<(&'a Path, &'a Path)>,
    /// What it is interpreted by, where it is a script.
    pub runners: &'a [Runner],
}

/// A program that runs another one: the interpreter of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// As the script names it.
    pub name: String,
    /// The file that was found for it, and the file that this really is; `None` where it is not on this machine.
    pub found: Option<(PathBuf, PathBuf)>,
}

/// Programs that start what they fetch by another one, which the command does not name.
const STARTERS: [(&str, &[&str]); 6] = [
    ("npx", &["node"]),
    ("npm", &["node"]),
    ("pnpm", &["node"]),
    ("uvx", &["python", "python3"]),
    ("uv", &["python", "python3"]),
    ("pipx", &["python", "python3"]),
];

impl HostPolicy {
    /// Whether a thread's local server may be this program.
    pub fn may_launch(&self, thread: ThreadId, launcher: Launcher<'_>) -> Result<(), Denied> {
        let program = |denied| Denied::Program {
            program: launcher.command.to_owned(),
            denied,
        };
        let (names, paths) = (launcher.names(), launcher.paths());
        let is_denied = |names: &[String], paths: &[String]| {
            self.launchers.deny.iter().any(|pattern| {
                let of = if pattern.contains('/') { paths } else { names };
                of.iter().any(|text| matches(pattern, text))
            })
        };
        if is_denied(&names, &paths) {
            return Err(program(true));
        }
        let starters = STARTERS
            .iter()
            .filter(|(name, _)| names.iter().any(|own| own == name));
        let started = starters
            .flat_map(|(_, runners)| runners.iter())
            .map(|name| Runner {
                name: (*name).to_owned(),
                found: None,
            });
        for runner in launcher.runners.iter().cloned().chain(started) {
            let own = runner.launcher();
            if is_denied(&own.names(), &own.paths()) {
                return Err(Denied::Runner {
                    program: launcher.command.to_owned(),
                    by: runner.name,
                });
            }
        }
        if self
            .launchers
            .allow
            .iter()
            .any(|pattern| launcher.is_allowed_by(pattern))
        {
            return Ok(());
        }
        if let Some(name) = names.iter().find(|name| is_shell(name))
            && !self.is_an_operators(thread)
        {
            return Err(Denied::Shell {
                program: (*name).clone(),
            });
        }
        if self.launchers.allow.is_empty() {
            Ok(())
        } else {
            Err(program(false))
        }
    }
}

/// The local servers of `new` that would run and that nothing in `old` ran like that: added ones, those with another
/// command, arguments, environment, folder or grant, and those that are switched on.
pub fn new_locals<'a>(
    old: &'a ThreadConfig,
    new: &'a ThreadConfig,
) -> impl Iterator<Item = &'a (ServerName, StdioServer)> {
    new.local.iter().filter(|(_, server)| {
        let ran = |was: &StdioServer| {
            let was_on = StdioServer {
                disabled: server.disabled,
                ..was.clone()
            };
            was_on.means_the_same(server) && (server.disabled || !was.disabled)
        };
        !old.local.iter().any(|(_, was)| ran(was))
    })
}

impl Runner {
    fn launcher(&self) -> Launcher<'_> {
        let found = self.found.as_ref();
        Launcher {
            command: &self.name,
            found: found.map(|(found, real)| (found.as_path(), real.as_path())),
            runners: &[],
        }
    }
}

impl Launcher<'_> {
    /// A name is allowed where it was looked up on the `PATH`, which is the operator's; a path where the file is really
    /// there. So nobody passes a file of their own off as `npx`.
    fn is_allowed_by(&self, pattern: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        if !pattern.contains('/') {
            return !self.command.contains('/') && matches(pattern, self.command);
        }
        match self.found {
            Some((_, real)) => matches(pattern, &real.to_string_lossy()),
            None => !self.command.contains("..") && matches(pattern, self.command),
        }
    }

    fn names(&self) -> Vec<String> {
        let base = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let found = self.found.iter().flat_map(|(found, real)| [*found, *real]);
        [Path::new(self.command)]
            .into_iter()
            .chain(found)
            .filter_map(base)
            .collect()
    }

    fn paths(&self) -> Vec<String> {
        let found = self.found.iter().flat_map(|(found, real)| [*found, *real]);
        [Path::new(self.command)]
            .into_iter()
            .chain(found)
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    }
}

/// Whether a file's name is a shell's, perhaps with a version behind it (`bash-5.2`, `zsh5`), or the loader's.
fn is_shell(name: &str) -> bool {
    let name = name.to_lowercase();
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
    SHELLS.contains(&name.as_str())
        || SHELLS.contains(&bare)
        || (name.starts_with("ld-") && name.contains(".so"))
}

#[cfg(test)]
mod tests;
