//! Installing a package once, and what is started then.
//!
//! A package has a folder of its own, which the step that installs it may write to and its servers may only read. What we
//! note about it lies beside that folder, where neither can write. A folder without a note was not finished, and is made
//! anew.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::super::Stage;
use super::super::super::context::Context;
use super::super::super::trouble::{Mend, Trouble};
use super::super::locate::look_within;
use super::recognise::{Manager, Package};
use super::room::{Claim, has_room, take_away};
use super::step::{Step, run};
use super::{folder, words};
use crate::audit::{Entry, What};
use crate::config::ServerName;
use crate::thread::ThreadId;

/// How long an installation takes at most.
const LIMIT: Duration = Duration::from_mins(3);
/// Bytes of a package's own description, and of the beginning of its program.
const DESCRIPTION: u64 = 1024 * 1024;

/// What starts a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    /// The program: `node`, a Python.
    pub(super) command: String,
    /// Its arguments before the server's own.
    pub(super) before: Vec<String>,
}

/// What is noted beside a package's folder.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    /// By the name that the line gives it; empty for the package's own.
    programs: BTreeMap<String, Program>,
    /// The lines that left the version open, and got this one.
    asked: Vec<String>,
}

/// The folder of a package.
pub(super) fn place(
    context: &Context,
    thread: ThreadId,
    package: &Package,
    version: &str,
) -> PathBuf {
    let name = package.name.replace('/', "+");
    let extras = package.extras.replace(['[', ']'], "+");
    managed(context, thread, package.manager).join(format!("{name}{extras}@{version}"))
}

/// Whether it is installed.
pub(super) fn is_there(place: &Path) -> bool {
    note_of(place).is_some()
}

/// The version that was installed for a line that leaves it open.
pub(super) async fn chosen(
    context: &Arc<Context>,
    thread: ThreadId,
    package: &Package,
) -> Option<String> {
    let folder = managed(context, thread, package.manager);
    let prefix = format!("{}@", package.name.replace('/', "+"));
    let asked = asked(package);
    let look = move || {
        let entries = std::fs::read_dir(&folder).ok()?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.into_iter().find_map(|name| {
            let version = name.strip_suffix(".json")?.strip_prefix(&prefix)?;
            let note = note_of(&folder.join(format!("{prefix}{version}")))?;
            note.asked.contains(&asked).then(|| version.to_owned())
        })
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// How a line leaves the version open.
fn asked(package: &Package) -> String {
    package.spec(package.version.as_deref())
}

/// Installs it where that is not done, and says what to start. It stays there while the claim lives.
pub(super) async fn ensure(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &ServerName,
    package: &Package,
    version: &str,
) -> Result<(Program, Claim), Trouble> {
    let place = place(context, thread, package, version);
    let lock = context.install_lock(thread);
    // Two servers of one package: the second finds what the first installed.
    let _turn = lock.lock().await;
    let wanted = package.program.clone().unwrap_or_default();
    let (known, key) = (place.clone(), wanted.clone());
    let found = tokio::task::spawn_blocking(move || note_of(&known)).await;
    let note: Option<Note> = found.ok().flatten();
    let asked = package.exact().is_none().then(|| asked(package));
    if let Some(note) = &note
        && let Some(program) = note.programs.get(&key)
        && asked
            .as_ref()
            .is_none_or(|asked| note.asked.contains(asked))
    {
        return Ok((program.clone(), context.claims.claim(&place)));
    }
    if note.is_none() {
        let installed = install(context, thread, package, version, &place).await;
        note_installation(context, thread, server, package, version, &installed);
        installed?;
    }
    let mut note = note.unwrap_or_default();
    let (found, own) = (package.clone(), place.clone());
    // What lies there was written by the package: nothing of the bot's waits for it without an end.
    let seek = move || match found.manager {
        Manager::Npm => npm_program(&own, &found),
        Manager::Uv => uv_program(&own, &found),
    };
    let program = match look_within(&context.looks, seek).await {
        Some(program) => program.ok_or_else(|| no_program(package))?,
        None => return Err(cannot_look(package)),
    };
    note.programs.insert(wanted, program.clone());
    note.asked.extend(asked);
    note.asked.dedup();
    let claim = context.claims.claim(&place);
    let keep = move || keep_note(&place, &note);
    let kept = tokio::task::spawn_blocking(keep).await;
    kept.map_err(|error| cannot_keep(&error))?
        .map_err(|error| cannot_keep(&error))?;
    Ok((program, claim))
}

/// Writes down what came of it. The step is given no secret, so there is none in what it says.
fn note_installation(
    context: &Context,
    thread: ThreadId,
    server: &ServerName,
    package: &Package,
    version: &str,
    installed: &Result<(), Trouble>,
) {
    let outcome = match installed {
        Ok(()) => "installed".to_owned(),
        Err(trouble) => trouble.what.clone(),
    };
    let what = What::Installed {
        server: server.to_string(),
        package: format!("{}@{version}", package.name),
        outcome,
    };
    let audit = &context.outside.audit;
    audit.note(thread, Entry::of_the_bot(what));
}

async fn install(
    context: &Arc<Context>,
    thread: ThreadId,
    package: &Package,
    version: &str,
    place: &Path,
) -> Result<(), Trouble> {
    let what = format!("`{}@{version}` is not installed", package.name);
    clear(place).await?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let spec = package.spec(Some(version));
    let (mut args, variables): (Vec<&str>, Vec<(String, String)>) = match package.manager {
        Manager::Npm => (
            vec![
                "install",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
                "--omit=dev",
                "--no-progress",
                "--loglevel=error",
                "--fetch-retries=1",
            ],
            vec![
                ("npm_config_cache".to_owned(), text(&place.join(".home"))),
                ("npm_config_userconfig".to_owned(), "/dev/null".to_owned()),
                ("npm_config_update_notifier".to_owned(), "false".to_owned()),
            ],
        ),
        Manager::Uv => (
            vec!["tool", "install", "--no-progress"],
            uv_variables(place),
        ),
    };
    let prefix = text(place);
    if package.manager == Manager::Npm {
        args.extend(["--prefix", &prefix]);
    }
    args.push(&spec);
    let step = Step {
        package,
        args: args.into_iter().map(str::to_owned).collect(),
        variables,
        input: String::new(),
        place,
        stays: true,
        limit: LIMIT,
        what: &what,
    };
    let mut installed = run(context, thread, step).await;
    if installed.is_ok() && !fits(context, thread, place).await {
        installed = Err(words::too_large(&what));
    }
    if installed.is_err() {
        clear(place).await?;
    } else {
        let home = place.join(".home");
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(home)).await;
    }
    installed.map(|_| ())
}

/// Whether there is room for it beside the thread's other packages, of which some may go for that.
async fn fits(context: &Context, thread: ThreadId, place: &Path) -> bool {
    let most = context.outside.policy.now().quotas.home_bytes;
    let (folder, place) = (folder(context, thread), place.to_owned());
    let claims = Arc::clone(&context.claims);
    let look = move || has_room(&folder, &place, &claims, most);
    tokio::task::spawn_blocking(look).await.unwrap_or(true)
}

/// Where uv works: everything in the package's folder.
pub(super) fn uv_variables(place: &Path) -> Vec<(String, String)> {
    let at = |name: &str| place.join(name).to_string_lossy().into_owned();
    [
        ("UV_TOOL_DIR", at("tools")),
        ("UV_TOOL_BIN_DIR", at("bin")),
        ("UV_CACHE_DIR", at(".home/cache")),
        ("UV_LINK_MODE", "copy".to_owned()),
        ("UV_NO_CONFIG", "1".to_owned()),
        ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

async fn clear(place: &Path) -> Result<(), Trouble> {
    let place = place.to_owned();
    let cleared = tokio::task::spawn_blocking(move || take_away(&place)).await;
    cleared
        .map_err(|error| cannot_keep(&error))?
        .map_err(|error| cannot_keep(&error))
}

/// As npx chooses: the program that is named, else the only one, else the one that is called like the package.
fn npm_program(place: &Path, package: &Package) -> Option<Program> {
    let modules = place.join("node_modules");
    let bin = if let Some(program) = &package.program {
        program.clone()
    } else {
        let description = modules.join(&package.name).join("package.json");
        let description = inside(place, &description)?;
        let description: Value = serde_json::from_slice(&read(&description)?).ok()?;
        let short = package.name.rsplit('/').next().unwrap_or_default();
        match description.get("bin")? {
            Value::String(_) => short.to_owned(),
            Value::Object(bins) if bins.len() == 1 => bins.keys().next()?.clone(),
            Value::Object(bins) => bins.keys().find(|bin| *bin == short)?.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
        }
    };
    let is_name = !bin.is_empty() && !bin.contains('/') && bin != "..";
    let script = is_name.then(|| modules.join(".bin").join(bin))?;
    let script = inside(place, &script)?;
    let path = script.to_string_lossy().into_owned();
    let begin = read(&script)?;
    let first = begin.split(|byte| *byte == b'\n').next()?;
    let first = String::from_utf8_lossy(first);
    let words = first.strip_prefix("#!").unwrap_or_default();
    let mut words = words
        .split_whitespace()
        .skip_while(|word| *word != "node" && !word.ends_with("/node"));
    Some(match words.next() {
        Some(_) => Program {
            command: "node".to_owned(),
            before: words.map(str::to_owned).chain([path]).collect(),
        },
        None => Program {
            command: path,
            before: Vec::new(),
        },
    })
}

/// The Python of the package's own environment, with the program's script.
fn uv_program(place: &Path, package: &Package) -> Option<Program> {
    let program = package.program.as_deref().unwrap_or(&package.name);
    // PEP 503.
    let name: Vec<&str> = package.name.split(['-', '_', '.']).collect();
    let bin = place
        .canonicalize()
        .ok()?
        .join("tools")
        .join(name.join("-").to_ascii_lowercase())
        .join("bin");
    let is_name = !program.is_empty() && !program.contains('/') && program != "..";
    let script = is_name.then(|| bin.join(program))?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    script.is_file().then(|| Program {
        command: text(bin.join("python")),
        before: vec![text(script)],
    })
}

/// Where a path leads to, if that is in the package's own folder.
fn inside(place: &Path, path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    path.starts_with(place.canonicalize().ok()?).then_some(path)
}

/// The beginning of a plain file. Who wrote it may have put something else there: a pipe nobody writes to, for which an
/// open would wait for ever, a symlink, a device.
fn read(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).ok()?;
    let mut open = std::fs::OpenOptions::new();
    let file = open.read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(DESCRIPTION).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn managed(context: &Context, thread: ThreadId, manager: Manager) -> PathBuf {
    folder(context, thread).join(words::manager(manager))
}

/// Beside the package's folder.
pub(super) fn note_path(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    place.with_file_name(name)
}

fn note_of(place: &Path) -> Option<Note> {
    let note = serde_json::from_slice(&read(&note_path(place))?).ok()?;
    place.is_dir().then_some(note)
}

/// Written beside the folder, in the bot's own one.
fn keep_note(place: &Path, note: &Note) -> std::io::Result<()> {
    let path = note_path(place);
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)
}

fn no_program(package: &Package) -> Trouble {
    let what = match &package.program {
        Some(program) => format!("the package `{}` has no program `{program}`", package.name),
        None => format!(
            "the package `{}` does not say which of its programs is the server",
            package.name
        ),
    };
    // `-p` would do as well, but what follows it is masked as a password.
    let advice = match package.manager {
        Manager::Npm => "Name it: `npx -y --package=PACKAGE PROGRAM`.",
        Manager::Uv => "Name it: `uvx --from PACKAGE PROGRAM`.",
    };
    Trouble::new(Stage::Package, what, advice, Mend::Change)
}

fn cannot_keep(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::new(
        Stage::Package,
        format!("the folder for packages cannot be written: {error}"),
        "Ask whoever runs the bot.",
        Mend::Again,
    )
}

fn cannot_look(package: &Package) -> Trouble {
    Trouble::new(
        Stage::Package,
        format!(
            "the folder of the package `{}` does not answer",
            package.name
        ),
        "Try again; if it stays so, ask whoever runs the bot.",
        Mend::Again,
    )
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays a package")]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::super::recognise::package;
    use super::super::server;
    use super::*;

    /// What lies in a package's folder.
    enum Lies {
        File(&'static str),
        Pipe,
        /// To somewhere outside.
        Link(&'static str),
    }
    use Lies::{File, Link, Pipe};

    impl Lies {
        fn put(&self, path: &Path) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match self {
                File(text) => std::fs::write(path, text).unwrap(),
                Pipe => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                Link(to) => symlink(to, path).unwrap(),
            }
        }
    }

    #[test]
    fn d11_what_a_package_puts_in_the_place_of_its_program_holds_nobody_up() {
        const NAMES_IT: &str = r#"{"bin": "x.js"}"#;
        for (description, program, expected) in [
            (File(NAMES_IT), File("#!/usr/bin/env node\n"), Some("node")),
            (File(NAMES_IT), File("no script"), Some("itself")),
            (File(NAMES_IT), Pipe, None),
            (File(NAMES_IT), Link("/dev/zero"), None),
            (File(NAMES_IT), Link("/bin/sh"), None),
            (Pipe, File("#!/usr/bin/env node\n"), None),
            (Link("/dev/zero"), File("#!/usr/bin/env node\n"), None),
        ] {
            let place = tempfile::tempdir().unwrap();
            let modules = place.path().join("node_modules");
            description.put(&modules.join("pkg/package.json"));
            program.put(&modules.join(".bin/pkg"));
            let package = package(&server("npx -y pkg")).unwrap().unwrap();
            let (sender, found) = std::sync::mpsc::channel();
            let at = place.path().to_owned();
            std::thread::spawn(move || sender.send(npm_program(&at, &package)));
            // So long only where it hangs.
            let found = found.recv_timeout(Duration::from_secs(30));
            let script = modules.join(".bin/pkg");
            let found = found.expect("it hangs").map(|program| program.command);
            let expected = expected.map(|expected| match expected {
                "itself" => script.to_string_lossy().into_owned(),
                command => command.to_owned(),
            });
            assert_eq!(found, expected);
        }
    }
}
