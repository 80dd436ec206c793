//! Packages: what `npx` and `uvx` run is installed once, pinned to a version, in a step of its own, and started from there.
//!
//! [`recognise`] reads a command line, [`resolve`] asks the package's manager for the version, [`install`] installs it, and
//! [`step`] runs a manager, confined, with the hosts of its registries and nothing else of the network. [`sources`] knows
//! these as the host is set up.
//!
//! Each thread has packages of its own, below the data folder and not in its home: a package may run code when it is
//! installed, which must reach no other thread's, and its files are shown to the thread's servers without the right to
//! change them. They cost disk once for each thread; a cache that all threads share would have to be written by a step
//! that no thread can reach. [`room`] bounds what a thread's take together.

mod install;
mod recognise;
mod resolve;
mod room;
mod sources;
mod step;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use super::super::Stage;
use super::super::allowed;
use super::super::context::Context;
use super::super::trouble::{Mend, Trouble};
use crate::config::{Definition, ServerName, StdioServer};
use crate::sandbox::Granted;
use crate::thread::ThreadId;

pub(in crate::registry) use room::{Claim, Claims};
pub(in crate::registry) use sources::Sources;

use recognise::package;

/// A server whose package has an exact version, for a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its arguments with that version.
    pub args: Vec<String>,
    /// The package: `@scope/name@1.2.3`.
    pub package: String,
    /// Where it is fetched: hosts.
    pub from: Vec<String>,
    /// It is installed already.
    pub is_there: bool,
}

/// Why a server's package has no exact version, for a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotPinned {
    /// What happened and what to do, in sentences.
    pub words: String,
    /// The package's manager is not on this machine: nothing is wrong with the entry itself.
    pub no_manager: bool,
}

impl From<Trouble> for NotPinned {
    fn from(trouble: Trouble) -> Self {
        Self {
            words: trouble.in_words(str::to_owned),
            no_manager: false,
        }
    }
}

/// What to run instead of a package's manager.
#[derive(Debug)]
pub(super) struct Installed {
    /// The same server, started directly.
    pub(super) server: StdioServer,
    /// What it is shown besides.
    pub(super) folder: Granted,
    /// The package with its version.
    pub(super) package: String,
    /// Held for as long as the server runs.
    pub(super) claim: Claim,
}

/// Works out the version of a server's package; `None` where it runs none. Asks the registry where the version is open,
/// and whether there is such a version where it is not installed yet.
pub(in crate::registry) async fn pin(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<Option<Pinned>, NotPinned> {
    if !context.options.packages {
        return Ok(None);
    }
    let Some(found) = package(server) else {
        return Ok(None);
    };
    let found = found.map_err(|unclear| unclear_words(server, &unclear))?;
    let is_there =
        |version: &str| install::is_there(&install::place(context, thread, &found, version));
    let named = found.exact();
    let version = if let Some(version) = named.filter(|version| is_there(version)) {
        version.to_owned()
    } else {
        if let Some(missing) = step::missing(context, found.manager).await {
            return Err(NotPinned {
                words: missing.in_words(str::to_owned),
                no_manager: true,
            });
        }
        match (named, resolve::version(context, thread, &found).await) {
            (None, Ok(version)) => version,
            (Some(version), Ok(_)) => version.to_owned(),
            // The registry does not answer: whether there is such a version shows when it is installed.
            (Some(version), Err(trouble)) if trouble.mend != Mend::Change => version.to_owned(),
            (_, Err(trouble)) => return Err(trouble.into()),
        }
    };
    Ok(Some(Pinned {
        args: found.pinned_args(&server.args, &version),
        package: format!("{}@{version}", found.name),
        from: context.sources().hosts_of(found.manager),
        is_there: is_there(&version),
    }))
}

/// Installs a server's package where that is not done; `None` where it runs none. `doing` is told what takes a while.
pub(super) async fn installed(
    context: &Arc<Context>,
    thread: ThreadId,
    name: &ServerName,
    server: &StdioServer,
    doing: &mut (dyn FnMut(String) + Send),
) -> Result<Option<Installed>, Trouble> {
    if !context.options.packages {
        return Ok(None);
    }
    let Some(found) = package(server) else {
        return Ok(None);
    };
    let found = found.map_err(|unclear| unclear_words(server, &unclear))?;
    // By the manager that its line names: what is started in the end is none of the line's.
    allowed::wanted(context, thread, &Definition::Local(server.clone()))
        .await
        .map_err(|denied| allowed::trouble(Stage::Command, &denied))?;
    // A file that was written by hand may leave it open: then what was installed first stays.
    let version = if let Some(version) = found.exact() {
        version.to_owned()
    } else if let Some(version) = install::chosen(context, thread, &found).await {
        version
    } else {
        doing(format!("looking up {}", found.name));
        resolve::version(context, thread, &found).await?
    };
    let place = install::place(context, thread, &found, &version);
    if !install::is_there(&place) {
        doing(format!("installing {}@{version}", found.name));
    }
    let (program, claim) = install::ensure(context, thread, name, &found, &version).await?;
    let mut args = program.before;
    args.extend(found.args.iter().cloned());
    Ok(Some(Installed {
        server: StdioServer {
            command: program.command,
            args,
            ..server.clone()
        },
        folder: Granted {
            path: place,
            write: false,
        },
        package: format!("{}@{version}", found.name),
        claim,
    }))
}

/// Where a thread's packages are.
fn folder(context: &Context, thread: ThreadId) -> PathBuf {
    context.data().join("packages").join(thread.to_string())
}

fn unclear_words(server: &StdioServer, unclear: &recognise::Unclear) -> Trouble {
    Trouble::new(
        Stage::Package,
        format!("`{}` {unclear}", server.command),
        "Write it as `npx -y PACKAGE@VERSION ARGUMENTS` or `uvx PACKAGE@VERSION ARGUMENTS`, with a package of the registry.",
        Mend::Change,
    )
}

/// The server whose line this is.
#[cfg(test)]
fn server(line: &str) -> StdioServer {
    let mut words = line.split(' ').map(str::to_owned);
    StdioServer {
        command: words.next().unwrap_or_default(),
        args: words.collect(),
        env: Vec::new(),
        cwd: None,
        network: crate::config::NetworkGrant::Unsaid,
        disabled: false,
    }
}
