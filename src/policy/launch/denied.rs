//! Why something is not run or not reached, in words.

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
    /// The operator does not allow what the program is run by.
    #[error("whoever runs this bot does not allow `{by}`, and `{program}` is run by it")]
    Runner {
        /// As it was written.
        program: String,
        /// Its interpreter, or what starts its packages.
        by: String,
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
            Self::Program { denied: true, .. } | Self::Runner { .. } => {
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
