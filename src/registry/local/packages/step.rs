//! One run of a package's manager: confined like a server, with the hosts of its registries and nothing else of the network.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::super::super::Stage;
use super::super::super::context::Context;
use super::super::super::launch::{Ended, Spawn, advice_for, find_program};
use super::super::super::logs::Logs;
use super::super::super::network::WaysOut;
use super::super::super::trouble::{Mend, Trouble};
use super::super::cage::allowed;
use super::super::look_within;
use super::recognise::{Manager, Package};
use super::room::has_room;
use super::{folder, words};
use crate::config::Masker;
use crate::net::egress::{Contact, Gate, Purpose, Reach, Witness};
use crate::policy::Ways;
use crate::sandbox::{Cage, Granted, Limits, Network, Run, Wrapped, make_home, measure};
use crate::thread::ThreadId;

/// How often the size of what is being installed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of an answer.
const MOST_ANSWER: u64 = 1024 * 1024;
/// After the end of the process its last words have this long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What to run.
pub(super) struct Step<'a> {
    pub(super) package: &'a Package,
    pub(super) args: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    /// Written to its standard input, which is closed then.
    pub(super) input: String,
    /// The folder that it may write to.
    pub(super) place: &'a Path,
    /// What it makes there stays, among the thread's packages: it is held under the thread's lock for installing.
    pub(super) stays: bool,
    pub(super) limit: Duration,
    /// What does not happen where it fails: "it is not installed".
    pub(super) what: &'a str,
}

/// What is told where a manager is not on this machine, before anything of it is written anywhere.
pub(super) async fn missing(context: &Arc<Context>, manager: Manager) -> Option<Trouble> {
    let own = context.clone();
    let look = move || {
        let env = own
            .environment
            .for_server(&own.data(), &own.sources().variables(manager));
        let path = env.get("PATH").map_or("", String::as_str);
        find_program(words::manager(manager), &own.data(), path).err()
    };
    // Where the file system does not answer, running it tells.
    let error = look_within(&context.looks, look).await.flatten()?;
    Some(Trouble::new(
        Stage::Package,
        error.to_string(),
        words::brought_by(manager),
        Mend::Change,
    ))
}

/// Runs it to its end; what it answered on its standard output.
pub(super) async fn run(
    context: &Arc<Context>,
    thread: ThreadId,
    step: Step<'_>,
) -> Result<String, Trouble> {
    let trouble = |what: String| Trouble::new(Stage::Package, what, "Try again.", Mend::Again);
    if reaches_too_much(context.network_ways(thread)) {
        return Err(words::no_way(step.package, step.what));
    }
    let gate = open_gate(context, thread, step.package.manager).map_err(&trouble)?;
    let most = context.outside.policy.now().quotas.home_bytes;
    let prepared = {
        let (own, place) = (Arc::clone(context), step.place.to_owned());
        let network = match &gate {
            Some(gate) => Network::Proxy(gate.socket().to_owned()),
            None => Network::Host,
        };
        let (manager, args) = (step.package.manager, step.args.clone());
        let variables = step.variables.clone();
        let prepare = move || prepare(&own, thread, manager, args, variables, &place, network);
        tokio::task::spawn_blocking(prepare).await
    };
    let mut wrapped =
        prepared.map_err(|error| trouble(format!("it could not be prepared: {error}")))??;
    let cannot = |error: std::io::Error| {
        trouble(format!(
            "{} could not be started: {error}",
            words::manager(step.package.manager)
        ))
    };
    let launcher = context.launcher().map_err(cannot)?;
    let (mut child, mut pipes) = launcher
        .spawn(Spawn::of(&mut wrapped, (thread, step.place)))
        .await
        .map_err(cannot)?;
    let logs = Arc::new(Logs::default());
    let mut drained = logs.drain(pipes.stderr, Arc::new(Masker::default()));
    let speaking = async move {
        // One that ends before it read this is told by its end.
        let _ = pipes.stdin.write_all(&wrapped.preamble).await;
        let _ = pipes.stdin.write_all(step.input.as_bytes()).await;
        drop(pipes.stdin);
    };
    let ended = tokio::select! {
        (answer, ended, ()) = async { tokio::join!(answer(pipes.stdout), child.ended(), speaking) } => Ok((answer, ended)),
        () = tokio::time::sleep(step.limit) => {
            let why = format!("it took longer than {} seconds", step.limit.as_secs());
            Err(words::ended(&why, step.what))
        }
        () = too_large(context, thread, (step.place, step.stays), most) => Err(words::too_large(step.what)),
        () = context.closing.cancelled() => Err(words::ended("the bot is ending", step.what)),
    };
    child.sweep().await;
    drop(gate);
    drained.wait(LAST_WORDS).await;
    match ended {
        Ok((answer, Ok(Ended::Code(0)))) => Ok(answer),
        Ok(_) => Err(words::failed(step.package, step.what, &logs.lines())),
        Err(trouble) => Err(trouble),
    }
}

/// Whether a manager would have the host's network where servers are confined: a package names addresses that it fetches
/// from, and they may be the host's own and inner ones.
fn reaches_too_much(ways: Ways) -> bool {
    ways.confined && !ways.proxy
}

/// The way to the registries; `None` where nothing is confined, and the manager has the host's network.
fn open_gate(
    context: &Context,
    thread: ThreadId,
    manager: Manager,
) -> Result<Option<Gate>, String> {
    let Some(WaysOut { egress, .. }) = &context.outside.ways_out else {
        return Ok(None);
    };
    if !context.network_ways(thread).proxy {
        return Ok(None);
    }
    let reach = Reach::Hosts(context.sources().patterns(manager));
    let purpose = Purpose::Install(thread);
    egress
        .open(purpose, words::manager(manager), reach, Arc::new(Nobody))
        .map(Some)
        .map_err(|error| format!("the way to the registries could not be opened: {error}"))
}

fn prepare(
    context: &Context,
    thread: ThreadId,
    manager: Manager,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    place: &Path,
    network: Network,
) -> Result<Wrapped, Trouble> {
    let change =
        |what: String, advice: &str| Trouble::new(Stage::Package, what, advice, Mend::Change);
    let ask = "Ask whoever runs the bot.";
    let policy = context.outside.policy.now();
    let sandbox =
        allowed(&context.outside.sandbox, policy.sandbox, false).map_err(|why| change(why, ask))?;
    let owner = sandbox.owner(thread);
    let cannot = |error: std::io::Error| {
        change(
            format!("the folder for packages cannot be made: {error}"),
            ask,
        )
    };
    open_ways(&context.data(), place).map_err(cannot)?;
    let place = make_home(place, owner).map_err(cannot)?;
    // Its own caches and notes; nothing of it is kept.
    let home = place.join(".home");
    let home = make_home(&home, owner).map_err(cannot)?;
    let inside = sandbox.home_inside(&home).to_owned();
    let mut own = context.sources().variables(manager);
    own.extend(variables);
    let env = context.environment.for_server(&inside, &own);
    let path = env.get("PATH").map_or("", String::as_str);
    let command = words::manager(manager);
    let program = find_program(command, &place, path)
        .map_err(|error| change(error.to_string(), &advice_for(&error)))?;
    let cage = Cage {
        home,
        data: context.data(),
        owner,
        folders: vec![Granted {
            path: place.clone(),
            write: true,
        }],
        network,
        limits: Limits::of(&policy.quotas).beside(0),
    };
    let run = Run {
        program,
        arg0: command.to_owned(),
        args,
        env,
        cwd: place,
    };
    sandbox
        .wrap(&cage, run)
        .map_err(|error| change(format!("it cannot be confined: {error}"), ask))
}

/// Makes the folders above a package's, which its thread's own user goes through and cannot list.
fn open_ways(data: &Path, place: &Path) -> std::io::Result<()> {
    let above = place.strip_prefix(data).ok().and_then(Path::parent);
    let mut folder = data.to_owned();
    for name in above.into_iter().flat_map(Path::components) {
        folder.push(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

async fn answer(stdout: pipe::Receiver) -> String {
    let mut bytes = Vec::new();
    let mut stdout = stdout.take(MOST_ANSWER);
    let _ = stdout.read_to_end(&mut bytes).await;
    // What is more is read and passed over, so that nobody waits.
    let _ = tokio::io::copy(&mut stdout.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Resolves when there is no room for what the step makes; others of the thread's packages go before that.
async fn too_large(
    context: &Arc<Context>,
    thread: ThreadId,
    (place, stays): (&Path, bool),
    most: u64,
) {
    let (folder, claims) = (folder(context, thread), &context.claims);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let place: PathBuf = place.to_owned();
        let (folder, claims) = (folder.clone(), Arc::clone(claims));
        let look = move || {
            if stays {
                has_room(&folder, &place, &claims, most)
            } else {
                measure(&place, most, None).bytes <= most
            }
        };
        if !tokio::task::spawn_blocking(look).await.unwrap_or(true) {
            return;
        }
    }
}

/// What a manager reaches is no server's.
#[derive(Debug)]
struct Nobody;

impl Witness for Nobody {
    fn saw(&self, _: Contact) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NetworkMost;

    #[test]
    fn d11_no_manager_has_the_hosts_network_where_servers_are_confined() {
        for (confined, proxy, expected) in [
            (true, false, true),
            (true, true, false),
            (false, false, false),
        ] {
            let ways = Ways {
                most: NetworkMost::default(),
                confined,
                proxy,
            };
            assert_eq!(reaches_too_much(ways), expected, "{confined} {proxy}");
        }
    }
}
