//! What may run on the host and what may be reached from it: programs by the file that they really are, variables by name,
//! remote servers by host.
//!
//! A list of names stops what is plainly a shell, also behind a symlink; it stops neither a copy of one nor an interpreter,
//! which can run anything. That is the sandbox's work.

use std::path::Path;

use super::glob::matches;
use super::{HostPolicy, Patterns};
use crate::config::{ServerName, StdioServer, ThreadConfig};
use crate::thread::ThreadId;

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

/// Variables that change what a program loads, runs or fetches, whatever its command says. The bot sets `PATH` and `HOME`
/// itself.
const VARIABLES: [&str; 58] = [
    "_JAVA_OPTIONS",
    "BASH_ENV",
    "BASH_FUNC_*",
    "BASHOPTS",
    "BUN_*",
    "CDPATH",
    "CLASSPATH",
    "COMPLUS_*",
    "COR_*",
    "CORECLR_*",
    "COREPACK_*",
    "DENO_*",
    "DOTNET_*",
    "DYLD_*",
    "ENV",
    "GCONV_PATH",
    "GEM_*",
    "GETCONF_DIR",
    "GIT_*",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LD_*",
    "LOCALDOMAIN",
    "LOCPATH",
    "LUA_*",
    "MALLOC_*",
    "NIS_PATH",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "NPM_CONFIG_*",
    "OPENSSL_*",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHP_INI_SCAN_DIR",
    "PHPRC",
    "PIP_*",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHON*",
    "R_PROFILE*",
    "RES_OPTIONS",
    "RESOLV_HOST_CONF",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "TZDIR",
    "UV_*",
    "YARN_*",
];

/// A program that a local server would be.
#[derive(Debug, Clone, Copy)]
pub struct Launcher<'a> {
    /// As it was written.
    pub command: &'a str,
    /// The file that was found for it, and the file that this really is; `None` where it is not on this machine.
    pub found: Option<(&'a Path, &'a Path)>,
}

/// Why something is not run or not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A shell, or a program that runs what it is told.
    #[error(
        "`{program}` runs whatever it is told, so it is not allowed as a server's program here"
    )]
    Shell {
        /// The name by which it is one.
        program: String,
    },
    /// The operator does not allow the program.
    #[error("whoever runs this bot does not allow `{program}` as a server's program")]
    Program {
        /// As it was written.
        program: String,
        /// It is forbidden by name, and not only not among those that are allowed.
        denied: bool,
    },
    /// A variable that is not to be set.
    #[error("`{name}` may not be set in a server's `env`{}", if *.denied { ", whoever runs this bot decided" } else { ": it changes which programs or libraries run" })]
    Variable {
        /// Its name.
        name: String,
        /// It is forbidden by the operator's own word.
        denied: bool,
    },
    /// The operator does not allow the host.
    #[error("whoever runs this bot does not allow servers at {host}")]
    Host {
        /// Which.
        host: String,
        /// It is forbidden by name, and not only not among those that are allowed.
        denied: bool,
    },
}

impl Denied {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Shell { .. } => {
                "Name the program itself (npx, uvx, node, python3 …), and put variables into env; whoever runs this bot can allow it in data/admin/policy.json, as `launchers.allow`."
            }
            Self::Program { denied: true, .. } => {
                "Use another program, or ask them: it is in `launchers.deny` of data/admin/policy.json."
            }
            Self::Program { .. } => {
                "Ask them to allow it in data/admin/policy.json, as `launchers.allow`."
            }
            Self::Variable { denied: true, .. } => {
                "Leave it out, or ask them: it is in `env.deny` of data/admin/policy.json."
            }
            Self::Variable { .. } => {
                "Leave it out; whoever runs this bot can allow it in data/admin/policy.json, as `env.allow`."
            }
            Self::Host { denied: true, .. } => {
                "Ask them: it is in `remote_hosts.deny` of data/admin/policy.json."
            }
            Self::Host { .. } => {
                "Ask them to allow it in data/admin/policy.json, as `remote_hosts.allow`."
            }
        }
    }
}

impl HostPolicy {
    /// Whether a thread's local server may be this program.
    pub fn may_launch(&self, thread: ThreadId, launcher: Launcher<'_>) -> Result<(), Denied> {
        let program = |denied| Denied::Program {
            program: launcher.command.to_owned(),
            denied,
        };
        let (names, paths) = (launcher.names(), launcher.paths());
        let is_denied = |pattern: &String| {
            let of = if pattern.contains('/') {
                &paths
            } else {
                &names
            };
            of.iter().any(|text| matches(pattern, text))
        };
        if self.launchers.deny.iter().any(is_denied) {
            return Err(program(true));
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

    /// Whether a local server may set these variables.
    pub fn may_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Denied> {
        for name in names {
            let among = |list: &[String]| list.iter().any(|pattern| matches(pattern, name));
            let denied = among(&self.env.deny);
            let is_risky =
                !among(&self.env.allow) && VARIABLES.iter().any(|pattern| matches(pattern, name));
            if denied || is_risky {
                return Err(Denied::Variable {
                    name: name.to_owned(),
                    denied,
                });
            }
        }
        Ok(())
    }

    /// Whether a remote server may be at this host (`mcp.example.com`, without port).
    pub fn may_reach(&self, host: &str) -> Result<(), Denied> {
        // `example.com.` is the same place.
        let host = host.trim_end_matches('.');
        if self.remote_hosts.lets(host) {
            Ok(())
        } else {
            Err(Denied::Host {
                host: host.to_owned(),
                denied: self.remote_hosts.denies(host),
            })
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

impl Patterns {
    fn lets(&self, text: &str) -> bool {
        let is_allowed = || self.allow.iter().any(|pattern| matches(pattern, text));
        !self.denies(text) && (self.allow.is_empty() || is_allowed())
    }

    fn denies(&self, text: &str) -> bool {
        self.deny.iter().any(|pattern| matches(pattern, text))
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
mod tests {
    use super::*;
    use crate::config::NetworkGrant;

    fn judged(policy: &HostPolicy, command: &str, real: Option<&str>) -> Result<(), Denied> {
        let found = real.map(|real| (Path::new(command), Path::new(real)));
        let group = ThreadId::telegram(-5, None);
        policy.may_launch(group, Launcher { command, found })
    }

    fn patterns(allow: &[&str], deny: &[&str]) -> Patterns {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Patterns {
            allow: owned(allow),
            deny: owned(deny),
        }
    }

    fn with(launchers: Patterns) -> HostPolicy {
        HostPolicy {
            launchers,
            ..HostPolicy::default()
        }
    }

    #[test]
    fn d04_a_shell_is_refused_by_the_file_that_it_is() {
        let policy = HostPolicy::default();
        for (command, real) in [
            ("bash", None),
            ("sh", Some("/usr/bin/dash")),
            ("/bin/../bin/sh", Some("/usr/bin/dash")),
            ("./tool", Some("/usr/bin/bash")),
            ("innocent", Some("/bin/busybox")),
            ("BASH", None),
            ("bash-5.2", None),
            ("env", Some("/usr/bin/env")),
            ("/usr/bin/xargs", None),
            ("sudo", None),
            ("/lib64/ld-linux-x86-64.so.2", None),
        ] {
            let denied = judged(&policy, command, real).unwrap_err();
            assert!(
                matches!(denied, Denied::Shell { .. }),
                "{command}: {denied}"
            );
        }
        for (command, real) in [
            ("npx", Some("/usr/lib/node_modules/npm/bin/npx-cli.js")),
            ("uvx", None),
            ("python3", Some("/usr/bin/python3.11")),
            ("node", None),
            ("docker", None),
            ("/opt/shell-tools/server", None),
            ("finder", None),
        ] {
            assert_eq!(judged(&policy, command, real), Ok(()), "{command}");
        }
    }

    #[test]
    fn d04_an_operators_own_thread_may_have_a_shell() {
        let policy = HostPolicy {
            operators: vec![crate::actor::ActorId::telegram(1)],
            ..HostPolicy::default()
        };
        let shell = Launcher {
            command: "sh",
            found: None,
        };
        for (thread, allowed) in [
            (ThreadId::Local, true),
            (ThreadId::telegram(1, None), true),
            (ThreadId::telegram(2, None), false),
            (ThreadId::telegram(-1, None), false),
        ] {
            assert_eq!(
                policy.may_launch(thread, shell).is_ok(),
                allowed,
                "{thread}"
            );
        }
    }

    #[test]
    fn d04_the_operators_patterns_decide_and_deny_wins() {
        for (allow, deny, command, real, allowed) in [
            (&["bash"][..], &[][..], "bash", Some("/usr/bin/bash"), true),
            (&["bash"], &[], "./bash", Some("/home/x/bash"), false),
            (&["npx"], &[], "./npx", Some("/usr/bin/dash"), false),
            (&["npx"], &[], "./npx", Some("/home/x/npx"), false),
            (&["npx"], &[], "npx", None, true),
            (&["npx"], &[], "uvx", None, false),
            (&["/opt/*"], &[], "tool", Some("/opt/tool"), true),
            (
                &["/opt/*"],
                &[],
                "/opt/../bin/tool",
                Some("/bin/tool"),
                false,
            ),
            (&["/opt/*"], &[], "/opt/../bin/tool", None, false),
            (&["*"], &[], "sh", None, true),
            (&["*"], &["docker"], "/usr/bin/docker", None, false),
            (&["*"], &["docker"], "./x", Some("/usr/bin/docker"), false),
            (&["*"], &["/usr/*"], "x", Some("/usr/bin/x"), false),
            (&[], &["python*"], "python3", None, false),
            (&[], &["python*"], "node", None, true),
        ] {
            let policy = with(patterns(allow, deny));
            let verdict = judged(&policy, command, real);
            assert_eq!(verdict.is_ok(), allowed, "{command} {allow:?} {deny:?}");
        }
    }

    #[test]
    fn d06_variables_that_change_what_runs_are_refused_and_named() {
        let policy = HostPolicy::default();
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PATH",
            "HOME",
            "BASH_ENV",
            "ENV",
            "npm_config_registry",
            "NPM_CONFIG_REGISTRY",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "GIT_SSH_COMMAND",
            "ld_preload",
        ] {
            let denied = policy.may_set(["API_KEY", name]).unwrap_err();
            assert_eq!(
                denied,
                Denied::Variable {
                    name: name.to_owned(),
                    denied: false
                }
            );
            assert!(denied.to_string().contains(name));
        }
        let fine = [
            "API_KEY",
            "GITHUB_TOKEN",
            "GITLAB_TOKEN",
            "MEMORY_FILE_PATH",
            "NODE_ENV",
            "LOG_LEVEL",
            "ENVIRONMENT",
            "HOMEPAGE",
            "TZ",
            "PATHS",
        ];
        assert_eq!(policy.may_set(fine), Ok(()));
        let policy = HostPolicy {
            env: patterns(&["PYTHONUNBUFFERED"], &["API_*"]),
            ..policy
        };
        assert_eq!(policy.may_set(["PYTHONUNBUFFERED"]), Ok(()));
        assert!(policy.may_set(["API_KEY"]).is_err());
        assert!(policy.may_set(["PYTHONPATH"]).is_err());
    }

    #[test]
    fn hosts_are_allowed_and_denied_by_pattern() {
        let of = |allow: &[&str], deny: &[&str]| HostPolicy {
            remote_hosts: patterns(allow, deny),
            ..HostPolicy::default()
        };
        for (policy, host, allowed) in [
            (of(&[], &[]), "mcp.example.com", true),
            (of(&["*.example.com"], &[]), "MCP.example.com", true),
            (of(&["*.example.com"], &[]), "mcp.example.com.", true),
            (of(&["*.example.com"], &[]), "example.net", false),
            (of(&[], &["*.evil.net"]), "a.evil.net", false),
            (of(&[], &["*.evil.net"]), "a.evil.net.", false),
            (of(&["*"], &["a.b"]), "a.b", false),
        ] {
            assert_eq!(policy.may_reach(host).is_ok(), allowed, "{host}");
        }
    }

    #[test]
    fn what_would_run_newly_is_found() {
        let server = |command: &str, disabled| StdioServer {
            command: command.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            network: NetworkGrant::default(),
            disabled,
        };
        let config = |local: &[(&str, StdioServer)]| ThreadConfig {
            local: local
                .iter()
                .map(|(name, server)| (ServerName::new(name).unwrap(), server.clone()))
                .collect(),
            ..ThreadConfig::default()
        };
        let old = config(&[("a", server("x", false)), ("off", server("y", true))]);
        for (name, new, expected) in [
            ("nothing", old.clone(), &[][..]),
            ("added", config(&[("b", server("z", false))]), &["b"]),
            ("added and off", config(&[("b", server("z", true))]), &["b"]),
            ("changed", config(&[("a", server("z", false))]), &["a"]),
            (
                "switched on",
                config(&[("off", server("y", false))]),
                &["off"],
            ),
            ("switched off", config(&[("a", server("x", true))]), &[]),
            ("renamed", config(&[("c", server("x", false))]), &[]),
            ("removed", config(&[]), &[]),
        ] {
            let found: Vec<&str> = new_locals(&old, &new)
                .map(|(name, _)| name.as_str())
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
