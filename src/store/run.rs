//! `run/<process>/`: where a running bot has its sockets.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

const RUN: &str = "run";

impl Store {
    /// A private folder of this process for its sockets, empty; those of processes that are gone are removed. Whoever made
    /// it removes it by [`Store::leave_run_folder`], and the next bot does where it could not.
    pub fn run_folder(&self) -> Result<PathBuf, StoreError> {
        let run = self.part(RUN)?;
        run.keep_private();
        let root = self.root.path.join(RUN);
        for name in run.names()? {
            if name.parse::<u32>().is_ok_and(|process| !is_alive(process)) {
                remove(&root.join(name));
            }
        }
        let own = root.join(std::process::id().to_string());
        // Of a process of the same number that is gone, or of another house within this one.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(&own);
        let found = std::fs::symlink_metadata(&own)
            .map_err(|error| StoreError::io(own.display().to_string(), error))?;
        if !found.is_dir() || found.mode() & 0o077 != 0 {
            return Err(StoreError::NotOrdinary(own.display().to_string()));
        }
        Ok(own)
    }

    /// Puts a text into this process's folder, to be read by whoever is shown it.
    pub fn put_in_run(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let path = self.run_folder()?.join(name);
        let shown = || path.display().to_string();
        let temporary = path.with_extension("new");
        let written = std::fs::File::create(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
            std::fs::rename(&temporary, &path)
        });
        written.map_err(|error| StoreError::io(shown(), error))
    }

    /// Removes the folder with what was put there, where nothing else is in it.
    pub fn leave_run_folder(&self, put: &[&str]) {
        let own = self
            .root
            .path
            .join(RUN)
            .join(std::process::id().to_string());
        for name in put {
            let _ = std::fs::remove_file(own.join(name));
        }
        let _ = std::fs::remove_dir(own);
    }
}

fn is_alive(process: u32) -> bool {
    let process = i32::try_from(process).ok();
    let Some(process) = process.and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    !matches!(
        rustix::process::test_kill_process(process),
        Err(rustix::io::Errno::SRCH)
    )
}

/// One level alone: a folder of ours has nothing deeper, and nothing is followed.
fn remove(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
    let _ = std::fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_processes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let run = folder.path().join(RUN);
        // No process has the highest number there can be, and the first one is always there.
        for name in ["2147483647", "1", "other"] {
            std::fs::create_dir_all(run.join(name)).unwrap();
            std::fs::File::create(run.join(name).join("0.sock")).unwrap();
        }
        let own = store.run_folder().unwrap();
        assert_eq!(own, run.join(std::process::id().to_string()));
        assert_eq!(store.run_folder().unwrap(), own);
        let mut left: Vec<_> = std::fs::read_dir(&run)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = vec![
            "1".to_owned(),
            "other".to_owned(),
            std::process::id().to_string(),
        ];
        expected.sort();
        assert_eq!(left, expected);
        store.put_in_run("a.cjs", "text").unwrap();
        assert_eq!(std::fs::read_to_string(own.join("a.cjs")).unwrap(), "text");
        store.leave_run_folder(&["a.cjs"]);
        assert!(!own.exists());
    }
}
