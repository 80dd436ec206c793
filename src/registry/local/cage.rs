//! What holds for a local server before it is started: whether it may run at all, what it is shown, how full its home is.

use std::path::Path;

use crate::policy::{FolderGrant, Tier};
use crate::sandbox::{Granted, HomeError, Sandbox};

use super::super::text::bytes;

/// What to do about a home over its quota.
pub(super) const HOME_IS_FULL: &str = "Remove files there that are not needed: ask whoever runs the bot, who can also raise \
    `quotas.home_bytes` in its policy.";

/// The sandbox that a server is started in, or why it is not, in a part of a sentence. The demo server is our own program
/// and always runs, as well confined as the machine can.
pub(super) fn allowed(
    sandbox: &Sandbox,
    least: Option<Tier>,
    is_demo: bool,
) -> Result<Sandbox, String> {
    match sandbox.tier {
        None if is_demo => Ok(Sandbox::off()),
        None => Err(format!(
            "servers that run on this host are refused here, since nothing keeps them from its files: {}",
            sandbox.why
        )),
        Some(tier) if !is_demo && least.is_some_and(|least| tier < least) => Err(format!(
            "the operator demands the `{}` sandbox for servers that run here, and {} `{}`{}",
            least.unwrap_or(tier).word(),
            // Without a reason the host could do more: the bot was started with less.
            if sandbox.why.is_empty() {
                "the bot was started with SWITCHBOARD_SANDBOX set to"
            } else {
                "this host has"
            },
            tier.word(),
            if sandbox.why.is_empty() {
                String::new()
            } else {
                format!(": {}", sandbox.why)
            },
        )),
        Some(_) => Ok(sandbox.clone()),
    }
}

/// The folders that an operator granted, as they are on this machine. What would show the bot's own data is left out, whatever it says.
pub(super) fn granted(folders: &[FolderGrant], data: &Path) -> Vec<Granted> {
    let is_of_the_system = |path: &Path| {
        let own = ["/proc", "/sys", "/dev", "/run/switchboard", "/home/thread"];
        path == Path::new("/") || own.iter().any(|own| path.starts_with(own))
    };
    folders
        .iter()
        // What is not there cannot be shown, and holds up nobody.
        .filter_map(|folder| {
            let path = folder
                .path
                .is_absolute()
                .then(|| folder.path.canonicalize());
            Some((path?.ok()?, folder.write))
        })
        .filter(|(path, _)| {
            !is_of_the_system(path) && !data.starts_with(path) && !path.starts_with(data)
        })
        .map(|(path, write)| Granted { path, write })
        .collect()
}

/// What is told of a home over its quota.
pub(super) fn over(most: u64) -> String {
    format!(
        "this chat's own folder on the host holds more than {}",
        bytes(most)
    )
}

/// What to do about a working folder.
pub(super) fn advice_for_folder(error: &HomeError) -> &'static str {
    match error {
        HomeError::MissingOnHost(_) => "Make it there, or set another one with `/mcp edit`.",
        HomeError::Missing(_) => {
            "Give a full path that begins with `/`, or take it away with `/mcp edit`; without it the server works in this \
             chat's own folder."
        }
        HomeError::Leaves(_) | HomeError::NotGranted(_) => {
            "Take it away with `/mcp edit`; without it the server works in this chat's own folder. The operator can grant \
             other folders in the bot's policy."
        }
    }
}
