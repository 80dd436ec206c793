//! The restricted tier's file system, by Landlock: what is not named cannot be opened.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::spec::Walls;
use super::view;

/// The newest rights that are known here; an older kernel holds those it knows, and the self-test tells whether that is
/// enough.
const NEWEST: ABI = ABI::V6;

#[derive(Debug, thiserror::Error)]
pub(super) enum WallsError {
    #[error("this kernel has no Landlock")]
    Missing,
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
}

/// From now on this thread, and what it starts, reaches these files alone, no host over TCP unless it was granted, and
/// signals nobody else.
pub(super) fn raise(walls: &Walls) -> Result<(), WallsError> {
    let read = AccessFs::from_read(NEWEST);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?;
    let ruleset = if walls.network {
        ruleset.scope(Scope::Signal)?
    } else {
        ruleset
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
    };
    let mut ruleset = ruleset.create()?;
    let devices = view::DEVICES.iter().map(PathBuf::from);
    let reading = walls.read.iter().cloned().chain(view::kernel());
    let both = reading
        .map(|path| (path, read))
        .chain(devices.map(|path| (path, AccessFs::from_file(NEWEST))))
        .chain(
            walls
                .write
                .iter()
                .map(|path| (path.clone(), AccessFs::from_all(NEWEST))),
        );
    for (path, access) in both {
        // What is not there needs no rule.
        let Ok(fd) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(NEWEST)
        };
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
    }
    let status = ruleset.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(WallsError::Missing);
    }
    Ok(())
}
