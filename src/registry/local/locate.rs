//! What a definition means on this machine: which program, in which folder, with which environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::super::Stage;
use super::super::allowed;
use super::super::context::Context;
use super::super::launch::{advice_for, find_program};
use super::super::trouble::{Mend, Trouble};
use super::cage::{HOME_IS_FULL, advice_for_folder, granted};
use super::folder::make_below;
use super::terms::Terms;
use crate::config::StdioServer;
use crate::demo;
use crate::policy::HostPolicy;
use crate::sandbox::{Cage, Granted, Network, Owner, Run, Wrapped, make_home, working_folder};
use crate::thread::ThreadId;

/// How long a program and a folder are looked for.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What a definition means on this machine.
#[derive(Debug)]
pub(in crate::registry) struct Located {
    /// Its own program, for people.
    pub(in crate::registry) program: PathBuf,
    /// What is started.
    pub(super) wrapped: Wrapped,
    /// Its thread's home, and whose that is.
    pub(super) home: (PathBuf, Option<Owner>),
}

/// How it is to be started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) policy: Arc<HostPolicy>,
    /// What that policy makes of it.
    pub(super) terms: Terms,
    /// What the grant of the terms became.
    pub(super) network: Network,
    /// The folder of its package.
    pub(super) package: Option<Granted>,
}

/// Finds the program and the folder. They may be on a mount that does not answer, so it is done on a thread that nobody
/// needs, and given up after a while.
pub(in crate::registry) async fn locate(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
    launch: Launch,
) -> Result<Located, Trouble> {
    let (own, definition) = (context.clone(), server.clone());
    let look = move || locate_now(&own, thread, &definition, launch);
    look_within(&context.looks, look).await.unwrap_or_else(|| {
        Err(Trouble {
            stage: Stage::Command,
            what: "its program or working folder is on a file system that does not answer"
                .to_owned(),
            advice: "Look at the host's mounts, or set another folder with /mcp edit.".to_owned(),
            mend: Mend::Again,
            said: Vec::new(),
        })
    })
}

/// What `look` finds; `None` where it takes longer. Its thread is of its own and not of a pool, so that one that hangs holds
/// up neither others nor the end of the bot.
pub(in crate::registry) async fn look_within<T: Send + 'static>(
    looks: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    look_for(LOOK_LIMIT, looks, look).await
}

async fn look_for<T: Send + 'static>(
    limit: Duration,
    looks: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(limit, async {
        let turn = looks.clone().acquire_owned().await.ok()?;
        let (sender, found) = oneshot::channel();
        std::thread::Builder::new()
            .name("look".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                let found = look();
                drop(turn);
                let _ = sender.send(found);
            })
            .ok()?;
        found.await.ok()
    })
    .await
    .ok()
    .flatten()
}

fn locate_now(
    context: &Context,
    thread: ThreadId,
    server: &StdioServer,
    launch: Launch,
) -> Result<Located, Trouble> {
    let Launch {
        policy,
        terms,
        network,
        package,
    } = launch;
    let Terms {
        sandbox, limits, ..
    } = terms;
    let trouble = |what: String, advice: &str| Trouble {
        stage: Stage::Command,
        what,
        advice: advice.to_owned(),
        mend: Mend::Change,
        said: Vec::new(),
    };
    let texts = [&server.command]
        .into_iter()
        .chain(&server.args)
        .chain(&server.cwd)
        .chain(server.env.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().any(|text| text.contains('\0'))
        || server
            .env
            .iter()
            .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return Err(trouble(
            "the definition has a character in it that no program can be given".to_owned(),
            "Take it out of the command, the arguments, the environment or the folder.",
        ));
    }
    let is_demo = demo::is_demo(&server.command, &server.args);
    let owner = sandbox.owner(thread);
    let home = context.options.homes.join(thread.to_string());
    let home = make_home(&home, owner).map_err(|error| {
        trouble(
            format!("the thread's own folder cannot be made: {error}"),
            "Ask whoever runs the bot to look at its data folder.",
        )
    })?;
    let used = context
        .homes
        .room(&sandbox, thread, (&home, owner), limits.file_bytes)
        .map_err(|why| trouble(why, HOME_IS_FULL))?;
    let data = context.data();
    let mut folders = granted(&terms.folders, &data);
    if let Some(folder) = &server.cwd {
        make_below(&home, Path::new(folder), owner).map_err(|error| {
            trouble(
                format!("the working folder `{folder}` cannot be made: {error}"),
                "Set another one with `/mcp edit`.",
            )
        })?;
    }
    let cwd = working_folder(&home, server.cwd.as_deref(), &folders, sandbox.confines())
        .map_err(|error| trouble(error.to_string(), advice_for_folder(&error)))?;
    let is_package = package.is_some();
    // Not before the working folder is judged: nothing works in a package's folder.
    folders.extend(package);
    let inside = sandbox.home_inside(&home).to_owned();
    let env = context.environment.for_server(&inside, &server.env);
    let path = env.get("PATH").map_or("", String::as_str);
    let program = if is_demo {
        // Our own program, wherever it is installed; its name need not be on the path.
        context.options.launcher.clone()
    } else {
        find_program(&server.command, &cwd, path)
            .map_err(|error| trouble(error.to_string(), &advice_for(&error)))?
    };
    // Also what was written by hand: by the file that it is, not by what it is called. A package was judged by its manager.
    if !is_package {
        let found = allowed::Found {
            program: &program,
            cwd: &cwd,
            path,
        };
        allowed::local(&policy, thread, server, Some(found))
            .map_err(|denied| allowed::trouble(Stage::Command, &denied))?;
    }
    let cage = Cage {
        home: home.clone(),
        data,
        owner,
        folders,
        network,
        limits: limits.beside(used),
    };
    let run = Run {
        program: program.clone(),
        arg0: server.command.clone(),
        args: server.args.clone(),
        env,
        cwd,
    };
    let wrapped = sandbox
        .wrap(&cage, run)
        .map_err(|error| trouble(format!("it cannot be confined: {error}"), ""))?;
    Ok(Located {
        program,
        wrapped,
        home: (home, owner),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_holds_nobody_up() {
        let looks = Arc::new(Semaphore::new(1));
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let hung = look_for(Duration::from_millis(1), &looks, move || hangs.recv());
        assert!(hung.await.is_none());
        let other = look_for(Duration::from_millis(1), &looks, || 1);
        assert_eq!(other.await, None, "no more than the limit hang at once");
        release.send(()).unwrap();
        let again = look_for(Duration::from_secs(30), &looks, || 2);
        assert_eq!(again.await, Some(2));
    }
}
