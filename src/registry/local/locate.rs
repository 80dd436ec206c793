//! What a definition means on this machine: which program, in which folder, with which environment.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::super::Stage;
use super::super::context::Context;
use super::super::launch::{advice_for, find_program};
use super::super::trouble::{Mend, Trouble};
use crate::config::StdioServer;
use crate::demo;
use crate::thread::ThreadId;

/// How long a program and a folder are looked for.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What a definition means on this machine.
#[derive(Debug)]
pub(in crate::registry) struct Located {
    pub(in crate::registry) program: PathBuf,
    pub(super) cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
}

/// Finds the program and the folder. They may be on a mount that does not answer, so it is done on a thread that nobody
/// needs, and given up after a while.
pub(in crate::registry) async fn locate(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<Located, Trouble> {
    let (own, definition) = (context.clone(), server.clone());
    let look = move || locate_now(&own, thread, &definition);
    look_within(LOOK_LIMIT, &context.looks, look)
        .await
        .unwrap_or_else(|| {
            Err(Trouble {
                stage: Stage::Command,
                what: "its program or working folder is on a file system that does not answer"
                    .to_owned(),
                advice: "Look at the host's mounts, or set another folder with /mcp edit."
                    .to_owned(),
                mend: Mend::Again,
                said: Vec::new(),
            })
        })
}

/// What `look` finds; `None` where it takes longer. Its thread is of its own and not of a pool, so that one that hangs holds
/// up neither others nor the end of the bot.
async fn look_within<T: Send + 'static>(
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
) -> Result<Located, Trouble> {
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
    let home = context.options.homes.join(thread.to_string());
    let home = make_home(&home).map_err(|error| {
        trouble(
            format!("the thread's own folder cannot be made: {error}"),
            "Ask whoever runs the bot to look at its data folder.",
        )
    })?;
    let cwd = match &server.cwd {
        Some(folder) => home.join(folder),
        None => home.clone(),
    };
    if !cwd.is_dir() {
        let folder = server.cwd.as_deref().unwrap_or_default();
        return Err(if folder.starts_with('/') {
            trouble(
                format!("the working folder `{folder}` does not exist on this machine"),
                "Make it there, or set another one with `/mcp edit`.",
            )
        } else {
            trouble(
                format!(
                    "the working folder `{folder}` does not exist inside this chat's own folder"
                ),
                "Give a full path that begins with `/`, or take it away with `/mcp edit`; without it the server works in this \
                 chat's own folder.",
            )
        });
    }
    let env = context.environment.for_server(&home, &server.env);
    let path = env.get("PATH").map_or("", String::as_str);
    let program = if demo::is_demo(&server.command, &server.args) {
        // Our own program, wherever it is installed; its name need not be on the path.
        context.options.launcher.clone()
    } else {
        find_program(&server.command, &cwd, path)
            .map_err(|error| trouble(error.to_string(), &advice_for(&error)))?
    };
    Ok(Located { program, cwd, env })
}

fn make_home(home: &Path) -> std::io::Result<PathBuf> {
    if !home.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home)?;
    }
    std::path::absolute(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_holds_nobody_up() {
        let looks = Arc::new(Semaphore::new(1));
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let hung = look_within(Duration::from_millis(1), &looks, move || hangs.recv());
        assert!(hung.await.is_none());
        let other = look_within(Duration::from_millis(1), &looks, || 1);
        assert_eq!(other.await, None, "no more than the limit hang at once");
        release.send(()).unwrap();
        let again = look_within(Duration::from_secs(30), &looks, || 2);
        assert_eq!(again.await, Some(2));
    }
}
