//! How much disk a thread's packages take: what runs keeps its package, and of the others the longest unused goes first. One
//! that was taken away is installed again when it is needed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::install::note_path;
use crate::sandbox::measure;

/// The packages that processes use now.
#[derive(Debug, Default)]
pub(in crate::registry) struct Claims(Mutex<HashMap<PathBuf, usize>>);

/// While this lives, the package is not taken away.
#[derive(Debug)]
pub(in crate::registry) struct Claim {
    claims: Arc<Claims>,
    place: PathBuf,
}

impl Claims {
    /// Claims a package, which counts as used now.
    pub(super) fn claim(self: &Arc<Self>, place: &Path) -> Claim {
        *self.counts().entry(place.to_owned()).or_default() += 1;
        // Without it the package is taken for one that was unused for longer.
        if let Ok(note) = File::options().append(true).open(note_path(place)) {
            let _ = note.set_modified(SystemTime::now());
        }
        Claim {
            claims: Arc::clone(self),
            place: place.to_owned(),
        }
    }

    fn has(&self, place: &Path) -> bool {
        self.counts().contains_key(place)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut counts = self.claims.counts();
        if let Some(count) = counts.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.place);
            }
        }
    }
}

/// Whether a thread's packages take no more than `most` bytes, after as many went as must. `keep` is being installed and
/// stays. Held under the thread's lock for installing, so that nobody claims one while it goes. Blocks.
pub(super) fn has_room(folder: &Path, keep: &Path, claims: &Claims, most: u64) -> bool {
    let mut unused = None;
    while measure(folder, most, None).bytes > most {
        let unused = unused.get_or_insert_with(|| by_use(folder));
        let Some(place) = unused.pop() else {
            return false;
        };
        if place != keep && !claims.has(&place) {
            // What cannot be taken away still counts.
            let _ = take_away(&place);
        }
    }
    true
}

/// The packages of a thread, the longest unused last; what was left half installed, or half asked for, was never used.
fn by_use(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = below(folder)
        .iter()
        .flat_map(|manager| below(manager))
        .map(|place| {
            let note = fs::symlink_metadata(note_path(&place));
            let used = note.and_then(|note| note.modified());
            (used.unwrap_or(SystemTime::UNIX_EPOCH), place)
        })
        .collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.into_iter().map(|(_, place)| place).collect()
}

/// Takes away what is there, finished or not: the note first, so that nothing that is half there counts as installed.
pub(super) fn take_away(place: &Path) -> io::Result<()> {
    match fs::remove_file(note_path(place)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Follows no symlink.
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays a package")]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1024;

    /// Packages of a hundred KiB each, the first one unused for the longest; one that has no note was never finished.
    fn packages(names: &[(&str, bool)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_hours(1_000);
        let mut places = Vec::new();
        for (nth, (name, is_finished)) in (0..).zip(names) {
            let place = folder.path().join(name);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("code"), vec![7; 100 * KIB]).unwrap();
            if *is_finished {
                fs::write(note_path(&place), "{}").unwrap();
                let note = File::options()
                    .append(true)
                    .open(note_path(&place))
                    .unwrap();
                note.set_modified(long_ago + Duration::from_hours(nth))
                    .unwrap();
            }
            places.push(place);
        }
        (folder, places)
    }

    fn left(places: &[PathBuf]) -> Vec<bool> {
        let is_whole = |place: &PathBuf| place.exists() && note_path(place).exists();
        places.iter().map(is_whole).collect()
    }

    #[test]
    fn the_longest_unused_go_first_and_only_as_many_as_must() {
        let names = [("npm/a@1", true), ("uv/b@1", true), ("npm/c@1", true)];
        let claims = Arc::new(Claims::default());
        for (most, remain) in [
            (10_000, [true, true, true]),
            (250, [false, true, true]),
            (150, [false, false, true]),
        ] {
            let (folder, places) = packages(&names);
            let has = has_room(folder.path(), Path::new("none"), &claims, most * KIB as u64);
            assert!(has, "{most}");
            assert_eq!(left(&places), remain, "{most}");
        }
    }

    #[test]
    fn what_runs_and_what_is_being_installed_stays_and_what_was_just_used_goes_last() {
        let names = [
            ("npm/a@1", true),
            ("npm/b@1", true),
            ("npm/c@1", true),
            ("npm/d@1", false),
        ];
        let (folder, places) = packages(&names);
        let claims = Arc::new(Claims::default());
        let running = [claims.claim(&places[0]), claims.claim(&places[0])];
        drop(claims.claim(&places[1]));
        let room = |most: usize| has_room(folder.path(), &places[3], &claims, (most * KIB) as u64);
        assert!(room(350));
        assert_eq!(left(&places), [true, true, false, false]);
        assert!(places[3].exists(), "it is being installed");
        assert!(!room(50), "nothing is left that may go");
        assert_eq!(left(&places), [true, false, false, false]);
        let [one, other] = running;
        drop(one);
        assert!(!room(50));
        assert!(places[0].exists());
        drop(other);
        assert!(!room(50));
        assert!(!places[0].exists());
        assert!(room(150));
    }

    #[test]
    fn what_was_never_finished_goes_before_everything() {
        let names = [("npm/a@1", true), ("npm/b@1", false)];
        let (folder, places) = packages(&names);
        let claims = Claims::default();
        assert!(has_room(
            folder.path(),
            Path::new("none"),
            &claims,
            150 * KIB as u64
        ));
        assert!(places[0].exists() && !places[1].exists());
    }
}
