//! The folder that a server works in: made where it is one inside its chat's own, and judged before anything starts.

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, mkdirat, openat};

use super::super::context::Context;
use super::cage::granted;
use super::locate::look_within;
use crate::config::StdioServer;
use crate::sandbox::{HomeError, Owner, working_folder};
use crate::thread::ThreadId;

/// Makes a relative folder inside a home where it is missing. What a server put in its way is not followed, and then
/// nothing is made: whether it can be worked in is judged afterwards.
pub(super) fn make_below(home: &Path, folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    let is_below = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !folder.components().all(|part| is_below(&part)) {
        return Ok(());
    }
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, home, open, Mode::empty())?;
    for part in folder.components() {
        let made = match mkdirat(&at, part.as_os_str(), Mode::RWXU) {
            Ok(()) => true,
            Err(error) if error == rustix::io::Errno::EXIST => false,
            Err(error) => return Err(error.into()),
        };
        let Ok(next) = openat(&at, part.as_os_str(), open, Mode::empty()) else {
            return Ok(());
        };
        if let Some(owner) = owner.filter(|_| made) {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            fchown(&next, Some(uid), Some(gid))?;
        }
        at = next;
    }
    Ok(())
}

/// Whether a server may work in the folder that its entry names, as far as that is known before it starts: one in its
/// chat's own folder, or where the operator granted it.
pub(in crate::registry) async fn may_work_in(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
) -> Result<(), String> {
    let Some(folder) = server.cwd.clone() else {
        return Ok(());
    };
    let own = context.clone();
    let look = move || judge(&own, thread, &folder);
    match look_within(&context.looks, look).await {
        Some(Err(why)) => Err(format!(
            "{why}. Leave it out to work in this chat's own folder, name one inside that (for example `files`), or ask \
             whoever runs the bot to grant it: `folders` in the bot's policy (data/admin/policy.json)."
        )),
        // A file system that does not answer is told of when it starts.
        Some(Ok(())) | None => Ok(()),
    }
}

fn judge(context: &Context, thread: ThreadId, folder: &str) -> Result<(), HomeError> {
    let confined = context.outside.sandbox.confines();
    let policy = context.outside.policy.now();
    let folders = policy.folders.iter();
    let folders: Vec<_> = folders
        .filter(|folder| folder.is_for(thread))
        .cloned()
        .collect();
    let granted = granted(&folders, &context.data());
    // It is made when a server first starts.
    let home = context.options.homes.join(thread.to_string());
    let home = home.canonicalize().unwrap_or(home);
    match working_folder(&home, Some(folder), &granted, confined) {
        Err(why @ (HomeError::Leaves(_) | HomeError::NotGranted(_))) => Err(why),
        // What is not there and would not be shown either: whether it is there is nobody's business.
        Err(HomeError::MissingOnHost(_)) if confined => {
            let path = Path::new(folder);
            let is_shown = path.starts_with(&home)
                || granted
                    .iter()
                    .any(|granted| path.starts_with(&granted.path));
            if is_shown {
                Ok(())
            } else {
                Err(HomeError::NotGranted(folder.to_owned()))
            }
        }
        Err(HomeError::Missing(_) | HomeError::MissingOnHost(_)) | Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_inside_the_home_and_nowhere_else() {
        let place = tempfile::tempdir().unwrap();
        let (home, other) = (place.path().join("home"), place.path().join("other"));
        std::fs::create_dir(&home).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, home.join("link")).unwrap();
        for (folder, made) in [
            ("files", Some(home.join("files"))),
            ("./a/b", Some(home.join("a/b"))),
            ("a/b", Some(home.join("a/b"))),
            ("link/x", None),
            ("../other/x", None),
            ("a/../../other/x", None),
        ] {
            make_below(&home, Path::new(folder), None).unwrap();
            if let Some(made) = made {
                assert!(made.is_dir(), "{folder}");
            }
            assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "{folder}");
        }
        make_below(&home, &other.join("y"), None).unwrap();
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
    }
}
