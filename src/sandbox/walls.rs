//! The restricted tier's file system, by Landlock: what is not named cannot be opened.

use std::os::fd::IntoRawFd as _;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::spec::Walls;
use super::view;

/// The first number of what a server is left open; scripts use the smaller ones.
const BEYOND_SCRIPTS: i32 = 10;

/// The newest rights that are known here; an older kernel holds those it knows, and the self-test tells whether that is
/// enough.
const NEWEST: ABI = ABI::V6;

#[derive(Debug, thiserror::Error)]
pub(super) enum WallsError {
    #[error("this kernel has no Landlock")]
    Missing,
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    #[error("its own place in /proc cannot be held: {0}")]
    Place(rustix::io::Errno),
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
    hold_own_place().map_err(WallsError::Place)
}

/// Stays open in the server. A rule is of an inode, and the kernel makes another one for the same process when memory was
/// short and nobody held the first; the server would not find itself any more.
fn hold_own_place() -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open("/proc/self", flags, Mode::empty())?;
    let place = fcntl_dupfd_cloexec(place, BEYOND_SCRIPTS)?;
    fcntl_setfd(&place, FdFlags::empty())?;
    let _ = place.into_raw_fd();
    Ok(())
}
