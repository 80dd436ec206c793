//! One look at a thread's files: what the bytes on disk mean.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Broken, BrokenWhy};
use crate::config::{ConfigError, Document, FileKind, Files, Revision, ThreadConfig};
use crate::store::{RawFiles, Stamp, Store, StoreError};
use crate::thread::ThreadId;

/// What was read, and when.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) result: Result<RawFiles, StoreError>,
    pub(super) stamp: Stamp,
    pub(super) at: SystemTime,
}

/// What it means.
#[derive(Debug)]
pub(super) enum Meaning {
    Good(Arc<Files>, Arc<ThreadConfig>),
    Bad(Broken),
}

impl Reading {
    /// Reads both files.
    pub(super) fn take(store: &Store, thread: ThreadId) -> Self {
        let at = SystemTime::now();
        match store.load(thread) {
            Ok((files, stamp)) => Self {
                result: Ok(files),
                stamp,
                at,
            },
            Err(error) => Self {
                result: Err(error),
                stamp: store.stamp(thread).unwrap_or_default(),
                at,
            },
        }
    }

    /// Reads the operator's two files. They are always read: nobody waits for them.
    pub(super) fn of_operator(store: &Store) -> Self {
        Self {
            at: SystemTime::now(),
            result: store.admin_files(),
            stamp: Stamp::default(),
        }
    }

    /// Of a folder that is not there.
    pub(super) fn of_no_files() -> Self {
        Self {
            at: SystemTime::now(),
            result: Ok(RawFiles::default()),
            stamp: Stamp::default(),
        }
    }

    /// The revision on disk; `None` where it cannot be told.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.result.as_ref().ok().map(RawFiles::revision)
    }

    /// Whether a file has no text in it, or is missing where it had some. An editor that empties or removes first and
    /// writes anew passes through this.
    pub(super) fn lacks_text(&self, before: &Files) -> bool {
        let lacks = |now: Option<&[u8]>, before: &Document| match now {
            Some(text) => text.trim_ascii().is_empty(),
            None => *before != Document::default(),
        };
        self.result.as_ref().is_ok_and(|now| {
            lacks(now.local.as_deref(), &before.local)
                || lacks(now.remote.as_deref(), &before.remote)
        })
    }

    /// What the files mean.
    pub(super) fn meaning(&self) -> Meaning {
        match &self.result {
            Ok(raw) => meaning(raw).map_or_else(Meaning::Bad, |(files, config)| {
                Meaning::Good(Arc::new(files), Arc::new(config))
            }),
            Err(error) => Meaning::Bad(unreadable(error)),
        }
    }
}

fn meaning(raw: &RawFiles) -> Result<(Files, ThreadConfig), Broken> {
    let parse = |bytes: &Option<Vec<u8>>, file| {
        Document::parse(bytes.as_deref().unwrap_or_default()).map_err(|error| Broken {
            file: Some(file),
            why: BrokenWhy::Config(error),
        })
    };
    let files = Files {
        local: parse(&raw.local, FileKind::Local)?,
        remote: parse(&raw.remote, FileKind::Remote)?,
    };
    let config = files.check().map_err(|error| Broken {
        file: error.file(),
        why: BrokenWhy::Config(error),
    })?;
    Ok((files, config))
}

fn unreadable(error: &StoreError) -> Broken {
    let (path, why) = match error {
        StoreError::TooLarge { path, bytes } => {
            let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            (path, BrokenWhy::Config(ConfigError::TooLarge { bytes }))
        }
        StoreError::Io { path, .. }
        | StoreError::NotOrdinary(path)
        | StoreError::Busy(path)
        | StoreError::Damaged { path, .. }
        | StoreError::Sealed { path, .. }
        | StoreError::Keys(path) => (path, BrokenWhy::Unreadable(error.to_string())),
    };
    let file = [FileKind::Local, FileKind::Remote]
        .into_iter()
        .find(|file| path.rsplit('/').next() == Some(file.file_name()));
    Broken { file, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    #[test]
    fn the_file_to_blame_is_named_where_it_is_one() {
        let problem = |path: &str| Problem {
            path: path.to_owned(),
            message: String::new(),
        };
        let (local, remote) = (
            problem("mcpServers.a"),
            problem("mcp_remote.json: mcpServers.b"),
        );
        for (problems, file) in [
            (vec![local.clone()], Some(FileKind::Local)),
            (vec![remote.clone(), remote.clone()], Some(FileKind::Remote)),
            (vec![local, remote], None),
        ] {
            assert_eq!(ConfigError::Invalid(problems).file(), file);
        }
    }

    #[test]
    fn an_unreadable_file_is_named_and_told_in_words() {
        let path = "users/local/mcp_remote.json".to_owned();
        let broken = unreadable(&StoreError::NotOrdinary(path));
        assert_eq!(broken.file, Some(FileKind::Remote));
        let told = "users/local/mcp_remote.json is not an ordinary file or folder";
        assert_eq!(broken.why, BrokenWhy::Unreadable(told.to_owned()));
    }
}
